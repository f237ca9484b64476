"""The report of a failover -> one HTML page that needs nothing else, and a text for a terminal."""

from collections.abc import Iterator
from textwrap import wrap

from shared.pages.frame import document, opening
from shared.pages.machine import badge
from shared.pages.markup import Html, code, facts, join, table, tag
from shared.pages.words import Report, between, count, decided, moment, visible

LISTED = 5000
"""Machines on a page; the JSON has all."""

TOLD = 40  # machines in the text
WIDTH = 96
BAD = ("failed", "blocked", "cancelled")


def page(report: Report, address: str) -> str:
    """ADDRESS is where the JSON lies, which has everything."""
    named = _title(report)
    return document(f"{named}: {report['state']}", *_parts(report, named, address))


def text(report: Report) -> str:
    """Its waves and at most forty machines, those that did not come back first."""
    return "\n".join(_lines(report)) + "\n"


def _title(report: Report) -> str:
    what = "Drill" if report.get("drill") else "Failover"
    return f"{what} of {report['plan']} from {report['source']} to {report['target']}"


def _parts(report: Report, named: str, address: str) -> Iterator[Html]:
    yield from opening(named, report["state"], report["reason"] or _waits(report))
    yield tag("h2", "At a glance")
    yield _facts(report, address)
    if report.get("halted"):
        yield from _halted(report)
    elif report.get("drill"):
        yield from _clean_up(report)
    else:
        yield from _guard(report["guard"])
    if report["waves"]:
        yield from _waves(report)
    if report["machines"]:
        yield from _machines(report, address)


def _waits(report: Report) -> str:
    if report["state"] == "waiting":
        return "The failover waits for a decision about exactly these plans."
    return "The failover is under way."


def _facts(report: Report, address: str) -> Html:
    rto, rpo = report["rto"], report["rpo"]
    since = report["guard"]["unreachableSince"]
    worst = f"{rpo['worst']} at worst, of {rpo['machine']}{_aim(rpo)}" if rpo["worst"] else ""
    return facts(
        (
            ("Recovery plan", report["plan"]),
            ("Started by alarm", report["alarm"] or ""),
            ("Started by", "" if report["alarm"] else report["by"] or "not said"),
            ("Why", report["asked"] or ""),
            (
                "Halted since" if report.get("planned") else "Source silent since",
                moment(since) if since else "",
            ),
            ("RTO", f"{rto['measured']}{_aim(rto)}" if rto["measured"] else ""),
            ("RPO", worst),
            ("Decided", "; ".join(decided(report))),
            ("Started", moment(report["startedAt"])),
            ("Ended", moment(report["finishedAt"]) if report["finishedAt"] else ""),
            ("Took", between(report["startedAt"], report["finishedAt"])),
            ("Failover", code(report["failoverId"])),
            ("Hash over all plans", code(report["planHash"]) if report["planHash"] else ""),
            ("Execution", code(report["execution"])),
            ("Request", code(report["requestId"])),
            ("The whole report as JSON", code(address)),
        )
    )


def _aim(measure: Report) -> str:
    if not measure["objective"]:
        return ""
    return f" (objective {measure['objective']}: {'met' if measure['met'] else 'missed'})"


def _clean_up(report: Report) -> Iterator[Html]:
    yield tag("h2", "Clean-up")
    if report["cleanedUp"]:
        yield tag("p", "All that the drill made is deleted again.")
        return
    rows = (
        (f"{each['kind']} {each['namespace'] or ''}/{each['name']}", each["reason"] or "")
        for each in report["leftovers"]
    )
    yield table("What is left", ("Object", "Why"), rows)


def _guard(guard: Report) -> Iterator[Html]:
    yield tag("h2", "What was seen of the source")
    if not guard["probes"]:
        yield tag("p", "It was not probed.")
        return
    rows = (
        (moment(each["at"]), each["place"], each["answer"] or "no probe", each["reason"] or "")
        for each in guard["probes"]
    )
    yield table("Probes", ("At", "From place", "Answer", "Why"), rows, headed=True)


def _halted(report: Report) -> Iterator[Html]:
    yield tag("h2", "Machines of the source")
    rows = (
        (
            each["machine"],
            each["runStrategy"],
            moment(each["haltedAt"]) if each["haltedAt"] else "",
            code(each["backup"]) if each["backup"] else "",
            "yes" if each["startedAgain"] else "",
        )
        for each in report["halted"][:LISTED]
    )
    heads = ("Machine", "Run strategy", "Halted at", "Last backup", "Started again")
    yield table("Machines of the source", heads, rows, headed=True)


def _waves(report: Report) -> Iterator[Html]:
    yield tag("h2", "Waves")
    rows = (
        (
            each["name"],
            badge(each["state"]),
            _counted(each),
            moment(each["startedAt"]) if each["startedAt"] else "",
            between(each["startedAt"], each["finishedAt"]),
            code(each["restoreId"]),
            each["reason"] or each["note"] or "",
        )
        for each in report["waves"]
    )
    heads = ("Wave", "State", "Machines", "Began", "Took", "Restore", "Why")
    yield table("Waves", heads, rows, headed=True)


def _machines(report: Report, address: str) -> Iterator[Html]:
    every = sorted(report["machines"], key=lambda each: each["state"] not in BAD)
    yield tag("h2", "Machines")
    said = f"{count(len(every), 'machine')}, those that did not come back first."
    if len(every) > LISTED:
        yield tag(
            "p", join((f"{said} The first {LISTED:,} are listed; all are in ", code(address)))
        )
    else:
        yield tag("p", said)
    rows = (
        (
            each["target"],
            each["machine"],
            each["wave"],
            badge(each["state"]),
            moment(each["takenAt"]),
            each["rpo"] or "",
            moment(each["readyAt"]) if each["readyAt"] else "",
            each["rto"] or "",
            each["problem"] or "",
        )
        for each in every[:LISTED]
    )
    heads = ("On the target", "From", "Wave", "State", "Backup of", "RPO", "Ready", "RTO", "Why")
    yield table("Machines", heads, rows, headed=True)


def _lines(report: Report) -> Iterator[str]:
    yield f"{_title(report)}: {report['state']}"
    yield f"Failover {report['failoverId']}"
    if report["planHash"]:
        yield f"Plans {report['planHash']}"
    yield from _lost(report)
    yield ""
    yield from _halted_lines(report)
    yield from map(_wave_line, report["waves"])
    machines = sorted(report["machines"], key=lambda each: each["state"] not in BAD)
    for each in machines[:TOLD]:
        yield from _machine_lines(each)
    if len(machines) > TOLD:
        yield f"and {len(machines) - TOLD:,} more machines"


def _lost(report: Report) -> Iterator[str]:
    since, rpo = report["guard"]["unreachableSince"], report["rpo"]
    if since:
        yield f"{_silent(report)} since {moment(since)}"
    if rpo["worst"]:
        yield f"Data that is lost: {rpo['worst']} at worst, of {visible(rpo['machine'])}{_aim(rpo)}"


def _silent(report: Report) -> str:
    if report.get("planned"):
        return f"Machines of {report['source']} are halted"
    return f"{report['source']} has not answered"


def _halted_lines(report: Report) -> Iterator[str]:
    """What a planned failover does to its source."""
    every = report.get("halted") or []
    if not every:
        return
    yield f"On {report['source']} it halts, and makes the last backup of:"
    for each in every[:TOLD]:
        yield f"  {visible(each['machine'])}  {each['runStrategy']}"
    if len(every) > TOLD:
        yield f"and {len(every) - TOLD:,} more machines"


def _wave_line(wave: Report) -> str:
    said = wave["reason"] or wave["note"]
    why = f": {visible(said)}" if said else ""
    return f"wave {wave['name']}: {wave['state']} {_counted(wave)}".rstrip() + why


def _machine_lines(machine: Report) -> Iterator[str]:
    name = visible(f"{machine['machine']} -> {machine['target']}")
    lost = f"  loses {machine['rpo']}" if machine["rpo"] else ""
    yield f"  {name}  backup of {moment(machine['takenAt'])}{lost}  {machine['state']}"
    for line in wrap(visible(machine["problem"] or ""), WIDTH):
        yield f"      {line}"


def _counted(wave: Report) -> str:
    return ", ".join(f"{number:,} {state}" for state, number in wave["counts"].items())
