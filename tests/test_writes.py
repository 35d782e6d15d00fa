"""Writes: only what the role may write, never a mask over the truth, counted like reads, and before they are told."""
import pytest
from psycopg.types.numeric import Int2, Int4, Int8, IntNumeric

from harness import gate as gates
from harness.gate import told

READ_ONLY_REFUSALS = ("42501", "0A000")


@pytest.fixture(scope="module")
def gate(make_gate):
    return make_gate("written", roles="""
  narrow:
    purposes: [permit-control]
    read: {sia.permit: {key: clear, permit: clear}, sia.owner: {key: clear, permit: clear}}
    rows: {sia.permit: "status <> 'expired'"}
    write: {sia.permit: {insert: [owner_id, kind, status], update: [kind, status], delete: true}}
    budgets: [{subjects: 10, per: 1h}, {lookups: 1000, per: 1h}, {failures: 1000, per: 1h}]
""", accounts={**gates.ACCOUNTS, "narrow": "narrow"})


@pytest.fixture
def clerk(gate, request):
    reference = "w-" + request.node.name[:60].replace("'", "")
    with gate.wire("clerk", reference=reference) as c:
        c.reference = reference
        yield c


def truth(gate, sql):
    with gate.postgres.admin(gate.database) as c:
        return c.execute(sql).fetchall()


def test_insert(gate, clerk):
    said = clerk.query("INSERT INTO sia.permit (owner_id, kind, remark) VALUES (1001, 'sport', 'first'), (1004, 'hunting', NULL)")
    assert said.tag == "INSERT 0 2", said.errors
    assert truth(gate, "SELECT owner_id, kind, status, points, remark FROM sia.permit WHERE permit_id > 100000 ORDER BY 1") == [
        (1001, "sport", "asked", 0, "first"), (1004, "hunting", "asked", 0, None)]
    entries = gate.entries(clerk.reference)
    assert [e["kind"] for e in entries if e["kind"] != "session"] == ["collection"]
    assert gates.told(entries) == {"person:1001", "person:1004"} and gates.lookups(entries) == 1


def test_insert_with_parameters_and_returning(gate, clerk):
    said = clerk.extended("INSERT INTO sia.permit (owner_id, kind, points) VALUES ($1, $2, $3) RETURNING permit_id, owner_id, status, valid_until",
                          ["1010", "sport", "4"])
    assert said.tag == "INSERT 0 1", said.errors
    (permit, owner, status, valid), = said.text_rows()
    assert int(permit) > 100000 and (owner, status, valid) == ("1010", "asked", None)
    assert [c[0] for c in said.results[0].columns] == ["permit_id", "owner_id", "status", "valid_until"]
    assert gates.told(gate.entries(clerk.reference)) == {"person:1010"}


def test_returning_in_the_simple_protocol_describes_its_columns(gate, clerk):
    said = clerk.query("INSERT INTO sia.permit (owner_id, kind) SELECT 1010, 'sport' RETURNING permit_id, kind AS what")
    assert said.tag == "INSERT 0 1" and [c[0] for c in said.results[0].columns] == ["permit_id", "what"], said.errors
    assert said.kinds.startswith("TDC")


def test_update(gate, clerk):
    owner = truth(gate, "SELECT owner_id FROM sia.permit WHERE permit_id = 3")[0][0]
    assert clerk.query("UPDATE sia.permit SET status = 'granted', points = points + 1 WHERE permit_id = 3").tag == "UPDATE 1"
    assert truth(gate, "SELECT status FROM sia.permit WHERE permit_id = 3") == [("granted",)]
    entries = gate.entries(clerk.reference)
    assert f"person:{owner}" in gates.told(entries) and "alteration" in [e["kind"] for e in entries]


def test_delete_and_nothing_found(gate, clerk):
    owner = truth(gate, "SELECT owner_id FROM sia.permit WHERE permit_id = 5")[0][0]
    assert clerk.query("DELETE FROM sia.permit WHERE permit_id = 5").tag == "DELETE 1"
    assert f"person:{owner}" in gates.told(gate.entries(clerk.reference))
    assert clerk.query("DELETE FROM sia.permit WHERE owner_id = 999").tag == "DELETE 0"
    assert clerk.query("UPDATE sia.permit SET points = 1 WHERE kind = 'dragon'").tag == "UPDATE 0"
    entries = gate.entries(clerk.reference)
    assert "person:999" in gates.told(entries) and gates.nameless(entries) >= 1


def test_the_written_value_is_hidden_again(clerk):
    assert not clerk.query("UPDATE sia.permit SET remark = 'seen by none' WHERE permit_id = 7").errors
    assert clerk.query("SELECT remark FROM sia.permit WHERE permit_id = 7").rows in ([(None,)], [])
    said = clerk.query("UPDATE sia.permit SET remark = 'x' WHERE permit_id = 7 RETURNING remark")
    assert said.errors or said.rows == [(None,)]


REFUSED = {
    "a column that is not the role's to write": "UPDATE sia.permit SET serial_no = 'mine' WHERE permit_id = 8",
    "a subject column": "UPDATE sia.permit SET owner_id = 1001 WHERE permit_id = 8",
    "a subject column among others": "UPDATE sia.permit SET (kind, owner_id) = ROW('sport', 1001) WHERE permit_id = 8",
    "another table": "UPDATE sia.owner SET category = 'B'",
    "a table that is not readable": "INSERT INTO sia.address VALUES (999, 1001, 's', 't', 'p')",
    "an open table": "UPDATE ref.town SET name = 'x' WHERE town_id = 1",
    "a closed table": "DELETE FROM closed.agent",
    "INSERT SELECT from guarded rows": "INSERT INTO sia.permit (owner_id, kind) SELECT owner_id, 'sport' FROM sia.owner",
    "UPDATE FROM": "UPDATE sia.permit p SET kind = o.category FROM sia.owner o WHERE o.owner_id = p.owner_id",
    "DELETE USING": "DELETE FROM sia.permit p USING sia.owner o WHERE o.owner_id = p.owner_id AND o.category = 'B'",
    "a sub-select": "UPDATE sia.permit SET kind = (SELECT category FROM sia.owner LIMIT 1) WHERE permit_id = 8",
    "a sub-select in the condition": "DELETE FROM sia.permit WHERE owner_id IN (SELECT owner_id FROM sia.owner WHERE category = 'B')",
    "a data-modifying CTE": "WITH x AS (DELETE FROM sia.permit RETURNING *) SELECT * FROM x",
    "a write under WITH": "WITH x AS (SELECT owner_id FROM sia.owner) DELETE FROM sia.permit USING x WHERE x.owner_id = sia.permit.owner_id",
    "MERGE": "MERGE INTO sia.permit p USING sia.owner o ON o.owner_id = p.owner_id WHEN MATCHED THEN DELETE",
    "TRUNCATE": "TRUNCATE sia.permit",
    "a hidden column in the condition": "UPDATE sia.permit SET remark = upper(remark)",
    "the gate's own column": "UPDATE sia.permit SET __subject = '1'",
    "RETURNING a row": "UPDATE sia.permit p SET kind = kind WHERE permit_id = 8 RETURNING p",
    "RETURNING a sub-select": "UPDATE sia.permit SET kind = kind WHERE permit_id = 8 RETURNING (SELECT count(*) FROM sia.owner)",
    "OVERRIDING": "INSERT INTO sia.permit (permit_id, owner_id, kind) OVERRIDING SYSTEM VALUE VALUES (1, 1001, 'x')",
    "the key itself": "INSERT INTO sia.permit (permit_id, owner_id, kind) VALUES (1, 1001, 'x')",
    "a cursor": "UPDATE sia.permit SET kind = 'x' WHERE CURRENT OF c",
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused(gate, clerk, why):
    before = truth(gate, "SELECT md5(string_agg(p::text, '|' ORDER BY permit_id)) FROM sia.permit p")
    said = clerk.query(REFUSED[why])
    assert said.errors and said.sqlstate[:2] in ("42", "0A", "34"), (said.errors, said.tag)
    assert "CANARY" not in str(said.errors)
    assert truth(gate, "SELECT md5(string_agg(p::text, '|' ORDER BY permit_id)) FROM sia.permit p") == before


def test_a_hidden_column_cannot_be_read_back_through_a_write(gate, clerk):
    """`SET kind = remark` would carry the hidden value into a column that can be read."""
    said = clerk.query("UPDATE sia.permit SET kind = remark WHERE permit_id = 9")
    assert said.errors or truth(gate, "SELECT kind FROM sia.permit WHERE permit_id = 9")[0][0] is None or \
        "CANARY" not in truth(gate, "SELECT kind FROM sia.permit WHERE permit_id = 9")[0][0]
    assert "CANARY" not in str(clerk.query("SELECT kind FROM sia.permit WHERE permit_id = 9").rows)


def test_who_may_not_write_may_not(gate):
    with gate.wire("prober") as c:
        for sql in ("INSERT INTO sia.permit (owner_id, kind) VALUES (1001, 'x')", "UPDATE sia.permit SET kind = 'x'", "DELETE FROM sia.permit",
                    "UPDATE taj.person SET family_name = 'x' WHERE person_id = 1001", "SELECT nextval('sia.permit_permit_id_seq')"):
            assert c.query(sql).sqlstate in READ_ONLY_REFUSALS


def test_a_sequence_drawn_from_is_nothing_to_the_next_session(gate):
    """PostgreSQL keeps its last value with the connection, which the next session may get."""
    for _ in range(3):
        with gate.wire("clerk") as c:
            assert c.query("SELECT currval('sia.permit_permit_id_seq')").sqlstate == "55000"
            assert not c.query("SELECT nextval('sia.permit_permit_id_seq')").errors


def test_a_sequence_does_not_count_rows(gate, clerk):
    """What nextval hands out afterwards would tell how many hidden rows met a condition."""
    sequence = "'sia.permit_permit_id_seq'"
    for sql in (f"SELECT owner_id FROM sia.permit WHERE CASE WHEN points > 6 THEN nextval({sequence}) < 0 ELSE false END",
                f"SELECT owner_id, currval({sequence}) FROM sia.permit WHERE permit_id = 9",
                f"DELETE FROM sia.permit WHERE points > 6 AND nextval({sequence}) < 0"):
        said = clerk.query(sql)
        assert said.sqlstate == "42501", (sql, said.errors, said.tag)
    (before,), = clerk.query(f"SELECT nextval({sequence})").text_rows()
    said = clerk.query(f"INSERT INTO sia.permit (permit_id, owner_id, kind) VALUES (nextval({sequence}), 1001, 'x')")
    assert said.sqlstate in ("", "42501"), said.errors  # the role may leave permit_id to its default alone
    (after,), = clerk.query(f"SELECT nextval({sequence})").text_rows()
    assert int(after) - int(before) <= 2


def test_on_conflict(gate, clerk):
    said = clerk.query("INSERT INTO sia.permit (owner_id, kind) VALUES (1001, 'sport') ON CONFLICT DO NOTHING")
    assert said.tag == "INSERT 0 1", said.errors
    with gate.wire("narrow", purpose="permit-control") as c:  # a row condition hides rows that a conflict would tell of
        c.query("SET ecluse.purpose = 'permit-control'")
        assert c.query("INSERT INTO sia.permit (owner_id, kind) VALUES (1001, 'x') ON CONFLICT DO NOTHING").errors


@pytest.mark.parametrize("kind", [Int2, Int4, Int8, IntNumeric, str])
def test_a_row_is_found_by_its_key_whatever_type_that_is_bound_as(gate, kind):
    """Before a write the gate asks whose row it is, with what the client binds and as the client declared it."""
    (permit, owner), = truth(gate, "SELECT permit_id, owner_id FROM sia.permit WHERE permit_id = 12")
    reference = f"bound-{kind.__name__}"
    with gate.psycopg("clerk", reference=reference) as c:
        values = {"permit": kind(permit), "owner": kind(owner)}
        assert c.execute("UPDATE sia.permit SET remark = 'seen' WHERE permit_id = %(permit)s AND kind = 'none such'", values).rowcount == 0
        assert told(gate.entries(reference)) == {f"person:{owner}"}
        assert c.execute("UPDATE sia.permit SET remark = 'seen' WHERE permit_id = %(permit)s", values).rowcount == 1
        assert c.execute("SELECT count(*) FROM sia.permit WHERE permit_id = %(permit)s", values).fetchone() == (1,)


@pytest.mark.parametrize("condition, found", [("permit_id = 12.0", 1), ("permit_id = 12.5", 0), ("permit_id = 1.2e1", 1), ("permit_id IN (12, 3000000000)", 1), ("permit_id = 3000000000", 0),
                                              ("permit_id = ANY (ARRAY[12, 3000000000])", 1), ("permit_id = ANY (ARRAY[12, 3000000000]::int8[])", 1), ("permit_id = '12'", 1)])
def test_a_number_beside_a_key_is_the_number_that_is_written(gate, condition, found):
    (owner,), = truth(gate, "SELECT owner_id FROM sia.permit WHERE permit_id = 12")
    reference = f"number {condition}".replace("'", "")
    with gate.psycopg("clerk", reference=reference) as c:
        assert c.execute(f"SELECT count(*) FROM sia.permit WHERE {condition}").fetchone() == (found,)
        assert c.execute(f"UPDATE sia.permit SET remark = 'seen' WHERE {condition}").rowcount == found
    assert told(gate.entries(reference)) == ({f"person:{owner}"} if found else set())


def test_constraint_errors_say_nothing_of_values(gate, clerk):
    said = clerk.query("UPDATE sia.permit SET points = -5 WHERE permit_id = 10")
    assert said.sqlstate == "23514"
    assert set(said.errors[0]) <= {"S", "V", "C", "M", "H", "R"}
    assert "permit_points_check" not in said.error and "CANARY" not in str(said.errors)
    assert "failure" in [e["kind"] for e in gate.entries(clerk.reference)]


def test_row_condition_holds_for_writes(gate):
    expired = truth(gate, "SELECT permit_id, kind FROM sia.permit WHERE status = 'expired' ORDER BY 1 LIMIT 1")[0]
    with gate.wire("narrow", purpose="permit-control") as c:
        assert c.query(f"UPDATE sia.permit SET kind = 'x' WHERE permit_id = {expired[0]}").tag == "UPDATE 0"
        assert c.query("INSERT INTO sia.permit (owner_id, kind, status) VALUES (1001, 'sport', 'expired')").sqlstate in ("44000", "42501")
    assert truth(gate, f"SELECT kind FROM sia.permit WHERE permit_id = {expired[0]}") == [(expired[1],)]


def test_a_budget_ends_a_write_before_it_happens(gate):
    """Rows touched are charged like rows read: over the budget nothing is written."""
    before = truth(gate, "SELECT count(*) FROM sia.permit")
    with gate.wire("narrow", purpose="permit-control") as c:
        said = c.query("DELETE FROM sia.permit WHERE permit_id > 0")
        assert said.sqlstate == "53400" and not said.tag
        said = c.query("BEGIN; UPDATE sia.permit SET kind = 'gone' WHERE permit_id > 0")
        assert said.sqlstate == "53400" and said.status == "E"
        assert c.query("COMMIT").tag == "ROLLBACK"
    assert truth(gate, "SELECT count(*) FROM sia.permit") == before
    assert truth(gate, "SELECT count(*) FROM sia.permit WHERE kind = 'gone'") == [(0,)]


def test_transactions(gate, clerk):
    clerk.query("BEGIN")
    assert clerk.query("INSERT INTO sia.permit (owner_id, kind, remark) VALUES (1013, 'sport', 'undone')").tag == "INSERT 0 1"
    assert clerk.query("SELECT count(*) FROM sia.permit WHERE owner_id = 1013").rows != [(b"0",)]
    clerk.query("ROLLBACK")
    assert truth(gate, "SELECT count(*) FROM sia.permit WHERE remark = 'undone'") == [(0,)]
    clerk.query("BEGIN")
    clerk.query("INSERT INTO sia.permit (owner_id, kind, remark) VALUES (1013, 'sport', 'kept')")
    clerk.query("SAVEPOINT s")
    assert clerk.query("UPDATE sia.permit SET points = -1 WHERE owner_id = 1013").status == "E"
    clerk.query("ROLLBACK TO s")
    assert clerk.query("COMMIT").tag == "COMMIT"
    assert truth(gate, "SELECT count(*) FROM sia.permit WHERE remark = 'kept'") == [(1,)]
    assert "person:1013" in gates.told(gate.entries(clerk.reference))


def test_expressions_over_the_row_itself(gate, clerk):
    assert clerk.query("UPDATE sia.permit SET points = points * 2 + length(kind), kind = upper(kind) WHERE permit_id = 11").tag == "UPDATE 1"
    assert truth(gate, "SELECT kind FROM sia.permit WHERE permit_id = 11")[0][0].isupper()
    assert clerk.query("UPDATE sia.permit SET valid_until = now()::date + 30 WHERE permit_id = 11").tag == "UPDATE 1"
    assert clerk.query("UPDATE sia.permit SET status = DEFAULT WHERE permit_id = 11").sqlstate == "0A000"


def test_for_update(gate, clerk):
    clerk.query("BEGIN")
    said = clerk.query("SELECT permit_id, owner_id FROM sia.permit WHERE permit_id = 12 FOR UPDATE")
    assert len(said.rows) == 1, said.errors
    assert gates.told(gate.entries(clerk.reference))
    said = clerk.query("SELECT p.permit_id FROM sia.permit p JOIN sia.owner o ON o.owner_id = p.owner_id WHERE p.permit_id = 12 FOR UPDATE OF p")
    assert len(said.rows) == 1, said.errors
    assert clerk.query("SELECT p.permit_id FROM sia.permit p JOIN sia.owner o ON o.owner_id = p.owner_id WHERE p.permit_id = 12 FOR UPDATE").sqlstate == "42501"
    clerk.query("ROLLBACK")


def test_prepared_writes_and_executemany(gate):
    with gate.psycopg("clerk", reference="w-many") as c:
        with c.cursor() as cursor:
            cursor.executemany("INSERT INTO sia.permit (owner_id, kind, remark) VALUES (%s, %s, %s)", [(1016 + 3 * i, "sport", "many") for i in range(25)])
            assert cursor.rowcount == 25
        with c.transaction():
            for i in range(10):
                c.execute("UPDATE sia.permit SET points = %s WHERE owner_id = %s AND kind = %s", (i, 1016 + 3 * i, "sport"))
    assert truth(gate, "SELECT count(*) FROM sia.permit WHERE remark = 'many'") == [(25,)]
    assert {f"person:{1016 + 3 * i}" for i in range(25)} <= gates.told(gate.entries("w-many"))


def test_the_ledger_cannot_be_bypassed_by_a_command_tag(gate, clerk):
    """A write that is refused by the ledger's failure is not committed: see test_crash.py; here its entry comes first."""
    clerk.query("UPDATE sia.permit SET points = 3 WHERE permit_id BETWEEN 20 AND 30")
    owners = {f"person:{r[0]}" for r in truth(gate, "SELECT owner_id FROM sia.permit WHERE permit_id BETWEEN 20 AND 30")}
    assert owners and owners <= gates.told(gate.entries(clerk.reference))
