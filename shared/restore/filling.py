"""A planned object -> the manifest for the API server: with its secret values and its owner."""

import copy
from collections.abc import Mapping
from typing import Any

from shared.errors import Refused
from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.models.restore_plans import Fill, MachinePlan, Path, PlannedObject, Rewrite

Manifest = dict[str, Any]

OF_STACK = "replant.dev/stack"
"""Of what fills are taken from: what is this stack's own, and in no backup."""

IMPORT_KEYS = {"accessKeyId": "AWS_ACCESS_KEY_ID", "secretKey": "AWS_SECRET_ACCESS_KEY"}
"""What CDI (doc/datavolumes.md) and a secret of ours call the keys of an account."""


def fill(
    planned: PlannedObject, metadata: Mapping[str, Any], rewrite: Rewrite | None = None
) -> Manifest:
    """The whole manifest: never to be logged or kept. METADATA is the backup's document, REWRITE
    the machine's rule.

    Raises Refused when the backup lacks a value that the plan counts on.
    """
    if not planned.fills:
        return planned.manifest
    manifest = copy.deepcopy(planned.manifest)
    for each in planned.fills:
        holder = dig(manifest, *each.to[:-1])
        value = _value(planned, metadata, each.source)
        holder[each.to[-1]] = _changed(each, value, rewrite)
    return manifest


def complete(
    planned: PlannedObject, machine: MachinePlan, metadata: Mapping[str, Any], uid: str | None
) -> Manifest:
    """The whole manifest, with the machine of that UID as owner where the plan says so.

    Raises Refused as `fill` does.
    """
    manifest = fill(planned, metadata, machine.rewrite)
    if not planned.owned or uid is None:
        return manifest
    owner = {
        "apiVersion": KINDS["VirtualMachine"].api_version,
        "kind": "VirtualMachine",
        "name": machine.name,
        "uid": uid,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}


def labelled(manifest: Manifest, labels: Mapping[str, str]) -> Manifest:
    """The manifest with more labels."""
    if not labels:
        return manifest
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "labels": {**metadata["labels"], **labels}}}


def of_stack(planned: PlannedObject) -> bool:
    """Whether it holds values of this stack, which only disks need that are made."""
    return any(each.source[0] == OF_STACK for each in planned.fills)


def find_value(metadata: Mapping[str, Any], source: Path) -> Any:
    """The value that a fill takes from a backup's metadata, None where there is none any more.

    Go writes null for an empty value: a key that is there with null is an empty text.
    """
    value = dig(metadata, *source)
    holder = dig(metadata, *source[:-1])
    if value is None and isinstance(holder, dict) and source[-1] in holder:
        return ""
    return value


def _changed(fill: Fill, value: Any, how: Rewrite | None) -> Any:
    if fill.change is None or how is None:
        return value
    # Few restores change addresses; the others start without all that this needs.
    from shared.restore.rewriting import rewrite

    return rewrite(value, fill.change, how).text


def _value(planned: PlannedObject, metadata: Mapping[str, Any], source: Path) -> Any:
    value = find_value(metadata, source)
    if value is None:
        path = ".".join(map(str, source))
        raise Refused(
            f"{planned.subject}: {path} is no longer in the backup's metadata. Start a new restore."
        )
    return value
