"""Files loaded in bulk: sealed on the way, killed at every statement, every row in the table once or in the side file once."""
import csv
import datetime
import glob
import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest

from harness.cut import Cut
from harness.gate import BINARY
from harness.registrar import ACCOUNTS, ALL, ROLES, in_database

COLUMNS = [name.strip() for name in ALL.split(",")]


def person(number, **changes):
    return {**dict(person_id=number, nir=f"L{number}", family_name=f"Lédé {number % 7}", given_name="Zoé \"Z\", née\nÀ", birth_date=datetime.date(1950, 1, 1 + number % 28),
                   birth_place="Lyon", sex="F", risk=number % 50, note=None if number % 3 else f"note\t{number} \\N \\.", phone="" if number % 2 else f"06{number}",
                   height=None if number % 5 == 0 else 170, photo=bytes([number % 256, 0, 255])), **changes}


def shown(row):
    return tuple(row[name] for name in COLUMNS)


def as_text(value):
    return "\\x" + value.hex() if isinstance(value, bytes) else str(value)


def csv_text(rows, columns=COLUMNS):
    """An empty text is quoted, NULL is nothing."""
    def field(value):
        return "" if value is None else '"' + as_text(value).replace('"', '""') + '"' if isinstance(value, str) else as_text(value)
    return "".join(",".join(line) + "\n" for line in [columns, *[[field(row[name]) for name in columns] for row in rows]])


def jsonl_text(rows, columns=COLUMNS):
    def value(v):
        return v if v is None or isinstance(v, (int, str, bool, dict, list)) else as_text(v)
    return "".join(json.dumps({name: value(row[name]) for name in columns if name in row}) + "\n" for row in rows)


def write(gate, name, content):
    path = os.path.join(gate.folder, name)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())
    return path


def load(gate, path, table="taj.person", check=True, status=0):
    said = gate.command("load", "--table", table, "--owner", gate.postgres.owner_url(gate.database), path, check=False)
    if check:
        assert said.returncode == status, said.stderr + said.stdout
    return said


def rejects(path):
    if not os.path.exists(path + ".rejected"):
        return {}
    with open(path + ".rejected") as f:
        lines = [json.loads(line) for line in f]
    assert len({line["line"] for line in lines}) == len(lines), "a row is listed twice"
    return {line["line"]: line["reason"] for line in lines}


def read(gate, where, *values):
    with gate.psycopg("registrar") as c:
        return c.execute(f"SELECT {ALL} FROM taj.person WHERE {where} ORDER BY person_id", values).fetchall()


def collections(gate):
    return [e for e in gate.ledger("--kind", "collection") if e["door"] == "command"]


@pytest.fixture(scope="module")
def gate(make_gate, postgres):
    gate = make_gate("loaded", accounts=ACCOUNTS, roles=ROLES, sealed=True, serve=False)
    with postgres.admin("postgres") as c:
        for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_parameter_max_length_on_error = -1", "log_min_error_statement = 'notice'"):
            c.execute(f"ALTER DATABASE loaded SET {setting}")
    return gate.serve()


@pytest.mark.parametrize("kind, text", [("csv", csv_text), ("jsonl", jsonl_text)])
def test_what_was_in_the_file_is_in_the_register(gate, kind, text):
    first = 200_000 if kind == "csv" else 300_000
    rows = [person(first + i) for i in range(200)]
    path = write(gate, f"people.{kind}", text(rows))
    before = len(collections(gate))
    assert f"loaded 200 rows into taj.person" in load(gate, path).stdout
    assert read(gate, "person_id BETWEEN %s AND %s", first, first + 199) == [shown(row) for row in rows]
    # As its blind indexes find it.
    with gate.psycopg("registrar") as c:
        for row in rows[::37]:
            assert c.execute("SELECT person_id FROM taj.person WHERE nir = %s", (row["nir"],)).fetchall() == [(row["person_id"],)]
            for search in ("family_name = lower(%s)", "family_name LIKE 'LEDE%%'", "ecluse_sounds_like(family_name, %s)"):
                values = [row["family_name"]] * search.count("%s")
                if search.startswith("family_name = lower"):
                    search = "family_name = %s"
                assert (row["person_id"],) in c.execute(f"SELECT person_id FROM taj.person WHERE {search}", values).fetchall()
            assert (row["person_id"],) in c.execute("SELECT person_id FROM taj.person WHERE birth_date >= %s AND birth_date < %s",
                                                    (row["birth_date"], row["birth_date"] + datetime.timedelta(1))).fetchall()
    # In the database nothing of it stands in clear, and the ledger tells of the file.
    with open(path, "rb") as f:
        sha = hashlib.sha256(f.read()).hexdigest()
    begun, ended = collections(gate)[before:]
    assert begun["reason"].startswith(f"load of taj.person from a file of SHA-256 {sha}: begun, 200 rows; by the system's user ")
    assert ended["reason"].startswith(f"load of taj.person from a file of SHA-256 {sha}: ended, 0 rows rejected; by ") and ended["rows"] == 200
    assert not os.path.exists(path + ".rejected")
    # Twice by mistake.
    again = load(gate, path)
    assert "nothing to do: this file was loaded before: 200 rows" in again.stdout and len(collections(gate)) == before + 2
    assert in_database(gate, "SELECT count(*) FROM taj.person WHERE person_id BETWEEN %s AND %s", first, first + 199) == [(200,)]


# --- what does not go into the table ---

def test_each_reject_has_its_line_and_its_neighbours_are_loaded(make_gate, postgres):
    gate = make_gate("rejecting", accounts=ACCOUNTS, roles=ROLES, sealed=True, serve=False, prepare=False)
    with postgres.owner(gate.database) as c:
        c.execute("ALTER TABLE taj.person ALTER COLUMN given_name TYPE varchar(8)")
        c.execute("ALTER TABLE taj.person ADD CHECK (sex IN ('M', 'F'))")
        c.execute("CREATE FUNCTION closed.careful() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.birth_place = 'Ys' THEN RAISE 'GEHEIM %', NEW.birth_place; END IF; "
                  "RETURN NULL; END$$")
        c.execute("CREATE TRIGGER careful AFTER INSERT ON taj.person FOR EACH ROW EXECUTE FUNCTION closed.careful()")
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text + "functions: [closed.careful]\n")
    gate.prepare().serve()
    header = ["person_id", "nir", "family_name", "given_name", "birth_date", "birth_place", "sex", "risk", "code"]

    def line(number, nir=None, family="\"two\nlines\"", given="Ann", birth="1950-05-05", place="Lyon", sex="F", risk="3", code=""):
        return ",".join([str(number), nir or f"GEHEIM{number}", family, given, birth, place, sex, str(risk), code]).encode()

    constraint = "constraint {} ({})".format
    rows = [  # line, and why it is not loaded; each row takes two lines of the file
        (line(1), None),
        (line(2, birth="GEHEIM-02-30"), "column birth_date (22007)"),
        (line(3), None),
        (line(4, birth="1999-02-30"), "column birth_date (22008)"),
        (line(5, given="\"GEHEIM, too long\""), "column given_name (22001)"),
        (line(6, given="\"eight888     \""), None),
        (line(""), "column person_id (23502)"),
        (line("GEHEIM"), "column person_id (22P02)"),
        (line(99999999999), "column person_id (22003)"),
        (line(1001), constraint("person_pkey", 23505)),
        (line(10, nir="geheim1"), constraint("__bidx_person_nir_key", 23505)),
        (line(11), None),
        (line(3), constraint("person_pkey", 23505)),
        (line(12), None),
        (b"13,\"GEHEIM\xff\n\",a,b,1950-05-05,Lyon,F,1,", "not UTF-8"),
        (b"14,\"GEHEIM\x00\n\",a,b,1950-05-05,Lyon,F,1,", "zero byte"),
        (line(15) + b",GEHEIM", "10 values for 9 columns"),
        (b"\"16\n\",GEHEIM", "2 values for 9 columns"),
        (line(17, sex="GEHEIM"), "person_sex_check (23514)"),
        (line(18, risk="GEHEIM"), "column risk (22P02)"),
        (line(19, risk="3000000000"), "column risk (22003)"),
        (line(20, place=""), "column birth_place (23502)"),
        (line(21, family="\"\n\""), None),
        (b"22,,\"\n\",b,1950-05-05,Lyon,F,1,", "column nir (23502)"),
        (line(23, place="Ys"), "a trigger of the table refuses it (P0001)"),
        (line("\" 024 \"", nir="GEHEIM24"), None),
    ]
    path = write(gate, "mixed.csv", (",".join(header) + "\n").encode() + b"\r\n".join(text for text, _ in rows))
    said = load(gate, path, status=1)
    good = [number for number, (_, why) in enumerate(rows) if why is None]
    assert f"loaded {len(good)} rows" in said.stdout and f"{len(rows) - len(good)} rows were rejected: {path}.rejected" in said.stdout
    found = rejects(path)
    expected = {2 + 2 * number: why for number, (_, why) in enumerate(rows) if why is not None}
    assert sorted(found) == sorted(expected)
    for at, why in expected.items():
        assert why in found[at], (at, found[at], why)
    assert stat.S_IMODE(os.stat(path + ".rejected").st_mode) == 0o600
    with open(path + ".rejected") as f:
        told = f.read()
    assert "GEHEIM" not in told and "1999" not in told and "GEHEIM" not in said.stdout + said.stderr
    assert in_database(gate, "SELECT person_id FROM taj.person WHERE person_id < 1000 ORDER BY 1") == [(1,), (3,), (6,), (11,), (12,), (21,), (24,)]
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT given_name, nir FROM taj.person WHERE person_id = 6").fetchone() == ("eight888", "GEHEIM6")
        assert c.execute("SELECT person_id FROM taj.person WHERE nir = 'geheim24'").fetchall() == [(24,)]
        assert c.execute("SELECT nir FROM taj.person WHERE person_id = 24").fetchone() == ("GEHEIM24",)
    assert "nothing to do" in load(gate, path, status=1).stdout and rejects(path) == found


def test_tables_without_sealed_columns(gate):
    with gate.postgres.owner(gate.database) as c:
        # What is looked at no sooner than at COMMIT would fail a batch as a whole.
        c.execute("ALTER TABLE taj.involvement ALTER CONSTRAINT involvement_person_id_fkey DEFERRABLE INITIALLY DEFERRED")
        gate.apply()
        known = [r[0] for r in c.execute("SELECT person_id FROM taj.person ORDER BY 1 LIMIT 3").fetchall()]
    rows = [dict(involvement_id=900_000 + i, person_id=known[i % 3] if i != 4 else 7, case_id=1, role="witness", outcome="open", recorded_at="2024-01-01 10:00+02",
                 comment=None if i % 2 else "a\\b\tc") for i in range(7)]
    path = write(gate, "involved.csv", csv_text(rows, list(rows[0])))
    load(gate, path, "taj.involvement", status=1)
    assert rejects(path) == {6: "it refers to a row that is not there: constraint involvement_person_id_fkey (23503)"}
    assert in_database(gate, "SELECT involvement_id, person_id, recorded_at::text, comment FROM taj.involvement WHERE involvement_id BETWEEN 900000 AND 900009 ORDER BY 1") == \
        [(r["involvement_id"], r["person_id"], "2024-01-01 08:00:00+00", r["comment"]) for i, r in enumerate(rows) if i != 4]
    # What a line leaves out takes its default; in JSON lines each by itself.
    lines = [dict(owner_id=1, kind="hunting"), dict(kind="sport", owner_id=2, status="given", points=3), dict(owner_id=3, kind="a", points=-1), dict(owner_id=4, kind=None),
             dict(owner_id=5, kind="b", nobody=1), dict(owner_id=[1], kind="b"), dict(owner_id=6, kind=True, points=1.5), dict(owner_id=7, kind="z", points="8")]
    path = write(gate, "permits.jsonl", "".join(json.dumps(line) + "\n" for line in lines) + "\n{\"owner_id\": 8, \"owner_id\": 9, \"kind\": \"c\"}\nno JSON\n{}")
    load(gate, path, "sia.permit", status=1)
    assert {line: why.split(" (")[0] for line, why in rejects(path).items()} == {
        3: "a check of the table refuses it: constraint permit_points_check", 4: "a value is missing where there has to be one: column kind",
        5: "a member is no column that can be loaded", 6: "an array or object stands where its column is not json", 7: "a value is none of its column's type: column points",
        9: "the line is no JSON object", 10: "a member stands there twice", 11: "the line is no JSON object", 12: "the row has no values"}
    assert in_database(gate, "SELECT owner_id, kind, status, points FROM sia.permit WHERE owner_id < 10 ORDER BY 1") == \
        [(1, "hunting", "asked", 0), (2, "sport", "given", 3), (7, "z", "asked", 8)]
    # A table whose people are named by another.
    load(gate, write(gate, "cases.csv", "case_id,opened,offence_code\n800000,2024-01-01,A10\n"), "taj.case")
    assert in_database(gate, "SELECT opened::text FROM taj.case WHERE case_id = 800000") == [("2024-01-01",)]


MORE = """  taj.contact:
    subject: contact_id
    space: contact
    columns:
      contact_id: {class: key}
      phone: {class: contact, sealed: {search: [equality]}}
      paid: {class: contact, sealed: {}}
      about: {class: contact, sealed: {}}
      ident: {class: contact, sealed: {search: [equality]}}
      since: {class: contact, sealed: {}}
  taj.marked:
    subject: mark
    space: mark
    columns: {mark: {class: key}, word: {class: contact, sealed: {}}}
  taj.paired:
    subject: [one, two]
    space: pair
    columns: {one: {class: key}, two: {class: key}, word: {class: contact, sealed: {}}}
  taj.counted:
    subject: number
    space: number
    columns: {number: {class: key}, word: {class: contact, sealed: {}}}
"""
READS = "".join(f"      taj.{name}: {{key: clear, contact: clear}}\n" for name in ("contact", "marked", "paired", "counted"))


@pytest.fixture(scope="module")
def kinds(make_gate, postgres):
    """Tables whose people are known by other kinds of ids, or by a sequence."""
    gate = make_gate("loadkinds", accounts=ACCOUNTS, roles=ROLES.replace("    write:\n", READS + "    write:\n"), sealed=True, serve=False, prepare=False)
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("  taj.case:\n", MORE + "  taj.case:\n", 1))
    with postgres.owner(gate.database) as c:
        c.execute("CREATE TABLE taj.contact (contact_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, phone varchar(12), paid numeric(8,2), about jsonb, ident uuid, since timestamptz)")
        c.execute("CREATE TABLE taj.marked (mark uuid PRIMARY KEY, word text)")
        c.execute("CREATE TABLE taj.paired (one int, two varchar(4), word text, PRIMARY KEY (one, two))")
        c.execute("CREATE TABLE taj.counted (number numeric(6,0) PRIMARY KEY, word text)")
    return gate.prepare().serve()


def test_whoever_is_numbered_by_a_sequence_is_numbered_first(kinds):
    lines = ['{"phone": "+33 1 23", "paid": 12.5, "about": {"b": [1.10, "x"], "a": null}, "ident": "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "since": "2024-02-29T12:00:00+02"}',
             '{"phone": 12345678901234567890, "paid": 1}', '{"contact_id": 77, "phone": 33, "about": "text", "paid": 1e3}', '{"phone": "x", "paid": 1e9}', '{"about": [], "paid": "NaN"}', "{}"]
    path = write(kinds, "contacts.jsonl", "\n".join(lines))
    load(kinds, path, "taj.contact", status=1)
    assert rejects(path) == {2: "a value is longer than its column holds: column phone (22001)", 4: "a number is larger than its column holds: column paid (22003)"}
    with kinds.psycopg("registrar") as c:
        assert c.execute("SELECT contact_id FROM taj.contact WHERE phone = '33'").fetchall() == [(77,)]
        assert len(c.execute("SELECT contact_id FROM taj.contact WHERE ident = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'").fetchall()) == 1
    with kinds.wire("registrar") as w:
        said = w.query("SELECT contact_id, phone, paid, about, ident, since FROM taj.contact ORDER BY contact_id")
        rows = [tuple(v if v is None else v.decode() for v in row) for row in said.results[0].rows]
    assert [r[1:] for r in rows if r[0] != "77"] == [
        ("+33 1 23", "12.50", '{"a": null, "b": [1.10, "x"]}', "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "2024-02-29 10:00:00+00"),
        (None, "NaN", "[]", None, None), (None, None, None, None, None)]
    assert [r for r in rows if r[0] == "77"] == [("77", "33", "1000.00", '"text"', None, None)]
    # A file whose subject column is left out as a whole.
    path = write(kinds, "phones.csv", "phone\n" + "".join(f"tel{i}\n" for i in range(30)))
    load(kinds, path, "taj.contact")
    with kinds.psycopg("registrar") as c:
        assert {r[0] for r in c.execute("SELECT phone FROM taj.contact").fetchall()} >= {f"tel{i}" for i in range(30)}


@pytest.mark.parametrize("table, content, rows, bad", [
    ("marked", "mark,word\nA0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11,one\n{a0eebc999c0b4ef8bb6d6bb9bd380a12},two\na0eebc99,three\n",
     [("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "one"), ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", "two")], {4: "22P02"}),
    ("paired", "one,word,two\n0042,a,ab\n+42,b,\"ab  \"\n 43 ,c,\"abcd   \"\n44,d,abcde\n45,e,\n46,f,\"\"\n47,g,\"a\x1eb\"\n",
     [("42", "a"), ("42", "b"), ("43", "c")], {5: "22001", 6: "23502", 7: "22023", 8: "22023"}),
    ("counted", "number,word\n007.00,a\n1e3,b\n8.4,c\n9.6,d\nNaN,e\n1e9,f\n", [("7", "a"), ("8", "c"), ("10", "d"), ("1000", "b")], {6: "22023", 7: "22003"}),
])
def test_values_are_sealed_for_the_person_that_the_column_holds(kinds, table, content, rows, bad):
    """However the file spells them: read back through the gate, each opens."""
    path = write(kinds, table + ".csv", content)
    load(kinds, path, "taj." + table, status=1)
    assert {line: why[-6:-1] for line, why in rejects(path).items()} == bad
    first = content.split(",")[0]
    with kinds.psycopg("registrar") as c:
        assert sorted(c.execute(f"SELECT {first}::text, word FROM taj.{table}").fetchall()) == sorted(rows)


# --- nothing lost between ---

def addresses(count):
    """Lines of sia.address; what is rejected of them, and who is loaded."""
    lines, loaded = ["address_id,owner_id,street,town,postcode"], {}
    bad = {}
    for i in range(count):
        number = 50_000 + i
        if i in (17, 5_003):
            lines.append(f"{number},7,a street")
            bad[i + 2] = "3 values for 5 columns"
        elif i in (44, 9_999):
            lines.append(f"{number},,a street,Lyon,69000")
            bad[i + 2] = "a value is missing where there has to be one: column owner_id (23502)"
        elif i == count - 3:
            lines.append("50000,7,a street,Lyon,69000")
            bad[i + 2] = "another row has the same key: constraint address_pkey (23505)"
        else:
            lines.append(f"{number},{i % 90},{i} rue de l'Écluse,Lyon,69000")
            loaded[number] = i
    return "\n".join(lines), loaded, bad


def state(gate):
    """What the database says: rows of the test's, and how far it is noted to be."""
    rows = in_database(gate, "SELECT count(*), count(DISTINCT address_id) FROM sia.address WHERE address_id >= 50000")[0]
    if in_database(gate, "SELECT to_regclass('ecluse_sealed.loads') IS NULL")[0][0]:
        return (*rows, None, None)
    notes = in_database(gate, "SELECT loaded, ended IS NOT NULL FROM ecluse_sealed.loads WHERE table_name = 'sia.address'")
    return (*rows, *(notes[0] if notes else (None, None)))


def forget(gate, path):
    in_database(gate, "WITH a AS (DELETE FROM sia.address WHERE address_id >= 50000) DELETE FROM ecluse_sealed.loads RETURNING 1")
    if os.path.exists(path + ".rejected"):
        os.unlink(path + ".rejected")


@pytest.mark.parametrize("late", [False, True], ids=["before it is run", "once it is sent"])
def test_it_may_be_killed_at_every_statement(make_gate, postgres, late):
    gate = make_gate(f"loadkilled{late:d}", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    content, loaded, bad = addresses(10_400)
    path = write(gate, "addresses.csv", content)
    command = ("load", "--table", "sia.address", path)
    everything = Cut(postgres, None, late=late)
    status, out, err = everything.run(gate, *command)
    assert status == 1, err
    assert everything.count > 60 and rejects(path) == bad
    killed, gone_on = 0, 0
    # Behind every second statement in both ways: killed before the next one, or at it, the table stands between them.
    points = range(1, everything.count + 1, 2)
    for at in points:
        forget(gate, path)
        status, out, err = Cut(postgres, at, late=late).run(gate, *command)
        assert status in (-signal.SIGKILL, 1), (at, err)
        killed += status != 1
        count, different, noted, ended = state(gate)
        assert count == different == (noted or 0), at
        gone_on += 0 < count < len(loaded)
        said = load(gate, path, "sia.address", status=1)
        assert state(gate) == (len(loaded), len(loaded), len(loaded), True), at
        assert rejects(path) == bad, at
        assert ("nothing to do" in said.stdout) == bool(ended), at
    assert killed >= len(points) - 2 and gone_on > 5
    assert in_database(gate, "SELECT address_id, owner_id FROM sia.address WHERE address_id >= 50000 ORDER BY 1") == [(n, i % 90) for n, i in loaded.items()]
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT address_id, street FROM sia.address WHERE address_id >= 50000 ORDER BY 1").fetchall() == \
            [(n, f"{i} rue de l'Écluse") for n, i in loaded.items()]
        assert c.execute("SELECT address_id FROM sia.address WHERE street = '9998 RUE DE L''ECLUSE'").fetchall() == [(59_998,)]
    told = [e["reason"].split(": ")[1].split(" at ")[0].split(",")[0] for e in collections(gate)]
    assert {"begun", "gone on with", "ended"} == set(told) and gate.command("ledger", "verify").returncode == 0


def test_what_a_run_left_has_to_be_there(make_gate, postgres):
    gate = make_gate("loadleft", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    content, loaded, bad = addresses(10_400)
    path = write(gate, "addresses.csv", content)
    for at in range(40, 200):  # until rows and rejects are written
        assert Cut(postgres, at).run(gate, "load", "--table", "sia.address", path)[0] == -signal.SIGKILL
        if (state(gate)[2] or 0) > 4_000:
            break
    assert 4_000 < state(gate)[2] < len(loaded)

    def refused(words, file=path):
        before = state(gate)
        said = load(gate, file, "sia.address", check=False)
        assert said.returncode == 2 and words in said.stderr, said.stderr
        assert state(gate) == before

    os.rename(path + ".rejected", path + ".away")
    refused("addresses.csv.rejected is missing")
    write(gate, "addresses.csv.rejected", "{}\n")
    refused("is not the file that rejects were written to")
    os.replace(path + ".away", path + ".rejected")
    shutil.copy2(path, path.replace("addresses", "copied"))
    refused("this file was begun as " + path, path.replace("addresses", "copied"))
    # Another file under its name is another load, which does not write into this one's rejects.
    write(gate, "addresses.csv", content.replace("rue", "Rue"))
    refused("addresses.csv.rejected is there already")
    write(gate, "addresses.csv", content)
    # What stands behind what was committed is of a run that was killed.
    with open(path + ".rejected", "a") as f:
        f.write('{"line":9999,"reason":"x"}\n' * 20 + '{"line":9999,"reas')
    # Full disks, locks and the like end it; it is run again.
    with gate.postgres.owner(gate.database) as c:
        c.autocommit = False
        c.execute("LOCK TABLE sia.address IN SHARE MODE")
        said = load(gate, path, "sia.address", check=False)
        assert said.returncode == 2 and "lock timeout" in said.stderr and "run the same command again" in said.stderr
    load(gate, path, "sia.address", status=1)
    assert state(gate) == (len(loaded), len(loaded), len(loaded), True) and rejects(path) == bad


def test_nothing_is_loaded_where_something_is_wrong(make_gate, postgres, templates):
    gate = make_gate("loadrefused", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    rows = [person(i) for i in range(300_000, 300_010)]
    good = write(gate, "people.csv", csv_text(rows))

    def refused(words, file=good, table="taj.person", **more):
        said = load(gate, file, table, check=False) if not more else gate.command("load", "--table", table, file, "--owner", more["owner"], check=False)
        assert said.returncode == 2 and words in said.stderr, said.stderr
        assert in_database(gate, "SELECT count(*) FROM taj.person WHERE person_id >= 300000") == [(0,)]
        assert in_database(gate, "SELECT to_regclass('ecluse_sealed.loads') IS NULL") == [(True,)] and collections(gate) == []

    header = ",".join(COLUMNS) + "\n"
    for content, words in ((header.replace("risk", "danger"), 'names "danger"'), (header.replace("risk", "nir"), "names the column nir twice"), (header.replace("risk", "__bidx_nir"), "__bidx_nir"),
                           (header.replace("person_id,", ""), "the file has no column person_id"), (header.replace("risk", "ri\udcff"), "not UTF-8"), ("", "is empty"),
                           (header + '1,"open\n', "the quote of a value in the row that begins at line 2 has no end"), (header + "x" * (17 << 20), "longer than 16 MiB")):
        refused(words, write(gate, "bad.csv", content.encode(errors="surrogateescape")))
    refused("ends neither in .csv", write(gate, "people.txt", "x"))
    refused("cannot be read", good + ".csv")
    for table, words in (("taj.tracker", "not among the policy's tables"), ("ref.town", "not among the policy's tables"), ("taj.nobody", "not among"), ("person", "write schema.table")):
        refused(words, table=table)
    refused("another database", owner=postgres.owner_url(postgres.create_database("loadelsewhere", templates["a"])))
    write(gate, "people.csv.rejected", "mine")
    refused("people.csv.rejected is there already")
    assert open(good + ".rejected").read() == "mine"
    os.unlink(good + ".rejected")
    with postgres.owner(gate.database) as c:
        # A trigger that would write the row for somebody else, behind its envelopes.
        c.execute("CREATE FUNCTION closed.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.person_id := NEW.person_id + 1; RETURN NEW; END'")
        c.execute("CREATE TRIGGER touch BEFORE INSERT ON taj.person FOR EACH ROW EXECUTE FUNCTION closed.touch()")
        gate.apply()
        refused("the trigger touch of taj.person")
        c.execute("DROP FUNCTION closed.touch() CASCADE")
        gate.apply()
        # Somebody else who moves sealed values.
        with postgres.owner(gate.database) as other:
            other.execute("SELECT pg_advisory_lock(((classid::int8 << 32) | objid::int8) # 2) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                          "(SELECT oid FROM pg_database WHERE datname = current_database())")
            refused("another command that moves sealed values")
    # A policy that is not the one applied, and a table that is not as it says.
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("taj.person:\n    subject: person_id\n", "taj.person:\n    subject: person_id\n    space: people\n", 1))
    refused("ecluse apply")
    gate.write_policy(text.replace("note: {class: assessment, sealed: {}}", "note: {class: assessment}"))
    refused("is sealed in the database and not in the policy")
    gate.write_policy(text.replace("birth_place: {class: identity}", "birth_place: {class: identity, sealed: {}}"))
    refused("stands in the database in clear")
    # `ecluse seal` that is not through, under the policy of before.
    for at in range(20, 200, 3):
        assert Cut(postgres, at).run(gate, "seal")[0] == -signal.SIGKILL
        if in_database(gate, "SELECT count(*) FROM pg_attribute WHERE attname = '__sealed_birth_place'") == [(1,)]:
            break
    gate.write_policy(text)
    refused("`ecluse seal` is not through with taj.person")


def test_nothing_in_clear_reaches_postgresql(gate):
    """With everything logged that PostgreSQL logs, also of rows that it refuses."""
    rows = [person(400_000 + i, nir=f"VERBORGEN{i}", family_name=f"VERBORGEN{i}", note=f"VERBORGEN{i}", phone=f"VERBORGEN{i}", photo=b"VERBORGEN") for i in range(50)]
    rows[7]["sex"] = None
    rows[9]["person_id"] = 1001
    rows[11]["nir"] = rows[10]["nir"]
    rows[13]["birth_date"] = "VERBORGEN"
    path = write(gate, "secret.csv", csv_text(rows))
    load(gate, path, status=1)
    logs = b"".join(open(f, "rb").read() for f in glob.glob(os.path.join(gate.postgres.data, "log", "*")))
    assert b"VERBORGEN" not in logs and "VERBORGEN".encode().hex().encode() not in logs
    assert b"COPY \\\"taj\\\".\\\"person\\\"" in logs and b"person_pkey" in logs, "nothing of it was logged"
    assert len(rejects(path)) == 4 and "VERBORGEN" not in open(path + ".rejected").read()
    assert in_database(gate, "SELECT count(*) FROM taj.person WHERE person_id >= 400000") == [(46,)]


def test_the_gate_knows_what_it_is_sealed_under(make_gate):
    """A key that was made where the gate could not be told: it takes it before anything is under that key."""
    gate = make_gate("loadgives", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    path = write(gate, "people.csv", csv_text([person(300_000)]))
    sock = os.path.join(gate.data, "control.sock")
    ring = os.path.join(gate.data, "keys", "ring")
    gate.stop()
    shutil.copy2(ring, ring + ".former")
    gate.command("keys", "rotate")
    os.rename(ring, ring + ".new")
    os.rename(ring + ".former", ring)
    gate.serve()
    os.replace(ring + ".new", ring)
    os.rename(sock, sock + ".away")
    said = load(gate, path, check=False)
    assert said.returncode == 2 and "cannot be asked" in said.stderr
    os.rename(sock + ".away", sock)
    load(gate, path)
    assert read(gate, "person_id = 300000") == [shown(person(300_000))]
    # And without a gate: the next one opens it, and finds it in the ledger.
    gate.stop()
    gate.command("keys", "rotate")
    load(gate, write(gate, "more.jsonl", jsonl_text([person(300_001)])))
    gate.serve()
    assert read(gate, "person_id >= 300000") == [shown(person(300_000)), shown(person(300_001))]
    assert [e["rows"] for e in collections(gate) if "ended" in e["reason"]] == [1, 1]
    assert gate.command("ledger", "verify").returncode == 0 and gate.command("dossier", "--principal", "registrar").returncode == 0


def test_the_ledger_takes_no_other_collection_from_commands(gate):
    before = len(gate.ledger("--kind", "collection"))
    for kind, reason, rows in (("collection", "gathered", 1), ("collection", "load of x", -1), ("collection", "load of x", "1"), ("disclosure", "load of x", 0), ("key", "sealed", 7),
                               ("collection", "load of\nx", 1)):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(gate.data, "control.sock"))
            s.sendall(json.dumps({"command": "write-down", "kind": kind, "reason": reason, "rows": rows}).encode() + b"\n")
            assert "nothing to be written down" in s.recv(10000).decode()
    assert len(gate.ledger("--kind", "collection")) == before


def test_memory_does_not_grow_with_the_file(gate):
    """300 MB of large values and of many rows."""
    path = write(gate, "large.csv", "address_id,owner_id,street,town,postcode\n")
    with open(path, "a") as f:
        for i in range(40):
            f.write(f"{600_000 + i},1,{'x' * (4 << 20)},Lyon,69000\n")
        for i in range(30_000):
            f.write(f"{700_000 + i},none,{'y' * 4_000},Lyon,69000\n")
    # The kernel counts to a child what its parent held when it forked: a small parent, not pytest, starts the command.
    measure = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    run = subprocess.run([sys.executable, "-c", measure, BINARY, "load", "--table", "sia.address", "--owner", gate.postgres.owner_url(gate.database),
                          "--config", gate.config, path], capture_output=True, text=True)
    code, used = map(int, run.stdout.split()[-2:])
    assert code == 1 and used < 200_000, used  # KiB
    assert in_database(gate, "SELECT count(*) FROM sia.address WHERE address_id >= 600000") == [(40,)] and len(rejects(path)) == 30_000
    os.unlink(path)
