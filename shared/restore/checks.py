"""The rules that a restore must pass before anything is written: each a sentence with the value and
the remedy.
"""

from collections.abc import Callable, Iterable, Iterator

from shared.models.cluster_facts import ClusterFacts
from shared.models.mapping import ANY, POD_NETWORK, Mapping
from shared.models.restore_plans import Check
from shared.models.restore_points import RestorePoint, State
from shared.restore import admission, mapping_checks, names
from shared.restore.rules import Finding
from shared.restore.select import NO_FILES_YET
from shared.restore.wanted import Wanted, claim_number
from shared.validation import listed, short, shown

MANUAL = "Manual"


def unused_mapping(mapping: Mapping, points: Iterable[RestorePoint]) -> Iterator[Check]:
    """A key that matches nothing selected, probably mistyped; `*` means whatever there may be."""
    points = tuple(points)
    classes = {volume.storage_class for point in points for volume in point.volumes}
    networks = {each.network for point in points for each in point.networks}
    there: dict[str, tuple[dict[str, str], set[str]]] = {
        "namespaces": (mapping.namespaces, {point.namespace for point in points}),
        "storageClasses": (mapping.storage_classes, {each for each in classes if each}),
        "networks": (mapping.networks, networks - {POD_NETWORK}),
    }
    for name, (entries, used) in there.items():
        for key in sorted(entries.keys() - used - {ANY}):
            yield _warn(
                "mapping",
                f"mapping.{name}",
                f"mapping.{name}: {shown(key)} (to {shown(entries[key])}) matches nothing that is"
                f" selected. Selected: {listed(used)}.",
            )


def of_point(point: RestorePoint, subject: str, lost: str | None) -> Iterator[Check]:
    """LOST says why the metadata could not be read again."""
    if lost is not None:
        yield _block("restorable", subject, lost)
        return
    if point.readable:
        said = "; ".join(point.reasons)
        if said:
            yield _warn(
                "restorable", subject, f"Restore point {point.id} is {point.state}: {said}."
            )
            return
        yield _pass("restorable", subject, f"Restore point {point.id} is complete.")
        return
    if point.state is State.RESTORABLE:
        yield _block("restorable", subject, f"Restore point {point.id} {NO_FILES_YET}")
        return
    why = "; ".join(point.reasons) or "no reason is known"
    message = f"Restore point {point.id} is {point.state}: {why}. Choose a restorable one."
    yield _block("restorable", subject, message)


def of_shape(point: RestorePoint, subject: str) -> Check:
    """The catalogue reads a part of the metadata only; a hostile or damaged rest stops its own
    machine.
    """
    what = f"{point.source.url} does not describe a VirtualMachine as KubeVirt has it"
    return _block("shape", subject, f"{what}. Choose another restore point.")


def of_collision(message: str, subject: str) -> Check:
    """Two machines of one restore that would write the same object."""
    return _block("collision", subject, message)


def of_target(target: str, facts: ClusterFacts) -> Iterator[Check]:
    """What every restore needs, however its disks are made."""
    if "VirtualMachine" in facts.unserved:
        said = f"Cluster {target} does not serve VirtualMachine (kubevirt.io/v1). Install KubeVirt,"
        yield _block("kinds", target, f"{said} as Harvester does, or choose another cluster.")


def _left_out(findings: Iterable[Finding]) -> Iterable[Finding]:
    return findings


def of_machine(
    wanted: Wanted, judge: Callable[[Iterable[Finding]], Iterable[Finding]] = _left_out
) -> Iterator[Check]:
    """Those about one machine: one that blocks leaves this machine out. JUDGE says what it means
    that something of it cannot be taken.

    Raises AttributeError, LookupError, TypeError or ValueError for damaged metadata.
    """
    yield from _namespace(wanted)
    yield from _networks(wanted)
    yield from mapping_checks.of_machine(wanted)
    yield from _same_claim(wanted)
    yield from _same_secret(wanted)
    yield from of_findings(judge(_admitted(wanted)), wanted.key)
    if wanted.point.machine.run_strategy == MANUAL:
        said = "Its runStrategy is Manual: it is restored so, and a person starts it."
        yield wanted.warn("run-strategy", said)


def _namespace(wanted: Wanted) -> Iterator[Check]:
    name, source, target = wanted.namespace, wanted.point.namespace, wanted.target
    if names.protected(name):
        example = f'mapping.namespaces {{"{source}": "restored"}}'
        what = f"Namespace {name} belongs to cluster {target} itself"
        yield wanted.block("namespace", f"{what}. Map it to another one, such as {example}.")
    elif wanted.facts.namespaces.get(name, "Active") != "Active":
        what = f"Namespace {name} is being deleted on {target}"
        remedy = f"Wait until it is gone, or map {source} to another one"
        yield wanted.block("namespace", f"{what}. {remedy}.")


def _networks(wanted: Wanted) -> Iterator[Check]:
    left_out = []
    for interface in wanted.point.networks:
        source = interface.network
        name = wanted.mapping.network(source)
        if name is None:
            left_out.append(interface.interface)
            continue
        if source == POD_NETWORK or name in wanted.facts.networks:
            continue
        what = f"Network {short(name)} ({_mapped_from(source, name, interface.interface)})"
        yield wanted.block(
            "network",
            f"{what} does not exist on {wanted.target}. Available: {listed(wanted.facts.networks)}."
            f' Create it, or map it with mapping.networks {{"{short(source)}": …}}.',
        )
    if left_out and len(left_out) == len(wanted.point.networks):
        what = f"mapping.networks leaves out {listed(left_out)}"
        yield wanted.warn("network", f"It has no network: {what}. Its console still reaches it.")


def _mapped_from(source: str, name: str, user: str) -> str:
    """Where a name that lacks comes from, and who needs it."""
    if source == name:
        return short(user)
    return f"mapped from {short(source)}, {short(user)}"


def _same_claim(wanted: Wanted) -> Iterator[Check]:
    """KubeVirt lets two disks be on one claim; it is made once, so it can have one content only."""
    point = wanted.point
    backups: dict[str, set[str | None]] = {}
    for volume in point.volumes:
        backups.setdefault(volume.claim, set()).add(volume.engine_backup)
    for claim, found in backups.items():
        if len(found) > 1:
            what = f"Claim {claim} has {len(found)} different backups in restore point {point.id}"
            yield wanted.block("claim", f"{what}. Choose another restore point.")


def _same_secret(wanted: Wanted) -> Iterator[Check]:
    every = [secret.name for secret in wanted.point.secrets]
    for name in sorted({each for each in every if every.count(each) > 1}):
        what = f"Secret {shown(name)} is in restore point {wanted.point.id} twice"
        yield wanted.block("secret", f"{what}. Choose another restore point.")


def _admitted(wanted: Wanted) -> Iterable[Finding]:
    """What is dropped of the machine, and what cannot be."""
    source = wanted.metadata["vmSourceSpec"]
    findings = list(admission.machine(source, admission.brought(wanted.point)).findings)
    for volume in wanted.point.volumes:
        number = claim_number(wanted.metadata, volume.claim)
        saved = wanted.metadata["volumeBackups"][number]["persistentVolumeClaim"]
        findings += admission.claim(saved.get("metadata"), number).findings
    return dict.fromkeys(findings)


def of_findings(findings: Iterable[Finding], subject: str) -> Iterator[Check]:
    """What was found of the machine that SUBJECT names."""
    for each in findings:
        yield Check(check=each.check, subject=subject, verdict=each.verdict, message=each.message)


def _pass(check: str, subject: str, message: str) -> Check:
    return Check(check=check, subject=subject, verdict="pass", message=message)


def _block(check: str, subject: str, message: str) -> Check:
    return Check(check=check, subject=subject, verdict="block", message=message)


def _warn(check: str, subject: str, message: str) -> Check:
    return Check(check=check, subject=subject, verdict="warn", message=message)
