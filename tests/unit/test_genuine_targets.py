"""Genuine targets, catalogued as a whole: what the real Longhorn library and real Harvesters wrote.

The trees lie in the folder REPLANT_FIXTURES. Longhorn's have no machines: each of their backups
gets one whose metadata names it, as a Harvester above it would have written.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.samples.harvester import Disk, machine
from shared.models.restore_points import RestorePoint, State
from tests.memory_table import MemoryTable
from tests.scenarios import Happened, World, points, quarantined, target

FIXTURES = Path(__file__).parents[2] / os.environ.get("REPLANT_FIXTURES", "../shared/fixtures")
LONGHORN = FIXTURES / "longhorn"
HARVESTER = FIXTURES / "harvester"
MIB = 2**20

pytestmark = pytest.mark.skipif(
    not LONGHORN.is_dir(), reason=f"no genuine targets in {FIXTURES} (REPLANT_FIXTURES)"
)


def tree(root: Path) -> Iterator[Happened]:
    """What the catalogue is told of a target: blocks and locks are not among it."""
    for path in sorted(root.rglob("*.cfg")):
        yield Happened(str(path.relative_to(root)), path.read_bytes())


def above(root: Path) -> Iterator[Happened]:
    """A machine for each backup of a volume, which is called like the backup."""
    for path in sorted(root.rglob("backups/backup_*.cfg")):
        name = path.stem.removeprefix("backup_")
        volume = path.parent.parent.name
        disk = Disk(claim=f"{name}-disk-0", volume=volume, backup=name)
        yield Happened(*machine(name, f"of-{volume[-2:]}", backup=name, disks=[disk]))


def catalogued(root: Path) -> tuple[MemoryTable, dict[str, RestorePoint]]:
    """In the order in which they are listed, and the other way round: the same."""
    tables = [MemoryTable(), MemoryTable()]
    events = [target(), *tree(root), *above(root)]
    for table, order in zip(tables, (events, events[::-1]), strict=True):
        World(table).settle(order)
    found = [{f"{each.vm} {each.namespace}": each for each in points(table)} for table in tables]
    assert found[0] == found[1]
    return tables[0], found[0]


def test_a_target_of_longhorns_with_everything_odd_in_it() -> None:
    """A volume that grew, both codecs, a deleted backup, one that was given up, one under another's
    name whose volume has no record, a lock that nobody holds, a system backup.
    """
    table, found = catalogued(LONGHORN / "edge/target")
    (refused,) = quarantined(table)
    assert refused.endswith("/backup_backup-ed6e00000000bb01.cfg"), "it says that it is another one"
    restorable = {name for name, each in found.items() if each.state is State.RESTORABLE}
    assert restorable == {
        "backup-ed6e000000000001 of-01",
        "backup-ed6e000000000003 of-01",
        "backup-ed6e000000000004 of-01",
        "backup-ed6e00000000aa01 of-02",
        "backup-ed6e00000000aa02 of-02",
    }
    assert found["backup-ed6e000000000003 of-01"].volumes[0].size_bytes == 48 * MIB
    reasons = {name: each.reasons for name, each in found.items() if name not in restorable}
    assert reasons == {
        "backup-ed6e0000000000ff of-01": (
            "disk disk-0: backup backup-ed6e0000000000ff of volume"
            " pvc-ed6e0000-0000-4000-8000-000000000001 is still being written, or was given up",
        ),
        "backup-ed6e00000000bb01 of-03": (
            "disk disk-0: backup backup-ed6e00000000bb01 of volume"
            " pvc-ed6e0000-0000-4000-8000-000000000003 cannot be read: Name: must be"
            " 'backup-ed6e00000000bb01', as its key says. It was copied to a wrong place.",
        ),
    }


def test_a_target_of_longhorns_with_an_image_below_its_volumes() -> None:
    table, found = catalogued(LONGHORN / "lz4/target")
    assert quarantined(table) == []
    assert len(found) == 6
    assert {each.state for each in found.values()} == {State.RESTORABLE}
    assert {each.requires for each in found.values()} == {()}, "the image is there, and complete"
    assert {each.taken_at_source for each in found.values()} == {"longhorn"}


@pytest.mark.parametrize(
    ("layout", "vm", "disks"), [("v1.2-s3-layout", "web01", 2), ("v1.9-s3-layout", "web01", 2)]
)
def test_metadata_of_harvesters_names_what_it_lacks(layout: str, vm: str, disks: int) -> None:
    """Its volumes' records are not in these trees."""
    table = MemoryTable()
    World(table).settle([target(), *tree(HARVESTER / layout)])
    assert quarantined(table) == []
    (point,) = points(table)
    assert (point.namespace, point.vm, point.state) == ("default", vm, State.INCOMPLETE)
    assert len(point.volumes) == len(point.reasons) == disks
    assert all("has not been seen in the bucket" in each for each in point.reasons)
