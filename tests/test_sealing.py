"""Moving a register in: `ecluse seal` beside a gate in use, killed at every step, and nothing clear left behind."""
import os
import re
import signal
import subprocess
import threading

import psycopg
import pytest

from harness.cut import BEFORE_THE_CHANGE, Cut
from harness.gate import SEALED, Gate
from harness.postgres import Postgres
from harness.registrar import ACCOUNTS, ALL, ROLES, in_database

def types(gate, table="taj.person"):
    return dict(in_database(gate, "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass "
                                  "AND attnum > 0 AND NOT attisdropped", table))


def test_a_register_in_use_is_sealed(make_gate, register_a):
    gate = make_gate("sealinuse", accounts=ACCOUNTS, roles=ROLES)
    with gate.postgres.owner(gate.database) as c:
        c.execute("INSERT INTO taj.person SELECT i, 'x' || i, 'Many', 'One', '1990-01-01', 'Lille', 'F', i % 100, 'n', NULL, 170, NULL, '\\x00' "
                  "FROM generate_series(100000, 130000) i")
    written, errors, done = {}, [], threading.Event()

    def work():
        number = 500000
        c = gate.psycopg("registrar")
        while not done.is_set():
            number += 1
            try:
                c.execute(f"INSERT INTO taj.person ({ALL}) VALUES (%s, %s, 'Neuf', 'É', '1950-05-05', 'Lyon', 'M', 3, NULL, NULL, NULL, NULL)", (number, f"w{number}"))
                written[number] = (f"w{number}", "Neuf")
                old = 100000 + (number * 7919) % 30000
                c.execute("UPDATE taj.person SET family_name = %s WHERE person_id = %s", (f"Moved{number}", old))
                written[old] = (f"x{old}", f"Moved{number}")
                assert c.execute("SELECT nir FROM taj.person WHERE person_id = %s", (old,)).fetchone() == (f"x{old}",)
            except psycopg.Error as e:
                errors.append((e.sqlstate, str(e)))
                if c.closed or c.broken:
                    c = gate.psycopg("registrar")
        c.close()

    worker = threading.Thread(target=work)
    worker.start()
    gate.wait_for(lambda: len(written) > 100)
    gate.write_policy(sealed=True)
    before = len(written)
    said = gate.seal()
    gate.wait_for(lambda: "policy" in gate.log_text() and len(written) > before + 50)
    gate.wait_for(lambda: len(written) > before + 200, 20)
    done.set()
    worker.join()
    assert "sealed taj.person.nir" in said.stdout and "Still to do" in said.stdout
    assert before > 100 and types(gate)["nir"] == "ecluse_sealed.text" and types(gate)["birth_date"] == "ecluse_sealed.date"
    assert not [n for n in types(gate) if n.startswith("__sealed")]
    # Between the change and the new policy a statement may find nothing to stand on; none was answered otherwise.
    assert {state for state, _ in errors} <= {"42P01", "0A000", "26000", "55P03", "57014", "XX000", "42501"}, errors[:5]
    with gate.psycopg("registrar") as c:
        for number, (nir, name) in written.items():
            assert c.execute("SELECT nir, family_name FROM taj.person WHERE person_id = %s", (number,)).fetchone() == (nir, name)
        assert c.execute("SELECT person_id FROM taj.person WHERE nir = 'X100005'").fetchall() == [(100005,)]
        got = {r[0]: r for r in c.execute(f"SELECT {ALL} FROM taj.person WHERE person_id < 100000").fetchall()}
        assert got == {p["person_id"]: tuple(p[k.strip()] for k in ALL.split(",")) for p in register_a["taj.person"]}
    assert gate.seal().stdout.startswith("nothing to seal")


def test_it_may_be_killed_at_every_statement(make_gate, postgres, templates, register_a):
    gate = make_gate("sealkilled", accounts=ACCOUNTS, roles=ROLES, serve=False)
    gate.write_policy(sealed=True)
    fresh = gate.database
    people = in_database(gate, "SELECT person_id, nir, family_name, birth_date, photo FROM taj.person ORDER BY 1")

    def renew():
        with postgres.admin("postgres") as c:
            c.execute(f"DROP DATABASE {fresh} WITH (FORCE)")
            for role in [r[0] for r in c.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ecluse\\_sealkilled\\_%'")]:
                c.execute(f'DROP ROLE "{role}"')
        postgres.create_database(fresh, templates["a"])

    renew()
    everything = Cut(postgres, None)
    status, out, err = everything.run(gate, "seal")
    assert status == 0, err
    total = everything.count
    assert total > 60
    # Every statement of its own work, and some of the many that apply the policy.
    points = list(range(1, 46)) + list(range(46, total + 1, max(1, (total - 46) // 25)))
    for at in points:
        renew()
        status, out, err = Cut(postgres, at).run(gate, "seal")
        assert status in (-signal.SIGKILL, 0), (at, err)
        kind = types(gate)["nir"]
        if kind == "text":  # still the register that it was, as far as anybody else sees
            assert in_database(gate, "SELECT person_id, nir, family_name, birth_date, photo FROM taj.person ORDER BY 1") == people, at
        again = gate.seal()
        assert ("sealed taj.person.nir" in again.stdout) == (kind == "text"), (at, again.stdout)
        assert types(gate)["nir"] == "ecluse_sealed.text" and not [n for n in types(gate) if n.startswith("__sealed")], at
        assert in_database(gate, "SELECT count(nir), count(family_name), count(photo), count(\"__bidx_nir\") FROM taj.person") == [(len(people),) * 4], at
        assert in_database(gate, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)], at
    gate.serve()
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT person_id, nir, family_name, birth_date, photo FROM taj.person ORDER BY 1").fetchall() == people


def test_the_way_back(make_gate, postgres, register_a):
    """Opened again beside a gate in use, killed at some statements, and what comes back is what went in."""
    gate = make_gate("sealback", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    everything = [tuple(p[k.strip()] for k in ALL.split(",")) for p in register_a["taj.person"]]
    with gate.psycopg("registrar") as c:
        c.execute(f"INSERT INTO taj.person ({ALL}) VALUES (999, 'new', 'Ö\"\\{{}}', 'x', '1999-12-31', 'Lyon', 'M', 5, NULL, '', 170, '\\x00ff')")
    gate.write_policy(sealed=False)
    for at in (3, 9, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31, 33, 36, 40, 45, 52, 60):
        status, _, err = Cut(postgres, at).run(gate, "seal", "--undo")
        assert status in (-signal.SIGKILL, 0), err
        if types(gate)["nir"] == "ecluse_sealed.text":  # the gate goes on under the policy it has
            with gate.psycopg("registrar") as c:
                c.execute("UPDATE taj.person SET note = %s WHERE person_id = 999", (f"after {at}",))
                last = f"after {at}"
    said = gate.seal("--undo")
    assert "opened taj.person.nir" in said.stdout or said.stdout.startswith("nothing to open")
    kinds = types(gate)
    assert (kinds["nir"], kinds["birth_date"], kinds["height"], kinds["photo"]) == ("text", "date", "smallint", "bytea") and not [n for n in kinds if n.startswith("__")]
    assert in_database(gate, f"SELECT {ALL} FROM taj.person WHERE person_id > 1000 ORDER BY 1") == everything
    assert in_database(gate, "SELECT nir, family_name, note, phone, photo FROM taj.person WHERE person_id = 999") == [("new", 'Ö"\\{}', last, "", b"\x00\xff")]
    with gate.postgres.admin(gate.database) as c, pytest.raises(psycopg.errors.UniqueViolation):
        c.execute("UPDATE taj.person SET nir = 'new' WHERE person_id = 1001")
    gate.wait_for(lambda: gate.log_text().count("is in force") >= 1)
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT person_id FROM taj.person WHERE nir < 'o' AND nir > 'm'").fetchall() == [(999,)]
    gate.write_policy(sealed=True)
    assert "sealed taj.person.nir" in gate.seal().stdout
    gate.wait_for(lambda: gate.log_text().count("is in force") >= 2)
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT person_id FROM taj.person WHERE nir = 'new'").fetchall() == [(999,)]


def test_a_run_under_another_policy_is_not_gone_on_with(make_gate, postgres, register_a):
    """What was sealed for another space opens for nobody: it is made anew."""
    gate = make_gate("sealanew", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False, sealed=True)
    gate.command("keys", "init")
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("taj.person:\n    subject: person_id\n", "taj.person:\n    subject: person_id\n    space: people\n", 1).replace("search: [equality, prefix(4), phonetic]", "search: [equality]"))
    for at in range(20, 200, 2):  # until some of it is sealed
        assert Cut(postgres, at).run(gate, "seal")[0] == -signal.SIGKILL
        if "__sealed_nir" in types(gate) and in_database(gate, "SELECT count(*) > 0 FROM taj.person WHERE \"__sealed_nir\" IS NOT NULL") == [(True,)]:
            break
    gate.write_policy(text)
    gate.seal()
    gate.add_account("registrar", "registrar")
    gate.serve()
    with gate.psycopg("registrar") as c:
        got = c.execute("SELECT nir FROM taj.person ORDER BY person_id").fetchall()
        assert got == [(p["nir"],) for p in register_a["taj.person"]]
        assert c.execute("SELECT count(*) FROM taj.person WHERE family_name LIKE 'mart%'").fetchone()[0] > 0


SET_NOTE = "UPDATE taj.person SET note = '{0}' WHERE person_id = {0}"
UNMARKED = [  # ways past the trigger that marks changed rows, and what is said of them
    ("ALTER TABLE taj.person DISABLE TRIGGER USER; {}; ALTER TABLE taj.person ENABLE TRIGGER USER", "taken away or disabled"),
    ('DROP TRIGGER "~ecluse_mark" ON taj.person; {}', "taken away or disabled"),
    ('DROP TRIGGER "~ecluse_mark" ON taj.person; {}; CREATE TRIGGER "~ecluse_mark" BEFORE INSERT OR UPDATE ON taj.person FOR EACH ROW EXECUTE FUNCTION '
     'ecluse_sealed."mark taj.person"()', "taken away or disabled"),
    ("ALTER TABLE taj.person ALTER COLUMN note TYPE text USING CASE WHEN person_id = {0} THEN '{0}' ELSE note END", "written anew"),
]


def unmarked(way, person):
    return way.format(person if "{0}" in way else SET_NOTE.format(person))


def test_what_changed_unmarked_between_two_runs_is_sealed_anew(make_gate, postgres, register_a):
    gate = make_gate("sealunmarked", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False, sealed=True)
    gate.command("keys", "init")
    notes = {p["person_id"]: p["note"] for p in register_a["taj.person"]}

    def interrupted(at=BEFORE_THE_CHANGE):
        status, _, err = Cut(postgres, at).run(gate, "seal")
        assert status == -signal.SIGKILL and in_database(gate, 'SELECT count(*) > 0 FROM taj.person WHERE "__sealed_nir" IS NOT NULL') == [(True,)], err
        return err

    assert "anew" not in interrupted() and "anew" not in interrupted()
    said = []
    for person, (way, _) in zip(notes, UNMARKED):
        with postgres.admin(gate.database) as c:
            c.execute(unmarked(way, person))
        said.append(interrupted())
        notes[person] = str(person)
    with postgres.admin(gate.database) as c:  # which the trigger marks all the same
        c.execute("SET session_replication_role TO replica")
        last = list(notes)[-1]
        c.execute(SET_NOTE.format(last))
        notes[last] = str(last)
    said.append(gate.seal().stderr)
    gate.add_account("registrar", "registrar")
    gate.serve()
    with gate.psycopg("registrar") as c:
        assert dict(c.execute("SELECT person_id, note FROM taj.person").fetchall()) == notes
    assert all("begun anew" in err and words in err for err, (_, words) in zip(said, UNMARKED)) and "begun anew" not in said[-1], said


def test_what_changed_unmarked_before_the_change_is_no_end_of_it(make_gate, postgres, register_a):
    gate = make_gate("sealunseen", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False, sealed=True)
    gate.command("keys", "init")
    notes = {p["person_id"]: p["note"] for p in register_a["taj.person"]}
    for person, (way, words) in zip(notes, UNMARKED):
        def change():
            with postgres.admin(gate.database) as c:
                c.execute(unmarked(way, person))
        status, _, err = Cut(postgres, BEFORE_THE_CHANGE, change).run(gate, "seal")
        assert status == 2 and "may have changed unmarked" in err and words in err and types(gate)["note"] == "text", err
        notes[person] = str(person)
    gate.seal()
    gate.add_account("registrar", "registrar")
    gate.serve()
    with gate.psycopg("registrar") as c:
        assert dict(c.execute("SELECT person_id, note FROM taj.person").fetchall()) == notes


ALTERED = [  # beside `seal`, what is said of it, and what undoes it
    ("ALTER TABLE taj.person ADD CONSTRAINT one_phone UNIQUE (phone)", "the unique key one_phone was added", "ALTER TABLE taj.person DROP CONSTRAINT one_phone"),
    ("CREATE UNIQUE INDEX one_phone ON taj.person (phone, person_id)", "the unique key one_phone was added", "DROP INDEX taj.one_phone"),
    ("CREATE UNIQUE INDEX one_phone ON taj.person (phone) WHERE risk > 2", "is read by the index one_phone", "DROP INDEX taj.one_phone"),
    ("ALTER TABLE taj.person ADD CONSTRAINT long CHECK (length(nir) > 2)", "check long", "ALTER TABLE taj.person DROP CONSTRAINT long"),
    ("CREATE TABLE closed.card (nir text REFERENCES taj.person (nir))", "foreign key card_nir_fkey", "DROP TABLE closed.card"),
    ("CREATE VIEW closed.names AS SELECT nir FROM taj.person", "view closed.names", "DROP VIEW closed.names"),
    ("CREATE POLICY few ON taj.person USING (nir > 'a')", "policy few", "DROP POLICY few ON taj.person"),
    ("ALTER TABLE taj.person ENABLE ROW LEVEL SECURITY; ALTER TABLE taj.person FORCE ROW LEVEL SECURITY; CREATE POLICY few ON taj.person USING (person_id < 1100)",
     "row-level security", "DROP POLICY few ON taj.person; ALTER TABLE taj.person NO FORCE ROW LEVEL SECURITY; ALTER TABLE taj.person DISABLE ROW LEVEL SECURITY"),
    ("CREATE FUNCTION closed.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER touch BEFORE UPDATE ON taj.person FOR EACH ROW "
     "EXECUTE FUNCTION closed.touch()", "trigger touch", "DROP TRIGGER touch ON taj.person"),
    ("ALTER TABLE taj.person ALTER COLUMN note SET DEFAULT 'x'", "default", "ALTER TABLE taj.person ALTER COLUMN note DROP DEFAULT"),
    ("ALTER TABLE taj.person ALTER COLUMN note TYPE varchar(90)", "taj.person.note was text, and is character varying(90)", ""),
    ("ALTER TABLE taj.person ADD COLUMN small int GENERATED ALWAYS AS (risk) STORED", "generated column small", "ALTER TABLE taj.person DROP COLUMN small"),
    ("ALTER TABLE taj.person RENAME COLUMN note TO remark", "taj.person.note was dropped or renamed", "ALTER TABLE taj.person RENAME COLUMN remark TO note"),
    ("ALTER TABLE taj.person DROP CONSTRAINT person_nir_key, ADD CONSTRAINT person_nir_key UNIQUE NULLS NOT DISTINCT (nir)",
     "the unique key person_nir_key of taj.person was altered", ""),
    ("ALTER TABLE taj.person DROP CONSTRAINT person_nir_key", "the unique key person_nir_key of taj.person was dropped", ""),
    ("CREATE UNIQUE INDEX one_phone ON taj.person (phone)", "the unique key one_phone was added", ""),
]


def test_what_is_altered_beside_it_is_not_lost(make_gate, postgres):
    """A key that was added while rows were sealed would go at the change without a word, and so would others."""
    gate = make_gate("sealaltered", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False, sealed=True)
    gate.command("keys", "init")
    for sql, words, mend in ALTERED:
        def alter():
            with postgres.admin(gate.database) as c:
                c.execute(sql)
        status, _, err = Cut(postgres, BEFORE_THE_CHANGE, alter).run(gate, "seal")
        assert status == 2 and words in err and types(gate)["nir"] == "text", err
        if mend:
            with postgres.admin(gate.database) as c:
                c.execute(mend)
    said = gate.seal()
    assert "sealed taj.person.note" in said.stdout
    indexes = dict(in_database(gate, "SELECT indexrelid::regclass::text, indisunique FROM pg_index WHERE indrelid = 'taj.person'::regclass"))
    assert indexes["taj.__bidx_one_phone"] and "taj.__bidx_person_nir_key" not in indexes and not indexes["taj.person___bidx_nir"] and "taj.person___bidx_phone" not in indexes


def test_what_changed_unmarked_is_opened_anew(make_gate, postgres):
    gate = make_gate("sealunmarkedback", accounts=ACCOUNTS, roles=ROLES, serve=False, sealed=True)
    gate.write_policy(sealed=False)
    assert Cut(postgres, BEFORE_THE_CHANGE).run(gate, "seal", "--undo")[0] == -signal.SIGKILL
    with postgres.admin(gate.database) as c:
        c.execute("ALTER TABLE taj.person DISABLE TRIGGER USER; UPDATE taj.person SET note = NULL; ALTER TABLE taj.person ENABLE TRIGGER USER")
    said = gate.seal("--undo")
    assert in_database(gate, "SELECT count(nir) > 0, count(note) FROM taj.person") == [(True, 0)] and "begun anew" in said.stderr


@pytest.mark.parametrize("sql, words", [
    ("ALTER TABLE sia.address DROP CONSTRAINT address_pkey", "primary key"),
    ("ALTER TABLE taj.person ADD CHECK (length(nir) > 2)", "check"),
    ("CREATE INDEX ON taj.person (upper(nir))", "index"),
    ("CREATE UNIQUE INDEX ON taj.person (photo)", "equality"),
    ("CREATE VIEW closed.names AS SELECT nir FROM taj.person", "closed.names"),
    ("ALTER TABLE taj.person ALTER COLUMN note SET DEFAULT 'x'", "default"),
    ("CREATE FUNCTION closed.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER touch BEFORE UPDATE ON taj.person FOR EACH ROW "
     "EXECUTE FUNCTION closed.touch()", "trigger touch"),
    ("CREATE TABLE closed.child () INHERITS (taj.person)", "inherit"),
    ("ALTER TABLE taj.person ENABLE ROW LEVEL SECURITY; ALTER TABLE taj.person FORCE ROW LEVEL SECURITY; CREATE POLICY few ON taj.person USING (person_id < 1100)", "row-level security"),
    ("CREATE POLICY few ON taj.person USING (nir > 'a')", "policy few"),
    ("ALTER TABLE taj.person DROP COLUMN height; ALTER TABLE taj.person ADD COLUMN height int GENERATED ALWAYS AS (risk) STORED", "generated column"),
    ("ALTER TABLE taj.person ALTER COLUMN note TYPE char(60)", "cannot be sealed"),
    ("CREATE DOMAIN ref.word AS text; ALTER TABLE taj.person ALTER COLUMN note TYPE ref.word", "domain"),
    ("UPDATE taj.person SET family_name = 'ZOÉ' WHERE person_id = 1001; UPDATE taj.person SET family_name = 'zoe' WHERE person_id = 1004; "
     "DELETE FROM taj.involvement; DELETE FROM taj.person WHERE person_id > 1004; ALTER TABLE taj.person ADD UNIQUE (family_name)", "no accents"),
])
def test_what_cannot_be_sealed_is_left_as_it_is(make_gate, postgres, templates, request, sql, words):
    name = "unfit" + str(abs(hash(sql)) % 10**8)
    gate = make_gate(name, accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False, sealed=True)
    gate.command("keys", "init")
    with postgres.admin(gate.database) as c:
        c.execute(sql)
    said = gate.seal(check=False)
    assert said.returncode == 2 and words in said.stderr, said.stderr
    assert types(gate)["nir"] == "text" and types(gate)["family_name"] == "text"


def test_a_lock_that_is_not_to_be_had(make_gate, postgres):
    gate = make_gate("seallock", accounts=ACCOUNTS, roles=ROLES, serve=False)
    gate.write_policy(sealed=True)
    with postgres.admin(gate.database) as c:
        c.autocommit = False
        c.execute("SELECT count(*) FROM sia.address")  # and stays open
        said = gate.seal(check=False)
    assert said.returncode == 2 and "open transactions" in said.stderr and types(gate)["nir"] == "text"
    assert gate.seal().returncode == 0


def test_policy_and_database_must_agree(make_gate, postgres):
    gate = make_gate("sealagree", accounts=ACCOUNTS, roles=ROLES, serve=False)
    gate.write_policy(sealed=True)
    said = gate.apply(check=False)
    assert said.returncode == 1 and "ecluse seal --table taj.person" in said.stderr
    named = gate.seal("--table", "taj.person", check=False)
    assert named.returncode == 2 and "sia.address" in named.stderr
    assert gate.seal("--table", "taj.person", "--table", "sia.address").returncode == 0
    gate.write_policy(sealed=False)
    said = gate.apply(check=False)
    assert said.returncode == 1 and "is sealed in the database and not in the policy" in said.stderr


def test_a_table_that_is_not_there_is_no_end_of_work(make_gate, postgres):
    gate = make_gate("sealabsent", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False)
    gate.command("keys", "init")
    with postgres.admin(gate.database) as c:
        c.execute("ALTER TABLE sia.address RENAME TO place")
    for option in ((), ("--undo",)):
        said = gate.seal("--table", "sia.address", *option, check=False)
        assert said.returncode == 2 and "sia.address" in said.stderr and "not in the database" in said.stderr, said.stdout


def test_it_names_the_indexes_that_nothing_replaced(make_gate, postgres):
    gate = make_gate("sealindexes", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False, sealed=True)
    gate.command("keys", "init")
    with postgres.admin(gate.database) as c:
        c.execute("CREATE UNIQUE INDEX one_phone ON taj.person (phone); CREATE INDEX notes ON taj.person (note)")
    said = gate.seal().stdout
    assert "the index taj.notes" in said and "the index taj.one_phone" not in said
    assert in_database(gate, "SELECT to_regclass('taj.__bidx_one_phone') IS NOT NULL, to_regclass('taj.one_phone')") == [(True, None)]


def test_nulls_that_are_the_same_stay_so(make_gate, postgres):
    """Also while rows wait for their tokens, and on the way back."""
    gate = make_gate("sealnulls", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False, sealed=True)
    gate.command("keys", "init")
    with postgres.admin(gate.database) as c:
        c.execute("UPDATE taj.person SET phone = nullif('p' || person_id, 'p1001'); ALTER TABLE taj.person ADD CONSTRAINT one_phone UNIQUE NULLS NOT DISTINCT (phone); "
                  "CREATE UNIQUE INDEX one_risk ON taj.person (risk, person_id) NULLS NOT DISTINCT")

    def ruled():
        return in_database(gate, "SELECT ARRAY(SELECT attname::text FROM pg_attribute a WHERE attrelid = indrelid AND attnum = ANY (indkey::int2[]) ORDER BY 1) FROM pg_index "
                                 "WHERE indrelid = 'taj.person'::regclass AND indisunique AND indnullsnotdistinct AND indisvalid ORDER BY 1")

    def work():
        with postgres.admin(gate.database) as c:
            c.execute("UPDATE taj.person SET phone = 'q' || person_id WHERE person_id BETWEEN 1004 AND 1030")
    status, _, err = Cut(postgres, BEFORE_THE_CHANGE, work).run(gate, "seal")
    assert status == 0 and ruled() == [(["__bidx_phone"],), (["__bidx_risk", "person_id"],)], err
    with postgres.admin(gate.database) as c, pytest.raises(psycopg.errors.UniqueViolation):
        c.execute("UPDATE taj.person SET phone = NULL, __bidx_phone = NULL WHERE person_id = 1004")
    gate.write_policy(sealed=False)
    gate.seal("--undo")
    assert ruled() == [(["person_id", "risk"],), (["phone"],)]
    with postgres.admin(gate.database) as c, pytest.raises(psycopg.errors.UniqueViolation):
        c.execute("UPDATE taj.person SET phone = NULL WHERE person_id = 1004")


def beside(gate):
    """What stands in the tables for their columns' way, and what marks their rows."""
    columns = {r[0] for r in in_database(gate, "SELECT attname::text FROM pg_attribute WHERE attrelid IN ('taj.person'::regclass, 'sia.address'::regclass) "
                                               "AND NOT attisdropped AND starts_with(attname, '__')")}
    return columns, in_database(gate, "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname = '~ecluse_mark'), (SELECT count(*) FROM pg_proc WHERE starts_with(proname, 'mark '))")[0]


def test_what_the_policy_no_longer_asks_for_is_dropped(make_gate, postgres, register_a):
    gate = make_gate("sealleft", accounts=ACCOUNTS, roles=ROLES, serve=False)
    everything = in_database(gate, f"SELECT {ALL} FROM taj.person ORDER BY 1")

    def interrupted(*options):
        status, _, err = Cut(postgres, BEFORE_THE_CHANGE).run(gate, "seal", *options)
        assert status == -signal.SIGKILL, err

    def reencrypt(check=True):
        return gate.command("keys", "rotate", "--reencrypt", "--owner", postgres.owner_url(gate.database), check=check)

    for options in ((), ("--undo",)):  # given up altogether
        gate.write_policy(sealed=True)
        interrupted()
        columns, marks = beside(gate)
        assert {"__sealed_nir", "__sealed_street", "__bidx_birth_date_r0", "__bidx_family_name_p4"} < columns and marks == (2, 2)
        refused = reencrypt(check=False)
        assert refused.returncode == 2 and "`ecluse seal` is not through with" in refused.stderr
        gate.write_policy(sealed=False)
        said = gate.seal(*options)
        assert said.stdout.startswith("nothing to") and "taj.person" in said.stderr and "__sealed_nir" in said.stderr and "VACUUM" not in said.stderr
        assert beside(gate) == (set(), (0, 0)) and in_database(gate, f"SELECT {ALL} FROM taj.person ORDER BY 1") == everything

    gate.write_policy(sealed=True)  # given up for some columns, and some of their indexes
    interrupted()
    with open(gate.config) as f:
        text = f.read()
    for clear in ("note: {class: assessment}", "risk: {class: assessment}", "street: {class: contact}"):
        text = text.replace(SEALED[clear], clear)
    text = text.replace("search: [equality, prefix(4), phonetic]", "search: [equality, prefix(2)]")
    gate.write_policy(text)
    said = gate.seal()
    assert "sealed taj.person.nir" in said.stdout and "__sealed_note" in said.stderr and "__sealed_street" in said.stderr and "__sealed_nir" not in said.stderr
    columns, marks = beside(gate)
    assert {c for c in columns if "name" in c} == {"__bidx_family_name", "__bidx_family_name_p1", "__bidx_family_name_p2"} and marks == (0, 0)
    assert not {c for c in columns if "__sealed" in c or "note" in c or "risk" in c or "street" in c} and "__bidx_nir" in columns
    reencrypt()

    gate.write_policy(text.replace(SEALED["nir: {class: identifier}"], "nir: {class: identifier}"))
    interrupted("--undo")  # and a way back that was given up: what it gathered is in clear
    assert "__clear_nir" in beside(gate)[0]
    text = text.replace("search: [equality, prefix(4), phonetic]", "search: [equality, prefix(2)]")
    gate.write_policy(text)
    said = gate.seal()
    assert "__clear_nir" in said.stderr and "VACUUM FULL" in said.stderr and beside(gate) == (columns, (0, 0)) and types(gate)["nir"] == "ecluse_sealed.text"
    gate.serve()
    with gate.psycopg("registrar") as c:
        assert c.execute(f"SELECT {ALL} FROM taj.person ORDER BY 1").fetchall() == everything


def test_an_unfinished_way_back_is_no_hindrance_to_another_key(make_gate, postgres, register_a):
    gate = make_gate("sealbackanew", accounts=ACCOUNTS, roles=ROLES, serve=False, sealed=True)
    gate.write_policy(sealed=False)
    assert Cut(postgres, BEFORE_THE_CHANGE).run(gate, "seal", "--undo")[0] == -signal.SIGKILL
    gate.command("keys", "rotate", "--reencrypt", "--owner", postgres.owner_url(gate.database))
    gate.seal("--undo")
    assert in_database(gate, f"SELECT {ALL} FROM taj.person ORDER BY 1") == [tuple(p[k.strip()] for k in ALL.split(",")) for p in register_a["taj.person"]]


def test_nothing_clear_is_left(tmp_path_factory, register_a):
    """Every file of a cluster, after the documented clean-up, and a dump."""
    folder = tmp_path_factory.mktemp("stolen")
    os.chmod(folder, 0o755)
    for parent in folder.parents:
        if str(parent).startswith("/tmp/"):
            os.chmod(parent, 0o755)
    server = Postgres(folder)
    running = True
    try:
        server.create_owner()
        server.create_database("stolen")
        with server.owner("stolen") as c:
            register_a.load(c)
        gate = Gate(os.path.join(folder, "gate"), server, "stolen", "stolen", accounts=ACCOUNTS, roles=ROLES, sealed=True)
        words = {p["nir"] for p in register_a["taj.person"]} | {p["phone"] for p in register_a["taj.person"] if p["phone"]}
        words |= {p["note"] for p in register_a["taj.person"] if p["note"]} | {a["street"] for a in register_a["sia.address"]}
        words |= {p["photo"].decode() for p in register_a["taj.person"]}
        words = {w.encode() for w in words}
        assert len(words) > 1000
        with server.admin("stolen") as c:
            c.execute("CHECKPOINT")
        assert clear_in(server.data, words), "the search would find nothing"
        gate.command("keys", "init")
        gate.seal()
        with server.admin("stolen") as c:  # what `ecluse seal` says is still to do
            c.execute("VACUUM FULL pg_catalog.pg_statistic")
            c.execute("CHECKPOINT")
        dump = subprocess.run(["pg_dump", "-d", server.owner_url("stolen")], capture_output=True, check=True).stdout
        assert b"ecluse_sealed" in dump and not [w for w in words if w in dump]
        gate.add_account("registrar", "registrar")
        gate.serve()
        with gate.psycopg("registrar") as c:
            for p in register_a["taj.person"][:200]:
                assert c.execute("SELECT note FROM taj.person WHERE nir = %s AND family_name = %s", (p["nir"], p["family_name"])).fetchall() == [(p["note"],)]
        gate.stop()
        server.stop("fast")
        running = False
        server._run("pg_resetwal", "-D", server.data)
        assert clear_in(server.data, words) == {}
    finally:
        if running:
            server.stop()


def clear_in(folder, words):
    """By file the words that stand in it."""
    any_word, found = re.compile(b"|".join(map(re.escape, words))), {}
    for parent, _, names in os.walk(folder):
        for name in filter(lambda n: os.path.isfile(os.path.join(parent, n)), names):
            with open(os.path.join(parent, name), "rb") as f:
                content = f.read()
            if there := set(any_word.findall(content)):
                found[os.path.join(parent, name)] = there
    return found
