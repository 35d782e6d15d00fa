"""A root key under a passphrase, and one in a PKCS#11 token (SoftHSM 2, with a token folder of the test's own)."""
import fcntl
import os
import pty
import shutil
import subprocess

import pytest
from harness.gate import BINARY, CommandFailed, password_of

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
WORDS = "mouette tiroir granit sept"


def secret(path, line):
    with open(path, "w") as f:
        f.write(line + "\n")
    os.chmod(path, 0o600)
    return str(path)


def with_root(gate, root):
    with open(gate.config) as f:
        text = f.read()
    was = "vault: {root: {file: root.key}}"
    assert was in text
    gate.write_policy(text.replace(was, f"vault: {{root: {root}}}"))
    return gate


def looks_somebody_up(gate):
    with gate.psycopg("officer") as connection:
        assert connection.execute("SELECT person_id FROM taj.person WHERE person_id = 1001").fetchall() == [(1001,)]


@pytest.fixture
def bare(make_gate):
    """A function that makes a gate which has no root yet."""
    return lambda name: make_gate(name, serve=False, prepare=False, accounts={"officer": "officer"})


@pytest.fixture
def token(tmp_path, monkeypatch):
    """A function that makes a token of some label; its PIN is 4711."""
    assert shutil.which("softhsm2-util"), "softhsm2 is among the packages of the tests"
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))

    def make(label):
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "4711", "--so-pin", "4712"],
                       check=True, capture_output=True)
        return f"{{pkcs11: {{module: {MODULE}, token: {label}, pin_file: {secret(tmp_path / 'pin', '4711')}}}}}"
    return make


def typed(gate, lines, *command):
    """Runs a command of the gate on a terminal of its own, types the lines, each when it is asked; what was shown, and the exit."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(gate.folder)
        os.execv(BINARY, [BINARY, *command, "--config", gate.config])
    shown = b""
    for line in lines:
        while not shown.endswith(b": "):
            shown += os.read(terminal, 1000)
        os.write(terminal, line.encode() + b"\n")
        shown += b"|"
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
    except OSError:  # the terminal's other end is gone
        pass
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_root_under_a_passphrase_in_a_file(bare, tmp_path):
    words = secret(tmp_path / "words", WORDS)
    gate = with_root(bare("root-words"), f"{{file: root.key, passphrase_file: {words}}}")
    gate.prepare().serve()
    looks_somebody_up(gate)
    gate.stop()
    with open(os.path.join(gate.folder, "root.key")) as f:
        assert f.read().startswith("ecluse root key v1 under a passphrase\nscrypt 17 8 1 ")
    secret(words, WORDS + " et demi")
    with pytest.raises(Exception) as refused:
        gate.serve()
    assert "does not open with this passphrase" in str(refused.value)
    secret(words, WORDS)
    gate.serve()
    looks_somebody_up(gate)


def test_a_passphrase_is_asked_for_on_the_terminal_and_not_shown(bare):
    gate = bare("root-typed")
    shown, status = typed(gate, [WORDS, WORDS + "x"], "keys", "init", "--passphrase")
    assert status == 2 and "the two passphrases differ" in shown
    shown, status = typed(gate, ["court"], "keys", "init", "--passphrase")
    assert status == 2 and "shorter than 12" in shown
    shown, status = typed(gate, [WORDS, WORDS], "keys", "init", "--passphrase")
    assert status == 0 and "under the passphrase" in shown and "mouette" not in shown
    shown, status = typed(gate, [WORDS + "x"], "keys", "list")
    assert status == 2 and "does not open with this passphrase" in shown
    shown, status = typed(gate, [WORDS], "keys", "list")
    assert status == 0 and "kek" in shown
    # A root under a passphrase is not renewed as one without.
    shown, status = typed(gate, [WORDS, WORDS + " et demi", WORDS + " et demi", WORDS + " et demi", WORDS + " et demi"], "keys", "rotate", "--root")
    assert status == 0 and "made the root key" in shown and "under the passphrase" in shown
    with open(os.path.join(gate.folder, "root.key")) as f:
        assert f.read().startswith("ecluse root key v1 under a passphrase\n")
    shown, status = typed(gate, [WORDS], "keys", "list")
    assert status == 2 and "does not open with this passphrase" in shown
    shown, status = typed(gate, [WORDS + " et demi"], "keys", "list")
    assert status == 0 and "kek" in shown
    # A service has no terminal.
    done = subprocess.run([BINARY, "serve", "--config", gate.config], capture_output=True, text=True, start_new_session=True,
                          stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode != 0 and "there is no terminal to ask on" in done.stderr and "passphrase_file" in done.stderr


def test_a_root_in_a_token(bare, token, tmp_path):
    gate = with_root(bare("root-token"), token("ecluse"))
    gate.prepare().serve()
    looks_somebody_up(gate)
    # It is spoken to at the start alone: one that goes meanwhile harms nothing until then.
    os.rename(tmp_path / "tokens", tmp_path / "unplugged")
    looks_somebody_up(gate)
    gate.stop()
    with pytest.raises(Exception) as refused:
        gate.serve()
    assert "the token that holds the root key could not be started" in str(refused.value)
    os.rename(tmp_path / "unplugged", tmp_path / "tokens")
    secret(tmp_path / "pin", "4717")
    with pytest.raises(Exception) as refused:
        gate.serve()
    assert "PIN" in str(refused.value)
    secret(tmp_path / "pin", "4711")
    gate.serve()
    looks_somebody_up(gate)
    assert not os.path.exists(os.path.join(gate.folder, "root.key"))


def test_a_root_is_made_once(bare, token):
    gate = with_root(bare("root-once"), token("ecluse"))
    done = gate.command("keys", "init", "--passphrase", check=False)
    assert done.returncode == 2 and "PIN" in done.stderr
    gate.command("keys", "init")
    with pytest.raises(CommandFailed) as refused:
        gate.command("keys", "init")
    assert "never replaced" in str(refused.value)


def test_a_root_of_another_gate_is_named_as_such(bare, token):
    gate = with_root(bare("root-other"), token("ecluse"))
    gate.prepare()
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("token: ecluse", "token: other"))
    token("other")
    gate.command("keys", "init")
    with pytest.raises(Exception) as refused:
        gate.serve()
    assert "wrapped under root key" in str(refused.value)


def test_a_new_root_in_a_token_beside_a_gate_in_use(bare, token):
    gate = with_root(bare("root-renewed"), token("ecluse"))
    for name in ("ann", "bob"):
        gate.accounts = gate.accounts | {name: "officer"}
    gate.prepare().serve()
    ring = os.path.join(gate.data, "keys", "ring")

    def root():
        with open(ring) as f:
            return f.read().split()[5]

    def destroy(key, people=("ann", "bob"), *options):
        by = [part for name in people for part in ("--by", name)]
        return gate.command("keys", "destroy", key, *by, "--reason", "yearly", *options, stdin="".join(password_of(name) + "\n" for name in people), check=False)

    former = root()
    shutil.copy2(ring, ring + ".former")
    done = gate.command("keys", "rotate", "--root", "--passphrase", check=False)
    assert done.returncode == 2 and "PIN" in done.stderr and root() == former
    said = gate.command("keys", "rotate", "--root").stderr
    assert f"ecluse keys destroy {former}\n" in said and root() != former
    looks_somebody_up(gate)
    gate.command("keys", "rotate")  # the gate opens the new root for it
    done = destroy(former)
    assert done.returncode == 2 and "a gate runs" in done.stderr
    gate.stop()
    gate.serve()
    looks_somebody_up(gate)
    gate.stop()
    for key, people, options, words in ((root(), ("ann", "bob"), (), "is the root key that"), ("0123456789abcdef", ("ann", "bob"), (), "--owner"), (former, ("ann", "ann"), (), "two people"), (former, ("ann",), (), "two people"),
                                        (former, ("ann", "bob"), ("--owner", "postgres://x@127.0.0.1:1/x"), "leave --owner out")):
        done = destroy(key, people, *options)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    now = root()
    shutil.copy2(ring, ring + ".now")
    shutil.copy2(ring + ".former", ring)
    gate.command("keys", "list")  # a copy from before opens
    done = destroy(now)
    assert done.returncode == 2 and "is the newest root key" in done.stderr, done.stderr
    shutil.copy2(ring + ".now", ring)
    listed = [line.split() for line in gate.command("keys", "list").stdout.splitlines()]
    assert ["root", "in", "use", now] in listed and ["root", "former", former] in listed
    # What stands in its way is met before it is written down.
    before = len(gate.ledger())
    with open(os.path.join(gate.data, "keys", "lock")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = destroy(former)
    assert done.returncode == 2 and "another command" in done.stderr
    os.rename(os.path.join(gate.data, "ledger"), os.path.join(gate.data, "ledger.away"))
    done = destroy(former)
    os.rename(os.path.join(gate.data, "ledger.away"), os.path.join(gate.data, "ledger"))
    assert done.returncode == 2 and "no ledger" in done.stderr and len(gate.ledger()) == before
    done = destroy(former)
    assert done.returncode == 0 and former in done.stdout, done.stderr
    assert destroy(former).returncode == 2
    shutil.copy2(ring + ".former", ring)
    done = gate.command("keys", "list", check=False)
    assert done.returncode == 2 and f"wrapped under root key {former}" in done.stderr
    shutil.copy2(ring + ".now", ring)
    gate.serve()
    looks_somebody_up(gate)
    assert root() == now
    reasons = [e["reason"] for e in gate.ledger() if e["kind"] == "key"]
    assert f"the keys are wrapped under the new root key {now}" in reasons and any(r.startswith(f"two people destroy key {former}, a root key") for r in reasons), reasons
