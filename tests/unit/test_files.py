"""Plans in parts and reports in the state bucket: what is written where, and what is read of it."""

from functools import cache
from typing import Any

import pytest

from local.samples.builders import RESTORE_ID, a_metadata, planned
from shared.errors import NotFound
from shared.models.restore_plans import Plan
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


@cache
def many(count: int) -> Plan:
    """A plan of so many machines, made from one."""
    plan = planned(a_metadata(secrets={"keys": {"userdata": "PLANTED"}}))
    (one,) = plan.machines
    machines = tuple(one.model_copy(update={"name": f"web{number:04}"}) for number in range(count))
    return plan.model_copy(update={"machines": machines}).hashed()


def folder(plan: Plan, ledger: str = RESTORE_ID) -> str:
    return f"work/{ledger}/{plan.hash.removeprefix('sha256:')[:16]}"


@pytest.mark.parametrize("count", [0, 1, PART - 1, PART, PART + 1, 3 * PART])
def test_a_plan_comes_back_as_it_was_in_outline_and_machine_by_machine(
    bucket: StateBucket, count: int
) -> None:
    plan = many(count)
    bucket.save_plan(RESTORE_ID, plan)
    outline = bucket.outline(RESTORE_ID, plan.hash)
    assert outline == plan.outline()
    assert tuple(bucket.machines(RESTORE_ID, outline)) == plan.machines


def test_the_outline_is_written_last_so_that_where_it_is_all_of_the_plan_is(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(2 * PART + 1)
    bucket.save_plan(RESTORE_ID, plan)
    parts = [f"machines-{number:04}" for number in range(3)]
    assert s3.put == [f"{folder(plan)}/{part}.json" for part in (*parts, "outline")]
    assert s3.types == {"application/json"}


def test_the_outline_holds_no_object_and_no_file_a_secret_value(
    bucket: StateBucket, s3: WatchedS3
) -> None:
    plan = many(3)
    bucket.save_plan(RESTORE_ID, plan)
    outline = s3.json(f"{folder(plan)}/outline.json")
    assert [each["objects"] for each in outline["machines"]] == [[], [], []]
    assert all(b"PLANTED" not in body and b"UExBTlRFRA" not in body for body in s3.objects.values())


@pytest.mark.parametrize(
    ("numbers", "parts"),
    [
        ([], []),
        ([0], [0]),
        ([PART - 1], [0]),
        ([PART], [1]),
        ([2 * PART, 0], [0, 2]),
        ([1, 2, 3], [0]),
    ],
)
def test_only_the_parts_of_the_machines_that_are_wanted_are_read_and_in_the_plan_s_order(
    bucket: StateBucket, s3: WatchedS3, numbers: list[int], parts: list[int]
) -> None:
    plan = many(2 * PART + 1)
    bucket.save_plan(RESTORE_ID, plan)
    wanted = [plan.machines[number].key for number in numbers]
    found = tuple(bucket.machines(RESTORE_ID, plan.outline(), wanted))
    assert found == tuple(plan.machines[number] for number in sorted(numbers))
    assert s3.got == [f"{folder(plan)}/machines-{number:04}.json" for number in parts]


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
    assert caught.value.message == gone(f"{folder(plan)}/outline.json")
    bucket.save_plan(RESTORE_ID, plan)
    del s3.objects[STATE, f"{folder(plan)}/machines-0000.json"]
    with pytest.raises(NotFound) as caught:
        list(bucket.machines(RESTORE_ID, plan))
    assert caught.value.message == gone(f"{folder(plan)}/machines-0000.json")


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
