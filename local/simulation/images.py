"""Harvester's images that are restored: a VirtualMachineImage in, its BackingImage and its storage
class out. Deleting it deletes both, and its metadata in the bucket.

As harvester pkg/image/backingimage does since 1.8.2: the BackingImage has the name that it had, and
one that somebody else has made is never given a class.
"""

from urllib.parse import parse_qs, urlsplit

from local.api import JSON, MERGE, Object, path
from local.longhorn import target
from local.longhorn.resources import NAMESPACE
from local.longhorn.resources import VERSION as LONGHORN
from local.simulation.controller import Controller

HARVESTER = "harvesterhci.io/v1beta1"
STORAGE = "storage.k8s.io/v1"
PLURAL = "virtualmachineimages"
FINALIZER = "wrangler.cattle.io/simulated-image"
OF_IMAGE = "harvesterhci.io/imageId"
PARAMETERS = {"migratable": "true", "numberOfReplicas": "3", "staleReplicaTimeout": "30"}


class Images(Controller):
    """Of one cluster."""

    def look(self) -> None:
        for image in self.api.call("GET", path(HARVESTER, PLURAL))["items"]:
            if image["metadata"].get("deletionTimestamp"):
                self._remove(image)
            elif image["spec"]["sourceType"] == "restore" and not image.get("status"):
                self._restore(image)

    def _restore(self, image: Object) -> None:
        name, metadata = _backing_image(image), image["metadata"]
        if self.get(LONGHORN, "backingimages", NAMESPACE, name):
            return
        annotations = {OF_IMAGE: f"{metadata['namespace']}/{metadata['name']}"}
        made = {
            "apiVersion": LONGHORN,
            "kind": "BackingImage",
            "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
            "spec": {
                "checksum": image["spec"].get("checksum", ""),
                "sourceType": "restore",
                "sourceParameters": {"backup-url": image["spec"]["url"]},
            },
        }
        self.api.call("POST", path(LONGHORN, "backingimages", NAMESPACE), made, JSON)
        self.api.apply(_storage_class(name))
        change = {
            "metadata": {"finalizers": [FINALIZER]},
            "status": {"storageClassName": _of(name)},
        }
        self._tell(image, change)

    def _remove(self, image: Object) -> None:
        """Until its status says so, nothing was made of it."""
        if image.get("status"):
            name, metadata = _backing_image(image), image["metadata"]
            for where in (
                path(LONGHORN, "backingimages", NAMESPACE, name),
                path(STORAGE, "storageclasses", None, _of(name)),
            ):
                self.api.call("DELETE", where)
            key = f"harvester/vmimages/{metadata['namespace']}/{metadata['name']}.cfg"
            store = target.store(self.api, "default")
            store.delete(store.where.prefix + key)
        self._tell(image, {"metadata": {"finalizers": None}})

    def _tell(self, image: Object, change: Object) -> None:
        metadata = image["metadata"]
        where = path(HARVESTER, PLURAL, metadata["namespace"], metadata["name"])
        self.api.call("PATCH", where, change, MERGE)


def _backing_image(image: Object) -> str:
    (name,) = parse_qs(urlsplit(str(image["spec"]["url"])).query)["backingImage"]
    return name


def _of(backing_image: str) -> str:
    """The name of its storage class."""
    return f"lh-{backing_image.removeprefix('vmi-')}"


def _storage_class(backing_image: str) -> Object:
    return {
        "apiVersion": STORAGE,
        "kind": "StorageClass",
        "metadata": {"name": _of(backing_image)},
        "provisioner": "driver.longhorn.io",
        "parameters": {"backingImage": backing_image, **PARAMETERS},
    }
