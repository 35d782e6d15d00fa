"""What the session believes of a portal, a cursor or a transaction is what PostgreSQL holds: each test here once released
rows that were not theirs, committed what was refused, or ended the gate."""
import time

import pytest

from harness import gate as gates
from harness import wire
from harness.wire import FLUSH, SYNC, bind, close, cstring, execute, message, parse

PEOPLE = "SELECT * FROM taj.person"


def believed_open(c, *statements):
    """A protocol portal `foo` over an open table, then `statements`, then a guarded cursor of the same name."""
    c.query("BEGIN")
    c.query("SAVEPOINT before")
    c.send(parse("SELECT id, k FROM ref.numbers"), bind(portal="foo"), SYNC)
    assert not c.outcome().errors
    for sql in statements:
        c.query(sql)
    return c.query(f"DECLARE foo CURSOR FOR {PEOPLE}")


@pytest.mark.parametrize("between", [["CLOSE foo"], ["ROLLBACK TO before"], ["COMMIT AND CHAIN"], []],
                         ids=["close", "savepoint", "chain", "nothing"])
def test_a_portal_is_not_a_cursor_of_its_name(gate, between):
    with gate.wire("officer", reference="portal-1") as c:
        believed_open(c, *between)
        c.send(execute("foo"), SYNC)
        said = c.outcome()
        assert b"Lefebvre" not in said.bytes_seen() and all(len(row) == 2 for row in said.rows)


@pytest.mark.parametrize("rid", [[close("P", "bar"), SYNC], [message("Q", cstring("CLOSE bar"))], [message("Q", cstring("ROLLBACK TO before"))]],
                         ids=["protocol close", "close", "savepoint"])
def test_a_cursor_is_not_a_portal_of_its_name(gate, rid):
    with gate.wire("officer", reference="portal-2") as c:
        c.query("BEGIN")
        c.query("SAVEPOINT before")
        assert not c.query("DECLARE bar CURSOR FOR SELECT id FROM ref.numbers").errors
        c.send(*rid)
        c.outcome()
        c.send(parse(PEOPLE), bind(portal="bar"), SYNC)
        c.outcome()
        said = c.query("FETCH 100 FROM bar")
        assert said.errors and not said.rows


def test_a_bind_that_failed_left_nothing(gate):
    with gate.wire("officer", reference="portal-3") as c:
        c.query("BEGIN")
        c.query(f"DECLARE foo CURSOR FOR {PEOPLE}")
        c.query("SAVEPOINT s")
        c.send(parse("SELECT id FROM ref.numbers"), bind(portal="foo"), SYNC)
        assert c.outcome().sqlstate == "42P03"
        c.query("ROLLBACK TO s")
        c.send(execute("foo"), SYNC)
        said = c.outcome()
        assert said.sqlstate == "34000" and not said.rows


def test_the_unnamed_portal_is_what_was_bound_last(gate):
    with gate.wire("officer", reference="portal-4") as c:
        c.query("BEGIN")
        c.query("SAVEPOINT s")
        c.send(parse("ROLLBACK TO s", name="back"), parse(PEOPLE, name="people"), parse("SELECT id FROM ref.numbers WHERE id = $1", name="open"),
               bind(portal="b", statement="back"), bind(portal="", statement="people"), SYNC)
        assert not c.outcome().errors
        c.send(bind(portal="", statement="open"), SYNC)  # a parameter is missing
        assert c.outcome().errors
        c.send(execute("b"), SYNC)
        c.outcome()
        c.send(execute(""), SYNC)
        said = c.outcome()
        assert said.errors and not said.rows


def test_with_hold_takes_no_people(gate):
    with gate.wire("prober", purpose=False) as c:
        c.query("BEGIN")
        said = c.query("DECLARE h CURSOR WITH HOLD FOR SELECT string_agg(family_name, ',')::int FROM taj.person")
        assert said.sqlstate == "0A000" and "WITH HOLD" in said.error
        assert not c.query("ROLLBACK").errors


# --- transactions that no Sync ended ---
@pytest.fixture(scope="module")
def tight(make_gate):
    """A role that may write and is told of two people in all."""
    gates.PURPOSE_OF["tight"] = "permit-control"
    return make_gate("tight", accounts={"tight": "tight", "clerk": "clerk"}, roles=gates.writing_role("tight", 2, failures=20))


def count(gate, kind):
    with gate.postgres.admin(gate.database) as c:
        return c.execute("SELECT count(*) FROM sia.permit WHERE kind = %s", [kind]).fetchone()[0]


def settled(gate):
    """Once whoever is gone has left PostgreSQL."""
    time.sleep(1)


def test_a_refused_write_is_not_committed_by_going_away(tight):
    c = tight.wire("tight")
    c.send(parse("UPDATE sia.permit SET kind = 'taken'"), bind(), execute(), FLUSH)
    assert c.outcome(until="CE").sqlstate == "53400"
    c.socket.close()
    settled(tight)
    assert count(tight, "taken") == 0


@pytest.mark.parametrize("end", [[FLUSH], [message("X")]], ids=["flush", "terminate"])
def test_a_write_without_sync_is_not_committed(tight, end):
    c = tight.wire("clerk")
    c.send(parse("INSERT INTO sia.permit (owner_id, kind) VALUES (1001, 'unsynced')"), bind(), execute(), *end)
    if end == [FLUSH]:
        assert not c.outcome(until="C").errors
    time.sleep(0.5)
    c.socket.close()
    settled(tight)
    assert count(tight, "unsynced") == 0


def test_a_copy_whose_client_goes_stores_nothing(tight):
    c = tight.wire("clerk")
    c.send(message("Q", cstring("COPY sia.permit (owner_id, kind) FROM STDIN")))
    while c.receive()[0] != "G":
        pass
    c.send(message("d", b"1001\tgone\n" * 1500))
    time.sleep(1)
    c.socket.close()
    settled(tight)
    assert count(tight, "gone") == 0


# --- what ended the gate, or the session ---
@pytest.mark.parametrize("rows", [0, 4], ids=["all", "suspended"])
def test_a_portal_executed_again(gate, rows):
    with gate.wire("prober") as c:
        c.send(parse("SELECT person_id FROM taj.person WHERE person_id IN (1001, 1004, 1007, 1010)"), bind(),
               execute("", rows), execute("", rows), execute("", rows), SYNC)
        said = c.outcome()
        assert len(said.rows) == 4 and said.kinds.endswith("Z")
    assert gate.alive()


def test_a_refused_portal_executed_again(make_gate):
    gate = make_gate("again", accounts={"officer": "officer"}, officer="[{subjects: 2, per: 1h}, {lookups: 1000, per: 1h}]")
    with gate.wire("officer") as c:
        c.query("BEGIN")
        c.send(parse(PEOPLE), bind(portal="p"), SYNC)
        c.outcome()
        c.query("SAVEPOINT s")
        c.send(execute("p"), SYNC)
        assert c.outcome().sqlstate == "53400"
        c.query("ROLLBACK TO s")
        c.send(execute("p"), SYNC)
        said = c.outcome()
        assert said.sqlstate == "55000" and not said.rows
    assert gate.alive()


def test_execute_of_itself(gate):
    with gate.wire("prober") as c:
        c.send(parse("EXECUTE x", name="x"), SYNC)
        c.outcome()
        assert c.query("EXECUTE x").sqlstate == "0A000"
        assert c.query("SELECT 1").rows == [(b"1",)]


@pytest.mark.parametrize("behind", [[close("S", "nothing")], [parse("", name="none")], [close("P", "nothing")]], ids=["close", "empty", "portal"])
def test_what_the_gate_answers_itself_behind_a_parse(gate, behind):
    with gate.wire("prober") as c:
        c.send(parse(f"SELECT {time.time_ns()} AS fresh", name="s"), *behind, SYNC)
        said = c.outcome()
        assert not said.errors and said.status == "I"
        assert c.query("SELECT 1").rows == [(b"1",)]


def test_an_aborted_transaction_relays_nothing(gate):
    with gate.wire("prober") as c:
        c.query("BEGIN")
        c.query("CLOSE nothing")
        assert c.query("SELECT id FROM ref.numbers LIMIT 1").sqlstate == "25P02"
        assert not c.query("ROLLBACK").errors


@pytest.mark.parametrize("ask", ["simple", "extended", "execute", "together"])
def test_statistics_that_fall_short_in_one_transaction(make_gate, ask):
    """Each is run again, counted by person; what the client and PostgreSQL say of the connection stays the same."""
    gate = make_gate(f"short-{ask}", accounts={"officer": "officer"}, officer="[{subjects: 100000, per: 1h}, {lookups: 50, per: 1h}]")
    sql = "SELECT p.birth_place, i.outcome, i.role, count(*) FROM taj.person p JOIN taj.involvement i ON p.person_id = i.person_id GROUP BY 1, 2, 3"
    with gate.wire("officer") as c:
        if ask == "together":
            said = c.query(f"{sql}; {sql}; SELECT 1")
            assert not said.errors and len(said.results) == 3 and said.results[0].rows
            seen = said.results[0].rows
        else:
            c.query("BEGIN")
            assert not c.query(f"PREPARE short AS {sql}").errors
            for _ in range(2):
                said = c.extended(sql) if ask == "extended" else c.query(sql if ask == "simple" else "EXECUTE short")
                assert not said.errors and said.rows
            seen = said.rows
            assert not c.query(f"DECLARE z CURSOR FOR {PEOPLE}").errors
            assert len(c.query("FETCH 1 FROM z").rows) == 1
            c.query("ROLLBACK")
    small = sum(int(row[3]) for row in seen if int(row[3]) < 11)
    named = {t for e in gate.ledger() if e["kind"] == "disclosure" and "GROUP BY" in e["statement"]["text"]
             for s in e["subjects"] for t in s.get("returned", [])}
    assert small > 0 and named, "no group was small"


@pytest.mark.parametrize("first,found", [(900001, 0), (1001, 84)], ids=["absent", "present"])  # every third number is somebody
def test_more_lookups_in_a_pipeline_than_may_be_unfinished(gate, first, found):
    with gate.wire("counter") as c:
        c.send(parse("SELECT person_id FROM taj.person WHERE person_id = $1", name="s"), SYNC)
        assert not c.outcome().errors
        sent = [part for i in range(250) for part in (bind(statement="s", params=[first + i]), execute())]
        c.send(*sent, SYNC)
        answer = c.outcome()
        assert not answer.errors and len(answer.results) == 250 and len(answer.rows) == found, answer.errors
        assert c.query("SELECT 1").rows == [(b"1",)]


def test_what_a_session_keeps_has_an_end(gate):
    long = b"x" * 1_000_000
    with gate.wire("prober") as c:
        c.query("BEGIN")
        c.send(parse("SELECT person_id FROM taj.person WHERE family_name = $1 AND person_id = 1001", name="s"), SYNC)
        assert not c.outcome().errors
        for i in range(30):
            c.send(bind(portal=f"p{i}", statement="s", params=[long]), SYNC)
            if (said := c.outcome()).errors:
                break
        assert said.sqlstate == "54000" and "bytes" in said.error and i < 20
        c.query("ROLLBACK")
        for i in range(30):
            c.send(parse(f"SELECT '{'y' * 900_000}'", name=f"t{i}"), SYNC)
            if (said := c.outcome()).errors:
                break
        assert said.sqlstate == "54000" and "bytes" in said.error and i < 20
        for i in range(1001):
            c.send(parse("", name=f"e{i}"))
        c.send(SYNC)
        assert c.outcome().sqlstate == "54000"
        assert c.query("SELECT 1").rows == [(b"1",)]


# --- cursors owe what their statement owes ---
def test_people_a_cursor_names_are_charged_however_often_it_is_refused(make_gate):
    gate = make_gate("asks", accounts={"officer": "officer"}, officer="[{subjects: 10, per: 1h}, {lookups: 50, per: 1h}]")
    with gate.wire("officer", reference="asks-1") as c:
        absent = ",".join(str(i) for i in range(900000, 900040))
        c.query("BEGIN")
        c.query(f"DECLARE z CURSOR FOR SELECT person_id FROM taj.person WHERE person_id IN ({absent})")
        c.query("SAVEPOINT s")
        for _ in range(2):
            assert c.query("FETCH ALL FROM z").sqlstate == "53400"
            c.query("ROLLBACK TO s")
        c.query("ROLLBACK")
        places = ",".join(f"'x{i}'" for i in range(400))
        c.query("BEGIN")
        c.query(f"DECLARE z CURSOR FOR SELECT person_id FROM taj.person WHERE birth_place IN ({places})")
        said = c.query("FETCH ALL FROM z")
        assert said.sqlstate == "53400" and "lookups" in said.error


# --- settings of the startup message ---
@pytest.mark.parametrize("name", ["datestyle to 'iso, dmy' --", "search_path to taj --", "ecluse.role to 'counter' --", "datestyle to 'sql' /*"])
def test_names_of_startup_settings_are_names(gate, name):
    with pytest.raises(wire.ServerError) as refused:
        gate.wire("prober", options={name: "x"})
    assert refused.value.sqlstate == "22023"


def test_a_startup_setting_is_the_setting_in_any_case(gate):
    with gate.wire("prober", options={"DateStyle": "German"}) as c:
        assert c.query("SELECT date '2024-02-01'").rows == [(b"01.02.2024",)]


# --- what LIMIT picked is shown whole ---
PICKED = "SELECT c.person_id, count(*) FROM (SELECT person_id FROM taj.person ORDER BY (person_id = 1001) LIMIT 40) c GROUP BY 1"


def test_a_portal_of_picked_rows_is_run_whole(make_gate):
    gate = make_gate("whole", accounts={"officer": "officer"}, officer="[{subjects: 60, per: 1h}, {lookups: 50, per: 1h}]")
    with gate.wire("officer") as c:
        c.send(parse(PICKED), bind(), execute("", 1), SYNC)
        assert len(c.outcome().rows) == 40
        assert c.query("BEGIN; DECLARE d CURSOR FOR " + PICKED).sqlstate == "0A000"
        c.query("ROLLBACK")


# 10,000 rows, 2,000 of each person, tell of five people.
@pytest.mark.parametrize("sql,budget,state,charged", [
    (PICKED, 10, "53400", 10),
    ("SELECT c.person_id, g.n FROM (SELECT person_id FROM taj.person LIMIT 40) c LEFT JOIN generate_series(1, 2000) g(n) ON true",
     60, "54000", 5)], ids=["budget", "size"])
def test_picked_rows_that_do_not_fit_are_charged_and_not_shown(make_gate, sql, budget, state, charged):
    gate = make_gate(f"unfit{budget}", accounts={"officer": "officer"},
                     officer=f"[{{subjects: {budget}, per: 1h}}, {{lookups: 50, per: 1h}}]")

    def used(c):
        return next(int(row[2]) for row in c.query("SHOW ecluse.budget").rows if row[0] == b"account" and b"subjects" in row[1])

    with gate.wire("officer") as c:
        said = c.query(sql)
        assert not said.rows and said.sqlstate == state, said.errors
        assert used(c) == charged
    gate.kill()
    gate.serve()
    with gate.wire("officer") as c:
        assert used(c) == charged


# --- what is deferred to the commit ---
def test_a_commit_that_fails_is_an_error_without_values(make_gate):
    gate = make_gate("deferred", accounts={"clerk": "clerk"}, serve=False)
    with gate.postgres.owner(gate.database) as c:
        c.execute("ALTER TABLE sia.permit ADD CONSTRAINT late FOREIGN KEY (owner_id) REFERENCES sia.owner DEFERRABLE INITIALLY DEFERRED")
    gate.apply()
    gate.serve()
    sql = "INSERT INTO sia.permit (owner_id, kind) VALUES (987654, 'late')"
    with gate.wire("clerk") as c:
        for said in (c.query(sql), c.extended(sql)):
            assert said.sqlstate == "23503" and "987654" not in str(said.errors) and "late" not in str(said.errors), said.errors
        c.query("BEGIN")
        assert not c.query(sql).errors
        said = c.query("COMMIT")
        assert said.sqlstate == "23503" and "987654" not in str(said.errors), said.errors
        c.query("BEGIN")
        assert not c.extended(sql).errors
        said = c.extended("COMMIT")
        assert said.sqlstate == "23503" and "987654" not in str(said.errors), said.errors
    assert count(gate, "late") == 0
    # Each was written down before it was answered.
    assert len([e for e in gate.ledger() if e["kind"] == "failure" and "COMMIT: SQLSTATE 23503" in e["reason"]]) == 4
