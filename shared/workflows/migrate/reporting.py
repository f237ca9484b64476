"""What was copied, what was there, what could not be -> the report, the message, the output."""

from collections.abc import Iterator
from typing import Any

from shared.models.base import to_instant
from shared.models.migrations import Amount, Closure, Gathered, Published, Run, Selected
from shared.pages.many import brief
from shared.pages.words import count, size
from shared.runs.files import StateBucket
from shared.workflows.migrate.clients import Clients
from shared.workflows.migrate.publishing import Known, known
from shared.workflows.publishing import publish_migration


def report(clients: Clients, id_: str, restore: Any) -> dict[str, Any]:
    """The execution's output (contract, section 7); RESTORE is that of the one that followed."""
    notes = clients.notes(id_)
    run, closure, published = notes.run(), notes.closure(), notes.published()
    assert published is not None  # noqa: S101  # it is reported then
    found = known(clients, notes)
    lost = published.lost | _not_catalogued(published, found)
    moved = notes.moved()
    output = {
        "migrationId": id_,
        "state": "planned" if run.dry_run else _state(closure, lost),
        "points": _points(run, closure, lost, found),
        "copied": (moved.copied + published.copied).model_dump(),
        "present": (moved.present + published.present).model_dump(),
        "restore": restore,
    }
    points = [_shown(each, lost, found) for each in closure.points]
    if run.dry_run:
        sizes = _sizes(closure, notes.all_gathered())
        points = [each | sizes[each["id"]] for each in points]
    details = {
        "to": run.place,
        "target": run.target,
        "execution": run.execution,
        "startedAt": to_instant(run.began),
        "finishedAt": to_instant(clients.clock.now()),
        "requests": notes.requests(),
        "notes": [*_of_kept(run), *notes.written().notes],
        "failed": [each for each in points if each["reason"]],
        "restorePoints": sorted(points, key=lambda each: each["reason"] is None),
    }
    output["report"] = publish_migration(
        StateBucket(clients.s3, clients.names.state_bucket), id_, output | details
    )
    if not run.dry_run:
        clients.holds(run.target).end_copying(id_, clients.clock.now())
    if not run.dry_run and (
        lost or not run.replicates
    ):  # nobody waits for what a plan has copied all day
        _tell(clients, run, closure, lost, output)
    return _short(output)


def _points(
    run: Run, closure: Closure, lost: dict[str, str], found: Known
) -> list[dict[str, str | None]]:
    """Those that are there, or of a dry run would be."""
    there = [each.id for each in closure.points if each.id not in lost]
    if run.dry_run:
        return [{"id": id_, "newId": None} for id_ in there]
    return [{"id": id_, "newId": found.points[id_].id} for id_ in there]


def _sizes(closure: Closure, gathered: dict[int, Gathered]) -> dict[str, dict[str, int]]:
    """What each restore point needs for itself alone, by its id: of its data."""
    found = {}
    for point in closure.points:
        amount = Amount()
        for number in point.parts:
            sizes = gathered[number].sizes
            amount = sum((sizes[name] for name in point.needs if name in sizes), amount)
        found[point.id] = amount.model_dump()
    return found


def _of_kept(run: Run) -> Iterator[str]:
    if run.kept:
        said = "There already, as copies of what cannot be restored any more"
        yield f"{said}: {count(run.kept, 'restore point')} of the selection."


def _shown(point: Selected, lost: dict[str, str], found: Known) -> dict[str, Any]:
    copy = found.points.get(point.id)
    return {
        "id": point.id,
        "newId": copy.id if copy and point.id not in lost else None,
        "name": point.name,
        "takenAt": to_instant(point.taken_at),
        "reason": lost.get(point.id),
    }


def _state(closure: Closure, lost: dict[str, str]) -> str:
    if not lost:
        return "succeeded"
    return "partial" if len(lost) < len(closure.points) else "failed"


def _not_catalogued(published: Published, found: Known) -> dict[str, str]:
    lost = {}
    for each in published.arrived:
        point = found.points.get(each.id)
        if point is None:
            lost[each.id] = (
                f"{each.key} is copied, and the catalogue does not know it yet. Look at its queue"
                " and its dead letters; then start the same again."
            )
        elif not point.usable:
            said = "; ".join(point.reasons) or "no reason is known"
            lost[each.id] = f"its copy {point.id} is {point.state}: {said}"
    return lost


def _tell(
    clients: Clients, run: Run, closure: Closure, lost: dict[str, str], output: dict[str, Any]
) -> None:
    copied = Amount.model_validate(output["copied"])
    whose = f"Replication of plan {run.replicates}" if run.replicates else "Migration"
    said = [
        f"{whose}, {run.id}, to {run.place}: {output['state']}.",
        f"{len(closure.points) - len(lost)} of {len(closure.points)} restore points are there;"
        f" {copied.objects} objects ({size(copied.bytes)}) were copied.",
    ]
    names = {each.id: each.name for each in closure.points}
    said += brief([f"Not copied: {names[id_]}: {why}" for id_, why in lost.items()])
    said.append(f"Report: {output['report']}")
    clients.sns.publish(
        TopicArn=clients.names.topic,
        Subject=f"Replant: migration {output['state']}, to {run.target}"[:99],
        Message="\n".join(said),
    )


MOST_POINTS = 1000
"""In an execution's output, which has 256 KiB; all of them are in the report."""


def _short(output: dict[str, Any]) -> dict[str, Any]:
    return output | {"points": output["points"][:MOST_POINTS]}
