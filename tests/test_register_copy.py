"""The checkpoint in the register's database: of two ledgers of one origin only one goes on."""
import os
import shutil
import signal
import subprocess
import time

import pytest

from harness import gate as gates


def row(gate):
    with gate.postgres.owner(gate.database) as c:
        rows = c.execute(f'SELECT origin, size, note FROM "ecluse_{gate.register}".checkpoint').fetchall()
    assert len(rows) <= 1
    return rows[0] if rows else None


def checkpoint(gate):
    with open(os.path.join(gate.data, "ledger", "checkpoint")) as f:
        return f.read()


def put_row(gate, told):
    with gate.postgres.owner(gate.database) as c:
        c.execute(f'UPDATE "ecluse_{gate.register}".checkpoint SET size = %s, note = %s', told[1:])


def covered(gate):
    gate.wait_for(lambda: row(gate) and row(gate)[2] == checkpoint(gate) and row(gate)[1] == len(gate.ledger()), 20)


def look(gate, person=1001):
    with gate.wire("counter") as c:
        return c.query(f"SELECT person_id FROM taj.person WHERE person_id = {person}")


@pytest.fixture
def g(make_gate, request):
    name = "copy" + "".join(c for c in request.node.name if c.isalnum())[-24:]
    return make_gate(name.lower(), accounts={"counter": "counter"})


def test_it_is_the_ledgers_own(g):
    assert not look(g).errors
    g.wait_for(lambda: row(g) and row(g)[2] == checkpoint(g) and row(g)[1] == len(g.ledger()))
    first = row(g)
    assert g.stop() == 0
    assert row(g)[2] == checkpoint(g) and row(g)[1] > first[1]
    g.serve()
    assert not look(g).errors


def test_no_role_reaches_it(g):
    with g.postgres.admin(g.database) as c:
        names = [r[0] for r in c.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"ecluse_{g.register}%"]).fetchall()]
        assert f"ecluse_{g.register}__gate" in names and len(names) > 1
        for name in names:
            mine = name.endswith("__gate")
            table = f'"ecluse_{g.register}".checkpoint'
            for right in ("SELECT", "INSERT", "UPDATE"):
                assert c.execute("SELECT has_table_privilege(%s, %s, %s)", [name, table, right]).fetchone()[0] == mine
            assert not c.execute("SELECT has_table_privilege(%s, %s, 'DELETE')", [name, table]).fetchone()[0]
        gate = f"ecluse_{g.register}__gate"
        for table in ("taj.person", "sia.owner", "ref.numbers"):
            assert not c.execute("SELECT has_table_privilege(%s, %s, 'SELECT') OR has_any_column_privilege(%s, %s, 'SELECT')", [gate, table, gate, table]).fetchone()[0]


def refused_start(gate, *says):
    with pytest.raises(RuntimeError) as refused:
        gate.serve(timeout=30)
    for text in says:
        assert text in str(refused.value), refused.value


def test_a_ledger_put_back_from_a_copy_does_not_start(g, tmp_path):
    assert not look(g).errors
    g.stop()
    shutil.copytree(g.data, tmp_path / "old")
    g.serve()
    assert not look(g, 1002).errors
    g.stop()
    newest = str(tmp_path / "newest")
    os.rename(g.data, newest)
    shutil.copytree(tmp_path / "old", g.data)
    refused_start(g, "this ledger is behind")
    shutil.rmtree(g.data)
    os.rename(newest, g.data)
    g.serve()
    assert not look(g, 1003).errors


def test_a_copy_that_went_on_by_itself_does_not_start(g, tmp_path):
    """The copy holds more entries than were told, and others."""
    assert not look(g).errors
    g.stop()
    shutil.copytree(g.data, tmp_path / "old")
    told = row(g)
    g.serve()
    assert not look(g, 1002).errors
    g.stop()
    theirs = row(g)
    shutil.rmtree(g.data)
    shutil.copytree(tmp_path / "old", g.data)
    put_row(g, told)  # as if the database had been put back as well, for a while
    g.serve()
    for person in range(1003, 1040):
        assert not look(g, person).errors
    g.stop()
    put_row(g, theirs)
    refused_start(g, "this ledger is another than the one")


def test_an_earlier_checkpoint_of_its_own_is_gone_on_from(g):
    """The database was put back, or an answer was lost."""
    assert not look(g).errors
    covered(g)
    before = row(g)
    assert not look(g, 1002).errors
    covered(g)
    put_row(g, before)
    assert not look(g, 1003).errors
    covered(g)
    with g.postgres.owner(g.database) as c:
        c.execute(f'DELETE FROM "ecluse_{g.register}".checkpoint')
    assert not look(g, 1004).errors
    covered(g)


def test_another_gate_that_tells_stops_release(g, tmp_path):
    assert not look(g).errors
    g.stop()
    told = row(g)
    shutil.copytree(g.data, tmp_path / "copy")
    g.serve()
    assert not look(g, 1002).errors
    g.stop()
    mine = row(g)
    os.rename(g.data, tmp_path / "mine")
    shutil.copytree(tmp_path / "copy", g.data)
    put_row(g, told)
    g.serve()
    assert not look(g, 1003).errors
    g.stop()
    theirs = row(g)
    shutil.rmtree(g.data)
    os.rename(tmp_path / "mine", g.data)
    put_row(g, mine)
    g.serve()
    assert not look(g, 1004).errors
    covered(g)
    put_row(g, theirs)
    look(g, 1005)
    g.wait_for(lambda: "holds another checkpoint of this ledger" in g.log_text())
    assert look(g, 1006).errors


def test_what_a_killed_gate_had_asked_for_comes_late(g):
    """Its UPDATE waits in PostgreSQL while the next gate starts, and is taken then."""
    assert not look(g).errors
    covered(g)
    with g.postgres.owner(g.database) as c:
        c.execute("BEGIN")
        c.execute(f'SELECT FROM "ecluse_{g.register}".checkpoint FOR UPDATE')
        assert not look(g, 1002).errors
        with g.postgres.admin(g.database) as a:
            g.wait_for(lambda: a.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] > 0)
            g.kill()
            g.serve()
            assert a.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] > 0, "it waits still"
        c.execute("COMMIT")
    assert not look(g, 1003).errors
    covered(g)
    assert not look(g, 1004).errors


def test_two_answers_that_were_lost(g):
    """One of the two is taken after all: the gate goes on from what it finds of its own."""
    assert not look(g).errors
    covered(g)
    waiting = "SELECT a.pid FROM pg_stat_activity a WHERE a.usename = %s AND a.wait_event_type = 'Lock' ORDER BY a.backend_start"
    with g.postgres.owner(g.database) as c, g.postgres.admin(g.database) as a:
        gate = [f"ecluse_{g.register}__gate"]
        c.execute("BEGIN")
        c.execute(f'SELECT FROM "ecluse_{g.register}".checkpoint FOR UPDATE')
        assert not look(g, 1004).errors
        before = row(g)
        # The gate gives the first up, which goes on waiting in PostgreSQL, and asks again on another connection.
        g.wait_for(lambda: len(a.execute(waiting, gate).fetchall()) >= 2, 30)
        a.execute("SELECT pg_terminate_backend(%s)", [a.execute(waiting, gate).fetchall()[-1][0]])
        assert row(g) == before
        c.execute("COMMIT")
    assert not look(g, 1007).errors
    covered(g)


def test_a_commit_that_fails(g):
    """The checkpoint takes the last one's place only once the register has it."""
    assert not look(g).errors
    covered(g)
    mine = checkpoint(g)
    with g.postgres.owner(g.database) as c:
        c.execute("CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no space'; END$$")
        c.execute(f'CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON "ecluse_{g.register}".checkpoint '
                  "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fails()")
    assert not look(g, 1004).errors
    g.wait_for(lambda: "does not take the ledger's checkpoint" in g.log_text())
    assert checkpoint(g) == mine == row(g)[2]
    with g.postgres.owner(g.database) as c:
        c.execute(f'DROP TRIGGER late ON "ecluse_{g.register}".checkpoint')
        c.execute("DROP FUNCTION fails()")
    covered(g)


def test_removing_the_policy_keeps_it(g, tmp_path):
    assert not look(g).errors
    g.stop()
    shutil.copytree(g.data, tmp_path / "old")
    g.serve()
    assert not look(g, 1002).errors
    g.stop()
    told = row(g)
    assert "stays" in g.apply("--remove").stderr
    g.apply()
    assert row(g) == told
    g.serve()
    assert not look(g, 1003).errors
    g.stop()
    shutil.rmtree(os.path.join(g.data, "ledger"))
    shutil.copytree(tmp_path / "old" / "ledger", os.path.join(g.data, "ledger"))
    shutil.rmtree(os.path.join(g.data, "index"))
    refused_start(g, "this ledger is behind")


def test_a_foreign_checkpoint(g):
    look(g)
    g.stop()
    mine = row(g)
    with g.postgres.owner(g.database) as c:
        c.execute(f'UPDATE "ecluse_{g.register}".checkpoint SET note = replace(note, E\'\\n\\n\', E\'\\nx\\n\\n\')')
    refused_start(g, "was not signed by this gate")
    with g.postgres.owner(g.database) as c:
        c.execute(f'DELETE FROM "ecluse_{g.register}".checkpoint')
    g.serve()
    look(g)
    g.wait_for(lambda: row(g) and row(g)[1] > mine[1])


def test_a_database_that_does_not_answer_for_a_while(g):
    """Nothing is lost, and the checkpoint comes as soon as it can."""
    assert not look(g).errors
    with g.postgres.admin(g.database) as c:
        c.execute(f'ALTER ROLE "ecluse_{g.register}__gate" NOLOGIN')
        c.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [f"ecluse_{g.register}__gate"])
    g.wait_for(lambda: "does not take the ledger's checkpoint" in g.log_text() or "lock on the register is lost" in g.log_text(), 20)
    assert look(g, 1002).errors  # the lock is gone with it
    with g.postgres.admin(g.database) as c:
        c.execute(f'ALTER ROLE "ecluse_{g.register}__gate" LOGIN')
    g.wait_for(lambda: not look(g, 1003).errors, 20)
    g.wait_for(lambda: row(g) and row(g)[2] == checkpoint(g) and row(g)[1] == len(g.ledger()), 20)
    assert g.stop() == 0


def test_checkpoints_go_to_the_log(g):
    look(g)
    g.wait_for(lambda: f"checkpoint {g.register}/" in g.log_text())
    line = next(l for l in g.log_text().splitlines() if f"checkpoint {g.register}/" in l)
    note = line.split("checkpoint ", 1)[1].replace("|", "\n")
    path = os.path.join(g.folder, "told")
    with open(path, "w") as f:
        f.write(note)
    g.wait_for(lambda: g.command("ledger", "verify", "--from", path, check=False).returncode == 0)


def test_the_way_out_is_a_new_ledger_by_two_people(g, tmp_path):
    g.add_account("ann", "counter")
    g.add_account("ben", "counter")
    for person in (1001, 1002):
        assert not look(g, person).errors
    g.stop()
    shutil.copytree(g.data, tmp_path / "old")
    g.serve()
    assert not look(g, 1003).errors
    g.stop()
    shutil.rmtree(g.data)
    shutil.copytree(tmp_path / "old", g.data)
    row_node = row(g)[0].split("/")[1]
    refused_start(g, "this ledger is behind")
    begin = ["ledger", "new", "--node", "gate-2", "--reason", "restored", "--by", "ann", "--by", "ben"]
    both = f"{gates.password_of('ann')}\n{gates.password_of('ben')}\n"
    assert g.command(*begin, stdin=f"{gates.password_of('ann')}\nwrong\n", check=False).returncode == 2
    assert g.command(*begin[:-1], "ann", stdin=both, check=False).returncode == 2
    assert os.path.exists(os.path.join(g.data, "ledger", "origin"))
    g.command(*begin, stdin=both)
    approvals = [e["reason"] for e in g.ledger("--kind", "approval")]
    assert len(approvals) == 1 and "new ledger after" in approvals[0] and approvals[0].endswith("by ann and ben: restored")
    refused_start(g, "and this gate is")
    g.serve("--node", "gate-2")
    assert not look(g, 1002).errors
    former, = os.listdir(os.path.join(g.data, "former"))
    folder = os.path.join(g.data, "former", former)
    assert "case" not in g.command("who-saw", "--subject", "person:1001").stdout and ": entries 0," in g.command("who-saw", "--subject", "person:1001").stdout
    assert ": entries 1," in g.command("who-saw", "--subject", "person:1001", "--former", folder).stdout
    assert "may have been: 1; records: 1" in g.command("dossier", "--principal", "counter", "--former", folder).stdout
    assert g.command("ledger", "verify", "--ledger", os.path.join(folder, "ledger")).returncode == 0
    def rows():
        with g.postgres.owner(g.database) as c:
            return c.execute(f'SELECT count(*) FROM "ecluse_{g.register}".checkpoint').fetchone()[0]
    g.wait_for(lambda: rows() == 2)
    assert not os.path.exists(os.path.join(g.data, "beginning"))
    g.stop()
    back = ["ledger", "new", "--node", row_node, "--reason", "back", "--by", "ann", "--by", "ben"]
    assert "has, or had, that origin" in g.command(*back, stdin=both, check=False).stderr


def test_a_new_ledger_that_was_interrupted_is_begun_again(g):
    """Whatever had been moved: the same command finishes it, and no gate starts in between."""
    for name in ("ann", "ben"):
        g.add_account(name, "counter")
    assert not look(g).errors
    g.stop()
    with open(os.path.join(g.data, "ledger", "origin")) as f:
        ledger_id = f.read().split("\n")[1].split()[1]
    begin = ["ledger", "new", "--node", "gate-2", "--reason", "moved", "--by", "ann", "--by", "ben"]
    both = f"{gates.password_of('ann')}\n{gates.password_of('ben')}\n"
    former = os.path.join(g.data, "former", ledger_id)
    saved = g.data + ".saved"
    shutil.copytree(g.data, saved)
    for moved in range(4):
        shutil.rmtree(g.data)
        shutil.copytree(saved, g.data)
        with open(os.path.join(g.data, "beginning"), "w") as f:
            f.write(f"{ledger_id}\ngate-2\nnew ledger after the one that was\n")
        os.makedirs(os.path.join(former, "keys"), mode=0o700)
        os.chmod(os.path.join(g.data, "former"), 0o700), os.chmod(former, 0o700)
        if moved > 0:
            shutil.rmtree(os.path.join(g.data, "index"))
        if moved > 1:
            os.rename(os.path.join(g.data, "keys", "persons"), os.path.join(former, "keys", "persons"))
        if moved > 2:
            os.rename(os.path.join(g.data, "ledger"), os.path.join(former, "ledger"))
        refused_start(g, "ledger new")
        assert "a new ledger was begun" in g.command("erase", "--subject", "person:1001", "--reason", "x", check=False).stderr
        assert "as --node gate-2" in g.command(*[a.replace("gate-2", "gate-3") for a in begin], stdin=both, check=False).stderr
        g.command(*begin, stdin=both)
        approval, = [e["reason"] for e in g.ledger("--kind", "approval")]
        assert approval == "new ledger after the one that was; by ann and ben: moved"
        assert ": entries 1," in g.command("who-saw", "--subject", "person:1001", "--former", former).stdout
    g.serve("--node", "gate-2")
    assert not look(g).errors


def test_a_new_ledger_is_refused_where_it_makes_no_sense(g):
    g.add_account("ann", "counter")
    g.add_account("ben", "counter")
    begin = ["ledger", "new", "--reason", "why", "--by", "ann", "--by", "ben", "--node"]
    both = f"{gates.password_of('ann')}\n{gates.password_of('ben')}\n"
    assert "a gate has this ledger open" in g.command(*begin, "gate-2", stdin=both, check=False).stderr
    g.stop()
    node = row(g)[0].split("/")[1]
    assert "has, or had, that origin" in g.command(*begin, node, stdin=both, check=False).stderr
    assert "cannot be a node's name" in g.command(*begin, "a b", stdin=both, check=False).stderr
    assert os.path.exists(os.path.join(g.data, "ledger", "origin"))
