"""A small client of PostgreSQL's wire protocol 3.0: it shows every byte a gate sends, which drivers do not.

Manual: "Frontend/Backend Protocol". SCRAM: RFC 5802 and 7677.
"""
import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
from dataclasses import dataclass, field


class Closed(Exception):
    """The server closed the connection."""


def message(kind, payload=b""):
    return kind.encode() + struct.pack("!i", len(payload) + 4) + payload


def cstring(text):
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def parse(sql, name="", types=()):
    return message("P", cstring(name) + cstring(sql) + struct.pack("!h", len(types)) +
                   b"".join(struct.pack("!I", t) for t in types))


def bind(params=(), portal="", statement="", param_formats=(), result_formats=()):
    out = cstring(portal) + cstring(statement)
    out += struct.pack("!h", len(param_formats)) + b"".join(struct.pack("!h", f) for f in param_formats)
    out += struct.pack("!H", len(params))
    for p in params:
        if p is None:
            out += struct.pack("!i", -1)
        else:
            b = p if isinstance(p, bytes) else str(p).encode()
            out += struct.pack("!i", len(b)) + b
    out += struct.pack("!h", len(result_formats)) + b"".join(struct.pack("!h", f) for f in result_formats)
    return message("B", out)


def describe(kind="P", name=""):
    return message("D", kind.encode() + cstring(name))


def execute(portal="", rows=0):
    return message("E", cstring(portal) + struct.pack("!i", rows))


def close(kind="S", name=""):
    return message("C", kind.encode() + cstring(name))


SYNC, FLUSH, TERMINATE = message("S"), message("H"), message("X")


@dataclass
class Result:
    """One statement's answer: columns as (name, type oid, table oid, attribute number, format), rows as bytes or None."""
    columns: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    tag: str = ""
    copied: bytes = b""


@dataclass
class Outcome:
    """All that one exchange told the client, up to ReadyForQuery."""
    results: list = field(default_factory=list)
    errors: list = field(default_factory=list)   # dicts of fields by letter: S, C, M, D, H, P, ...
    notices: list = field(default_factory=list)
    parameters: list = field(default_factory=list)
    kinds: str = ""                              # the letters of all messages, in order
    status: str = ""

    @property
    def rows(self):
        return [r for result in self.results for r in result.rows]

    @property
    def sqlstate(self):
        return self.errors[0]["C"] if self.errors else ""

    @property
    def error(self):
        return self.errors[0]["M"] if self.errors else ""

    @property
    def hint(self):
        return self.errors[0].get("H", "") if self.errors else ""

    @property
    def tag(self):
        return self.results[-1].tag if self.results else ""

    def text_rows(self):
        return [tuple(None if v is None else v.decode("utf-8", "replace") for v in r) for r in self.rows]

    def comparable(self):
        """Everything told, rows as a multiset: equal registers must give equal ones."""
        results = tuple((tuple((c[0], c[1], c[2], c[3]) for c in r.columns),
                         tuple(sorted(r.rows, key=lambda t: tuple((v is None, v or b"") for v in t))), r.tag,
                         b"".join(sorted(r.copied.splitlines(True)))) for r in self.results)
        errors = tuple(tuple(sorted(e.items())) for e in self.errors)
        notices = tuple(tuple(sorted(n.items())) for n in self.notices)
        return results, errors, notices, self.status

    def bytes_seen(self):
        """All values, names and messages, for a search by canaries."""
        parts = []
        for r in self.results:
            parts += [c[0].encode() for c in r.columns]
            parts += [v for row in r.rows for v in row if v is not None]
            parts += [r.tag.encode(), r.copied]
        for e in self.errors + self.notices:
            parts += [v.encode() for v in e.values()]
        return b"\x00".join(parts)


def fields_of(payload):
    out, at = {}, 0
    while at < len(payload) and payload[at] != 0:
        end = payload.index(b"\0", at + 1)
        out[chr(payload[at])] = payload[at + 1:end].decode("utf-8", "replace")
        at = end + 1
    return out


def row_of(payload):
    n, = struct.unpack_from("!H", payload)
    at, out = 2, []
    for _ in range(n):
        size, = struct.unpack_from("!i", payload, at)
        at += 4
        if size < 0:
            out.append(None)
        else:
            out.append(payload[at:at + size])
            at += size
    assert at == len(payload), "a DataRow with trailing bytes"
    return tuple(out)


def columns_of(payload):
    n, = struct.unpack_from("!h", payload)
    at, out = 2, []
    for _ in range(n):
        end = payload.index(b"\0", at)
        name = payload[at:end].decode()
        table, attribute, oid, _size, _mod, fmt = struct.unpack_from("!IhIhih", payload, end + 1)
        out.append((name, oid, table, attribute, fmt))
        at = end + 19
    assert at == len(payload), "a RowDescription with trailing bytes"
    return out


class Client:
    """Blocking, one connection. `source` picks the client's own address in 127.0.0.0/8."""

    def __init__(self, host, port, user=None, password=None, database="", source=None, tls=False, timeout=60, options=None,
                 version=0x30000, connect=True, plus=False):
        self.host, self.port, self.user, self.password = host, port, user, password
        self.parameters, self.key, self.notices_at_start = {}, None, []
        self.negotiated = None
        self.socket = socket.create_connection((host, port), timeout=timeout,
                                               source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        if tls:
            self.start_tls()
        if connect:
            self.startup({"user": user, "database": database or user, **(options or {})}, version)
            self.authenticate(plus)

    # --- bytes ---
    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def read(self, n):
        while len(self._buffer) < n:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise Closed(f"closed after {bytes(self._buffer)!r}")
            self._buffer += chunk
        out = bytes(self._buffer[:n])
        del self._buffer[:n]
        return out

    def receive(self):
        """The next message: (letter, payload)."""
        head = self.read(5)
        size, = struct.unpack("!i", head[1:])
        return chr(head[0]), self.read(size - 4)

    def silent(self, seconds=0.3):
        """True when nothing arrives for a while."""
        if self._buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            chunk = self.socket.recv(65536)
            self._buffer += chunk
            return not chunk
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)

    def closed(self, seconds=5):
        """True when the server ends the connection within the time, whatever it says first."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True

    # --- start ---
    def start_tls(self):
        self.send(struct.pack("!ii", 8, 80877103))
        answer = self.read(1)
        if answer != b"S":
            raise Closed(f"TLS refused with {answer!r}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def startup(self, parameters, version=0x30000):
        body = b"".join(cstring(k) + cstring(v) for k, v in parameters.items()) + b"\0"
        self.send(struct.pack("!ii", len(body) + 8, version) + body)

    def authenticate(self, plus=False):
        kind, payload = self.receive()
        if kind == "v":
            self.negotiated = payload
            kind, payload = self.receive()
        if kind == "E":
            raise ServerError(fields_of(payload))
        assert kind == "R", f"expected an authentication request, got {kind}"
        method, = struct.unpack_from("!i", payload)
        if method == 10:
            self.scram(payload[4:], plus)
        elif method != 0:
            raise AssertionError(f"authentication method {method} is not SCRAM")
        self.until_ready_at_start()

    def until_ready_at_start(self):
        while True:
            kind, payload = self.receive()
            if kind == "Z":
                return
            if kind == "E":
                raise ServerError(fields_of(payload))
            if kind == "S":
                name, value = payload[:-1].split(b"\0")
                self.parameters[name.decode()] = value.decode()
            elif kind == "K":
                self.key = payload
            elif kind == "N":
                self.notices_at_start.append(fields_of(payload))
            else:
                assert kind == "R", f"unexpected message {kind} while starting"

    def binding(self):
        der = self.socket.getpeercert(binary_form=True)
        return hashlib.sha256(der).digest()  # tls-server-end-point of a SHA-256 certificate (RFC 5929)

    def scram(self, mechanisms, plus):
        names = mechanisms.rstrip(b"\0").split(b"\0")
        name = b"SCRAM-SHA-256-PLUS" if plus else b"SCRAM-SHA-256"
        assert name in names, f"{name!r} is not offered among {names!r}"
        gs2 = b"p=tls-server-end-point,," if plus else b"n,,"
        channel = gs2 + (self.binding() if plus else b"")
        nonce = base64.b64encode(os.urandom(18))
        bare = b"n=,r=" + nonce
        first = gs2 + bare
        self.send(message("p", name + b"\0" + struct.pack("!i", len(first)) + first))
        server_first = self._sasl(11)
        parts = dict(p.split(b"=", 1) for p in server_first.split(b","))
        assert parts[b"r"].startswith(nonce)
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(parts[b"s"]), int(parts[b"i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = b"c=" + base64.b64encode(channel) + b",r=" + parts[b"r"]
        auth = bare + b"," + server_first + b"," + without_proof
        signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.send(message("p", without_proof + b",p=" + base64.b64encode(proof)))
        server_final = self._sasl(12)
        expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256")
        assert server_final == b"v=" + base64.b64encode(expected), "the server did not prove that it knows the verifier"

    def _sasl(self, code):
        kind, payload = self.receive()
        if kind == "E":
            raise ServerError(fields_of(payload))
        assert kind == "R" and struct.unpack_from("!i", payload)[0] == code, (kind, payload)
        return payload[4:]

    # --- statements ---
    def outcome(self, copy_in=None, until="Z"):
        """Reads until ReadyForQuery (or another letter); answers CopyInResponse with `copy_in`."""
        out, result = Outcome(), Result()
        while True:
            kind, payload = self.receive()
            out.kinds += kind
            if kind == "T":
                result.columns = columns_of(payload)
            elif kind == "D":
                result.rows.append(row_of(payload))
            elif kind == "d":
                result.copied += payload
            elif kind in "CIs":
                result.tag = {"C": payload[:-1].decode(), "I": "", "s": "suspended"}[kind]
                out.results.append(result)
                result = Result()
            elif kind == "E":
                out.errors.append(fields_of(payload))
                if result.rows or result.copied:
                    out.results.append(result)
                result = Result()
                if fields_of(payload).get("V", fields_of(payload).get("S")) in ("FATAL", "PANIC"):
                    return out
            elif kind == "N":
                out.notices.append(fields_of(payload))
            elif kind == "S":
                out.parameters.append(tuple(p.decode() for p in payload[:-1].split(b"\0")))
            elif kind == "G":
                for part in copy_in or []:
                    self.send(message("d", part))
                self.send(message("c") if copy_in is not None else message("f", cstring("no data")))
            elif kind == "Z":
                out.status = payload.decode()
            if kind in until:
                return out

    def query(self, sql, copy_in=None):
        """The simple protocol."""
        self.send(message("Q", cstring(sql)))
        return self.outcome(copy_in)

    def extended(self, sql, params=(), types=(), param_formats=(), result_formats=(), rows=0):
        self.send(parse(sql, types=types), bind(params, param_formats=param_formats, result_formats=result_formats),
                  describe("P"), execute(rows=rows), SYNC)
        return self.outcome()

    def cancel(self):
        """Asks, on a connection of its own, to stop what this one is doing; returns once the server has closed it."""
        with socket.create_connection((self.host, self.port), timeout=10) as s:
            s.sendall(struct.pack("!ii", len(self.key) + 8, 80877102) + self.key)
            while s.recv(64):
                pass

    def close(self, politely=True):
        try:
            if politely:
                self.send(TERMINATE)
        except OSError:
            pass
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ServerError(Exception):
    """An ErrorResponse where the caller expected none."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('C')}: {fields.get('M')}")
        self.fields = fields
        self.sqlstate = fields.get("C", "")
