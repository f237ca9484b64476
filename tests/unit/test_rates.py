"""How fast restores to a target were, and how long the next one will take."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from local.samples.builders import (
    NOW,
    RESTORE_ID,
    TAKEN_AT,
    a_metadata,
    a_result,
    disks,
    facts,
    planned,
)
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_details import Rate
from shared.models.restore_plans import (
    MachineResult,
    MachineState,
    Phase,
    Plan,
    RestoreRecord,
)
from shared.restore import rates
from shared.runs import rates as kept
from tests.lab import STATE, Lab, a_lab
from tests.memory_table import MemoryTable

GIB = 2**30
RECORD = RestoreRecord(
    restore_id=RESTORE_ID,
    request_id="r",
    request_digest="d",
    execution="run-1",
    attempt=1,
    started_at=TAKEN_AT,
    taken_at=TAKEN_AT,
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def after(seconds: int) -> Any:
    return TAKEN_AT + timedelta(seconds=seconds)


def ended(plan: Plan, number: int = 0, **changes: Any) -> MachineResult:
    """Begun at 10, its data there at 60, ready at 300."""
    usual = {
        "state": MachineState.READY,
        "phase": Phase.STARTED,
        "started_at": after(10),
        "since": after(60),
        "finished_at": after(300),
    }
    return a_result(plan.machines[number], **(usual | changes))


def a_rate(**changes: Any) -> Rate:
    usual = {
        "restore_id": RESTORE_ID,
        "started_at": TAKEN_AT,
        "size_bytes": 1_000_000_000,
        "seconds": 10.0,
        "machines": 2,
    }
    return Rate(**(usual | changes))


def test_a_rate_is_the_size_of_disks_and_the_time_until_their_data_is_there_not_the_guests() -> (
    None
):
    plan = planned()
    assert rates.measure(plan, [ended(plan)], RECORD) == Rate(
        restore_id=RESTORE_ID, started_at=TAKEN_AT, size_bytes=40 * GIB, seconds=50.0, machines=1
    )


def test_machines_at_the_same_time_count_from_the_first_begin_to_the_last_data() -> None:
    plan = planned(a_metadata("web01"), a_metadata("web02"))
    second = ended(plan, 1, started_at=after(30), since=after(110))
    rate = rates.measure(plan, [ended(plan), second], RECORD)
    assert rate
    assert (rate.size_bytes, rate.seconds, rate.machines) == (80 * GIB, 100.0, 2)


def test_a_machine_that_is_not_started_has_its_data_when_it_ends() -> None:
    plan = planned()
    applied: Any = {"state": MachineState.APPLIED, "phase": Phase.APPLIED}
    rate = rates.measure(plan, [ended(plan, **applied)], RECORD)
    assert rate
    assert rate.seconds == 290.0


def test_a_lazy_disk_is_copied_after_the_start() -> None:
    plan = planned()
    (machine,) = plan.machines
    lazy = machine.model_copy(update={"lazy": machine.claims})
    rate = rates.measure(plan.model_copy(update={"machines": (lazy,)}), [ended(plan)], RECORD)
    assert rate
    assert rate.seconds == 290.0


@pytest.mark.parametrize(
    "changes",
    [
        {"state": MachineState.FAILED},
        {"state": MachineState.SKIPPED, "started_at": None},
        {"started_at": None},
    ],
)
def test_nothing_is_learnt_of_a_machine_that_did_not_come_back(changes: Any) -> None:
    plan = planned()
    assert rates.measure(plan, [ended(plan, **changes)], RECORD) is None


def test_nothing_is_learnt_of_a_dry_run_of_a_resumed_restore_or_without_a_size() -> None:
    plan = planned()
    results = [ended(plan)]
    dry = plan.model_copy(update={"dry_run": True})
    old = plan.model_copy(
        update={"machines": (plan.machines[0].model_copy(update={"details": None}),)}
    )
    assert rates.measure(dry, results, RECORD) is None
    assert rates.measure(plan, results, RECORD.model_copy(update={"attempt": 2})) is None
    assert rates.measure(old, results, RECORD) is None


def test_data_that_is_there_at_once_counts_as_a_second() -> None:
    plan = planned()
    rate = rates.measure(plan, [ended(plan, since=after(10))], RECORD)
    assert rate
    assert rate.seconds == 1.0


# --- The estimate -------------------------------------------------------------------------------


def test_without_an_earlier_restore_there_is_no_estimate_and_it_says_so() -> None:
    estimate = rates.estimate(planned(), [])
    assert (estimate.least_seconds, estimate.most_seconds) == (None, None)
    assert estimate.size_bytes == 40 * GIB
    assert estimate.basis == "no estimate: nothing was restored to west yet"


def test_an_estimate_reaches_from_the_fastest_to_the_slowest_earlier_restore() -> None:
    slow = a_rate(seconds=200.0, machines=7)
    estimate = rates.estimate(planned(), [a_rate(), slow, a_rate(seconds=20.0)])
    assert (estimate.least_seconds, estimate.most_seconds) == (430, 8590)
    assert estimate.basis == (
        "from the last 3 restores to west: 5.0 to 100 MB/s of disk size, up to 7 machines"
    )


def test_an_estimate_from_one_restore_is_one_time() -> None:
    estimate = rates.estimate(planned(), [a_rate(machines=1)])
    assert estimate.least_seconds == estimate.most_seconds == 430
    assert estimate.basis == "from the last restore to west: 100 MB/s of disk size, 1 machine"


def test_what_is_not_restored_takes_no_time() -> None:
    plan = planned(a_metadata(), on=facts(networks=frozenset()))
    estimate = rates.estimate(plan, [a_rate()])
    assert (estimate.size_bytes, estimate.most_seconds) == (0, 0)


def test_sizes_that_no_disk_has_break_no_plan(lab: Lab) -> None:
    """A backup may say anything of its disks, up to what a number of 64 bits can be."""
    lab.backup(disks_=disks(count=3, size=2**63 - 1))
    for name in lab.cluster.of("LonghornNode"):
        del lab.cluster.objects["LonghornNode", LONGHORN_NAMESPACE, name]
    output = lab.restore()
    report = lab.s3.json(output["report"].removeprefix(f"s3://{STATE}/"))
    assert report["estimate"]["sizeBytes"] == 3 * (2**63 - 1)
    (rate,) = kept.newest(lab.table, "west")
    assert rate.size_bytes == 3 * (2**63 - 1)


# --- Kept from one restore to the next ----------------------------------------------------------


def test_the_newest_rates_of_a_target_are_read_newest_first_and_others_are_not() -> None:
    table = MemoryTable()
    every = [
        a_rate(restore_id=f"r-{number:02}", started_at=after(number))
        for number in range(kept.NEWEST + 1)
    ]
    for rate in every:
        kept.keep(table, "west", rate, NOW)
    kept.keep(table, "north", a_rate(), NOW)
    assert kept.newest(table, "west") == list(reversed(every[1:]))
    assert kept.newest(table, "nowhere") == []


def test_a_report_that_is_repeated_leaves_the_row_as_it_is() -> None:
    table = MemoryTable()
    kept.keep(table, "west", a_rate(), NOW)
    rows = table.rows()
    kept.keep(table, "west", a_rate(seconds=99.0), NOW)
    assert table.rows() == rows
    assert [pk for pk, _ in rows] == ["restore#rates#west"], "which the roles may write"


def test_what_one_restore_measured_the_next_plan_tells(lab: Lab) -> None:
    lab.backup("web01")
    lab.backup("web02")
    first = lab.restore(lab.request(requestId="first"))
    second = lab.restore(lab.request("point-web02", requestId="second", dryRun=True), "run-2")
    told = [
        lab.s3.json(each["report"].removeprefix(f"s3://{STATE}/"))["estimate"]
        for each in (first, second)
    ]
    assert told[0]["basis"] == "no estimate: nothing was restored to west yet"
    assert told[1]["basis"].startswith("from the last restore to west: ")
    assert told[1]["leastSeconds"] == told[1]["mostSeconds"] >= 1
    assert told[1]["sizeBytes"] == 40 * GIB


def test_a_dry_run_and_a_resumed_restore_measure_nothing(lab: Lab) -> None:
    lab.backup()
    lab.restore(lab.request(dryRun=True), "dry")
    lab.cluster.bind = False
    lab.apply(lab.plan())
    lab.stop()
    lab.cluster.bind = True
    assert lab.restore(execution="run-2")["state"] == "succeeded"
    assert kept.newest(lab.table, "west") == []
