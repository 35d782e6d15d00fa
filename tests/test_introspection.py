"""Tools see the policy's tables and columns under their own names, and nothing else."""
import glob
import os
import re
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))

VISIBLE = {"taj.person", "taj.case", "taj.involvement", "sia.owner", "sia.permit", "lapi.sighting", "ref.offence", "ref.town",
           "ref.kinds", "ref.numbers", "ref.offence_by_severity"}
PERSON = ["person_id", "nir", "family_name", "given_name", "birth_date", "birth_place", "sex", "risk", "note"]
HIDDEN = ["phone", "height", "code", "photo"]
# Names of what is closed or of the gate's own making; none may appear anywhere.
SECRET = ["tracker", "agent", "closed", "__subject", "__ecluse", "CANARY", "address"]


def assert_discreet(text, *more):
    for word in [*SECRET, *more]:
        assert word not in text, f"{word!r} is told:\n{text[:3000]}"


def psql(gate, sql, account="prober"):
    done = subprocess.run(["psql", "-X", "-A", "-t", "-F", "|"], input=sql, env=gate.environment(account), text=True, capture_output=True)
    assert "ERROR" not in done.stderr, f"{sql}: {done.stderr}"
    return done.stdout


# --- psql ---
def test_psql_dt(gate):
    out = psql(gate, "\\dt *.*")
    listed = {".".join(line.split("|")[:2]) for line in out.splitlines()}
    assert {t for t in listed if not t.startswith(("pg_catalog.", "information_schema."))} >= VISIBLE - {"ref.offence_by_severity"}
    assert_discreet(out)
    assert {t for t in listed if t.split(".")[0] in ("taj", "sia", "lapi", "ref")} <= VISIBLE


def test_psql_dt_of_a_schema(gate):
    out = psql(gate, "\\dt taj.*")
    assert {line.split("|")[1] for line in out.splitlines()} == {"person", "case", "involvement"}


def test_psql_dn(gate):
    out = psql(gate, "\\dn")
    assert {"taj", "sia", "lapi", "ref"} <= {line.split("|")[0] for line in out.splitlines()}
    assert "ecluse_" not in {line.split("|")[0][:7] for line in out.splitlines()}  # the gate's own schemas
    assert_discreet(out)


@pytest.mark.parametrize("command", ["\\d taj.person", "\\d+ taj.person"])
def test_psql_d_table(gate, command):
    out = psql(gate, command)
    columns = [line.split("|")[0] for line in out.splitlines() if "|" in line]
    assert [c for c in columns if c in PERSON] == PERSON
    assert "birth_date|date" in out and "risk|integer" in out
    assert_discreet(out, "tracker")


def test_catalogs_list_the_columns_that_a_star_returns(gate):
    """What a mask hides is a column all the same, always NULL: tools take the names of `*` from the catalogs."""
    with gate.wire("prober") as c:
        listed = [r[0] for r in c.query("SELECT attname FROM pg_attribute a WHERE attrelid = 'taj.person'::regclass AND attnum > 0 ORDER BY attnum").text_rows()]
        said = c.query("SELECT * FROM taj.person WHERE person_id = 1001")
        assert listed == [column[0] for column in said.results[0].columns] and set(listed) >= {*PERSON, "phone"}
        assert all(said.rows[0][listed.index(column)] is None for column in HIDDEN if column in listed)


def test_psql_d_open_table(gate):
    out = psql(gate, "\\d ref.town")
    assert all(c in out for c in ("town_id|integer", "name|text", "postcode|text", "population|integer"))


@pytest.mark.parametrize("command", ["\\d", "\\dv", "\\di", "\\ds", "\\df", "\\dT", "\\du", "\\l", "\\dp", "\\ddp", "\\dx", "\\dm", "\\dE",
                                     "\\dS pg_class", "\\d closed.agent", "\\d closed.*", "\\d *.agent", "\\df closed.*", "\\sv taj.person",
                                     "\\d+", "\\dt+ *.*", "\\dti+ taj.*", "\\dd", "\\dRp", "\\des", "\\dP", "\\db", "\\drds", "\\dO", "\\dC"])
def test_every_command_of_psql_is_discreet(gate, command):
    done = subprocess.run(["psql", "-X", "-A"], input=command, env=gate.environment("prober"), text=True, capture_output=True)
    told = (done.stdout + done.stderr).replace(command.split()[-1], "")
    told = re.sub(r'Did not find any relation[^\n]*', "", told)
    assert_discreet(told)
    assert "server closed" not in done.stderr


def test_psql_tab_completion_query(gate):
    """The query that psql sends on TAB after FROM."""
    with gate.wire("prober") as c:
        said = c.query("SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r','S','v','m','f','p') AND "
                       "(c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) UNION ALL SELECT NULL::pg_catalog.text, n.nspname "
                       "FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' LIMIT 1000")
        assert not said.errors, said.errors
        assert_discreet(said.bytes_seen().decode())
        assert ("taj",) in [r[1:] for r in said.text_rows()]


# --- catalogs by SQL ---
def test_catalogs_hold_the_policys_objects_only(gate):
    with gate.wire("prober") as c:
        for sql in ("SELECT * FROM pg_catalog.pg_class", "SELECT * FROM pg_attribute", "SELECT nspname FROM pg_namespace", "SELECT * FROM pg_tables",
                    "SELECT * FROM pg_views", "SELECT * FROM pg_indexes", "SELECT * FROM information_schema.columns", "SELECT * FROM pg_index",
                    "SELECT * FROM information_schema.tables", "SELECT * FROM information_schema.schemata", "SELECT * FROM pg_constraint",
                    "SELECT * FROM information_schema.table_constraints", "SELECT * FROM pg_attrdef", "SELECT * FROM pg_type WHERE typtype <> 'b'",
                    "SELECT * FROM information_schema.views", "SELECT * FROM pg_description", "SELECT * FROM pg_proc WHERE pronamespace <> 11",
                    "SELECT * FROM pg_roles", "SELECT * FROM pg_user", "SELECT * FROM pg_database", "SELECT * FROM pg_trigger", "SELECT * FROM pg_rewrite"):
            said = c.query(sql)
            if said.errors:
                assert said.sqlstate in ("42501", "0A000", "42P01"), (sql, said.error)
            assert_discreet(said.bytes_seen().decode("utf-8", "replace").replace("password_required", ""))


def test_sizes_and_estimates_are_not_told(gate):
    with gate.wire("prober") as c:
        rows = c.query("SELECT relname, reltuples, relpages FROM pg_class WHERE relname IN ('person', 'involvement')").text_rows()
        assert len(rows) == 2 and {(r[1], r[2]) for r in rows} == {("-1", "0")}


@pytest.mark.parametrize("relation", ["pg_stats", "pg_statistic", "pg_stat_activity", "pg_stat_user_tables", "pg_largeobject", "pg_authid", "pg_shadow",
                                      "pg_locks", "pg_hba_file_rules", "pg_file_settings", "pg_user_mapping", "pg_statistic_ext_data", "pg_stats_ext",
                                      "pg_prepared_xacts", "pg_replication_slots", "pg_config", "pg_backend_memory_contexts", "pg_cursors",
                                      "pg_prepared_statements", "pg_stat_statements", "pg_ident_file_mappings", "pg_subscription"])
def test_closed_catalogs(gate, relation):
    with gate.wire("prober") as c:
        said = c.query(f"SELECT * FROM pg_catalog.{relation}")
        assert not said.rows and (said.sqlstate in ("42501", "42P01") or relation == "pg_subscription")  # asked by psql, empty


def test_regclass_and_visibility(gate):
    with gate.wire("prober") as c:
        said = c.query("SELECT 'taj.person'::regclass::oid = (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                       "WHERE n.nspname = 'taj' AND c.relname = 'person')")
        assert said.rows == [(b"t",)], said.errors
        assert c.query("SELECT to_regclass('closed.agent')").rows in ([(None,)], [])
        assert c.query("SELECT to_regclass('no.where')").comparable()[1] == c.query("SELECT to_regclass('closed.agent')").comparable()[1]
        c.query("SET search_path = taj")
        assert c.query("SELECT family_name FROM person WHERE person_id = 1001").rows
        assert c.query("SELECT current_schema()").rows == [(b"taj",)]
        assert c.query("SHOW search_path").rows == [(b"taj",)]


def test_a_closed_table_is_as_unknown_as_one_that_is_not_there(gate):
    """The error must not tell whether a table exists behind the gate."""
    with gate.wire("prober") as c:
        def told(name):
            fields = dict(c.query(f"SELECT * FROM {name}").errors[0])
            return {k: v.replace(name, "X") for k, v in fields.items()}
        assert told("closed.agent") == told("closed.agenz")
        assert told("taj.person_old") == told("taj.personnes")


# --- drivers and ORMs ---
CONNECTION_QUERIES = [
    # psycopg 3: TypeInfo.fetch
    "SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS delimiter FROM pg_type t WHERE t.oid = 'int4'::regtype ORDER BY t.oid",
    "SELECT oid, typarray FROM pg_type WHERE typname = 'hstore'",
    # SQLAlchemy
    "select pg_catalog.version()", "select current_schema()", "show transaction isolation level", "show standard_conforming_strings",
    "SELECT CAST('test plain returns' AS VARCHAR(60)) AS anon_1",
    "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore'",
    # pgJDBC
    "SET extra_float_digits = 3", "SET application_name = 'PostgreSQL JDBC Driver'",
    "select string_agg(word, ',') from pg_catalog.pg_get_keywords() where word <> ALL ('{a,abs,absolute}'::text[])",
    "SELECT setting FROM pg_catalog.pg_settings WHERE name='max_index_keys'",
    "SHOW TRANSACTION ISOLATION LEVEL",
    # Hibernate, DBeaver
    "SELECT current_schema(), session_user", "SELECT version()", "SELECT current_user, current_database(), current_catalog",
    "select * from information_schema.sequences", "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE 1 = 1 AND datallowconn AND NOT datistemplate ORDER BY db.datname",
    "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname",
    "SHOW search_path", "SELECT typcategory FROM pg_catalog.pg_type WHERE 1<>1 LIMIT 1", "SELECT reltype FROM pg_catalog.pg_class WHERE 1<>1 LIMIT 1",
    # Django
    "SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END FROM pg_catalog.pg_class c "
    "LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') "
    "AND pg_catalog.pg_table_is_visible(c.oid)",
    "SELECT set_config('TimeZone', 'UTC', false)",
    # Npgsql
    "SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid FROM (SELECT typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, "
    "typ.typelem AS elemtypoid, typ.typcategory FROM pg_type AS typ LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid) LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive) AS t "
    "JOIN pg_namespace AS ns ON (ns.oid = t.typnamespace) WHERE t.typtype IN ('b', 'r', 'm', 'e', 'd')",
    # keys by information_schema._pg_expandarray, as pgJDBC asks for them
    "SELECT result.A_ATTNUM, result.KEY_SEQ FROM (SELECT a.attnum AS A_ATTNUM, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, "
    "(information_schema._pg_expandarray(i.indkey)).x AS KEYS FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) "
    "JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) JOIN pg_catalog.pg_index i ON (a.attrelid = i.indrelid) WHERE n.nspname = 'ref') result WHERE result.A_ATTNUM = result.KEYS",
]


@pytest.mark.parametrize("sql", CONNECTION_QUERIES)
def test_what_drivers_ask_at_connection(gate, sql):
    with gate.wire("prober") as c:
        for said in (c.query(sql), c.extended(sql)):
            assert not said.errors, said.errors
            assert_discreet(said.bytes_seen().decode("utf-8", "replace"))


def test_sqlalchemy_reflection(gate):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    pytest.importorskip("psycopg2")
    engine = sqlalchemy.create_engine(gate.dsn("prober").replace("postgresql:", "postgresql+psycopg2:"))
    inspector = sqlalchemy.inspect(engine)
    assert {"taj", "sia", "lapi", "ref"} <= set(inspector.get_schema_names())
    assert_discreet(" ".join(inspector.get_schema_names()))
    assert set(inspector.get_table_names("taj")) == {"person", "case", "involvement"}
    assert [c["name"] for c in inspector.get_columns("person", "taj") if c["name"] not in HIDDEN] == PERSON
    types = {c["name"]: str(c["type"]) for c in inspector.get_columns("person", "taj")}
    assert types["birth_date"] == "DATE" and types["risk"] == "INTEGER" and types["family_name"] == "TEXT"
    assert inspector.get_pk_constraint("town", "ref")["constrained_columns"] == ["town_id"]
    inspector.get_foreign_keys("involvement", "taj"), inspector.get_indexes("person", "taj")
    inspector.get_unique_constraints("town", "ref"), inspector.get_check_constraints("permit", "sia")
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine, schema="taj", views=True)
    table = metadata.tables["taj.person"]
    with engine.connect() as c:
        c.execute(sqlalchemy.text("SET ecluse.purpose = 'judicial-inquiry'"))
        c.execute(sqlalchemy.text("SET ecluse.reference = 'ORM-1'"))
        rows = c.execute(sqlalchemy.select(table.c.person_id, table.c.birth_date).where(table.c.person_id == 1001)).fetchall()
        assert len(rows) == 1 and (rows[0].birth_date.month, rows[0].birth_date.day) == (1, 1)
    engine.dispose()


def test_django_inspectdb(gate, workspace):
    pytest.importorskip("django")
    script = f"""
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=[], DATABASES={{"default": dict(ENGINE="django.db.backends.postgresql", HOST={gate.host!r}, PORT={gate.port},
    NAME={gate.database!r}, USER="prober", PASSWORD="password of prober", OPTIONS={{"options": "-c search_path=taj -c ecluse.purpose=judicial-inquiry -c ecluse.reference=PV-2024-17"}})}})
django.setup()
from django.core.management import call_command
call_command("inspectdb")
from django.db import connection
with connection.cursor() as c:
    c.execute("SELECT name FROM ref.town WHERE town_id = %s", [1])
    print("town", c.fetchone())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "class Person(models.Model)" in done.stdout and "family_name = models.TextField" in done.stdout, done.stdout
    assert "town ('Lille',)" in done.stdout
    assert "Unable to inspect" not in done.stdout
    assert_discreet(done.stdout)


def test_jdbc(gate, workspace):
    jars = glob.glob("/usr/share/java/postgresql*.jar")
    if not jars or subprocess.run(["sh", "-c", "command -v java"], capture_output=True).returncode:
        pytest.skip("java or its driver is not installed")
    done = subprocess.run(["java", "-cp", jars[0], os.path.join(HERE, "java", "Introspect.java"),
                           f"jdbc:postgresql://{gate.host}:{gate.port}/{gate.database}", "prober", "password of prober"],
                          capture_output=True, text=True, timeout=120)
    if "jdk.compiler" in done.stderr:
        pytest.skip("only a Java runtime is installed, without its compiler")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {line[6:] for line in lines if line.startswith("table ")} >= VISIBLE
    columns = [line.split()[1].split(".")[2] for line in lines if line.startswith("column taj.person.")]
    assert [c for c in columns if c not in HIDDEN] == PERSON
    assert "key town_id" in lines and "keywords true" in lines and "fetched 20000" in lines
    assert [line for line in lines if line.startswith("person")] == [f"person {i} null" for i in (1001, 1004, 1007, 1010)]
    assert_discreet(done.stdout)


def test_node_pg_type_queries(gate):
    with gate.psycopg("prober", purpose=False) as c:
        from psycopg.types import TypeInfo
        assert TypeInfo.fetch(c, "date").oid == 1082
        assert TypeInfo.fetch(c, "no_such_type") is None


def test_pg_dump_gets_nothing(gate):
    done = subprocess.run(["pg_dump", "--data-only"], env=gate.environment("prober"), capture_output=True, text=True)
    assert done.returncode != 0
    assert "COPY" not in done.stdout and "CANARY" not in done.stdout + done.stderr
