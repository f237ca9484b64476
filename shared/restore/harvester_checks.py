"""Whether the target's own Harvester can restore a machine from its backup, and what a person must
know of how it does that (strategy harvester).
"""

from collections.abc import Iterable, Iterator

from shared.jsonpath import dig
from shared.models.cluster_facts import HarvesterFacts
from shared.models.restore_plans import Check, Verdict
from shared.models.restore_points import Volume
from shared.restore.image_checks import to_restore
from shared.restore.request import Mode
from shared.restore.rules import Finding
from shared.restore.wanted import Wanted, claim_number
from shared.validation import listed, short, shown

CHECK = "harvester"
FOLDER = "harvester/vmbackups/"
"""Below the root of the bucket, for Harvester knows no other place."""

PITFALLS = (
    "Whoever deletes a VirtualMachineBackup in Harvester deletes the backup in the bucket. A"
    " rollback deletes none, whoever registered it.",
    "Harvester writes a backup's metadata in the bucket anew where its version says more of it.",
    "Harvester gives a machine's Secrets the machine's name as a prefix, and writes over Secrets of"
    " such a name that are there.",
)
BEFORE_HALTING = (
    "This Harvester is older than 1.9: it starts what it restores, before the data of the disks is"
    " there, and the disks go when the machine is deleted."
)


def of_target(target: str, facts: HarvesterFacts) -> Iterator[Check]:
    if facts.problem:
        said = f"Harvester on {target} restores nothing from the bucket: {facts.problem}"
        yield _say("block", target, f"{said}, or use strategy auto.")
        return
    said = f"Harvester on {target} restores from bucket {short(facts.bucket)}."
    yield _say("pass", target, said)
    for each in (*PITFALLS, *(() if facts.halts else (BEFORE_HALTING,))):
        yield _say("warn", target, each)


def _say(verdict: Verdict, target: str, message: str) -> Check:
    return Check(check=CHECK, subject=target, verdict=verdict, message=message)


def of_disk(wanted: Wanted, volume: Volume) -> Iterator[Check]:
    """Harvester restores no image first, and knows a disk's class by its name alone."""
    number = claim_number(wanted.metadata, volume.claim)
    disk = dig(wanted.metadata, "volumeBackups", number)
    if not (isinstance(dig(disk, "name"), str) and dig(disk, "longhornBackupName")):
        said = f"Disk {short(volume.disk)} has no backup in Longhorn that its metadata names"
        yield wanted.block(CHECK, f"{said}. Choose another restore point.")
    if saved := to_restore(wanted, volume):
        said = f"{short(volume.disk)} lies over image {short(saved.name)}, which {wanted.target}"
        remedy = "lacks: Harvester restores none first. Use strategy auto, which does"
        yield wanted.block(CHECK, f"{said} {remedy}.")


def of_machine(wanted: Wanted) -> Iterator[Check]:
    """Raises AttributeError, LookupError, TypeError or ValueError for damaged metadata."""
    yield from _place(wanted)
    yield from _record(wanted)
    if wanted.request.mode is Mode.REGISTER:
        return
    strategy = wanted.point.machine.run_strategy
    if wanted.facts.harvester.halts or (wanted.request.start and strategy not in IDLE):
        return
    why = "start: false" if strategy not in IDLE else f"its runStrategy is {strategy}"
    said = f"It is to stay halted ({why}), and Harvester before 1.9 starts what it restores"
    yield wanted.block(CHECK, f"{said}. Use strategy auto.")


IDLE = ("Halted", "Manual")


def _place(wanted: Wanted) -> Iterator[Check]:
    point, facts = wanted.point, wanted.facts
    bucket, key = point.source.bucket, point.source.key
    if bucket != facts.harvester.bucket or not key.startswith(FOLDER):
        said = f"Its backup lies at {point.source.url}"
        there = f"and Harvester on {wanted.target} looks into"
        yield wanted.block(
            CHECK,
            f"{said}, {there} s3://{short(facts.harvester.bucket)}/{FOLDER} alone."
            " Use strategy auto.",
        )
    kind = wanted.metadata["backupSpec"].get("type")
    if kind not in ("backup", None):
        said = f"Its metadata calls itself a {shown(kind)}, not a backup"
        yield wanted.block(CHECK, f"{said}. Use strategy auto.")
    if point.namespace not in facts.namespaces and point.namespace != wanted.namespace:
        said = f"Namespace {point.namespace}, in which the backup is registered, does not exist"
        yield wanted.block(CHECK, f"{said} on {wanted.target}. Create it.")


def _record(wanted: Wanted) -> Iterator[Check]:
    name = f"{wanted.point.namespace}/{wanted.point.backup}"
    found = wanted.facts.harvester.records.get(name)
    if found is None:
        yield wanted.ok(CHECK, f"VirtualMachineBackup {name} is registered from its metadata.")
        return
    own = {each.engine_backup for each in wanted.point.volumes}
    if found.backups == own:
        yield wanted.ok(CHECK, f"Harvester has VirtualMachineBackup {name} already.")
        return
    said = f"VirtualMachineBackup {name} on {wanted.target} is of other backups"
    yield wanted.block(
        CHECK, f"{said} ({listed(found.backups)}). Use strategy auto, which needs none."
    )


def as_they_are(findings: Iterable[Finding]) -> Iterator[Finding]:
    """What else would be left out of a machine is not, when Harvester makes it: it blocks."""
    for each in findings:
        if each.verdict == "block" or each.stays:
            yield each
            continue
        said = f"{each.message} Harvester would leave it in: use strategy auto."
        yield each._replace(verdict="block", message=said)
