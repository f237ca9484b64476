"""One machine of a restore, step by step: its objects, what a request changes of them, what its
target takes, and the checks about all that.
"""

from collections import Counter
from typing import NamedTuple

from shared.models.restore_plans import Check, Mapped, PlannedObject, Rewrite
from shared.restore import checks, manifests, mapped
from shared.restore.patching import CHECK, Patched, patch
from shared.restore.preflight import in_use
from shared.restore.preflight.in_use import Identity
from shared.restore.pruning import prune
from shared.restore.readdressing import readdress
from shared.restore.request import Mode
from shared.restore.rules import blocking
from shared.restore.strategies import Strategy
from shared.restore.virtual_machine import one_per_claim
from shared.restore.wanted import Wanted
from shared.validation import listed


class Made(NamedTuple):
    """STANDING are the claims that are there already. IDENTITY is what only one machine may have.
    HITS count what each of the mapping's ranges of addresses changed, by its number; USED are the
    numbers of the patches that matched something.
    """

    objects: tuple[PlannedObject, ...] = ()
    standing: tuple[PlannedObject, ...] = ()
    checks: tuple[Check, ...] = ()
    mapped: tuple[Mapped, ...] = ()
    rewrite: Rewrite | None = None
    identity: Identity | None = None
    hits: Counter[int] = Counter()
    used: frozenset[int] = frozenset()


def make(wanted: Wanted, strategy: Strategy) -> Made:
    """Raises AttributeError, LookupError, TypeError or ValueError for damaged metadata."""
    if strategy.make_whole:
        return _take_whole(wanted, strategy, tuple(strategy.make_whole(wanted)))
    plain = manifests.objects(wanted, strategy)
    patched = patch(wanted, plain)
    try:
        return _finish(wanted, strategy, patched)
    except (AttributeError, LookupError, TypeError, ValueError):
        if not patched.used:
            raise
    # What no check can read may be the backup's doing or the patches': without them it tells.
    said = (
        f"mapping.patches {listed(map(str, sorted(patched.used)))} make no VirtualMachine of it as"
        " KubeVirt has it. Correct their paths and values."
    )
    return _finish(wanted, strategy, Patched(plain, (), (blocking(said, CHECK),), patched.used))


def _take_whole(wanted: Wanted, strategy: Strategy, objects: tuple[PlannedObject, ...]) -> Made:
    """What others make of the backup is not changed, and what we would leave out blocks."""
    from shared.restore import harvester_checks  # few restores are Harvester's own

    verdicts = list(harvester_checks.of_machine(wanted))
    for volume in one_per_claim(wanted.point.volumes):
        verdicts += strategy.check_disk(wanted, volume)
    if wanted.request.mode is Mode.REGISTER:
        return Made(objects=objects, checks=tuple(verdicts))
    verdicts += checks.of_machine(wanted, harvester_checks.as_they_are)
    identity = in_use.of_objects(objects, wanted.metadata, None)
    return Made(objects=objects, checks=tuple(verdicts), identity=identity)


def _finish(wanted: Wanted, strategy: Strategy, patched: Patched) -> Made:
    readdressed = readdress(wanted, patched.objects)
    pruned = prune(readdressed.objects, wanted.facts.machine_fields)
    findings = (*patched.findings, *readdressed.findings, *pruned.findings)
    verdicts = list(checks.of_findings(findings, wanted.key))
    standing: list[PlannedObject] = []
    for volume in one_per_claim(wanted.point.volumes):
        verdicts += strategy.check_disk(wanted, volume)
        standing += strategy.make_disk(wanted, volume) if strategy.stands else ()
    verdicts += checks.of_machine(wanted)
    changes = (*mapped.of_machine(wanted, pruned.objects), *readdressed.mapped, *patched.mapped)
    return Made(
        objects=pruned.objects,
        standing=tuple(standing),
        checks=tuple(verdicts),
        mapped=changes,
        rewrite=readdressed.how,
        identity=in_use.of_objects(pruned.objects, wanted.metadata, readdressed.how),
        hits=readdressed.hits,
        used=patched.used,
    )
