"""A command that is killed at one of its statements, or beside which something is done there."""
import socket
import subprocess
import threading

from harness.gate import BINARY

BEFORE_THE_CHANGE = b"pg_advisory_xact_lock"  # in `seal`, behind all batches, before the transaction that ends it


class Cut:
    """Stands between a command and PostgreSQL, and kills the command at its statement number `at`, or the first that holds these
    bytes (None: never): before PostgreSQL has it, or `late`, once PostgreSQL has it and runs it. Where there is `then`, that is called
    before the statement goes on, and nothing is killed."""

    def __init__(self, postgres, at, then=None, late=False):
        self.at, self.then, self.late, self.count, self.process = at, then, late, 0, None
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(8)
        self.port = self.listener.getsockname()[1]
        self.server = (postgres.host, postgres.port)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            threading.Thread(target=self.pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()

    def pump(self, source, sink, counts):
        try:
            while data := source.recv(1 << 20):
                if counts and data[:1] in b"QP":
                    self.count += 1
                    if self.at in data if isinstance(self.at, bytes) else self.count == self.at:
                        if self.then is None:
                            if self.late:
                                sink.sendall(data)
                            self.process.kill()
                            break
                        self.at = None
                        self.then()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for s in (source, sink):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def run(self, gate, *command):
        url = gate.postgres.owner_url(gate.database).replace(f":{gate.postgres.port}/", f":{self.port}/")
        self.process = subprocess.Popen([BINARY, *command, "--owner", url, "--config", gate.config], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, cwd=gate.folder)
        out, err = self.process.communicate(timeout=120)
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), whose thread would keep the last connection open
        self.listener.close()
        return self.process.returncode, out, err
