"""A planned machine and the one that stands -> the smallest merge patch that makes the plan true of
it: pure.

The patch adds and changes, and never takes anything away: what the target's webhooks or people have
beside the plan is no difference. Entries of a list are found by their names, and a list that
differs is written as it stands, with the planned values in it, since a merge patch replaces lists
whole. A machine is neither started nor halted, and what tells whose it is stays.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from shared import labels
from shared.validation import listed

Json = dict[str, Any]

OF_THE_MAKER = {*labels.MANAGED_BY, labels.RESTORE}
"""Labels by which a rollback knows what it may delete: an updated machine was made by others."""

TEMPLATES = "harvesterhci.io/volumeClaimTemplates"
"""From it Harvester makes and grows claims, which an update never touches."""

RUNNING = ("runStrategy", "running")
IDENTITY = ("apiVersion", "kind")


def changes(planned: Mapping[str, Any], live: Mapping[str, Any]) -> Json:
    """Empty where the plan is true of what stands already."""
    wanted = copy.deepcopy({key: each for key, each in planned.items() if key not in IDENTITY})
    metadata = wanted.get("metadata", {})
    wanted["metadata"] = {
        "labels": _without(metadata.get("labels"), OF_THE_MAKER),
        "annotations": _without(metadata.get("annotations"), {TEMPLATES}),
    }
    wanted["spec"] = _without(wanted.get("spec"), RUNNING)
    return _changed(wanted, live)


def differ(planned: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Json, str]:
    """The patch, and what it changes."""
    patch = changes(planned, live)
    return patch, paths(patch)


def paths(patch: Mapping[str, Any]) -> str:
    """What it changes, without any value, for these may be secret."""
    return listed(_leaves(patch, ""))


def _without(values: Mapping[str, Any] | None, names: Any) -> Json:
    return {key: each for key, each in (values or {}).items() if key not in names}


def _changed(wanted: Mapping[str, Any], live: Any) -> Json:
    standing = live if isinstance(live, dict) else {}
    found: Json = {}
    for key, value in wanted.items():
        there = standing.get(key)
        if isinstance(value, dict) and (isinstance(there, dict) or not value):
            if inner := _changed(value, there):
                found[key] = inner
        elif isinstance(value, list):
            merged = _merged_list(value, there)
            if merged != there and (merged or there):
                found[key] = merged
        elif value is not None and value != there:
            found[key] = value
    return found


def _merged_list(wanted: list[Any], live: Any) -> list[Any]:
    """The live entries with the planned values in them, then those that are new."""
    standing = live if isinstance(live, list) else []
    if not all(_name(each) for each in [*wanted, *standing]):
        return wanted
    planned = {_name(each): each for each in wanted}
    kept = [_merged(planned.pop(_name(each), {}), each) for each in standing]
    return [*kept, *planned.values()]


def _name(each: Any) -> str | None:
    name = each.get("name") if isinstance(each, dict) else None
    return name if isinstance(name, str) else None


def _merged(wanted: Any, live: Any) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict):
        return live | {key: _merged(value, live.get(key)) for key, value in wanted.items()}
    if isinstance(wanted, list):
        return _merged_list(wanted, live)
    return wanted


def _leaves(patch: Any, path: str) -> Iterator[str]:
    if not isinstance(patch, dict):
        yield path
        return
    for key, value in patch.items():
        yield from _leaves(value, f"{path}.{key}" if path else str(key))
