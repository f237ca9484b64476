"""Ways of bringing a machine's disks back, by name. A new one is a record in a module of its own,
named here.
"""

from typing import TYPE_CHECKING, NamedTuple

from shared import versions
from shared.restore.strategies.csi import CSI
from shared.restore.strategies.harvester import HARVESTER
from shared.restore.strategies.imports import IMPORT
from shared.restore.strategies.longhorn import LONGHORN
from shared.restore.strategies.mount import MOUNT
from shared.restore.strategies.standing import STANDING
from shared.restore.strategies.strategy import Data, Live, Strategy

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts

__all__ = [
    "CSI",
    "HARVESTER",
    "IMPORT",
    "LONGHORN",
    "MOUNT",
    "STANDING",
    "STRATEGIES",
    "Data",
    "Live",
    "Strategy",
    "Way",
    "choose",
]

STRATEGIES = {
    strategy.name: strategy for strategy in (CSI, LONGHORN, HARVESTER, IMPORT, MOUNT, STANDING)
}

SNAPSHOTS_SINCE = (1, 4)
"""Harvester's version from which on it restores from CSI snapshots itself."""


class Way(NamedTuple):
    """The strategy for a machine's disks, and the reason for which it is that one."""

    strategy: Strategy
    reason: str


def choose(asked: str, target: str, facts: "ClusterFacts") -> Way:
    """The strategy for backups of Longhorn's, by what a request asks."""
    if asked != "auto":
        return Way(STRATEGIES[asked], "as the request says")
    if "VolumeSnapshotClass" in facts.unserved:
        return Way(LONGHORN, f"auto: Longhorn data, and {target} serves no CSI snapshots")
    told = facts.target.versions.harvester
    known = versions.parse(told) if told else None
    if known and known.line < SNAPSHOTS_SINCE:
        reason = f"auto: Longhorn data, and Harvester {told} on {target} is older than 1.4"
        return Way(LONGHORN, reason)
    return Way(CSI, f"auto: Longhorn data, and {target} makes volumes of CSI snapshots")
