"""Whether a storage class makes of a disk's claim what the disk was: by its parameters."""

from typing import Any

import pytest

from local.samples.builders import a_class, a_metadata, a_point, disks, facts, knows, request
from shared.models.cluster_facts import StorageClass
from shared.restore import class_checks
from shared.restore.wanted import Wanted

Json = Any

GOOD = "Storage class gold (disk-0) makes such volumes."


def verdicts(
    *classes: StorageClass | None,
    storage_class: str = "gold",
    encrypted: bool = False,
    mapping: Json = None,
    edit: Any = None,
) -> list[tuple[str, str]]:
    """Of a disk whose class on the source has that name; CLASSES are gold and silver there."""
    metadata = a_metadata(disks_=disks(storage_class=storage_class), edit=edit)
    point = a_point(metadata)
    longhorn = knows(point)
    backups = {name: each._replace(encrypted=encrypted) for name, each in longhorn.backups.items()}
    there = facts(
        storage_classes={
            name: each for name, each in zip(("gold", "silver"), classes, strict=False) if each
        },
        longhorn=longhorn._replace(backups=backups),
    )
    wanted = Wanted(point, metadata, request(mapping=mapping or {}), "west", there)
    found = class_checks.of_disk(wanted, point.volumes[0])
    return [(each.verdict, each.message) for each in found]


def test_a_migratable_class_of_longhorn_passes() -> None:
    assert verdicts(a_class()) == [("pass", GOOD)]


def test_a_class_that_does_not_exist_blocks_with_those_that_do() -> None:
    assert verdicts(None, a_class()) == [
        (
            "block",
            "Storage class gold (disk-0) does not exist on west. Available: silver."
            ' Map it with mapping.storageClasses {"gold": …}.',
        )
    ]
    ((_, said),) = verdicts(a_class(), mapping={"storageClasses": {"gold": "bronze"}})
    assert said.startswith("Storage class bronze (mapped from gold, disk-0) does not exist on west")


def test_a_disk_without_a_class_gets_the_default_one_where_there_is_one() -> None:
    assert verdicts(a_class(is_default=True), storage_class="") == [("pass", GOOD)]
    ((verdict, said),) = verdicts(a_class(), storage_class="")
    assert verdict == "block"
    assert said == (
        "Disk disk-0 has no storage class, and west has no default one. Available: gold."
        ' Map it with mapping.storageClasses {"": …}.'
    )


@pytest.mark.parametrize("name", ["longhorn-static", "vmstate-persistence"])
def test_classes_of_harvester_itself_are_reserved(name: str) -> None:
    metadata = a_metadata(disks_=disks(storage_class=name))
    point = a_point(metadata)
    there = facts(storage_classes={name: a_class()}, longhorn=knows(point))
    wanted = Wanted(point, metadata, request(), "west", there)
    (found,) = class_checks.of_disk(wanted, point.volumes[0])
    assert (found.verdict, found.message) == (
        "block",
        f"Storage class {name} (disk-0) is reserved for Harvester itself. Map it to another one.",
    )


def test_a_class_of_another_driver_blocks() -> None:
    ((verdict, said),) = verdicts(a_class(provisioner="lvm.example.org"))
    assert (verdict, said) == (
        "block",
        "Storage class gold (disk-0) makes volumes of lvm.example.org, and the backup is one of"
        " Longhorn's. Map it to a class of driver.longhorn.io.",
    )


@pytest.mark.parametrize("parameters", [{}, {"migratable": "false"}])
def test_a_disk_that_nodes_share_needs_a_migratable_class(parameters: dict[str, str]) -> None:
    ((verdict, said),) = verdicts(a_class(parameters=parameters))
    assert (verdict, said) == (
        "block",
        "Storage class gold (disk-0) is not migratable: it would make a file share of this disk,"
        " which the machine shares between nodes when it moves. Map it to a class with the"
        ' parameter migratable: "true".',
    )


@pytest.mark.parametrize(
    "spec",
    [
        {"volumeMode": "Filesystem"},
        {"volumeMode": None},
        {"accessModes": ["ReadWriteOnce"]},
        {"accessModes": None},
    ],
)
def test_any_other_disk_does_not(spec: Json) -> None:
    def bend(metadata: Json) -> None:
        metadata["volumeBackups"][0]["persistentVolumeClaim"]["spec"] |= spec

    assert verdicts(a_class(parameters={}), edit=bend) == [("pass", GOOD)]


ENCRYPTED = a_class(parameters={"migratable": "true", "encrypted": "true"})


def test_an_encrypted_disk_needs_an_encrypted_class() -> None:
    ((verdict, said),) = verdicts(a_class(), encrypted=True)
    assert (verdict, said) == (
        "block",
        "Storage class gold (disk-0) is not encrypted, and the backup is of an encrypted volume:"
        " the machine would read ciphertext. Map it to an encrypted class with the same key.",
    )
    assert verdicts(ENCRYPTED, encrypted=True) == [("pass", GOOD)]


def test_an_encrypted_class_for_a_backup_that_does_not_say_is_a_warning() -> None:
    (warned, passed) = verdicts(ENCRYPTED)
    assert warned == (
        "warn",
        "Storage class gold (disk-0) is encrypted, and the backup does not say whether its volume"
        " was. If it was not, the machine cannot read its disk: map it to a class without"
        " encryption then.",
    )
    assert passed == ("pass", GOOD)
