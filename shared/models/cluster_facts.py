"""What a plan needs to know of the target cluster."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.kinds import object_key
from shared.models.images import Imports
from shared.models.longhorn_facts import LonghornFacts
from shared.models.restore_plans import Earlier, PlannedObject
from shared.models.standby_facts import StandbyVolume
from shared.models.target_facts import TargetFacts

Fields = dict[str, Any]
"""The fields that a cluster declares of a kind (shared/kube/schema.py): a tree, whose leaves are
ANY_FIELD."""

ANY_FIELD = "*"


class Needs(NamedTuple):
    """What to look up on the target cluster before planning: namespaces, Longhorn's backups by
    name; with DISKS the claims of the namespaces as a whole, and Longhorn's volumes; with IMPORTS
    whether it imports images; what Harvester has of RECORDS (`namespace/name`), None where it is
    not to restore; with STANDBY the volumes that stand by.
    """

    namespaces: frozenset[str]
    backups: frozenset[str]
    disks: bool = False
    imports: bool = False
    records: frozenset[str] | None = None
    standby: bool = False


class StorageClass(NamedTuple):
    """A class as its name does not tell it; BINDING is its volumeBindingMode, RECLAIM what becomes
    of a volume whose claim is deleted.
    """

    provisioner: str
    binding: str = "Immediate"
    parameters: Mapping[str, str] = {}
    is_default: bool = False
    reclaim: str = "Delete"


class StandingClaim(NamedTuple):
    """A claim that is there: its PHASE, its VOLUME once it is bound, and the machines that have it
    as a disk (USERS, by name).
    """

    phase: str
    volume: str = ""
    size_bytes: int | None = None
    users: tuple[str, ...] = ()


class StandingVolume(NamedTuple):
    """A volume of Longhorn's: which BACKUP of which SOURCE volume it is made of, "" where it is of
    none; the CLAIM (`namespace/name`) that is bound to it; PROBLEM is why nobody can use it.
    """

    source: str = ""
    backup: str = ""
    claim: str = ""
    size_bytes: int | None = None
    problem: str | None = None


class StandingDisks(NamedTuple):
    """Claims by `namespace/name`, and Longhorn's volumes by name."""

    claims: Mapping[str, StandingClaim] = {}
    volumes: Mapping[str, StandingVolume] = {}

    def holding(self, namespace: str, volume: str, backup: str) -> list[str]:
        """The names of the claims there that hold a volume, or what was made of that backup of
        it.
        """
        found = [
            each.claim.partition("/")[2]
            for name, each in self.volumes.items()
            if each.claim.startswith(f"{namespace}/")
            and (name == volume or (each.source, each.backup) == (volume, backup))
        ]
        return sorted(name for name in found if f"{namespace}/{name}" in self.claims)


class Record(NamedTuple):
    """A VirtualMachineBackup that is there: which of Longhorn's BACKUPS it is of."""

    backups: frozenset[str]


class HarvesterFacts(NamedTuple):
    """What Harvester restores from: its setting `backup-target`; PROBLEM is why it is none for us.
    HALTS: what it restores need not be started by it. RECORDS are its VirtualMachineBackups of the
    restore points' names (`namespace/name`).
    """

    endpoint: str = ""
    bucket: str = ""
    region: str = ""
    problem: str | None = None
    halts: bool = False
    records: Mapping[str, Record] = {}


class ClusterFacts(NamedTuple):
    """The cluster as a restore finds it.

    UNSERVED are kinds that a restore needs and the cluster does not have. NAMESPACES maps a name to
    its phase. EXISTING maps `Kind/namespace/name` of machines and claims to the restore that made
    them, "" for none of ours; UNFINISHED maps such a restore, where it never came to its end, to
    the requestId that resumes it. EARLIER are those of EXISTING that the ledger of their
    restore knows. MACHINE_FIELDS are those that the cluster declares of a
    VirtualMachine, None where it does not tell. TARGET is what a restore can be planned without.
    ATTACHED are targets, by their documents' ids, that a restore attaches first: None for one that
    is still to be, else why it could not be, "" where it was. IMPORTS is where it reads images
    from, HARVESTER where its Harvester restores from. STANDBY are the volumes that may be taken, by
    the volumes of the source that they follow.
    """

    namespaces: Mapping[str, str]
    storage_classes: Mapping[str, StorageClass]
    snapshot_class: str | None
    networks: frozenset[str]
    existing: Mapping[str, str]
    unserved: frozenset[str] = frozenset()
    unfinished: Mapping[str, str] = {}
    earlier: Mapping[str, Earlier] = {}
    longhorn: LonghornFacts = LonghornFacts()
    machine_fields: Fields | None = None
    target: TargetFacts = TargetFacts()
    standing: StandingDisks = StandingDisks()
    attached: Mapping[str, str | None] = {}
    imports: Imports = Imports()
    harvester: HarvesterFacts = HarvesterFacts()
    standby: Mapping[str, StandbyVolume] = {}

    def has(self, planned: PlannedObject) -> bool:
        """Whether a machine or a claim of its name stands, which it updates or takes the place of:
        it adds nothing to what is there.
        """
        key = object_key(planned.kind, planned.namespace or "", planned.name)
        return key in self.existing

    @property
    def default_class(self) -> str | None:
        """The class of a claim that names none."""
        default = (name for name, each in self.storage_classes.items() if each.is_default)
        return min(default, default=None)
