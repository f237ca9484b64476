"""What an object, or a fingerprint, belongs to: asked once, by whoever found a broken block."""

import json
from typing import Any

import pytest

from local.samples.folders import document, qcow2
from local.samples.world import a_vm_backup
from shared.catalogue import search
from shared.errors import InvalidRequest
from shared.models.restore_points import State
from shared.models.row_keys import EXPIRES
from shared.workflows import searching
from tests.memory_table import MemoryTable
from tests.scenarios import BUCKET, IMAGE, Happened, World, objects, only, points, target

FIRST = a_vm_backup(image=IMAGE)
SECOND = a_vm_backup(backup="weekly", after=FIRST)
OTHER = a_vm_backup("web02", "shop", "nightly", image=IMAGE)


@pytest.fixture
def table() -> MemoryTable:
    """Two backups of one machine and one of another, all over the same image."""
    made = MemoryTable()
    World(made).settle([target(), *objects(FIRST), *objects(SECOND, number=2), *objects(OTHER)])
    return made


def asked(table: MemoryTable, **question: Any) -> dict[str, Any]:
    return searching.answer(table, search.question(question))


def belongs(table: MemoryTable, key: str) -> dict[str, int]:
    """How many restore points of each machine."""
    found = asked(table, object=f"s3://{BUCKET}/{key}")
    assert len(found["restorePoints"]) == sum(each["restorePoints"] for each in found["belongsTo"])
    assert {each["cluster"] for each in found["belongsTo"]} <= {"east"}
    return {
        f"{each['namespace']}/{each['vm']}": each["restorePoints"] for each in found["belongsTo"]
    }


def keys(backup: Any, part: str) -> list[str]:
    return [key for key, _ in backup if part in key]


def test_metadata_and_a_backup_belong_to_their_restore_point(table: MemoryTable) -> None:
    assert belongs(table, FIRST.key) == {"default/web01": 1}
    (backup,) = keys(SECOND, "/backup_")
    assert belongs(table, backup) == {"default/web01": 1}


def test_a_volume_and_its_blocks_belong_to_all_that_are_on_it(table: MemoryTable) -> None:
    (volume,) = keys(FIRST, "/volume.cfg")
    assert belongs(table, volume) == {"default/web01": 2}
    block = keys(FIRST, f"{volume.removesuffix('volume.cfg')}blocks/")[0]
    assert belongs(table, block) == {"default/web01": 2}


def test_an_image_belongs_to_every_machine_above_it(table: MemoryTable) -> None:
    (record,) = keys(FIRST, "backing-image.cfg")
    (metadata,) = keys(FIRST, "vmimages/")
    assert belongs(table, record) == {"default/web01": 2, "shop/web02": 1}
    assert belongs(table, metadata) == {"default/web01": 2, "shop/web02": 1}


def test_a_block_of_images_may_be_of_any_and_says_so(table: MemoryTable) -> None:
    block = keys(FIRST, "backing-images/blocks/")[0]
    with pytest.raises(InvalidRequest, match=r"backing-image\.cfg") as caught:
        belongs(table, block)
    assert caught.value.field == "object"


def test_a_file_of_a_folder_belongs_to_the_points_that_lie_on_it() -> None:
    table = MemoryTable()
    folder = "db/pg-1/full/"
    files = {"disk-0.qcow2": qcow2(), "metadata.json": document(name="pg-1")}
    World(table).settle(
        [target(), *(Happened(folder + name, encoded(body)) for name, body in files.items())]
    )
    for name in files:
        assert belongs(table, folder + name) == {"db/pg-1": 1}


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def test_what_nobody_uses_belongs_to_nobody_and_no_layouts_key_is_refused(
    table: MemoryTable,
) -> None:
    assert belongs(table, "harvester/vmbackups/nobodys.cfg") == {}
    with pytest.raises(InvalidRequest, match="Unknown layout"):
        belongs(table, "a/b.txt")


@pytest.mark.parametrize("url", ["s3://backups", "s3://backups/", "/a/b", "backups/a"])
def test_an_object_is_named_with_its_bucket_and_whole_key(table: MemoryTable, url: str) -> None:
    with pytest.raises(InvalidRequest, match="s3://BUCKET/KEY"):
        asked(table, object=url)


def test_many_points_come_in_pages_and_whose_they_are_is_told_on_each(table: MemoryTable) -> None:
    (record,) = keys(FIRST, "backing-image.cfg")
    url = f"s3://{BUCKET}/{record}"
    page = asked(table, object=url, limit=2)
    rest = asked(table, object=url, limit=2, cursor=page["cursor"])
    every = [each["id"] for each in page["restorePoints"] + rest["restorePoints"]]
    assert sorted(every) == sorted(each.id for each in points(table))
    assert rest["cursor"] is None
    assert page["belongsTo"] == rest["belongsTo"]


# --- Fingerprints ------------------------------------------------------------------------------


def found(table: MemoryTable, fingerprint: str | None, **more: Any) -> list[str]:
    answer = asked(table, fingerprint=fingerprint, **more)
    return [each["id"] for each in answer["restorePoints"]]


def test_a_point_is_found_by_its_fingerprint(table: MemoryTable) -> None:
    for point in points(table):
        assert found(table, point.fingerprint) == [point.id]
        assert found(table, point.fingerprint, cluster="east", vm=f"{point.namespace}/{point.vm}")
        assert found(table, point.fingerprint, vm="shop/nobody") == []


def test_the_same_content_below_two_targets_of_a_cluster_is_found_twice() -> None:
    table = MemoryTable()
    both = [target("one", prefix="one/"), target("two", prefix="two/")]
    copies = [*objects(a_vm_backup(), prefix="one/"), *objects(a_vm_backup(), prefix="two/")]
    World(table).settle([*both, *copies])
    fingerprints = {each.fingerprint for each in points(table)}
    (fingerprint,) = fingerprints
    assert len(found(table, fingerprint)) == 2


def test_a_fingerprint_that_changed_finds_nothing_by_its_old_value() -> None:
    table = MemoryTable()
    world = World(table)
    backup = a_vm_backup()
    world.settle([target(), *objects(backup)])
    before = only(table).fingerprint
    again = a_vm_backup(labels={"tier": "web"})
    world.settle([Happened(again.key, dict(again.metadata)[again.key], 2)])
    after = only(table).fingerprint
    assert before != after
    assert found(table, before) == []
    assert found(table, after) == [only(table).id]


def test_a_deleted_point_is_found_until_it_is_forgotten() -> None:
    table = MemoryTable()
    world = World(table)
    backup = a_vm_backup()
    world.settle([target(), *objects(backup), Happened(backup.key, None, 2)])
    point = only(table)
    assert point.state is State.DELETED
    assert found(table, point.fingerprint) == [point.id]
    (mark,) = [row for key, row in table.rows().items() if key[0].startswith("fingerprint#")]
    (row,) = [row for key, row in table.rows().items() if key[1] == "point"]
    assert mark[EXPIRES] == row[EXPIRES]
    world.settle([Happened(backup.key, dict(backup.metadata)[backup.key], 3)])
    (mark,) = [row for key, row in table.rows().items() if key[0].startswith("fingerprint#")]
    assert EXPIRES not in mark


@pytest.mark.parametrize("text", ["sha256:12", "md5:" + "0" * 64, "0" * 64])
def test_a_fingerprint_has_a_form(table: MemoryTable, text: str) -> None:
    with pytest.raises(InvalidRequest, match="64 digits"):
        found(table, text)
