"""Holds many logged-in sessions open, with as little as possible on the client's side."""
import contextlib

from harness import wire


@contextlib.contextmanager
def hold(target, count):
    """Yields how many sessions stand open."""
    sessions = []
    try:
        for _ in range(count):
            sessions.append(wire.Client(target.host, target.port, target.user, target.password, "bench"))
        yield len(sessions)
    finally:
        for session in sessions:
            session.socket.close()
