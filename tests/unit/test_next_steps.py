"""What a report means in words, and the commands that go on from it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.samples.builders import facts, planned
from shared.models.restore_plans import MachineState
from shared.pages.next_steps import Step, next_steps, summary
from shared.restore.report import RUNNING
from tests.reports import EXECUTION, MACHINE, a_plan_report, a_report, many

Json = Any

READY, FAILED, BLOCKED = MachineState.READY, MachineState.FAILED, MachineState.BLOCKED
SKIPPED, WAITING, CANCELLED = MachineState.SKIPPED, MachineState.WAITING, MachineState.CANCELLED
PLANNED = MachineState.PLANNED


def again(change: str) -> str:
    return (
        f"aws stepfunctions describe-execution --execution-arn {EXECUTION} \\\n"
        f"    --query input --output text | jq -c {change} > request.json\n"
        f"aws stepfunctions start-execution --state-machine-arn {MACHINE} \\\n"
        "    --input file://request.json"
    )


def commands(report: Json) -> list[str | None]:
    return [step.command for step in next_steps(report)]


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (a_plan_report(), "Nothing was written. 1 of 1 machine can be restored."),
        (
            a_plan_report(many(4), PLANNED, BLOCKED, SKIPPED, PLANNED),
            "Nothing was written. 2 of 4 machines can be restored, 1 is blocked, 1 would be"
            " skipped.",
        ),
        (
            a_plan_report(many(3), BLOCKED),
            "Nothing was written. 0 of 3 machines can be restored, 3 are blocked.",
        ),
        (a_report(many(3), READY), "3 of 3 machines came back."),
        (
            a_report(many(4), READY, FAILED, BLOCKED, SKIPPED, state="partial"),
            "1 of 4 machines came back, 1 stood there already and was skipped, 2 did not.",
        ),
        (
            a_report(many(2), SKIPPED),
            "0 of 2 machines came back, 2 stood there already and were skipped.",
        ),
        (
            a_report(many(1200), READY, CANCELLED, state="cancelled"),
            "The restore was stopped. 1 of 1,200 machines came back, 1,199 did not.",
        ),
        (
            a_report(many(2), READY, WAITING, state=RUNNING),
            "The restore is running. 1 of 2 machines came back.",
        ),
    ],
)
def test_the_state_is_told_in_words(report: Json, said: str) -> None:
    assert summary(report) == said


def test_a_plan_is_done_by_the_same_request_without_dry_run() -> None:
    assert list(next_steps(a_plan_report())) == [
        Step(
            "To do it, start the same request without dryRun.",
            again("'del(.dryRun)'"),
        )
    ]


def test_a_plan_that_blocks_is_corrected_first() -> None:
    blocked = planned(on=facts(networks=frozenset()))
    assert commands(a_plan_report(blocked, BLOCKED)) == [again(".")]
    mixed = a_plan_report(many(2), PLANNED, BLOCKED)
    assert commands(mixed) == [again("."), again("'del(.dryRun)'")]
    assert "The blocked machines are left out then." in list(next_steps(mixed))[1].said


def test_a_plan_that_the_target_as_a_whole_blocks_cannot_be_done() -> None:
    refused = planned(on=facts(snapshot_class=None), dryRun=True)
    report = a_plan_report(refused)
    assert report["counts"] == {"planned": 1}
    assert summary(report) == (
        "Nothing was written. A check of the target itself blocks the whole restore."
    )
    assert commands(report) == [again(".")]


def test_a_restore_is_gone_on_with_under_its_request_id() -> None:
    report = a_report(many(2), READY, FAILED, state="partial")
    first, look, undo = next_steps(report)
    assert first.command == again("""'.requestId = "run-1"'""")
    assert look.command == (
        "kubectl get virtualmachines,persistentvolumeclaims,secrets,volumesnapshots,"
        "volumesnapshotcontents,backingimages.longhorn.io"
        f" --all-namespaces --selector replant.dev/restore={report['restoreId']}"
    )
    assert undo.command == (
        "aws stepfunctions start-execution --state-machine-arn ROLLBACK_STATE_MACHINE \\\n"
        f'    --input \'{{"restoreId": "{report["restoreId"]}", "dryRun": true}}\''
    )


def test_what_is_looked_at_is_what_its_strategies_make() -> None:
    plan = planned(strategy="longhorn")
    look = commands(a_report(plan))[0]
    assert look
    assert "persistentvolumes,volumes.longhorn.io" in look
    assert "volumesnapshots" not in look


def test_blocked_machines_are_restored_by_a_new_restore_that_skips_the_others() -> None:
    first, *_ = commands(a_report(many(2), READY, BLOCKED, state="partial"))
    assert first == again("""'del(.requestId) | .onExisting = "skip"'""")


def test_a_running_restore_can_be_stopped_and_a_good_one_looked_at() -> None:
    assert commands(a_report(planned(), WAITING, state=RUNNING))[1] == (
        f"aws stepfunctions stop-execution --execution-arn {EXECUTION}"
    )
    running = [each.said for each in next_steps(a_report(planned(), WAITING, state=RUNNING))]
    assert not any("take it away" in each for each in running), "it is refused until it has ended"
    look, undo = next_steps(a_report())
    assert look.said == "To look at everything that it made on the target."
    assert "start RollbackStateMachine" in undo.said


def test_where_the_execution_is_not_known_by_its_address_there_is_no_command() -> None:
    assert commands(a_plan_report(execution="run-1")) == [None]


@pytest.mark.parametrize("request_id", ["run-1", 'it\'s "mine"; rm -rf $HOME `id` \\', "ü\n"])
def test_a_request_id_of_any_form_reaches_jq_as_it_is(request_id: str, tmp_path: Path) -> None:
    """The shell takes the words apart as it does for a person; jq itself need not be there."""
    report = a_report(planned(), FAILED, state="failed", requestId=request_id)
    command = commands(report)[0]
    assert command
    script = f'aws() {{ cat >/dev/null </dev/null; }}; jq() {{ printf %s "$2" >&2; }}\n{command}'
    bash = shutil.which("bash")
    assert bash
    ran = subprocess.run(
        [bash, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    name, _, value = ran.stderr.partition(" = ")
    assert (name, json.loads(value)) == (".requestId", request_id)
