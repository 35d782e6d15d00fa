"""`ecluse ledger witness` over HTTP, asked by a client that is not ours, about a real gate's ledger."""
import base64
import concurrent.futures
import hashlib
import http.client
import os
import signal
import socket
import time

import pytest
from harness.witness import Running


# --- RFC 6962, written from its section 2 ---
def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def root(leaves):
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    k = split(len(leaves))
    return node(root(leaves[:k]), root(leaves[k:]))


def consistency(m, leaves, whole=True):
    n = len(leaves)
    if m == n:
        return [] if whole else [root(leaves)]
    k = split(n)
    if m <= k:
        return consistency(m, leaves[:k], whole) + [root(leaves[k:])]
    return consistency(m - k, leaves[k:], False) + [root(leaves[:k])]


def leaves_of(gate, size):
    out = []
    for number in range((size + 255) // 256):
        path = os.path.join(gate.data, "ledger", "tile", "0", f"{number:03}")
        width = min(256, size - 256 * number)
        if not os.path.exists(path):
            path += f".p/{width}"
        with open(path, "rb") as f:
            data = f.read()[:32 * width]
        out += [data[i:i + 32] for i in range(0, len(data), 32)]
    assert len(out) == size
    return out


def body(old, proof, note):
    return f"old {old}\n" + "".join(base64.b64encode(h).decode() + "\n" for h in proof) + "\n" + note


def checkpoint(gate):
    with open(os.path.join(gate.data, "ledger", "checkpoint")) as f:
        note = f.read()
    return int(note.split("\n")[1]), note


@pytest.fixture(scope="module")
def g(make_gate):
    return make_gate("witnessed", accounts={"counter": "counter"})


def more(gate, lookups=40):
    """A later checkpoint, and a gate that writes nothing while it is looked at."""
    before = checkpoint(gate)[0] if os.path.exists(os.path.join(gate.data, "ledger", "checkpoint")) else 0
    with gate.wire("counter") as c:
        for person in range(1001, 1001 + lookups):
            c.query(f"SELECT person_id FROM taj.person WHERE person_id = {person}")
    size = len(gate.ledger())
    gate.wait_for(lambda: os.path.exists(os.path.join(gate.data, "ledger", "checkpoint")) and checkpoint(gate)[0] >= size > before)
    return checkpoint(gate)


@pytest.fixture
def witness(g, tmp_path):
    more(g, 1)
    running = Running(tmp_path / "state", os.path.join(g.data, "ledger", "vkey"))
    yield running
    running.stop()


def test_a_growing_ledger_is_cosigned_and_remembered(g, witness, tmp_path):
    size, note = more(g)
    leaves = leaves_of(g, size)
    assert base64.b64decode(note.split("\n")[2]) == root(leaves)
    witness.cosigned(body(0, [], note), note)
    later, grown = more(g, 300)
    step = body(size, consistency(size, leaves_of(g, later)), grown)
    witness.cosigned(step, grown)
    assert witness.add(step) == (409, f"{later}\n", "text/x.tlog.size")
    witness.stop(signal.SIGKILL)
    again = Running(tmp_path / "state", os.path.join(g.data, "ledger", "vkey"))
    assert again.add(body(0, [], note))[:2] == (409, f"{later}\n")
    again.cosigned(body(later, [], grown), grown)
    assert again.stop() == 0


def test_what_is_refused(g, witness):
    size, note = more(g)
    leaves = leaves_of(g, size)
    witness.cosigned(body(0, [], note), note)
    later, grown = more(g)
    proof = consistency(size, leaves_of(g, later))
    wrong = [bytes(32)] + proof[1:]
    assert witness.add(body(size, wrong, grown))[0] == 422
    assert witness.add(body(size, [], grown))[0] == 422
    assert witness.add(body(size, proof, grown.replace(grown.split("\n")[2], base64.b64encode(root(leaves)).decode())))[0] == 403
    assert witness.add(body(later + 1, proof, grown))[0] == 400
    assert witness.add(body(size, proof, grown.replace("witnessed/", "elsewhere/")))[0] == 404
    assert witness.add("old 1\n" + "A" * 300_000)[0] == 413
    for text in ("", "x", "old -1\n\n", body(size, proof, "")):
        assert witness.add(text)[0] == 400, text
    assert witness.add("", "GET")[0] == 405 and witness.add("", "GET", "/")[0] == 404
    witness.cosigned(body(size, proof, grown), grown)


def test_many_at_once_and_who_says_nothing(g, witness):
    """Of many who ask for the same step one is cosigned; connections that stall do not keep others out."""
    stalled = [socket.create_connection(("127.0.0.1", witness.port)) for _ in range(50)]
    for s in stalled:
        s.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nold")
    size, note = more(g)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: witness.add(body(0, [], note))[0], range(16)))
    assert sorted(answers) == [200] + [409] * 15
    for s in stalled:
        s.close()


def test_a_disk_that_takes_nothing(g, witness, tmp_path):
    size, note = more(g)
    witness.cosigned(body(0, [], note), note)
    later, grown = more(g)
    step = body(size, consistency(size, leaves_of(g, later)), grown)
    os.rename(tmp_path / "state", tmp_path / "gone")
    assert witness.add(step)[0] == 500
    os.rename(tmp_path / "gone", tmp_path / "state")
    witness.cosigned(step, grown)


def test_killed_at_any_moment_it_never_goes_back(g, tmp_path):
    vkey = os.path.join(g.data, "ledger", "vkey")
    size, note = more(g)
    leaves = leaves_of(g, size)
    known = 0
    for round in range(8):
        running = Running(tmp_path / "state", vkey)
        status, text, _ = running.add(body(size, [], note) if known else body(0, [], note))
        assert status == 200, text
        known = size
        size, note = more(g, 3)
        leaves = leaves_of(g, size)
        c = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        c.request("POST", "/add-checkpoint", body(known, consistency(known, leaves), note).encode())
        time.sleep(0.0005 * round)
        running.stop(signal.SIGKILL)
        again = Running(tmp_path / "state", vkey)
        status, text, _ = again.add(body(0, [], note))
        assert status == 409 and int(text) in (known, size)
        if int(text) == known:
            assert again.add(body(known, consistency(known, leaves), note))[0] == 200
        assert again.stop() == 0


def test_one_witness_to_a_folder(g, witness, tmp_path):
    with pytest.raises(RuntimeError, match="another witness uses this folder"):
        Running(tmp_path / "state", os.path.join(g.data, "ledger", "vkey"))
    size, note = more(g)
    witness.cosigned(body(0, [], note), note)
    witness.stop()
    os.remove(tmp_path / "state" / "key")
    with pytest.raises(RuntimeError, match="its key is gone"):
        Running(tmp_path / "state", os.path.join(g.data, "ledger", "vkey"))


@pytest.mark.parametrize("change,says", [("name", "is not the key of the witness"), ("log", "signed by none of the log's keys"), ("key", "is not the key of the witness")])
def test_a_folder_that_is_not_its_own(g, witness, tmp_path, make_gate, change, says):
    size, note = more(g)
    witness.cosigned(body(0, [], note), note)
    witness.stop()
    log, name = os.path.join(g.data, "ledger", "vkey"), "witness.example/e2e"
    if change == "name":
        name = "witness.example/other"
    if change == "key":
        (tmp_path / "state" / "key").write_text("nonsense\n")
    if change == "log":
        with open(log) as f:
            origin = f.read().split("+")[0]
        key = b"\x01" + bytes(range(32))
        key_id = hashlib.sha256(origin.encode() + b"\n" + key).digest()[:4].hex()
        log = f"{origin}+{key_id}+{base64.b64encode(key).decode()}"
    with pytest.raises(RuntimeError, match=says):
        Running(tmp_path / "state", log, name=name)
