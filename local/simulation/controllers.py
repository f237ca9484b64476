"""A cluster's objects in, the status that its missing controllers would give them out.

Simulated are the CSI side-cars with Longhorn's controller (VolumeSnapshotContent ready,
PersistentVolume made), KubeVirt (VirtualMachine running, its VirtualMachineInstance), Harvester's
backups, restores and images, and CDI's imports. The snapshot-controller and the binder of volumes
between them are the real ones, and beside them runs Longhorn without data (local/longhorn). kopf
watches, through event handlers only, so that it leaves no trace on the objects; what is to be done
is decided over all objects together (storage.py and machines.py), because claims wait for snapshots
and machines for claims.

Faults and delays: a ConfigMap `replant-simulation` in the namespace `default`, read anew whenever
it changes. It touches what is not ready yet; a machine that runs keeps running.

| key | effect |
| --- | --- |
| delaySeconds | contents, claims and machines stay as they are so long after they were first seen |
| neverReady | a glob on a VirtualMachine's `namespace/name`: it stays Starting |
| snapshotError | a glob on a VolumeSnapshotContent's handle: it has an error, never becomes ready |
| restoreSeconds | how long a volume takes to get its data; 0, the default, is at once |
| restoreError | a glob on a backup's name: volumes made of it fail, with Longhorn's own words |
"""

from local.simulation.backups import Backups
from local.simulation.images import Images
from local.simulation.imports import Imports
from local.simulation.machines import machine_steps
from local.simulation.restores import Restores
from local.simulation.storage import claim_steps, content_steps, volume_steps
from local.watch import loop

WATCHED = (
    ("", "v1", "configmaps"),
    ("", "v1", "events"),
    ("", "v1", "persistentvolumeclaims"),
    ("", "v1", "persistentvolumes"),
    ("storage.k8s.io", "v1", "storageclasses"),
    ("snapshot.storage.k8s.io", "v1", "volumesnapshots"),
    ("snapshot.storage.k8s.io", "v1", "volumesnapshotcontents"),
    ("k8s.cni.cncf.io", "v1", "network-attachment-definitions"),
    ("kubevirt.io", "v1", "virtualmachines"),
    ("kubevirt.io", "v1", "virtualmachineinstances"),
    ("longhorn.io", "v1beta2", "backingimages"),
    ("longhorn.io", "v1beta2", "backups"),
    ("longhorn.io", "v1beta2", "backupvolumes"),
    ("longhorn.io", "v1beta2", "volumes"),
)

DECISIONS = {
    "volumesnapshotcontents": content_steps,
    "persistentvolumeclaims": claim_steps,
    "persistentvolumes": volume_steps,
    "virtualmachines": machine_steps,
}


if __name__ == "__main__":
    loop.main(
        "Simulated controllers of one cluster",
        WATCHED,
        DECISIONS,
        Backups,
        Restores,
        Images,
        Imports,
    )
