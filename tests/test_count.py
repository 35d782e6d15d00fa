"""Every row carries the people it tells about: the ledger names exactly those, and nothing is learnt for free."""
import collections
import struct

import pytest

from harness import gate as gates
from harness import wire
from harness.model import Generator
from statements.uncounted import ALL, SOMEBODY

QUERIES = 600
REFUSED = ("42501", "0A000", "42P01")  # the last: to the gate there is no such table


@pytest.fixture(scope="module")
def asked_and_written(gate, register_a):
    """Runs all generated queries, each under a reference of its own, then reads the ledger once."""
    generator, client, asked = Generator(register_a, seed=11), gate.wire("counter"), []
    for n in range(QUERIES):
        kind, expected = generator.query()
        client.query(f"SET ecluse.reference = 'count-{n}'")
        asked.append((kind, expected, client.query(expected.sql) if n % 2 else client.extended(expected.sql)))
    client.close()
    by_reference = collections.defaultdict(list)
    for entry in gate.ledger():
        by_reference[entry.get("reference")].append(entry)
    return [(kind, expected, outcome, by_reference[f"count-{n}"]) for n, (kind, expected, outcome) in enumerate(asked)]


@pytest.mark.parametrize("kind", Generator.KINDS)
def test_the_people_in_the_ledger_are_the_people_in_the_result(asked_and_written, kind):
    wrong, seen = [], 0
    for its_kind, expected, outcome, entries in asked_and_written:
        if its_kind != kind:
            continue
        seen += 1
        name = lambda ids: {f"person:{i}" for i in ids}  # noqa: E731
        if outcome.errors:
            wrong.append((expected.sql, outcome.sqlstate, outcome.error, outcome.hint))
        elif len(outcome.rows) != expected.rows:
            wrong.append((expected.sql, f"{len(outcome.rows)} rows instead of {expected.rows}"))
        elif gates.people(entries, "returned") != name(expected.people):
            written = gates.people(entries, "returned")
            wrong.append((expected.sql, "not written", sorted(name(expected.people) - written)[:5], "written for nothing",
                          sorted(written - name(expected.people))[:5]))
        elif gates.people(entries, "asked") != name(expected.asked):
            wrong.append((expected.sql, "asked", gates.people(entries, "asked"), "instead of", name(expected.asked)))
        elif gates.nameless(entries) != expected.empty:
            wrong.append((expected.sql, f"{gates.nameless(entries)} nameless instead of {expected.empty}"))
        elif gates.lookups(entries) != expected.arms + expected.values:
            wrong.append((expected.sql, f"{gates.lookups(entries)} lookups instead of {expected.arms + expected.values}"))
    assert seen > 10
    assert wrong == []


def test_the_model_agrees_with_postgresql(postgres, templates, register_a):
    """The oracle itself: the model's row counts are PostgreSQL's."""
    generator = Generator(register_a, seed=5)
    with postgres.owner(templates["a"]) as c:
        for _ in range(300):
            _, expected = generator.query()
            assert len(c.execute(expected.sql).fetchall()) == expected.rows, expected.sql


@pytest.mark.parametrize("inside", [
    "SELECT 1 FROM taj.person WHERE person_id = -5 UNION ALL SELECT 1 FROM taj.involvement WHERE person_id = 1001",
    "SELECT 1 FROM taj.person p RIGHT JOIN taj.involvement i ON p.person_id = i.person_id AND p.nir = 'x' WHERE i.person_id = 1001",
    "SELECT 1 FROM taj.person WHERE person_id = -5 UNION ALL SELECT 1 FROM ref.town",
    "SELECT 1 FROM taj.person WHERE person_id = 1001",
])
def test_exists_says_what_is(gate, postgres, inside):
    """A witness none of whose first table's people is there is one all the same."""
    sql = f"SELECT EXISTS ({inside})"
    with gate.wire("counter", reference="exists") as client, postgres.wire(gate.database) as straight:
        said = client.query(sql)
        assert said.text_rows() == straight.query(sql).text_rows() == [("t",)], said.errors
        said = client.query(f"SELECT EXISTS ({inside} AND false)" if "town" not in inside else "SELECT EXISTS (SELECT 1 FROM taj.person WHERE person_id = 1002)")
        assert said.errors or said.text_rows() == [("f",)]


def test_a_cast_names_nobody_else(gate):
    """What a cast cuts is not whom PostgreSQL looks for: that person would stand in the ledger for nothing."""
    statement = "SELECT 1 FROM taj.person WHERE person_id "
    asked = ["= '10029'::varchar(4)::int", "IN (VALUES ('10029'::varchar(4)::int))", "= 1002.4::int",
             "= ANY (ARRAY['10029']::varchar(4)[]::int[])"]
    with gate.wire("counter", reference="cast") as client:
        for condition in asked:
            said = client.query(statement + condition)
            assert not said.rows and said.sqlstate in ("", "0A000"), (condition, said.errors)
        # Parameters in binary: the gate reads them as the type that PostgreSQL does.
        client.send(wire.parse(statement + "= $1::text::int"), wire.bind((b"1002",), param_formats=(1,)), wire.execute(), wire.SYNC)
        assert not client.outcome().rows
        client.send(wire.parse(statement + "= $1 AND $1::float4 > 0"),
                    wire.bind((struct.pack(">i", 1002),), param_formats=(1,)), wire.execute(), wire.SYNC)
        assert not client.outcome().errors
    entries = gate.entries("cast")
    assert gates.people(entries, "asked") == {"person:1002"} and gates.nameless(entries) >= 3


def test_the_list_is_long_enough():
    assert len(ALL) >= 60


@pytest.mark.parametrize("number", range(len(ALL)), ids=lambda n: f"{ALL[n][0]}-{n}".replace(" ", "-"))
def test_nothing_is_learnt_for_free(gate, number):
    _category, _how, script, who = ALL[number]
    reference = f"uncounted-{number}"
    client = gate.wire("counter", reference=reference)
    outcomes = [client.query(sql) for sql in script]
    if outcomes[-1].status == "T":
        client.query("ROLLBACK")
    client.close()
    if any(o.errors and o.sqlstate in REFUSED + ("25P02",) for o in outcomes):
        refused = next(o for o in outcomes if o.errors)
        assert refused.sqlstate in REFUSED and not refused.rows
        return
    entries = gate.entries(reference)
    assert entries, "answered, and the ledger does not know of it"
    if who is SOMEBODY:
        failed = any(e["kind"] == "failure" for e in entries)  # costs a lookup and a failure: the failures budget ends it
        assert gates.told(entries) or gates.nameless(entries) or failed, "answered, and nobody was charged"
    else:
        assert {f"person:{i}" for i in who} <= gates.told(entries)
    if any(o.errors for o in outcomes):
        assert any(e["kind"] == "failure" for e in entries), "an error that depends on data is an answer"
