"""Sealed columns: lookups by a blind index beside the same in clear, opening a value beside OpenSSL's AES-256-GCM, moving tables in
beside an UPDATE of the same columns, and loading files beside COPY."""
import os
import re
import subprocess
import time

import psycopg

from harness import postgres as pg
from harness.gate import BINARY
from report import ROUNDS, SECONDS, ratios, spread
from setup import POLICY, Target, command, serve

MOST = int(os.environ.get("BENCH_SEALED", "1000000"))
SIZES = [n for n in (10_000, 100_000, 1_000_000, 10_000_000) if n <= MOST][-3:]
CLIENTS = (1, 8, 64)
FIELDS = ("family_name", "given_name", "birth_date", "phone", "note")
OWNED = "CREATE TABLE {0} (person_id int PRIMARY KEY, nir bigint, family_name text, given_name text, birth_date date, phone text, note text)"
FILL = ("INSERT INTO {0} SELECT i, i, 'Name' || i % 5000, 'Given' || i % 900, date '1940-01-01' + i % 25000, '06' || i, 'seen at the office ' || i % 70 "
        "FROM generate_series(1, {1}) i")

SEALED = {"nir": ", sealed: {search: [equality]}", "family_name": ", sealed: {search: [equality]}", "given_name": ", sealed: {}", "birth_date": ", sealed: {}",
          "phone": ", sealed: {search: [equality]}", "note": ", sealed: {}"}


def table_text(name, sealed):
    columns = "".join(f"      {column}: {{class: identity{SEALED[column] if sealed else ''}}}\n" for column in SEALED)
    return f"  {name}:\n    subject: person_id\n    columns:\n      person_id: {{class: key}}\n{columns}"


class Register:
    """A PostgreSQL with tables of fictitious people in clear: `bench.clear` and, for each size, `bench.sealed_<size>`."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "sealing")
        os.makedirs(self.folder, mode=0o755)
        self.postgres = pg.Postgres(self.folder, durable=True)
        self.postgres.create_owner()
        with open(os.path.join(self.postgres.data, "postgresql.conf"), "a") as f:
            f.write("shared_buffers = 1GB\nmax_wal_size = 8GB\n")
        self.postgres.restart()
        self.postgres.create_database("bench")
        self.url = self.postgres.owner_url("bench")
        with self.postgres.admin("bench") as c:
            c.execute(f"GRANT pg_checkpoint TO {pg.OWNER}")
        self.config = os.path.join(self.folder, "ecluse.yaml")
        self.sql("CREATE SCHEMA bench", OWNED.format("bench.clear"), FILL.format("bench.clear", SIZES[-1]), "CREATE UNIQUE INDEX ON bench.clear (nir)",
                 *[text for size in SIZES for text in (OWNED.format(f"bench.sealed_{size}"), FILL.format(f"bench.sealed_{size}", size),
                                                       f"CREATE UNIQUE INDEX ON bench.sealed_{size} (nir)")],
                 "VACUUM ANALYZE", "CHECKPOINT")

    def sql(self, *statements):
        with psycopg.connect(self.url, autocommit=True) as c:
            c.execute("SET client_min_messages TO error")
            for statement in statements:
                c.execute(statement)

    def policy(self, sealed):
        """Where the tables of `sealed` sizes are sealed."""
        tables = table_text("bench.clear", False) + "".join(table_text(f"bench.sealed_{size}", size in sealed) for size in SIZES)
        reads = "".join(f"      {name}: {{key: clear, identity: clear}}\n" for name in ("bench.clear", *[f"bench.sealed_{size}" for size in SIZES]))
        with open(self.config, "w") as f:
            f.write(POLICY.format(folder=self.folder, port=self.postgres.port, tables=tables, reads=reads))

    def command(self, *args):
        return command(self.config, *args)


def openssl_rate(size):
    """Bytes a second of AES-256-GCM over blocks of one size, on one core."""
    done = subprocess.run(["openssl", "speed", "-evp", "aes-256-gcm", "-bytes", str(size), "-seconds", "1", "-mr"], capture_output=True, text=True)
    return float(re.search(r"^\+F:.*:([0-9.]+)\s*$", done.stdout, re.M).group(1))


def values(report):
    report.say("\n## Opening and sealing a value on one core\n\nMiB a second of clear bytes, beside `openssl speed -evp aes-256-gcm` over blocks of the same size, in "
               f"turn, {ROUNDS} times. Opening one value derives its key, sets up AES twice, and checks the tag; OpenSSL's figure sets up its key once. Mark: none.")
    report.table("bytes", "values opened a second", "values sealed a second", "opened, MiB/s", "openssl, MiB/s", "opened / openssl")
    bench = os.path.join(os.path.dirname(os.path.abspath(BINARY)), "vault_bench")
    runs, peers = {}, {}
    for _ in range(ROUNDS):
        for line in subprocess.run([bench], capture_output=True, text=True, check=True).stdout.splitlines():
            size, opened, sealed = (int(word) for word in line.split())
            runs.setdefault(size, []).append((opened, sealed))
            peers.setdefault(size, []).append(openssl_rate(size))
    for size, figures in runs.items():
        opened = [one * size for one, _ in figures]
        report.row(f"{size:,}", spread([one for one, _ in figures]), spread([one for _, one in figures]), spread([one / 2**20 for one in opened]),
                   spread([one / 2**20 for one in peers[size]]), ratios(opened, peers[size]))


def moving(report, register):
    report.say("\n## Moving a table in\n\n`ecluse seal` of six columns, three of them with an equality index, and `ecluse keys rotate --reencrypt` of all tables sealed so "
               "far, beside one UPDATE of the same six columns and VACUUM FULL of a copy in clear. Rows a second, one run each; columns are checked, sealed, read back, "
               "indexed and verified. Mark: none.")
    report.table("rows", "seal", "UPDATE and VACUUM FULL", "seal / UPDATE", "re-encrypt", "re-encrypt / UPDATE")
    register.policy(())
    register.command("keys", "init")
    register.command("apply", "--owner", register.url)
    sealed = []
    for size in SIZES:
        copy = f"bench.copy_{size}"
        register.sql(OWNED.format(copy), FILL.format(copy, size), f"CREATE UNIQUE INDEX ON {copy} (nir)", f"VACUUM ANALYZE {copy}", "CHECKPOINT")
        began = time.monotonic()
        register.sql(f"UPDATE {copy} SET nir = nir + 100000000, family_name = family_name || 'x', given_name = given_name || 'x', birth_date = birth_date + 1, "
                     "phone = phone || '1', note = note || 'x'", f"VACUUM FULL {copy}")
        update = time.monotonic() - began
        register.sql(f"DROP TABLE {copy}", "CHECKPOINT")
        sealed.append(size)
        register.policy(sealed)
        seal = register.command("seal", "--owner", register.url)
        register.sql("CHECKPOINT")
        anew = register.command("keys", "rotate", "--reencrypt", "--owner", register.url)
        rows = sum(sealed)
        report.row(f"{size:,}", f"{size / seal:,.0f}", f"{size / update:,.0f}", f"{update / seal:.2f}", f"{rows / anew:,.0f} of {rows:,}",
                   f"{(rows / anew) / (size / update):.2f}")
    register.sql(*[f"VACUUM ANALYZE bench.sealed_{size}" for size in SIZES], "CHECKPOINT")


def loading(report, register):
    report.say("\n## Loading a file\n\n`ecluse load` of a CSV file into the sealed table of that size, which is emptied first and keeps its indexes, beside `COPY … FROM STDIN` of the "
               "same file into a table in clear with indexes over the same three columns, by one psycopg connection. Rows a second, one run each; the load reads the file "
               "twice, seals six columns, makes three tokens a row, and commits every 5,000 rows. Mark: none.")
    report.table("rows", "load", "COPY in clear", "load / COPY")
    for size in SIZES:
        copy, path = f"bench.copy_{size}", os.path.join(register.folder, f"people_{size}.csv")
        register.sql(OWNED.format(copy), FILL.format(copy, size))
        with psycopg.connect(register.url, autocommit=True) as c, c.cursor() as cursor, open(path, "wb") as f:
            with cursor.copy(f"COPY {copy} TO STDOUT (FORMAT csv, HEADER)") as rows:
                for piece in rows:
                    f.write(piece)
        register.sql(f"TRUNCATE {copy}", *[f"CREATE {unique} INDEX ON {copy} ({column})" for unique, column in (("UNIQUE", "nir"), ("", "family_name"), ("", "phone"))],
                     f"TRUNCATE bench.sealed_{size}", "CHECKPOINT")
        began = time.monotonic()
        with psycopg.connect(register.url, autocommit=True) as c, c.cursor() as cursor, open(path, "rb") as f:
            with cursor.copy(f"COPY {copy} FROM STDIN (FORMAT csv, HEADER)") as rows:
                while piece := f.read(1 << 20):
                    rows.write(piece)
        clear = time.monotonic() - began
        register.sql(f"DROP TABLE {copy}", "CHECKPOINT")
        load = register.command("load", "--table", f"bench.sealed_{size}", "--owner", register.url, path)
        os.unlink(path)
        report.row(f"{size:,}", f"{size / load:,.0f}", f"{size / clear:,.0f}", f"{clear / load:.2f}")
    register.sql(*[f"VACUUM ANALYZE bench.sealed_{size}" for size in SIZES], "CHECKPOINT")


def lookups(report, register, interleaved):
    gate = serve(register.config, register)
    try:
        clear = gate
        sealed = Target("sealed", gate.host, gate.port, gate.user, gate.password, gate.pid, "-c ecluse.purpose=measuring")
        clear.name = "clear"
        scripts = {}
        for name in ("clear", *[f"sealed_{size}" for size in SIZES]):
            for size in SIZES if name == "clear" else [int(name.split("_")[1])]:
                scripts[name, size] = os.path.join(register.folder, f"{name}-{size}.sql")
                with open(scripts[name, size], "w") as f:
                    f.write(f"\\set nir random(1, {size})\nSELECT {', '.join(FIELDS)} FROM bench.{name} WHERE nir = :nir;\n")
        with psycopg.connect(host=gate.host, port=gate.port, user=gate.user, password=gate.password, dbname="bench", sslmode="disable",
                             options="-c ecluse.purpose=measuring") as c:
            c.execute("SELECT person_id, family_name FROM bench.clear")  # names everybody
        report.say(f"\n## Lookup by a sealed number, five sealed fields opened\n\nTransactions a second through the gate, prepared, median (least–most) of {ROUNDS} runs of "
                   f"{SECONDS} s; beside the same lookup of the same people in clear columns, through the same gate. Mark: at least 0.9.")
        report.table("rows", "clients", "sealed", "clear", "sealed / clear")
        for size in SIZES:
            for clients in CLIENTS if size == SIZES[-1] else (8,):
                figures = interleaved([(sealed, scripts[f"sealed_{size}", size]), (clear, scripts["clear", size])], clients, "prepared")
                report.row(f"{size:,}", clients, spread(figures["sealed"]), spread(figures["clear"]), ratios(figures["sealed"], figures["clear"]))
    finally:
        gate.stop()


def measure(report, folder, interleaved):
    values(report)
    register = Register(folder)
    try:
        moving(report, register)
        loading(report, register)
        lookups(report, register, interleaved)
    finally:
        register.postgres.stop()
