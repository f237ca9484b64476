"""What the machines of a restore add to each namespace, against the ResourceQuotas there.

What they certainly add blocks them where it does not fit: the API server would refuse the second
half of what the first half was made for. What the target derives itself (what the pods of started
machines ask for, by its overcommit) is told as what may not fit.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.models.cluster_facts import ClusterFacts
from shared.models.restore_plans import Check, MachinePlan, Verdict
from shared.models.target_facts import Quota
from shared.quantities import in_bytes, number
from shared.restore import sizes
from shared.restore.rules import INSTANCE
from shared.validation import short

CHECK = "quota"
LIMITS = {"limits.cpu": "cpu", "limits.memory": "memory"}
REQUESTS = {"requests.cpu": "cpu", "cpu": "cpu", "requests.memory": "memory", "memory": "memory"}

Amounts = dict[str, Fraction]


class Added(NamedTuple):
    """To one namespace: what is CERTAIN, and the MOST that its pods may ask for."""

    certain: Amounts
    most: Amounts


def check(target: str, facts: ClusterFacts, machines: Iterable[MachinePlan]) -> Iterator[Check]:
    """MACHINES are those that will be made: what does not fit blocks each of its namespace."""
    by_namespace: dict[str, list[MachinePlan]] = {}
    for machine in machines:
        by_namespace.setdefault(machine.namespace, []).append(machine)
    if CHECK in facts.target.unseen:
        why = short(facts.target.unseen[CHECK])
        said = f"Whether the quotas of {target} have room could not be checked: {why}."
        remedy = "Apply docs/target-access.yaml again, or look at them."
        yield _say(target, "warn", f"{said} {remedy}")
        return
    checks = [
        each
        for namespace, there in by_namespace.items()
        for each in _of_namespace(namespace, there, facts)
    ]
    yield from checks
    if not checks:
        said = "There is room in the ResourceQuotas of its namespaces, or there are none."
        yield _say(target, "pass", said)


def _of_namespace(
    namespace: str, machines: list[MachinePlan], facts: ClusterFacts
) -> Iterator[Check]:
    added = _added(machines, facts)
    for quota in facts.target.quotas.get(namespace, ()):
        lacking = list(_lacking(quota, added.certain))
        if lacking and not quota.scoped:
            said = _told(namespace, machines, quota, lacking)
            for machine in machines:
                yield _say(machine.key, "block", said)
            continue
        maybe = lacking + list(_lacking(quota, added.most))
        if maybe:
            said = f"It may not fit: {_told(namespace, machines, quota, maybe)}"
            yield _say(namespace, "warn", said)


def _lacking(quota: Quota, added: Amounts) -> Iterator[str]:
    for resource, amount in sorted(added.items()):
        hard, used = _number(quota.hard, resource), _number(quota.used, resource)
        if hard is None or amount + (used or 0) <= hard:
            continue
        left = max(Fraction(0), hard - (used or 0))
        told = _amount(resource, amount), short(resource), _amount(resource, left)
        yield "{} of {}, of which {}".format(*told)


def _told(namespace: str, machines: list[MachinePlan], quota: Quota, lacking: Iterable[str]) -> str:
    count = "its machine adds" if len(machines) == 1 else f"its {len(machines)} machines add"
    what = "; ".join(f"{each} are left" for each in lacking)
    return (
        f"ResourceQuota {short(quota.name)} of namespace {namespace}: {count} {what}. Raise the"
        " quota, select fewer machines, or map some to another namespace."
    )


def _added(machines: list[MachinePlan], facts: ClusterFacts) -> Added:
    certain: Counter[str] = Counter()
    storage: Amounts = {}
    seen: set[str] = set()
    for each in (each for machine in machines for each in machine.objects):
        # A Secret that two machines share is made once; Longhorn's volumes lie in its namespace.
        elsewhere = each.namespace != machines[0].namespace
        if elsewhere or each.subject in seen or facts.has(each):
            continue
        seen.add(each.subject)
        kind = KINDS[each.kind]
        suffix = f".{kind.group}" if kind.group else ""
        certain[f"count/{kind.plural}{suffix}"] += 1
        if not kind.group:
            certain[kind.plural] += 1
        if each.kind == "PersistentVolumeClaim":
            _add_claim(storage, each.manifest, facts.default_class)
    started = [machine for machine in machines if machine.run_strategy]
    if started:
        certain["pods"] = certain["count/pods"] = len(started)
    amounts = {name: Fraction(count) for name, count in certain.items()} | storage
    return Added(amounts | _limits(started), _requests(started))


def _add_claim(storage: Amounts, claim: Mapping[str, object], default: str | None) -> None:
    size = _quantity(dig(claim, "spec", "resources", "requests", "storage"))
    of_class = f"{dig(claim, 'spec', 'storageClassName') or default}.storageclass.storage.k8s.io"
    for name, amount in (
        ("requests.storage", size),
        (f"{of_class}/requests.storage", size),
        (f"{of_class}/persistentvolumeclaims", Fraction(1)),
    ):
        storage[name] = storage.get(name, Fraction(0)) + amount


def _limits(machines: Iterable[MachinePlan]) -> Amounts:
    """What the machines' pods are limited to at least: KubeVirt adds something for itself."""
    found: Amounts = {}
    for domain in map(_domain, machines):
        for resource, what in LIMITS.items():
            amount = _quantity(dig(domain, "resources", "limits", what))
            found[resource] = found.get(resource, Fraction(0)) + amount
    return found


def _requests(machines: Iterable[MachinePlan]) -> Amounts:
    """All that the guests are given: how much of it is asked for, the target's overcommit says."""
    found: Amounts = {}
    for machine in machines:
        for resource, size in _sizes(machine).items():
            found[resource] = found.get(resource, Fraction(0)) + size
    return found


def _sizes(machine: MachinePlan) -> Amounts:
    try:
        cpus, memory = sizes.of_machine(_virtual_machine(machine))
    except (AttributeError, TypeError, ValueError):
        return {}  # of a machine that a patch has bent
    size = {"cpu": Fraction(cpus or 0), "memory": Fraction(memory or 0)}
    return {resource: size[what] for resource, what in REQUESTS.items()}


def _domain(machine: MachinePlan) -> object:
    return dig(_virtual_machine(machine), *INSTANCE, "domain")


def _virtual_machine(machine: MachinePlan) -> object:
    return next(each.manifest for each in machine.objects if each.kind == "VirtualMachine")


def _quantity(value: object) -> Fraction:
    """Nothing of what is no quantity."""
    try:
        return number(str(value))
    except ValueError:
        return Fraction(0)


def _number(amounts: Mapping[str, str], resource: str) -> Fraction | None:
    """None for what is no quantity: such a quota limits nothing that can be told."""
    try:
        return number(amounts[resource])
    except (KeyError, ValueError):
        return None


def _amount(resource: str, amount: Fraction) -> str:
    if amount.denominator != 1:
        return f"{float(amount):g}"
    if resource.endswith(("memory", "storage")):
        return in_bytes(int(amount))
    return str(int(amount))


def _say(subject: str, verdict: Verdict, message: str) -> Check:
    return Check(check=CHECK, subject=subject, verdict=verdict, message=message)
