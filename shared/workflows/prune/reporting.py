"""What was deleted, what stayed and why -> the report, the message, the output."""

from collections.abc import Sequence
from typing import Any

from shared.models.base import to_instant
from shared.models.migrations import Amount, Part
from shared.models.prunings import Doomed, Kept, Plan, Run, Swept, Withdrawn
from shared.pages.many import brief
from shared.pages.pruning import PLANNED
from shared.pages.words import count, size
from shared.runs.files import StateBucket
from shared.workflows.prune.clients import Clients
from shared.workflows.prune.sweeping import parts_of
from shared.workflows.prune.withdrawing import metadata_there
from shared.workflows.publishing import publish_pruning

MOST_POINTS = 1000
"""In an execution's output, which has 256 KiB; all of them are in the report."""


def report(clients: Clients, id_: str) -> dict[str, Any]:
    """The execution's output; a message where anything was deleted, or could not be."""
    notes = clients.notes(id_)
    run, plan = notes.run(), notes.plan()
    withdrawn = notes.withdrawn() or _would_withdraw(clients, run, plan)
    swept = notes.all_swept()
    ids = set(withdrawn.points)
    gone = [each for each in plan.points if each.id in ids]
    problems = _problems(parts_of(notes, run), swept)
    deleted = sum((each.amount for each in swept.values()), withdrawn.amount)
    output: dict[str, Any] = {
        "pruneId": id_,
        "state": _state(run, problems),
        "points": [_shown(each) for each in gone],
        "deleted": deleted.model_dump(),
    }
    kept = sorted((*plan.kept, *withdrawn.kept), key=lambda each: each.taken_at)
    now = clients.clock.now()
    details = {
        "place": run.place,
        "target": run.target,
        "execution": run.execution,
        "startedAt": to_instant(run.began),
        "finishedAt": to_instant(now),
        "notes": list(plan.notes),
        "problems": problems,
        "kept": [_shown(each) | {"reason": each.reason} for each in kept],
    }
    state = StateBucket(clients.s3, clients.names.state_bucket)
    output["report"] = publish_pruning(state, id_, output | details)
    if not run.dry_run:
        if not problems and notes.withdrawn():
            clients.holds(run.target).note_unfinished(None)
        if gone or problems:
            _tell(clients, run.target, output, problems)
    return output | {"points": output["points"][:MOST_POINTS]}


def _state(run: Run, problems: list[dict[str, str]]) -> str:
    if run.dry_run:
        return PLANNED
    return "partial" if problems else "succeeded"


def _would_withdraw(clients: Clients, run: Run, plan: Plan) -> Withdrawn:
    """Of a dry run, or where there is nothing to delete."""
    sizes = metadata_there(clients, run, plan.points).values()
    return Withdrawn(
        at=clients.clock.now(),
        points=tuple(each.id for each in plan.points),
        amount=Amount(objects=len(sizes), bytes=sum(sizes)),
    )


def _problems(parts: Sequence[Part], swept: dict[int, Swept]) -> list[dict[str, str]]:
    """Of what was left alone although only deleted points needed it, by its name."""
    return [
        {"part": f"{part.kind} {part.name}", "reason": each.problem}
        for number, part in enumerate(parts)
        if (each := swept.get(number)) and each.problem
    ]


def _shown(point: Doomed | Kept) -> dict[str, Any]:
    return {"id": point.id, "name": point.name, "takenAt": to_instant(point.taken_at)}


def _tell(
    clients: Clients, target: str, output: dict[str, Any], problems: list[dict[str, str]]
) -> None:
    deleted = Amount.model_validate(output["deleted"])
    said = [
        f"Pruning {output['pruneId']} of the copies in {target}: {output['state']}.",
        f"{count(len(output['points']), 'copied restore point')} deleted,"
        f" {count(deleted.objects, 'object')} ({size(deleted.bytes)}).",
    ]
    said += brief([f"Left alone: {each['part']}: {each['reason']}" for each in problems])
    said.append(f"Report: {output['report']}")
    clients.sns.publish(
        TopicArn=clients.names.topic,
        Subject=f"Replant: pruning {output['state']}, of {target}"[:99],
        Message="\n".join(said),
    )
