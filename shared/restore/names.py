"""The names, labels and annotations of restored objects (contract, section 5)."""

import hashlib
from typing import Any

from shared.models import DNS_LABEL, DNS_NAME, RestorePoint, to_instant

MANAGED_BY = {"app.kubernetes.io/managed-by": "replant"}
RESTORE_LABEL = "replant.dev/restore"
ORIGIN_CLUSTER = "backup.origin.cluster"
PROTECTED = {"longhorn-system", "harvester-system", "replant"}
PROTECTED_PREFIXES = ("kube-", "cattle-", "fleet-")
"""These namespaces belong to the cluster; a backup may not write there."""
NETWORK = rf"{DNS_LABEL}/{DNS_NAME}"
"""What a network that exists can be called; a backup may say anything."""


def labels(restore_id: str) -> dict[str, str]:
    return MANAGED_BY | {RESTORE_LABEL: restore_id}


def origin(point: RestorePoint) -> dict[str, str]:
    return {
        ORIGIN_CLUSTER: point.cluster,
        "backup.origin.fingerprint": point.fingerprint or "",
        "backup.origin.taken-at": to_instant(point.taken_at),
        "backup.origin.restore-point": point.id,
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


def dig(value: Any, *path: str | int) -> Any:
    """The value at a path of a JSON document; None when anything on the way is absent."""
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value
