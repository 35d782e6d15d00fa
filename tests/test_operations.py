"""What an operator does to a running gate: signals, accounts, reloads, clocks, disks."""
import fcntl
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from harness import wire
from harness.gate import BINARY
from test_crash import assert_all_written, crowd, fill, small_disk  # noqa: F401

ONE = {"counter": "counter"}
ANYBODY = "SELECT person_id FROM taj.person WHERE person_id = 1001"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# --- signals ---
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_signal_before_anybody_has_read_ready(make_gate, number):
    """The pipe that `ready` goes to is full, so the gate stands exactly there when the signal comes."""
    gate = make_gate("signalled-" + number.name.lower(), serve=False, accounts=ONE)
    port = free_port()
    gate.write_policy(open(gate.config).read().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    gate.apply()
    reads, writes = os.pipe()
    ballast = b"x" * fcntl.fcntl(writes, fcntl.F_GETPIPE_SZ)
    os.write(writes, ballast)
    with open(os.path.join(gate.folder, "serve.log"), "ab") as log:
        gate.process = subprocess.Popen([BINARY, "serve", "--config", gate.config], stdout=writes, stderr=log)
    os.close(writes)

    def listens():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    gate.wait_for(listens, 30)
    gate.signal(number)
    with open(reads, "rb") as pipe:
        pipe.read(len(ballast))
        if number == signal.SIGTERM:
            assert gate.process.wait(30) == 0
            return
        gate.host, gate.port = "127.0.0.1", port
        gate.wait_for(lambda: "is in force" in gate.log_text())
        with gate.wire("counter") as c:
            assert c.query(ANYBODY).rows == [(b"1001",)]
        assert gate.stop() == 0


# --- a full disk ---
def test_a_gate_goes_on_by_itself_when_its_disk_has_room_again(make_gate, small_disk):
    gate, received, failures, stop = make_gate("roomy", data_dir=os.path.join(small_disk, "data"), accounts=ONE), [], [], threading.Event()
    threads = crowd(gate, received, stop, failures=failures)
    gate.wait_for(lambda: len(received) > 100)
    fill(small_disk)
    try:
        gate.wait_for(lambda: any(f["C"] == "58030" for f in failures), 120)
    finally:
        stop.set()
        [t.join(30) for t in threads]
    assert "restart" not in next(f for f in failures if f["C"] == "58030")["H"]
    os.unlink(os.path.join(small_disk, "ballast"))
    before = len(gate.ledger())

    def answers():
        try:
            with gate.wire("counter") as c:
                return c.query(ANYBODY).rows == [(b"1001",)]
        except (wire.ServerError, wire.Closed, OSError, AssertionError):
            return False
    gate.wait_for(answers, 30)
    assert len(gate.ledger()) > before
    assert_all_written(gate, received)
    assert gate.stop() == 0
