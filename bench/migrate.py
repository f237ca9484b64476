"""A machine's backup copied to another place by a migration, against the same copies made bare: its
requests, exact; the same again; and one more backup of which little has changed.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from unittest.mock import patch

from bench import migrate_memory
from bench.event import BUCKET, STATE, Line, environment
from bench.figures import Pair, Table, number
from bench.memory import memory_of
from bench.running import emulator
from functions import migrate
from local import cloud
from local.samples.encoding import Object
from local.samples.world import VmBackup, a_vm_backup
from shared.layouts.keys import block_key, blocks_folder
from shared.settings import settings
from shared.workflows.migrate.copying import AT_ONCE
from shared.workflows.migrate.steps import take_step

LEVELS: tuple[int, ...] = (1_000, 5_000, 20_000)
QUICK_LEVELS = (20, 60)
ROUNDS, QUICK_ROUNDS = 3, 1
LONG = 900.0  # seconds that a step may take
CHANGED = 50  # one block in so many has changed with the next backup
BLOCK = 2 * 2**20  # bytes of a disk that a block is of
BODY = 1024  # bytes of a block here: S3 copies within itself, and this one is in memory
COPIES = "copies"


class Run(NamedTuple):
    """One migration: seconds, objects copied, and requests to S3."""

    seconds: float
    objects: int
    requests: int


class Level(NamedTuple):
    """A backup of so many BLOCKS: migrations of it, each beside the same copies made bare, in
    seconds; the last one again; and one more backup.
    """

    blocks: int
    first: Sequence[Run]
    bare: Sequence[float]
    again: Run
    more: Run


def tables(*, quick: bool) -> list[Table]:
    levels, rounds = (QUICK_LEVELS, QUICK_ROUNDS) if quick else (LEVELS, ROUNDS)
    found = [_level(blocks, rounds) for blocks in levels]
    return [_shown(found), migrate_memory.table(memory_of("MigrateFunction"), quick=quick)]


def _level(blocks: int, rounds: int) -> Level:
    with emulator() as endpoint, patch.dict(os.environ, environment(endpoint)):
        topic = cloud.client(endpoint, "sns").create_topic(Name="told")["TopicArn"]
        os.environ["NOTIFICATION_TOPIC"] = topic
        for cached in (migrate.clients, settings):
            cached.cache_clear()
        line = Line(endpoint)
        places = [f"{COPIES}-{each}" for each in range(rounds)]
        line.landed([_document(each) for each in places], STATE)
        backup = a_vm_backup("web", "shop", "first", taken_at="2026-08-15T01:00:00Z")
        keys = _landed(line, backup, blocks, range(blocks))
        first, bare = [], []
        for place in places:
            first.append(_migrate(line, place))
            bare.append(_copied_bare(line, keys, f"bare-{place}/"))
        again = _migrate(line, places[-1])
        tomorrow = "2026-08-16T01:00:00Z"
        later = a_vm_backup("web", "shop", "second", after=backup, taken_at=tomorrow)
        changed = range(blocks, blocks + blocks // CHANGED)
        _landed(line, later, blocks, [*range(blocks // CHANGED, blocks), *changed])
        return Level(blocks, first, bare, again, _migrate(line, places[-1]))


def _document(place: str) -> Object:
    document = {"id": place, "url": f"s3://{BUCKET}/{place}/", "cluster": "east"}
    return f"targets/{place}.yaml", json.dumps(document).encode()


def _landed(line: Line, backup: VmBackup, blocks: int, numbers: Sequence[int]) -> list[str]:
    """A backup with blocks of these NUMBERS, each other bytes; the keys of all that it needs."""
    every = dict(_grown(backup, numbers))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda each: _put(line, *each), every.items()))
    line.all_handled((key, b"") for key in every if key.endswith(".cfg"))
    return list(every)


def _grown(backup: VmBackup, numbers: Sequence[int]) -> Iterator[Object]:
    for key, body in backup:
        if key.endswith(".blk") or "/locks/" in key or "/vmimages/" in key:
            continue
        if "/backups/backup_" not in key:
            yield key, body
            continue
        record = json.loads(body)
        record["Blocks"] = [
            {"Offset": place * BLOCK, "BlockChecksum": _checksum(each).hex()}
            for place, each in enumerate(numbers)
        ]
        blocks = blocks_folder(key.partition("backups/backup_")[0])
        for each in numbers:
            yield block_key(blocks, _checksum(each)), each.to_bytes(8, "big") * (BODY // 8)
        yield key, json.dumps(record).encode()


def _checksum(block: int) -> bytes:
    """Not of its bytes, which nobody reads: spread over the folders as those are."""
    return block.to_bytes(8, "little").ljust(32, b"\x5a")


def _put(line: Line, key: str, body: bytes) -> None:
    line.clients["s3"].put_object(Bucket=BUCKET, Key=key, Body=body)


def _copied_bare(line: Line, keys: Sequence[str], prefix: str) -> float:
    """Seconds for a copy of each, as many at a time, with nothing looked at or noted."""

    def copy(key: str) -> None:
        source = {"Bucket": BUCKET, "Key": key}
        line.clients["s3"].copy_object(Bucket=BUCKET, Key=prefix + key, CopySource=source)

    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(copy, keys))
    return time.perf_counter() - started


def _migrate(line: Line, place: str) -> Run:
    """Its steps as the state machine calls them, one after the other. Raises RuntimeError for one
    that did not copy all.
    """
    started = time.perf_counter()
    id_ = _copied_until_published(place)
    took = time.perf_counter() - started
    line.settle()  # the catalogue, which is not measured
    while not _step("await", id=id_)["done"]:
        pass
    output = _step("report", id=id_, restore=None)
    if output["state"] != "succeeded":
        raise RuntimeError(f"the migration ended {output['state']}")
    found = line.clients["s3"].get_object(Bucket=STATE, Key=f"reports/{id_}.json")
    report = json.loads(found["Body"].read())
    return Run(took, output["copied"]["objects"], report["requests"])


def _copied_until_published(place: str) -> str:
    """The migration's id."""
    name = f"{place}-{time.perf_counter_ns()}"
    select = {"vm": "shop/web", "cluster": "east"}
    request = {"select": select, "to": f"s3://{BUCKET}/{place}/"}
    begun = _step("begin", request=request, execution=name, name=name)
    id_: str = begun["id"]
    _step("check", id=id_, written={})
    _every("gather", id_, begun["children"])
    _every("copy", id_, _step("divide", id=id_)["children"])
    _every("settle", id_, begun["children"])
    _step("publish", id=id_)
    return id_


def _every(step: str, id_: str, children: int) -> None:
    for child in range(children):
        while not _step(step, id=id_, child=child, children=children)["done"]:
            pass


def _step(step: str, **event: Any) -> dict[str, Any]:
    return take_step(migrate.clients(), {"step": step, **event}, LONG)


def _shown(levels: Sequence[Level]) -> Table:
    columns = (
        "blocks",
        "objects",
        "requests",
        "requests an object (1 is the least)",
        "replant, s",
        "objects a second",
        "bare copies, s",
        "replant ÷ bare copies (lower is better)",
        "the same again: requests",
        "objects a request",
        "2 % changed: objects, requests",
    )
    note = (
        "One machine with one disk. Requests are those to S3, of all steps: copies, listings of"
        " both places, records, and what is noted between the steps. Peer: CopyObject of the same"
        f" keys, {AT_ONCE} at a time, with nothing looked at, on the same embedded AWS, which"
        f" copies in memory: blocks have {BODY:,} bytes here. The same again copies nothing. Then"
        " a backup of which one block in fifty is another one: its blocks, its record, volume.cfg"
        " and the metadata are copied. With Lambda up to 20 parts run side by side."
    )
    return Table("A backup to another place", columns, tuple(map(_row, levels)), note)


def _row(level: Level) -> tuple[str, ...]:
    first, pair = level.first[-1], Pair(list(level.bare), [each.seconds for each in level.first])
    ours, peer = sorted(pair.ours)[len(pair.ours) // 2], sorted(pair.peer)[len(pair.peer) // 2]
    return (
        f"{level.blocks:,}",
        f"{first.objects:,}",
        f"{first.requests:,}",
        f"{first.requests / first.objects:.3f}",
        number(ours),
        number(first.objects / ours),
        number(peer),
        f"{pair.ratio:.2f}",
        f"{level.again.requests:,}",
        number(first.objects / level.again.requests),
        f"{level.more.objects:,}, {level.more.requests:,}",
    )
