"""What an execution answers and what its report holds, whatever became of the machines."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest

from local.samples.builders import (
    EXECUTION,
    NOW,
    RESTORE_ID,
    TAKEN_AT,
    a_metadata,
    a_result,
    facts,
    planned,
)
from shared.models import (
    Check,
    MachineResult,
    MachineState,
    ObjectResult,
    Phase,
    Plan,
    Problem,
    RestoreRecord,
    to_instant,
)
from shared.restore import report

Json = Any

RECORD = RestoreRecord(
    restore_id=RESTORE_ID, request_digest="d", execution=EXECUTION, attempt=2, started_at=TAKEN_AT
)
LIMIT = 256 * 1024
READY, APPLIED, SKIPPED = MachineState.READY, MachineState.APPLIED, MachineState.SKIPPED
FAILED, BLOCKED, PLANNED = MachineState.FAILED, MachineState.BLOCKED, MachineState.PLANNED


def results(plan: Plan, *states: MachineState, **changes: Json) -> list[MachineResult]:
    """One result for each machine of the plan; the last state is for all that are left."""
    given = [*states, *([states[-1]] * len(plan.machines))]
    wrong = Problem(code="Refused", message="no such network")
    return [
        a_result(
            machine,
            **({"state": state, "error": wrong if state in (FAILED, BLOCKED) else None} | changes),
        )
        for machine, state in zip(plan.machines, given, strict=False)
    ]


def ended(some: Iterable[MachineResult], error: Json = None) -> list[MachineResult]:
    return report.ended({each.key: each for each in some}, error, NOW)


@cache
def many(count: int) -> Plan:
    """A plan of so many machines, made from one."""
    plan = planned()
    (one,) = plan.machines
    machines = tuple(one.model_copy(update={"name": f"web{number:04}"}) for number in range(count))
    return plan.model_copy(update={"machines": machines})


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([READY], "succeeded"),
        ([READY, APPLIED, SKIPPED], "succeeded"),
        ([SKIPPED], "succeeded"),
        ([READY, FAILED, READY], "partial"),
        ([SKIPPED, BLOCKED, BLOCKED], "partial"),
        ([FAILED], "failed"),
        ([FAILED, BLOCKED, MachineState.CANCELLED], "failed"),
    ],
)
def test_the_state_is_succeeded_partial_or_failed_by_its_machines(
    states: list[MachineState], expected: str
) -> None:
    plan = many(3)
    assert report.state(plan, results(plan, *states)) == expected


@pytest.mark.parametrize("states", [[PLANNED], [BLOCKED], [PLANNED, BLOCKED, SKIPPED]])
def test_a_dry_run_is_planned_even_where_checks_block(states: list[MachineState]) -> None:
    plan = many(3).model_copy(update={"dry_run": True})
    assert report.state(plan, results(plan, *states)) == "planned"


def test_the_output_is_what_the_contract_says() -> None:
    plan = planned()
    (result,) = results(plan, FAILED, started_at=TAKEN_AT, finished_at=NOW, phase=Phase.APPLIED)
    assert report.output(plan, [result], "s3://state/reports/r.json") == {
        "restoreId": RESTORE_ID,
        "state": "failed",
        "planHash": plan.hash,
        "counts": {"failed": 1},
        "machines": [
            {
                "id": "point-default-web01",
                "vm": "web01",
                "namespace": "default",
                "state": "failed",
                "startedAt": to_instant(TAKEN_AT),
                "finishedAt": to_instant(NOW),
                "error": {"code": "Refused", "message": "no such network"},
            }
        ],
        "truncated": False,
        "report": "s3://state/reports/r.json",
    }


def test_failures_come_first_and_then_names() -> None:
    plan = many(6)
    states = [READY, MachineState.CANCELLED, SKIPPED, FAILED, APPLIED, BLOCKED]
    assert [each.vm for each in ended(reversed(results(plan, *states)))] == [
        "web0001",
        "web0003",
        "web0005",
        "web0000",
        "web0002",
        "web0004",
    ]


@pytest.mark.parametrize(("count", "truncated"), [(100, False), (101, True), (5000, True)])
def test_the_output_has_the_first_hundred_machines_and_counts_all(
    count: int, truncated: bool
) -> None:
    plan = many(count)
    output = report.output(plan, ended(results(plan, READY, FAILED, READY)), "s3://r")
    assert (len(output["machines"]), output["truncated"]) == (100, truncated)
    assert output["counts"] == {"failed": 1, "ready": count - 1}
    assert output["machines"][0]["state"] == "failed"


@pytest.mark.parametrize("said", ["x" * 5000, "ü" * 5000, "\x00" * 5000])
def test_the_output_of_five_thousand_machines_fits_into_step_functions_however_much_went_wrong(
    said: str,
) -> None:
    plan = many(5000)
    wrong = results(
        plan, FAILED, error=Problem(code="Refused", message=said), vm="v" * 253, namespace="n" * 63
    )
    output = report.output(plan, ended(wrong), "s3://" + "r" * 1000)
    assert len(json.dumps(output)) < LIMIT
    whole = json.loads(report.report(plan, RECORD, wrong[:1], NOW))
    assert whole["machines"][0]["error"]["message"] == said, "the report keeps all of it"


def test_the_report_holds_every_machine_check_and_object() -> None:
    plan = planned(a_metadata("web01"), a_metadata("web02", "b"))
    made = ObjectResult(
        kind="VirtualMachine", namespace="b", name="web02", action="create", reason="as planned"
    )
    first, second = results(plan, READY)
    first = first.model_copy(update={"objects": (made,), "note": "ready"})
    whole = json.loads(report.report(plan, RECORD, [first, second], NOW))
    assert {
        key: whole[key]
        for key in ("restoreId", "state", "target", "planHash", "execution", "attempt")
    } == {
        "restoreId": RESTORE_ID,
        "state": "succeeded",
        "target": "west",
        "planHash": plan.hash,
        "execution": EXECUTION,
        "attempt": 2,
    }
    assert (whole["startedAt"], whole["finishedAt"]) == (to_instant(TAKEN_AT), to_instant(NOW))
    assert whole["namespaces"] == [
        {"name": "b", "action": "create", "reason": "does not exist yet"}
    ]
    assert [Check.model_validate(each) for each in whole["checks"]] == list(plan.checks)
    assert whole["machines"][0]["note"] == "ready"
    assert whole["machines"][0]["objects"] == [made.model_dump(mode="json")]


def test_of_a_machine_that_was_not_touched_the_report_has_what_it_would_have_had() -> None:
    plan = planned(on=facts(networks=frozenset()))
    (machine,) = plan.machines
    whole = json.loads(report.report(plan, RECORD, results(plan, BLOCKED), NOW))
    found = [
        (each["kind"], each["name"], each["action"]) for each in whole["machines"][0]["objects"]
    ]
    assert found == [(each.kind, each.name, "skip") for each in machine.objects]


def test_a_report_of_five_thousand_untouched_machines_is_whole() -> None:
    plan = many(5000)
    whole = json.loads(report.report(plan, RECORD, results(plan, BLOCKED), NOW))
    assert len(whole["machines"]) == 5000
    assert all(len(each["objects"]) == 4 for each in whole["machines"])


def cause(message: Json, kind: str = "Refused") -> str:
    said = json.dumps({"code": "Refused", "message": message, "field": None})
    return json.dumps({"errorMessage": said, "errorType": kind, "stackTrace": ["PLANTED"]})


NAMED = "the restore function ended with {}; its log has the details"
ERRORS: list[tuple[Json, str, str]] = [
    ({"Error": "Refused", "Cause": cause("the token has ended")}, "Refused", "the token has ended"),
    (
        {"Error": "KeyError", "Cause": cause("PLANTED", "KeyError")},
        "KeyError",
        NAMED.format("KeyError"),
    ),
    (
        {"Error": "KeyError", "Cause": json.dumps({"errorMessage": "'PLANTED'"})},
        "KeyError",
        NAMED.format("KeyError"),
    ),
    (
        {"Error": "States.Timeout", "Cause": "PLANTED"},
        "States.Timeout",
        NAMED.format("States.Timeout"),
    ),
    ({"Error": "States.Timeout"}, "States.Timeout", NAMED.format("States.Timeout")),
    ({"Error": "Odd", "Cause": '["PLANTED"]'}, "Odd", NAMED.format("Odd")),
    ({"Error": "Odd", "Cause": '{"errorMessage": null}'}, "Odd", NAMED.format("Odd")),
    ({"Error": "Odd", "Cause": '{"errorMessage": "[5]"}'}, "Odd", NAMED.format("Odd")),
    (
        {"Error": "Refused", "Cause": cause("")},
        "Refused",
        "the restore ended before this machine did",
    ),
    (None, "Cancelled", "the restore ended before this machine did"),
]


@pytest.mark.parametrize(("error", "code", "message"), ERRORS)
def test_what_cut_a_machine_off_is_quoted_when_it_is_ours_and_only_named_otherwise(
    error: Json, code: str, message: str
) -> None:
    plan = many(2)
    cut_off, done = ended(results(plan, MachineState.WAITING, READY), error)
    assert (cut_off.state, cut_off.finished_at) == (FAILED, NOW)
    assert cut_off.error == Problem(code=code, message=message)
    assert (done.state, done.error) == (READY, None)
