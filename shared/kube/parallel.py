"""Many small reads of a target cluster at once: far away, one after another would take long."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

READERS = 16
"""Requests that are under way at the same time."""

_T = TypeVar("_T")


def each_of(names: Iterable[str], work: Callable[[str], _T]) -> dict[str, _T]:
    """WORK done for each name, several at a time."""
    wanted = sorted(set(names))
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(wanted, pool.map(work, wanted), strict=True))


@contextmanager
def at_once() -> Iterator[Executor]:
    """Where reads are asked for before any of them is waited for. One that fails takes those that
    were not begun along.
    """
    pool = ThreadPoolExecutor(READERS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
