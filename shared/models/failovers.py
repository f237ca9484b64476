"""A failover as its rows keep it: what was decided, which waves it has, and how far they are."""

from datetime import datetime
from enum import StrEnum

from shared.models.base import Instant, Value
from shared.models.halts import Preparing
from shared.models.observations import Answer as Observed
from shared.models.restore_plans import Answer, Decision, Space, in_force
from shared.models.rollbacks import Rollback, Undoing


class FailoverState(StrEnum):
    """How a failover ended (contract, section 6). REFUSED: a safety rule said no; ABORTED: a person
    or the time did.
    """

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    REFUSED = "refused"
    ABORTED = "aborted"


class WaveState(StrEnum):
    """PLANNING: its restore plans; WAITING: it is planned, and others come first; RUNNING: its
    machines come back. The others are ends; SKIPPED is a wave without machines.
    """

    PLANNING = "planning"
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        return self not in (WaveState.PLANNING, WaveState.WAITING, WaveState.RUNNING)


class WaveProgress(Value):
    """One wave of a failover, which is a restore of its own; EXECUTION is that of this attempt.

    COUNTS are its machines by state, SPACE is what they need, REASON is why it ended otherwise than
    well.
    """

    name: str
    restore_id: str
    execution: str | None = None
    state: WaveState = WaveState.PLANNING
    plan_hash: str | None = None
    space: Space | None = None
    counts: dict[str, int] = {}
    started_at: Instant | None = None
    finished_at: Instant | None = None
    reason: str | None = None

    def again(self) -> "WaveProgress":
        """As another execution takes it up: what is back stays, the rest goes on."""
        if self.state is WaveState.SUCCEEDED:
            return self.model_copy(update={"space": None})  # it has what it needs
        return WaveProgress(name=self.name, restore_id=self.restore_id, started_at=self.started_at)


class Place(StrEnum):
    """FIRST is that of all functions that talk to clusters, SECOND that of SecondProbeFunction."""

    FIRST = "first"
    SECOND = "second"


class Probe(Value):
    """What a probe of the source said at an instant; ANSWER None: the probe itself failed. PLACE is
    where in the network it was made.
    """

    at: Instant
    place: Place = Place.FIRST
    answer: Observed | None
    reason: str | None = None


class CleanUp(Value):
    """What a drill made of one wave is deleted by the newest EXECUTION of RollbackStateMachine, the
    TRIES-th. DONE once nothing of it is left but what it KEPT, each with kind, namespace, name and
    reason.
    """

    wave: str
    restore_id: str
    execution: str | None = None
    tries: int = 0
    done: bool = False
    kept: tuple[dict[str, str | None], ...] = ()


class FailoverRecord(Value):
    """One failover, or a DRILL, whose machines are kept for KEEP_FOR seconds and then deleted:
    CLEANING says how far that is, wave by wave.

    ATTEMPT counts its executions, TAKEN_AT is when the newest began; ALARM is the alarm that
    started it, None where a person did, REASON what either said. APPROVAL is for how many seconds a
    decision is waited for, None where none is needed; ASKED_AT is when it was asked for. PLAN_HASH
    is over the plans of all waves. VERDICT with WHY is an end that was decided before all waves
    were through; OUTCOME is what was reported. GIVEN says that a wave was let go. UNDOING is the
    rollback that has hold of it, ROLLBACK how the last one ended, where no execution has taken up
    the failover since; a decision from before ASKS_SINCE was undone with what it was about.
    INCIDENT_AT is the look that saw the source alive again and was told of, QUIET_SINCE the
    outage that came after it. THROUGH_AT is when the waves of a drill were through. REVISION counts
    the changes of the record.

    PLANNED: the source is alive, and its machines are halted first; REVERSE: it is the way back.
    PREPARING is what comes next of what both need, None where nothing does; BUSY_UNTIL is when the
    last request of that ends, SILENT_SINCE when the source did not answer any more, DOING what is
    waited for. FREED is since when the source's machines are started again, after which no wave is
    let go.
    """

    failover_id: str
    request_id: str
    request_digest: str
    execution: str
    attempt: int
    started_at: Instant
    taken_at: Instant
    plan: str
    source: str
    target: str
    at: Instant | None = None
    by: str | None = None
    reason: str | None = None
    alarm: str | None = None
    approval: int | None = None
    asked_at: Instant | None = None
    probes: tuple[Probe, ...] = ()
    unreachable_since: Instant | None = None
    waves: tuple[WaveProgress, ...] = ()
    plan_hash: str | None = None
    given: bool = False
    stopped: bool = False
    decisions: tuple[Decision, ...] = ()
    verdict: FailoverState | None = None
    why: str | None = None
    outcome: FailoverState | None = None
    rto: str | None = None
    rpo: str | None = None
    finished_at: Instant | None = None
    report: str | None = None
    asks_since: Instant | None = None
    undoing: Undoing | None = None
    rollback: Rollback | None = None
    incident_at: Instant | None = None
    quiet_since: Instant | None = None
    drill: bool = False
    keep_for: int = 0
    through_at: Instant | None = None
    cleaning: tuple[CleanUp, ...] = ()
    revision: int = 0
    planned: bool = False
    reverse: bool = False
    preparing: Preparing | None = None
    busy_until: Instant | None = None
    silent_since: Instant | None = None
    doing: str | None = None
    freed: Instant | None = None

    @property
    def prepares(self) -> bool:
        """Whether something is to be done on clusters before its waves are planned."""
        return self.preparing not in (None, Preparing.READY)

    @property
    def holds(self) -> bool:
        """Whether it may hold machines of its source halted that nothing came back for."""
        return self.planned and not self.given

    @property
    def named(self) -> str:
        return f"{'Drill' if self.drill else 'Failover'} {self.failover_id}"

    @property
    def since(self) -> datetime | None:
        """What its times are measured from: when the source fell silent, or when a drill began."""
        return self.started_at if self.drill else self.unreachable_since

    @property
    def cleaned_up(self) -> bool:
        """Whether nothing of a drill is left."""
        return all(each.done and not each.kept for each in self.cleaning)

    @property
    def answer(self) -> Decision | None:
        """The decision in force; one from before a rollback is not."""
        newest = self.decisions[-1] if self.decisions else None
        if newest and self.asks_since and newest.at < self.asks_since:
            return None
        return in_force(self.decisions, self.attempt, self.plan_hash)

    @property
    def unapproved(self) -> bool:
        """Whether it still needs an approval. Of a planned one the halt is what is approved: the
        plans of its waves, which come later, are of another hash.
        """
        halted = self.planned and self.unreachable_since is not None
        return self.approval is not None and self.answer is None and not halted

    @property
    def cancelled(self) -> bool:
        return self.answer is not None and self.answer.ends

    @property
    def approved(self) -> bool:
        return self.answer is not None and self.answer.decision is Answer.APPROVE
