"""When what is temporary is told of, rolled back, made permanent or forgotten: each rule by itself;
and what people are told.
"""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.models.base import to_instant
from shared.models.restore_plans import RestoreRecord
from shared.models.rollbacks import Rollback, Undoing
from shared.models.temporaries import Temporary
from shared.restore import expiry
from shared.restore.expiry import MOST, Do
from tests.lab import BEGIN

Json = dict[str, Any]

ID = "r-0123456789abcdef"
HOUR = timedelta(hours=1)
END = BEGIN + 2 * HOUR
ROLLBACKS = "arn:aws:states:eu-central-1:123456789012:stateMachine:Rollback"
DECISIONS = "arn:aws:lambda:eu-central-1:123456789012:function:replant-DecisionFunction-1A2B"


def temporary(**changes: Any) -> Temporary:
    usual = {"restore_id": ID, "target": "west", "since": BEGIN, "expires": END}
    return Temporary(**(usual | changes))


def record(**changes: Any) -> RestoreRecord:
    usual = {
        "restore_id": ID,
        "request_id": "r",
        "request_digest": "d",
        "execution": "run-1",
        "attempt": 1,
        "started_at": BEGIN,
        "taken_at": BEGIN,
        "outcome": "succeeded",
        "counts": {"ready": 1},
        "report": f"s3://state/reports/{ID}.json",
    }
    return RestoreRecord(**(usual | changes))


def undone(state: str) -> Rollback:
    return Rollback(execution="back", state=state, counts={}, finished_at=END, report=None)


def held(until: datetime) -> Undoing:
    return Undoing(execution="back", started_at=BEGIN, until=until)


TRIED = {"tries": 3, "tried_at": END}


@pytest.mark.parametrize(
    ("each", "restore", "at", "do", "reason"),
    [
        ({}, None, BEGIN, Do.FORGET, "nothing is known of its restore any more"),
        ({}, {"rollback": undone("succeeded")}, BEGIN, Do.FORGET, "it is rolled back"),
        ({}, {"outcome": None}, END, Do.NOTHING, "its restore runs"),
        ({}, {"undoing": held(END + HOUR)}, END, Do.NOTHING, "it is being rolled back"),
        ({}, {"undoing": held(END)}, END, Do.ROLL_BACK, "it has expired at 2026-09-01T05:00:00Z"),
        ({}, {}, BEGIN, Do.NOTHING, "it expires at 2026-09-01T05:00:00Z"),
        ({}, {}, BEGIN + HOUR, Do.TELL, "it expires at 2026-09-01T05:00:00Z"),
        ({"told": True}, {}, BEGIN + HOUR, Do.NOTHING, "it expires at 2026-09-01T05:00:00Z"),
        ({}, {}, END, Do.ROLL_BACK, "it has expired at 2026-09-01T05:00:00Z"),
        (
            TRIED,
            {},
            END + timedelta(minutes=7),
            Do.NOTHING,
            "it is tried again at 2026-09-01T05:08:00Z",
        ),
        (
            TRIED,
            {},
            END + timedelta(minutes=8),
            Do.ROLL_BACK,
            "it has expired at 2026-09-01T05:00:00Z",
        ),
        (
            TRIED | {"tries": MOST},
            {"rollback": undone("partial")},
            END + HOUR,
            Do.FORGET,
            "rolling it back keeps some of it, which is left to a person",
        ),
        (
            TRIED | {"tries": MOST},
            {},
            END + HOUR,
            Do.ROLL_BACK,
            "it has expired at 2026-09-01T05:00:00Z",
        ),
        (
            TRIED | {"tries": MOST - 1},
            {"rollback": undone("partial")},
            END + HOUR,
            Do.ROLL_BACK,
            "it has expired at 2026-09-01T05:00:00Z",
        ),
        (
            {"kept_at": BEGIN},
            {},
            END,
            Do.SETTLE,
            "somebody keeps it since 2026-09-01T03:00:00Z",
        ),
        ({"kept_at": BEGIN, "settled": True}, {}, END, Do.NOTHING, "it stays"),
        (
            {"kept_at": BEGIN, "settled": True},
            {"rollback": undone("succeeded")},
            END,
            Do.FORGET,
            "it is rolled back",
        ),
    ],
)
def test_what_is_done_with_it_and_why(
    each: Json, restore: Json | None, at: datetime, do: Do, reason: str
) -> None:
    found = None if restore is None else record(**restore)
    assert expiry.next_step(temporary(**each), found, at) == (do, reason)


@pytest.mark.parametrize(
    ("each", "restore", "accepted", "said"),
    [
        (
            {},
            {"outcome": None},
            False,
            f"Restore {ID} still runs: nothing of it expires before it has ended. Decide again"
            " then.",
        ),
        (
            None,
            {},
            False,
            f"Restore {ID} has made nothing that would be deleted by itself, or that is gone"
            " already.",
        ),
        ({"kept_at": END}, {}, True, f"Restore {ID} is kept already, since 2026-09-01T05:00:00Z."),
        (
            {"tries": 1},
            {},
            False,
            f"Restore {ID} has expired at 2026-09-01T05:00:00Z and is being rolled back. To keep"
            " what is left, stop that execution of RollbackStateMachine.",
        ),
    ],
)
def test_who_cannot_keep_it_is_told_why(
    each: Json | None, restore: Json, accepted: bool, said: str
) -> None:
    found = None if each is None else temporary(**each)
    kept = expiry.keep(found, record(**restore), "Ada", END)
    assert kept == (accepted, said, None)


def test_who_keeps_it_is_written_down() -> None:
    kept = expiry.keep(temporary(), record(), "Ada", BEGIN)
    assert (kept.accepted, kept.changes) == (True, {"kept_at": BEGIN, "kept_by": "Ada"})


@pytest.mark.parametrize(("number", "machines"), [(1, "1 machine"), (12, "12 machines")])
def test_the_message_at_half_of_its_time_has_both_commands(number: int, machines: str) -> None:
    found = record(counts={"ready": number - 1, "failed": 1})
    told = expiry.half_over(temporary(), found, DECISIONS, ROLLBACKS)
    keep = (
        "aws lambda invoke --region eu-central-1 --function-name replant-DecisionFunction-1A2B"
        " --cli-binary-format raw-in-base64-out --payload"
        f' \'{{"restoreId": "{ID}", "decision": "keep", "by": "\'"$(aws sts get-caller-identity'
        " --query Arn --output text)\"'\"}' answer.json && cat answer.json"
    )
    delete = (
        f"aws stepfunctions start-execution --state-machine-arn {ROLLBACKS}"
        f' --input \'{{"restoreId": "{ID}", "deleteStarted": true}}\''
    )
    text, _, below = told.body.partition("\n\n{")
    assert told.subject == f"Replant: temporary: {ID} on west is deleted at {to_instant(END)}"
    assert text.split("\n") == [
        f"What restore {ID} made on west ({machines}, mode emergency) is deleted at"
        f" {to_instant(END)}, with all that was written since it was started. No backup of it is"
        " made.",
        "",
        "To keep it:",
        keep,
        "",
        "To delete it now:",
        delete,
        "",
        f"Report: s3://state/reports/{ID}.json",
    ]
    assert json.loads("{" + below) == {
        "restoreId": ID,
        "target": "west",
        "expires": to_instant(END),
        "commands": {"keep": keep, "delete": delete},
        "report": f"s3://state/reports/{ID}.json",
    }


def test_a_subject_is_never_too_long_for_sns() -> None:
    told = expiry.half_over(temporary(target="w" * 63), record(), DECISIONS, ROLLBACKS)
    assert len(told.subject) == 99
