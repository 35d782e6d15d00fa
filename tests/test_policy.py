"""The policy from the operator's side: all mistakes at once, apply and its second run, drift, reload, accounts."""
import os
import re
import signal
import time

import pytest

from harness import wire
from harness.gate import Gate, password_of

TEN_MISTAKES = """\
version: 1
register: interior
gate:
  data_dir: data
  sql: {listen: 127.0.0.1:0}
  database: {host: 127.0.0.1, port: 70000, name: interior, tls: maybe}
  allow_cleartext: true
  colour: blue
purposes:
  inquiry: {reference: sometimes}
tables:
  taj.person:
    subject: person_idd
    columns:
      person_id: {class: key}
      name: {klass: identity}
open_tables: [taj.person]
roles:
  officer:
    purposes: [vacation]
    read:
      taj.person: {key: blurred}
      taj.nothing: {key: clear}
    budgets:
      - {subjects: -5, per: 1h}
      - {subjects: 5, per: 1fortnight}
"""
MISTAKES = [(6, "port"), (6, "tls"), (8, "colour"), (10, "reference"), (13, "person_idd"), (16, "klass"), (17, "taj.person"),
            (20, "vacation"), (22, "blurred"), (23, "taj.nothing"), (25, "subjects"), (26, "fortnight")]


@pytest.fixture(scope="module")
def unserved(make_gate):
    return make_gate("policed", serve=False, prepare=False)


def test_every_mistake_at_once_with_its_place(unserved):
    unserved.write_policy(TEN_MISTAKES)
    done = unserved.command("check", check=False)
    told = done.stdout + done.stderr
    places = {int(m[1]): m[0] for m in re.finditer(r"ecluse\.yaml:(\d+):(\d+): [^;\n]+; .+", told)}
    assert done.returncode == 1
    for line, word in MISTAKES:
        assert any(int(m[1]) == line and word in m[0] for m in re.finditer(r"ecluse\.yaml:(\d+):\d+: .*", told)), (line, word, told)
    assert places
    assert "Traceback" not in told
    unserved.write_policy()


def test_apply_and_serve_refuse_a_bad_policy(unserved):
    unserved.write_policy(TEN_MISTAKES)
    try:
        commands = (["account", "list"], ["keys", "list"], ["ledger", "show"], ["ledger", "accept-clock", "--by", "a", "--by", "b", "--reason", "c"],
                    ["apply", "--owner", "postgresql://nobody@127.0.0.1:1/none"])
        for command in commands:
            done = unserved.command(*command, check=False)
            assert done.returncode == 2, command
            assert "ecluse.yaml:6:" in done.stderr and "ecluse.yaml:26:" in done.stderr, (command, done.stderr)
        with pytest.raises(RuntimeError) as refused:
            unserved.serve(timeout=20)
        assert "ecluse.yaml:6:" in str(refused.value)
    finally:
        unserved.write_policy()


@pytest.mark.parametrize("text", ["", "\x00", "a: [", "- 1\n- 2", "version: 2", "&a [*a]", "x: " * 5000, "{" * 5000, "\xff\xfe", "version: 1\nversion: 1"])
def test_what_is_not_a_policy(unserved, text):
    try:
        unserved.write_policy(text)
        done = unserved.command("check", check=False)
        assert done.returncode in (1, 2) and "ecluse.yaml" in done.stdout + done.stderr
    finally:
        unserved.write_policy()


def test_what_later_versions_bring_is_refused_not_ignored(unserved):
    """An operator must not believe a door open, or tokens asked for, that are not."""
    good = open(unserved.config).read()
    try:
        unserved.write_policy(good.replace("\ngate:\n", "\ngate:\n  http: {listen: 127.0.0.1:1}\n", 1))
        done = unserved.command("check", check=False)
        assert done.returncode == 1 and "this version does not have" in done.stdout + done.stderr
    finally:
        unserved.write_policy()


def test_a_good_policy_passes_and_defaults_are_printed(unserved):
    assert unserved.command("check").returncode == 0
    assert "statement_timeout" in unserved.command("check", "--defaults").stdout or "idle" in unserved.command("check", "--defaults").stdout


def test_the_order_of_things(unserved):
    """Without keys, without apply, without accounts: each says which command mends it."""
    done = unserved.apply(check=False)
    assert done.returncode != 0 and "keys init" in done.stderr + done.stdout
    unserved.command("keys", "init")
    with pytest.raises(RuntimeError) as refused:
        unserved.serve(timeout=20)
    assert "apply" in str(refused.value)


def test_keys_init_never_overwrites(unserved):
    before = open(os.path.join(unserved.folder, "root.key"), "rb").read()
    assert unserved.command("keys", "init", check=False).returncode != 0
    assert open(os.path.join(unserved.folder, "root.key"), "rb").read() == before


def test_a_root_key_that_others_can_read_is_refused(unserved):
    key = os.path.join(unserved.folder, "root.key")
    os.chmod(key, 0o644)
    try:
        done = unserved.apply(check=False)
        assert done.returncode != 0 and "root.key" in done.stderr + done.stdout
    finally:
        os.chmod(key, 0o600)


def catalog(gate):
    """Everything that apply could have left in the database, without object ids."""
    with gate.postgres.admin(gate.database) as c:
        return {what: sorted(map(str, c.execute(sql).fetchall())) for what, sql in {
            "roles": "SELECT rolname FROM pg_roles", "schemas": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'",
            "views": "SELECT schemaname, viewname, definition FROM pg_views WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'",
            "grants": "SELECT relname, relacl::text FROM pg_class WHERE relacl IS NOT NULL AND relnamespace::regnamespace::text !~ '^(pg_|information)'"}.items()}


def test_apply_dry_run_then_apply_then_apply_again_then_remove(unserved):
    before = catalog(unserved)
    dry = unserved.apply("--dry-run")
    assert "CREATE" in dry.stdout and "taj" in dry.stdout
    assert catalog(unserved) == before
    unserved.apply()
    applied = catalog(unserved)
    assert applied != before
    again = unserved.apply("--dry-run")
    assert "CREATE" not in again.stdout and "GRANT" not in again.stdout
    unserved.apply()
    assert catalog(unserved) == applied
    unserved.apply("--remove")
    removed = catalog(unserved)
    assert removed["views"] == before["views"] and [r for r in removed["roles"] if "policed" in r] == []
    assert [s for s in removed["schemas"] if "ecluse" in s] == []
    unserved.apply()
    assert catalog(unserved)["views"] == applied["views"]


def test_the_logins_can_do_nothing_but_their_views(unserved):
    with unserved.postgres.admin(unserved.database) as c:
        logins = c.execute("SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolinherit, rolbypassrls, rolreplication, rolcanlogin "
                           "FROM pg_roles WHERE rolname LIKE 'ecluse\\_policed\\_%'").fetchall()
        assert len(logins) == 7  # one a role, and the gate's own
        for name, superuser, createrole, createdb, _inherit, bypass, replication, login in logins:
            assert (superuser, createrole, createdb, bypass, replication, login) == (False, False, False, False, False, True), name
        for table in ("taj.person", 'taj."case"', "taj.involvement", "closed.agent", "sia.address"):
            for login in ("prober", "counter", "clerk", "exporter", "_gate"):
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"):
                    assert not c.execute("SELECT has_table_privilege(%s, %s, %s)", (f"ecluse_policed_{login}", table, right)).fetchone()[0]
        view = c.execute("SELECT c.oid::regclass::text, reloptions FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
                         "WHERE nspname = 'ecluse_policed_prober' AND relname LIKE '%involvement%'").fetchone()
        assert "security_barrier=true" in (view[1] or [])


def test_serve_refuses_a_policy_that_was_not_applied(unserved):
    good = open(unserved.config).read()
    unserved.write_policy(good.replace("birth_date: year", "birth_date: month"))
    try:
        with pytest.raises(RuntimeError) as refused:
            unserved.serve(timeout=20)
        assert "ecluse apply" in str(refused.value)
    finally:
        unserved.write_policy(good)


@pytest.mark.parametrize("change,undo", [
    ("ALTER TABLE taj.person ALTER COLUMN tracker TYPE varchar(99)", None),
    ("ALTER TABLE taj.person ADD COLUMN more text", "ALTER TABLE taj.person DROP COLUMN more"),
    ("GRANT SELECT ON taj.person TO ecluse_policed_prober", "REVOKE SELECT ON taj.person FROM ecluse_policed_prober"),
    ("CREATE OR REPLACE VIEW ecluse_policed_prober.\"sia.owner\" AS SELECT * FROM ecluse_policed_prober.\"sia.owner\" LIMIT 1", None),
], ids=["column altered", "column added", "grant widened", "view replaced"])
def test_drift_is_refused_and_apply_mends_it(unserved, change, undo):
    with unserved.postgres.owner(unserved.database) as c:
        try:
            c.execute(change)
        except Exception as e:
            pytest.skip(f"this change cannot be made: {e}")
    try:
        with pytest.raises(RuntimeError) as refused:
            unserved.serve(timeout=20)
        assert "ecluse apply" in str(refused.value)
    finally:
        with unserved.postgres.owner(unserved.database) as c:
            if undo:
                c.execute(undo)
        unserved.apply()
    unserved.serve()
    assert unserved.stop() == 0


def test_what_public_can_reach_is_refused(unserved):
    for grant, revoke, word in [("GRANT SELECT ON taj.person TO PUBLIC", "REVOKE SELECT ON taj.person FROM PUBLIC", "taj.person"),
                                ("CREATE FUNCTION ref.peek() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT max(phone) FROM taj.person'",
                                 "DROP FUNCTION ref.peek()", "peek")]:
        with unserved.postgres.owner(unserved.database) as c:
            c.execute(grant)
            done = unserved.apply(check=False)
            c.execute(revoke)
        assert done.returncode != 0 and word in done.stderr + done.stdout
    assert unserved.apply().returncode == 0


@pytest.mark.parametrize("change,word", [
    (("birth_date: year, nir: last4", "birth_date: last4, nir: last4"), "birth_date"),
    (("risk: range(10)", "risk: year"), "risk"),
    (("      birth_place: {class: identity}\n", "      birth_place: {class: identity}\n      no_such: {class: identity}\n"), "no_such"),
    (("  sia.owner:\n    subject: owner_id", "  sia.owner:\n    subject: since"), "since"),
], ids=["mask does not fit", "mask does not fit a number", "no such column", "bad subject"])
def test_what_only_the_database_knows(unserved, change, word):
    good = open(unserved.config).read()
    try:
        unserved.write_policy(good.replace(*change))
        done = unserved.apply("--dry-run", check=False)
        assert done.returncode != 0 and word in done.stderr + done.stdout
    finally:
        unserved.write_policy(good)


# --- a running gate ---
@pytest.fixture(scope="module")
def running(make_gate):
    return make_gate("reloaded", accounts={"prober": "prober"})


def test_sighup_takes_the_new_policy(running):
    good = open(running.config).read()
    with running.wire("prober") as old:
        assert old.query("SELECT birth_place FROM taj.person WHERE person_id = 1001").rows != [(None,)]
        old.query("BEGIN")
        running.write_policy(good.replace("given_name: initial, birth_date: year", "given_name: initial, birth_date: year, birth_place: hidden", 1))
        running.apply()
        running.signal(signal.SIGHUP)
        # The transaction goes on under the old snapshot, the next one under the new.
        time.sleep(1)
        old.query("COMMIT")
        def hidden():
            said = old.query("SELECT birth_place FROM taj.person WHERE person_id = 1001")
            return not said.errors and said.rows == [(None,)]
        running.wait_for(hidden, 15)
    with running.wire("prober") as new:
        assert new.query("SELECT birth_place FROM taj.person WHERE person_id = 1001").rows == [(None,)]
        assert new.query("SELECT count(*) FROM taj.person WHERE birth_place = 'Lille'").rows == [(b"0",)]
    running.write_policy(good)
    running.apply()
    running.signal(signal.SIGHUP)
    with running.wire("prober") as c:
        running.wait_for(lambda: c.query("SELECT birth_place FROM taj.person WHERE person_id = 1001").rows not in ([(None,)], []), 15)


def test_a_bad_policy_does_not_stop_a_running_gate(running):
    good = open(running.config).read()
    running.write_policy(TEN_MISTAKES)
    running.signal(signal.SIGHUP)
    time.sleep(1)
    with running.wire("prober") as c:
        assert c.query("SELECT family_name FROM taj.person WHERE person_id = 1001").rows
    assert "ecluse.yaml:6" in running.log_text()
    running.write_policy(good)


def test_accounts_come_and_go_while_it_runs(running):
    running.add_account("newcomer", "prober")
    assert "newcomer" in running.command("account", "list").stdout

    def enters():
        try:
            running.wire("newcomer").close()
            return True
        except wire.ServerError:
            return False
    running.signal(signal.SIGHUP)
    running.wait_for(enters)
    session = running.wire("newcomer")
    running.command("account", "lock", "newcomer", "--reason", "suspected")
    running.signal(signal.SIGHUP)
    running.wait_for(lambda: not enters())

    def ended():
        try:
            said = session.query("SELECT family_name FROM taj.person WHERE person_id = 1001")
            return bool(said.errors) and not said.rows
        except (wire.Closed, OSError):
            return True
    running.wait_for(ended)
    running.command("account", "unlock", "newcomer")
    running.signal(signal.SIGHUP)
    running.wait_for(enters)
    running.command("account", "remove", "newcomer")
    running.signal(signal.SIGHUP)
    running.wait_for(lambda: not enters())


def test_passwords_are_not_kept(running):
    for root, _, files in os.walk(running.folder):
        for name in files:
            if name == "control.sock":
                continue
            with open(os.path.join(root, name), "rb") as f:
                assert password_of("prober").encode() not in f.read(), name
    assert os.stat(os.path.join(running.folder, "accounts.yaml")).st_mode & 0o077 == 0
    assert os.stat(running.data).st_mode & 0o077 == 0


def test_a_table_altered_under_the_gate(make_gate):
    gate = make_gate("altered", accounts={"prober": "prober"})
    with gate.wire("prober") as c:
        assert c.query("SELECT family_name FROM taj.person WHERE person_id = 1001").rows
        with gate.postgres.owner(gate.database) as owner:
            owner.execute("ALTER TABLE ref.town ADD COLUMN mayor text")
            owner.execute("UPDATE ref.town SET mayor = 'CANARY mayor'")
            owner.execute("ALTER TABLE lapi.sighting RENAME COLUMN camera TO lens")
        assert "CANARY" not in str(c.query("SELECT * FROM ref.town").rows)
        for sql in ("SELECT camera FROM lapi.sighting", "SELECT family_name FROM taj.person WHERE person_id = 1001", "SELECT name FROM ref.town"):
            said = c.query(sql)
            assert said.rows or said.errors
    gate.stop()
    with pytest.raises(RuntimeError) as refused:
        gate.serve(timeout=20)
    assert "camera" in str(refused.value)


def test_session_limits(make_gate):
    gate = make_gate("brief", roles="""
  sentry:
    purposes: [judicial-inquiry]
    read: {taj.person: {key: clear}}
    budgets: [{subjects: 100, per: 1h}]
    session: {idle: 2s, lifetime: 4s}
  sleeper:
    purposes: [judicial-inquiry]
    read: {taj.person: {key: clear}}
    budgets: [{subjects: 100, per: 1h}]
    hours: "%s"
""" % ("Mon 00:00-00:01 UTC" if time.gmtime().tm_wday != 0 else "Tue 00:00-00:01 UTC"), accounts={"sentry": "sentry", "sleeper": "sleeper"})
    with gate.wire("sentry") as c:
        time.sleep(3)
        try:
            assert c.query("SELECT 1").sqlstate == "57P05"
        except OSError:
            pass
    with gate.wire("sentry") as c:
        codes = []
        for _ in range(12):
            try:
                codes.append(c.query("SELECT 1").sqlstate)
            except (wire.Closed, OSError):
                codes.append("closed")
                break
            time.sleep(0.5)
        assert "57P05" in codes
    try:
        with gate.wire("sleeper", purpose=False) as c:
            said = c.query("SELECT person_id FROM taj.person WHERE person_id = 1001")
            assert said.sqlstate == "42501" and not said.rows
    except wire.ServerError as refused:
        assert refused.sqlstate in ("42501", "28000")


def test_help_everywhere(running):
    import subprocess
    from harness.gate import BINARY
    for command in (["check"], ["apply"], ["serve"], ["account"], ["keys"], ["ledger"], ["demo"], ["account", "add"], ["ledger", "show"]):
        done = subprocess.run([BINARY, *command, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and "ecluse " + command[0] in done.stdout, command
    assert subprocess.run([BINARY, "no-such-command"], capture_output=True).returncode == 2
    assert subprocess.run([BINARY, "check", "--no-such-option"], capture_output=True).returncode == 2
