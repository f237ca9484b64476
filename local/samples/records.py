"""Keys and the JSON records of a Longhorn backup store, in the shape of each Longhorn version."""

from collections.abc import Mapping
from hashlib import sha256

from local.samples.encoding import MIB, go_map, marshal, quoted, sha512, version_of

BLOCK = 2 * MIB
LARGE_BLOCK = 16 * MIB
NEWEST = "1.12"
EPOCH = "2026-08-01T00:00:00Z"

# The Longhorn version that first wrote a field; one that is not named here was always there.
SINCE = {
    "CompressionMethod": (1, 5),
    "StorageClassName": (1, 5),
    "ProcessingBlocks": (1, 5),
    "DataEngine": (1, 6),
    "Parameters": (1, 7),
    "NewlyUploadedDataSize": (1, 7),
    "ReUploadedDataSize": (1, 7),
}

Blocks = Mapping[int, str]  # offset: checksum
Fields = Mapping[str, object]


def volume_path(name: str, prefix: str = "") -> str:
    digest = sha512(name.encode())
    return f"{prefix}backupstore/volumes/{digest[:2]}/{digest[2:4]}/{name}"


def backup_key(folder: str, name: str) -> str:
    return f"{folder}/backups/backup_{name}.cfg"


def block_key(folder: str, checksum: str) -> str:
    return f"{folder}/blocks/{checksum[:2]}/{checksum[2:4]}/{checksum}.blk"


def shaped(fields: Fields, version: str) -> bytes:
    known = version_of(version)
    return marshal(
        {name: value for name, value in fields.items() if SINCE.get(name, known) <= known}
    )


def listed(blocks: Blocks) -> dict[str, object]:
    """The block list, which is left out while it is empty."""
    found = [{"Offset": offset, "BlockChecksum": blocks[offset]} for offset in sorted(blocks)]
    return {"Blocks": found} if found else {}


def labelled(labels: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if labels is None else go_map(labels)


def kubernetes_status(volume: str, claim: str) -> str:
    """The label of a backup that went through the manager's API; CLAIM is namespace/name."""
    namespace, _, name = claim.partition("/")
    bound = {"pvName": volume, "pvStatus": "Bound", "namespace": namespace, "pvcName": name}
    unused = {"lastPVCRefAt": "", "workloadsStatus": None, "lastPodRefAt": ""}
    return marshal(bound | unused).decode()


def backup_cfg(
    name: str, volume: str, known: Fields, *, version: str = NEWEST, blocks: Blocks | None = None
) -> bytes:
    """A backup's record; the fields that are not KNOWN are those of a backup that is still in
    progress.
    """
    fields: dict[str, object] = {
        "Name": name,
        "VolumeName": volume,
        "SnapshotName": "",
        "SnapshotCreatedAt": "",
        "CreatedTime": "",
        "Size": "0",
        "Labels": None,
        "Parameters": None,
        "IsIncremental": False,
        "CompressionMethod": "lz4",
        "NewlyUploadedDataSize": "0",
        "ReUploadedDataSize": "0",
        "ProcessingBlocks": None,
    }
    return shaped(
        fields | dict(known) | listed(blocks or {}) | {"SingleFile": {"FilePath": ""}}, version
    )


def huge_backup_cfg(volume: str, name: str, blocks: int) -> bytes:
    """The finished full backup of BLOCKS blocks of 2 MiB, none alike: about 107 bytes for each."""
    known: dict[str, object] = {
        "SnapshotName": f"snap-{name}",
        "Parameters": {},
        "ProcessingBlocks": {},
    }
    known |= {"SnapshotCreatedAt": EPOCH, "CreatedTime": EPOCH, "Size": str(blocks * BLOCK)}
    head, tail = backup_cfg(name, volume, known, blocks={0: "*"}).split(
        b'{"Offset":0,"BlockChecksum":"*"}'
    )
    entry = '{{"Offset":{},"BlockChecksum":"{}"}}'.format
    checksums = (sha256(f"{volume}/{index}".encode()).hexdigest() for index in range(blocks))
    entries = ",".join(entry(index * BLOCK, checksum) for index, checksum in enumerate(checksums))
    return head + entries.encode() + tail


def volume_cfg(
    name: str, size: int, known: Fields, encoded: Mapping[str, str], *, version: str = NEWEST
) -> bytes:
    """A volume's record; the fields of ENCODED, its last five, are encoded twice."""
    fields: dict[str, object] = {
        "Name": name,
        "Size": str(size),
        "Labels": None,
        "CreatedTime": EPOCH,
        "LastBackupName": "",
        "LastBackupAt": "",
        "BlockCount": "0",
    }
    twice = {
        "BackingImageName": "",
        "BackingImageChecksum": "",
        "CompressionMethod": "lz4",
        "StorageClassName": "",
        "DataEngine": "v1",
    }
    last = {field: quoted(text) for field, text in (twice | dict(encoded)).items()}
    return shaped(fields | dict(known) | last, version)


def backing_image_cfg(name: str, data: bytes, known: Fields, blocks: Blocks) -> bytes:
    """A backing image's record; without a CompleteTime its backup is in progress."""
    fields: dict[str, object] = {
        "Name": name,
        "Size": str(len(data)),
        "BlockCount": str(len(blocks)),
        "Checksum": sha512(data),
        "Labels": None,
        "CompressionMethod": "lz4",
        "CreatedTime": EPOCH,
        "CompleteTime": "",
        "Secret": "",
        "SecretNamespace": "",
        "ProcessingBlocks": {"Blocks": {}},
    }
    return marshal(fields | dict(known) | listed(blocks))


def lock(name: str, kind: int, *, acquired: bool = True) -> bytes:
    return marshal({"Name": name, "Type": kind, "Acquired": acquired})
