"""A row is a statistic only if all of the rule holds; everything else is charged for everyone in the group."""
import pytest

from harness import gate as gates


@pytest.fixture
def analyst(gate, request):
    reference = "s-" + request.node.name[:70].replace("'", "").replace("%", "")
    with gate.wire("analyst", reference=reference) as c:
        c.reference = reference
        yield c


# The analyst has a budget of 5 people an hour: what is not a statistic ends there.
STATISTICS = [
    "SELECT outcome, count(*) FROM taj.involvement GROUP BY outcome",
    "SELECT role, outcome, count(*) FROM taj.involvement GROUP BY role, outcome",
    "SELECT count(*) FROM taj.person",
    "SELECT sex, count(*), avg(risk), sum(risk), stddev(risk), variance(risk) FROM taj.person GROUP BY sex",
    "SELECT birth_place, count(*) FROM taj.person WHERE sex = 'F' GROUP BY birth_place",
    "SELECT count(*) FROM taj.person WHERE birth_place = 'Lille'",
    "SELECT p.sex, i.outcome, count(*) FROM taj.person p JOIN taj.involvement i ON i.person_id = p.person_id GROUP BY p.sex, i.outcome",
    "SELECT i.role, avg(p.risk) FROM taj.involvement i JOIN taj.person p USING (person_id) GROUP BY i.role",
    "SELECT outcome AS o, count(*) AS n FROM taj.involvement GROUP BY 1 ORDER BY 2 DESC",
    "SELECT count(risk), corr(risk, risk), regr_slope(risk, risk) FROM taj.person",
]


@pytest.mark.parametrize("number", range(len(STATISTICS)))
def test_statistics_charge_nobody(gate, analyst, postgres, number):
    said = analyst.query(STATISTICS[number])
    assert not said.errors, said.errors
    with postgres.wire(gate.database) as straight:
        assert sorted(said.rows) == sorted(straight.query(STATISTICS[number]).rows)
    entries = [e for e in gate.entries(analyst.reference) if e["kind"] != "session"]
    assert [e["kind"] for e in entries] == ["statistic"]
    assert gates.told(entries) == set() and entries[0]["rows"] == len(said.rows)


NOT_STATISTICS = {
    "a condition inside an aggregate": "SELECT sum(CASE WHEN person_id = 1007 THEN risk END) FROM taj.person",
    "FILTER": "SELECT count(*) FILTER (WHERE person_id = 1007) FROM taj.person",
    "min": "SELECT sex, min(risk) FROM taj.person GROUP BY sex",
    "max": "SELECT max(person_id) FROM taj.person",
    "array_agg": "SELECT array_agg(risk) FROM taj.person",
    "bool_and": "SELECT bool_and(risk > 3) FROM taj.person",
    "a column that is not listed in `of`": "SELECT avg(height) FROM taj.person",
    "a column that is not listed in `by`": "SELECT family_name, count(*) FROM taj.person GROUP BY family_name",
    "WHERE on another column": "SELECT count(*) FROM taj.person WHERE risk > 50",
    "WHERE on the key": "SELECT count(*) FROM taj.person WHERE person_id > 1001",
    "HAVING": "SELECT sex, count(*) FROM taj.person GROUP BY sex HAVING count(*) > 3",
    "an expression over the group": "SELECT substr(birth_place, 1, 1), count(*) FROM taj.person GROUP BY 1",
    "an expression in an aggregate": "SELECT sum(risk + 1) FROM taj.person",
    "DISTINCT in an aggregate": "SELECT count(DISTINCT risk) FROM taj.person",
    "a sub-select": "SELECT sex, count(*) FROM (SELECT * FROM taj.person ORDER BY person_id LIMIT 50) p GROUP BY sex",
    "VALUES in FROM": "SELECT count(*) FROM taj.person p JOIN (VALUES ('Lille')) v(x) ON p.birth_place = v.x",
    "a set-returning function": "SELECT sex, count(*), generate_series(1, 2) FROM taj.person GROUP BY sex",
    "a join on another column": "SELECT count(*) FROM taj.person p JOIN taj.involvement i ON p.risk = i.case_id",
    "not the top level": "SELECT * FROM (SELECT sex, count(*) FROM taj.person GROUP BY sex) x",
    "a window": "SELECT sex, count(*), rank() OVER (ORDER BY count(*)) FROM taj.person GROUP BY sex",
    "string_agg": "SELECT string_agg(sex, '') FROM taj.person",
    "a subject under another name, joined with an open table": "SELECT sum(risk) FROM taj.person p(id) JOIN ref.numbers n USING (id) WHERE n.id <= 1040",
    "subjects compared by order": "SELECT sum(p.risk) FROM taj.person p JOIN taj.person q ON p.person_id < q.person_id",
}


@pytest.mark.parametrize("why", NOT_STATISTICS)
def test_what_is_not_a_statistic_is_charged(analyst, gate, why):
    said = analyst.query(NOT_STATISTICS[why])
    assert said.sqlstate == ("0A000" if why == "HAVING" else "53400"), (said.errors, said.rows[:3])
    assert not said.rows


def test_a_small_group_is_not_a_statistic(gate, postgres):
    """Fewer than min_subjects people behind a row: those rows are charged person by person."""
    with postgres.owner(gate.database) as c:
        places = dict(c.execute("SELECT birth_place, count(*) FROM taj.person GROUP BY 1").fetchall())
        assert min(places.values()) >= 11
        pairs = c.execute("SELECT p.birth_place, i.role, i.outcome, count(DISTINCT p.person_id) FROM taj.person p JOIN taj.involvement i USING (person_id) "
                          "GROUP BY 1, 2, 3").fetchall()
    small = [p for p in pairs if p[3] < 11]
    assert small and len(small) < len(pairs)
    with gate.wire("officer", reference="s-small") as c:  # 60 people: those of the small groups are more
        said = c.query("SELECT p.birth_place, i.role, i.outcome, count(*) FROM taj.person p JOIN taj.involvement i USING (person_id) GROUP BY 1, 2, 3")
    entries = [e for e in gate.entries("s-small") if e["kind"] in ("disclosure", "statistic")]
    shown = {tuple(r[:3]) for r in said.text_rows()}
    assert any(tuple(p[:3]) in shown for p in small) or said.sqlstate == "53400"
    charged = gates.told(entries)
    with postgres.owner(gate.database) as c:
        for place, role, outcome, _n in small:
            if (place, role, outcome) in shown:
                behind = {f"person:{r[0]}" for r in c.execute("SELECT p.person_id FROM taj.person p JOIN taj.involvement i USING (person_id) WHERE "
                                                              "p.birth_place = %s AND i.role = %s AND i.outcome = %s", (place, role, outcome)).fetchall()}
                assert behind <= charged
    assert len(charged) <= 60


def test_ten_rows_of_one_person_are_one_person(gate, postgres):
    """min_subjects counts people, not rows."""
    with postgres.owner(gate.database) as c:
        c.execute("INSERT INTO taj.involvement SELECT 900000 + i, 1001, 1, 'bystander', 'open', now(), NULL FROM generate_series(1, 30) i")
    try:
        with gate.wire("analyst", reference="s-one") as c:
            said = c.query("SELECT count(*) FROM taj.involvement WHERE role = 'bystander'")
        entries = gate.entries("s-one")
        assert said.rows == [(b"30",)] and gates.told(entries) == {"person:1001"}
        assert not [e for e in entries if e["kind"] == "statistic"]
    finally:
        with postgres.owner(gate.database) as c:
            c.execute("DELETE FROM taj.involvement WHERE role = 'bystander'")


def test_nobody_behind_a_statistic(analyst, gate):
    said = analyst.query("SELECT count(*) FROM taj.person WHERE birth_place = 'Atlantis'")
    assert not said.errors and said.rows == [(b"0",)]
    assert gates.nameless(gate.entries(analyst.reference)) == 1
