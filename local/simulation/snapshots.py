"""A backup of Longhorn's -> a VolumeSnapshot of it, as Harvester makes one."""

from local.api import JSON, Api, Object, path

VERSION = "snapshot.storage.k8s.io/v1"
CLASS = "longhorn"
DRIVER = "driver.longhorn.io"


def make(  # noqa: PLR0913  # the parts of two objects, by name
    api: Api, name: str, namespace: str, *, content: str, handle: str, policy: str, owner: Object
) -> None:
    """The content first; with POLICY Delete the backup goes with it."""
    of_content = {
        "driver": DRIVER,
        "deletionPolicy": policy,
        "source": {"snapshotHandle": handle},
        "volumeSnapshotClassName": CLASS,
        "volumeSnapshotRef": {"name": name, "namespace": namespace},
    }
    body = {"apiVersion": VERSION, "kind": "VolumeSnapshotContent", "metadata": {"name": content}}
    api.call("POST", path(VERSION, "volumesnapshotcontents"), {**body, "spec": of_content}, JSON)
    metadata = {"name": name, "namespace": namespace, "ownerReferences": [owner]}
    spec = {"source": {"volumeSnapshotContentName": content}, "volumeSnapshotClassName": CLASS}
    snapshot = {"apiVersion": VERSION, "kind": "VolumeSnapshot", "metadata": metadata, "spec": spec}
    api.call("POST", path(VERSION, "volumesnapshots", namespace), snapshot, JSON)
