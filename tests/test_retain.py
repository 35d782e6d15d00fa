"""Rows past their retention: what is old goes and nothing else, nobody's rows go without an entry that names them, killed at every statement."""
import datetime
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from harness.cut import Cut
from harness.gate import people
from harness.registrar import in_database

UTC = datetime.timezone.utc
WHO = {"counter": "counter"}


def with_retention(gate, more="", **tables):
    """The gate's policy with `retention` for tables named as taj_person="birth_date, keep: 40y"; `more` are tables."""
    gate.write_policy()
    with open(gate.config) as f:
        text = f.read()
    for name, rule in tables.items():
        head = "\n  " + name.replace("_", ".", 1) + ":\n"
        assert head in text
        text = text.replace(head, head + f"    retention: {{column: {rule}}}\n", 1)
    gate.write_policy(text.replace("\nopen_tables:", "\n" + more.strip("\n") + "\nopen_tables:", 1) if more else text)


def retain(gate, *options, status=0):
    said = gate.command("retain", "--owner", gate.postgres.owner_url(gate.database), *options, check=False)
    assert said.returncode == status, said.stderr + said.stdout
    return said


def deletions(gate, table=None):
    return [e for e in gate.ledger("--kind", "erasure") if e["reason"].startswith("retention of " + (table or ""))]


def whose(gate, sql, *values, space="person"):
    return {f"{space}:{row[0]}" for row in in_database(gate, sql, *values)}


def run(gate, *statements):
    with gate.postgres.owner(gate.database) as c:
        for sql in statements:
            c.execute(sql)


def years_ago(years):
    return datetime.datetime.now(UTC) - datetime.timedelta(days=365 * years)


# --- what goes, and what is written down ---

@pytest.mark.parametrize("served", [True, False], ids=["beside a gate", "alone"])
def test_what_is_old_goes_and_each_person_is_written_down(make_gate, served):
    gate = make_gate(f"retained{served:d}", accounts=WHO, sealed=True, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 4y", sia_permit="valid_until, keep: 3y", sia_address="moved, keep: 1d")
    run(gate, "ALTER TABLE sia.address ADD moved date", "UPDATE sia.permit SET valid_until = NULL WHERE permit_id % 7 = 0")
    gate.prepare().serve()
    with gate.psycopg("counter") as c:  # whom the ledger knows already, and whom it does not
        c.execute("SELECT * FROM sia.owner WHERE owner_id % 2 = 0").fetchall()
    if not served:
        gate.stop()
    old = {"lapi.sighting": ("seen_at < %s", years_ago(4)), "sia.permit": ("valid_until < %s", years_ago(3).date())}
    expected, staying = {}, {}
    for table, subject, space in (("lapi.sighting", "plate", "plate"), ("sia.permit", "owner_id", "person")):
        condition, time = old[table]
        expected[table] = (in_database(gate, f"SELECT count(*) FROM {table} WHERE {condition}", time)[0][0],
                           whose(gate, f"SELECT DISTINCT {subject} FROM {table} WHERE {condition}", time, space=space))
        staying[table] = in_database(gate, f"SELECT * FROM {table} WHERE ({condition}) IS NOT TRUE ORDER BY 1", time)
        assert expected[table][0] > 20 and len(staying[table]) > 20
    nulls = in_database(gate, "SELECT count(*) FROM sia.permit WHERE valid_until IS NULL")[0][0]
    said = retain(gate, "--dry-run").stdout
    for table, keep in (("lapi.sighting", "4y"), ("sia.permit", "3y")):
        assert f"{table}: {expected[table][0]} rows of {len(expected[table][1])} people are older than {keep}\n" in said
    assert "sia.address: 0 rows of 0 people are older than 24h\n" in said
    assert f"  {nulls} rows have no valid_until: they are never deleted\n" in said
    assert deletions(gate) == [] and not os.path.exists(gate.data + "/retained")
    assert [in_database(gate, f"SELECT count(*) FROM {table}")[0][0] for table in old] == [expected[t][0] + len(staying[t]) for t in old]

    said = retain(gate).stdout
    for table in old:
        rows, who = expected[table]
        assert f"{table}: deleted {rows} rows older than" in said
        assert in_database(gate, f"SELECT * FROM {table} ORDER BY 1") == staying[table]
        entries = deletions(gate, table)
        assert sum(e.get("rows", 0) for e in entries) == rows and people(entries) == who
        assert all([s["table"] for s in e["subjects"]] == [table] and e["door"] == "command" and "principal" not in e and "charged" not in e for e in entries)
    assert f"  {nulls} rows have no valid_until: they are never deleted\n" in said
    reason = deletions(gate, "sia.permit")[0]["reason"]
    before = datetime.datetime.strptime(reason.split(" before ")[1].split(",")[0], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert abs(before - years_ago(3)) < datetime.timedelta(minutes=2)
    assert reason.startswith("retention of sia.permit: valid_until before ") and ", kept for 3y; by the system's user " in reason
    # They have keys as before: who-saw finds them, with the deletion.
    someone = sorted(expected["sia.permit"][1])[0]
    assert "erasure" in gate.command("who-saw", "--subject", someone).stdout
    gate.wait_for(lambda: gate.command("ledger", "verify", check=False).returncode == 0)
    # A second time there is nothing to do, and nothing is written down of that.
    count = len(deletions(gate))
    assert "lapi.sighting: deleted 0 rows" in retain(gate).stdout and len(deletions(gate)) == count
    if not served:
        gate.serve()
    with gate.psycopg("counter") as c:
        assert c.execute("SELECT count(*) FROM sia.permit").fetchone() == (len(staying["sia.permit"]),)


DATED = """
  taj.dated:
    subject: [one, two]
    space: pair
    columns: {id: {class: key}, one: {class: key}, two: {class: key}}
    retention: {column: COLUMN, keep: 2d}
"""


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz", "closed.moment"])
def test_old_is_measured_in_utc_and_by_whole_days(make_gate, kind):
    name = "retaindated" + kind.replace(".", "")
    gate = make_gate(name, accounts=WHO, prepare=False, serve=False)
    with_retention(gate, DATED.replace("COLUMN", "at"))
    now = datetime.datetime.now(UTC)
    cut = now - datetime.timedelta(days=2)
    minutes = datetime.timedelta(minutes=10)
    if kind == "date":
        rows = [(cut.date() - datetime.timedelta(days=1), True), (cut.date(), False), (cut.date() + datetime.timedelta(days=1), False)]
        if (now - minutes).date() != (now + minutes).date():
            pytest.skip("it is midnight")
    else:
        zone = None if kind == "timestamp" else UTC
        rows = [((cut - minutes).replace(tzinfo=zone), True), ((cut + minutes).replace(tzinfo=zone), False)]
    rows += [("-infinity", True), ("infinity", False), (None, False)]
    run(gate, f"ALTER DATABASE {name} SET TimeZone TO 'Pacific/Kiritimati'", f"ALTER DATABASE {name} SET DateStyle TO 'German'",
        "CREATE DOMAIN closed.moment AS timestamptz CHECK (VALUE > '1900-01-01' OR VALUE = '-infinity')",
        f"CREATE TABLE taj.dated (id int PRIMARY KEY, one int NOT NULL, two text NOT NULL, at {kind})")
    with gate.postgres.admin(gate.database) as c:
        c.execute("SET DateStyle TO ISO")
        for i, (at, _) in enumerate(rows):
            c.execute(f"INSERT INTO taj.dated VALUES (%s, %s, %s, %s::text::{kind})", (i, i, f"t{i}", None if at is None else str(at)))
    gate.prepare().serve()
    said = retain(gate).stdout
    assert in_database(gate, "SELECT id FROM taj.dated ORDER BY 1") == [(i,) for i, (_, old) in enumerate(rows) if not old]
    assert "deleted 2 rows" in said and "1 rows have no at" in said
    entries = deletions(gate)
    assert sum(e.get("rows", 0) for e in entries) == 2
    assert people(entries) == {f"pair:{i}\x1et{i}" for i, (_, old) in enumerate(rows) if old}


def test_a_column_that_is_no_time_is_refused_by_check_and_apply(make_gate):
    gate = make_gate("retaintypes", accounts=WHO, serve=False)
    with_retention(gate, sia_permit="points, keep: 1y", lapi_sighting="nowhere, keep: 1y")
    for command in ("check", "apply"):
        said = gate.command(command, "--owner", gate.postgres.owner_url(gate.database), check=False)
        words = said.stdout + said.stderr
        assert said.returncode == 1 and "sia.permit keeps rows by points, which is integer; retention goes by a date or timestamp" in words
        assert "lapi.sighting has no column nowhere" in words
    assert "warning" not in gate.command("check").stdout + gate.command("check").stderr
    with_retention(gate)
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("\n  sia.permit:\n", "\n  sia.permit:\n    retention: {column: valid_until, keep: 1y}\n")
                      .replace("valid_until: {class: permit}", "valid_until: {class: permit, sealed: {}}"))
    assert "by which its rows are kept" in gate.command("check", check=False).stdout


# --- what stays ---

def test_rows_that_cannot_go_stay_and_their_neighbours_go(make_gate):
    gate = make_gate("retainkept", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, taj_person="birth_date, keep: 20y", sia_owner="since, keep: 1y")
    run(gate, "INSERT INTO taj.person SELECT 100000 + i, 'n' || i, 'F', 'G', '1950-01-01', 'Lyon', 'M', 1 FROM generate_series(1, 1300) i",
        # What is looked at no sooner than at COMMIT would refuse a batch behind what was written down.
        "ALTER TABLE taj.involvement ALTER CONSTRAINT involvement_person_id_fkey DEFERRABLE INITIALLY DEFERRED",
        "CREATE FUNCTION closed.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF OLD.owner_id % 5 = 0 THEN RAISE 'GEHEIM %', OLD.remark; END IF; "
        "IF OLD.owner_id % 5 = 1 THEN RETURN NULL; END IF; IF OLD.owner_id % 5 = 2 THEN RAISE 'GEHEIM %', OLD.remark USING ERRCODE = '45000'; END IF; RETURN OLD; END$$",
        "CREATE TRIGGER refuse BEFORE DELETE ON sia.owner FOR EACH ROW EXECUTE FUNCTION closed.refuse()")
    gate.prepare().serve()
    old = "birth_date < current_date - 20 * 365"
    free = whose(gate, f"SELECT person_id FROM taj.person p WHERE {old} AND NOT EXISTS (SELECT FROM taj.involvement i WHERE i.person_id = p.person_id)")
    held = in_database(gate, f"SELECT count(*) FROM taj.person p WHERE {old} AND EXISTS (SELECT FROM taj.involvement i WHERE i.person_id = p.person_id)")[0][0]
    young = in_database(gate, f"SELECT count(*) FROM taj.person WHERE NOT {old}")[0][0]
    owners = [n for n, in in_database(gate, "SELECT owner_id FROM sia.owner")]
    assert len(free) > 1300 and held > 100
    said = retain(gate, status=1)
    assert f"taj.person: deleted {len(free)} rows" in said.stdout
    assert f"  {held} rows stay: other rows refer to them: constraint involvement_person_id_fkey (23503)\n" in said.stdout
    assert in_database(gate, "SELECT count(*) FROM taj.person") == [(held + young,)]
    entries = deletions(gate, "taj.person")
    assert people(entries) == free and sum(e.get("rows", 0) for e in entries) == len(free) and len(entries) > 2
    count = [sum(n % 5 == rest for n in owners) for rest in range(5)]
    assert f"sia.owner: deleted {count[3] + count[4]} rows" in said.stdout
    for line in (f"{count[0]} rows stay: a trigger refuses (P0001)", f"{count[1]} rows stay: a trigger leaves them", f"{count[2]} rows stay: a trigger refuses (45000)"):
        assert line in said.stdout
    assert "GEHEIM" not in said.stdout + said.stderr and "CANARY" not in said.stdout + said.stderr
    assert people(deletions(gate, "sia.owner")) == {f"person:{n}" for n in owners if n % 5 > 2}
    # The gate warns of what is left as well.
    gate.stop()
    gate.serve()
    gate.wait_for(lambda: f"taj.person keeps rows for 20y by birth_date, and {held} older ones were left at " in gate.log_text())
    # What a trigger raises that ends the run is not passed on either.
    run(gate, "CREATE OR REPLACE FUNCTION closed.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'GEHEIM %', OLD.remark USING ERRCODE = '55000'; END$$")
    gate.apply()
    said = retain(gate, status=2)
    assert "sia.owner (SQLSTATE 55000)" in said.stderr and "GEHEIM" not in said.stdout + said.stderr and "CANARY" not in said.stdout + said.stderr


def test_rows_that_others_hold_or_make_younger_stay(make_gate, postgres):
    gate = make_gate("retainbusy", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 1y")
    run(gate, "UPDATE lapi.sighting SET plate = 'P' || sighting_id", "CREATE TABLE closed.camera (sighting_id int REFERENCES lapi.sighting)",
        "INSERT INTO closed.camera VALUES (9)")
    gate.prepare().serve()
    with postgres.owner(gate.database) as other:
        other.autocommit = False
        other.execute("SELECT FROM lapi.sighting WHERE sighting_id IN (1, 2) FOR UPDATE")
        other.execute("UPDATE lapi.sighting SET seen_at = now() WHERE sighting_id = 3")

        def meanwhile():
            run(gate, "UPDATE lapi.sighting SET seen_at = now() WHERE sighting_id = 4", "DELETE FROM lapi.sighting WHERE sighting_id = 5",
                "INSERT INTO lapi.sighting VALUES (999, 'P999', 'x', now())", "VACUUM lapi.sighting")

        # Behind the list of what is old, before the first batch.
        status, out, err = Cut(postgres, b"BEGIN; SET CONSTRAINTS", then=meanwhile).run(gate, "retain")
        assert status == 1, err
        assert "3 rows stay: others were at work on them: the next run takes them" in out
        assert "1 rows stay: other rows refer to them: constraint camera_sighting_id_fkey (23503)" in out
        other.commit()
    assert in_database(gate, "SELECT sighting_id FROM lapi.sighting ORDER BY 1") == [(1,), (2,), (3,), (4,), (9,), (999,)]
    entries = deletions(gate)
    assert people(entries) == {f"plate:P{n}" for n in range(6, 301) if n != 9} and sum(e.get("rows", 0) for e in entries) == 294
    retain(gate, status=1)
    assert in_database(gate, "SELECT sighting_id FROM lapi.sighting ORDER BY 1") == [(3,), (4,), (9,), (999,)]
    # A table that is locked as a whole is not waited for long.
    run(gate, "UPDATE lapi.sighting SET seen_at = '2001-01-01'")
    with postgres.owner(gate.database) as other:
        other.autocommit = False
        other.execute("LOCK TABLE lapi.sighting IN SHARE MODE")
        said = retain(gate, status=1)
        assert "4 rows stay: others were at work on them" in said.stdout
    run(gate, "INSERT INTO lapi.sighting SELECT i, 'P' || i, 'x', '2001-01-01' FROM generate_series(1000, 3000) i")
    with postgres.owner(gate.database) as other:
        other.autocommit = False
        other.execute("LOCK TABLE lapi.sighting IN SHARE MODE")
        assert "others keep rows of lapi.sighting from being deleted" in retain(gate, status=2).stderr
    assert "deleted 2004 rows" in retain(gate, status=1).stdout


def test_a_young_row_in_an_old_ones_place_stays(make_gate, postgres):
    gate = make_gate("retainplace", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 1y")
    gate.prepare().serve()
    place = in_database(gate, "SELECT ctid::text FROM lapi.sighting WHERE sighting_id = 1")

    def meanwhile():
        run(gate, "DELETE FROM lapi.sighting WHERE sighting_id <= 50", "VACUUM lapi.sighting",
            "INSERT INTO lapi.sighting SELECT 1000 + i, 'Y' || i, 'x', now() FROM generate_series(1, 50) i")

    status, out, err = Cut(postgres, b"BEGIN; SET CONSTRAINTS", then=meanwhile).run(gate, "retain")
    assert status == 0 and "deleted 250 rows" in out, err
    assert in_database(gate, "SELECT count(*), min(sighting_id), bool_or(ctid = %s::tid) FROM lapi.sighting", place[0][0]) == [(50, 1001, True)]
    assert not any(who.startswith("plate:Y") for who in people(deletions(gate)))


def test_ids_that_nobody_has_are_not_deleted_without_a_name(make_gate):
    gate = make_gate("retainnobody", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 1y")
    run(gate, "UPDATE lapi.sighting SET plate = '' WHERE sighting_id = 7", "UPDATE lapi.sighting SET plate = repeat('x', 513) WHERE sighting_id = 8",
        "UPDATE lapi.sighting SET plate = E'a\\x1fb' WHERE sighting_id = 9", "UPDATE lapi.sighting SET plate = E'\\x01\"\\\\é' || repeat(E'\\x02', 500) WHERE sighting_id = 10")
    gate.prepare().serve()
    assert "3 rows stay: they have an id that is nobody's: correct them" in retain(gate, status=1).stdout
    assert in_database(gate, "SELECT sighting_id FROM lapi.sighting ORDER BY 1") == [(7,), (8,), (9,)]
    assert 'plate:\x01"\\é' + "\x02" * 500 in people(deletions(gate)) and sum(e.get("rows", 0) for e in deletions(gate)) == 297


# --- people who are named by another table ---

def test_people_are_found_by_another_table_before_its_rows_go(make_gate):
    gate = make_gate("retainvia", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, taj_case="opened, keep: 1y", taj_involvement="recorded_at, keep: 1y")
    run(gate, "INSERT INTO taj.person SELECT 100000 + i, 'n' || i, 'F', 'G', '1950-01-01', 'Lyon', 'M', 1 FROM generate_series(1, 3000) i",
        "INSERT INTO taj.involvement SELECT 5000000 + i, 100000 + i, 1, 'victim', 'open', '2020-01-01' FROM generate_series(1, 3000) i",
        "INSERT INTO taj.case VALUES (900001, '2000-01-01', 'A10'), (900002, '2000-01-01', 'A10')")
    gate.prepare().serve()
    cases = in_database(gate, "SELECT count(*) FROM taj.case")[0][0] - 2
    everybody = whose(gate, "SELECT DISTINCT person_id FROM taj.involvement")
    involved = in_database(gate, "SELECT count(*) FROM taj.involvement")[0][0]
    said = retain(gate, "--dry-run").stdout
    assert f"taj.case: {cases + 2} rows of {len(everybody)} people are older than 1y\n  2 of them are about nobody, and would stay\n" in said
    said = retain(gate, status=1).stdout
    assert f"taj.case: deleted {cases} rows" in said and "  2 rows stay: they are about nobody, so nobody could be written down\n" in said
    assert f"taj.involvement: deleted {involved} rows" in said
    assert in_database(gate, "SELECT case_id FROM taj.case ORDER BY 1") == [(900001,), (900002,)]
    for table, rows in (("taj.case", cases), ("taj.involvement", involved)):
        entries = deletions(gate, table)
        assert people(entries) == everybody and sum(e.get("rows", 0) for e in entries) == rows
        assert max(len(e["subjects"][0]["returned"]) for e in entries) <= 700


# --- tables of other kinds ---

PARTS = """
  taj.parted:
    subject: who
    columns: {who: {class: key}}
    retention: {column: at, keep: 1y}
"""


def test_partitions_go_through_their_table(make_gate):
    gate = make_gate("retainparts", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, PARTS)
    run(gate, "CREATE TABLE taj.parted (who int NOT NULL, at timestamptz NOT NULL) PARTITION BY RANGE (at)",
        *(f"CREATE TABLE taj.parted_{y} PARTITION OF taj.parted FOR VALUES FROM ('{y}-01-01') TO ('{y + 1}-01-01')" for y in (2019, 2020, 2021)),
        "CREATE TABLE taj.parted_rest PARTITION OF taj.parted DEFAULT PARTITION BY RANGE (who)", "CREATE TABLE taj.parted_rest_all PARTITION OF taj.parted_rest DEFAULT",
        "INSERT INTO taj.parted SELECT i, '2019-01-01'::date + i FROM generate_series(1, 1500) i", "INSERT INTO taj.parted SELECT 9000 + i, now() FROM generate_series(1, 1500) i")
    gate.prepare().serve()
    assert "taj.parted: deleted 1500 rows" in retain(gate).stdout
    assert in_database(gate, "SELECT min(who), count(*) FROM taj.parted") == [(9001, 1500)]
    entries = deletions(gate)
    assert people(entries) == {f"person:{i}" for i in range(1, 1501)} and sum(e.get("rows", 0) for e in entries) == 1500
    assert [e["rows"] for e in entries] == [500, 500, 500], "places of one partition were taken for another's"


def test_what_cannot_be_told_is_refused_before_anything_goes(make_gate, postgres, templates):
    gate = make_gate("retainrefused", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 1y", taj_person="birth_date, keep: 1y", taj_case="opened, keep: 1y")
    gate.prepare()
    def counts():
        return in_database(gate, "SELECT (SELECT count(*) FROM lapi.sighting), (SELECT count(*) FROM taj.person), (SELECT count(*) FROM taj.case)")

    before = counts()

    def refused(words, *options, **more):
        said = gate.command("retain", "--owner", more.get("owner") or gate.postgres.owner_url(gate.database), *options, check=False)
        assert said.returncode == 2 and words in said.stderr, said.stderr + said.stdout
        assert counts() == before

    refused("there is no ledger yet")
    gate.serve()
    refused("another database", owner=postgres.owner_url(postgres.create_database("retainelsewhere", templates["a"])))
    # Rows of people that would go, or change, with others': directly, and behind a table that the policy does not name.
    def altered(words, make, undo):
        run(gate, *make)
        gate.apply()
        refused(words)
        refused(words, "--dry-run")
        run(gate, *undo)

    for action in ("CASCADE", "SET NULL", "SET DEFAULT"):
        altered("would delete or change rows of taj.involvement by the foreign key risky",
                [f"ALTER TABLE taj.involvement ADD CONSTRAINT risky FOREIGN KEY (person_id) REFERENCES taj.person ON DELETE {action}"],
                ["ALTER TABLE taj.involvement DROP CONSTRAINT risky"])
    altered("would delete or change rows of sia.address by the foreign key deep",
            ["CREATE TABLE closed.between (id int PRIMARY KEY REFERENCES taj.person ON DELETE CASCADE)",
             "ALTER TABLE sia.address ADD at int CONSTRAINT deep REFERENCES closed.between ON DELETE CASCADE"],
            ["ALTER TABLE sia.address DROP COLUMN at", "DROP TABLE closed.between"])
    altered("rows of taj.case find their people by taj.involvement, which refers to them by the foreign key ring",
            ["ALTER TABLE taj.involvement ADD CONSTRAINT ring FOREIGN KEY (case_id) REFERENCES taj.case"], ["ALTER TABLE taj.involvement DROP CONSTRAINT ring"])
    altered("lapi.sighting inherits from another table, or is inherited from", ["CREATE TABLE closed.child () INHERITS (lapi.sighting)"], ["DROP TABLE closed.child"])
    altered("the rule never of lapi.sighting", ["CREATE RULE never AS ON DELETE TO lapi.sighting DO INSTEAD NOTHING"], ["DROP RULE never ON lapi.sighting"])
    altered("row-level security hides rows of lapi.sighting", ["ALTER TABLE lapi.sighting ENABLE ROW LEVEL SECURITY", "ALTER TABLE lapi.sighting FORCE ROW LEVEL SECURITY"],
            ["ALTER TABLE lapi.sighting NO FORCE ROW LEVEL SECURITY", "ALTER TABLE lapi.sighting DISABLE ROW LEVEL SECURITY"])
    gate.apply()
    # Another policy than the one applied: a slip in it deletes nothing.
    with_retention(gate, lapi_sighting="seen_at, keep: 1s")
    refused("ecluse apply")
    # Another command of those that move rows.
    with_retention(gate, lapi_sighting="seen_at, keep: 1y", taj_person="birth_date, keep: 1y", taj_case="opened, keep: 1y")
    with postgres.owner(gate.database) as other:
        other.execute("SELECT pg_advisory_lock(((classid::int8 << 32) | objid::int8) # 2) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                      "(SELECT oid FROM pg_database WHERE datname = current_database())")
        refused("another command")
    assert deletions(gate) == []
    # Where no table has one there is nothing to do.
    with_retention(gate)
    gate.apply()
    assert "no table of the policy has a retention" in retain(gate).stdout and counts() == before


# --- interruptions ---

@pytest.mark.parametrize("late", [False, True], ids=["before it is run", "once it is sent"])
@pytest.mark.parametrize("served", [True, False], ids=["beside a gate", "alone"])
def test_it_may_be_killed_at_every_statement(make_gate, postgres, served, late):
    gate = make_gate(f"retainkilled{served:d}{late:d}", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 1y")
    run(gate, "ALTER TABLE lapi.sighting ALTER sighting_id TYPE int8", "TRUNCATE lapi.sighting",
        "CREATE TABLE closed.camera (sighting_id int8 REFERENCES lapi.sighting)")
    gate.prepare().serve()
    if not served:
        gate.stop()

    stays = int(served)  # a row that cannot go, and is found by halving: many statements

    def fill(round):  # other people each time, and others in each batch, so that entries of other rounds and batches say nothing of this one
        run(gate, "TRUNCATE lapi.sighting, closed.camera",
            f"INSERT INTO lapi.sighting SELECT i, 'R{round}-' || i / 25, 'x', CASE WHEN i <= 1100 THEN '2001-01-01' ELSE now() END FROM generate_series(1, 1150) i",
            *["INSERT INTO closed.camera VALUES (803)"] * stays)
        return datetime.datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def state(round, since):
        """How many rows are gone, and whom entries name."""
        there = {i for i, in in_database(gate, "SELECT sighting_id FROM lapi.sighting")}
        assert there >= {*[803] * stays, *range(1101, 1151)}
        gone = {i for i in range(1, 1101) if i not in there}
        named = people(e for e in gate.ledger("--kind", "erasure", "--since", since))
        assert {f"plate:R{round}-{i // 25}" for i in gone} <= named, "a row went that no entry names anybody for"
        return len(gone), len(named) - len({i // 25 for i in gone})

    since = fill(0)
    everything = Cut(postgres, None, late=late)
    status, out, err = everything.run(gate, "retain")
    assert status == stays and f"deleted {1100 - stays} rows" in out and state(0, since) == (1100 - stays, 0), err
    killed, partly, told_only = 0, 0, 0
    for at in range(1, everything.count + 1):
        since = fill(at)
        status, out, err = Cut(postgres, at, late=late).run(gate, "retain")
        assert status in (-signal.SIGKILL, stays), (at, err)
        killed += status != stays
        # What was sent before the kill may still be running.
        gate.wait_for(lambda: in_database(gate, "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename = 'owner'", gate.database) == [(0,)])
        gone, more = state(at, since)
        partly += 0 < gone < 1100 - stays
        told_only += more > 0
        assert ("1 rows stay" in retain(gate, status=stays).stdout) == stays and state(at, since)[0] == 1100 - stays, at
    assert killed >= everything.count - 2 and partly >= 5
    assert late or told_only > 0, "no kill came between the entry and its commit"
    assert gate.command("ledger", "verify").returncode == 0


def test_nothing_goes_that_the_ledger_does_not_take(make_gate, postgres):
    gate = make_gate("retainuntold", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 1y")
    gate.prepare().serve()
    # Stopped in the middle, the gate's part is gone on with in its absence; a ledger that cannot be written ends it.
    status, out, err = Cut(postgres, b"WITH c AS", then=lambda: (gate.stop(), os.chmod(gate.data + "/ledger/origin", 0), os.rename(gate.data + "/ledger/origin", gate.data + "/away"))).run(gate, "retain")
    os.rename(gate.data + "/away", gate.data + "/ledger/origin")
    os.chmod(gate.data + "/ledger/origin", 0o600)
    assert status == 2 and "there is no ledger yet" in err
    assert in_database(gate, "SELECT count(*) FROM lapi.sighting") == [(300,)] and not os.path.exists(gate.data + "/retained")
    # A gate that comes, or goes, in the middle: whoever can write it down does.
    status, out, err = Cut(postgres, b"WITH c AS", then=gate.serve).run(gate, "retain")
    assert status == 0 and "deleted 300 rows" in out
    run(gate, "INSERT INTO lapi.sighting SELECT i, 'L' || i, 'x', '2001-01-01' FROM generate_series(1, 1000) i")
    batches = []
    status, out, err = Cut(postgres, b"FETCH", then=lambda: batches.append(gate.stop())).run(gate, "retain")
    assert status == 0 and "deleted 1000 rows" in out and batches == [0], err
    assert sum(e.get("rows", 0) for e in deletions(gate)) == 1300 and {f"plate:L{i}" for i in range(1, 1001)} <= people(deletions(gate))


def test_a_clock_that_is_wrong_deletes_nothing(make_gate, monkeypatch):
    gate = make_gate("retainclock", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 1y")
    gate.prepare().serve()
    library, file = os.path.join(gate.folder, "clock.so"), os.path.join(gate.folder, "clock")
    subprocess.run(["clang-19", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(os.path.dirname(__file__), "harness", "clock.c")], check=True)
    monkeypatch.setenv("LD_PRELOAD", library)
    monkeypatch.setenv("WALL_CLOCK", file)
    for seconds in (90, -90):
        with open(file, "w") as f:
            f.write(str(seconds))
        assert "the database's clock and this machine's are " in retain(gate, status=2).stderr
    assert in_database(gate, "SELECT count(*) FROM lapi.sighting") == [(300,)] and not os.path.exists(gate.data + "/retained")
    with open(file, "w") as f:
        f.write("20")
    assert "deleted 300 rows" in retain(gate).stdout


def test_the_gate_writes_down_deletions_and_nothing_else(make_gate):
    gate = make_gate("retainasked", accounts=WHO)
    good = dict(command="write-down", kind="erasure", table="lapi.sighting", space="plate", people=["AA-1"], rows=1, reason="retention of lapi.sighting: x")

    def ask(**changes):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(gate.data + "/control.sock")
            s.sendall(json.dumps({**good, **changes}).encode() + b"\n")
            return json.loads(s.makefile().readline())

    assert ask() == {"done": "written down"} and people(deletions(gate)) == {"plate:AA-1"}
    for bad in (dict(reason="erased by key at 2026-01-01T00:00:00.000000Z, from every copy by now: x"), dict(reason="x"), dict(people=[]), dict(people=["x"] * 701), dict(people=[""]),
                dict(rows=-1), dict(table=""), dict(kind="disclosure"), dict(kind="person")):
        assert "nothing to be written down" in ask(**bad)["message"] or "no deletion" in ask(**bad)["message"], bad
    assert len(gate.ledger("--kind", "erasure")) == 1


# --- the gate's warnings ---

def test_the_gate_warns_of_tables_that_were_not_gone_through(make_gate):
    gate = make_gate("retainwarned", accounts=WHO, prepare=False, serve=False)
    with_retention(gate, lapi_sighting="seen_at, keep: 30d", sia_permit="valid_until, keep: 3y")
    gate.prepare().serve()

    def warnings():
        return [line for line in gate.log_text().splitlines() if " keeps rows for " in line and "warning" in line]

    gate.wait_for(lambda: len(warnings()) == 2)
    assert "lapi.sighting keeps rows for 30d by seen_at, and older ones were never looked for by that rule: run `ecluse retain`" in warnings()[0]
    retain(gate)
    path = gate.data + "/retained"
    assert os.stat(path).st_mode & 0o777 == 0o600

    def restarted():
        before = len(warnings())
        gate.stop()
        gate.serve()
        time.sleep(3)  # it looks at what is to be done every two seconds
        return warnings()[before:]

    assert restarted() == []
    with open(path) as f:
        head, tables = f.read().split("\n", 1)
    assert head == "ecluse retained v1"
    tables = json.loads(tables)
    for table in tables:
        assert abs(table["time"] / 1e6 - datetime.datetime.now(UTC).timestamp()) < 120
        table["time"] -= (27 if table["table"] == "permit" else 25) * 3_600 * 1_000_000
    with open(path, "w") as f:
        f.write(head + "\n" + json.dumps(tables))
    late, = restarted()
    assert "sia.permit keeps rows for 3y by valid_until, and older ones were looked for at " in late
    # Another rule has not been gone by, and a policy that is taken meanwhile is judged at once.
    with_retention(gate, lapi_sighting="seen_at, keep: 29d")
    before = len(warnings())
    gate.apply()
    gate.wait_for(lambda: len(warnings()) == before + 1)
    assert "lapi.sighting keeps rows for 29d by seen_at, and older ones were never looked for" in warnings()[-1]
    with open(path, "w") as f:
        f.write("something else")
    assert len(restarted()) == 1 and "is no note of ecluse retain" in gate.log_text()
    retain(gate)
    assert restarted() == []
