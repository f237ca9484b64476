"""The rules that a restore must pass before anything is written: each a sentence with the value and
the remedy.
"""

from collections.abc import Iterator
from typing import Any

from shared.jsonpath import dig
from shared.models import Check, ClusterFacts, PlannedObject, RestorePoint, State
from shared.restore import names, virtual_machine
from shared.restore.manifests import Wanted
from shared.restore.request import OnExisting

HARMLESS_VOLUMES = {
    "persistentVolumeClaim",
    *virtual_machine.CLOUD_INIT,
    "containerDisk",
    "emptyDisk",
}
OUTSIDE_VOLUMES = {"configMap", "secret", "serviceAccount", "sysprep", "downwardAPI"}
MANUAL = "Manual"


def of_target(target: str, facts: ClusterFacts) -> Iterator[Check]:
    """Those about the target as a whole: one that blocks refuses the restore."""
    ready = facts.snapshot_class is not None
    yield Check(
        check="snapshot-class",
        subject=target,
        verdict="pass" if ready else "block",
        message=f"VolumeSnapshotClass {facts.snapshot_class} makes volumes of Longhorn backups"
        if ready
        else f"cluster {target} has no VolumeSnapshotClass of driver.longhorn.io for backups; create one such as"
        " `longhorn` (driver: driver.longhorn.io, deletionPolicy: Delete, parameters: {type: bak})",
    )


def of_point(point: RestorePoint, subject: str, lost: str | None) -> Iterator[Check]:
    """LOST says why the metadata could not be read again."""
    if lost is not None:
        yield _block("restorable", subject, lost)
        return
    if point.state is State.RESTORABLE:
        yield Check(
            check="restorable",
            subject=subject,
            verdict="pass",
            message=f"restore point {point.id} is complete",
        )
        return
    why = "; ".join(point.reasons) or "no reason is known"
    yield _block(
        "restorable",
        subject,
        f"restore point {point.id} is {point.state}: {why}; choose a restorable one",
    )


def of_shape(point: RestorePoint, subject: str) -> Check:
    """The catalogue reads a part of the metadata only; a hostile or damaged rest stops its own
    machine.
    """
    return _block(
        "shape",
        subject,
        f"{point.source.url} does not describe a VirtualMachine as KubeVirt has it; choose another point",
    )


def of_collision(message: str, subject: str) -> Check:
    return _block("collision", subject, message)


def of_machine(wanted: Wanted, facts: ClusterFacts, target: str) -> Iterator[Check]:
    """Those about one machine: one that blocks leaves this machine out."""
    subject = f"{wanted.namespace}/{wanted.point.vm}"
    yield from _namespace(wanted, facts, subject)
    yield from _storage_classes(wanted, facts, target, subject)
    yield from _networks(wanted, facts, target, subject)
    spec = wanted.metadata["vmSourceSpec"]
    yield from _volumes(spec, subject)
    yield from _secrets(wanted, spec, subject)
    yield from _node(spec, subject)
    if wanted.point.machine.run_strategy == MANUAL:
        yield _warn(
            "run-strategy",
            subject,
            "its runStrategy is Manual: it is restored so, and a person starts it",
        )


def of_existing(
    objects: tuple[PlannedObject, ...],
    facts: ClusterFacts,
    restore_id: str,
    on_existing: OnExisting,
    subject: str,
) -> Check:
    """A machine or claim of that name which is not of this restore is a conflict, or a reason to
    skip the machine.
    """
    taken = [each.subject for each in objects if _foreign(each, facts, restore_id)]
    if not taken:
        return Check(
            check="existing", subject=subject, verdict="pass", message="its names are free"
        )
    what = f"already there, and not of this restore: {', '.join(taken)}"
    if on_existing is OnExisting.SKIP:
        return _warn("existing", subject, f"{what}; skipped, as onExisting says")
    remedy = "delete or rename them, map the namespace to another one, or ask for onExisting: skip"
    return _block("existing", subject, f"{what}; {remedy}")


def _foreign(each: PlannedObject, facts: ClusterFacts, restore_id: str) -> bool:
    owner = facts.existing.get(names.existing_key(each.kind, each.namespace or "", each.name))
    return owner is not None and owner != restore_id


def _namespace(wanted: Wanted, facts: ClusterFacts, subject: str) -> Iterator[Check]:
    name = wanted.namespace
    if names.protected(name):
        yield _block(
            "namespace",
            subject,
            f"namespace {name} belongs to the cluster itself; map {wanted.point.namespace} to another one",
        )
    elif facts.namespaces.get(name, "Active") != "Active":
        yield _block(
            "namespace",
            subject,
            f"namespace {name} is being deleted; wait until it is gone, or map another one",
        )


def _storage_classes(
    wanted: Wanted, facts: ClusterFacts, target: str, subject: str
) -> Iterator[Check]:
    for volume in wanted.point.volumes:
        name = wanted.mapping.storage_class(volume.storage_class)
        if name and name not in facts.storage_classes:
            have = ", ".join(sorted(facts.storage_classes)) or "none"
            remedy = f'map it, such as mapping.storageClasses {{"{volume.storage_class}": …}}; the cluster has {have}'
            yield _block(
                "storage-class",
                subject,
                f"storage class {name} of {volume.disk} is not on {target}; {remedy}",
            )


def _networks(wanted: Wanted, facts: ClusterFacts, target: str, subject: str) -> Iterator[Check]:
    for interface in wanted.point.networks:
        name = wanted.mapping.network(interface.network)
        if interface.network != "pod" and name not in facts.networks:
            remedy = f'create it, or map it with mapping.networks {{"{interface.network}": "namespace/name"}}'
            yield _block(
                "network",
                subject,
                f"network {name} of {interface.interface} is not on {target}; {remedy}",
            )


def _volumes(spec: dict[str, Any], subject: str) -> Iterator[Check]:
    for volume in dig(spec, *virtual_machine.SPEC, "volumes") or []:
        kinds = {key for key in volume if key != "name"}
        for kind in sorted(kinds & OUTSIDE_VOLUMES):
            yield _warn(
                "volume",
                subject,
                f"disk {volume.get('name')} is a {kind}, which no backup holds; it must be there",
            )
        for kind in sorted(kinds - OUTSIDE_VOLUMES - HARMLESS_VOLUMES):
            yield _block(
                "volume",
                subject,
                f"disk {volume.get('name')} is a {kind}, which a backup may not bring; remove it",
            )


def _secrets(wanted: Wanted, spec: dict[str, Any], subject: str) -> Iterator[Check]:
    saved = {secret.name for secret in wanted.point.secrets}
    for name in sorted(virtual_machine.referenced_secrets(spec) - saved):
        yield _warn(
            "secret",
            subject,
            f"secret {name} is not in the backup; it must be in {wanted.namespace}",
        )


def _node(spec: dict[str, Any], subject: str) -> Iterator[Check]:
    for label, value in (dig(spec, *virtual_machine.SPEC, "nodeSelector") or {}).items():
        yield _warn(
            "node",
            subject,
            f"it runs only on nodes with {label}={value}; a node of the target needs this label",
        )


def _block(check: str, subject: str, message: str) -> Check:
    return Check(check=check, subject=subject, verdict="block", message=message)


def _warn(check: str, subject: str, message: str) -> Check:
    return Check(check=check, subject=subject, verdict="warn", message=message)
