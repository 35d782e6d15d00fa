"""New search keys: every token is made anew while the gate is stopped, and nothing is searched under a key that is not the register's."""
import os
import re
import shutil
import signal

import psycopg
import pytest

from harness.cut import Cut
from harness.registrar import ACCOUNTS, ALL, ROLES, in_database
from test_compartments import ACCOUNTS as KEEPERS, ROLES as KEEPER, addresses
from test_own_keys import OWN, erase, reads_all, tokens


def rotate(gate, check=True):
    return gate.command("keys", "rotate", "--search", "--owner", gate.postgres.owner_url(gate.database), check=check)


def keys(gate, kind="search"):
    return {line.split()[1]: line.split()[2] for line in gate.command("keys", "list").stdout.split("\n") if line.startswith(kind + " ")}


def token_columns(gate):
    return in_database(gate, "SELECT attrelid::regclass::text, quote_ident(attname), col_description(attrelid, attnum) FROM pg_attribute "
                             "WHERE attrelid IN ('taj.person'::regclass, 'sia.address'::regclass) AND attname LIKE '\\_\\_bidx\\_%%' AND NOT attisdropped")


def all_tokens(gate):
    return {(table, column): {r[0] for r in in_database(gate, f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")} for table, column, _ in token_columns(gate)}


def finds(gate, register):
    """By every kind of index, those and no others."""
    persons = register["taj.person"]
    one = next(p for p in persons if p["height"] and p["phone"])
    with gate.psycopg("registrar") as c:
        def ids(sql, *values):
            return {r[0] for r in c.execute(f"SELECT person_id FROM taj.person WHERE {sql}", values).fetchall()}
        for column in ("nir", "family_name", "birth_date", "phone"):
            found = ids(f"{column} = %s", one[column])
            assert found == {p["person_id"] for p in persons if p[column] == one[column]} and one["person_id"] in found, column
        assert one["person_id"] in ids("family_name LIKE %s", one["family_name"][:3] + "%")
        assert one["person_id"] in ids("ecluse_sounds_like(family_name, %s)", one["family_name"])
        assert ids("birth_date BETWEEN %s AND %s", "1970-01-01", "1979-12-31") == {p["person_id"] for p in persons if p["birth_date"] and "1970" <= str(p["birth_date"])[:4] <= "1979"}
        assert ids("height >= 180 AND height < 190") == {p["person_id"] for p in persons if p["height"] and 180 <= p["height"] < 190}
        with pytest.raises(psycopg.errors.UniqueViolation):  # the tokens of a unique column are still unique
            c.execute(f"INSERT INTO taj.person ({ALL}) VALUES (900001, %s, 'X', 'Y', '1950-05-05', 'Lyon', 'M', 3, NULL, NULL, NULL, NULL)", (one["nir"],))


def test_every_token_is_made_anew_and_everybody_is_found_as_before(make_gate, register_a):
    gate = make_gate("searchkeys", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    [first] = keys(gate).values()
    assert all(note == f"ecluse: tokens under the search key {first}" for _, _, note in token_columns(gate))
    before = all_tokens(gate)
    links = keys(gate, "link")
    values = in_database(gate, "SELECT nir::bytea, photo::bytea FROM taj.person ORDER BY person_id")
    said = rotate(gate, check=False)
    assert said.returncode == 2 and "a gate runs" in said.stderr and keys(gate) == {"main": first}
    gate.stop()
    said = rotate(gate)
    assert re.search("made the tokens of [0-9]+ rows anew", said.stdout) and "VACUUM FULL" in said.stdout
    [second] = keys(gate).values()
    assert second != first and keys(gate, "link") != links, "nothing stands under the linking key"
    after = all_tokens(gate)
    assert set(after) == set(before)
    for column, was in before.items():
        assert len(after[column]) == len(was) > 0 and not after[column] & was, column
    assert in_database(gate, "SELECT nir::bytea, photo::bytea FROM taj.person ORDER BY person_id") == values
    gate.serve()
    finds(gate, register_a)
    reads_all(gate, register_a)
    entries = [e["reason"] for e in gate.ledger("--kind", "key")]
    assert any(e.startswith(f"new search keys: search main {second}") for e in entries) and any("rows anew under the new search keys" in e for e in entries)
    # What is written now is found too, and what is moved in notes the key.
    with gate.psycopg("registrar") as c:
        c.execute(f"INSERT INTO taj.person ({ALL}) VALUES (900001, 'w900001', 'Neuf', 'Y', '1950-05-05', 'Lyon', 'M', 3, NULL, NULL, NULL, NULL)")
        assert c.execute("SELECT family_name FROM taj.person WHERE nir = 'w900001'").fetchall() == [("Neuf",)]
    assert gate.command("ledger", "verify").returncode == 0


def test_a_copy_of_before_does_not_go_with_the_other(make_gate, register_a):
    """It would find nobody, and say so as if there were nobody."""
    gate = make_gate("searchcopies", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    gate.stop()
    ring = os.path.join(gate.data, "keys", "ring")
    shutil.copy(ring, ring + ".before")
    rotate(gate)
    os.rename(ring, ring + ".after")
    shutil.copy(ring + ".before", ring)
    said = gate.command("serve", check=False)
    assert said.returncode == 2 and "under another search key" in said.stderr, said.stderr
    # Nor without a word about the key.
    os.rename(ring + ".after", ring)
    with gate.postgres.admin(gate.database) as c:
        c.execute("COMMENT ON COLUMN taj.person.__bidx_nir IS NULL")
    said = gate.command("serve", check=False)
    assert said.returncode == 2 and "taj.person.__bidx_nir" in said.stderr and "rotate --search" in said.stderr
    rotate(gate)
    gate.serve()
    finds(gate, register_a)
    # A ring of before, put back under a gate that runs, is not taken.
    shutil.copy(ring, ring + ".after")
    shutil.copy(ring + ".before", ring)
    gate.signal(signal.SIGHUP)
    gate.wait_for(lambda: "is searched under has changed" in gate.log_text())
    shutil.copy(ring + ".after", ring)
    finds(gate, register_a)


def test_it_may_be_killed_at_every_statement(make_gate, postgres, register_a):
    gate = make_gate("searchkilled", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    gate.stop()
    everything = Cut(postgres, None)
    status, _, err = everything.run(gate, "keys", "rotate", "--search")
    assert status == 0, err
    assert everything.count > 30
    unfinished = 0
    for at in range(1, everything.count + 1):
        status, _, err = Cut(postgres, at).run(gate, "keys", "rotate", "--search")
        assert status in (-signal.SIGKILL, 0), (at, err)
        held = [line for line in gate.command("keys", "list").stdout.split("\n") if line.startswith("search ")]
        assert len(held) in (1, 2), at
        if len(held) == 2:
            unfinished += 1
            if unfinished % 8 == 1:
                said = gate.command("serve", check=False)
                assert said.returncode == 2 and "rotate --search" in said.stderr, (at, said.stderr)
                said = gate.command("keys", "rotate", "--reencrypt", "--owner", gate.postgres.owner_url(gate.database), check=False)
                assert said.returncode == 2 and "being renewed" in said.stderr, (at, said.stderr)
            said = rotate(gate)
            assert "going on with search keys" in said.stderr
            assert list(keys(gate).values()) == [held[1].split()[2]], at
        assert {note for _, _, note in token_columns(gate)} == {f"ecluse: tokens under the search key {keys(gate)['main']}"}, at
        if at % 8 == 0:
            gate.serve()
            finds(gate, register_a)
            gate.stop()
    assert unfinished > 8
    gate.serve()
    finds(gate, register_a)
    reads_all(gate, register_a)


def test_what_speaks_against_it_is_said_first(make_gate, postgres, register_a):
    gate = make_gate("searchrefused", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    gate.stop()
    first = keys(gate)

    def refused(words, same=True):
        said = rotate(gate, check=False)
        assert said.returncode == 2 and words in said.stderr, said.stderr
        assert (keys(gate) == first) == same

    with gate.postgres.admin(gate.database) as c:
        c.execute('ALTER TABLE taj.person ADD COLUMN "__bidx_given_name" bytea')
    refused("in how it is searched")
    with gate.postgres.admin(gate.database) as c:
        c.execute('ALTER TABLE taj.person DROP COLUMN "__bidx_given_name"')
        who, was = c.execute("SELECT person_id, phone::bytea FROM taj.person WHERE phone IS NOT NULL ORDER BY 1 DESC LIMIT 1").fetchone()
        c.execute("UPDATE taj.person SET phone = set_byte(phone::bytea, 40, (get_byte(phone::bytea, 40) + 1) %% 256) WHERE person_id = %s", (who,))
    # A value that does not open: the table is as it was, and the gate stays out until it is mended.
    before = all_tokens(gate)
    refused('column "phone" does not open', same=False)
    assert all_tokens(gate)[("taj.person", "__bidx_phone")] == before[("taj.person", "__bidx_phone")]
    assert "rotate --search" in gate.command("serve", check=False).stderr
    with gate.postgres.admin(gate.database) as c:
        c.execute("UPDATE taj.person SET phone = %s WHERE person_id = %s", (was, who))
    assert "going on" in rotate(gate).stderr
    gate.serve()
    finds(gate, register_a)


def test_the_erased_get_no_token_and_pseudonyms_keep_their_key(make_gate, register_a):
    gate = make_gate("searcherased", accounts={**ACCOUNTS, **KEEPERS}, roles=ROLES + KEEPER, sealed=True, own=OWN, compartment="contact")
    person = register_a["taj.person"][3]
    assert tokens(gate, person["person_id"])
    erase(gate, person["person_id"])
    assert not tokens(gate, person["person_id"])
    gate.stop()
    search, links = keys(gate), keys(gate, "link")
    said = rotate(gate)
    assert "the pseudonyms of contact stay" in said.stdout and "ecluse shuffle" in said.stdout
    assert not tokens(gate, person["person_id"])
    assert set(keys(gate)) == {"main", "contact"} and not set(keys(gate).values()) & set(search.values())
    now = keys(gate, "link")
    assert now["contact"] == links["contact"] and now["main"] != links["main"]
    gate.serve()
    with gate.psycopg("registrar") as c:
        assert c.execute("SELECT person_id FROM taj.person WHERE nir = %s", (person["nir"],)).fetchall() == []
        other = register_a["taj.person"][4]
        assert c.execute("SELECT person_id FROM taj.person WHERE nir = %s", (other["nir"],)).fetchall() == [(other["person_id"],)]
    known = addresses(register_a)
    number, owner, street = next((a[0], a[1], a[2]) for a in known.values() if a[2] and a[1] != person["person_id"])
    with gate.psycopg("keeper") as c:
        assert number in {r[0] for r in c.execute("SELECT address_id FROM sia.address WHERE street = %s", (street,)).fetchall()}
        assert number in {r[0] for r in c.execute("SELECT address_id FROM sia.address WHERE owner_id = %s", (owner,)).fetchall()}
