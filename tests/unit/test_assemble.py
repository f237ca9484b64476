"""Rows of one restore point to the point: every reason in words, the times, the fingerprint, owner
and identity.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.assemble import Engine, Feed, join, newest, point_id, tombstone
from shared.catalogue.events import SEQUENCER_WIDTH, padded
from shared.catalogue.rows import Row
from shared.catalogue.targets import owner
from shared.models.backups import (
    BackingImage,
    DiskBackup,
    EngineBackup,
    EngineVolume,
    MachineBackup,
)
from shared.models.base import Value
from shared.models.documents import BackupTarget
from shared.models.restore_points import Machine, Requirement, RestorePoint, State

NOW = datetime(2026, 9, 1, tzinfo=UTC)
SNAPSHOT = datetime(2026, 8, 15, 1, tzinfo=UTC)
OBJECT = datetime(2026, 8, 15, 2, tzinfo=UTC)
TARGET = BackupTarget(id="east-s3", url="s3://backups/", cluster="east", replicas=("s3://copy/",))


def a_row(
    kind: str,
    facts: Value | None,
    key: str = "k",
    *,
    deleted: bool = False,
    problem: str | None = None,
    **changes: Any,
) -> Row:
    said: dict[str, Any] = {"facts": facts, "read_order": "1", "sequencer": "1"}
    if deleted:
        said["gone_order"] = "2"
    if problem:
        said |= {"refused_order": "2", "refusal": problem}
    known = {"pk": "p", "sk": "s", "bucket": "backups", "object_time": OBJECT}
    return Row.model_validate({"kind": kind, "key": key, **known, **said, **changes})


def a_disk(name: str = "disk-0", **changes: Any) -> DiskBackup:
    known = {
        "claim": f"web01-{name}",
        "engine_volume": f"pvc-{name}",
        "engine_backup": f"backup-{name}",
    }
    return DiskBackup.model_validate({"disk": name, "size_bytes": 5, **known, **changes})


def a_backup(*disks: DiskBackup, **changes: Any) -> MachineBackup:
    known = {
        "namespace": "default",
        "vm": "web01",
        "backup": "nightly",
        "machine": Machine(),
        "content": "c1",
    }
    parts = {"disks": disks or (a_disk(),), "networks": (), "secrets": ()}
    return MachineBackup.model_validate(known | parts | changes)


def volume(name: str = "disk-0", **changes: Any) -> Row:
    facts = EngineVolume(volume=f"pvc-{name}", size_bytes=7, **changes.pop("facts", {}))
    return a_row("volume", facts, **changes)


def engine_backup(
    name: str = "disk-0", *, at: datetime | None = SNAPSHOT, done: bool = True, **changes: Any
) -> Row:
    finished = OBJECT if done else None
    parts = {"snapshot_at": at, "created_at": finished, "block_size_bytes": 2**21, "blocks": 1}
    return a_row(
        "backup", EngineBackup(volume=f"pvc-{name}", backup=f"backup-{name}", **parts), **changes
    )


def image(checksum: str = "aa" * 64, *, complete: bool = True, **changes: Any) -> Row:
    facts = BackingImage(name="vmi-1", size_bytes=3, checksum=checksum, complete=complete)
    return a_row("backing-image", facts, **changes)


def engine(name: str = "disk-0") -> Engine:
    return Engine(volume(name), engine_backup(name), None)


def joined(
    backup: MachineBackup | None = None,
    engines: dict[str, Engine] | None = None,
    *,
    indexed_at: datetime = NOW,
    target: BackupTarget = TARGET,
    **feed: Any,
) -> RestorePoint:
    backup = backup or a_backup()
    engines = engines or {disk.disk: engine(disk.disk) for disk in backup.disks}
    row = a_row("machine", backup, **feed)
    return join(Feed(row, backup, target), "id-1", engines, indexed_at=indexed_at)


ON_IMAGE: dict[str, Any] = {
    "facts": {"backing_image": "vmi-1", "backing_image_checksum": "aa" * 64}
}
BACKUP, VOLUME = "backup backup-disk-0 of volume pvc-disk-0", "volume.cfg of volume pvc-disk-0"
UNSEEN, GONE = "has not been seen in the bucket", "was deleted from the bucket"
UNFINISHED = "is still being written, or was given up"
REASONS: dict[str, tuple[Engine, str]] = {
    "no backup": (Engine(volume(), None, None), f"{BACKUP} {UNSEEN}"),
    "backup deleted": (Engine(volume(), engine_backup(deleted=True), None), f"{BACKUP} {GONE}"),
    "backup unreadable": (
        Engine(volume(), engine_backup(problem="bad"), None),
        f"{BACKUP} cannot be read: bad",
    ),
    "backup unfinished": (
        Engine(volume(), engine_backup(done=False), None),
        f"{BACKUP} {UNFINISHED}",
    ),
    "no volume": (Engine(None, engine_backup(), None), f"{VOLUME} {UNSEEN}"),
    "volume deleted": (Engine(volume(deleted=True), engine_backup(), None), f"{VOLUME} {GONE}"),
    "volume unreadable": (
        Engine(volume(problem="bad"), engine_backup(), None),
        f"{VOLUME} cannot be read: bad",
    ),
}
NO_IMAGE: dict[str, Row | None] = {
    "unseen": None,
    "deleted": image(deleted=True),
    "bad": image(problem="x"),
    "open": image(complete=False),
    "of other content": image("bb" * 64),
}
NOTHING = Engine(None, None, None)


def test_a_volume_of_a_point_is_what_a_restore_needs_of_its_disk() -> None:
    disk = a_disk(storage_class="fast", image="default/image-1")
    (found,) = joined(a_backup(disk)).volumes
    assert (found.disk, found.claim) == ("disk-0", "web01-disk-0")
    assert (found.engine_volume, found.engine_backup) == ("pvc-disk-0", "backup-disk-0")
    assert (found.storage_class, found.image) == ("fast", "default/image-1")


@pytest.mark.parametrize(("rows", "reason"), REASONS.values(), ids=REASONS)
def test_what_a_disk_lacks_makes_the_point_incomplete_and_is_said(
    rows: Engine, reason: str
) -> None:
    two = a_backup(a_disk(), a_disk("disk-1"))
    point = joined(two, {"disk-0": rows, "disk-1": engine("disk-1")})
    assert (point.state, point.reasons) == (State.INCOMPLETE, (f"disk disk-0: {reason}",))
    assert [one.state for one in point.volumes] == [State.INCOMPLETE, State.RESTORABLE]


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        (
            {"driver": "nfs.csi.k8s.io"},
            "its data is kept by nfs.csi.k8s.io, of which no backup lies in this bucket",
        ),
        (
            {"engine_volume": None},
            "the metadata names no Longhorn volume and backup; back the machine up again",
        ),
        (
            {"engine_backup": None},
            "the metadata names no Longhorn volume and backup; back the machine up again",
        ),
    ],
)
def test_what_the_metadata_itself_lacks_is_said(disk: dict[str, Any], reason: str) -> None:
    assert joined(a_backup(a_disk(**disk))).reasons == (f"disk disk-0: {reason}",)


def test_gaps_and_broken_metadata_are_said_before_the_disks() -> None:
    point = joined(
        a_backup(gaps=("disk tpm: claim state",)), {"disk-0": NOTHING}, problem="bad", key="k"
    )
    assert point.reasons == (
        "s3://backups/k cannot be read any more: bad",
        "disk tpm: claim state is not in the backup;"
        " Harvester saves volumes of Longhorn claims only",
        f"disk disk-0: {BACKUP} {UNSEEN}",
    )


def test_a_point_with_everything_there_is_restorable() -> None:
    point = joined(engines={"disk-0": Engine(volume(**ON_IMAGE), engine_backup(), image())})
    assert (point.state, point.reasons) == (State.RESTORABLE, ())
    assert point.requires == ()
    assert joined(a_backup(disks=()), {"x": engine()}).state is State.RESTORABLE


@pytest.mark.parametrize("row", NO_IMAGE.values(), ids=NO_IMAGE)
def test_a_point_over_an_image_that_the_bucket_lacks_is_restorable_where_the_image_is(
    row: Row | None,
) -> None:
    rows = Engine(volume(**ON_IMAGE), engine_backup(), row)
    point = joined(engines={"disk-0": rows})
    assert (point.state, point.reasons) == (State.RESTORABLE, ())
    assert point.requires == (Requirement(kind="image", name="vmi-1", checksum="aa" * 64),)
    assert point.fingerprint == joined(engines={"disk-0": rows._replace(image=image())}).fingerprint


def test_an_image_below_several_disks_is_required_once() -> None:
    rows = {
        name: Engine(volume(name, **ON_IMAGE), engine_backup(name), None)
        for name in ("disk-0", "disk-1")
    }
    assert len(joined(a_backup(a_disk(), a_disk("disk-1")), rows).requires) == 1


def test_a_volume_that_does_not_know_its_image_s_checksum_takes_the_one_of_that_name() -> None:
    unknown = volume(facts={"backing_image": "vmi-1", "backing_image_checksum": ""})
    there = {"disk-0": Engine(unknown, engine_backup(), image())}
    assert joined(engines=there).requires == ()
    missing = {"disk-0": Engine(unknown, engine_backup(), None)}
    assert joined(engines=missing).requires == (Requirement(kind="image", name="vmi-1"),)


def test_the_size_is_what_longhorn_would_restore() -> None:
    assert joined().volumes[0].size_bytes == 7
    assert (
        joined(engines={"disk-0": Engine(None, engine_backup(), None)}).volumes[0].size_bytes == 5
    )


NAMED = datetime(2026, 8, 14, 23, tzinfo=UTC)
LATER = datetime(2026, 8, 15, 1, 5, tzinfo=UTC)
UNKNOWN = Engine(volume(), None, None)


@pytest.mark.parametrize(
    ("second", "named", "taken_at", "source"),
    [
        (
            Engine(volume("disk-1"), engine_backup("disk-1", at=LATER), None),
            NAMED,
            SNAPSHOT,
            "longhorn",
        ),
        (
            Engine(volume("disk-1"), engine_backup("disk-1", at=NAMED), None),
            None,
            NAMED,
            "longhorn",
        ),
        (UNKNOWN, NAMED, NAMED, "name"),
        (UNKNOWN, None, OBJECT, "object"),
        (
            Engine(volume("disk-1"), engine_backup("disk-1", at=None, done=False), None),
            NAMED,
            NAMED,
            "name",
        ),
    ],
)
def test_the_time_is_the_oldest_snapshots_once_all_are_known(
    second: Engine, named: datetime | None, taken_at: datetime, source: str
) -> None:
    backup = a_backup(a_disk(), a_disk("disk-1"), named_at=named)
    point = joined(backup, {"disk-0": engine(), "disk-1": second})
    assert (point.taken_at, point.taken_at_source) == (taken_at, source)


LOST = {
    "deleted": {"deleted": True},
    "overwritten": {"problem": "bad"},
}


@pytest.mark.parametrize("loss", LOST.values(), ids=LOST)
def test_a_fingerprint_outlives_the_loss_of_any_part(loss: dict[str, Any]) -> None:
    whole = Engine(volume(**ON_IMAGE), engine_backup(), image())
    complete = joined(engines={"disk-0": whole}).fingerprint
    assert str(complete).startswith("sha256:")
    for lacking in (
        Engine(volume(**ON_IMAGE, **loss), engine_backup(), image()),
        Engine(volume(**ON_IMAGE), engine_backup(**loss), image()),
    ):
        point = joined(engines={"disk-0": lacking})
        assert (point.state, point.fingerprint) == (State.INCOMPLETE, complete)
    assert joined(engines={"disk-0": whole}, **loss).fingerprint == complete


NEVER_WHOLE = [name for name in REASONS if "deleted" not in name and "unreadable" not in name]


@pytest.mark.parametrize("name", NEVER_WHOLE)
def test_a_point_that_was_never_whole_has_no_fingerprint(name: str) -> None:
    assert joined(engines={"disk-0": REASONS[name][0]}).fingerprint is None


def test_a_point_with_a_gap_has_no_fingerprint() -> None:
    assert joined(a_backup(gaps=("disk tpm: claim state",))).fingerprint is None


def test_a_fingerprint_follows_cluster_content_and_time_and_nothing_else() -> None:
    first = joined().fingerprint
    other: dict[str, Any] = {
        "key": "elsewhere",
        "version_id": "v2",
        "etag": "e2",
        "sequencer": "9",
        "object_time": NOW,
    }
    assert joined(**other).fingerprint == first
    later = Engine(volume(), engine_backup(at=OBJECT), None)
    west = TARGET.model_copy(update={"cluster": "west"})
    others = {
        joined(a_backup(content="c2")).fingerprint,
        joined(engines={"disk-0": later}).fingerprint,
        joined(target=west).fingerprint,
    }
    assert len(others | {first}) == 4


def test_reasons_that_no_row_has_room_for_are_counted() -> None:
    gaps = tuple(f"disk {number}: claim c" for number in range(512))
    reasons = joined(a_backup(gaps=gaps)).reasons
    assert (len(reasons), reasons[-1]) == (101, "and 412 more reasons")
    long = tuple(f"disk {number}: claim {'ü' * 5000}" for number in range(50))
    shortened = joined(a_backup(gaps=long)).reasons
    assert (len(shortened), shortened[-1]) == (5, "and 46 more reasons")


def test_a_tombstone_keeps_everything_but_state_and_reasons() -> None:
    grave = tombstone(joined(), "gone")
    assert (grave.state, grave.reasons) == (State.DELETED, ("gone",))
    assert grave.model_copy(update={"state": State.RESTORABLE, "reasons": ()}) == joined()


def test_the_readable_then_the_newest_key_speaks_for_a_point() -> None:
    def feed(key: str = "k", **changes: Any) -> Feed:
        return Feed(a_row("machine", a_backup(), key, **changes), a_backup(), TARGET)

    old, new, last = feed(object_time=SNAPSHOT), feed(), feed("l")
    bad = feed("z", object_time=NOW, problem="bad")
    assert [newest(feeds) for feeds in ([old, new, bad], [new, last], [bad], [])] == [
        new,
        last,
        bad,
        None,
    ]


def targets(places: list[str]) -> tuple[BackupTarget, ...]:
    return tuple(
        BackupTarget(id=f"t-{n}", url=f"s3://{url}", cluster="east") for n, url in enumerate(places)
    )


@pytest.mark.parametrize(
    ("places", "key", "mine"),
    [
        (["backups"], "a/b", "t-0"),
        (["backups", "backups/a", "backups/a/b/c"], "a/b/x", "t-1"),
        (["backups/a/", "backups"], "a/b", "t-0"),
        (["backups/a"], "ab/c", None),
        (["backups/a"], "b", None),
        (["other", "other/a"], "a/b", None),
        (["backups/a", "backups/a/"], "a/b", "t-1"),
        ([], "a", None),
    ],
)
def test_the_longest_prefix_in_the_same_bucket_owns_a_key(
    places: list[str], key: str, mine: str | None
) -> None:
    found = owner("backups", key, targets(places))
    assert (found and found.id) == mine
    assert owner("backups", key, targets(places)[::-1]) == found


def test_a_points_identity_never_changes() -> None:
    assert point_id("east-s3", a_backup()) == "f8aed1db09a2991f0acb48b29b267e7c"
    ids = {point_id("east-s3", a_backup(**{part: "a"})) for part in ("namespace", "vm", "backup")}
    ids.add(point_id("west", a_backup()))
    assert len(ids - {"f8aed1db09a2991f0acb48b29b267e7c"}) == 4
    assert point_id("east-s3", a_backup(content="c2")) == "f8aed1db09a2991f0acb48b29b267e7c"


HEX = st.text("0123456789abcdefABCDEF", min_size=1, max_size=SEQUENCER_WIDTH)


@given(HEX, HEX)
def test_padded_sequencers_compare_as_s3_says(one: str, other: str) -> None:
    """Right-padded with zeros to the same length, then as texts of hexadecimal digits."""
    width = max(len(one), len(other))
    first, second = int(one.ljust(width, "0"), 16), int(other.ljust(width, "0"), 16)
    assert (padded(one) < padded(other), padded(one) == padded(other)) == (
        first < second,
        first == second,
    )
