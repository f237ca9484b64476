"""The report of a failover's rollback -> one HTML page that needs nothing else, and a text for a
terminal.
"""

from collections.abc import Iterator

from shared.pages.frame import document, opening
from shared.pages.machine import badge
from shared.pages.markup import Html, code, facts, table, tag
from shared.pages.rollback import kept, place, tally
from shared.pages.words import Report, between, moment, visible


def page(report: Report, address: str) -> str:
    """ADDRESS is where the JSON lies."""
    named = _title(report)
    return document(f"{named}: {report['state']}", *_parts(report, named, address))


def text(report: Report) -> str:
    """Its waves, and at most twenty kept objects, each with its reason."""
    return "\n".join(_lines(report)) + "\n"


def _title(report: Report) -> str:
    what = "Plan of a rollback" if report["dryRun"] else "Rollback"
    return f"{what} of failover {report['failoverId']} on {report['target']}"


def _parts(report: Report, named: str, address: str) -> Iterator[Html]:
    yield from opening(named, report["state"], f"Objects: {tally(report, report['counts'])}.")
    yield tag("h2", "At a glance")
    yield facts(
        (
            ("Failover", code(report["failoverId"])),
            ("Its request", code(report["requestId"])),
            ("Recovery plan", report["plan"]),
            ("Cluster", report["target"]),
            ("Machines that have run", "go too" if report["deleteStarted"] else "are kept"),
            ("Started", moment(report["startedAt"])),
            ("Ended", moment(report["finishedAt"])),
            ("Took", between(report["startedAt"], report["finishedAt"])),
            ("Execution", code(report["execution"])),
            ("The whole report as JSON", code(address)),
        )
    )
    yield tag("h2", "Waves")
    yield tag("p", "In the order in which they are rolled back. Each one's report has all objects.")
    heads = ("Wave", "State", "Objects", "Restore", "Report", "Why")
    yield table("Waves", heads, (_wave(report, each) for each in report["waves"]), headed=True)
    if report["kept"]:
        yield tag("h2", "What is kept")
        rows = ((f"{each['kind']} {place(each)}", each["reason"]) for each in report["kept"])
        yield table("What is kept", ("Object", "Why"), rows, headed=True)


def _wave(report: Report, wave: Report) -> tuple[str | Html, ...]:
    address = code(wave["report"]) if wave["report"] else ""
    counts = tally(report, wave["counts"])
    where = code(wave["restoreId"])
    return wave["name"], badge(wave["state"]), counts, where, address, wave["reason"] or ""


def _lines(report: Report) -> Iterator[str]:
    yield f"{_title(report)}: {report['state']}"
    yield f"Objects: {tally(report, report['counts'])}"
    for wave in report["waves"]:
        counts = tally(report, wave["counts"])
        yield f"Wave {visible(wave['name'])}: {wave['state']}, {counts}"
    yield from kept(report)
