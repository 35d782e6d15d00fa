"""Bounded: no account, address or organisation gets more distinct people than its budget, whatever it does."""
import random
import re
import threading
import time

import pytest

from harness import gate as gates
from harness import wire

OFFICERS = {"officer": "officer", "second": "officer", "both": ["officer", "counter"], "counter": "counter", "outsider": "officer"}


@pytest.fixture
def bounded(make_gate, request):
    """A gate of its own for each test: budgets remember."""
    made = []

    def make(**options):
        made.append(make_gate(re.sub(r"[\W_]", "", request.node.name.lower())[4:34].lstrip("0123456789") + (str(len(made)) if made else ""),
                              **{"accounts": OFFICERS, **options}))
        return made[-1]
    yield make
    for gate in made:
        gate.stop()


def people_of(outcome):
    return {int(row[0]) for row in outcome.rows if row[0] is not None}


def race(gate, register, sessions, received, stop=None, account="officer", rounds=12, seed=0):
    """Sessions that fetch people one by one, by range and in pipelines until refused; what came is kept in `received`."""
    def work(n):
        r = random.Random(f"{seed}/{n}")
        refusals = 0
        client = None
        while refusals < rounds and not (stop and stop.is_set()):
            try:
                client = client or gate.wire(account)
                person = r.choice(register.people)
                form = r.randrange(3)
                if form == 0:
                    client.send(wire.message("Q", wire.cstring(f"SELECT person_id FROM taj.person WHERE person_id = {person}")))
                elif form == 1:
                    client.send(wire.message("Q", wire.cstring(
                        f"SELECT person_id FROM taj.person WHERE person_id BETWEEN {person} AND {person + 30}")))
                else:
                    client.send(wire.parse("SELECT person_id FROM taj.person WHERE person_id = $1", types=[23]), wire.bind([person]),
                                wire.execute(), wire.bind([r.choice(register.people)]), wire.execute(), wire.SYNC)
                while True:  # every row that arrives counts, whatever follows it
                    kind, payload = client.receive()
                    if kind == "D":
                        received.add(int(wire.row_of(payload)[0]))
                    elif kind == "E":
                        refusals += 1
                        fields = wire.fields_of(payload)
                        assert fields["C"] in ("53400", "57P01", "08006", "58030", "53300"), fields
                    elif kind == "Z":
                        break
            except (OSError, wire.Closed, wire.ServerError):
                client = None
                time.sleep(0.05)
        if client:
            client.close()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(sessions)]
    [t.start() for t in threads]
    return threads


def test_32_sessions_race_for_60(bounded, register_a):
    gate, received = bounded(), set()
    for thread in race(gate, register_a, 32, received):
        thread.join(120)
    assert len(received) == 60
    assert gates.told(e for e in gate.ledger() if e.get("principal") == "officer") >= {f"person:{i}" for i in received}


def test_the_gate_is_killed_and_restarted_in_the_middle(bounded, register_a):
    gate, received, stop = bounded(), set(), threading.Event()
    threads = race(gate, register_a, 32, received, stop, rounds=10**9)
    for _ in range(3):
        time.sleep(0.4)
        gate.kill()
        gate.serve()
    time.sleep(2.5)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert len(received) <= 60
    for thread in race(gate, register_a, 8, received, rounds=6, seed=1):  # what is left, after the last start
        thread.join(60)
    written = gates.told(e for e in gate.ledger() if e.get("principal") == "officer")
    assert len(received) <= 60 and len(written) <= 60
    assert {f"person:{i}" for i in received} <= written
    # A person may be written and, by the kill, never delivered: charged all the same.
    assert len(written) == 60


def test_rows_that_fit_come_first_then_the_refusal_says_what_and_when(bounded):
    gate = bounded()
    with gate.wire("officer") as c:
        said = c.query("SELECT person_id FROM taj.person ORDER BY person_id")
        assert len(said.rows) == 60 and people_of(said) == {1001 + 3 * i for i in range(60)}
        assert said.sqlstate == "53400"
        words = said.error + " " + said.hint + " " + said.errors[0].get("D", "")
        assert "60" in words and "400" not in words, words  # never how many it would have taken
        again = c.query("SELECT person_id FROM taj.person WHERE person_id < 1030")  # those already seen cost nothing
        assert len(again.rows) == 10 and not again.errors
        assert c.query("SELECT person_id FROM taj.person WHERE person_id = 2000").sqlstate == "53400"
        assert c.query("SELECT name FROM ref.town").rows  # open tables go on


def test_the_budget_can_be_asked(bounded):
    gate = bounded()
    with gate.wire("officer") as c:
        c.query("SELECT person_id FROM taj.person ORDER BY person_id LIMIT 7")
        said = c.query("SHOW ecluse.budget")
        text = [" ".join(v or "" for v in row) for row in said.text_rows()]
        line = next(t for t in text if "60" in t and "subjects" in t)
        assert "7" in line.split() and "53" in line.split(), text
        assert {c[0] for c in said.results[0].columns} >= {"used", "left"}


def test_the_budget_is_the_accounts_across_roles(bounded):
    """Changing the role does not open a second budget; the narrow role's limit counts what the wide one saw."""
    gate = bounded()
    with gate.wire("both") as c:
        assert not c.query("SET ecluse.role = 'counter'").errors
        assert len(c.query("SELECT person_id FROM taj.person ORDER BY person_id LIMIT 50").rows) == 50
        assert not c.query("SET ecluse.role = 'officer'").errors
        said = c.query("SELECT person_id FROM taj.person WHERE person_id > 1200 ORDER BY person_id")
        assert len(said.rows) == 10 and said.sqlstate == "53400"


def test_one_account_does_not_spend_anothers(bounded):
    gate = bounded()
    with gate.wire("officer") as one, gate.wire("second") as two:
        assert len(one.query("SELECT person_id FROM taj.person").rows) == 60
        assert len(two.query("SELECT person_id FROM taj.person").rows) == 60


def test_per_address(bounded):
    gate = bounded(limits="limits: {per_address: [{subjects: 70, per: 1h}]}")
    seen = set()
    for account in ("officer", "second", "both"):
        with gate.wire(account, source="127.0.0.9") as c:
            seen |= people_of(c.query(f"SELECT person_id FROM taj.person WHERE person_id > {1000 + len(account) * 60}"))
    assert len(seen) == 70
    with gate.wire("outsider", source="127.0.0.10") as c:
        assert len(c.query("SELECT person_id FROM taj.person").rows) == 60


def test_per_organisation_and_register(bounded):
    gate = bounded(limits="limits: {per_organisation: [{subjects: 80, per: 24h}], per_register: [{subjects: 100, per: 24h}]}",
                   accounts={"officer": "officer", "second": "officer"})
    gate.add_account("third", "officer", organisation="customs")
    gate.signal(1)
    seen = {}
    for n, account in enumerate(("officer", "second", "third")):
        def enter():
            try:
                return gate.wire(account)
            except wire.ServerError:
                return None
        with gate.wait_for(enter) as c:
            seen[account] = people_of(c.query(f"SELECT person_id FROM taj.person WHERE person_id > {1000 + 300 * n}"))
    assert len(seen["officer"] | seen["second"]) == 80
    assert len(seen["officer"] | seen["second"] | seen["third"]) == 100


def test_lookups(bounded):
    gate = bounded(officer="[{subjects: 1000, per: 1h}, {lookups: 10, per: 1h}]")
    with gate.wire("officer") as c:
        answers = [c.query(f"SELECT 1 FROM taj.person WHERE person_id = {5000 + i}") for i in range(14)]
        assert [bool(a.errors) for a in answers] == [False] * 10 + [True] * 4
        assert answers[-1].sqlstate == "53400" and "lookups" in answers[-1].error
    with gate.wire("second") as c:  # each value of a list is a question
        assert not c.query("SELECT 1 FROM taj.person WHERE person_id IN (1, 2, 3, 4)").errors
        assert not c.extended("SELECT 1 FROM taj.person WHERE person_id = ANY ($1)", ["{1,2,3,4}"]).errors
        assert c.query("SELECT 1 FROM taj.person WHERE person_id IN (1, 2, 3)").sqlstate == "53400"


def test_asking_for_nobody_spends_the_budget(bounded):
    """Ids that do not exist, ranges without anybody: the budget ends them."""
    gate = bounded(officer="[{subjects: 20, per: 1h}, {lookups: 100000, per: 1h}]")
    with gate.wire("officer") as c:
        assert [bool(c.query(f"SELECT 1 FROM taj.person WHERE person_id = {5000 + i}").errors) for i in range(30)].count(False) <= 20
    with gate.wire("second") as c:
        assert [bool(c.query(f"SELECT 1 FROM taj.person WHERE person_id > {5000 + i}").errors) for i in range(30)] == [False] * 20 + [True] * 10


def test_failures_end_the_probing(bounded):
    gate = bounded(officer="[{subjects: 100000, per: 1h}, {lookups: 100000, per: 1h}, {failures: 5, per: 1h}]")
    with gate.wire("officer") as c:
        codes = [c.query("SELECT 1 / (person_id - person_id) FROM taj.person WHERE person_id < 1020").sqlstate for _ in range(8)]
        assert codes[:5] == ["22012"] * 5 and set(codes[5:]) == {"53400"}
        assert c.query("SELECT family_name FROM taj.person WHERE person_id = 1001").sqlstate == "53400"


def test_a_refusal_costs_a_lookup(bounded):
    gate = bounded(officer="[{subjects: 5, per: 1h}, {lookups: 12, per: 1h}]")
    with gate.wire("officer") as c:
        codes = [c.query("SELECT person_id FROM taj.person").error for _ in range(12)]
        assert "subjects" in codes[0]
        assert "lookups" in codes[-1]


def test_statistics_have_a_budget_of_their_own(bounded):
    gate = bounded(statistic_rows=7)
    with gate.wire("officer") as c:
        for _ in range(2):
            said = c.query("SELECT role, count(*) FROM taj.involvement GROUP BY role")
            assert not said.errors and len(said.rows) == 3
        assert c.query("SELECT role, count(*) FROM taj.involvement GROUP BY role").sqlstate == "53400"
        assert not c.query("SELECT person_id FROM taj.person WHERE person_id = 1001").errors


def test_a_window_slides(bounded):
    gate = bounded(officer="[{subjects: 3, per: 2s}, {lookups: 1000, per: 1h}]")
    with gate.wire("officer") as c:
        assert len(c.query("SELECT person_id FROM taj.person ORDER BY 1").rows) == 3
        time.sleep(1.2)
        assert not c.query("SELECT person_id FROM taj.person WHERE person_id = 1001").errors  # counts from now again
        time.sleep(1.2)
        said = c.query("SELECT person_id FROM taj.person WHERE person_id > 1100")
        assert len(said.rows) == 2  # two of the first three are free again, the refreshed one is not
        time.sleep(2.2)
        assert len(c.query("SELECT person_id FROM taj.person WHERE person_id > 1200").rows) == 3


def test_restarts_remember(bounded):
    gate = bounded()
    with gate.wire("officer") as c:
        assert len(c.query("SELECT person_id FROM taj.person ORDER BY 1 LIMIT 55").rows) == 55
    for how in (gate.stop, gate.kill):
        how()
        gate.serve()
    with gate.wire("officer") as c:
        assert len(c.query("SELECT person_id FROM taj.person WHERE person_id > 1500").rows) == 5


def test_reconnecting_and_both_protocols_do_not_help(bounded, register_a):
    gate, seen = bounded(), set()
    for i in range(30):
        with gate.wire("officer") as c:
            sql = f"SELECT person_id FROM taj.person WHERE person_id >= {1001 + 9 * i} ORDER BY person_id LIMIT 3"
            seen |= people_of(c.query(sql) if i % 2 else c.extended(sql))
    assert len(seen) == 60


def test_a_statement_needs_a_purpose_and_a_reference(bounded):
    gate = bounded()
    with gate.wire("officer", purpose=False) as c:
        said = c.query("SELECT person_id FROM taj.person WHERE person_id = 1001")
        assert said.sqlstate == "42501" and "ecluse.purpose" in said.error + said.hint and not said.rows
        assert c.query("SELECT name FROM ref.town").rows  # open tables need none
        assert not c.query("SET ecluse.purpose = 'judicial-inquiry'").errors
        said = c.query("SELECT person_id FROM taj.person WHERE person_id = 1001")
        assert said.sqlstate == "42501" and "ecluse.reference" in said.error + said.hint
        assert not c.query("SET ecluse.reference = 'PV-9'").errors
        assert c.query("SELECT person_id FROM taj.person WHERE person_id = 1001").rows
        assert not c.query("SET ecluse.purpose = 'permit-control'").errors  # reference optional
        assert c.query("SELECT person_id FROM taj.person WHERE person_id = 1001").rows
        assert c.query("SET ecluse.purpose = 'curiosity'").errors
