"""What happens to a restore's ledger, as functions of a table: the real one and the stand-in.

A scenario raises AssertionError when the ledger does not end as it must. Each takes an empty table.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from local.samples.builders import NOW, RESTORE_ID
from shared.aws.table import Table, size
from shared.errors import InvalidRequest, NotFound, Overtaken, Refused
from shared.models.restore_plans import (
    Answer,
    Asked,
    BatchRecord,
    Decision,
    MachineResult,
    ObjectResult,
    Phase,
    RestoreRecord,
)
from shared.models.row_keys import KEPT
from shared.runs import history
from shared.runs.batches import Batch
from shared.runs.ledger import Ledger, of_dry_run, of_execution

LATER = NOW + timedelta(hours=3)
ASKED = Asked(select={"id": "point-web01"}, target="west")


def ledger(table: Table, id_: str = RESTORE_ID, *, at: datetime = NOW) -> Ledger:
    return Ledger(table, id_, now=lambda: at)


def batch(table: Table, number: int = 0, *, at: datetime = NOW) -> Batch:
    return Batch(ledger(table, at=at), number)


def wanted(execution: str = "run-1", *, digest: str = "d", at: datetime = NOW) -> RestoreRecord:
    return RestoreRecord(
        restore_id=RESTORE_ID,
        request_id="tuesday",
        request_digest=digest,
        execution=execution,
        attempt=1,
        started_at=at,
        taken_at=at,
    )


def ended(_: str) -> bool:
    """No other execution runs."""
    return False


def alive(_: str) -> bool:
    """Every other execution runs."""
    return True


def never_asked(execution: str) -> bool:
    raise AssertionError(f"nobody needs to know whether {execution} runs")


def begin(table: Table, execution: str = "run-1", *, at: datetime = NOW) -> RestoreRecord:
    return ledger(table).begin(wanted(execution, at=at), ASKED, running=ended)


def finish(table: Table, attempt: int, outcome: str) -> None:
    ledger(table).finish(attempt, outcome, at=LATER, counts={"ready": 1}, report="s3://state/r")


def keep_plan(table: Table, attempt: int, plan_hash: str) -> str | None:
    """The hash of the plan that is in force after that."""
    return ledger(table).keep_plan(attempt, plan_hash, 1).plan_hash


def stored(table: Table) -> RestoreRecord:
    record = ledger(table).record()
    assert record
    return record


def a_machine(
    name: str = "web01", *, waits: str | None = None, phase: Phase = Phase.PENDING
) -> MachineResult:
    return MachineResult(
        key=f"default/{name}",
        id=f"point-{name}",
        vm=name,
        namespace="default",
        phase=phase,
        attempt=1,
        waits=waits,
    )


def some_objects(count: int, reason: str = "as planned") -> list[ObjectResult]:
    return [
        ObjectResult(
            kind="PersistentVolumeClaim",
            namespace="default",
            name=f"disk-{number}",
            action="create",
            reason=reason,
            uid=f"uid-{number}",
        )
        for number in range(count)
    ]


def a_restore_that_nobody_began_is_not_there(table: Table) -> None:
    empty = ledger(table)
    assert (empty.record(), empty.expect("d"), of_execution(table, "run-1")) == (None, None, None)
    assert (empty.machines(), empty.objects(), empty.stop("run-1")) == ({}, {}, None)
    assert (empty.batches(), batch(table).record()) == ([], BatchRecord(number=0))
    batch(table).end_run(1)
    finish(table, 1, "succeeded")
    for call in (lambda: batch(table).take_run(1), lambda: keep_plan(table, 1, "sha256:a")):
        with pytest.raises(Overtaken):
            call()
    with pytest.raises(NotFound):
        empty.resume("run-1", 1)
    assert (empty.record(), empty.batches()) == (None, [])


def the_first_execution_takes_the_restore(table: Table) -> None:
    record = ledger(table).begin(wanted(), ASKED, running=never_asked)
    assert record == wanted() == stored(table) == ledger(table).expect("d")
    assert of_execution(table, "run-1") == RESTORE_ID


def a_repeated_call_of_an_execution_changes_nothing(table: Table) -> None:
    begin(table)
    keep_plan(table, 1, "sha256:a")
    batch(table).take_run(1)
    before = stored(table)
    again = ledger(table).begin(wanted(at=LATER), ASKED, running=never_asked)
    assert again == before == stored(table)


def another_request_of_the_same_id_is_told_which_restore_has_it(table: Table) -> None:
    begin(table)
    calls: tuple[Callable[[], object], ...] = (
        lambda: ledger(table).begin(wanted("run-2", digest="another"), ASKED, running=never_asked),
        lambda: ledger(table).begin(wanted("run-1", digest="another"), ASKED, running=never_asked),
        lambda: ledger(table).expect("another"),
    )
    for call in calls:
        with pytest.raises(InvalidRequest) as caught:
            call()
        assert (caught.value.field, caught.value.message) == (
            "requestId",
            f"requestId: tuesday belongs to another request (restore {RESTORE_ID})."
            " Use a new requestId, or repeat that request unchanged.",
        )
    assert (stored(table), of_execution(table, "run-2")) == (wanted(), None)


def while_an_execution_runs_no_other_takes_its_restore(table: Table) -> None:
    begin(table)
    asked: list[str] = []

    def running(execution: str) -> bool:
        asked.append(execution)
        return True

    with pytest.raises(Refused) as caught:
        ledger(table).begin(wanted("run-2"), ASKED, running=running)
    assert (caught.value.field, caught.value.message) == (
        "requestId",
        "This restore is still running as run-1. Wait for it, or stop it.",
    )
    assert (asked, stored(table)) == (["run-1"], wanted())


def after_an_end_the_next_execution_takes_it_with_a_clock_of_its_own(table: Table) -> None:
    begin(table)
    keep_plan(table, 1, "sha256:a")
    batch(table).take_run(1)
    batch(table).end_run(1)
    ledger(table).stop("run-1")
    finish(table, 1, "cancelled")
    before = stored(table)
    assert (before.stopped, before.outcome) == (True, "cancelled")
    second = begin(table, "run-2", at=LATER)
    assert second == stored(table)
    assert (second.execution, second.attempt) == ("run-2", 2)
    assert (second.started_at, second.taken_at) == (NOW, LATER)
    assert (second.stopped, second.outcome) == (False, None)
    assert batch(table).take_run(2).batch.run == 2, "runs are counted on, so that none is met twice"
    assert of_execution(table, "run-1") == of_execution(table, "run-2") == RESTORE_ID
    third = begin(table, "run-3")
    assert third.attempt == 3


def a_plan_is_kept_for_the_next_execution_only_when_a_run_was_given_it(table: Table) -> None:
    begin(table)
    assert keep_plan(table, 1, "sha256:a") == "sha256:a"
    assert begin(table, "run-2").plan_hash is None, "newer points may be chosen"
    assert keep_plan(table, 2, "sha256:b") == "sha256:b"
    assert batch(table).take_run(2).restore.given
    third = begin(table, "run-3")
    assert (third.plan_hash, third.given) == ("sha256:b", True)
    assert keep_plan(table, 3, "sha256:c") == "sha256:b"
    assert stored(table).plan_hash == "sha256:b"


def of_two_plans_the_first_one_is_in_force(table: Table) -> None:
    begin(table)
    assert keep_plan(table, 1, "sha256:a") == "sha256:a"
    assert keep_plan(table, 1, "sha256:b") == "sha256:a"
    assert stored(table).plan_hash == "sha256:a"


def an_older_execution_neither_plans_nor_runs_nor_ends_the_restore(table: Table) -> None:
    begin(table)
    begin(table, "run-2")
    before = stored(table)
    for call in (lambda: batch(table).take_run(1), lambda: keep_plan(table, 1, "sha256:a")):
        with pytest.raises(Overtaken) as caught:
            call()
        assert caught.value.message == f"Restore {RESTORE_ID} was taken up by another execution."
    finish(table, 1, "failed")
    assert ledger(table).stop("run-1") is None
    assert stored(table) == before


def every_run_has_a_number_of_its_own(table: Table) -> None:
    begin(table)
    keep_plan(table, 1, "sha256:a")
    assert not stored(table).given
    runs = [batch(table).take_run(1) for _ in range(3)]
    assert [each.batch.run for each in runs] == [1, 2, 3]
    assert all(each.restore.given and each.restore.plan_hash == "sha256:a" for each in runs)
    assert runs[-1] == (stored(table), batch(table).record())


def each_batch_has_runs_and_machines_of_its_own(table: Table) -> None:
    begin(table)
    for number, runs in ((0, 2), (12, 1)):
        for _ in range(runs):
            batch(table, number).take_run(1)
    batch(table, 0).write(2, [a_machine("web01")])
    batch(table, 12).write_objects(1, a_machine("web02"), some_objects(1))
    assert [(each.number, each.run) for each in ledger(table).batches()] == [(0, 2), (12, 1)]
    assert batch(table, 0).machines() == {"default/web01": a_machine("web01")}
    assert batch(table, 12).machines() == {"default/web02": a_machine("web02")}
    assert batch(table, 1).machines() == {}
    assert ledger(table).machines().keys() == {"default/web01", "default/web02"}
    assert batch(table, 0).refusal(1, 2) is batch(table, 12).refusal(1, 1) is None
    ledger(table).stop("run-1")
    stopped = f"Restore {RESTORE_ID} was stopped."
    assert batch(table, 0).refusal(1, 2) == batch(table, 12).refusal(1, 1) == stopped


def a_stopped_restore_is_run_no_more(table: Table) -> None:
    begin(table)
    batch(table).take_run(1)
    stopped = ledger(table).stop("run-1")
    assert stopped == stored(table)
    assert stopped.stopped
    with pytest.raises(Overtaken) as caught:
        batch(table).take_run(1)
    assert caught.value.message == f"Restore {RESTORE_ID} was stopped."
    assert batch(table).record().run == 1


def a_redriven_execution_takes_its_restore_up_once_each_time(table: Table) -> None:
    begin(table)
    keep_plan(table, 1, "sha256:a")
    batch(table).take_run(1)
    ledger(table).stop("run-1")
    finish(table, 1, "cancelled")
    for _ in range(2):
        assert ledger(table, at=LATER).resume("run-1", 1) == 2
    record = stored(table)
    assert (record.execution, record.attempt, record.taken_at) == ("run-1", 2, LATER)
    assert (record.stopped, record.outcome, record.plan_hash) == (False, None, "sha256:a")
    assert ledger(table).stop("run-1", 0) is None, "the event of the first stop comes late"
    assert batch(table).take_run(2).batch.run == 2
    assert ledger(table).stop("run-1", 1)
    assert ledger(table).resume("run-1", 2) == 3


def an_execution_that_another_one_followed_is_not_redriven(table: Table) -> None:
    begin(table)
    begin(table, "run-2")
    before = stored(table)
    with pytest.raises(Refused) as caught:
        ledger(table).resume("run-1", 1)
    assert caught.value.message.startswith("This restore was taken up by run-2. Follow that")
    assert stored(table) == before
    ledger(table).stop("run-2")
    ledger(table).resume("run-2", 4)
    begin(table, "run-3")
    assert stored(table).redriven == 0, "each execution has redrives of its own"


def the_end_of_a_run_is_noted_and_never_goes_back(table: Table) -> None:
    begin(table)
    for run in (1, 2):
        assert batch(table).take_run(1).batch.run == run
    batch(table).end_run(2, down_since=NOW)
    for run in (1, 2):
        batch(table).end_run(run)
    batch(table).end_run(3)
    after = batch(table).record()
    assert (after.run, after.ended, after.down_since) == (2, 2, NOW)


def the_outcome_is_of_the_newest_execution(table: Table) -> None:
    begin(table)
    finish(table, 1, "partial")
    assert stored(table).outcome == "partial"
    begin(table, "run-2")
    finish(table, 1, "failed")
    assert stored(table).outcome is None
    finish(table, 2, "succeeded")
    assert stored(table).outcome == "succeeded"


def every_change_of_the_record_has_a_revision(table: Table) -> None:
    begin(table)
    for change in (
        lambda: keep_plan(table, 1, "sha256:a"),
        lambda: batch(table).take_run(1),
        lambda: ledger(table).stop("run-1"),
        lambda: finish(table, 1, "cancelled"),
        lambda: begin(table, "run-2"),
    ):
        before = stored(table).revision
        change()
        assert stored(table).revision == before + 1
    record = stored(table)
    for revision in (2, 4):
        batch(table).take_run(2)
        assert batch(table).record().revision == revision
        batch(table).end_run(revision // 2 + 1)
    assert stored(table) == record, "a run is no change of it"


def machines_and_objects_are_read_apart(table: Table) -> None:
    own, rows = ledger(table), batch(table)
    rows.write(1, [a_machine("web02"), a_machine("web01", waits="its disks")])
    rows.write_objects(1, a_machine("web03", phase=Phase.APPLIED), some_objects(12))
    assert own.machines() == {
        "default/web01": a_machine("web01", waits="its disks"),
        "default/web02": a_machine("web02"),
        "default/web03": a_machine("web03", phase=Phase.APPLIED),
    }
    assert own.objects() == {"default/web03": tuple(some_objects(12))}, "in order of creation"
    assert own.record() is None, "rows of machines are no record"


def the_objects_of_one_machine_are_not_those_of_one_whose_name_begins_alike(table: Table) -> None:
    own, rows = ledger(table), batch(table)
    for name in ("web1", "web11", "web1-a"):
        rows.write_objects(1, a_machine(name), some_objects(2, reason=name))
    assert own.objects("default/web1") == {
        "default/web1": tuple(some_objects(2, reason="web1")),
    }
    assert own.objects("default/web") == {}
    assert own.objects().keys() == {"default/web1", "default/web11", "default/web1-a"}


def many_rows_are_written_and_read(table: Table) -> None:
    own, rows = ledger(table), batch(table)
    machines = [a_machine(f"web{number:04}") for number in range(250)]
    rows.write(1, machines)
    assert list(own.machines().values()) == machines
    rows.write_objects(1, a_machine("big"), some_objects(230))
    assert own.objects("default/big")["default/big"] == tuple(some_objects(230))
    rows.write_objects(1, a_machine("full"), some_objects(100))
    assert len(own.objects("default/full")["default/full"]) == 100
    assert len(own.machines()) == 252


def to_write_nothing_is_no_fault(table: Table) -> None:
    batch(table).write(1, [])
    batch(table).write_objects(1, a_machine(), [])
    assert ledger(table).machines() == {"default/web01": a_machine()}
    assert ledger(table).objects() == {}


def a_run_writes_over_its_own_rows_and_those_of_older_ones(table: Table) -> None:
    own, rows = ledger(table), batch(table)
    for run, waits in ((1, "a"), (1, "b"), (2, "c"), (5, "d")):
        rows.write(run, [a_machine(waits=waits)])
        assert own.machines()["default/web01"].waits == waits
        rows.write_objects(run, a_machine(waits=waits), some_objects(3, reason=waits))
        assert own.objects()["default/web01"] == tuple(some_objects(3, reason=waits))


def an_older_run_overwrites_nothing_of_a_newer_one(table: Table) -> None:
    own, rows = ledger(table), batch(table)
    rows.write(1, [a_machine("web01", waits="first")])
    rows.write_objects(2, a_machine("web02", waits="newer"), some_objects(3, reason="newer"))
    machines, objects = own.machines(), own.objects()
    late = [a_machine(name, waits="late") for name in ("web01", "web02", "web03")]
    calls: tuple[Callable[[], object], ...] = (
        lambda: rows.write(1, late),
        lambda: rows.write(1, late[::-1]),
        lambda: rows.write_objects(1, late[1], some_objects(3, reason="late")),
        lambda: rows.write_objects(1, late[1], some_objects(5, reason="late")),
    )
    for call in calls:
        with pytest.raises(Overtaken) as caught:
            call()
        assert caught.value.message == f"Restore {RESTORE_ID} was taken up by a newer run."
        assert (own.machines(), own.objects()) == (machines, objects), "all or nothing"


def every_row_expires_more_than_a_year_after_its_last_change(table: Table) -> None:
    begin(table)
    batch(table).write_objects(1, a_machine(), some_objects(1))
    rows = list(table.query(f"restore#{RESTORE_ID}"))
    assert [row["sk"] for row in rows] == [
        "machine#00000#default/web01",
        "object#default/web01#00000",
        "restore",
    ]
    assert {int(row["expires"]) for row in rows} == {int((NOW + KEPT).timestamp())}
    assert timedelta(days=366) < KEPT
    batch(table, at=LATER).write(1, [a_machine()])
    batch(table, at=LATER).take_run(1)
    batch(table).end_run(1)
    changed = {row["sk"]: int(row["expires"]) for row in table.query(f"restore#{RESTORE_ID}")}
    assert (
        changed["machine#00000#default/web01"]
        == changed["restore"]
        == int((LATER + KEPT).timestamp())
    )


def the_name_of_an_execution_expires_too(table: Table) -> None:
    """Found by its ledger, for its key is a hash of an ARN that may be longer than a key."""
    execution = "arn:" + "x" * 3000
    begin(table, execution)
    assert of_execution(table, execution) == RESTORE_ID
    digest = of_dry_run("", execution).removeprefix("/dry/")
    row = table.get((f"restore#execution#{digest}", "restore"))
    assert row
    assert int(row["expires"]) == int((NOW + KEPT).timestamp())


def a_dry_run_has_a_ledger_of_its_own(table: Table) -> None:
    dry = of_dry_run(RESTORE_ID, "run-1")
    assert dry == of_dry_run(RESTORE_ID, "run-1") != of_dry_run(RESTORE_ID, "run-2")
    ledger(table, dry).begin(wanted(digest="dry"), ASKED, running=never_asked)
    Batch(ledger(table, dry), 0).write(1, [a_machine()])
    assert of_execution(table, "run-1") == dry
    assert (ledger(table).record(), ledger(table).machines()) == (None, {})
    assert begin(table, "run-2").attempt == 1, "it has not claimed the requestId"


def listed(table: Table, before: str | None = None) -> list[tuple[str, str, str]]:
    """Of each restore in the history: where it stands, its newest execution, its state."""
    found = history.newest(table, before)
    return [(position, shown["execution"], shown["state"]) for position, shown in found]


def a_decision(answer: Answer) -> Decision:
    return Decision(decision=answer, by="Ada", at=NOW, attempt=1, plan_hash="sha256:a")


def decide(table: Table, answer: Answer) -> RestoreRecord:
    decided = ledger(table).decide(stored(table), a_decision(answer))
    assert decided == stored(table)
    return decided


def of_two_decisions_that_were_judged_at_once_one_is_taken(table: Table) -> None:
    begin(table)
    before = stored(table)
    assert ledger(table).decide(before, a_decision(Answer.REJECT))
    assert ledger(table).decide(before, a_decision(Answer.APPROVE)) is None
    assert [each.decision for each in stored(table).decisions] == [Answer.REJECT]


def an_approval_is_in_force_for_its_plan_until_something_else_is_decided(table: Table) -> None:
    ledger(table).begin(wanted().model_copy(update={"approval": 60}), ASKED, running=ended)
    assert stored(table).unapproved
    ledger(table).keep_plan(1, "sha256:a", 1)
    approved = decide(table, Answer.APPROVE)
    assert (approved.unapproved, approved.cancelled, approved.stopped) == (False, False, False)
    assert approved.model_copy(update={"plan_hash": "sha256:b"}).unapproved
    assert not approved.model_copy(update={"attempt": 2}).unapproved
    cancelled = decide(table, Answer.CANCEL)
    assert (cancelled.cancelled, cancelled.stopped) == (True, True)
    again = begin(table, "run-2")
    assert (again.attempt, again.stopped, again.cancelled, again.answer) == (2, False, False, None)
    assert len(again.decisions) == 2


def no_run_begins_by_a_plan_that_lacks_its_approval(table: Table) -> None:
    ledger(table).begin(wanted().model_copy(update={"approval": 60}), ASKED, running=ended)
    ledger(table).keep_plan(1, "sha256:a", 1)
    with pytest.raises(Refused, match="Nobody has approved the plan sha256:a"):
        batch(table).take_run(1)
    assert not stored(table).given
    decide(table, Answer.APPROVE)
    assert batch(table).take_run(1).restore.given
    decide(table, Answer.CANCEL)
    with pytest.raises(Overtaken, match="was stopped"):
        batch(table).take_run(1)


def the_newest_token_of_an_attempt_is_its_own(table: Table) -> None:
    assert ledger(table).token(1) is None
    for attempt, token in ((1, "a"), (1, "b"), (2, "c"), (1, "late")):
        ledger(table).keep_token(attempt, token)
    assert (ledger(table).token(1), ledger(table).token(2)) == (None, "c")


def a_restore_keeps_the_place_of_its_first_start(table: Table) -> None:
    place = f"2026-08-15T09:00:00Z#{RESTORE_ID}"
    begin(table)
    begin(table, at=LATER)
    assert listed(table) == [(place, "run-1", "running")]
    finish(table, 1, "cancelled")
    assert listed(table) == [(place, "run-1", "cancelled")]
    begin(table, "run-2", at=LATER)
    finish(table, 1, "failed")
    assert listed(table) == [(place, "run-2", "running")]
    finish(table, 2, "succeeded")
    assert listed(table) == [(place, "run-2", "succeeded")]


def an_end_is_in_the_history_until_the_restore_goes_on(table: Table) -> None:
    begin(table)
    said = {"counts": {"ready": 1}, "finishedAt": "2026-08-15T12:00:00Z", "report": "s3://state/r"}
    no_end: dict[str, object] = {"counts": {}, "finishedAt": None, "report": None}
    for go_on in (lambda: ledger(table).resume("run-1", 1), lambda: begin(table, "run-2")):
        finish(table, stored(table).attempt, "failed")
        ((_, shown),) = history.newest(table)
        assert shown | said == shown
        go_on()
        ((_, shown),) = history.newest(table)
        assert shown | no_end == shown


def restores_of_the_same_instant_are_all_in_the_history(table: Table) -> None:
    ids = [f"r-{number:016x}" for number in range(105)]
    for id_ in (*ids, of_dry_run(ids[7], "dry")):
        ledger(table, id_).begin(wanted(f"run-{id_}"), ASKED, running=never_asked)
    begin(table, at=LATER)
    whole = [position for position, _, _ in listed(table)]
    assert whole[0] == f"2026-08-15T12:00:00Z#{RESTORE_ID}"
    assert (len(set(whole)), whole) == (107, sorted(whole, reverse=True))
    for number in (0, 1, 50, 99, 100, 106):
        rest = [position for position, _, _ in listed(table, whole[number])]
        assert rest == whole[number + 1 :]


def five_thousand_points_are_kept_whole_and_apart_from_what_a_run_reads(table: Table) -> None:
    asked = Asked(select={"ids": [f"{number:032x}" for number in range(5000)]}, target="west")
    ledger(table).begin(wanted(), asked, running=never_asked)
    ((_, shown),) = history.newest(table)
    assert shown["select"] == asked.select
    record = table.get((f"restore#{RESTORE_ID}", "restore"))
    assert record
    assert size(record) < 2000


def the_history_leaves_out_what_expired_in_part(table: Table) -> None:
    begin(table)
    (place,) = table.query("restore#history")
    assert int(place["expires"]) == int((NOW + KEPT).timestamp())
    table.delete((f"restore#{RESTORE_ID}", "restore"), condition="revision = :r", values={":r": 0})
    assert listed(table) == []


SCENARIOS: tuple[Callable[[Table], None], ...] = (
    a_restore_that_nobody_began_is_not_there,
    the_first_execution_takes_the_restore,
    a_repeated_call_of_an_execution_changes_nothing,
    another_request_of_the_same_id_is_told_which_restore_has_it,
    while_an_execution_runs_no_other_takes_its_restore,
    after_an_end_the_next_execution_takes_it_with_a_clock_of_its_own,
    a_plan_is_kept_for_the_next_execution_only_when_a_run_was_given_it,
    of_two_plans_the_first_one_is_in_force,
    an_older_execution_neither_plans_nor_runs_nor_ends_the_restore,
    every_run_has_a_number_of_its_own,
    each_batch_has_runs_and_machines_of_its_own,
    a_stopped_restore_is_run_no_more,
    a_redriven_execution_takes_its_restore_up_once_each_time,
    an_execution_that_another_one_followed_is_not_redriven,
    the_end_of_a_run_is_noted_and_never_goes_back,
    the_outcome_is_of_the_newest_execution,
    every_change_of_the_record_has_a_revision,
    machines_and_objects_are_read_apart,
    the_objects_of_one_machine_are_not_those_of_one_whose_name_begins_alike,
    many_rows_are_written_and_read,
    to_write_nothing_is_no_fault,
    a_run_writes_over_its_own_rows_and_those_of_older_ones,
    an_older_run_overwrites_nothing_of_a_newer_one,
    every_row_expires_more_than_a_year_after_its_last_change,
    the_name_of_an_execution_expires_too,
    a_dry_run_has_a_ledger_of_its_own,
    of_two_decisions_that_were_judged_at_once_one_is_taken,
    an_approval_is_in_force_for_its_plan_until_something_else_is_decided,
    no_run_begins_by_a_plan_that_lacks_its_approval,
    the_newest_token_of_an_attempt_is_its_own,
    a_restore_keeps_the_place_of_its_first_start,
    an_end_is_in_the_history_until_the_restore_goes_on,
    restores_of_the_same_instant_are_all_in_the_history,
    five_thousand_points_are_kept_whole_and_apart_from_what_a_run_reads,
    the_history_leaves_out_what_expired_in_part,
)
