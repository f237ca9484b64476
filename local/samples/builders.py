"""Restore points, metadata, requests, facts, plans and results with defaults, for tests about
restores.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Unpack

from local.samples.guests import Disk, Traits
from local.samples.harvester import machine
from shared.layouts.harvester import machine_backup
from shared.models.documents import ClusterDocument
from shared.models.restore_plans import ClusterFacts, MachinePlan, MachineResult, Plan
from shared.models.restore_points import RestorePoint, Source, State, Volume
from shared.restore import plan as planning
from shared.restore.plan import Selected
from shared.restore.request import Mapping as RequestMapping
from shared.restore.request import RestoreRequest, restore_request
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


def selected(metadata: Metadata | None = None, **changes: Any) -> Selected:
    metadata = metadata or a_metadata()
    return Selected(a_point(metadata, **changes), metadata)


def facts(**changes: Any) -> ClusterFacts:
    """A target on which the default machine can be restored."""
    usual = {
        "namespaces": {"default": "Active"},
        "storage_classes": {"harvester-longhorn": "Immediate"},
        "snapshot_class": "longhorn",
        "networks": frozenset({"default/vlan100"}),
        "existing": {},
    }
    return ClusterFacts(**(usual | changes))


def request(**changes: Any) -> RestoreRequest:
    """CHANGES as a user types them, such as dryRun=True."""
    body = {"select": {"id": "point-default-web01"}, "target": "west"} | changes
    return restore_request(body, execution_name=EXECUTION)


def wanted(metadata: Metadata | None = None, **mapping: Any) -> Wanted:
    metadata = metadata or a_metadata()
    return Wanted(a_point(metadata), metadata, RequestMapping(**mapping), RESTORE_ID, "longhorn")


def planned(
    *chosen: Selected | Metadata, on: ClusterFacts | None = None, **request_changes: Any
) -> Plan:
    """The plan for metadata, or for points; the default machine where none is given."""
    points = [
        each if isinstance(each, Selected) else selected(each) for each in chosen or (a_metadata(),)
    ]
    return planning.plan(points, request(**request_changes), WEST, on or facts())


def a_machine(
    *chosen: Selected | Metadata, on: ClusterFacts | None = None, **request_changes: Any
) -> MachinePlan:
    """The only machine of such a plan."""
    (only,) = planned(*chosen, on=on, **request_changes).machines
    return only


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
