"""What a target cluster has, allows and has in use already: facts for a plan.

They never leave the process, so they are tuples: a model costs thrice as much to import, and is
built once more when the first fact is made.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Versions(NamedTuple):
    """As each system writes its own; None is unknown."""

    kubernetes: str | None = None
    harvester: str | None = None
    longhorn: str | None = None
    kubevirt: str | None = None


class Right(NamedTuple):
    """A rule of the credentials; `*` is any (rbac.authorization.k8s.io/v1)."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]

    def allows(self, group: str, resource: str, verb: str) -> bool:
        wanted = ((self.groups, group), (self.resources, resource), (self.verbs, verb))
        return all("*" in allowed or each in allowed for allowed, each in wanted)


class Rights(NamedTuple):
    """What the credentials may do in one namespace; one that is not WHOLE may lack some of it."""

    rules: tuple[Right, ...] = ()
    whole: bool = True

    def allow(self, group: str, resource: str, verb: str) -> bool:
        return any(each.allows(group, resource, verb) for each in self.rules)


class Quota(NamedTuple):
    """A ResourceQuota: quantities by resource. A SCOPED one counts some of the pods only."""

    name: str
    hard: Mapping[str, str]
    used: Mapping[str, str] = {}
    scoped: bool = False


class DiskRoom(NamedTuple):
    """A disk of Longhorn's that takes replicas: ROOM is in bytes, for the sizes of volumes, however
    little they hold. Negative where it has promised more than it may.
    """

    node: str
    name: str
    room: int


class InUse(NamedTuple):
    """What machines of the target have, each with its machine (`namespace/name`): hardware
    addresses, firmware ids (`uuid …`, `serial …`), IP addresses that a machine was seen with.
    NETWORK_DATA is what machines have of it in themselves, by machine.
    """

    macs: Mapping[str, str] = {}
    firmware: Mapping[str, str] = {}
    addresses: Mapping[str, str] = {}
    network_data: Mapping[str, tuple[str, ...]] = {}


class TargetFacts(NamedTuple):
    """What a restore can be planned without.

    RIGHTS and QUOTAS are by namespace. KEY_PAIRS are `namespace/name`. DISKS are None where they
    are not known. UNSEEN says of what could not be looked at why not, by the name of its check.
    """

    versions: Versions = Versions()
    rights: Mapping[str, Rights] = {}
    quotas: Mapping[str, tuple[Quota, ...]] = {}
    in_use: InUse = InUse()
    key_pairs: frozenset[str] = frozenset()
    disks: tuple[DiskRoom, ...] | None = None
    unseen: Mapping[str, str] = {}
