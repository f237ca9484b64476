"""The report of a failover as a page and as text.

Aspects: what a tired person finds, hostile text, many machines. Not aspects: the frame and the
markup, which every page shares (test_pages.py).
"""

from typing import Any

import pytest

from shared.pages import failover as pages

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e"


def a_machine(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "wave": "databases",
        "machine": f"db/pg-{number}",
        "target": f"prod/pg-{number}",
        "state": "ready",
        "backup": "nightly",
        "takenAt": "2026-08-31T22:00:00Z",
        "rpo": "PT5H",
        "readyAt": "2026-09-01T03:10:00Z",
        "rto": "PT10M",
        "problem": None,
    } | changes


def _probe(at: str, answer: str | None, reason: str, place: str = "first") -> dict[str, str | None]:
    return {"at": at, "place": place, "answer": answer, "reason": reason}


def a_report(**changes: Any) -> dict[str, Any]:
    return {
        "failoverId": "f-0123456789abcdef",
        "requestId": "the-request",
        "execution": "arn:execution",
        "attempt": 1,
        "plan": "payments",
        "source": "east",
        "target": "west",
        "state": "partial",
        "reason": "1 of 2 waves did not come back whole: web failed.",
        "by": None,
        "alarm": "replant-east-unreachable",
        "asked": "it fired",
        "startedAt": "2026-09-01T03:00:00Z",
        "finishedAt": "2026-09-01T03:12:00Z",
        "guard": {
            "probes": [
                _probe("2026-09-01T03:00:00Z", "unreachable", "timed out"),
                _probe("2026-09-01T03:01:00Z", None, "the probe failed", place="second"),
            ],
            "unreachableSince": "2026-09-01T03:00:00Z",
        },
        "planHash": "sha256:00",
        "decisions": [],
        "waves": [
            {
                "name": "databases",
                "state": "succeeded",
                "restoreId": "r-1",
                "planHash": "sha256:01",
                "counts": {"ready": 1},
                "startedAt": "2026-09-01T03:02:00Z",
                "finishedAt": "2026-09-01T03:10:00Z",
                "reason": None,
                "note": None,
            },
            {
                "name": "web",
                "state": "failed",
                "restoreId": "r-2",
                "planHash": None,
                "counts": {},
                "startedAt": None,
                "finishedAt": None,
                "reason": "Longhorn's disks on west are full.",
                "note": "There may be no room.",
            },
        ],
        "rto": {"objective": "PT5M", "measured": "PT10M", "met": False},
        "rpo": {"objective": "PT24H", "worst": "PT5H", "machine": "db/pg-0", "met": True},
        "machines": [a_machine(), a_machine(1, state="failed", problem="the webhook said no")],
    } | changes


@pytest.mark.parametrize(
    "said",
    [
        "1 of 2 waves did not come back whole",
        "replant-east-unreachable",
        "PT10M (objective PT5M: missed)",
        "PT5H at worst, of db/pg-0 (objective PT24H: met)",
        "Longhorn&#x27;s disks on west are full.",
        "the webhook said no",
        "2026-09-01 03:00:00 UTC",
        "no probe",
        "8 min",
    ],
)
def test_the_page_says_what_came_back_what_it_cost_and_why_not(said: str) -> None:
    assert said in pages.page(a_report(), "s3://state/reports/f-0.json")


def test_what_did_not_come_back_comes_first() -> None:
    page = pages.page(a_report(), "s3://x")
    assert page.index("prod/pg-1") < page.index("prod/pg-0")
    text = pages.text(a_report())
    assert text.index("prod/pg-1") < text.index("prod/pg-0")


def test_foreign_text_is_never_a_tag_and_moves_no_cursor() -> None:
    report = a_report(machines=[a_machine(problem=HOSTILE, machine=HOSTILE)], reason=HOSTILE)
    for shown in (pages.page(report, "s3://x"), pages.text(report)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "<script>" not in pages.page(report, "s3://x")


def test_a_refusal_has_its_evidence_and_no_machines() -> None:
    refused = a_report(
        state="refused",
        reason="east answers.",
        waves=[],
        machines=[],
        rto={"objective": None, "measured": None, "met": None},
        rpo={"objective": None, "worst": None, "machine": None, "met": None},
    )
    page = pages.page(refused, "s3://x")
    assert "What was seen of the source" in page
    assert "<h2>Machines</h2>" not in page
    unprobed = refused | {"guard": {"probes": [], "unreachableSince": None}}
    assert "It was not probed." in pages.page(unprobed, "s3://x")


def test_a_drill_is_called_one_and_says_what_is_left() -> None:
    kept = {"kind": "VirtualMachine", "namespace": "x", "name": "y", "reason": "changed hands"}
    drill = a_report(drill=True, cleanedUp=False, leftovers=[kept])
    page = pages.page(drill, "s3://x")
    assert "Drill of payments from east to west" in page
    assert "VirtualMachine x/y" in page
    assert "What was seen of the source" not in page
    clean = drill | {"cleanedUp": True, "leftovers": []}
    assert "All that the drill made is deleted again." in pages.page(clean, "s3://x")
    assert pages.text(clean).startswith("Drill of payments")


def test_one_that_waits_says_so() -> None:
    waiting = a_report(state="waiting", reason=None, finishedAt=None)
    assert "waits for a decision about exactly these plans" in pages.page(waiting, "s3://x")
    running = a_report(state="running", reason=None)
    assert "is under way" in pages.page(running, "s3://x")


def test_of_very_many_machines_the_first_are_shown_and_the_rest_is_counted() -> None:
    many = a_report(machines=[a_machine(number) for number in range(pages.LISTED + 1)])
    page = pages.page(many, "s3://x")
    assert "The first 5,000 are listed" in page
    text = pages.text(many)
    assert f"and {pages.LISTED + 1 - pages.TOLD:,} more machines" in text
