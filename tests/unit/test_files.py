"""Plans in parts and reports in the state bucket: what is written where, and what is read of it."""

from functools import cache
from typing import Any

import pytest

from local.samples.builders import RESTORE_ID, a_metadata, planned
from shared.errors import NotFound
from shared.models.restore_plans import Check, Plan
from shared.runs.files import PART, StateBucket
from tests.lab import STATE, PlainS3

Json = Any


class WatchedS3(PlainS3):
    """Notes the keys of every call, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.put: list[str] = []
        self.got: list[str] = []
        self.types: set[str] = set()

    def put_object(self, **call: Any) -> Json:
        self.put.append(call["Key"])
        self.types.add(call["ContentType"])
        return super().put_object(**call)

    def get_object(self, **call: Any) -> Json:
        self.got.append(call["Key"])
        return super().get_object(**call)


@pytest.fixture
def s3() -> WatchedS3:
    return WatchedS3()


@pytest.fixture
def bucket(s3: WatchedS3) -> StateBucket:
    return StateBucket(s3, STATE)  # type: ignore[arg-type]  # as much of it as is used


SIZE = 2 * PART
"""Machines of a batch here."""


@cache
def many(count: int) -> Plan:
    """A plan of so many machines, made from one, with a check of each."""
    plan = planned(a_metadata(secrets={"keys": {"userdata": "PLANTED"}}))
    (one,) = plan.machines
    machines = tuple(one.model_copy(update={"name": f"web{number:04}"}) for number in range(count))
    of_machines = [
        Check(check="point", subject=each.key, verdict="pass", message="fine") for each in machines
    ]
    of_target = Check(check="served", subject="west", verdict="pass", message="fine")
    changes = {"machines": machines, "checks": (of_target, *of_machines), "batch_size": SIZE}
    return plan.model_copy(update=changes).hashed()


def folder(plan: Plan, ledger: str = RESTORE_ID) -> str:
    return f"work/{ledger}/{plan.hash.removeprefix('sha256:')[:16]}"


@pytest.mark.parametrize("count", [0, 1, PART - 1, PART, PART + 1, SIZE, SIZE + 1, 3 * SIZE + 1])
def test_a_plan_comes_back_as_it_was_in_outline_and_machine_by_machine(
    bucket: StateBucket, count: int
) -> None:
    plan = many(count)
    bucket.save_plan(RESTORE_ID, plan)
    outline = bucket.outline(RESTORE_ID, plan.hash)
    assert outline == plan.outline()
    assert tuple(bucket.machines(RESTORE_ID, outline)) == plan.machines


def test_a_batch_comes_back_with_its_machines_and_the_checks_about_them(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(SIZE + 2)
    bucket.save_plan(RESTORE_ID, plan)
    batch = bucket.outline(RESTORE_ID, plan.hash, 1)
    assert s3.got == [f"{folder(plan)}/head.json", f"{folder(plan)}/batch-00001.json"]
    assert batch.machines == plan.outline().machines[SIZE:]
    assert [each.subject for each in batch.checks] == ["west", *(m.key for m in batch.machines)]
    assert (batch.hash, batch.size, batch.batches) == (plan.hash, SIZE + 2, 2)
    assert tuple(bucket.machines(RESTORE_ID, batch)) == plan.machines[SIZE:]


def test_the_head_is_written_last_so_that_where_it_is_all_of_the_plan_is(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(SIZE + 1)
    bucket.save_plan(RESTORE_ID, plan)
    parts = [
        *("batch-00000-machines-0000", "batch-00000-machines-0001", "batch-00000"),
        *("batch-00001-machines-0000", "batch-00001", "head"),
    ]
    assert s3.put == [f"{folder(plan)}/{part}.json" for part in parts]
    assert s3.types == {"application/json"}


def test_the_head_is_small_however_many_machines_there_are(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(3 * SIZE)
    bucket.save_plan(RESTORE_ID, plan)
    assert len(s3.objects[STATE, f"{folder(plan)}/head.json"]) < 2000


def test_the_outline_holds_no_object_and_no_file_a_secret_value(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(3)
    bucket.save_plan(RESTORE_ID, plan)
    machines, _ = s3.json(f"{folder(plan)}/batch-00000.json")
    assert [each["objects"] for each in machines] == [[], [], []]
    assert all(b"PLANTED" not in body and b"UExBTlRFRA" not in body for body in s3.objects.values())


@pytest.mark.parametrize(
    ("numbers", "parts"),
    [
        ([], []),
        ([0], ["00000-machines-0000"]),
        ([PART - 1], ["00000-machines-0000"]),
        ([PART], ["00000-machines-0001"]),
        ([2 * PART, 0], ["00000-machines-0000", "00001-machines-0000"]),
        ([1, 2, 3], ["00000-machines-0000"]),
    ],
)
def test_only_the_parts_of_the_machines_that_are_wanted_are_read_and_in_the_plan_s_order(
    bucket: StateBucket, s3: WatchedS3, numbers: list[int], parts: list[str]
) -> None:
    plan = many(2 * PART + 1)
    bucket.save_plan(RESTORE_ID, plan)
    wanted = [plan.machines[number].key for number in numbers]
    found = tuple(bucket.machines(RESTORE_ID, plan.outline(), wanted))
    assert found == tuple(plan.machines[number] for number in sorted(numbers))
    assert s3.got == [f"{folder(plan)}/batch-{part}.json" for part in parts]


def test_a_part_is_read_only_when_its_machines_are_needed(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(2 * PART)
    bucket.save_plan(RESTORE_ID, plan)
    machines = bucket.machines(RESTORE_ID, plan.outline())
    assert s3.got == []
    assert next(machines).key == plan.machines[0].key
    assert len(s3.got) == 1


def test_a_machine_that_the_plan_does_not_know_is_not_looked_for(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(1)
    bucket.save_plan(RESTORE_ID, plan)
    assert list(bucket.machines(RESTORE_ID, plan, ["default/unknown"])) == []
    assert s3.got == []


def test_plans_of_two_hashes_and_of_two_ledgers_lie_apart(bucket: StateBucket) -> None:
    one, other = many(1), many(2)
    bucket.save_plan(RESTORE_ID, one)
    bucket.save_plan(RESTORE_ID, other)
    bucket.save_plan(f"{RESTORE_ID}/dry/x", one.model_copy(update={"dry_run": True}))
    assert bucket.outline(RESTORE_ID, one.hash) == one.outline()
    assert bucket.outline(RESTORE_ID, other.hash) == other.outline()
    assert bucket.outline(f"{RESTORE_ID}/dry/x", one.hash).dry_run


def gone(key: str) -> str:
    return (
        f"s3://state/{key}, a part of the restore's plan, is gone: plans are kept for a month."
        " Start a new restore with another requestId."
    )


def test_a_plan_that_was_forgotten_is_told_with_the_remedy(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(1)
    with pytest.raises(NotFound) as caught:
        bucket.outline(RESTORE_ID, plan.hash)
    assert caught.value.message == gone(f"{folder(plan)}/head.json")
    bucket.save_plan(RESTORE_ID, plan)
    del s3.objects[STATE, f"{folder(plan)}/batch-00000-machines-0000.json"]
    with pytest.raises(NotFound) as caught:
        list(bucket.machines(RESTORE_ID, plan))
    assert caught.value.message == gone(f"{folder(plan)}/batch-00000-machines-0000.json")


def test_a_report_lies_where_the_contract_says_and_its_address_is_told(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    bucket.save_report(RESTORE_ID, '{"ü": 1}')
    assert bucket.report_address(RESTORE_ID) == f"s3://state/reports/{RESTORE_ID}.json"
    assert s3.json(f"reports/{RESTORE_ID}.json") == {"ü": 1}
    bucket.save_report(RESTORE_ID, "{}")
    assert s3.json(f"reports/{RESTORE_ID}.json") == {}, "a newer one takes its place"


def test_each_form_of_a_report_lies_beside_the_others_with_its_content_type(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    bucket.save_report(RESTORE_ID, "<p>ü", "html")
    assert s3.objects[STATE, f"reports/{RESTORE_ID}.html"] == "<p>ü".encode()
    assert s3.types == {"text/html; charset=utf-8"}
    bucket.save_report(RESTORE_ID, "ü", "txt")
    assert s3.types == {"text/html; charset=utf-8", "text/plain; charset=utf-8"}
