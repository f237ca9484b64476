"""What a restore made, by its ledger, and what stands on the target cluster -> which of it goes and
what is kept: pure, with the reason.

Ledger, UID and label must agree. A machine's objects go in the reverse order of their creation, the
next kind when the one before it is gone: Harvester refuses to delete a claim whose machine stands,
a content waits for its snapshot, and a PersistentVolume for its claim; for a claim that goes before
its DataVolume, CDI makes another one. What was there before a kept object stays with it, so that
what is kept stays usable and is found by a later rollback.

A machine that Harvester restores goes only once its VirtualMachineRestore is complete: as long as
it is not, Harvester makes another machine of the name for one that is gone (harvester
pkg/controller/master/backup/restore.go, reconcileVM), and it is not before the machine is ready and
some seconds more. The restore cannot go first: its webhook refuses that while the machine stands.

A VolumeSnapshot goes only once it is bound. The snapshot-controller binds in two writes, to the
content and then to the snapshot's status, and tells a content that it may go by that status alone
(external-snapshotter, pkg/common-controller, processSnapshotWithDeletionTimestamp). A snapshot that
is deleted between the two leaves a content that no one ever lets go.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from shared import labels
from shared.jsonpath import dig
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_plans import MachineResult, ObjectResult
from shared.restore import progress
from shared.restore.users import Live, Uses
from shared.validation import listed, shown

ORDER = (
    "VirtualMachine",
    "VirtualMachineRestore",
    "DataVolume",
    "PersistentVolumeClaim",
    "VolumeSnapshot",
    "VolumeSnapshotContent",
    "PersistentVolume",
    "Volume",
    "BackingImage",
    "NetworkPolicy",
)
"""In which the objects of a machine go; its Secrets go with it. What cuts it off goes last."""

OF_BUCKET = {
    "VirtualMachineBackup": "deleting it would delete the backup in the bucket",
    "VirtualMachineImage": "deleting it would delete the image's metadata in the bucket",
}
"""What Harvester would do, so that none is ever deleted (pkg/controller/master/backup/backup.go,
pkg/image/backingimage/backingimage.go)."""

STAYING = ("Namespace", *OF_BUCKET)
"""Kinds of which nothing is in anybody's way when it is kept."""

CLAIMS = ("DataVolume", "PersistentVolumeClaim")
"""With the first goes the second, which has its name."""

MADE = ("create", "unchanged")
UPDATED = ("update", "unchanged")
RETAIN = "Retain"
IDLE = ("Halted", "Manual")
"""Run strategies with which nobody but a person starts a machine."""

USUAL = {"configmaps": 1, "serviceaccounts": 1, "resourcequotas": 1}
"""What every namespace holds: the cluster's CA certificates and the account `default`, which
Kubernetes makes again at once; and the quota that counts."""

LEAVING = {
    "secrets",
    "pods",
    "controllerrevisions.apps",
    "virtualmachineinstances.kubevirt.io",
}
"""What the garbage collector takes away some time after a machine."""

HOLDS = 5  # kinds that are named of what a namespace holds
STARTED = "it may hold data that exists nowhere else; with deleteStarted it goes"


class May(NamedTuple):
    """What may go as well: machines that have been STARTED, snapshots that nobody began to bind;
    with the latter nothing is waited for that stood still for a minute: a VirtualMachineRestore of
    data that cannot be read is never complete.
    """

    started: bool = False
    unbound: bool = False


class Do(StrEnum):
    """What is to be done with an object."""

    DELETE = "delete"
    WAIT = "wait"
    GONE = "gone"
    KEEP = "keep"


class Step(NamedTuple):
    """UID is that by which the ledger knows the object, or its owner where the object cannot be
    looked at; VERSION the state in which alone it may be deleted, None for any.
    """

    made: ObjectResult
    do: Do
    reason: str
    uid: str
    version: str | None = None

    @property
    def pending(self) -> bool:
        return self.do in (Do.DELETE, Do.WAIT)


class Made(NamedTuple):
    """What a restore made of one machine, in the order of its creation; STARTED: by the restore.

    UPDATED is the machine of another maker that the restore changed, if it did.
    """

    key: str
    restore_id: str
    objects: tuple[ObjectResult, ...]
    started: bool = False
    updated: ObjectResult | None = None


def made_of(
    restore_id: str,
    objects: Mapping[str, Iterable[ObjectResult]],
    results: Mapping[str, MachineResult],
) -> list[Made]:
    """By the ledger: an object that it knows the UID of was made, or found as its own, by the
    restore.
    """
    return [
        Made(
            key,
            restore_id,
            tuple(each for each in every if _is_ours(each)),
            started=key in results and progress.has_run(results[key]),
            updated=updated_of(every),
        )
        for key, every in sorted(objects.items())
    ]


def updated_of(objects: Iterable[ObjectResult]) -> ObjectResult | None:
    """The machine of another maker that was changed, or did not have to be."""
    for each in objects:
        if each.kind == "VirtualMachine" and each.uid is None and each.action in UPDATED:
            return each
    return None


def _is_ours(each: ObjectResult) -> bool:
    """An earlier UID outlives a later failure: what an attempt made stands until it is deleted."""
    if each.kind == "Secret":
        return each.uid is not None or each.action in MADE
    return each.uid is not None and each.action != "update"


def steps(made: Made, live: Live, users: Uses, may: May) -> list[Step]:
    """In the order in which they are done; what waits says for what. USERS are those of LIVE."""
    machine, disks = _split(made.objects)
    first = [_of_machine(made, each, live, may) for each in machine]
    every = [*first, *_of_secrets(made, first)]
    every += [_keep(each, OF_BUCKET[each.kind]) for each in made.objects if each.kind in OF_BUCKET]
    kept = next((each for each in first if each.do is Do.KEEP and _stands(each, live)), None)
    for disk in reversed(disks):
        every += _of_disk(made, disk, live, users, kept, may)
    return _in_order(every)


def _split(
    objects: Iterable[ObjectResult],
) -> tuple[list[ObjectResult], list[list[ObjectResult]]]:
    """The machine itself, and the objects of each of its disks, which end with the claim."""
    machine: list[ObjectResult] = []
    disks: list[list[ObjectResult]] = [[]]
    for each in objects:
        if each.kind == "VirtualMachine":
            machine.append(each)
        elif each.kind != "Secret" and each.kind not in OF_BUCKET:
            disks[-1].append(each)
            if each.kind == "PersistentVolumeClaim":
                disks.append([])
    return machine, disks


def _of_machine(made: Made, vm: ObjectResult, live: Live, may: May) -> Step:
    found = _find(vm, live)
    if settled := _settled(made, vm, found):
        return settled
    why = _why_started(made, vm, live)
    if why and not may.started:
        return _keep(vm, f"{why}: {STARTED}")
    if under_way := _under_way(made, live, may):
        said = f"waits until Harvester has completed {subject(under_way)}"
        return Step(vm, Do.WAIT, said, vm.uid or "")
    # One that was not started is deleted in this state only: a start changes it.
    return _delete(vm, found, exactly=not may.started)


def _under_way(made: Made, live: Live, may: May) -> ObjectResult | None:
    """The VirtualMachineRestore that would make the machine anew."""
    for each in made.objects:
        found = _find(each, live) if each.kind == "VirtualMachineRestore" else None
        if found and not dig(found, "status", "complete") and not may.unbound:
            return each
    return None


def _why_started(made: Made, vm: ObjectResult, live: Live) -> str | None:
    found = _find(vm, live)
    strategy = dig(found, "spec", "runStrategy")
    if made.started:
        return "the restore started it"
    if strategy not in IDLE:
        return f"another client set runStrategy {shown(strategy)}"
    if dig(found, "status", "created") or dig(found, "status", "ready"):
        return "it runs"
    if ("VirtualMachineInstance", vm.namespace or "", vm.name) in live:
        return "it runs"
    return None


def _of_secrets(made: Made, machine: list[Step]) -> Iterator[Step]:
    """The role can neither read nor delete them: those of the machine go with it."""
    for each in made.objects:
        if each.kind != "Secret":
            continue
        owner = machine[0] if machine else None
        if made.updated and owner is None:
            yield _keep(each, f"{subject(made.updated)}, which the restore updated, needs it")
        elif not each.owned or owner is None:
            said = "it belongs to no machine alone, and no Secret is ever read or deleted"
            yield _keep(each, f"{said}: `kubectl delete secret -n {each.namespace} {each.name}`")
        elif owner.do is Do.KEEP and owner.reason != CHANGED_HANDS:
            yield _keep(each, f"it belongs to {subject(owner.made)}, which is kept")
        elif owner.pending:
            yield Step(each, Do.WAIT, f"goes with {subject(owner.made)}", owner.uid)
        else:
            yield Step(each, Do.GONE, f"went with {subject(owner.made)}", owner.uid)


def _of_disk(
    made: Made,
    disk: Iterable[ObjectResult],
    live: Live,
    users: Uses,
    kept: Step | None,
    may: May,
) -> Iterator[Step]:
    for each in sorted(disk, key=lambda one: _rank(one.kind)):
        step = _of_part(made, each, live, users, kept, may)
        yield step
        if step.do is Do.KEEP and _stands(step, live):
            kept = step


def _of_part(
    made: Made,
    each: ObjectResult,
    live: Live,
    users: Uses,
    kept: Step | None,
    may: May,
) -> Step:
    found = _find(each, live)
    if settled := _settled(made, each, found):
        return settled
    if kept:
        return _keep(each, f"it belongs to {subject(kept.made)}, which is kept")
    if each.kind in CLAIMS:
        claim = each.model_copy(update={"kind": "PersistentVolumeClaim"})
        why = _why_claim_stays(made, claim, live, users, may)
        return _keep(each, why) if why else _delete(each, found)
    if why := _why_backup_would_go(each, live) or _why_volume_stays(made, each, found):
        return _keep(each, why)
    if step := _held_up(made, each, live, users, may):
        return step
    # Of a content the state is the last look's: another deletion policy is another state.
    return _delete(each, found, exactly=each.kind == "VolumeSnapshotContent")


def _held_up(made: Made, each: ObjectResult, live: Live, users: Uses, may: May) -> Step | None:
    """What is waited for before it may go."""
    over = users.volumes.get(each.name)
    if each.kind == "BackingImage" and over:
        return _of_image(made, each, over, may)
    if _is_unbound(each, _find(each, live), live, may):
        said = "waits until the snapshot-controller has bound it"
        return Step(each, Do.WAIT, said, each.uid or "")
    return None


def _why_claim_stays(
    made: Made, claim: ObjectResult, live: Live, users: Uses, may: May
) -> str | None:
    place = claim.namespace or "", claim.name
    own = [each.uid for each in made.objects if each.kind == "VirtualMachine"]
    machines = [name for name, uid in users.machines.get(place, ()) if uid not in own]
    if machines:
        return f"it is a disk of VirtualMachine {_listed_in(place[0], machines)}"
    if snapshots := users.snapshots.get(place):
        said = f"VolumeSnapshot {_listed_in(place[0], snapshots)} was made of it"
        return f"{said}, and would lose its data"
    if made.started and not may.started:
        return f"the restore started its machine: {STARTED}"
    if pods := _pods(made, claim, live, now=may.started):
        return f"pod {listed(pods)} has used it: {STARTED}"
    return None


def _listed_in(namespace: str, names: Iterable[str]) -> str:
    return listed([f"{namespace}/{name}" for name in names])


def _pods(made: Made, claim: ObjectResult, live: Live, *, now: bool) -> list[str]:
    """Pods that had its volume, as Longhorn remembers them; NOW: that have it, but for those of its
    own machine, which end with that.
    """
    volume = str(dig(_find(claim, live), "spec", "volumeName") or "")
    status = dig(live.get(("Volume", LONGHORN_NAMESPACE, volume)), "status", "kubernetesStatus")
    workloads = dig(status, "workloadsStatus")
    names = [str(dig(each, "podName")) for each in workloads or []]
    if not now:
        return names
    own = f"virt-launcher-{made.key.partition('/')[2]}-"
    past = dig(status, "lastPodRefAt")
    return [] if past else [name for name in names if not name.startswith(own)]


def _why_backup_would_go(each: ObjectResult, live: Live) -> str | None:
    """With any other policy than Retain, deleting a snapshot deletes the backup in the bucket."""
    content = live.get(("VolumeSnapshotContent", "", each.name))
    policy = dig(content, "spec", "deletionPolicy")
    if content is None or policy == RETAIN:
        return None
    return (
        f"the deletionPolicy of VolumeSnapshotContent {each.name} was changed to {shown(policy)}:"
        f" deleting it would delete the backup. Set it to {RETAIN} and roll back again"
    )


def _of_image(
    made: Made, image: ObjectResult, over: Mapping[str | None, list[str]], may: May
) -> Step:
    """Longhorn deletes none that a volume lies over: those of this restore go before, or stay."""
    going = () if may.unbound else (None, made.restore_id)
    standing = [name for maker, names in over.items() if maker not in going for name in names]
    if standing:
        return _keep(image, f"volume {listed(sorted(standing)[:HOLDS])} lies over it")
    return Step(image, Do.WAIT, "waits until no volume lies over it", image.uid or "")


def _why_volume_stays(
    made: Made, each: ObjectResult, found: Mapping[str, Any] | None
) -> str | None:
    """Of Longhorn's volume, or of its PersistentVolume: who uses it that is not of the restore."""
    if each.kind == "PersistentVolume":
        claim = dig(found, "spec", "claimRef")
        own = [one.uid for one in made.objects if one.kind == "PersistentVolumeClaim"]
        if dig(claim, "uid") not in (None, *own):
            return f"claim {_place_of(claim)} is bound to it"
    if each.kind == "Volume":
        status = dig(found, "status", "kubernetesStatus")
        user = dig(status, "pvName")
        if user not in (None, "", each.name):
            return f"PersistentVolume {user} is made of it"
    return None


def _place_of(claim: Any) -> str:
    return f"{dig(claim, 'namespace')}/{dig(claim, 'name')}"


def _is_unbound(each: ObjectResult, found: Mapping[str, Any] | None, live: Live, may: May) -> bool:
    """Whether it is a snapshot that still comes to its content."""
    content = live.get(("VolumeSnapshotContent", "", each.name))
    if each.kind != "VolumeSnapshot" or content is None:
        return False
    begun = dig(content, "spec", "volumeSnapshotRef", "uid")
    ended = dig(found, "status", "boundVolumeSnapshotContentName")
    return not ended and bool(begun or not may.unbound)


def _in_order(every: Iterable[Step]) -> list[Step]:
    """Those of a later kind wait until all of the earlier ones are gone."""
    ordered = sorted(every, key=lambda step: _rank(step.made.kind))
    before: Step | None = None
    result = []
    for step in ordered:
        if step.do is Do.DELETE and before and _rank(before.made.kind) < _rank(step.made.kind):
            step = step._replace(do=Do.WAIT, reason=f"waits until {subject(before.made)} is gone")
        elif step.pending and before is None and step.made.kind != "Secret":
            before = step
        result.append(step)
    return result


def _rank(kind: str) -> int:
    """A Secret has that of its machine."""
    return ORDER.index(kind) if kind in ORDER else 0


def namespace_step(
    restore_id: str, made: ObjectResult, live: Live, kept: Iterable[ObjectResult]
) -> Step:
    """A namespace that the restore made, before anybody counted what it holds; KEPT are objects of
    the restore that stay.
    """
    found = _find(made, live)
    if settled := _settled(Made("", restore_id, ()), made, found):
        return settled
    inside = [subject(each) for each in kept if each.namespace == made.name]
    if inside:
        return _keep(made, f"it holds what is kept: {listed(inside[:HOLDS])}")
    return _delete(made, found)


def is_leaving(counted: Mapping[str, int]) -> bool:
    """Whether all that a namespace holds beside what every one has may be of a machine that went a
    moment ago.
    """
    more = _more(counted)
    return bool(more) and more.keys() <= LEAVING


def _more(counted: Mapping[str, int]) -> dict[str, int]:
    return {kind: number for kind, number in counted.items() if number > USUAL.get(kind, 0)}


def why_namespace_stays(kinds: Iterable[str], counted: Mapping[str, int]) -> str | None:
    """What a namespace holds beside what every one has: KINDS are all that the cluster serves, and
    COUNTED those of which somebody said how many there are. What nobody counted may be there.
    """
    held = [f"{number} {kind}" for kind, number in _more(counted).items()]
    if held:
        return f"it holds {listed(held[:HOLDS])}"
    unknown = sorted(set(kinds) - set(counted))
    if unknown:
        return f"whether it holds {listed(unknown[:HOLDS])} could not be counted"
    return None


def strangers(
    made: Iterable[Made], restore_id: str, live: Live
) -> Iterator[tuple[str, str | None, str, str]]:
    """Kind, namespace and name of what carries the restore's label and is not in its ledger, with
    the reason to keep it.
    """
    known = {each.uid for machine in made for each in machine.objects}
    for (kind, namespace, name), each in sorted(live.items()):
        carries = dig(each, "metadata", "labels", labels.RESTORE) == restore_id
        owners = dig(each, "metadata", "ownerReferences") or []
        uids = {dig(each, "metadata", "uid"), *(dig(one, "uid") for one in owners)}
        if kind in ORDER and carries and not uids & known:
            yield (
                kind,
                namespace or None,
                name,
                "it carries the label of this restore, whose ledger does not know it. If the"
                " restore broke off, start its request again, which takes it up, and roll back"
                " then",
            )


CHANGED_HANDS = "another client deleted it and created one of the same name"


def subject(made: ObjectResult) -> str:
    place = f"{made.namespace}/" if made.namespace else ""
    return f"{made.kind} {place}{made.name}"


def _find(made: ObjectResult, live: Live) -> Mapping[str, Any] | None:
    return live.get((made.kind, made.namespace or "", made.name))


def _stands(step: Step, live: Live) -> bool:
    """Whether what is kept is the restore's own, and not another one of its name."""
    return step.reason != CHANGED_HANDS and _find(step.made, live) is not None


def _settled(made: Made, each: ObjectResult, found: Mapping[str, Any] | None) -> Step | None:
    """What is decided by the object's own metadata; None where it may be deleted."""
    uid = each.uid or ""
    if found is None:
        return Step(each, Do.GONE, "it is gone", uid)
    metadata = found["metadata"]
    if metadata.get("uid") != uid:
        return _keep(each, CHANGED_HANDS)
    if dig(metadata, "labels", labels.RESTORE) != made.restore_id:
        return _keep(each, f"it does not carry the label {labels.RESTORE} of this restore any more")
    if metadata.get("deletionTimestamp"):
        held = [str(name) for name in metadata.get("finalizers") or []]
        by = f" and is held by the finalizers {listed(held)}" if held else ""
        return Step(each, Do.WAIT, f"it is being deleted{by}", uid)
    return None


def _keep(made: ObjectResult, reason: str) -> Step:
    return Step(made, Do.KEEP, reason, made.uid or "")


def _delete(made: ObjectResult, found: Mapping[str, Any] | None, *, exactly: bool = False) -> Step:
    version = dig(found, "metadata", "resourceVersion") if exactly else None
    return Step(made, Do.DELETE, "made by this restore", made.uid or "", version)
