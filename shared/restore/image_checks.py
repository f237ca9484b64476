"""Whether the image that a disk lies over is on the target cluster, with the same content.

A backup of such a volume holds only what was changed above its image. Longhorn compares the content
of an image of the same name alone, and that only where both checksums are known: over another one
the disk is garbage, and nobody says so (longhorn-manager webhook/resources/volume/mutator.go).
"""

from shared.models.cluster_facts import StorageClass
from shared.models.longhorn_facts import BackingImageFacts, ImageNeeded, SavedImage
from shared.models.restore_plans import Check
from shared.models.restore_points import Volume
from shared.restore.wanted import Wanted
from shared.validation import short

CHECK = "image"
BY_CLASS = "backingImage"  # the parameter of a class whose volumes lie over an image
V1 = "v1"
TOLD = 12  # characters of a checksum


def of_disk(wanted: Wanted, volume: Volume) -> Check | None:
    """None where neither the backup nor the class has an image, or one of them is not known."""
    found = wanted.facts.storage_classes.get(wanted.storage_class(volume) or "")
    known = wanted.facts.longhorn.backups.get(volume.engine_backup or "")
    if found is None or known is None:
        return None
    by_class = found.parameters.get(BY_CLASS)
    if known.image is None:
        return _needless(wanted, volume, by_class) if by_class else None
    return _needed(wanted, volume, known.image, found)


def _needless(wanted: Wanted, volume: Volume, by_class: str) -> Check:
    said = (
        f"{_class_of(wanted, volume)} lays {short(volume.disk)} over image {short(by_class)}, and"
        " the backup is of a volume without an image. Map it to a class without backingImage."
    )
    return wanted.block(CHECK, said)


def _needed(wanted: Wanted, volume: Volume, needed: ImageNeeded, found: StorageClass) -> Check:
    name = found.parameters.get(BY_CLASS) or needed.name
    what = f"{short(volume.disk)} lies over image {short(needed.name)}{_sum(needed.checksum)}"
    image = wanted.facts.longhorn.images.get(name)
    if saved := to_restore(wanted, volume):
        return _restored(wanted, what, needed, saved)
    if image is None:
        said = f"{what}, and {wanted.target} has no BackingImage {short(name)}. {_bring(needed)}"
        return wanted.block(CHECK, said)
    engine = found.parameters.get("dataEngine") or V1
    if image.data_engine != engine:
        said = (
            f"{what}. BackingImage {short(name)} is for data engine {short(image.data_engine)}, and"
            f" {_class_of(wanted, volume)} makes volumes of {short(engine)}. Map it to another one."
        )
        return wanted.block(CHECK, said)
    return _content(wanted, what, needed, name, image)


def to_restore(wanted: Wanted, volume: Volume) -> SavedImage | None:
    """The image that must be restored for the disk, and can be: not where its class names another
    one, nor for an engine that takes no images.
    """
    found = wanted.facts.storage_classes.get(wanted.storage_class(volume) or "")
    known = wanted.facts.longhorn.backups.get(volume.engine_backup or "")
    if found is None or known is None or known.image is None:
        return None
    takes_it = found.parameters.get(BY_CLASS, known.image.name) == known.image.name
    if not takes_it or found.parameters.get("dataEngine", V1) != V1:
        return None
    return wanted.facts.longhorn.restorable_image(known)


def _restored(wanted: Wanted, what: str, needed: ImageNeeded, saved: SavedImage) -> Check:
    lacking = f"{what}, which {wanted.target} lacks"
    said = f"{lacking}: it is restored first, from backup target {short(saved.target)}."
    if saved.owner:
        said = (
            f"{lacking}: Harvester there restores it first, as VirtualMachineImage {saved.owner}."
            " A rollback leaves it, for with it the image's metadata in the bucket would go."
        )
    if needed.checksum and saved.checksum:
        return wanted.ok(CHECK, said)
    return wanted.warn(CHECK, f"{said} That it has the same content is not known.")


def _content(
    wanted: Wanted, what: str, needed: ImageNeeded, name: str, image: BackingImageFacts
) -> Check:
    here = f"BackingImage {short(name)} on {wanted.target}"
    if needed.checksum and image.checksum:
        if needed.checksum.lower() == image.checksum.lower():
            return wanted.ok(CHECK, f"{what}, and {here} has the same content.")
        said = f"{what}, and {here} has other content{_sum(image.checksum)}. {_bring(needed)}"
        return wanted.block(CHECK, said)
    if name == needed.name:
        said = f"{what}. Whether {here} has the same content is not known: a checksum is missing."
        return wanted.warn(CHECK, said)
    said = (
        f"{what}. {here}, which the storage class names instead, cannot be compared with it: a"
        " checksum is missing. Map it to a class without backingImage."
    )
    return wanted.block(CHECK, said)


def _class_of(wanted: Wanted, volume: Volume) -> str:
    return f"Storage class {short(wanted.storage_class(volume) or '')}"


def _sum(checksum: str) -> str:
    return f" (SHA-512 {short(checksum[:TOLD])}…)" if checksum else ""


def _bring(needed: ImageNeeded) -> str:
    return (
        f"Create the image there from the same file, as BackingImage {short(needed.name)}, or"
        " restore it from the bucket: in Harvester, a VirtualMachineImage with sourceType restore."
    )
