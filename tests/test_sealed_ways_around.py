"""What once got around a sealed column, or broke beside one."""
import glob
import os
import struct

import pytest

from harness import gate as gates
from harness import wire as w
from test_sealed import ACCOUNTS, NAMES, ROLES, ids

MORE = """
  corrector:
    purposes: [judicial-inquiry]
    read: {taj.person: {key: clear, identity: clear, family_name: hidden, phone: hidden, sex: clear}}
    search: [taj.person.family_name]
    write: {taj.person: {update: [family_name, given_name]}}
    budgets: [{subjects: 1000000, per: 1h}, {lookups: 10000000, per: 1h}, {failures: 10000000, per: 1h}]
"""


@pytest.fixture(scope="module")
def gate(make_gate, postgres):
    """With a unique key of two columns, one of them sealed, and everything logged that PostgreSQL can log."""
    gate = make_gate("around", accounts={**ACCOUNTS, "corrector": "corrector"}, roles=ROLES + MORE, sealed=True, serve=False, prepare=False)
    with postgres.owner(gate.database) as c:
        c.execute("UPDATE taj.person SET phone = phone || person_id WHERE phone IS NOT NULL")
        c.execute("ALTER TABLE taj.person ADD UNIQUE (phone, sex)")
    gate.prepare()
    with postgres.admin("postgres") as c:
        c.execute("ALTER DATABASE around SET log_statement = 'all'")
    return gate.serve()


@pytest.fixture
def wire(gate):
    with gate.wire("registrar") as client:
        yield client


def logged(gate, word):
    return any(word.encode() in open(f, "rb").read() for f in glob.glob(os.path.join(gate.postgres.data, "log", "*")))


@pytest.fixture(scope="module")
def holder(gate, register_a):
    p = next(p for p in register_a["taj.person"] if p["phone"])
    return dict(p, phone=p["phone"] + str(p["person_id"]))


@pytest.mark.parametrize("number, sql", enumerate([
    "SELECT person_id FROM taj.person WHERE phone = '{}' AND sex = 'M'", "WITH z AS (SELECT 1) SELECT person_id FROM taj.person WHERE phone = '{}'::text AND sex = 'M'",
    "COPY (SELECT person_id FROM taj.person WHERE phone = '{}' AND sex = 'M') TO STDOUT", "UPDATE taj.person SET risk = 1 WHERE phone = '{}' AND sex = 'M' AND person_id = 5",
    "SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id AND p.phone = '{}' AND p.sex = 'F'",
    f"INSERT INTO taj.person (person_id, {NAMES}) VALUES (870001, 'a1', 'A', 'B', '2000-01-01', 'Lyon', 'M', 1, NULL, '{{}}', NULL, NULL) ON CONFLICT (phone, sex) DO NOTHING",
    f"INSERT INTO taj.person (person_id, {NAMES}) VALUES (870002, 'a2', 'A', 'B', '2000-01-01', 'Lyon', 'M', 1, NULL, '{{}}', NULL, NULL) ON CONFLICT DO NOTHING"]))
def test_a_unique_key_of_several_columns_is_looked_up_by_tokens(gate, wire, number, sql):
    word = f"KEYWORD{number:03d}"
    for said in (wire.query(sql.format(word)), wire.extended(sql.format(word)) if not sql.startswith("COPY") else wire.query(sql.format(word))):
        assert not said.errors or said.errors[0]["C"] == "23505", said.errors
    assert not logged(gate, word)


def test_whoever_a_key_with_a_sealed_column_names_is_charged(gate, holder):
    for number, (sql, values) in enumerate([("phone = '{0}' AND sex = '{1}' AND risk = -77", ()), ("phone = $1 AND sex = $2 AND risk = -77", (holder["phone"], holder["sex"])),
                                            ("nir = '{2}' AND risk = -77", ())]):
        reference = f"a key {number}"
        with gate.wire("registrar", reference=reference) as c:
            said = c.extended("SELECT person_id FROM taj.person WHERE " + sql.format(holder["phone"], holder["sex"], holder["nir"]), values)
            assert not said.errors and not said.results[0].rows, said.errors
        assert f"person:{holder['person_id']}" in gates.people(gate.entries(reference), "asked"), sql
    with gate.wire("registrar", reference="a taken key") as c:
        row = f"INSERT INTO taj.person (person_id, {NAMES}) VALUES (870003, 'a3', 'A', 'B', '2000-01-01', 'Lyon', '{holder['sex']}', 1, NULL, '{holder['phone']}', NULL, NULL)"
        assert c.query(row + " ON CONFLICT (phone, sex) DO NOTHING").tag == "INSERT 0 0"
    assert f"person:{holder['person_id']}" in gates.people(gate.entries("a taken key"), "asked")


@pytest.mark.parametrize("account, sql", [("seeker", s) for s in [
    "SELECT * FROM (SELECT person_id, family_name FROM taj.person) x WHERE x.family_name = '{}'", "WITH x AS (SELECT person_id, family_name FROM taj.person) SELECT person_id FROM x WHERE family_name = '{}'",
    "SELECT 1 FROM (VALUES ('{}')) v(family_name) JOIN taj.person USING (family_name)", "SELECT person_id FROM taj.person WHERE (family_name, person_id) = ('{}', 1)",
    "SELECT person_id FROM taj.person WHERE family_name IN (SELECT '{}')", "SELECT CASE family_name WHEN '{}' THEN 1 END FROM taj.person", "SELECT coalesce(family_name, '{}') FROM taj.person",
    "SELECT person_id FROM taj.person WHERE concat(family_name, '') = '{}'", "SELECT strpos(family_name, '{}') FROM taj.person", "SELECT person_id FROM taj.person WHERE starts_with(family_name, '{}')"]] +
    [("prober", s) for s in ["SELECT person_id FROM taj.person WHERE note = '{}'", "SELECT person_id FROM taj.person WHERE note LIKE '%{}%'", "SELECT person_id FROM taj.person WHERE phone = '{}'",
                             "SELECT person_id FROM taj.person WHERE height = 1 AND note <> '{}'"]])
def test_a_column_whose_values_are_not_shown_is_compared_with_nothing_else(gate, account, sql):
    word = f"HIDDENWORD{abs(hash(sql)) % 10**6:06d}"
    with gate.wire(account) as c:
        for said in (c.query(sql.format(word)), c.extended(sql.format(word))):
            assert said.errors and said.errors[0]["C"] in ("0A000", "42501"), said.errors
    assert not logged(gate, word)


def test_more_parameters_than_a_message_holds_are_refused(gate, wire):
    row = "({0}, 'b{0}', 'A', 'B', '2000-01-01', 'Lyon', 'M', 1)"
    sql = "INSERT INTO taj.person (person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk) VALUES " + \
        ", ".join(row.format(1_000_000 + i) for i in range(3000))
    for said in (wire.query(sql), wire.extended(sql)):
        assert said.errors[0]["C"].startswith("54"), said.errors
    said = wire.extended("SELECT person_id FROM taj.person WHERE " + " OR ".join("family_name LIKE $1" for _ in range(13500)), ["a%"])
    assert said.errors[0]["C"].startswith("54"), said.errors
    assert gate.alive() and not wire.query("SELECT nir FROM taj.person WHERE person_id = 1001").errors


def test_a_subject_declared_as_unknown_is_read_as_its_column(gate, wire):
    columns = "person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk"
    said = wire.extended(f"INSERT INTO taj.person ({columns}) VALUES ($1, $2, $3, 'B', '2000-01-01', 'Lyon', 'M', 1)", ["0700005", "unknown1", "Un"], types=(705, 705, 705))
    assert not said.errors
    said = wire.extended("UPDATE taj.person SET given_name = $1 WHERE person_id = $2", ["Deux", "+700005"], types=(705, 705))
    assert said.tag == "UPDATE 1", said.errors
    assert wire.query("SELECT nir, given_name FROM taj.person WHERE person_id = 700005").results[0].rows == [[b"unknown1", b"Deux"]] or \
        [tuple(r) for r in wire.query("SELECT nir, given_name FROM taj.person WHERE person_id = 700005").results[0].rows] == [(b"unknown1", b"Deux")]


def test_long_texts_are_found_and_are_not_null(gate, wire):
    long = "x" * 70000
    assert not wire.query(f"UPDATE taj.person SET phone = '{long}' WHERE person_id = 1016").errors
    def found(condition, value):
        said = wire.extended(f"SELECT person_id FROM taj.person WHERE {condition} AND person_id < 800000 ORDER BY 1", [value])
        assert not said.errors, said.errors
        return [int(r[0]) for r in said.results[0].rows]
    assert found("phone = $1", long) == [1016] and found("phone IS NOT DISTINCT FROM $1", long) == [1016]
    assert found("phone = $1", long + "y") == [] and 1016 in found("phone <> $1", long + "y") and 1016 not in found("phone <> $1", long)
    assert 1016 not in found("phone IS NOT DISTINCT FROM $1", None)
    assert not wire.query(f"UPDATE taj.person SET family_name = '{'Zz' + long}' WHERE person_id = 1019").errors
    assert 1019 in found("family_name LIKE $1", "zzx%")


def test_a_nearer_table_of_the_same_alias_captures_nothing(gate, wire, register_a):
    nir = register_a["taj.person"][0]["nir"]
    said = wire.query("SELECT p.person_id, z.t FROM taj.person p, LATERAL (SELECT pid2, nir = '%s' AS t FROM taj.person AS p(pid2, n2) WHERE p.pid2 = person_id + 3) z "
                      "WHERE p.person_id = 1001" % nir)
    assert said.errors and said.errors[0]["C"] == "0A000"


def test_a_rank_beside_a_sealed_column(gate, wire, register_a):
    people = register_a["taj.person"][:6]
    said = wire.query("SELECT person_id, given_name, row_number() OVER (ORDER BY person_id) FROM taj.person WHERE person_id <= 1016 ORDER BY 1")
    assert not said.errors, said.errors
    assert [r[1].decode() for r in said.results[0].rows] == [p["given_name"] for p in people]
    said = wire.query("SELECT x.given_name FROM (SELECT given_name, person_id, row_number() OVER (ORDER BY person_id) AS rn FROM taj.person WHERE person_id <= 1016) x ORDER BY x.person_id")
    assert not said.errors and [r[0].decode() for r in said.results[0].rows] == [p["given_name"] for p in people]


def test_a_described_cursor_has_the_clients_parameters(gate, wire):
    for sql, types in (("DECLARE c CURSOR FOR SELECT person_id FROM taj.person WHERE nir = 'x'", ()), ("DECLARE c CURSOR FOR SELECT person_id FROM taj.person WHERE nir = $1", (25,))):
        wire.send(w.parse(sql), w.describe("S"), w.SYNC)
        told = None
        while True:
            kind, payload = wire.receive()
            if kind == "t":
                told = struct.unpack_from("!%di" % struct.unpack_from("!h", payload)[0], payload, 2)
            if kind == "Z":
                break
        assert told == types


def test_a_search_is_a_guess_each_time(gate):
    with gate.wire("seeker", reference="guesses") as c:
        said = c.query("SELECT a.person_id FROM taj.person a JOIN taj.person b ON a.family_name = b.family_name WHERE b.person_id = 1001")
        assert said.errors[0]["C"] == "42501"
        said = c.query("SELECT " + ", ".join(f"family_name LIKE '{letter}%'" for letter in "abcdefghij") + " FROM taj.person WHERE person_id = 1001")
        assert not said.errors, said.errors
    assert gates.lookups(gate.entries("guesses")) >= 10


def test_a_column_that_is_searched_and_written_and_never_read(gate, register_a):
    wanted = sorted(p["person_id"] for p in register_a["taj.person"] if p["family_name"] == "Roux")
    with gate.wire("corrector") as c:
        said = c.query("SELECT person_id FROM taj.person WHERE family_name = 'roux' ORDER BY 1")
        assert not said.errors and [int(r[0]) for r in said.results[0].rows] == wanted
        assert c.query(f"UPDATE taj.person SET family_name = 'Rousse' WHERE person_id = {wanted[0]}").tag == "UPDATE 1"
        assert c.query("SELECT family_name FROM taj.person").errors[0]["C"] == "42501"
        assert c.query("SELECT person_id FROM taj.person WHERE phone = 'x'").errors[0]["C"] == "42501"
        assert c.query(f"UPDATE taj.person SET family_name = 'Roux' WHERE person_id = {wanted[0]}").tag == "UPDATE 1"


@pytest.mark.parametrize("sql", [
    "SELECT count(*) AS risk, birth_place FROM taj.person GROUP BY birth_place ORDER BY risk", "SELECT (phone IS NULL) AS phone, count(*) FROM taj.person GROUP BY 1 ORDER BY phone",
    "SELECT x.note FROM (SELECT person_id, birth_place AS note FROM taj.person) x WHERE x.note = 'Lyon'",
    "SELECT p.person_id FROM taj.person p JOIN (VALUES (1001, 'abc')) v(pid, nir) ON v.pid = p.person_id WHERE v.nir = 'abc'"])
def test_other_things_may_go_by_such_a_name(gate, wire, sql):
    for said in (wire.query(sql), wire.extended(sql)):
        assert not said.errors, said.errors


@pytest.mark.parametrize("sql", [
    "UPDATE taj.person SET note = ('x') WHERE person_id = 1022", "UPDATE taj.person SET phone = (NULL) WHERE person_id = 1022", "UPDATE taj.person SET phone = NULL::text WHERE person_id = 1022",
    "UPDATE taj.person SET note = (('y'::text)), sex = 'M' WHERE (person_id = 1022)", "SELECT person_id FROM taj.person WHERE (family_name) LIKE ('Mar%')",
    "SELECT person_id FROM taj.person WHERE ((birth_date)) BETWEEN ('1990-01-01') AND (('1991-01-01'::date))", "SELECT person_id FROM taj.person WHERE (family_name LIKE 'Mar%')",
    "SELECT person_id FROM taj.person WHERE NOT (('1990-01-01') <= (birth_date))", "SELECT person_id FROM taj.person WHERE ((nir) = ('x'))", "SELECT person_id /* a */ FROM taj.person WHERE nir /* b */ = -- c\n 'x'"])
def test_parentheses_and_comments_change_nothing(gate, wire, sql):
    for said in (wire.query(sql), wire.extended(sql)):
        assert not said.errors, said.errors


def test_execute_stores_no_more_than_its_cast(gate, wire):
    assert not wire.query("PREPARE m1 (int, text) AS UPDATE taj.person SET note = $2 WHERE person_id = $1").errors
    assert wire.query("EXECUTE m1 (1022, 'abcdef'::varchar(3))").errors[0]["C"] == "0A000"


def test_the_catalog_shows_what_was_declared(gate_in_clear, sealed_twins):
    """A role that reads everything sees the same columns and types whether they are sealed or not."""
    for sql in ("SELECT table_name, column_name, data_type, udt_name, is_nullable, ordinal_position, character_maximum_length, numeric_precision FROM information_schema.columns "
                "WHERE table_schema IN ('taj', 'sia') ORDER BY 1, 2",
                "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attlen, a.attnum FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
                "WHERE c.relname IN ('person', 'address') ORDER BY 1, 2"):
        answers = []
        for g in (gate_in_clear, sealed_twins[0]):
            with g.wire("counter", purpose=False) as c:
                said = c.query(sql)
                assert not said.errors, said.errors
                answers.append(said.results[0].rows)
        assert answers[0] == answers[1] and answers[0]


def test_columns_whose_indexes_would_have_one_name(make_gate):
    made = make_gate("names", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False, sealed=True)
    with open(made.config) as f:
        text = f.read()
    made.write_policy(text.replace("code: {class: internal}", "code: {class: internal, sealed: {search: [equality]}}\n      code_s: {class: internal, sealed: {}}"))
    said = made.command("check", check=False)
    assert said.returncode == 1 and "the same name" in said.stderr + said.stdout
