"""What a plan needs to know of the target cluster."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.kinds import object_key
from shared.models.longhorn_facts import LonghornFacts
from shared.models.restore_plans import Earlier, PlannedObject
from shared.models.target_facts import TargetFacts

Fields = dict[str, Any]
"""The fields that a cluster declares of a kind (shared/kube/schema.py): a tree, whose leaves are
ANY_FIELD."""

ANY_FIELD = "*"


class Needs(NamedTuple):
    """What to look up on the target cluster before planning: namespaces, Longhorn's backups by
    name.
    """

    namespaces: frozenset[str]
    backups: frozenset[str]


class StorageClass(NamedTuple):
    """A class as its name does not tell it; BINDING is its volumeBindingMode, RECLAIM what becomes
    of a volume whose claim is deleted.
    """

    provisioner: str
    binding: str = "Immediate"
    parameters: Mapping[str, str] = {}
    is_default: bool = False
    reclaim: str = "Delete"


class ClusterFacts(NamedTuple):
    """The cluster as a restore finds it.

    UNSERVED are kinds that a restore needs and the cluster does not have. NAMESPACES maps a name to
    its phase. EXISTING maps `Kind/namespace/name` of machines and claims to the restore that made
    them, "" for none of ours; UNFINISHED maps such a restore, where it never came to its end, to
    the requestId that resumes it. EARLIER are those of EXISTING that the ledger of their
    restore knows. MACHINE_FIELDS are those that the cluster declares of a
    VirtualMachine, None where it does not tell. TARGET is what a restore can be planned without.
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
