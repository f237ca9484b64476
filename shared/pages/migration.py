"""The report of a migration -> one HTML page that needs nothing else, and a text for a terminal."""

from collections.abc import Iterator

from shared.pages.frame import document, opening
from shared.pages.many import LISTED, heading, reasons
from shared.pages.markup import Html, code, facts, table, tag
from shared.pages.words import Report, between, count, moment, size, visible

PLANNED = "planned"
"""The state of a dry run."""


def page(report: Report, address: str) -> str:
    """ADDRESS is where the JSON lies, which has everything."""
    named = f"Migration to {report['to']}"
    return document(f"{named}: {report['state']}", *_parts(report, named, address))


def text(report: Report) -> str:
    """At most twenty restore points that are not there, each with its reason."""
    return "\n".join(_lines(report)) + "\n"


def lead(report: Report) -> str:
    """How much of it is there, in a sentence."""
    every, failed = len(report["restorePoints"]), len(report["failed"])
    copied, present = report["copied"], report["present"]
    if report["state"] == PLANNED:
        return (
            f"{every - failed:,} of {count(every, 'restore point')} can be copied."
            f" {count(copied['objects'], 'object')} ({size(copied['bytes'])}) would be,"
            f" {present['objects']:,} ({size(present['bytes'])}) are there already."
        )
    return (
        f"{every - failed:,} of {count(every, 'restore point')} are there."
        f" {count(copied['objects'], 'object')} ({size(copied['bytes'])}) were copied,"
        f" {present['objects']:,} ({size(present['bytes'])}) were there already."
    )


def _parts(report: Report, named: str, address: str) -> Iterator[Html]:
    yield from opening(named, report["state"], lead(report))
    for note in report["notes"]:
        yield tag("p", note)
    yield tag("h2", "At a glance")
    yield facts(
        (
            ("Migration", code(report["migrationId"])),
            ("Target", report["target"]),
            ("Requests to S3", f"{report['requests']:,}"),
            ("Started", moment(report["startedAt"])),
            ("Ended", moment(report["finishedAt"])),
            ("Took", between(report["startedAt"], report["finishedAt"])),
            ("Execution", code(report["execution"])),
            ("The whole report as JSON", code(address)),
        )
    )
    yield tag("h2", "Restore points")
    every = len(report["restorePoints"])
    said = f"{count(every, 'restore point')}, those that are not there first."
    yield heading(said, every, address)
    if report["state"] == PLANNED:
        yield from _sizes(report)
        return
    rows = (
        (each["name"], moment(each["takenAt"]), code(each["newId"] or ""), each["reason"] or "")
        for each in report["restorePoints"][:LISTED]
    )
    heads = ("Restore point", "Taken at", "Its copy", "Why it is not there")
    yield table("Restore points", heads, rows, headed=True)


def _sizes(report: Report) -> Iterator[Html]:
    yield tag("p", "Each by itself: what several need counts for each of them.")
    rows = (
        (
            each["name"],
            moment(each["takenAt"]),
            f"{each['objects']:,}",
            size(each["bytes"]),
            each["reason"] or "",
        )
        for each in report["restorePoints"][:LISTED]
    )
    heads = ("Restore point", "Taken at", "Objects", "Size", "Why it cannot be copied")
    yield table("Restore points", heads, rows, headed=True)


def _lines(report: Report) -> Iterator[str]:
    yield f"Migration to {visible(report['to'])}: {report['state']}"
    yield lead(report)
    yield from map(visible, report["notes"])
    yield from reasons([(each["name"], each["reason"]) for each in report["failed"]])
