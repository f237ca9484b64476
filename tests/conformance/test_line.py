"""The whole line on the real controllers: Harvester backs a machine up, we catalogue, plan and
restore it, and Harvester restores the same backup itself.

Aspects: that our machine runs; every difference between it and Harvester's own, which is either
wanted or a defect.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from local.api import Object
from local.stack import Ended, wait
from tests.conformance.lab import SOURCE, Lab
from tests.conformance.test_backups import NOT_SIMULATED, backup_of, restored_by_harvester
from tests.conformance.test_machines import disk, is_ready, machine, network
from tests.integration.lab_objects import KUBEVIRT, manifest

WANTED = {
    ".metadata.annotations.backup.origin.cluster": "where ours comes from",
    ".metadata.annotations.backup.origin.fingerprint": "where ours comes from",
    ".metadata.annotations.backup.origin.restore-point": "where ours comes from",
    ".metadata.annotations.backup.origin.taken-at": "where ours comes from",
    ".metadata.annotations.restore.harvesterhci.io/last-restore-uid": "Harvester's restore",
    ".metadata.annotations.restore.harvesterhci.io/name": "Harvester's restore",
    ".metadata.annotations.harvesterhci.io/volumeClaimTemplates": "each names its own claim",
    ".metadata.labels.app.kubernetes.io/managed-by": "who made ours",
    ".metadata.labels.replant.dev/restore": "who made ours",
    ".spec.template.metadata.labels.harvesterhci.io/vmName": "theirs has another name",
    ".spec.template.metadata.labels.harvesterhci.io/creator": "Harvester marks its own",
    ".spec.template.spec.domain.devices.interfaces[0].macAddress": "each has one of its own",
    ".spec.template.spec.volumes[0].persistentVolumeClaim.claimName": "each has its own claim",
}
"""Where our machine differs from Harvester's, and why."""

WANTED_OF_CLAIMS = {
    ".metadata.annotations.backup.origin.cluster": "where ours comes from",
    ".metadata.annotations.backup.origin.fingerprint": "where ours comes from",
    ".metadata.annotations.backup.origin.restore-point": "where ours comes from",
    ".metadata.annotations.backup.origin.taken-at": "where ours comes from",
    ".metadata.annotations.restore.harvesterhci.io/name": "Harvester's restore",
    ".metadata.labels.app.kubernetes.io/managed-by": "who made ours",
    ".metadata.labels.replant.dev/restore": "who made ours",
    ".spec.dataSource.name": "each has a snapshot of its own",
    ".spec.dataSourceRef.name": "each has a snapshot of its own",
    ".spec.resources.requests.storage": "ours asks for the size that Longhorn gives the volume",
    ".spec.volumeName": "each has its own volume",
}
"""Where the claim of our machine's disk differs from Harvester's, and why."""


def restored_by_us(lab: Lab, into: str) -> Ended:
    """The newest point of the machine, into a namespace of the same cluster."""
    vm = f"{lab.namespace}/web"

    def point() -> Any:
        question = {"vm": vm, "cluster": SOURCE, "state": "restorable", "latest": True}
        return lab.stack.search(**question).get("restorePoints")

    wait(point, seconds=60, what=f"a restorable point of {vm}")
    return lab.stack.restore(
        {
            "select": {"vm": vm, "cluster": SOURCE},
            "target": lab.name,
            "mapping": {"namespaces": {lab.namespace: into}},
        }
    )


@pytest.mark.only_real(NOT_SIMULATED)
def test_what_harvester_backs_up_is_restored_and_runs(lab: Lab) -> None:
    networks = [network(lab)]
    disk(lab)
    original = machine(lab, "RerunOnFailure", networks=networks)
    lab.create(original)
    lab.wait(lambda: is_ready(lab, original), "it is ready")
    backup_of(lab, "web")
    other = lab.in_a_namespace_of_its_own()
    ended = restored_by_us(lab, other.namespace)
    assert ended.output, ended
    assert ended.output["counts"] == {"ready": 1}, ended.output
    ours = other.get(manifest(KUBEVIRT, "VirtualMachine", "web", other.namespace))
    theirs = lab.get(restored_by_harvester(lab, "again"))
    assert not unwanted(ours, theirs, WANTED)
    assert not unwanted(claim_of(other, ours), claim_of(lab, theirs), WANTED_OF_CLAIMS)


def claim_of(lab: Lab, machine: Object) -> Object:
    """The claim of a machine's first disk."""
    volume = machine["spec"]["template"]["spec"]["volumes"][0]
    name = volume["persistentVolumeClaim"]["claimName"]
    return lab.get(manifest("v1", "PersistentVolumeClaim", name, lab.namespace))


def unwanted(ours: Object, theirs: Object, wanted: dict[str, str]) -> list[str]:
    """Differences that nobody wants, and wanted ones that are not there."""
    found = set(differences(described(ours), described(theirs)))
    return sorted(found ^ wanted.keys())


def described(found: Object) -> Object:
    """What somebody said of the machine; not what each object has of its own."""
    metadata = {name: found["metadata"].get(name, {}) for name in ("labels", "annotations")}
    return {"metadata": metadata, "spec": found["spec"]}


def differences(ours: Any, theirs: Any, at: str = "") -> Iterator[str]:
    """The paths of values that are not the same."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from differences(ours.get(key), theirs.get(key), f"{at}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(*pair, f"{at}[{number}]")
    elif ours != theirs:
        yield at
