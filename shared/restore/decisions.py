"""A decision about a restore -> whether it is taken, and what whoever decided is told: pure."""

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from shared.errors import InvalidRequest
from shared.models.base import FailoverId, Person, Value, matching, to_instant
from shared.models.restore_plans import Answer, Decision, RestoreRecord
from shared.validation import parse

_RestoreId = Annotated[
    str, matching(r"r-[0-9a-f]{16}", "the id of a restore such as r-236f43f4916a4a15")
]
_PlanHash = Annotated[
    str, matching(r"sha256:[0-9a-f]{64}", "the hash of a plan, as the request for approval has it")
]


KEEP = "keep"


class Asked(Value):
    """What somebody decides about a restore or a failover: BY, about the plan with that hash; to
    cancel needs none. To KEEP is about what a restore made, which else would be deleted again.
    """

    restore_id: _RestoreId | None = None
    failover_id: FailoverId | None = None
    decision: Literal["approve", "reject", "cancel", "keep"]
    plan_hash: _PlanHash | None = None
    by: Person | None = None

    @property
    def answer(self) -> Answer:
        return Answer(self.decision)


class Decidable(Protocol):
    """What can be decided about: a restore, or a failover."""

    @property
    def named(self) -> str: ...
    @property
    def answer(self) -> Decision | None: ...
    @property
    def unapproved(self) -> bool: ...
    @property
    def approval(self) -> int | None: ...
    @property
    def attempt(self) -> int: ...
    @property
    def plan_hash(self) -> str | None: ...
    @property
    def outcome(self) -> str | None: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def stopped(self) -> bool: ...


class Verdict(NamedTuple):
    """Whether a decision stands, and the sentence about it; DECISION is one to be written."""

    accepted: bool
    message: str
    decision: Decision | None = None


def asked(body: Any) -> Asked:
    """Raises InvalidRequest."""
    wanted = parse(Asked, body, lacking={})
    if bool(wanted.restore_id) == bool(wanted.failover_id):
        how = "both are" if wanted.restore_id else "neither is"
        raise InvalidRequest(
            f"restoreId, failoverId: {how} given. Name the one that the request for approval has.",
            "restoreId",
        )
    if wanted.decision == KEEP and wanted.failover_id:
        raise InvalidRequest(
            "decision: 'keep' is about a restore of mode emergency. What a failover restores stays"
            " anyway, and a drill's is always deleted.",
            "decision",
        )
    if wanted.plan_hash is None and wanted.decision not in (Answer.CANCEL, KEEP):
        raise InvalidRequest(
            f"planHash is missing: to {wanted.decision} is about one plan, whose hash is in the"
            " request for approval. Only cancel and keep need none.",
            "planHash",
        )
    return wanted


def judge(record: Decidable, asked: Asked, now: datetime) -> Verdict:
    """The first answer wins; what is approved can still be cancelled."""
    if _is_repeated(record, asked):
        return Verdict(True, f"{record.named} is {_said(record)} already.")
    if refusal := _ended(record) or _of_failover(record, asked) or _refusal(record, asked):
        return Verdict(False, refusal)
    decision = _decision(record, asked.answer, now, by=asked.by)
    what = CONSEQUENCES[decision.decision]
    return Verdict(True, f"{record.named} is {decision.said}. {what}", decision)


CONSEQUENCES = {
    Answer.APPROVE: "Its execution applies the plan. To stop that: the decision cancel.",
    Answer.REJECT: "Nothing of the plan is done, and its execution ends.",
    Answer.CANCEL: "Nothing more is made, what was made stays, and its report says what that is.",
}


def run_out(record: Decidable, now: datetime) -> Decision | None:
    """That nobody has answered, where somebody should have."""
    if record.stopped or not record.unapproved:
        return None
    return _decision(record, Answer.TIMEOUT, now)


def _decision(record: Decidable, answer: Answer, now: datetime, by: str | None = None) -> Decision:
    about = {"attempt": record.attempt, "plan_hash": record.plan_hash}
    return Decision(decision=answer, by=by, at=now, **about)


def _is_repeated(record: Decidable, asked: Asked) -> bool:
    """Whether the same person has decided the same already: the answer to that may be lost."""
    before = record.answer
    return (
        before is not None
        and (before.decision, before.by) == (asked.answer, asked.by)
        and asked.plan_hash in (None, before.plan_hash)
    )


def _ended(record: Decidable) -> str | None:
    if record.outcome is None and not record.stopped:
        return None
    said = f"It was {_said(record)}." if record.answer else ""
    if record.outcome is None or record.finished_at is None:
        how = said or "Its execution was stopped."
    else:
        how = f"It ended {record.outcome} at {to_instant(record.finished_at)}. {said}".strip()
    return f"There is nothing to decide about {_about(record)}. {how}"


def _of_failover(record: Decidable, asked: Asked) -> str | None:
    """The waves of a failover are approved together, and then begin one after the other."""
    failover = record.failover if isinstance(record, RestoreRecord) else None
    if failover is None or asked.answer is Answer.CANCEL:
        return None
    return (
        f"{record.named} is a wave of failover {failover}. Decide about that, with"
        f' {{"failoverId": "{failover}"}} and its planHash.'
    )


def _refusal(record: Decidable, asked: Asked) -> str | None:
    before = record.answer
    if asked.answer is Answer.CANCEL:
        return None  # what is decided against has ended, for it is stopped
    if record.approval is None:
        return f"{record.named} needs no approval. To stop it: the decision cancel."
    if record.plan_hash is None:
        return (
            f"{record.named} is being planned. Wait for the request for approval, which is told"
            " on the topic and has the plan's hash."
        )
    if before:
        return f"{record.named} is {before.said} already. To stop it: the decision cancel."
    if asked.plan_hash != record.plan_hash:
        return (
            f"planHash: {asked.plan_hash} is not the plan of {_about(record)}, which has"
            f" the hash {record.plan_hash}. Read that plan, and decide with its hash."
        )
    return None


def _said(record: Decidable) -> str:
    return record.answer.said if record.answer else ""


def _about(record: Decidable) -> str:
    """Within a sentence."""
    return record.named[0].lower() + record.named[1:]
