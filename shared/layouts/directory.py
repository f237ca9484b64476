"""Backups that no Harvester wrote, a folder a restore point -> models (contract, section 8).

`metadata` is a KubeVirt VirtualMachine, read as leniently as Harvester's records, or a document of
our own, read strictly. docs/layouts.md is for those who write such folders.
"""

import hashlib
import json
from collections import Counter
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from shared import strict_yaml
from shared.errors import Unreadable
from shared.images.header import L1_ENTRY, SECTOR, read_header, read_tables
from shared.layouts import harvester, harvester_schema, parsing
from shared.models.backups import (
    Chain,
    DiskFile,
    FileDisk,
    FilePath,
    FolderBackup,
    Format,
    Link,
)
from shared.models.base import (
    Bytes,
    ClusterId,
    Instant,
    Label,
    LabelKey,
    LabelValue,
    Name,
    Value,
    matching,
)
from shared.models.restore_points import Machine, NetworkInterface
from shared.validation import explain, keys_where, shown

METADATA_LIMIT = 2**20
"""Bytes. A machine's manifest has some ten thousand."""

MOST_LINKS = 10_000
KUBEVIRT = "kubevirt.io"

_Sum = Annotated[str, matching("[0-9a-f]{64}", "a SHA-256 in 64 hexadecimal digits")]
_UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

_T = TypeVar("_T", bound=Value)


class _Disk(Value):
    name: Name
    file: FilePath
    format: Format
    size_bytes: Bytes | None = None
    sha256: _Sum | None = None


class _Network(Value):
    interface: Annotated[str, Field(min_length=1, max_length=253)]
    network: Annotated[str, Field(min_length=1, max_length=317)]
    mac: Annotated[str, Field(max_length=17)] | None = None


class _Document(Value):
    """Our own metadata; FIRMWARE is the UUID that the guest knows."""

    name: Name
    namespace: Label
    cluster: ClusterId | None = None
    created_at: Instant
    cpu: Annotated[int, Field(ge=1, lt=2**15)]
    memory_bytes: Annotated[int, Field(gt=0, lt=2**63)]
    firmware: Annotated[str, matching(_UUID, "the UUID of the guest's firmware")] | None = None
    labels: dict[LabelKey, LabelValue] = {}
    disks: Annotated[tuple[_Disk, ...], Field(min_length=1, max_length=harvester.MOST_DISKS)]
    networks: tuple[_Network, ...] = ()


class _Snapshot(Value):
    name: Annotated[str, Field(min_length=1, max_length=253)]
    file: FilePath
    parent: FilePath | None = None
    created_at: Instant | None = None
    sha256: _Sum | None = None


class _Snapshots(Value):
    snapshots: Annotated[tuple[_Snapshot, ...], Field(max_length=MOST_LINKS)]


def folder_backup(name: str, body: bytes) -> FolderBackup:
    """NAME is the file's, whose ending says whether it is YAML or JSON. Raises Unreadable."""
    value = read_mapping(name, body)
    group = str(value.get("apiVersion", "")).rpartition("/")[0]
    if value.get("kind") == "VirtualMachine" and group in ("", KUBEVIRT):
        return _manifest(value)
    if "kind" in value or "apiVersion" in value:
        raise Unreadable(
            "It is a manifest of another kind. Expected is a VirtualMachine of kubevirt.io/v1, or"
            " the document that docs/layouts.md describes."
        )
    return _own(value)


def chain(body: bytes) -> Chain:
    """Raises Unreadable, also where a file is there twice."""
    told = _validated(_Snapshots, parsing.document(body))
    links = [Link(file=e.file, parent=e.parent, sha256=e.sha256) for e in told.snapshots]
    if len({each.file for each in links}) < len(links):
        raise Unreadable("snapshots: a file is there twice. Keep one entry for each.")
    return Chain(links=tuple(links))


def disk_file(name: str, start: bytes, size: int) -> DiskFile:
    """By the first bytes of the image NAME of SIZE bytes; what is no qcow2 is raw, unless it is
    called one. Raises Unreadable.
    """
    image = read_header(start)
    if image is None:
        return _raw(name, size)
    tables = read_tables(start)
    if tables.l1_offset + tables.l1_entries * L1_ENTRY > size:
        raise Unreadable(
            f"The qcow2 image ends after {size} bytes, before its first table does, probably an"
            " interrupted upload. Copy it again."
        )
    return DiskFile(
        format="qcow2",
        size_bytes=image.virtual_size,
        backing_file=image.backing_file,
        backing_format=image.backing_format,
    )


def _raw(name: str, size: int) -> DiskFile:
    if name.endswith(".qcow2"):
        raise Unreadable(
            "It is called .qcow2 and is no qcow2 image. Copy it again, or call a raw image .raw."
        )
    if size < SECTOR:
        raise Unreadable(f"It has {size} bytes, and a disk has at least {SECTOR}. Copy it again.")
    return DiskFile(format="raw", size_bytes=size)


def read_mapping(name: str, body: bytes) -> dict[str, Any]:
    """The document as it is written. Raises Unreadable."""
    if name.endswith(".json"):
        value = parsing.document(body)
        # Numbers stay texts: one of thousands of digits is none for Python.
        json.loads(body, object_pairs_hook=_undoubled, parse_int=str, parse_float=str)
        return value
    try:
        return strict_yaml.read(body, largest=METADATA_LIMIT, typed=True)
    except strict_yaml.Fault as fault:
        raise Unreadable(str(fault)) from None


def _undoubled(pairs: list[tuple[str, Any]]) -> None:
    """Of two values of a key a parser takes one: which, nobody sees. Raises Unreadable."""
    doubled = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]
    if doubled:
        raise Unreadable(f"{shown(doubled[0])} is there twice. Keep one of them.")


def _own(value: dict[str, Any]) -> FolderBackup:
    said = {name: each for name, each in value.items() if each is not None}
    told = _validated(_Document, said)
    if len({each.name for each in told.disks}) < len(told.disks):
        raise Unreadable("disks: a name is there twice. Give each disk a name of its own.")
    if len({each.file for each in told.disks}) < len(told.disks):
        raise Unreadable("disks: a file is there twice. Give each disk an image of its own.")
    disks = [
        FileDisk(
            disk=each.name,
            file=each.file,
            format=each.format,
            size_bytes=each.size_bytes,
            sha256=each.sha256,
        )
        for each in told.disks
    ]
    return FolderBackup(
        namespace=told.namespace,
        vm=told.name,
        cluster=told.cluster,
        created_at=told.created_at,
        machine=Machine(
            cpu=told.cpu,
            memory_bytes=told.memory_bytes,
            labels=told.labels,
            firmware_uuid=told.firmware,
        ),
        disks=tuple(disks),
        networks=tuple(NetworkInterface.model_validate(dict(each)) for each in told.networks),
        content=_content(value),
    )


def _manifest(value: dict[str, Any]) -> FolderBackup:
    """A disk's file is called like its volume; what a pod makes anew (cloud-init, …) has none."""
    source = parsing.model(harvester_schema.SourceSpec, value)
    pod = source.spec.template.spec
    namespace = source.metadata.namespace or None
    disks = [
        {"disk": each.name, "claim": each.claim and each.claim.claim_name}
        for each in pod.volumes
        if each.claim or each.data_volume
    ]
    if not disks:
        raise Unreadable("The VirtualMachine has no disk: no volume of it is a claim.")
    if len(disks) > harvester.MOST_DISKS:
        raise Unreadable(f"The VirtualMachine has more than {harvester.MOST_DISKS} disks.")
    if len({each["disk"] for each in disks}) < len(disks):
        raise Unreadable("The VirtualMachine has two volumes of one name.")
    return parsing.model(
        FolderBackup,
        {
            "namespace": namespace,
            "vm": source.metadata.name or None,
            "machine": harvester.machine_of(source),
            "disks": disks,
            "networks": harvester.networks_of(pod, namespace or "default"),
            "content": _content(value),
        },
    )


def _content(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _validated(kind: type[_T], value: dict[str, Any]) -> _T:
    try:
        return kind.model_validate(value, by_name=False)
    except ValidationError as error:
        raise Unreadable(explain(error, keys_where(error, kind, {}))[1]) from None
