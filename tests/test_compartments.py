"""Tables in a compartment: whose rows they are stands under pseudonyms there, and nothing joins them with others but the gate, for people who are bounded."""
import psycopg
import pytest

from harness.gate import ENDLESS, people, told
from harness.registrar import in_database

ROLES = f"""
  keeper:
    purposes: [judicial-inquiry]
    read:
      taj.person: {{key: clear, identity: clear, identifier: clear, assessment: clear}}
      taj.involvement: {{key: clear, judicial: clear}}
      sia.owner: {{key: clear, permit: clear}}
      sia.address: {{key: clear, contact: clear}}
    write:
      sia.address:
        insert: [address_id, owner_id, street, town, postcode]
        update: [street, town]
        delete: true
      sia.owner: {{insert: [owner_id, since, category]}}
    budgets: {ENDLESS}
  bounded:
    purposes: [judicial-inquiry]
    read:
      taj.person: {{key: clear, identity: clear}}
      sia.address: {{key: clear, contact: clear}}
    budgets: [{{subjects: 5, per: 1h}}, {{lookups: 100000, per: 1h}}, {{failures: 1000, per: 1h}}]
"""
ACCOUNTS = {"keeper": "keeper", "bounded": "bounded"}


@pytest.fixture(scope="module")
def gate(make_gate):
    return make_gate("compartments", accounts=ACCOUNTS, roles=ROLES, sealed=True, compartment="contact")


@pytest.fixture
def c(gate):
    with gate.psycopg("keeper") as c:
        yield c


def addresses(register):
    return {a["address_id"]: (a["address_id"], a["owner_id"], a["street"], a["town"], a["postcode"]) for a in register["sia.address"]}


def stored(gate):
    return in_database(gate, "SELECT address_id, owner_id::bytea FROM sia.address ORDER BY 1")


def test_whose_a_row_is_stands_under_a_pseudonym(gate, c, register_a):
    assert in_database(gate, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'sia.address'::regclass AND attname = 'owner_id'") == \
        [('ecluse_sealed."id integer in contact"',)]
    rows = stored(gate)
    assert {len(p) for _, p in rows} == {36}
    names = {}
    for number, pseudonym in rows:
        names.setdefault(addresses(register_a)[number][1], set()).add(pseudonym)
    assert all(len(n) == 1 for n in names.values()) and len(set().union(*names.values())) == len(names), "one for each person"
    got = c.execute("SELECT address_id, owner_id, street, town, postcode FROM sia.address").fetchall()
    assert {r[0]: r for r in got} == addresses(register_a)


def test_they_are_found_by_their_ids(gate, c, register_a):
    known = addresses(register_a)
    owner = next(iter(known.values()))[1]
    theirs = sorted(r for r in known.values() if r[1] == owner)
    everything = "SELECT address_id, owner_id, street, town, postcode FROM sia.address"
    others = sorted({r[1] for r in known.values()} - {owner})[:2]
    for sql, values in [("owner_id = %s", (owner,)), (f"owner_id = {owner}", ()), (f"owner_id IN ({owner}, -1)", ()), ("owner_id = ANY (%s)", ([owner],)),
                        (f"owner_id = ANY (ARRAY[{owner}]::int[])", ()), (f"owner_id = '{owner}'", ()), ("owner_id = %s::int8", (owner,)),
                        (f"{owner} = sia.address.owner_id", ()), ("owner_id = %s AND street IS NOT NULL", (owner,))]:
        for binary in (False, True):
            with gate.psycopg("keeper", reference=f"F-{hash(sql)}-{binary}") as d:
                assert sorted(d.execute(f"{everything} WHERE {sql}", values, binary=binary).fetchall()) == theirs, sql
            assert f"person:{owner}" in people(gate.entries(f"F-{hash(sql)}-{binary}"), "asked"), sql
    assert len(c.execute(f"{everything} WHERE owner_id <> {owner}").fetchall()) == len(known) - len(theirs)
    assert c.execute(f"{everything} WHERE owner_id = 999999999").fetchall() == []
    assert {r[1] for r in c.execute(f"{everything} WHERE owner_id IN (%s, %s)", others).fetchall()} == set(others)
    counts = dict(c.execute("SELECT owner_id, count(*) FROM sia.address GROUP BY owner_id").fetchall())
    assert counts == {o: sum(r[1] == o for r in known.values()) for o in {r[1] for r in known.values()}}
    assert sorted(r[0] for r in c.execute("SELECT DISTINCT owner_id FROM sia.address").fetchall()) == sorted(counts)
    pairs = c.execute("SELECT a.address_id, b.address_id FROM sia.address a JOIN sia.address b ON b.owner_id = a.owner_id WHERE a.owner_id = %s", (owner,)).fetchall()
    assert len(pairs) == len(theirs) ** 2
    assert len(c.execute("SELECT a.address_id, b.address_id FROM sia.address a JOIN sia.address b USING (owner_id) WHERE a.address_id < 20").fetchall()) >= 19


def test_what_a_pseudonym_cannot_answer_is_refused(c):
    for sql in ("SELECT address_id FROM sia.address ORDER BY owner_id", "SELECT address_id FROM sia.address WHERE owner_id > 5", "SELECT owner_id + 1 FROM sia.address",
                "SELECT max(owner_id) FROM sia.address", "SELECT address_id FROM sia.address WHERE owner_id BETWEEN 1 AND 5", "SELECT owner_id::text FROM sia.address",
                "SELECT address_id FROM sia.address WHERE owner_id LIKE '1%'", "SELECT address_id FROM sia.address WHERE owner_id = address_id",
                "SELECT address_id FROM sia.address WHERE owner_id IN (SELECT person_id FROM taj.person WHERE person_id = 1)",
                "SELECT owner_id FROM sia.address UNION SELECT person_id FROM taj.person"):
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            c.execute(sql)


def test_bounded_joins_go_by_way_of_the_gate(gate, register_a):
    known = addresses(register_a)
    owner = next(iter(known.values()))[1]
    person = next(p for p in register_a["taj.person"] if p["person_id"] == owner)
    expected = sorted((person["family_name"], r[2]) for r in known.values() if r[1] == owner)
    select = "SELECT p.family_name, a.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id"
    for i, (sql, values) in enumerate([
            (f"{select} WHERE p.person_id = %s", (owner,)), (f"{select} WHERE a.owner_id = %s", (owner,)), (f"{select} WHERE p.person_id = {owner}", ()),
            (f"{select} WHERE p.nir = %s", (person["nir"],)), (f"{select} AND p.person_id = {owner}", ()),
            (f"{select} WHERE p.person_id IN ({owner}) AND a.postcode IS NOT NULL", ()),
            (f"SELECT p.family_name, a.street FROM sia.address a, taj.person p WHERE p.person_id = a.owner_id AND (p.person_id = {owner} AND p.sex IS NOT NULL)", ()),
            (f"SELECT p.family_name, a.street FROM taj.person p LEFT JOIN sia.address a ON p.person_id = a.owner_id WHERE p.person_id = %s", (owner,)),
            (f"SELECT family_name, street FROM taj.person JOIN sia.address ON owner_id = person_id WHERE person_id BETWEEN {owner} AND {owner}", ()),
            (f"SELECT x.n, x.s FROM (SELECT p.family_name AS n, a.street AS s FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id = {owner}) x", ())]):
        for binary in (False, True):
            reference = f"J-{i}-{binary}"
            with gate.psycopg("keeper", reference=reference) as c:
                assert sorted(c.execute(sql, values, binary=binary).fetchall()) == expected, sql
            assert told(gate.entries(reference)) == {f"person:{owner}"}, sql
    with gate.psycopg("keeper") as c:  # nobody
        assert c.execute(f"{select} WHERE p.person_id = -7").fetchall() == []
        missing = next(p["person_id"] for p in register_a["taj.person"] if p["person_id"] not in {r[1] for r in known.values()})
        assert c.execute("SELECT p.person_id, a.street FROM taj.person p LEFT JOIN sia.address a ON p.person_id = a.owner_id WHERE p.person_id = %s", (missing,)).fetchall() == [(missing, None)]
        c.execute("PREPARE two (int) AS SELECT p.family_name, a.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id = $1")
        assert sorted(c.execute(f"EXECUTE two ({owner})").fetchall()) == expected


def test_who_is_looked_up_is_charged(gate, register_a):
    ids = sorted({r[1] for r in addresses(register_a).values()})
    select = "SELECT p.family_name, a.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id"
    with gate.psycopg("bounded", reference="B-1") as c:
        c.execute(f"{select} WHERE p.person_id = ANY (%s) AND a.town = 'nowhere'", (ids[:4],))
        assert told(gate.entries("B-1")) == {f"person:{i}" for i in ids[:4]}
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            c.execute(f"{select} WHERE p.person_id = ANY (%s) AND a.town = 'nowhere'", (ids[4:8],))
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            c.execute(f"{select} WHERE p.sex = 'M' AND a.town = 'nowhere'")


def test_unbounded_joins_are_refused(c):
    select = "SELECT p.family_name, a.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id"
    for sql in (select, f"{select} WHERE p.sex IS NOT NULL", f"{select} WHERE p.family_name = a.town", f"{select} LIMIT 5",
                f"{select} WHERE p.person_id = 1 OR a.address_id = 2", "SELECT count(*) FROM taj.person p, sia.address a WHERE a.owner_id = p.person_id",
                "SELECT 1 FROM taj.person p, sia.address a WHERE p.person_id = 5 AND (a.owner_id = p.person_id OR a.address_id = 1)",
                "SELECT 1 FROM taj.person p WHERE p.person_id = 5 AND EXISTS (SELECT 1 FROM sia.address a WHERE a.owner_id = p.person_id)",
                "SELECT a.owner_id = p.person_id FROM taj.person p, sia.address a WHERE p.person_id = 5",
                "SELECT 1 FROM taj.person p JOIN sia.address a ON a.owner_id <> p.person_id WHERE p.person_id = 5"):
        with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
            c.execute(sql)
        assert refused.value.diag.message_hint, sql
    with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
        c.execute(select)
    assert "compartments" in str(refused.value) and "AND" in refused.value.diag.message_hint


def test_rows_are_written_with_their_pseudonyms(gate, c, register_a):
    before = dict(stored(gate))
    owner = next(iter(addresses(register_a).values()))
    c.execute("INSERT INTO sia.address (address_id, owner_id, street, town, postcode) VALUES (90001, %s, 'rue A', 'Lyon', '69001'), (90002, 777, 'rue B', 'Lyon', '69001')", (owner[1],))
    c.execute("INSERT INTO sia.address (address_id, owner_id, street, town, postcode) SELECT 90003, 777, 'rue C', 'Lyon', '69001'")
    with c.cursor().copy("COPY sia.address (address_id, owner_id, street, town, postcode) FROM STDIN") as copy:
        copy.write_row((90004, 777, "rue D", "Lyon", "69001"))
    now = dict(stored(gate))
    assert now[90001] == before[owner[0]] and now[90002] == now[90003] == now[90004]
    assert c.execute("SELECT address_id, street FROM sia.address WHERE owner_id = 777 ORDER BY 1").fetchall() == [(90002, "rue B"), (90003, "rue C"), (90004, "rue D")]
    assert c.execute("UPDATE sia.address SET street = 'rue E' WHERE owner_id = 777 AND address_id = 90002 RETURNING owner_id, street").fetchall() == [(777, "rue E")]
    assert c.execute("DELETE FROM sia.address WHERE owner_id = %s AND address_id > 90000 RETURNING owner_id", (777,)).fetchall() == [(777,)] * 3
    c.execute("DELETE FROM sia.address WHERE address_id = 90001")
    for values in ("(90005, NULL, 'x', 'y', 'z')", "(90005, DEFAULT, 'x', 'y', 'z')"):
        with pytest.raises(psycopg.Error):
            c.execute(f"INSERT INTO sia.address (address_id, owner_id, street, town, postcode) VALUES {values}")


def test_a_pseudonym_of_elsewhere_is_refused(gate, register_a):
    (first, a), (second, b) = stored(gate)[:2]
    with gate.postgres.admin(gate.database) as c:
        for bad in (a[:-1] + bytes([a[-1] ^ 1]), b[:16] + a[16:]):
            c.execute("UPDATE sia.address SET owner_id = %s WHERE address_id = %s", (bad, first))
            with gate.psycopg("keeper") as d, pytest.raises(psycopg.errors.IoError):
                d.execute("SELECT town FROM sia.address WHERE address_id = %s", (first,))
        c.execute("UPDATE sia.address SET owner_id = %s WHERE address_id = %s", (a, first))
