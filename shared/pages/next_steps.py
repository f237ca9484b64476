"""What a report means, in a sentence, and what its reader can do next, with the exact command."""

import json
from collections.abc import Iterator
from shlex import quote
from typing import NamedTuple

from shared.pages.words import Report, count, decided, kept, moment

BACK = ("ready", "applied")
KINDS = ("virtualmachines", "persistentvolumeclaims", "secrets")
IMAGES = "backingimages.longhorn.io"
OF_STRATEGIES = {
    "csi": ("volumesnapshots", "volumesnapshotcontents", IMAGES),
    "longhorn": ("persistentvolumes", "volumes.longhorn.io", IMAGES),
}
"""What is made beside these, by the strategy of a machine."""


class Step(NamedTuple):
    """A sentence, and the command for it where there is one."""

    said: str
    command: str | None = None


def title(report: Report) -> str:
    if report["dryRun"]:
        return f"Plan of a restore to {report['target']}"
    return f"Restore to {report['target']}"


def summary(report: Report) -> str:
    """The state in words, with the numbers behind it."""
    counts = report["counts"]
    every = sum(counts.values())
    if report["dryRun"] and _is_refused(report):
        return "Nothing was written. A check of the target itself blocks the whole restore."
    if report["dryRun"]:
        return f"Nothing was written. {_of_plan(counts, every)}"
    back = sum(counts.get(state, 0) for state in BACK)
    said = f"{back:,} of {count(every, 'machine')} came back"
    if skipped := counts.get("skipped"):
        said += f", {skipped:,} stood there already and {_was(skipped)} skipped"
    lost = sum(counts.get(state, 0) for state in ("failed", "blocked", "cancelled"))
    if lost:
        said += f", {lost:,} did not"
    said += "."
    if report["state"] == "waiting":
        return f"The restore waits for a decision about this plan. {_of_plan(counts, every)}"
    if report["state"] == "running":
        return f"The restore is running. {said}"
    if report["state"] == "cancelled":
        return f"The restore was {_ended_by(report) or 'stopped'}. {said}"
    return said


def _ended_by(report: Report) -> str | None:
    """The decision of this attempt against it."""
    newest = report["decisions"][-1] if report["decisions"] else None
    if newest is None or newest["attempt"] != report["attempt"] or newest["decision"] == "approve":
        return None
    return decided(report)[-1]


def _of_plan(counts: Report, every: int) -> str:
    good = counts.get("planned", 0) + counts.get("waiting", 0)
    said = f"{good:,} of {count(every, 'machine')} can be restored"
    if blocked := counts.get("blocked"):
        said += f", {blocked:,} {'is' if blocked == 1 else 'are'} blocked"
    if skipped := counts.get("skipped"):
        said += f", {skipped:,} would be skipped"
    return f"{said}."


def _is_refused(report: Report) -> bool:
    """Whether a restore by this plan would not begin: a check is about the target as a whole."""
    return any(
        check["verdict"] == "block" and check["subject"] == report["target"]
        for check in report["checks"]
    )


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def next_steps(report: Report) -> Iterator[Step]:
    if report["approval"]:
        yield from _while_it_waits(report)
    elif report["state"] == "running":
        yield from _while_it_runs(report)
    elif report["dryRun"]:
        yield from _after_a_plan(report)
    else:
        yield from _after_a_restore(report)
    if not report["dryRun"] and not report["approval"]:
        yield from _of_what_it_made(report)


def _of_what_it_made(report: Report) -> Iterator[Step]:
    strategies = sorted({str(each.get("strategy")) for each in report["machines"]})
    more = [kind for name in strategies for kind in OF_STRATEGIES.get(name, ())]
    kinds = dict.fromkeys([*KINDS, *more])
    selector = f"replant.dev/restore={report['restoreId']}"
    yield Step(
        "To look at everything that it made on the target.",
        f"kubectl get {','.join(kinds)} --all-namespaces --selector {selector}",
    )
    if report["state"] == "running":
        return
    if report["temporary"]:
        keeps = {"restoreId": report["restoreId"], "decision": "keep", "by": "YOUR NAME"}
        yield Step(
            f"It is kept {kept(report['temporary'])}. To keep it for good, invoke"
            " DecisionFunction, whose name is an output of the stack:",
            "aws lambda invoke --function-name DECISION_FUNCTION \\\n"
            f"    --cli-binary-format raw-in-base64-out --payload {quote(json.dumps(keeps))} \\\n"
            "    answer.json && cat answer.json",
        )
    wanted = json.dumps({"restoreId": report["restoreId"], "dryRun": True})
    yield Step(
        "To take it away again, start RollbackStateMachine, whose ARN is an output of the stack:"
        " with dryRun it says what would go and what would be kept, without dryRun it is done.",
        "aws stepfunctions start-execution --state-machine-arn ROLLBACK_STATE_MACHINE \\\n"
        f"    --input {quote(wanted)}",
    )


def _while_it_waits(report: Report) -> Iterator[Step]:
    approval = report["approval"]
    yield Step(
        f"Read the plan and decide before {moment(approval['until'])}; without a decision the"
        " restore ends cancelled. To approve exactly this plan:",
        approval["commands"]["approve"],
    )
    yield Step("To reject it:", approval["commands"]["reject"])


def _while_it_runs(report: Report) -> Iterator[Step]:
    yield Step("Wait: this page is written again while it runs, so load it again.")
    if _is_arn(report["execution"]):
        yield Step(
            "To stop it: nothing more is made then, and what was made stays.",
            f"aws stepfunctions stop-execution --execution-arn {quote(report['execution'])}",
        )


def _after_a_plan(report: Report) -> Iterator[Step]:
    counts = report["counts"]
    if counts.get("blocked") or report["verdict"] == "block":
        yield Step("Do what the blocking checks below say, then plan again.", _again(report, "."))
    if counts.get("planned") and not _is_refused(report):
        others = " The blocked machines are left out then." if counts.get("blocked") else ""
        yield Step(
            f"To do it, start the same request without dryRun.{others}",
            _again(report, "del(.dryRun)"),
        )


def _after_a_restore(report: Report) -> Iterator[Step]:
    counts = report["counts"]
    if counts.get("failed") or counts.get("cancelled"):
        request_id = json.dumps(report["requestId"])
        asks = ""
        if _ended_by(report):
            asks = " Where the request needs an approval, it is asked for again."
        yield Step(
            "To go on, do what the errors below say and start the same request with the same"
            f" requestId: what is ready stays, the rest goes on where it stopped.{asks}",
            _again(report, f".requestId = {request_id}"),
        )
    if counts.get("blocked"):
        yield Step(
            "Blocked machines were not touched. Do what their checks say, then start a new restore,"
            " which skips what stands already.",
            _again(report, 'del(.requestId) | .onExisting = "skip"'),
        )


def _again(report: Report, change: str) -> str | None:
    """Starts a request again with a change of it, which is written for jq. The request itself is
    the execution's input; it is not repeated here.
    """
    execution = report["execution"]
    if not _is_arn(execution):
        return None
    machine = execution.replace(":execution:", ":stateMachine:").rpartition(":")[0]
    return (
        f"aws stepfunctions describe-execution --execution-arn {quote(execution)} \\\n"
        f"    --query input --output text | jq -c {quote(change)} > request.json\n"
        f"aws stepfunctions start-execution --state-machine-arn {quote(machine)} \\\n"
        "    --input file://request.json"
    )


def _is_arn(execution: str) -> bool:
    return ":execution:" in execution
