"""`make bench`: every row of bench/README.md, beside its peers, into bench/results.md."""
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "bench"))

from harness import postgres as pg  # noqa: E402
from setup import People, PgBouncer, bench_gate  # noqa: E402

SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CLIENTS = (1, 8, 64)
MODES = ("simple", "extended", "prepared")


def pgbench(target, clients, mode, script=None):
    """Transactions a second of one run."""
    options = [os.path.join(pg.bindir(), "pgbench"), "-n", "-T", str(SECONDS), "-c", str(clients), "-j", "2", "-M", mode]
    options += ["-f", script] if script else ["-S", "-s", "10"]
    done = subprocess.run(options, env=dict(os.environ, **target.environment), capture_output=True, text=True)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"{target.name}: {done.stderr[-800:]} {done.stdout[-400:]}")
    return float(found.group(1))


def interleaved(targets, clients, mode):
    """Each target ROUNDS times, in turn, so that a slow minute of the machine falls on all of them."""
    figures = {target.name: [] for target, _ in targets}
    for _ in range(ROUNDS):
        for target, script in targets:
            figures[target.name].append(pgbench(target, clients, mode, script))
    return figures


def spread(figures):
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f}–{max(figures):,.0f})"


def ratios(ours, theirs):
    pairs = sorted(a / b for a, b in zip(ours, theirs))
    return f"{statistics.median(pairs):.2f} ({pairs[0]:.2f}–{pairs[-1]:.2f})"


def memory(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


class Report:
    def __init__(self):
        self.lines = []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def table(self, *head):
        self.say()
        self.say("| " + " | ".join(head) + " |")
        self.say("|" + "---|" * len(head))

    def row(self, *cells):
        self.say("| " + " | ".join(str(cell) for cell in cells) + " |")


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


def streaming(report, gate, direct, people):
    report.say(f"\n## Streaming 1,000,000 guarded rows\n\nSeconds to read the whole table by `COPY`-free SELECT in the "
               f"simple protocol (psql, rows counted, not kept). Mark: at least 0.6 of direct; gate under 128 MiB.")
    query = "SELECT person_id, family_name, given_name, birth_date FROM {} ORDER BY person_id"
    report.table("run", "direct s", "Écluse s", "direct / Écluse", "gate's peak MiB")
    for run in ("people named for the first time", "people named before", "people named before"):
        seconds = {}
        for target, table in ((direct, "bench.person_plain"), (gate, "bench.person")):
            began = time.monotonic()
            done = subprocess.run(["psql", "-X", "-A", "-t", "-q", "-v", "FETCH_COUNT=10000", "-c", query.format(table)],
                                  env=dict(os.environ, **target.environment), stdout=subprocess.PIPE)
            seconds[target.name] = time.monotonic() - began
            lines = done.stdout.count(b"\n")
            if lines != people:
                raise RuntimeError(f"{target.name}: {lines} rows of {people}")
        report.row(run, f"{seconds[direct.name]:.2f}", f"{seconds[gate.name]:.2f}",
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


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="ecluse-bench-") as folder:
        os.chmod(folder, 0o755)
        people = People(folder, int(os.environ.get("BENCH_PEOPLE", "1000000")))
        gate, direct, audited = bench_gate(folder, people), people.direct(), people.audited()
        bouncer = PgBouncer(folder, people)
        try:
            with open("/proc/cpuinfo") as f:
                cpu = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
            report.say(f"# Results\n\n{os.cpu_count()} × {cpu}, Linux {platform.release()}; "
                       f"{people.versions()}; fdatasync of 4 KiB on the ledger's disk: {people.sync_microseconds():.0f} µs. "
                       "Client, gate, peers and PostgreSQL share the processors.")
            relay = [(mode, n, (gate, None), [(bouncer, None), (direct, None)]) for mode in MODES for n in CLIENTS]
            throughput(report, "Relay of open tables (pgbench -S)", "at least PgBouncer in every cell", relay)
            guarded, plain = people.script("bench.person"), people.script("bench.person_plain")
            rows = [(mode, n, (gate, guarded), [(bouncer, plain), (audited, plain), (direct, plain)])
                    for mode in ("simple", "prepared") for n in CLIENTS]
            throughput(report, "Guarded lookup by key", "at least 0.8 of PgBouncer at 64 clients", rows)
            report.say("\nThe simple rows above carry literals; their mark is above 1.0 of PostgreSQL directly.")
            for size in people.sizes:
                script = people.script("bench.person", size)
                throughput(report, f"Guarded lookup, register of {size:,}", "none: how cost grows",
                           [("prepared", 8, (gate, script), [(direct, people.script("bench.person_plain", size))])])
            streaming(report, gate, direct, people.count)
            idle(report, [gate, bouncer])
        finally:
            bouncer.stop()
            gate.stop()
            people.stop()
    with open(os.path.join(ROOT, "bench", "results.md"), "w") as f:
        f.write("\n".join(report.lines) + "\n")


if __name__ == "__main__":
    main()
