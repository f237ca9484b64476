"""Keys of a backup bucket: what lies where, under any prefix, and back from names to keys."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from local.samples.harvester import vm_backup_key
from local.samples.records import backup_key, volume_path
from local.samples.world import a_vm_backup
from shared.errors import Unreadable
from shared.layouts import keys, registry
from shared.layouts.keys import Place
from shared.models.facts import Kind

VOLUME = f"{volume_path('pvc-1')}/volume.cfg"
BACKUP = backup_key(volume_path("pvc-1"), "backup-1")
IMAGE = "backupstore/backing-images/backing-images/vmi-1/backing-image.cfg"
FLAT = vm_backup_key("default", "nightly", "1.2")
NESTED = vm_backup_key("default", "nightly", "1.3")

PLACES = {
    FLAT: Place(Kind.MACHINE, "", name="default-nightly"),
    NESTED: Place(Kind.MACHINE, "", name="nightly"),
    "harvester/vmimages/default/image-1.cfg": Place(Kind.IMAGE, "", name="image-1"),
    VOLUME: Place(Kind.VOLUME, "", volume="pvc-1"),
    BACKUP: Place(Kind.BACKUP, "", volume="pvc-1", name="backup-1"),
    IMAGE: Place(Kind.BACKING_IMAGE, "", name="vmi-1"),
    "backupstore/system-backups/v1.10.1/sb-1/system-backup.cfg": Place(Kind.OTHER, ""),
}
PREFIXES = [
    "",
    "east/",
    "a/b/c/",
    "backupstore/",
    "harvester/vmbackups/",
    "backupstore/volumes/aa/bb/",
    "ü & ?/",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("key", "place"), PLACES.items(), ids=[place.kind for place in PLACES.values()]
)
def test_a_key_is_recognised_below_any_prefix(prefix: str, key: str, place: Place) -> None:
    assert registry.recognise(prefix + key) == place._replace(root=prefix)


@pytest.mark.parametrize("minor", range(10))
def test_every_record_of_every_version_is_recognised(minor: int) -> None:
    written = [
        key
        for key, _ in a_vm_backup(version=f"1.{minor}", image="default/ubuntu")
        if key.endswith(".cfg")
    ]
    kinds = {registry.recognise(key).kind for key in written}
    since_1_4 = {Kind.IMAGE, Kind.BACKING_IMAGE} if minor >= 4 else set()
    assert kinds == {Kind.MACHINE, Kind.VOLUME, Kind.BACKUP} | since_1_4


@pytest.mark.parametrize(
    "key",
    [
        "",
        "readme.txt",
        "harvester/vmbackups/.cfg",
        "harvester/vmbackups/a/b/c.cfg",
        "harvester/vmbackups/a.cfg.bak",
        "harvester/vmimages/image-1.cfg",
        "xharvester/vmbackups/a.cfg",
        f"{VOLUME}.tmp.1723680000000000000",
        VOLUME.replace("volume.cfg", "locks/lock-0123456789abcdef.lck"),
        VOLUME.replace("/pvc-1/", "//"),
        BACKUP.replace("backup_backup-1", "backup_"),
        IMAGE.replace("vmi-1/", ""),
        f"{VOLUME}\n",
        "harvester/vmbackups/../../x",
    ],
)
def test_another_key_is_no_layout_and_the_message_says_the_key(key: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        registry.recognise(key)
    assert refusal.value.message == (
        f"Unknown layout: {key!r} is not a key of Harvester (harvester/vmbackups/,"
        " harvester/vmimages/), of Longhorn (backupstore/), or of a folder as docs/layouts.md"
        " describes it. Move it out of the catalogued bucket, or ignore it."
    )


@pytest.mark.parametrize("kind", [Kind.OTHER, Kind.UNKNOWN])
def test_what_no_restore_needs_is_not_read(kind: Kind) -> None:
    with pytest.raises(Unreadable) as refusal:
        registry.read(Place(kind, ""), registry.Content([b"{}"]))
    assert refusal.value.message == "It holds nothing that a restore of machines needs."


ROWS = {
    NESTED: ("bucket#backups", f"east/{NESTED}"),
    "harvester/vmimages/default/image-1.cfg": (
        "bucket#backups",
        "east/harvester/vmimages/default/image-1.cfg",
    ),
    VOLUME: ("volume#backups/east/#pvc-1", "volume.cfg"),
    BACKUP: ("volume#backups/east/#pvc-1", "backup#backup-1"),
    IMAGE: ("image#backups/east/#vmi-1", "backing-image.cfg"),
}


@pytest.mark.parametrize(("key", "row"), ROWS.items(), ids=[row[0] for row in ROWS.values()])
def test_the_row_of_an_object_lies_with_what_is_read_with_it(
    key: str, row: tuple[str, str]
) -> None:
    place = registry.recognise(f"east/{key}")
    assert registry.row_key("backups", f"east/{key}", place) == row


@pytest.mark.parametrize("key", ["clusters/west.yaml", "targets/east-s3.yaml"])
def test_the_row_of_a_document_is_named_by_its_kind_and_id(key: str) -> None:
    place = registry.recognise_document(key)
    row = ("documents", key.removesuffix(".yaml"))
    assert registry.row_key("state", key, place) == row


@pytest.mark.parametrize("key", [VOLUME, BACKUP])
def test_a_volume_in_a_wrong_folder_was_copied_without_its_path(key: str) -> None:
    folders = keys.volume_path("pvc-1")
    with pytest.raises(
        Unreadable, match=f"Volume 'pvc-1' lies in 00/00, but Longhorn keeps it in {folders}"
    ):
        registry.recognise(key.replace(folders, "00/00"))


def test_the_folders_are_those_that_longhorn_made() -> None:
    assert keys.volume_path("pvc-1a2b3c4d-0000-4000-8000-000000000001") == "72/86"
    assert keys.volume_path("BACKINGIMAGE") == "22/fc"


NAME = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,40}", fullmatch=True)
ROOT = st.lists(st.text("abc-._ ü", min_size=1, max_size=5), max_size=3).map(
    lambda parts: "".join(f"{p}/" for p in parts)
)


@given(ROOT, NAME, NAME)
def test_keys_made_of_names_lead_back_to_the_names(root: str, volume: str, name: str) -> None:
    assert registry.recognise(keys.volume_key(root, volume)) == Place(Kind.VOLUME, root, volume)
    assert registry.recognise(keys.backup_key(root, volume, name)) == Place(
        Kind.BACKUP, root, volume, name
    )
    assert registry.recognise(keys.backing_image_key(root, name)) == Place(
        Kind.BACKING_IMAGE, root, name=name
    )


FILES_OF_FOLDERS = re.compile(
    r"(.*/)?(metadata\.(yaml|yml|json)|snapshots\.json|[^/]+\.(qcow2|raw|img))"
)


@given(st.text(max_size=80))
@example("snapshots.json")
@example("a.img")
def test_an_arbitrary_key_is_unreadable_at_most(key: str) -> None:
    """The names of a folder's files are short enough to be met; where they lie is judged later."""
    if FILES_OF_FOLDERS.fullmatch(key):
        place = registry.recognise(key)
        assert place.kind in {Kind.FOLDER, Kind.CHAIN, Kind.DISK_FILE}
        assert registry.row_key("backups", key, place) == ("bucket#backups", key)
        return
    with pytest.raises(Unreadable, match="Unknown layout"):
        registry.recognise(key)
