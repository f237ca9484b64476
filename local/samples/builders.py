"""Restore points, metadata, requests, facts, plans and results with defaults, for tests about
restores.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Unpack

from local.samples.guests import Disk, Traits
from local.samples.harvester import machine
from shared.aws.table import Put, Table
from shared.catalogue import machines, points
from shared.labels import LONGHORN_DRIVER, LONGHORN_NAMESPACE
from shared.layouts.harvester import machine_backup
from shared.models.cluster_facts import ClusterFacts, StorageClass
from shared.models.documents import ClusterDocument
from shared.models.longhorn_facts import DONE, LonghornFacts, LonghornTarget, SyncedBackup
from shared.models.mapping import Mapping as RequestMapping
from shared.models.restore_plans import MachinePlan, MachineResult, Plan
from shared.models.restore_points import RestorePoint, Source, State, Volume
from shared.models.row_keys import CLUSTERS
from shared.models.target_facts import DiskRoom, Right, Rights, TargetFacts, Versions
from shared.restore import plan as planning
from shared.restore.plan import Selected
from shared.restore.request import RestoreRequest, restore_request
from shared.restore.strategies import Live
from shared.restore.wanted import Wanted

Metadata = dict[str, Any]

TAKEN_AT = datetime(2026, 8, 15, 1, tzinfo=UTC)
NOW = datetime(2026, 8, 15, 9, tzinfo=UTC)
WEST = ClusterDocument(id="west", secret="replant/clusters/west")
EXECUTION = "run-1"
RESTORE_ID = "r-4e65d3fbe8ad6535"  # of that execution's name


def disks(vm: str = "web01", count: int = 1, **traits: Any) -> tuple[Disk, ...]:
    """Disks whose claims, volumes and backups carry the machine's name."""
    return tuple(
        Disk(
            **{
                "name": f"disk-{n}",
                "claim": f"{vm}-disk-{n}",
                "volume": f"pvc-{vm}-{n}",
                "backup": f"backup-{vm}-{n}",
            }
            | traits
        )
        for n in range(count)
    )


def a_metadata(
    vm: str = "web01",
    namespace: str = "default",
    *,
    version: str = "1.8",
    backup: str = "nightly",
    disks_: tuple[Disk, ...] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    edit: Callable[[Metadata], object] | None = None,
    **traits: Unpack[Traits],
) -> Metadata:
    """What Harvester wrote beside a machine's backup; EDIT bends it."""
    _, body = machine(
        vm,
        namespace,
        version=version,
        backup=backup,
        disks=disks_ or disks(vm),
        labels=labels,
        annotations=annotations,
        edit=edit,
        **traits,
    )
    return dict(json.loads(body))


def a_point(metadata: Metadata | None = None, **changes: Any) -> RestorePoint:
    """The restorable point that the catalogue makes of METADATA once all its volumes are there."""
    known = machine_backup(json.dumps(metadata or a_metadata()).encode())
    shared = {
        "disk",
        "claim",
        "size_bytes",
        "storage_class",
        "image",
        "engine_volume",
        "engine_backup",
    }
    volumes = tuple(
        Volume(**disk.model_dump(include=shared), state=State.RESTORABLE) for disk in known.disks
    )
    usual = {
        "id": f"point-{known.namespace}-{known.vm}",
        "cluster": "east",
        "target": "east-s3",
        "layout": "harvester",
        "taken_at": TAKEN_AT,
        "taken_at_source": "longhorn",
        "indexed_at": TAKEN_AT,
        "state": State.RESTORABLE,
        "fingerprint": "sha256:00ff",
        "source": Source(
            bucket="backups",
            key=f"harvester/vmbackups/{known.namespace}/{known.backup}.cfg",
            etag="e",
            sequencer="0",
        ),
        "volumes": volumes,
    }
    facts_of_backup = {
        name: getattr(known, name) for name in ("namespace", "vm", "backup", "machine", "networks")
    }
    return RestorePoint(**facts_of_backup, secrets=known.secrets, **(usual | changes))


def rows(table: Table, point: RestorePoint, now: datetime) -> list[Put]:
    """What the catalogue TABLE keeps of a point that it does not have yet."""
    item = points.item_of(point, None, now) | {"revision": 1}
    listed = machines.Listed.of(point)
    table.put_many([{"pk": CLUSTERS, "sk": point.cluster}])
    also = machines.changes(table, None, listed, table.get, expires=now)
    return [Put(item, "attribute_not_exists(pk)", {}), *also.puts]


def selected(metadata: Metadata | None = None, **changes: Any) -> Selected:
    metadata = metadata or a_metadata()
    return Selected(a_point(metadata, **changes), metadata)


RIGHTS = Rights(rules=(Right(groups=("*",), resources=("*",), verbs=("*",)),))


def facts(**changes: Any) -> ClusterFacts:
    """A target on which the default machine can be restored. CHANGES are also those of what it can
    be planned without.
    """
    target = {name: changes.pop(name) for name in changes.keys() & set(TargetFacts._fields)}
    usual: dict[str, Any] = {
        "namespaces": {"default": "Active"},
        "storage_classes": {"harvester-longhorn": a_class()},
        "snapshot_class": "longhorn",
        "networks": frozenset({"default/vlan100"}),
        "existing": {},
        "target": surroundings(**target),
    }
    return ClusterFacts(**(usual | changes))


def surroundings(**changes: Any) -> TargetFacts:
    """A Harvester with room for everything, whose account may do all."""
    usual = {
        "versions": Versions(
            kubernetes="v1.34.1+rke2r1", harvester="v1.8.2", longhorn="v1.11.3", kubevirt="v1.7.0"
        ),
        "disks": tuple(DiskRoom(node=f"node-{n}", name="disk-1", room=2**50) for n in range(3)),
    }
    return TargetFacts(**(usual | changes))


def a_class(**changes: Any) -> StorageClass:
    """One of Longhorn's, as Harvester makes its own."""
    usual = {"provisioner": LONGHORN_DRIVER, "parameters": {"migratable": "true"}}
    return StorageClass(**(usual | changes))


def knows(*points: RestorePoint, **changes: Any) -> LonghornFacts:
    """A Longhorn that has read the backups of restore points in its default backup target."""
    backups = {
        volume.engine_backup: SyncedBackup(
            target="default",
            volume=volume.engine_volume or "",
            state=DONE,
            size_bytes=volume.size_bytes,
        )
        for point in points
        for volume in point.volumes
        if volume.engine_backup
    }
    targets = {"default": LonghornTarget(uid="t", url="s3://backups@us-east-1/")}
    usual: dict[str, Any] = {"targets": targets, "backups": backups}
    return LonghornFacts(**(usual | changes))


def request(**changes: Any) -> RestoreRequest:
    """CHANGES as a user types them, such as dryRun=True."""
    body = {"select": {"id": "point-default-web01"}, "target": "west"} | changes
    return restore_request(body, execution_name=EXECUTION)


def wanted(metadata: Metadata | None = None, **mapping: Any) -> Wanted:
    metadata = metadata or a_metadata()
    point = a_point(metadata)
    asked = request().model_copy(update={"mapping": RequestMapping(**mapping)})
    return Wanted(point, metadata, asked, "west", facts(longhorn=knows(point)))


def planned(
    *chosen: Selected | Metadata, on: ClusterFacts | None = None, **request_changes: Any
) -> Plan:
    """The plan for metadata, or for points; the default machine where none is given.

    Longhorn knows their backups, and the account may do all, unless ON says otherwise.
    """
    points = [
        each if isinstance(each, Selected) else selected(each) for each in chosen or (a_metadata(),)
    ]
    there = on or facts()
    if there.longhorn == LonghornFacts():
        known = knows(*(each.point for each in points))
        there = there._replace(longhorn=known)
    asked = request(**request_changes).named()
    if not there.target.rights:
        names = {asked.mapping.namespace(each.point.namespace) for each in points}
        rights = dict.fromkeys(names | {LONGHORN_NAMESPACE}, RIGHTS)
        target = there.target._replace(rights=rights)
        there = there._replace(target=target)
    return planning.plan(points, asked, WEST, there)


def a_machine(
    *chosen: Selected | Metadata, on: ClusterFacts | None = None, **request_changes: Any
) -> MachinePlan:
    """The only machine of such a plan."""
    (only,) = planned(*chosen, on=on, **request_changes).machines
    return only


def a_disk(claim: str = "web01-disk-0", namespace: str = "default", percent: int = 100) -> Live:
    """A bound claim on a target cluster, with that much of its data."""
    volume = f"pvc-{claim}"
    copying = {"restoreInitiated": True, "restoreRequired": percent < 100}
    progress = {"restoreStatus": {"tcp://10.0.0.1:10000": {"progress": percent}}}
    return {
        ("PersistentVolumeClaim", namespace, claim): {
            "spec": {"volumeName": volume},
            "status": {"phase": "Bound"},
        },
        ("Volume", LONGHORN_NAMESPACE, volume): {
            "spec": {"fromBackup": "s3://backups@us-east-1/?backup=…"},
            "status": copying,
        },
        ("Engine", LONGHORN_NAMESPACE, volume): {"status": progress},
    }


def a_result(machine: MachinePlan, **changes: Any) -> MachineResult:
    """What became of a machine of a plan so far: nothing yet."""
    usual = {
        "key": machine.key,
        "id": machine.id,
        "vm": machine.name,
        "namespace": machine.namespace,
        "attempt": 1,
    }
    return MachineResult(**(usual | changes))


def manifest(machine: MachinePlan, kind: str, number: int = 0) -> dict[str, Any]:
    """Of a machine's objects of a kind, the one of that number, as it will be applied."""
    return [each.manifest for each in machine.objects if each.kind == kind][number]
