"""One disk's objects for the strategy mount, and whether its image can be run where it lies."""

import posixpath
from collections.abc import Iterator

from shared.models.restore_plans import Check, PlannedObject
from shared.models.restore_points import Volume
from shared.restore import names
from shared.restore.wanted import Wanted, build_object
from shared.validation import short, shown

CHECK = "image"
FILE = "disk.img"
READ_ONLY = "ReadOnlyMany"
NO_FOLDERS = ("", ".", "..")


def check_disk(wanted: Wanted, volume: Volume) -> Iterator[Check]:
    if problem := _problem(wanted, volume):
        yield wanted.block(CHECK, f"Disk {short(volume.disk)} {problem}")
        return
    said = f"Disk {short(volume.disk)} is read from {_address(wanted, volume)} and never written."
    yield wanted.ok(CHECK, f"{said} QEMU's user 107 must be able to read it there.")
    if volume == wanted.point.volumes[0]:
        said = "What the machine writes is kept beside its images while it runs"
        yield wanted.warn("overlay", f"{said}, and is lost when it stops.")


def _problem(wanted: Wanted, volume: Volume) -> str | None:
    """Why KubeVirt could not have it so, with what can be done: the rest of a sentence."""
    target, images, key = wanted.point.target, wanted.images, volume.file or ""
    if images.share is None:
        return (
            f"lies in target {target}, whose document does not say where the nodes of"
            f" {wanted.target} can mount its files. Add nfs: {{server: …, path: …}} to"
            f" targets/{target}.yaml, or use mode standard, which imports it."
        )
    found = images.disks.get(volume.disk)
    if found is None:
        return f"has no image in the catalogue any more: {shown(key)}. Start the restore again."
    if (form := found.files[0].format) != "raw":
        return (
            f"is the {form} image {shown(key)}, and KubeVirt runs only raw ones from where they"
            f" lie. Write it as one: qemu-img convert -O raw IMAGE FOLDER/{FILE}. Or use mode"
            " standard, which imports it."
        )
    if posixpath.basename(key) != FILE:
        return (
            f"is the image {shown(key)}, and KubeVirt takes the file {FILE} of the folder that it"
            " mounts. Give it that name, in a folder of its own, or use mode standard, which"
            " imports it."
        )
    if set(_below(wanted, volume).split("/")) & set(NO_FOLDERS):
        return f"lies in {shown(key)}, which leads out of the target. Move its folder."
    return None


def make_disk(wanted: Wanted, volume: Volume) -> Iterator[PlannedObject]:
    claim = wanted.claims[volume.claim]
    name = names.of_disk(wanted.restore_id, wanted.namespace, claim)
    size = {"storage": str(volume.size_bytes)}
    of_both = {"accessModes": [READ_ONLY], "volumeMode": "Filesystem", "storageClassName": ""}
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": wanted.namespace,
        "name": claim,
    }
    share = wanted.images.share
    server = share.server if share else ""
    spec = {
        **of_both,
        "capacity": size,
        "claimRef": reference,
        # What is deleted on the cluster never touches the backup.
        "persistentVolumeReclaimPolicy": "Retain",
        "mountOptions": ["ro"],
        "nfs": {"server": server, "path": _folder(wanted, volume), "readOnly": True},
    }
    reason = f"{volume.disk}: {_address(wanted, volume)}, only read"
    yield build_object(wanted, "PersistentVolume", name, {"spec": spec}, reason=reason)
    spec = {**of_both, "volumeName": name, "resources": {"requests": size}}
    reason = f"{volume.disk}: the folder that holds its image"
    yield build_object(wanted, "PersistentVolumeClaim", claim, {"spec": spec}, reason=reason)


def _below(wanted: Wanted, volume: Volume) -> str:
    """The image's folder, below the target's."""
    return posixpath.dirname((volume.file or "").removeprefix(wanted.images.prefix))


def _folder(wanted: Wanted, volume: Volume) -> str:
    """Where the share has it; empty where there is no share, which a check tells."""
    share = wanted.images.share
    return posixpath.join(share.path, _below(wanted, volume)) if share else ""


def _address(wanted: Wanted, volume: Volume) -> str:
    share = wanted.images.share
    return f"nfs://{share.server if share else ''}{_folder(wanted, volume)}/{FILE}"
