"""Whether a run may still act: what it asks the ledger, how often, and what it makes of it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest

from shared.aws.table import Item, Key
from shared.errors import Overtaken
from shared.models.restore_plans import Answer
from shared.workflows.fence import FRESH, Fence
from tests.ledger_scenarios import batch, begin, decide, ledger
from tests.memory_table import MemoryTable


class Site:
    """A restore with a run under way, its fence and a clock; counts what the fence reads."""

    def __init__(self) -> None:
        self.seconds, self.reads = 100.0, 0
        self.table = MemoryTable()
        begin(self.table)
        taken = batch(self.table).take_run(1)
        refusal = partial(batch(Counting(self)).refusal, taken.restore.attempt, taken.batch.run)
        self.fence = Fence(refusal, read_at=self.seconds, clock=lambda: self.seconds)

    def refusal(self) -> str | None:
        try:
            self.fence.permit()
        except Overtaken as error:
            return error.message
        return None


class Counting(MemoryTable):
    """The site's table, and a count of the reads."""

    def __init__(self, site: Site) -> None:
        self.packed, self._site = site.table.packed, site

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Item]:
        self._site.reads += 1
        return super().get_many(keys)


@pytest.fixture
def site() -> Site:
    return Site()


STOPPED = "Restore r-4e65d3fbe8ad6535 was stopped."
NEWER = "Restore r-4e65d3fbe8ad6535 was taken up by a newer run."


def test_a_run_that_is_the_newest_and_not_stopped_may_act_for_ever(site: Site) -> None:
    for _ in range(10):
        site.seconds += FRESH
        assert site.refusal() is None


def test_within_a_second_of_the_last_look_the_ledger_is_not_asked_again(site: Site) -> None:
    for _ in range(5):
        site.seconds += FRESH / 8
        site.fence.permit()
    assert site.reads == 0, "taking the run was the first look"
    site.seconds += FRESH
    site.fence.permit()
    site.fence.permit()
    assert site.reads == 1
    site.seconds += FRESH / 2
    site.fence.permit()
    assert site.reads == 1, "the second is counted from the last look"


def test_a_stop_is_seen_once_a_second_has_passed(site: Site) -> None:
    ledger(site.table).stop("run-1")
    site.seconds += FRESH - 0.01
    assert site.refusal() is None
    site.seconds += 0.01
    assert site.refusal() == STOPPED


def test_a_cancelled_restore_counts_as_stopped(site: Site) -> None:
    decide(site.table, Answer.CANCEL)
    site.seconds += FRESH
    assert site.refusal() == STOPPED


def test_a_newer_run_of_the_same_execution_is_seen(site: Site) -> None:
    batch(site.table).take_run(1)
    site.seconds += FRESH
    assert site.refusal() == NEWER


def test_another_batch_of_the_restore_disturbs_nobody(site: Site) -> None:
    batch(site.table, 1).take_run(1)
    site.seconds += FRESH
    assert site.refusal() is None


def test_the_next_execution_is_seen_before_it_runs(site: Site) -> None:
    begin(site.table, "run-2")
    site.seconds += FRESH
    assert site.refusal() == NEWER


def test_a_run_of_the_next_execution_is_seen_though_that_one_is_not_stopped(site: Site) -> None:
    ledger(site.table).stop("run-1")
    begin(site.table, "run-2")
    batch(site.table).take_run(2)
    site.seconds += FRESH
    assert site.refusal() == NEWER


def test_a_ledger_that_is_gone_permits_nothing(site: Site) -> None:
    site.table.packed.clear()
    site.seconds += FRESH
    assert site.refusal() == NEWER


def test_once_refused_it_is_refused_for_good_without_another_look(site: Site) -> None:
    before = dict(site.table.packed)
    ledger(site.table).stop("run-1")
    site.seconds += FRESH
    assert site.refusal() == STOPPED
    site.table.packed |= before
    reads = site.reads
    site.seconds += 100 * FRESH
    assert (site.refusal(), site.reads) == (STOPPED, reads)


def test_threads_that_ask_at_once_share_one_look_and_one_answer(site: Site) -> None:
    ledger(site.table).stop("run-1")
    site.seconds += FRESH
    together = Barrier(8)

    def ask(_: int) -> str | None:
        together.wait()
        return site.refusal()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [STOPPED] * 8
    assert site.reads == 1
