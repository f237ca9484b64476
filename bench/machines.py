"""Generated machines of two disks and a secret -> plans and whole manifests, eight objects a
machine.
"""

import json
from functools import partial
from typing import Any, NamedTuple

from local.samples import builders
from local.samples.encoding import Object
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from shared.models import Plan
from shared.restore.plan import filled, started

OBJECTS = 8
SOURCE = "shop"
USERDATA = "#cloud-config\nhostname: {}\npackages: [qemu-guest-agent]\n"

Manifest = dict[str, Any]


class Fleet(NamedTuple):
    """Machines by name: the objects of their backups, and the metadata among those."""

    backups: dict[str, tuple[Object, ...]]
    metadata: dict[str, dict[str, Any]]


def fleet(size: int) -> Fleet:
    """SIZE machines; only what the catalogue reads is kept of a backup, no blocks."""
    backups: dict[str, tuple[Object, ...]] = {}
    metadata = {}
    for number in range(size):
        name = f"vm-{number:03}"
        secrets = {f"{name}-init": {"userdata": USERDATA.format(name)}}
        made = a_vm_backup(
            name, SOURCE, f"{name}-nightly", disks=2, secrets=secrets, networks=[Nic()]
        )
        backups[name] = tuple((key, body) for key, body in made if key.endswith(".cfg"))
        metadata[name] = json.loads(made.metadata[-1][1])
    return Fleet(backups, metadata)


def planned(machines: Fleet, size: int, namespace: str, *, network: str) -> Plan:
    """The plan of the first SIZE machines into NAMESPACE, which exists; one of its own for each
    namespace.
    """
    facts = builders.facts(namespaces={namespace: "Active"}, networks=frozenset({network}))
    mapping = {"namespaces": {SOURCE: namespace}, "networks": {"*": network}}
    chosen = list(machines.metadata.values())[:size]
    plan = builders.planned(*chosen, on=facts, mapping=mapping, requestId=f"bench-{namespace}")
    wrong = [each.problem.message for each in plan.machines if each.problem]
    if wrong or any(len(each.objects) != OBJECTS for each in plan.machines):
        raise ValueError(
            f"the generated machines make no plan of {OBJECTS} objects each: {wrong[:1]}"
        )
    return plan


def manifests(plan: Plan, machines: Fleet, *, running: bool) -> list[Manifest]:
    """Everything of a plan as it goes to the API server; RUNNING: machines as they end, not as they
    are made, which is halted.
    """
    whole = []
    for each in plan.machines:
        fill = partial(filled, metadata=machines.metadata[each.name])
        last = started(each) if running else each.objects[-1]
        whole += [fill(one) for one in (*each.objects[:-1], last)]
    return whole
