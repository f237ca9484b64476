"""What to do where a machine or a claim of the name exists already, as onExisting says: pure, with
the reason.
"""

from collections.abc import Iterable
from typing import NamedTuple

from shared.kinds import object_key
from shared.models.cluster_facts import ClusterFacts
from shared.models.restore_plans import Check, Earlier, PlannedObject, Verdict
from shared.restore.request import OnExisting
from shared.validation import listed

CHECK = "existing"


class Existing(NamedTuple):
    """What is said of it; SKIPS the machine, UPDATES it, or REPLACES what earlier restores made."""

    check: Check
    skips: bool = False
    updates: bool = False
    replaces: tuple[Earlier, ...] = ()


FREE = Existing(Check(check=CHECK, subject="", verdict="pass", message="Its names are free."))


class _Taken(NamedTuple):
    """The planned objects of which one of that name exists."""

    subject: str
    every: tuple[PlannedObject, ...]
    objects: list[PlannedObject]
    facts: ClusterFacts

    @property
    def machine(self) -> bool:
        return any(each.kind == "VirtualMachine" for each in self.objects)

    @property
    def told(self) -> str:
        return "; ".join(_tell(each, self.facts) for each in self.objects)

    def check(self, verdict: Verdict, message: str) -> Check:
        return Check(check=CHECK, subject=self.subject, verdict=verdict, message=message)


def judge(
    objects: tuple[PlannedObject, ...], facts: ClusterFacts, on_existing: OnExisting, subject: str
) -> Existing:
    """Whoever made it: a plan is only made while nothing was created by it, so what carries this
    restore's own id is of an earlier life that the ledger does not know.
    """
    taken = _Taken(
        subject, objects, [each for each in objects if _key_of(each) in facts.existing], facts
    )
    if not taken.objects:
        return Existing(taken.check("pass", "Its names are free."))
    if on_existing is OnExisting.RECREATE:
        return _recreate(taken)
    if not taken.machine or on_existing is OnExisting.FAIL:
        return Existing(taken.check("block", _conflict(taken, on_existing)))
    if on_existing is OnExisting.UPDATE:
        return _update(taken)
    skipped = taken.check("warn", f"{taken.told}. Skipped, as onExisting says.")
    return Existing(skipped, skips=True)


def _conflict(taken: _Taken, on_existing: OnExisting) -> str:
    missing = ""
    if on_existing is not OnExisting.FAIL:
        missing = (
            f" VirtualMachine {taken.subject} itself does not exist, so that there is nothing to"
            f" {on_existing.value}."
        )
    return f"{taken.told}.{missing} {_remedy(taken, on_existing)}"


def _update(taken: _Taken) -> Existing:
    """Its claims are neither changed nor made: disks of another time beside those that stand would
    be a machine that never was.
    """
    missing = [
        each.name
        for each in taken.every
        if each.kind == "PersistentVolumeClaim" and each not in taken.objects
    ]
    if missing:
        said = (
            f"{taken.told}, but claim {listed(missing)} of it does not exist, and onExisting:"
            " update makes none. Use onExisting: recreate, or restore the machine beside it with"
            " mapping.names."
        )
        return Existing(taken.check("block", said))
    said = f"{taken.told}. What differs of the machine is changed; its disks stay as they are."
    return Existing(taken.check("warn", said), updates=True)


def _recreate(taken: _Taken) -> Existing:
    known = [taken.facts.earlier.get(_key_of(each)) for each in taken.objects]
    strangers = [
        each.subject for each, earlier in zip(taken.objects, known, strict=True) if earlier is None
    ]
    if strangers:
        said = (
            f"{taken.told}. onExisting: recreate replaces only what the ledger of an earlier"
            f" restore knows as made by it, which {' and '.join(strangers)} is not. Delete or"
            " rename what is there, or map the namespace to another one."
        )
        return Existing(taken.check("block", said))
    replaces = tuple(dict.fromkeys(earlier for earlier in known if earlier))
    blocking = [earlier for earlier in replaces if earlier.why]
    if blocking:
        why = "; ".join(f"{each.machine} of {each.restore_id}: {each.why}" for each in blocking)
        said = (
            f"{taken.told}. It is not replaced: {why}. Roll that restore back by hand"
            " (RollbackStateMachine), with deleteStarted where its data is not wanted any more."
        )
        return Existing(taken.check("block", said))
    said = f"{taken.told}. It is deleted first, with its disks, and made anew."
    return Existing(taken.check("warn", said), replaces=replaces)


def _key_of(each: PlannedObject) -> str:
    return object_key(each.kind, each.namespace or "", each.name)


def _tell(each: PlannedObject, facts: ClusterFacts) -> str:
    maker = facts.existing[_key_of(each)]
    by = f"restore {maker}" if maker else "another client"
    return f"{each.subject} already exists and was created by {by}"


def _remedy(taken: _Taken, on_existing: OnExisting) -> str:
    """Half a restore is gone on with, not deleted."""
    facts = taken.facts
    makers: Iterable[str] = {facts.existing[_key_of(each)] for each in taken.objects}
    resumable = sorted(facts.unfinished[maker] for maker in makers if maker in facts.unfinished)
    if resumable:
        return (
            "That restore did not come to its end: start its request again with"
            f' "requestId": "{resumable[0]}" to resume it.'
        )
    remedy = "Delete or rename what is there, or map the namespace to another one"
    if on_existing is OnExisting.FAIL:
        return f"{remedy}, or use onExisting: skip."
    return f"{remedy}."
