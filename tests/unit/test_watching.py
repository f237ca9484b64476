"""When a run looks, what it reads then, and which clock each machine has.

Aspects: the connection that is asked for, the order of looks and pauses, back-off, the kinds and
namespaces that are read, the times in the ledger. Not aspects: what becomes of a machine in the
end (test_restoring).
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.models.restore_plans import Phase
from shared.models.restore_points import State
from shared.workflows.restoring import LAST, PATIENCE
from tests.fake_cluster import Place, status
from tests.lab import BEGIN, RUN_SECONDS, Lab, a_lab

WEBHOOK = 'failed calling webhook "v.kubevirt.io": connection refused'
SLEEP = "sleep"
LOOK = ("GET", "VirtualMachine", "default")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def record(lab: Lab) -> list[tuple[Any, ...]]:
    """From now on: every request as (method, kind, namespace), every pause as (SLEEP, seconds)."""
    events: list[tuple[Any, ...]] = []

    def ask(method: str, place: Place) -> None:
        events.append((method, place[0], place[1]))

    lab.cluster.before = ask
    lab.during = lambda seconds: events.append((SLEEP, seconds))
    return events


def pauses(events: list[tuple[Any, ...]]) -> list[float]:
    return [each[1] for each in events if each[0] == SLEEP]


def test_a_run_connects_with_the_stored_kubeconfig_and_a_deadline_before_the_functions_end(
    lab: Lab,
) -> None:
    lab.backup()
    planned = lab.plan(lab.request(concurrency=3))
    lab.seconds += 7
    lab.apply(planned)
    asked = lab.connected[-1]
    assert (asked.kubeconfig, asked.cluster.id) == ("kubeconfig", "west")
    assert asked.cluster.secret == "replant/clusters/west"
    assert asked.deadline == asked.at + RUN_SECONDS - LAST
    assert asked.options == {"allow_loopback": True, "connections": 3}


def test_a_run_looks_each_second_and_no_longer_than_its_patience(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    events = record(lab)
    lab.apply(planned)
    assert pauses(events) == [1.0] * int(PATIENCE)
    made = events.index(("POST", "VirtualMachine", "default"))
    looks = [each for each in events[made:] if each == LOOK]
    assert len(looks) == PATIENCE + 1


def test_what_moved_is_looked_at_again_without_a_pause(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    events = record(lab)
    lab.apply(planned)
    start = events.index(("PATCH", "VirtualMachine", "default"))
    assert events[start + 1] == LOOK


def test_a_silent_cluster_is_asked_less_and_less_often(lab: Lab) -> None:
    lab.backup()
    lab.cluster.run = False
    planned = lab.plan()
    lab.apply(planned)
    lab.cluster.down = "accepts no connection"
    events = record(lab)
    lab.apply(planned)
    between_looks = [each for each in pauses(events) if each > 1 and each.is_integer()]
    assert between_looks == [2.0, 4.0], "the client's own pauses are shorter, and uneven"


def test_an_outage_is_dated_from_the_first_silence(lab: Lab) -> None:
    lab.backup()
    lab.cluster.run = False
    planned = lab.plan()
    lab.apply(planned)
    lab.cluster.down = "accepts no connection"
    began = lab.now()
    lab.apply(planned)
    first = lab.batch(planned).record().down_since
    assert first
    assert began <= first < began + timedelta(seconds=10)
    lab.sleep(60)
    lab.apply(planned)
    assert lab.batch(planned).record().down_since == first


def test_the_outage_that_a_resumed_run_meets_first_is_dated_too(lab: Lab) -> None:
    lab.backup()
    lab.restore()
    planned = lab.plan(execution="run-2")
    lab.cluster.down = "accepts no connection"
    began = lab.now()
    lab.apply(planned)
    first = lab.batch(planned).record().down_since
    assert first
    assert began <= first < began + timedelta(seconds=10)


def test_nothing_is_created_on_a_cluster_that_a_look_found_silent(lab: Lab) -> None:
    ids = [lab.backup(f"web{number:02}").id for number in range(3)]
    planned = lab.plan(lab.request(*ids, concurrency=1))
    posts_while_down: list[Place] = []

    def fall(method: str, place: Place) -> None:
        if method == "POST":
            lab.seconds += 20
            if lab.cluster.down:
                posts_while_down.append(place)
        if method == "GET" and place[0] == "PersistentVolumeClaim" and lab.cluster.writes:
            lab.cluster.down = "accepts no connection"

    lab.cluster.before = fall
    lab.apply(planned, seconds=900)
    assert lab.cluster.down
    assert not posts_while_down


def test_guests_are_read_only_where_their_agent_is_waited_for(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    events = record(lab)
    lab.finish(planned)
    assert "VirtualMachineInstance" not in {each[1] for each in events}


def test_a_machine_that_waits_for_its_agent_is_ready_once_it_is_connected(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan(lab.request(ready={"condition": "agent"}))
    lab.apply(planned)
    assert "guest agent" in (lab.result(planned).waits or "")
    connected = {"type": "AgentConnected", "status": "True"}
    lab.cluster.add(
        "VirtualMachineInstance", "default", "web01", status={"conditions": [connected]}
    )
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_a_resumed_run_reads_what_the_restore_made_and_creates_nothing_that_stands(
    lab: Lab,
) -> None:
    """Of a machine that is left out by the plan nothing is read."""
    lab.backup()
    lab.backup("db01", namespace="db", state=State.INCOMPLETE, reasons=("no volume",))
    request = lab.request("point-web01", "point-db01")
    lab.restore(request)
    planned = lab.plan(request, "run-2")
    events = record(lab)
    lab.apply(planned)
    requests = [each for each in events if each[0] != SLEEP]
    assert {each[0] for each in requests} == {"GET"}
    assert {each[2] for each in requests} == {"default"}
    assert "VirtualMachineInstance" not in {each[1] for each in requests}


def test_a_started_machine_has_a_clock_of_its_own_and_waits_for_nothing_yet(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    lab.apply(planned)
    assert lab.result(planned).waits

    def end_with_the_start(method: str, place: Place) -> None:
        if method == "PATCH":
            lab.seconds += RUN_SECONDS

    lab.cluster.bind = True
    lab.cluster.before = end_with_the_start
    lab.sleep(5)
    lab.apply(planned)
    result = lab.result(planned)
    assert (result.phase, result.waits) == (Phase.STARTED, None)
    assert result.since == BEGIN + timedelta(seconds=lab.seconds)


def test_a_start_that_is_refused_for_now_says_so_while_it_waits(lab: Lab) -> None:
    lab.backup()
    lab.cluster.fail("PATCH", "VirtualMachine", status(500, "InternalError", WEBHOOK), times=999)
    planned = lab.plan()
    progress = lab.apply(planned)
    assert WEBHOOK in progress.waiting[0]["waits"]
