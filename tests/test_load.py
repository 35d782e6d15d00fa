"""Files loaded in bulk: sealed on the way, killed at every statement, every row in the table once or in the side file once."""
import csv
import datetime
import glob
import hashlib
import json
import os
import shutil
import signal
import stat

import pytest

from harness.cut import Cut
from harness.registrar import ACCOUNTS, ALL, ROLES, in_database

COLUMNS = [name.strip() for name in ALL.split(",")]


def person(number, **changes):
    return {**dict(person_id=number, nir=f"L{number}", family_name=f"Lédé {number % 7}", given_name="Zoé \"Z\", née\nÀ", birth_date=datetime.date(1950, 1, 1 + number % 28),
                   birth_place="Lyon", sex="F", risk=number % 50, note=None if number % 3 else f"note\t{number} \\N \\.", phone="" if number % 2 else f"06{number}",
                   height=None if number % 5 == 0 else 170, photo=bytes([number % 256, 0, 255])), **changes}


def shown(row):
    return tuple(row[name] for name in COLUMNS)


def as_text(value):
    return "\\x" + value.hex() if isinstance(value, bytes) else str(value)


def csv_text(rows, columns=COLUMNS):
    """An empty text is quoted, NULL is nothing."""
    def field(value):
        return "" if value is None else '"' + as_text(value).replace('"', '""') + '"' if isinstance(value, str) else as_text(value)
    return "".join(",".join(line) + "\n" for line in [columns, *[[field(row[name]) for name in columns] for row in rows]])


def jsonl_text(rows, columns=COLUMNS):
    def value(v):
        return v if v is None or isinstance(v, (int, str, bool, dict, list)) else as_text(v)
    return "".join(json.dumps({name: value(row[name]) for name in columns if name in row}) + "\n" for row in rows)


def write(gate, name, content):
    path = os.path.join(gate.folder, name)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())
    return path


def load(gate, path, table="taj.person", check=True, status=0):
    said = gate.command("load", "--table", table, "--owner", gate.postgres.owner_url(gate.database), path, check=False)
    if check:
        assert said.returncode == status, said.stderr + said.stdout
    return said


def rejects(path):
    if not os.path.exists(path + ".rejected"):
        return {}
    with open(path + ".rejected") as f:
        lines = [json.loads(line) for line in f]
    assert len({line["line"] for line in lines}) == len(lines), "a row is listed twice"
    return {line["line"]: line["reason"] for line in lines}


def read(gate, where, *values):
    with gate.psycopg("registrar") as c:
        return c.execute(f"SELECT {ALL} FROM taj.person WHERE {where} ORDER BY person_id", values).fetchall()


def collections(gate):
    return [e for e in gate.ledger("--kind", "collection") if e["door"] == "command"]


@pytest.fixture(scope="module")
def gate(make_gate, postgres):
    gate = make_gate("loaded", accounts=ACCOUNTS, roles=ROLES, sealed=True, serve=False)
    with postgres.admin("postgres") as c:
        for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_parameter_max_length_on_error = -1", "log_min_error_statement = 'notice'"):
            c.execute(f"ALTER DATABASE loaded SET {setting}")
    return gate.serve()


@pytest.mark.parametrize("kind, text", [("csv", csv_text), ("jsonl", jsonl_text)])
def test_what_was_in_the_file_is_in_the_register(gate, kind, text):
    first = 200_000 if kind == "csv" else 300_000
    rows = [person(first + i) for i in range(200)]
    path = write(gate, f"people.{kind}", text(rows))
    before = len(collections(gate))
    assert f"loaded 200 rows into taj.person" in load(gate, path).stdout
    assert read(gate, "person_id BETWEEN %s AND %s", first, first + 199) == [shown(row) for row in rows]
    # As its blind indexes find it.
    with gate.psycopg("registrar") as c:
        for row in rows[::37]:
            assert c.execute("SELECT person_id FROM taj.person WHERE nir = %s", (row["nir"],)).fetchall() == [(row["person_id"],)]
            for search in ("family_name = lower(%s)", "family_name LIKE 'LEDE%%'", "ecluse_sounds_like(family_name, %s)"):
                values = [row["family_name"]] * search.count("%s")
                if search.startswith("family_name = lower"):
                    search = "family_name = %s"
                assert (row["person_id"],) in c.execute(f"SELECT person_id FROM taj.person WHERE {search}", values).fetchall()
            assert (row["person_id"],) in c.execute("SELECT person_id FROM taj.person WHERE birth_date >= %s AND birth_date < %s",
                                                    (row["birth_date"], row["birth_date"] + datetime.timedelta(1))).fetchall()
    # In the database nothing of it stands in clear, and the ledger tells of the file.
    with open(path, "rb") as f:
        sha = hashlib.sha256(f.read()).hexdigest()
    begun, ended = collections(gate)[before:]
    assert begun["reason"].startswith(f"load of taj.person from a file of SHA-256 {sha}: begun, 200 rows; by the system's user ")
    assert ended["reason"].startswith(f"load of taj.person from a file of SHA-256 {sha}: ended, 0 rows rejected; by ") and ended["rows"] == 200
    assert not os.path.exists(path + ".rejected")
    # Twice by mistake.
    again = load(gate, path)
    assert "nothing to do: this file was loaded before: 200 rows" in again.stdout and len(collections(gate)) == before + 2
    assert in_database(gate, "SELECT count(*) FROM taj.person WHERE person_id BETWEEN %s AND %s", first, first + 199) == [(200,)]
