"""A role that reads and writes every sealed column, and a look at the database around the gate."""
from harness.gate import ENDLESS

ROLES = f"""
  registrar:
    purposes: [judicial-inquiry]
    read:
      taj.person: {{key: clear, identity: clear, identifier: clear, assessment: clear, contact: clear, body: clear, biometric: clear}}
      sia.address: {{key: clear, contact: clear}}
    write:
      taj.person:
        insert: [person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk, note, phone, height, photo]
        update: [nir, family_name, given_name, birth_date, birth_place, sex, risk, note, phone, height, photo]
    budgets: {ENDLESS}
"""
ACCOUNTS = {"registrar": "registrar"}
ALL = "person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk, note, phone, height, photo"


def in_database(gate, sql, *values):
    with gate.postgres.admin(gate.database) as c:
        return c.execute(sql, values).fetchall()
