"""A report as a table for a terminal, a mail, a request for approval."""

import pytest

from local.samples.builders import a_metadata, facts, planned
from shared.models.restore_plans import MachineState
from shared.pages.text_table import MACHINES, text_table
from tests.reports import a_plan_report, a_report, many

READY, FAILED, BLOCKED = MachineState.READY, MachineState.FAILED, MachineState.BLOCKED


def row(target: str, source: str, taken: str, size: str, state: str) -> str:
    return f"{target:29}  {source:29}  {taken:16}  {size:9}  {state}"


def test_a_plan_is_a_table_with_what_keeps_a_machine_below_it() -> None:
    plan = planned(
        a_metadata("web01"), a_metadata("web02", "b"), mapping={"namespaces": {"b": "c"}}
    )
    text = text_table(a_plan_report(plan, MachineState.PLANNED, BLOCKED))
    lines = text.splitlines()
    assert lines == [
        "Plan of a restore to west: planned, checks: pass",
        "Nothing was written. 1 of 2 machines can be restored, 1 is blocked.",
        "Restore r-4e65d3fbe8ad6535",
        f"Plan {plan.hash}",
        "",
        row("ON THE TARGET", "FROM", "BACKUP OF (UTC)", "DISKS", "STATE"),
        row("default/web01", "east default/web01", "2026-08-15 01:00", "40 GiB", "blocked"),
        "    no such network",
        row("c/web02", "east b/web02", "2026-08-15 01:00", "40 GiB", "planned"),
    ]


@pytest.mark.parametrize(("count", "last"), [(MACHINES, "ready"), (MACHINES + 1, "and 1 more")])
def test_it_has_the_first_machines_and_says_how_many_more_there_are(count: int, last: str) -> None:
    lines = text_table(a_report(many(count), READY)).splitlines()
    assert lines[-1].endswith(last)
    assert len([line for line in lines if line.endswith("ready")]) == MACHINES
    assert text_table(a_report(many(5000), READY)).endswith("and 4,980 more\n")


def test_machines_that_did_not_come_back_come_first() -> None:
    lines = text_table(a_report(many(30), *[READY] * 29, FAILED, state="partial")).splitlines()
    assert lines[6].startswith("default/web0029 ")
    assert lines[7] == "    no such network"


def test_no_line_is_wider_than_a_terminal_and_nothing_moves_its_cursor() -> None:
    report = a_report(planned(on=facts()), FAILED, state="failed")
    report["machines"][0].update(vm="\x1b[2J" + "x" * 300)
    report["machines"][0]["error"]["message"] = "y\x07 " * 1000 + "\u202e"
    text = text_table(report)
    assert max(map(len, text.splitlines())) <= 100
    assert text.replace("\n", "").isprintable()
    assert "\\x1b[2J" in text
    assert "…" in text
    assert len(text.splitlines()) < 12
