"""A store that exists, to the calls of the generator that must give the same objects again."""

import base64
import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lz4.frame

from local.samples.encoding import GIB, MIB, Object
from local.samples.guests import Disk, Nic
from local.samples.harvester import machine
from local.samples.longhorn import BLOCK, BackingImage, LonghornVolume, Written, backing_image
from local.samples.records import block_key

Store = Mapping[str, bytes]
Record = dict[str, Any]

MAGIC = {b"\x1f\x8b": "gzip", b"\x04\x22": "lz4"}
UNITS = {"Mi": MIB, "Gi": GIB}


def objects_in(tree: Path) -> Store:
    return {
        str(file.relative_to(tree)): file.read_bytes() for file in tree.rglob("*") if file.is_file()
    }


def records(store: Store, pattern: str) -> dict[str, Record]:
    return {key: json.loads(body) for key, body in store.items() if re.search(pattern, key)}


def codec(body: bytes) -> str:
    return MAGIC.get(body[:2], "none")


def decoded(body: bytes) -> bytes:
    if codec(body) == "gzip":
        return gzip.decompress(body)
    raw: bytes = lz4.frame.decompress(body) if codec(body) == "lz4" else body
    return raw


def without_upload_sizes(body: bytes) -> bytes:
    return re.sub(rb'UploadedDataSize":"\d+"', b'UploadedDataSize":"?"', body)


def replayed_volume(store: Store, key: str) -> tuple[LonghornVolume, dict[str, bytes]]:
    """The finished backups of the volume whose record is at KEY, made once more, oldest first."""
    backups = records(store, f"^{Path(key).parent}/backups/").values()
    finished = sorted(
        (one for one in backups if one["CreatedTime"]),
        key=lambda one: str(one["SnapshotCreatedAt"]),
    )
    cfg = json.loads(store[key])
    volume = LonghornVolume(
        cfg["Name"],
        int(cfg["Size"]),
        int(finished[0]["Parameters"].get("backup-block-size", BLOCK)),
        labels=cfg["Labels"],
        created_at=cfg["CreatedTime"],
        storage_class=json.loads(cfg["StorageClassName"]),
    )
    if image := json.loads(cfg["BackingImageName"]):
        volume.backing_image = replayed_image(store, image)
    written: dict[str, bytes] = {}
    for backup in finished:
        volume.compression = backup["CompressionMethod"]
        written |= dict(replayed_backup(volume, backup, store))
    return volume, written


def replayed_backup(volume: LonghornVolume, backup: Record, store: Store) -> Written:
    known = volume.backups[volume.last].blocks if backup["IsIncremental"] else {}
    changed = [
        block for block in backup["Blocks"] if known.get(block["Offset"]) != block["BlockChecksum"]
    ]
    return volume.backup(
        backup["Name"],
        backup["SnapshotCreatedAt"],
        {
            block["Offset"]: decoded(store[block_key(volume.folder, block["BlockChecksum"])])
            for block in changed
        },
        incremental=backup["IsIncremental"],
        mode=backup["Parameters"].get("backup-mode", ""),
        snapshot=backup["SnapshotName"],
        completed_at=backup["CreatedTime"],
    )


def replayed_image(store: Store, name: str) -> BackingImage:
    (cfg,) = records(store, f"/{name}/backing-image.cfg$").values()
    data = bytearray(int(cfg["Size"]))
    for block in cfg["Blocks"]:
        raw = decoded(store[block_key("backupstore/backing-images", block["BlockChecksum"])])
        data[block["Offset"] : block["Offset"] + len(raw)] = raw
    return backing_image(
        name,
        bytes(data),
        compression=cfg["CompressionMethod"],
        labels=cfg["Labels"],
        created_at=cfg["CreatedTime"],
        completed_at=cfg["CompleteTime"],
    )


def replayed_machine(version: str, document: Record) -> Object:
    """The metadata of a machine with a management network, cloud-init and SSH keys, made again."""
    vm = document["vmSourceSpec"]
    template = vm["spec"]["template"]
    notes = template["metadata"].get("annotations", {})
    return machine(
        vm["metadata"]["name"],
        document["namespace"],
        version=version,
        backup=document["name"],
        disks=[disk_of(volume) for volume in document["volumeBackups"]],
        networks=nics_of(template["spec"]),
        secrets={
            secret["name"]: plain(secret["data"]) for secret in document.get("secretBackups", [])
        },
        ssh_names=notes.get("harvesterhci.io/sshNames", ""),
        firmware=template["spec"]["domain"].get("firmware", {}),
        reserved_memory=vm["metadata"]["annotations"].get("harvesterhci.io/reservedMemory", ""),
        shuffled=False,
    )


def plain(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def nics_of(spec: Record) -> list[Nic]:
    named = {one["name"]: one.get("multus", {}).get("networkName", "") for one in spec["networks"]}
    interfaces = spec["domain"]["devices"]["interfaces"]
    return [
        Nic(name=one["name"], network=named[one["name"]], mac=one["macAddress"])
        for one in interfaces
    ]


def disk_of(volume: Record) -> Disk:
    claim = volume["persistentVolumeClaim"]
    size = claim["spec"]["resources"]["requests"]["storage"]
    return Disk(
        name=volume["volumeName"],
        claim=claim["metadata"]["name"],
        volume=claim["spec"]["volumeName"],
        backup=volume["longhornBackupName"],
        size=int(size[:-2]) * UNITS[size[-2:]],
        storage_class=claim["spec"]["storageClassName"],
        image=claim["metadata"]["annotations"].get("harvesterhci.io/imageId", ""),
    )
