"""A gate that has its ledger cosigned: by real witnesses, by ones that stall, lie or return garbage, and by none."""
import http.server
import json
import os
import shutil
import ssl
import subprocess
import threading
import time

import pytest

from harness import gate as gates
from harness.witness import Running

GRACE = 10


def look(gate, person=1001):
    with gate.wire("counter") as c:
        return c.query(f"SELECT person_id FROM taj.person WHERE person_id = {person}")


def cosigned(gate):
    """(size, note without cosignatures, lines of cosignatures)"""
    with open(os.path.join(gate.data, "ledger", "cosigned")) as f:
        text = f.read()
    body, lines = text.split("\n\n")
    lines = lines.splitlines(keepends=True)
    return int(body.split("\n")[1]), body + "\n\n" + lines[0], lines[1:]


def covered(gate, seconds=20):
    """Until everything is cosigned; returns what the file holds then."""
    return gate.wait_for(lambda: os.path.exists(os.path.join(gate.data, "ledger", "cosigned")) and cosigned(gate)[2]
                         and cosigned(gate)[0] == len(gate.ledger()) and cosigned(gate), seconds)


def alerts(gate):
    return [e["reason"] for e in gate.ledger("--kind", "alert")]


def section(*witnesses, required=1, grace=GRACE):
    listed = ", ".join(f"{{name: {w[0]}, key: {w[1]}, url: '{w[2]}'}}" for w in witnesses)
    return f"{{witnesses: [{listed}], required_witnesses: {required}, witness_grace: {grace}s}}"


def of(running):
    return running.name, running.vkey, running.url


@pytest.fixture
def g(make_gate, request):
    """A gate that has a ledger, and so a key for witnesses to know, and does not run."""
    name = "seen" + "".join(c for c in request.node.name if c.isalnum())[-24:]
    gate = make_gate(name.lower(), accounts={"counter": "counter"})
    assert not look(gate).errors
    gate.stop()
    return gate


@pytest.fixture
def witness(tmp_path):
    made = []

    def make(gate, name, port=0):
        made.append(Running(tmp_path / name, os.path.join(gate.data, "ledger", "vkey"), name=f"witness.example/{name}", port=port))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.stop()


def witnessed(gate, *witnesses, serve=True, **options):
    gate.write_policy(ledger=section(*witnesses, **options))
    gate.apply()
    return gate.serve() if serve else gate


class Fake:
    """Answers as it is told to: `answer(body) -> (status, bytes)`, or None for no answer at all."""

    def __init__(self, answer, context=None):
        outer = self
        self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.asked.append((self.path, body))
                said = outer.answer(body)
                if said is None:
                    time.sleep(20)
                    return
                self.send_response(said[0])
                self.send_header("Content-Length", str(len(said[1])))
                self.end_headers()
                self.wfile.write(said[1])

            def log_message(self, *args):
                pass

        self.answer = answer
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if context else 'http'}://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def fake():
    made = []

    def make(answer, context=None):
        made.append(Fake(answer, context))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_checkpoints_are_cosigned(g, witness):
    one, two = witness(g, "one"), witness(g, "two")
    witnessed(g, of(one), of(two))
    for person in (1001, 1004, 1007):
        assert not look(g, person).errors
    size, note, lines = g.wait_for(lambda: (found := covered(g)) and len(found[2]) == 2 and found)
    assert size == len(g.ledger())
    with open(os.path.join(g.data, "ledger", "checkpoint")) as f:
        assert f.read() == note
    for running in (one, two):
        running.check(next(line for line in lines if running.name in line), note)
    assert alerts(g) == []
    proof = g.command("ledger", "prove", "--entry", str(size - 1)).stdout
    assert all(line in proof for line in lines), "evidence that does not rest on the gate's word alone"
    told = g.command("ledger", "verify").stdout
    assert "whole: " in told and all(f"{size} of them cosigned by {running.name} at " in told for running in (one, two))
    g.stop()
    g.serve()
    assert not look(g, 1010).errors
    assert covered(g)[0] > size


def test_none_that_answers_stops_release_and_one_lets_it_go_on(g, witness):
    one, two = witness(g, "one"), witness(g, "two")
    witnessed(g, of(one), of(two))
    assert not look(g).errors
    covered(g)
    one.stop(), two.stop()
    stopped_at = time.monotonic()
    assert not look(g).errors, "the grace has begun"
    g.wait_for(lambda: "ledger.witnesses" in json.dumps([e.get("reason") for e in g.ledger("--kind", "refusal")]) or look(g).errors, 2 * GRACE)
    assert time.monotonic() - stopped_at > GRACE - 1
    refused = look(g).errors[0]
    assert refused["C"] == "58030" and "witnesses have not cosigned" in refused["M"]
    said = alerts(g)
    assert len(said) == 3 and all("fewer than 1 of 2 witnesses" in one for one in said) and "nothing is released" in said[2]
    assert "Connection refused" in g.log_text()
    back = witness(g, "one", port=one.port)
    g.wait_for(lambda: not look(g).errors, 20)
    size, note, lines = covered(g)
    back.check(lines[0], note)
    assert alerts(g)[-1] == "no cosignature of the ledger is overdue any more"


def test_two_people_waive_it(g, witness):
    g.add_account("ann", "counter")
    g.add_account("ben", "counter")
    one, two = witness(g, "one"), witness(g, "two")
    waive = ["ledger", "waive-witnesses", "--by", "ann", "--by", "ben", "--reason", "the witness moves house", "--for"]
    both = f"{gates.password_of('ann')}\n{gates.password_of('ben')}\n"
    assert "no gate serves" in g.command(*waive, "1h", stdin=both, check=False).stderr
    witnessed(g, of(one), of(two))
    covered(g)
    one.stop(), two.stop()
    g.wait_for(lambda: look(g).errors, 2 * GRACE)
    assert g.command(*waive, "5h", stdin=both, check=False).returncode == 2
    wrong = g.command(*waive, "1h", stdin=f"{gates.password_of('ann')}\nwrong\n", check=False)
    assert wrong.returncode == 2 and "password of ben is wrong" in wrong.stderr
    assert "two people" in g.command(*[a if a != "ben" else "ann" for a in waive], "1h", stdin=both, check=False).stderr
    assert look(g).errors
    assert alerts(g)[-1] == "witnesses were not waived: the name or the password of ben is wrong"
    assert "until" in g.command(*waive, "20s", stdin=both).stderr
    g.wait_for(lambda: not look(g).errors)
    approval, = [e["reason"] for e in g.ledger("--kind", "approval")]
    assert approval.startswith("witnesses waived until ") and approval.endswith("by ann and ben: the witness moves house")
    g.wait_for(lambda: look(g).errors, 40)
    g.kill()  # the grace is of the ledger, not of the process
    g.serve()
    assert look(g).errors
    back = witness(g, "one", port=one.port)
    g.wait_for(lambda: not look(g).errors, 20)
    covered(g)


LIES = {
    "garbage": lambda body: (200, b"\x00\xff" * 300),
    "another's cosignature": None,  # made in the test
    "nothing": lambda body: (200, b""),
    "an error": lambda body: (500, b"<html>no</html>"),
    "a larger size": lambda body: (409, b"99999999\n"),
    "any size": lambda body: (409, b"0\n"),
    "a size that is none": lambda body: (409, b"-1\n"),
    "more than it may": lambda body: (200, b"x" * 1_000_000),
    "no answer": lambda body: None,
}


@pytest.mark.parametrize("lie", list(LIES))
def test_a_witness_that_lies_is_as_good_as_none(g, witness, fake, lie):
    """It holds up neither the one that does not, nor release, nor what the gate says about it."""
    honest, other, pretended = witness(g, "honest"), witness(g, "other"), witness(g, "pretended")
    answer = LIES[lie] or (lambda body: (lambda got: (got[0], got[1].encode()))(other.add(body)))
    liar = fake(answer)
    witnessed(g, of(honest), (pretended.name, pretended.vkey, liar.url + "/some/where/"))
    assert not look(g).errors
    size, note, lines = covered(g, 30)
    assert len(lines) == 1
    honest.check(lines[0], note)
    g.wait_for(lambda: liar.asked and f"the witness {pretended.name} ({liar.url}/some/where/) has not cosigned" in g.log_text(), 20)
    assert {path for path, _ in liar.asked} == {"/some/where/add-checkpoint"}
    assert not look(g).errors and alerts(g) == []
    started = time.monotonic()
    assert g.stop() == 0 and time.monotonic() - started < 10


def test_a_clock_that_differs(g, witness, fake):
    """A cosignature of another time is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    import base64
    import hashlib
    import struct
    key, name = Ed25519PrivateKey.generate(), "witness.example/late"
    public = b"\x04" + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key_id = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    off = [-600]

    def answer(body):
        text = body.split("\n\n")[1] + "\n"
        seconds = int(time.time()) + off[0]
        signature = key.sign(f"cosignature/v1\ntime {seconds}\n".encode() + text.encode())
        return 200, f"— {name} {base64.b64encode(key_id + struct.pack('!Q', seconds) + signature).decode()}\n".encode()

    late, one = fake(answer), witness(g, "one")
    one.stop()
    witnessed(g, of(one), (name, f"{name}+{key_id.hex()}+{base64.b64encode(public).decode()}", late.url))
    g.wait_for(lambda: "its clock and this machine's are 600 seconds apart" in g.log_text() or "are 601 seconds apart" in g.log_text())
    assert cosigned(g)[2] == []
    off[0] = 2**63  # a number, and no time
    g.wait_for(lambda: late.asked and len(late.asked) > 3)
    assert cosigned(g)[2] == [] and not look(g).errors
    off[0] = 3
    covered(g)


def test_a_ledger_that_was_put_back_and_went_on(g, witness, tmp_path):
    """The register's own copy of the checkpoint was put back with it; the witness was not."""
    one, two = witness(g, "one"), witness(g, "two")
    two.stop()
    witnessed(g, of(one), of(two))
    assert not look(g).errors
    covered(g)
    g.stop()
    shutil.copytree(g.data, tmp_path / "old")
    with g.postgres.owner(g.database) as c:
        told = c.execute(f'SELECT size, note FROM "ecluse_{g.register}".checkpoint').fetchone()
    g.serve()
    for person in range(1001, 1061, 3):
        assert not look(g, person).errors
    covered(g)
    g.stop()
    shutil.rmtree(g.data)
    shutil.copytree(tmp_path / "old", g.data)
    with g.postgres.owner(g.database) as c:
        c.execute(f'UPDATE "ecluse_{g.register}".checkpoint SET size = %s, note = %s', told)
    g.serve()
    g.wait_for(lambda: "was the ledger put back from a copy" in g.log_text())
    for person in range(1061, 1180, 3):  # until it is as long as the one that was cosigned
        if look(g, person).errors:
            break
    g.wait_for(lambda: look(g).errors)
    g.wait_for(lambda: any("another checkpoint with this ledger's signature" in one for one in alerts(g)))
    assert "witnesses have not cosigned" in look(g).errors[0]["M"]
    one.stop()  # what it has shown is kept
    for name in ("ann", "ben"):
        g.add_account(name, "counter")
    g.stop()
    g.serve()
    for _ in range(20):
        assert look(g).errors
        time.sleep(0.1)
    both = f"{gates.password_of('ann')}\n{gates.password_of('ben')}\n"
    waived = g.command("ledger", "waive-witnesses", "--by", "ann", "--by", "ben", "--for", "1h", "--reason", "x", stdin=both, check=False)
    assert waived.returncode == 2 and "cannot be waived" in waived.stderr
    assert g.ledger("--kind", "approval") == []


def test_what_was_cosigned_binds_at_the_start(g, witness):
    """The file alone tells of a ledger that is behind."""
    one, two = witness(g, "one"), witness(g, "two")
    witnessed(g, of(one), of(two))
    assert not look(g).errors
    covered(g)
    g.stop()
    path = os.path.join(g.data, "ledger", "cosigned")
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace("\n\n", "\nx\n\n"))
    with pytest.raises(RuntimeError) as refused:
        g.serve()
    assert "cosigned" in str(refused.value)
    with open(path, "w") as f:
        f.write(text)
    g.serve()
    assert not look(g).errors


def test_a_ledger_that_does_not_go_on_from_what_was_cosigned_does_not_start(g, witness, tmp_path):
    """It is shorter than that, or as long and another; the register's own copy tells nothing, for it was put back too."""
    one, two = witness(g, "one"), witness(g, "two")
    witnessed(g, of(one), of(two))
    covered(g)
    g.stop()
    shutil.copytree(g.data, tmp_path / "old")
    with g.postgres.owner(g.database) as c:
        told = c.execute(f'SELECT size, note FROM "ecluse_{g.register}".checkpoint').fetchone()
    g.serve()
    for person in (1001, 1004, 1007):
        assert not look(g, person).errors
    covered(g)
    g.stop()
    newest = os.path.join(tmp_path, "cosigned")
    shutil.copy(os.path.join(g.data, "ledger", "cosigned"), newest)
    shutil.rmtree(g.data)
    shutil.copytree(tmp_path / "old", g.data)
    with g.postgres.owner(g.database) as c:
        c.execute(f'UPDATE "ecluse_{g.register}".checkpoint SET size = %s, note = %s', told)
    mine = os.path.join(g.data, "ledger", "cosigned")
    shutil.copy(newest, mine)
    with pytest.raises(RuntimeError) as refused:
        g.serve()
    assert "entries was cosigned, and this ledger holds" in str(refused.value)
    one.stop(), two.stop()
    os.remove(mine)
    g.write_policy(ledger="")
    g.apply()
    g.serve()  # without witnesses the copy goes on, and is longer in the end
    for person in range(1010, 1100, 3):
        assert not look(g, person).errors
    g.stop()
    shutil.copy(newest, mine)
    witnessed(g, of(one), of(two), serve=False)
    with pytest.raises(RuntimeError) as refused:
        g.serve()
    assert "was cosigned, and they are not this ledger's" in str(refused.value)
    assert "are not those that the file cosigned is of" in g.command("ledger", "verify", check=False).stdout


def test_over_tls(g, witness, fake, tmp_path):
    """The certificate must be of the url's host and of somebody whom the system trusts."""
    real, other = witness(g, "one"), witness(g, "two")
    other.stop()
    pem = tmp_path / "witness.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pem, "-out", tmp_path / "crt", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    with open(pem, "ab") as f, open(tmp_path / "crt", "rb") as crt:
        f.write(crt.read())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    behind = fake(lambda body: (lambda got: (got[0], got[1].encode()))(real.add(body)), context)
    witnessed(g, (real.name, real.vkey, behind.url), of(other))
    g.wait_for(lambda: "no TLS with it" in g.log_text())
    g.stop()
    os.environ["SSL_CERT_FILE"] = str(tmp_path / "crt")
    try:
        g.serve()
    finally:
        del os.environ["SSL_CERT_FILE"]
    size, note, lines = covered(g)
    real.check(lines[0], note)
    g.stop()
    g.write_policy(ledger=section((real.name, real.vkey, behind.url.replace("localhost", "127.0.0.1")), of(other)))
    g.apply()
    os.environ["SSL_CERT_FILE"] = str(tmp_path / "crt")
    try:
        g.serve()
    finally:
        del os.environ["SSL_CERT_FILE"]
    assert not look(g).errors
    time.sleep(3)
    assert cosigned(g)[0] < len(g.ledger()), "a certificate of another host"


def test_only_witnesses_of_the_policy_in_force_count(g, witness):
    """Of those before it one had cosigned the same checkpoint."""
    names = ("a", "b", "c", "d", "e", "f")
    all_of_them = {name: witness(g, name) for name in names}
    for name in names:
        if name not in ("a", "d"):
            all_of_them[name].stop()
    a, b, c, d, e, f = (of(all_of_them[name]) for name in names)
    witnessed(g, a, b, c, required=2)
    assert not look(g).errors
    time.sleep(2)
    witnessed(g, d, e, f, required=2, serve=False)
    time.sleep(4)
    assert cosigned(g)[2] == []
    witnessed(g, a, d, e, required=2, serve=False)
    g.wait_for(lambda: len(cosigned(g)[2]) == 2)


def test_witnesses_named_again_have_their_grace(g, witness):
    one, two = witness(g, "one"), witness(g, "two")
    witnessed(g, of(one), of(two))
    covered(g)
    g.write_policy(ledger="{witness_grace: 10s}")
    g.apply()
    time.sleep(GRACE + 2)
    assert not look(g).errors
    one.stop(), two.stop()
    witnessed(g, of(one), of(two), serve=False)
    named = time.monotonic()
    while time.monotonic() < named + GRACE / 2:
        assert not look(g).errors
        time.sleep(0.2)
    g.wait_for(lambda: look(g).errors, GRACE)


def test_what_was_cosigned_cannot_be_kept(g, witness):
    """The grace runs all the same."""
    one, two = witness(g, "one"), witness(g, "two")
    one.stop(), two.stop()
    os.makedirs(os.path.join(g.data, "ledger", "cosigned.new", "in-the-way"))
    witnessed(g, of(one), of(two))
    assert not look(g).errors
    g.wait_for(lambda: look(g).errors, 2 * GRACE)
    assert "what witnesses cosigned cannot be kept" in g.log_text()


def test_a_running_gate_takes_witnesses(g, witness):
    one, two = witness(g, "one"), witness(g, "two")
    g.serve()
    assert not look(g).errors
    assert not os.path.exists(os.path.join(g.data, "ledger", "cosigned"))
    witnessed(g, of(one), of(two), serve=False)  # apply makes it reload
    covered(g, 30)
