"""How many machines could be restored now, counted from one row a machine."""

from datetime import datetime
from typing import NamedTuple

from shared.aws.table import Table
from shared.catalogue import machines
from shared.catalogue.documents import clusters
from shared.models.base import from_instant
from shared.models.row_keys import QUARANTINE, newest_partition


class Count(NamedTuple):
    """NEWEST is the time of the cluster's newest restorable point; None: it has none."""

    cluster: str
    machines: int
    restorable: int
    newest: str | None


def count(table: Table, cluster: str) -> Count:
    """Of the machines that have a living restore point."""
    living = 0
    positions = []
    for row in table.query(newest_partition(cluster)):
        living += machines.newest(row, None) is not None
        if position := machines.newest_usable(row):
            positions.append(position)
    newest = max(positions).partition("#")[0] if positions else None
    return Count(cluster, living, len(positions), newest)


def namespaces(table: Table, cluster: str) -> set[str]:
    """Those that machines of a cluster have, or had."""
    return {row["sk"].partition("/")[0] for row in table.query(newest_partition(cluster))}


def newest_taken(table: Table, cluster: str) -> tuple[datetime, str] | None:
    """When the newest backup that a cluster has written was taken, restorable or not, and of which
    machine. A folder may be written by anybody, and says nothing of the cluster.
    """
    taken = [
        (position.partition("#")[0], row["sk"])
        for row in table.query(newest_partition(cluster))
        if (position := machines.newest_of_cluster(row))
    ]
    if not taken:
        return None
    instant, machine = max(taken)
    return from_instant(instant), machine


def census(table: Table) -> list[Count]:
    """Of every cluster that ever had a restore point."""
    return [count(table, cluster) for cluster in clusters(table)]


def quarantined(table: Table) -> int:
    return sum(1 for _ in table.query(QUARANTINE))
