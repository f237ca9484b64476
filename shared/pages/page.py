"""A plan or a report -> one HTML page that needs nothing else: no script, no request, no other
file.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from shared.pages.batches import batch_sections
from shared.pages.frame import document, opening
from shared.pages.machine import badge, checks, machine_section, told
from shared.pages.markup import (
    Content,
    Html,
    Row,
    block,
    code,
    facts,
    join,
    table,
    tag,
    unbroken,
)
from shared.pages.next_steps import next_steps, summary, title
from shared.pages.words import (
    Report,
    between,
    count,
    decided,
    kept,
    key,
    minute,
    moment,
    size,
    source,
    span,
)

IN_FULL = 50
"""Machines that have a section of their own, bad ones first."""

LARGEST = 2_000_000
"""Characters of those sections; after that many no further one is begun."""

LISTED = 5000
RANKS = ("failed", "blocked", "cancelled", "waiting")
VERDICTS = ("block", "warn", "pass")

NOT_HELD = (
    "memory and running state; snapshots",
    "the state of a persistent TPM or EFI; disks that are DataVolumes",
    "ConfigMaps, service accounts, and the Secrets of sysprep or of a config drive",
    "networks, storage classes and their encryption keys, key pairs, quotas, backup schedules",
    "load balancers, address pools, and devices of a node such as PCI, GPU and USB",
)
"""By Harvester's source: its backup covers claims, the machine's specification, and the Secrets of
access credentials and of cloud-init (NoCloud)."""

GUEST_KEEPS = (
    "its machine id, its SSH host keys and its DHCP identifiers: they lie on its disks. Beside its"
    " source, give one of the two others, or a DHCP server may lease both the same address",
    "its firmware's UUID, by which cloud-init knows it (NoCloud, as Harvester has it): so that"
    " cloud-init does not run again. For a copy that is to be another machine, mapping.patches sets"
    " another UUID at /spec/template/spec/domain/firmware/uuid, and cloud-init runs again",
)
"""By KubeVirt's source (pkg/cloud-init/cloud-init.go): the instance id of a config drive alone is
made of the machine's name and namespace."""


def page(report: Report, address: str) -> str:
    """ADDRESS is where the JSON lies, which has everything."""
    named = title(report)
    return document(f"{named}: {report['state']}", *_parts(report, named, address))


def _parts(report: Report, named: str, address: str) -> Iterator[Html]:
    yield from opening(named, report["state"], summary(report))
    yield from _next(report)
    if "batches" in report:
        yield _facts({**report, "machines": []}, address)
        yield from batch_sections(report, address)
        return
    machines = sorted(report["machines"], key=_rank)
    yield _facts(report, address)
    yield from _not_held()
    yield from _guest_keeps()
    yield from _checks(report, {key(each) for each in machines})
    yield from _namespaces(report["namespaces"])
    yield from _timeline(report)
    yield from _machines(report, machines, address)


def _rank(machine: Report) -> int:
    state = machine["state"]
    return RANKS.index(state) if state in RANKS else len(RANKS)


def _next(report: Report) -> Iterator[Html]:
    steps = list(next_steps(report))
    if steps:
        yield tag("h2", "What to do next")
    for step in steps:
        yield tag("p", step.said)
        if step.command:
            yield block(step.command)


def _facts(report: Report, address: str) -> Html:
    machines = report["machines"]
    sources = sorted({each["source"]["cluster"] for each in machines})
    disks = sum(len(each["disks"]) for each in machines)
    total = sum(each["sizeBytes"] for each in machines)
    counts = (f"{number:,} {state}" for state, number in report["counts"].items())
    return join(
        (
            tag("h2", "At a glance"),
            facts(
                (
                    ("Machines", ", ".join(counts)),
                    ("Disks", f"{disks:,}, {size(total)} in all" if disks else ""),
                    ("From cluster", ", ".join(filter(None, sources))),
                    ("To cluster", report["target"]),
                    ("Verdict of the checks", badge(report["verdict"])),
                    ("Estimate for the data", _estimate(report["estimate"])),
                    ("Kept", kept(report["temporary"])),
                    ("Asked by", report["by"] or "not said"),
                    ("Decided", "; ".join(decided(report))),
                    ("Started", moment(report["startedAt"])),
                    ("Ended", moment(report["finishedAt"]) if report["finishedAt"] else ""),
                    ("Took", between(report["startedAt"], report["finishedAt"])),
                    ("Execution", code(report["execution"])),
                    ("Request", code(report["requestId"])),
                    ("Restore", code(report["restoreId"])),
                    ("Hash of the plan", code(report["planHash"])),
                    ("The whole report as JSON", code(address)),
                )
            ),
        )
    )


def _not_held() -> Iterator[Html]:
    yield tag("h2", "What no backup holds")
    yield tag(
        "p",
        "A Harvester backup holds a machine's specification, the content of its disks, and the"
        " Secrets of its cloud-init and its access credentials. It does not hold:",
    )
    yield tag("ul", *(tag("li", each) for each in NOT_HELD))
    yield tag(
        "p",
        "What a machine needs of these must be on the target. What is missing there or was left"
        " out is told by a check of that machine, as far as it can be seen.",
    )


def _guest_keeps() -> Iterator[Html]:
    yield tag("h2", "What a guest keeps")
    yield tag("p", "Under whatever name a machine comes back, its guest keeps:")
    yield tag("ul", *(tag("li", each) for each in GUEST_KEEPS))
    yield tag(
        "p",
        "With a config drive, cloud-init runs again where the machine's name or namespace is"
        " another one.",
    )


def _estimate(estimate: Report | None) -> str:
    if not estimate:
        return ""
    if estimate["mostSeconds"] is None:
        return str(estimate["basis"])
    least, most = span(estimate["leastSeconds"]), span(estimate["mostSeconds"])
    times = f"about {least}" if least == most else f"{least} to {most}"
    return f"{times} for {size(estimate['sizeBytes'])}, {estimate['basis']}"


def _timeline(report: Report) -> Iterator[Html]:
    """Of times that are the same, the first one said is the first one shown."""
    machines = report["machines"]
    begun = [each["startedAt"] for each in machines if each["startedAt"]]
    ended = [each["finishedAt"] for each in machines if each["finishedAt"] and each["startedAt"]]
    again = report["attempt"] > 1
    events = [
        (report["startedAt"], "The request was taken up"),
        (report["attemptAt"] if again else None, f"Started again, attempt {report['attempt']}"),
        (min(begun, default=None), "The first machine was begun"),
        (min(ended, default=None), "The first machine ended"),
        (max(ended, default=None), "The last machine ended" if report["finishedAt"] else ""),
        (report["finishedAt"], "The report was written"),
    ]
    rows = [
        (moment(at), said, between(report["startedAt"], at)) for at, said in events if at and said
    ]
    yield tag("h2", "Timeline")
    yield table("Timeline", ("Time", "Event", "After"), rows, headed=True)


def _checks(report: Report, keys: set[str]) -> Iterator[Html]:
    """Those of the target and the request as they are, those of machines counted by rule."""
    every = report["checks"]
    general = [each for each in every if each["subject"] not in keys]
    yield tag("h2", "Checks")
    if general:
        yield checks("Of the target and the request", general, subject=True)
    counted: dict[str, Counter[str]] = {}
    for each in every:
        if each["subject"] in keys:
            counted.setdefault(each["check"], Counter())[each["verdict"]] += 1
    rows: list[Row] = [
        (name, *(found[each] for each in VERDICTS)) for name, found in sorted(counted.items())
    ]
    if rows:
        yield table("Of the machines, by rule", ("Check", *VERDICTS), rows)
    if not every:
        yield tag("p", "No check had anything to say.")


def _namespaces(namespaces: Iterable[Report]) -> Iterator[Html]:
    rows = [(each["name"], each["action"], each["reason"]) for each in namespaces]
    if rows:
        yield table("Namespaces", ("Namespace", "Action", "Why"), rows)


def _machines(report: Report, machines: list[Report], address: str) -> Iterator[Html]:
    of: dict[str, list[Report]] = {}
    for each in report["checks"]:
        of.setdefault(each["subject"], []).append(each)
    sections: list[Html] = []
    for number, machine in enumerate(machines[:IN_FULL]):
        if sum(map(len, sections)) > LARGEST:
            break
        found = of.get(key(machine), [])
        sections.append(machine_section(machine, found, report, anchor=f"m{number}"))
    yield tag("h2", "Machines")
    yield tag("p", _told_of(len(machines), len(sections), address))
    rows = (
        _line(machine, f"m{number}" if number < len(sections) else None)
        for number, machine in enumerate(machines[:LISTED])
    )
    heads = ("On the target", "State", "From", "Backup of (UTC)", "Disks", "What is said")
    yield table("All machines", heads, rows, headed=True)
    yield from sections


def _told_of(every: int, in_full: int, address: str) -> Html:
    said = f"{count(every, 'machine')}, those that did not come back first."
    if every > LISTED:
        said += f" The first {LISTED:,} are listed."
    if every > in_full:
        said += f" The first {in_full} of them follow in full below the list;"
        return join((f"{said} the others, with every object, are in ", code(address), "."))
    return join((f"{said} Each follows in full below the list.",))


def _line(machine: Report, anchor: str | None) -> tuple[Content, ...]:
    name: Content = key(machine)
    if anchor:
        name = tag("a", name, href=f"#{anchor}")
    return (
        name,
        badge(machine["state"]),
        source(machine),
        unbroken(minute(machine["takenAt"])),
        unbroken(size(machine["sizeBytes"]) if machine["disks"] else ""),
        told(machine),
    )
