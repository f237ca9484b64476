"""Claims of a target cluster -> how far their data is: Longhorn's volumes and engines of those that
are bound, with the images below them, and the newest warning about those that are not.

A claim is bound before its data is there (longhorn-manager csi/controller_server.go).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared import labels
from shared.jsonpath import dig
from shared.kube.client import TargetCluster
from shared.kube.labelled import list_labelled
from shared.kube.parallel import each_of
from shared.kube.resources import Object, Objects
from shared.labels import LONGHORN_NAMESPACE

OF_VOLUME = "longhornvolume"
"""The label with a volume's name, on itself and on its engines (longhorn-manager types)."""

WARNINGS = "involvedObject.kind=PersistentVolumeClaim,type=Warning"

Live = dict[tuple[str, str, str], Object]


def list_data(target: TargetCluster, claims: Iterable[Mapping[str, Any]]) -> Live:
    """By kind, namespace and name: a `Volume` and an `Engine` have the volume's name, an `Event`
    that of its claim; a `BackingImage` its own, where data waits that lies over one.
    """
    claims = list(claims)
    bound = {str(dig(each, "spec", "volumeName") or "") for each in claims}
    volumes = {
        each["metadata"]["name"]: each for each in list_labelled(target, "Volume", OF_VOLUME, bound)
    }
    restoring = [name for name, each in volumes.items() if dig(each, "status", "restoreRequired")]
    # Of one that stood by, its engine says which backup it holds.
    taken = [
        name for name, each in volumes.items() if dig(each, "metadata", "annotations", labels.HOLDS)
    ]
    found: Live = {("Volume", LONGHORN_NAMESPACE, name): each for name, each in volumes.items()}
    for each in list_labelled(target, "Engine", OF_VOLUME, {*restoring, *taken}):
        found["Engine", LONGHORN_NAMESPACE, str(dig(each, "spec", "volumeName"))] = each
    over = {str(dig(volumes[name], "spec", "backingImage") or "") for name in restoring} - {""}
    if over:
        for each in target.list("BackingImage", LONGHORN_NAMESPACE):
            found["BackingImage", LONGHORN_NAMESPACE, each["metadata"]["name"]] = each
    pending = {
        each["metadata"]["namespace"] for each in claims if dig(each, "status", "phase") != "Bound"
    }
    for namespace, events in each_of(pending, lambda name: _list_warnings(target, name)).items():
        for name, event in _newest(events):
            found["Event", namespace, name] = event
    return found


def _list_warnings(target: TargetCluster, namespace: str) -> Objects:
    return target.list("Event", namespace, fields=WARNINGS)


def _newest(events: Objects) -> Iterator[tuple[str, Object]]:
    """By claim; an event that is repeated keeps its name and moves its time."""
    for each in sorted(events, key=lambda each: str(each.get("lastTimestamp") or "")):
        yield str(dig(each, "involvedObject", "name")), each
