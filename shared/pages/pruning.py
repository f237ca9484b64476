"""The report of a pruning -> one HTML page that needs nothing else, and a text for a terminal."""

from collections.abc import Iterator

from shared.pages.frame import document, opening
from shared.pages.many import LISTED, heading, reasons
from shared.pages.markup import Html, code, facts, table, tag
from shared.pages.words import Report, between, count, moment, size, visible

PLANNED = "planned"
"""The state of a dry run."""


def page(report: Report, address: str) -> str:
    """ADDRESS is where the JSON lies, which has everything."""
    named = f"Pruning of {report['place']}"
    return document(f"{named}: {report['state']}", *_parts(report, named, address))


def text(report: Report) -> str:
    """What was left alone, and at most twenty copies each that go, and that stay, with reasons."""
    return "\n".join(_lines(report)) + "\n"


def lead(report: Report) -> str:
    """How much of it is gone, in a sentence."""
    points, kept = len(report["points"]), len(report["kept"])
    deleted = report["deleted"]
    amount = f"{count(deleted['objects'], 'object')} ({size(deleted['bytes'])})"
    said = count(points, "copied restore point")
    if report["state"] == PLANNED:
        return f"{said} would be deleted, {amount} in all. {kept:,} would stay."
    return f"{said} deleted, {amount} in all. {kept:,} stay."


def _parts(report: Report, named: str, address: str) -> Iterator[Html]:
    yield from opening(named, report["state"], lead(report))
    for note in report["notes"]:
        yield tag("p", note)
    yield tag("h2", "At a glance")
    yield facts(
        (
            ("Pruning", code(report["pruneId"])),
            ("Target", report["target"]),
            ("Started", moment(report["startedAt"])),
            ("Ended", moment(report["finishedAt"])),
            ("Took", between(report["startedAt"], report["finishedAt"])),
            ("Execution", code(report["execution"])),
            ("The whole report as JSON", code(address)),
        )
    )
    if report["problems"]:
        yield tag("h2", "Left alone")
        yield tag("p", "Only deleted copies needed it. The next pruning tries again.")
        rows = [(code(each["part"]), each["reason"]) for each in report["problems"][:LISTED]]
        yield table("Left alone", ("What", "Why"), rows, headed=True)
    yield tag("h2", _heading(report))
    yield from _points(report, "points", address)
    yield tag("h2", "Kept")
    yield from _points(report, "kept", address)


def _points(report: Report, of: str, address: str) -> Iterator[Html]:
    every = report[of]
    yield heading(f"{count(len(every), 'restore point')}.", len(every), address)
    heads = ("Restore point", "Its id", "Taken at", *(("Why",) if of == "kept" else ()))
    rows = (
        (
            each["name"],
            code(each["id"]),
            moment(each["takenAt"]),
            *((each["reason"],) if of == "kept" else ()),
        )
        for each in every[:LISTED]
    )
    if every:
        yield table("Restore points", heads, rows, headed=True)


def _lines(report: Report) -> Iterator[str]:
    yield f"Pruning of {visible(report['place'])}: {report['state']}"
    yield lead(report)
    yield from map(visible, report["notes"])
    yield from _section(
        "Left alone", [(each["part"], each["reason"]) for each in report["problems"]]
    )
    gone = [(each["name"], f"Taken {moment(each['takenAt'])}.") for each in report["points"]]
    yield from _section(_heading(report), gone)
    yield from _section("Kept", [(each["name"], each["reason"]) for each in report["kept"]])


def _heading(report: Report) -> str:
    return "To be deleted" if report["state"] == PLANNED else "Deleted"


def _section(name: str, named: list[tuple[str, str]]) -> Iterator[str]:
    if named:
        yield f"\n{name}"
        yield from reasons(named)
