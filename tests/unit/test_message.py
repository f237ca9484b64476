"""What the topic is told of a restore that has ended."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from local.samples.builders import EXECUTION, NOW, RESTORE_ID, a_result, planned
from shared.models.restore_plans import MachineResult, MachineState, Plan, Problem, RestoreRecord
from shared.restore import message, report
from shared.restore.message import LONGEST_SUBJECT, TOLD

RECORD = RestoreRecord(
    restore_id=RESTORE_ID,
    request_id="monday",
    request_digest="d",
    execution=EXECUTION,
    attempt=1,
    started_at=NOW,
    taken_at=NOW,
)


def many(count: int, **changes: Any) -> Plan:
    (one,) = planned().machines
    machines = tuple(
        one.model_copy(update={"name": f"web{number:02}", **changes}) for number in range(count)
    )
    return planned().model_copy(update={"machines": machines})


def ended(plan: Plan, said: str | None = None) -> list[MachineResult]:
    """All of its machines ready, or all failed with what is said."""
    state = MachineState.FAILED if said else MachineState.READY
    error = Problem(code="NotReady", message=said) if said else None
    results = [a_result(each, state=state, error=error) for each in plan.machines]
    return report.end(results, None, datetime(2026, 9, 1, tzinfo=UTC))


def output(plan: Plan, results: list[MachineResult]) -> dict[str, Any]:
    state = report.restore_state(plan, results)
    return report.output(plan, results, state, "s3://state/reports/r.json")


def told(plan: Plan, said: str | None = None) -> tuple[str, Any]:
    """The text for people and the JSON below it."""
    results = ended(plan, said)
    body = message.body(plan, RECORD, results, output(plan, results))
    text, _, below = body.partition("\n\n{")
    return text, json.loads("{" + below)


@pytest.mark.parametrize(
    ("plan", "said", "expected"),
    [
        (many(1), None, "Replant: succeeded: restore of default/web01 from east to west"),
        (many(12), "late", "Replant: failed: restore of 12 machines from east to west"),
        (many(2, cluster=""), None, "Replant: succeeded: restore of 2 machines from its cluster"),
    ],
)
def test_the_subject_says_how_it_ended_what_from_and_to(
    plan: Plan, said: str | None, expected: str
) -> None:
    found = message.subject(plan, output(plan, ended(plan, said))["state"])
    assert found == (expected if " to " in expected else f"{expected} to west")


def test_machines_of_several_clusters_are_told_as_such() -> None:
    plan = many(2)
    first, second = plan.machines
    north = second.model_copy(update={"cluster": "north"})
    plan = plan.model_copy(update={"machines": (first, north)})
    assert "from 2 clusters to west" in message.subject(plan, "succeeded")


@pytest.mark.parametrize(
    ("vm", "cluster"),
    [
        ("n" * 63 + "/" + "v" * 253, "east"),
        ("default/web01", "e" * 63),
        ("n" * 63 + "/v", "e" * 63),
        ("default/wéb\n01", "east"),
    ],
)
def test_sns_takes_every_subject_and_it_always_says_how_it_ended(vm: str, cluster: str) -> None:
    plan = many(1, vm=vm, cluster=cluster).model_copy(update={"target": "w" * 63})
    said = message.subject(plan, "failed")
    assert len(said) <= LONGEST_SUBJECT < 100
    assert said.isascii()
    assert said.isprintable()
    assert said.startswith("Replant: failed: restore of ")
    short = many(1, vm=vm)
    assert message.subject(short, "succeeded").endswith(" from east to west")


def test_the_text_is_short_when_all_is_well() -> None:
    text, below = told(many(2))
    assert text.splitlines() == [
        "Restore of 2 machines from east to west: succeeded (2 ready).",
        "",
        "Report: s3://state/reports/r.json",
        f"Execution: {EXECUTION}",
    ]
    assert (below["restoreId"], len(below["machines"])) == (RESTORE_ID, 2)


def test_the_text_names_each_problem_and_how_to_go_on() -> None:
    text, _ = told(many(2), "no network.\n\n{Add it} to west.")
    assert "Restore of 2 machines from east to west: failed (2 failed)." in text
    assert "\n- default/web01 (failed): no network. {Add it} to west.\n" in text
    assert "Start the same request with the same requestId to go on. It is monday" in text


def test_of_many_problems_the_first_are_told_and_long_ones_are_cut() -> None:
    text, below = told(many(TOLD + 5), "x" * 100_000)
    problems = [each for each in text.splitlines() if each.startswith("- ")]
    assert len(problems) == TOLD + 1
    assert problems[-1] == "- and 5 more: see the report."
    assert max(map(len, problems)) < 1100
    assert (len(below["machines"]), below["counts"]) == (TOLD, {"failed": TOLD + 5})
