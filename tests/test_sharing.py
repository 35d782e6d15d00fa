"""Sessions that share connections, outlive what they came in by, or break off: nobody pays for another's doings."""
import os
import signal
import struct
import subprocess
import time

import pytest

from harness import gate as gates
from harness import wire
from harness.wire import FLUSH, SYNC, bind, cstring, execute, message, parse

gates.PURPOSE_OF["clerk2"] = gates.PURPOSE_OF["tight4"] = "permit-control"


@pytest.fixture(scope="module")
def g(make_gate):
    """One thread and so one pool: who comes next gets what was given back last."""
    gate = make_gate("sharing", serve=False, accounts={"prober": "prober", "second": "prober", "clerk": "clerk", "clerk2": "clerk"})
    gate.serve("--threads", "1")
    return gate


def test_a_query_behind_a_pipeline_that_failed_is_answered(g):
    """PostgreSQL skips the Query too, until Sync; here the session waits for ever."""
    c = g.wire("prober")
    c.socket.settimeout(5)
    c.send(parse("SELECT 1/0"), bind(), execute(), message("Q", cstring("SELECT 1")), SYNC)
    said = c.outcome()
    assert said.sqlstate == "22012"
    assert c.query("SELECT 2").rows == [(b"2",)]


def upstreams(gate, role="prober"):
    with gate.postgres.admin(gate.database) as c:
        return c.execute("SELECT pid, state, query FROM pg_stat_activity WHERE datname = %s AND usename LIKE %s",
                         [gate.database, f"%{role}"]).fetchall()


def test_and_its_connection_comes_back_when_the_client_has_gone(g):
    before = len(upstreams(g))
    for _ in range(5):
        c = g.wire("prober")
        c.send(parse("SELECT 1/0"), bind(), execute(), message("Q", cstring("SELECT 1")), SYNC)
        time.sleep(0.3)
        c.socket.close()
    time.sleep(6)
    with g.wire("prober") as c:
        assert c.query("SELECT 2").rows == [(b"2",)]
    assert len(upstreams(g)) <= before + 1, upstreams(g)


def test_no_more_than_its_client_holds_a_connection(make_gate):
    """80 clients that have long gone keep everybody of the role out, until the gate is started again."""
    gate = make_gate("hung", accounts={"prober": "prober", "second": "prober"})
    for _ in range(82):
        try:
            c = gate.wire("prober", purpose=False)
        except Exception:
            break
        c.send(parse("SELECT 1/0"), bind(), execute(), message("Q", cstring("SELECT 1")), SYNC)
        time.sleep(0.05)
        c.socket.close()
    gate.command("account", "lock", "prober", "--reason", "x")
    time.sleep(8)
    with gate.wire("second", purpose=False) as c:
        c.socket.settimeout(20)
        assert c.query("SELECT 2").rows == [(b"2",)]


def test_a_function_call_behind_a_pipeline_that_failed(g):
    c = g.wire("prober")
    c.socket.settimeout(5)
    c.send(parse("SELECT 1/0"), bind(), execute(), message("F", struct.pack("!ihhh", 1, 0, 0, 0)), SYNC)
    assert c.outcome().sqlstate == "22012"
    assert c.query("SELECT 2").rows == [(b"2",)]


def test_what_was_refused_is_not_committed_by_a_query_behind_it(make_gate):
    gate = make_gate("refused4", accounts={"tight4": "tight4"}, roles="""
  tight4:
    purposes: [permit-control]
    read:
      sia.owner: {key: clear, permit: clear}
      sia.permit: {key: clear, permit: clear, valid_until: clear}
    write:
      sia.permit:
        insert: [owner_id, kind, status, valid_until, points, remark]
        update: [kind, status, valid_until, points, remark]
        delete: true
    budgets: [{subjects: 2, per: 1h}, {lookups: 100000, per: 1h}, {failures: 20, per: 1h}]
""")
    with gate.wire("tight4") as c:
        c.socket.settimeout(5)
        c.query("BEGIN")
        c.send(parse("INSERT INTO sia.permit (owner_id, kind) VALUES (1001, 'torn')"), bind(), execute(),
               parse("SELECT * FROM sia.permit"), bind(), execute(), message("Q", cstring("COMMIT")), SYNC)
        assert c.outcome().sqlstate == "53400"
        assert c.query("SELECT 1").sqlstate == "25P02"
    time.sleep(1)
    with gate.postgres.admin(gate.database) as c:
        assert c.execute("SELECT count(*) FROM sia.permit WHERE kind = 'torn'").fetchone()[0] == 0


AMBIGUOUS = "SELECT '01/02/2024'::date::text AS {}"


def victim(g, sql):
    with g.wire("second") as c:
        said = c.extended(sql)
        assert not said.errors, said.errors
        return said.rows[0][0]


@pytest.mark.parametrize("way", ["set local default", "discard in a pipeline"])
def test_one_accounts_datestyle_does_not_reach_another(g, way):
    sql = AMBIGUOUS.format("a" if way == "set local default" else "b")
    with g.wire("prober") as c:
        c.query("SET datestyle = 'ISO, DMY'")
        if way == "set local default":
            for each in ("BEGIN", "SET LOCAL datestyle TO DEFAULT", "COMMIT"):
                assert not c.query(each).errors
        else:
            c.send(parse("SELECT 1"), bind(), execute(), parse("DISCARD ALL"), bind(), execute(), parse(sql), bind(), execute(), SYNC)
            assert c.outcome().sqlstate == "25001"
        assert c.extended(sql).rows == [(b"2024-02-01",)]
    time.sleep(0.5)
    assert victim(g, sql) == b"2024-01-02"


def test_no_comment_of_ones_own_passes_for_another_datestyle(g):
    sql = AMBIGUOUS.format("e")
    with g.wire("second") as c:
        c.query("SET datestyle = 'ISO, DMY'")
        zone, style = (c.query(f"SHOW {name}").rows[0][0].decode() for name in ("timezone", "intervalstyle"))
    reading = f"ISO, DMY;{style};{zone};"
    for mark in (reading, reading.encode().hex()):
        with g.wire("prober") as c:
            assert c.extended(f"{sql}\n/*{mark}*/").rows == [(b"2024-01-02",)]
    time.sleep(0.5)
    with g.wire("second") as c:
        c.query("SET datestyle = 'ISO, DMY'")
        assert c.extended(sql).rows == [(b"2024-02-01",)]


def test_one_accounts_datestyle_does_not_reach_another_by_its_parts(g):
    sql = AMBIGUOUS.format("c")
    with g.wire("prober") as c:
        c.query("SET datestyle = 'DMY'")
        c.query("SET datestyle = 'ISO'")
        assert c.extended(sql).rows == [(b"2024-02-01",)]
    time.sleep(0.5)
    with g.wire("second") as c:
        c.query("SET datestyle = 'ISO'")
        assert c.extended(sql).rows[0][0] == b"2024-01-02"


def test_what_is_prepared_beside_a_set_is_nobody_elses(g):
    sql = AMBIGUOUS.format("d")
    with g.wire("prober") as c:
        c.send(parse("SET datestyle = 'ISO, DMY'"), bind(), execute(), parse(sql), bind(), execute(), SYNC)
        assert c.outcome().rows == [(b"2024-02-01",)]
        c.query("BEGIN; SET LOCAL datestyle = 'ISO, MDY'")
        c.send(parse("ROLLBACK"), bind(), execute(), parse(sql), bind(), execute(), SYNC)
        assert c.outcome().rows == [(b"2024-02-01",)]
    time.sleep(0.5)
    assert victim(g, sql) == b"2024-01-02"


def test_a_sessions_datestyle_stays_when_its_connection_changes(g):
    with g.wire("prober") as c:
        c.query("SET datestyle = 'DMY'")
        c.query("SET datestyle = 'ISO'")
        first = c.query("SELECT '01/02/2024'::date::text").rows
        time.sleep(7)
        assert c.query("SELECT '01/02/2024'::date::text").rows == first


def test_one_accounts_datestyle_does_not_change_whom_another_finds(make_gate):
    """The same as above, over people: an officer of the same role looks up a birthday and is told of somebody else."""
    gate = make_gate("whom4", serve=False, accounts={"counter": "counter", "ann": "counter"})
    gate.serve("--threads", "1")
    with gate.postgres.owner(gate.database) as o:
        person, day = o.execute("SELECT person_id, birth_date FROM taj.person WHERE extract(day FROM birth_date) < 13 AND "
                                "extract(day FROM birth_date) <> extract(month FROM birth_date) ORDER BY 1 LIMIT 1").fetchone()
    sql = f"SELECT person_id FROM taj.person WHERE birth_date = '{day:%m/%d/%Y}'"
    with gate.wire("counter") as c:
        c.query("SET datestyle = 'ISO, DMY'")
        c.query("BEGIN")
        c.query("SET LOCAL datestyle TO DEFAULT")
        c.query("COMMIT")
        c.send(parse(sql), SYNC)  # nobody is looked up, nothing is charged
        c.outcome()
    time.sleep(0.5)
    with gate.wire("ann") as c:
        assert (str(person).encode(),) in c.extended(sql).rows


@pytest.mark.parametrize("draw", ["SELECT nextval('sia.permit_permit_id_seq')/0",
                                  "INSERT INTO sia.permit (owner_id, kind) VALUES (1001, NULL)"])
def test_a_sequence_drawn_by_one_is_not_told_to_the_next(g, draw):
    with g.wire("clerk") as c:
        assert c.query(draw).errors
    time.sleep(0.5)
    with g.wire("clerk2") as c:
        said = c.query("SELECT currval('sia.permit_permit_id_seq')")
        assert said.errors and not said.rows, said.rows


def test_a_sequence_in_a_pipeline(g):
    with g.wire("clerk") as c:
        c.send(parse("SELECT nextval('sia.permit_permit_id_seq')"), bind(), execute(), parse("SELECT 1/0"), bind(), execute(), SYNC)
        said = c.outcome()
        assert said.errors
    time.sleep(0.5)
    with g.wire("clerk2") as c:
        said = c.query("SELECT currval('sia.permit_permit_id_seq')")
        assert said.errors and not said.rows, said.rows


def test_a_session_ends_with_the_password_it_came_in_by(make_gate):
    """remove and add is the only way to change a password; whoever stole the old one must not go on reading."""
    gate = make_gate("changed", accounts={"prober": "prober"})
    with gate.wire("prober") as c:
        gate.command("account", "remove", "prober")
        gate.command("account", "add", "prober", "--role", "prober", "--organisation", "customs", "--password-stdin", stdin="another password\n")
        with pytest.raises(wire.ServerError):
            gate.wire("prober")
        time.sleep(5)
        said = c.query("SELECT person_id FROM taj.person WHERE person_id = 1001")
        assert said.errors and not said.rows, said.rows
        assert "has changed" in said.errors[0]["M"]


@pytest.mark.parametrize("how", ["copy", "execute"])
def test_a_portal_bound_under_an_old_policy(make_gate, how):
    """No transaction is open and nothing is locked: the new policy is in force, and the portal still runs under the old one."""
    gate = make_gate(f"oldportal-{how}", accounts={"exporter": "exporter"})
    with gate.wire("exporter") as c:
        assert not c.query("PREPARE s AS SELECT person_id, family_name FROM taj.person WHERE person_id = 1001").errors
        sql = "COPY (SELECT person_id, family_name FROM taj.person) TO STDOUT" if how == "copy" else "EXECUTE s"
        c.send(parse(sql), bind(), FLUSH)
        assert c.outcome(until="2").kinds == "12"
        with open(gate.config) as f:
            text = f.read()
        text = text.replace("export: true", "export: false").replace("purposes: [judicial-inquiry]", "purposes: [permit-control]")
        with open(gate.config, "w") as f:
            f.write(text)
        gate.apply()
        gate.signal(signal.SIGHUP)
        gate.wait_for(lambda: "is in force" in gate.log_text())
        time.sleep(1)
        c.send(execute(), SYNC)
        said = c.outcome()
        assert said.errors and not said.rows and not any(r.copied for r in said.results)


def raw_ledger(gate):
    out = b""
    for folder, _, files in os.walk(gate.data):
        for name in files:
            if name == "control.sock":
                continue
            with open(os.path.join(folder, name), "rb") as f:
                out += f.read()
    return out


@pytest.mark.parametrize("sql", ["SELECT * FROM taj.person WHERE family_name = 'Zanzibarov' 'Zanzibarov'",
                                 "SELECT * FROM taj.person WHERE family_name = Zanzibarov",
                                 "SELECT * FROM taj.person WHERE person_id = '1001 Zanzibarov",
                                 "SET ecluse.purpose = 'Zanzibarov'",
                                 "SELECT * FROM taj.person WHERE person_id = 'Zanzibarov'",
                                 "SELECT * FROM taj.person WHERE family_name = 'Zanzibarov' AND nope = 1",
                                 "SELECT set_config('zanzibarov', 'Zanzibarov', true)",
                                 "SET timezone TO 'Zanzibarov'",
                                 "SELECT 1 FROM taj.person WHERE note = 'x' LIMIT 'Zanzibarov'",
                                 "SELECT * FROM taj.person WHERE nir = E'\\\\xZanzibarov'::nope",
                                 "SELECT * FROM taj.person -- Zanzibarov\nWHERE nope = 1",
                                 "SELECT * FROM taj.person /* Zanzibarov */ LIMIT 1",
                                 ])
def test_no_literal_stands_in_clear_in_the_ledger(g, sql):
    entries = len(g.ledger())
    before = raw_ledger(g).lower().count(b"zanzibarov")
    with g.wire("prober") as c:
        said = c.query(sql)
    time.sleep(1)
    data = raw_ledger(g)
    n = data.lower().count(b"zanzibarov") - before
    at = data.lower().rfind(b"zanzibarov")
    assert n == 0, data[max(0, at - 250):at + 60]
    told = [e["message"] for e in g.ledger()[entries:] if e["kind"] == "refusal" and "count" not in e]
    assert told in ([], [e["M"] for e in said.errors])  # none: the same rule has refused the same account this minute


def test_what_was_refused_is_sealed_in_the_ledger(g):
    with g.wire("second") as c:
        assert c.query("SET ecluse.purpose = 'Zanzibarov'").errors
    g.wait_for(lambda: "the purpose Zanzibarov is not one of role prober" in [e.get("message") for e in g.ledger()])


SETTABLE = ["DateStyle", "TimeZone", "IntervalStyle", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
            "client_min_messages", "extra_float_digits", "bytea_output", "client_encoding", "default_transaction_isolation",
            "default_transaction_read_only", "default_transaction_deferrable", "transaction_isolation", "transaction_read_only", "application_name", "search_path"]


def seen(g):
    with g.wire("second", purpose=False) as c:
        out = {n: c.query(f"SHOW {n}").rows for n in SETTABLE}
        c.query("BEGIN")
        for name in ("h", "c"):
            assert c.query(f"FETCH 1 FROM {name}").errors
            c.query("ROLLBACK"), c.query("BEGIN")
        c.query("ROLLBACK")
        assert c.query("EXECUTE a").sqlstate == "26000"
        assert not c.query("SELECT count(*) FROM ref.numbers").errors
        assert not c.query("BEGIN").notices
        c.query("ROLLBACK")
        return out


SPOIL = ["SET DateStyle='German'", "SET TimeZone='Asia/Tokyo'", "SET IntervalStyle='iso_8601'", "SET statement_timeout='7s'", "SET lock_timeout='3s'",
         "SET client_min_messages='error'", "SET extra_float_digits=-5", "SET bytea_output='escape'", "SET client_encoding='sql_ascii'",
         "SET default_transaction_isolation='serializable'", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET application_name='evil'",
         "PREPARE a AS SELECT 1", "DECLARE h CURSOR WITH HOLD FOR SELECT id FROM ref.numbers"]


@pytest.mark.parametrize("how", ["polite", "abrupt", "in transaction", "aborted", "unsynced", "cancel", "hold", "discard", "mid-rows", "midbatch"])
def test_nothing_of_a_session_stays_on_its_connection(g, how):
    before = seen(g)
    c = g.wire("prober")
    if how in ("in transaction", "aborted"):
        c.query("BEGIN")
    if how == "unsynced":
        for s in SPOIL:
            c.send(parse(s), bind(), execute())
        c.send(FLUSH)
        time.sleep(0.3)
    else:
        for s in SPOIL:
            c.query(s)
    if how == "aborted":
        c.query("SELECT 1/0")
    if how == "hold":
        c.query("BEGIN"), c.query("DECLARE h2 CURSOR WITH HOLD FOR SELECT 1"), c.query("COMMIT")
    if how == "cancel":
        c.send(message("Q", cstring("SELECT count(*) FROM generate_series(1, 100000000)")))
        time.sleep(0.3)
        c.cancel()
        c.outcome()
    if how == "discard":
        c.query("DISCARD ALL")
    if how == "mid-rows":
        c.send(message("Q", cstring("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")))
        time.sleep(0.2)
    if how == "midbatch":
        c.send(parse("BEGIN"), bind(), execute(), parse("SELECT 1/0"), bind(), execute(), parse("SELECT 1"), FLUSH)
        time.sleep(0.2)
    c.close(how == "polite")
    for wait in (0.1, 1):
        time.sleep(wait)
        after = seen(g)
        assert before == after, {k: (before[k], after[k]) for k in before if before[k] != after[k]}


def test_discard_all_tells_what_it_changed(g):
    with g.wire("prober") as c:
        c.query("SET TimeZone = 'Asia/Tokyo'")
        said = c.query("DISCARD ALL")
        assert "TimeZone" in dict(said.parameters), said.kinds


def test_application_name_by_set_config(g):
    with g.wire("prober") as c:
        said = c.query("SELECT set_config('application_name', 'x', false)")
        assert said.rows == [(b"x",)] and said.tag == "SELECT 1"


def test_a_named_portal_ends_with_commit_in_a_pipeline(g):
    with g.wire("prober") as c:
        c.send(parse("SELECT 1", name="one"), bind(portal="p", statement="one"), execute("p"), parse("COMMIT"), bind(), execute(),
               bind(portal="p", statement="one"), execute("p"), SYNC)
        said = c.outcome()
        assert not said.errors, said.errors


def test_a_portal_behind_commit_in_pieces(g):
    """COMMIT ends the portals bound before it, and not the one bound after it, however the bytes arrive."""
    with g.wire("prober") as c:
        c.send(parse("SELECT 1", name="one"), parse("COMMIT"), bind(), execute(), bind(statement="one"), FLUSH)
        time.sleep(0.3)
        c.send(execute(), SYNC)
        said = c.outcome()
        assert not said.errors, said.errors
        assert said.rows == [(b"1",)]


def test_what_a_session_is_told_to_do_by_default_stays_when_its_connection_changes(g):
    with g.wire("clerk") as c:
        c.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        c.query("SET default_transaction_read_only = off")
        time.sleep(7)
        assert c.query("SHOW default_transaction_read_only").rows == [(b"off",)]
        c.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        time.sleep(7)
        assert c.query("SHOW default_transaction_read_only").rows == [(b"on",)]


def test_a_postgresql_that_answers_no_more_holds_nobody(g):
    """Its client has gone, it does not hear of its cancellation: the gate cuts the connection off."""
    with g.wire("prober") as c:
        pid = int(c.query("SELECT pg_backend_pid()").rows[0][0]) if not c.query("BEGIN").errors else 0
        assert pid
        os.kill(pid, signal.SIGSTOP)
        try:
            c.send(message("Q", cstring("SELECT 1")))
            time.sleep(0.3)
            c.socket.close()
            g.wait_for(lambda: "lost PostgreSQL" in g.log_text(), 30)
            with g.wire("second") as other:
                assert other.query("SELECT 2").rows == [(b"2",)]
        finally:
            os.kill(pid, signal.SIGCONT)


def test_modes_of_what_lies_in_the_data_folder(g):
    loose = [os.path.join(f, n) for f, ds, fs in os.walk(g.data) for n in ds + fs if os.lstat(os.path.join(f, n)).st_mode & 0o077]
    assert not loose


@pytest.mark.parametrize("name,organisation", [("x\ny", "o"), ("../x", "o"), ("x", "a\n\x1b[2Jb"), ("z", "caf\udce9")])
def test_odd_accounts(g, name, organisation):
    done = subprocess.run([gates.BINARY, "account", "add", name, "--organisation", organisation, "--role", "prober",
                           "--password-stdin", "--config", g.config], input=b"long password\n", capture_output=True)
    assert done.returncode != 0 and done.stderr, done
    listed = subprocess.run([gates.BINARY, "account", "list", "--config", g.config], capture_output=True)
    assert listed.returncode == 0 and b"\x1b" not in listed.stdout
    with g.wire("prober") as c:
        assert c.query("SELECT 1").rows
    assert not [line for line in g.log_text().splitlines() if " error " in line]
