"""One disk's objects for the strategy longhorn, and what a storage class says about them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from shared import labels, versions
from shared.jsonpath import dig
from shared.models.restore_plans import Check, PlannedObject
from shared.models.restore_points import Volume
from shared.models.standby_facts import StandbyVolume
from shared.restore import names, standby, volume_parameters
from shared.restore.class_checks import CHECK, SHARED
from shared.restore.request import Mode
from shared.restore.strategies import claims, images
from shared.restore.wanted import Wanted, build_object
from shared.validation import listed, short

FILESYSTEM = "Filesystem"
JOBS_SINCE = (1, 4)
"""Longhorn's version from which on a volume says what becomes of its backup's recurring jobs."""

DEFAULT_FILE_SYSTEM = "ext4"  # of external-provisioner, as Longhorn deploys it


class _Disk(NamedTuple):
    """A disk, the claim of the backup, and the parameters of its class on the target."""

    wanted: Wanted
    volume: Volume
    claim: dict[str, Any]
    parameters: dict[str, str]

    @classmethod
    def of(cls, wanted: Wanted, volume: Volume) -> "_Disk":
        found = wanted.facts.storage_classes.get(wanted.storage_class(volume) or "")
        parameters = dict(found.parameters) if found else {}
        return cls(wanted, volume, claims.source(wanted, volume), parameters)

    @property
    def name(self) -> str:
        """Of the volume and of the PersistentVolume."""
        wanted = self.wanted
        if self.standby:
            return self.standby.name
        claim = wanted.claims[self.volume.claim]
        return names.of_disk(wanted.restore_id, wanted.namespace, claim)

    @property
    def standby(self) -> StandbyVolume | None:
        """What holds its data already."""
        return standby.find(self.volume, self.wanted.facts.standby)

    @property
    def mode(self) -> str:
        return dig(self.claim, "spec", "volumeMode") or FILESYSTEM

    @property
    def is_shared(self) -> bool:
        return SHARED in (dig(self.claim, "spec", "accessModes") or [])

    @property
    def secrets(self) -> dict[str, dict[str, str] | None]:
        known = {
            "pv.name": self.name,
            "pvc.name": self.wanted.claims[self.volume.claim],
            "pvc.namespace": self.wanted.namespace,
        }
        return volume_parameters.secrets(self.parameters, known)


def check_class(wanted: Wanted, volume: Volume) -> Iterator[Check]:
    """Whether a Volume can be made as the CSI driver would make it for a claim of the class."""
    disk = _Disk.of(wanted, volume)
    read = volume_parameters.read(disk.parameters)
    what = f"Storage class {short(wanted.storage_class(volume) or '')} ({short(volume.disk)})"
    words = [name for name, each in disk.secrets.items() if each is None]
    problems = [*read.problems, *(f"its {name} is named by an annotation" for name in words)]
    for problem in problems:
        said = f"{what} cannot be followed without Longhorn's CSI driver: {problem}."
        yield wanted.block(CHECK, f"{said} Map it to another one, or use strategy csi.")
    if read.left_out:
        said = f"{what} has parameters that only Longhorn's CSI driver follows"
        yield wanted.warn(CHECK, f"{said}: {listed(read.left_out)}. Its volumes get the defaults.")


def make_disk(wanted: Wanted, volume: Volume) -> Iterator[PlannedObject]:
    disk = _Disk.of(wanted, volume)
    yield _take(disk, disk.standby) if disk.standby else _volume(disk)
    yield _persistent_volume(disk)
    made_of = {"volumeName": disk.name, "storageClassName": wanted.storage_class(volume)}
    # By it Harvester knows whose volume it is; the volume binder writes it where it asks for one.
    provisioner = {labels.PROVISIONER: labels.LONGHORN_DRIVER}
    yield claims.make(wanted, volume, made_of, annotations=provisioner)


def _take(disk: _Disk, standby: StandbyVolume) -> PlannedObject:
    """It has the replicas of its class already, whatever the mode."""
    backup = disk.volume.engine_backup or ""
    marks: dict[str, str | None] = {labels.STANDBY: None}
    if disk.wanted.request.mode is Mode.EMERGENCY:
        marks[labels.UNBACKED] = "enabled"  # what is deleted soon is not backed up
    found = build_object(
        disk.wanted,
        "Volume",
        standby.name,
        {"spec": {"Standby": False, "frontend": "blockdev"}},
        reason=f"{disk.volume.disk}: stands by with {backup}",
        source={"labels": marks, "annotations": {labels.HOLDS: backup}},
        namespace=labels.LONGHORN_NAMESPACE,
    )
    return found.model_copy(update={"taken": True})


def make_standby(wanted: Wanted, volume: Volume, plan: str) -> Iterator[PlannedObject]:
    """As a restore would make it, without a frontend as long as nobody uses it, after the image
    that it lies over, where the target lacks that. They are no restore's; one takes the volume.
    """
    for image in images.make(wanted, volume):
        yield _kept_for(plan, image)
    point = wanted.point
    made = _volume(_Disk.of(wanted, volume))
    spec = {k: v for k, v in made.manifest["spec"].items() if k != "frontend"}
    name = standby.name_of(plan, point.cluster, volume.engine_volume or "")
    manifest = {**made.manifest, "spec": {**spec, "Standby": True}}
    renamed = made.model_copy(update={"name": name, "manifest": manifest})
    yield _kept_for(plan, renamed, {labels.STANDBY_OF: f"{point.namespace}/{point.vm}"})


def _kept_for(
    plan: str, made: PlannedObject, annotations: Mapping[str, str] | None = None
) -> PlannedObject:
    metadata = {
        "name": made.name,
        "namespace": labels.LONGHORN_NAMESPACE,
        "labels": {**labels.MANAGED_BY, labels.STANDBY: plan},
        "annotations": annotations or {},
    }
    return made.model_copy(update={"manifest": {**made.manifest, "metadata": metadata}})


def _volume(disk: _Disk) -> PlannedObject:
    """What Longhorn's webhook adds is left to it: the backup's image, and its size once more."""
    read = volume_parameters.read(disk.parameters)
    annotations = {}
    if disk.wanted.request.mode is Mode.EMERGENCY:
        usual = read.fields.get("numberOfReplicas", volume_parameters.DEFAULT_REPLICAS)
        annotations = {labels.REPLICAS: str(usual)}
        # One replica is copied the soonest; and what is deleted soon is not backed up.
        alone = {**read.fields, "numberOfReplicas": 1, **_without_jobs(disk)}
        read = read._replace(fields=alone, labels={labels.UNBACKED: "enabled"})
    url = _url(disk.wanted, disk.volume)
    migratable = disk.parameters.get(volume_parameters.MIGRATABLE) == "true"
    spec = {
        "fromBackup": url,
        "size": str(disk.wanted.size(disk.volume)),
        "frontend": "blockdev",
        "accessMode": "rwx" if disk.is_shared else "rwo",
        "migratable": migratable and disk.is_shared,
        **read.fields,
    }
    return build_object(
        disk.wanted,
        "Volume",
        disk.name,
        {"spec": spec},
        reason=f"{disk.volume.disk}: {url}",
        source={"labels": read.labels, "annotations": annotations},
        namespace=labels.LONGHORN_NAMESPACE,
    )


def _without_jobs(disk: _Disk) -> dict[str, str]:
    """Not those that the backup's volume had, either: a setting of Longhorn's has them come back
    with it.
    """
    told = disk.wanted.facts.target.versions.longhorn
    known = versions.parse(told) if told else None
    if known and known.line >= JOBS_SINCE:
        return {"restoreVolumeRecurringJob": "disabled"}
    return {}


def _url(wanted: Wanted, volume: Volume) -> str:
    """How Longhorn names the backup (backupstore, EncodeBackupURL): as it says, or as it will once
    it has read it.
    """
    longhorn = wanted.facts.longhorn
    known = longhorn.backups.get(volume.engine_backup or "")
    if known and known.url:
        return known.url
    reader = longhorn.reader_of(wanted.point.source)
    target = longhorn.targets[reader].url if reader else ""
    backup, name = (quote_plus(each or "") for each in (volume.engine_backup, volume.engine_volume))
    return f"{target}?backup={backup}&volume={name}"


def _persistent_volume(disk: _Disk) -> PlannedObject:
    """As external-provisioner makes it, so that the volume goes with its claim where the class says
    so.
    """
    wanted = disk.wanted
    storage_class = wanted.storage_class(disk.volume)
    found = wanted.facts.storage_classes.get(storage_class or "")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": wanted.namespace,
        "name": wanted.claims[disk.volume.claim],
    }
    spec = {
        "accessModes": dig(disk.claim, "spec", "accessModes"),
        "capacity": {"storage": str(wanted.size(disk.volume))},
        "claimRef": claim,
        "csi": _csi(disk),
        "persistentVolumeReclaimPolicy": found.reclaim if found else "Delete",
        "storageClassName": storage_class,
        "volumeMode": disk.mode,
    }
    return build_object(
        wanted,
        "PersistentVolume",
        disk.name,
        {"spec": spec},
        reason=f"{disk.volume.disk}: for claim {claim['name']} alone",
        source={"annotations": {labels.PROVISIONED_BY: labels.LONGHORN_DRIVER}},
    )


def _csi(disk: _Disk) -> dict[str, Any]:
    """What its driver is told when it is used."""
    attributes = volume_parameters.attributes(disk.parameters)
    if disk.is_shared:
        attributes["share"] = "true"
    told: dict[str, Any] = {
        "driver": labels.LONGHORN_DRIVER,
        "volumeHandle": disk.name,
        "volumeAttributes": attributes,
        **{field: each for field, each in disk.secrets.items() if each},
    }
    if disk.mode == FILESYSTEM:
        named = disk.parameters.get(volume_parameters.FILE_SYSTEM)
        told["fsType"] = named or disk.parameters.get("fsType") or DEFAULT_FILE_SYSTEM
    return told
