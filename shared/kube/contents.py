"""How many objects of each kind a namespace holds: counted by the cluster itself, so that nobody
reads them, least of all its Secrets.

A ResourceQuota makes kube-controller-manager count what it limits, of any kind (kubernetes
pkg/controller/resourcequota). The limits are so high that it limits nothing.
"""

from collections.abc import Callable
from contextlib import suppress
from math import ceil

from shared import labels
from shared.errors import AlreadyExists, Conflict
from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.kube.client import TargetCluster
from shared.quantities import number

NO_LIMIT = str(10**9)
PREFIX = "count/"
UNCOUNTED = frozenset({"events", "events.events.k8s.io"})
"""Kubernetes counts no events: they go by themselves."""


def count(
    target: TargetCluster,
    namespace: str,
    restore_id: str,
    kinds: frozenset[str],
    *,
    wait: Callable[[], bool],
) -> dict[str, int]:
    """By kind; one that is not in it was not counted, and 0 of what goes by itself. WAIT pauses and
    tells whether to look again.

    The quota is taken away again, whoever wrote it.
    """
    name = f"replant-{restore_id}-count"
    kinds -= UNCOUNTED
    manifest = {
        "apiVersion": KINDS["ResourceQuota"].api_version,
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": namespace, "labels": labels.of_restore(restore_id)},
        "spec": {"hard": {f"{PREFIX}{kind}": NO_LIMIT for kind in sorted(kinds)}},
    }
    with suppress(AlreadyExists):  # of a run that broke off
        target.create(manifest)
    counted = _read(target, namespace, name)
    while kinds - counted.keys() and wait():
        counted = _read(target, namespace, name)
    found = target.get("ResourceQuota", namespace, name)
    if found is not None:
        with suppress(Conflict):  # another client's by now
            target.delete("ResourceQuota", namespace, name, uid=found["metadata"].get("uid", ""))
    return counted | dict.fromkeys(UNCOUNTED, 0)


def _read(target: TargetCluster, namespace: str, name: str) -> dict[str, int]:
    used = dig(target.get("ResourceQuota", namespace, name), "status", "used")
    counts = used.items() if isinstance(used, dict) else ()
    return {str(kind).removeprefix(PREFIX): ceil(number(said)) for kind, said in counts}
