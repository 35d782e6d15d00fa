"""COPY both ways: out as the SELECT it is, counted and recorded; in as counted inserts."""
import csv
import io

import pytest

from harness import gate as gates
from harness.wire import cstring, message


@pytest.fixture(scope="module")
def gate(make_gate):
    return make_gate("copied", accounts={"exporter": "exporter", "clerk": "clerk", "prober": "prober"})


@pytest.mark.parametrize("options", ["", "(FORMAT csv)", "(FORMAT csv, HEADER)", "(FORMAT text, DELIMITER '|', NULL 'none')",
                                     "(FORMAT csv, QUOTE '''', ESCAPE '\\', DELIMITER ';', FORCE_QUOTE *)", "WITH CSV HEADER", "DELIMITER ','"])
@pytest.mark.parametrize("sql", ["SELECT id, b, i4, n, t, v, by, d, ts, ta, j FROM ref.kinds ORDER BY id", "SELECT code, label, NULL FROM ref.offence ORDER BY 1"])
def test_the_format_is_postgresqls(gate, postgres, sql, options):
    copy = f"COPY ({sql}) TO STDOUT {options}"
    with gate.wire("exporter") as through, postgres.wire(gate.database) as straight:
        straight.query("SET search_path = pg_catalog")
        one, two = through.query(copy), straight.query(copy)
    assert not two.errors
    if one.errors:  # an option that the gate does not write is refused in words, never written wrongly
        assert one.sqlstate in ("0A000", "42501") and "FORCE_QUOTE" in options
    else:
        assert (one.results[0].copied, one.tag) == (two.results[0].copied, two.tag)


def test_guarded_copy_is_masked_counted_and_recorded(gate, register_a):
    with gate.wire("exporter", reference="copy-out") as c:
        said = c.query("COPY (SELECT person_id, given_name, birth_date, phone FROM taj.person WHERE person_id < 1100) TO STDOUT (FORMAT csv)")
    rows = list(csv.reader(io.StringIO(said.results[0].copied.decode())))
    people = [p for p in register_a["taj.person"] if p["person_id"] < 1100]
    assert len(rows) == len(people) and said.tag == f"COPY {len(people)}"
    for row, person in zip(sorted(rows), sorted(people, key=lambda p: p["person_id"])):
        assert row == [str(person["person_id"]), person["given_name"][0], f"{person['birth_date'].year}-01-01", ""]
    assert gates.people(gate.entries("copy-out")) == {f"person:{p['person_id']}" for p in people}


def test_a_whole_table(gate, register_a):
    with gate.wire("exporter", reference="copy-table") as c:
        said = c.query("COPY sia.owner TO STDOUT")
        assert said.tag == f"COPY {len(register_a['sia.owner'])}", said.errors
        part = c.query("COPY sia.owner (owner_id, category) TO STDOUT")
        assert part.results[0].copied.count(b"\n") == len(register_a["sia.owner"])
    assert gates.people(gate.entries("copy-table")) == {f"person:{o['owner_id']}" for o in register_a["sia.owner"]}
    assert b"CANARY" not in said.results[0].copied


def test_who_may_not_export_may_not(gate):
    with gate.wire("prober") as c:
        for sql in ("COPY taj.person TO STDOUT", "COPY (SELECT person_id FROM taj.person WHERE person_id = 1001) TO STDOUT"):
            assert c.query(sql).sqlstate == "42501"


@pytest.mark.parametrize("sql", ["COPY taj.person TO '/tmp/x'", "COPY taj.person TO PROGRAM 'cat'", "COPY ref.town FROM PROGRAM 'id'", "COPY ref.town FROM '/etc/passwd'",
                                 "COPY closed.agent TO STDOUT", "COPY (SELECT * FROM closed.agent) TO STDOUT", "COPY (DELETE FROM sia.permit RETURNING *) TO STDOUT",
                                 "COPY pg_authid TO STDOUT", "COPY taj.person (tracker) TO STDOUT"])
def test_refused(gate, sql):
    for account in ("exporter", "clerk"):
        with gate.wire(account) as c:
            said = c.query(sql)
            assert said.errors and said.sqlstate[:2] in ("42", "0A"), said.results


def truth(gate, remark):
    with gate.postgres.admin(gate.database) as c:
        return c.execute("SELECT owner_id, kind, status, points FROM sia.permit WHERE remark = %s ORDER BY permit_id", (remark,)).fetchall()


def test_copy_in(gate):
    with gate.wire("clerk", reference="copy-in") as c:
        said = c.query("COPY sia.permit (owner_id, kind, status, points, remark) FROM STDIN",
                       [b"1001\tsport\tasked\t1\tin-1\n10", b"04\tta\\tb\tgranted\t2\tin-1\n", b"1007\t\\\\x\tasked\t0\tin-1\n"])
        assert said.tag == "COPY 3", said.errors
    assert truth(gate, "in-1") == [(1001, "sport", "asked", 1), (1004, "ta\tb", "granted", 2), (1007, "\\x", "asked", 0)]
    entries = gate.entries("copy-in")
    assert gates.told(entries) == {"person:1001", "person:1004", "person:1007"}
    assert {e["kind"] for e in entries} - {"session"} == {"collection"}


def test_copy_in_csv(gate):
    with gate.wire("clerk") as c:
        said = c.query("COPY sia.permit (owner_id, kind, remark) FROM STDIN (FORMAT csv, HEADER)",
                       [b"owner_id,kind,remark\n1001,\"a,\"\"b\"\"\nc\",in-2\n1004,x,in-2\n"])
        assert said.tag == "COPY 2", said.errors
    assert truth(gate, "in-2") == [(1001, 'a,"b"\nc', "asked", 0), (1004, "x", "asked", 0)]


def test_copy_in_split_at_every_byte(gate):
    data = b"1001\tspl\\nit\tin-3\n1004\t\\N\tin-3\n"
    with gate.wire("clerk") as c:
        said = c.query("COPY sia.permit (owner_id, kind, remark) FROM STDIN", [bytes([b]) for b in data.replace(b"\\N", b"n")])
        assert said.tag == "COPY 2", said.errors
    assert truth(gate, "in-3") == [(1001, "spl\nit", "asked", 0), (1004, "n", "asked", 0)]


@pytest.mark.parametrize("data,word", [(b"1001\tsport\n", "1"), (b"1001\tsport\tin-4\n1004\tx\n", "2"), (b"x\tsport\tin-4\n", ""), (b"1001\t\\N\tin-4\n", "")],
                         ids=["too few columns", "too few in line 2", "not a number", "a NULL that may not be"])
def test_copy_in_of_bad_lines_writes_nothing(gate, data, word):
    with gate.wire("clerk") as c:
        said = c.query("COPY sia.permit (owner_id, kind, remark) FROM STDIN", [data])
        assert said.errors and word in str(said.errors)
        assert c.query("SELECT 1").rows
    assert truth(gate, "in-4") == []


def test_copy_in_of_many_rows(gate, register_a):
    lines = "".join(f"{register_a.people[i % 400]}\tsport\tbulk\n" for i in range(20_000)).encode()
    with gate.wire("clerk", reference="copy-bulk") as c:
        said = c.query("COPY sia.permit (owner_id, kind, remark) FROM STDIN", [lines[i:i + 8000] for i in range(0, len(lines), 8000)])
        assert said.tag == "COPY 20000", said.errors
    assert len(truth(gate, "bulk")) == 20_000
    assert gates.told(gate.entries("copy-bulk")) == {f"person:{p}" for p in register_a.people}


def test_copy_in_only_where_the_role_writes(gate):
    for account, sql in (("prober", "COPY sia.permit (owner_id, kind) FROM STDIN"), ("clerk", "COPY sia.owner FROM STDIN"),
                         ("clerk", "COPY sia.permit (serial_no, owner_id, kind) FROM STDIN"), ("clerk", "COPY ref.town FROM STDIN"),
                         ("clerk", "COPY sia.permit FROM STDIN")):
        with gate.wire(account) as c:
            said = c.query(sql, [b"1\n"])
            assert said.sqlstate in ("42501", "0A000") and "G" not in said.kinds


def test_psycopg_copies_both_ways(gate):
    with gate.psycopg("clerk", reference="copy-psycopg") as c, c.cursor() as cursor:
        with cursor.copy("COPY sia.permit (owner_id, kind, remark) FROM STDIN") as copy:
            for i in range(50):
                copy.write_row((1001 + 3 * i, "sport", "psycopg"))
    assert len(truth(gate, "psycopg")) == 50
    with gate.psycopg("exporter") as c, c.cursor().copy("COPY (SELECT owner_id, category FROM sia.owner ORDER BY 1) TO STDOUT") as copy:
        rows = list(copy.rows())
    assert len(rows) == 100 and len(rows[0]) == 2


def test_a_transaction_undoes_a_copy(gate):
    with gate.wire("clerk") as c:
        c.query("BEGIN")
        assert c.query("COPY sia.permit (owner_id, kind, remark) FROM STDIN", [b"1001\tsport\tundone\n"]).tag == "COPY 1"
        c.query("ROLLBACK")
    assert truth(gate, "undone") == []


def test_a_client_that_vanishes_in_copy_in_writes_nothing(gate):
    c = gate.wire("clerk")
    c.send(message("Q", cstring("COPY sia.permit (owner_id, kind, remark) FROM STDIN")))
    assert c.receive()[0] == "G"
    c.send(message("d", b"1001\tsport\tvanished\n" * 3000))
    c.close(politely=False)
    with gate.wire("clerk") as other:
        assert other.query("SELECT 1").rows
    assert truth(gate, "vanished") == []
