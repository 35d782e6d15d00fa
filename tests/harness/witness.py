"""`ecluse ledger witness`, running, with what it cosigns checked by another program's Ed25519."""
import base64
import hashlib
import http.client
import signal
import struct
import subprocess
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from harness import gate as gates


class Running:
    def __init__(self, state, *logs, name="witness.example/e2e", port=0):
        logs = [part for log in logs for part in ("--log", log)]
        self.process = subprocess.Popen([gates.BINARY, "ledger", "witness", "--state", str(state), "--name", name, "--listen", f"127.0.0.1:{port}", *logs],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready"):
            raise RuntimeError(self.process.communicate()[1])
        self.port = int(line.split()[1].rsplit(":", 1)[1])
        self.name, key_id, key = line.split()[2][5:].split("+", 2)
        self.key_id, key = int(key_id, 16), base64.b64decode(key)
        assert key[0] == 4 and self.key_id == struct.unpack("!I", hashlib.sha256(self.name.encode() + b"\n" + key).digest()[:4])[0]
        self.key = Ed25519PublicKey.from_public_bytes(key[1:])
        self.vkey, self.url = line.split()[2][5:], f"http://127.0.0.1:{self.port}"

    def add(self, text, method="POST", path="/add-checkpoint"):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        c.request(method, path, text.encode())
        answer = c.getresponse()
        return answer.status, answer.read().decode(), answer.getheader("Content-Type")

    def cosigned(self, text, note):
        status, lines, _ = self.add(text)
        assert status == 200, lines
        self.check(lines, note)

    def check(self, line, note):
        """A line with its cosignature of now over `note`."""
        dash, name, signature = line.split(" ")
        raw = base64.b64decode(signature)
        assert (dash, name, line[-1]) == ("—", self.name, "\n") and struct.unpack("!I", raw[:4])[0] == self.key_id
        seconds, = struct.unpack("!Q", raw[4:12])
        assert abs(seconds - time.time()) < 60
        self.key.verify(raw[12:], f"cosignature/v1\ntime {seconds}\n".encode() + note.split("\n\n")[0].encode() + b"\n")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(10)
