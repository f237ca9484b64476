"""A question -> its answer, of a catalogue with a long history: how long it takes as there is more
of it, beside its own requests made bare.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

from bench.event import TABLE, Line, environment
from bench.figures import Table, number
from bench.probe import Context
from bench.requests import Call, sent_again, told
from bench.running import emulator
from functions import search
from local.samples.builders import a_point
from shared.aws import table as tables_
from shared.aws.table import Item
from shared.catalogue import points, traits
from shared.catalogue.machines import Listed
from shared.catalogue.traits import TRAITS
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint
from shared.models.row_keys import CLUSTERS, fingerprint_partition
from shared.settings import settings

LEVELS: tuple[tuple[int, int], ...] = ((300, 10_000), (3_000, 100_000))
"""Machines, and restore points."""

QUICK_LEVELS = ((30, 90),)
ROUNDS, QUICK_ROUNDS = 40, 2
FEWEST, LONG = 3, 10.0  # rounds, and seconds, of a question that takes long
SELDOM = 30
"""One in so many machines has a label of its own."""

SMALL = 10
"""Machines of a namespace; all others are in another one."""

BEGIN = datetime(2025, 12, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WRITERS, READERS = 8, 16


class Asked(NamedTuple):
    """What one question took: seconds and those of our processor, each time; the seconds of the
    same requests made bare; and how many POINTS were in the answer, by which requests.
    """

    seconds: Sequence[float]
    processor: float
    bare: Sequence[float]
    points: int
    requests: Mapping[str, int]


def tables(*, quick: bool) -> list[Table]:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    return [_level(*level, rounds) for level in (QUICK_LEVELS if quick else LEVELS)]


def _level(machines: int, many: int, rounds: int) -> Table:
    with emulator() as endpoint, patch.dict(os.environ, environment(endpoint)):
        for cached in (search.table, settings):
            cached.cache_clear()
        line = Line(endpoint)
        _fill(tables_.Table(line.clients["dynamodb"], TABLE), machines, many // machines)
        days = many // machines
        every = {what: _ask(line, body, rounds) for what, body in _questions(days).items()}
    return _shown(machines, many, every)


def _questions(days: int) -> dict[str, dict[str, Any]]:
    middle = to_instant(BEGIN + days // 2 * DAY)
    return {
        "one, by its id": {"id": _id(1, 1)},
        "a machine's": {"vm": "large/vm-00020"},
        "everything": {},
        "a cluster's": {"cluster": "east"},
        f"a namespace's, of {SMALL} machines": {"namespace": "small"},
        "a namespace's, of all others": {"namespace": "large"},
        "the newest of each machine": {"latest": True},
        "the newest restorable of each": {"latest": True, "state": "restorable"},
        "the last restorable before": {"latest": True, "state": "restorable", "before": middle},
        "the newest of each with a label": {"latest": True, "label": "harvesterhci.io/os=ubuntu"},
        "the newest of each with a rare label": {"latest": True, "label": "tier=db"},
        "machines of which nothing can be restored": {"summary": True, "state": "incomplete"},
        "a summary": {"summary": True},
        "of a fingerprint": {"fingerprint": f"sha256:{_id(1, 1)}{_id(1, 1)}"},
    }


def _ask(line: Line, body: dict[str, Any], rounds: int) -> Asked:
    context: Any = Context()
    with line.requests.of() as made:  # and once before any is timed
        answer = search.handler(body, context)
    if "error" in answer:
        raise RuntimeError(f"{body}: {answer['error']}")
    found = len(answer.get("restorePoints", answer.get("machines", ())))
    processor = time.process_time()
    seconds = _timed(lambda: search.handler(body, context), rounds)
    processor = (time.process_time() - processor) / len(seconds)
    bare = _timed(lambda: _bare(line, made.calls), len(seconds))
    return Asked(seconds, processor, bare, found, dict(made.counts))


def _timed(work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round: fewer than so many where one takes long, and three at least."""
    seconds: list[float] = []
    while len(seconds) < rounds and (len(seconds) < FEWEST or sum(seconds) < LONG):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def _bare(line: Line, calls: Sequence[Call]) -> None:
    """As many at a time as we send at a time."""
    if len(calls) < READERS:
        sent_again(line.clients, calls)
        return
    parts = [calls[start::READERS] for start in range(READERS)]
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(lambda part: sent_again(line.clients, part), parts))


def _fill(table: tables_.Table, machines: int, days: int) -> None:
    """The rows that the catalogue keeps of these points, written side by side."""
    table.put_many([{"pk": CLUSTERS, "sk": "east"}])
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(table.put_many, _batches(machines, days)))


def _batches(machines: int, days: int) -> Iterator[list[Item]]:
    for machine in range(machines):
        rows: list[Item] = []
        for day in range(days):
            point = _point(machine, day)
            rows.append(points.item_of(point, None, BEGIN) | {"revision": 1})
            listed = Listed.of(point)
            pk, sk = listed.moment
            rows.append({"pk": pk, "sk": sk})
            mark = fingerprint_partition(point.fingerprint or "")
            rows.append({"pk": mark, "sk": point.id})
        newest = Listed.of(_point(machine, days - 1))
        pk, sk = newest.row_key
        machine_row = {"pk": pk, "sk": sk, "revision": days, newest.name: newest.position}
        rows.append(machine_row | {TRAITS: traits.added("", newest.traits)})
        yield rows


def _id(machine: int, day: int) -> str:
    return f"{machine:016x}{day:016x}"


def _point(machine: int, day: int) -> RestorePoint:
    name = f"vm-{machine:05}"
    changes = {
        "id": _id(machine, day),
        "namespace": "small" if machine < SMALL else "large",
        "vm": name,
        "backup": f"{name}-{day}",
        "taken_at": BEGIN + day * DAY + timedelta(seconds=machine),
        "fingerprint": f"sha256:{_id(machine, day)}{_id(machine, day)}",
    }
    return _any_point(machine % SELDOM == 0).model_copy(update=changes)


@cache
def _any_point(seldom: bool) -> RestorePoint:
    point = a_point()
    if not seldom:
        return point
    labels = {**point.machine.labels, "tier": "db"}
    machine = point.machine.model_copy(update={"labels": labels})
    return point.model_copy(update={"machine": machine})


def _shown(machines: int, many: int, every: Mapping[str, Asked]) -> Table:
    columns = (
        "question",
        "in the answer",
        "rounds",
        "requests",
        "p50, ms",
        "p99, ms",
        "bare requests, ms",
        "replant ÷ bare requests (lower is better)",
        "our processor, ms",
    )
    rows = tuple((what, *_row(asked)) for what, asked in every.items())
    note = (
        f"{many:,} restore points of {machines:,} machines of one cluster, pages of 100. Peer: the"
        f" very same requests made bare, up to {READERS} at a time, against the same embedded AWS,"
        " which takes most of the time. Which requests: "
        + "; ".join(f"{what}: {told(asked.requests)}" for what, asked in every.items())
        + "."
    )
    return Table(f"Search: {many:,} restore points", columns, rows, note)


def _row(asked: Asked) -> tuple[str, ...]:
    ours, bare = median(asked.seconds), median(asked.bare)
    return (
        f"{asked.points:,}",
        str(len(asked.seconds)),
        f"{sum(asked.requests.values()):,}",
        number(1000 * ours),
        number(1000 * _percentile(asked.seconds, 0.99)),
        number(1000 * bare),
        f"{ours / bare:.2f}",
        number(1000 * asked.processor),
    )


def _percentile(samples: Iterable[float], part: float) -> float:
    """The least sample that so many of them do not exceed."""
    ordered = sorted(samples)
    return ordered[math.ceil(part * len(ordered)) - 1]
