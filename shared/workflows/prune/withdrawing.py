"""Copies that may go -> their machines' metadata deleted, and the catalogue told, so that nobody
begins to restore from them any more. What they need is deleted afterwards.
"""

from collections.abc import Iterable

from shared.aws import listing, objects
from shared.catalogue.events import Look
from shared.copies.pruning import only_needed, together
from shared.models.base import to_instant
from shared.models.migrations import Amount
from shared.models.prunings import Doomed, Kept, Run, Withdrawn
from shared.workflows.prune import judging
from shared.workflows.prune.clients import Clients
from shared.workflows.prune.quiet import alone
from shared.workflows.queueing import send


def withdraw(clients: Clients, id_: str) -> bool:
    """Whether it is done; not while others are at work in the place. Killed anywhere, it is called
    again, and finds gone what it has deleted. Raises Refused for a place that is another one now.
    """
    notes = clients.notes(id_)
    if notes.withdrawn():
        return True
    run = notes.run()
    with alone(clients, run, run.began) as is_alone:
        if not is_alone:
            return False
        # What was judged first may be days old by now.
        plan = notes.plan()
        kept = _kept_now(clients, run, plan.points)
        going = [each for each in plan.points if each.id not in kept]
        names = {name for each in going for name in each.needs}
        # Before anything is deleted: whoever ends this one's work must find what it was.
        notes.save_parts(
            together(only_needed(plan.parts, names), plan.left_over), clients.clock.now()
        )
        clients.holds(run.target).note_unfinished(id_)
        amount, denied = _delete(clients, run, going)
        tell_catalogue(clients, run, (each.key for each in going))
    reasons = kept | denied
    withdrawn = Withdrawn(
        at=clients.clock.now(),
        points=tuple(each.id for each in going if each.id not in denied),
        kept=tuple(_kept(each, reasons[each.id]) for each in plan.points if each.id in reasons),
        amount=amount,
    )
    notes.save_withdrawn(withdrawn)
    return True


def tell_catalogue(clients: Clients, run: Run, keys: Iterable[str]) -> None:
    """To look at what is gone: a bucket may have nobody who tells of what happens in it."""
    order = f"{to_instant(clients.clock.now())}{run.id}"
    looks = (Look(bucket=run.bucket, key=key, run=order) for key in keys)
    send(clients.sqs, clients.names.queue, looks)


def _kept_now(clients: Clients, run: Run, points: Iterable[Doomed]) -> dict[str, str]:
    """Why some of these stay, by their ids."""
    place = judging.look_again(clients.table, run)
    verdicts = judging.judge(clients.table, place, run, clients.clock)
    reasons = {each.copy.id: each.reason for each in verdicts}
    there = metadata_there(clients, run, points)
    kept = {each.id: why for each in points if (why := reasons.get(each.id))}
    # One that is deleted already has no verdict any more, and nothing there.
    for each in points:
        if each.id not in reasons and each.key in there:
            kept[each.id] = "The catalogue does not show it any more."
    return kept


def metadata_there(clients: Clients, run: Run, points: Iterable[Doomed]) -> dict[str, int]:
    """The keys of that of these points which is there, and its sizes."""
    wanted = sorted(each.key for each in points)
    found = listing.looked_up(clients.s3, run.bucket, run.prefix, wanted)
    return {each.key: each.size for each in found if each}


def _delete(clients: Clients, run: Run, going: list[Doomed]) -> tuple[Amount, dict[str, str]]:
    """What is gone, and why some is not, by the ids of its points."""
    sizes = metadata_there(clients, run, going)
    denied = objects.delete_all(clients.s3, run.bucket, sizes)
    gone = [size for key, size in sizes.items() if key not in denied]
    amount = Amount(objects=len(gone), bytes=sum(gone))
    return amount, {each.id: denied[each.key] for each in going if each.key in denied}


def _kept(point: Doomed, reason: str) -> Kept:
    return Kept(id=point.id, name=point.name, taken_at=point.taken_at, reason=reason)
