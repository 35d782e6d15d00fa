"""Sealed columns: sealed in a register in use, found, shown, written, and never in clear in the database."""
import pytest


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


ACCOUNTS = {"registrar": "registrar", "seeker": "seeker", "prober": "prober", "counter": "counter"}


@pytest.fixture(scope="module")
def sealed(make_gate):
    return make_gate("sealed", accounts=ACCOUNTS, roles=ROLES, sealed=True)


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


def person(register, i=0):
    return register["taj.person"][i]


def ids(rows):
    return sorted(r[0] for r in rows)


def by(register, **wanted):
    return sorted(p["person_id"] for p in register["taj.person"] if all(p[k] == v for k, v in wanted.items()))


# --- comparisons: every form finds what it found in clear ---

def forms(value):
    text = value if isinstance(value, str) else str(value)
    return [("= '{}'".format(text), ()), ("= %s", (value,)), ("IN ('{}')".format(text), ()), ("IN (%s, %s)", (value, value)),
            ("= ANY(%s)", ([value],)), ("= ANY(ARRAY['{}'])".format(text), ()), ("= ANY('{{{}}}')".format(text), ()),
            ("IS NOT DISTINCT FROM '{}'".format(text), ()), ("OPERATOR(pg_catalog.=) '{}'".format(text), ())]


@pytest.mark.parametrize("column", ["nir", "family_name", "birth_date", "risk", "phone"])
@pytest.mark.parametrize("number", range(9))
def test_a_value_is_found_in_every_form(sealed, clear, register_a, column, number):
    p = next(p for p in register_a["taj.person"] if p[column] is not None)
    condition, values = forms(p[column])[number]
    rows = clear.execute(f"SELECT person_id FROM taj.person WHERE {column} {condition}", values or None).fetchall()
    assert ids(rows) == by(register_a, **{column: p[column]})


@pytest.mark.parametrize("column, cast", [("nir", "text"), ("nir", "varchar"), ("birth_date", "date"), ("risk", "int4"), ("risk", "int8"),
                                          ("family_name", "pg_catalog.text"), ("family_name", "character varying")])
def test_constants_and_parameters_may_be_cast_to_the_columns_type(sealed, clear, register_a, column, cast):
    p = person(register_a, 5)
    wanted = by(register_a, **{column: p[column]})
    for written in (f"'{p[column]}'::{cast}", f"CAST('{p[column]}' AS {cast})", f"('{p[column]}')::{cast}", f"(('{p[column]}'::{cast}))"):
        assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE {column} = {written}").fetchall()) == wanted, written
        assert ids(clear.execute(f"SELECT person_id FROM taj.person AS p WHERE {written} = p.{column} AND true").fetchall()) == wanted
    assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE {column} = %s::{cast}", (p[column],)).fetchall()) == wanted
    assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE {column} = ANY(%s::{cast}[])", ([p[column]],)).fetchall()) == wanted
    assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE {column} = ANY(ARRAY['{p[column]}']::{cast}[])").fetchall()) == wanted


def test_date_literals_and_negative_numbers(sealed, clear, register_a):
    p = person(register_a, 7)
    assert p["person_id"] in ids(clear.execute(f"SELECT person_id FROM taj.person WHERE birth_date = date '{p['birth_date']}'").fetchall())
    assert clear.execute("SELECT person_id FROM taj.person WHERE risk = -5").fetchall() == []
    assert clear.execute("SELECT person_id FROM taj.person WHERE risk IN (-5, -6)").fetchall() == []


def test_text_is_found_without_case_and_accents(sealed, clear, register_a):
    wanted = by(register_a, family_name="Lefebvre")
    for text in ("lefebvre", "LEFEBVRE", "Léfebvrè", "  Lefebvre "):
        assert ids(clear.execute("SELECT person_id FROM taj.person WHERE family_name = %s", (text,)).fetchall()) == wanted
        assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE upper(family_name) = upper('{text}')").fetchall()) == wanted
        assert ids(clear.execute("SELECT person_id FROM taj.person WHERE lower(family_name) = lower(%s)", (text,)).fetchall()) == wanted


def test_sounds(sealed, clear, register_a):
    wanted = sorted(by(register_a, family_name="Lefebvre") + by(register_a, family_name="Lefevre"))
    assert len(wanted) > len(by(register_a, family_name="Lefevre"))
    for text in ("Lefèvre", "LEFEBVRE"):
        assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE ecluse_sounds_like(family_name, '{text}')").fetchall()) == wanted
        assert ids(clear.execute("SELECT person_id FROM taj.person p WHERE ecluse_sounds_like(p.family_name, %s)", (text,)).fetchall()) == wanted
        assert clear.execute("SELECT person_id, ecluse_sounds_like(family_name, %s) AS s FROM taj.person WHERE person_id = %s",
                             (text, wanted[0])).fetchall() == [(wanted[0], True)]


@pytest.mark.parametrize("prefix", ["M", "Ma", "mar", "MART", "Le"])
def test_beginnings(sealed, clear, register_a, prefix):
    wanted = sorted(p["person_id"] for p in register_a["taj.person"] if p["family_name"].lower().startswith(prefix.lower()))
    assert wanted
    assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE family_name LIKE '{prefix}%'").fetchall()) == wanted
    assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE family_name ILIKE '{prefix}%' AND true").fetchall()) == wanted
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE family_name LIKE %s", (prefix + "%",)).fetchall()) == wanted
    others = sorted(set(register_a.people) - set(wanted))  # Roy too, which has fewer letters than some
    for condition, values in (("NOT family_name LIKE %s", (prefix + "%",)), ("family_name NOT LIKE %s", (prefix + "%",)), (f"NOT (family_name LIKE '{prefix}%')", None),
                              (f"family_name NOT ILIKE '{prefix}%'", None), ("(family_name LIKE %s) IS FALSE", (prefix + "%",))):
        assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE ({condition}) AND person_id < 800000", values).fetchall()) == others, condition
    assert clear.execute("SELECT family_name LIKE %s FROM taj.person WHERE person_id = 1001", (prefix + "%",)).fetchone() == (1001 in wanted,)


@pytest.mark.parametrize("low, high", [("1960-02-29", "1960-03-01"), ("1940-01-01", "2006-01-01"), ("1970-05-05", "1970-05-05"), ("1990-01-01", "1980-01-01"),
                                       ("0001-01-01", "9999-12-31"), ("-infinity", "1950-01-01"), ("2000-01-01", "infinity")])
def test_between_bounds(sealed, clear, register_a, low, high):
    def day(text):
        import datetime
        return datetime.date.min if text == "-infinity" else datetime.date.max if text == "infinity" else datetime.date.fromisoformat(text)
    tests = {"birth_date >= {0} AND birth_date < {1}": lambda d: day(low) <= d < day(high), "birth_date BETWEEN {0} AND {1}": lambda d: day(low) <= d <= day(high),
             "birth_date > {0} AND {1} >= birth_date": lambda d: day(low) < d <= day(high), "birth_date NOT BETWEEN {0} AND {1}": lambda d: not day(low) <= d <= day(high),
             "NOT ({0} <= birth_date)": lambda d: d < day(low), "birth_date <= {1} OR birth_date < {0}": lambda d: d <= day(high) or d < day(low)}
    for condition, holds in tests.items():
        wanted = sorted(p["person_id"] for p in register_a["taj.person"] if holds(p["birth_date"]))
        query = f"SELECT person_id FROM taj.person WHERE ({condition}) AND person_id < 800000"
        assert ids(clear.execute(query.format(f"'{low}'", f"'{high}'::date")).fetchall()) == wanted, condition
        values = [v for _, v in sorted((condition.index(mark), v) for mark, v in (("{0}", low), ("{1}", high)) if mark in condition)]
        assert ids(clear.execute(query.format("%s", "%s"), values).fetchall()) == wanted, condition


def test_bounds_on_steps(sealed, clear, register_a):
    def tall(holds):
        return sorted(p["person_id"] for p in register_a["taj.person"] if p["height"] is not None and holds(p["height"]))
    for condition, holds in {"height >= 170": lambda h: h >= 170, "height < 170": lambda h: h < 170, "height <= 169": lambda h: h <= 169,
                             "NOT height >= 160": lambda h: h < 160, "height BETWEEN 150 AND 169": lambda h: 150 <= h <= 169,
                             "height > -32768": lambda h: True, "height <= 32767": lambda h: True, "height >= 40000": lambda h: False}.items():
        if "32768" in condition or "32767" in condition:
            continue  # not on a step of 10
        assert ids(clear.execute(f"SELECT person_id FROM taj.person WHERE {condition} AND person_id < 800000").fetchall()) == tall(holds), condition
    for value in (None,):
        assert clear.execute("SELECT person_id FROM taj.person WHERE height >= %s", (value,)).fetchall() == []
        assert clear.execute("SELECT person_id FROM taj.person WHERE NOT height < %s", (value,)).fetchall() == []
    with sealed.wire("registrar") as w:
        assert w.extended("SELECT person_id FROM taj.person WHERE height BETWEEN $1 AND $2", [None, "169"]).errors[0]["C"] == "0A000"
        assert w.extended("SELECT person_id FROM taj.person WHERE height > $1", ["165"]).errors[0]["C"] == "0A000"
        said = w.query(f"INSERT INTO taj.person (person_id, {NAMES}) VALUES ({next(NEXT)}, {VALUES.format('year')})".replace("1999-12-31", "20000-01-01"))
        assert said.errors[0]["C"] == "22008"


def test_a_like_without_a_wildcard_is_equality(sealed, clear, register_a):
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE family_name LIKE 'Martin'").fetchall()) == by(register_a, family_name="Martin")
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE family_name LIKE %s", ("Martin",)).fetchall()) == by(register_a, family_name="Martin")


def test_null_is_not_sealed_and_compares_as_it_always_does(sealed, clear, register_a):
    without = by(register_a, phone=None)
    others = sorted(set(register_a.people) - set(without))
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE phone IS NULL").fetchall()) == without
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE phone IS NOT NULL").fetchall()) == others
    for condition, values in [("phone = NULL", None), ("phone = %s", (None,)), ("phone <> NULL", None), ("phone IN (NULL)", None),
                              ("phone = ANY(%s)", (None,)), ("phone NOT IN ('x', NULL)", None), ("NOT (phone = ANY('{x,NULL}'))", None)]:
        assert clear.execute(f"SELECT person_id FROM taj.person WHERE {condition}", values).fetchall() == [], condition
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE phone <> 'nobody'").fetchall()) == others
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE phone IS DISTINCT FROM 'nobody'").fetchall()) == register_a.people
    assert clear.execute("SELECT count(phone), count(*) FROM taj.person").fetchall() == [(len(others), len(register_a.people))]


def test_limits_counts_and_conditions_beside_it(sealed, clear, register_a):
    name = "Martin"
    wanted = by(register_a, family_name=name)
    assert clear.execute("SELECT count(*) FROM taj.person WHERE family_name = %s", (name,)).fetchone() == (len(wanted),)
    got = clear.execute("SELECT person_id FROM taj.person WHERE family_name = %s ORDER BY person_id LIMIT 2 OFFSET 1", (name,)).fetchall()
    assert [g[0] for g in got] == wanted[1:3]
    got = clear.execute("SELECT person_id FROM taj.person WHERE family_name = %s OR nir = %s ORDER BY 1", (name, person(register_a)["nir"])).fetchall()
    assert ids(got) == sorted(set(wanted) | {person(register_a)["person_id"]})
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE family_name <> %s", (name,)).fetchall()) == sorted(set(register_a.people) - set(wanted))
    assert ids(clear.execute("SELECT person_id FROM taj.person WHERE NOT family_name = %s", (name,)).fetchall()) == sorted(set(register_a.people) - set(wanted))


def test_joins_sub_selects_and_grouping_by_the_person(sealed, clear, register_a):
    streets = {a["owner_id"]: a["street"] for a in register_a["sia.address"]}
    rows = clear.execute("SELECT p.person_id, p.family_name, a.street FROM taj.person p LEFT JOIN sia.address a ON a.owner_id = p.person_id "
                         "ORDER BY 1").fetchall()
    assert rows == [(p["person_id"], p["family_name"], streets.get(p["person_id"])) for p in register_a["taj.person"]]
    rows = clear.execute("SELECT x.n, x.person_id FROM (SELECT person_id, nir AS n FROM taj.person WHERE family_name = 'Martin') x ORDER BY 2").fetchall()
    assert rows == [(p["nir"], p["person_id"]) for p in register_a["taj.person"] if p["family_name"] == "Martin"]
    rows = clear.execute("WITH x AS (SELECT * FROM taj.person) SELECT given_name, person_id FROM x WHERE person_id < 1100 ORDER BY 2").fetchall()
    assert rows == [(p["given_name"], p["person_id"]) for p in register_a["taj.person"] if p["person_id"] < 1100]
    rows = clear.execute("SELECT p.person_id, p.family_name, count(a.address_id) FROM taj.person p JOIN sia.address a ON a.owner_id = p.person_id "
                         "GROUP BY p.person_id ORDER BY 1").fetchall()
    assert rows and all(r[1] == next(p["family_name"] for p in register_a["taj.person"] if p["person_id"] == r[0]) for r in rows)
    same = clear.execute("SELECT a.person_id, b.person_id FROM taj.person a JOIN taj.person b ON a.family_name = b.family_name "
                         "WHERE a.person_id = 1001 ORDER BY 2").fetchall()
    assert [b for _, b in same] == by(register_a, family_name=person(register_a)["family_name"])


def test_declared_types_in_text_and_binary(sealed, wire, register_a):
    p = person(register_a)
    sql = "SELECT nir, birth_date, risk, height, photo FROM taj.person WHERE person_id = 1001"
    text = wire.extended(sql)
    binary = wire.extended(sql, result_formats=(1,))
    assert text.rows()[0] if callable(getattr(text, "rows", None)) else True
    assert [c[1] for c in text.results[0].columns] == [c[1] for c in binary.results[0].columns] == [25, 1082, 23, 21, 17]
    row = binary.results[0].rows[0]
    assert row[0] == p["nir"].encode() and int.from_bytes(row[2], "big", signed=True) == p["risk"] and row[4] == p["photo"]
    assert text.results[0].rows[0][1].decode() == p["birth_date"].isoformat()
    assert text.results[0].rows[0][4] == b"\\x" + p["photo"].hex().encode()
    mixed = wire.extended(sql, result_formats=(0, 0, 1, 0, 1))
    assert mixed.results[0].rows[0][0] == p["nir"].encode() and mixed.results[0].rows[0][4] == p["photo"]


def test_dates_in_the_style_of_the_session(sealed, clear, register_a):
    p = person(register_a)
    clear.execute("SET DateStyle TO 'German'")
    with clear.cursor() as c:
        c.execute("SELECT birth_date::text FROM (SELECT '2000-01-02'::date AS birth_date) x")
        assert c.fetchone() == ("02.01.2000",)
    said = sealed.wire("registrar")
    said.query("SET DateStyle TO 'SQL, DMY'")
    told = said.query("SELECT birth_date FROM taj.person WHERE person_id = 1001").results[0].rows[0][0].decode()
    assert told == p["birth_date"].strftime("%d/%m/%Y")
    said.close()


# --- what cannot be answered by tokens is refused in words ---

@pytest.mark.parametrize("sql", [
    "SELECT nir || 'x' FROM taj.person", "SELECT upper(nir) FROM taj.person", "SELECT length(nir) FROM taj.person",
    "SELECT person_id FROM taj.person WHERE nir < 'x'", "SELECT person_id FROM taj.person WHERE risk BETWEEN 1 AND 5",
    "SELECT person_id FROM taj.person WHERE height > 165", "SELECT person_id FROM taj.person WHERE height BETWEEN 160 AND 165",
    "SELECT person_id FROM taj.person WHERE birth_date > birth_date", "SELECT person_id FROM taj.person WHERE birth_date > now()",
    "SELECT person_id FROM taj.person WHERE birth_date > '2000-01-01'::timestamp", "SELECT person_id FROM taj.person WHERE height = 160",
    "SELECT person_id FROM taj.person WHERE birth_date BETWEEN SYMMETRIC '2000-01-01' AND '1990-01-01'",
    "SELECT person_id FROM taj.person ORDER BY nir", "SELECT nir FROM taj.person ORDER BY 1", "SELECT nir AS n FROM taj.person ORDER BY n",
    "SELECT DISTINCT nir FROM taj.person", "SELECT DISTINCT ON (nir) person_id FROM taj.person", "SELECT nir, count(*) FROM taj.person GROUP BY nir",
    "SELECT count(*) FROM taj.person GROUP BY family_name", "SELECT min(nir) FROM taj.person", "SELECT count(DISTINCT nir) FROM taj.person",
    "SELECT array_agg(nir) FROM taj.person", "SELECT string_agg(family_name, ',') FROM taj.person",
    "SELECT nir FROM taj.person UNION ALL SELECT 'x'", "SELECT nir FROM taj.person UNION SELECT nir FROM taj.person",
    "SELECT (SELECT nir FROM taj.person q WHERE q.person_id = p.person_id) FROM taj.person p",
    "SELECT person_id FROM taj.person WHERE nir IN (SELECT nir FROM taj.person)", "SELECT person_id FROM taj.person WHERE nir = given_name",
    "SELECT person_id FROM taj.person WHERE nir = family_name", "SELECT person_id FROM taj.person WHERE nir = person_id::text",
    "SELECT person_id FROM taj.person WHERE nir = lower('A') || 'b'", "SELECT person_id FROM taj.person WHERE nir LIKE '1%'",
    "SELECT person_id FROM taj.person WHERE family_name LIKE '%tin'", "SELECT person_id FROM taj.person WHERE family_name LIKE 'Martin%'",
    "SELECT person_id FROM taj.person WHERE family_name LIKE 'M_r%'", 
    "SELECT person_id FROM taj.person WHERE family_name ~ 'Mar'", "SELECT person_id FROM taj.person WHERE given_name = 'Adele'",
    "SELECT person_id FROM taj.person WHERE note = 'x'", "SELECT person_id FROM taj.person WHERE ecluse_sounds_like(nir, 'x')",
    "SELECT person_id FROM taj.person WHERE (nir, person_id) = ('x', 1)", "SELECT person_id FROM taj.person WHERE nir <> ALL('{a}')",
    "SELECT person_id FROM taj.person a JOIN taj.person b USING (nir)", "SELECT coalesce(phone, 'x') FROM taj.person",
    "SELECT CASE WHEN nir = 'a' THEN 1 END, nir::varchar FROM taj.person", "SELECT p FROM taj.person p", "SELECT row_to_json(p) FROM taj.person p",
    "SELECT x.nir FROM (SELECT nir FROM taj.person) x WHERE x.nir = 'a'", "SELECT person_id FROM taj.person WHERE risk = 1.5",
    "SELECT person_id FROM taj.person WHERE risk = 'x'::text", "SELECT \"__bidx_nir\" FROM taj.person", "SELECT person_id FROM taj.person WHERE \"__bidx_nir\" IS NULL",
    "SELECT row_number() OVER (PARTITION BY family_name) FROM taj.person", "SELECT rank() OVER (ORDER BY nir) FROM taj.person",
    "SELECT nullif(nir, 'x') FROM taj.person", "SELECT greatest(nir, 'x') FROM taj.person", "SELECT nir IS NULL OR nir > 'a' FROM taj.person",
])
def test_what_tokens_cannot_answer_is_refused(sealed, wire, sql):
    for said in (wire.query(sql), wire.extended(sql)):
        assert said.errors and said.errors[0]["C"] in ("0A000", "42501", "42703", "22P02"), (sql, said.errors, said.results and said.results[0].rows[:2])
        assert not said.results or not said.results[0].rows


def test_parameters_of_two_minds_are_refused(sealed, wire):
    for sql in ("SELECT person_id FROM taj.person WHERE nir = $1 OR birth_place = $1", "SELECT person_id FROM taj.person WHERE nir = $1 AND birth_date = $1"):
        said = wire.extended(sql, ["2000-01-01"])
        assert said.errors[0]["C"] == "0A000" and "parameter $1" in said.errors[0]["M"]
    said = wire.extended("SELECT person_id FROM taj.person WHERE nir = $1", ["1", "2"])
    assert said.errors[0]["C"] == "08P01"
    said = wire.extended("SELECT person_id FROM taj.person WHERE risk = $1", ["many"])
    assert said.errors[0]["C"] == "22P02" and "many" not in str(said.errors)
    said = wire.extended("SELECT person_id FROM taj.person WHERE family_name LIKE $1", ["%tin"])
    assert said.errors[0]["C"] == "0A000"


def test_a_client_is_told_the_declared_types_of_its_parameters(sealed, wire):
    from harness import wire as w
    wire.send(w.parse("SELECT person_id FROM taj.person WHERE nir = $2 AND person_id = $1 AND birth_date = ANY($3)"), w.describe("S"), w.SYNC)
    kinds, types = "", None
    while True:
        kind, payload = wire.receive()
        kinds += kind
        if kind == "t":
            import struct
            types = struct.unpack_from("!%di" % struct.unpack_from("!h", payload)[0], payload, 2)
        if kind == "Z":
            break
    assert types == (23, 25, 1182), (kinds, types)


# --- writes ---

NEXT = iter(range(900000, 990000))


def stored(gate, sql, *values):
    with gate.postgres.admin(gate.database) as c:
        return c.execute(sql, values).fetchall()


def shown(c, who, columns="nir, family_name, given_name, birth_date, risk, note, phone, height, photo"):
    return c.execute(f"SELECT {columns} FROM taj.person WHERE person_id = %s", (who,)).fetchone()


VALUES = "'{}', 'Ö''Brien', 'Zoé', '1999-12-31', 'Lyon', 'F', 7, NULL, '0612', 180, '\\x00ff'"
NAMES = "nir, family_name, given_name, birth_date, birth_place, sex, risk, note, phone, height, photo"


def expected(nir):
    import datetime
    return (nir, "Ö'Brien", "Zoé", datetime.date(1999, 12, 31), 7, None, "0612", 180, b"\x00\xff")


def test_insert_of_constants(sealed, clear):
    a, b = next(NEXT), next(NEXT)
    done = clear.execute(f"INSERT INTO taj.person (person_id, {NAMES}) VALUES ({a}, {VALUES.format(f'n{a}')}), ({b}, {VALUES.format(f'n{b}')})")
    assert done.rowcount == 2
    for who in (a, b):
        assert shown(clear, who) == expected(f"n{who}")
        assert clear.execute("SELECT person_id FROM taj.person WHERE nir = %s", (f"N{who}",)).fetchall() == [(who,)]
        assert who in ids(clear.execute("SELECT person_id FROM taj.person WHERE family_name LIKE 'obr%'").fetchall() +
                          clear.execute("SELECT person_id FROM taj.person WHERE family_name LIKE 'o''br%'").fetchall())


@pytest.mark.parametrize("binary", [False, True])
def test_insert_of_parameters(sealed, clear, binary):
    import datetime
    who = next(NEXT)
    mark = "%b" if binary else "%t"
    sql = f"INSERT INTO taj.person (person_id, {NAMES}) VALUES (" + ", ".join([mark] * 12) + ") RETURNING person_id, nir, birth_date, photo"
    day = datetime.date(1999, 12, 31)
    got = clear.execute(sql, (who, f"n{who}", "Ö'Brien", "Zoé", day, "Lyon", "F", 7, None, "0612", 180, b"\x00\xff")).fetchone()
    assert got == (who, f"n{who}", day, b"\x00\xff")
    assert shown(clear, who) == expected(f"n{who}")


def test_insert_without_a_column_list_and_with_defaults(sealed, clear):
    who = next(NEXT)
    order = [r[0] for r in stored(sealed, "SELECT attname::text FROM pg_attribute WHERE attrelid = 'taj.person'::regclass AND attnum > 0 "
                                          "AND NOT attisdropped AND attname !~ '^__' ORDER BY attnum")]
    assert order[:6] == ["person_id", "nir", "family_name", "given_name", "birth_date", "birth_place"]  # as before they were sealed
    clear.execute(f"INSERT INTO taj.person VALUES ({who}, 'n{who}', 'A', 'B', '2000-01-01', 'Lyon', 'M', 3)")
    assert shown(clear, who)[:2] == (f"n{who}", "A")
    other = next(NEXT)
    clear.execute(f"INSERT INTO taj.person (person_id, {NAMES}) VALUES ({other}, 'n{other}', 'A', 'B', '2000-01-01', 'Lyon', 'M', 3, DEFAULT, NULL, DEFAULT, NULL)")
    assert shown(clear, other)[5:] == (None, None, None, None)


def test_insert_select_of_constants(sealed, clear):
    who = next(NEXT)
    clear.execute(f"INSERT INTO taj.person (person_id, {NAMES}) SELECT {who}, {VALUES.format(f'n{who}')}")
    assert shown(clear, who) == expected(f"n{who}")
    other = next(NEXT)
    clear.execute("INSERT INTO taj.person (person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk) "
                  "SELECT %s, %s, 'A', 'B', '2000-01-01', 'Lyon', 'M', 1", (other, f"n{other}"))
    assert shown(clear, other)[0] == f"n{other}"


def test_update(sealed, clear):
    import datetime
    who = next(NEXT)
    clear.execute(f"INSERT INTO taj.person (person_id, {NAMES}) VALUES ({who}, {VALUES.format(f'n{who}')})")
    clear.execute("UPDATE taj.person SET family_name = 'Lefèvre', birth_date = %s, sex = 'M', phone = NULL, risk = 8 WHERE person_id = %s",
                  (datetime.date(1980, 2, 29), who))
    assert shown(clear, who)[1:5] == ("Lefèvre", "Zoé", datetime.date(1980, 2, 29), 8) and shown(clear, who)[6] is None
    assert who in ids(clear.execute("SELECT person_id FROM taj.person WHERE ecluse_sounds_like(family_name, 'lefebvre')").fetchall())
    assert who not in ids(clear.execute("SELECT person_id FROM taj.person WHERE family_name = %s", ("Ö'Brien",)).fetchall())
    assert clear.execute("SELECT person_id FROM taj.person WHERE phone = '0612' AND person_id = %s", (who,)).fetchall() == []
    got = clear.execute("UPDATE taj.person AS p SET nir = %s WHERE p.person_id = %s AND family_name = 'LEFEVRE' RETURNING nir, p.given_name",
                        (f"m{who}", who)).fetchall()
    assert got == [(f"m{who}", "Zoé")]


def test_on_conflict(sealed, clear):
    who = next(NEXT)
    row = f"INSERT INTO taj.person (person_id, {NAMES}) VALUES ({who}, {VALUES.format(f'n{who}')})"
    clear.execute(row)
    assert clear.execute(row + " ON CONFLICT DO NOTHING").rowcount == 0
    assert clear.execute(row + " ON CONFLICT (nir) DO NOTHING").rowcount == 0
    clear.execute(row.replace("Zoé", "Ève") + " ON CONFLICT (person_id) DO UPDATE SET given_name = excluded.given_name, nir = excluded.nir")
    assert shown(clear, who, "given_name") == ("Ève",)
    clear.execute(row + " ON CONFLICT (person_id) DO UPDATE SET given_name = 'Lé', family_name = %s", ("Noël",))
    assert shown(clear, who, "given_name, family_name") == ("Lé", "Noël")
    assert who in ids(clear.execute("SELECT person_id FROM taj.person WHERE family_name = 'noel'").fetchall())
    # Whose row it is that is there is not known: the value would be sealed for somebody else.
    with sealed.wire("registrar") as w:
        said = w.query(row + " ON CONFLICT (nir) DO UPDATE SET given_name = excluded.given_name")
        assert said.errors[0]["C"] == "0A000"


def test_a_value_that_is_taken_is_refused_as_before(sealed, clear, register_a):
    with sealed.wire("registrar") as w:
        taken = person(register_a)["nir"]
        said = w.query(f"INSERT INTO taj.person (person_id, {NAMES}) VALUES ({next(NEXT)}, {VALUES.format(taken)})")
        assert said.errors[0]["C"] == "23505" and taken not in str(said.errors)


@pytest.mark.parametrize("sql", [
    "INSERT INTO taj.person (nir, family_name) VALUES ('x', 'y')",
    "INSERT INTO taj.person (person_id, nir) VALUES (1 + 1, 'x')",
    "INSERT INTO taj.person (person_id, nir) VALUES (5, 'x' || 'SECRETVALUE')",
    "INSERT INTO taj.person (person_id, nir) VALUES (5, upper('SECRETVALUE'))",
    "INSERT INTO taj.person (person_id, nir) VALUES (5, (SELECT 'SECRETVALUE'))",
    "INSERT INTO taj.person (person_id, risk) VALUES (5, 1.5)",
    "INSERT INTO taj.person (person_id, nir) VALUES (5, 'SECRETVALUE'::varchar(3))",
    "INSERT INTO taj.person (person_id, nir) SELECT i, 'SECRETVALUE' FROM generate_series(1, 3) i",
    "INSERT INTO taj.person (person_id, nir) SELECT 5, 'SECRETVALUE' UNION ALL SELECT 6, 'y'",
    "INSERT INTO taj.person (person_id, nir) SELECT 5, 'SECRETVALUE' WHERE true",
    "UPDATE taj.person SET nir = 'SECRETVALUE'", "UPDATE taj.person SET nir = 'SECRETVALUE' WHERE person_id IN (1001, 1004)",
    "UPDATE taj.person SET nir = 'SECRETVALUE' WHERE person_id = 1001 OR person_id = 1004",
    "UPDATE taj.person SET nir = 'SECRETVALUE' WHERE nir = 'y'", "UPDATE taj.person SET nir = given_name WHERE person_id = 1001",
    "UPDATE taj.person SET nir = nir || 'SECRETVALUE' WHERE person_id = 1001", "UPDATE taj.person SET (nir, sex) = ('SECRETVALUE', 'M') WHERE person_id = 1001",
    "UPDATE taj.person SET (nir, sex) = (SELECT 'SECRETVALUE', 'M') WHERE person_id = 1001",
    "UPDATE taj.person SET risk = risk + 1 WHERE person_id = 1001", "UPDATE taj.person SET nir = CASE WHEN true THEN 'SECRETVALUE' END WHERE person_id = 1001",
    "UPDATE taj.person SET \"__bidx_nir\" = NULL WHERE person_id = 1001", "INSERT INTO taj.person (person_id, \"__bidx_nir\") VALUES (5, NULL)",
    "INSERT INTO taj.person (person_id, nir) VALUES (5, 'SECRETVALUE') ON CONFLICT (person_id) DO UPDATE SET nir = excluded.given_name",
    "INSERT INTO taj.person (person_id, nir) VALUES (5, 'a'), (6, 'b') ON CONFLICT (person_id) DO UPDATE SET nir = 'SECRETVALUE'",
    "INSERT INTO taj.person (person_id, nir) VALUES (5, 'a') ON CONFLICT (person_id) DO UPDATE SET nir = 'SECRETVALUE' || 'x'",
    "INSERT INTO taj.person (person_id, nir) VALUES (5, 'a') ON CONFLICT (person_id) DO UPDATE SET sex = 'M' WHERE excluded.nir = 'SECRETVALUE'",
])
def test_what_cannot_be_sealed_for_certain_is_refused(sealed, wire, sql):
    before = stored(sealed, "SELECT count(*), max(xmin::text::bigint) FROM taj.person")
    for said in (wire.query(sql), wire.extended(sql)):
        assert said.errors and said.errors[0]["C"] in ("0A000", "42501", "22P02", "42703"), (sql, said.errors)
    assert stored(sealed, "SELECT count(*), max(xmin::text::bigint) FROM taj.person") == before


def test_prepared_statements_cursors_and_copy(sealed, clear, register_a):
    p = person(register_a, 3)
    clear.execute("PREPARE find (text) AS SELECT person_id, given_name FROM taj.person WHERE nir = $1")
    assert clear.execute(f"EXECUTE find ('{p['nir']}')").fetchall() == [(p["person_id"], p["given_name"])]
    who = next(NEXT)
    clear.execute("PREPARE make (int, text) AS INSERT INTO taj.person (person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk) "
                  "VALUES ($1, $2, 'A', 'B', '2000-01-01', 'Lyon', 'M', 1)")
    clear.execute(f"EXECUTE make ({who}, 'n{who}')")
    assert shown(clear, who)[0] == f"n{who}"
    with clear.transaction():
        clear.execute(f"DECLARE c CURSOR FOR SELECT person_id, nir FROM taj.person WHERE family_name = '{p['family_name']}' ORDER BY person_id")
        wanted = [(q["person_id"], q["nir"]) for q in register_a["taj.person"] if q["family_name"] == p["family_name"]]
        assert clear.execute("FETCH 2 FROM c").fetchall() == wanted[:2]
        assert clear.execute("FETCH ALL FROM c").fetchall() == wanted[2:]
    with clear.cursor() as c, c.copy("COPY (SELECT person_id, nir, photo FROM taj.person WHERE person_id = 1001) TO STDOUT") as copy:
        text = b"".join(bytes(part) for part in copy)
    q = person(register_a)
    assert text == f"1001\t{q['nir']}\t\\\\x{q['photo'].hex()}\n".encode()


def test_copy_in(sealed, clear):
    import datetime
    first = [next(NEXT) for _ in range(1500)]
    with clear.cursor() as c, c.copy("COPY taj.person (person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk, note) FROM STDIN") as copy:
        for who in first:
            copy.write_row((who, f"c{who}", "Crochet", "Ann", datetime.date(1970, 1, 1), "Lyon", "F", 4, None if who % 2 else "tab\there"))
    assert len(clear.execute("SELECT person_id FROM taj.person WHERE family_name = 'crochet'").fetchall()) == 1500
    for who in (first[0], first[-1], first[700]):
        assert shown(clear, who)[:6] == (f"c{who}", "Crochet", "Ann", datetime.date(1970, 1, 1), 4, None if who % 2 else "tab\there")
    with sealed.wire("registrar") as w:
        assert w.query("COPY taj.person (nir, family_name) FROM STDIN", [b"a\tb\n"]).errors[0]["C"] == "0A000"
        assert w.query("COPY taj.person (person_id, nir) FROM STDIN", [b"\\N\tb\n"]).errors[0]["C"] == "23502"
        assert w.query("COPY taj.person (person_id, risk) FROM STDIN", [b"7\tmany\n"]).errors[0]["C"] == "22P02"


# --- who may search, and who sees what ---

def test_a_search_without_reading(sealed, register_a):
    p = person(register_a, 9)
    with sealed.psycopg("seeker") as c:
        rows = c.execute("SELECT person_id, nir, family_name, given_name FROM taj.person WHERE nir = %s", (p["nir"],)).fetchall()
        assert rows == [(p["person_id"], p["nir"][-4:], None, p["given_name"])]
        assert ids(c.execute("SELECT person_id FROM taj.person WHERE family_name = %s AND person_id < 900000", (p["family_name"],)).fetchall()) == \
            by(register_a, family_name=p["family_name"])
    with sealed.psycopg("prober") as c:
        rows = c.execute("SELECT nir, given_name, birth_date, risk, note FROM taj.person WHERE person_id = %s", (p["person_id"],)).fetchone()
        assert rows == (p["nir"][-4:], p["given_name"][0], p["birth_date"].replace(month=1, day=1), p["risk"] // 10 * 10, "redacted" if True else None)
    with sealed.wire("prober") as w:
        for sql in (f"SELECT person_id FROM taj.person WHERE nir = '{p['nir']}'", "SELECT person_id FROM taj.person WHERE birth_date = '2000-01-01'"):
            assert w.query(sql).errors[0]["C"] == "42501"


# --- never in clear, never a wrong value ---

def test_no_clear_value_reaches_postgresql(make_gate, postgres):
    """With everything logged that PostgreSQL can log: statements, parameters, plans."""
    import glob
    import os
    gate = make_gate("unseen", accounts=ACCOUNTS, roles=ROLES, sealed=True, serve=False)
    with postgres.admin("postgres") as c:
        for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_parameter_max_length_on_error = -1",
                        "log_min_error_statement = 'notice'", "log_parser_stats = off", "debug_print_parse = on"):
            c.execute(f"ALTER DATABASE unseen SET {setting}")
    gate.serve()
    words = [f"GEHEIM{i:04d}" for i in range(40)]
    word = iter(words)

    def new():
        return next(word)

    with gate.wire("registrar") as w:
        who = 800001
        fill = "'A', 'B', '2000-01-01', 'Lyon', 'M', 1"
        columns = "person_id, nir, family_name, given_name, birth_date, birth_place, sex, risk"
        assert not w.query(f"INSERT INTO taj.person ({columns}) VALUES ({who}, '{new()}', {fill})").errors
        assert not w.extended(f"INSERT INTO taj.person ({columns}) VALUES ($1, $2, {fill})", [str(who + 1), new()]).errors
        assert not w.extended(f"INSERT INTO taj.person ({columns}) VALUES ($1, $2, {fill})", [(who + 2).to_bytes(4, "big"), new().encode()],
                              types=(23, 25), param_formats=(1,)).errors
        assert not w.query(f"INSERT INTO taj.person ({columns}) SELECT {who + 3}, '{new()}', {fill}").errors
        assert not w.query(f"UPDATE taj.person SET given_name = '{new()}', note = '{new()}' WHERE person_id = {who}").errors
        assert not w.query(f"INSERT INTO taj.person ({columns}) VALUES ({who}, '{new()}', {fill}) ON CONFLICT (person_id) DO UPDATE SET nir = excluded.nir, phone = '{new()}'").errors
        assert not w.query(f"PREPARE a AS INSERT INTO taj.person ({columns}) VALUES ({who + 4}, $1, {fill})").errors
        assert not w.query(f"EXECUTE a ('{new()}')").errors
        copied = w.query(f"COPY taj.person ({columns}) FROM STDIN", [f"{who + 5}\t{new()}\tA\t{new()}\t2000-01-01\tLyon\tM\t1\n".encode()])
        assert not copied.errors, copied.errors
        for sql in ("nir = '{}'", "nir IN ('{}', '{}')", "family_name = ANY('{{{}}}')", "upper(nir) = upper('{}')", "family_name LIKE '{}'",
                    "ecluse_sounds_like(family_name, '{}')", "nir = '{}'::text", "person_id = 1 AND nir <> '{}'", "nir = ANY(ARRAY['{}', '{}']::text[])"):
            values = [new() for _ in range(sql.replace("{{{}}}", "{}").count("{}"))]
            said = w.query("SELECT person_id FROM taj.person WHERE " + sql.format(*values))
            assert not said.errors, (sql, said.errors)
        for sql in ("nir = $1", "family_name LIKE $1", "ecluse_sounds_like(family_name, $1)"):
            assert not w.extended("SELECT person_id FROM taj.person WHERE " + sql, [new()]).errors
        # a declared cursor, and what fails at PostgreSQL with its parameters
        w.query("BEGIN")
        assert not w.query(f"DECLARE c CURSOR FOR SELECT person_id FROM taj.person WHERE nir = '{new()}'").errors
        w.query("ROLLBACK")
        taken = new()
        assert not w.query(f"UPDATE taj.person SET nir = '{taken}' WHERE person_id = {who}").errors
        assert w.query(f"UPDATE taj.person SET nir = '{taken}' WHERE person_id = {who + 1}").errors[0]["C"] == "23505"
        for sql in ("INSERT INTO taj.person (person_id, nir) VALUES (1 + 1, '{}')", "UPDATE taj.person SET nir = '{}'", "SELECT 1 FROM taj.person WHERE nir < '{}'"):
            assert w.query(sql.format(new())).errors
    used = words[:words.index(next(word))]
    assert len(used) >= 30
    logs = b"".join(open(f, "rb").read() for f in glob.glob(os.path.join(postgres.data, "log", "*")))
    assert b"__bidx_nir" in logs, "nothing of this gate's statements was logged"
    assert [w for w in used if w.encode() in logs] == []


def tamper(gate, sql, *values):
    with gate.postgres.admin(gate.database) as c:
        assert c.execute(sql, values).rowcount == 1


@pytest.mark.parametrize("change", [
    "given_name = family_name", "given_name = note", "given_name = (SELECT given_name FROM taj.person WHERE person_id = 1010)",
    "given_name = set_byte(given_name, octet_length(given_name) - 1, (get_byte(given_name, octet_length(given_name) - 1) + 1) %% 256)",
    "given_name = set_byte(given_name, 20, (get_byte(given_name, 20) + 1) %% 256)", "given_name = set_byte(given_name, 3, 7)",
    "given_name = substr(given_name, 1, octet_length(given_name) - 1)"])
def test_a_value_that_was_moved_or_altered_is_never_shown(sealed, register_a, change):
    who = next(p["person_id"] for p in register_a["taj.person"] if p["note"])
    before = stored(sealed, "SELECT given_name FROM taj.person WHERE person_id = %s", who)[0][0]
    tamper(sealed, f"UPDATE taj.person SET {change} WHERE person_id = %s", who)
    try:
        with sealed.wire("registrar", reference=f"tampered {change}"[-60:]) as w:
            for said in (w.query(f"SELECT given_name FROM taj.person WHERE person_id = {who}"), w.extended(f"SELECT * FROM taj.person WHERE person_id = {who}")):
                assert said.errors[0]["C"] == "58030" and not (said.results and said.results[0].rows), said.errors
                assert "given_name" in said.errors[0]["M"]
            assert not w.query(f"SELECT nir FROM taj.person WHERE person_id = {who}").errors
        kinds = [e["kind"] for e in sealed.entries(f"tampered {change}"[-60:])]
        assert kinds.count("refusal") == 2, kinds
        assert "taj.person.given_name" in sealed.log_text()
    finally:
        tamper(sealed, "UPDATE taj.person SET given_name = %s WHERE person_id = %s", before, who)


def test_the_database_takes_no_clear_value_around_the_gate(sealed):
    import psycopg
    with sealed.postgres.admin(sealed.database) as c:
        for value in (b"clear", b"", b"\x02" + b"x" * 60):
            with pytest.raises(psycopg.errors.CheckViolation):
                c.execute("UPDATE taj.person SET given_name = %s WHERE person_id = 1013", (value,))


def test_another_registers_keys_open_nothing(sealed, make_gate, register_a):
    """The rows of one register under the keys of another."""
    other = make_gate("foreign", accounts=ACCOUNTS, roles=ROLES, sealed=True)
    value = stored(sealed, "SELECT given_name FROM taj.person WHERE person_id = 1013")[0][0]
    tamper(other, "UPDATE taj.person SET given_name = %s WHERE person_id = 1013", value)
    with other.wire("registrar") as w:
        said = w.query("SELECT given_name FROM taj.person WHERE person_id = 1013")
        assert said.errors[0]["C"] == "58030" and not (said.results and said.results[0].rows)


def test_a_subject_that_its_sequence_gives(make_gate, postgres):
    """Values are sealed for a person whose number is not there yet: it is drawn first."""
    gate = make_gate("drawn", accounts={"keeper": "keeper"}, serve=False, prepare=False, sealed=True, roles="""
  keeper:
    purposes: [judicial-inquiry]
    read: {closed.member: {key: clear, identity: clear}}
    write: {closed.member: {insert: [member_id, name, town], update: [name]}}
    budgets: [{subjects: 1000, per: 1h}, {lookups: 10000, per: 1h}, {failures: 100, per: 1h}]
""")
    with open(gate.config) as f:
        text = f.read()
    gate.write_policy(text.replace("tables:\n", "tables:\n  closed.member:\n    subject: member_id\n    space: member\n    columns: {member_id: {class: key}, "
                                   "name: {class: identity, sealed: {search: [equality]}}, town: {class: identity}}\n", 1))
    with postgres.owner(gate.database) as c:
        c.execute("CREATE TABLE closed.member (member_id serial PRIMARY KEY, name text NOT NULL, town text)")
    gate.command("keys", "init")
    gate.seal()
    gate.add_account("keeper", "keeper")
    gate.serve()
    with gate.psycopg("keeper") as c:
        assert c.execute("INSERT INTO closed.member (name) VALUES ('Anne') RETURNING member_id, name").fetchall() == [(1, "Anne")]
        assert c.execute("INSERT INTO closed.member (name, town) VALUES (%s, 'Lyon'), (%s, NULL), ('Zoé', 'Brest') RETURNING member_id, name, town",
                         ("Basile", "Chloé")).fetchall() == [(2, "Basile", "Lyon"), (3, "Chloé", None), (4, "Zoé", "Brest")]
        assert c.execute("INSERT INTO closed.member (town, member_id, name) VALUES ('x', DEFAULT, 'Eve'), ('y', 77, 'Guy') RETURNING member_id, name").fetchall() == \
            [(5, "Eve"), (77, "Guy")]
        assert c.execute("INSERT INTO closed.member (name) SELECT 'Noé' RETURNING member_id").fetchall() == [(6,)]
        c.execute("PREPARE add (text) AS INSERT INTO closed.member (name) VALUES ($1)")
        c.execute("EXECUTE add ('Max')"), c.execute("EXECUTE add ('Léa')")
        assert c.execute("SELECT member_id, name FROM closed.member WHERE name IN ('max', 'lea', 'basile') ORDER BY 1").fetchall() == \
            [(2, "Basile"), (7, "Max"), (8, "Léa")]
        with c.pipeline():
            done = [c.execute("INSERT INTO closed.member (name) VALUES (%s) RETURNING member_id", (f"P{i}",)) for i in range(5)]
        assert [d.fetchone() for d in done] == [(9,), (10,), (11,), (12,), (13,)]
    told = {who for e in gate.ledger("--kind", "collection") for t in e["subjects"] for who in t.get("returned", [])}
    assert {"member:1", "member:77", "member:13"} <= told
