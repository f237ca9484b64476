"""A restore's ledger: its life on the stand-in for the table, and two calls at once.

The scenarios (tests/ledger_scenarios.py) are functions of a table, so that the real one can go
through them too. The races let a second call happen whole ahead of each of the first one's calls to
the table, in both roles.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from typing import NamedTuple

import pytest

from local.samples.builders import NOW
from shared.aws.table import Table
from shared.errors import Overtaken, Refused, ReplantError
from shared.models.base import to_instant
from shared.models.restore_plans import RestoreRecord
from shared.runs.batches import TRANSACTION, Taken
from shared.runs.ledger import of_execution
from tests.ledger_scenarios import (
    ASKED,
    LATER,
    SCENARIOS,
    a_machine,
    alive,
    batch,
    begin,
    ended,
    finish,
    keep_plan,
    ledger,
    listed,
    some_objects,
    stored,
    wanted,
)
from tests.memory_table import MemoryTable, Watched

Answer = object
Call = Callable[[Table], Answer]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_ledger_goes_through(scenario: Callable[[Table], None]) -> None:
    scenario(MemoryTable())


class Race(NamedTuple):
    """How the two calls ended, errors of ours included, and the table after them."""

    one: Answer
    other: Answer
    table: MemoryTable


def races(prepare: Callable[[Table], object], one: Call, other: Call) -> list[Race]:
    """OTHER ahead of each of ONE's calls to the table, and the other way round."""
    found = [*_interrupted(prepare, one, other)]
    swapped = [Race(each.other, each.one, each.table) for each in _interrupted(prepare, other, one)]
    assert len(found) > 1, "there is nothing to interrupt"
    return found + swapped


def _interrupted(prepare: Callable[[Table], object], one: Call, other: Call) -> Iterator[Race]:
    for place in count():
        table, calls = MemoryTable(), count()
        answers: list[Answer] = []
        prepare(table)

        def interrupt(
            table: MemoryTable = table,
            calls: Iterator[int] = calls,
            answers: list[Answer] = answers,
            place: int = place,
        ) -> None:
            if next(calls) == place:
                answers.append(_answer(other, table))

        first = _answer(one, Watched(table, interrupt))
        if not answers:
            return
        yield Race(first, answers[0], table)


def _answer(call: Call, table: Table) -> Answer:
    try:
        return call(table)
    except ReplantError as error:
        return error


def nothing(_: Table) -> None:
    """The table is empty."""


def begun(table: Table) -> None:
    begin(table)


def planned(table: Table) -> None:
    begin(table)
    keep_plan(table, 1, "sha256:a")


def running(table: Table) -> None:
    planned(table)
    batch(table).take_run(1)


def first_run(table: Table) -> Taken:
    return batch(table).take_run(1)


def stop_first(table: Table) -> RestoreRecord | None:
    return ledger(table).stop("run-1")


def resume(table: Table) -> RestoreRecord:
    """The next execution, after run-1 has ended."""
    return begin(table, "run-2", at=LATER)


@pytest.mark.parametrize(("prepare", "attempt"), [(nothing, 1), (running, 2)])
def test_of_two_executions_that_begin_at_once_one_has_the_restore_and_one_is_told_to_wait(
    prepare: Callable[[Table], None], attempt: int
) -> None:
    def enter(execution: str) -> Call:
        rivals = {"run-2", "run-3"}
        return lambda table: ledger(table).begin(
            wanted(execution), ASKED, running=lambda other: other in rivals
        )

    for race in races(prepare, enter("run-2"), enter("run-3")):
        winner = stored(race.table)
        assert winner.attempt == attempt
        answers = {"run-2": race.one, "run-3": race.other}
        assert answers.pop(winner.execution) == winner
        (told,) = answers.values()
        assert isinstance(told, Refused)
        assert told.message == (
            f"This restore is still running as {winner.execution}. Wait for it, or stop it."
        )


@pytest.mark.parametrize(("prepare", "attempt"), [(nothing, 1), (running, 2)])
def test_a_call_of_plan_that_is_repeated_while_it_runs_is_answered_like_the_first(
    prepare: Callable[[Table], None], attempt: int
) -> None:
    def enter(table: Table) -> RestoreRecord:
        return ledger(table).begin(wanted("run-2"), ASKED, running=lambda other: other == "run-2")

    for race in races(prepare, enter, enter):
        assert race.one == race.other == stored(race.table)
        assert (stored(race.table).attempt, of_execution(race.table, "run-2")) == (
            attempt,
            stored(race.table).restore_id,
        )


def test_a_restore_that_is_begun_twice_at_once_is_in_the_history_once() -> None:
    def enter(at: datetime) -> Call:
        return lambda table: begin(table, at=at)

    for race in races(nothing, enter(NOW), enter(LATER)):
        began = to_instant(stored(race.table).started_at)
        assert listed(race.table) == [
            (f"{began}#{stored(race.table).restore_id}", "run-1", "running")
        ]


def test_another_request_that_begins_at_once_never_gets_the_restore_of_the_first() -> None:
    def enter(digest: str) -> Call:
        return lambda table: ledger(table).begin(
            wanted(f"run-{digest}", digest=digest), ASKED, running=alive
        )

    for race in races(nothing, enter("a"), enter("b")):
        answers = {"a": race.one, "b": race.other}
        winner = stored(race.table)
        assert answers.pop(winner.request_digest) == winner
        (told,) = answers.values()
        assert isinstance(told, ReplantError)
        assert told.code == "InvalidRequest"


def test_two_plans_that_are_made_at_once_go_on_as_one() -> None:
    one, other = (
        lambda table: keep_plan(table, 1, "sha256:a"),
        lambda table: keep_plan(table, 1, "sha256:b"),
    )
    hashes = set()
    for race in races(begun, one, other):
        assert race.one == race.other == stored(race.table).plan_hash
        hashes.add(race.one)
    assert hashes == {"sha256:a", "sha256:b"}, "each of them was the faster one once"


def test_a_plan_of_an_execution_that_is_overtaken_is_not_that_of_the_next_one() -> None:
    for race in races(begun, lambda table: keep_plan(table, 1, "sha256:a"), resume):
        assert race.one == "sha256:a" or isinstance(race.one, Overtaken)
        assert (stored(race.table).attempt, stored(race.table).plan_hash) == (2, None)
        assert race.other == stored(race.table)


def test_a_plan_that_a_run_was_given_just_now_stays_whoever_takes_up_the_restore() -> None:
    for race in races(planned, first_run, resume):
        after, runs = stored(race.table), batch(race.table).record()
        assert after.attempt == 2
        if isinstance(race.one, Overtaken):
            assert after.given == bool(after.plan_hash)
            assert runs.ended == runs.run
        else:
            assert (after.plan_hash, after.given, runs.run) == ("sha256:a", True, 1)


def test_a_run_that_begins_while_the_restore_is_stopped_sees_it_or_is_seen() -> None:
    for race in races(planned, first_run, stop_first):
        after, runs = stored(race.table), batch(race.table).record()
        assert after.stopped
        if isinstance(race.one, Overtaken):
            assert runs.ended == runs.run
        else:
            assert isinstance(race.one, Taken)
            assert (runs.ended, runs.run) == (0, race.one.batch.run) == (0, 1)
        assert isinstance(race.other, RestoreRecord)
        assert race.other.stopped
        assert race.other == after or race.other.revision < after.revision


def test_a_stop_that_comes_late_never_stops_the_next_execution() -> None:
    for race in races(running, stop_first, resume):
        after = stored(race.table)
        assert (after.attempt, after.execution, after.stopped) == (2, "run-2", False)
        assert race.other == after


def test_two_runs_that_begin_at_once_have_two_numbers() -> None:
    for race in races(planned, first_run, first_run):
        assert isinstance(race.one, Taken)
        assert isinstance(race.other, Taken)
        assert {race.one.batch.run, race.other.batch.run} == {1, 2}
        assert batch(race.table).record().run == 2


def test_two_batches_that_begin_at_once_do_not_disturb_each_other() -> None:
    def second_batch(table: Table) -> Taken:
        return batch(table, 1).take_run(1)

    for race in races(planned, first_run, second_batch):
        assert isinstance(race.one, Taken)
        assert isinstance(race.other, Taken)
        assert (race.one.batch.run, race.other.batch.run) == (1, 1)
        assert stored(race.table).given


def test_the_end_of_a_run_is_noted_whatever_happens_at_the_same_time() -> None:
    def end(table: Table) -> None:
        batch(table).end_run(1)

    def note(table: Table) -> None:
        finish(table, 1, "partial")

    for other in (first_run, stop_first, resume, note):
        for race in races(running, end, other):
            assert batch(race.table).record().ended == 1
            assert not isinstance(race.other, ReplantError)


def test_an_outcome_is_noted_whatever_happens_at_the_same_time_but_for_the_next_execution() -> None:
    def note(table: Table) -> None:
        finish(table, 1, "partial")

    for race in races(running, note, stop_first):
        assert (stored(race.table).outcome, stored(race.table).stopped) == ("partial", True)
    for race in races(running, note, resume):
        assert (stored(race.table).outcome, stored(race.table).attempt) == (None, 2)


def test_of_two_runs_that_write_at_once_the_newer_one_s_rows_stand() -> None:
    def write(run: int) -> Call:
        said = f"run {run}"

        def both(table: Table) -> None:
            batch(table).write(run, [a_machine("web01", waits=said), a_machine("web02")])
            batch(table).write_objects(
                run, a_machine("web03", waits=said), some_objects(3, reason=said)
            )

        return both

    for race in races(running, write(1), write(2)):
        machines, objects = ledger(race.table).machines(), ledger(race.table).objects()
        assert machines["default/web01"].waits == machines["default/web03"].waits == "run 2"
        assert objects == {"default/web03": tuple(some_objects(3, reason="run 2"))}
        assert race.other is None


def test_an_execution_is_named_before_it_has_the_restore() -> None:
    """Its status event may come at any time after that."""
    table = MemoryTable()
    named: list[str | None] = []

    def look() -> None:
        if ledger(table).record():
            named.append(of_execution(table, "run-1"))

    ledger(Watched(table, look)).begin(wanted(), ASKED, running=ended)
    keep_plan(Watched(table, look), 1, "sha256:a")
    assert set(named) == {stored(table).restore_id}


def test_a_machine_of_many_objects_is_written_in_as_few_calls_as_the_table_takes() -> None:
    calls: list[None] = []
    table = Watched(MemoryTable(), lambda: calls.append(None))
    batch(table).write_objects(1, a_machine(), some_objects(2 * TRANSACTION))
    assert len(calls) == 3, "the machine itself is one row more"
