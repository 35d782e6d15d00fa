"""Ways around a rule, each of which once told of people who were not counted, or changed rows that nobody was charged for."""
import pytest

from harness import gate as gates
from harness import wire


@pytest.fixture(scope="module")
def g(make_gate):
    return make_gate("nine", roles=gates.writing_role("petty", 3), accounts={"petty": "petty", "counter": "counter", "prober": "prober"})


def ask(g, ref, sql, account="counter"):
    with g.wire(account, reference=ref) as c:
        o = c.query(sql)
    return o, g.entries(ref)


NULLED = "FROM taj.person p LEFT JOIN taj.involvement i ON i.person_id = p.person_id AND false WHERE p.person_id = 1001"


@pytest.mark.parametrize("sql", [
    f"SELECT (i.person_id IN (SELECT q.person_id FROM taj.person q WHERE q.person_id BETWEEN 1003 AND 1005 AND q.risk >= 0)) IS NULL {NULLED}",
    "SELECT (p.person_id IN (SELECT x.person_id FROM (SELECT person_id, sex FROM taj.person WHERE person_id BETWEEN 1003 AND 1005 AND risk >= 0 GROUP BY GROUPING SETS ((person_id),(sex))) x)) IS NULL FROM taj.person p WHERE p.person_id = 1001",
    "SELECT p.person_id IN (SELECT q.person_id FROM taj.person q WHERE q.person_id BETWEEN 1001 AND 1005 ORDER BY generate_series(1, (row_number() OVER (ORDER BY (q.person_id = 1001)) > 1)::int)) FROM taj.person p WHERE p.person_id = 1001",
    "SELECT c.person_id, generate_series(1, (c.person_id = 1001)::int) FROM (SELECT person_id FROM taj.person WHERE person_id BETWEEN 1001 AND 1005 ORDER BY (person_id = 1001) LIMIT 1) c",
    "SELECT DISTINCT ON (s) person_id, s, generate_series(1, (person_id = 1001)::int) FROM (SELECT person_id, 1 AS s FROM taj.person WHERE person_id BETWEEN 1001 AND 1005) z ORDER BY s, person_id DESC",
], ids=["null-in", "grouping-sets-in", "rank-in", "srf-cut", "srf-distinct-on"])
def test_uncounted(g, sql):
    ref = "u" + str(abs(hash(sql)))[:10]
    o, entries = ask(g, ref, sql)
    assert o.errors or "person:1004" in gates.told(entries), (o.text_rows(), sorted(gates.told(entries)), gates.nameless(entries))


@pytest.mark.parametrize("sql", [
    "SELECT x.b FROM (SELECT p.birth_place AS b, (SELECT count(g)) AS c FROM taj.person p, generate_series(1,1) g(v) GROUP BY p.birth_place) x WHERE x.c > 1000",
    "SELECT x.b FROM (SELECT birth_place AS b, count(*) AS c FROM taj.person GROUP BY birth_place) x, LATERAL (SELECT 1 AS one FROM ref.town t HAVING max(t.town_id * 0 + x.c) > 1000) y",
    "SELECT x.person_id FROM (SELECT person_id, family_name FROM taj.person GROUP BY GROUPING SETS ((person_id),(family_name))) x GROUP BY x.person_id HAVING x.person_id = 1001 OR count(*) > 40",
    "SELECT y.person_id FROM (SELECT x.person_id, count(*) AS n FROM (SELECT person_id, family_name FROM taj.person GROUP BY GROUPING SETS ((person_id),(family_name))) x GROUP BY x.person_id) y WHERE y.person_id = 1001 OR y.n > 40",
], ids=["function-row", "having-argument", "grouping-sets-having", "grouping-sets-where"])
def test_condition_on_groups(g, sql):
    o, _ = ask(g, "c", sql)
    assert o.sqlstate == "0A000", o.text_rows()


def test_write_suspended(g):
    with g.wire("petty", purpose="permit-control", reference="w1") as c:
        whole = c.query("UPDATE sia.permit SET kind = 'zzz' WHERE owner_id > 0")
        assert whole.sqlstate == "53400"
    with g.wire("petty", purpose="permit-control", reference="w2") as c:
        c.send(wire.parse("UPDATE sia.permit SET kind = 'zzz' WHERE owner_id > 0"), wire.bind(), wire.execute(rows=1), wire.SYNC)
        o = c.outcome()
        assert o.sqlstate == "53400"
    with g.postgres.owner(g.database) as c:
        assert c.execute("SELECT count(*) FROM sia.permit WHERE kind = 'zzz'").fetchone() == (0,)


def test_cursor_again(g):
    with g.wire("counter", reference="again") as c:
        for sql in ("BEGIN", "SAVEPOINT s", "DECLARE c CURSOR FOR SELECT 1 FROM taj.person WHERE person_id + 0 = 1001", "FETCH ALL c",
                    "ROLLBACK TO s", "DECLARE c CURSOR FOR SELECT 1 FROM taj.person WHERE birth_place = 'Atlantis'", "FETCH ALL c", "COMMIT"):
            assert not c.query(sql).errors
    assert gates.nameless(g.entries("again")) == 1


@pytest.mark.parametrize("sql", ["SELECT DISTINCT plate FROM lapi.sighting", "SELECT plate FROM lapi.sighting UNION SELECT plate FROM lapi.sighting"],
                         ids=["distinct", "union"])
def test_rank_of_pseudonyms(g, sql):
    """PostgreSQL would sort by what is hidden, and their order would be a value."""
    with g.wire("prober", reference="rank") as c:
        assert c.query(f"SELECT x.plate, row_number() OVER () FROM ({sql}) x").sqlstate == "0A000"


@pytest.mark.parametrize("how", ["portal", "cursor"])
def test_an_arm_that_nothing_came_from(g, how):
    """That the first rows are not its tells of those who are in it."""
    sql = "SELECT 1 AS k FROM taj.person WHERE person_id = 1001 UNION ALL SELECT 0 FROM taj.person WHERE birth_place = 'Atlantis' ORDER BY k"
    with g.wire("counter", reference=f"arm-{how}") as c:
        if how == "portal":
            c.send(wire.parse(sql), wire.bind(), wire.execute(rows=1), wire.close("P", ""), wire.SYNC)
            assert c.outcome().text_rows() == [("1",)]
        else:
            c.query("BEGIN; DECLARE z CURSOR FOR " + sql)
            assert c.query("FETCH 1 FROM z").text_rows() == [("1",)]
            c.query("ROLLBACK")
    assert gates.nameless(g.entries(f"arm-{how}")) == 1


@pytest.mark.parametrize("number", ["0", "65536", "50000000", "2147483647", "99999999999999999999"])
def test_parameters_that_there_cannot_be(g, number):
    with g.wire("counter") as c:
        for sql in (f"EXPLAIN SELECT 1 FROM taj.person WHERE person_id = ${number}", f"SELECT ${number}"):
            assert c.query(sql).sqlstate == "42P02"
            assert c.extended(sql).sqlstate == "42P02"


def test_equal_literals(g):
    o, _ = ask(g, "lit", "SELECT name FROM ref.town WHERE town_id = '1' AND name <> '1'")
    assert o.text_rows() == [("Lille",)], o.errors


def test_star_of_open_table(g):
    o, _ = ask(g, "star", "SELECT p.person_id FROM taj.person p WHERE p.person_id = 1001 AND EXISTS (SELECT * FROM ref.town t WHERE t.name = p.birth_place)")
    assert not o.errors, o.errors
