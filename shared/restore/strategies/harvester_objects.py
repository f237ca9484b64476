"""A machine's objects for the strategy harvester.

A VirtualMachineRestore names the claims that it makes in its status, which Harvester fills in where
it is empty (harvester pkg/controller/master/backup/restore.go, getVolumeRestores): so they have the
names of the plan, by which they are found again.
"""

from collections.abc import Iterator
from typing import Any

from shared import labels
from shared.jsonpath import dig
from shared.models.mapping import Mac
from shared.models.restore_plans import Fill, Maker, PlannedObject
from shared.models.restore_points import Volume
from shared.restore import manifests, names
from shared.restore.request import Mode
from shared.restore.strategies import claims
from shared.restore.virtual_machine import RUN_STRATEGY, one_per_claim
from shared.restore.wanted import Wanted, build_object, claim_number

FILLED = {"source": "vmSourceSpec", "volumeBackups": "volumeBackups"}
"""Of the backup's status, what the metadata has (pkg/controller/master/backup/
backup_metadata.go, createVMBackupIfNotExist): user data and passwords among it."""

SECRETS = "secretBackups"


def make(wanted: Wanted) -> Iterator[PlannedObject]:
    yield _backup(wanted)
    if wanted.request.mode is Mode.REGISTER:
        return
    yield _restore(wanted)
    disks = [make_claim(wanted, volume) for volume in one_per_claim(wanted.point.volumes)]
    yield from disks
    yield _machine(wanted, disks)


def _backup(wanted: Wanted) -> PlannedObject:
    """Its status is all that Harvester knows of it: without one it would back up the machine."""
    point, setting = wanted.point, wanted.facts.harvester
    target = {
        "endpoint": setting.endpoint,
        "bucketName": setting.bucket,
        "bucketRegion": setting.region,
    }
    filled = {**FILLED, **({SECRETS: SECRETS} if wanted.metadata.get(SECRETS) else {})}
    return build_object(
        wanted,
        "VirtualMachineBackup",
        point.backup,
        {
            "spec": wanted.metadata["backupSpec"],
            "status": {"readyToUse": False, "backupTarget": target},
        },
        reason=f"registered from {point.source.url}",
        fills=tuple(Fill(to=("status", to), source=(of,)) for to, of in filled.items()),
        namespace=point.namespace,
    )


def _restore(wanted: Wanted) -> PlannedObject:
    point = wanted.point
    spec: dict[str, Any] = {
        "target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": wanted.name},
        "virtualMachineBackupName": point.backup,
        "virtualMachineBackupNamespace": point.namespace,
        "newVM": True,
        "deletionPolicy": "retain",
        "keepMacAddress": wanted.mapping.mac is Mac.KEEP,
    }
    if wanted.facts.harvester.halts:
        spec["haltAfterRestore"] = True
    made = [_made(wanted, volume) for volume in _in_order(wanted)]
    return build_object(
        wanted,
        "VirtualMachineRestore",
        _name(wanted),
        {"spec": spec, "status": {"complete": False, "restores": made}},
        reason=f"Harvester makes {wanted.key} of {point.namespace}/{point.backup}",
    )


def _in_order(wanted: Wanted) -> list[Volume]:
    """As the backup has them: by their numbers Harvester puts volumes and backups together."""
    return sorted(
        one_per_claim(wanted.point.volumes),
        key=lambda volume: claim_number(wanted.metadata, volume.claim),
    )


def _made(wanted: Wanted, volume: Volume) -> dict[str, Any]:
    backup = wanted.metadata["volumeBackups"][claim_number(wanted.metadata, volume.claim)]
    planned = make_claim(wanted, volume)
    return {
        "volumeName": backup["volumeName"],
        "volumeBackupName": backup["name"],
        "persistentVolumeClaimSpec": {
            "metadata": {"name": planned.name, "namespace": wanted.namespace},
            "spec": planned.manifest["spec"],
        },
    }


def _name(wanted: Wanted) -> str:
    return names.of_disk(wanted.restore_id, wanted.namespace, wanted.name)


def _maker(wanted: Wanted) -> Maker:
    return Maker(kind="VirtualMachineRestore", name=_name(wanted), notes=labels.RESTORED_BY)


def make_claim(wanted: Wanted, volume: Volume) -> PlannedObject:
    """As Harvester makes it, but for what it takes along of the source's labels."""
    planned = claims.make(wanted, volume, {})
    made = build_object(
        wanted,
        "PersistentVolumeClaim",
        planned.name,
        {"spec": planned.manifest["spec"]},
        reason=f"{volume.disk}: of backup {volume.engine_backup}",
    )
    return made.model_copy(update={"maker": _maker(wanted)})


def _machine(wanted: Wanted, disks: list[PlannedObject]) -> PlannedObject:
    """As Harvester makes it, as far as that concerns quotas and names. Its note of the run strategy
    is ours: without it, Harvester's webhook starts every machine as RerunOnFailure.
    """
    planned = manifests.machine(wanted, disks)
    note = dig(planned.manifest, "metadata", "annotations", RUN_STRATEGY)
    made = build_object(
        wanted,
        "VirtualMachine",
        wanted.name,
        {"spec": planned.manifest["spec"]},
        source={"annotations": {RUN_STRATEGY: note} if note else {}},
        reason=f"{wanted.point.namespace}/{wanted.point.vm} of {wanted.point.cluster}",
    )
    return made.model_copy(update={"maker": _maker(wanted)})
