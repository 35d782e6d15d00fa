"""Sealed columns: sealed in a register in use, found, shown, written, and never in clear in the database."""
import pytest

from harness.gate import Gate

SEALED = {
    "nir: {class: identifier}": "nir: {class: identifier, sealed: {search: [equality]}}",
    "family_name: {class: identity}": "family_name: {class: identity, sealed: {search: [equality, prefix(4), phonetic], accept_leakage: true}}",
    "given_name: {class: identity}": "given_name: {class: identity, sealed: {}}",
    "birth_date: {class: identity}": "birth_date: {class: identity, sealed: {search: [equality]}}",
    "risk: {class: assessment}": "risk: {class: assessment, sealed: {search: [equality]}}",
    "note: {class: assessment}": "note: {class: assessment, sealed: {}}",
    "phone: {class: contact}": "phone: {class: contact, sealed: {search: [equality]}}",
    "height: {class: body}": "height: {class: body, sealed: {}}",
    "photo: {class: biometric}": "photo: {class: biometric, sealed: {}}",
    "street: {class: contact}": "street: {class: contact, sealed: {search: [equality]}}",
}

ROLES = """
  registrar:
    purposes: [judicial-inquiry]
    read:
      taj.person: {key: clear, identity: clear, identifier: clear, assessment: clear, contact: clear, body: clear, biometric: clear}
      sia.address: {key: clear, contact: clear}
    write:
      taj.person:
        insert: [person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk, note, phone, height, photo]
        update: [nir, family_name, given_name, birth_date, birth_place, sex, risk, note, phone, height, photo]
    budgets: [{subjects: 1000000, per: 1h}, {lookups: 10000000, per: 1h}, {failures: 10000000, per: 1h}]
    export: true
  seeker:
    purposes: [judicial-inquiry]
    read:
      taj.person: {key: clear, identity: clear, family_name: hidden, nir: last4}
    search: [taj.person.nir, taj.person.family_name]
    budgets: [{subjects: 1000000, per: 1h}, {lookups: 10000000, per: 1h}, {failures: 10000000, per: 1h}]
"""


def with_sealed(gate):
    """Writes the gate's policy anew, with sealed columns in it."""
    with open(gate.config) as f:
        text = f.read()
    for clear, sealed in SEALED.items():
        assert clear in text
        text = text.replace(clear, sealed)
    gate.write_policy(text)


def seal(gate, *more, check=True):
    return gate.command("seal", "--owner", gate.postgres.owner_url(gate.database), *more, timeout=300, check=check)


ACCOUNTS = {"registrar": "registrar", "seeker": "seeker", "prober": "prober", "counter": "counter"}


@pytest.fixture(scope="module")
def sealed(make_gate):
    gate = make_gate("sealed", accounts=ACCOUNTS, roles=ROLES, serve=False, prepare=False)
    with_sealed(gate)
    gate.command("keys", "init")
    gate.said = seal(gate).stdout
    for name, role in ACCOUNTS.items():
        gate.add_account(name, role)
    return gate.serve()


@pytest.fixture()
def clear(sealed):
    with sealed.psycopg("registrar") as c:
        yield c


@pytest.fixture()
def wire(sealed):
    client = sealed.wire("registrar")
    yield client
    client.close()


def test_what_was_in_the_register_comes_back_as_declared(sealed, clear, register_a):
    rows = clear.execute("SELECT person_id, nir, family_name, given_name, birth_date, risk, note, phone, height, photo "
                         "FROM taj.person ORDER BY person_id").fetchall()
    expected = [tuple(p[k] for k in ("person_id", "nir", "family_name", "given_name", "birth_date", "risk", "note", "phone",
                                     "height", "photo")) for p in register_a["taj.person"]]
    assert rows == expected
