"""What an execution answers and what its report holds, whatever became of the machines."""

import json
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
from shared.models.base import to_instant
from shared.models.restore_plans import (
    Check,
    FailOn,
    MachineResult,
    MachineState,
    ObjectResult,
    Phase,
    Plan,
    Problem,
    RestoreRecord,
)
from shared.restore import report

Json = Any

RECORD = RestoreRecord(
    restore_id=RESTORE_ID,
    request_id=EXECUTION,
    request_digest="d",
    execution=EXECUTION,
    attempt=2,
    started_at=TAKEN_AT,
    taken_at=NOW,
)
LIMIT = 256 * 1024
READY, APPLIED, SKIPPED = MachineState.READY, MachineState.APPLIED, MachineState.SKIPPED
FAILED, BLOCKED, PLANNED = MachineState.FAILED, MachineState.BLOCKED, MachineState.PLANNED
WAITING, CANCELLED = MachineState.WAITING, MachineState.CANCELLED


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


def told(
    plan: Plan, some: list[MachineResult], objects: report.Objects | None = None, **ended: Json
) -> Json:
    """The report, read again; of a restore that has succeeded by now if nothing else is said."""
    state, now = ended.get("state", "succeeded"), ended.get("now", NOW)
    whole = report.report(plan, RECORD, some, objects or {}, state, now)
    return json.loads(json.dumps(whole))


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
        ([FAILED, BLOCKED, CANCELLED], "failed"),
    ],
)
def test_the_state_is_succeeded_partial_or_failed_by_its_machines(
    states: list[MachineState], expected: str
) -> None:
    plan = many(3)
    assert report.restore_state(plan, results(plan, *states)) == expected


@pytest.mark.parametrize("states", [[PLANNED], [BLOCKED], [PLANNED, BLOCKED, SKIPPED]])
def test_a_dry_run_is_planned_even_where_checks_block(states: list[MachineState]) -> None:
    plan = many(3).model_copy(update={"dry_run": True})
    assert report.restore_state(plan, results(plan, *states)) == "planned"


@pytest.mark.parametrize(
    ("state", "fails"),
    [
        ("succeeded", set()),
        ("planned", set()),
        ("partial", {FailOn.PARTIAL}),
        ("failed", {FailOn.PARTIAL, FailOn.FAILED}),
    ],
)
@pytest.mark.parametrize("fail_on", FailOn)
def test_which_states_fail_an_execution_is_said_by_fail_on(
    state: str, fails: set[FailOn], fail_on: FailOn
) -> None:
    plan = many(2)
    output = report.output(plan, results(plan, READY, FAILED), state, "s3://state/reports/r.json")
    cause = report.failure(output, fail_on)
    assert (cause is not None) == (fail_on in fails)
    if cause:
        told = json.loads(cause)
        assert told.pop("message").startswith(f"The restore ended {state}: 1 failed, 1 ready.")
        assert told == {
            "code": "RestoreFailed",
            "restoreId": RESTORE_ID,
            "counts": {"failed": 1, "ready": 1},
            "report": "s3://state/reports/r.json",
        }


def test_machines_are_counted_by_state_in_the_order_of_the_states_names() -> None:
    some = results(many(5), READY, WAITING, FAILED, READY, BLOCKED)
    assert list(report.count(some).items()) == [
        ("blocked", 1),
        ("failed", 1),
        ("ready", 2),
        ("waiting", 1),
    ]


def test_the_output_is_what_the_contract_says() -> None:
    plan = planned()
    (result,) = results(
        plan, FAILED, started_at=TAKEN_AT, finished_at=NOW, phase=Phase.APPLIED, uid="PLANTED"
    )
    assert report.output(plan, [result], "failed", "s3://state/reports/r.json") == {
        "restoreId": RESTORE_ID,
        "state": "failed",
        "planHash": plan.hash,
        "counts": {"failed": 1},
        "verdict": "pass",
        "machines": [
            {
                "id": "point-default-web01",
                "vm": "web01",
                "namespace": "default",
                "backup": "nightly",
                "takenAt": to_instant(TAKEN_AT),
                "state": "failed",
                "startedAt": to_instant(TAKEN_AT),
                "finishedAt": to_instant(NOW),
                "note": None,
                "error": {"code": "Refused", "message": "no such network"},
            }
        ],
        "truncated": False,
        "report": "s3://state/reports/r.json",
    }


def test_the_output_has_the_plan_s_verdict() -> None:
    blocked = planned(on=facts(networks=frozenset()))
    assert report.output(blocked, results(blocked, BLOCKED), "failed", "s3://r")["verdict"] == (
        "block"
    )


def test_what_a_failed_execution_cut_off_has_failed_of_it_and_says_how_to_go_on() -> None:
    cut_off, ready = report.break_off(results(many(2), READY, WAITING), "States.Runtime", NOW)
    assert (cut_off.state, ready.state, cut_off.finished_at) == (FAILED, READY, NOW)
    assert cut_off.error == Problem(
        code="States.Runtime",
        message="The execution failed with States.Runtime before this machine was done."
        " Start the same request with the same requestId to go on.",
    )


def test_failures_come_first_and_then_names() -> None:
    states = [READY, CANCELLED, SKIPPED, FAILED, APPLIED, BLOCKED]
    some = report.end(reversed(results(many(6), *states)), None, NOW)
    assert [each.key for each in some] == [
        "default/web0001",
        "default/web0003",
        "default/web0005",
        "default/web0000",
        "default/web0002",
        "default/web0004",
    ]


@pytest.mark.parametrize(("count", "truncated"), [(100, False), (101, True), (5000, True)])
def test_the_output_has_the_first_hundred_machines_and_counts_all(
    count: int, truncated: bool
) -> None:
    plan = many(count)
    some = report.end(results(plan, READY, FAILED, READY), None, NOW)
    output = report.output(plan, some, "partial", "s3://r")
    assert (len(output["machines"]), output["truncated"]) == (100, truncated)
    assert output["counts"] == {"failed": 1, "ready": count - 1}
    assert output["machines"][0]["state"] == "failed"


@pytest.mark.parametrize("said", [each * 5000 for each in ("x", "ü", "\x00", '"', "☃🙂")])
def test_the_output_of_five_thousand_machines_fits_into_step_functions_however_much_went_wrong(
    said: str,
) -> None:
    plan = many(5000)
    error = Problem(code="Refused", message=said)
    wrong = results(plan, FAILED, error=error, note=said, vm="v" * 253, namespace="n" * 63)
    output = report.output(plan, report.end(wrong, None, NOW), "failed", "s3://" + "r" * 1000)
    assert len(json.dumps(output)) < LIMIT
    assert len(json.dumps(output, ensure_ascii=False).encode()) < LIMIT
    (machine,) = told(plan, wrong[:1], state="failed")["machines"]
    assert machine["error"]["message"] == machine["note"] == said, "the report keeps all of it"


@pytest.mark.parametrize("length", [1, 296, 299, 300, 301, 5000])
def test_a_sentence_is_cut_in_the_output_only_where_it_is_long_and_it_is_seen(length: int) -> None:
    plan = planned()
    said = "x" * length
    some = results(plan, FAILED, error=Problem(code="Refused", message=said), note=said)
    (machine,) = report.output(plan, some, "failed", "s3://r")["machines"]
    assert machine["error"]["message"] == machine["note"]
    if length <= 300:
        assert machine["note"] == said
    else:
        assert machine["note"] == "x" * 299 + "…"


def test_a_sentence_is_cut_by_its_size_in_json_and_no_shorter_than_it_must_be() -> None:
    """A letter such as ü has six bytes there."""
    plan = planned()
    some = results(plan, FAILED, note="x" + "ü" * 5000)
    (machine,) = report.output(plan, some, "failed", "s3://r")["machines"]
    assert machine["note"] == "x" + "ü" * 49 + "…"


def test_the_report_holds_every_machine_check_and_object() -> None:
    plan = planned(a_metadata("web01"), a_metadata("web02", "b"))
    made = ObjectResult(
        kind="VirtualMachine", namespace="b", name="web02", action="create", reason="as planned"
    )
    first, second = results(plan, READY)
    first = first.model_copy(update={"note": "ready"})
    whole = told(plan, [first, second], {first.key: (made,)}, state="partial")
    assert {
        key: whole[key]
        for key in (
            "restoreId",
            "state",
            "target",
            "planHash",
            "verdict",
            "counts",
            "execution",
            "attempt",
            "truncated",
        )
    } == {
        "restoreId": RESTORE_ID,
        "state": "partial",
        "target": "west",
        "planHash": plan.hash,
        "verdict": "pass",
        "counts": {"ready": 2},
        "execution": EXECUTION,
        "attempt": 2,
        "truncated": False,
    }
    assert (whole["startedAt"], whole["finishedAt"]) == (to_instant(TAKEN_AT), to_instant(NOW))
    assert whole["namespaces"] == [
        {"name": "b", "action": "create", "reason": "does not exist yet"}
    ]
    assert [Check.model_validate(each) for each in whole["checks"]] == list(plan.checks)
    assert whole["machines"][0]["note"] == "ready"
    assert whole["machines"][0]["objects"] == [
        {
            "kind": "VirtualMachine",
            "namespace": "b",
            "name": "web02",
            "action": "create",
            "reason": "as planned",
        }
    ]


def test_the_report_has_of_a_machine_what_the_contract_says() -> None:
    plan = planned()
    (result,) = results(
        plan, WAITING, started_at=TAKEN_AT, waits="its disks", note="an older point", uid="PLANTED"
    )
    (machine,) = told(plan, [result], state=report.RUNNING, now=None)["machines"]
    assert len(machine.pop("objects")) == 4
    assert machine == {
        "id": "point-default-web01",
        "vm": "web01",
        "namespace": "default",
        "backup": "nightly",
        "takenAt": to_instant(TAKEN_AT),
        "state": "waiting",
        "startedAt": to_instant(TAKEN_AT),
        "finishedAt": None,
        "note": "an older point",
        "error": None,
        "strategy": "csi",
        "reason": "auto: Longhorn data, and west makes volumes of CSI snapshots",
        "waits": "its disks",
        "percent": 0,
        "source": {"cluster": "east", "machine": "default/web01", "target": "east-s3"},
        "sizeBytes": 40 * 2**30,
        "cpu": 2,
        "memoryBytes": 4 * 2**30,
        "disks": [
            {
                "disk": "disk-0",
                "claim": "web01-disk-0",
                "sizeBytes": 40 * 2**30,
                "classBefore": "harvester-longhorn",
                "classAfter": "harvester-longhorn",
                "backup": "pvc-web01-0/backup-web01-0",
                "image": None,
            }
        ],
        "networks": [
            {
                "interface": "nic-1",
                "before": "default/vlan100",
                "after": "default/vlan100",
                "mac": None,
            }
        ],
        "requires": [],
        "mapped": [{"what": "MAC of nic-1", "before": "52:54:00:6b:3c:02", "after": "cleared"}],
    }


@pytest.mark.parametrize(
    ("state", "phase", "lazy", "percent"),
    [
        (WAITING, Phase.APPLIED, (), 40),
        (WAITING, Phase.STARTED, (), 100),
        (WAITING, Phase.STARTED, ("disk-0",), 40),  # its data comes when it is started
        (READY, Phase.STARTED, (), None),
        (FAILED, Phase.APPLIED, (), None),
    ],
)
def test_how_much_of_its_data_is_there_is_told_of_a_machine_that_waits(
    state: MachineState, phase: Phase, lazy: tuple[str, ...], percent: int | None
) -> None:
    (machine,) = planned().machines
    machine = machine.model_copy(update={"lazy": lazy})
    result = a_result(machine, state=state, phase=phase, data=40)
    assert report.percent(machine, result) == percent


def test_a_report_of_a_restore_that_runs_says_so_and_has_no_end() -> None:
    plan = planned()
    whole = told(plan, results(plan, WAITING), state=report.RUNNING, now=None)
    assert (whole["state"], whole["finishedAt"]) == ("running", None)


def test_a_uid_is_never_shown() -> None:
    plan = planned()
    made = tuple(
        ObjectResult(
            kind=each.kind,
            namespace=each.namespace,
            name=each.name,
            action="create",
            reason=each.reason,
            uid="PLANTED",
        )
        for each in plan.machines[0].objects
    )
    (result,) = results(plan, READY, uid="PLANTED")
    whole = told(plan, [result], {result.key: made})
    assert len(whole["machines"][0]["objects"]) == len(made)
    assert "PLANTED" not in json.dumps(whole)
    assert "PLANTED" not in json.dumps(report.output(plan, [result], "succeeded", "s3://r"))


def test_no_secret_value_is_in_a_report() -> None:
    secrets = {"keys": {"userdata": "PLANTED"}}
    plan = planned(a_metadata(secrets=secrets, cloud_init="password: PLANTED"))
    whole = json.dumps(told(plan, results(plan, BLOCKED)))
    assert "PLANTED" not in whole
    assert "UExBTlRFRA" not in whole, "nor in base64"


@pytest.mark.parametrize("objects", [{}, {"default/web01": ()}])
def test_of_a_machine_that_was_not_touched_the_report_has_what_it_would_have_had(
    objects: report.Objects,
) -> None:
    plan = planned(on=facts(networks=frozenset()))
    (machine,) = plan.machines
    whole = told(plan, results(plan, BLOCKED), objects, state="failed")
    found = [
        (each["kind"], each["namespace"], each["name"], each["action"], each["reason"])
        for each in whole["machines"][0]["objects"]
    ]
    assert found == [
        (each.kind, each.namespace, each.name, "skip", each.reason) for each in machine.objects
    ]


def test_a_report_of_five_thousand_untouched_machines_is_whole() -> None:
    plan = many(5000)
    whole = told(plan, results(plan, BLOCKED), state="failed")
    assert len(whole["machines"]) == 5000
    assert all(len(each["objects"]) == 4 for each in whole["machines"])


def cause(message: Json, kind: str = "Refused") -> str:
    said = json.dumps({"code": "Refused", "message": message, "field": None})
    return json.dumps({"errorMessage": said, "errorType": kind, "stackTrace": ["PLANTED"]})


NAMED = "The restore function ended with {}; its log has the details."
CUT_OFF = "The restore ended before this machine did."
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
        NAMED.format("Refused"),
    ),
    (
        {"Error": "Refused", "Cause": cause(None)},
        "Refused",
        NAMED.format("Refused"),
    ),
    ({"Error": "NotFound", "Cause": cause("PLANTED")}, "NotFound", NAMED.format("NotFound")),
    ({"Error": "Odd", "Cause": "[" * 20_000}, "Odd", NAMED.format("Odd")),
    (None, "Cancelled", CUT_OFF),
]


@pytest.mark.parametrize(("error", "code", "message"), ERRORS)
def test_what_cut_a_machine_off_is_quoted_when_it_is_ours_and_only_named_otherwise(
    error: Json, code: str, message: str
) -> None:
    before = results(many(3), WAITING, READY, BLOCKED)
    cut_off, blocked, done = report.end(before, error, NOW)
    assert (cut_off.state, cut_off.finished_at) == (FAILED, NOW)
    assert cut_off.error == Problem(code=code, message=message)
    assert (blocked, done) == (before[2], before[1]), "what had ended stays as it ended"


def test_machines_of_a_stopped_execution_are_cancelled_with_the_way_to_go_on() -> None:
    before = results(many(4), WAITING, READY, FAILED, WAITING)
    first, failed, last, ready = report.cancel(before, NOW)
    assert (failed, ready) == (before[2], before[1]), "what had ended stays as it ended"
    for each in (first, last):
        assert (each.state, each.finished_at) == (CANCELLED, NOW)
        assert each.error == Problem(
            code="Cancelled",
            message="The execution was stopped before this machine was done. Start the same request"
            " with the same requestId to go on.",
        )
