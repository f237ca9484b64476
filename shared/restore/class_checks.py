"""Whether a storage class of the target cluster makes of a disk's claim what the disk was.

By its parameters, not by its name: a claim of the wrong class is bound all the same.
"""

from collections.abc import Iterator

from shared.jsonpath import dig
from shared.labels import LONGHORN_DRIVER
from shared.models.cluster_facts import StorageClass
from shared.models.restore_plans import Check
from shared.models.restore_points import Volume
from shared.restore.wanted import Wanted, claim_number
from shared.validation import listed, short

CHECK = "storage-class"
RESERVED = ("longhorn-static", "vmstate-persistence")
"""Harvester's webhook refuses claims of these (harvester pkg/webhook/resources/
persistentvolumeclaim)."""

SHARED = "ReadWriteMany"


def of_disk(wanted: Wanted, volume: Volume) -> Iterator[Check]:
    """Raises AttributeError, LookupError, TypeError or ValueError for damaged metadata."""
    name = wanted.storage_class(volume)
    found = wanted.facts.storage_classes.get(name or "")
    if name is None or found is None:
        yield wanted.block(CHECK, _missing(wanted, volume, name))
        return
    what = f"Storage class {short(name)} ({short(volume.disk)})"
    if problem := _problem(wanted, volume, name, found):
        yield wanted.block(CHECK, f"{what} {problem}")
        return
    yield from _encryption(wanted, volume, what, found)
    yield wanted.ok(CHECK, f"{what} makes such volumes.")


def _missing(wanted: Wanted, volume: Volume, name: str | None) -> str:
    source = volume.storage_class or ""
    available = f"Available: {listed(wanted.facts.storage_classes)}."
    remedy = f'Map it with mapping.storageClasses {{"{short(source)}": …}}.'
    if name is None:
        what = f"Disk {short(volume.disk)} has no storage class"
        return f"{what}, and {wanted.target} has no default one. {available} {remedy}"
    user = short(volume.disk)
    if source != name:
        user = f"mapped from {short(source)}, {user}"
    what = f"Storage class {short(name)} ({user})"
    return f"{what} does not exist on {wanted.target}. {available} {remedy}"


def _problem(wanted: Wanted, volume: Volume, name: str, found: StorageClass) -> str | None:
    """Why its claim would be refused, or would be something else than the disk was."""
    if name in RESERVED:
        return "is reserved for Harvester itself. Map it to another one."
    if found.provisioner != LONGHORN_DRIVER:
        return None if volume.file else _of_another_driver(found)
    if _is_shared_block(wanted, volume) and found.parameters.get("migratable") != "true":
        return (
            "is not migratable: it would make a file share of this disk, which the machine shares"
            ' between nodes when it moves. Map it to a class with the parameter migratable: "true".'
        )
    known = wanted.facts.longhorn.backups.get(volume.engine_backup or "")
    if known and known.encrypted and not _is_encrypted(found):
        return (
            "is not encrypted, and the backup is of an encrypted volume: the machine would read"
            " ciphertext. Map it to an encrypted class with the same key."
        )
    return None


def _of_another_driver(found: StorageClass) -> str:
    """An image can be written to a volume of any."""
    return (
        f"makes volumes of {short(found.provisioner)}, and the backup is one of Longhorn's."
        f" Map it to a class of {LONGHORN_DRIVER}."
    )


def _is_shared_block(wanted: Wanted, volume: Volume) -> bool:
    number = claim_number(wanted.metadata, volume.claim)
    spec = dig(wanted.metadata, "volumeBackups", number, "persistentVolumeClaim", "spec")
    return SHARED in (dig(spec, "accessModes") or []) and dig(spec, "volumeMode") == "Block"


def _is_encrypted(found: StorageClass) -> bool:
    return found.parameters.get("encrypted") == "true"


def _encryption(wanted: Wanted, volume: Volume, what: str, found: StorageClass) -> Iterator[Check]:
    """Longhorn before 1.12 does not say of a backup that its volume was encrypted."""
    known = wanted.facts.longhorn.backups.get(volume.engine_backup or "")
    if known and _is_encrypted(found) and not known.encrypted:
        said = (
            f"{what} is encrypted, and the backup does not say whether its volume was. If it was"
            " not, the machine cannot read its disk: map it to a class without encryption then."
        )
        yield wanted.warn(CHECK, said)
