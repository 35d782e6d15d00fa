"""What you may not see, you cannot work out: every statement of statements/leaks.py is refused or harmless.

Harmless means: nothing it tells holds a hidden value, and two registers that differ only in hidden values tell the same,
to the last word of an error. Each statement is tried in both protocols."""
import collections

import pytest

from harness import leakage
from statements.leaks import ALL

_ordinal = collections.Counter()


def _name(category):
    _ordinal[category] += 1
    return f"{category}-{_ordinal[category]}".replace(" ", "-")


CASES = [pytest.param(script, id=_name(category)) for category, _leak, script in ALL]


def test_the_list_is_long_enough():
    assert len(ALL) >= 150


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("script", CASES)
def test_leak(twins, register_a, register_b, script, protocol):
    gate, twin = twins
    extended = protocol == "extended"
    here = leakage.run(gate.wire, script, extended)
    there = leakage.run(twin.wire, script, extended)
    assert "closed" not in [o.kinds for o in here + there], "the gate dropped the connection instead of answering"
    assert leakage.canaries(here, register_a) == []
    assert leakage.canaries(there, register_b) == []
    assert leakage.comparable(here) == leakage.comparable(there)


@pytest.mark.parametrize("guess", [
    "IN (SELECT '{}')", "IN (SELECT '{}'::text)", "NOT IN (SELECT '{}')", "= ANY (SELECT '{}')", "IN (VALUES ('{}'))",
    "IN (SELECT '{}' UNION ALL SELECT 'x')", "IN (WITH z AS (SELECT '{}' AS q) SELECT q FROM z)", "= '{}'",
    "IN (SELECT name FROM ref.town WHERE name <> '{}')", "IN (SELECT b.plate FROM (SELECT '{}'::text AS plate) b)"])
def test_a_guess_at_a_plate_is_not_answered(gate, guess):
    right, wrong = (leakage.run(gate.wire, (f"SELECT count(*) FROM lapi.sighting WHERE plate {guess.format(plate)}",))
                    for plate in ("AJ-000-CA", "ZZ-999-CA"))
    assert leakage.comparable(right) == leakage.comparable(wrong)


def test_the_statements_leak_without_a_gate(postgres, templates, register_a, register_b):
    """The oracle itself: straight on PostgreSQL nearly every statement shows a canary or tells the twins apart."""
    silent = collections.defaultdict(list)
    for category, _leak, script in ALL:
        told = {t: leakage.run_undone(lambda: postgres.wire(templates[t]), script) for t in "ab"}
        if not leakage.canaries(told["a"], register_a) and leakage.comparable(told["a"]) == leakage.comparable(told["b"]):
            silent[category].append(script)
    assert sum(map(len, silent.values())) < 80, dict(silent)  # some ask what PostgreSQL refuses as well
    for category in {c for c, _, _ in ALL} - {"constraint oracles"}:
        assert len(silent[category]) < len([1 for c, _, _ in ALL if c == category]), category


def test_the_register_is_untouched(gate, templates, postgres):
    """No write of the list went through."""
    def sums(database):
        with postgres.owner(database) as c:
            return [c.execute(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t").fetchone()
                    for table in ("taj.person", "taj.case", "taj.involvement", "ref.town", "closed.agent")]
    assert sums(gate.database) == sums(templates["a"])


def test_a_case_that_only_hidden_rows_speak_of(twins, postgres):
    gate, twin = twins
    """A row found by way of another table: that it has people behind a row condition only, or none at all, is the same."""
    hidden = "INSERT INTO taj.involvement VALUES (2000000, 1001, 900, 'suspect', 'closed_without_action', now(), NULL)"
    try:
        for g, extra in ((gate, hidden), (twin, "SELECT 1")):
            with postgres.owner(g.database) as c:
                c.execute("INSERT INTO taj.case VALUES (900, '2020-02-02', 'A10', 'CANARY', 1)")
                c.execute(extra)
        for sql in ("SELECT case_id FROM taj.case WHERE case_id = 900", "SELECT count(*) FROM taj.case WHERE case_id >= 900"):
            one, two = leakage.run(gate.wire, (sql,)), leakage.run(twin.wire, (sql,))
            assert leakage.comparable(one) == leakage.comparable(two)
    finally:
        for g in (gate, twin):
            with postgres.owner(g.database) as c:
                c.execute("DELETE FROM taj.involvement WHERE case_id = 900")
                c.execute("DELETE FROM taj.case WHERE case_id = 900")
