"""The ledger as evidence: checked by programs that are not ours, and by ecluse ledger verify."""
import os
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def g(make_gate):
    """A gate with several full tiles behind it."""
    gate = make_gate("evidence", accounts={"counter": "counter"})
    for reference in range(8):
        with gate.wire("counter", reference=f"case-{reference}") as c:
            for person in range(1001, 1301, 3):
                assert not c.query(f"SELECT family_name FROM taj.person WHERE person_id = {person}").errors
    return gate


def folder(gate):
    return os.path.join(gate.data, "ledger")


def covered(gate):
    """Every entry there is now is under a checkpoint soon."""
    size = len(gate.ledger())

    def enough():
        if not os.path.exists(os.path.join(folder(gate), "checkpoint")):
            return False
        with open(os.path.join(folder(gate), "checkpoint")) as f:
            return int(f.read().split("\n")[1]) >= size
    gate.wait_for(enough)
    return size


def test_gos_library_reads_a_running_ledger(g, checker):
    size = covered(g)
    assert size > 512
    done = checker("tree", folder(g))
    assert done.returncode == 0 and int(done.stdout.split()[1]) >= size, done.stderr


def test_gos_library_checks_proofs(g, checker, tmp_path):
    size = covered(g)
    proof, stored, other = tmp_path / "p.tlog-proof", tmp_path / "entry", tmp_path / "other"
    for entry in (0, 1, 255, 256, size // 2, size - 1):
        g.command("ledger", "prove", "--entry", str(entry), "--out", str(proof), "--stored", str(stored))
        assert checker("proof", os.path.join(folder(g), "vkey"), proof, stored).returncode == 0
        other.write_bytes(stored.read_bytes().replace(b"1", b"2", 1))
        assert checker("proof", os.path.join(folder(g), "vkey"), proof, other).returncode == 1
    refused = g.command("ledger", "prove", "--entry", "100000000", check=False)
    assert refused.returncode == 2 and "no checkpoint covers entry 100000000" in refused.stderr


def test_a_running_ledger_is_whole(g):
    done = g.command("ledger", "verify", "--key", os.path.join(folder(g), "vkey"))
    assert done.returncode == 0 and "whole" in done.stdout, done.stdout


def test_what_was_done_to_a_copy_is_named(g, checker, tmp_path):
    """An alteration, and one for which everything was made anew with another key."""
    covered(g)
    copy = tmp_path / "ledger"
    shutil.copytree(folder(g), copy)
    before = tmp_path / "checkpoint"
    shutil.copy(copy / "checkpoint", before)
    bundle = copy / "tile" / "entries" / "001"
    data = bytearray(bundle.read_bytes())
    at = data.index(b'"principal":"counter"')
    data[at + 13:at + 16] = b"bob"
    bundle.write_bytes(data)
    done = g.command("ledger", "verify", "--ledger", str(copy), check=False)
    assert done.returncode == 1 and "NOT whole" in done.stdout
    first = done.stdout.split("\n")[0]
    assert first.startswith("entry ") and 256 <= int(first.split()[1].rstrip(":")) < 512, done.stdout
    assert checker("tree", copy).returncode == 1
    assert g.command("ledger", "verify", "--from", str(before)).returncode == 0


def test_a_ledger_put_back_is_known_by_a_later_checkpoint(g, tmp_path):
    covered(g)
    copy = tmp_path / "ledger"
    shutil.copytree(folder(g), copy)
    with g.wire("counter", reference="later") as c:
        c.query("SELECT family_name FROM taj.person WHERE person_id = 1001")
    covered(g)
    done = g.command("ledger", "verify", "--ledger", str(copy), "--from", os.path.join(folder(g), "checkpoint"), check=False)
    assert done.returncode == 1 and "once held" in done.stdout, done.stdout


def test_a_gate_refuses_a_ledger_that_is_not_what_was_signed(make_gate):
    gate = make_gate("forged", accounts={"counter": "counter"})
    with gate.wire("counter", reference="x") as c:
        c.query("SELECT family_name FROM taj.person WHERE person_id = 1001")
    covered(gate)
    assert gate.stop() == 0
    path = os.path.join(folder(gate), "checkpoint")
    with open(path) as f:
        text = f.read()
    lines = text.split("\n")
    lines[1] = str(int(lines[1]) + 1)
    with open(path, "w") as f:
        f.write("\n".join(lines))
    with pytest.raises(RuntimeError) as refused:
        gate.serve(timeout=20)
    assert "is not signed" in str(refused.value)
    with open(path, "w") as f:
        f.write(text)
    gate.serve()
    assert gate.stop() == 0
