"""`make bench`: every row of bench/README.md, beside its peers, into bench/results.md.

--only ledger, --only sealing: the rows of that alone, into bench/results-ledger.md or bench/results-sealing.md."""
import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "bench"))

import ledger  # noqa: E402
import sealing  # noqa: E402
from harness import postgres as pg, wire  # noqa: E402
from report import ROUNDS, SECONDS, Report, machine, ratios, spread, sync_microseconds  # noqa: E402
from setup import People, PgBouncer, bench_gate  # noqa: E402

CLIENTS = (1, 8, 64)
MODES = ("simple", "extended", "prepared")


def pgbench(target, clients, mode, script=None, seconds=SECONDS):
    """Transactions a second of one run."""
    options = [os.path.join(pg.bindir(), "pgbench"), "-n", "-T", str(seconds), "-c", str(clients), "-j", "2", "-M", mode]
    options += ["-f", script] if script else ["-S", "-s", "10"]
    done = subprocess.run(options, env=dict(os.environ, **target.environment), capture_output=True, text=True)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"{target.name}: {done.stderr[-800:]} {done.stdout[-400:]}")
    return float(found.group(1))


def interleaved(targets, clients, mode):
    """Each target ROUNDS times, in turn, so that a slow minute of the machine falls on all of them."""
    figures = {target.name: [] for target, _ in targets}
    for target, script in targets:
        pgbench(target, clients, mode, script, seconds=3)  # connections upstream are there, caches are warm
    for _ in range(ROUNDS):
        for target, script in targets:
            figures[target.name].append(pgbench(target, clients, mode, script))
    return figures


def memory(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def throughput(report, title, mark, rows):
    """rows: (label, gate targets, peers) with targets as (target, script)."""
    report.say(f"\n## {title}\n\nTransactions a second, median (least–most) of {ROUNDS} runs of {SECONDS} s. Mark: {mark}.")
    head = None
    for mode, clients, ours, peers in rows:
        figures = interleaved([ours, *peers], clients, mode)
        names = [target.name for target, _ in peers]
        if head is None:
            head = ["protocol", "clients", "Écluse", *names, *[f"Écluse / {name}" for name in names]]
            report.table(*head)
        own = figures[ours[0].name]
        report.row(mode, clients, spread(own), *[spread(figures[n]) for n in names], *[ratios(own, figures[n]) for n in names])


def added(report, gate, direct, script):
    """What one client waits for longer than it would without the gate."""
    report.say("\n### What the gate adds at 1 client\n\nMicroseconds a transaction, prepared, beside fdatasync of 4 KiB "
               "measured before each. Mark: one fdatasync and 60 µs.")
    report.table("through the gate", "PostgreSQL", "added", "fdatasync")
    for _ in range(ROUNDS):
        sync = sync_microseconds(gate.people.folder)
        ours, theirs = (1e6 / pgbench(target, 1, "prepared", script) for target in (gate, direct))
        report.row(f"{ours:.0f}", f"{theirs:.0f}", f"{ours - theirs:.0f}", f"{sync:.0f}")


def drain(target, query):
    """Reads the whole answer of one simple Query without looking at its rows; its command tag."""
    options = dict(options=target.environment["PGOPTIONS"]) if target.environment["PGOPTIONS"] else {}
    client = wire.Client(target.host, target.port, target.user, target.password, "bench", options=options)
    client.socket.settimeout(600)
    client.send(wire.message("Q", wire.cstring(query)))
    end = b""
    while not end.endswith(b"Z\0\0\0\5I"):
        end = (end + client.socket.recv(1 << 20))[-64:]
    client.socket.close()
    return re.search(rb"C....([^\0]+)\0Z", end, re.S)[1].decode()


def streaming(report, gate, direct, people):
    report.say(f"\n## Streaming {people.rows:,} guarded rows\n\nSeconds to read a whole table by one SELECT, its rows thrown "
               "away by the client. Mark: at least 0.6 of direct; gate under 128 MiB. Budgets remember each person in four "
               "scopes, exactly: that is what memory grows by where a million of them are in force.")
    report.table("rows", "run", "direct s", "Écluse s", "direct / Écluse", "gate's peak MiB")
    one_each = f"SELECT person_id, family_name, given_name, birth_date FROM {people.table(people.rows)} ORDER BY person_id"
    ten_each = f"SELECT visit_id, person_id, reason, day FROM {people.VISITS} ORDER BY visit_id"
    for rows, query in ((f"{people.rows // 10:,} people, 10 rows each", ten_each), (f"{people.rows:,} people", one_each)):
        for run in ("people named for the first time", "named before", "named before", "named before"):
            if query is ten_each and run.startswith("people"):
                continue  # the lookups above have named them
            seconds = {}
            for target in (direct, gate):
                began = time.monotonic()
                tag = drain(target, query)
                seconds[target.name] = time.monotonic() - began
                if tag != f"SELECT {people.rows}":
                    raise RuntimeError(f"{target.name}: {tag}")
            report.row(rows, run, f"{seconds[direct.name]:.2f}", f"{seconds[gate.name]:.2f}",
                       f"{seconds[direct.name] / seconds[gate.name]:.2f}", f"{memory(gate.pid, 'VmHWM') / 1024:.0f}")


def idle(report, targets, count=5000):
    from idle import hold
    report.say(f"\n## {count:,} idle sessions\n\nResident memory a session, KiB, after each has logged in and waits. "
               "Mark: under 32 KiB.")
    report.table("", "before, MiB", "with sessions, MiB", "KiB a session")
    for target in targets:
        before = memory(target.pid)
        with hold(target, count) as held:
            time.sleep(2)
            after = memory(target.pid)
        report.row(target.name, f"{before / 1024:.1f}", f"{after / 1024:.1f}", f"{(after - before) / held:.1f}")


def doors(report, folder):
    """Everything that passes a gate."""
    people = People(folder, int(os.environ.get("BENCH_PEOPLE", "10000000")))
    gate, direct, audited = bench_gate(folder, people), people.direct(), people.audited()
    bouncer = PgBouncer(folder, people)
    try:
        report.say(f"# Results\n\n{machine()}; {people.versions()}; fdatasync of 4 KiB on the ledger's disk: "
                   f"{sync_microseconds(folder):.0f} µs. Client, gate, peers and PostgreSQL share the processors.")
        idle(report, [gate, bouncer])
        relay = [(mode, n, (gate, None), [(bouncer, None), (direct, None)]) for mode in MODES for n in CLIENTS]
        throughput(report, "Relay of open tables (pgbench -S)", "at least PgBouncer in every cell", relay)
        most, least = people.script(people.sizes[-1]), people.script(people.sizes[0])
        for size in people.sizes:
            throughput(report, f"Guarded lookup of people not named before, register of {size:,}", "none: how cost grows",
                       [("prepared", 8, (gate, people.script(size)), [(direct, people.script(size))])])
        throughput(report, f"Guarded lookup of people not named before, register of {people.sizes[-1]:,}",
                   "none: each is introduced in the ledger, with a key of their own, before the row is released",
                   [("prepared", n, (gate, most), [(bouncer, most)]) for n in CLIENTS])
        drain(gate, f"SELECT person_id, town FROM {people.table(people.sizes[0])}")  # names everybody
        rows = [(mode, n, (gate, least), [(bouncer, least), (audited, least), (direct, least)])
                for mode in MODES for n in CLIENTS]
        throughput(report, f"Guarded lookup by key of people named before, register of {people.sizes[0]:,}",
                   "at least 0.8 of PgBouncer at 64 clients", rows)
        report.say("\nThe simple rows above carry literals; their mark is above 1.0 of PostgreSQL directly.")
        added(report, gate, direct, least)
        streaming(report, gate, direct, people)
    finally:
        bouncer.stop()
        gate.stop()
        people.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["ledger", "sealing"])
    only = parser.parse_args().only
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="ecluse-bench-") as folder:
        os.chmod(folder, 0o755)
        if only is None:
            doors(report, folder)
        elif only == "ledger":
            report.say(f"# Results of the ledger\n\n{machine()}; fdatasync of 4 KiB on the ledger's disk: "
                       f"{sync_microseconds(folder):.0f} µs. Whoever appends and the ledger share the processors.")
        else:
            report.say(f"# Results of sealed columns\n\n{machine()}. Client, gate, commands and PostgreSQL share the processors.")
        if only != "sealing":
            ledger.measure(report, folder)
        if only != "ledger":
            sealing.measure(report, folder, interleaved)
    report.write(os.path.join(ROOT, "bench", "results.md" if only is None else f"results-{only}.md"))


if __name__ == "__main__":
    main()
