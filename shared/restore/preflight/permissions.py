"""Whether the credentials may do what a restore will do, before it does the first half of it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shared.kinds import KINDS
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_plans import Check, MachinePlan, PlannedObject
from shared.models.target_facts import TargetFacts
from shared.restore.strategies import STRATEGIES
from shared.validation import short

CHECK = "permissions"
READ = ("VirtualMachine", "VirtualMachineInstance")
"""What is listed in a machine's namespace, again and again, to see how far it is; of its disks its
strategy says it."""

MOST = 20  # rights that are told
OF_LONGHORN = ("Volume", "Engine")
REMEDY = (
    "To give it what it needs, apply docs/target-access.yaml again (ClusterRole replant, and the"
    " Role in longhorn-system):"
    " `python -m shared.commands.access --kubeconfig ADMIN_KUBECONFIG --apply`."
)
IMAGE = "VirtualMachineImage"
OF_HARVESTER = ("VirtualMachineBackup", "VirtualMachineRestore")
ALSO = " For strategy harvester also docs/harvester-access.yaml: the same with --apply-harvester."


class Need(NamedTuple):
    """A verb on a kind; an empty namespace is the whole cluster."""

    namespace: str
    kind: str
    verb: str

    def __str__(self) -> str:
        """As an API server refuses it."""
        kind = KINDS[self.kind]
        group = f" of {kind.group}" if kind.group else ""
        where = f" in {self.namespace}" if self.namespace else ""
        return f'cannot {self.verb} resource "{kind.plural}"{group}{where}'


def check(
    target: str,
    facts: TargetFacts,
    machines: Iterable[MachinePlan],
    namespaces: Iterable[PlannedObject],
) -> Iterator[Check]:
    """MACHINES are those that will be made; NAMESPACES the ones that are made for them."""
    needs = sorted(set(_needs(machines, namespaces)))
    if CHECK in facts.unseen:
        why = short(facts.unseen[CHECK])
        said = f"What its account may do on {target} could not be checked: {why}."
        yield Check(check=CHECK, subject=target, verdict="warn", message=f"{said} {REMEDY}")
        return
    lacking = [need for need in needs if not _is_allowed(need, facts)]
    if not lacking:
        said = f"Its account on {target} may do all that this restore does."
        yield Check(check=CHECK, subject=target, verdict="pass", message=said)
        return
    told = _told(lacking)
    remedy = REMEDY + (ALSO if any(each.kind in OF_HARVESTER for each in needs) else "")
    if all(each.whole for each in facts.rights.values()):
        said = f"Its account on cluster {target} {told}. {remedy}"
        yield Check(check=CHECK, subject=target, verdict="block", message=said)
        return
    said = f"{target} tells its account's rights in part only; by these it {told}. {remedy}"
    yield Check(check=CHECK, subject=target, verdict="warn", message=said)


def _told(lacking: list[Need]) -> str:
    told = [str(need) for need in lacking[:MOST]]
    if len(lacking) > MOST:
        told.append(f"and {len(lacking) - MOST} more of the kind")
    return ", ".join(told)


def _needs(machines: Iterable[MachinePlan], namespaces: Iterable[PlannedObject]) -> Iterator[Need]:
    for each in namespaces:
        yield Need("", each.kind, "create")
    for machine in machines:
        for each in machine.objects:
            yield from _needs_of_object(machine, each)
        if machine.replaces:
            yield from _needs_of_replacing(machine)
        for kind in (*READ, *STRATEGIES[machine.strategy].kinds):
            yield Need(machine.namespace, kind, "list")
        yield Need(machine.namespace, "Event", "list")
        if machine.run_strategy:
            yield Need(machine.namespace, "VirtualMachine", "patch")
        for kind in OF_LONGHORN:
            yield Need(LONGHORN_NAMESPACE, kind, "list")


def _needs_of_object(machine: MachinePlan, planned: PlannedObject) -> Iterator[Need]:
    kind = planned.kind
    # Images lie where the source had them: of these namespaces nothing is known.
    place = "" if kind == IMAGE else planned.namespace or ""
    is_there = planned.taken or (machine.updates and kind == "VirtualMachine")
    if planned.maker is None:
        yield Need(place, kind, "patch" if is_there else "create")
    elif planned.maker.notes:
        yield Need(place, kind, "patch")
    # One that exists is looked at: whether an earlier run of this restore made it.
    if kind != "Secret":
        yield Need(place, kind, "get")


def _needs_of_replacing(machine: MachinePlan) -> Iterator[Need]:
    """What an earlier restore made of it is looked at as a whole, and deleted first."""
    from shared.restore.rollback import ORDER  # few machines take the place of others

    yield Need("", "Namespace", "get")
    # Of the same kinds as what is made; only drills make policies, and replace nothing.
    made = {each.kind: each.namespace or "" for each in machine.objects if each.kind in ORDER}
    for kind, place in made.items():
        yield Need(place, kind, "list")
        yield Need(place, kind, "delete")


def _is_allowed(need: Need, facts: TargetFacts) -> bool:
    """What concerns the whole cluster is among the rights of every namespace: what is granted in
    one alone is not.
    """
    kind = KINDS[need.kind]
    places = [need.namespace] if need.namespace else list(facts.rights)
    asked = [facts.rights.get(place) for place in places]
    return bool(asked) and all(
        rights is not None and rights.allow(kind.group, kind.plural, need.verb) for rights in asked
    )
