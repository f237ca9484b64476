"""Whether Longhorn on the target cluster can read a disk's backup.

A VolumeSnapshot says nothing of it: it is ready whether its backup exists or not, and the claim
then waits for ever (longhorn-manager csi/controller_server.go).
"""

from collections.abc import Iterable, Mapping

from shared.models.longhorn_facts import (
    DEFAULT_TARGET,
    DONE,
    LonghornFacts,
    LonghornTarget,
    SyncedBackup,
)
from shared.models.restore_plans import Check
from shared.models.restore_points import RestorePoint, Volume
from shared.restore.wanted import Wanted
from shared.validation import listed, short, shown

CHECK = "backup"


def unsynced(points: Iterable[RestorePoint], longhorn: LonghornFacts) -> frozenset[str]:
    """The backups of restore points that Longhorn has not read yet."""
    names = {volume.engine_backup for point in points for volume in point.volumes}
    return frozenset(name for name in names if name and not _is_read(longhorn, name))


def unread(points: Iterable[RestorePoint], longhorn: LonghornFacts) -> tuple[str, ...]:
    """The targets, by their documents' ids, of points whose place no BackupTarget reads, and whose
    backups are not known from elsewhere.
    """
    lacking = (
        each.target
        for each in points
        if unsynced([each], longhorn) and longhorn.reader_of(each.source) is None
    )
    return tuple(sorted(set(lacking)))


def in_the_way(points: Iterable[RestorePoint], longhorn: LonghornFacts) -> tuple[str, ...]:
    """The targets, by their documents' ids, that we had attached and that cannot be read any more,
    while the points lie elsewhere: of two equal backups Longhorn keeps the one that it found first.
    """
    names = {volume.engine_backup: each for each in points for volume in each.volumes}
    found = set()
    for name, point in names.items():
        if name and _is_read(longhorn, name):
            target = longhorn.targets[longhorn.backups[name].target]
            if target.problem and target.document and _is_elsewhere(target, point):
                found.add(target.document)
    return tuple(sorted(found))


def _is_elsewhere(target: LonghornTarget, point: RestorePoint) -> bool:
    return target.place is None or not target.place.holds(point.source)


def out_of_reach(
    point: RestorePoint, longhorn: LonghornFacts, attached: Mapping[str, str | None]
) -> str | None:
    """Why Longhorn cannot read a point where it lies, whatever is done; None where it can, or may.
    ATTACHED are the targets of which that was tried.
    """
    for volume in point.volumes:
        name = volume.engine_backup
        if not name:
            continue
        if _is_read(longhorn, name):
            reader: str | None = longhorn.backups[name].target
        else:
            reader = longhorn.reader_of(point.source)
        if reader is None and attached.get(point.target) is not None:
            return attached[point.target] or f"target {point.target} was detached."
        if reader and (problem := longhorn.targets[reader].problem):
            return f"backup target {short(reader)} is not available: {short(problem)}."
    return None


def targets_to_sync(points: Iterable[RestorePoint], longhorn: LonghornFacts) -> frozenset[str]:
    """The BackupTargets that can be read and hold backups that Longhorn has not read yet."""
    readers = {longhorn.reader_of(each.source) for each in points if unsynced([each], longhorn)}
    return frozenset(name for name in readers if name and not longhorn.targets[name].problem)


def of_disk(wanted: Wanted, volume: Volume) -> Check:
    """Whether the backup is there, whole, of this volume, and in a place that can be read."""
    longhorn = wanted.facts.longhorn
    name = volume.engine_backup or ""
    if not _is_read(longhorn, name):
        return _unread(wanted, volume)
    known = longhorn.backups[name]
    what = f"Backup {name} of {volume.disk}"
    if known.volume != volume.engine_volume:
        said = (
            f"{what} is of volume {short(known.volume)} on {wanted.target}, not of"
            f" {volume.engine_volume}. Choose another restore point."
        )
        return wanted.block(CHECK, said)
    if known.state != DONE:
        remedy = "Look at it in Longhorn there, or choose another restore point."
        return wanted.block(CHECK, f"{what} is {_state(known)} on {wanted.target}. {remedy}")
    return _place(wanted, what, known)


def _is_read(longhorn: LonghornFacts, name: str) -> bool:
    """What was read of a backup target that is gone goes with it, soon."""
    known = longhorn.backups.get(name)
    return known is not None and bool(known.state) and known.target in longhorn.targets


def _state(known: SyncedBackup) -> str:
    if not known.problem:
        return shown(known.state)
    return f"{shown(known.state)} ({short(known.problem)})"


def _place(wanted: Wanted, what: str, known: SyncedBackup) -> Check:
    """Of a backup that Longhorn has read: whether the data can still be read from there."""
    target = wanted.facts.longhorn.targets[known.target]
    is_elsewhere = _is_elsewhere(target, wanted.point)
    if target.problem and is_elsewhere:
        return _held(wanted, what, known.target)
    if target.problem:
        return wanted.block(CHECK, f"{what}: {_unavailable(known.target, target)}")
    if is_elsewhere:
        said = (
            f"{what} is read from {short(target.url)} (backup target {short(known.target)}), which"
            f" is not where the restore point lies ({wanted.point.source.url})."
        )
        return wanted.warn(CHECK, said)
    return wanted.ok(CHECK, f"{what} is complete, and Longhorn on {wanted.target} knows it.")


def _held(wanted: Wanted, what: str, name: str) -> Check:
    """Of a backup whose copy is to be restored, while Longhorn keeps to the original, which it
    cannot read any more.
    """
    target = wanted.facts.longhorn.targets[name]
    said = (
        f"{what}: Longhorn on {wanted.target} knows it from backup target {short(name)}"
        f" ({short(target.url)}), which is not available: {short(target.problem or '')}."
    )
    refusal = wanted.facts.attached.get(target.document or "", "")
    if target.document and refusal is None:
        first = f"detaches target {target.document} from {wanted.target}"
        return wanted.warn(CHECK, f"{said} A restore first {first}, and reads the copy then.")
    if target.document and refusal:
        return wanted.block(CHECK, f"{said} It could not be detached: {refusal}")
    return wanted.block(CHECK, f"{said} {_let_go(wanted, name, target)}")


def _let_go(wanted: Wanted, name: str, target: LonghornTarget) -> str:
    """So that Longhorn forgets it; what is in the bucket stays (longhorn-manager
    controller/backup_target_controller.go).
    """
    copy = f"the copy in {wanted.point.source.url} is read"
    if target.document:
        remedy = f"Detach target {target.document} from {wanted.target} (AttachStateMachine)"
    elif name == DEFAULT_TARGET:
        remedy = f"Empty Harvester's setting backup-target on {wanted.target}"
    else:
        remedy = f"Delete backup target {short(name)} in Longhorn"
    return f"{remedy}, which deletes nothing in a bucket, and start again: then {copy}."


def _unread(wanted: Wanted, volume: Volume) -> Check:
    longhorn = wanted.facts.longhorn
    what = f"Longhorn on {wanted.target} does not know backup {volume.engine_backup}"
    what = f"{what} of {volume.disk}"
    reader = longhorn.reader_of(wanted.point.source)
    if reader is None:
        return _unattached(wanted, what)
    target = longhorn.targets[reader]
    if target.problem:
        return wanted.block(CHECK, f"{what}: {_unavailable(reader, target)}")
    if wanted.request.dry_run:
        said = f"{what} yet: a restore first asks it to read backup target {short(reader)} again."
        return wanted.warn(CHECK, said)
    said = (
        f"{what}, although it was asked to read backup target {short(reader)} again. Look at this"
        " backup target and the BackupVolume there, and start the restore again."
    )
    return wanted.block(CHECK, said)


def _unattached(wanted: Wanted, what: str) -> Check:
    id_ = wanted.point.target
    refusal = wanted.facts.attached.get(id_, "")
    if refusal == "":
        return wanted.block(CHECK, f"{what}. {_no_reader(wanted)}")
    if refusal is None:
        said = f"{what} yet: a restore first attaches target {id_} to {wanted.target}."
        return wanted.warn(CHECK, said)
    said = f"{what}, and target {id_} could not be attached to {wanted.target}: {refusal}"
    return wanted.block(CHECK, said)


def _no_reader(wanted: Wanted) -> str:
    targets = wanted.facts.longhorn.targets
    read = [f"{name} ({each.url or 'empty'})" for name, each in targets.items()]
    return (
        f"None of its backup targets reads {wanted.point.source.url}. It has: {listed(read)}."
        " Add one with AttachStateMachine (Longhorn 1.8 and later), or let Harvester's setting"
        " backup-target name this bucket."
    )


def _unavailable(name: str, target: LonghornTarget) -> str:
    said = short(target.problem or "")
    return (
        f"backup target {short(name)} ({short(target.url)}) is not available: {said}."
        " Correct its URL, its credentials or the network, and start the restore again."
    )
