"""One gate: its folder, policy, accounts and process, and what its ledger says."""
import collections
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time

import psycopg

from harness import wire

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.environ.get("ECLUSE") or os.path.join(HERE, "..", "..", "build", "release", "ecluse")

MASKED = """\
      taj.person: {key: clear, identity: clear, given_name: initial, birth_date: year, nir: last4, risk: range(10), note: redacted}
      taj.case: {key: clear, opened: month, offence_code: clear}
      taj.involvement: {key: clear, judicial: clear, recorded_at: month}
      sia.owner: {key: clear, permit: clear}
      sia.permit: {key: clear, permit: clear, valid_until: year}
      lapi.sighting: {key: clear, plate: pseudonym, camera: clear, seen_at: year}"""
CLEAR = """\
      taj.person: {key: clear, identity: clear, identifier: clear, assessment: clear, contact: clear, body: clear, internal: clear, biometric: clear}
      taj.case: {key: clear, judicial: clear, internal: clear}
      taj.involvement: {key: clear, judicial: clear, trace: clear, internal: clear}
      sia.owner: {key: clear, permit: clear, internal: clear}
      sia.permit: {key: clear, permit: clear, internal: clear}
      sia.address: {key: clear, contact: clear}"""
ENDLESS = "[{subjects: 1000000, per: 1h}, {lookups: 10000000, per: 1h}, {failures: 10000000, per: 1h}]"
LIMITS = ("limits: {per_address: [{subjects: 1000000, per: 1h}], per_organisation: [{subjects: 1000000, per: 24h}], "
          "per_register: [{subjects: 1000000, per: 24h}]}")
OFFICER = "[{subjects: 60, per: 1h}, {lookups: 100000, per: 1h}, {failures: 20, per: 1h}]"

ACCOUNTS = {"prober": "prober", "officer": "officer", "counter": "counter", "analyst": "analyst", "clerk": "clerk",
            "exporter": "exporter"}
PURPOSE_OF = collections.defaultdict(lambda: "judicial-inquiry", clerk="permit-control")


SEALED = {
    "nir: {class: identifier}": "nir: {class: identifier, sealed: {search: [equality]}}",
    "family_name: {class: identity}": "family_name: {class: identity, sealed: {search: [equality, prefix(4), phonetic], accept_leakage: true}}",
    "given_name: {class: identity}": "given_name: {class: identity, sealed: {}}",
    "birth_date: {class: identity}": "birth_date: {class: identity, sealed: {search: [equality, range(1d)], accept_leakage: true}}",
    "risk: {class: assessment}": "risk: {class: assessment, sealed: {search: [equality]}}",
    "note: {class: assessment}": "note: {class: assessment, sealed: {}}",
    "phone: {class: contact}": "phone: {class: contact, sealed: {search: [equality]}}",
    "height: {class: body}": "height: {class: body, sealed: {search: [range(10)], accept_leakage: true}}",
    "photo: {class: biometric}": "photo: {class: biometric, sealed: {}}",
    "street: {class: contact}": "street: {class: contact, sealed: {search: [equality]}}",
}


def password_of(account):
    return f"password of {account}"


def policy_text(register, database, pgport, officer=OFFICER, endless=ENDLESS, limits=LIMITS, roles="", statistic_rows=1000, tls="",
                only=None, ledger="", sealed=False, vault="", own="", compartment=""):
    """The policy of harness/policy.yaml with its marks filled; of its roles only those named, where any are; `ledger` is a section, `vault` more of one;
    `sealed`: with the columns of SEALED sealed; `own`: the `erasure` of taj.person; `compartment`: that of sia.address."""
    with open(os.path.join(HERE, "policy.yaml")) as f:
        text = f.read()
    for mark, value in {"@ROLES@": roles, "@LIMITS@": limits, "@MASKED@": MASKED, "@CLEAR@": CLEAR, "@ENDLESS@": endless,
                        "@OFFICER@": officer, "@REGISTER@": register, "@DATABASE@": database, "@PGPORT@": str(pgport),
                        "@STATISTIC_ROWS@": str(statistic_rows), "@TLS@": tls, "@VAULT@": vault and ", " + vault}.items():
        text = text.replace(mark, value)
    if only is not None:
        before, _, rest = text.partition("\nroles:\n")
        sections = re.split(r"^(?=  \w+:\n|\S)", rest, flags=re.M)
        kept = [part for part in sections if not (name := re.match(r"  (\w+):\n", part)) or name[1] in only]
        text = before + "\nroles:\n" + "".join(kept)
    for clear, column in SEALED.items() if sealed else ():
        assert clear in text
        text = text.replace(clear, column)
    if own:
        text = text.replace("  taj.person:\n    subject: person_id\n", f"  taj.person:\n    subject: person_id\n    erasure: {own}\n")
    if compartment:
        text = text.replace("  sia.address:\n    subject: owner_id\n", f"  sia.address:\n    subject: owner_id\n    compartment: {compartment}\n")
        assert "compartment: " in text
    if sealed:  # the database cannot count by what is sealed
        text = text.replace("of: {taj.person: [risk]}", "of: {}")
    assert "@" not in text.replace("@2", ""), "a mark of the policy template was left open"
    return text + (f"ledger: {ledger}\n" if ledger else "")


def writing_role(name, subjects, failures=1000, permit="permit: clear, valid_until: clear", more=""):
    """Policy text of a role that reads owners and writes permits, and is told of so many people."""
    return f"""
  {name}:
    purposes: [permit-control]
    read:
      sia.owner: {{key: clear, permit: clear}}
      sia.permit: {{key: clear, {permit}}}
    write:
      sia.permit:
        insert: [owner_id, kind, status, valid_until, points, remark{more}]
        update: [kind, status, valid_until, points, remark]
        delete: true
    budgets: [{{subjects: {subjects}, per: 1h}}, {{lookups: 100000, per: 1h}}, {{failures: {failures}, per: 1h}}]
"""


class CommandFailed(Exception):
    def __init__(self, done):
        super().__init__(f"{' '.join(done.args[1:3])} exited {done.returncode}: {done.stderr[-2000:]} {done.stdout[-500:]}")
        self.done = done


class Gate:
    """`Gate(...).prepare().serve()`. The database must exist; `accounts` is name -> role or list of roles."""

    def __init__(self, folder, postgres, database, register, accounts=None, organisation="police", data_dir=None, **policy):
        self.folder, self.postgres, self.database, self.register = str(folder), postgres, database, register
        self.accounts = ACCOUNTS if accounts is None else accounts
        self.organisation = organisation
        self.config = os.path.join(self.folder, "ecluse.yaml")
        self.data = data_dir or os.path.join(self.folder, "data")
        self.policy = dict(policy)
        if accounts is not None:  # compiling fewer roles is quicker
            self.policy.setdefault("only", {r for roles in accounts.values() for r in ([roles] if isinstance(roles, str) else roles)})
        self.process, self.host, self.port = None, None, None
        os.makedirs(self.folder, exist_ok=True)
        self.write_policy()

    # --- setting up ---
    def write_policy(self, text=None, **changes):
        self.policy.update(changes)
        if text is None:
            text = policy_text(self.register, self.database, self.postgres.port, **self.policy)
            text = text.replace("data_dir: data", f"data_dir: {self.data}")
        with open(self.config, "w") as f:
            f.write(text)

    def command(self, *args, stdin=None, check=True, timeout=120):
        done = subprocess.run([BINARY, *args, "--config", self.config], text=True, capture_output=True, timeout=timeout,
                              input=stdin, cwd=self.folder)
        if check and done.returncode:
            raise CommandFailed(done)
        return done

    def apply(self, *args, check=True):
        return self.command("apply", "--owner", self.postgres.owner_url(self.database), *args, check=check)

    def seal(self, *args, check=True, timeout=300):
        return self.command("seal", "--owner", self.postgres.owner_url(self.database), *args, check=check, timeout=timeout)

    def add_account(self, name, *roles, organisation=None):
        named = [part for role in roles for part in ("--role", role)]
        self.command("account", "add", name, *named, "--organisation", organisation or self.organisation,
                     "--password-stdin", stdin=password_of(name) + "\n")

    def prepare(self):
        self.command("keys", "init")
        self.said = (self.seal if self.policy.get("sealed") else self.apply)().stdout
        for name, roles in self.accounts.items():
            self.add_account(name, *([roles] if isinstance(roles, str) else roles))
        return self

    # --- running ---
    def serve(self, *options, timeout=60):
        """Returns once the doors are open; raises with the gate's own words where they do not open."""
        log = open(os.path.join(self.folder, "serve.log"), "ab")
        self.process = subprocess.Popen([BINARY, "serve", "--config", self.config, *options], stdout=subprocess.PIPE,
                                        stderr=log, cwd=self.folder)
        log.close()
        lines = queue.Queue()

        def pump(stream):
            for line in stream:
                lines.put(line.decode())
            lines.put("")

        threading.Thread(target=pump, args=(self.process.stdout,), daemon=True).start()
        try:
            line = lines.get(timeout=timeout)
        except queue.Empty:
            line = ""
        if not line.startswith("ready"):
            self.kill()
            raise RuntimeError(f"the gate did not become ready: {line!r}\n{self.log_text()[-3000:]}")
        where = next(word for word in line.split() if word.startswith("sql="))[4:]
        self.host, self.port = where.rsplit(":", 1)[0], int(where.rsplit(":", 1)[1])
        return self

    def log_text(self):
        with open(os.path.join(self.folder, "serve.log"), errors="replace") as f:
            return f.read()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def died(self):
        """Ended, and neither in order nor because it was killed: an invariant, a segmentation fault, a sanitizer."""
        return self.process is not None and self.process.poll() not in (None, 0, 2, -signal.SIGKILL)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout=20):
        """SIGTERM, and its exit status."""
        if not self.alive():
            return self.process.returncode if self.process else None
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.kill()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- clients ---
    def wire(self, account="prober", purpose=True, reference=None, password=None, **options):
        client = wire.Client(self.host, self.port, account, password or password_of(account), self.database, **options)
        if purpose:
            said = client.query(f"SET ecluse.purpose = '{PURPOSE_OF[account] if purpose is True else purpose}'")
            assert not said.errors, said.errors
            said = client.query(f"SET ecluse.reference = '{reference or 'PV-2024-17'}'")
            assert not said.errors, said.errors
        return client

    def psycopg(self, account="prober", purpose=True, reference=None, **options):
        c = psycopg.connect(host=self.host, port=self.port, user=account, password=password_of(account),
                            dbname=self.database, autocommit=True, **options)
        if purpose:
            c.execute(f"SET ecluse.purpose = '{PURPOSE_OF[account]}'")
            c.execute(f"SET ecluse.reference = '{reference or 'PV-2024-17'}'")
        return c

    def dsn(self, account):
        return f"postgresql://{account}:{password_of(account).replace(' ', '%20')}@{self.host}:{self.port}/{self.database}"

    def environment(self, account, purpose=True):
        """For psql and its like. The settings go as a startup option only where `purpose`."""
        env = dict(os.environ, PGHOST=self.host, PGPORT=str(self.port), PGUSER=account, PGPASSWORD=password_of(account),
                   PGDATABASE=self.database, PSQLRC=os.devnull, PAGER="", PSQL_PAGER="")
        return env

    # --- the ledger ---
    def ledger(self, *filters):
        """All entries, opened, as `ecluse ledger show --json` prints them; works beside a running gate."""
        done = self.command("ledger", "show", "--json", *filters)
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    def entries(self, reference):
        return [e for e in self.ledger() if e.get("reference") == reference]

    def wait_for(self, condition, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"what was waited for did not happen; the gate said:\n{self.log_text()[-3000:]}")


def people(entries, kind="returned"):
    """The ids (`person:1001`) that entries name as `returned` or `asked`."""
    return {who for e in entries for table in e.get("subjects", []) for who in table.get(kind, [])}


def told(entries):
    """Everybody the entries charge by name."""
    return people(entries, "returned") | people(entries, "asked")


def nameless(entries):
    return sum(e.get("charged", {}).get("nameless", 0) for e in entries)


def lookups(entries):
    return sum(e.get("charged", {}).get("lookups", 0) for e in entries)
