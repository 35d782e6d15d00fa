"""Open tables: what real clients get through the gate equals what PostgreSQL gives them directly, in text and binary."""
import json
import os
import subprocess

import psycopg
import pytest

from harness.postgres import OWNER, OWNER_PASSWORD, bindir
from statements.opens import ERRORS, KINDS, PARAMETERS, SELECTS

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def both(gate, postgres):
    """The raw client through the gate, and straight."""
    through, straight = gate.wire("prober", purpose=False), postgres.wire(gate.database)
    straight.query("SET search_path = pg_catalog")
    yield through, straight
    through.close(), straight.close()


def same(a, b):
    def shape(o):
        return [([(c[0], c[1], c[4]) for c in r.columns], r.rows, r.tag) for r in o.results], [e["C"] for e in o.errors], o.kinds
    assert shape(a) == shape(b)


@pytest.mark.parametrize("sql", SELECTS)
def test_simple(both, sql):
    same(*(c.query(sql) for c in both))


@pytest.mark.parametrize("formats", [[0], [1]], ids=["text", "binary"])
@pytest.mark.parametrize("sql", SELECTS)
def test_extended(both, sql, formats):
    same(*(c.extended(sql, result_formats=formats) for c in both))


@pytest.mark.parametrize("column", KINDS)
def test_every_type_in_text_and_binary(both, column):
    for formats in ([0], [1]):
        sql = f"SELECT {column} FROM ref.kinds ORDER BY id"
        through, straight = (c.extended(sql, result_formats=formats) for c in both)
        same(through, straight)
        assert len(straight.rows) == 4


@pytest.mark.parametrize("column", [k for k in KINDS if k not in ("j", "pt", "bx")])
def test_every_type_as_a_binary_parameter(both, column):
    """A value read in binary finds its own row when it is sent back in binary."""
    through, straight = both
    value = straight.extended(f"SELECT {column} FROM ref.kinds WHERE id = 1", result_formats=[1]).rows[0][0]
    sql = f"SELECT id FROM ref.kinds WHERE {column} = $1"
    for c in (through, straight):
        c.rows_found = c.extended(sql, [value], param_formats=[1])
    same(through.rows_found, straight.rows_found)
    assert through.rows_found.rows == [(b"1",)]


@pytest.mark.parametrize("sql,params,types", PARAMETERS)
def test_parameters(both, sql, params, types):
    same(*(c.extended(sql, params, types) for c in both))


@pytest.mark.parametrize("sql", ERRORS)
def test_errors_keep_their_sqlstate(both, sql):
    for ask in (lambda c: c.query(sql), lambda c: c.extended(sql)):
        through, straight = (ask(c) for c in both)
        assert through.sqlstate == straight.sqlstate and straight.errors
        assert through.status == straight.status


def test_errors_of_open_tables_keep_their_words(both):
    for sql in ("SELECT 1/0", "SELECT 'x'::int", "SELECT name::int FROM ref.town ORDER BY town_id"):
        through, straight = (c.query(sql) for c in both)
        assert through.error == straight.error


def test_settings_move_open_output_alike(both):
    for setting in ("SET DateStyle = 'German'", "SET TIME ZONE 'Asia/Kathmandu'", "SET IntervalStyle = 'iso_8601'",
                    "SET extra_float_digits = 0", "SET bytea_output = 'escape'"):
        for c in both:
            assert not c.query(setting).errors, setting
    same(*(c.query("SELECT d, ts, tstz, iv, f4, f8, by FROM ref.kinds ORDER BY id") for c in both))
    for c in both:
        for name in ("DateStyle", "TimeZone", "IntervalStyle", "extra_float_digits", "bytea_output"):
            assert not c.query(f"RESET {name}").errors, name


def psql(environment, sql, *options):
    done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=0", *options], input=sql, env=environment, text=True, capture_output=True)
    return done.stdout, done.stderr.replace(environment["PGUSER"], "user")


def straight_environment(gate, postgres):
    return dict(gate.environment("prober"), PGHOST=postgres.host, PGPORT=str(postgres.port), PGUSER=OWNER, PGPASSWORD=OWNER_PASSWORD)


@pytest.mark.parametrize("options", [["-At"], ["-x"], ["--csv"], []], ids=["unaligned", "expanded", "csv", "aligned"])
def test_psql(gate, postgres, options):
    script = ";\n".join(s for s in SELECTS if s != "SELECT") + ";\n" + "\\echo done\n"
    through, straight = psql(gate.environment("prober"), script, *options), psql(straight_environment(gate, postgres), script, *options)
    assert through == straight and "done" in through[0]


def test_psql_conveniences(gate):
    out, err = psql(gate.environment("prober"), "SELECT 1 AS x \\gset\n\\echo :x\nSELECT 5 \\g\nSELECT name FROM ref.town WHERE town_id = 1 \\gx\n"
                    "BEGIN; SELECT 2; ROLLBACK;\n\\conninfo\n\\timing on\nSELECT 3;\n\\copy (SELECT 1) TO STDOUT\n", "-At")
    assert "Lille" in out and "Time:" in out
    assert "ERROR" not in err.replace("COPY", "") or "export" in err


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_psycopg(gate, postgres, binary):
    columns = [k for k in KINDS if k not in ("mo", "pt", "bx", "tv")]
    with gate.psycopg("prober", purpose=False) as through, postgres.owner(gate.database) as straight:
        for sql, params in [(f"SELECT {', '.join(columns)} FROM ref.kinds WHERE id = 1", None), ("SELECT * FROM ref.town WHERE town_id > %s ORDER BY 1", (2,)),
                            ("SELECT * FROM ref.numbers WHERE id = ANY (%s) ORDER BY 1", ([1, 2, 3],)),
                            ("SELECT %s::text, %s::int, %s::float8, %s::bool", ("a", 1, 2.5, True))]:
            results = []
            for connection in (through, straight):
                cursor = connection.cursor(binary=binary).execute(sql, params)
                results.append((cursor.fetchall(), [(d.name, d.type_code) for d in cursor.description], cursor.rowcount, cursor.statusmessage))
            assert str(results[0]) == str(results[1])


def test_psycopg_prepares_pipelines_and_streams(gate):
    with gate.psycopg("prober", purpose=False) as c:
        for i in range(12):  # psycopg prepares on the sixth time
            assert c.execute("SELECT name FROM ref.town WHERE town_id = %s", (1 + i % 8,)).fetchone()
        with c.pipeline():
            cursors = [c.execute("SELECT %s::int", (i,)) for i in range(100)]
            assert [x.fetchone()[0] for x in cursors] == list(range(100))
        assert sum(1 for _ in c.cursor().stream("SELECT id FROM ref.numbers")) == 20000
        with c.transaction(), c.cursor(name="server_side") as cursor:
            assert len(cursor.execute("SELECT id FROM ref.numbers ORDER BY id").fetchmany(50)) == 50
        with c.transaction(force_rollback=True):
            with pytest.raises(psycopg.errors.DivisionByZero), c.transaction():
                c.execute("SELECT 1/0")
            assert c.execute("SELECT 1").fetchone() == (1,)
        cursor = c.cursor()
        cursor.executemany("SELECT %s::int", [(1,), (2,)], returning=True)
        assert cursor.fetchone() == (1,)


def test_node_pg(gate, postgres):
    if not os.path.isdir(os.path.join(HERE, "node", "node_modules", "pg")):
        installed = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=os.path.join(HERE, "node"), capture_output=True, text=True)
        if installed.returncode:
            pytest.skip("the node driver is not installed: npm ci in tests/node")
    statements = [[s, None] for s in SELECTS + ERRORS] + [[s, p] for s, p, _ in PARAMETERS]
    out = []
    for dsn in (gate.dsn("prober"), postgres.owner_url(gate.database)):
        done = subprocess.run(["node", "differential.js", dsn], cwd=os.path.join(HERE, "node"), input=json.dumps(statements),
                              text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        out.append([json.loads(line) for line in done.stdout.splitlines()])
    for line in out[0] + out[1]:
        if line and isinstance(line, dict):
            line.pop("message", None)
    assert out[0] == out[1] and len(out[0]) == len(statements) + 3


PGBENCH = "\\set k random(1, 20000)\nSELECT k FROM ref.numbers WHERE id = :k;\nSELECT name FROM ref.town WHERE town_id = 1 + :k % 8;\n"


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_pgbench(gate, workspace, protocol):
    script = os.path.join(workspace, "bench.sql")
    with open(script, "w") as f:
        f.write(PGBENCH)
    done = subprocess.run([os.path.join(bindir(), "pgbench"), "-n", "-M", protocol, "-c", "8", "-t", "100", "-f", script],
                          env=gate.environment("prober"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "number of transactions actually processed: 800/800" in done.stdout


def test_a_large_result_is_the_same(both):
    sql = "SELECT a.id, b.filler FROM ref.numbers a JOIN ref.numbers b ON b.id = 1 + a.id % 1000 ORDER BY a.id"
    through, straight = (c.query(sql) for c in both)
    assert through.rows == straight.rows and len(straight.rows) == 20000


def test_a_wide_row_is_the_same(both):
    same(*(c.query(f"SELECT {', '.join(f'{i} AS c{i}' for i in range(1000))}") for c in both))
    same(*(c.query("SELECT repeat('x', 3000000), repeat('y', 1000000)") for c in both))
