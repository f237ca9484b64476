"""Two clusters for every behaviour: one with the real controllers, one with the simulated ones.

At the end a table says of each behaviour what became of it on both.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import yaml

from local import cloud, cluster, documents, processes
from local.conformance.cluster import REAL
from local.runtime import described, keep_import_keys, parameters
from local.stack import Stack
from tests.conformance.lab import SOURCE, Lab

CLUSTERS = ("real", "simulated")
VERDICTS = {"passed": "yes", "failed": "NO", "error": "NO"}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The embedded AWS with the template deployed, no cluster yet; whose the bucket's backups
    are, its catalogue knows. It all stops at the end."""
    with ExitStack() as ends:
        patch = ends.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(processes, "RUNTIME", tmp_path_factory.mktemp("runtime"))
        ends.callback(processes.stop_all)
        endpoint = cloud.start()
        outputs = cloud.deploy(endpoint, cloud.BUILD, parameters())
        keep_import_keys(endpoint, outputs["StateBucket"])
        made = Stack(described(endpoint, outputs, {}))
        owner = documents.target("conformance", made.bucket, SOURCE)
        made.document("targets/conformance.yaml", yaml.safe_dump(owner))
        yield made


@pytest.fixture(scope="session")
def simulated(stack: Stack) -> Lab:
    made = cluster.start(["simulated"])["simulated"]
    return Lab.start(made, stack, is_real=False)


@pytest.fixture(scope="session")
def real(stack: Stack) -> Lab:
    made = cluster.start(["real"], REAL)["real"]
    return Lab.start(made, stack, is_real=True)


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Lab:
    """The cluster, with a namespace of the test's own."""
    found: Lab = request.getfixturevalue(request.param)
    return found.in_a_namespace_of_its_own()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lab" in metafunc.fixturenames:
        clusters: tuple[str, ...] = CLUSTERS
        if metafunc.definition.get_closest_marker("only_real"):
            clusters = CLUSTERS[:1]
        metafunc.parametrize("lab", clusters, indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of behaviours; one that has several cases counts when all of them do."""
    rows: dict[str, dict[str, str]] = {}
    for outcome, verdict in VERDICTS.items():
        for report in terminalreporter.getreports(outcome):
            if "tests/conformance/" not in report.nodeid:
                continue
            name, _, case = report.nodeid.rpartition("::")[2].partition("[")
            kind = next(each for each in CLUSTERS if each in case)
            row = rows.setdefault(name, {})
            if row.get(kind) != "NO":
                row[kind] = verdict
    if rows:
        terminalreporter.section("behaviours")
        terminalreporter.write_line(f"{'real':6}{'simulated':11}")
    for name, row in rows.items():
        words = name.removeprefix("test_").replace("_", " ")
        shown = f"{row.get('real', '-'):6}{row.get('simulated', '-'):11}"
        terminalreporter.write_line(shown + words)
