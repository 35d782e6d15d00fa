"""Nothing leaves unwritten: whatever happens to the ledger, every row that a client received has its entry."""
import os
import random
import shutil
import subprocess
import threading
import time

import pytest

from harness import gate as gates
from harness import wire


ONE = {"counter": "counter"}


def fetch_until_it_fails(gate, received, stop, seed, failures=None):
    """Looks people up one by one and in ranges; keeps every id that arrived, and the errors that came instead."""
    r = random.Random(seed)
    client = None
    while not stop.is_set():
        try:
            client = client or gate.wire("counter")
            person = 1001 + 3 * r.randrange(400)
            client.send(wire.message("Q", wire.cstring(
                f"SELECT person_id FROM taj.person WHERE person_id BETWEEN {person} AND {person + r.choice([0, 0, 20])}")))
            while True:
                kind, payload = client.receive()
                if kind == "D":
                    received.append(int(wire.row_of(payload)[0]))
                elif kind == "E":
                    if failures is not None:
                        failures.append(wire.fields_of(payload))
                elif kind == "Z":
                    break
        except (OSError, wire.Closed, wire.ServerError):
            client = None
            time.sleep(0.02)
    if client:
        client.close()


def crowd(gate, received, stop, n=8, failures=None):
    threads = [threading.Thread(target=fetch_until_it_fails, args=(gate, received, stop, i, failures)) for i in range(n)]
    [t.start() for t in threads]
    return threads


def assert_all_written(gate, received):
    """Every delivery has an entry: at least as many disclosures of each person as were received."""
    written = {}
    for entry in gate.ledger():
        if entry["kind"] == "disclosure":
            for who in gates.people([entry]):
                written[who] = written.get(who, 0) + 1
    got = {}
    for person in received:
        got[f"person:{person}"] = got.get(f"person:{person}", 0) + 1
    missing = {who: n for who, n in got.items() if written.get(who, 0) < n}
    assert missing == {}


def assert_dense(gate):
    numbers = [e["seq"] for e in gate.ledger()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_kill_9_in_a_loop(make_gate):
    gate, received, stop = make_gate("killed", accounts=ONE), [], threading.Event()
    threads = crowd(gate, received, stop)
    for n in range(6):
        time.sleep(0.3 + 0.1 * n)
        gate.kill()
        gate.serve()
    time.sleep(0.3)
    stop.set()
    [t.join(30) for t in threads]
    gate.kill()
    assert len(received) > 100
    assert_all_written(gate, received)
    assert_dense(gate)


@pytest.fixture
def small_disk(workspace):
    """A file system of 160 MiB that can be filled."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    at = os.path.join(workspace, "small")
    os.makedirs(at, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=0700", "tmpfs", at], capture_output=True).returncode:
        pytest.skip("no mount permission here")
    yield at
    subprocess.run(["umount", "-l", at])


def fill(folder):
    """Takes every free byte, as another program would."""
    with open(os.path.join(folder, "ballast"), "wb", buffering=0) as f:
        chunk = b"\xff" * (1 << 20)
        while chunk:
            try:
                f.write(chunk)
            except OSError:
                chunk = chunk[:len(chunk) // 2]


def test_full_disk(make_gate, small_disk):
    gate, received, failures, stop = make_gate("full", data_dir=os.path.join(small_disk, "data"), accounts=ONE), [], [], threading.Event()
    threads = crowd(gate, received, stop, failures=failures)
    gate.wait_for(lambda: len(received) > 100)
    fill(small_disk)
    try:  # preallocated space lasts for a while; then nothing more is released
        gate.wait_for(lambda: any(f["C"] == "58030" for f in failures), 45)
    finally:
        stop.set()
        [t.join(30) for t in threads]
    said = next(f for f in failures if f["C"] == "58030")
    assert said.get("H") or "ledger" in said["M"]
    before = len(received)
    gate.kill()
    os.unlink(os.path.join(small_disk, "ballast"))
    gate.serve()  # recovery takes the normal path
    with gate.wire("counter") as c:
        assert c.query("SELECT person_id FROM taj.person WHERE person_id = 1001").rows == [(b"1001",)]
    assert len(received) == before
    assert_all_written(gate, received)
    assert_dense(gate)
    gate.kill()


@pytest.mark.parametrize("damage", ["folder deleted", "files deleted", "files truncated", "file system read-only"])
def test_damage_under_a_running_gate(make_gate, workspace, damage):
    name = "damage-" + damage.replace(" ", "-")
    disk = os.path.join(workspace, name + "-disk")
    os.makedirs(disk)
    mounted = damage == "file system read-only"
    if mounted:
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=0700", "tmpfs", disk]).returncode:
            pytest.skip("mounting needs root")
    try:
        gate = make_gate(name, data_dir=os.path.join(disk, "data"), accounts=ONE)
        ledger = os.path.join(gate.data, "ledger")
        with gate.wire("counter") as c:
            assert c.query("SELECT person_id FROM taj.person WHERE person_id = 1001").rows
            copy = os.path.join(workspace, name + "-copy")
            # A segment that is being made (.new) may have its name by the time it is copied.
            shutil.copytree(gate.data, copy, ignore=shutil.ignore_patterns("*.new", "control.sock"))
            if damage == "folder deleted":
                shutil.rmtree(ledger)
            elif damage == "files deleted":
                for root, _, files in os.walk(ledger):
                    for f in files:
                        os.unlink(os.path.join(root, f))
            elif damage == "files truncated":
                for root, _, files in os.walk(ledger):
                    for f in files:
                        if os.path.getsize(os.path.join(root, f)) > 4096:
                            os.truncate(os.path.join(root, f), 100)
            else:
                if subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode:
                    # A busy file system cannot be remounted while files are open for writing: nothing to show here.
                    pytest.skip("the file system is busy and cannot be made read-only")
            said = c.query("SELECT person_id FROM taj.person WHERE person_id = 1004")
            assert said.sqlstate == "58030" and not said.rows, (said.errors, said.rows)
            assert said.hint or "ledger" in said.error
            assert not c.query("SELECT person_id FROM taj.person WHERE person_id = 1007").rows
        with pytest.raises(wire.ServerError) if damage != "file system read-only" else pytest.raises(Exception):
            with gate.wire("counter") as c:
                if c.query("SELECT person_id FROM taj.person WHERE person_id = 1004").rows == []:
                    raise wire.ServerError({"C": "58030", "M": "refused inside the session"})
        gate.kill()
        if damage in ("folder deleted", "files truncated"):
            # A start that finds a damaged ledger refuses, or starts a ledger that still holds what was there: never silently empty.
            try:
                gate.serve(timeout=20)
            except RuntimeError:
                pass
            else:
                assert "person:1001" in gates.people(gate.ledger())
    finally:
        gate.kill()
        if mounted:
            subprocess.run(["umount", "-l", disk])


def test_the_ledger_is_not_writable_at_start(make_gate):
    gate = make_gate("unwritable", serve=False, accounts=ONE)
    shutil.rmtree(os.path.join(gate.data, "ledger"), ignore_errors=True)
    with open(os.path.join(gate.data, "ledger"), "w") as f:
        f.write("a file where the folder should be")
    with pytest.raises(RuntimeError) as refused:
        gate.serve(timeout=20)
    assert "ledger" in str(refused.value)


def test_keys_are_missing(make_gate):
    gate = make_gate("keyless", serve=False, accounts=ONE)
    os.unlink(os.path.join(gate.folder, "root.key"))
    with pytest.raises(RuntimeError) as refused:
        gate.serve(timeout=20)
    assert "root.key" in str(refused.value) and "keys init" in str(refused.value)


def test_a_torn_tail_is_recovered(make_gate):
    """The last record cut short, as a power cut leaves it: nothing acknowledged is lost and the gate starts."""
    gate = make_gate("torn", accounts=ONE)
    with gate.wire("counter") as c:
        for i in range(20):
            assert c.query(f"SELECT person_id FROM taj.person WHERE person_id = {1001 + 3 * i}").rows
    gate.kill()
    before = gate.ledger()
    gate.serve()
    after = gate.ledger()
    assert after[:len(before)] == before
    assert_dense(gate)


def test_one_gate_for_a_register(make_gate):
    gate = make_gate("single", accounts=ONE)
    second = gates.Gate(os.path.join(gate.folder, "second"), gate.postgres, gate.database, gate.register, accounts=ONE)
    shutil.copy(os.path.join(gate.folder, "root.key"), second.folder)
    second.command("account", "add", "counter", "--role", "counter", "--organisation", "x", "--password-stdin", stdin="pw-pw-pw-pw\n")
    with pytest.raises(RuntimeError):
        second.serve(timeout=20)
    with pytest.raises(RuntimeError):  # nor a second process over the same folder
        twice = gates.Gate(gate.folder, gate.postgres, gate.database, gate.register, accounts=ONE)
        twice.serve(timeout=20)
    assert gate.alive()


def test_stop_loses_nothing(make_gate):
    gate, received, stop = make_gate("stopped", accounts=ONE), [], threading.Event()
    threads = crowd(gate, received, stop, n=4)
    gate.wait_for(lambda: len(received) > 50)
    assert gate.stop() == 0
    stop.set()
    [t.join(30) for t in threads]
    assert_all_written(gate, received)


def test_stop_ends_what_does_not_end_by_itself(make_gate):
    """Transactions left open, idle or busy, outlast the drain; the gate stops in order all the same."""
    gate, received = make_gate("outlasted", accounts=ONE), []

    def stay(client, query):
        try:
            client.query("BEGIN")
            while client.query(query).rows:
                received.append(1001)
                time.sleep(0.01)
        except (OSError, wire.Closed):
            pass

    look = "SELECT person_id FROM taj.person WHERE person_id = 1001"
    idle, endless = gate.wire("counter"), gate.wire("counter")
    for c in (idle, endless):
        c.query("BEGIN")
        assert c.query(look).rows
    endless.send(wire.message("Q", wire.cstring("SELECT count(*) FROM ref.numbers a, ref.numbers b, ref.numbers c")))
    threads = [threading.Thread(target=stay, args=(gate.wire("counter"), look)) for _ in range(6)]
    [t.start() for t in threads]
    assert gate.stop(timeout=90) == 0
    [t.join(30) for t in threads]
    assert_all_written(gate, received)
    assert_dense(gate)
