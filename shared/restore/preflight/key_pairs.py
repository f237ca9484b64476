"""Whether the target has the KeyPairs that machines name: no backup holds them."""

from collections.abc import Iterator

from shared import strict_json
from shared.jsonpath import dig
from shared.models.restore_plans import Check, MachinePlan, Verdict
from shared.models.target_facts import TargetFacts
from shared.restore.annotations import KEY_PAIRS
from shared.validation import listed, short

CHECK = "key-pair"
ANNOTATIONS = ("spec", "template", "metadata", "annotations", KEY_PAIRS)


def check(target: str, machine: MachinePlan, facts: TargetFacts) -> Iterator[Check]:
    """Harvester restores a machine without its key pairs as well: its pages show names that lead
    nowhere, and its guest has the keys that it had.
    """
    names = _names(machine)
    if not names:
        return
    lacking = [name for name in names if name not in facts.key_pairs]
    if not lacking:
        said = f"{target} has its KeyPairs: {listed(map(short, names))}."
        yield _say(machine, "pass", said)
        return
    what = listed(map(short, lacking))
    remedy = f"Its guest keeps the keys that it had; to see them in Harvester, create {what} there."
    if CHECK in facts.unseen:
        why = short(facts.unseen[CHECK])
        said = f"Whether {target} has KeyPair {what} could not be checked: {why}."
        yield _say(machine, "warn", f"{said} {remedy}")
        return
    said = f"{target} has no KeyPair {what}, and no backup holds one."
    yield _say(machine, "warn", f"{said} {remedy}")


def _names(machine: MachinePlan) -> list[str]:
    vm = next((each.manifest for each in machine.objects if each.kind == "VirtualMachine"), None)
    note = dig(vm, *ANNOTATIONS)
    try:
        return [str(name) for name in strict_json.parse(note.encode())]
    except (ValueError, TypeError, AttributeError):
        return []


def _say(machine: MachinePlan, verdict: Verdict, message: str) -> Check:
    return Check(check=CHECK, subject=machine.key, verdict=verdict, message=message)
