"""The names, labels and annotations of restored objects (contract, section 5)."""

import hashlib

from shared import labels
from shared.models import DNS_LABEL, DNS_NAME, RestorePoint, to_instant

PROTECTED = {"longhorn-system", "harvester-system", "replant"}
PROTECTED_PREFIXES = ("kube-", "cattle-", "fleet-")
"""These namespaces belong to the cluster; a backup may not write there."""
NETWORK = rf"{DNS_LABEL}/{DNS_NAME}"
"""What a network that exists can be called; a backup may say anything."""


def origin(point: RestorePoint) -> dict[str, str]:
    return {
        labels.ORIGIN_CLUSTER: point.cluster,
        labels.ORIGIN_FINGERPRINT: point.fingerprint or "",
        labels.ORIGIN_TAKEN_AT: to_instant(point.taken_at),
        labels.ORIGIN_RESTORE_POINT: point.id,
    }


def snapshot(restore_id: str, namespace: str, claim: str) -> str:
    return f"replant-{restore_id}-{hashlib.sha256(f'{namespace}/{claim}'.encode()).hexdigest()[:8]}"


def secret(restore_id: str, name: str) -> str:
    """Its own for each restore, so that a name that is taken can only be taken by us."""
    return f"{name}-{restore_id.removeprefix('r-')[:8]}"


def protected(namespace: str) -> bool:
    return namespace in PROTECTED or namespace.startswith(PROTECTED_PREFIXES)


def existing_key(kind: str, namespace: str, name: str) -> str:
    return f"{kind}/{namespace}/{name}"
