"""Labels, annotations and driver names that several parts of the project must agree on (contract,
section 5).
"""

MANAGED_BY = {"app.kubernetes.io/managed-by": "replant"}
RESTORE = "replant.dev/restore"
"""On every restored object: the restore that made it."""

BATCH = "replant.dev/batch"
"""On the objects of a restore of several batches: whose machines they are, so that a run lists its
own alone."""

RUN_STRATEGY = "replant.dev/run-strategy"
"""On a machine that a planned failover has halted: the run strategy that it had."""

HALTED_BY = "replant.dev/halted-by"
"""On such a machine: the failover."""

TEMPORARY = "replant.dev/temporary"
"""On the objects of a drill: they may be deleted when they expire."""

EXPIRES = "replant.dev/expires"
ISOLATED = "replant.dev/isolated"
"""On the instance and the pod of a drill's machine: by it a policy cuts it off. KubeVirt's own
label of a pod has the guest's host name, which may be any."""

ORIGIN_CLUSTER = "backup.origin.cluster"
ORIGIN_FINGERPRINT = "backup.origin.fingerprint"
ORIGIN_TAKEN_AT = "backup.origin.taken-at"
ORIGIN_RESTORE_POINT = "backup.origin.restore-point"

LONGHORN_NAMESPACE = "longhorn-system"
LONGHORN_DRIVER = "driver.longhorn.io"
"""Longhorn's CSI driver, as classes, snapshots and Harvester's metadata name it."""

PROVISIONER = "volume.kubernetes.io/storage-provisioner"
"""On a claim: the driver of its volume."""

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
"""On a PersistentVolume: who deletes the volume behind it, where its class says so."""


def of_restore(restore_id: str) -> dict[str, str]:
    """The labels of every object that a restore makes."""
    return MANAGED_BY | {RESTORE: restore_id}
