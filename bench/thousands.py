"""Thousands of machines that can be restored at once, without the hours in which their backups
would arrive: the catalogue's rows, the metadata, and what a target's Longhorn has read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from typing import Any

from bench.machines import SOURCE, Fleet
from local.api import MERGE, Api, path
from local.longhorn.resources import BACKUP_VOLUME, NAMESPACE, VERSION
from local.samples import builders
from local.samples.guests import Nic
from local.stack import Stack
from shared.aws.table import Item, Key, Table
from shared.models.restore_points import RestorePoint, Source, Volume
from shared.models.row_keys import CLUSTERS

BUCKET = "replant-bench"
"""Of its own: it sends no events, for which the catalogue would read all of it once more."""

THREADS = 16
WORDS = {
    "bad-patch": "mapping.patches.0",
    "hostile": "kernelBoot",
    "no-network": "default/vlan999",
}
"""Of machines that cannot be restored: what the word for each of them must have in it."""

BLOCKED = len(WORDS)
LATE = "binds-late"
STORAGE = "storage.k8s.io/v1"
PATCH = {"op": "test", "path": "/spec/runStrategy", "value": "Never"}
PATCHES = [{"match": {"kind": "VirtualMachine", "name": "bad-patch"}, "patch": [PATCH]}]


def catalogue(stack: Stack, machines: Fleet, size: int) -> str:
    """SIZE machines, three of which cannot be restored, as those of a cluster of their own; its
    name.
    """
    cluster = f"fleet-{size}"
    put(stack, cluster, [*islice(machines.metadata.items(), size - BLOCKED), *bad()])
    return cluster


def put(stack: Stack, cluster: str, machines: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Machines, each with its metadata, that the catalogue has as those of CLUSTER."""
    stack.s3.create_bucket(Bucket=BUCKET)
    table = Table(stack.client("dynamodb"), stack.outputs["CatalogueTable"])
    with ThreadPoolExecutor(THREADS) as pool:
        points = pool.map(partial(_point, stack, cluster), machines)
        puts = (builders.rows(_Nothing(), point, datetime.now(UTC)) for point in points)
        table.put_many(chain.from_iterable([put.item for put in each] for each in puts))
    table.put_many([{"pk": CLUSTERS, "sk": cluster}])


class _Nothing(Table):
    """What a table has of machines that nobody has catalogued yet."""

    def __init__(self) -> None:
        """It has no client."""

    def get(self, _: Key) -> Item | None:
        return None

    def put_many(self, _: Iterable[Mapping[str, Any]]) -> None:
        """The row of the cluster, which is written once."""


def bad() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in WORDS:
        network = "default/vlan999" if name == "no-network" else Nic().network
        metadata = builders.a_metadata(name, SOURCE, networks=[Nic(network=network)])
        if name == "hostile":
            domain = metadata["vmSourceSpec"]["spec"]["template"]["spec"]["domain"]
            domain["firmware"] = {"kernelBoot": {"container": {"image": "evil"}}}
        yield name, metadata


def keys(stack: Stack, cluster: str) -> list[str]:
    """Where the metadata of a cluster's machines lies."""
    pages = stack.s3.get_paginator("list_objects_v2")
    return [
        each["Key"]
        for page in pages.paginate(Bucket=BUCKET, Prefix=f"{cluster}/")
        for each in page["Contents"]
    ]


def key_of(cluster: str, name: str) -> str:
    """A restore reads its metadata again, in the layout that the key says."""
    return f"{cluster}/harvester/vmbackups/{name}.cfg"


def _point(stack: Stack, cluster: str, machine: tuple[str, dict[str, Any]]) -> RestorePoint:
    name, metadata = machine
    key = key_of(cluster, name)
    body = json.dumps(metadata).encode()
    put = stack.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    etag = put["ETag"].strip('"')
    source = Source(bucket=BUCKET, key=key, etag=etag, sequencer="0")
    return builders.a_point(metadata, id=f"{cluster}-{name}", cluster=cluster, source=source)


def prepare(stack: Stack, machines: Fleet, target: str) -> None:
    """Their backups are known to TARGET, whose Longhorn must not run: it would delete what is in no
    bucket.
    """
    api = stack.cluster(target)
    storage_class = api.call("GET", path(STORAGE, "storageclasses", name="harvester-longhorn"))
    late = {"volumeBindingMode": "WaitForFirstConsumer", "metadata": {"name": LATE}}
    api.apply(storage_class | late)
    every = [*machines.metadata.items(), *bad()]
    points = (builders.a_point(metadata) for _, metadata in every)
    volumes = [volume for point in points for volume in point.volumes]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(_sync, api), volumes))


def _sync(api: Api, volume: Volume) -> None:
    labels = {BACKUP_VOLUME: volume.engine_volume}
    spec = {"volumeName": volume.engine_volume, "backupTargetName": "default"}
    api.call(
        "POST",
        path(VERSION, "backupvolumes", NAMESPACE),
        {
            "apiVersion": VERSION,
            "kind": "BackupVolume",
            "metadata": {"name": f"{volume.engine_volume}-default", "labels": labels},
            "spec": spec,
        },
    )
    backups = path(VERSION, "backups", NAMESPACE)
    api.call(
        "POST",
        backups,
        {
            "apiVersion": VERSION,
            "kind": "Backup",
            "metadata": {"name": volume.engine_backup, "labels": labels},
        },
    )
    status = {
        "state": "Completed",
        "volumeName": volume.engine_volume,
        "volumeSize": str(volume.size_bytes),
        "backupTargetName": "default",
    }
    api.call("PATCH", f"{backups}/{volume.engine_backup}/status", {"status": status}, MERGE)
