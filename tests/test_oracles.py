"""Answers that once told of a stranger who was not charged: 1004 (risk 8), never named by a constant, beside 1001, who is known.
A test passes where the statement is refused, or where who is told of is charged by name."""
import datetime
from decimal import Decimal

import psycopg
import pytest
from psycopg.types.numeric import Float4, Float8, Int2, Int8

from harness import gate as gates
from harness import wire

ROLES = """  five:
    purposes: [judicial-inquiry]
    read:
      taj.person: {key: clear, identity: clear, assessment: clear}
    budgets: [{subjects: 5, per: 1h}, {lookups: 1000, per: 1h}, {failures: 1000, per: 1h}]
"""
STRANGER = "person:1004"


@pytest.fixture(scope="module")
def g(make_gate):
    gate = make_gate("ten", roles=ROLES + gates.writing_role("keyed", 1000, permit="permit: clear, internal: clear", more=", serial_no"), accounts={"five": "five", "keyed": "keyed", "counter": "counter"}, serve=False, prepare=False)
    with gate.postgres.owner(gate.database) as c:
        c.execute("CREATE UNIQUE INDEX ON sia.permit (kind, remark)")
    gate.prepare()
    return gate.serve()


numbers = iter(range(100000))


def ask(g, sql, account="counter", purpose=True):
    ref = f"t{next(numbers)}"
    with g.wire(account, reference=ref, purpose=purpose) as c:
        o = c.query(sql)
    return o, gates.told(g.entries(ref))


def no_oracle(g, sql, *, account="counter"):
    """`sql` with {c} for a condition on the stranger: yes and no must not be told apart unless the stranger is charged."""
    answers = []
    for condition in ("risk < 50", "risk > 50"):
        o, told = ask(g, sql.replace("{c}", condition), account)
        if o.sqlstate in ("0A000", "42501"):
            return
        answers.append((o.text_rows(), o.sqlstate, STRANGER in told))
    yes, no = answers
    assert yes[2] or yes[:2] == no[:2], answers


IN = "p.person_id IN (SELECT q.person_id FROM taj.person q WHERE q.person_id BETWEEN 1003 AND 1005 AND q.{c})"
ONE = "FROM taj.person p WHERE p.person_id = 1001"


# 1. A key of GROUPING SETS is NULL in the rows of the other sets, at the very level that groups.
@pytest.mark.parametrize("sql", [
    f"SELECT ({IN}) IS NULL {ONE} GROUP BY GROUPING SETS ((p.person_id),(p.sex))",
    f"SELECT (SELECT ({IN}) IS NULL) {ONE} GROUP BY GROUPING SETS ((p.person_id),(p.sex))",
    f"SELECT {IN} {ONE} GROUP BY ROLLUP (p.person_id)",
    f"SELECT rank() OVER (ORDER BY ({IN}) IS NULL), p.person_id, p.sex {ONE} GROUP BY GROUPING SETS ((p.person_id),(p.sex),())",
], ids=["sets", "nested", "rollup", "ranked"])
def test_null_key_of_grouping_sets(g, sql):
    no_oracle(g, sql)


# 2. OFFSET in an arm of a top-level UNION is neither refused nor charged.
def test_offset_in_an_arm(g):
    no_oracle(g, "(SELECT person_id FROM taj.person WHERE person_id = 1001 OR (person_id BETWEEN 1003 AND 1005 AND {c}) "
                 "ORDER BY person_id = 1001 OFFSET 1 LIMIT 1) UNION ALL (SELECT 0 FROM taj.person WHERE person_id = 1001)")


def test_offset_in_an_arm_counts(g):
    o, told = ask(g, "(SELECT person_id FROM taj.person WHERE birth_place = 'Lille' OR person_id = 1001 ORDER BY (person_id = 1001) "
                     "OFFSET 48 LIMIT 1) UNION ALL (SELECT 0 FROM taj.person WHERE person_id = 1001)")
    assert o.errors or len(told) >= 49, (o.text_rows(), told)  # 1001 comes back: exactly 48 others live in Lille


# 3. Rows picked by LIMIT, DISTINCT ON, FETCH or a portal's row limit in the order of an aggregate: HAVING by another name.
W = "WHERE p.person_id = 1001 OR (p.person_id BETWEEN 1003 AND 1005 AND p.{c})"
G = ("SELECT v.k, CASE WHEN v.k = 2 THEN count(*) WHEN bool_and(p.person_id = 1001) THEN 1.5 ELSE 1000 END AS c "
     f"FROM taj.person p, (VALUES (1),(2)) v(k) {W} GROUP BY v.k, CASE WHEN v.k = 1 THEN p.person_id END")


@pytest.mark.parametrize("sql", [
    f"{G} ORDER BY c LIMIT 1",
    f"SELECT x.k FROM ({G}) x ORDER BY x.c LIMIT 1",
    f"SELECT DISTINCT ON (o) 1 AS o, x.k FROM ({G}) x ORDER BY o, x.c",
    f"SELECT y.k FROM (SELECT x.k FROM ({G}) x ORDER BY x.c LIMIT 1) y",
    f"SELECT x.c, x.k FROM ({G}) x UNION ALL SELECT 9999, 7 FROM taj.person WHERE person_id = 1001 ORDER BY c LIMIT 1",
    f"SELECT DISTINCT x.k, x.c FROM ({G}) x ORDER BY x.c LIMIT 1",
    f"SELECT x.k FROM ({G} ORDER BY c) x LIMIT 1",
    f"WITH x AS MATERIALIZED ({G} ORDER BY c) SELECT x.k FROM x LIMIT 1",
    f"SELECT DISTINCT ON (o) o, k FROM (SELECT 1 AS o, x.k, x.c FROM ({G}) x ORDER BY x.c) y",
    f"SELECT GROUPING(p.person_id) FROM taj.person p {W} GROUP BY GROUPING SETS ((p.person_id), ()) ORDER BY "
    "CASE WHEN GROUPING(p.person_id) = 1 THEN count(*) WHEN p.person_id = 1001 THEN 1.5 ELSE 1000 END LIMIT 1",
], ids=["own", "outer", "distinct-on", "inner-limit", "union", "distinct", "inner-order", "with", "inner-order-distinct-on", "grouping-sets"])
def test_limit_by_aggregate(g, sql):
    no_oracle(g, sql)


@pytest.mark.parametrize("how", ["portal", "cursor"])
def test_first_row_by_aggregate(g, how):
    answers = []
    for i, condition in enumerate(("risk < 50", "risk > 50")):
        sql = f"{G} ORDER BY c".replace("{c}", condition)
        with g.wire("counter", reference=f"first-{how}-{i}") as c:
            if how == "portal":
                c.send(wire.parse(sql), wire.bind(), wire.execute(rows=1), wire.close("P", ""), wire.SYNC)
                o = c.outcome()
            else:
                c.query("BEGIN")
                if c.query("DECLARE z CURSOR FOR " + sql).errors:
                    return
                o = c.query("FETCH 1 FROM z")
        answers.append((o.text_rows(), STRANGER in gates.told(g.entries(f"first-{how}-{i}"))))
    assert answers[0][1] or answers[0][0] == answers[1][0], answers


# 4. An aggregate without GROUP BY in an arm of a top-level UNION gives a row for nobody, and LIMIT hides whose it is.
@pytest.mark.parametrize("union", ["UNION ALL", "UNION"])
def test_aggregate_arm_cut(g, union):
    o, told = ask(g, f"SELECT 10.5 AS c FROM taj.person WHERE person_id = 1001 {union} SELECT count(*) FROM taj.person WHERE risk > 50 ORDER BY c LIMIT 1")
    assert o.errors or len(told) > 11, (o.text_rows(), told)  # 10.5 comes back: more than ten people have a risk over 50


# 5. Where a budget or an error ends a result tells something of who comes next: each costs a failure, and these have a budget.
def failures(c):
    return next(int(row[2]) for row in c.query("SHOW ecluse.budget").rows if row[0] == b"account" and b"failures" in row[1])


def test_where_the_budget_ends(g):
    o, _ = ask(g, "SELECT 1 FROM taj.person WHERE person_id IN (1001,1007,1010,1013,1016)", "five")
    assert not o.errors
    with g.wire("five") as c:
        before = failures(c)
        o = c.query("SELECT g FROM taj.person p, generate_series(0,100) g WHERE p.person_id = 1001 OR "
                    "(p.person_id BETWEEN 1003 AND 1005 AND g = p.risk) ORDER BY g, p.person_id <> 1001")
        assert o.sqlstate == "53400" and o.rows
        assert failures(c) == before + 1
    g.kill()
    g.serve()
    with g.wire("five") as c:
        assert failures(c) == before + 1


def test_where_the_budget_ends_count(g):
    o, told = ask(g, "SELECT g + 0.5 AS c FROM taj.person p, generate_series(0,400) g WHERE p.person_id = 1001 UNION ALL "
                     "SELECT count(*) FROM taj.person WHERE risk > 50 ORDER BY c", "five")
    truth, _ = ask(g, "SELECT count(*) FROM taj.person WHERE risk > 50")
    assert len(o.rows) != int(truth.text_rows()[0][0]), (len(o.rows), told)


# 6. ON CONFLICT over a unique key of several columns tells that somebody holds it, who is not charged.
@pytest.mark.parametrize("conflict", ["(kind, remark) DO NOTHING", "DO NOTHING", "(kind, remark) DO UPDATE SET points = 3 WHERE sia.permit.points > 100"])
def test_conflict_over_several_columns(g, conflict):
    with g.postgres.owner(g.database) as c:
        holder, kind, remark = c.execute("SELECT owner_id, kind, remark FROM sia.permit WHERE owner_id <> 1001 ORDER BY permit_id LIMIT 1").fetchone()
    o, told = ask(g, f"INSERT INTO sia.permit (owner_id, kind, remark) VALUES (1001, '{kind}', '{remark}') ON CONFLICT {conflict}", "keyed", "permit-control")
    assert o.errors or f"person:{holder}" in told, (o.tag, told, holder)


# 6b. What is written is rounded, cut or completed before it conflicts: whoever holds that is asked for.
STORED = """
CREATE TABLE sia.ticket (ticket_id int PRIMARY KEY, owner_id int NOT NULL, price numeric(8,2) UNIQUE, day date UNIQUE, at timestamp(0) UNIQUE, code varchar(4) UNIQUE,
                         tag char(6) UNIQUE, level smallint UNIQUE, kind text DEFAULT 'asked', nr int, UNIQUE (nr, kind));
CREATE TABLE sia.holder (owner_id int PRIMARY KEY, note text);
INSERT INTO sia.ticket VALUES (1, 1004, 5.25, '2020-01-06', '2020-01-06 05:00:00', 'abcd', 'xyz', 7, 'asked', 9);
INSERT INTO sia.holder VALUES (1004, 'here')"""


@pytest.fixture(scope="module")
def stored(make_gate):
    columns = ("ticket_id", "owner_id", "price", "day", "at", "code", "tag", "level", "kind", "nr")
    tables = "".join(f"  sia.{name}:\n    subject: owner_id\n    space: person\n    columns: {{{', '.join(f'{c}: {{class: key}}' for c in of)}}}\n"
                     for name, of in (("ticket", columns), ("holder", ("owner_id", "note"))))
    roles = f"""
  writer:
    purposes: [judicial-inquiry]
    read: {{sia.ticket: {{key: clear}}, sia.holder: {{key: clear}}}}
    write: {{sia.ticket: {{insert: [{", ".join(columns)}]}}, sia.holder: {{insert: [owner_id, note]}}}}
    budgets: {gates.ENDLESS}
"""
    gate = make_gate("stored", accounts={"writer": "writer"}, roles=roles, prepare=False, serve=False)
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("\nopen_tables:", "\n" + tables.rstrip("\n") + "\nopen_tables:", 1))
    with gate.postgres.owner(gate.database) as c:
        c.execute(STORED)
    return gate.prepare().serve()


NEW = "INSERT INTO sia.ticket (owner_id, ticket_id, {0}) VALUES (1001, 50, {1}) ON CONFLICT DO NOTHING"
KEY = "INSERT INTO sia.ticket (owner_id, ticket_id) VALUES (1001, {1}) ON CONFLICT (ticket_id) DO NOTHING"
OWNER = "INSERT INTO sia.holder (owner_id, note) VALUES ({1}, 'x') ON CONFLICT DO NOTHING"
HELD = [("ticket_id", KEY, ["1.4", "1.0", "1e0", "'1'", " 1 ", "1::int8", "1::numeric", Decimal("1.4"), Float8(1.2), Float4(1.2), Int8(1), Int2(1), "0.5 + 0.6"]),
        ("price", NEW, ["5.2501", "'5.2501'", "5.25", Decimal("5.2501"), Float8(5.2501), "5.2501::numeric", "5.2501"]),
        ("day", NEW, ["'2020-01-06'", datetime.datetime(2020, 1, 6, 12), datetime.date(2020, 1, 6), "'2020-01-06 12:00'"]),
        ("at", NEW, ["'2020-01-06 05:00:00.4'", datetime.datetime(2020, 1, 6, 5, 0, 0, 400000), datetime.datetime(2020, 1, 6, 5)]),
        ("code", NEW, ["'abcd  '", "'abcd'", "abcd  ", "'abcd'::text"]),
        ("tag", NEW, ["'xyz'", "'xyz     '", "xyz       "]),
        ("level", NEW, ["7", "7.2", Decimal("6.9"), Float8(7.3), Int8(7), "7::int8"]),
        ("nr", NEW, ["9", "9.3", Decimal("9.2")]), ("nr, kind", NEW, ["9, DEFAULT", "9, 'asked'", "9.1, 'asked'"]), ("kind, nr", NEW, ["'asked', 9.4"]),
        ("owner_id", OWNER, ["1004", "1004.2", "1004.0", "'1004'", Decimal("1004.2"), Float8(1004.2), Float4(1003.9), Int8(1004)])]


@pytest.mark.parametrize("column, insert, values", HELD, ids=[column for column, _, _ in HELD])
def test_conflict_with_what_is_stored(stored, column, insert, values):
    conflicts = 0
    for value in values:
        ref = f"t{next(numbers)}"
        bound = not isinstance(value, str) or (value.strip("'") == value and value != value.strip())
        with stored.psycopg("writer", reference=ref) as c:
            try:
                count = c.execute(insert.format(column, "%s" if bound else value), (value,) if bound else None).rowcount
            except psycopg.Error as e:
                assert e.sqlstate in ("0A000", "42804", "42601"), (value, e)
                continue
        assert count == 0, (value, count)
        assert STRANGER in gates.told(stored.entries(ref)), (column, value)
        conflicts += 1
    assert conflicts >= {"nr": 0, "nr, kind": 1, "kind, nr": 1}.get(column, 3), conflicts  # a key with a default is written whole


# 7. SELECT EXISTS picks one witness among rows that LIMIT had picked: a second LIMIT over a cut.
def test_exists_over_a_cut(g):
    o, told = ask(g, "SELECT EXISTS (SELECT 1 FROM (SELECT person_id FROM taj.person WHERE birth_place = 'Lille' OR person_id = 1001 "
                     "ORDER BY (person_id = 1001) LIMIT 49) x ORDER BY (x.person_id = 1001) DESC)")
    assert o.errors or len(told) >= 49, (o.text_rows(), told)
