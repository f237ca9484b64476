"""The rules that a restore must pass before anything is written: each a sentence with the value and
the remedy.
"""

from collections.abc import Iterator
from typing import Any

from shared.jsonpath import dig
from shared.models import Check, ClusterFacts, PlannedObject, RestorePoint, State
from shared.restore import names, virtual_machine
from shared.restore.request import OnExisting
from shared.restore.wanted import Wanted

HARMLESS_VOLUMES = {
    "persistentVolumeClaim",
    *virtual_machine.CLOUD_INIT,
    "containerDisk",
    "emptyDisk",
}
OUTSIDE_VOLUMES = {"configMap", "secret", "serviceAccount", "sysprep", "downwardAPI"}
MANUAL = "Manual"


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
    objects: tuple[PlannedObject, ...], facts: ClusterFacts, on_existing: OnExisting, subject: str
) -> Check:
    """A machine or claim of that name is a conflict, or a reason to skip the machine.

    Whoever made it: a plan is only made while nothing was created by it, so what carries this
    restore's own id is of an earlier life that the ledger does not know.
    """
    taken = [each for each in objects if _existing_key(each) in facts.existing]
    if not taken:
        return Check(
            check="existing", subject=subject, verdict="pass", message="its names are free"
        )
    what = "; ".join(_tell_existing(each, facts) for each in taken)
    if on_existing is OnExisting.SKIP and any(each.kind == "VirtualMachine" for each in taken):
        return _warn("existing", subject, f"{what}. Skipped, as onExisting says.")
    missing = ""
    if on_existing is OnExisting.SKIP:
        missing = (
            f" VirtualMachine {subject} itself does not exist, so that there is nothing to skip."
        )
    return _block("existing", subject, f"{what}.{missing} {_remedy(taken, facts, on_existing)}")


def _existing_key(each: PlannedObject) -> str:
    return names.existing_key(each.kind, each.namespace or "", each.name)


def _tell_existing(each: PlannedObject, facts: ClusterFacts) -> str:
    maker = facts.existing[_existing_key(each)]
    by = f"restore {maker}" if maker else "another client"
    return f"{each.subject} already exists and was created by {by}"


def _remedy(taken: list[PlannedObject], facts: ClusterFacts, on_existing: OnExisting) -> str:
    """Half a restore is gone on with, not deleted."""
    makers = {facts.existing[_existing_key(each)] for each in taken}
    resumable = sorted(facts.unfinished[maker] for maker in makers if maker in facts.unfinished)
    if resumable:
        return (
            "That restore did not come to its end: start its request again with"
            f' "requestId": "{resumable[0]}" to resume it.'
        )
    remedy = "Delete or rename what is there, or map the namespace to another one"
    if on_existing is OnExisting.SKIP:
        return f"{remedy}."
    return f"{remedy}, or use onExisting: skip."


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
