"""The oracle of the leak suites: what was told, whether it holds a hidden value, whether two twins told the same."""
import re

from harness import wire

_PSEUDONYM = re.compile(rb"^[A-Za-z0-9_-]{22}$")
_ENCODED = (b"canary", b"43414e415259", b"q0foqvj")  # as it is, in hex, in base64; lower case


def run(connect, script, extended=False):
    """Runs a script on a connection of its own. Returns one Outcome for each statement until the connection ends."""
    client, outcomes = connect(), []
    try:
        for sql in script:
            outcomes.append(client.extended(sql) if extended else client.query(sql))
    except wire.Closed:
        outcomes.append(wire.Outcome(kinds="closed"))
    finally:
        client.close()
    return outcomes


def run_undone(connect, script):
    """The same with everything rolled back, for statements that a database without a gate would obey."""
    def begin():
        client = connect()
        client.query("BEGIN")
        return client
    return run(begin, script)


def _cell(value):
    if value is None:
        return None
    return b"<pseudonym>" if _PSEUDONYM.match(value) else value.replace(b"exterior", b"interior")  # the databases' names


def comparable(outcomes):
    """All that was told, in a form in which only differences of content count: rows as multisets, no object ids, the
    gates' own pseudonyms (under different keys) as one word."""
    told = []
    for o in outcomes:
        results = [([(c[0], c[1], c[3]) for c in r.columns],
                    sorted((tuple(_cell(v) for v in row) for row in r.rows),
                           key=lambda t: tuple((v is None, v or b"") for v in t)),
                    r.tag, sorted(r.copied.splitlines())) for r in o.results]
        told.append((results, [sorted(e.items()) for e in o.errors], [sorted(n.items()) for n in o.notices], o.kinds.strip("S"),
                     o.status))
    return told


def canaries(outcomes, register):
    """The hidden values that were told."""
    found = []
    for o in outcomes:
        seen = o.bytes_seen()
        lowered = seen.lower()
        found += [word.decode() for word in _ENCODED if word in lowered]
        found += [value for value in register.hidden_values if value.encode() in seen]
    return found
