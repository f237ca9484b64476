"""What a way of bringing a machine's disks back consists of."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.models.restore_plans import Check, ClusterFacts, MachinePlan, PlannedObject
from shared.models.restore_points import Volume

if TYPE_CHECKING:
    from shared.restore.wanted import Wanted

Live = Mapping[tuple[str, str, str], Mapping[str, Any]]
"""A restore's objects on the target cluster, by kind, namespace and name."""


class Strategy(NamedTuple):
    """Pure functions, and the kinds that they make.

    CHECK_TARGET says what the target cluster (by name) must have for it. MAKE_DISK gives a disk's
    objects in order of creation, the claim last. MISSING_DATA gives a sentence for each disk of a
    machine whose data is not there. DATA_PERCENT says how much of a machine's data is there. KINDS
    are those that it makes in a namespace, and whose state tells how far it is.
    """

    name: str
    kinds: tuple[str, ...]
    check_target: Callable[[str, ClusterFacts], Iterable[Check]]
    make_disk: Callable[["Wanted", Volume], Iterator[PlannedObject]]
    missing_data: Callable[[MachinePlan, Live], list[str]]
    data_percent: Callable[[MachinePlan, Live], int]
