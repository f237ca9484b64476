"""The rules about names, sizes, addresses and patches of a request's mapping."""

from collections import Counter
from collections.abc import Iterable, Iterator

from shared.models.mapping import Mapping, Resources
from shared.models.restore_plans import Check
from shared.restore import names, sizes
from shared.restore.virtual_machine import LONGEST_LABEL
from shared.restore.wanted import Wanted
from shared.validation import shown


def unused_addresses(mapping: Mapping, hits: Iterable[Counter[int]]) -> Iterator[Check]:
    """HITS count, machine by machine, what each range of addresses changed."""
    used = {number for each in hits for number in each}
    for number, each in enumerate(mapping.addresses):
        if number not in used:
            yield _unused(
                "mapping.addresses",
                f"mapping.addresses.{number}: {each.source} (to {each.to}) matches no address in"
                " the annotations and the network data of what is selected.",
            )


def unused_patches(mapping: Mapping, used: Iterable[frozenset[int]]) -> Iterator[Check]:
    """USED are the patches, by number, that match something of a machine."""
    known = {number for each in used for number in each}
    for number, each in enumerate(mapping.patches):
        if number not in known:
            what = f"{each.match.kind} {shown(each.match.name)}"
            yield _unused(
                "mapping.patches",
                f"mapping.patches.{number}: {what} matches nothing that is selected.",
            )


def of_machine(wanted: Wanted) -> Iterator[Check]:
    """Raises TypeError or ValueError for damaged metadata."""
    yield from _names(wanted)
    yield from _sizes(wanted)


def _names(wanted: Wanted) -> Iterator[Check]:
    """Labels carry a machine's name, claims are only named."""
    if not wanted.mapping.names.suffix:
        return
    every = [("name", wanted.name, LONGEST_LABEL)]
    every += [("claim", claim, names.LONGEST_NAME) for claim in wanted.claims.values()]
    for what, name, longest in every:
        if len(name) > longest:
            said = f"Its {what} would be {name}, of {len(name)} characters; {longest} fit"
            yield wanted.block("name", f"{said}. Use a shorter mapping.names.suffix.")
            return
    source = wanted.point.vm
    said = f"{source} becomes {wanted.name}; its guest keeps the host name that it had."
    yield wanted.ok("name", said)


def _sizes(wanted: Wanted) -> Iterator[Check]:
    """Of a machine that says no sizes, an instance type does."""
    resources = wanted.mapping.resources
    if resources == Resources():
        return
    found = sizes.of_machine(wanted.metadata["vmSourceSpec"])
    lacking = [
        key
        for key, size, percent in (
            ("cpuPercent", found.cpus, resources.cpu_percent),
            ("memoryPercent", found.memory, resources.memory_percent),
        )
        if size is None and percent != 100
    ]
    if lacking:
        what = f"mapping.resources.{lacking[0]} changes nothing of it"
        why = "its specification says no such size, so that its instance type or the target does"
        yield wanted.warn("mapping", f"{what}: {why}.")


def _unused(subject: str, message: str) -> Check:
    return Check(check="mapping", subject=subject, verdict="warn", message=message)
