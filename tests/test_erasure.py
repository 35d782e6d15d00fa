"""Erasure by key: who is erased has no name any more, here at once, and in every copy once the horizon is over; all else
stays, and can be proved."""
import base64
import glob
import os
import re
import shutil
import subprocess
import threading
import time

import psycopg
import pytest

from harness.gate import BINARY, people, password_of

HORIZON = 12  # seconds, in these tests


def see(gate, *ids, reference="R-1"):
    with gate.psycopg(reference=reference) as c:
        return c.execute("SELECT person_id, family_name FROM taj.person WHERE person_id = ANY (%s) ORDER BY 1", (list(ids),)).fetchall()


def erase(gate, subject, reason="request 2026-113", check=True):
    return gate.command("erase", "--subject", subject, "--reason", reason, check=check)


def erasures(gate):
    return [e for e in gate.ledger() if e["kind"] == "erasure" and e["reason"].startswith("erased by key at ")]


def who_saw(gate, subject):
    return gate.command("who-saw", "--subject", subject, check=False).stdout


def verify(gate):
    gate.wait_for(lambda: gate.command("ledger", "verify", check=False).returncode == 0, 5)


def wrapped_keys(folder):
    """Token to wrapped key, as RocksDB's log has them (16 bytes behind 0x10, 81 behind 0x51)."""
    found = {}
    for path in glob.glob(os.path.join(folder, "*.log")):
        with open(path, "rb") as f:
            for m in re.finditer(rb"\x01\x10(.{16})\x51(\x01.{80})", f.read(), re.S):
                found[m[1]] = m[2]
    return found


def holds(folder, value):
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as f:
                if value in f.read():
                    return True
    return False


def generations(gate):
    with open(os.path.join(gate.folder, "root.key.generations")) as f:
        return [line.split()[2] for line in f if line.startswith("generation ")]


@pytest.fixture(scope="module")
def gate(make_gate):
    return make_gate("erased", accounts={"prober": "prober"})


def test_who_is_erased_has_no_name_and_all_else_stays(gate):
    see(gate, 1001, 1004, reference="R-both")
    assert people(gate.entries("R-both")) == {"person:1001", "person:1004"}
    before = wrapped_keys(gate.data + "/keys/persons")
    said = erase(gate, "person:1001")
    entry, = erasures(gate)
    m = re.fullmatch(r"erased by key at (\S+Z), from every copy by (\S+Z): request 2026-113", entry["reason"])
    assert m and m[2] in said.stdout and "1001" not in entry["reason"]
    named = people(gate.entries("R-both"))
    assert "person:1004" in named and "person:1001" not in named and len(named) == 2
    token, = named - {"person:1004"}
    assert people([entry]) == {token}
    assert "nobody is known" in who_saw(gate, "person:1001") and "R-both" in who_saw(gate, "person:1004")
    # The key is nowhere in the store's files, log included.
    raw = base64.urlsafe_b64decode(token.removeprefix("token:") + "==")
    gone = before[raw]
    assert not holds(gate.data + "/keys", gone)
    others = [wrapped for other, wrapped in before.items() if other != raw]
    assert others and any(holds(gate.data + "/keys", wrapped) for wrapped in others)
    verify(gate)
    # Nobody knows them, so there is nobody to erase; and nothing is written down of that.
    again = erase(gate, "person:1001", check=False)
    assert again.returncode == 2 and "no ledger names that person" in again.stderr and len(erasures(gate)) == 1


def test_who_comes_again_is_somebody_new(gate):
    see(gate, 1007, reference="R-3a")
    erase(gate, "person:1007")
    see(gate, 1007, reference="R-3b")
    see(gate, 1007, reference="R-3b")
    assert people(gate.entries("R-3b")) == {"person:1007"} and people(gate.entries("R-3a")) != {"person:1007"}
    assert "R-3b" in who_saw(gate, "person:1007") and "R-3a" not in who_saw(gate, "person:1007")
    # The same once everything was read again from the disk, and the index made anew.
    for made_anew in (False, True):
        gate.stop()
        if made_anew:
            shutil.rmtree(gate.data + "/index")
        gate.serve()
        assert "R-3b" in who_saw(gate, "person:1007") and "R-3a" not in who_saw(gate, "person:1007")
        see(gate, 1007, reference="R-3c")
        assert people(gate.entries("R-3c")) == {"person:1007"}
    # Erased again, they go again; without a gate this time.
    gate.stop()
    erase(gate, "person:1007")
    assert "nobody is known" in who_saw(gate, "person:1007")
    gate.serve()
    verify(gate)


def test_bad_input_is_refused_in_words(gate):
    for subject, reason, word in (("person", "x", "a space and an id"), (":1", "x", "a space and an id"), ("person:", "x", "a space and an id"),
                                  ("person:999999", "x", "no ledger names"), ("nobody:1004", "x", "no ledger names"),
                                  ("person:1004", "", "reason"), ("person:1004", "a\nb", "reason"), ("person:1004", "x" * 600, "reason")):
        said = erase(gate, subject, reason, check=False)
        assert said.returncode == 2 and word in said.stderr, (subject, said.stderr)
    assert "person:1004" in people(gate.entries("R-both"))


@pytest.mark.parametrize("served", [True, False])
def test_killed_at_any_moment_the_entry_and_the_key_agree(make_gate, register_a, served):
    gate = make_gate(f"erasedkilled{served}".lower(), accounts={"prober": "prober"})
    ids = [p["person_id"] for p in register_a["taj.person"]][:40]
    see(gate, *ids)
    if not served:
        gate.stop()
    done = 0
    wait = 0.05  # seconds, drawn to the moment of the entry, wherever this machine has it
    for number in ids:
        command = subprocess.Popen([BINARY, "erase", "--config", gate.config, "--subject", f"person:{number}", "--reason", f"nr {number}"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        if served:
            gate.kill()
        command.kill()
        command.wait()
        gate.serve()
        entries = gate.ledger()
        written = any(e["kind"] == "erasure" and f"nr {number}" in e["reason"] for e in entries)
        named = f"person:{number}" in people(e for e in entries if e.get("reference") == "R-1")
        assert written != named, number
        done += written
        wait *= 0.7 if written else 1.3
        if not served:
            gate.stop()
    assert 0 < done < len(ids), "every kill came too early, or too late"
    verify(gate)


def test_whoever_reads_them_meanwhile_a_killed_erasure_leaves_one_token(make_gate, register_a):
    gate = make_gate("erasedwhileread", accounts={"prober": "prober"})
    ids = [p["person_id"] for p in register_a["taj.person"]][:30]
    see(gate, *ids, reference="R-before")
    done = 0
    wait = 0.05  # seconds, drawn to the moment of the entry, wherever this machine has it
    for number in ids:
        stop = threading.Event()

        def go_on():
            try:
                with gate.psycopg(reference="R-while") as c:
                    while not stop.is_set():
                        c.execute("SELECT family_name FROM taj.person WHERE person_id = %s", (number,))
            except psycopg.Error:
                pass

        reader = threading.Thread(target=go_on)
        reader.start()
        time.sleep(0.02)
        command = subprocess.Popen([BINARY, "erase", "--config", gate.config, "--subject", f"person:{number}", "--reason", f"nr {number}"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        gate.kill()
        command.kill()  # one that has only just started would find no gate, and do it itself
        stop.set()
        reader.join()
        command.wait()
        gate.serve()
        entries = gate.ledger()
        written = any(e["kind"] == "erasure" and f"nr {number}" in e["reason"] for e in entries)
        named = f"person:{number}" in people(e for e in entries if e.get("reference") == "R-before")
        assert written != named, number
        if not written:
            assert "R-before" in who_saw(gate, f"person:{number}"), "they were not erased, and are found"
        done += written
        wait *= 0.7 if written else 1.3
        if f"person:{number}" in people(entries):
            erase(gate, f"person:{number}", "the rest")
        assert f"person:{number}" not in people(gate.ledger()), "nothing names them under another token"
    assert 0 < done < len(ids), "every kill came too early, or too late"
    verify(gate)


def test_behind_the_horizon_no_copy_opens(make_gate, workspace):
    gate = make_gate("erasedhorizon", accounts={"prober": "prober"}, vault=f"erasure_horizon: {HORIZON}s")
    see(gate, 1001, 1004, reference="R-old")
    gate.wait_for(lambda: "complete to" in who_saw(gate, "person:1001"))
    copy = os.path.join(workspace, "erasedhorizon-copy")
    gate.stop()  # as copies are made
    shutil.copytree(gate.data, copy)
    gate.serve()
    first = generations(gate)
    erase(gate, "person:1001")
    due = time.time() + HORIZON

    def of_copy():
        with open(gate.config) as f:
            text = f.read()
        path = os.path.join(gate.folder, "copy.yaml")
        with open(path, "w") as f:
            f.write(text.replace(f"data_dir: {gate.data}", f"data_dir: {copy}"))
        return subprocess.run([BINARY, "who-saw", "--subject", "person:1001", "--config", path], text=True, capture_output=True).stdout, \
            subprocess.run([BINARY, "ledger", "show", "--json", "--config", path], text=True, capture_output=True).stdout

    assert "R-old" in of_copy()[0] and '"person:1001"' in of_copy()[1], "until then a copy is one"
    stop = threading.Event()
    seen = []

    def go_on():
        while not stop.is_set():
            number = 1010 + 3 * (len(seen) % 50)
            see(gate, number, reference="R-more")
            seen.append(number)

    reader = threading.Thread(target=go_on)
    reader.start()
    try:
        destroyed = gate.wait_for(lambda: [e for e in gate.ledger("--kind", "key") if "destroys the root generation " + first[0] in e["reason"]], HORIZON + 5)
    finally:
        stop.set()
        reader.join()
    assert time.time() < due + 1.5 and destroyed and not set(first) & set(generations(gate))
    said, entries = of_copy()
    assert "R-old" in entries and "person:1001" not in entries and "person:1004" not in entries
    # Whoever was not erased is named as before, also those who came while keys were wrapped anew.
    assert people(gate.entries("R-more")) == {f"person:{n}" for n in set(seen)} and len(set(seen)) > 20
    assert people(gate.entries("R-old")) >= {"person:1004"}
    for e in gate.ledger("--kind", "key"):
        if "made key" in e["reason"] and "generation" in e["reason"]:
            break
    else:
        raise AssertionError("no entry tells of the generation that was made")
    gate.stop()
    gate.serve()
    assert people(gate.entries("R-old")) >= {"person:1004"}
    verify(gate)


def test_a_file_of_generations_that_is_gone_or_old_is_noticed(make_gate):
    gate = make_gate("erasedfile", accounts={"prober": "prober"}, vault=f"erasure_horizon: {HORIZON}s")
    see(gate, 1001)
    path = os.path.join(gate.folder, "root.key.generations")
    shutil.copy(path, path + ".copy")
    # A running gate writes it again.
    os.rename(path, path + ".gone")
    gate.wait_for(lambda: os.path.exists(path) and "root generations was gone" in gate.log_text())  # it says so behind that
    gate.wait_for(lambda: len(generations(gate)) > 1, HORIZON)
    gate.stop()
    os.rename(path, path + ".newest")
    for bad, word in ((None, "is not in"), (path + ".copy", "is not in")):
        if bad:
            shutil.copy(bad, path)
        with pytest.raises(RuntimeError, match=word):
            gate.serve()
        if os.path.exists(path):
            os.remove(path)
    with open(path + ".newest") as f:
        good = f.read()
    for text, mode, word in ((good[:-1], 0o600, "damaged"), (good.replace("generation ", "generatioN ", 1), 0o600, "damaged"),
                             (good + "generation 1 0001020304050607 AAAA\n", 0o600, "damaged"), (good, 0o644, "can be read by others"),
                             (re.sub(r"gate \w{16}", "gate 0001020304050607", good), 0o600, "another gate")):
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        with pytest.raises(RuntimeError, match=word):
            gate.serve()
        os.remove(path)
    os.rename(path + ".newest", path)
    gate.serve()
    assert "R-1" in who_saw(gate, "person:1001")


def test_ledgers_that_were_put_away_forget_too(make_gate):
    gate = make_gate("erasedformer", accounts={"prober": "prober", "ann": "prober", "ben": "prober"}, vault=f"erasure_horizon: {HORIZON}s")
    see(gate, 1001, 1004)
    gate.stop()
    keys = wrapped_keys(gate.data + "/keys/persons")
    gate.command("ledger", "new", "--node", "gate-2", "--reason", "moved", "--by", "ann", "--by", "ben",
                 stdin=f"{password_of('ann')}\n{password_of('ben')}\n")
    gate.serve("--node", "gate-2")
    former, = glob.glob(gate.data + "/former/*/keys/persons")
    said = erase(gate, "person:1001")
    assert "1 former ledgers named them too" in said.stdout and len(keys) == 2
    left = [wrapped for wrapped in keys.values() if holds(former, wrapped)]
    assert len(left) == 1
    # And are kept erasable: what is left is wrapped anew.
    gate.wait_for(lambda: not holds(former, left[0]) or len(generations(gate)) > 1, HORIZON)
    first = generations(gate)[0]
    gate.wait_for(lambda: first not in generations(gate), HORIZON + 2)
    # One that is damaged may name somebody where it cannot be read; it holds up nobody else's erasure.
    see(gate, 1007)
    wal, = glob.glob(gate.data + "/former/*/ledger/wal-00000001")
    with open(wal, "rb") as f:
        whole = f.read()
    with open(wal, "wb") as f:
        f.write(whole[:4200] + bytes([whole[4200] ^ 1]) + whole[4201:])
    said = erase(gate, "person:1007")
    assert "BUT not every former ledger can be read" in said.stdout
    with open(wal, "wb") as f:
        f.write(whole)
    store = os.path.dirname(former) + "/persons"
    os.rename(store, store + ".away")
    see(gate, 1010)
    os.mkdir(store)
    assert "BUT not every former ledger can be read" in erase(gate, "person:1010").stdout
    shutil.rmtree(store)
    os.rename(store + ".away", store)
    said = erase(gate, "person:1004")
    assert "1 former ledgers named them too" in said.stdout and "BUT" not in said.stdout
    assert erase(gate, "person:1004", check=False).returncode == 2


def test_people_are_read_while_others_are_erased(gate, register_a):
    ids = [p["person_id"] for p in register_a["taj.person"]][30:60]
    see(gate, *ids, reference="R-first")
    stop, failed, rounds = threading.Event(), [], []

    def read():
        try:
            with gate.psycopg(reference="R-during") as c:
                while not stop.is_set():
                    assert len(c.execute("SELECT family_name FROM taj.person WHERE person_id = ANY (%s)", (ids,)).fetchall()) == len(ids)
                    rounds.append(1)
        except (psycopg.Error, AssertionError) as e:
            failed.append(e)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for r in readers:
        r.start()
    for number in ids[:10]:
        erase(gate, f"person:{number}")
    stop.set()
    for r in readers:
        r.join()
    assert not failed and len(rounds) > 10
    see(gate, *ids, reference="R-after")
    assert people(gate.entries("R-after")) == {f"person:{n}" for n in ids}
    assert not {f"person:{n}" for n in ids[:10]} & people(gate.entries("R-first"))
    assert {f"person:{n}" for n in ids[10:]} <= people(gate.entries("R-first"))
