"""The register that is measured, and the doors to it: PostgreSQL itself, with pgaudit, through PgBouncer, through the gate."""
import getpass
import os
import subprocess
import time

import psycopg

from harness import postgres as pg
from harness.gate import BINARY

POLICY = """\
version: 1
register: bench
gate:
  data_dir: {folder}/gate
  sql: {{listen: 127.0.0.1:0}}
  database: {{host: 127.0.0.1, port: {port}, name: bench, tls: disable}}
  allow_cleartext: true
purposes:
  measuring: {{reference: optional}}
tables:
{tables}roles:
  reader:
    purposes: [measuring]
    read:
{reads}    budgets:
      - {{subjects: 100000000, per: 1h}}
      - {{lookups: 1000000000, per: 1h}}
limits:
  per_address: [{{subjects: 100000000, per: 1h}}]
  per_organisation: [{{subjects: 100000000, per: 1h}}]
  per_register: [{{subjects: 100000000, per: 1h}}]
"""


TABLE = """\
  {0}:
    subject: person_id
    columns:
      person_id: {{class: key}}
      family_name: {{class: identity}}
      given_name: {{class: identity}}
      birth_date: {{class: identity}}
      town: {{class: place}}
"""
READ = "      {0}: {{key: clear, identity: clear, birth_date: year}}\n"
VISIT = """\
  bench.visit:
    subject: person_id
    columns:
      visit_id: {class: key}
      person_id: {class: key}
      reason: {class: identity}
      day: {class: identity}
"""
VISIT_READ = "      bench.visit: {key: clear, identity: clear}\n"
OPEN = "open_tables: [public.pgbench_accounts, public.pgbench_branches]\n"


class Target:
    def __init__(self, name, host, port, user, password, pid=None, options=""):
        self.name, self.host, self.port, self.user, self.password, self.pid = name, host, port, user, password, pid
        self.environment = dict(PGHOST=host, PGPORT=str(port), PGUSER=user, PGPASSWORD=password, PGDATABASE="bench",
                                PGOPTIONS=options, PGSSLMODE="disable")


class People:
    """PostgreSQL with a table of fictitious people for each size up to `most`; the gate's role reads it through a view
    that cuts dates, its peers the table itself."""

    VISITS = "bench.visit"

    def __init__(self, folder, most):
        self.folder = folder
        self.sizes = [n for n in (100_000, 1_000_000, 10_000_000) if n <= most]
        self.rows = min(most, 1_000_000)
        self.postgres = pg.Postgres(folder, durable=True)
        self.postgres.create_owner()
        with open(os.path.join(self.postgres.data, "postgresql.conf"), "a") as f:
            f.write("shared_buffers = 1GB\nshared_preload_libraries = 'pgaudit'\nlogging_collector = on\n"
                    "log_directory = 'audit'\n")
        # Logging in is not what is measured: the peers do without passwords, on the loopback interface.
        hba = os.path.join(self.postgres.data, "pg_hba.conf")
        with open(hba) as f:
            rules = f.read()
        with open(hba, "w") as f:
            f.write("host bench plain,audited 127.0.0.1/32 trust\n" + rules)
        self.postgres.restart()
        self.database = self.postgres.create_database("bench")
        with self.postgres.admin(self.database) as c:
            c.autocommit = True
            c.execute("CREATE SCHEMA bench AUTHORIZATION owner")
            for login in ("plain", "audited"):
                c.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{login}'")
                c.execute(f"GRANT USAGE ON SCHEMA bench TO {login}")
            for size in self.sizes:
                table = self.table(size)
                c.execute(f"CREATE TABLE {table} (person_id int NOT NULL, family_name text NOT NULL, given_name text, "
                          "birth_date date, town text)")
                c.execute(f"INSERT INTO {table} SELECT i, 'Name' || i % 5000, 'Given' || i % 900, date '1940-01-01' + i % 25000,"
                          f" 'Town' || i % 400 FROM generate_series(1, {size}) i")
                c.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (person_id)")
                c.execute(f"ALTER TABLE {table} OWNER TO owner")
                c.execute(f"GRANT SELECT ON {table} TO plain, audited")
            c.execute(f"CREATE TABLE {self.VISITS} (visit_id int PRIMARY KEY, person_id int NOT NULL, reason text, day date)")
            c.execute(f"INSERT INTO {self.VISITS} SELECT i, 1 + i % {self.rows // 10}, 'Reason' || i % 70, date '2020-01-01' + i % 2000 "
                      f"FROM generate_series(1, {self.rows}) i")
            c.execute(f"ALTER TABLE {self.VISITS} OWNER TO owner")
            c.execute(f"GRANT SELECT ON {self.VISITS} TO plain, audited")
            c.execute("CREATE EXTENSION pgaudit")
            c.execute("ALTER ROLE audited SET pgaudit.log = 'read'")
        subprocess.run([os.path.join(pg.bindir(), "pgbench"), "-i", "-q", "-s", "10"], check=True, capture_output=True,
                       env=dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(self.postgres.port), PGDATABASE="bench",
                                PGUSER=pg.SUPERUSER, PGPASSWORD=pg.SUPERUSER_PASSWORD))
        with self.postgres.admin(self.database) as c:
            c.autocommit = True
            for table in ("pgbench_accounts", "pgbench_branches"):
                c.execute(f"ALTER TABLE {table} OWNER TO owner")
            c.execute("GRANT SELECT ON pgbench_accounts, pgbench_branches TO plain, audited")
            c.execute("VACUUM ANALYZE")
            c.execute("CHECKPOINT")  # what loading has left to write would be written while we measure
        os.sync()

    @staticmethod
    def table(size):
        return f"bench.person_{size}"

    def direct(self):
        return Target("PostgreSQL", "127.0.0.1", self.postgres.port, "plain", "plain")

    def audited(self):
        return Target("PostgreSQL + pgaudit", "127.0.0.1", self.postgres.port, "audited", "audited")

    def script(self, size):
        """One person by key."""
        path = os.path.join(self.folder, f"{size}.sql")
        with open(path, "w") as f:
            f.write(f"\\set id random(1, {size})\n"
                    f"SELECT family_name, given_name, birth_date FROM {self.table(size)} WHERE person_id = :id;\n")
        return path

    def versions(self):
        with self.postgres.admin(self.database) as c:
            server = c.execute("SHOW server_version").fetchone()[0]
        bouncer = subprocess.run(["/usr/sbin/pgbouncer", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
        return f"PostgreSQL {server}, {bouncer}"

    def stop(self):
        self.postgres.stop()


class PgBouncer(Target):
    def __init__(self, folder, people):
        port = pg.free_port()
        super().__init__("PgBouncer", "127.0.0.1", port, "plain", "plain")
        self.folder = os.path.join(folder, "bouncer")
        os.makedirs(self.folder)
        with open(os.path.join(self.folder, "users.txt"), "w") as f:
            f.write('"plain" "plain"\n')
        with open(os.path.join(self.folder, "pgbouncer.ini"), "w") as f:
            f.write(f"[databases]\nbench = host=127.0.0.1 port={people.postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
                    f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {self.folder}/users.txt\n"
                    "pool_mode = session\nmax_client_conn = 6000\ndefault_pool_size = 100\nlogfile = /dev/null\n"
                    "ignore_startup_parameters = extra_float_digits,options\n")
        os.chmod(self.folder, 0o755)
        runner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if getpass.getuser() == "root" else []
        self.process = subprocess.Popen([*runner, "/usr/sbin/pgbouncer", "-q", os.path.join(self.folder, "pgbouncer.ini")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        time.sleep(1)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class BenchGate(Target):
    def __init__(self, process, host, port, people):
        super().__init__("Écluse", host, port, "reader", "reader-of-the-bench", process.pid, "-c ecluse.purpose=measuring")
        self.process, self.people = process, people

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def command(config, *args, stdin=None):
    """The seconds it took."""
    began = time.monotonic()
    done = subprocess.run([BINARY, *args, "--config", config], input=stdin, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{args}: {done.stderr[-1500:]}")
    return time.monotonic() - began


def serve(config, people):
    """The gate before `people`, and an account of its one role. The policy is applied."""
    command(config, "account", "add", "reader", "--role", "reader", "--organisation", "bench", "--password-stdin", stdin="reader-of-the-bench\n")
    log = open(os.path.join(os.path.dirname(config), "serve.log"), "wb")
    process = subprocess.Popen([BINARY, "serve", "--config", config], stdout=subprocess.PIPE, stderr=log, text=True)
    line = process.stdout.readline()
    if not line.startswith("ready"):
        raise RuntimeError(f"the gate did not become ready: {line!r}")
    host, port = next(word for word in line.split() if word.startswith("sql="))[4:].rsplit(":", 1)
    return BenchGate(process, host, int(port), people)


def bench_gate(folder, people):
    config = os.path.join(folder, "ecluse.yaml")
    with open(config, "w") as f:
        tables = [people.table(size) for size in people.sizes]
        f.write(POLICY.format(folder=folder, port=people.postgres.port, tables="".join(TABLE.format(t) for t in tables) + VISIT + OPEN,
                              reads="".join(READ.format(t) for t in tables) + VISIT_READ))
    command(config, "keys", "init")
    command(config, "apply", "--owner", people.postgres.owner_url("bench"))
    gate = serve(config, people)
    with psycopg.connect(host=gate.host, port=gate.port, user=gate.user, password=gate.password, dbname="bench", sslmode="disable",
                         options="-c ecluse.purpose=measuring") as c:
        c.execute(f"SELECT family_name FROM {people.table(people.rows)} WHERE person_id = 1").fetchone()
    return gate
