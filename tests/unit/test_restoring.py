"""Whole restores on a fake cluster: what is created in which order, what is waited for, what is told."""

from collections.abc import Iterator

import pytest

from tests.lab import Lab, a_lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def test_a_machine_is_restored_from_its_disks_to_its_start(lab: Lab) -> None:
    lab.backup(secrets={"keys": {"userdata": "#cloud-config"}})
    output = lab.restore()
    assert (output["state"], output["counts"]) == ("succeeded", {"ready": 1})
    kinds = [kind for _, kind, _ in lab.cluster.writes]
    assert kinds == [
        "VolumeSnapshotContent",
        "VolumeSnapshot",
        "PersistentVolumeClaim",
        "VirtualMachine",
        "Secret",
        "VirtualMachine",
    ]
