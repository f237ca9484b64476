"""A restore point, its metadata and the mapping -> the objects of one machine, in order of
creation.
"""

from collections.abc import Iterable, Iterator

from shared import labels
from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.models.restore_plans import Fill, PlannedObject
from shared.restore import admission, names, sizes, virtual_machine
from shared.restore.strategies.strategy import Strategy
from shared.restore.wanted import Wanted, build_object


def namespace(name: str, restore_id: str) -> PlannedObject:
    metadata = {"name": name, "labels": labels.of_restore(restore_id)}
    return PlannedObject(
        kind="Namespace",
        namespace=None,
        name=name,
        reason="does not exist yet",
        manifest={
            "apiVersion": KINDS["Namespace"].api_version,
            "kind": "Namespace",
            "metadata": metadata,
        },
    )


def objects(wanted: Wanted, strategy: Strategy) -> tuple[PlannedObject, ...]:
    """The disks, the machine, not started, then its Secrets, which the machine owns. A drill's
    machine is cut off from every network before it is there.
    """
    disks: list[PlannedObject] = []
    for volume in virtual_machine.one_per_claim(wanted.point.volumes):
        disks += strategy.make_disk(wanted, volume)
    vm = machine(wanted, disks, overlays=strategy.overlays)
    secrets = (*_secrets(wanted), *strategy.make_secrets(wanted))
    made = (*([] if strategy.stands else disks), vm, *secrets)
    return (_isolation(wanted), *made) if wanted.request.drilled else made


def _isolation(wanted: Wanted) -> PlannedObject:
    """A policy of its own for each machine: so it goes with the machine, holds in a namespace that
    was there before, and cuts off nothing else.
    """
    name = _isolation_name(wanted)
    pods = {"matchLabels": {labels.ISOLATED: name}}
    return build_object(
        wanted,
        "NetworkPolicy",
        name,
        {"spec": {"podSelector": pods, "policyTypes": ["Ingress", "Egress"]}},
        reason="a drill: over its pod's network it reaches nothing, and nothing reaches it",
    )


def _isolation_name(wanted: Wanted) -> str:
    return names.isolation(wanted.restore_id, wanted.namespace, wanted.name)


def _secrets(wanted: Wanted) -> Iterator[PlannedObject]:
    for number, secret in enumerate(dig(wanted.metadata, "secretBackups") or []):
        keys = sorted(secret.get("data") or {})
        source = ("secretBackups", number, "data")
        made = build_object(
            wanted,
            "Secret",
            names.secret(wanted.restore_id, secret["name"]),
            {"type": "Opaque", "data": {}},
            reason=f"{secret['name']} of the source: {', '.join(keys) or 'empty'}",
            fills=tuple(Fill(to=("data", key), source=(*source, key)) for key in keys),
        )
        yield made.model_copy(update={"owned": True})


def machine(
    wanted: Wanted, disks: Iterable[PlannedObject], *, overlays: bool = False
) -> PlannedObject:
    """Over the claims among DISKS; OVERLAYS: they are only read."""
    point, mapping = wanted.point, wanted.mapping
    admitted = admission.machine(wanted.metadata["vmSourceSpec"], admission.brought(point))
    secrets = [secret["name"] for secret in dig(wanted.metadata, "secretBackups") or []]
    vm = virtual_machine.not_started(admitted.manifest, point.machine.run_strategy)
    vm = virtual_machine.without_overcommit(vm)
    vm = sizes.with_sizes(vm, mapping.resources)
    vm = virtual_machine.with_firmware_uuid(vm, point.vm)
    vm = virtual_machine.with_names(vm, point.vm, wanted.name)
    vm = virtual_machine.with_claims(vm, wanted.claims)
    vm = virtual_machine.with_networks(vm, mapping, point.namespace)
    vm = virtual_machine.with_macs(vm, mapping.mac, wanted.identity)
    vm = virtual_machine.without_source_affinity(vm)
    vm = virtual_machine.with_secrets(
        vm, {name: names.secret(wanted.restore_id, name) for name in secrets}
    )
    if drilled := wanted.request.drilled:
        vm = virtual_machine.with_instance_label(vm, labels.ISOLATED, _isolation_name(wanted))
        probe = drilled.probe_of(point.namespace, point.vm)
        vm = virtual_machine.with_readiness_probe(vm, probe.tcp, probe.http) if probe else vm
    claims = [each.manifest for each in disks if each.kind == "PersistentVolumeClaim"]
    if overlays:
        vm = virtual_machine.with_overlays(vm, wanted.claims.values())
        claims = []  # Harvester would grow them, and give them to the machine's copies
    vm = virtual_machine.with_claim_templates(vm, claims)
    return build_object(
        wanted,
        "VirtualMachine",
        wanted.name,
        {"spec": vm["spec"]},
        source=vm["metadata"],
        reason=f"{point.namespace}/{point.vm} of {point.cluster}, {_why_not_started(vm)}",
        fills=admitted.fills,
    )


def _why_not_started(vm: virtual_machine.Manifest) -> str:
    if vm["spec"]["runStrategy"] == virtual_machine.MANUAL:
        return "runStrategy Manual: a person starts it"
    return "halted until its disks are there"
