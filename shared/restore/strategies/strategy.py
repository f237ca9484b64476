"""What a way of bringing a machine's disks back consists of."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.models.restore_plans import Check, MachinePlan, PlannedObject
from shared.models.restore_points import Volume

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts
    from shared.restore.wanted import Wanted

Live = Mapping[tuple[str, str, str], Mapping[str, Any]]
"""A restore's objects on the target cluster, by kind, namespace and name."""


class Data(NamedTuple):
    """How far the data of one claim is; WHY is a sentence for what is not there yet.

    FAILED: it never will be. AT_START: it comes when the machine is started.
    """

    claim: str
    percent: int
    why: str | None = None
    failed: bool = False
    at_start: bool = False


def _no_secrets(_: "Wanted") -> Iterable[PlannedObject]:
    return ()


class Strategy(NamedTuple):
    """Pure functions, and the kinds that they make.

    CHECK_TARGET says what the target cluster (by name) must have for it, CHECK_DISK what it must
    have for one disk. MAKE_DISK gives a disk's objects in order of creation, the claim last, and
    MAKE_SECRETS those of a machine that its disks are read with. DATA says how far the data of each
    of a machine's claims is. KINDS are those that it makes in a namespace, and whose state tells
    how far it is. STANDS: what it gives of a disk is there already, and is not made. OVERLAYS: a
    disk's claim is only read, and what the machine writes lies over it for as long as it runs.
    MAKE_WHOLE gives all objects of a machine that others make of its backup, as that has it.
    """

    name: str
    kinds: tuple[str, ...]
    check_target: Callable[[str, "ClusterFacts"], Iterable[Check]]
    check_disk: Callable[["Wanted", Volume], Iterable[Check]]
    make_disk: Callable[["Wanted", Volume], Iterator[PlannedObject]]
    data: Callable[[MachinePlan, Live], list[Data]]
    stands: bool = False
    overlays: bool = False
    make_secrets: Callable[["Wanted"], Iterable[PlannedObject]] = _no_secrets
    make_whole: Callable[["Wanted"], Iterator[PlannedObject]] | None = None
