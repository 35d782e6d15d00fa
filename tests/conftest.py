"""Shared by all suites: one PostgreSQL, two twin registers, one gate on each. Run from the project's root:
`/usr/bin/python3 -m pytest tests`. The program under test is $ECLUSE, or build/release/ecluse."""
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.gate import BINARY, Gate  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.register import Register  # noqa: E402


@pytest.fixture(scope="session")
def workspace():
    folder = tempfile.mkdtemp(prefix="ecluse-e2e-")
    os.chmod(folder, 0o755)  # user postgres passes through
    yield folder
    if not os.environ.get("KEEP"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(workspace):
    server = Postgres(workspace)
    server.create_owner()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def register_a():
    return Register("a")


@pytest.fixture(scope="session")
def register_b():
    return Register("b")


@pytest.fixture(scope="session")
def templates(postgres, register_a, register_b):
    """Two loaded databases, copied for each gate."""
    names = {}
    for register in (register_a, register_b):
        names[register.twin] = postgres.create_database(f"template_{register.twin}")
        with postgres.owner(names[register.twin]) as c:
            register.load(c)
    return names


@pytest.fixture(scope="session")
def make_gate(workspace, postgres, templates):
    """make_gate(name, twin="a", serve=True, **policy): a gate on a register of its own."""
    made = []

    def make(name, twin="a", serve=True, prepare=True, **options):
        database = postgres.create_database(name, templates[twin])
        gate = Gate(os.path.join(workspace, name), postgres, database, name, **options)
        made.append(gate)
        if prepare:
            gate.prepare()
        if serve:
            gate.serve()
        return gate

    yield make
    died = {gate.folder: gate.log_text()[-3000:] for gate in made if gate.died()}
    for gate in made:
        gate.kill()
    assert died == {}, "a gate ended by itself"


@pytest.fixture(scope="session")
def checker(tmp_path_factory):
    """Go's transparency-log library, from Debian, built without modules."""
    out = str(tmp_path_factory.mktemp("go") / "check")
    environment = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", GOCACHE=str(tmp_path_factory.mktemp("gocache")))
    subprocess.run(["go", "build", "-o", out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "go", "check.go")], check=True, env=environment)
    return lambda *args: subprocess.run([out, *map(str, args)], text=True, capture_output=True)


@pytest.fixture(scope="session")
def gate_in_clear(make_gate, register_a):
    return make_gate("interior")


@pytest.fixture(scope="session")
def gate(gate_in_clear):
    return gate_in_clear




@pytest.fixture(scope="session")
def twin(make_gate, register_b):
    """A gate on the register that differs only in hidden values."""
    return make_gate("exterior", twin="b")


@pytest.fixture(scope="session")
def sealed_twins(make_gate):
    """The same two, with most of what is hidden or masked sealed in the database, under keys of people's own."""
    return make_gate("interiorsealed", sealed=True, own="per_person", compartment="contact"), make_gate("exteriorsealed", twin="b", sealed=True, own="per_person", compartment="contact")


@pytest.fixture(scope="session", params=["clear", "sealed"])
def twins(request):
    if request.param == "sealed":
        return request.getfixturevalue("sealed_twins")
    return request.getfixturevalue("gate"), request.getfixturevalue("twin")


def pytest_sessionstart(session):
    if not os.path.exists(BINARY) and not session.config.option.collectonly:
        if os.environ.get("ECLUSE_TESTS_WITHOUT_GATE"):
            return
        pytest.exit(f"no program at {BINARY}: build it, or name it in ECLUSE", returncode=2)
