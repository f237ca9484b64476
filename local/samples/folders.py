"""Backups in the directory layout, as people and scripts write them (docs/layouts.md)."""

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

GIB = 2**30
_HEADER = ">4sIQIIQIIQQIIQQQQII"  # QCOW2 version 3, docs/interop/qcow2 of QEMU
_CLUSTER_BITS = 16
_BACKING_FORMAT = 0xE2792ACA  # the kind of the header's extension


def qcow2(
    size: int = GIB, backing_file: str | None = None, backing_format: str | None = None
) -> bytes:
    """The header of an image without data, and its empty table; SIZE in bytes of the disk."""
    name = (backing_file or "").encode()
    cluster = 2**_CLUSTER_BITS
    length = struct.calcsize(_HEADER)
    extensions = bytes(8)  # their end
    if backing_format:
        said = backing_format.encode()
        extensions = struct.pack(">II8s", _BACKING_FORMAT, len(said), said) + extensions
    offset = length + len(extensions) if name else 0
    clusters_of_l1 = -(-size // (cluster * cluster // 8))
    fields = (b"QFI\xfb", 3, offset, len(name), _CLUSTER_BITS, size, 0, clusters_of_l1)
    header = struct.pack(_HEADER, *fields, cluster, cluster, 1, 0, 0, 0, 0, 0, 4, length)
    return (header + extensions + name).ljust(cluster + 8 * clusters_of_l1, b"\0")


def qcow2_of_nowhere(size: int) -> bytes:
    """As above, but its second table lies behind its end: who reads the header alone sees nothing
    of that.
    """
    image = bytearray(qcow2(size))
    first_table = int.from_bytes(image[40:48], "big")
    image[first_table : first_table + 8] = (2**40).to_bytes(8, "big")
    return bytes(image)


DISK = {"name": "disk-0", "file": "disk-0.qcow2", "format": "qcow2", "sizeBytes": GIB}


def document(disks: Iterable[Mapping[str, Any]] = (), **changes: Any) -> dict[str, Any]:
    """Our own metadata of a machine with a disk."""
    return {
        "name": "pg-1",
        "namespace": "db",
        "createdAt": "2026-08-15T01:00:00Z",
        "cpu": 2,
        "memoryBytes": 4 * GIB,
        "labels": {"tier": "data"},
        "disks": list(disks) or [DISK],
        "networks": [
            {"interface": "nic-1", "network": "default/vlan100", "mac": "52:54:00:00:00:01"}
        ],
        **changes,
    }


def chain(*links: tuple[str, str | None]) -> bytes:
    """snapshots.json of images and their parents."""
    told = [
        {"name": f"s{number}", "file": file, "parent": parent, "createdAt": "2026-08-15T01:00:00Z"}
        for number, (file, parent) in enumerate(links)
    ]
    return json.dumps({"snapshots": told}).encode()
