"""Labels, annotations and driver names that several parts of the project must agree on (contract,
section 5).
"""

import re
from collections.abc import Mapping
from typing import Any

MANAGED_BY = {"app.kubernetes.io/managed-by": "replant"}
RESTORE = "replant.dev/restore"
"""On every restored object: the restore that made it."""

TARGET = "replant.dev/target"
"""On a BackupTarget that attach made: the id of the target's document."""

BATCH = "replant.dev/batch"
"""On the objects of a restore of several batches: whose machines they are, so that a run lists its
own alone."""

RUN_STRATEGY = "replant.dev/run-strategy"
"""On a machine that a planned failover has halted: the run strategy that it had."""

HALTED_BY = "replant.dev/halted-by"
"""On such a machine: the failover."""

TEMPORARY = "replant.dev/temporary"
"""On the objects of a drill and of mode emergency: they are deleted again."""

EXPIRES = "replant.dev/expires"
"""On those of a drill from the beginning, on a machine of mode emergency from when it is ready:
before that instant nothing of it is deleted by itself."""

UNBACKED = "recurring-job-group.longhorn.io/replant-temporary"
"""On a Longhorn volume of mode emergency: it is in a group that no recurring job has. One in no
group is in that of the cluster's default jobs, which may back it up (longhorn-manager
datastore/longhorn.go, labelRecurringJobDefault)."""

ISOLATED = "replant.dev/isolated"
"""On the instance and the pod of a drill's machine: by it a policy cuts it off. KubeVirt's own
label of a pod has the guest's host name, which may be any."""

ORIGIN_CLUSTER = "backup.origin.cluster"
ORIGIN_FINGERPRINT = "backup.origin.fingerprint"
ORIGIN_TAKEN_AT = "backup.origin.taken-at"
ORIGIN_RESTORE_POINT = "backup.origin.restore-point"

REPLICAS = "replant.dev/replicas"
"""On such a volume: how many replicas its class gives, for when it is to stay."""

STANDBY = "replant.dev/standby"
"""On a Longhorn volume that follows the newest backup of another: the recovery plan that it is kept
for. Whoever takes it takes the label away."""

STANDBY_OF = "replant.dev/standby-of"
"""On such a volume: the machine, as `namespace/name`."""

HOLDS = "replant.dev/holds"
"""On one that a restore has taken: the backup whose data it is to hold, and no other's."""

RESTORED_BY = "restore.harvesterhci.io/name"
"""On what Harvester makes of a VirtualMachineRestore: its name (harvester pkg/restore/common)."""

LONGHORN_NAMESPACE = "longhorn-system"
LONGHORN_DRIVER = "driver.longhorn.io"
"""Longhorn's CSI driver, as classes, snapshots and Harvester's metadata name it."""

PROVISIONER = "volume.kubernetes.io/storage-provisioner"
"""On a claim: the driver of its volume."""

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
"""On a PersistentVolume: who deletes the volume behind it, where its class says so."""


_NAMED = re.compile(r"replant-(r-[0-9a-f]{16})-[0-9a-f]{8}")
"""What restore/names.py calls what it makes for one disk or machine."""


def maker_of(metadata: Mapping[str, Any]) -> str:
    """The restore that made the object, "" for none of ours: by its label, or by that of our
    restores of which Harvester has made it a moment ago.
    """
    if own := (metadata.get("labels") or {}).get(RESTORE):
        return str(own)
    named = _NAMED.fullmatch(str((metadata.get("annotations") or {}).get(RESTORED_BY) or ""))
    return named[1] if named else ""


def of_restore(restore_id: str) -> dict[str, str]:
    """The labels of every object that a restore makes."""
    return MANAGED_BY | {RESTORE: restore_id}
