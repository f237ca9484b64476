"""The report of a rollback -> one HTML page that needs nothing else, and a text for a terminal."""

from collections.abc import Iterator

from shared.pages.frame import document, opening
from shared.pages.many import LISTED, heading, reasons
from shared.pages.markup import Html, code, facts, table, tag
from shared.pages.words import Report, between, count, moment

FATES = {"deleted": "deleted", "gone": "gone already", "kept": "kept"}
PLANNED = {"deleted": "would be deleted", "gone": "gone already", "kept": "would be kept"}


def page(report: Report, address: str) -> str:
    """ADDRESS is where the JSON lies, which has everything."""
    named = _title(report)
    return document(f"{named}: {report['state']}", *_parts(report, named, address))


def text(report: Report) -> str:
    """At most twenty kept objects, each with its reason."""
    return "\n".join(_lines(report)) + "\n"


def _title(report: Report) -> str:
    what = "Plan of a rollback" if report["dryRun"] else "Rollback"
    return f"{what} of {report['restoreId']} on {report['target']}"


def _said(report: Report) -> dict[str, str]:
    return PLANNED if report["dryRun"] else FATES


def tally(report: Report, counts: Report) -> str:
    """COUNTS, of the whole rollback or of one wave, in words."""
    said = _said(report)
    return ", ".join(f"{number:,} {said[fate]}" for fate, number in counts.items())


def _parts(report: Report, named: str, address: str) -> Iterator[Html]:
    yield from opening(named, report["state"], f"Objects: {tally(report, report['counts'])}.")
    yield tag("h2", "At a glance")
    yield facts(
        (
            ("Restore", code(report["restoreId"])),
            ("Its request", code(report["requestId"])),
            ("Cluster", report["target"]),
            ("Machines that have run", "go too" if report["deleteStarted"] else "are kept"),
            ("Started", moment(report["startedAt"])),
            ("Ended", moment(report["finishedAt"])),
            ("Took", between(report["startedAt"], report["finishedAt"])),
            ("Execution", code(report["execution"])),
            ("The whole report as JSON", code(address)),
        )
    )
    yield tag("h2", "Objects")
    every = len(report["objects"])
    yield heading(f"{count(every, 'object')}, those that are kept first.", every, address)
    said = _said(report)
    rows = (
        (f"{each['kind']} {place(each)}", said[each["fate"]], each["machine"], each["reason"])
        for each in report["objects"][:LISTED]
    )
    yield table("Objects", ("Object", "What became of it", "Machine", "Why"), rows, headed=True)


def _lines(report: Report) -> Iterator[str]:
    yield f"{_title(report)}: {report['state']}"
    yield f"Objects: {tally(report, report['counts'])}"
    yield from kept(report)


def kept(report: Report) -> Iterator[str]:
    """What is kept and why, for a terminal: twenty objects, and how many more there are."""
    return reasons([(f"{each['kind']} {place(each)}", each["reason"]) for each in report["kept"]])


def place(each: Report) -> str:
    """Of an object: its namespace, where it has one, and its name."""
    return f"{each['namespace']}/{each['name']}" if each["namespace"] else str(each["name"])
