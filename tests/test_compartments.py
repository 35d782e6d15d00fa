"""Tables in a compartment: whose rows they are stands under pseudonyms there, and nothing joins them with others but the gate, for people who are bounded."""
import json
import os
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
    gate.wait_for(lambda: gate.log_text().count("is in force") >= 1)
    with gate.psycopg("keeper") as c:
        assert {r[0]: r for r in c.execute("SELECT address_id, owner_id, street, town, postcode FROM sia.address").fetchall()} == known


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
