"""What an installed Harvester has from the start, as far as its controllers look at it."""

from collections.abc import Iterator

from local.api import Object

HARVESTER, LONGHORN, KUBEVIRT = "harvester-system", "longhorn-system", "kubevirt"
NAMESPACES = (HARVESTER, LONGHORN, KUBEVIRT, "harvester-public", "cattle-system")
BACKUP_TARGET = "default"
GATES = (
    "CPUManager",
    "ExpandDisks",
    "GPU",
    "HostDevices",
    "HotplugVolumes",
    "LiveMigration",
    "VMPersistentState",
)
# The settings that webhooks and controllers read; Harvester's own defaults, but for the last.
SETTINGS = {
    "additional-guest-memory-overhead-ratio": "1.5",
    "csi-driver-config": (
        '{"driver.longhorn.io":{"volumeSnapshotClassName":"longhorn-snapshot",'
        '"backupVolumeSnapshotClassName":"longhorn"}}'
    ),
    "overcommit-config": '{"cpu":1600,"memory":150,"storage":200}',
    "server-version": "v1.8.2",
    "volume-snapshot-class": "longhorn",
    "backup-target": "{}",
}


def all_objects() -> Iterator[Object]:
    """In the order in which they can be made."""
    for name in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    yield _kubevirt(KUBEVIRT)
    # Where Harvester's webhooks look for it; without it every creation of a machine is an error.
    yield _kubevirt(HARVESTER)
    yield _virt_api()
    yield _backup_target()
    for name, default in SETTINGS.items():
        yield {
            "apiVersion": "harvesterhci.io/v1beta1",
            "kind": "Setting",
            "metadata": {"name": name},
            "default": default,
            "value": "",
        }


def _kubevirt(namespace: str) -> Object:
    fast = {"restClient": {"rateLimiter": {"tokenBucketRateLimiter": {"qps": 200, "burst": 400}}}}
    configuration = {
        "vmStateStorageClass": "vmstate-persistence",
        "developerConfiguration": {"featureGates": list(GATES)},
        "controllerConfiguration": fast,
        "apiConfiguration": fast,
    }
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt", "namespace": namespace},
        "spec": {"imagePullPolicy": "IfNotPresent", "configuration": configuration},
    }


def _virt_api() -> Object:
    """The API server asks the Service of an APIService: this one leads to loopback."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "virt-api", "namespace": KUBEVIRT},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }


def _backup_target() -> Object:
    spec = {"backupTargetURL": "", "credentialSecret": "", "pollInterval": "5m0s"}
    return {
        "apiVersion": "longhorn.io/v1beta2",
        "kind": "BackupTarget",
        "metadata": {"name": BACKUP_TARGET, "namespace": LONGHORN},
        "spec": spec,
    }
