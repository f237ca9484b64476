"""Event to row: requests of the catalogue for one more backup, exact, and its time against those
requests made bare.
"""

import io
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple
from unittest.mock import patch

from bench.figures import Pair, Table, comparison
from bench.probe import Context
from bench.requests import Counts, Requests, sent_again, told
from bench.running import ROOT, emulator
from functions import catalogue
from local import cloud, documents
from local.build.template import load
from local.samples import folders
from local.samples.encoding import Object
from local.samples.world import VmBackup, a_vm_backup
from shared.catalogue.folders import CHAIN_FILE
from shared.layouts.registry import recognise
from shared.models.base import to_instant
from shared.observe import logger, metrics
from shared.settings import settings

LEVELS: tuple[int, ...] = (0, 100, 300)
QUICK_LEVELS = (0, 3)
ROUNDS = 11
MIB = 2**20
BUCKET, STATE, TABLE, QUEUE = "backups", "state", "catalogue", "events"
SHAPE = (
    "BillingMode",
    "AttributeDefinitions",
    "KeySchema",
    "GlobalSecondaryIndexes",
)  # of the table
TIMED = "1 backup: its three objects"
FOLDERS = (
    "folder: an image",
    "folder: snapshots.json",
    "folder: metadata, over a whole image",
    "folder: metadata, over a chain through as many folders",
)
IMAGE = "disk-0.qcow2"
FIRST = datetime(2026, 8, 1, tzinfo=UTC)
DIRECTORIES = {
    "id": "folders",
    "cluster": "east",
    "url": f"s3://{BUCKET}/folders/",
}
GROWN = "volume, larger than before (all its backups are looked at again)"


class Measured(NamedTuple):
    """One level: requests of one more backup by kind of object, those of folders, of a grown
    volume, and times.
    """

    kinds: dict[str, Counts]
    folders: dict[str, Counts]
    grown: Counts
    times: Pair


class Line:
    """The catalogue in this process on an emulator, its table made from the template; ENDPOINT is
    the emulator's.
    """

    def __init__(self, endpoint: str) -> None:
        for cached in (catalogue.clients, settings):
            cached.cache_clear()  # what an earlier run of this process may have left
        logger.setLevel(logging.WARNING)
        metrics.namespace = "bench"
        services = ("s3", "dynamodb", "sqs")
        self.clients = {service: cloud.client(endpoint, service) for service in services}
        self.requests = Requests()  # after our own clients: only the function's are counted
        table = load(ROOT / "template.yaml")["Resources"]["CatalogueTable"]
        shape = {name: table["Properties"][name] for name in SHAPE}
        self.clients["dynamodb"].create_table(TableName=TABLE, **shape)
        self.queue = self.clients["sqs"].create_queue(QueueName=QUEUE)["QueueUrl"]
        for bucket in (BUCKET, STATE):
            self.clients["s3"].create_bucket(Bucket=bucket)
        self.sequencer = 0
        self.last: VmBackup | None = None
        self.folders = 0
        samples = documents.samples(BUCKET)["targets/east-s3.yaml"].encode()
        own = json.dumps(DIRECTORIES).encode()
        targets = [("targets/east-s3.yaml", samples), ("targets/folders.yaml", own)]
        self.landed(targets, STATE)

    def landed(self, objects: Iterable[Object], bucket: str = BUCKET) -> None:
        """Objects are written and each event is handled, in batches of one. Raises RuntimeError for
        a failed one.
        """
        for key, body in objects:
            self.clients["s3"].put_object(Bucket=bucket, Key=key, Body=body)
            self.handled(bucket, key)

    def handled(self, bucket: str, key: str) -> None:
        self.sequencer += 1
        self._handled(event(bucket, key, self.sequencer), key)
        self.settle()

    def settle(self) -> None:
        """What waits in the queue is handled. Raises RuntimeError for a failed one."""
        while messages := self._waiting():
            self._handled({"Records": messages}, "what waited in the queue")

    def _waiting(self) -> list[dict[str, str]]:
        """What the function has put into its queue, as Lambda would hand it over."""
        sqs = self.clients["sqs"]
        found = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        messages = found.get("Messages", [])
        for each in messages:
            # A failure ends the benchmark, so none has to come again.
            sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=each["ReceiptHandle"])
        return [{"messageId": each["MessageId"], "body": each["Body"]} for each in messages]

    def _handled(self, batch: dict[str, Any], key: str) -> None:
        context: Any = Context()
        with redirect_stdout(io.StringIO()):  # its metrics
            answer = catalogue.handler(batch, context)
        if answer["batchItemFailures"]:
            raise RuntimeError(f"the catalogue failed at {key}")

    def all_handled(self, objects: Iterable[Object]) -> None:
        for key, _ in objects:
            self.handled(BUCKET, key)

    def next_backup(self) -> VmBackup:
        """One more of the same machine and volume, as Harvester and Longhorn write them in time."""
        self.last = a_vm_backup(
            "web", "shop", f"b-{self.sequencer}", size=64 * MIB, after=self.last
        )
        return self.last

    def next_folders(self) -> list[list[Object]]:
        """One more backup of two machines in the directory layout, each in a folder of its own: of
        the one whole images, of the other images over those of the folders before.
        """
        number, self.folders = self.folders, self.folders + 1
        below = f"../{number - 1}/{IMAGE}" if number else None
        return [_folder(vm, number, own) for vm, own in (("whole", None), ("chained", below))]


def _folder(vm: str, number: int, below: str | None) -> list[Object]:
    path = f"folders/db/{vm}/{number}/"
    taken = to_instant(FIRST + timedelta(hours=number))
    image = folders.qcow2(backing_file=below, backing_format="qcow2" if below else None)
    metadata = folders.document(name=vm, createdAt=taken)
    return [
        (f"{path}{IMAGE}", image),
        (f"{path}{CHAIN_FILE}", folders.chain((IMAGE, below))),
        (f"{path}metadata.json", json.dumps(metadata).encode()),
    ]


def tables(*, quick: bool) -> list[Table]:
    wanted, rounds = LEVELS, ROUNDS
    if quick:
        wanted, rounds = QUICK_LEVELS, 1
    with emulator() as endpoint, patch.dict(os.environ, environment(endpoint)):
        line, held = Line(endpoint), 0
        levels = {}
        for level in wanted:
            while held < level:
                line.landed([*catalogued(line.next_backup()), *chain(*line.next_folders())])
                held += 1
            levels[level] = measured(line, rounds)
            held += rounds + 1
        return [*_counts(levels), _times(levels)]


def measured(line: Line, rounds: int) -> Measured:
    """What one more backup costs, by kind; then ROUNDS more, each timed beside its own requests
    made bare.
    """
    kinds = {
        recognise(each[0]).kind.value: _of(line, each) for each in catalogued(line.next_backup())
    }
    whole, chained = ([_of(line, each) for each in folder] for folder in line.next_folders())
    of_folders = dict(zip(FOLDERS, [*whole, chained[-1]], strict=True))
    grown, times = _grown(line), Pair()
    for _ in range(rounds):
        objects = catalogued(line.next_backup())
        for key, body in objects:
            line.clients["s3"].put_object(Bucket=BUCKET, Key=key, Body=body)
        with line.requests.of() as made:
            times.ours.append(_milliseconds(line.all_handled, objects))
        times.peer.append(_milliseconds(sent_again, line.clients, made.calls))
    return Measured(kinds, of_folders, grown, times)


def _of(line: Line, landed: Object) -> Counts:
    with line.requests.of() as made:
        line.landed([landed])
    return made.counts


def _grown(line: Line) -> Counts:
    """The volume is larger than before: every backup of it is looked at again."""
    assert line.last is not None  # noqa: S101  # backups were measured before
    volume = line.last.volumes[0]
    volume.size += MIB
    return _of(line, (volume.key, volume.cfg()))


def catalogued(backup: VmBackup) -> list[Object]:
    """What the rule of the template lets through: the cfg objects, not blocks and locks."""
    return [(key, body) for key, body in backup if key.endswith(".cfg")]


def event(bucket: str, key: str, sequencer: int) -> dict[str, Any]:
    """One message of the queue, as EventBridge fills it."""
    detail = {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": f"{sequencer:016X}"}}
    body = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-08-15T01:00:00Z",
        "detail": detail,
    }
    return {
        "Records": [
            {"messageId": str(sequencer), "body": json.dumps(body), "eventSource": "aws:sqs"}
        ]
    }


def environment(endpoint: str) -> dict[str, str]:
    """What the template and Lambda tell the function."""
    names = {"CATALOGUE_TABLE": TABLE, "STATE_BUCKET": STATE, "BACKUP_BUCKETS": BUCKET}
    unused = {"NOTIFICATION_TOPIC": "none"}
    queue = {"CATALOGUE_QUEUE": f"{endpoint}/000000000000/{QUEUE}"}
    access = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": cloud.REGION,
    }
    return names | queue | unused | access | {"AWS_ENDPOINT_URL": endpoint, "NO_PROXY": "127.0.0.1"}


def _milliseconds(work: Callable[..., None], *arguments: Any) -> float:
    started = time.perf_counter()
    work(*arguments)
    return (time.perf_counter() - started) * 1000


def _counts(levels: dict[int, Measured]) -> list[Table]:
    columns = (
        "object",
        *(f"beside {level:,} backups" for level in levels),
        f"which, beside {max(levels):,}",
    )
    each_level = list(levels.values())
    rows = [_row(kind, [each.kinds[kind] for each in each_level]) for kind in each_level[-1].kinds]
    rows.append(
        _row("one backup", [sum(each.kinds.values(), Counter[str]()) for each in each_level])
    )
    rows.append(_row(GROWN, [each.grown for each in each_level]))
    rows += [_row(each, [level.folders[each] for level in each_level]) for each in FOLDERS]
    note = (
        "Requests of `functions.catalogue` for one event of each object, counted as botocore sends"
        " them; exact."
    )
    return [Table("Event to row: requests", columns, tuple(rows), note)]


def _row(what: str, counts: list[Counts]) -> tuple[str, ...]:
    return (what, *(f"{each.total():,}" for each in counts), told(counts[-1]))


def _times(levels: dict[int, Measured]) -> Table:
    rows = [(f"{TIMED}, beside {level:,}", each.times) for level, each in levels.items()]
    note = (
        "Peer: the very same DynamoDB and S3 requests, made bare with boto3 one after the other."
        " Both against the embedded AWS on loopback, whose own time grows with its table; the ratio"
        " is what our work adds."
    )
    return comparison(
        "Event to row: milliseconds", "bare requests", "ms", rows, better="lower", note=note
    )
