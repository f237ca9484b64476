"""Whether the image below a disk is on the target with the same content."""

from typing import Any

import pytest

from local.samples.builders import a_class, a_point, facts, knows, wanted
from shared.models.longhorn_facts import BackingImageFacts, ImageNeeded
from shared.models.restore_plans import Check
from shared.restore import image_checks

Json = Any

POINT = a_point()
SAME, OTHER = "a1b2c3d4e5f6" + "0" * 116, "ffeeddccbbaa" + "0" * 116
NEEDED = ImageNeeded(name="vmi-1", checksum=SAME)
LIES = "disk-0 lies over image vmi-1 (SHA-512 a1b2c3d4e5f6…)"
BRING = (
    "Create the image there from the same file, as BackingImage vmi-1, or restore it from the"
    " bucket: in Harvester, a VirtualMachineImage with sourceType restore."
)


def verdict(
    needed: ImageNeeded | None, images: dict[str, BackingImageFacts], **parameters: str
) -> Check | None:
    """PARAMETERS are those of the disk's class on the target."""
    known = knows(POINT, images=images)
    backups = {name: each._replace(image=needed) for name, each in known.backups.items()}
    there = facts(
        storage_classes={"harvester-longhorn": a_class(parameters=parameters)},
        longhorn=known._replace(backups=backups),
    )
    return image_checks.of_disk(wanted()._replace(facts=there), POINT.volumes[0])


def told(needed: ImageNeeded | None, images: Json, **parameters: str) -> tuple[str, str]:
    found = verdict(needed, images, **parameters)
    assert found
    assert (found.check, found.subject) == ("image", "default/web01")
    return found.verdict, found.message


def image(checksum: str = SAME, **more: str) -> BackingImageFacts:
    return BackingImageFacts(checksum=checksum, **more)


def test_a_disk_without_an_image_needs_none() -> None:
    assert verdict(None, {}) is None
    assert verdict(None, {"vmi-1": image()}) is None


@pytest.mark.parametrize("checksum", [SAME, SAME.upper()])
def test_the_image_of_the_source_s_name_and_content_is_what_is_needed(checksum: str) -> None:
    said = f"{LIES}, and BackingImage vmi-1 on west has the same content."
    assert told(NEEDED, {"vmi-1": image(checksum)}) == ("pass", said)


def test_a_class_may_name_another_image_of_the_same_content() -> None:
    said = f"{LIES}, and BackingImage vmi-9 on west has the same content."
    images = {"vmi-9": image(), "vmi-1": image(OTHER)}
    assert told(NEEDED, images, backingImage="vmi-9") == ("pass", said)


@pytest.mark.parametrize(
    ("images", "parameters", "name"),
    [
        ({}, {}, "vmi-1"),
        ({"vmi-9": image()}, {}, "vmi-1"),
        ({"vmi-1": image()}, {"backingImage": "vmi-9"}, "vmi-9"),
    ],
)
def test_an_image_that_the_target_lacks_blocks(
    images: Json, parameters: dict[str, str], name: str
) -> None:
    said = f"{LIES}, and west has no BackingImage {name}. {BRING}"
    assert told(NEEDED, images, **parameters) == ("block", said)


@pytest.mark.parametrize(
    ("name", "parameters"), [("vmi-1", {}), ("vmi-9", {"backingImage": "vmi-9"})]
)
def test_an_image_of_other_content_blocks(name: str, parameters: dict[str, str]) -> None:
    here = f"BackingImage {name} on west has other content (SHA-512 ffeeddccbbaa…)"
    images = {name: image(OTHER)}
    assert told(NEEDED, images, **parameters) == ("block", f"{LIES}, and {here}. {BRING}")


@pytest.mark.parametrize(("needed", "here"), [(ImageNeeded(name="vmi-1"), SAME), (NEEDED, "")])
def test_a_missing_checksum_is_unknown_and_no_mismatch(needed: ImageNeeded, here: str) -> None:
    verdict, said = told(needed, {"vmi-1": image(here)})
    assert verdict == "warn"
    assert said.endswith(
        "Whether BackingImage vmi-1 on west has the same content is not known: a checksum is"
        " missing."
    )
    verdict, said = told(needed, {"vmi-9": image(here)}, backingImage="vmi-9")
    assert verdict == "block", "Longhorn itself compares only images of the same name"
    assert said.endswith(
        "BackingImage vmi-9 on west, which the storage class names instead, cannot be compared"
        " with it: a checksum is missing. Map it to a class without backingImage."
    )


def test_an_image_is_for_one_data_engine() -> None:
    said = (
        f"{LIES}. BackingImage vmi-1 is for data engine v2, and Storage class harvester-longhorn"
        " makes volumes of v1. Map it to another one."
    )
    images = {"vmi-1": image(data_engine="v2")}
    assert told(NEEDED, images) == ("block", said)
    assert told(NEEDED, images, dataEngine="v2")[0] == "pass"


def test_a_class_that_brings_an_image_is_wrong_for_a_disk_without_one() -> None:
    said = (
        "Storage class harvester-longhorn lays disk-0 over image vmi-9, and the backup is of a"
        " volume without an image. Map it to a class without backingImage."
    )
    assert told(None, {"vmi-9": image()}, backingImage="vmi-9") == ("block", said)


def test_what_is_not_known_yet_is_told_by_other_checks() -> None:
    unknown = facts(longhorn=knows(POINT, backups={}))
    assert image_checks.of_disk(wanted()._replace(facts=unknown), POINT.volumes[0]) is None
    no_class = facts(storage_classes={}, longhorn=knows(POINT))
    assert image_checks.of_disk(wanted()._replace(facts=no_class), POINT.volumes[0]) is None
