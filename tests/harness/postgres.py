"""A PostgreSQL of the tests' own: private folder, free port, stopped with the session."""
import glob
import os
import pwd
import shutil
import socket
import subprocess

import psycopg

from harness import wire

SUPERUSER, SUPERUSER_PASSWORD = "postgres", "superuser-of-the-tests"
OWNER, OWNER_PASSWORD = "owner", "owner-of-the-tests"


def bindir():
    """The newest installed server, 15 or later."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda p: int(p.split("/")[4]))
    if found:
        return os.path.dirname(found[-1])
    at = shutil.which("postgres")
    if not at:
        raise RuntimeError("no PostgreSQL server is installed; tools/install-deps.sh installs one")
    return os.path.dirname(at)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Postgres:
    """fsync is off unless `durable`: what these tests prove durable is the ledger, not PostgreSQL."""

    def __init__(self, folder, durable=False):
        self.folder = str(folder)
        self.data = os.path.join(self.folder, "pg")
        self.port = free_port()
        self.host = "127.0.0.1"
        self._as = []
        os.makedirs(self.data, mode=0o700)
        if os.geteuid() == 0:  # initdb refuses root
            user = pwd.getpwnam("postgres")
            os.chown(self.data, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        secret = os.path.join(self.folder, "pg.password")
        with open(secret, "w") as f:
            f.write(SUPERUSER_PASSWORD)
        os.chmod(secret, 0o644)
        self._run("initdb", "-D", self.data, "-U", SUPERUSER, "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8",
                  "--locale", "C.UTF-8", "--no-sync")
        os.unlink(secret)
        with open(os.path.join(self.data, "postgresql.conf"), "a") as f:
            f.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{self.data}'\n"
                    "max_connections = 400\nshared_buffers = 64MB\nlog_min_messages = warning\n"
                    "timezone = 'UTC'\nlog_timezone = 'UTC'\nlc_messages = 'C'\nautovacuum = off\n"
                    "logging_collector = on\nlog_destination = 'csvlog,jsonlog'\nlog_filename = 'server.log'\n"
                    "log_rotation_age = 0\nlog_rotation_size = 0\n")
            if not durable:
                f.write("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n")
        self.start()

    def _run(self, program, *args):
        done = subprocess.run([*self._as, os.path.join(bindir(), program), *args], cwd="/", text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}")

    def start(self):
        self._run("pg_ctl", "-D", self.data, "-w", "-s", "-l", os.path.join(self.data, "server.log"), "start")

    def stop(self, mode="immediate"):
        self._run("pg_ctl", "-D", self.data, "-w", "-s", "-m", mode, "stop")

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def admin(self, database="postgres"):
        """A superuser's connection, around every gate."""
        return psycopg.connect(host=self.host, port=self.port, user=SUPERUSER, password=SUPERUSER_PASSWORD, dbname=database,
                               autocommit=True)

    def owner(self, database):
        return psycopg.connect(host=self.host, port=self.port, user=OWNER, password=OWNER_PASSWORD, dbname=database,
                               autocommit=True)

    def owner_url(self, database):
        return f"postgresql://{OWNER}:{OWNER_PASSWORD}@{self.host}:{self.port}/{database}"

    def wire(self, database, user=OWNER, password=OWNER_PASSWORD, **options):
        """The raw client, straight to PostgreSQL: the oracle that shows what a statement would leak."""
        return wire.Client(self.host, self.port, user, password, database, **options)

    def create_owner(self):
        with self.admin() as c:
            c.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB PASSWORD '{OWNER_PASSWORD}'")

    def create_database(self, name, template=None):
        with self.admin() as c:
            extra = f" TEMPLATE {template}" if template else ""
            c.execute(f'CREATE DATABASE "{name}" OWNER {OWNER}{extra}')
            c.execute(f'REVOKE TEMPORARY ON DATABASE "{name}" FROM PUBLIC')
        return name
