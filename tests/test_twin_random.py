"""Random SQL on two registers that differ only in what the role may not see: rows, counts and errors are the same."""
import time

from harness import leakage
from statements.randomsql import RandomSql

SECONDS, MOST = 75, 3000  # of each pair
SEED = 20240229


def test_no_difference(twins, register_a, register_b):
    gate, twin = twins
    generator, end = RandomSql(SEED), time.monotonic() + SECONDS
    here, there = gate.wire("prober"), twin.wire("prober")
    for client in (here, there):
        assert not client.query("SET statement_timeout = 2000").errors
    answered = refused = 0  # how many fit into the time depends on the machine; that they agree does not
    for n in range(MOST):
        if time.monotonic() > end:
            break
        sql = generator.statement()
        one = [here.extended(sql) if n % 3 == 0 else here.query(sql)]
        two = [there.extended(sql) if n % 3 == 0 else there.query(sql)]
        if "57014" in (one[0].sqlstate, two[0].sqlstate):
            continue  # too slow on either: time is not what is compared
        assert leakage.comparable(one) == leakage.comparable(two), sql
        assert leakage.canaries(one, register_a) == [] and leakage.canaries(two, register_b) == [], sql
        answered, refused = answered + (not one[0].errors), refused + bool(one[0].errors)
    here.close(), there.close()
    print(f"\n{answered} answered, {refused} refused")
    assert answered > 50, "most of what is generated should be answerable, or the test shows little"


def test_budgets_tell_nothing_either(twins):
    gate, twin = twins
    """What was used up is the same on both: the number of people charged does not depend on hidden rows."""
    def used(g):
        with g.wire("prober", reference="twin-budget") as c:
            for sql in ("SELECT case_id FROM taj.case WHERE case_id < 20", "SELECT outcome, count(*) FROM taj.involvement GROUP BY 1"):
                assert not c.query(sql).errors
        return [sorted(len(t.get("returned", [])) for t in e["subjects"]) for e in g.entries("twin-budget") if e["kind"] == "disclosure"]
    assert used(gate) == used(twin)


def test_the_generator_tells_twins_apart_without_a_gate(postgres, templates):
    """The oracle itself: straight on PostgreSQL many of the same statements differ."""
    generator, here, there = RandomSql(SEED), postgres.wire(templates["a"]), postgres.wire(templates["b"])
    different = broken = 0
    for _ in range(400):
        sql = generator.statement()
        one, two = [here.query(sql)], [there.query(sql)]
        different += leakage.comparable(one) != leakage.comparable(two)
        broken += bool(one[0].errors and one[0].sqlstate.startswith("42"))
    here.close(), there.close()
    assert different > 90 and broken < 20, (different, broken)
