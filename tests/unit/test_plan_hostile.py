"""Metadata that the catalogue took and that is damaged elsewhere: it stops its own machine, never
the planning.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from local.samples.builders import a_metadata, a_point, planned
from shared.errors import Unreadable
from shared.models.restore_points import RestorePoint
from shared.restore.plan import Selected

WRONG: tuple[Any, ...] = (None, 1, "x", [], {}, [1], ["x"], [{}], {"x": 1})
RICH = {
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "nodeSelector": {"gpu": "yes"},
    "readinessProbe": {"httpGet": {"port": 80, "path": "/"}},
    "priorityClassName": "gold",
    "schedulerName": "default-scheduler",
}


def rich(metadata: dict[str, Any]) -> None:
    """A machine with something in most places of the tables of `allowed`."""
    spec = metadata["vmSourceSpec"]["spec"]
    spec["instancetype"] = {"name": "large", "revisionName": "large-v1"}
    spec["template"]["metadata"]["annotations"] = {"harvesterhci.io/sshNames": "[]"}
    instance = spec["template"]["spec"]
    instance |= RICH
    instance["domain"]["devices"]["filesystems"] = [{"name": "extra", "virtiofs": {}}]
    instance["volumes"].append({"name": "extra", "configMap": {"name": "x"}})
    instance["volumes"].append({"cloudInitNoCloud": {"secretRef": {"name": "others"}}})


DOCUMENT = a_metadata(
    edit=rich,
    secrets={"web01-ci": {"userdata": "a"}, "web01-key": {"key": "b"}},
    cluster_networks=("mgmt",),
    cloud_init="#cloud-config",
)


def paths(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in items:
        yield (*here, key)
        yield from paths(each, (*here, key))


def damaged(path: tuple[str | int, ...], wrong: Any) -> dict[str, Any]:
    document: Any = copy.deepcopy(DOCUMENT)
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = wrong
    return dict(document)


def taken(document: dict[str, Any]) -> RestorePoint | None:
    """The point that the catalogue makes of it; None where it goes to quarantine."""
    try:
        return a_point(document)
    except Unreadable:
        return None


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_any_value_anywhere_in_the_metadata_stops_one_machine_at_most(wrong: Any) -> None:
    documents = [damaged(path, wrong) for path in paths(DOCUMENT)]
    points = [(document, point) for document in documents if (point := taken(document))]
    assert len(points) > len(documents) / 4
    for document, point in points:
        plan = planned(Selected(point, document))
        assert len(plan.machines) == 1
        assert plan.machines[0].objects or plan.machines[0].problem
