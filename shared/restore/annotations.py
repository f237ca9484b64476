"""Which labels and annotations of a backup's machines and claims come along.

Three kinds of writers: people, whose keys say nothing to a cluster; the source's controllers, whose
notes are about the source; and whoever wants a controller of the target to act.
"""

from typing import Any

from shared import strict_json
from shared.restore.rules import (
    At,
    Part,
    Rule,
    entries,
    foreign,
    keep,
    secret,
    stale,
)

SOURCE_NOTES = (
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
"""Labels and annotations that the source's controllers wrote about the source: every machine has
some, and on any other cluster they are wrong or stale."""

SYSTEM_DOMAINS = (
    "kubernetes.io",
    "k8s.io",
    "kubevirt.io",
    "harvesterhci.io",
    "longhorn.io",
    "cncf.io",
    "cattle.io",  # Rancher deletes what one of its sets claims and its records do not have;
    "argoproj.io",  # so do Argo CD, Flux and Helm
    "fluxcd.io",
    "helm.sh",
    "istio.io",
    "openshift.io",
    "projectcalico.org",
)
"""Controllers act on labels and annotations of these domains and of those below them: only the ones
that are named here are taken. A key of any other domain, or of none, is a person's."""

LABEL_DOMAINS = (
    "harvesterhci.io",
    "vm.kubevirt.io",
    "template.kubevirt.io",
    "instancetype.kubevirt.io",
    "app.kubernetes.io",
)
_KUBEVIRT_LABELS = frozenset(f"kubevirt.io/{name}" for name in ("domain", "os", "size", "vm"))
IMPORTER_LABELS = (
    ("app", "containerized-data-importer"),  # CDI would take the claim for its own and fill it
    ("app.kubernetes.io/component", "storage"),
)

_OF_MACHINES = frozenset(
    f"harvesterhci.io/{name}"
    for name in (
        "enableCPUAndMemoryHotplug",
        "reservedMemory",
        "vmRunStrategy",
        "volumeClaimTemplates",  # which with_claim_templates makes anew
    )
)
_OF_CLAIMS = frozenset({"harvesterhci.io/imageId"})
_OF_INSTANCES = frozenset(
    f"harvesterhci.io/{name}"
    for name in (
        "diskNames",
        "dynamic-ssh-key-names",  # in which with_secrets renames the Secrets
        "waitForLeaseInterfaceNames",
    )
)
KEY_PAIRS = "harvesterhci.io/sshNames"
IGNITION = "kubevirt.io/ignitiondata"
MIGHT_ACT = "controllers of the target might act on them"


def _label(key: str, value: Any) -> Rule:
    if key.startswith(SOURCE_NOTES) or (key, value) in IMPORTER_LABELS:
        return stale
    if key in _KUBEVIRT_LABELS or _lies_in(LABEL_DOMAINS, key) or not _lies_in(SYSTEM_DOMAINS, key):
        return keep
    return foreign


def _annotation_of_machine(key: str, value: Any) -> Rule:
    return keep if key in _OF_MACHINES else _annotation_of_people(key)


def _annotation_of_claim(key: str, value: Any) -> Rule:
    return keep if key in _OF_CLAIMS else _annotation_of_people(key)


def _annotation_of_people(key: str) -> Rule:
    """Free text, into which people write anything."""
    if key.startswith(SOURCE_NOTES):
        return stale
    return foreign if _lies_in(SYSTEM_DOMAINS, key) else secret


def _annotation_of_instance(key: str, value: Any) -> Rule:
    """KubeVirt hands these on to the pod that the machine runs in, where admission webhooks, CNI
    plugins and KubeVirt itself (hooks.kubevirt.io/hookSidecars) act on them: nobody's are taken.
    """
    if key == KEY_PAIRS:
        return _key_pairs
    if key in _OF_INSTANCES:
        return keep
    if key == IGNITION:
        return secret
    return stale if key.startswith(SOURCE_NOTES) else foreign


def _key_pairs(value: Any, at: At) -> Part:
    """A list of `namespace/name`: Harvester's pages show the machine's keys by it."""
    try:
        iter(strict_json.parse(value.encode()))
    except (ValueError, TypeError, AttributeError):
        return Part()  # broken
    return Part(value)


def _lies_in(domains: tuple[str, ...], key: str) -> bool:
    domain, slash, _ = key.partition("/")
    return bool(slash) and any(f".{domain}".endswith(f".{each}") for each in domains)


LABELS = entries(_label, MIGHT_ACT)
OF_MACHINES = entries(_annotation_of_machine, MIGHT_ACT)
OF_CLAIMS = entries(_annotation_of_claim, MIGHT_ACT)
OF_INSTANCES = entries(_annotation_of_instance, MIGHT_ACT)
