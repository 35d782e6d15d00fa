"""The ledger's rows: appends, verify, who-saw and dossier."""
import contextlib
import json
import os
import re
import shutil
import sqlite3
import statistics
import struct
import subprocess
import tempfile
import time

from harness.gate import BINARY
from report import ROUNDS, SECONDS, ratios, spread

BENCH = os.path.join(os.path.dirname(BINARY), "ledger_bench")
BURST = min(10, SECONDS * 5 // 2)
SIZES = sorted({100_000, 1_000_000, int(os.environ.get("BENCH_LEDGER_ENTRIES", "5000000"))})
DOSSIER = 10_000  # entries of one account
NAMED = 50  # entries that name one person
PROCESSORS = os.cpu_count()


def bench(*args):
    done = subprocess.run([BENCH, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ledger_bench {args}: {done.stderr[-800:]}")
    return json.loads(done.stdout)


def stored(ledger, count):
    """Entries as the ledger's full bundles hold them."""
    entries = []
    for folder, _, names in sorted(os.walk(os.path.join(ledger, "tile", "entries"))):
        for name in sorted(names):
            with open(os.path.join(folder, name), "rb") as f:
                bundle = f.read()
            while bundle:
                (length,) = struct.unpack(">H", bundle[:2])
                entries.append(bundle[2:2 + length])
                bundle = bundle[2 + length:]
            if len(entries) >= count:
                return entries
    return entries


def sqlite(folder, entries, group, seconds):
    """Rows a second in WAL mode with synchronous=FULL, `group` of them a transaction."""
    path = os.path.join(folder, "peer.sqlite")
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, entry BLOB)")
    rows, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        if group == 1:
            database.execute("INSERT INTO entry (entry) VALUES (?)", (entries[rows % len(entries)],))
        else:
            database.execute("BEGIN")
            database.executemany("INSERT INTO entry (entry) VALUES (?)",
                                 ((entries[(rows + i) % len(entries)],) for i in range(group)))
            database.execute("COMMIT")
        rows += group
    took = time.perf_counter() - began
    database.close()
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            os.unlink(path + end)
    return rows / took


def appends(report, folder, entries):
    report.say(f"\n## Ledger appends\n\nDurable entries a second, of {statistics.median(map(len, entries)):.0f} bytes, median "
               f"(least–most) of {ROUNDS} runs, in turn; checkpoints every second. SQLite {sqlite3.sqlite_version}: WAL, "
               f"synchronous=FULL, the same entries on the same disk, for {BURST} s. Tessera publishes about 10,000 a second "
               "for POSIX storage (not measured here). Mark: a burst of 500,000 at 512 in flight where fdatasync takes 0.2 ms; "
               "100,000 sustained.")
    runs = [(n, kind, seconds) for kind, seconds in (("burst", BURST), ("sustained", 3 * BURST)) for n in (64, 512)]
    ours, behind = {run: [] for run in runs}, {run: [] for run in runs}
    theirs = {1: [], 512: []}
    # Removed when all is measured: ext4 without a journal looks long for an inode after many files were removed.
    with contextlib.ExitStack() as places:
        for _ in range(ROUNDS):
            for run in runs:
                place = places.enter_context(tempfile.TemporaryDirectory(dir=folder))
                done = bench("append", "--folder", place, "--in-flight", run[0], "--seconds", run[2], "--people", 1000)
                ours[run].append(done["entries"] / done["seconds"])
                behind[run].append(done["behind"])
            for group, figures in theirs.items():
                figures.append(sqlite(folder, entries, group, BURST))
    report.table("run", "in flight", "Écluse", "checkpoint behind, entries", "SQLite, 1 a transaction",
                 "SQLite, 512 a transaction", "Écluse / SQLite 1", "Écluse / SQLite 512")
    for run in runs:
        report.row(f"{run[1]}, {run[2]} s", run[0], spread(ours[run]), spread(behind[run]), *[spread(f) for f in theirs.values()],
                   *[ratios(ours[run], f) for f in theirs.values()])


def sha256_speed():
    """Bytes a second of one processor, in pieces of 16 KiB."""
    done = subprocess.run(["openssl", "speed", "-evp", "sha256", "-bytes", "16384", "-seconds", "2"], capture_output=True,
                          text=True, check=True)
    return float(re.search(r"sha256\s+([0-9.]+)k", done.stdout, re.I)[1]) * 1000


def verify(report, filled):
    report.say(f"\n## Ledger verify\n\nMB of entries a second on {PROCESSORS} processors, median (least–most) of {ROUNDS} runs, "
               "in turn; files in the page cache. SHA-256: openssl speed at 16 KiB, one processor's times the processors. "
               "Mark: at least 0.5 of it.")
    report.table("entries", "MB", "seconds", "Écluse", f"SHA-256 × {PROCESSORS}", "Écluse / SHA-256")
    for size, place in filled.items():
        ledger = os.path.join(place, "data", "ledger")
        length = sum(os.path.getsize(os.path.join(folder, name))
                     for folder, _, names in os.walk(os.path.join(ledger, "tile", "entries")) for name in names)
        seconds, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(sha256_speed() * PROCESSORS / 1e6)
            began = time.perf_counter()
            subprocess.run([BINARY, "ledger", "verify", "--ledger", ledger], check=True, capture_output=True)
            seconds.append(time.perf_counter() - began)
        ours = [length / 1e6 / s for s in seconds]
        report.row(f"{size:,}", f"{length / 1e6:,.0f}", f"{statistics.median(seconds):.2f}", spread(ours), spread(theirs),
                   ratios(ours, theirs))


def milliseconds(figures):
    return f"{figures['median'] * 1e3:,.1f} ({figures['least'] * 1e3:,.1f}–{figures['worst'] * 1e3:,.1f})"


def answers(report, filled):
    report.say("\n## who-saw and dossier\n\nMilliseconds, median (least–most), of 20 people and 5 accounts chosen by a seed, the "
               "ledger opened anew for each; files in the page cache as far as the memory goes. The full scan reads and opens "
               "every entry. Mark: under 10 ms and 1 s.")
    report.table("entries", "question", "found", "opening, ms", "asking, ms", "full scan, ms", "asking / full scan")
    slopes = {}
    for size, place in filled.items():
        scan = bench("scan", "--folder", place, "--questions", 1)["ask"]["median"]
        for question, options in (("who-saw", ("--people", size // NAMED, "--questions", 20)),
                                  ("dossier", ("--accounts", size // DOSSIER, "--questions", 5))):
            done = bench(question, "--folder", place, *options)
            report.row(f"{size:,}", question, f"{done['found']:,}", milliseconds(done["open"]), milliseconds(done["ask"]),
                       f"{scan * 1e3:,.0f}", f"{done['ask']['median'] / scan:.5f}")
            slopes.setdefault(question, []).append(done["open"]["median"] + done["ask"]["median"])
        slopes.setdefault("full scan", []).append(scan)
    sizes = list(filled)
    report.say(f"\nFrom {sizes[0]:,} to {sizes[-1]:,} entries, {sizes[-1] / sizes[0]:.0f} times as many, opening and asking together "
               "took " + ", ".join(f"{times[-1] / times[0]:.1f} times as long ({name})" for name, times in slopes.items()) + ".")


def fill(folder, filled, size):
    filled[size] = os.path.join(folder, f"filled-{size}")
    return bench("fill", "--folder", filled[size], "--entries", size, "--accounts", size // DOSSIER, "--people", size // NAMED)


def measure(report, folder):
    filled = {}
    try:
        done = {SIZES[0]: fill(folder, filled, SIZES[0])}
        appends(report, folder, stored(os.path.join(filled[SIZES[0]], "data", "ledger"), 10_000))
        for size in SIZES[1:]:
            done[size] = fill(folder, filled, size)
        report.say("\n## Filling\n\nEntries of the ledgers below, appended 512 in flight, their people introduced first.")
        report.table("entries", "people", "seconds", "a second")
        for size in SIZES:
            report.row(f"{size:,}", f"{size // NAMED:,}", f"{done[size]['seconds']:.1f}",
                       f"{done[size]['entries'] / done[size]['seconds']:,.0f}")
        verify(report, filled)
        answers(report, filled)
    finally:
        for place in filled.values():
            shutil.rmtree(place, ignore_errors=True)
