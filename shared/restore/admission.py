"""A machine or claim as its backup has it -> what of it may be planned, by the tables of `allowed`.

What depends on more than one place is decided here: a volume that is left out takes its disk along,
and a Secret that the backup does not hold is not mounted by a name that it may have on the target.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from shared.jsonpath import dig
from shared.models.restore_plans import Fill
from shared.models.restore_points import RestorePoint
from shared.restore.allowed import (
    BLOCKED_VOLUMES,
    CLAIM,
    DROPPED_VOLUMES,
    INSTEAD,
    MACHINE,
    VOLUMES,
)
from shared.restore.rules import INSTANCE, At, Finding, Part, blocking, cut, warning
from shared.validation import listed, shown

CLOUD_INIT = ("cloudInitNoCloud", "cloudInitConfigDrive")
REFERENCES = ("secretRef", "networkDataSecretRef")
CREDENTIALS = ("sshPublicKey", "userPassword")
BY_VOLUME = ("disks", "filesystems")
"""Devices that carry the name of their volume."""
AGAIN = "create it on the target and add it to the machine again"


class Brought(NamedTuple):
    """The names of what a backup holds beside the machine."""

    claims: frozenset[str]
    secrets: frozenset[str]


class Admitted(NamedTuple):
    """A manifest that may be planned, where its secret values lie, and what is to be said of it."""

    manifest: dict[str, Any]
    fills: tuple[Fill, ...]
    findings: tuple[Finding, ...]


def brought(point: RestorePoint) -> Brought:
    """What the backup of a restore point holds."""
    return Brought(
        claims=frozenset(volume.claim for volume in point.volumes),
        secrets=frozenset(secret.name for secret in point.secrets),
    )


def machine(source: dict[str, Any], held: Brought) -> Admitted:
    """SOURCE is `vmSourceSpec`; the manifest has the labels, annotations and spec that are taken.

    Raises AttributeError, LookupError, TypeError or ValueError for what is no VirtualMachine.
    """
    source = copy.deepcopy(source)
    instance = dig(source, *INSTANCE) or {}
    findings = [*_clear_credentials(instance, held), *_clear_volumes(instance, held)]
    admitted = _admitted(MACHINE(source, At(("vmSourceSpec",), ())), findings)
    return admitted._replace(manifest={"metadata": {}, **admitted.manifest})


def claim(metadata: dict[str, Any] | None, number: int) -> Admitted:
    """METADATA of the claim of that number among `volumeBackups`; the manifest has the labels and
    annotations that are taken.

    Raises as `machine` does.
    """
    metadata = metadata or {}
    at = At(("volumeBackups", number, "persistentVolumeClaim", "metadata"), ("metadata",))
    admitted = _admitted(CLAIM(metadata, at), [])
    name = shown(metadata.get("name"))
    said = tuple(
        each._replace(message=f"Claim {name}: {each.message}") for each in admitted.findings
    )
    return admitted._replace(findings=said)


def _admitted(part: Part, findings: Iterable[Finding]) -> Admitted:
    every = [*findings, *part.findings]
    if part.unknown:
        what = listed(part.unknown)
        every.append(warning(f"Left out, since this version does not know them: {what}."))
    return Admitted(part.value, part.fills, cut(every))


def _list(value: Any) -> list[Any]:
    """Raises TypeError for anything else, so that nothing else is changed."""
    if value is not None and not isinstance(value, list):
        raise TypeError("not a list")
    return value or []


def _clear_credentials(instance: dict[str, Any], held: Brought) -> Iterator[Finding]:
    """Those of a Secret that the backup does not hold become None."""
    credentials = _list(instance.get("accessCredentials"))
    for number, credential in enumerate(credentials):
        names = [dig(credential, kind, "source", "secret", "secretName") for kind in CREDENTIALS]
        lacking = [name for name in names if name is not None and name not in held.secrets]
        if lacking:
            credentials[number] = None
            what = f"The access credential of Secret {shown(lacking[0])}"
            yield warning(f"{what} is left out: the backup does not hold it; {AGAIN}.", "secret")


def _clear_volumes(instance: dict[str, Any], held: Brought) -> Iterator[Finding]:
    """Volumes that are not taken become None, and so do their devices."""
    volumes = _list(instance.get("volumes"))
    lost = []
    for number, volume in enumerate(volumes):
        if volume is None:
            continue
        yield from _clear_references(volume, held)
        problem = _problem_of_volume(volume, held)
        if problem is not None:
            yield problem
            volumes[number] = None
            lost.append(volume.get("name"))
    for kind in BY_VOLUME:
        devices = _list(dig(instance, "domain", "devices", kind))
        for number, device in enumerate(devices):
            if dig(device, "name") in lost:
                devices[number] = None


def _clear_references(volume: dict[str, Any], held: Brought) -> Iterator[Finding]:
    """Cloud-init of a Secret that the backup does not hold: another one of that name is not it."""
    for kind in CLOUD_INIT:
        for field in REFERENCES:
            name = dig(volume, kind, field, "name")
            if name is not None and name not in held.secrets:
                volume[kind][field] = None
                what = f"The {field} {shown(name)} of disk {shown(volume.get('name'))}"
                yield warning(
                    f"{what} is left out: the backup does not hold this Secret; {AGAIN}.", "secret"
                )


def _problem_of_volume(volume: dict[str, Any], held: Brought) -> Finding | None:
    """Why it is not taken, None where it is."""
    disk = f"Disk {shown(volume.get('name'))}"
    for kind in sorted(key for key in volume if key != "name" and volume[key] is not None):
        if problem := _problem_of_source(disk, kind, volume[kind], held):
            return problem
    claim = dig(volume, "persistentVolumeClaim", "claimName")
    if claim is None or claim in held.claims:
        return None
    what = f"{disk} is on claim {shown(claim)}, which the backup does not hold"
    return blocking(f"{what}. {INSTEAD}.", "volume")


def _problem_of_source(disk: str, kind: str, source: Any, held: Brought) -> Finding | None:
    """Of what the disk is made: a kind of volume, and what it says."""
    if kind in CLOUD_INIT and source and all(each is None for each in source.values()):
        return warning(f"{disk} is left out: nothing else is on it.", "volume")
    if _secret_of(kind, source) in held.secrets:
        return None
    if kind in DROPPED_VOLUMES:
        return warning(f"{disk} ({kind}) is left out: {DROPPED_VOLUMES[kind]}.", "volume")
    if kind in VOLUMES:
        return None
    why = BLOCKED_VOLUMES.get(kind, "this version does not know what it holds")
    return blocking(f"{disk} ({listed([kind])}): {why}. {INSTEAD}.", "volume")


def _secret_of(kind: str, source: Any) -> Any:
    """The Secret that a volume mounts, where it does."""
    return {"secret": dig(source, "secretName"), "sysprep": dig(source, "secret", "name")}.get(kind)
