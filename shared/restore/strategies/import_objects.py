"""One disk's objects for the strategy import, and the keys that its image is read with."""

from collections.abc import Iterator

from shared.models.restore_plans import Check, Fill, Maker, PlannedObject
from shared.models.restore_points import Volume
from shared.restore import class_checks, names
from shared.restore.filling import IMPORT_KEYS, OF_STACK
from shared.restore.strategies import claims
from shared.restore.wanted import Wanted, build_object
from shared.validation import short, shown

CHECK = "image"
CDI = "cdi.kubevirt.io/storage"
ANNOTATIONS = {
    # What would go with it, where CDI is told to delete what is done, is the claim's owner.
    f"{CDI}.deleteAfterCompletion": "false",
    # Of a class that waits for a machine: this one is started only when its data is there.
    f"{CDI}.bind.immediate.requested": "true",
    # One claim from the beginning, and not a second one that is exchanged for it in the end, which
    # a quota would count and a rollback would meet (doc/cdi-populators.md, Fallback).
    f"{CDI}.usePopulator": "false",
}


def check_disk(wanted: Wanted, volume: Volume) -> Iterator[Check]:
    yield from class_checks.of_disk(wanted, volume)
    found = wanted.images.disks.get(volume.disk)
    what = f"Disk {short(volume.disk)}"
    if found is None:
        said = f"{what} has no image in the catalogue any more: {shown(volume.file or '')}."
        yield wanted.block(CHECK, f"{said} Start the restore again.")
        return
    count = len(found.files)
    made_of = found.files[0].url if count == 1 else f"{found.files[0].url} and {count - 1} below it"
    said = f"{what} is imported from {short(made_of)}, as one raw image that is made first."
    yield wanted.ok(CHECK, said)


def make_disk(wanted: Wanted, volume: Volume) -> Iterator[PlannedObject]:
    """Its claim is made by CDI as soon as it sees the DataVolume. The machine comes after it: for a
    claim that it names and that is not there, Harvester makes an empty one (harvester pkg/
    controller/master/virtualmachine/vm_controller.go, createPVCsFromAnnotation).
    """
    storage_class = {"storageClassName": wanted.storage_class(volume)}
    claim = claims.make(wanted, volume, storage_class, annotations=ANNOTATIONS)
    found = wanted.images.disks.get(volume.disk)
    place = found.place if found else ""  # which a check tells
    source = {"url": f"{wanted.facts.imports.url}/{place}", "secretRef": _secret_name(wanted)}
    yield build_object(
        wanted,
        "DataVolume",
        claim.name,
        {"spec": {"source": {"s3": source}, "pvc": claim.manifest["spec"]}},
        source=claim.manifest["metadata"],
        reason=f"{volume.disk}: {place}",
    )
    yield claim.model_copy(update={"maker": Maker(kind="DataVolume", name=claim.name)})


def make_secret(wanted: Wanted) -> PlannedObject:
    """CDI's pod waits for it (containerized-data-importer pkg/controller/import-controller.go)."""
    made = build_object(
        wanted,
        "Secret",
        _secret_name(wanted),
        {"type": "Opaque", "data": {}},
        reason="the keys by which CDI reads the images of its disks, and nothing else",
        fills=tuple(Fill(to=("data", key), source=(OF_STACK, key)) for key in IMPORT_KEYS),
    )
    return made.model_copy(update={"owned": True})


def _secret_name(wanted: Wanted) -> str:
    return names.secret(wanted.restore_id, f"{wanted.name}-import")
