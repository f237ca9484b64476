"""The names, labels and annotations of restored objects (contract, section 5)."""

import hashlib

from shared import labels
from shared.models.base import to_instant
from shared.models.restore_points import RestorePoint

SYSTEM_PREFIXES = (
    "kube-",  # Kubernetes keeps these for itself
    "cattle-",  # Rancher and what Harvester takes from it
    "fleet-",
    "cluster-fleet-",
    "rancher-",
    "harvester-",
    "longhorn-",
    "calico-",
    "tigera-",
    "istio-",
    "openshift-",
)
SYSTEM_SUFFIXES = (
    "-system",  # what kubebuilder names the namespace of an operator, and most add-ons follow
    "-operator",
    "-operators",
)
SYSTEM_NAMES = frozenset(
    {
        "argocd",
        "cdi",
        "cert-manager",
        "external-secrets",
        "forklift",
        "kubevirt",
        "kyverno",
        "linkerd",
        "local",  # Rancher's own cluster
        "local-path-storage",
        "neuvector",
        "olm",
        "openshift",
        "operators",
        "replant",  # where our service account lives: docs/target-access.yaml
        "rook-ceph",
        "traefik",
        "vault",
        "velero",
    }
)
"""Namespaces that run the target itself, by the names that their makers' manifests give them. A
machine in one of them is a neighbour of the cluster's own credentials: none is restored there."""

LONGEST_NAME = 253


def origin(point: RestorePoint) -> dict[str, str]:
    return {
        labels.ORIGIN_CLUSTER: point.cluster,
        labels.ORIGIN_FINGERPRINT: point.fingerprint or "",
        labels.ORIGIN_TAKEN_AT: to_instant(point.taken_at),
        labels.ORIGIN_RESTORE_POINT: point.id,
    }


def of_disk(restore_id: str, namespace: str, claim: str) -> str:
    """Of what a claim's data is made of: a snapshot and its content, or Longhorn's volume, whose
    name has at most 40 characters (longhorn-manager datastore, NameMaximumLength).
    """
    return f"replant-{restore_id}-{hashlib.sha256(f'{namespace}/{claim}'.encode()).hexdigest()[:8]}"


def isolation(restore_id: str, namespace: str, vm: str) -> str:
    """Of the policy that cuts a machine off."""
    return of_disk(restore_id, namespace, vm)


def secret(restore_id: str, name: str) -> str:
    """Its own for each restore, so that a name that is taken can only be taken by us.

    A name that the suffix makes too long for Kubernetes is cut, and told apart by a hash instead.
    """
    suffix = "-" + restore_id.removeprefix("r-")[:8]
    if len(name) + len(suffix) > LONGEST_NAME:
        suffix = f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}{suffix}"
        name = name[: LONGEST_NAME - len(suffix)].rstrip(".-")
    return name + suffix


def protected(namespace: str) -> bool:
    """Whether the namespace belongs to the target cluster itself."""
    if namespace in SYSTEM_NAMES:
        return True
    return namespace.startswith(SYSTEM_PREFIXES) or namespace.endswith(SYSTEM_SUFFIXES)
