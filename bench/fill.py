"""A bucket that was there before -> the catalogue, by a reconcile: requests and our own processor
time for a restore point as there are more of them; and a reconcile that finds all in line.
"""

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple
from unittest.mock import patch

from bench.event import BUCKET, Line, catalogued, environment
from bench.figures import Table, number
from bench.requests import Call, Counts, sent_again, told
from bench.running import emulator
from functions import reconcile
from local.samples.encoding import Object
from local.samples.world import a_vm_backup
from shared.settings import settings
from shared.workflows.reconcile.acting import AT_ONCE
from shared.workflows.reconcile.steps import take_step

LEVELS: tuple[int, ...] = (1_000, 10_000, 100_000)
BARE = 10_000
"""Points up to which the requests are also made bare, for which each is kept in memory."""

QUICK_LEVELS = (20, 60)
EACH = 10  # backups of a machine
LONG = 300.0  # seconds that a step may take


class Run(NamedTuple):
    """What one reconcile took: seconds by the clock and of our processor, and its requests."""

    seconds: float
    processor: float
    counts: Counts
    calls: Sequence[Call]


class Level(NamedTuple):
    """POINTS in a bucket: their first fill, the same requests made bare, in seconds where that was
    done, and a reconcile after it.
    """

    points: int
    fill: Run
    bare: float | None
    again: Run


def tables(*, quick: bool) -> list[Table]:
    return _shown([_level(points) for points in (QUICK_LEVELS if quick else LEVELS)])


def _level(points: int) -> Level:
    with emulator() as endpoint, patch.dict(os.environ, environment(endpoint)):
        for cached in (reconcile.clients, settings):
            cached.cache_clear()
        line = Line(endpoint)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda each: _put(line, each), _bucket(points)))
        fill = _reconcile(line, 1, kept=points <= BARE)
        again = _reconcile(line, 2)
        bare = _again(line, fill.calls) if points <= BARE else None
        return Level(points, fill, bare, again)


def _again(line: Line, calls: Sequence[Call]) -> float:
    """Seconds for the same requests, as many at a time."""
    parts = [calls[start::AT_ONCE] for start in range(AT_ONCE)]
    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda part: sent_again(line.clients, part), parts))
    return time.perf_counter() - started


def _put(line: Line, each: Object) -> None:
    line.clients["s3"].put_object(Bucket=BUCKET, Key=each[0], Body=each[1])


def _bucket(points: int) -> Iterator[Object]:
    """Machines with ten backups each, without their blocks."""
    for machine in range(points // EACH):
        last = None
        written: dict[str, bytes] = {}
        for backup in range(EACH):
            name = f"vm-{machine}"
            last = a_vm_backup(name, "fleet", f"{name}-{backup}", after=last)
            written |= dict(catalogued(last))
        yield from written.items()


def _reconcile(line: Line, number_: int, *, kept: bool = False) -> Run:
    """Its steps as the state machine calls them, one after the other; its calls are KEPT, or only
    counted. Raises RuntimeError when an object is left to the queue.
    """
    clients = reconcile.clients()

    def step(name: str, **event: Any) -> dict[str, Any]:
        return take_step(clients, {"step": name, **event}, LONG)

    with line.requests.of(kept=kept) as made:
        clock, processor = time.perf_counter(), time.process_time()
        started = datetime(2026, 12, 1, number_, tzinfo=UTC).isoformat()
        begun = step(
            "begin",
            request={"target": "east-s3"},
            execution=f"execution-{number_}",
            started=started,
        )
        for range_ in range(begun["ranges"]):
            while not step("compare", id=begun["id"], range=range_)["done"]:
                pass
        for child in range(step("judge", id=begun["id"])["children"]):
            if left := step("act", id=begun["id"], child=child)["left"]:
                raise RuntimeError(f"{left} objects were left to the queue")
        step("report", id=begun["id"])
        took = time.perf_counter() - clock, time.process_time() - processor
    return Run(*took, made.counts, made.calls)


def _shown(levels: Sequence[Level]) -> list[Table]:
    columns = (
        "restore points",
        "points/s",
        "requests a point",
        "our processor, ms a point",
        "bare requests, s",
        "replant, s",
        "replant ÷ bare requests (lower is better)",
        "in line: requests in all",
        "in line: our processor, ms a point",
    )
    rows = tuple(_row(each) for each in levels)
    most = levels[-1]
    note = (
        f"{_exponents(levels)} Which requests of {most.points:,} points: {told(most.fill.counts)}."
        f" Of the reconcile after it: {told(most.again.counts)}. The steps of the state machine in"
        f" this process, one after the other, each with {AT_ONCE} objects at a time; with Lambda up"
        " to 20 of them run side by side. Peer: the very same requests made bare, as many at a"
        " time, against the same embedded AWS, whose own time grows with its table, up to"
        f" {BARE:,} points. Machines have one disk and {EACH} backups."
    )
    return [Table("First fill of a target", columns, rows, note)]


def _row(level: Level) -> tuple[str, ...]:
    fill, again, points = level.fill, level.again, level.points
    return (
        f"{points:,}",
        number(points / fill.seconds),
        f"{fill.counts.total() / points:.2f}",
        f"{1000 * fill.processor / points:.2f}",
        number(level.bare) if level.bare else "not made",
        number(fill.seconds),
        f"{fill.seconds / level.bare:.2f}" if level.bare else "",
        f"{again.counts.total():,}",
        f"{1000 * again.processor / points:.3f}",
    )


def _exponents(levels: Iterable[Level]) -> str:
    """How requests and processor time grow with the points: 1 is in proportion."""
    every = list(levels)
    requests = _slope([(each.points, each.fill.counts.total()) for each in every])
    processor = _slope([(each.points, each.fill.processor) for each in every])
    return (
        f"Requests grow with the points to the power of {requests:.2f}, our processor time to that"
        f" of {processor:.2f}."
    )


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    """Of the straight line through the logarithms, by least squares."""
    xs, ys = zip(*((math.log(x), math.log(y)) for x, y in samples), strict=True)
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return covariance / math.fsum((x - x_mean) ** 2 for x in xs)
