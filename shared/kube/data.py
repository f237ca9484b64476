"""Claims of a target cluster -> how far their data is: Longhorn's volumes and engines of those that
are bound, the newest warning about those that are not.

A claim is bound before its data is there (longhorn-manager csi/controller_server.go).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.jsonpath import dig
from shared.kube.client import TargetCluster
from shared.kube.parallel import each_of
from shared.kube.resources import Object, Objects
from shared.labels import LONGHORN_NAMESPACE

OF_VOLUME = "longhornvolume"
"""The label with a volume's name, on itself and on its engines (longhorn-manager types)."""

AT_ONCE = 100  # volumes named in one request: its URL stays below 8 KiB
VOLUME_NAME = re.compile("[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
"""What a label can hold: a name of any other form would bend the selector."""

WARNINGS = "involvedObject.kind=PersistentVolumeClaim,type=Warning"

Live = dict[tuple[str, str, str], Object]


def list_data(target: TargetCluster, claims: Iterable[Mapping[str, Any]]) -> Live:
    """By kind, namespace and name: a `Volume` and an `Engine` have the volume's name, an `Event`
    that of its claim.
    """
    claims = list(claims)
    bound = {str(dig(each, "spec", "volumeName") or "") for each in claims}
    volumes = _list_volumes(target, bound)
    restoring = [name for name, each in volumes.items() if dig(each, "status", "restoreRequired")]
    found: Live = {("Volume", LONGHORN_NAMESPACE, name): each for name, each in volumes.items()}
    for each in _list_of(target, "Engine", restoring):
        found["Engine", LONGHORN_NAMESPACE, str(dig(each, "spec", "volumeName"))] = each
    pending = {
        each["metadata"]["namespace"] for each in claims if dig(each, "status", "phase") != "Bound"
    }
    for namespace, events in each_of(pending, lambda name: _list_warnings(target, name)).items():
        for name, event in _newest(events):
            found["Event", namespace, name] = event
    return found


def _list_volumes(target: TargetCluster, names: Iterable[str]) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in _list_of(target, "Volume", names)}


def _list_of(target: TargetCluster, kind: str, names: Iterable[str]) -> Iterator[Object]:
    """The objects of volumes of those names: asked for together, since each look asks again."""
    wanted = sorted(name for name in set(names) if VOLUME_NAME.fullmatch(name))
    for start in range(0, len(wanted), AT_ONCE):
        selector = f"{OF_VOLUME} in ({','.join(wanted[start : start + AT_ONCE])})"
        yield from target.list(kind, LONGHORN_NAMESPACE, labels=selector)


def _list_warnings(target: TargetCluster, namespace: str) -> Objects:
    return target.list("Event", namespace, fields=WARNINGS)


def _newest(events: Objects) -> Iterator[tuple[str, Object]]:
    """By claim; an event that is repeated keeps its name and moves its time."""
    for each in sorted(events, key=lambda each: str(each.get("lastTimestamp") or "")):
        yield str(dig(each, "involvedObject", "name")), each
