"""Who went around the gate, by PostgreSQL's own log."""
import json
import os
import shutil
import time

import psycopg
import pytest

PASSWORD = "of somebody who has it"


@pytest.fixture(scope="module")
def g(make_gate, postgres):
    """A gate whose statements PostgreSQL logs."""
    gate = make_gate("reconcile", accounts={"counter": "counter", "clerk": "clerk"}, serve=False)
    with postgres.admin(gate.database) as c:
        c.execute("ALTER SYSTEM SET log_connections = on")
        c.execute(f"ALTER DATABASE {gate.database} SET log_statement = 'all'")
        c.execute("SELECT pg_reload_conf()")
    gate.serve()
    yield gate
    with postgres.admin() as c:
        c.execute("ALTER SYSTEM RESET log_connections")
        c.execute("SELECT pg_reload_conf()")


def look(gate):
    with gate.wire("counter", reference="by the gate") as c:
        for statement in ("SELECT family_name FROM taj.person WHERE person_id = 1001", "SELECT nothing FROM taj.person",
                          "SELECT relname FROM pg_class LIMIT 3", "SELECT * FROM ref.numbers LIMIT 3", "BEGIN",
                          "DECLARE x CURSOR FOR SELECT family_name FROM taj.person", "FETCH 3 FROM x", "COMMIT"):
            c.query(statement)
    with gate.wire("clerk") as c:
        c.query("SELECT * FROM sia.permit LIMIT 2")


def reconcile(gate, *more, kind="csv", check=False):
    return gate.command("ledger", "reconcile", "--postgres-log", os.path.join(gate.postgres.data, "log", f"server.{kind}"), *more, check=check)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_only_the_gate_and_those_who_are_known(g, kind):
    look(g)
    with g.postgres.owner(g.database) as c:
        c.execute("SELECT 1")
    done = reconcile(g, "--known", "owner", "--known", "postgres", kind=kind)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nobody went around the gate" in done.stdout and "known: user owner from 127.0.0.1" in done.stdout
    assert "statements over people 0," not in done.stdout


def test_another_user(g):
    look(g)
    with g.postgres.owner(g.database) as c:
        c.execute("SELECT count(*) FROM taj.person")
    done = reconcile(g, "--known", "postgres")
    assert done.returncode == 1
    assert "around the gate, as another user: user owner from 127.0.0.1" in done.stdout


def test_a_login_of_the_gate_in_other_hands(g):
    """From elsewhere, by another program, while no gate serves: each shows."""
    look(g)
    login = f"ecluse_{g.register}_counter"
    with g.postgres.admin(g.database) as c:
        kept = c.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [login]).fetchone()[0]
        c.execute(f"ALTER ROLE {login} PASSWORD '{PASSWORD}'")
    try:
        with psycopg.connect(host=g.postgres.host, port=g.postgres.port, user=login, password=PASSWORD, dbname=g.database,
                             application_name="psql") as c:
            assert len(c.execute(f'SELECT family_name FROM "{login}"."taj.person" LIMIT 3').fetchall()) == 3
    finally:
        with g.postgres.admin(g.database) as c:
            c.execute(f"ALTER ROLE {login} PASSWORD '{kept}'")
    known = ("--known", "owner", "--known", "postgres")
    done = reconcile(g, *known)
    assert done.returncode == 1 and f"by another program: user {login} from 127.0.0.1, sessions 1, statements " in done.stdout
    elsewhere = reconcile(g, *known, "--gate-host", "10.0.0.9")
    assert elsewhere.returncode == 1 and f"from another machine: user {login} from 127.0.0.1" in elsewhere.stdout
    assert f"user ecluse_{g.register}__gate from 127.0.0.1" in elsewhere.stdout


def test_what_a_log_cannot_tell_is_said(g, tmp_path):
    look(g)
    with open(os.path.join(g.postgres.data, "log", "server.json")) as f:
        lines = f.readlines()
    for without, says in (("connection authorized", "tells of no connections"), ("taj.person", "tells of no statements over people")):
        path = tmp_path / "partly.json"
        path.write_text("".join(line for line in lines if without not in line and "sia.permit" not in line.replace("connection", "") and "psql" not in line))
        done = g.command("ledger", "reconcile", "--postgres-log", str(path), "--known", "owner", "--known", "postgres", check=False)
        assert done.returncode == 2 and says in done.stderr, done.stdout + done.stderr


def test_no_name_and_a_copy_of_the_whole_server(g, tmp_path):
    at = time.strftime("%Y-%m-%d %H:%M:%S.000 UTC", time.gmtime())
    line = {"timestamp": at, "user": f"ecluse_{g.register}_clerk", "dbname": g.database, "remote_host": "127.0.0.1", "session_id": "1.1",
            "message": "statement: SELECT 1"}
    copy = {"timestamp": at, "user": "thief", "remote_host": "10.0.0.66", "session_id": "1.2", "message": "replication connection authorized: user=thief"}
    failed = {"timestamp": at, "user": f"ecluse_{g.register}__gate", "dbname": g.database, "remote_host": "10.0.0.66", "session_id": "1.3",
              "message": "password authentication failed"}
    gate = {**failed, "remote_host": "127.0.0.1", "session_id": "1.4", "message": "connection authorized: user=x", "application_name": "ecluse"}
    theirs = {**line, "remote_host": "10.0.0.66", "session_id": "1.5", "application_name": "ecluse"}
    path = tmp_path / "log.json"
    path.write_text("".join(json.dumps(one) + "\n" for one in (line, copy, failed, gate, theirs)))
    done = g.command("ledger", "reconcile", "--postgres-log", str(path), check=False)
    assert done.returncode == 1
    assert f"by another program: user ecluse_{g.register}_clerk from 127.0.0.1" in done.stdout
    assert "as another user: user thief from 10.0.0.66" in done.stdout
    assert f"from another machine: user ecluse_{g.register}_clerk from 10.0.0.66" in done.stdout, "who failed to log in vouches for no address"


def test_while_no_gate_serves(g, tmp_path):
    """The lines of a login, moved to a time between a gate that stopped and the next."""
    look(g)
    g.stop()
    stopped = next(e["time"] for e in reversed(g.ledger()) if e["kind"] == "session" and e.get("reason") == "stop")
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stopped / 1e6 + 600))
    path = tmp_path / "later.csv"
    line = [f"{at}.000 UTC", f"ecluse_{g.register}_counter", g.database, "1", "127.0.0.1:5", "6b0304b5.84f", "1", "idle", f"{at} UTC", "2/1", "0", "LOG",
            "00000", '"statement: SELECT 1"', *[""] * 8, '"ecluse"', "client backend", "", "0"]
    path.write_text(",".join(line) + "\n")
    g.serve()
    done = g.command("ledger", "reconcile", "--postgres-log", str(path), check=False)
    assert "while none served" not in done.stdout, "a gate came soon after"
    g.stop()
    done = g.command("ledger", "reconcile", "--postgres-log", os.path.join(g.postgres.data, "log", "server.csv"), "--postgres-log", str(path),
                     "--known", "owner", "--known", "postgres", check=False)
    assert done.returncode == 1 and f"while none served: user ecluse_{g.register}_counter from 127.0.0.1, sessions 1" in done.stdout
    g.serve()


def test_minutes_that_no_entry_tells_of(g, tmp_path):
    """The log's lines moved by an hour: nothing in the ledger is of then."""
    look(g)
    path = tmp_path / "moved.csv"
    with open(os.path.join(g.postgres.data, "log", "server.csv")) as f:
        text = f.read()
    now = time.gmtime()
    moved = text.replace(time.strftime("%Y-%m-%d ", now), time.strftime("%Y-%m-%d ", time.gmtime(time.time() + 86400)))
    path.write_text(text + moved)
    done = g.command("ledger", "reconcile", "--postgres-log", str(path), "--known", "owner", "--known", "postgres", check=False)
    assert done.returncode == 1 and f"that no entry tells of: user ecluse_{g.register}_counter" in done.stdout
    assert f"that no entry tells of: user ecluse_{g.register}_clerk" in done.stdout


@pytest.mark.parametrize("what,says", [("not a log\n", "no line of csvlog"), ('{"timestamp": 1}\n', "has the time ``"), ("{]\n", "no line of jsonlog"),
                                       ("2026-01-01 10:00:00.000 CET" + "," * 25 + "\n", "log_timezone = 'UTC'"), ('"', "cut short"),
                                       ("2026-01-01 10:00:00.000 UTC,a,b,1,c,d" + "," * 20 + "\n", "nothing in the log concerns"), ("", "nothing in the log concerns")])
def test_a_log_that_is_none(g, tmp_path, what, says):
    path = tmp_path / "log"
    path.write_text(what)
    done = g.command("ledger", "reconcile", "--postgres-log", str(path), check=False)
    assert done.returncode == 2 and says in done.stderr, done.stderr
