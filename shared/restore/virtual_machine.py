"""A machine's spec in a backup -> the VirtualMachine to apply: one small change a function, each with its reason.

Every function takes and returns a whole VirtualMachine manifest and changes nothing it was given.
"""

import copy
import hashlib
import json
from itertools import product
from typing import Any

from shared.jsonpath import dig
from shared.models import Fill
from shared.restore.request import Mac, Mapping

Manifest = dict[str, Any]

# Written by the source's controllers about the source: wrong, or stale, on any other cluster.
DROPPED_ANNOTATIONS = (
    "kubectl.kubernetes.io/",
    "kubevirt.io/latest-observed-api-version",
    "kubevirt.io/storage-observed-api-version",
    "network.harvesterhci.io/ips",
    "restore.harvesterhci.io/",
    "harvesterhci.io/mac-address",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "cdi.kubevirt.io/",
    "harvesterhci.io/owned-by",
    "field.cattle.io/",
    "replant.dev/",
    "backup.origin.",
)
CLAIM_TEMPLATES = "harvesterhci.io/volumeClaimTemplates"
NETWORK_AFFINITY = "network.harvesterhci.io/"
SECRET_FIELDS = ("userData", "userDataBase64", "networkData", "networkDataBase64")
CLOUD_INIT = ("cloudInitNoCloud", "cloudInitConfigDrive")
SECRET_REFERENCES = ("secretRef", "networkDataSecretRef")
SPEC = ("spec", "template", "spec")


def kept_annotations(annotations: Any) -> dict[str, str]:
    """What people and programs wrote about the machine itself."""
    return {k: v for k, v in (annotations or {}).items() if not k.startswith(DROPPED_ANNOTATIONS)}


def halted(vm: Manifest) -> Manifest:
    """It starts when its disks are there. `running`, the older form of runStrategy, excludes it."""
    spec = {
        k: v
        for k, v in vm["spec"].items()
        if k not in ("running", "runStrategy", "dataVolumeTemplates")
    }
    return {**vm, "spec": {**spec, "runStrategy": "Halted"}}


def with_networks(vm: Manifest, mapping: Mapping, namespace: str) -> Manifest:
    """NAMESPACE is the source's: a network's name without one means that."""
    networks = [
        _mapped(network, mapping, namespace) for network in dig(vm, *SPEC, "networks") or []
    ]
    return _with(vm, "networks", networks) if networks else vm


def with_macs(vm: Manifest, mac: Mac, identity: str) -> Manifest:
    """IDENTITY makes derived addresses differ between machines and stay the same between restores."""
    interfaces = dig(vm, *SPEC, "domain", "devices", "interfaces") or []
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


def without_source_affinity(vm: Manifest) -> Manifest:
    """Harvester adds node labels of the source's networks; its webhook on the target adds the right
    ones again.
    """
    terms_path = (
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "nodeSelectorTerms",
    )
    terms = dig(vm, *SPEC, *terms_path)
    if not isinstance(terms, list):
        return vm
    cleaned = [_own_term(term) for term in terms]
    changed = copy.deepcopy(vm)
    node = changed["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    if cleaned and all(
        cleaned
    ):  # they are alternatives: one without a condition left means any node
        node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] = cleaned
    else:
        del node["requiredDuringSchedulingIgnoredDuringExecution"]
    return changed


def with_secrets(vm: Manifest, renamed: dict[str, str]) -> Manifest:
    """References to the backup's secrets follow their new names."""
    spec = copy.deepcopy(dig(vm, *SPEC) or {})
    for reference, key in _secret_references(spec):
        reference[key] = renamed.get(reference[key], reference[key])
    return {
        **vm,
        "spec": {**vm["spec"], "template": {**(vm["spec"].get("template") or {}), "spec": spec}},
    }


def with_claim_templates(vm: Manifest, classes: dict[str, str | None]) -> Manifest:
    """Harvester's own note of the claims: its storage classes follow, or its UI would show the
    source's.
    """
    annotations = dict(vm["metadata"].get("annotations", {}))
    if CLAIM_TEMPLATES not in annotations:
        return vm
    templates = _claim_templates(annotations.pop(CLAIM_TEMPLATES), classes)
    if templates is not None:
        annotations[CLAIM_TEMPLATES] = json.dumps(templates, separators=(",", ":"))
    return {**vm, "metadata": {**vm["metadata"], "annotations": annotations}}


def without_inline_secrets(vm: Manifest) -> tuple[Manifest, tuple[Fill, ...]]:
    """Cloud-init written into the spec itself stays out of the plan; it is filled in from the
    backup when applied.
    """
    changed, fills = copy.deepcopy(vm), []
    volumes = dig(changed, *SPEC, "volumes") or []
    for number, kind, field in product(range(len(volumes)), CLOUD_INIT, SECRET_FIELDS):
        source = volumes[number].get(kind)
        if isinstance(source, dict) and source.pop(field, None) is not None:
            place = (*SPEC, "volumes", number, kind, field)
            fills.append(Fill(to=place, source=("vmSourceSpec", *place)))
    return changed, tuple(fills)


def referenced_secrets(vm: Manifest) -> set[str]:
    return {str(reference[key]) for reference, key in _secret_references(dig(vm, *SPEC) or {})}


def _secret_references(spec: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every place that names a secret of which Harvester keeps a copy: the mapping, and the key of
    the name in it.
    """
    cloud_init = product(spec.get("volumes") or [], CLOUD_INIT, SECRET_REFERENCES)
    credentials = product(spec.get("accessCredentials") or [], ("sshPublicKey", "userPassword"))
    places = [(dig(volume, kind, field), "name") for volume, kind, field in cloud_init]
    places += [
        (dig(credential, kind, "source", "secret"), "secretName")
        for credential, kind in credentials
    ]
    return [
        (reference, key)
        for reference, key in places
        if isinstance(reference, dict) and key in reference
    ]


def _mapped(network: dict[str, Any], mapping: Mapping, namespace: str) -> dict[str, Any]:
    name = dig(network, "multus", "networkName")
    if not name:
        return network
    full = name if "/" in name else f"{namespace}/{name}"
    return {**network, "multus": {**network["multus"], "networkName": mapping.network(full)}}


def _own_term(term: dict[str, Any]) -> dict[str, Any] | None:
    expressions = term.get("matchExpressions") or []
    kept = [
        each for each in expressions if not str(each.get("key", "")).startswith(NETWORK_AFFINITY)
    ]
    rest = {k: v for k, v in term.items() if k != "matchExpressions" and v}
    return {**rest, **({"matchExpressions": kept} if kept else {})} or None


def _claim_templates(text: str, classes: dict[str, str | None]) -> list[Any] | None:
    """None for a note that is broken already: Harvester's webhook would refuse the machine for it."""
    try:
        templates = json.loads(text)
        for template in templates:
            if new := classes.get(template["metadata"]["name"]):
                template["spec"]["storageClassName"] = new
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return list(templates)


def _with(vm: Manifest, field: str, value: Any) -> Manifest:
    template = vm["spec"]["template"]
    return {
        **vm,
        "spec": {
            **vm["spec"],
            "template": {**template, "spec": {**template["spec"], field: value}},
        },
    }
