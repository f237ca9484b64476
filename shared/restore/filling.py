"""A planned object -> the manifest for the API server: with its secret values, and with its owner."""

import copy
from collections.abc import Mapping
from typing import Any

from shared.errors import Refused
from shared.jsonpath import dig, holds
from shared.models import MachinePlan, PlannedObject

Manifest = dict[str, Any]


def fill(planned: PlannedObject, metadata: Mapping[str, Any]) -> Manifest:
    """The whole manifest: never to be logged or kept. METADATA is the backup's document.

    Raises Refused when the backup lacks a value that the plan counts on.
    """
    if not planned.fills:
        return planned.manifest
    manifest = copy.deepcopy(planned.manifest)
    for each in planned.fills:
        holder = dig(manifest, *each.to[:-1])
        holder[each.to[-1]] = _value(planned, metadata, each.source)
    return manifest


def own(manifest: Manifest, machine: MachinePlan, uid: str) -> Manifest:
    """The manifest of an object that goes when the machine of that UID goes."""
    owner = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "name": machine.name,
        "uid": uid,
    }
    metadata = {**manifest["metadata"], "ownerReferences": [owner]}
    return {**manifest, "metadata": metadata}


def _value(
    planned: PlannedObject, metadata: Mapping[str, Any], source: tuple[str | int, ...]
) -> Any:
    if not holds(metadata, *source):
        path = ".".join(map(str, source))
        raise Refused(
            f"{planned.subject}: {path} is no longer in the backup's metadata. Start a new restore."
        )
    # Go writes null for an empty value of a Secret.
    value = dig(metadata, *source)
    return "" if value is None else value
