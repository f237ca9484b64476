"""Disks from Longhorn's own objects: Volume `fromBackup` -> PersistentVolume -> claim, for a target
without CSI snapshots of backups (Harvester before 1.4).
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from shared.models.restore_plans import Check, PlannedObject
from shared.models.restore_points import Volume
from shared.restore.strategies import longhorn_data
from shared.restore.strategies.strategy import Strategy

if TYPE_CHECKING:
    from shared.restore.wanted import Wanted


# Imported where they are needed: functions that only look after machines start without all that
# planning needs.


def check_disk(wanted: "Wanted", volume: Volume) -> Iterable[Check]:
    from shared.restore.strategies import longhorn_objects

    yield from longhorn_data.check_disk(wanted, volume)
    yield from longhorn_objects.check_class(wanted, volume)


def make_disk(wanted: "Wanted", volume: Volume) -> Iterator[PlannedObject]:
    from shared.restore.strategies import images, longhorn_objects

    yield from images.make(wanted, volume)
    yield from longhorn_objects.make_disk(wanted, volume)


LONGHORN = Strategy(
    name="longhorn",
    kinds=("PersistentVolumeClaim",),
    check_target=longhorn_data.check_target,
    check_disk=check_disk,
    make_disk=make_disk,
    data=longhorn_data.of_machine,
)
