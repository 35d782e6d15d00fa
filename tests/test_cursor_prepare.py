"""Cursors and prepared statements: planned once, charged as rows are fetched, forward only."""
import pytest

from harness import gate as gates
from harness.wire import SYNC, bind, columns_of, cstring, execute, message, parse


@pytest.fixture
def client(gate, request):
    reference = "c-" + request.node.name[:70]
    with gate.wire("counter", reference=reference) as c:
        c.reference = reference
        yield c


def charged(gate, client):
    return gates.people(gate.entries(client.reference))


def ids(*numbers):
    return {f"person:{1001 + 3 * n}" for n in numbers}


def test_rows_are_charged_as_they_are_fetched(gate, client):
    client.query("BEGIN")
    assert client.query("DECLARE c CURSOR FOR SELECT person_id FROM taj.person ORDER BY person_id").tag == "DECLARE CURSOR"
    assert charged(gate, client) == set()
    said = client.query("FETCH 2 FROM c")
    assert said.text_rows() == [("1001",), ("1004",)] and said.tag == "FETCH 2"
    assert charged(gate, client) == ids(0, 1)
    assert client.query("FETCH c").text_rows() == [("1007",)]
    assert client.query("FETCH FORWARD 2 IN c").text_rows() == [("1010",), ("1013",)]
    assert client.query("FETCH NEXT FROM c").text_rows() == [("1016",)]
    assert charged(gate, client) == ids(*range(6))
    assert client.query("CLOSE c").tag == "CLOSE CURSOR"
    assert client.query("COMMIT").tag == "COMMIT"
    assert charged(gate, client) == ids(*range(6))


def test_move_is_charged(gate, client):
    client.query("BEGIN; DECLARE c CURSOR FOR SELECT person_id FROM taj.person ORDER BY person_id")
    assert client.query("MOVE 3 FROM c").tag == "MOVE 3"
    assert charged(gate, client) == ids(0, 1, 2)
    assert client.query("FETCH c").text_rows() == [("1010",)]
    client.query("ROLLBACK")


def test_fetch_all_and_past_the_end(gate, client):
    client.query("BEGIN; DECLARE c CURSOR FOR SELECT person_id FROM taj.person WHERE person_id < 1010 ORDER BY 1")
    assert len(client.query("FETCH ALL FROM c").rows) == 3
    assert client.query("FETCH c").tag == "FETCH 0"
    client.query("ROLLBACK")


@pytest.mark.parametrize("fetch", ["FETCH PRIOR FROM c", "FETCH BACKWARD 2 FROM c", "FETCH FIRST FROM c", "FETCH LAST FROM c", "FETCH ABSOLUTE 1 FROM c",
                                   "FETCH RELATIVE -1 FROM c", "FETCH -1 FROM c", "MOVE BACKWARD ALL IN c"])
def test_forward_only(client, fetch):
    client.query("BEGIN; DECLARE c CURSOR FOR SELECT person_id FROM taj.person ORDER BY person_id")
    client.query("FETCH 3 FROM c")
    said = client.query(fetch)
    assert said.sqlstate in ("0A000", "42501", "55000") and not said.rows
    client.query("ROLLBACK")


def test_cursors_over_open_tables(client):
    client.query("BEGIN; DECLARE c CURSOR FOR SELECT id FROM ref.numbers ORDER BY id; DECLARE d CURSOR FOR SELECT name FROM ref.town ORDER BY town_id")
    assert client.query("FETCH 2 c; FETCH 1 d; FETCH 1 c").text_rows() == [("1",), ("2",), ("Lille",), ("3",)]
    assert client.query("CLOSE ALL").tag == "CLOSE CURSOR ALL"
    assert client.query("FETCH c").sqlstate == "34000"
    client.query("ROLLBACK")


def test_a_cursor_outside_a_transaction(client):
    assert client.query("DECLARE c CURSOR FOR SELECT person_id FROM taj.person").sqlstate == "25P01"
    assert client.query("FETCH never").sqlstate == "34000"


def test_a_budget_ends_a_cursor(make_gate):
    gate = make_gate("cursored", accounts={"officer": "officer"})
    with gate.wire("officer") as c:
        c.query("BEGIN; DECLARE c CURSOR FOR SELECT person_id FROM taj.person ORDER BY person_id")
        assert len(c.query("FETCH 40 FROM c").rows) == 40
        said = c.query("FETCH 40 FROM c")
        assert len(said.rows) == 20 and said.sqlstate == "53400" and said.status == "E"
        c.query("ROLLBACK")


def test_purpose_is_asked_when_rows_are_fetched(gate):
    with gate.wire("counter", purpose=False) as c:
        c.query("BEGIN")
        one = c.query("DECLARE c CURSOR FOR SELECT person_id FROM taj.person")
        two = c.query("FETCH c") if not one.errors else one
        assert two.errors and not two.rows
        c.query("ROLLBACK")


def test_sql_prepare_and_execute(gate, client):
    assert client.query("PREPARE q(int) AS SELECT person_id, family_name FROM taj.person WHERE person_id = $1").tag == "PREPARE"
    for n in range(3):
        assert client.query(f"EXECUTE q({1001 + 3 * n})").text_rows()[0][0] == str(1001 + 3 * n)
    assert gates.told(gate.entries(client.reference)) == ids(0, 1, 2)
    assert client.query("EXECUTE q").errors and client.query("EXECUTE q(1, 2)").errors
    assert client.query("PREPARE q AS SELECT 1").sqlstate == "42P05"
    assert client.query("DEALLOCATE q").tag == "DEALLOCATE"
    assert client.query("EXECUTE q(1001)").sqlstate == "26000"


def test_prepare_and_protocol_share_names(client):
    """PostgreSQL keeps one list: a statement of the protocol is EXECUTEd, one of PREPARE is bound."""
    client.send(parse("SELECT name FROM ref.town WHERE town_id = $1", name="mine", types=[23]), SYNC)
    client.outcome()
    assert client.query("EXECUTE mine(1)").text_rows() == [("Lille",)]
    client.query("PREPARE yours(int) AS SELECT $1 + 1")
    client.send(bind([41], statement="yours"), execute(), SYNC)
    assert client.outcome().text_rows() == [("42",)]
    assert client.query("DEALLOCATE ALL").tag == "DEALLOCATE ALL"
    client.send(bind([1], statement="mine"), execute(), SYNC)
    assert client.outcome().sqlstate == "26000"


def test_discard(client):
    client.query("PREPARE q AS SELECT 1; SET DateStyle = 'German'")
    assert client.query("DISCARD ALL").tag == "DISCARD ALL"
    assert client.query("EXECUTE q").sqlstate == "26000"
    assert client.query("SHOW DateStyle").text_rows() == [("ISO, MDY",)]


def test_a_role_change_forgets_statements_and_cursors(make_gate):
    gate = make_gate("changing", accounts={"two": ["counter", "prober"]})
    with gate.wire("two") as c:
        c.query("PREPARE q AS SELECT phone FROM taj.person WHERE phone IS NOT NULL")
        c.send(parse("SELECT phone FROM taj.person WHERE phone IS NOT NULL", name="p"), SYNC)
        c.outcome()
        assert c.query("BEGIN; SET ecluse.role = 'prober'").errors
        c.query("ROLLBACK")
        assert not c.query("SET ecluse.role = 'prober'").errors
        assert c.query("EXECUTE q").sqlstate == "26000"
        c.send(bind(statement="p"), execute(), SYNC)
        assert c.outcome().sqlstate == "26000"
        assert c.query("SELECT count(*) FROM taj.person WHERE phone IS NOT NULL").rows == [(b"0",)]
        assert c.query("SET ecluse.role = 'clerk'").sqlstate == "42501"


def test_literals_share_plans_and_keep_their_meaning(client):
    """One cached plan for many literals must not change what a statement means."""
    for value in ("1001", "1004", "1001 + 3", "'1007'"):
        said = client.query(f"SELECT person_id FROM taj.person WHERE person_id = {value}")
        assert not said.errors and len(said.rows) == 1, (value, said.errors)
    same = client.query("SELECT substr(family_name, 1, 2), count(*) FROM taj.person WHERE person_id < 1050 GROUP BY substr(family_name, 1, 2)")
    assert not same.errors
    differ = client.query("SELECT substr(family_name, 1, 2), count(*) FROM taj.person WHERE person_id < 1050 GROUP BY substr(family_name, 1, 3)")
    assert differ.errors
    for sql, value in [("SELECT interval '1 day' > interval '2 hours'", "t"), ("SELECT int2 '5' = 100000", "f"), ("SELECT '5' || '6'", "56"), ("SELECT 1.0", "1.0"),
                       ("SELECT 1", "1"), ("SELECT '1'", "1"), ("SELECT date '2024-01-01'", "2024-01-01"), ("SELECT 2147483648", "2147483648"), ("SELECT -5 % 3", "-2"),
                       ("SELECT 7 / 2", "3"), ("SELECT 7.0 / 2", "3.5000000000000000"), ("SELECT pg_typeof(1), pg_typeof(3000000000)", "integer"), ("SELECT pg_typeof('x')", "unknown"),
                       ("SELECT 'a' LIKE 'A'", "f"), ("SELECT E'\\x41'", "A"), ("SELECT x'1F'::int", "31"), ("SELECT 1 AS \"1\"", "1")]:
        for _ in range(2):
            assert client.query(sql).text_rows()[0][0] == value, sql
    rows = client.query("SELECT family_name FROM taj.person WHERE person_id < 1030 ORDER BY 1 LIMIT 2").text_rows()
    assert rows == sorted(rows)  # ORDER BY 1 is a place, not a value
    assert len(client.query("SELECT family_name FROM taj.person WHERE person_id < 1030 ORDER BY 1 LIMIT 3").rows) == 3


def test_asked_people_by_every_kind_of_parameter(gate, client):
    import struct
    asks = [("SELECT 1 FROM taj.person WHERE person_id = $1", ["5001"], [], []), ("SELECT 1 FROM taj.person WHERE person_id = $1", [struct.pack("!i", 5002)], [23], [1]),
            ("SELECT 1 FROM taj.person WHERE person_id = $1", [struct.pack("!q", 5003)], [20], [1]), ("SELECT 1 FROM taj.person WHERE person_id = $1", ["  05004 "], [23], [0]),
            ("SELECT 1 FROM taj.person WHERE person_id = ANY ($1)", ["{5005,5006}"], [], []),
            ("SELECT 1 FROM taj.person WHERE person_id = ANY ($1)", [struct.pack("!iiiiiiiii", 1, 0, 23, 2, 1, 4, 5007, 4, 5008)], [1007], [1]),
            ("SELECT 1 FROM taj.person WHERE person_id IN ($1, $2, 5011)", ["5009", "5010"], [], [])]
    for sql, params, types, formats in asks:
        said = client.extended(sql, params, types, formats)
        assert not said.errors or said.sqlstate == "0A000", (sql, params, said.errors)
        if said.errors:
            pytest.fail(f"{params!r} is refused: {said.error}")
    assert gates.people(gate.entries(client.reference), "asked") == {f"person:{i}" for i in range(5001, 5012)}


def test_a_session_has_so_many_cursors(gate):
    with gate.wire("prober") as c:
        c.query("BEGIN")
        for i in range(100):
            assert not c.query(f"DECLARE c{i} CURSOR FOR SELECT id FROM ref.numbers").errors
        said = c.query("DECLARE more CURSOR FOR SELECT id FROM ref.numbers")
        assert said.sqlstate == "54000" and "100 cursors" in said.error
        c.query("ROLLBACK")
        c.query("BEGIN")
        assert not c.query("DECLARE more CURSOR FOR SELECT id FROM ref.numbers").errors


def test_describe_of_a_declared_cursor(gate):
    with gate.wire("prober") as c:
        c.query("BEGIN")
        c.query("DECLARE people CURSOR FOR SELECT person_id, family_name FROM taj.person WHERE person_id = 1001")
        c.send(message("D", b"P" + cstring("people")), message("S"))
        described = []
        while (got := c.receive())[0] != "Z":
            described.append(got)
        assert [kind for kind, _ in described] == ["T"]
        assert [column[0] for column in columns_of(described[0][1])] == ["person_id", "family_name"]
        c.send(message("D", b"P" + cstring("nobody")), message("S"))
        assert c.outcome().sqlstate == "34000"


@pytest.mark.parametrize("ask", ["query", "extended"])
def test_set_config_of_what_set_may_change(gate, ask):
    with gate.wire("prober") as c:
        said = getattr(c, ask)("SELECT set_config('TimeZone', 'Asia/Tokyo', false)")
        assert said.rows == [(b"Asia/Tokyo",)], said.errors
        assert c.query("SHOW timezone").rows == [(b"Asia/Tokyo",)]
        assert c.query("SELECT pg_catalog.set_config('datestyle', 'German', false) AS x; SELECT 1").results[0].columns[0][0] == "x"
        c.query("BEGIN")
        assert c.query("SELECT set_config('TimeZone', 'UTC', true)").rows == [(b"UTC",)]
        c.query("COMMIT")
        assert c.query("SHOW timezone").rows == [(b"Asia/Tokyo",)]
        for refused in ("SELECT set_config('ecluse.role', 'writer', false)", "SELECT set_config('search_path', 'closed', false)",
                        "SELECT set_config('row_security', 'off', false)", "SELECT set_config('statement_timeout', '0', false)",
                        "SELECT set_config(family_name, 'x', false) FROM taj.person", "SELECT set_config('role', 'postgres', false)",
                        "SELECT (SELECT set_config('TimeZone', 'UTC', false))", "SELECT set_config('standard_conforming_strings', 'off', false)"):
            assert getattr(c, ask)(refused).errors, refused
