"""One machine of a report as a section of its page."""

from collections.abc import Iterable, Iterator, Sequence

from shared.pages.markup import Html, Row, code, facts, join, table, tag, unbroken
from shared.pages.words import Report, between, change, key, moment, size, source

ROWS = 100
"""Of one table; the JSON has all."""

COLOURS = {
    "good": ("pass", "ready", "applied", "succeeded", "planned", "create"),
    "warn": ("warn", "partial", "cancelled", "conflict"),
    "bad": ("block", "failed", "blocked"),
}
COLOUR_OF = {word: colour for colour, words in COLOURS.items() for word in words}
WORST_FIRST = {"block": 0, "warn": 1, "pass": 2}


def badge(word: str) -> Html:
    """A state or a verdict: the word says it, the colour only helps."""
    return tag("span", word, class_=f"badge {COLOUR_OF.get(word, '')}".strip())


def told(machine: Report) -> str:
    """The one thing to know of a machine: what is wrong, what it waits for, or its note."""
    if machine["error"]:
        return str(machine["error"]["message"])
    return str(machine["waits"] or _note(machine))


def _note(machine: Report) -> str:
    """Where it says more than the state does."""
    note = str(machine["note"] or "")
    return "" if note == machine["state"] else note


def machine_section(
    machine: Report, found: Iterable[Report], report: Report, *, anchor: str
) -> Html:
    """FOUND are the checks about it."""
    return tag(
        "article",
        tag("h3", f"{key(machine)} ", badge(machine["state"])),
        *_said(machine),
        _facts(machine, report),
        *_disks(machine),
        *_networks(machine),
        *_mapped(machine),
        *_required(machine),
        *_checked(found),
        *_objects(machine),
        id=anchor,
    )


def checks(caption: str, found: Iterable[Report], *, subject: bool = False) -> Html:
    """Worst first. SUBJECT shows what each is about."""
    every = sorted(found, key=lambda each: WORST_FIRST[each["verdict"]])
    heads = ("Verdict", "Check", *(("About",) if subject else ()), "What it says")
    rows = (
        (
            badge(each["verdict"]),
            each["check"],
            *((each["subject"],) if subject else ()),
            each["message"],
        )
        for each in every[:ROWS]
    )
    return join((table(caption, heads, rows), *_more(len(every), ROWS)))


def _said(machine: Report) -> Iterator[Html]:
    error = machine["error"]
    if error:
        yield tag("p", tag("strong", error["code"]), f": {error['message']}", class_="said bad")
    if machine["waits"]:
        yield tag("p", f"Waits: {machine['waits']}", class_="said")
    if note := _note(machine):
        yield tag("p", f"Note: {note}", class_="said")


def _facts(machine: Report, report: Report) -> Html:
    age = between(machine["takenAt"], report["startedAt"])
    cpu, memory = machine["cpu"], machine["memoryBytes"]
    hardware = (f"{cpu} CPU" if cpu else "", f"{size(memory)} memory" if memory else "")
    return facts(
        (
            ("From", source(machine)),
            ("To", f"{report['target']} {key(machine)}"),
            ("Backup", machine["backup"]),
            ("Backup target", machine["source"]["target"]),
            ("State of", f"{moment(machine['takenAt'])}, {age} before the restore began"),
            ("Restore point", code(machine["id"])),
            ("Machine", ", ".join(filter(None, hardware))),
            ("Strategy", f"{machine['strategy']}: {machine['reason']}"),
            ("Data there", "" if machine["percent"] is None else f"{machine['percent']} %"),
            ("Begun", moment(machine["startedAt"]) if machine["startedAt"] else ""),
            ("Ended", moment(machine["finishedAt"]) if machine["finishedAt"] else ""),
            ("Took", between(machine["startedAt"], machine["finishedAt"])),
        )
    )


def _disks(machine: Report) -> Iterator[Html]:
    disks = machine["disks"]
    rows = [
        (
            each["disk"],
            each["claim"],
            size(each["sizeBytes"]),
            _change(each["classBefore"], each["classAfter"]),
            each["image"] or "",
            code(each["backup"]) if each["backup"] else "none",
        )
        for each in disks[:ROWS]
    ]
    heads = ("Disk", "Claim", "Size", "Storage class", "Image", "Backup")
    yield from _table("Disks", heads, rows, len(disks))


def _networks(machine: Report) -> Iterator[Html]:
    networks = machine["networks"]
    rows = [
        (
            each["interface"],
            _change(each["before"], each["after"]),
            each["mac"] or (each["after"] and "a new one") or "none",
        )
        for each in networks[:ROWS]
    ]
    yield from _table("Networks", ("Interface", "Network", "MAC address"), rows, len(networks))


def _mapped(machine: Report) -> Iterator[Html]:
    mapped = machine["mapped"]
    rows = [(each["what"], each["before"], each["after"]) for each in mapped[:ROWS]]
    yield from _table("What was mapped", ("What", "Before", "After"), rows, len(mapped))


def _required(machine: Report) -> Iterator[Html]:
    needed = machine["requires"]
    rows = [(each["kind"], each["name"], each["checksum"] or "unknown") for each in needed[:ROWS]]
    caption = "What the target must have, since the backup lacks it"
    yield from _table(caption, ("Kind", "Name", "Checksum (SHA-512)"), rows, len(needed))


def _checked(found: Iterable[Report]) -> Iterator[Html]:
    every = list(found)
    if every:
        yield checks("Checks", every)


def _objects(machine: Report) -> Iterator[Html]:
    objects = machine["objects"]
    rows = [
        (
            number,
            unbroken(each["kind"]),
            f"{each['namespace']}/{each['name']}" if each["namespace"] else each["name"],
            badge(each["action"]),
            each["reason"],
        )
        for number, each in enumerate(objects[:ROWS], start=1)
    ]
    heads = ("No.", "Kind", "Object", "Action", "Why, and how it differs from the source")
    yield from _table("Objects, in order of creation", heads, rows, len(objects))


def _table(caption: str, heads: Sequence[str], rows: Sequence[Row], every: int) -> Iterator[Html]:
    if rows:
        yield table(caption, heads, rows)
    yield from _more(every, len(rows))


def _more(every: int, shown: int) -> Iterator[Html]:
    if every > shown:
        yield tag("p", f"and {every - shown:,} more, in the JSON", class_="small")


def _change(before: str | None, after: str | None) -> str:
    """A machine that is not made has nothing after."""
    if after is None and before:
        return f"{before} → nothing"
    return change(before, after)
