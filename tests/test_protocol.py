"""What a proxy gets wrong: each line of the door's protocol checklist, spoken byte by byte."""
import hashlib
import os
import socket
import statistics
import struct
import subprocess
import threading
import time

import pytest

from harness import wire
from harness.gate import password_of
from harness.wire import SYNC, FLUSH, bind, close, cstring, describe, execute, message, parse


@pytest.fixture
def client(gate):
    c = gate.wire("prober")
    yield c
    c.close()


@pytest.fixture
def bare(gate):
    """Connected, nothing said."""
    made = []

    def connect(**options):
        c = wire.Client(gate.host, gate.port, "prober", password_of("prober"), gate.database, connect=False, timeout=20, **options)
        made.append(c)
        return c
    yield connect
    for c in made:
        c.close(politely=False)


@pytest.fixture(scope="module")
def tls_gate(make_gate, workspace):
    for name in ("gate",):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-keyout", f"{workspace}/{name}.key", "-out", f"{workspace}/{name}.crt"], check=True, capture_output=True)
        os.chmod(f"{workspace}/{name}.key", 0o600)
    return make_gate("secured", accounts={"prober": "prober"}, tls=f", tls: {{certificate: {workspace}/gate.crt, key: {workspace}/gate.key}}")


# --- startup ---
def test_startup_in_single_bytes(gate, bare):
    c = bare()
    body = cstring("user") + cstring("prober") + cstring("database") + cstring(gate.database) + b"\0"
    for byte in struct.pack("!ii", len(body) + 8, 0x30000) + body:
        c.send(bytes([byte]))
    c.authenticate()
    for byte in message("Q", cstring("SELECT 1")):
        c.send(bytes([byte]))
    assert c.outcome().rows == [(b"1",)]


def test_ssl_and_gss_requests_in_clear(bare):
    c = bare()
    c.send(struct.pack("!ii", 8, 80877104))  # GSSENCRequest
    assert c.read(1) == b"N"
    c.send(struct.pack("!ii", 8, 80877103))  # SSLRequest, on a gate without a certificate
    assert c.read(1) == b"N"
    c.startup({"user": "prober", "database": "interior"})
    c.authenticate()
    assert c.query("SELECT 1").rows == [(b"1",)]


def test_gss_then_tls(tls_gate):
    c = wire.Client(tls_gate.host, tls_gate.port, "prober", password_of("prober"), tls_gate.database, connect=False)
    c.send(struct.pack("!ii", 8, 80877104))
    assert c.read(1) == b"N"
    c.start_tls()
    c.startup({"user": "prober", "database": tls_gate.database})
    c.authenticate()
    assert c.query("SELECT 1").rows == [(b"1",)]
    c.close()


def test_bytes_sent_before_tls_are_not_taken_for_tls(tls_gate):
    """A man in the middle who appends clear bytes to the SSLRequest must not have them read as encrypted (CVE-2021-23214)."""
    s = socket.create_connection((tls_gate.host, tls_gate.port), timeout=10)
    body = cstring("user") + cstring("prober") + b"\0"
    s.sendall(struct.pack("!ii", 8, 80877103) + struct.pack("!ii", len(body) + 8, 0x30000) + body)
    said = b""
    try:
        while chunk := s.recv(4096):
            said += chunk
    except (TimeoutError, ConnectionError):
        pass
    assert said[:1] != b"R" and b"SCRAM" not in said
    s.close()


@pytest.mark.parametrize("plus", [False, True], ids=["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
def test_scram_over_tls(tls_gate, plus):
    c = wire.Client(tls_gate.host, tls_gate.port, "prober", password_of("prober"), tls_gate.database, tls=True, plus=plus)
    assert c.query("SELECT 1").rows == [(b"1",)]
    c.close()


def test_channel_binding_to_another_certificate_is_refused(tls_gate):
    c = wire.Client(tls_gate.host, tls_gate.port, "prober", password_of("prober"), tls_gate.database, tls=True, connect=False)
    c.binding = lambda: hashlib.sha256(b"another certificate").digest()
    c.startup({"user": "prober", "database": tls_gate.database})
    with pytest.raises(wire.ServerError) as refused:
        c.authenticate(plus=True)
    assert refused.value.sqlstate in ("28P01", "28000", "08P01")


def test_plus_is_offered_only_where_there_is_a_channel(bare):
    c = bare()
    c.startup({"user": "prober", "database": "interior"})
    kind, payload = c.receive()
    assert kind == "R" and b"SCRAM-SHA-256\0" in payload and b"PLUS" not in payload


def test_a_psql_that_insists_on_binding_gets_in(tls_gate):
    env = tls_gate.environment("prober") | {"PGSSLMODE": "require", "PGCHANNELBINDING": "require"}
    assert subprocess.run(["psql", "-Atc", "SELECT 1"], env=env, capture_output=True, text=True).stdout == "1\n"


@pytest.mark.parametrize("length", [0, 3, 4, 7, -1, -2**31, 2**31 - 1, 10_001, 100_000_000])
def test_startup_lengths(bare, length):
    """A length is checked before anything is allocated or read; less than a header must not wrap."""
    c = bare()
    c.send(struct.pack("!i", length) + struct.pack("!i", 0x30000) + b"user\0prober\0\0")
    assert c.closed()


@pytest.mark.parametrize("length", [0, 1, 3, -1, -2**31, 2**31 - 1])
def test_message_lengths(gate, client, length):
    client.send(b"Q" + struct.pack("!i", length) + b"SELECT 1\0")
    try:
        said = client.outcome(until="ZE")
        assert said.sqlstate == "08P01" and said.errors[0]["S"] == "FATAL"
    except (wire.Closed, ConnectionError):
        pass
    assert client.closed()
    with gate.wire("prober") as other:
        assert other.query("SELECT 1").rows == [(b"1",)]


def test_password_message_lengths(bare):
    c = bare()
    c.startup({"user": "prober", "database": "interior"})
    assert c.receive()[0] == "R"
    c.send(b"p" + struct.pack("!i", 2**30))
    assert c.closed()


def test_newer_minor_and_unknown_options_are_negotiated(gate, bare):
    c = bare()
    c.startup({"user": "prober", "database": gate.database, "_pq_.sails": "up", "_pq_.oars": "down"}, version=0x30002)
    c.authenticate()
    newest, count = struct.unpack_from("!ii", c.negotiated)
    names = c.negotiated[8:].rstrip(b"\0").split(b"\0")
    assert newest in (0, 0x30000) and count == 2 and names == [b"_pq_.sails", b"_pq_.oars"]
    assert c.query("SELECT 1").rows == [(b"1",)]


def test_protocol_two_is_refused_in_words(bare):
    c = bare()
    c.send(struct.pack("!ii", 8, 0x20000))
    assert c.closed()


def test_startup_parameters_are_never_upstreams(gate):
    """search_path or role from a startup packet must not move the gate's own queries."""
    for options in ({"search_path": "closed"}, {"options": "-c search_path=closed,taj"}, {"role": "owner"},
                    {"session_authorization": "owner"}, {"options": "-c role=owner -c row_security=off"},
                    {"default_transaction_read_only": "on"}):
        try:
            c = gate.wire("prober", options=options)
        except wire.ServerError as refused:
            assert refused.sqlstate[:2] in ("42", "28", "0A", "22")
            continue
        assert c.query("SELECT phone FROM taj.person WHERE person_id = 1001").rows in ([(None,)], [])
        assert c.query("SELECT name FROM agent").errors
        c.close()


def test_replication_is_refused(gate):
    for value in ("true", "database", "on", "1"):
        with pytest.raises(wire.ServerError) as refused:
            gate.wire("prober", options={"replication": value})
        assert refused.value.sqlstate == "42501"


def test_startup_tells_what_drivers_need(client):
    for name in ("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes",
                 "standard_conforming_strings", "IntervalStyle", "is_superuser", "session_authorization"):
        assert name in client.parameters, name
    assert client.parameters["client_encoding"] == "UTF8"
    assert client.parameters["is_superuser"] == "off"
    assert client.parameters["session_authorization"] == "prober"
    assert len(client.key) >= 8


# --- SCRAM ---
def test_unknown_user_and_wrong_password_say_the_same(gate):
    said = []
    for account in ("prober", "nobody-of-that-name"):
        with pytest.raises(wire.ServerError) as refused:
            gate.wire(account, password="wrong")
        fields = dict(refused.value.fields)
        fields["M"] = fields["M"].replace(account, "X")
        said.append(fields)
    assert said[0] == said[1] and said[0]["C"] == "28P01"


def test_the_salt_of_an_unknown_user_stays_the_same(gate, bare):
    def first(user):
        c = bare()
        c.startup({"user": user, "database": gate.database})
        c.receive()
        body = b"n,,n=,r=abcdefghijklmnopqrstuvwx"
        c.send(message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(body)) + body))
        kind, payload = c.receive()
        parts = dict(p.split(b"=", 1) for p in payload[4:].split(b","))
        return parts[b"s"], parts[b"i"]
    assert first("ghost") == first("ghost")
    assert first("ghost") != first("phantom")
    assert first("ghost")[1] == first("counter")[1] and len(first("ghost")[0]) == len(first("counter")[0])


def test_an_unknown_user_takes_as_long(gate):
    def once(account):
        begin = time.perf_counter()
        with pytest.raises(wire.ServerError):
            gate.wire(account, password="wrong", source="127.0.7.7")
        return time.perf_counter() - begin
    known = statistics.median(once("exporter") for _ in range(5))
    unknown = statistics.median(once(f"ghost-{i}") for i in range(5))
    assert 0.2 < known / unknown < 5  # an order of magnitude would tell who exists


@pytest.mark.parametrize("first", [b"n,,n=,r=" + b"x" * 100_000, b"n,,n=,r=", b"y,,n=,r=abc", b"p=tls-unique,,n=,r=abc",
                                   b"n,a=other,n=,r=abcabcabcabcabcabc", b"n,,m=x,n=,r=abcabcabcabc", b"", b"\xff\xfe", b"n,,"])
def test_malformed_scram(gate, bare, first):
    c = bare()
    c.startup({"user": "prober", "database": gate.database})
    c.receive()
    c.send(message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
    kind, payload = c.receive()
    if kind == "E":
        assert wire.fields_of(payload)["C"] in ("28P01", "28000", "08P01", "0A000")
    else:  # a short nonce or `y` without a channel may be answered; it leads nowhere without the proof
        assert kind == "R" and struct.unpack_from("!i", payload)[0] == 11
        c.send(message("p", b"c=biws,r=" + payload[4:].split(b",")[0][2:] + b",p=AAAA"))
        assert c.receive()[0] == "E"
    assert c.closed()


def test_scram_proof_is_checked(gate, bare):
    c = bare()
    c.password = "another"
    c.startup({"user": "prober", "database": gate.database})
    with pytest.raises(wire.ServerError):
        c.authenticate()


def test_lock_out_by_account(make_gate):
    gate = make_gate("lockable", accounts={"officer": "officer", "prober": "prober"})
    for i in range(14):
        with pytest.raises(wire.ServerError):
            gate.wire("officer", password="guess", source=f"127.0.3.{i + 1}")
    with pytest.raises(wire.ServerError) as refused:
        gate.wire("officer", source="127.0.3.99")  # now even the right password
    assert refused.value.sqlstate in ("28000", "28P01", "53300")
    with gate.wire("prober", source="127.0.3.99") as c:
        assert c.query("SELECT 1").rows


# --- pipelines ---
def test_pipeline_with_one_sync(client):
    batch = b"".join(parse(f"SELECT {i}") + bind() + describe() + execute() for i in range(50))
    client.send(batch + SYNC)
    said = client.outcome()
    assert [r.rows for r in said.results] == [[(str(i).encode(),)] for i in range(50)]
    assert said.kinds == "12TDC" * 50 + "Z"


def test_many_syncs_before_any_answer(client):
    for i in range(30):
        client.send(parse("SELECT $1::int"), bind([i]), execute(), SYNC)
    for i in range(30):
        assert client.outcome().rows == [(str(i).encode(),)]


def test_flush_without_sync_answers_and_keeps_the_transaction_open(client):
    client.send(parse("SELECT 41"), bind(), execute(), FLUSH)
    assert client.outcome(until="C").rows == [(b"41",)]
    assert client.silent(0.2)  # no ReadyForQuery: nobody sent a Sync
    client.send(parse("SELECT 42"), bind(), execute(), SYNC)
    said = client.outcome()
    assert said.rows == [(b"42",)] and said.kinds == "12DCZ"


def test_guarded_rows_come_after_flush_too(client):
    client.send(parse("SELECT person_id FROM taj.person WHERE person_id = 1001"), bind(), execute(), FLUSH)
    assert client.outcome(until="C").rows == [(b"1001",)]
    client.send(SYNC)
    assert client.outcome().kinds == "Z"


def test_an_error_is_told_at_once_and_discards_until_sync(client):
    client.send(parse("SELECT broken"), bind(), execute(), parse("SELECT 2"), bind(), execute())
    assert client.receive()[0] == "E"
    assert client.silent(0.2)
    client.send(parse("SELECT 3"), bind(), execute(), close("S", "x"), FLUSH)
    assert client.silent(0.2)
    client.send(SYNC)
    assert client.outcome().kinds == "Z"
    client.send(parse("SELECT 4"), bind(), execute(), SYNC)
    assert client.outcome().rows == [(b"4",)]


def test_a_refusal_discards_until_sync_like_an_error(client):
    client.send(parse("SELECT name FROM closed.agent"), bind(), execute(), parse("SELECT 2"), bind(), execute(), SYNC)
    assert client.outcome().kinds == "EZ"
    client.send(parse("SELECT 1"), bind(), execute(), parse("SELECT name FROM closed.agent"), parse("SELECT 2"), bind(), execute(), SYNC)
    said = client.outcome()
    assert said.rows == [(b"1",)] and said.kinds == "12DCEZ"


def test_a_simple_error_discards_nothing(client):
    client.send(message("Q", cstring("SELECT broken")), message("Q", cstring("SELECT 5")), message("Q", cstring("SELECT 6")))
    assert client.outcome().kinds == "EZ"
    assert client.outcome().rows == [(b"5",)]
    assert client.outcome().rows == [(b"6",)]


def test_simple_error_stops_the_text(client):
    said = client.query("SELECT 1; SELECT 1/0; SELECT 3")
    assert said.rows == [(b"1",)] and said.sqlstate == "22012" and said.kinds.endswith("EZ")


def test_a_query_before_ready(client):
    client.send(message("Q", cstring("SELECT pg_typeof(1)")), parse("SELECT 7"), bind(), execute(), SYNC)
    assert client.outcome().rows == [(b"integer",)]
    assert client.outcome().rows == [(b"7",)]


def test_transaction_status(client):
    assert client.query("BEGIN").status == "T"
    assert client.query("SELECT broken").status == "E"
    said = client.query("SELECT 1")
    assert said.sqlstate == "25P02" and said.status == "E"
    assert client.query("ROLLBACK").status == "I"


def test_a_refusal_by_the_gate_fails_the_transaction_too(client):
    assert client.query("BEGIN").status == "T"
    refused = client.query("SELECT name FROM closed.agent")
    assert refused.errors and refused.status == "E"
    assert client.query("SELECT 1").sqlstate == "25P02"
    said = client.query("COMMIT")
    assert said.tag == "ROLLBACK" and said.status == "I"


def test_savepoints(client):
    client.query("BEGIN; SAVEPOINT a")
    assert client.query("SELECT name FROM closed.agent").status == "E"
    assert client.query("ROLLBACK TO SAVEPOINT a").status == "T"
    assert client.query("SELECT 1").rows == [(b"1",)]
    assert client.query("COMMIT").tag == "COMMIT"


# --- statements and portals ---
def test_the_unnamed_statement_is_redefined_within_a_batch(client):
    client.send(parse("SELECT 1"), parse("SELECT 2"), bind(), execute(), parse("SELECT 'three'"), bind(), execute(), SYNC)
    assert client.outcome().rows == [(b"2",), (b"three",)]


def test_closing_an_unknown_statement_succeeds(client):
    client.send(close("S", "never"), close("P", "never"), SYNC)
    assert client.outcome().kinds == "33Z"


def test_names_of_any_length(client):
    long = "n" * 5000
    other = "n" * 5001
    client.send(parse("SELECT 1", name=long), parse("SELECT 2", name=other), bind(statement=long, portal=long),
                bind(statement=other, portal=other), execute(long), execute(other), SYNC)
    assert client.outcome().rows == [(b"1",), (b"2",)]


def test_a_failed_parse_leaves_nothing_behind(client):
    client.send(parse("SELECT broken", name="s"), SYNC)
    assert client.outcome().sqlstate == "42703"
    client.send(bind(statement="s"), SYNC)
    assert client.outcome().sqlstate == "26000"
    client.send(parse("SELECT 8", name="s"), bind(statement="s"), execute(), SYNC)
    assert client.outcome().rows == [(b"8",)]


def test_a_name_in_use_is_refused(client):
    client.send(parse("SELECT 1", name="twice"), SYNC)
    assert client.outcome().kinds == "1Z"
    client.send(parse("SELECT 2", name="twice"), SYNC)
    assert client.outcome().sqlstate == "42P05"


def test_an_unknown_portal_is_refused(client):
    client.send(execute("never"), SYNC)
    assert client.outcome().sqlstate == "34000"


@pytest.mark.parametrize("sql", ["SELECT town_id, name FROM ref.town WHERE town_id = 1",
                                 "SELECT person_id, family_name FROM taj.person WHERE person_id = 1001"], ids=["open", "guarded"])
def test_formats_come_from_bind(client, sql):
    client.send(parse(sql, name=f"f{hash(sql)}"), describe("S", f"f{hash(sql)}"), SYNC)
    described = client.outcome()
    assert described.kinds in ("1tTZ",)
    for formats in ([], [0], [1], [0, 1], [1, 0]):
        client.send(bind(statement=f"f{hash(sql)}", result_formats=formats), describe("P"), execute(), SYNC)
        said = client.outcome()
        wanted = formats * 2 if len(formats) == 1 else formats or [0, 0]
        assert [c[4] for c in said.results[0].columns] == wanted
        number = said.rows[0][0]
        assert number == (b"1" if "town" in sql else b"1001") if wanted[0] == 0 else len(number) == 4


def test_wrong_number_of_parameters_and_formats(client):
    client.send(parse("SELECT $1::int + $2::int"), bind([1]), execute(), SYNC)
    assert client.outcome().sqlstate == "08P01"
    client.send(parse("SELECT 1, 2, 3"), bind(result_formats=[0, 1]), execute(), SYNC)
    assert client.outcome().sqlstate == "08P01"


def test_parameters_are_described_with_their_declared_types(client):
    client.send(parse("SELECT family_name FROM taj.person WHERE person_id = $1 AND sex = $2", types=[20]), describe("S"), SYNC)
    client.socket.settimeout(10)
    kinds = {}
    while True:
        kind, payload = client.receive()
        kinds[kind] = payload
        if kind == "Z":
            break
    assert struct.unpack("!hII", kinds["t"]) == (2, 20, 25)
    assert [c[0] for c in wire.columns_of(kinds["T"])] == ["family_name"]


@pytest.mark.parametrize("sql", ["SELECT person_id FROM taj.person WHERE person_id < 1030 ORDER BY 1",
                                 "SELECT id FROM ref.numbers WHERE id <= 10 ORDER BY 1"], ids=["guarded", "open"])
def test_portals_are_suspended_and_go_on(client, sql):
    client.send(parse(sql), bind(portal="p"), execute("p", 4), FLUSH)
    first = client.outcome(until="s")
    client.send(execute("p", 4), execute("p", 4), FLUSH)
    second = client.outcome(until="s")
    third = client.outcome(until="C")
    client.send(SYNC)
    client.outcome()
    counts = [len(first.rows), len(second.rows), len(third.rows)]
    assert counts == [4, 4, 2]
    assert len({r for o in (first, second, third) for r in o.rows}) == 10


def test_portals_interleave(client):
    client.send(parse("SELECT id FROM ref.numbers WHERE id < 5 ORDER BY 1"), bind(portal="a"), bind(portal="b"),
                execute("a", 2), execute("b", 1), execute("a", 2), execute("b", 5), SYNC)
    assert [len(r.rows) for r in client.outcome().results] == [2, 1, 2, 3]


def test_empty_query(client):
    assert client.query("").kinds == "IZ"
    assert client.query(" ; -- nothing\n ").kinds == "IZ"
    client.send(parse(""), bind(), describe(), execute(), SYNC)
    assert client.outcome().kinds == "12nIZ"


# --- COPY ---
def test_copy_in_ignores_sync_and_flush(gate):
    with gate.wire("clerk") as c:
        c.query("BEGIN")
        c.send(message("Q", cstring("COPY sia.permit (owner_id, kind) FROM STDIN")))
        kind, _ = c.receive()
        assert kind == "G"
        c.send(SYNC, FLUSH, message("d", b"1001\tsport\n"), SYNC, message("c"))
        said = c.outcome()
        assert said.tag == "COPY 1" and said.kinds == "CZ"
        assert c.query("ROLLBACK").status == "I"


def test_late_copy_done_after_an_error(gate):
    with gate.wire("clerk") as c:
        c.send(message("Q", cstring("COPY sia.permit (owner_id, kind, points) FROM STDIN")), message("d", b"1001\tsport\tnone\n"),
               message("d", b"1001\tsport\t1\n"), message("c"))
        said = c.outcome()
        assert said.errors and said.kinds.endswith("EZ")
        assert c.query("SELECT 1").rows == [(b"1",)]


def test_copy_fail(gate):
    with gate.wire("clerk") as c:
        c.send(message("Q", cstring("COPY sia.permit (owner_id, kind) FROM STDIN")), message("d", b"1001\tsport\n"),
               message("f", cstring("changed my mind")))
        said = c.outcome()
        assert said.sqlstate == "57014" and "changed my mind" in said.error
        assert c.query("SELECT count(*) FROM sia.permit WHERE permit_id > 100000 AND owner_id = 1001").rows == [(b"0",)]


def test_copy_data_out_of_place_is_ignored(client):
    client.send(message("d", b"1\n"), message("c"), message("Q", cstring("SELECT 9")))
    assert client.outcome().rows == [(b"9",)]


def test_copy_out_in_the_middle_is_cancelled(gate):
    with gate.wire("exporter") as c:
        c.send(message("Q", cstring("COPY (SELECT p.person_id, q.person_id FROM taj.person p, taj.person q, taj.person r) TO STDOUT")))
        assert c.receive()[0] == "H"
        assert c.receive()[0] == "d"
        c.cancel()
        said = c.outcome()
        assert said.sqlstate == "57014"
        assert c.query("SELECT 1").rows == [(b"1",)]


# --- cancel ---
def test_cancel(client):
    client.send(message("Q", cstring("SELECT count(*) FROM ref.numbers a, ref.numbers b, ref.numbers c")))
    time.sleep(0.3)
    begin = time.monotonic()
    client.cancel()
    assert client.outcome().sqlstate == "57014" and time.monotonic() - begin < 5
    assert client.query("SELECT 1").rows == [(b"1",)]


def test_cancels_from_all_sides(gate):
    """A cancel request comes in on any thread of the gate, and its session may be anywhere in its life."""
    odd = []

    def talk(n):
        with gate.wire("prober") as c:
            for i in range(12):
                c.send(message("Q", cstring("SELECT count(*) FROM ref.numbers a, ref.numbers b WHERE b.id <= 100" if (n + i) % 3 else "SELECT 1")))
                time.sleep(0.002 * ((n * 7 + i * 5) % 11))
                c.cancel()
                said = c.outcome()
                if not said.rows and said.sqlstate != "57014":
                    odd.append(said)
            c.send(wire.TERMINATE)
            c.cancel()
    threads = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert odd == [] and gate.alive()


def test_cancel_keys_are_the_gates_own(gate, client, postgres):
    with postgres.admin() as admin:
        pids = {r[0] for r in admin.execute("SELECT pid FROM pg_stat_activity").fetchall()}
    client.query("SELECT 1")
    assert struct.unpack_from("!i", client.key)[0] not in pids


def test_a_wrong_key_cancels_nothing(gate, client):
    client.send(message("Q", cstring("SELECT count(*) FROM ref.numbers a, ref.numbers b WHERE a.k + b.k = 17")))
    for key in (client.key[:4] + bytes(4), bytes(8), client.key[:4], client.key + b"x" * 252, client.key + b"x" * 300):
        with socket.create_connection((gate.host, gate.port), timeout=5) as s:
            s.sendall(struct.pack("!ii", len(key) + 8, 80877102) + key)
            s.recv(100)
    assert client.outcome().rows


# --- asynchronous messages ---
def test_parameter_status_and_its_revert(client):
    said = client.query("SET application_name = 'rowing'")
    assert ("application_name", "rowing") in said.parameters
    client.query("BEGIN")
    assert ("DateStyle", "SQL, DMY") in client.query("SET DateStyle = 'SQL, DMY'").parameters
    assert ("DateStyle", "ISO, MDY") in client.query("ROLLBACK").parameters
    assert client.query("SHOW DateStyle").rows == [(b"ISO, MDY",)]


def test_settings_do_not_stay_behind(gate):
    with gate.wire("prober") as c:
        c.query("SET DateStyle = 'German'; SET TIME ZONE 'Asia/Tokyo'; SET application_name = 'left behind'")
    for _ in range(6):
        with gate.wire("prober") as c:
            assert c.query("SHOW TimeZone").text_rows() != [("Asia/Tokyo",)]
            assert c.query("SHOW DateStyle").text_rows() == [("ISO, MDY",)]


def test_notices_are_treated_like_errors(client):
    """A notice over guarded rows could carry values as well as an error does."""
    said = client.query("SELECT 1 AS a; ROLLBACK")
    assert all("CANARY" not in str(n) for n in said.notices)
    assert [n["C"] for n in said.notices] == ["25P01"]


# --- what is not understood ---
@pytest.mark.parametrize("kind", ["\x00", "z", "R", "Z", "T", "~", "v"])
def test_an_unknown_message_ends_the_session(client, kind):
    client.send(kind.encode() + struct.pack("!i", 8) + b"abcd")
    said = client.outcome(until="ZE")
    assert said.sqlstate == "08P01" and said.errors[0]["S"] == "FATAL"
    assert client.closed()


def test_function_call_is_refused(client):
    client.send(message("F", struct.pack("!ihhih", 2325, 0, 0, 0, 0)))
    said = client.outcome()
    assert said.sqlstate in ("42501", "0A000", "08P01")


@pytest.mark.parametrize("payload", [b"", b"\0", b"x", b"x\0y", b"\0\0\xff\xff", b"\0\0\0\1\0\0", b"\0\0\0\0\0\1\0\0\0\5ab"])
@pytest.mark.parametrize("kind", ["P", "B", "D", "E", "C", "Q"])
def test_malformed_payloads(gate, client, kind, payload):
    client.send(message(kind, payload), SYNC)
    try:
        said = client.outcome()
        assert said.errors or said.kinds in ("IZ", "nZ", "3Z", "1Z", "Z") or said.status
    except (wire.Closed, ConnectionError):
        pass
    with gate.wire("prober") as other:
        assert other.query("SELECT 1").rows == [(b"1",)]


def test_nul_in_a_text(client):
    client.send(message("Q", b"SELECT 1\0; SELECT 2\0"))
    try:
        said = client.outcome()
        assert said.errors and not said.rows
    except wire.Closed:
        pass


def test_invalid_utf8(client):
    said = client.query(b"SELECT '\xff\xfe'")
    assert said.sqlstate == "22021"


# --- slow and silent ---
def test_slow_loris_before_authentication(gate):
    """Bytes that trickle do not keep a connection that never authenticates."""
    s = socket.create_connection((gate.host, gate.port), timeout=30)
    begin = time.monotonic()
    try:
        for byte in struct.pack("!ii", 100, 0x30000) + b"user\0" * 30:
            s.sendall(bytes([byte]))
            time.sleep(0.4)
            s.setblocking(False)
            try:
                if s.recv(1024) == b"":
                    break
            except BlockingIOError:
                pass
            finally:
                s.setblocking(True)
            if time.monotonic() - begin > 25:
                pytest.fail("still open after 25 s")
    except ConnectionError:
        pass
    assert time.monotonic() - begin < 25


def test_slow_reader_is_served_to_the_end(gate):
    """The upstream is paused, not drained into memory: see also test_bad_input.py for the memory it takes."""
    with gate.wire("prober") as c:
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.send(message("Q", cstring("SELECT id, repeat('x', 500) FROM ref.numbers")))
        time.sleep(0.5)
        assert len(c.outcome().rows) == 20000


def test_sessions_side_by_side(gate):
    """One that waits does not hold up another."""
    with gate.wire("prober") as slow, gate.wire("prober") as quick:
        slow.send(message("Q", cstring("SELECT count(*) FROM ref.numbers a, ref.numbers b WHERE a.k + b.k = 17")))
        begin = time.monotonic()
        for _ in range(5):
            assert quick.query("SELECT 1").rows == [(b"1",)]
        assert time.monotonic() - begin < 2
        slow.cancel()
        slow.outcome()


def test_many_threads(gate):
    """Answers never cross from one session to another."""
    wrong = []

    def talk(n):
        with gate.wire("prober") as c:
            for i in range(40):
                if c.extended("SELECT $1::int", [n * 1000 + i]).rows != [(str(n * 1000 + i).encode(),)]:
                    wrong.append(n)
    threads = [threading.Thread(target=talk, args=(n,)) for n in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert wrong == []
