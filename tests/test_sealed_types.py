"""Every type that may be sealed, beside the same table in clear: what comes back, under every mask, in text and binary, in every
style of dates, is the same to the byte."""
import random
import struct

import psycopg
import pytest

from harness import wire as w
from harness.cut import BEFORE_THE_CHANGE, Cut
from harness.registrar import in_database

COLUMNS = {"b": "boolean", "i2": "smallint", "i4": "integer", "i8": "bigint", "n": "numeric", "n2": "numeric(12,3)", "t": "text",
           "v": "varchar(20)", "by": "bytea", "d": "date", "ts": "timestamp", "ts3": "timestamp(3)", "tz": "timestamptz", "u": "uuid",
           "jb": "jsonb"}
MASKS = {"b": "redacted", "i2": "range(7)", "i4": "range(1000)", "i8": "range(10)", "n": "range(3)", "n2": "range(5)", "t": "initial",
         "v": "last4", "by": "redacted", "d": "year", "ts": "month", "ts3": "year", "tz": "month", "u": "redacted", "jb": "hidden"}
SEARCHES = {"b": "equality", "i2": "equality, range(1)", "i4": "equality", "i8": "equality, range(1000000000000000)", "n": "equality",
            "n2": "equality, range(100)", "t": "equality, prefix(2), phonetic", "v": "equality", "by": "equality", "d": "equality, range(1d)",
            "ts": "equality, range(1h)", "ts3": "equality", "tz": "equality, range(7d)", "u": "equality"}
EDGES = {
    "b": ["true", "false"], "i2": ["-32768", "32767", "0", "-1", "6", "7"], "i4": ["-2147483648", "2147483647", "-1", "999", "1000"],
    "i8": ["-9223372036854775808", "9223372036854775807", "0", "-11"],
    "n": ["NaN", "0", "-0.001", "1.50", "123456789012345678901234567890.5", "-123456789012345678901234567890.5", "2.999", "-3", "1e-20"],
    "n2": ["0.001", "-999999999.999", "999999999.999", "4.9995", "-5"],
    "t": ["", " ", "é", "Ünïcödé 日本語 🚣", "tab\tnew\nline \\ back", "x'y", "a" * 3000], "v": ["", "1234567", "12345678", "ééééééééé", "a b  "],
    "by": ["\\x", "\\x00ff41", "\\xdeadbeef"],
    "d": ["0044-03-15 BC", "infinity", "-infinity", "9999-12-31", "0001-01-01", "2024-02-29", "4713-01-01 BC", "5874897-12-31", "1999-12-31"],
    "ts": ["infinity", "-infinity", "2024-02-29 12:34:56.789012", "0001-01-01", "294276-12-31 23:59:59.999999", "4713-01-01 BC", "1970-01-01 00:00:00.000001"],
    "ts3": ["2024-02-29 12:34:56.7895", "1969-12-31 23:59:59.9996"],
    "tz": ["infinity", "-infinity", "2024-03-31 00:59:59.5+00", "2024-03-31 01:00:00+00", "1900-01-01 00:00+00", "2024-01-31 23:30:00+00", "0001-01-01 00:00+00",
           "2038-01-19 03:14:08+00", "1911-03-10 23:55:00+00", "4713-01-02 00:00+00 BC", "294276-12-30 00:00+00"],
    "u": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "jb": ['{"a": [1, 2.50, null], "b": {"c": "é\\u0000"}}'.replace("\\u0000", ""), "null", '"s"', "[]", "1.10"],
}
RANGED = ("d", "ts", "tz")  # their range index holds years 1 to 9999 and infinity


def values(seed=11, count=150):
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        row = {"id": number + 1}
        for column in COLUMNS:
            if draw.random() < 0.1:
                row[column] = None
            elif draw.random() < 0.5:
                row[column] = draw.choice(EDGES[column])
            else:
                row[column] = {
                    "b": lambda: draw.choice(["true", "false"]), "i2": lambda: str(draw.randint(-300, 300)), "i4": lambda: str(draw.randint(-9999, 9999)),
                    "i8": lambda: str(draw.getrandbits(40) - (1 << 39)), "n": lambda: f"{draw.uniform(-500, 500):.{draw.randint(0, 6)}f}",
                    "n2": lambda: f"{draw.uniform(-500, 500):.3f}", "t": lambda: "".join(draw.choice("aZé ß'-ç") for _ in range(draw.randint(0, 12))),
                    "v": lambda: "".join(draw.choice("abé1 ") for _ in range(draw.randint(0, 20))), "by": lambda: "\\x" + draw.randbytes(draw.randint(0, 40)).hex(),
                    "d": lambda: f"{draw.randint(1, 9999):04d}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}",
                    "ts": lambda: f"{draw.randint(1, 9999):04d}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d} {draw.randint(0, 23):02d}:05:{draw.uniform(0, 59):09.6f}",
                    "ts3": lambda: f"{draw.randint(1600, 2400)}-02-{draw.randint(1, 28):02d} 11:05:{draw.uniform(0, 59):09.6f}",
                    "tz": lambda: f"{draw.randint(1850, 2100)}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d} {draw.randint(0, 23):02d}:{draw.randint(0, 59):02d}:00+00",
                    "u": lambda: "%08x-0000-4000-8000-%012x" % (draw.getrandbits(32), draw.getrandbits(48)),
                    "jb": lambda: '{"k": [%d, "é"], "z": %s}' % (draw.randint(0, 99), draw.choice(["true", "null", "1e3"]))}[column]()
            if column in RANGED and row[column] and ("BC" in row[column] or row[column].split("-")[0] in ("5874897", "294276")):
                row[column] = None if draw.random() < 0.5 else "2000-01-01 00:00:00+00" if column == "tz" else "2000-01-01"
        rows.append(row)
    return rows


def policy_of(gate, sealed):
    with open(gate.config) as f:
        text = f.read()
    columns = ", ".join(f"{c}: {{class: data{f', sealed: {{search: [{SEARCHES[c]}], accept_leakage: true}}' if c in SEARCHES else ', sealed: {}'}}}"
                        if sealed else f"{c}: {{class: data}}" for c in COLUMNS)
    masks = ", ".join(f"{c}: {m}" for c, m in MASKS.items())
    text = text.replace("tables:\n", f"tables:\n  closed.sample:\n    subject: id\n    space: sample\n    columns: {{id: {{class: key}}, {columns}}}\n", 1)
    return text.replace("\nroles:\n", f"""
roles:
  clear:
    purposes: [judicial-inquiry]
    read: {{closed.sample: {{key: clear, data: clear}}}}
    write: {{closed.sample: {{insert: [id, {', '.join(COLUMNS)}], update: [{', '.join(COLUMNS)}]}}}}
    budgets: [{{subjects: 1000000, per: 1h}}, {{lookups: 10000000, per: 1h}}, {{failures: 10000000, per: 1h}}]
  masked:
    purposes: [judicial-inquiry]
    read: {{closed.sample: {{key: clear, {masks}}}}}
    budgets: [{{subjects: 1000000, per: 1h}}, {{lookups: 10000000, per: 1h}}]
    hours: "Mon-Sun 00:00-24:00 Europe/Paris"
""", 1).replace("  nobody:\n", "")


def make_sample(gate, postgres, sealed):
    gate.write_policy(policy_of(gate, sealed))
    with postgres.owner(gate.database) as c:
        c.execute("CREATE TABLE closed.sample (id int PRIMARY KEY, " + ", ".join(f'"{n}" {t}' for n, t in COLUMNS.items()) + ")")
        for row in values():
            c.execute(f"INSERT INTO closed.sample VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))
    gate.command("keys", "init")


@pytest.fixture(scope="module")
def pair(make_gate, postgres):
    gates = []
    for name, sealed in (("plaintypes", False), ("sealedtypes", True)):
        gate = make_gate(name, accounts={"clear": "clear", "masked": "masked"}, serve=False, prepare=False, only={"nobody"})
        make_sample(gate, postgres, sealed)
        gate.seal() if sealed else gate.apply()
        for role in ("clear", "masked"):
            gate.add_account(role, role)
        gates.append(gate.serve())
    return gates


def test_no_table_is_written_anew_before_the_change(make_gate, postgres):
    """Adding a column must not: it would keep everybody from the table, before there is anything to show for it."""
    gate = make_gate("typesbegin", accounts={"clear": "clear"}, serve=False, prepare=False, only={"nobody"})
    with open(gate.config) as f:
        text = f.read()
    make_sample(gate, postgres, True)
    with postgres.owner(gate.database) as c:  # as earlier versions made it
        c.execute('CREATE SCHEMA ecluse_sealed; CREATE DOMAIN ecluse_sealed."range(1d)" AS bytea CHECK (octet_length(VALUE) = 16)')

    def files():
        return in_database(gate, "SELECT pg_relation_filenode('closed.sample'), (SELECT count(*) FROM pg_attribute WHERE attrelid = 'closed.sample'::regclass "
                                 "AND (starts_with(attname, '__sealed_') OR starts_with(attname, '__clear_')))")[0]

    for options in ((), ("--undo",)):
        (began, _), met = files(), []
        status, _, err = Cut(postgres, BEFORE_THE_CHANGE, lambda: met.append(files())).run(gate, "seal", *options)
        assert status == 0, err
        assert met == [(began, len(COLUMNS))] and files()[0] != began
        gate.write_policy(text)
        gate.write_policy(policy_of(gate, False))
    kinds = dict(in_database(gate, "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'closed.sample'::regclass "
                                   "AND attnum > 0 AND NOT attisdropped"))
    assert len(kinds) == len(COLUMNS) + 1 and kinds["n2"] == "numeric(12,3)" and kinds["v"] == "character varying(20)"


def test_a_sealed_column_takes_envelopes_alone(pair, postgres):
    with postgres.owner(pair[1].database) as c:
        for column in COLUMNS:
            with pytest.raises(psycopg.errors.CheckViolation):
                c.execute(f'UPDATE closed.sample SET "{column}" = \'in clear\'::bytea')


def rows_of(gate, account, settings=(), binary=False, sql="SELECT * FROM closed.sample ORDER BY id"):
    with gate.wire(account) as c:
        for setting in settings:
            assert not c.query(setting).errors
        said = c.extended(sql, result_formats=(1,) if binary else ())
        assert not said.errors, said.errors
        return [(col[0], col[1], col[3] if len(col) > 3 else None) for col in said.results[0].columns], said.results[0].rows


@pytest.mark.parametrize("account", ["clear", "masked"])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("settings", [(), ("SET TimeZone TO 'Europe/Paris'",), ("SET TimeZone TO 'America/New_York'",), ("SET TimeZone TO 'Asia/Kolkata'",),
                                      ("SET DateStyle TO 'SQL, DMY'",), ("SET DateStyle TO 'Postgres, MDY'",), ("SET DateStyle TO 'German'",)])
def test_what_comes_back_is_the_same_to_the_byte(pair, account, binary, settings):
    # Of sealed times other styles than ISO are refused.
    times = [] if "DateStyle" in str(settings) and not binary else ["ts", "ts3", "tz"]
    names = ", ".join(["id"] + [f'"{c}"' for c in COLUMNS if c not in ("ts", "ts3", "tz") or c in times])
    (plain_columns, plain), (columns, sealed) = (rows_of(gate, account, settings, binary, f"SELECT {names} FROM closed.sample ORDER BY id") for gate in pair)
    assert columns == plain_columns
    for one, two in zip(plain, sealed, strict=True):
        for (name, _, _), a, b in zip(columns, one, two):
            assert a == b, (name, a, b)


@pytest.mark.parametrize("column", [c for c in COLUMNS if c in SEARCHES and c not in ("t", "v")])
def test_equality_finds_what_it_found_in_clear(pair, column):
    """But for texts, which are found by their spelling without case, accents and spaces."""
    answers = []
    for gate in pair:
        with gate.wire("clear") as c:
            found = []
            for value in sorted({r[column] for r in values() if r[column]} | set(EDGES[column])):
                for condition in (f'"{column}" = $1', f'"{column}" <> $1', f'"{column}" IN ($1)'):
                    said = c.extended(f"SELECT id FROM closed.sample WHERE {condition} ORDER BY id", [value])
                    assert not said.errors, (value, said.errors)
                    found.append((value, condition, said.results[0].rows))
            answers.append(found)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("column, bounds", [("i2", ["-32768", "-5", "0", "7", "32767"]), ("d", ["0001-01-01", "1999-12-31", "2024-02-29", "infinity", "-infinity"]),
                                            ("ts", ["1970-01-01 00:00:00", "2024-02-29 12:00:00", "infinity"]), ("tz", ["2000-01-01 00:00:00+00", "2024-01-06 00:00:00+00"]),
                                            ("n2", ["0", "-500", "100", "999999900"]), ("i8", ["0", "1000000000000000", "-9000000000000000000"])])
def test_order_finds_what_it_found_in_clear(pair, column, bounds):
    answers = []
    for gate in pair:
        with gate.wire("clear") as c:
            found = []
            for value in bounds:
                for op in (">=", "<") + ((">", "<=") if column in ("i2", "d") else ()):
                    for written in (f'"{column}" {op} $1', f'NOT "{column}" {op} $1'):
                        said = c.extended(f"SELECT id FROM closed.sample WHERE {written} ORDER BY id", [value])
                        assert not said.errors, (value, op, said.errors)
                        found.append((value, written, said.results[0].rows))
            answers.append(found)
    assert answers[0] == answers[1]


def test_what_goes_in_comes_out(pair):
    """Random rows, by text and binary parameters, by COPY and UPDATE; read back from both."""
    names = ", ".join(f'"{c}"' for c in COLUMNS)
    for gate in pair:
        with gate.wire("clear") as c:
            for row in values(seed=23, count=60):
                marks = ", ".join(f"${i + 1}" for i in range(len(row)))
                said = c.extended(f"INSERT INTO closed.sample (id, {names}) VALUES ({marks})", [str(row["id"] + 1000)] + [row[k] for k in COLUMNS])
                assert not said.errors, (row, said.errors)
            for row in values(seed=29, count=30):
                fields = ["\\N" if v is None else str(v).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n") for v in [row["id"] + 2000] + [row[k] for k in COLUMNS]]
                said = c.query(f"COPY closed.sample (id, {names}) FROM STDIN", ["\t".join(fields).encode() + b"\n"])
                assert not said.errors, (row, said.errors)
            for row in values(seed=31, count=30):
                sets = ", ".join(f'"{k}" = ${i + 2}' for i, k in enumerate(COLUMNS))
                said = c.extended(f"UPDATE closed.sample SET {sets} WHERE id = $1", [str(row["id"])] + [row[k] for k in COLUMNS])
                assert said.tag == "UPDATE 1", (row, said.errors)
            binary = c.extended("SELECT * FROM closed.sample WHERE id < 2000 ORDER BY id", result_formats=(1,))
            types = [col[1] for col in binary.results[0].columns]
            for row in binary.results[0].rows:
                number = struct.unpack("!i", row[0])[0]
                if number > 1000:
                    marks = ", ".join(f"${i + 1}" for i in range(len(row)))
                    said = c.extended(f"INSERT INTO closed.sample (id, {names}) VALUES ({marks})", [struct.pack("!i", number + 3000), *row[1:]],
                                      types=types, param_formats=(1,))
                    assert not said.errors, (number, said.errors)
    plain, sealed = (rows_of(gate, "clear") for gate in pair)
    assert len(plain[1]) > 290 and plain == sealed
