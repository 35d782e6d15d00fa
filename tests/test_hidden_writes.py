"""Hidden values that PostgreSQL computed with, rows that it changed besides, and errors that cost nothing."""
import re

import pytest

from harness import gate as gates
from harness import wire

TABLES = """\
  x.num: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, amount: {class: money}, f: {class: money}}}
  x.far: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, seen: {class: money}, seenz: {class: money}, day: {class: money}}}
  x.gen: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}, secret: {class: secret}}}
  x.gov: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}, secret: {class: secret}}}
  x.uni: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}, secret: {class: secret}}}
  x.cond: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}, secret: {class: secret}}}
  x.exi: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}, secret: {class: secret}}}
  x.part: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}, secret: {class: secret}}}
  x.leafkey: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}}}
  x.ruled: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}}}
  x.trig: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, points: {class: permit}, secret: {class: secret}}}
  x.parent: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}}}
  x.child: {subject: owner_id, columns: {id: {class: key}, owner_id: {class: key}, parent_id: {class: key}}}
"""
SCHEMA = """
CREATE SCHEMA x;
CREATE TABLE x.num (id int PRIMARY KEY, owner_id int NOT NULL, amount numeric, f float8);
INSERT INTO x.num VALUES (1, 1, 1234.5, 0), (2, 2, 1234.56789, '-0');
CREATE TABLE x.far (id int PRIMARY KEY, owner_id int NOT NULL, seen timestamp, seenz timestamptz, day date);
INSERT INTO x.far VALUES (1, 1, '4714-12-01 BC', now(), '4714-12-01 BC'), (2, 2, '2020-01-01', now(), '2020-01-01'),
  (3, 3, '2020-01-01', '294276-12-31 23:59:59+00', '2020-01-01');
CREATE TABLE x.gen (id int PRIMARY KEY, owner_id int NOT NULL, points int NOT NULL, secret int NOT NULL,
  g int GENERATED ALWAYS AS (points + secret) STORED CHECK (g < 1000));
CREATE TABLE x.gov (id int PRIMARY KEY, owner_id int NOT NULL, points int NOT NULL, secret int NOT NULL,
  g int GENERATED ALWAYS AS (points + secret) STORED);
CREATE TABLE x.uni (id int PRIMARY KEY, owner_id int NOT NULL, points int NOT NULL, secret int NOT NULL,
  g int GENERATED ALWAYS AS (points + secret) STORED UNIQUE);
CREATE TABLE x.cond (id int PRIMARY KEY, owner_id int NOT NULL, points int NOT NULL, secret int NOT NULL,
  g int GENERATED ALWAYS AS (points + secret) STORED);
CREATE TABLE x.exi (id int PRIMARY KEY, owner_id int NOT NULL, points int NOT NULL, secret int NOT NULL);
CREATE INDEX ON x.exi ((points + secret));
INSERT INTO x.gen VALUES (1, 1, 0, 37), (2, 2, 0, 500);
INSERT INTO x.gov VALUES (1, 1, 0, 37), (2, 2, 0, 500);
INSERT INTO x.uni VALUES (1, 1, 0, 37), (2, 2, 0, 500);
INSERT INTO x.cond VALUES (1, 1, 0, 37), (2, 2, 0, 500);
INSERT INTO x.exi VALUES (1, 1, 0, 37), (2, 2, 0, 500);
CREATE TABLE x.part (id int, owner_id int NOT NULL, points int NOT NULL, secret int NOT NULL) PARTITION BY LIST (owner_id);
CREATE TABLE x.part1 PARTITION OF x.part DEFAULT;
ALTER TABLE x.part1 ADD CHECK (points + secret < 1000);
INSERT INTO x.part VALUES (1, 1, 0, 37), (2, 2, 0, 500);
CREATE TABLE x.leafkey (id int, owner_id int NOT NULL, points int NOT NULL) PARTITION BY LIST (owner_id);
CREATE TABLE x.leafkey1 PARTITION OF x.leafkey DEFAULT;
CREATE UNIQUE INDEX ON x.leafkey1 (points);
INSERT INTO x.leafkey VALUES (1, 1, 10), (2, 2, 20), (3, 3, 30);
CREATE TABLE x.ruled (id int PRIMARY KEY, owner_id int NOT NULL, points int NOT NULL);
INSERT INTO x.ruled VALUES (1, 1, 0), (2, 2, 0);
CREATE TABLE x.trig (id int PRIMARY KEY, owner_id int NOT NULL, points int NOT NULL, secret int NOT NULL, g int);
CREATE FUNCTION x.total() RETURNS trigger LANGUAGE plpgsql AS 'begin new.g := new.points + new.secret; return new; end';
REVOKE EXECUTE ON FUNCTION x.total() FROM PUBLIC;
CREATE TRIGGER t BEFORE UPDATE ON x.trig FOR EACH ROW EXECUTE FUNCTION x.total();
INSERT INTO x.trig VALUES (1, 1, 0, 37), (2, 2, 0, 500);
CREATE TABLE x.parent (id int PRIMARY KEY, owner_id int NOT NULL);
CREATE TABLE x.child (id int PRIMARY KEY, owner_id int NOT NULL, parent_id int NOT NULL REFERENCES x.parent ON DELETE CASCADE);
CREATE RULE r AS ON DELETE TO x.ruled DO ALSO DELETE FROM x.child WHERE parent_id = old.id;
INSERT INTO x.parent VALUES (1, 1), (2, 2);
INSERT INTO x.child VALUES (1, 7001, 1), (2, 7002, 1), (3, 7003, 2);
"""
ROLES = """  measure:
    purposes: [judicial-inquiry]
    read:
      x.num: {key: clear, money: range(10)}
      x.far: {key: clear, money: year}
    budgets: [{subjects: 100000, per: 1h}, {lookups: 100000, per: 1h}, {failures: 1000, per: 1h}]
"""


def writer(name, table, right="{update: [points]}", rows=""):
    return f"""  {name}:
    purposes: [judicial-inquiry]
    read:
      {table}: {{key: clear, permit: clear}}
    write:
      {table}: {right}
{rows}    budgets: [{{subjects: 100000, per: 1h}}, {{lookups: 100000, per: 1h}}, {{failures: 1000, per: 1h}}]
"""


CASES = {"trig": "", "part": "", "leafkey": "    rows: {x.leafkey: \"id < 3\"}\n", "gen": "", "gov": "", "uni": "", "exi": "", "cond": "    rows: {x.cond: \"g < 1000\"}\n"}
DELETER = """  deleter:
    purposes: [judicial-inquiry]
    read:
      x.parent: {key: clear}
      x.child: {key: clear}
    write:
      x.parent: {delete: true}
    budgets: [{subjects: 100000, per: 1h}, {lookups: 100000, per: 1h}, {failures: 1000, per: 1h}]
"""


def build(make_gate, name, roles, accounts):
    gate = make_gate(name, roles=roles, accounts=accounts, serve=False, prepare=False)
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("\ntables:\n", "\ntables:\n" + TABLES))
    with gate.postgres.owner(gate.database) as c:
        c.execute(SCHEMA)
    return gate


@pytest.fixture(scope="module")
def g(make_gate):
    return build(make_gate, "elf", ROLES, {"measure": "measure", "clerk": "clerk", "officer": "officer", "counter": "counter"}).prepare().serve()


numbers = iter(range(100000))


def ask(g, sql, account):
    ref = f"t{next(numbers)}"
    with g.wire(account, reference=ref) as c:
        o = c.query(sql)
    return o, g.entries(ref)


# 1. The display scale of a numeric shows through range(n).
def test_range_hides_the_scale(g):
    o, _ = ask(g, "SELECT amount FROM x.num ORDER BY id", "measure")
    rows = o.text_rows()
    assert rows[0] == rows[1], rows


def test_range_hides_the_sign_of_zero(g):
    o, _ = ask(g, "SELECT f FROM x.num ORDER BY id", "measure")
    rows = o.text_rows()
    assert rows[0] == rows[1], rows


@pytest.mark.parametrize("column,who", [("seen", 1), ("seenz", 3), ("day", 1)])
def test_year_of_the_extremes(g, column, who):
    o, entries = ask(g, f"SELECT {column} FROM x.far WHERE id = {who}", "measure")
    assert not o.errors


# 2. Writes that try a hidden column by way of what PostgreSQL computes from it.
# What each refusal names. Without it, trying values found the hidden 37 in thirty tries, one failure each.
SAYS = {"trig": "trigger t", "part": "check part1_check", "leafkey": "leafkey1_points_idx", "gen": "check gen_g_check", "gov": "generated column g",
        "uni": "uni_g_key", "exi": "index exi_expr_idx", "cond": "rows.x.cond"}


@pytest.mark.parametrize("case", CASES)
def test_a_right_to_try_a_hidden_column_is_refused(make_gate, case):
    gate = build(make_gate, "w" + case, writer("writer", f"x.{case}", rows=CASES[case]), {"writer": "writer"})
    with pytest.raises(gates.CommandFailed) as refused:
        gate.prepare()
    assert SAYS[case] in str(refused.value), refused.value


# A partition that is altered afterwards can bring the same back.
@pytest.mark.parametrize("change", ["ALTER TABLE x.leafkey1 ADD CHECK (points < 5000)", "CREATE UNIQUE INDEX ON x.leafkey1 (id, points)",
                                    "CREATE TABLE x.leafkey2 PARTITION OF x.leafkey FOR VALUES IN (77)"], ids=["check", "index", "partition"])
def test_a_partition_altered_afterwards_is_drift(make_gate, change):
    gate = build(make_gate, ("drift" + change.split()[1] + change.split()[2][-1]).lower(), writer("writer", "x.leafkey"), {"writer": "writer"}).prepare()
    gate.serve()
    gate.stop()
    with gate.postgres.owner(gate.database) as c:
        c.execute(change)
    with pytest.raises(RuntimeError) as refused:
        gate.serve(timeout=20)
    assert "ecluse apply" in str(refused.value)


# 3. ON DELETE CASCADE, and a rule, take rows of other people along, in a table the role may not write.
@pytest.mark.parametrize("roles,who,says", [(DELETER, "deleter", "child_parent_id_fkey"),
                                            (writer("writer", "x.ruled", "{delete: true}"), "writer", "the rule r")], ids=["cascade", "rule"])
def test_a_right_that_changes_rows_of_others_is_refused(make_gate, roles, who, says):
    gate = build(make_gate, "others" + who, roles, {who: who})
    with pytest.raises(gates.CommandFailed) as refused:
        gate.prepare()
    assert says in str(refused.value), refused.value


# 4. One CopyData message of short lines.
def peak(gate):
    with open(f"/proc/{gate.process.pid}/status") as f:
        text = f.read()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) // 1024


def test_copy_in_memory(g):
    before = peak(g)
    with g.wire("clerk") as c:
        c.send(wire.message("Q", wire.cstring("COPY sia.permit (remark) FROM STDIN")))
        o = c.outcome(copy_in=[b"\n" * (4 << 20)])
    assert peak(g) - before < 64, f"4 MiB of COPY data cost {peak(g) - before} MiB"


# 5. Weights by an open table: the count of a group too small, in one statistic.
def test_weighted_statistic(g):
    with g.postgres.owner(g.database) as c:
        c.execute("UPDATE taj.person SET sex = 'F' WHERE birth_place = 'Tours' AND sex = 'M' AND person_id > 1090")
        small = c.execute("SELECT count(*) FROM taj.person WHERE birth_place = 'Tours' AND sex = 'M'").fetchone()[0]
    assert 0 < small < 11
    o, entries = ask(g, "SELECT count(*) FROM taj.person p JOIN ref.numbers n ON n.id = 1 OR (n.id <= 1001 AND p.sex = 'M' "
                        "AND p.birth_place = 'Tours')", "officer")
    assert o.errors or gates.told(entries), (small, o.text_rows())


# 6. A row over 64 MiB ends the connection: an error that is not counted as one.
def failures(c):
    return next(int(r[2]) for r in c.query("SHOW ecluse.budget").text_rows() if "failures" in r[1])


def test_a_row_too_long_is_a_failure(g):
    answers = []
    for i, condition in enumerate(("risk >= 50", "risk < 50")):
        with g.wire("officer", reference=f"long{i}") as c:
            before = failures(c)
            o = c.query(f"SELECT CASE WHEN {condition} THEN repeat('x', 70000000) END FROM taj.person WHERE person_id BETWEEN 1003 AND 1005")
        with g.wire("officer") as c:
            cost = failures(c) - before
        answers.append((o.sqlstate, cost, "person:1004" in gates.told(g.entries(f"long{i}"))))
    assert all(cost or told for sqlstate, cost, told in answers), answers


def test_where_a_row_too_long_ends(g):
    """The value itself: rows of 1001, who is known, in front of the row of 1004."""
    ask(g, "SELECT 1 FROM taj.person WHERE person_id = 1001", "counter")
    with g.wire("counter", reference="where") as c:
        before = failures(c)
        o = c.query("SELECT g, CASE WHEN p.person_id <> 1001 THEN repeat('x', 70000000) END FROM taj.person p, generate_series(0, 100) g, "
                    "generate_series(1, 1000) k WHERE p.person_id = 1001 OR (p.person_id BETWEEN 1003 AND 1005 AND g = p.risk AND k = 1) "
                    "ORDER BY g, p.person_id <> 1001, k")
    with g.wire("counter") as c:
        cost = failures(c) - before
    told = gates.told(g.entries("where"))
    with g.postgres.owner(g.database) as c:
        risk = c.execute("SELECT risk FROM taj.person WHERE person_id = 1004").fetchone()[0]
    assert cost or "person:1004" in told, (risk, len(o.rows), o.text_rows()[-1:])


def test_a_write_whose_row_is_too_long(g):
    with g.wire("clerk", reference="wlong") as c:
        o = c.query("UPDATE sia.permit SET points = 77 WHERE permit_id = 1 RETURNING repeat('x', 70000000)")
    with g.postgres.owner(g.database) as c:
        n = c.execute("SELECT points FROM sia.permit WHERE permit_id = 1").fetchone()[0]
    assert n != 77


def test_where_a_cancel_ends(g):
    """As above, by a row that takes long and a cancel of the client's own."""
    import threading
    import time
    with g.wire("counter", reference="cancelled") as c:
        before = failures(c)
        timer = threading.Timer(2, c.cancel)
        timer.start()
        o = c.query("SELECT g, CASE WHEN p.person_id <> 1001 THEN (SELECT count(*) FROM generate_series(1, 30000 + g) a, generate_series(1, 30000) b) END FROM taj.person p, "
                    "generate_series(0, 100) g, generate_series(1, 1000) k WHERE p.person_id = 1001 OR (p.person_id BETWEEN 1003 AND 1005 "
                    "AND g = p.risk AND k = 1) ORDER BY g, p.person_id <> 1001, k LIMIT 200000")
        cost = failures(c) - before
    told = gates.told(g.entries("cancelled"))
    assert cost or "person:1004" in told, (len(o.rows), o.text_rows()[-1:])


def test_lost_inside_what_is_shown_whole(g):
    """LIMIT inside: who was picked is charged though nothing is shown."""
    with g.wire("counter", reference="whole") as c:
        before = failures(c)
        o = c.query("SELECT CASE WHEN x.risk < 50 THEN repeat('x', 70000000) END FROM (SELECT risk FROM taj.person WHERE person_id > 1001 "
                    "ORDER BY person_id LIMIT 1) x")
    with g.wire("counter") as c:
        cost = failures(c) - before
    told = gates.told(g.entries("whole"))
    assert cost or "person:1004" in told
