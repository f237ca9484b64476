"""Values of a report as people read them; what foreign text may do to a screen is made visible."""

from collections.abc import Mapping
from typing import Any

from shared.models.base import from_instant
from shared.models.restore_plans import Decision

Report = Mapping[str, Any]
"""A report as its JSON has it (shared/restore/report.py), or a part of one."""

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def visible(text: str) -> str:
    """Whatever moves a cursor, turns the direction of writing or is half a character, as its
    escape.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def size(count: int | None) -> str:
    """In the units of Kubernetes: 40 GiB."""
    if count is None:
        return "unknown"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if value >= 100 or value == int(value) else 1
    return f"{value:.{digits}f} {UNITS[unit]}"


def span(seconds: float) -> str:
    """Its two largest units: 1 h 5 min."""
    left, said = int(max(0.0, seconds)), []
    for length, unit in SPANS:
        if left >= length:
            said.append(f"{left // length} {unit}")
            left %= length
    return " ".join(said[:2]) or "0 s"


def between(start: str | None, end: str | None) -> str:
    """How long it took from one instant to another; empty where one of them is not known."""
    if not start or not end:
        return ""
    return span((from_instant(end) - from_instant(start)).total_seconds())


def moment(instant: str) -> str:
    return f"{from_instant(instant):%Y-%m-%d %H:%M:%S} UTC"


def minute(instant: str) -> str:
    """For a column that says UTC."""
    return f"{from_instant(instant):%Y-%m-%d %H:%M}"


def count(number: int, thing: str) -> str:
    """3 machines, 1 machine."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def key(machine: Report) -> str:
    """A machine's name on the target, which is what checks call it."""
    return f"{machine['namespace']}/{machine['vm']}"


def source(machine: Report) -> str:
    """A machine's name on the source."""
    found = machine["source"]
    return f"{found['cluster']} {found['machine']}".strip()


def change(before: str | None, after: str | None) -> str:
    """`from → to`, or what stays."""
    if before == after:
        return after or "none"
    return f"{before or 'none'} → {after or 'none'}"


def decided(report: Report) -> list[str]:
    """What was decided about a restore, by whom and when, the newest last."""
    return [Decision.model_validate(each).said for each in report["decisions"]]


def kept(temporary: Report | None) -> str:
    """For how long what a restore makes is kept; empty where it stays."""
    if temporary is None:
        return ""
    if temporary["expires"]:
        return f"until {moment(temporary['expires'])}, and then deleted"
    return f"for {temporary['keepFor']} from when it is ready, and then deleted"
