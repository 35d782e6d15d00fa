"""Tables in a compartment: whose rows they are stands under pseudonyms there, and nothing joins them with others but the gate, for people who are bounded."""
import json
import os
import random
import signal

import psycopg
import pytest

from harness.cut import Cut
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
      sia.owner: {{insert: [owner_id, since, category], update: [category]}}
    export: true
    statistics: {{min_subjects: 11, by: {{taj.person: [sex], sia.address: [town]}}, of: {{}}, rows: 1000, per: 24h}}
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


@pytest.fixture(scope="module")
def plain(make_gate):
    """The same without a compartment."""
    return make_gate("compartmentplain", accounts=ACCOUNTS, roles=ROLES, sealed=True)


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


# `@` stands for the id of somebody with addresses, `#` for their family name; `!` before what is refused where there is a compartment.
JOINS = """\
SELECT p.person_id, a.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.family_name = '#'
SELECT p.person_id, a.street FROM sia.address a RIGHT JOIN taj.person p ON a.owner_id = p.person_id WHERE p.family_name = '#'
SELECT p.person_id, a.street FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id AND a.town <> 'Lyon' WHERE p.person_id IN (@, 1002, 1003)
SELECT p.person_id, a.street FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id AND p.sex = 'M' WHERE p.person_id IN (@, 1002, 1003)
SELECT p.person_id, a.street FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id IN (@, 1002) AND a.street IS NULL
SELECT p.person_id, a.street FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id IN (@, 1002, 1003, 1004) AND coalesce(a.town, 'none') <> 'Lyon'
!SELECT p.person_id, a.street FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id WHERE coalesce(a.town, 'Lyon') = 'Lyon'
SELECT p.person_id, a.town FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id AND p.person_id BETWEEN @ AND @ AND a.town IS NOT NULL
SELECT p.person_id FROM taj.person p, sia.address a WHERE a.owner_id = p.person_id AND CASE WHEN p.sex = 'M' AND p.person_id > 5 THEN p.person_id = @ ELSE p.person_id = @ END
SELECT p.person_id, count(*) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id IN (@, 1002) GROUP BY p.person_id
SELECT a.owner_id, count(*) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.family_name = '#' GROUP BY a.owner_id
SELECT a.town, count(*) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.family_name = '#' GROUP BY a.town
SELECT p.sex, a.town, count(*) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id < 1100 GROUP BY p.sex, a.town
SELECT p.sex, count(DISTINCT p.person_id) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE a.town = 'Lyon' GROUP BY p.sex
!SELECT p.sex, a.town, count(*) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id GROUP BY p.sex, a.town
SELECT DISTINCT p.sex, a.town FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.family_name = '#'
SELECT p.person_id, a.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.family_name = '#' ORDER BY a.town, p.birth_place, a.address_id LIMIT 3
SELECT p.person_id, row_number() OVER (PARTITION BY p.person_id ORDER BY a.address_id) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id = @
WITH x AS (SELECT p.person_id AS i, a.town AS t FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id = @) SELECT i, t FROM x WHERE t IS NOT NULL
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id = @ UNION ALL SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.family_name = '#'
SELECT "P x".person_id, "A""y".street FROM taj.person "P x" JOIN sia.address "A""y" ON "A""y".owner_id = "P x".person_id WHERE "P x".person_id /* = 1 OR true */ = @ -- AND false
SELECT taj.person.person_id, sia.address.street FROM taj.person JOIN sia.address ON sia.address.owner_id = taj.person.person_id WHERE taj.person.person_id = @
SELECT p.person_id, a.street, i.outcome FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id JOIN taj.involvement i ON i.person_id = p.person_id WHERE p.person_id = @
SELECT p.person_id, a.street, o.category FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id LEFT JOIN sia.owner o ON a.owner_id = o.owner_id WHERE p.person_id = @ AND a.owner_id = @
SELECT a.street, b.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id JOIN sia.address b ON b.owner_id = a.owner_id WHERE p.person_id = @
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.family_name LIKE 'D%' AND p.person_id < 1040 AND NOT a.town = 'Lyon'
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE ecluse_sounds_like(p.family_name, '#')
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE (p.person_id = @ OR p.person_id = 1002) AND a.postcode = a.postcode
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.birth_date >= '1990-01-01' AND p.birth_date < '1995-01-01'
SELECT p.person_id, a.street FROM taj.person p FULL JOIN sia.address a ON a.owner_id = p.person_id AND p.person_id = @ WHERE a.owner_id = @
SELECT p.person_id, a.town FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id AND a.town = 'Lyon' WHERE a.address_id IS NULL AND p.person_id < 1040
SELECT p.person_id, a.town FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id AND a.town = 'Lyon' WHERE a.address_id IS NULL
!SELECT a.address_id, p.sex FROM sia.address a LEFT JOIN taj.person p ON a.owner_id = p.person_id WHERE coalesce(p.sex, 'F') = 'F'
!SELECT a.address_id, p.sex FROM sia.address a LEFT JOIN taj.person p ON a.owner_id = p.person_id WHERE p.sex IS DISTINCT FROM 'M'
!SELECT a.address_id, p.sex FROM sia.address a LEFT JOIN taj.person p ON a.owner_id = p.person_id WHERE (p.person_id IS NULL OR p.sex = 'M')
!SELECT a.address_id FROM taj.person p RIGHT JOIN sia.address a ON a.owner_id = p.person_id WHERE NOT (p.sex = 'M' AND p.sex IS NOT NULL)
!SELECT a.address_id, p.person_id FROM sia.address a FULL JOIN taj.person p ON a.owner_id = p.person_id WHERE coalesce(p.sex, 'F') = 'F'
!SELECT o.owner_id, p.sex FROM sia.owner o LEFT JOIN (sia.address a JOIN taj.person p ON a.owner_id = p.person_id) ON p.person_id = o.owner_id WHERE coalesce(p.sex, 'F') = 'F'
SELECT o.owner_id, a.address_id FROM sia.owner o LEFT JOIN sia.address a ON a.owner_id = o.owner_id WHERE o.owner_id IN (@, 1007, 1010, 1022) AND a.owner_id IS DISTINCT FROM 1007
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id AND p.person_id IN (@, 1022)
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id AND p.person_id = ANY (ARRAY[@, 1022]) JOIN taj.involvement i ON i.person_id = p.person_id
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id AND lower(p.sex) = 'm' AND (p.person_id = @)
SELECT p.person_id FROM taj.person p JOIN sia.address a ON (a.owner_id = p.person_id) AND p.person_id = @
SELECT p.person_id FROM taj.person p JOIN sia.address a ON ((a.owner_id = p.person_id AND p.person_id = @) AND left(a.town, 1) <> 'x') LEFT JOIN sia.owner o ON o.owner_id = p.person_id
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id = @ OR p.person_id = 1002
SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id = @ AND a.owner_id <> 1007 AND a.town IS NOT NULL
!SELECT p.person_id, a.street FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id AND p.sex = 'M'
!SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id <> -1
!SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.risk IS NOT NULL AND 'a' = 'a'
!SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.sex IS DISTINCT FROM 'x'
!SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE 1 = 1
!SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE random() < 2
!SELECT q.person_id FROM taj.person q (x) JOIN sia.address a ON a.owner_id = q.x WHERE q.x = @ AND a.town IS NOT NULL
!SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id AND a.town = p.birth_place
"""


def test_joins_answer_as_without_a_compartment(gate, plain, register_a):
    known = addresses(register_a)
    owner = sorted(known.values())[7][1]
    name = next(p["family_name"] for p in register_a["taj.person"] if p["person_id"] == owner)
    answered = 0
    with gate.psycopg("keeper") as inside, plain.psycopg("keeper") as outside:
        for line in JOINS.splitlines():
            sql, refused = line.lstrip("!").replace("@", str(owner)).replace("#", name.replace("'", "''")), line.startswith("!")
            try:
                got = sorted(inside.execute(sql).fetchall(), key=str)
            except psycopg.errors.FeatureNotSupported as e:
                assert refused, (sql, e)
                continue
            assert not refused, sql
            assert got == sorted(outside.execute(sql).fetchall(), key=str), sql
            answered += bool(got)
    assert answered > 25


class Joins:
    """Random joins of tables in and out of the compartment, under conditions of every form."""
    TABLES = {"p": ("taj.person", "person_id", ["sex", "birth_place", "family_name"]), "a": ("sia.address", "owner_id", ["town", "postcode", "street"]),
              "b": ("sia.address", "owner_id", ["town", "postcode"]), "o": ("sia.owner", "owner_id", ["category"]), "i": ("taj.involvement", "person_id", ["outcome"])}

    def __init__(self, seed, ids, values):
        self.random, self.ids, self.values = random.Random(seed), ids, values

    def id(self, alias):
        return f"{alias}.{self.TABLES[alias][1]}"

    def atom(self, aliases):
        alias = self.random.choice(aliases)
        column = self.random.choice(self.TABLES[alias][2])
        value = self.random.choice(self.values[column]).replace("'", "''")
        some = ", ".join(str(i) for i in self.random.sample(self.ids, 3))
        return self.random.choice([
            f"{self.id(alias)} = {self.random.choice(self.ids)}", f"{self.id(alias)} IN ({some})", f"{self.id(alias)} = ANY (ARRAY[{some}])",
            f"{self.id(alias)} = {self.random.choice(self.ids)}", f"{self.id(alias)} IN ({some})", f"{self.id(alias)} <> {self.random.choice(self.ids)}",
            f"{alias}.{column} = '{value}'", f"{alias}.{column} <> '{value}'", f"'{value}' = {alias}.{column}", f"{alias}.{column} IN ('{value}', 'x')", f"{alias}.{column} IS NULL",
            f"{alias}.{column} IS NOT NULL", f"lower({alias}.{column}) = '{value.lower()}'", f"coalesce({alias}.{column}, '{value}') = '{value}'",
            f"{alias}.{column} IS DISTINCT FROM '{value}'", f"{alias}.{column} LIKE '{value[:1]}%'", f"{self.id(alias)} IS NULL", f"{self.id(alias)} IS NOT NULL"])

    def condition(self, aliases, depth=0):
        kind = self.random.random()
        if depth > 2 or kind < 0.45:
            return self.atom(aliases)
        one, other = self.condition(aliases, depth + 1), self.condition(aliases, depth + 1)
        return self.random.choice([f"{one} AND {other}", f"{one} AND {other}", f"({one} AND {other})", f"({one} OR {other})", f"NOT ({one})", f"(({one}))",
                                   f"CASE WHEN {one} THEN {other} ELSE {self.atom(aliases)} END"])

    def statement(self):
        aliases = self.random.sample([*self.TABLES], self.random.choice([2, 2, 2, 3, 3, 4]))
        text, wheres = f"{self.TABLES[aliases[0]][0]} {aliases[0]}", []
        for n, alias in enumerate(aliases[1:], 1):
            table, before = f"{self.TABLES[alias][0]} {alias}", self.random.choice(aliases[:n])
            equal = self.random.choice(["{0} = {1}", "{1} = {0}", "({0} = {1})"]).format(self.id(before), self.id(alias))
            kind = self.random.choice(["JOIN", "JOIN", "INNER JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", ","])
            if kind == ",":
                text = f"{text} CROSS JOIN {table}"
                wheres.append(equal)
                continue
            while self.random.random() < 0.4:
                more = self.condition([*aliases[:n], alias])
                equal = self.random.choice([f"{equal} AND {more}", f"{more} AND {equal}"])
            text = f"{text} {kind} {table} ON {equal}"
            if self.random.random() < 0.2:
                text = f"({text})"
        while self.random.random() < 0.75:
            wheres.append(self.condition(aliases))
        self.random.shuffle(wheres)
        shown = ", ".join(f"{self.id(alias)}, {alias}.{self.TABLES[alias][2][0]}" for alias in aliases)
        return f"SELECT {shown} FROM {text}" + (" WHERE " + " AND ".join(wheres) if wheres else "")


@pytest.mark.parametrize("seed", range(4))
def test_random_joins_answer_as_without_a_compartment(gate, plain, register_a, seed):
    known = addresses(register_a)
    values = {column: sorted({str(r[column]) for r in register_a[table] if r[column] is not None}) for table, _, columns in Joins.TABLES.values() for column in columns}
    joins = Joins(seed, sorted({r[1] for r in known.values()})[:40] + [-1], values)
    answered = refused = 0
    with gate.psycopg("keeper") as inside, plain.psycopg("keeper") as outside:
        for _ in range(400):
            sql = joins.statement()
            try:
                expected = sorted(outside.execute(sql).fetchall(), key=str)
            except psycopg.Error as e:
                assert e.sqlstate in ("0A000", "42501"), (sql, e)
                expected = None
            try:
                got = sorted(inside.execute(sql).fetchall(), key=str)
            except psycopg.Error as e:
                assert e.sqlstate in ("0A000", "42501"), (sql, e)
                refused += 1
                continue
            assert got == expected, sql
            answered += bool(got)
    assert answered > 40 and refused > 40, (answered, refused)


def test_it_goes_through_every_door(gate, plain, c, register_a):
    owner = sorted(addresses(register_a).values())[7][1]
    join = f"SELECT p.person_id, a.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.person_id = {owner}"
    expected = sorted(c.execute(join).fetchall())
    with gate.psycopg("keeper") as d:
        with d.cursor().copy(f"COPY ({join}) TO STDOUT") as copy:
            assert sorted((int(i), s) for i, s in copy.rows()) == expected
        with d.cursor().copy("COPY sia.address (address_id, owner_id) TO STDOUT") as copy:
            assert {int(a): int(o) for a, o in copy.rows()} == {n: r[1] for n, r in addresses(register_a).items()}
        with d.transaction():
            d.execute("DECLARE mine CURSOR FOR SELECT address_id, owner_id FROM sia.address WHERE address_id < 30")
            assert {a: o for a, o in d.execute("FETCH ALL FROM mine").fetchall()} == {n: r[1] for n, r in addresses(register_a).items() if n < 30}
        with pytest.raises(psycopg.errors.FeatureNotSupported), d.transaction():
            d.execute(f"DECLARE other CURSOR FOR {join}")
    both = "SELECT town, count(*) FROM sia.address GROUP BY town"
    with plain.psycopg("keeper") as d:
        assert sorted(c.execute(both).fetchall()) == sorted(d.execute(both).fetchall())


def test_who_is_looked_up_is_charged(gate, register_a):
    known = addresses(register_a)
    ids = sorted({r[1] for r in known.values()})
    select = "SELECT p.family_name, a.street FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id"
    names = {}
    for p in register_a["taj.person"]:
        names.setdefault(p["family_name"], []).append(p["person_id"])
    name = next(n for n, who in names.items() if len(who) > 3 and sum(n2.lower() == n.lower() for n2 in names) == 1)
    town = known[1][3]
    with gate.psycopg("keeper", reference="B-0") as c:
        assert c.execute(f"{select} WHERE p.family_name = %s AND a.town || '' = 'nowhere'", (name,)).fetchall() == []
    assert told(gate.entries("B-0")) >= {f"person:{i}" for i in names[name]}
    # Of two sides the one that names people is looked up, not a whole town.
    with gate.psycopg("keeper", reference="B-2") as c:
        c.execute(f"{select} WHERE a.town = %s AND p.person_id = %s", (town, ids[0]))
    assert told(gate.entries("B-2")) == {f"person:{ids[0]}"}
    with gate.psycopg("bounded", reference="B-1") as c:
        c.execute(f"{select} WHERE p.person_id = ANY (%s) AND a.town = 'nowhere'", (ids[:4],))
        assert told(gate.entries("B-1")) == {f"person:{i}" for i in ids[:4]}
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            c.execute(f"{select} WHERE p.person_id = ANY (%s) AND a.town = 'nowhere'", (ids[4:8],))
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            c.execute(f"{select} WHERE p.sex = 'M' AND a.town = 'nowhere'")


def test_somebody_with_many_rows_is_looked_up_as_one(gate, register_a):
    owner = addresses(register_a)[1][1]
    with gate.postgres.admin(gate.database) as c:
        c.execute("INSERT INTO sia.address (address_id, owner_id, street, town, postcode) SELECT 200000 + i, owner_id, street, 'Grandville', '1' FROM sia.address, generate_series(1, 10050) i WHERE address_id = 1")
    try:
        with gate.psycopg("keeper", reference="many") as c:
            sql = "SELECT count(*) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE a.town = 'Grandville'"
            assert c.execute(sql).fetchall() == [(10050,)]
        assert told(gate.entries("many")) == {f"person:{owner}"}
    finally:
        with gate.postgres.admin(gate.database) as c:
            c.execute("DELETE FROM sia.address WHERE town = 'Grandville'")


def test_a_parameter_of_unknown_type_bounds_nothing_it_is_not_alone_in(c, register_a):
    """PostgreSQL finds a parameter's type by its first use, which the look-up may not have."""
    select = "SELECT p.person_id FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id WHERE p.family_name = %(n)s"
    person = next(p for p in register_a["taj.person"] if p["person_id"] == addresses(register_a)[1][1])
    found = c.execute(select, {"n": person["family_name"]}).fetchall()
    assert (person["person_id"],) in found
    with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
        c.execute(f"{select} AND a.town <> %(n)s", {"n": person["family_name"]})
    assert "no declared type" in str(refused.value) and "of its own" in refused.value.diag.message_hint
    assert c.execute(f"{select} AND a.town <> %(m)s", {"n": person["family_name"], "m": "nowhere"}).fetchall() == found


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


def test_a_unique_key_over_a_pseudonym_says_what_is_there_already(make_gate, register_a):
    known = addresses(register_a)
    gate = make_gate("compartmentconflict", accounts={"keeper": "keeper"}, roles=ROLES, sealed=True, compartment="contact", prepare=False, serve=False)
    with gate.postgres.owner(gate.database) as c:
        c.execute("CREATE UNIQUE INDEX one ON sia.address (owner_id, postcode, address_id)")
    gate.prepare().serve()
    number, owner, street, town, postcode = known[3]
    insert = "INSERT INTO sia.address (address_id, owner_id, street, town, postcode) VALUES (%s, %s, 'rue Z', 'Z', %s)"
    with gate.psycopg("keeper") as c:
        assert c.execute(f"{insert} ON CONFLICT (owner_id, postcode, address_id) DO NOTHING RETURNING address_id", (number, owner, postcode)).fetchall() == []
        assert c.execute(f"{insert} ON CONFLICT (owner_id, postcode, address_id) DO UPDATE SET town = excluded.town RETURNING owner_id, street, town", (number, owner, postcode)).fetchall() == \
            [(owner, street, "Z")]
        with pytest.raises(psycopg.errors.UniqueViolation):
            c.execute(insert, (number, owner, postcode))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute(f"{insert} ON CONFLICT (address_id) DO UPDATE SET owner_id = excluded.owner_id", (number, owner + 1, postcode))
    other = next(r[1] for r in known.values() if r[1] != owner)
    with gate.psycopg("keeper", reference="in the way") as c:  # whose the row is that is there already
        assert c.execute(f"{insert} ON CONFLICT DO NOTHING", (number, other, postcode)).rowcount == 0
    assert told(gate.entries("in the way")) == {f"person:{owner}", f"person:{other}"}


def test_a_pseudonym_of_elsewhere_is_refused(gate, register_a):
    (first, a), (second, b) = stored(gate)[:2]
    with gate.postgres.admin(gate.database) as c:
        for bad in (a[:-1] + bytes([a[-1] ^ 1]), b[:16] + a[16:]):
            c.execute("UPDATE sia.address SET owner_id = %s WHERE address_id = %s", (bad, first))
            with gate.psycopg("keeper") as d, pytest.raises(psycopg.errors.IoError):
                d.execute("SELECT town FROM sia.address WHERE address_id = %s", (first,))
        c.execute("UPDATE sia.address SET owner_id = %s WHERE address_id = %s", (a, first))


def test_one_transaction_writes_in_one_compartment(gate, c):
    address = "INSERT INTO sia.address (address_id, owner_id, street, town, postcode) VALUES (91001, 5001, 'rue A', 'Lyon', '69001')"
    owner = "INSERT INTO sia.owner (owner_id, since, category) VALUES (5001, '2024-01-01', 'A')"
    for first, second in ((owner, address), (address, owner)):
        with gate.psycopg("keeper") as d, pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
            with d.transaction():
                d.execute(first)
                d.execute(second)
        assert "one compartment" in str(refused.value) and "COMMIT" in refused.value.diag.message_hint
        with gate.psycopg("keeper") as d, pytest.raises(psycopg.errors.FeatureNotSupported):
            d.execute(f"{first}; {second}")
        with gate.psycopg("keeper") as d, pytest.raises(psycopg.Error), d.pipeline():
            d.execute(first)
            d.execute(second)
        with gate.psycopg("keeper") as d, pytest.raises(psycopg.errors.FeatureNotSupported), d.transaction():
            d.execute(first)
            try:
                with d.transaction():
                    d.execute(address if "owner" in first.split("(")[0] else owner)
            except psycopg.errors.FeatureNotSupported:
                d.execute(second)
    with gate.psycopg("keeper") as d:  # a row that is locked keeps the transaction's number as well
        lock = "SELECT owner_id FROM {} WHERE owner_id = 5001 FOR UPDATE"
        for tables in (("sia.owner", "sia.address"), ("sia.address", "sia.owner")):
            with pytest.raises(psycopg.errors.FeatureNotSupported), d.transaction():
                for table in tables:
                    d.execute(lock.format(table))
        with pytest.raises(psycopg.errors.FeatureNotSupported), d.transaction():
            d.execute(lock.format("sia.address"))
            d.execute(owner)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            d.execute("SELECT o.owner_id FROM sia.owner o JOIN sia.address a ON a.owner_id = o.owner_id WHERE o.owner_id = 5001 FOR UPDATE")
        assert d.execute("SELECT o.owner_id FROM sia.owner o JOIN sia.address a ON a.owner_id = o.owner_id WHERE o.owner_id = 5001 FOR UPDATE OF o").fetchall() == []
    assert c.execute("SELECT owner_id FROM sia.owner WHERE owner_id = 5001").fetchall() == [] and c.execute("SELECT town FROM sia.address WHERE owner_id = 5001").fetchall() == []
    with gate.psycopg("keeper") as d:
        d.execute(f"BEGIN; {owner}; COMMIT; BEGIN; {address}; COMMIT")
        with d.transaction():
            d.execute("DELETE FROM sia.address WHERE address_id = 91001")
            assert d.execute("SELECT category FROM sia.owner WHERE owner_id = 5001").fetchall() == [("A",)]
    xmins = in_database(gate, "SELECT o.xmin::text = a.xmin::text FROM sia.owner o, sia.address a WHERE o.owner_id = 5001 LIMIT 1")
    assert xmins == [(False,)]


def order(gate, known):
    """Of the rows as they stand, one after the other: how far apart the numbers of neighbours are on the whole; and how many transactions wrote them."""
    ids = [known[r[0]] for r in in_database(gate, "SELECT address_id FROM sia.address ORDER BY ctid") if r[0] in known]
    apart = sum(abs(a - b) for a, b in zip(ids, ids[1:])) / len(ids)
    return apart / (max(ids) - min(ids)), in_database(gate, "SELECT count(DISTINCT xmin::text) FROM sia.address")[0][0]


def test_neither_place_nor_transaction_joins_them(make_gate, register_a):
    known = {number: row[1] for number, row in addresses(register_a).items()}
    gate = make_gate("compartmentplaces", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False)
    gate.write_policy(sealed=True, compartment="contact")
    with gate.postgres.owner(gate.database) as c:  # in the order of the people
        c.execute("CREATE TABLE sorted AS SELECT * FROM sia.address ORDER BY owner_id; TRUNCATE sia.address")
        for row in c.execute("SELECT address_id FROM sorted ORDER BY owner_id").fetchall():
            c.execute("INSERT INTO sia.address SELECT * FROM sorted WHERE address_id = %s", row)
        c.execute("DROP TABLE sorted")
    before = order(gate, known)
    assert before[0] < 0.03 and before[1] == len(known), before
    gate.prepare()
    after = order(gate, known)
    assert after[0] > 0.12 and after[1] == 1, after
    gate.serve()
    numbers = {}
    with gate.psycopg("keeper") as c:
        for i, owner in enumerate(sorted(set(known.values()))):
            numbers[70_000 + i] = owner
            c.execute("INSERT INTO sia.address (address_id, owner_id, street, town, postcode) VALUES (%s, %s, 'rue', 'Lyon', '69001')", (70_000 + i, owner))
    written = order(gate, numbers)
    assert written[0] < 0.03 and written[1] > len(numbers), written
    said = gate.command("shuffle", "--owner", gate.postgres.owner_url(gate.database)).stdout
    assert said == f"sia.address: {len(known) + len(numbers)} rows written anew\n"
    for which in (numbers, known | numbers):
        shuffled = order(gate, which)
        assert shuffled[0] > 0.12 and shuffled[1] == 1, shuffled
    with gate.psycopg("keeper") as c:
        assert dict(c.execute("SELECT address_id, owner_id FROM sia.address").fetchall()) == known | numbers
    # The gate goes by what the commands have noted.
    def warned():
        return [line for line in gate.log_text().splitlines() if "run `ecluse shuffle`" in line]

    assert warned() == []
    with open(gate.data + "/shuffled") as f:
        head, noted = f.read().split("\n", 1)
    noted = json.loads(noted)
    assert head == "ecluse shuffled v1" and [(n["schema"], n["table"]) for n in noted] == [("sia", "address")]
    noted[0]["time"] -= 27 * 3_600 * 1_000_000
    with open(gate.data + "/shuffled", "w") as f:
        f.write(head + "\n" + json.dumps(noted))
    gate.stop()
    gate.serve()
    gate.wait_for(lambda: len(warned()) == 1)
    assert "sia.address is in the compartment contact, and its rows were written in another order at 20" in warned()[0]
    with gate.postgres.owner(gate.database) as c:
        c.execute("BEGIN; LOCK TABLE sia.address IN ACCESS SHARE MODE")
        held = gate.command("shuffle", "--owner", gate.postgres.owner_url(gate.database), check=False)
        assert held.returncode == 2 and "lock" in held.stderr, held.stderr
        c.execute("ROLLBACK")
    assert order(gate, known | numbers) == shuffled
    gate.write_policy(compartment="")
    assert gate.command("shuffle", "--owner", gate.postgres.owner_url(gate.database)).stdout.startswith("nothing to do")


def test_the_way_in_and_back_may_be_killed_at_every_statement(make_gate, postgres, register_a):
    """In by another policy that has a compartment, and out: each run killed at another statement, and gone on with."""
    gate = make_gate("compartmentkilled", accounts={"keeper": "keeper"}, roles=ROLES, sealed=False)
    known = addresses(register_a)

    def kind():
        return in_database(gate, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'sia.address'::regclass AND attname = 'owner_id'")[0][0]

    def whole():
        with gate.postgres.admin(gate.database) as c:
            if kind() == "integer":
                assert c.execute("SELECT address_id, owner_id FROM sia.address").fetchall() and \
                    {r[0]: r[1] for r in c.execute("SELECT address_id, owner_id FROM sia.address").fetchall()} == {n: r[1] for n, r in known.items()}
                return
        assert len(set(r[1] for r in stored(gate))) == len({r[1] for r in known.values()})

    for way, options, become in (({"compartment": "contact"}, (), 'ecluse_sealed."id integer in contact"'), ({"compartment": ""}, ("--undo",), "integer")):
        gate.write_policy(**way)
        points, at, done = 0, 0, False
        while not done and at < 120:
            at += 3
            status, _, err = Cut(postgres, at, late=bool(at % 2)).run(gate, "seal", *options)
            assert status in (-signal.SIGKILL, 0), (at, err)
            points += status != 0
            whole()
            done = kind() == become
        assert points >= 10, (way, points)
        gate.seal(*options)
        assert kind() == become
    whole()
    gate.write_policy(compartment="contact", sealed=True)
    gate.seal()

    def reads():  # once the gate has taken the policy
        try:
            with gate.psycopg("keeper") as c:
                return {r[0]: r for r in c.execute("SELECT address_id, owner_id, street, town, postcode FROM sia.address").fetchall()} == known
        except psycopg.Error:
            return False

    gate.wait_for(reads)


def test_what_speaks_against_a_compartment_is_said(make_gate):
    gate = make_gate("compartmentnot", accounts={"keeper": "keeper"}, roles=ROLES, sealed=True)

    def refused(*words, undo=False):
        said = gate.seal(*(["--undo"] if undo else []), check=False)
        assert said.returncode == 2 and all(word in said.stderr for word in words), said.stderr

    gate.write_policy(compartment="contact")
    refused("sia.address.street is sealed under other keys", "--undo")
    gate.write_policy(compartment="", sealed=False)
    gate.seal("--undo")
    gate.write_policy(compartment="contact", sealed=True)
    with gate.postgres.owner(gate.database) as c:
        c.execute("ALTER TABLE sia.address ADD CONSTRAINT whose FOREIGN KEY (owner_id) REFERENCES taj.person")
        refused("foreign key whose", "drop it")
        c.execute("ALTER TABLE sia.address DROP CONSTRAINT whose; CREATE UNIQUE INDEX one ON sia.address (owner_id, address_id)")
    gate.seal()
    with gate.postgres.owner(gate.database) as c:
        assert c.execute("SELECT count(*) FROM pg_index WHERE indrelid = 'sia.address'::regclass AND indisvalid AND indisunique").fetchone() == (2,)
    for other in ("health", ""):
        gate.write_policy(compartment=other)
        said = gate.apply(check=False)
        assert said.returncode == 1 and "pseudonyms of the compartment contact" in said.stderr, said.stderr + said.stdout
    gate.write_policy(compartment="", sealed=True)
    refused("street is sealed under other keys", undo=True)
    for wrong, words in (("main", "is that of tables that name none"), ("Contact", "lower-case letters"), ("x" * 33, "at most 32")):
        gate.write_policy(compartment=wrong)
        said = gate.command("check", check=False)
        assert said.returncode == 1 and words in said.stdout + said.stderr, said.stdout


@pytest.fixture(scope="module")
def kept(make_gate):
    """The same with people's own keys and a retention."""
    gate = make_gate("compartmentkept", accounts={"keeper": "keeper"}, roles=ROLES, sealed=True, compartment="contact", prepare=False, serve=False)
    with gate.postgres.owner(gate.database) as c:
        c.execute("ALTER TABLE sia.address ADD moved date NOT NULL DEFAULT '2999-01-01'; ALTER TABLE sia.address ALTER town DROP NOT NULL; ALTER TABLE sia.address ADD nir text")
        c.execute("UPDATE sia.address SET moved = '2001-01-01' WHERE address_id <= 3")
    with open(gate.config) as f:
        text = f.read()
    text = text.replace("      town: {class: contact}\n", "      town: {class: contact}\n      nir: {class: contact, sealed: {search: [equality]}}\n")
    gate.write_policy(text.replace("    compartment: contact\n", "    compartment: contact\n    erasure: {keys: per_person, nulls: [town]}\n    retention: {column: moved, keep: 1y}\n"))
    return gate.prepare().serve()


def test_who_is_erased_goes_from_a_compartment(kept, register_a):
    known = addresses(register_a)
    owner = known[20][1]
    theirs = {n for n, r in known.items() if r[1] == owner}
    kept.command("erase", "--subject", f"person:{owner}", "--reason", "request 9", "--owner", kept.postgres.owner_url(kept.database))
    with kept.psycopg("keeper") as c:
        got = {r[0]: r for r in c.execute("SELECT address_id, owner_id, street, town, postcode FROM sia.address").fetchall()}
    assert {n for n, r in got.items() if r[2] is None and r[3] is None} == theirs
    assert {n: r for n, r in got.items() if n not in theirs} == {n: r for n, r in known.items() if n not in theirs}


def test_rows_past_their_retention_go_with_their_people_written_down(kept, register_a):
    said = kept.command("retain", "--owner", kept.postgres.owner_url(kept.database))
    assert "3" in said.stdout, said.stdout
    gone = {f"person:{addresses(register_a)[n][1]}" for n in (1, 2, 3)}
    assert gone <= people([e for e in kept.ledger() if e["kind"] == "erasure"], "returned") | people([e for e in kept.ledger() if e["kind"] == "erasure"], "asked")


def test_keys_are_changed_and_files_loaded_in_a_compartment(kept, register_a):
    def ids():
        return {r[0] for r in in_database(kept, "SELECT DISTINCT substring(street::bytea FROM 2 FOR 8) FROM sia.address WHERE street IS NOT NULL")} | \
            {r[0] for r in in_database(kept, "SELECT DISTINCT substring(nir::bytea FROM 2 FOR 8) FROM taj.person")}

    with kept.psycopg("keeper") as c:
        before = sorted(c.execute("SELECT address_id, owner_id, street FROM sia.address").fetchall())
    former = ids()
    assert len([i for i in former if len(i)]) == 2, "each compartment has a key of its own"
    kept.command("keys", "rotate", "--reencrypt", "--owner", kept.postgres.owner_url(kept.database))
    assert len(ids()) == 2 and not ids() & former
    path = os.path.join(kept.folder, "more.csv")
    with open(path, "w") as f:
        f.write("address_id,owner_id,street,town,postcode\n" + "".join(f"{80_000 + i},{before[i][1]},rue {i},Lyon,69001\n" for i in range(50)) + "80900,,rue,Lyon,69001\n")
    said = kept.command("load", "--table", "sia.address", "--owner", kept.postgres.owner_url(kept.database), path, check=False)
    assert said.returncode == 1 and "50" in said.stdout, said.stdout + said.stderr
    with kept.psycopg("keeper") as c:
        now = sorted(c.execute("SELECT address_id, owner_id, street FROM sia.address").fetchall())
    assert now == before + [(80_000 + i, before[i][1], f"rue {i}") for i in range(50)]
    pseudonyms = dict(stored(kept))
    assert all(pseudonyms[80_000 + i] == pseudonyms[before[i][0]] for i in range(50))


def test_sealed_values_of_two_compartments_do_not_meet(kept):
    with kept.psycopg("keeper") as c, pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
        c.execute("SELECT a.town FROM taj.person p JOIN sia.address a ON a.nir = p.nir WHERE p.person_id = 1001")
    assert "in its compartment alone" in str(refused.value)


def test_no_value_joins_them(kept):
    """Of a row as whoever has the database sees it, nothing is an id."""
    with kept.psycopg("keeper") as c:
        ids = {str(r[0]) for r in c.execute("SELECT owner_id FROM sia.address").fetchall()}
    assert len(ids) > 20
    for text, in in_database(kept, "SELECT row_to_json(a)::text FROM sia.address a"):
        assert not ids & {str(value) for name, value in json.loads(text).items() if name not in ("address_id", "postcode")}


def test_what_nobody_can_be_called_is_not_sealed(make_gate):
    roles = f"""
  watcher:
    purposes: [judicial-inquiry]
    read: {{lapi.sighting: {{key: clear, vehicle: clear, trace: clear}}}}
    budgets: {ENDLESS}
"""
    gate = make_gate("compartmentids", accounts={"watcher": "watcher"}, roles=roles, sealed=False, prepare=False, serve=False)
    with open(gate.config) as f:
        text = f.read().replace("    subject: plate\n", "    subject: plate\n    compartment: eyes\n")
    gate.write_policy(text)
    gate.command("keys", "init")
    row = "INSERT INTO lapi.sighting VALUES (70000, %s, 'c', now(), NULL)"
    for wrong in ("", "a\x1fb", "a\x1eb", "x" * 513):
        with gate.postgres.owner(gate.database) as c:
            c.execute(row, (wrong,))
            said = gate.seal(check=False)
            assert said.returncode == 2 and "can be nobody's" in said.stderr and "ctid" in said.stderr, said.stderr
            c.execute("DELETE FROM lapi.sighting WHERE sighting_id = 70000")
    odd = """O'Ne\\"il {1,2} NULL é 🚣 """ + "y" * 400
    with gate.postgres.owner(gate.database) as c:
        c.execute(row, (odd,))
    gate.seal()
    gate.add_account("watcher", "watcher")
    gate.serve()
    with gate.psycopg("watcher", reference="odd") as c:
        for plate in ([odd], (odd,)):
            assert c.execute("SELECT plate FROM lapi.sighting WHERE plate = ANY (%s)" if isinstance(plate, list) else "SELECT plate FROM lapi.sighting WHERE plate = %s",
                             (plate,) if isinstance(plate, list) else plate).fetchall() == [(odd,)]
    assert told(gate.entries("odd")) == {f"plate:{odd}"}
    with gate.wire("watcher", reference="bytes") as c:  # no text of PostgreSQL's: the ledger stays one that can be read
        for value in (b"\xff\xfe", b"a\x00b"):
            c.extended("SELECT plate FROM lapi.sighting WHERE plate = $1", [value], [25])
    assert told(gate.entries("bytes")) == set()


def test_an_erasure_joins_no_compartments_either(make_gate, register_a):
    gate = make_gate("compartmenterased", accounts={"keeper": "keeper"}, roles=ROLES, sealed=True, own="per_person", compartment="contact", prepare=False, serve=False)
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("    compartment: contact\n", "    compartment: contact\n    erasure: per_person\n"))
    gate.prepare().serve()
    owner = addresses(register_a)[1][1]
    gate.command("erase", "--subject", f"person:{owner}", "--reason", "request 3", "--owner", gate.postgres.owner_url(gate.database))
    (mine,), = in_database(gate, "SELECT xmin::text FROM taj.person WHERE person_id = %s", owner)
    assert in_database(gate, "SELECT count(*) FROM sia.address WHERE xmin::text = %s", mine) == [(0,)]
    assert in_database(gate, "SELECT count(*) FROM sia.address WHERE get_byte(street::bytea, 0) = 3 AND xmin::text <> (SELECT xmin::text FROM sia.address WHERE address_id = 50)")[0][0] >= 1


def test_tables_that_cannot_be_shuffled_are_left_as_they_are(make_gate):
    gate = make_gate("compartmentshuffled", accounts={"keeper": "keeper"}, roles=ROLES, sealed=True, compartment="contact", serve=False)
    url = gate.postgres.owner_url(gate.database)
    rows = stored(gate)
    for make, drop, words in (("CREATE TABLE sia.more (extra text) INHERITS (sia.address)", "DROP TABLE sia.more", "inherits"),
                              ("CREATE TABLE sia.mail (address_id int REFERENCES sia.address)", "DROP TABLE sia.mail", "referred to by the foreign key"),
                              ("CREATE FUNCTION sia.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER t BEFORE INSERT ON sia.address FOR EACH ROW EXECUTE FUNCTION sia.f()",
                               "DROP FUNCTION sia.f CASCADE", "the trigger t")):
        with gate.postgres.owner(gate.database) as c:
            c.execute(make)
        said = gate.command("shuffle", "--owner", url, check=False)
        assert said.returncode == 2 and words in said.stderr, said.stderr
        with gate.postgres.owner(gate.database) as c:
            c.execute(drop)
        assert stored(gate) == rows
    gate.write_policy(compartment="other")
    for command in ("shuffle", "seal"):
        said = gate.command(command, "--owner", url, check=False)
        assert said.returncode == 2 and "the compartment contact" in said.stderr, said.stderr
    gate.write_policy(compartment="contact")
    for at in range(3, 40, 4):
        Cut(gate.postgres, at).run(gate, "shuffle")
        assert stored(gate) == rows, at


TYPES = {"int2": ["7", "-3"], "int8": ["9000000000", "42"], "uuid": ["a2f3c1de-0000-4000-8000-000000000001", "a2f3c1de-0000-4000-8000-00000000000f"],
         "numeric": ["123456789012345678901234", "7"], "text": ["""O'Ne\\"il {1,2}, NULL""", "é 🚣"], "varchar(40)": ["NULL", 'a"b\\c']}


def test_joins_over_ids_of_every_type(make_gate):
    tables = ""
    read = []
    for i, kind in enumerate(TYPES):
        for place in ("clear", "hidden", "other"):
            compartment = "" if place == "clear" else f"    compartment: {place}\n"
            tables += f"  sia.{place}{i}:\n    subject: id\n    space: s{i}\n{compartment}    columns: {{n: {{class: key}}, id: {{class: key}}}}\n"
            read.append(f"sia.{place}{i}: {{key: clear}}")
    shown = [i for i, kind in enumerate(TYPES) if kind not in ("int2", "numeric")]  # as pseudonyms of a role: these have no form for one
    masked = [f"sia.{place}{i}: {{n: clear, id: pseudonym}}" for i in shown for place in ("clear", "hidden", "other")]
    roles = f"""
  reader:
    purposes: [judicial-inquiry]
    read: {{{", ".join(read)}}}
    budgets: {ENDLESS}
  stranger:
    purposes: [judicial-inquiry]
    read: {{{", ".join(masked)}}}
    budgets: {ENDLESS}
"""
    gate = make_gate("compartmenttypes", accounts={"reader": "reader", "stranger": "stranger"}, roles=roles, sealed=False, prepare=False, serve=False)
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("\nopen_tables:", "\n" + tables.rstrip("\n") + "\nopen_tables:", 1))
    with gate.postgres.owner(gate.database) as c:
        for i, (kind, ids) in enumerate(TYPES.items()):
            for place in ("clear", "hidden", "other"):
                c.execute(f"CREATE TABLE sia.{place}{i} (n int PRIMARY KEY, id {kind} NOT NULL)")
                for n, number in enumerate(ids):
                    c.execute(f"INSERT INTO sia.{place}{i} VALUES ({n}, %s)", (number,))
        c.execute("CREATE TABLE sia.away0 AS SELECT * FROM sia.hidden0; ALTER TABLE sia.hidden0 ADD k int REFERENCES sia.clear0")
    gate.command("keys", "init")
    said = gate.seal(check=False)  # a foreign key over any column joins the rows
    assert said.returncode == 2 and "the foreign key hidden0_k_fkey joins their rows" in said.stderr, said.stderr
    with gate.postgres.owner(gate.database) as c:
        c.execute("ALTER TABLE sia.hidden0 DROP k")
    gate.seal()
    gate.add_account("reader", "reader")
    gate.add_account("stranger", "stranger")
    gate.serve()
    for binary in (False, True):
        with gate.psycopg("stranger", reference=f"masked-{binary}") as c:
            for i in shown:
                names = [sorted(c.execute(f"SELECT n, id FROM sia.{place}{i}", binary=binary).fetchall()) for place in ("clear", "hidden", "other")]
                assert names[0] == names[1] == names[2] and names[0][0][1] != names[0][1][1], (i, names)
                ids = [number.replace("'", "''") for number in [*TYPES.values()][i]]
                assert not {str(name) for _, name in names[1]} & set(ids)
                assert c.execute(f"SELECT a.n, b.n FROM sia.hidden{i} a JOIN sia.hidden{i} b ON b.id = a.id WHERE a.n = 1", binary=binary).fetchall() == [(1, 1)]
                for sql in (f"SELECT n FROM sia.hidden{i} WHERE id = '{ids[0]}'", f"SELECT n FROM sia.hidden{i} WHERE id IN ('{ids[0]}')", f"SELECT n FROM sia.hidden{i} ORDER BY id",
                            f"SELECT max(id) FROM sia.hidden{i}"):
                    with pytest.raises((psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege)):
                        c.execute(sql)
        assert len(told(gate.entries(f"masked-{binary}"))) == 2 * len(shown)
    with gate.psycopg("reader") as c:
        for i, (kind, ids) in enumerate(TYPES.items()):
            for n, number in enumerate(ids):
                for a, b in (("clear", "hidden"), ("hidden", "clear"), ("hidden", "other")):
                    for side in ("a", "b"):
                        got = c.execute(f"SELECT a.n, b.n, a.id::text, b.n FROM sia.{a}{i} a JOIN sia.{b}{i} b ON b.id = a.id WHERE {side}.id = %s" if a == "clear" else
                                        f"SELECT a.n, b.n FROM sia.{a}{i} a JOIN sia.{b}{i} b ON b.id = a.id WHERE {side}.id = %s", (number,)).fetchall()
                        assert [row[:2] for row in got] == [(n, n)], (kind, number, a, b, side)
            assert sorted(c.execute(f"SELECT a.n, b.n, d.n FROM sia.clear{i} a JOIN sia.hidden{i} b ON b.id = a.id AND a.n < 9 JOIN sia.other{i} d ON d.id = b.id AND b.n < 9").fetchall()) == [(0, 0, 0), (1, 1, 1)]


def test_values_out_of_line_do_not_tell_the_order_either(make_gate, register_a):
    gate = make_gate("compartmenttoast", accounts={"keeper": "keeper"}, roles=ROLES, sealed=False, prepare=False, serve=False)
    gate.write_policy(sealed=True, compartment="contact")
    with gate.postgres.owner(gate.database) as c:
        c.execute("TRUNCATE sia.address; INSERT INTO sia.address SELECT i, i, string_agg(md5(i::text || j), ''), 'Lyon', '69001' FROM generate_series(1, 60) i, generate_series(1, 200) j GROUP BY i ORDER BY i")
    gate.prepare()
    chunks = "SELECT array_agg(DISTINCT chunk_id ORDER BY chunk_id) FROM pg_toast.pg_toast_%s"
    (number,), = in_database(gate, "SELECT 'sia.address'::regclass::oid::int8")
    assert len(in_database(gate, chunks % number)[0][0]) == 60
    # Of each row the number of its value out of line, in the order of the ids.
    with gate.postgres.admin(gate.database) as c:
        c.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")
        attribute, = c.execute("SELECT attnum FROM pg_attribute WHERE attrelid = 'sia.address'::regclass AND attname = 'street'").fetchone()
        pages = c.execute("SELECT pg_relation_size('sia.address') / 8192").fetchone()[0]
        places = {}
        for page in range(pages):
            for place, attrs in c.execute("SELECT lp, t_attrs FROM heap_page_item_attrs(get_raw_page('sia.address', %s), 'sia.address') WHERE t_attrs IS NOT NULL", (page,)).fetchall():
                pointer = attrs[attribute - 1]
                places[f"({page},{place})"] = int.from_bytes(pointer[10:14], "little")
        ids = [places[place] for place, in c.execute("SELECT ctid::text FROM sia.address ORDER BY address_id").fetchall()]
    assert len(set(ids)) == 60
    rising = sum(a < b for a, b in zip(ids, ids[1:]))
    assert 15 < rising < 44, rising
