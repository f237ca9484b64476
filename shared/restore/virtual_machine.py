"""What was admitted of a backup's machine -> the VirtualMachine to make: one small change a
function, each with its reason.

Every function takes and returns a whole VirtualMachine manifest and changes nothing it was given.
"""

import copy
import hashlib
import json
from collections.abc import Iterable
from itertools import product
from typing import Any
from uuid import UUID, uuid5

from shared import strict_json
from shared.jsonpath import dig
from shared.models.mapping import POD_NETWORK, Mac, Mapping
from shared.models.restore_points import Volume
from shared.restore.nodes import REQUIRED, own_terms
from shared.restore.rules import INSTANCE

Manifest = dict[str, Any]

HALTED = "Halted"
MANUAL = "Manual"
RUN_STRATEGY = "harvesterhci.io/vmRunStrategy"
RUN_STRATEGIES = ("Always", "Manual", "Once", "RerunOnFailure")
"""With which a machine can be started."""

HOTPLUG = "harvesterhci.io/enableCPUAndMemoryHotplug"
DERIVED = {
    "cpu": (("resources", "requests", "cpu"),),
    "memory": (("resources", "requests", "memory"), ("memory", "guest"), ("cpu", "maxSockets")),
}
"""What of a domain Harvester's webhook sets by each of its limits."""

FIRMWARE_UUIDS = UUID("6a1a24a1-4061-4607-8bf4-a3963d0c5895")
"""KubeVirt's own namespace of them."""

NAME_LABELS = (
    "harvesterhci.io/vmName",
    "kubevirt.io/domain",
    "kubevirt.io/vm",
    "vm.kubevirt.io/name",
)
"""Labels whose value is the name of their machine."""

LONGEST_LABEL = 63
PROBED = {"initialDelaySeconds": 5, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3}
"""How a drill's probe asks: often, since the time until it answers is measured."""

CLAIM_TEMPLATES = "harvesterhci.io/volumeClaimTemplates"
CLAIM_FIELDS = ("accessModes", "volumeMode", "storageClassName")
CLOUD_INIT = ("cloudInitNoCloud", "cloudInitConfigDrive")
SSH_KEYS = "harvesterhci.io/dynamic-ssh-key-names"
SECRET_REFERENCES = ("secretRef", "networkDataSecretRef")


def not_started(vm: Manifest, run_strategy: str) -> Manifest:
    """Halted until its disks are there; RUN_STRATEGY is what the source had. One that a person
    starts has it at once. `running`, the older form of runStrategy, excludes it.
    """
    spec = {k: v for k, v in vm["spec"].items() if k not in ("running", "dataVolumeTemplates")}
    strategy = MANUAL if run_strategy == MANUAL else HALTED
    return {
        **vm,
        "metadata": _noting_run_strategy(vm["metadata"], run_strategy),
        "spec": {**spec, "runStrategy": strategy},
    }


def without_overcommit(vm: Manifest) -> Manifest:
    """Without what the source's Harvester derived from the limits by its own settings: the target's
    webhook derives it anew when the machine is made, and afterwards only from other limits.
    """
    limits = dig(vm, *INSTANCE, "domain", "resources", "limits") or {}
    if is_hotplugged(vm) or not limits:
        return vm
    changed = copy.deepcopy(vm)
    domain = changed["spec"]["template"]["spec"]["domain"]
    for limit, derived in DERIVED.items():
        if limits.get(limit):
            for *path, field in derived:
                # What is empty then stays: the webhook writes into it
                (dig(domain, *path) or {}).pop(field, None)
    return changed


def with_names(vm: Manifest, source: str, name: str) -> Manifest:
    """NAME is another than the SOURCE's: labels by which Harvester and KubeVirt find a machine's
    parts follow it. What its guest knows of itself does not, as in Harvester's own restore to a new
    name: a host name that nobody wrote down is written down.
    """
    if name == source:
        return vm
    changed = copy.deepcopy(vm)
    template = changed["spec"]["template"]
    for metadata in (changed["metadata"], template.get("metadata") or {}):
        found = metadata.get("labels") or {}
        found.update({key: name for key in NAME_LABELS if found.get(key) == source})
    if not template["spec"].get("hostname"):
        template["spec"]["hostname"] = source.partition(".")[0][:LONGEST_LABEL]
    return changed


def with_claims(vm: Manifest, renamed: dict[str, str]) -> Manifest:
    """Disks follow their claims."""
    volumes = copy.deepcopy(dig(vm, *INSTANCE, "volumes") or [])
    for volume in volumes:
        claim = dig(volume, "persistentVolumeClaim")
        if claim:
            claim["claimName"] = renamed[claim["claimName"]]
    return _with(vm, "volumes", volumes) if volumes else vm


def with_networks(vm: Manifest, mapping: Mapping, namespace: str) -> Manifest:
    """NAMESPACE is the source's: a network's name without one means that."""
    kept, lost = [], []
    for network in dig(vm, *INSTANCE, "networks") or []:
        name = mapping.network(_full_name(network, namespace))
        if name is None:
            lost.append(network.get("name"))
        else:
            kept.append(_renamed(network, name))
    if not kept and not lost:
        return vm
    return _without_interfaces(_with(vm, "networks", kept), lost)


def with_macs(vm: Manifest, mac: Mac, identity: str) -> Manifest:
    """By IDENTITY derived addresses differ between machines and stay the same between restores."""
    interfaces = dig(vm, *INSTANCE, "domain", "devices", "interfaces") or []
    if mac is Mac.KEEP or not interfaces:
        return vm
    bare = [{k: v for k, v in interface.items() if k != "macAddress"} for interface in interfaces]
    if mac is Mac.DERIVE:
        bare = [
            {**each, "macAddress": derived_mac(f"{identity}/{each.get('name')}")} for each in bare
        ]
    changed = copy.deepcopy(vm)
    changed["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"] = bare
    return changed


def derived_mac(identity: str) -> str:
    """A locally administered unicast address (IEEE 802: second bit of the first byte set, first bit
    clear).
    """
    digest = hashlib.sha256(identity.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def with_firmware_uuid(vm: Manifest, name: str) -> Manifest:
    """The UUID that a machine of that NAME ran with, where nobody wrote one down: guests are
    licensed and recognised by it. KubeVirt derived it until 1.6, which gives a new machine a random
    one.
    """
    domain = dig(vm, *INSTANCE, "domain")
    if domain is None or dig(domain, "firmware", "uuid"):
        return vm
    firmware = {**(domain.get("firmware") or {}), "uuid": str(uuid5(FIRMWARE_UUIDS, name))}
    return _with(vm, "domain", {**domain, "firmware": firmware})


def without_source_affinity(vm: Manifest) -> Manifest:
    """Harvester adds node labels of the source's networks; its webhook on the target adds the right
    ones again.
    """
    affinity = dig(vm, *INSTANCE, "affinity")
    if not isinstance(dig(affinity, "nodeAffinity", REQUIRED, "nodeSelectorTerms"), list):
        return vm
    changed = copy.deepcopy(affinity)
    if terms := own_terms(affinity):
        changed["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] = terms
    else:
        del changed["nodeAffinity"][REQUIRED]
    return _with(vm, "affinity", changed)


def with_instance_label(vm: Manifest, label: str, value: str) -> Manifest:
    """KubeVirt gives it to the instance, and to the pod that this runs in."""
    vm = copy.deepcopy(vm)
    metadata = vm["spec"]["template"].setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), label: value}
    return vm


def with_readiness_probe(vm: Manifest, tcp: int | None, http: str | None) -> Manifest:
    """The instance is ready when the port TCP takes a connection, or when HTTP (`http://:8080/x`)
    answers well; in place of the probe that it had.
    """
    asks: dict[str, Any] = {"tcpSocket": {"port": tcp}}
    if http is not None:
        scheme, _, rest = http.partition("://:")
        port, slash, path = rest.partition("/")
        get = {"scheme": scheme.upper(), "port": int(port), "path": slash + path or "/"}
        asks = {"httpGet": get}
    vm = copy.deepcopy(vm)
    vm["spec"]["template"]["spec"]["readinessProbe"] = PROBED | asks
    return vm


def with_secrets(vm: Manifest, renamed: dict[str, str]) -> Manifest:
    """References to the backup's secrets follow their new names."""
    spec = copy.deepcopy(dig(vm, *INSTANCE) or {})
    for reference, key in _secret_references(spec):
        reference[key] = renamed.get(reference[key], reference[key])
    template = {**(vm["spec"].get("template") or {}), "spec": spec}
    template |= _with_ssh_keys(template, renamed)
    return {**vm, "spec": {**vm["spec"], "template": template}}


def with_claim_templates(vm: Manifest, claims: Iterable[Manifest]) -> Manifest:
    """Harvester's own note of the claims, made of those that are restored and of nothing else.

    Harvester acts on it: it makes a claim of each template that has none, with whatever data
    source or image, grows one that is smaller, and moves a disk to the claim that a template names.
    """
    templates = [_claim_template(claim) for claim in claims]
    note = json.dumps(templates, separators=(",", ":"))
    annotations = {**vm["metadata"].get("annotations", {}), CLAIM_TEMPLATES: note}
    return {**vm, "metadata": {**vm["metadata"], "annotations": annotations}}


def with_overlays(vm: Manifest, claims: Iterable[str]) -> Manifest:
    """Disks on these claims are only read; what the machine writes lies over them while it runs."""
    claims = set(claims)
    volumes = [
        _overlaid(each) if dig(each, "persistentVolumeClaim", "claimName") in claims else each
        for each in dig(vm, *INSTANCE, "volumes") or []
    ]
    return _with(vm, "volumes", volumes)


def _overlaid(volume: dict[str, Any]) -> dict[str, Any]:
    claim = {"claimName": volume["persistentVolumeClaim"]["claimName"], "readOnly": True}
    return {"name": volume["name"], "ephemeral": {"persistentVolumeClaim": claim}}


def one_per_claim(volumes: Iterable[Volume]) -> tuple[Volume, ...]:
    """The volumes whose claims are to be made: KubeVirt lets two disks of a machine be on one
    claim, and its backup then names that claim twice.
    """
    first: dict[str, Volume] = {}
    for volume in volumes:
        first.setdefault(volume.claim, volume)
    return tuple(first.values())


def _noting_run_strategy(metadata: Manifest, run_strategy: str) -> Manifest:
    """Harvester's webhook makes of each start of a halted machine what this annotation says, and
    RerunOnFailure where it says nothing. A halted source's says how it ran before.
    """
    annotations = dict(metadata.get("annotations", {}))
    if run_strategy != HALTED:
        annotations[RUN_STRATEGY] = run_strategy
    elif annotations.get(RUN_STRATEGY) not in RUN_STRATEGIES:
        annotations.pop(RUN_STRATEGY, None)
    return {**metadata, "annotations": annotations}


def is_hotplugged(vm: Manifest) -> bool:
    """Whether people set memory and sockets apart from the limits, which are then the most."""
    return str(dig(vm, "metadata", "annotations", HOTPLUG)).lower() == "true"


def _secret_references(spec: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every place that may name a secret: the mapping, and the key of the name in it."""
    cloud_init = product(spec.get("volumes") or [], CLOUD_INIT, SECRET_REFERENCES)
    credentials = product(spec.get("accessCredentials") or [], ("sshPublicKey", "userPassword"))
    places = [(dig(volume, kind, field), "name") for volume, kind, field in cloud_init]
    for volume in spec.get("volumes") or []:
        places.append((dig(volume, "secret"), "secretName"))
        places.append((dig(volume, "sysprep", "secret"), "name"))
    places += [
        (dig(credential, kind, "source", "secret"), "secretName")
        for credential, kind in credentials
    ]
    return [
        (reference, key)
        for reference, key in places
        if isinstance(reference, dict) and key in reference
    ]


def _with_ssh_keys(template: Manifest, renamed: dict[str, str]) -> Manifest:
    """The template's metadata, in which Harvester's UI notes the SSH keys of each secret."""
    annotations = dict(dig(template, "metadata", "annotations") or {})
    if SSH_KEYS not in annotations:
        return {}
    keys = _ssh_keys(annotations.pop(SSH_KEYS), renamed)
    if keys:
        annotations[SSH_KEYS] = json.dumps(keys, separators=(",", ":"))
    return {"metadata": {**template["metadata"], "annotations": annotations}}


def _ssh_keys(note: Any, renamed: dict[str, str]) -> dict[str, list[str]]:
    """The names of keys by the new names of those secrets that the backup holds; none of a note
    that is broken.
    """
    try:
        return {
            renamed[secret]: [str(name) for name in names]
            for secret, names in strict_json.parse(note.encode()).items()
            if secret in renamed and isinstance(names, list)
        }
    except (ValueError, AttributeError):
        return {}


def _full_name(network: dict[str, Any], namespace: str) -> str:
    name = dig(network, "multus", "networkName")
    if not name:
        return POD_NETWORK
    return name if "/" in name else f"{namespace}/{name}"


def _renamed(network: dict[str, Any], name: str) -> dict[str, Any]:
    if name == POD_NETWORK:
        return network
    return {**network, "multus": {**network["multus"], "networkName": name}}


def _without_interfaces(vm: Manifest, names: list[Any]) -> Manifest:
    """KubeVirt gives a machine without any interface one in the pod's network, unless told not
    to.
    """
    if not names:
        return vm
    changed = copy.deepcopy(vm)
    devices = changed["spec"]["template"]["spec"]["domain"].setdefault("devices", {})
    interfaces = devices.get("interfaces") or []
    devices["interfaces"] = [each for each in interfaces if each.get("name") not in names]
    if not devices["interfaces"]:
        devices["autoattachPodInterface"] = False
    return changed


def _claim_template(claim: Manifest) -> Manifest:
    spec = {key: claim["spec"][key] for key in CLAIM_FIELDS if key in claim["spec"]}
    storage = _quantity(claim["spec"]["resources"]["requests"]["storage"])
    spec["resources"] = {"requests": {"storage": storage}}
    return {"metadata": {"name": claim["metadata"]["name"]}, "spec": spec}


def _quantity(size: str) -> str:
    """As people write it where it is whole: Harvester's UI shows the text."""
    if size.isdecimal() and int(size) % 2**30 == 0:
        return f"{int(size) // 2**30}Gi"
    return size


def _with(vm: Manifest, field: str, value: Any) -> Manifest:
    template = vm["spec"]["template"]
    return {
        **vm,
        "spec": {
            **vm["spec"],
            "template": {**template, "spec": {**template["spec"], field: value}},
        },
    }
