"""A report as a table of fixed width: for a terminal, a mail, a request for approval."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from shared.pages.batches import counted, percent
from shared.pages.machine import told
from shared.pages.next_steps import summary, title
from shared.pages.words import Report, decided, kept, key, minute, size, source, visible

MACHINES = 20
WIDTHS = (29, 29, 16, 9, 9)
HEADS = ("ON THE TARGET", "FROM", "BACKUP OF (UTC)", "DISKS", "STATE")
WIDTH = 96  # of what is said of a machine, on lines of their own
LINES = 4
BAD = ("failed", "blocked", "cancelled", "waiting")


def text_table(report: Report) -> str:
    """At most twenty machines, those that did not come back first."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"{title(report)}: {report['state']}, checks: {report['verdict']}"
    yield summary(report)
    yield f"Restore {report['restoreId']}"
    yield f"Plan {report['planHash']}"
    yield from (f"It was {visible(each)}" for each in decided(report))
    if report["temporary"]:
        yield f"What it makes is kept {kept(report['temporary'])}"
    yield ""
    if "batches" in report:
        yield from _batches(report)
        return
    machines = sorted(report["machines"], key=lambda each: each["state"] not in BAD)
    yield _row(HEADS)
    for machine in machines[:MACHINES]:
        yield _row(_cells(machine))
        if machine["state"] in BAD:
            yield from _told(machine)
    if len(machines) > MACHINES:
        yield f"and {len(machines) - MACHINES:,} more"


def _batches(report: Report) -> Iterator[str]:
    for each in report["batches"]:
        yield f"batch {each['batch']}: {counted(each)}"
    waiting = report["machines"]
    for each in waiting[:MACHINES]:
        yield _cut(f"{key(each)} {percent(each)}: {each['waits']}", WIDTH)
    if len(waiting) > MACHINES:
        yield f"and {len(waiting) - MACHINES:,} more that wait"


def _told(machine: Report) -> Iterator[str]:
    """The remedy comes last, so a line is not enough."""
    said = _cut(told(machine), WIDTH * LINES)
    for line in wrap(said, WIDTH, max_lines=LINES, placeholder=" …"):
        yield f"    {line}"


def _cells(machine: Report) -> tuple[str, ...]:
    disks = size(machine["sizeBytes"]) if machine["disks"] else ""
    return key(machine), source(machine), minute(machine["takenAt"]), disks, machine["state"]


def _row(cells: Sequence[str]) -> str:
    padded = (_cut(cell, width).ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    return "  ".join(padded).rstrip()


def _cut(text: str, width: int) -> str:
    text = visible(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"
