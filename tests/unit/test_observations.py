"""The last look at a cluster: what it takes over from the one before, and that it is the newest."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.catalogue import observations
from shared.catalogue.observations import observe, read, record
from shared.models.observations import SOON, Answer, Observation, SeenVersions
from tests.memory_table import MemoryTable

NOON = datetime(2026, 8, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALIVE = (Answer.READY, Answer.NOT_READY, Answer.REJECTED)


def seen(answer: Answer, minutes: int = 0, **more: object) -> Observation:
    return Observation.model_validate(
        {"cluster": "east", "at": NOON + minutes * MINUTE, "answer": answer, **more}
    )


def after(*answers: Answer) -> Observation:
    """A look a minute, each after the one before it."""
    last: Observation | None = None
    for minute, answer in enumerate(answers):
        last = observe(last, seen(answer, minute))
    assert last is not None
    return last


R, U, N = Answer.READY, Answer.UNREACHABLE, Answer.NO_CREDENTIALS


@pytest.mark.parametrize(
    ("answers", "since"),
    [
        pytest.param([R], None, id="alive"),
        pytest.param([U], 0, id="never seen alive"),
        pytest.param([R, U], 1, id="the first look without an answer"),
        pytest.param([R, U, U, U], 1, id="and it stays that one"),
        pytest.param([R, U, R], None, id="over"),
        pytest.param([R, U, R, U], 3, id="another outage"),
        pytest.param([U, Answer.NOT_READY], None, id="not ready is alive"),
        pytest.param([U, Answer.REJECTED], None, id="who rejects is alive"),
        pytest.param([R, N], None, id="without credentials no outage begins"),
        pytest.param([R, U, N], 1, id="nor does one end"),
        pytest.param([R, Answer.UNTRUSTED], None, id="a changed certificate begins none"),
        pytest.param([R, U, Answer.UNTRUSTED], 1, id="and ends none"),
        pytest.param([R, U, N, U], 1, id="and it goes on"),
        pytest.param([N, U], 1, id="nothing was known before"),
    ],
)
def test_since_when_a_cluster_is_unreachable(answers: list[Answer], since: int | None) -> None:
    told = after(*answers)
    assert told.unreachable_since == (None if since is None else NOON + since * MINUTE)
    assert told.reachable == (since is None)


def test_when_it_was_last_alive_stays_known() -> None:
    assert after(U).last_alive is None
    assert after(R, R, U, N, U).last_alive == NOON + MINUTE


def test_a_cluster_that_is_gone_has_the_versions_that_it_had() -> None:
    first = seen(R, versions=SeenVersions(kubernetes="v1.34.1", longhorn="v1.11.3"))
    second = observe(first, seen(R, 1, versions=SeenVersions(kubernetes="v1.35.0")))
    gone = observe(second, seen(U, 2))
    assert gone.versions == SeenVersions(kubernetes="v1.35.0", longhorn="v1.11.3")


@pytest.mark.parametrize("answer", Answer)
def test_who_answers_anything_is_alive(answer: Answer) -> None:
    assert seen(answer).alive == (answer in ALIVE)


@pytest.mark.parametrize(
    ("answer", "left", "usable"),
    [
        (R, None, True),
        (R, SOON, True),
        (R, SOON - MINUTE, False),
        (Answer.NOT_READY, -MINUTE, False),
        (Answer.REJECTED, None, False),
        (N, None, False),
        (U, None, None),
        (U, SOON, None),
        (U, SOON - MINUTE, False),
    ],
)
def test_whether_credentials_are_usable(
    answer: Answer, left: timedelta | None, usable: bool | None
) -> None:
    end = None if left is None else NOON + left
    assert seen(answer, credentials_expire=end).credentials_usable is usable


def test_a_cluster_that_nobody_looked_at_is_unknown() -> None:
    assert read(MemoryTable(), "east") is None


def test_each_look_is_written_over_the_one_before() -> None:
    table = MemoryTable()
    assert record(table, seen(R)) == read(table, "east")
    told = record(table, seen(U, 1, reason="It is gone."))
    assert told == read(table, "east")
    assert (told.unreachable_since, told.last_alive) == (NOON + MINUTE, NOON)


def test_an_older_look_never_replaces_a_newer_one() -> None:
    table = MemoryTable()
    newer = record(table, seen(R, 5))
    assert record(table, seen(U, 4)) == newer == read(table, "east")


class Overtaken(MemoryTable):
    """Somebody else writes between the reading of a row and its writing, once."""

    def __init__(self, other: Observation) -> None:
        super().__init__()
        self.other: Observation | None = other

    def put(self, item: object, *, condition: str, values: object) -> bool:
        other, self.other = self.other, None
        if other:
            record(self, other)
        return super().put(item, condition=condition, values=values)  # type: ignore[arg-type]


def test_of_two_looks_at_once_the_later_one_goes_on_from_the_earlier() -> None:
    table = Overtaken(seen(U, 1))
    told = record(table, seen(U, 2))
    assert (told.at, told.unreachable_since) == (NOON + 2 * MINUTE, NOON + MINUTE)


def test_of_two_looks_at_once_the_later_one_stays() -> None:
    table = Overtaken(seen(R, 2))
    assert record(table, seen(U, 1)) == read(table, "east") == observe(None, seen(R, 2))


def test_clusters_have_rows_of_their_own() -> None:
    table = MemoryTable()
    record(table, seen(R))
    assert observations.read(table, "west") is None
