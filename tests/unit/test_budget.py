"""The budget of a target in the table, and restores that share it: races, dead runs, and what is
told of those that wait.

Not aspects: how it is divided (test_shares).
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest

from local.samples.builders import NOW
from shared.aws.table import Table
from shared.errors import Overtaken
from shared.restore import plan as planning
from shared.runs import shares
from shared.runs.budget import PATIENCE, Budget
from shared.runs.shares import Claim
from shared.workflows.following import MANY, Progress
from tests.fake_cluster import Place
from tests.lab import RUN_SECONDS, Lab, a_lab
from tests.memory_table import MemoryTable, Watched


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


class Site:
    """A budget on a table, and the time."""

    def __init__(self, table: Table | None = None) -> None:
        self.table = table or MemoryTable()
        self.seconds = 0
        self.pauses: list[float] = []

    def budget(self, table: Table | None = None) -> Budget:
        return Budget(table or self.table, "west", now=self.now, sleep=self.pauses.append)

    def now(self) -> Any:
        return NOW + timedelta(seconds=self.seconds)

    def claim(self, restore: str, wants: int, *, batch: int = 0, run: int = 1) -> Claim:
        return Claim(
            restore=restore,
            batch=batch,
            run=run,
            wants=wants,
            limit=64,
            since=self.now(),
            expires=self.now() + timedelta(seconds=300),
        )

    def ask(self, restore: str, wants: int, **which: int) -> int:
        return self.budget().ask(self.claim(restore, wants, **which)).machines

    def held(self) -> dict[str, int]:
        return {each.restore: each.granted for each in self.budget().claims()}


def test_what_is_given_back_is_free_and_a_restore_that_wants_no_more_leaves_no_claim() -> None:
    site = Site()
    assert (site.ask("a", 40), site.ask("b", 40)) == (40, 24)
    site.budget().give_back(site.claim("a", 40), wants=0)
    assert site.held() == {"b": 24}
    assert site.ask("c", 40) == 32, "its half, though more is free: b wants the other one"


def test_a_second_restore_gets_its_half_once_the_first_one_renews() -> None:
    site = Site()
    assert (site.ask("a", 64), site.ask("b", 64)) == (64, 0)
    site.budget().give_back(site.claim("a", 64), wants=64)
    assert (site.ask("a", 64), site.ask("b", 64)) == (32, 32)


def test_the_claim_of_a_run_that_died_is_free_when_its_function_would_have_ended() -> None:
    site = Site()
    assert site.ask("a", 64) == 64
    site.seconds = 299
    assert site.ask("b", 64) == 0
    site.seconds = 300
    assert site.ask("b", 64) == 64
    assert site.held() == {"b": 64}


def test_a_claim_that_waits_is_kept_for_its_next_run_and_no_longer() -> None:
    site = Site()
    site.ask("a", 64)
    site.ask("b", 64)
    site.budget().give_back(site.claim("a", 64), wants=64)
    site.seconds = int(PATIENCE.total_seconds()) - 1
    assert site.ask("c", 64) == 21, "a third, though a and b hold nothing"
    site.seconds += 1
    assert site.held() == {"c": 21}


def test_a_newer_run_of_a_batch_takes_its_claim_over_and_the_older_gets_and_gives_nothing() -> None:
    site = Site()
    old = site.claim("a", 8)
    site.budget().ask(old)
    assert site.ask("a", 5, run=2) == 5
    assert site.budget().ask(old).machines == 0
    site.budget().give_back(old, wants=0)
    assert site.held() == {"a": 5}


def test_of_two_who_ask_at_once_neither_is_lost_and_the_budget_holds() -> None:
    """The other one happens whole ahead of each call to the table."""
    for place in count():
        site, calls = Site(), count()
        other: list[int] = []

        def interrupt(
            site: Site = site, calls: Iterator[int] = calls, place: int = place, other: Any = other
        ) -> None:
            if next(calls) == place:
                other.append(site.ask("b", 64))

        watched = Watched(site.table, interrupt)
        got = site.budget(watched).ask(site.claim("a", 64)).machines
        if not other:
            assert place > 1
            return
        assert got + other[0] <= shares.BUDGET
        assert site.held() == {"a": got, "b": other[0]}
        assert len(site.pauses) <= 1


# --- Restores that share it ---------------------------------------------------------------------


def requests(lab: Lab, name: str, machines: int, **changes: Any) -> dict[str, Any]:
    ids = [lab.backup(f"{name}{number:02}").id for number in range(machines)]
    return lab.request(*ids, requestId=name, **changes)


def test_two_restores_to_one_target_have_no_more_at_work_than_its_budget(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one runs while the first has all of it, and after that both take turns."""
    monkeypatch.setattr(shares, "grant", partial(shares.grant, budget=3))
    first = lab.plan(requests(lab, "a", 6, concurrency=3), "run-a")
    second = lab.plan(requests(lab, "b", 6, concurrency=3), "run-b")
    budget = Budget(lab.table, "west", now=lab.now, sleep=lab.sleep)
    meanwhile: list[Progress] = []
    held: list[int] = []

    def look(method: str, place: Place) -> None:
        if method == "POST":
            held.append(sum(each.granted for each in budget.claims()))
        if (method, place[2]) == ("POST", "a00") and not meanwhile:
            meanwhile.append(lab.apply(second))

    lab.cluster.before = look
    lab.apply(first)
    assert "share of target west" in meanwhile[0].waiting[0]["waits"]
    outputs = [lab.finish(first), lab.finish(second)]
    assert [each["counts"] for each in outputs] == [{"ready": 6}] * 2
    assert set(held) <= {1, 2, 3}
    assert budget.claims() == ()


def taken_whole(lab: Lab) -> tuple[Budget, Claim]:
    """The budget of west, all of which another restore has for an hour."""
    budget = Budget(lab.table, "west", now=lab.now, sleep=lab.sleep)
    other = Claim(
        restore="r-other",
        batch=0,
        run=1,
        wants=64,
        limit=64,
        since=lab.now(),
        expires=lab.now() + timedelta(hours=1),
    )
    budget.ask(other)
    return budget, other


def test_a_run_that_gets_nothing_says_what_it_waits_for_and_comes_again_soon(lab: Lab) -> None:
    planned = lab.plan(requests(lab, "a", 2))
    budget, other = taken_whole(lab)
    progress = lab.apply(planned)
    assert (progress.done, progress.wait) == (False, 2)
    assert [each["waits"] for each in progress.waiting] == [
        "waits for its share of target west: 64 machines at work there"
    ] * 2
    assert not lab.cluster.writes
    running = lab.s3.json(f"reports/{planned.ledger}.json")
    assert running["machines"][0]["waits"] == progress.waiting[0]["waits"]
    budget.give_back(other, wants=64)
    assert lab.finish(planned)["counts"] == {"ready": 2}


def test_a_batch_of_which_nothing_was_begun_asks_for_its_share_before_all_else(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of machines most runs of most batches get nothing."""
    monkeypatch.setattr(planning, "BATCH", 2)
    planned = lab.plan(requests(lab, "a", 4))
    budget, other = taken_whole(lab)
    first = lab.apply(planned, batch=1)
    lab.connected.clear()
    before = dict(lab.s3.objects)
    again = lab.apply(planned, batch=1)
    assert (lab.connected, lab.s3.objects) == ([], before)
    assert (again.done, again.counts, again.wait) == (False, first.counts, first.wait)
    assert [each["vm"] for each in again.waiting] == ["default/a02", "default/a03"]
    assert "64 machines at work there" in again.waiting[0]["waits"]
    assert lab.batch(planned, 1).record().ended == 2
    budget.give_back(other, wants=0)
    assert lab.finish(planned)["counts"] == {"ready": 4}
    assert budget.claims() == ()


def test_an_attempt_that_takes_up_a_restore_looks_at_its_machines_before_it_waits(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 2)
    asked = requests(lab, "a", 4)
    planned = lab.plan(asked)
    taken_whole(lab)
    lab.apply(planned, batch=1)
    lab.stop()
    resumed = lab.plan(asked, "run-2")
    lab.connected.clear()
    assert lab.apply(resumed, batch=1).wait == 2
    assert len(lab.connected) == 1


def test_to_wait_for_a_share_takes_nothing_of_a_machine_s_time(lab: Lab) -> None:
    planned = lab.plan(requests(lab, "a", 1, ready={"timeout": "PT1M"}))
    budget, other = taken_whole(lab)
    lab.apply(planned)
    lab.sleep(3000)
    lab.apply(planned)
    budget.give_back(other, wants=0)
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_batches_that_wait_do_not_keep_the_machines_that_are_made_from_starting(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 2)
    planned = lab.plan(requests(lab, "a", 4, concurrency=1))

    def take_long(method: str, place: Place) -> None:
        if method == "POST":
            lab.seconds += 12
            lab.cluster.settle()

    lab.cluster.before = take_long
    assert lab.finish(planned)["counts"] == {"ready": 4}
    first_start = lab.cluster.writes.index(("patch", "VirtualMachine", "a00"))
    last_made = lab.cluster.writes.index(("create", "VirtualMachine", "a03"))
    assert first_start < last_made


def test_a_run_that_is_overtaken_gives_its_share_back(lab: Lab) -> None:
    planned = lab.plan(requests(lab, "a", 2, concurrency=1))

    def stop(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "VirtualMachine"):
            lab.ledger(planned).stop("run-1")
            lab.seconds += 1

    lab.cluster.before = stop
    with pytest.raises(Overtaken):
        lab.apply(planned)
    assert Budget(lab.table, "west", now=lab.now, sleep=lab.sleep).claims() == ()


def test_a_claim_lasts_as_long_as_its_function_may(lab: Lab) -> None:
    planned = lab.plan(requests(lab, "a", 1))
    claims: list[Claim] = []
    began = lab.now()

    def look(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "VirtualMachine"):
            claims.extend(Budget(lab.table, "west", now=lab.now, sleep=lab.sleep).claims())

    lab.cluster.before = look
    lab.apply(planned)
    (claim,) = claims
    assert (claim.granted, claim.limit, claim.run) == (1, 16, 1)
    assert claim.expires == began + timedelta(seconds=RUN_SECONDS + 5)


def test_after_very_many_runs_a_batch_comes_as_rarely_as_it_may(lab: Lab) -> None:
    """Or the events of its execution would be more than Step Functions keeps."""
    lab.cluster.bind = False
    planned = lab.plan(requests(lab, "a", 1))
    assert lab.apply(planned).wait < 10
    for _ in range(MANY):
        lab.batch(planned)._count_run()
    assert lab.apply(planned).wait == 60
    assert 9 * (MANY + 25 * 60) < 25_000, "an execution takes 25 hours at most"
