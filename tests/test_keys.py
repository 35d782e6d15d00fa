"""Keys that change: a new data key beside a gate in use, values sealed anew, a destroyed key, a new root."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import psycopg
import pytest

from harness.cut import BEFORE_THE_CHANGE, Cut
from harness.gate import BINARY, password_of
from harness.registrar import ACCOUNTS, ALL, ROLES, in_database

SEALED = {"taj.person": ["nir", "family_name", "given_name", "birth_date", "risk", "note", "phone", "height", "photo"], "sia.address": ["street"]}


def used(gate):
    """The ids of the keys that values are under, by what the envelopes say themselves."""
    ids = set()
    for table, columns in SEALED.items():
        for column in columns:
            ids |= {r[0] for r in in_database(gate, f"SELECT DISTINCT encode(substring({column}::bytea FROM 2 FOR 8), 'hex') FROM {table} WHERE {column} IS NOT NULL")}
    return ids


def data_keys(gate):
    return [line.split()[2] for line in gate.command("keys", "list").stdout.split("\n") if line.startswith("data ")]


def locked(path):
    """By somebody; looked at without taking it for a moment."""
    inode = os.stat(path).st_ino
    with open("/proc/locks") as f:
        return any(line.split()[1] == "FLOCK" and line.split()[-3].endswith(f":{inode}") for line in f)


def rotate(gate, *more, check=True):
    return gate.command("keys", "rotate", *more, check=check)


def reencrypt(gate, check=True):
    return rotate(gate, "--reencrypt", "--owner", gate.postgres.owner_url(gate.database), check=check)


def destroy(gate, key, people=("ann", "ben"), passwords=None, owner=None):
    by = [word for name in people for word in ("--by", name)]
    lines = "".join(f"{word}\n" for word in (passwords or [password_of(name) for name in people]))
    return gate.command("keys", "destroy", key, "--owner", owner or gate.postgres.owner_url(gate.database), *by, "--reason", "yearly", stdin=lines, check=False)


def reads_all(gate, register):
    with gate.psycopg("registrar") as c:
        got = {r[0]: r for r in c.execute(f"SELECT {ALL} FROM taj.person WHERE person_id < 100000").fetchall()}
    assert got == {p["person_id"]: tuple(p[k.strip()] for k in ALL.split(",")) for p in register["taj.person"]}


def key_entries(gate):
    return [e["reason"] for e in gate.ledger("--kind", "key")]


@pytest.fixture(scope="module")
def people(make_gate):
    """Two accounts that may approve."""
    def add(gate):
        for name in ("ann", "ben"):
            gate.add_account(name, "registrar")
        return gate
    return add


def test_a_new_data_key_beside_a_gate_in_use(make_gate, people, register_a):
    gate = people(make_gate("rotated", accounts=ACCOUNTS, roles=ROLES, sealed=True))
    [first] = data_keys(gate)
    assert used(gate) == {first}
    written, errors, done = {}, [], threading.Event()

    def work():
        number = 500000
        c = gate.psycopg("registrar")
        while not done.is_set():
            number += 1
            try:
                c.execute(f"INSERT INTO taj.person ({ALL}) VALUES (%s, %s, 'Neuf', 'É', '1950-05-05', 'Lyon', 'M', 3, NULL, NULL, NULL, NULL)", (number, f"w{number}"))
                c.execute("UPDATE taj.person SET note = %s WHERE person_id = %s", (f"n{number}", number))
                written[number] = (f"w{number}", f"n{number}")
                back = 500001 + number * 7919 % (number - 500000)
                assert c.execute("SELECT nir, note FROM taj.person WHERE nir = %s", (f"w{back}",)).fetchone() == written[back]
            except (psycopg.Error, AssertionError) as e:
                errors.append(repr(e))
        c.close()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        gate.wait_for(lambda: len(written) > 50)
        said = rotate(gate).stderr
        second = re.search(r"made the data key ([0-9a-f]{16})", said).group(1)
        assert data_keys(gate) == [first, second]
        count = len(written)
        gate.wait_for(lambda: len(written) > count + 50)
        assert used(gate) == {first, second}
        said = reencrypt(gate)
        assert "going on with the data key " + second in said.stderr and f"ecluse keys destroy {first}" in said.stdout
        assert used(gate) == {second} and data_keys(gate) == [first, second]
        # Again makes a new one, since every value is under the newest.
        said = reencrypt(gate)
        third = re.search(r"made the data key ([0-9a-f]{16})", said.stderr).group(1)
        assert used(gate) == {third} and data_keys(gate) == [first, second, third]
        count = len(written)
        gate.wait_for(lambda: len(written) > count + 20)
    finally:
        done.set()
        worker.join()
    assert errors == []
    reads_all(gate, register_a)
    with gate.psycopg("registrar") as c:
        for number, values in written.items():
            assert c.execute("SELECT nir, note FROM taj.person WHERE person_id = %s", (number,)).fetchone() == values
        assert c.execute("SELECT count(*) FROM taj.person WHERE family_name LIKE 'neu%'").fetchone() == (len(written),)
    entries = key_entries(gate)
    announced = [i for i, e in enumerate(entries) if e.startswith(f"made key {third}: data main")]
    assert len(announced) == 1 and any(re.match(f"sealed [0-9]+ rows anew under key {third}", e) for e in entries[announced[0]:])
    # A gate that runs may write under the former key at any moment.
    said = destroy(gate, first)
    assert said.returncode == 2 and "a gate runs" in said.stderr and data_keys(gate) == [first, second, third]
    gate.stop()
    assert destroy(gate, first).returncode == 0 and data_keys(gate) == [second, third]
    gate.serve()
    reads_all(gate, register_a)
    assert [e for e in key_entries(gate) if e == f"two people destroy key {first}, by ann and ben: yearly"]
    assert gate.command("ledger", "verify").returncode == 0


def test_what_an_unfinished_seal_gathered_keeps_its_key(make_gate, people, postgres):
    gate = people(make_gate("gathered", accounts=ACCOUNTS, roles=ROLES, serve=False))
    gate.serve().stop()
    gate.write_policy(sealed=True)
    assert Cut(postgres, BEFORE_THE_CHANGE).run(gate, "seal")[0] == -signal.SIGKILL
    [first] = data_keys(gate)
    rotate(gate)
    said = destroy(gate, first)
    assert said.returncode == 2 and "of taj.person.__sealed_nir" in said.stderr and first in data_keys(gate), said.stderr
    assert "is not through with" in reencrypt(gate, check=False).stderr


def test_only_two_people_destroy_and_only_what_nothing_is_under(make_gate, people, register_a):
    gate = people(make_gate("destroyed", accounts=ACCOUNTS, roles=ROLES, sealed=True, serve=False))
    gate.serve().stop()
    [first] = data_keys(gate)
    old = in_database(gate, "SELECT nir::bytea FROM taj.person WHERE person_id = 1001")[0][0]
    second = re.search(r"made the data key ([0-9a-f]{16})", rotate(gate).stderr).group(1)

    def refused(words, *arguments, **more):
        said = destroy(gate, *arguments, **more)
        assert said.returncode == 2 and words in said.stderr, said.stderr
        assert data_keys(gate) == [first, second]

    count = len(register_a["taj.person"])
    refused(f"values are under that key: {len(register_a['sia.address'])} of sia.address.street, {count} of taj.person.nir", first)
    refused("the key that seals now", second)
    assert "every value is under the data key " + second in reencrypt(gate).stdout
    refused("two people", first, people=("ann",))
    refused("two people", first, people=("ann", "ann"))
    refused("password", first, passwords=[password_of("ann"), "wrong"])
    refused("holds no key", "0123456789abcdef")
    for line in gate.command("keys", "list").stdout.split("\n")[1:]:
        if line and not line.startswith("data "):
            refused("is the key" if not line.startswith("day ") else "the key of a day", line.split()[2])
    # Somebody who writes while it is looked for: waited for, and not overtaken.
    with gate.postgres.owner(gate.database) as c:
        c.autocommit = False
        c.execute("UPDATE taj.person SET nir = %s WHERE person_id = 1001", (old,))
        refused("lock timeout", first)
        c.rollback()
    # One value is enough, in whatever table the envelope stands.
    with gate.postgres.owner(gate.database) as c:
        c.execute("CREATE TABLE closed.copy AS SELECT nir FROM taj.person LIMIT 0")
        c.execute("INSERT INTO closed.copy VALUES (%s)", (old,))
    refused("1 of closed.copy.nir", first)
    assert "the policy does not tell of it" in reencrypt(gate, check=False).stderr
    with gate.postgres.owner(gate.database) as c:
        c.execute("DROP TABLE closed.copy")
    said = destroy(gate, first)
    assert said.returncode == 0 and "Still to do" in said.stdout and data_keys(gate) == [second]
    assert "holds no key" in destroy(gate, first).stderr
    gate.serve()
    reads_all(gate, register_a)
    # From a backup of before, it opens no more: in words, and written down.
    with gate.postgres.admin(gate.database) as c:
        c.execute("UPDATE taj.person SET nir = %s WHERE person_id = 1001", (old,))
    with gate.psycopg("registrar") as c, pytest.raises(psycopg.errors.IoError, match="does not open"):
        c.execute("SELECT nir FROM taj.person WHERE person_id = 1001")
    gate.wait_for(lambda: f"its key {first} is not in this ring" in gate.log_text())


def test_sealing_anew_may_be_killed_at_every_statement(make_gate, postgres, register_a):
    gate = make_gate("rekilled", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    everything = Cut(postgres, None)
    status, _, err = everything.run(gate, "keys", "rotate", "--reencrypt")
    assert status == 0, err
    assert everything.count > 30
    killed = 0
    for at in range(1, everything.count + 1):
        before = data_keys(gate)
        status, out, err = Cut(postgres, at).run(gate, "keys", "rotate", "--reencrypt")
        assert status in (-signal.SIGKILL, 0), (at, err)
        killed += status != 0
        with gate.psycopg("registrar") as c:
            got = c.execute("SELECT nir, photo FROM taj.person ORDER BY person_id").fetchall()
        assert got == [(p["nir"], p["photo"]) for p in register_a["taj.person"]], at
        keys = data_keys(gate)
        assert keys[:len(before)] == before
        if len(used(gate)) > 1:  # it goes on with the key that was made, and makes no other
            reencrypt(gate)
            assert data_keys(gate) == keys and used(gate) == {keys[-1]}, at
    assert killed >= everything.count - 2
    reads_all(gate, register_a)


def test_a_value_that_does_not_open_stops_it_and_is_named(make_gate, postgres, register_a):
    gate = make_gate("reanew", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    rotate(gate)
    with gate.postgres.admin(gate.database) as c:
        who, was = c.execute("SELECT person_id, note::bytea FROM taj.person WHERE note IS NOT NULL ORDER BY 1 LIMIT 1").fetchone()
        c.execute("UPDATE taj.person SET note = set_byte(note::bytea, 40, (get_byte(note::bytea, 40) + 1) %% 256) WHERE person_id = %s", (who,))
    said = reencrypt(gate, check=False)
    assert said.returncode == 2 and 'column "note" does not open' in said.stderr and "taj.person" in said.stderr
    assert len(used(gate)) == 2  # as it was: nothing of that batch
    with gate.postgres.admin(gate.database) as c:
        c.execute("UPDATE taj.person SET note = %s WHERE person_id = %s", (was, who))
        c.execute("CREATE FUNCTION closed.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
        c.execute("CREATE TRIGGER touch BEFORE UPDATE ON taj.person FOR EACH ROW EXECUTE FUNCTION closed.touch()")
    assert "trigger touch" in reencrypt(gate, check=False).stderr
    with gate.postgres.admin(gate.database) as c:
        c.execute("DROP FUNCTION closed.touch() CASCADE")
    reencrypt(gate)
    reads_all(gate, register_a)


def test_another_database_is_not_taken_for_the_register(make_gate, people, postgres, templates):
    gate = people(make_gate("rightone", accounts=ACCOUNTS, roles=ROLES, sealed=True))
    other = postgres.create_database("wrongone", templates["a"])
    wrong = gate.postgres.owner_url(other)
    [first] = data_keys(gate)
    for command in (["keys", "rotate", "--reencrypt"], ["seal"]):
        said = gate.command(*command, "--owner", wrong, check=False)
        assert said.returncode == 2 and "another database" in said.stderr, said.stderr
    assert data_keys(gate) == [first]
    second = re.search(r"made the data key ([0-9a-f]{16})", rotate(gate).stderr).group(1)
    gate.stop()
    said = destroy(gate, first, owner=wrong)
    assert said.returncode == 2 and "another database" in said.stderr
    # Nor where there is no login to see it by.
    os.rename(gate.data + "/logins", gate.data + "/logins.away")
    said = destroy(gate, first, owner=wrong)
    assert said.returncode == 2 and "no login of the gate's" in said.stderr and data_keys(gate) == [first, second]
    os.rename(gate.data + "/logins.away", gate.data + "/logins")


def test_what_is_written_while_it_waits_is_seen(make_gate, people, postgres):
    """Whatever the database's own settings say of isolation and of idle transactions."""
    gate = people(make_gate("isolated", accounts=ACCOUNTS, roles=ROLES, sealed=True))
    [first] = data_keys(gate)
    old = in_database(gate, "SELECT nir::bytea FROM taj.person WHERE person_id = 1001")[0][0]
    reencrypt(gate)
    gate.stop()
    with gate.postgres.admin(gate.database) as c:
        c.execute(f"ALTER ROLE owner IN DATABASE {gate.database} SET default_transaction_isolation TO 'repeatable read'")
        c.execute(f"ALTER ROLE owner IN DATABASE {gate.database} SET idle_in_transaction_session_timeout TO '30ms'")
    with gate.postgres.owner(gate.database) as c:
        c.autocommit = True
        c.execute("SET idle_in_transaction_session_timeout TO 0")
        c.autocommit = False
        c.execute("UPDATE taj.person SET nir = %s WHERE person_id = 1001", (old,))
        said = []
        waiting = threading.Thread(target=lambda: said.append(destroy(gate, first)))
        waiting.start()
        gate.wait_for(lambda: in_database(gate, "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'")[0][0] == 1)
        c.commit()
    waiting.join()
    assert said[0].returncode == 2 and "1 of taj.person.nir" in said[0].stderr and first in data_keys(gate)


def test_a_gate_that_starts_meanwhile_waits(make_gate, people, postgres):
    gate = people(make_gate("meanwhile", accounts=ACCOUNTS, roles=ROLES, sealed=True))
    [first] = data_keys(gate)
    reencrypt(gate)
    gate.stop()
    with gate.postgres.owner(gate.database) as c:
        c.autocommit = False
        c.execute("LOCK TABLE taj.person IN ROW EXCLUSIVE MODE")
        said = []
        waiting = threading.Thread(target=lambda: said.append(destroy(gate, first)))
        waiting.start()
        gate.wait_for(lambda: in_database(gate, "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'")[0][0] == 1)
        starting = threading.Thread(target=gate.serve)
        starting.start()
        gate.wait_for(lambda: locked(os.path.join(gate.data, "ledger", "lock")), 20)  # it has come that far
        starting.join(1)
        assert starting.is_alive() and waiting.is_alive()  # it waits for the register's lock, which destroy holds
        c.commit()
    waiting.join()
    starting.join()
    assert said[0].returncode == 2 and "cannot be asked" in said[0].stderr and first in data_keys(gate)
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT count(nir) FROM taj.person").fetchone()[0] > 0


def test_seal_gives_the_gate_what_it_seals_under(make_gate, register_a):
    """A key that was made where the gate could not be told: seal tells it before anything is under that key."""
    gate = make_gate("sealgives", accounts=ACCOUNTS, roles=ROLES)
    gate.command("keys", "rotate")
    sock = os.path.join(gate.data, "control.sock")
    os.rename(sock, sock + ".away")
    said = rotate(gate, check=False)
    assert said.returncode == 2 and "cannot be asked" in said.stderr
    gate.write_policy(sealed=True)
    assert "cannot be asked" in gate.seal(check=False).stderr
    os.rename(sock + ".away", sock)
    gate.seal()
    gate.wait_for(lambda: "is in force" in gate.log_text())
    reads_all(gate, register_a)


def test_the_ledger_is_not_told_of_what_was_not(make_gate):
    gate = make_gate("writedown", accounts=ACCOUNTS, roles=ROLES)
    for reason in ("made key 0011223344556677: data main", "two people destroy key 0011223344556677, by ann and ben: yearly", "", "a\nb", "x" * 5000):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(gate.data, "control.sock"))
            s.sendall(json.dumps({"command": "write-down", "kind": "key", "reason": reason, "rows": 0}).encode() + b"\n")
            assert "nothing to be written down" in s.recv(10000).decode()
    assert not [e for e in key_entries(gate) if "0011223344556677" in e or e == ""]


def test_a_ring_that_lost_a_key_is_not_taken(make_gate, register_a):
    """The copy of yesterday in the place of today's: the gate keeps the key that everything is under."""
    gate = make_gate("lostkey", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    ring = os.path.join(gate.data, "keys", "ring")
    shutil.copy2(ring, ring + ".yesterday")
    reencrypt(gate)
    shutil.copy2(ring, ring + ".today")
    os.replace(ring + ".yesterday", ring)
    said = rotate(gate, check=False)
    assert said.returncode == 2 and "has lost the data key" in said.stderr and len(data_keys(gate)) == 1
    gate.signal(signal.SIGHUP)
    gate.wait_for(lambda: "the keys stay as they were" in gate.log_text())
    reads_all(gate, register_a)
    os.replace(ring + ".today", ring)
    rotate(gate)
    reads_all(gate, register_a)


def test_a_new_root_beside_a_gate_in_use(make_gate, people, register_a):
    gate = people(make_gate("rerooted", accounts=ACCOUNTS, roles=ROLES, sealed=True))
    root, ring = os.path.join(gate.folder, "root.key"), os.path.join(gate.data, "keys", "ring")
    shutil.copy2(root, root + ".former")
    shutil.copy2(ring, ring + ".former")
    said = rotate(gate, "--root").stderr
    assert "made the root key" in said and os.stat(root).st_mode & 0o777 == 0o600 and not os.path.exists(root + ".next")
    # Neither opens the other's ring.
    for one, other in ((root + ".former", ring), (root, ring + ".former")):
        os.makedirs(gate.folder + "/mixed/data/keys", mode=0o700)
        os.chmod(gate.folder + "/mixed/data", 0o700)
        shutil.copy2(one, gate.folder + "/mixed/root.key")
        shutil.copy2(other, gate.folder + "/mixed/data/keys/ring")
        with open(gate.config) as f, open(gate.folder + "/mixed/ecluse.yaml", "w") as mixed:
            mixed.write(f.read().replace(gate.data, gate.folder + "/mixed/data"))
        said = subprocess.run([BINARY, "keys", "list", "--config", gate.folder + "/mixed/ecluse.yaml"], capture_output=True, text=True)
        assert said.returncode == 2 and "wrapped under root key" in said.stderr, said.stderr
        shutil.rmtree(gate.folder + "/mixed")
    reads_all(gate, register_a)
    rotate(gate)  # the gate opens the new root for it
    reencrypt(gate)
    assert used(gate) == {data_keys(gate)[-1]}
    gate.stop()
    gate.serve()
    reads_all(gate, register_a)
    assert any(re.fullmatch("the keys are wrapped under the new root key [0-9a-f]{16}", entry) for entry in key_entries(gate))


def test_bad_use_is_refused_in_words(make_gate):
    gate = make_gate("keywords", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    keys = data_keys(gate)
    for arguments, words in ((["--reencrypt"], "which need it"), (["--search"], "which need it"), (["--owner", "x"], "which need it"), (["--root", "--reencrypt", "--owner", "x"], "one after the other"),
                             (["--passphrase"], "for a new root")):
        said = rotate(gate, *arguments, check=False)
        assert said.returncode == 2 and words in said.stderr
    said = rotate(gate, "--reencrypt", "--owner", "postgres://nobody@127.0.0.1:1/none", check=False)
    assert said.returncode == 2 and data_keys(gate) == keys
    # A root that is gone while the gate runs: it goes on with the keys it has.
    root = os.path.join(gate.folder, "root.key")
    os.rename(root, root + ".away")
    said = rotate(gate, check=False)
    assert said.returncode == 2 and "keys init" in said.stderr
    os.rename(root + ".away", root)
    assert data_keys(gate) == keys
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT count(nir) FROM taj.person").fetchone()[0] > 0
