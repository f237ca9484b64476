"""A restore as data: what is to be done on the target cluster, and what became of it."""

import hashlib
import json
from enum import StrEnum
from math import ceil
from typing import Any, Literal

from shared.models.addresses import AddressRange
from shared.models.base import Instant, Value, to_instant
from shared.models.images import DiskImages
from shared.models.restore_details import Details, Estimate
from shared.models.restore_points import Source
from shared.models.rollbacks import Rollback, Undoing

Path = tuple[str | int, ...]
"""The way to a value inside a JSON document."""

Verdict = Literal["pass", "warn", "block"]
Action = Literal["create", "update", "unchanged", "skip", "conflict", "failed", "unchecked"]


class Condition(StrEnum):
    """What a machine is waited for: itself, its guest agent, or nothing."""

    VM = "vm"
    AGENT = "agent"
    NONE = "none"


class FailOn(StrEnum):
    """The worst state of a restore with which its execution still succeeds is better than this."""

    FAILED = "failed"
    PARTIAL = "partial"
    NEVER = "never"


class Earlier(Value):
    """What an earlier restore of ours made, and of which of its machines (`namespace/name`); WHY is
    the reason for which it may not be replaced, None where it may.
    """

    restore_id: str
    machine: str
    why: str | None = None


class Change(StrEnum):
    """What is changed in a value where it is filled in, by the rule of its machine."""

    ADDRESSES = "addresses"
    NETWORK_DATA = "network-data"
    NETWORK_DATA_BASE64 = "network-data-base64"


class Rewrite(Value):
    """The rule of one machine.

    MACS maps a hardware address of the source to what it becomes, "" for nothing that is known;
    DROPS_UNKNOWN: those that are no interface's are dropped as well.
    """

    addresses: tuple[AddressRange, ...] = ()
    macs: dict[str, str] = {}
    drops_unknown: bool = False


class Fill(Value):
    """A secret value that a manifest lacks: where it belongs, where it lies in the metadata, and
    what is changed in it.
    """

    to: Path
    source: Path
    change: Change | None = None


class Maker(Value):
    """An object of the same namespace, of which the target's own controllers make others. Such a
    one that NOTES its maker has its name in an annotation, and gets our labels and annotations from
    us; others are owned by it and have its.
    """

    kind: str
    name: str
    notes: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class PlannedObject(Value):
    """One object as it will be created; REASON says why it is needed, or how it differs from the
    source.

    An OWNED one gets its machine as owner, so that it goes when the machine goes. One with a MAKER
    is not created but waited for. One that is TAKEN stands by already: the manifest is what of it
    is changed, so that it is the restore's own.
    """

    kind: str
    namespace: str | None
    name: str
    reason: str
    manifest: dict[str, Any]
    fills: tuple[Fill, ...] = ()
    owned: bool = False
    maker: Maker | None = None
    taken: bool = False

    @property
    def subject(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"


class Check(Value):
    """A rule and what it says of the target cluster, or of the machine that SUBJECT names."""

    check: str
    subject: str
    verdict: Verdict
    message: str

    @property
    def is_meant(self) -> bool:
        """Whether it is part of what a plan means: which versions there are is not, unless a rule
        says something of them.
        """
        return (self.check, self.verdict) != ("versions", "pass")


class Problem(Value):
    """Why a machine did not come back."""

    code: str
    message: str


class Mapped(Value):
    """Something of a machine that the mapping of the request changed, in words for people."""

    what: str
    before: str
    after: str


class MachinePlan(Value):
    """One machine: its objects in the order in which they are created.

    CLUSTER is where it comes from. CLAIMS are its disks' claims; LAZY ones are bound only when the
    machine starts. RUN_STRATEGY is set once the disks are there; None leaves the machine as it was
    made. One with a PROBLEM is not touched, one with a SKIP reason neither. NOTE is for the person
    who reads the report. MAPPED says what the request's mapping changed of it,
    REWRITE what it changes in the values that are filled in. UPDATES: the machine exists, and what
    differs of it is changed. What earlier restores made of it and it REPLACES is deleted first.
    IMAGES are those that its disks are imported from, by their keys in the state bucket. RECORDS:
    its backup is registered, and no machine is made.
    """

    id: str
    cluster: str = ""
    vm: str
    namespace: str
    name: str
    backup: str
    taken_at: Instant
    source: Source
    strategy: str
    strategy_reason: str
    objects: tuple[PlannedObject, ...]
    claims: tuple[str, ...] = ()
    lazy: tuple[str, ...] = ()
    run_strategy: str | None
    waits_for: Condition
    problem: Problem | None = None
    skip: str | None = None
    note: str | None = None
    details: Details | None = None
    mapped: tuple[Mapped, ...] = ()
    rewrite: Rewrite | None = None
    updates: bool = False
    replaces: tuple[Earlier, ...] = ()
    images: tuple[str, ...] = ()
    records: bool = False

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


BATCH = 250
"""Machines that a run looks after: what it reads of its plan and its ledger fits well into its time
and memory, and 5,000 machines are twenty batches."""


class Space(Value):
    """Bytes of Longhorn's disks: what the volumes of a restore NEED with one replica each, and what
    was LEFT when it was planned.
    """

    need: int
    left: int


class Plan(Value):
    """Everything that a restore will do, decided before anything is done; TIMEOUT in seconds.
    KEEP_FOR is for how many seconds what it makes is kept once it is ready, None where it stays.

    NAMESPACES are made; ABSENT are those and the missing ones of machines that are not touched.
    Its SIZE machines are cut into batches of BATCH_SIZE, in their order; what a run reads of a plan
    has the MACHINES of its batch and the CHECKS about them alone, from the FIRST on. WORST is what
    all checks of such a plan come to. IMAGES are made for its machines; KEYS is the secret by
    which the target reads them.
    """

    restore_id: str
    target: str
    secret: str
    dry_run: bool
    concurrency: int
    timeout: float
    keep_for: int | None = None
    namespaces: tuple[PlannedObject, ...]
    absent: tuple[str, ...] = ()
    machines: tuple[MachinePlan, ...]
    checks: tuple[Check, ...]
    fail_on: FailOn = FailOn.FAILED
    estimate: Estimate | None = None
    space: Space | None = None
    images: tuple[DiskImages, ...] = ()
    keys: str | None = None
    size: int = 0
    batch_size: int = BATCH
    first: int = 0
    worst: Verdict | None = None
    hash: str = ""

    @property
    def batches(self) -> int:
        """How many there are; one of a plan without machines."""
        return max(1, ceil(self.size / self.batch_size))

    def size_of(self, number: int) -> int:
        """How many machines the NUMBER-th batch has."""
        return min(self.batch_size, self.size - number * self.batch_size)

    def batch(self, number: int) -> tuple[MachinePlan, ...]:
        """The machines of the NUMBER-th batch, counted from 0, of a whole plan."""
        return self.machines[number * self.batch_size : (number + 1) * self.batch_size]

    @property
    def verdict(self) -> Verdict:
        """The worst of its checks'."""
        if self.worst:
            return self.worst
        verdicts = {check.verdict for check in self.checks}
        if "block" in verdicts:
            return "block"
        return "warn" if "warn" in verdicts else "pass"

    def hashed(self) -> "Plan":
        """The plan with its size, and its hash: of what it will do where, whoever asked under which
        id.
        """
        formal = ("restore_id", "secret", "dry_run", "concurrency", "fail_on", "estimate", "space")
        # What a claim is made of names its image by all that the image is made of.
        imports = ("images", "keys")
        cut = ("size", "batch_size", "first", "worst", "hash")
        left_out: Any = {
            "machines": {"__all__": {"details"}},
            **dict.fromkeys((*formal, *imports, *cut), True),
        }
        checks = tuple(each for each in self.checks if each.is_meant)
        meant = self.model_copy(update={"checks": checks})
        meaning = meant.model_dump(mode="json", exclude=left_out)
        text = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
        # Names and labels on the target carry the restore's id, or the first half of it.
        own_id = self.restore_id.removeprefix("r-")
        text = text.replace(own_id, "ID").replace(own_id[:8], "ID")
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self.model_copy(update={"hash": f"sha256:{digest}", "size": len(self.machines)})

    def outline(self) -> "Plan":
        """The plan without its objects: enough to look after the machines, and small."""
        without: dict[str, Any] = {"objects": (), "rewrite": None}
        bare = tuple(each.model_copy(update=without) for each in self.machines)
        return self.model_copy(update={"machines": bare})


class Phase(StrEnum):
    """How far a machine is. Within an execution it never goes back, so that nothing is halted
    again.
    """

    PENDING = "pending"
    APPLIED = "applied"
    STARTED = "started"


class MachineState(StrEnum):
    """The contract's states of a machine, and the one before them: waiting."""

    WAITING = "waiting"
    PLANNED = "planned"
    READY = "ready"
    APPLIED = "applied"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ObjectResult(Value):
    """What became of one object; UID tells the created one from another of its name. An OWNED one
    goes when its machine goes.
    """

    kind: str
    namespace: str | None
    name: str
    action: Action
    reason: str
    uid: str | None = None
    owned: bool = False


class MachineResult(Value):
    """What became of one machine so far.

    ATTEMPT is the execution (counted) that last took it up, SINCE when its clock began, DATA the
    percentage of its data that was there then. UID is the VirtualMachine's. WAITS says what it
    waits for. HAS_RUN: the restore, in whatever attempt, has started a machine on its disks.
    """

    key: str
    id: str
    vm: str
    namespace: str
    phase: Phase = Phase.PENDING
    state: MachineState = MachineState.WAITING
    attempt: int
    started_at: Instant | None = None
    since: Instant | None = None
    data: int = 0
    finished_at: Instant | None = None
    uid: str | None = None
    waits: str | None = None
    has_run: bool = False
    error: Problem | None = None
    note: str | None = None

    @property
    def final(self) -> bool:
        return self.state is not MachineState.WAITING


class Asked(Value):
    """What the history shows of a request: SELECT as the request has it, with every key that says
    something.
    """

    select: dict[str, Any]
    target: str


class Answer(StrEnum):
    """What was decided about a restore; TIMEOUT by nobody, since nobody answered in time."""

    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    TIMEOUT = "timeout"


_SAID = {
    Answer.APPROVE: "approved",
    Answer.REJECT: "rejected",
    Answer.CANCEL: "cancelled",
}


class Decision(Value):
    """A decision about a restore: which, of whom, when, in which attempt, and about which plan;
    None while there was none yet.
    """

    decision: Answer
    by: str | None = None
    at: Instant
    attempt: int
    plan_hash: str | None

    @property
    def ends(self) -> bool:
        """Whether nothing is made any more."""
        return self.decision is not Answer.APPROVE

    @property
    def said(self) -> str:
        """`approved by Ada at 2026-08-15T01:00:00Z`."""
        if self.decision is Answer.TIMEOUT:
            return f"not approved in time: nobody had answered at {to_instant(self.at)}"
        who = self.by or "somebody who gave no name"
        return f"{_SAID[self.decision]} by {who} at {to_instant(self.at)}"


def in_force(
    decisions: tuple[Decision, ...], attempt: int, plan_hash: str | None
) -> Decision | None:
    """The newest decision, where it is about this attempt or approves this plan.

    So an approval outlives a crash, and whoever begins again what somebody decided against asks
    again.
    """
    newest = decisions[-1] if decisions else None
    if newest is None:
        return None
    about = (newest.attempt, attempt) if newest.ends else (newest.plan_hash, plan_hash)
    return newest if about[0] == about[1] else None


class RestoreRecord(Value):
    """One restore as the ledger keeps it.

    ATTEMPT counts its executions, TAKEN_AT is when the newest began. PLAN_HASH is the plan in
    force, of so many BATCHES, which needs this SPACE; it stays once a run was GIVEN it. OUTCOME is
    the state that was reported, with what the history shows of it: COUNTS, FINISHED_AT and the
    address of the REPORT. UNDOING is the rollback that has hold of it, ROLLBACK how the last one
    ended, where no execution has taken up the restore since. REDRIVEN counts the times that this
    execution was redriven; what it has seen in its attempts from STANDS_SINCE on stands, for a
    redrive does not repeat the batches that have ended. BY is who asked for the first execution.
    APPROVAL is for how many seconds a decision about the plan is waited for, None where it needs
    none; DECISIONS are those that were taken, the newest last, and none of before ASKS_SINCE is in
    force: the restore was rolled back by then. FAILOVER is the one whose wave it is. REVISION
    counts the changes of the record.
    """

    restore_id: str
    request_id: str
    request_digest: str
    execution: str
    attempt: int
    started_at: Instant
    taken_at: Instant
    plan_hash: str | None = None
    space: Space | None = None
    batches: int = 1
    given: bool = False
    stopped: bool = False
    outcome: str | None = None
    counts: dict[str, int] = {}
    finished_at: Instant | None = None
    report: str | None = None
    redriven: int = 0
    stands_since: int = 1
    by: str | None = None
    approval: int | None = None
    asks_since: Instant | None = None
    decisions: tuple[Decision, ...] = ()
    undoing: Undoing | None = None
    rollback: Rollback | None = None
    failover: str | None = None
    revision: int = 0

    @property
    def named(self) -> str:
        return f"Restore {self.restore_id}"

    @property
    def answer(self) -> Decision | None:
        """The decision in force; one from before a rollback is not."""
        newest = self.decisions[-1] if self.decisions else None
        if newest and self.asks_since and newest.at < self.asks_since:
            return None
        return in_force(self.decisions, self.attempt, self.plan_hash)

    @property
    def cancelled(self) -> bool:
        """Whether somebody, or the time, has decided against the restore."""
        return self.answer is not None and self.answer.ends

    @property
    def unapproved(self) -> bool:
        """Whether its plan still needs an approval."""
        return self.approval is not None and self.answer is None


class Waiting(Value):
    """A machine that waits, and how much of its data is there."""

    vm: str
    namespace: str
    waits: str
    percent: int | None = None


class BatchProgress(Value):
    """How far a batch was AT an instant: of a restore of several, with each machine that waits."""

    at: Instant
    counts: dict[str, int]
    waiting: tuple[Waiting, ...] = ()


class Queued(Value):
    """What a batch asks of the budget of a TARGET while none of its machines was begun: WANTS of
    them, of LIMIT that its restore may have at work. In its ATTEMPT nothing else is to be done.
    """

    attempt: int
    target: str
    wants: int
    limit: int


class BatchRecord(Value):
    """One batch of a restore's machines as the ledger keeps it.

    RUN counts the times that a function took it up: only the newest may act. ENDED is the newest
    run that came to its end; DOWN_SINCE is when the cluster stopped answering, None while it
    answers. PROGRESS is what the newest run that ended well has told, QUEUED what it waits for.
    REVISION counts the changes of the record.
    """

    number: int
    run: int = 0
    ended: int = 0
    down_since: Instant | None = None
    progress: BatchProgress | None = None
    queued: Queued | None = None
    revision: int = 0
