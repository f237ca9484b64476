"""The machines of a living source, and what is done to each before the waves: it is halted, its
last backup is made and catalogued; or, where no wave began, it is started again. Pure.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from shared.jsonpath import dig
from shared.labels import HALTED_BY, MANAGED_BY, RUN_STRATEGY
from shared.models.base import to_instant
from shared.models.halts import SourceMachine
from shared.models.recovery_plans import RecoveryPlan
from shared.models.restore_points import RestorePoint, State
from shared.models.run_strategies import HALTED, MANUAL, own_strategy, run_strategy
from shared.validation import listed

Manifest = Mapping[str, Any]

NOTED = "harvesterhci.io/vmRunStrategy"
"""Which strategy Harvester gives a machine that is started from Halted, whatever is asked for."""

FAILOVER = "replant.dev/failover"
"""On the backups that a failover made: which one."""

STOPPING = timedelta(minutes=15)
"""How long a guest may take to shut down: Harvester's own grace period is two minutes."""

BACKING_UP = timedelta(hours=4)
"""How long the last backup of a machine may take; its data since the one before is copied."""

CATALOGUING = timedelta(minutes=15)
"""How long its event may take to the catalogue."""


class Do(StrEnum):
    """What is done to a machine now."""

    HALT = "halt"
    MAKE = "make its backup"
    START = "start it again"
    WAIT = "wait"
    DONE = "nothing more"
    FAIL = "give the failover up"


class Step(NamedTuple):
    """REASON says what is waited for, or why it fails."""

    do: Do
    reason: str = ""


class Found(NamedTuple):
    """A machine on its source: its manifest, None where it is gone, and whether it RUNS."""

    vm: Manifest | None
    runs: bool


# --- Looking ------------------------------------------------------------------------------------


def machines_of(
    plan: RecoveryPlan, vms: Iterable[Manifest], attempt: int, now: datetime
) -> list[SourceMachine]:
    """Those that the plan means, by name."""
    found = (machine_of(each, attempt, now) for each in vms if _is_meant(plan, each))
    return sorted(found, key=lambda each: each.key)


def names_of(plan: RecoveryPlan, vms: Iterable[Manifest]) -> list[str]:
    return [_key(each) for each in vms if _is_meant(plan, each)]


def machine_of(vm: Manifest, attempt: int, now: datetime) -> SourceMachine:
    """One that is halted by us already, by a failover that did not come so far as to start it
    again, is remembered with what it had before.
    """
    metadata, spec = vm["metadata"], vm["spec"]
    strategy = own_strategy(spec, metadata.get("annotations") or {})
    ours = run_strategy(spec) == HALTED and strategy != HALTED
    return SourceMachine(
        attempt=attempt,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=str(metadata.get("uid")),
        strategy=strategy,
        running="runStrategy" not in spec and "running" in spec,
        halted_at=now if ours else None,
    )


def halted_by(vm: Manifest) -> str | None:
    """The failover that holds a machine halted."""
    holder = dig(vm, "metadata", "annotations", HALTED_BY)
    return str(holder) if holder and run_strategy(vm["spec"]) == HALTED else None


def digest(plan: RecoveryPlan, machines: Iterable[SourceMachine]) -> str:
    """Over what a person approves before anything is halted: the plan and the machines."""
    lines = [plan.model_dump_json(), *(f"{each.key} {each.uid}" for each in machines)]
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def difference(before: Iterable[SourceMachine], after: Iterable[SourceMachine]) -> str | None:
    """What of the machines is not as it was when the failover began."""
    old = {each.key: each.uid for each in before}
    new = {each.key: each.uid for each in after}
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return ", ".join(changed) or None


def _is_meant(plan: RecoveryPlan, vm: Manifest) -> bool:
    metadata = vm["metadata"]
    return plan.has(metadata["namespace"], metadata["name"], metadata.get("labels") or {})


def _key(vm: Manifest) -> str:
    return f"{vm['metadata']['namespace']}/{vm['metadata']['name']}"


# --- Halting ------------------------------------------------------------------------------------


def to_halt(machine: SourceMachine, found: Found, failover: str, now: datetime) -> Step:
    if problem := _changed(machine, found):
        return Step(Do.FAIL, problem)
    if not _is_halted(found):
        halted = dig(found.vm, "metadata", "annotations", HALTED_BY) == failover
        if halted or not machine.runs:
            return Step(Do.FAIL, _started_meanwhile(machine))
        return Step(Do.HALT)  # also where that was written down, and not done
    if not found.runs:
        return Step(Do.DONE)
    if machine.halted_at and now - machine.halted_at > STOPPING:
        return Step(
            Do.FAIL,
            f"{machine.key} still runs {_minutes(STOPPING)} minutes after it was halted. Shut its"
            " guest down, and start the failover again.",
        )
    return Step(Do.WAIT, f"waits until {machine.key} has shut down")


def halting(machine: SourceMachine, failover: str) -> dict[str, Any]:
    """The merge patch that halts it. What it had before is written on the machine too: its last
    backup has that, and whoever finds it halted can read it.
    """
    notes = {RUN_STRATEGY: machine.strategy, HALTED_BY: failover, NOTED: machine.strategy}
    spec = {"running": False} if machine.running else {"runStrategy": HALTED}
    return {"metadata": {"annotations": notes}, "spec": spec}


# --- Backing up ---------------------------------------------------------------------------------


def to_back_up(
    machine: SourceMachine,
    found: Found,
    backup: Manifest | None,
    point: RestorePoint | None,
    now: datetime,
) -> Step:
    """BACKUP is its VirtualMachineBackup, POINT what the catalogue has of that."""
    if problem := _changed(machine, found):
        return Step(Do.FAIL, problem)
    if found.runs or not _is_halted(found):
        return Step(Do.FAIL, _started_meanwhile(machine))
    if machine.point or (point and point.state is State.RESTORABLE):
        return Step(Do.DONE)
    if machine.backup is None or backup is None:
        return Step(Do.MAKE)
    if said := dig(backup, "status", "error", "message"):
        return Step(
            Do.FAIL,
            f"The backup {machine.namespace}/{machine.backup} of {machine.key} failed: {said}."
            " Repair what it names, and start the failover again.",
        )
    return _waiting(machine, backup, point, now)


def _waiting(
    machine: SourceMachine, backup: Manifest, point: RestorePoint | None, now: datetime
) -> Step:
    named = f"the backup {machine.namespace}/{machine.backup} of {machine.key}"
    if machine.ready_at:
        if now - machine.ready_at > CATALOGUING:
            why = f" It is {point.state}: {'; '.join(point.reasons)}." if point else ""
            return Step(
                Do.FAIL,
                f"{_capital(named)} is not restorable {_minutes(CATALOGUING)} minutes after"
                f" Harvester had made it.{why} Look at how events of its bucket reach the queue,"
                " and start the failover again.",
            )
        return Step(Do.WAIT, f"waits until the catalogue has {named}")
    if machine.backup_at and now - machine.backup_at > BACKING_UP:
        hours = int(BACKING_UP.total_seconds() / 3600)
        return Step(
            Do.FAIL,
            f"{_capital(named)} is not ready after {hours} hours. Look at its conditions and at"
            " Longhorn, and start the failover again.",
        )
    progress = dig(backup, "status", "progress")
    far = f": {progress} %" if isinstance(progress, int) else ""
    return Step(Do.WAIT, f"waits for the backup of {machine.key}{far}")


def is_ready(backup: Manifest | None) -> bool:
    return dig(backup, "status", "readyToUse") is True


def backup_name(failover: str, attempt: int, machine: SourceMachine) -> str:
    """Found again by it; another attempt makes another one, since the machine ran in between."""
    return f"replant-{failover}-{attempt}-{hashlib.sha256(machine.key.encode()).hexdigest()[:8]}"


def backup_of(machine: SourceMachine, name: str, failover: str) -> dict[str, Any]:
    source = {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": machine.name}
    return {
        "apiVersion": "harvesterhci.io/v1beta1",
        "kind": "VirtualMachineBackup",
        "metadata": {
            "name": name,
            "namespace": machine.namespace,
            "labels": {**MANAGED_BY, FAILOVER: failover},
        },
        "spec": {"type": "backup", "source": source},
    }


# --- Starting again -----------------------------------------------------------------------------


def to_start(machine: SourceMachine, found: Found) -> Step:
    """Of one that was to be halted. What somebody has deleted, replaced or started is theirs."""
    if _changed(machine, found):
        return Step(Do.DONE, f"{machine.key} is gone, or is another one by now")
    return Step(Do.START if _is_halted(found) else Do.DONE)


def starting(machine: SourceMachine) -> dict[str, Any]:
    """The merge patch that gives it back what it had."""
    notes = {RUN_STRATEGY: None, HALTED_BY: None, NOTED: machine.strategy}
    spec = {"running": True} if machine.running else {"runStrategy": machine.strategy}
    return {"metadata": {"annotations": notes}, "spec": spec}


def aftermath(source: str, machines: Iterable[SourceMachine]) -> str | None:
    """What became of those that were halted for nothing; None where none was."""
    halted = [each for each in machines if each.halted_at]
    if not halted:
        return None
    if left := [each.key for each in halted if not each.started]:
        return (
            f"Not started again yet on {source}: {listed(left)}. Start them by hand if they stay"
            f" halted; the annotation {RUN_STRATEGY} says which run strategy each had."
        )
    said = f"The machines that were halted on {source} have their run strategy again."
    if manual := [each.key for each in halted if each.strategy == MANUAL]:
        said += f" By hand, as Manual means, a person starts {listed(manual)}."
    return said


# --- In a report --------------------------------------------------------------------------------


def shown(machines: Iterable[SourceMachine]) -> list[dict[str, Any]]:
    return [
        {
            "machine": each.key,
            "runStrategy": each.strategy,
            "haltedAt": to_instant(each.halted_at) if each.halted_at else None,
            "backup": each.backup,
            "restorePoint": each.point,
            "startedAgain": each.started,
        }
        for each in machines
    ]


def _changed(machine: SourceMachine, found: Found) -> str | None:
    if found.vm is None or str(dig(found.vm, "metadata", "uid")) != machine.uid:
        return f"{machine.key} was deleted or replaced on the source meanwhile. Start again."
    return None


def _is_halted(found: Found) -> bool:
    return run_strategy((found.vm or {}).get("spec") or {}) == HALTED


def _started_meanwhile(machine: SourceMachine) -> str:
    return (
        f"Somebody has started {machine.key} on the source again meanwhile, so that its last backup"
        " would not have all. See who does, and start the failover again."
    )


def _minutes(span: timedelta) -> int:
    return int(span.total_seconds() / 60)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
