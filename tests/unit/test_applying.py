"""How machines are created: how many at once, and which clock each has.

Not aspects: what is created, in which order, and what becomes of it (test_restoring).
"""

import threading
import time
from collections.abc import Iterator

import pytest

from shared.kube.connection import Silence
from shared.models.base import to_instant
from shared.models.restore_plans import Phase
from tests.fake_cluster import Place, status
from tests.lab import RUN_SECONDS, Lab, a_lab

WEBHOOK = 'failed calling webhook "v.kubevirt.io": connection refused'
MADE = "VirtualMachine"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


@pytest.mark.parametrize("concurrency", [1, 3])
def test_as_many_machines_are_created_at_once_as_the_request_says(
    lab: Lab, concurrency: int
) -> None:
    ids = [lab.backup(f"web{number:02}").id for number in range(8)]
    planned = lab.plan(lab.request(*ids, concurrency=concurrency))
    busy: set[int] = set()
    peaks: list[int] = []

    def overlap(method: str, place: Place) -> None:
        if method == "POST":
            busy.add(threading.get_ident())
            time.sleep(0.01)
            peaks.append(len(busy))
            busy.discard(threading.get_ident())

    lab.cluster.before = overlap
    assert lab.finish(planned)["counts"] == {"ready": 8}
    assert max(peaks) == concurrency


def test_a_machine_began_when_it_was_first_tried_and_waits_from_when_it_was_made(lab: Lab) -> None:
    """Its creation takes all of a run."""
    lab.backup()
    planned = lab.plan()
    lab.cluster.fail("POST", MADE, status(500, "InternalError", WEBHOOK), times=999)
    began = lab.now()
    lab.apply(planned)
    assert WEBHOOK in (lab.result(planned).waits or "")

    def end_with_the_creation(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", MADE):
            lab.seconds += RUN_SECONDS

    lab.sleep(60)
    lab.cluster.faults.clear()
    lab.cluster.before = end_with_the_creation
    lab.apply(planned)
    result = lab.result(planned)
    assert (result.phase, result.waits) == (Phase.APPLIED, None)
    assert (result.started_at, result.since) == (began, lab.now().replace(microsecond=0))
    (machine,) = lab.finish(planned)["machines"]
    assert machine["startedAt"] == to_instant(began)


def test_an_outage_that_a_creation_meets_is_dated_from_its_begin(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()

    def fall(method: str, place: Place) -> None:
        if method == "POST":
            lab.cluster.down = "accepts no connection"

    lab.cluster.before = fall
    began = lab.now()
    lab.apply(planned)
    assert lab.batch(planned).record().down_since == began


def test_a_machine_whose_creation_alone_gets_no_answer_fails_when_its_time_is_over(
    lab: Lab,
) -> None:
    lab.backup()
    lab.cluster.fail("POST", MADE, Silence("accepts no connection"), times=10_000)
    (machine,) = lab.restore(lab.request(ready={"timeout": "PT10M"}))["machines"]
    assert (machine["state"], machine["error"]["code"]) == ("failed", "Unreachable")
    assert "accepts no connection" in machine["error"]["message"]
    assert 600 < lab.seconds < 800
