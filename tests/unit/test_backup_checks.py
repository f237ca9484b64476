"""Whether Longhorn on the target can read a disk's backup, and what is done where it cannot yet."""

from typing import Any

import pytest

from local.samples.builders import a_point, facts, knows, request, wanted
from shared.models.longhorn_facts import LonghornFacts, LonghornTarget, SyncedBackup
from shared.models.restore_plans import Check
from shared.restore import backup_checks
from shared.restore.wanted import Wanted

Json = Any

NAME = "backup-web01-0"
POINT = a_point()
HERE = LonghornTarget(uid="t", url="s3://backups@us-east-1/")
DOWN = HERE._replace(problem="403 Forbidden")


def synced(**changes: Any) -> SyncedBackup:
    return knows(POINT).backups[NAME]._replace(**changes)


def verdict(longhorn: LonghornFacts, *, dry_run: bool = False) -> Check:
    asked: Wanted = wanted()._replace(
        facts=facts(longhorn=longhorn), request=request(dryRun=dry_run)
    )
    return backup_checks.of_disk(asked, POINT.volumes[0])


def test_a_backup_that_longhorn_has_read_completely_passes() -> None:
    assert verdict(knows(POINT)) == Check(
        check="backup",
        subject="default/web01",
        verdict="pass",
        message="Backup backup-web01-0 of disk-0 is complete, and Longhorn on west knows it.",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"backups": {NAME: synced(volume="pvc-other")}},
            "Backup backup-web01-0 of disk-0 is of volume pvc-other on west, not of pvc-web01-0."
            " Choose another restore point.",
        ),
        (
            {"backups": {NAME: synced(state="Error", problem="cannot find cfg")}},
            "Backup backup-web01-0 of disk-0 is 'Error' (cannot find cfg) on west. Look at it in"
            " Longhorn there, or choose another restore point.",
        ),
        (
            {"backups": {NAME: synced(state="InProgress")}},
            "Backup backup-web01-0 of disk-0 is 'InProgress' on west. Look at it in Longhorn"
            " there, or choose another restore point.",
        ),
        (
            {"targets": {"default": DOWN}},
            "Backup backup-web01-0 of disk-0: backup target default (s3://backups@us-east-1/) is"
            " not available: 403 Forbidden. Correct its URL, its credentials or the network, and"
            " start the restore again.",
        ),
    ],
)
def test_a_backup_that_cannot_be_used_blocks_with_the_remedy(changes: Json, said: str) -> None:
    found = verdict(knows(POINT, **changes))
    assert (found.verdict, found.message) == ("block", said)


def test_what_was_read_of_a_backup_target_that_is_gone_is_not_known_any_more() -> None:
    """Longhorn takes its objects away with it, a moment later."""
    longhorn = knows(POINT, targets={})
    assert backup_checks.unsynced([POINT], longhorn)
    assert backup_checks.unread([POINT], longhorn) == ("east-s3",)
    assert verdict(longhorn).message.startswith(f"{UNKNOWN}. None of its backup targets reads")


def test_a_copy_of_the_backup_elsewhere_is_used_with_a_word() -> None:
    elsewhere = LonghornTarget(uid="t", url="s3://copies@eu-west-1/")
    found = verdict(knows(POINT, targets={"default": elsewhere}))
    assert (found.verdict, found.message) == (
        "warn",
        "Backup backup-web01-0 of disk-0 is read from s3://copies@eu-west-1/ (backup target"
        " default), which is not where the restore point lies"
        " (s3://backups/harvester/vmbackups/default/nightly.cfg).",
    )


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("default", "Empty Harvester's setting backup-target on west"),
        ("theirs", "Delete backup target theirs in Longhorn"),
    ],
)
def test_a_copy_waits_for_a_person_where_the_lost_original_is_not_ours(
    name: str, remedy: str
) -> None:
    lost = LonghornTarget(uid="t", url="s3://lost@us-east-1/", problem="no route to host")
    backups = {NAME: synced(target=name)}
    longhorn = knows(POINT, targets={name: lost}, backups=backups)
    assert backup_checks.in_the_way([POINT], longhorn) == ()
    found = verdict(longhorn)
    assert (found.verdict, found.message) == (
        "block",
        f"Backup backup-web01-0 of disk-0: Longhorn on west knows it from backup target {name}"
        f" (s3://lost@us-east-1/), which is not available: no route to host. {remedy}, which"
        " deletes nothing in a bucket, and start again: then the copy in"
        " s3://backups/harvester/vmbackups/default/nightly.cfg is read.",
    )


UNKNOWN = "Longhorn on west does not know backup backup-web01-0 of disk-0"
UNREAD = [{}, {NAME: synced(state="")}]


@pytest.mark.parametrize("backups", UNREAD)
def test_a_backup_that_longhorn_has_not_read_is_asked_for_and_blocks_what_it_does_not_bring(
    backups: Json,
) -> None:
    longhorn = knows(POINT, backups=backups)
    assert backup_checks.unsynced([POINT], longhorn) == {NAME}
    assert backup_checks.targets_to_sync([POINT], longhorn) == {"default"}
    dry = verdict(longhorn, dry_run=True)
    assert (dry.verdict, dry.message) == (
        "warn",
        f"{UNKNOWN} yet: a restore first asks it to read backup target default again.",
    )
    real = verdict(longhorn)
    assert (real.verdict, real.message) == (
        "block",
        f"{UNKNOWN}, although it was asked to read backup target default again. Look at this"
        " backup target and the BackupVolume there, and start the restore again.",
    )


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (
            {},
            f"{UNKNOWN}. None of its backup targets reads"
            " s3://backups/harvester/vmbackups/default/nightly.cfg. It has: none. Add one"
            " with AttachStateMachine (Longhorn 1.8 and later), or let Harvester's setting"
            " backup-target name this bucket.",
        ),
        (
            {"default": LonghornTarget(uid="t", url="")},
            "It has: default (empty). Add one with AttachStateMachine",
        ),
        (
            {"default": DOWN},
            f"{UNKNOWN}: backup target default (s3://backups@us-east-1/) is not available: 403",
        ),
    ],
)
def test_where_nobody_can_read_it_nobody_is_asked(targets: Json, said: str, dry_run: bool) -> None:
    longhorn = knows(POINT, backups={}, targets=targets)
    assert not backup_checks.targets_to_sync([POINT], longhorn)
    found = verdict(longhorn, dry_run=dry_run)
    assert found.verdict == "block"
    assert said in found.message


def test_what_longhorn_knows_already_is_not_asked_for() -> None:
    assert not backup_checks.unsynced([POINT], knows(POINT))
    assert not backup_checks.targets_to_sync([POINT], knows(POINT))


@pytest.mark.parametrize(
    ("urls", "reader"),
    [
        ({"a": "s3://backups@us-east-1/"}, "a"),
        ({"a": "s3://backups/"}, "a"),
        ({"a": "s3://backups@us-east-1/other/"}, None),
        ({"a": "s3://backups@us-east-1/", "b": "s3://backups@us-east-1/harvester"}, "a"),
        ({"a": "s3://backup@us-east-1/", "b": "nfs://backups/", "c": "s3://[", "d": ""}, None),
    ],
)
def test_the_target_of_exactly_the_place_of_the_point_reads_it(
    urls: dict[str, str], reader: str | None
) -> None:
    targets = {name: LonghornTarget(uid="t", url=url) for name, url in urls.items()}
    assert LonghornFacts(targets=targets).reader_of(POINT.source) == reader


@pytest.mark.parametrize(
    ("prefix", "reader"),
    [("", "root"), ("copies/", "copies"), ("copies/older/", None), ("harvester/", None)],
)
@pytest.mark.parametrize(
    "key", ["harvester/vmbackups/default/x.cfg", "backupstore/volumes/ab/cd/v/volume.cfg"]
)
def test_longhorn_reads_nothing_in_folders_below_its_own(
    prefix: str, key: str, reader: str | None
) -> None:
    source = POINT.source.model_copy(update={"key": prefix + key})
    urls = {"root": "s3://backups@us-east-1/", "copies": "s3://backups@us-east-1/copies/"}
    targets = {name: LonghornTarget(uid="t", url=url) for name, url in urls.items()}
    assert LonghornFacts(targets=targets).reader_of(source) == reader
