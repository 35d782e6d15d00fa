"""Exactly who saw a person, and exactly whose data an account saw: against everything the ledger says."""
import csv
import io
import json
import os
import random
import re
import shutil
import subprocess

import pytest

from harness import gate as gates
from harness.wire import SYNC, bind, execute, parse

gates.PURPOSE_OF.update(ann=gates.PURPOSE_OF["counter"], bob=gates.PURPOSE_OF["counter"])
ACCOUNTS = {"ann": ("counter", "police"), "bob": ("counter", "customs"), "clerk": ("clerk", "police"), "prober": ("prober", "police")}


@pytest.fixture(scope="module")
def g(make_gate):
    """Some hundreds of lookups by several accounts, over two runs of the gate."""
    gate = make_gate("answers", serve=False, accounts={}, only={"counter", "clerk", "prober"})
    for name, (role, organisation) in ACCOUNTS.items():
        gate.add_account(name, role, organisation=organisation)
    dice = random.Random(7)
    gate.serve()
    for run in range(2):
        for name in ACCOUNTS:
            with gate.wire(name, reference=f"case-{name}-{run}") as c:
                for _ in range(40):
                    person = 1001 + dice.randrange(60)
                    form = dice.randrange(5)
                    if form == 0:
                        c.query(f"SELECT family_name, given_name FROM taj.person WHERE person_id IN ({person}, {person + 1})")
                    elif form == 1:
                        c.query(f"SELECT * FROM taj.person WHERE person_id = {9000000 + person}")
                    elif form == 2:
                        c.query(f"SELECT p.person_id, i.* FROM taj.person p JOIN taj.involvement i USING (person_id) WHERE p.person_id = {person}")
                    elif form == 3:
                        c.query(f"SELECT nothing FROM taj.person WHERE person_id = {person}")
                    else:
                        c.send(parse("SELECT person_id FROM taj.person WHERE person_id = $1"), bind([person]), execute(), SYNC)
                        c.outcome()
        if run == 0:
            gate.stop()
            gate.serve()
    gate.command("account", "lock", "ann", "--reason", "taken over")
    gate.wait_for(lambda: any(e["kind"] == "lock" and e.get("principal") == "ann" and "taken over" in e["reason"] for e in gate.ledger()))
    return gate


def people_of(entry, *lists):
    return {name for table in entry.get("subjects", []) for part in lists for name in table.get(part, [])}


def who_saw(gate, subject, *more):
    return json.loads(gate.command("who-saw", "--subject", subject, "--json", *more).stdout)


def dossier(gate, *more):
    return json.loads(gate.command("dossier", "--json", *more).stdout)


def all_people(entries):
    return sorted({name for e in entries for name in people_of(e, "returned", "asked")})


def check_everybody(gate):
    entries = gate.ledger()
    names = all_people(entries)
    assert len(names) > 50
    for name in names + ["person:77", "place:1001"]:
        told = who_saw(gate, name)
        expected = [(e["seq"], name in people_of(e, "returned")) for e in entries if name in people_of(e, "returned", "asked")]
        assert [(s["seq"], s["returned"]) for s in told["seen"]] == expected, name
        assert told["ledger"]["complete_to"] >= len(entries) and told["closed_entries"] == 0
    return entries


def check_dossier(gate, entries, fits, *question):
    told = dossier(gate, *question)
    mine = [e for e in entries if fits(e)]
    seen = {}
    for e in mine:
        shows = e["kind"] in ("disclosure", "statistic", "collection", "alteration", "erasure")
        for table in e.get("subjects", []):
            for name in table.get("returned", []):
                one = seen.setdefault(name, {"first": e["seq"], "fields": {}})
                one["last"] = e["seq"]
                for column, mask in table.get("fields", {}).items() if shows else []:
                    before = one["fields"].setdefault(table["table"], {}).get(column)
                    if before is None or mask == "clear":
                        one["fields"][table["table"]][column] = mask
    asked = set().union(*[people_of(e, "asked") for e in mine if e["kind"] != "refusal"]) - set(seen)
    assert [p["subject"] for p in told["subjects"]] == sorted(seen)
    assert [p["subject"] for p in told["asked"]] == sorted(asked)
    time_of = {e["seq"]: e["time"] for e in entries}
    for person in told["subjects"]:
        one = seen[person["subject"]]
        assert person.get("fields", {}) == {t: f for t, f in one["fields"].items() if f}, person
        assert micros(person["first"]) == time_of[one["first"]] and micros(person["last"]) == time_of[one["last"]]
    assert told["totals"]["subjects"] == len(seen)
    assert told["totals"]["records"] == sum(e.get("rows", 0) for e in mine if e["kind"] != "session")
    return told


def micros(text):
    from datetime import datetime, timezone
    t = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return int(t.timestamp()) * 1_000_000 + t.microsecond


def test_who_saw_everybody(g):
    check_everybody(g)


def test_without_the_index_and_with_an_older_one(g, tmp_path):
    """What the index does not know is read from the ledger itself; an index that was lost is made again."""
    copy = tmp_path / "copy"
    g.stop()
    shutil.copytree(g.data, copy)
    shutil.rmtree(copy / "index")
    with open(g.config) as f:
        text = f.read()
    other = os.path.join(g.folder, "other.yaml")
    with open(other, "w") as f:
        f.write(text.replace(f"data_dir: {g.data}", f"data_dir: {copy}"))
    entries = g.ledger()
    names = all_people(entries)[:8]
    without = []
    for name in names:
        done = subprocess.run([gates.BINARY, "who-saw", "--subject", name, "--json", "--config", other], capture_output=True, text=True, check=True)
        without.append(json.loads(done.stdout)["seen"])
    assert without == [who_saw(g, name)["seen"] for name in names]
    shutil.rmtree(os.path.join(g.data, "index"))
    g.serve()
    check_everybody(g)


def test_nobody_is_taken_for_erased_who_cannot_be_read(g, tmp_path):
    """Without the store of people's keys there are no names, and no answer that looks like one."""
    g.wait_for(lambda: dossier(g, "--principal", "ann")["totals"]["subjects"] > 10)
    copy = tmp_path / "copy"
    shutil.copytree(g.data, copy, ignore=shutil.ignore_patterns("control.sock"))
    whole = json.loads(g.command("dossier", "--principal", "ann", "--json", "--former", str(copy)).stdout)
    assert whole["totals"]["subjects"] > 10 and whole["totals"]["erased_subjects"] == 0
    shutil.rmtree(copy / "keys" / "persons")
    done = g.command("dossier", "--principal", "ann", "--json", "--former", str(copy), check=False)
    assert done.returncode == 2 and done.stdout == "" and "persons" in done.stderr


@pytest.mark.parametrize("account", list(ACCOUNTS))
def test_dossier_of_an_account(g, account):
    told = check_dossier(g, g.ledger(), lambda e: e.get("principal") == account, "--principal", account)
    assert (told["totals"]["subjects"] > 10) == (account != "clerk")
    assert ("taken over" in json.dumps(told["locks"])) == (account == "ann")


def test_dossier_by_address_role_organisation_and_time(g):
    entries = g.ledger()
    check_dossier(g, entries, lambda e: e.get("address") == "127.0.0.1", "--address", "127.0.0.1")
    check_dossier(g, entries, lambda e: e.get("role") == "counter", "--role", "counter")
    check_dossier(g, entries, lambda e: e.get("organisation") == "customs", "--organisation", "customs")
    check_dossier(g, entries, lambda e: e.get("organisation") == "police" and e.get("role") == "counter", "--role", "counter", "--organisation", "police")
    assert not dossier(g, "--address", "127.0.0.9")["subjects"]
    released = [e for e in entries if e["kind"] == "disclosure"]
    start, end = released[10]["time"], released[-20]["time"]
    text = [f"{__import__('datetime').datetime.utcfromtimestamp(t // 1_000_000):%Y-%m-%dT%H:%M:%S}.{t % 1_000_000:06}Z" for t in (start, end)]
    check_dossier(g, entries, lambda e: e.get("role") == "counter" and start <= e["time"] < end, "--role", "counter", "--from", text[0], "--to", text[1])


def test_the_folder_is_evidence(g, tmp_path, checker):
    g.wait_for(lambda: dossier(g, "--principal", "bob")["ledger"]["covered"] >= max(e["seq"] for e in g.ledger() if e.get("principal") == "bob"))
    out = tmp_path / "bob"
    g.command("dossier", "--principal", "bob", "--out", str(out))
    assert oct(os.stat(out).st_mode & 0o777) == "0o700"
    told = json.loads((out / "dossier.json").read_text())
    rows = list(csv.DictReader(io.StringIO((out / "dossier.csv").read_text())))
    assert [r["subject"] for r in rows] == [p["subject"] for p in told["subjects"]]
    lines = [json.loads(line) for line in (out / "evidence.jsonl").read_text().splitlines()]
    named = [e["seq"] for e in g.ledger() if e.get("principal") == "bob" and e["kind"] != "refusal" and people_of(e, "returned")]
    assert [line["seq"] for line in lines] == named
    for line in lines[::7]:
        (tmp_path / "proof").write_text(line["proof"])
        (tmp_path / "entry").write_text(line["entry"])
        assert checker("proof", out / "vkey", tmp_path / "proof", tmp_path / "entry").returncode == 0
    (tmp_path / "entry").write_text(lines[0]["entry"].replace("bob", "ann"))
    assert checker("proof", out / "vkey", tmp_path / "proof", tmp_path / "entry").returncode != 0
    with pytest.raises(gates.CommandFailed, match="already there"):
        g.command("dossier", "--principal", "bob", "--out", str(out))


@pytest.mark.parametrize("language,words", [("en", ["Nature of the breach", "Likely consequences", "Contact point", "Measures taken", "Article 33(3)"]),
                                            ("fr", ["Nature de la violation", "Conséquences probables", "Point de contact", "Mesures prises", "article 33"])])
def test_the_report(g, tmp_path, language, words):
    out = tmp_path / "ann"
    g.command("dossier", "--principal", "ann", "--out", str(out))
    html = (out / f"dossier.{language}.html").read_text()
    for word in words:
        assert word in html
    told = json.loads((out / "dossier.json").read_text())
    assert all(f"<td>{p['subject']}</td>" in html for p in told["subjects"])
    assert "taken over" in html and told["ledger"]["checkpoint"].split("\n")[2] in html
    assert f'lang="{language}"' in html and "<svg" in html
    assert not re.search(r'(src|href)=|<script|url\(', html)


def test_who_saw_has_proofs(g, tmp_path, checker):
    name = all_people(g.ledger())[0]
    told = g.wait_for(lambda: (lambda t: t if all("proof" in s for s in t["seen"]) else None)(who_saw(g, name)))
    for s in told["seen"]:
        (tmp_path / "proof").write_text(s["proof"])
        g.command("ledger", "prove", "--entry", str(s["seq"]), "--out", str(tmp_path / "mine"), "--stored", str(tmp_path / "entry"))
        assert checker("proof", os.path.join(g.data, "ledger", "vkey"), tmp_path / "proof", tmp_path / "entry").returncode == 0


@pytest.mark.parametrize("args,says", [
    (["who-saw", "--subject", "4242"], "a space and an id"), (["who-saw", "--subject", "person:"], "a space and an id"),
    (["who-saw", "--subject", "person:1", "--from", "yesterday"], "is no time"), (["dossier"], "at least one of"),
    (["dossier", "--principal", "ann", "--to", "2026-02-30"], "is no time"), (["who-saw", "--subject", "person:1", "--from", "200000000d"], "is no time"), (["dossier", "--principal", "x", "--csv", "--json"], "excludes")])
def test_bad_use(g, args, says):
    done = subprocess.run([gates.BINARY, *args, "--config", g.config], capture_output=True, text=True)
    assert done.returncode == 2 and says in done.stderr


def test_no_ledger_yet(make_gate):
    gate = make_gate("unasked", serve=False, accounts={"ann": "counter"})
    for command in (["who-saw", "--subject", "person:1"], ["dossier", "--principal", "x"]):
        with pytest.raises(gates.CommandFailed, match="there is no ledger"):
            gate.command(*command)
    assert not os.path.exists(os.path.join(gate.data, "ledger"))


def test_an_answer_of_many_people(make_gate):
    """More than one entry holds: what was shown stands beside each of them."""
    gate = make_gate("many", accounts={"exporter": "exporter"})
    with gate.postgres.owner(gate.database) as c:
        columns = [r[0] for r in c.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'taj.person'::regclass AND attnum > 0 "
                                           "AND NOT attisdropped AND attgenerated = '' ORDER BY attnum").fetchall()]
        made = ["(row_number() OVER ())::int + 100000" if n == "person_id" else "(row_number() OVER ())::text" if n in ("nir", "tracker") else f'p."{n}"' for n in columns]
        c.execute(f"INSERT INTO taj.person ({','.join(columns)}) SELECT {','.join(made)} FROM taj.person p, generate_series(1, 4)")
    with gate.wire("exporter") as c:
        said = c.query("SELECT person_id, family_name FROM taj.person")
        assert not said.errors and len(said.rows) > 1400
    told = dossier(gate, "--principal", "exporter")
    assert told["totals"]["subjects"] == len(said.rows)
    assert all(p["fields"] == {"taj.person": {"person_id": "clear", "family_name": "clear"}} for p in told["subjects"])
    assert {c["clear"] for c in told["categories"].values()} == {len(said.rows)}
    person = told["subjects"][-1]["subject"]
    assert who_saw(gate, person)["seen"][0]["tables"][0]["fields"] == {"person_id": "clear", "family_name": "clear"}


def test_show_follows(make_gate):
    """People introduced after the command began have their names too."""
    gate = make_gate("follow", accounts={"ann": "counter"})
    with gate.wire("ann") as c:
        c.query("SELECT person_id FROM taj.person WHERE person_id = 1001")
    with subprocess.Popen([gates.BINARY, "ledger", "show", "--follow", "--json", "--config", gate.config], stdout=subprocess.PIPE, text=True) as shown:
        try:
            seen = [json.loads(shown.stdout.readline())]
            while not people_of(seen[-1], "returned"):
                seen.append(json.loads(shown.stdout.readline()))
            assert people_of(seen[-1], "returned") == {"person:1001"}
            with gate.wire("ann") as c:
                c.query("SELECT person_id FROM taj.person WHERE person_id = 1004")
            while people_of(seen[-1], "returned") != {"person:1004"}:
                seen.append(json.loads(shown.stdout.readline()))
            assert [e["seq"] for e in seen] == list(range(len(seen)))
        finally:
            shown.kill()
