"""Removing what was kept for long enough: provable, and nothing else passes."""
import os
import shutil
import time

import pytest

SHORT = "[{subjects: 1000000, per: 2s}, {lookups: 10000000, per: 2s}, {failures: 10000000, per: 2s}]"
LIMITS = "limits: {per_address: [{subjects: 1000000, per: 2s}], per_organisation: [{subjects: 1000000, per: 2s}], per_register: [{subjects: 1000000, per: 2s}]}"


@pytest.fixture
def g(make_gate, request):
    name = "prune" + "".join(c for c in request.node.name if c.isalnum())[-20:]
    return make_gate(name.lower(), accounts={"counter": "counter"}, endless=SHORT, limits=LIMITS, ledger="{retention: 3s}")


def look(gate, where, reference, times=1):
    with gate.wire("counter", reference=reference) as c:
        for _ in range(times):
            assert not c.query(f"SELECT family_name FROM taj.person WHERE {where}").errors


def names(gate, *more):
    return gate.command("who-saw", *more).stdout


def test_what_is_past_retention_goes(g):
    look(g, "person_id <= 1061", "old", 50)
    look(g, "person_id > 1061", "old", 2400)  # what a segment of 16 MiB holds, and more
    boundary = len(g.ledger("--subject-free"))
    time.sleep(4)
    look(g, "person_id > 1061", "new", 10)
    assert "another gate has this ledger open" in g.command("ledger", "prune", check=False).stderr
    g.stop()
    assert "entries are kept for 3s" in g.command("ledger", "prune", "--before", "1s", check=False).stderr
    whole = g.ledger("--subject-free")
    assert "would remove" in g.command("ledger", "prune", "--dry-run").stdout
    assert len(g.ledger("--subject-free")) >= len(whole)
    said = g.command("ledger", "prune", "--reason", "yearly").stdout
    assert "removed " in said and "people whom no entry names any more: 0" not in said
    left = g.ledger("--subject-free")
    first = next(e["seq"] for e in left if e["kind"] not in ("person", "key", "retention"))
    assert 256 <= first <= boundary and first % 256 == 0
    for e in left:
        if e["seq"] >= first and e["seq"] < len(whole):
            assert e == whole[e["seq"]]
    retention, = [e for e in left if e["kind"] == "retention"]
    assert retention["reason"].startswith(f"removed entries before {first}, kept ") and retention["reason"].endswith(": yearly")
    told = g.command("ledger", "verify").stdout
    assert "whole: " in told and f"entries before {first} were removed" in told
    assert not os.path.exists(os.path.join(g.data, "ledger", "tile", "entries", "000"))
    there = {e["seq"] for e in left}
    gone, kept = next(n for n in range(first) if n not in there), next(n for n in range(first) if n in there)
    assert "was removed" in g.command("ledger", "prove", "--entry", str(gone), check=False).stderr
    g.command("ledger", "prove", "--entry", str(kept))

    g.serve()
    look(g, "person_id = 1064", "after")
    g.wait_for(lambda: " after " in names(g, "--subject", "person:1064"))
    assert "entries 0, " in names(g, "--subject", "person:1001")
    look(g, "person_id = 1001", "again")
    assert "entries 1, " in names(g, "--subject", "person:1001")
    g.stop()
    shutil.rmtree(os.path.join(g.data, "index"))
    assert " after " in names(g, "--subject", "person:1064")
    g.serve()
    g.wait_for(lambda: os.path.exists(os.path.join(g.data, "index")))
    assert " after " in names(g, "--subject", "person:1064")
    g.command("ledger", "verify")
    with open(os.path.join(g.data, "ledger", "removed")) as f:
        text = f.read()
    with open(os.path.join(g.data, "ledger", "removed"), "w") as f:
        f.write(text.replace(str(first), str(first + 256)))
    assert "no signed entry says so" in g.command("ledger", "verify", check=False).stdout
