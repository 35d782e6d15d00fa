"""Tables with `erasure: per_person`: what is sealed there is under its person's own key too, and goes with it, from every copy."""
import glob
import os
import re
import shutil
import threading

import psycopg
import pytest

from harness.cut import Cut
from harness.gate import people
from harness.registrar import ACCOUNTS, ALL, ROLES, in_database

OWN = "{keys: per_person, nulls: [code]}"
COLUMNS = [name.strip() for name in ALL.split(",")]
SEALED = ["nir", "family_name", "given_name", "birth_date", "risk", "note", "phone", "height", "photo"]
HORIZON = 12  # seconds, in these tests


def versions(gate, table="taj.person", columns=SEALED):
    """The first bytes of all envelopes."""
    return {r[0] for column in columns for r in in_database(gate, f"SELECT DISTINCT get_byte({column}::bytea, 0) FROM {table} WHERE {column} IS NOT NULL")}


def tokens(gate, person):
    """What is left in the columns of blind indexes."""
    names = [r[0] for r in in_database(gate, "SELECT attname FROM pg_attribute WHERE attrelid = 'taj.person'::regclass AND attname LIKE '\\_\\_bidx\\_%%' AND NOT attisdropped")]
    assert len(names) > 10
    row, = in_database(gate, f"SELECT {', '.join(names)} FROM taj.person WHERE person_id = %s", person)
    return [value for value in row if value is not None]


def read(gate, *ids):
    with gate.psycopg("registrar") as c:
        return {r[0]: r for r in c.execute(f"SELECT {ALL} FROM taj.person WHERE person_id = ANY (%s)", (list(ids),)).fetchall()}


def reads_all(gate, register, without=()):
    with gate.psycopg("registrar") as c:
        got = {r[0]: r for r in c.execute(f"SELECT {ALL} FROM taj.person WHERE person_id < 100000").fetchall()}
    assert {k: v for k, v in got.items() if k not in without} == {p["person_id"]: tuple(p[k] for k in COLUMNS) for p in register["taj.person"] if p["person_id"] not in without}
    return got


def erase(gate, person, *more, check=True):
    return gate.command("erase", "--subject", f"person:{person}", "--reason", "request 7", "--owner", gate.postgres.owner_url(gate.database), *more, check=check)


def erasures(gate):
    return [e for e in gate.ledger() if e["kind"] == "erasure" and e["reason"].startswith("erased by key at ")]


def holds(folder, value):
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as f:
                if value in f.read():
                    return True
    return False


def gone(gate, row, person):
    """All of them that was sealed is gone, for the gate and in the register."""
    values = dict(zip(COLUMNS, read(gate, person)[person]))
    assert all(values[name] is None for name in SEALED) and values["sex"] == row["sex"], values
    assert tokens(gate, person) == []
    assert in_database(gate, "SELECT code, note, phone, height, photo FROM taj.person WHERE person_id = %s", person) == [(None,) * 5]
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT person_id FROM taj.person WHERE nir = %s", (row["nir"],)).fetchall() == []
        assert person not in [r[0] for r in c.execute("SELECT person_id FROM taj.person WHERE family_name = %s", (row["family_name"],)).fetchall()]


@pytest.fixture(scope="module")
def gate(make_gate):
    return make_gate("ownkeys", accounts=ACCOUNTS, roles=ROLES, sealed=True, own=OWN)


def test_what_is_sealed_is_under_own_keys_and_comes_back(gate, register_a):
    assert versions(gate) == {3} and versions(gate, "sia.address", ["street"]) == {1}
    reads_all(gate, register_a)
    new = [(500_000 + i, f"own{i}", f"Neuf{i % 3}", "É", "1950-05-05", "Lyon", "M", 3, f"n{i}", None, 170, b"\0\1") for i in range(40)]
    shown = {row[0]: row for row in new}
    with gate.psycopg("registrar") as c:
        marks = "(" + ", ".join(["%s"] * 12) + ")"
        c.execute(f"INSERT INTO taj.person ({ALL}) VALUES {marks}, {marks}", new[0] + new[1])
        c.cursor().executemany(f"INSERT INTO taj.person ({ALL}) VALUES {marks}", new[2:10])
        with c.cursor().copy(f"COPY taj.person ({ALL}) FROM STDIN") as copy:
            for row in new[10:]:
                copy.write_row(row)
        c.execute("UPDATE taj.person SET note = 'altered' WHERE person_id = 500003")
        c.execute(f"INSERT INTO taj.person ({ALL}) VALUES {marks} ON CONFLICT (person_id) DO UPDATE SET family_name = 'Conflit'", new[4])
        got = {r[0]: r for r in c.execute(f"SELECT {ALL} FROM taj.person WHERE person_id >= 500000").fetchall()}
        assert c.execute("SELECT person_id FROM taj.person WHERE nir = 'OWN17'").fetchall() == [(500_017,)]
    assert set(got) == set(shown)
    for number, row in shown.items():
        mine = dict(zip(COLUMNS, got[number]))
        assert str(mine["birth_date"]) == row[4] and mine["photo"] == row[11] and mine["nir"] == row[1]
        assert mine["note"] == ("altered" if number == 500_003 else row[8]) and mine["family_name"] == ("Conflit" if number == 500_004 else row[2])
    assert versions(gate) == {3}
    gate.stop()
    gate.serve()
    reads_all(gate, register_a)


def test_a_value_opens_for_its_person_alone(gate):
    with gate.postgres.admin(gate.database) as c:
        c.execute("UPDATE taj.person a SET note = b.note FROM taj.person b WHERE a.person_id = 500001 AND b.person_id = 500002")
    with pytest.raises(psycopg.errors.IoError):
        read(gate, 500_001)
    with gate.postgres.admin(gate.database) as c:
        c.execute("UPDATE taj.person SET note = NULL WHERE person_id = 500001")
    assert read(gate, 500_001)


def test_who_is_erased_is_gone_from_the_register(gate, register_a):
    row = next(p for p in register_a["taj.person"] if p["code"] and p["note"] and p["phone"])
    person = row["person_id"]
    other = next(p["person_id"] for p in register_a["taj.person"] if p["person_id"] != person)
    read(gate, person)
    with gate.postgres.admin(gate.database) as c:
        c.execute("CREATE TABLE before AS SELECT * FROM taj.person")
    said = erase(gate, person)
    assert "1 rows of the register are cleared" in said.stdout and len(erasures(gate)) == 1
    gone(gate, row, person)
    reads_all(gate, register_a, without={person})
    # A row that comes back from a copy of before opens no more, and hinders nobody; other people's do.
    sets = ", ".join(f"{name} = b.{name}" for name in SEALED)
    with gate.postgres.admin(gate.database) as c:
        c.execute(f"UPDATE taj.person a SET {sets} FROM before b WHERE a.person_id = b.person_id AND a.person_id IN (%s, %s)", (person, other))
    values = dict(zip(COLUMNS, read(gate, person)[person]))
    assert all(values[name] is None for name in SEALED)
    reads_all(gate, register_a, without={person})
    # Who comes again is sealed for under a new key; what is left of before is none of theirs.
    again = erase(gate, person)
    assert "1 rows of the register" in again.stdout
    with gate.psycopg("registrar") as c:
        c.execute("UPDATE taj.person SET nir = 'again', family_name = 'Encore', given_name = 'Une', birth_date = '1990-01-01', risk = 1, note = 'fois' WHERE person_id = %s", (person,))
        assert c.execute("SELECT nir, family_name, note, phone FROM taj.person WHERE nir = 'AGAIN'").fetchall() == [("again", "Encore", "fois", None)]
    gate.stop()
    gate.serve()
    assert read(gate, person)[person][1] == "again"
    erase(gate, person)
    # Nothing is left to erase, until somebody sees that there is a row.
    with gate.postgres.admin(gate.database) as c:
        c.execute("DROP TABLE before")
    nobody = erase(gate, person, check=False)
    assert nobody.returncode == 2 and "no ledger names that person" in nobody.stderr
    assert read(gate, person)[person][1] is None


def test_what_is_left_of_the_erased_hinders_nobody_once_they_come_again(gate, register_a):
    row = next(p for p in register_a["taj.person"][40:] if p["note"])
    person = row["person_id"]
    with gate.postgres.admin(gate.database) as c:
        c.execute("CREATE TABLE left_over AS SELECT * FROM taj.person WHERE person_id = %s", (person,))
    erase(gate, person)
    with gate.psycopg("registrar") as c:
        assert c.execute("UPDATE taj.person SET note = 'x' WHERE person_id = %s AND sex = 'nobody'", (person,)).rowcount == 0
        assert c.execute("SELECT count(*) FROM (SELECT given_name FROM taj.person) AS p").fetchone()[0] > 100
        c.execute("UPDATE taj.person SET note = 'back' WHERE person_id = %s", (person,))
        assert c.execute("SELECT note, given_name FROM taj.person WHERE person_id = %s", (person,)).fetchall() == [("back", None)]
    # Also where a row is put back from a copy of before; and all values can be sealed anew.
    with gate.postgres.admin(gate.database) as c:
        c.execute("UPDATE taj.person a SET family_name = b.family_name, nir = b.nir FROM left_over b WHERE a.person_id = b.person_id")
        c.execute("DROP TABLE left_over")
    values = dict(zip(COLUMNS, read(gate, person)[person]))
    assert values["note"] == "back" and all(values[name] is None for name in SEALED if name != "note")
    gate.command("keys", "rotate", "--reencrypt", "--owner", gate.postgres.owner_url(gate.database))
    values = dict(zip(COLUMNS, read(gate, person)[person]))
    assert values["note"] == "back" and values["family_name"] is None
    reads_all(gate, register_a, without={person} | {p["person_id"] for p in register_a["taj.person"] if read(gate, p["person_id"])[p["person_id"]][1] is None})


def test_what_came_behind_the_erasure_outlives_a_crash(make_gate, register_a):
    """The index may be behind: the entry is gone through again, and must not take the key that was made since."""
    gate = make_gate("ownkeysagain", accounts=ACCOUNTS, roles=ROLES, sealed=True, own=OWN)
    ids = [p["person_id"] for p in register_a["taj.person"]][:12]
    read(gate, *ids)
    gate.stop()
    index = gate.data + "/index"
    for person in ids:
        shutil.copytree(index, index + ".before")
        gate.serve()
        erase(gate, person)
        with gate.psycopg("registrar") as c:
            c.execute("UPDATE taj.person SET note = 'again' WHERE person_id = %s", (person,))
        gate.kill()
        shutil.rmtree(index)
        os.rename(index + ".before", index)  # as after a power cut, for it is not synced
        gate.serve()
        assert dict(zip(COLUMNS, read(gate, person)[person]))["note"] == "again", person
        gate.stop()


def test_an_erasure_that_a_killed_gate_left_is_done_before_its_ledger_is_put_away(make_gate, register_a):
    gate = make_gate("ownkeysputaway", accounts=ACCOUNTS | {"ann": "registrar", "ben": "registrar"}, roles=ROLES, sealed=True, own=OWN)
    person = register_a["taj.person"][3]["person_id"]
    read(gate, person)
    gate.stop()
    shutil.copytree(gate.data + "/index", gate.data + "/index.before")
    shutil.copytree(gate.data + "/keys/values", gate.data + "/values.before")
    gate.serve()
    with gate.postgres.admin(gate.database) as c:
        c.execute("CREATE TABLE before AS SELECT * FROM taj.person")
    erase(gate, person)
    gate.kill()
    for kept, path in (("index.before", "index"), ("values.before", "keys/values")):  # as if it had been killed behind the entry
        shutil.rmtree(os.path.join(gate.data, path))
        os.rename(os.path.join(gate.data, kept), os.path.join(gate.data, path))
    gate.command("ledger", "new", "--node", "gate-2", "--reason", "moved", "--by", "ann", "--by", "ben",
                 stdin="password of ann\npassword of ben\n")
    with gate.postgres.admin(gate.database) as c:
        sets = ", ".join(f"{name} = b.{name}" for name in SEALED)
        c.execute(f"UPDATE taj.person a SET {sets} FROM before b WHERE a.person_id = b.person_id")
    gate.serve("--node", "gate-2")
    assert all(dict(zip(COLUMNS, read(gate, person)[person]))[name] is None for name in SEALED)


def test_values_from_before_the_table_had_such_keys_go_too(make_gate, register_a):
    gate = make_gate("ownkeyslater", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    gate.write_policy(own=OWN)
    gate.apply()
    gate.stop()
    gate.serve()
    first, second = register_a["taj.person"][5], register_a["taj.person"][6]
    with gate.psycopg("registrar") as c:  # has an own key from now on, and values of before
        c.execute("UPDATE taj.person SET note = 'own' WHERE person_id = %s", (second["person_id"],))
    for row in (first, second):
        erase(gate, row["person_id"])
        gone(gate, row, row["person_id"])
    gate.command("keys", "rotate", "--reencrypt", "--owner", gate.postgres.owner_url(gate.database))
    assert versions(gate) == {3}
    for row in (first, second):
        gone(gate, row, row["person_id"])
    reads_all(gate, register_a, without={first["person_id"], second["person_id"]})


def test_a_transaction_that_writes_them_is_waited_for(gate, register_a):
    person = 700_001
    with gate.psycopg("registrar") as c:
        c.autocommit = False
        c.execute(f"INSERT INTO taj.person ({ALL}) VALUES (%s, 'open1', 'Ouverte', 'É', '1950-05-05', 'Lyon', 'M', 3, 'n', NULL, NULL, NULL)", (person,))
        busy = erase(gate, person, check=False)
        assert busy.returncode == 2 and erasures(gate)[-1]["reason"].find(str(person)) < 0
        timer = threading.Timer(2, c.commit)
        timer.start()
        said = erase(gate, person)
        timer.join()
    assert "1 rows of the register are cleared" in said.stdout and tokens(gate, person) == []
    with gate.postgres.admin(gate.database) as c:
        c.execute("DELETE FROM taj.person WHERE person_id = %s", (person,))


def test_what_cannot_be_cleared_is_known_before_the_keys_go(gate, register_a):
    row = register_a["taj.person"][60]
    person, before = row["person_id"], len(erasures(gate))
    for make, word, undo in (("ALTER TABLE taj.person ADD CONSTRAINT kept CHECK (code IS NOT NULL OR person_id <> %s) NOT VALID", "kept", "ALTER TABLE taj.person DROP CONSTRAINT kept"),
                             ("CREATE FUNCTION taj.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER keep BEFORE UPDATE ON taj.person "
                              "FOR EACH ROW WHEN (OLD.person_id = %s) EXECUTE FUNCTION taj.keep()", "trigger keep", "DROP FUNCTION taj.keep CASCADE"),
                             ("CREATE RULE keep AS ON UPDATE TO taj.person WHERE OLD.person_id = %s DO INSTEAD NOTHING", "cannot perform UPDATE", "DROP RULE keep ON taj.person")):
        with gate.postgres.owner(gate.database) as c:
            for statement in (make % person).split("; CREATE TRIGGER"):
                c.execute(statement if statement.startswith(("CREATE", "ALTER")) else "CREATE TRIGGER" + statement)
        said = erase(gate, person, check=False)
        with gate.postgres.owner(gate.database) as c:
            c.execute(undo)
        assert said.returncode == 2 and word in said.stderr, said.stderr
        assert len(erasures(gate)) == before and dict(zip(COLUMNS, read(gate, person)[person])) == {k: row[k] for k in COLUMNS}
    erase(gate, person)
    gone(gate, row, person)


def test_whom_nobody_has_ever_read_is_erased_too(gate, register_a):
    row = register_a["taj.person"][7]
    assert f"person:{row['person_id']}" not in people(e for e in gate.ledger() if e["kind"] == "alteration")
    gate.stop()
    erase(gate, row["person_id"])
    gate.serve()
    gone(gate, row, row["person_id"])


def test_bad_input_is_refused_in_words(gate):
    said = gate.command("erase", "--subject", "person:1001", "--reason", "x", check=False)
    assert said.returncode == 2 and "--owner" in said.stderr
    for person, word in ((999_999_999, "no ledger names"), ("abc", "no ledger names"), ("01001", "no ledger names"), ("1001\x1e2", "no ledger names")):
        said = erase(gate, person, check=False)
        assert said.returncode == 2 and word in said.stderr, (person, said.stderr)
    before = gate.config + ".before"
    shutil.copy(gate.config, before)
    for own, word in (("per_row", "per_person is allowed"), ("{keys: per_person, nulls: [nir]}", "which is sealed"), ("{keys: per_person, nulls: [person_id]}", "whom a row is about"),
                      ("{keys: per_person, nulls: [nowhere]}", "not in `columns`"), ("{keys: per_person, nulls: code}", "a list"), ("{nulls: [code]}", "keys")):
        gate.write_policy(own=own)
        said = gate.command("check", check=False)
        assert said.returncode == 1 and word in said.stdout + said.stderr, (own, said.stdout, said.stderr)
    gate.write_policy(own="{keys: per_person, nulls: [birth_place]}")
    said = gate.apply(check=False)
    assert said.returncode != 0 and "NOT NULL" in said.stdout + said.stderr
    gate.write_policy(own=OWN)
    with open(before) as a, open(gate.config) as b:
        assert a.read() == b.read()


def test_killed_at_every_statement_of_the_register(gate, register_a):
    rows = iter(register_a["taj.person"][100:])  # nobody of the other tests
    for late in (False, True):
        at = 0
        while True:
            at += 1
            row = next(rows)
            person = row["person_id"]
            cut = Cut(gate.postgres, at, late=late)
            entries = len(erasures(gate))
            status, _, _ = cut.run(gate, "erase", "--subject", f"person:{person}", "--reason", "request 8")
            if status == 0:
                break
            written = len(erasures(gate)) - entries
            values = dict(zip(COLUMNS, read(gate, person)[person]))
            if not written:
                assert values == {k: row[k] for k in COLUMNS}, (at, late)
            else:
                assert all(values[name] is None for name in SEALED), (at, late)
            erase(gate, person, check=not written)
            gone(gate, row, person)
        assert at > 8


def wrapped(gate):
    """The wrapped keys that RocksDB's files hold: 81 bytes, with the generation's id behind the first."""
    with open(os.path.join(gate.folder, "root.key.generations")) as f:
        generations = [bytes.fromhex(line.split()[2]) for line in f if line.startswith("generation ")]
    found = set()
    for path in glob.glob(gate.data + "/keys/values/*.log") + glob.glob(gate.data + "/keys/values/*.sst"):
        with open(path, "rb") as f:
            data = f.read()
        for generation in generations:
            found |= {data[m.start():m.start() + 81] for m in re.finditer(re.escape(b"\x01" + generation), data)}
    return found


def test_behind_the_horizon_no_copy_opens(make_gate, workspace, register_a):
    gate = make_gate("ownkeyshorizon", accounts=ACCOUNTS, roles=ROLES, sealed=True, own=OWN, vault=f"erasure_horizon: {HORIZON}s")
    row, other = register_a["taj.person"][3], register_a["taj.person"][4]
    person = row["person_id"]
    gate.stop()
    keys = wrapped(gate)
    copy = os.path.join(workspace, "ownkeyshorizon-copy")
    shutil.copytree(gate.data + "/keys/values", copy)
    with gate.postgres.admin(gate.database) as c:
        c.execute("CREATE TABLE before AS SELECT * FROM taj.person")
    gate.serve()
    erase(gate, person)
    lost = [key for key in keys if not holds(gate.data + "/keys/values", key)]
    assert len(keys) == len(register_a["taj.person"]) and len(lost) == 1, "one key has gone from the store's files, log included"
    gate.wait_for(lambda: [e for e in gate.ledger("--kind", "key") if "destroys the root generation" in e["reason"]], HORIZON + 5)

    # The register and the store of keys are put back as they were before.
    def put_back():
        shutil.rmtree(gate.data + "/keys/values")
        shutil.copytree(copy, gate.data + "/keys/values")
        sets = ", ".join(f"{name} = b.{name}" for name in SEALED)
        with gate.postgres.admin(gate.database) as c:
            c.execute(f"UPDATE taj.person a SET {sets} FROM before b WHERE a.person_id = b.person_id")

    newest = os.path.join(workspace, "ownkeyshorizon-newest")
    gate.stop()
    shutil.copytree(gate.data + "/keys/values", newest)
    put_back()
    gate.serve()
    for number in (person, other["person_id"]):
        with pytest.raises(psycopg.errors.IoError):
            read(gate, number)
    # The newest copy of the store opens everybody else.
    gate.stop()
    shutil.rmtree(gate.data + "/keys/values")
    shutil.copytree(newest, gate.data + "/keys/values")
    gate.serve()
    reads_all(gate, register_a, without={person})
    assert all(dict(zip(COLUMNS, read(gate, person)[person]))[name] is None for name in SEALED)


def test_without_their_store_nothing_opens_and_nothing_wrong_is_shown(make_gate, register_a):
    gate = make_gate("ownkeysgone", accounts=ACCOUNTS, roles=ROLES, sealed=True, own=OWN)
    gate.stop()
    os.rename(gate.data + "/keys/values", gate.data + "/values.away")
    gate.serve()
    with pytest.raises(psycopg.errors.IoError) as refused:
        read(gate, 1001)
    assert "does not open" in str(refused.value) and "keys/values" in gate.log_text()
    gate.stop()
    shutil.rmtree(gate.data + "/keys/values")
    os.rename(gate.data + "/values.away", gate.data + "/keys/values")
    gate.serve()
    reads_all(gate, register_a)


@pytest.mark.parametrize("served", [True, False])
def test_moving_in_anew_loading_and_out(make_gate, workspace, register_a, served):
    """Sealed in clear first, under own keys then; loaded into; sealed anew with somebody erased in between; and back."""
    gate = make_gate(f"ownkeysmoved{served}".lower(), accounts=ACCOUNTS, roles=ROLES, sealed=True, serve=False)
    owner = gate.postgres.owner_url(gate.database)
    assert versions(gate) == {1}
    gate.write_policy(own=OWN)
    gate.apply()
    gate.serve()
    if not served:  # only so that there is a ledger
        gate.stop()
    gate.command("keys", "rotate", "--reencrypt", "--owner", owner)
    assert versions(gate) == {3} and versions(gate, "sia.address", ["street"]) == {1}
    path = os.path.join(workspace, f"own{served}.csv")
    with open(path, "w") as f:
        f.write("person_id,nir,family_name,given_name,birth_date,birth_place,sex,risk\n")
        for i in range(3_000):
            f.write(f"{600_000 + i},load{i},Chargé,L,1970-01-01,Lyon,F,1\n")
    gate.command("load", "--table", "taj.person", "--owner", owner, path)
    assert versions(gate) == {3}
    row = register_a["taj.person"][5]
    erase(gate, row["person_id"])
    gate.command("keys", "rotate", "--reencrypt", "--owner", owner)
    used = {r[0] for column in SEALED for r in in_database(gate, f"SELECT DISTINCT substring({column}::bytea FROM 2 FOR 8) FROM taj.person WHERE {column} IS NOT NULL")}
    assert len(used) == 1 and versions(gate) == {3}
    if not served:
        gate.serve()
    reads_all(gate, register_a, without={row["person_id"]})
    gone(gate, row, row["person_id"])
    assert dict(zip(COLUMNS, read(gate, 602_999)[602_999]))["nir"] == "load2999"
    if not served:
        gate.stop()
    # The way back says whose value opens no more, and goes once that is out of the way.
    gate.write_policy(sealed=False, own="")
    refused = gate.seal("--undo", check=False)
    assert refused.returncode == 2 and "erased" in refused.stderr and "ctid" in refused.stderr
    with gate.postgres.owner(gate.database) as c:
        c.execute("ALTER TABLE taj.person DISABLE TRIGGER USER")
        c.execute("DELETE FROM taj.involvement WHERE person_id = %s", (row["person_id"],))
        c.execute("DELETE FROM taj.person WHERE person_id = %s", (row["person_id"],))
        c.execute("ALTER TABLE taj.person ENABLE TRIGGER USER")
    gate.seal("--undo")
    gate.stop()
    gate.serve()
    reads_all(gate, {"taj.person": [p for p in register_a["taj.person"] if p is not row]})


def test_no_gate_starts_over_a_store_that_a_command_has_open(make_gate):
    gate = make_gate("ownkeysalone", accounts=ACCOUNTS, roles=ROLES, serve=False)
    gate.write_policy(sealed=True, own=OWN)
    seen = []

    def then():
        with pytest.raises(RuntimeError) as refused:
            gate.serve()
        seen.append(str(refused.value))

    cut = Cut(gate.postgres, b"pg_advisory_xact_lock", then=then)
    status, _, err = cut.run(gate, "seal")
    assert status == 0, err
    assert len(seen) == 1
    gate.serve()
    assert versions(gate) == {3} and read(gate, 1001)
