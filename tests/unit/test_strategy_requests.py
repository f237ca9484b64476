"""What each strategy and mode asks of a target's API server, counted on the fake one: a whole
restore, its plan included. docs/benchmarks.md shows the same figures.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.labels import LONGHORN_NAMESPACE
from tests.fake_cluster import Place
from tests.lab import Lab, a_lab
from tests.unit.test_harvester_strategy import set_target
from tests.unit.test_mount import WHOLE, Folders, folder

Json = dict[str, Any]

PAGE = Path(__file__).parents[2] / "docs/benchmarks.md"
WAYS: dict[str, Json] = {
    "`csi`": {"strategy": "csi"},
    "`longhorn`": {"strategy": "longhorn"},
    "`harvester`": {"strategy": "harvester"},
    "mode `emergency`": {"mode": "emergency"},
    "mode `register`": {"mode": "register"},
    "`mount`": {"mode": "emergency", "strategy": "mount"},
}
MORE = 10
"""Machines beyond the first."""


class Asked(NamedTuple):
    """REQUESTS by method, and the kinds of what was MADE."""

    requests: Counter[str]
    made: Counter[str]


def disks(lab: Lab, vm: str) -> None:
    """What stands already of a machine that is registered."""
    name, size = f"pvc-{vm}", lab.cluster.of("Backup")[f"backup-{vm}-0"]["status"]["volumeSize"]
    url = f"s3://backups@us-east-1/?backup=backup-{vm}-0&volume=pvc-{vm}-0"
    used = {"namespace": "default", "pvcName": f"{vm}-disk-0", "pvName": name, "pvStatus": "Bound"}
    spec, status = {"fromBackup": url, "size": size}, {"kubernetesStatus": used}
    lab.cluster.add("Volume", LONGHORN_NAMESPACE, name, spec=spec, status=status)
    claim = lab.cluster.add(
        "PersistentVolumeClaim", "default", f"{vm}-disk-0", spec={"volumeName": name}
    )
    claim["status"] = {"phase": "Bound", "capacity": {"storage": size}}


def prepare(lab: Lab, vms: Iterable[str], changes: Json) -> list[str]:
    """A restore point of each machine, by its id, and what such a restore needs."""
    if changes.get("strategy") == "mount":
        nas = Folders(lab)
        return [
            nas.write(
                {**WHOLE, "metadata.json": folder(name=vm, namespace="default")},
                below=f"exports/default/{vm}/nightly/",
            ).id
            for vm in vms
        ]
    if changes.get("strategy") == "harvester":
        set_target(lab)
    for vm in vms:
        lab.backup(vm)
        if changes.get("mode") == "register":
            lab.cluster.bind = False
            disks(lab, vm)
    return [f"point-{vm}" for vm in vms]


def asked(number: int, changes: Json) -> Asked:
    with a_lab() as lab:
        vms = [f"vm{each:02}" for each in range(number)]
        ids = prepare(lab, vms, changes)
        requests: Counter[str] = Counter()

        def count(method: str, _: Place) -> None:
            requests[method] += 1

        lab.cluster.before = count
        output = lab.restore(lab.request(*ids, **changes))
        assert output["counts"] == {"ready": number}
        made = (kind for verb, kind, _ in lab.cluster.writes if verb == "create")
        return Asked(requests, Counter(made))


def in_the_page() -> dict[str, list[str]]:
    """The cells of the table by its first one."""
    _, _, table = PAGE.read_text().partition("## Requests to a target\n")
    rows = re.findall(r"^\| (.+?) +\| (.+) \|$", table.partition("\n## ")[0], re.MULTILINE)
    return {name: [each.strip() for each in rest.split("|")] for name, rest in rows}


@pytest.mark.parametrize("way", WAYS)
def test_a_machine_costs_as_many_requests_as_the_page_says(way: str) -> None:
    """With one disk, no Secret and no image; whose data is there at the first look."""
    one, many = asked(1, WAYS[way]), asked(1 + MORE, WAYS[way])
    further = (many.requests.total() - one.requests.total()) / MORE
    objects = len(one.made)
    assert many.made == Counter({kind: 1 + MORE for kind in one.made})
    assert in_the_page()[way] == [
        str(objects),
        str(one.requests.total()),
        f"{further:g}",
        ", ".join(one.made),
    ]


@pytest.mark.parametrize("way", [each for each in WAYS if each != "`harvester`"])
def test_a_further_machine_is_read_in_no_listing_of_its_own(way: str) -> None:
    """But for its backup, which Longhorn has by name; and for what Harvester makes, one by one."""
    one, many = asked(1, WAYS[way]), asked(1 + MORE, WAYS[way])
    reads = MORE if "Volume" in one.made or "VolumeSnapshot" in one.made else 0
    assert many.requests["GET"] - one.requests["GET"] == reads
