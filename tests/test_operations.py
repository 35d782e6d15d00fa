"""What an operator does to a running gate: signals, accounts, reloads, clocks, disks."""
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import wire
from harness.gate import BINARY, Gate, password_of
from test_crash import assert_all_written, crowd, fill, small_disk  # noqa: F401

ONE = {"counter": "counter"}
ANYBODY = "SELECT person_id FROM taj.person WHERE person_id = 1001"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# --- signals ---
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_signal_before_anybody_has_read_ready(make_gate, number):
    """The pipe that `ready` goes to is full, so the gate stands exactly there when the signal comes."""
    gate = make_gate("signalled-" + number.name.lower(), serve=False, accounts=ONE)
    port = free_port()
    gate.write_policy(open(gate.config).read().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    gate.apply()
    reads, writes = os.pipe()
    ballast = b"x" * fcntl.fcntl(writes, fcntl.F_GETPIPE_SZ)
    os.write(writes, ballast)
    with open(os.path.join(gate.folder, "serve.log"), "ab") as log:
        gate.process = subprocess.Popen([BINARY, "serve", "--config", gate.config], stdout=writes, stderr=log)
    os.close(writes)

    def listens():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    gate.wait_for(listens, 30)
    gate.signal(number)
    with open(reads, "rb") as pipe:
        pipe.read(len(ballast))
        if number == signal.SIGTERM:
            assert gate.process.wait(30) == 0
            return
        gate.host, gate.port = "127.0.0.1", port
        gate.wait_for(lambda: "is in force" in gate.log_text())
        with gate.wire("counter") as c:
            assert c.query(ANYBODY).rows == [(b"1001",)]
        assert gate.stop() == 0


def test_a_reload_asked_for_during_the_start_does_not_end_it(make_gate):
    """A second gate waits for the register's lock: it ends because of that, not of the signal."""
    gate = make_gate("hungup", serve=False, prepare=False, accounts=ONE)
    gate.write_policy(open(gate.config).read().replace(gate.data, "data"))
    gate.prepare().serve()
    second = Gate(os.path.join(gate.folder, "second"), gate.postgres, gate.database, gate.register, accounts=ONE)
    second.write_policy(open(gate.config).read())
    for name in ("root.key", "root.key.generations", "accounts.yaml"):
        shutil.copy(os.path.join(gate.folder, name), second.folder)
    for name in ("keys", "logins"):
        shutil.copytree(os.path.join(gate.data, name), os.path.join(second.data, name), ignore=shutil.ignore_patterns("persons"))
    os.chmod(second.data, 0o700)
    second.process = subprocess.Popen([BINARY, "serve", "--node", "second", "--config", second.config], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    second.wait_for(lambda: os.path.exists(os.path.join(second.data, "ledger", "origin")))
    second.signal(signal.SIGHUP)
    _, said = second.process.communicate(timeout=60)
    assert second.process.returncode == 2 and "another gate is guarding this register" in said
    assert not second.ledger("--kind", "start", "--kind", "session"), "what never started does not stop"
    gate.kill()


# --- a full disk ---
def test_a_gate_goes_on_by_itself_when_its_disk_has_room_again(make_gate, small_disk):
    gate, received, failures, stop = make_gate("roomy", data_dir=os.path.join(small_disk, "data"), accounts=ONE), [], [], threading.Event()
    threads = crowd(gate, received, stop, failures=failures)
    gate.wait_for(lambda: len(received) > 100)
    fill(small_disk)
    try:
        gate.wait_for(lambda: any(f["C"] == "58030" for f in failures), 120)
    finally:
        stop.set()
        [t.join(30) for t in threads]
    assert "restart" not in next(f for f in failures if f["C"] == "58030")["H"]
    os.unlink(os.path.join(small_disk, "ballast"))
    before = len(gate.ledger())

    def answers():
        try:
            with gate.wire("counter") as c:
                return c.query(ANYBODY).rows == [(b"1001",)]
        except (wire.ServerError, wire.Closed, OSError, AssertionError):
            return False
    gate.wait_for(answers, 30)
    assert len(gate.ledger()) > before
    assert_all_written(gate, received)
    assert gate.stop() == 0


# --- accounts ---
def account_entries(gate, name):
    return [e["reason"] for e in gate.ledger("--kind", "lock") if e["principal"] == name]


def ended(client):
    """Whether the gate has closed the session, and with which SQLSTATE; asks nothing."""
    try:
        kind, payload = client.receive()
    except (wire.Closed, OSError):
        return "closed"
    return wire.fields_of(payload)["C"] if kind == "E" else kind


def test_a_lock_ends_open_sessions_and_is_written_down(make_gate):
    gate = make_gate("locked", accounts=ONE)
    gate.add_account("eve", "counter")
    gate.wait_for(lambda: account_entries(gate, "eve") == ["added: roles counter; organisation police"])
    assert account_entries(gate, "counter") == ["found: roles counter; organisation police"]
    idle, inside, asking = gate.wire("eve"), gate.wire("eve"), gate.wire("eve")
    inside.query("BEGIN")
    assert inside.query(ANYBODY).rows == [(b"1001",)]
    gate.command("account", "lock", "eve", "--reason", "seen at the races")
    # Nobody tells the gate: it looks by itself, and ends what is at rest and what is inside a transaction.
    assert ended(idle) == "28000" and ended(inside) == "28000"

    def refused():
        try:
            said = asking.query(ANYBODY)
        except (wire.Closed, OSError):
            return True
        return said.sqlstate == "28000" and not said.rows
    gate.wait_for(refused)
    with pytest.raises(wire.ServerError):
        gate.wire("eve")
    gate.wait_for(lambda: account_entries(gate, "eve")[1:] == ["locked: seen at the races"])
    gate.command("account", "unlock", "eve")
    gate.wait_for(lambda: account_entries(gate, "eve")[2:] == ["unlocked"])
    gate.wire("eve").close()
    assert {e["door"] for e in gate.ledger("--kind", "lock")} == {"gate"}
    gate.kill()


def test_a_lock_stops_an_answer_that_is_under_way(make_gate):
    gate = make_gate("midway", accounts=ONE)
    gate.add_account("eve", "counter")
    gate.wait_for(lambda: account_entries(gate, "eve"))
    c = gate.wire("eve")
    towns = int(gate.wire("counter").query("SELECT count(*) FROM ref.town").rows[0][0])
    copies = 1
    while towns ** copies * 300 < 2_000_000:
        copies += 1
    joined = ", ".join(f"ref.town t{n}" for n in range(copies))
    c.send(wire.message("Q", wire.cstring(f"SELECT person_id FROM taj.person, {joined} WHERE person_id < 1900 LIMIT 2000000")))
    assert [c.receive()[0] for _ in range(2)] == ["T", "D"]
    # The client reads no more, so the gate holds PostgreSQL back: most of it is still to come.
    gate.command("account", "lock", "eve", "--reason", "too many")
    gate.wait_for(lambda: account_entries(gate, "eve")[1:])
    time.sleep(3)
    kinds, last = set(), None
    try:
        while True:
            kind, payload = c.receive()
            kinds.add(kind)
            last = wire.fields_of(payload)["C"] if kind == "E" else last
    except (wire.Closed, OSError):
        pass
    assert "C" not in kinds and last == "28000"
    gate.kill()


def test_what_changed_while_no_gate_ran_is_written_down_at_the_start(make_gate):
    gate = make_gate("away", accounts=ONE)
    for name in ("ann", "bea", "cis"):
        gate.add_account(name, "counter")
    gate.wait_for(lambda: account_entries(gate, "cis"))
    gate.kill()
    gate.command("account", "remove", "ann")
    gate.command("account", "remove", "bea")
    gate.command("account", "add", "bea", "--role", "counter", "--organisation", "customs", "--password-stdin", stdin="another one\n")
    gate.command("account", "lock", "cis", "--reason", "left")
    gate.serve()
    assert account_entries(gate, "ann")[1:] == ["removed"]
    assert account_entries(gate, "bea")[1:] == ["organisation police -> customs; password changed"]
    assert account_entries(gate, "cis")[1:] == ["locked: left"]
    before = len(gate.ledger("--kind", "lock"))
    gate.kill()
    gate.serve()
    assert len(gate.ledger("--kind", "lock")) == before, "nothing changed, nothing is written"
    with open(os.path.join(gate.data, "accounts")) as kept, open(os.path.join(gate.folder, "accounts.yaml")) as file:
        verifiers = re.findall(r"SCRAM-SHA-256\$\S+", file.read())
        text = kept.read()
        assert verifiers and not any(part in text for v in verifiers for part in re.split(r"[$:]", v.strip('"'))[2:])
    gate.kill()


def test_every_key_is_in_the_ledger(make_gate):
    """Whoever made it: `apply` makes the ring before any gate runs."""
    gate = make_gate("keyed", accounts=ONE)
    with gate.wire("counter") as c:
        assert c.query(ANYBODY).rows
    keys = [json.loads(line) for line in gate.command("keys", "list", "--json").stdout.splitlines()]
    told = [e["reason"] for e in gate.ledger("--kind", "key")]
    assert sorted(told) == sorted(f"made key {k['id']}: {k['kind']} {k['name']}" for k in keys) and len(keys) >= 5
    gate.kill()


# --- the clock ---
@pytest.fixture
def clock(workspace, monkeypatch):
    """set(seconds): by how much the wall clock of what is started from here on is wrong."""
    library, file = os.path.join(workspace, "clock.so"), os.path.join(workspace, "clock")
    subprocess.run(["clang-19", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(os.path.dirname(__file__), "harness", "clock.c")],
                   check=True)

    def set_clock(seconds):
        with open(file + ".new", "w") as f:
            f.write(str(seconds))
        os.rename(file + ".new", file)
    set_clock(0)
    monkeypatch.setenv("LD_PRELOAD", library)
    monkeypatch.setenv("WALL_CLOCK", file)
    return set_clock


def test_a_moved_clock_stops_release_and_two_people_accept_one_that_is_behind(make_gate, clock):
    gate = make_gate("clocked", accounts={"counter": "counter", "ann": "counter", "bea": "counter"})
    with gate.wire("counter") as c:
        assert c.query(ANYBODY).rows
        clock(3600)
        gate.wait_for(lambda: "the wall clock was moved by 3600" in gate.log_text())
        said = c.query(ANYBODY)
        assert said.sqlstate == "58030" and not said.rows and "clock" in said.hint
    assert [e["reason"] for e in gate.ledger("--kind", "alert")][0].startswith("ledger.clock: the wall clock was moved by 3600")
    gate.stop()
    gate.serve()  # ahead is taken: the clock was behind before
    with gate.wire("counter") as c:
        assert c.query(ANYBODY).rows
    accept = ["ledger", "accept-clock", "--reason", "the clock ran an hour ahead", "--by", "ann", "--by"]
    both = password_of("ann") + "\n" + password_of("bea") + "\n"
    assert "open" in gate.command(*accept, "bea", stdin=both, check=False).stderr
    gate.stop()
    nothing_to_accept = gate.command(*accept, "bea", stdin=both, check=False)
    assert nothing_to_accept.returncode == 2 and "not behind" in nothing_to_accept.stderr

    clock(0)
    with pytest.raises(RuntimeError) as refused:
        gate.serve()
    assert "behind the ledger's last entry" in str(refused.value) and "accept-clock" in str(refused.value)
    for person, passwords in [("ann", both), ("bea", password_of("ann") + "\nwrong\n"), ("bea", ""), ("nobody", both)]:
        assert gate.command(*accept, person, stdin=passwords, check=False).returncode == 2
    assert not gate.ledger("--kind", "approval")
    gate.command(*accept, "bea", stdin=both)
    approval, = gate.ledger("--kind", "approval")
    assert "by ann and bea: the clock ran an hour ahead" in approval["reason"]
    for _ in range(2):
        gate.serve()
        with gate.wire("counter") as c:
            assert c.query(ANYBODY).rows
        assert gate.stop() == 0
    times = [e["time"] for e in gate.ledger()]
    assert times == sorted(times)


# --- reload ---
def reloaded(gate, *args):
    """`apply`, which tells the gate by itself, and the gate's words about it."""
    before = len(gate.log_text())
    done = gate.apply(*args)
    gate.wait_for(lambda: re.search(r"policy \w+ is in force|the policy stays as it was", gate.log_text()[before:]))
    return done, gate.log_text()[before:]


@pytest.fixture(scope="module")
def running(make_gate):
    return make_gate("operated", accounts=ONE)


def test_apply_tells_the_running_gate(running):
    done, log = reloaded(running)
    assert f"process {running.process.pid}" in done.stderr and "is in force" in log
    running.kill()
    assert "systemctl reload" in running.apply().stderr
    assert "systemctl reload" not in running.apply("--dry-run").stderr
    running.serve()


def test_a_statement_parsed_before_a_reload_runs_under_the_new_policy(running):
    """A driver that prepares once only ever sends Bind and Execute again."""
    good = open(running.config).read()
    with running.wire("counter") as c:
        c.send(wire.parse("SELECT person_id, birth_place FROM taj.person WHERE person_id = 1001", "once"), wire.SYNC)
        assert not c.outcome().errors

        def run(*first):
            c.send(*first, wire.bind(statement="once"), wire.execute(), wire.SYNC)
            said = c.outcome()
            assert not said.errors, said.errors
            return said.rows[0][1], running.ledger("--kind", "disclosure")[-1]
        seen, before = run()
        assert seen is not None and before["subjects"][0]["fields"]["birth_place"] == "clear"
        c.query("BEGIN")
        running.write_policy(re.sub(r"(  counter:\n(?:.*\n)*?.*taj\.person: \{)(key: clear, identity: clear)", r"\1\2, birth_place: hidden", good))
        assert open(running.config).read() != good
        _, log = reloaded(running)
        assert "is in force" in log
        c.query("COMMIT")
        seen, after = run()
        assert seen is None and after["subjects"][0]["fields"]["birth_place"] == "hidden" and after["policy"] != before["policy"]
        running.write_policy(good)
        reloaded(running)
        seen, again = run(wire.describe("S", "once"))
        assert seen is not None and again["policy"] == before["policy"]


@pytest.mark.parametrize("change,word", [
    (("register: operated", "register: renamed"), "register"),
    (("127.0.0.1:0", "127.0.0.1:6543"), "gate.sql.listen"),
    (("data_dir: ", "data_dir: elsewhere"), "gate.data_dir"),
    (("name: operated", "name: postgres"), "gate.database"),
], ids=["register", "listen", "data_dir", "database"])
def test_what_a_running_gate_cannot_take_is_said_in_words(running, change, word):
    good = open(running.config).read()
    try:
        running.write_policy(good.replace(*change, 1))
        before = len(running.log_text())
        running.signal(signal.SIGHUP)
        running.wait_for(lambda: "the policy stays as it was" in running.log_text()[before:])
        said = running.log_text()[before:]
        assert f"{word} changed, which a running gate cannot take" in said and "Restart the gate" in said
        with running.wire("counter") as c:
            assert c.query(ANYBODY).rows == [(b"1001",)]
    finally:
        running.write_policy(good)


def test_the_lock_is_taken_again_as_a_login_that_is_still_there(make_gate, postgres):
    """It was taken as the first role's; that role goes, and the connection with it."""
    gate = make_gate("relocked", accounts=ONE, only={"clerk", "counter"})

    def lose_the_lock(*first):
        before = len(gate.log_text())
        with postgres.admin(gate.database) as c:
            for statement in first:
                c.execute(statement)
            c.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                      " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
        gate.wait_for(lambda: "the lock on the register is lost" in gate.log_text()[before:])
        return before

    gate.write_policy(only={"counter"})
    _, log = reloaded(gate)
    assert "is in force" in log
    before = lose_the_lock()
    gate.wait_for(lambda: "the lock on the register is held again" in gate.log_text()[before:])
    with gate.wire("counter") as c:
        assert c.query(ANYBODY).rows == [(b"1001",)]
    with postgres.admin(gate.database) as c:
        login, = c.execute("SELECT usename FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory'"
                           " AND datname = current_database()").fetchone()
    before = lose_the_lock(f'ALTER ROLE "{login}" NOLOGIN')
    gate.wait_for(lambda: "not permitted to log in" in gate.log_text()[before:])
    time.sleep(1.2)  # it asks every half second, and says why not once
    assert gate.log_text()[before:].count("the lock on the register cannot be taken") == 1
    with postgres.admin(gate.database) as c:
        c.execute(f'ALTER ROLE "{login}" LOGIN')
    gate.wait_for(lambda: "the lock on the register is held again" in gate.log_text()[before:])
    gate.kill()


def certify(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout",
                    os.path.join(folder, "gate.key"), "-out", os.path.join(folder, "gate.crt")], check=True, capture_output=True)
    os.chmod(os.path.join(folder, "gate.key"), 0o600)


def test_a_reload_takes_a_renewed_certificate(make_gate, workspace):
    folder = os.path.join(workspace, "renewed")
    os.makedirs(folder)
    certify(folder, "first")
    gate = make_gate("renewed", accounts=ONE, tls=f", tls: {{certificate: {folder}/gate.crt, key: {folder}/gate.key}}")

    def shown():
        with gate.wire("counter", tls=True) as c:
            assert c.query(ANYBODY).rows
            return c.socket.getpeercert(True)

    first = shown()
    certify(folder, "second")
    assert shown() == first
    gate.signal(signal.SIGHUP)
    gate.wait_for(lambda: shown() != first)
    second = shown()
    os.unlink(os.path.join(folder, "gate.crt"))
    gate.signal(signal.SIGHUP)
    gate.wait_for(lambda: "the policy stays as it was" in gate.log_text() and "gate.crt" in gate.log_text())
    assert shown() == second
    gate.kill()


# --- reading the ledger ---
def test_a_kind_that_there_is_not_is_refused_and_help_names_them_all(running):
    refused = running.command("ledger", "show", "--kind", "disclosures", check=False)
    assert refused.returncode == 2 and not refused.stdout and "disclosures" in refused.stderr and "statistic" in refused.stderr
    told = running.command("ledger", "show", "--help").stdout
    assert all(kind in told for kind in {e["kind"] for e in running.ledger()} | {"disclosure", "refusal", "lock", "approval", "start"})
    assert {e["kind"] for e in running.ledger("--kind", "key", "--kind", "lock")} == {"key", "lock"}


def test_what_is_shown_without_people_needs_no_root_key(running):
    assert "no root key" in running.command("ledger", "show", "--help").stdout
    key = os.path.join(running.folder, "root.key")
    os.rename(key, key + ".away")
    try:
        shown = running.ledger("--subject-free")
        assert "root key" in running.command("ledger", "show", check=False).stderr
    finally:
        os.rename(key + ".away", key)
    assert len(shown) >= 5 and not any("address" in e for e in shown)


# --- a start that fails ---
def test_a_start_that_fails_late_is_neither_a_start_nor_a_stop(make_gate):
    gate = make_gate("late", serve=False, accounts=ONE)
    good = open(gate.config).read()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        gate.write_policy(good.replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
        gate.apply()
        for _ in range(2):
            with pytest.raises(RuntimeError) as refused:
                gate.serve()
            assert "cannot listen" in str(refused.value)
    assert gate.ledger("--kind", "key") and not gate.ledger("--kind", "start", "--kind", "session")
    gate.write_policy(good)
    gate.apply()
    gate.serve()
    assert gate.stop() == 0
    assert [e["reason"] for e in gate.ledger("--kind", "start", "--kind", "session")] == ["serve", "stop"]


# --- names ---
def test_the_node_is_named_by_an_option(make_gate):
    gate = make_gate("noded", serve=False, accounts=ONE)
    serve = [BINARY, "serve", "--config", gate.config]
    refused = subprocess.run([*serve, "--node", "a/b"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and "--node" in refused.stderr
    gate.serve("--node", "lock-7")
    assert {e["node"] for e in gate.ledger()} == {"lock-7"}
    gate.kill()
    with pytest.raises(RuntimeError) as other:
        gate.serve("--node", "lock-8")
    assert "noded/lock-7" in str(other.value) and "noded/lock-8" in str(other.value)


# --- what is installed ---
def test_what_is_installed_fits_together(tmp_path):
    """Links between documents lead somewhere, the unit names what is there, and systemd takes it."""
    root = os.path.join(os.path.dirname(__file__), "..")
    if not os.path.exists(os.path.join(root, "build", "release", "ecluse")):
        pytest.skip("nothing is built to install")
    staged = tmp_path / "staged"
    subprocess.run(["make", "install", f"DESTDIR={staged}", "prefix=/usr/local"], cwd=root, check=True, capture_output=True)
    assert sorted(os.listdir(staged)) == ["usr"], "nothing lands outside the prefix"
    prefix = tmp_path / "usr"
    subprocess.run(["make", "install", "DESTDIR=", f"prefix={prefix}"], cwd=root, check=True, capture_output=True)
    documents = prefix / "share" / "doc" / "ecluse"
    broken, links = [], 0
    for page in documents.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            links += 1
            if not re.match(r"https?:", link) and not (page.parent / link).exists():
                broken.append(f"{page.relative_to(documents)}: {link}")
    assert links > 30 and not broken
    assert (documents / "examples" / "ecluse.yaml").exists()
    unit = prefix / "lib" / "systemd" / "system" / "ecluse.service"
    text = unit.read_text()
    program = re.search(r"^ExecStart=(\S+)", text, re.M)[1]
    assert program == str(prefix / "bin" / "ecluse")
    assert os.path.exists(re.search(r"^Documentation=file://(\S+)", text, re.M)[1])
    assert subprocess.run([program, "serve", "--help"], capture_output=True).returncode == 0
    if shutil.which("systemd-analyze"):
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
        complaints = [line for line in verified.stderr.splitlines() if "ecluse" in line]
        assert not complaints, verified.stderr


@pytest.mark.parametrize("command", [[c] for c in ("check", "apply", "serve", "account", "keys", "ledger", "demo")] + [
    ["account", c] for c in ("add", "list", "lock", "unlock", "remove")] + [["keys", "init"], ["keys", "list"],
    ["ledger", "show"], ["ledger", "accept-clock"]], ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(command):
    done = subprocess.run([BINARY, *command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    _, _, example = done.stdout.partition("Example:")
    assert "ecluse " + " ".join(command) in example
