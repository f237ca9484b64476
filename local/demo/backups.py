"""The backups of the story: of the machines of a shop, all of last night."""

from datetime import UTC, datetime, timedelta
from typing import Unpack

from local.samples.guests import Traits
from local.samples.world import VmBackup, a_vm_backup

SPACE = "shop"
LAST_NIGHT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)


def a_backup(
    vm: str, *, version: str = "1.8", disks: int = 1, **traits: Unpack[Traits]
) -> VmBackup:
    return a_vm_backup(
        vm,
        SPACE,
        f"{vm}-nightly",
        version=version,
        disks=disks,
        taken_at=LAST_NIGHT,
        **traits,
    )
