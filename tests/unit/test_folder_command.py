"""The operator's tool that writes folders: against programs that answer as virsh, qemu-img, kubectl
and virtctl do, and what it wrote against the catalogue.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from local.samples.folders import GIB, qcow2
from shared.commands import folder
from shared.models.restore_points import State
from tests import memory_services
from tests.memory_table import MemoryTable
from tests.scenarios import Happened, World, only, target

DOMAIN = """
<domain type='kvm'>
  <name>pg-1</name>
  <uuid>5d307ca9-b3ef-428c-8861-06e72d69f223</uuid>
  <memory unit='KiB'>4194304</memory>
  <vcpu placement='static'>2</vcpu>
  <devices>
    <disk type='file' device='disk'><source file='/images/pg-1.qcow2'/><target dev='vda'/></disk>
    <disk type='file' device='cdrom'><target dev='sda'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/></interface>
  </devices>
</domain>
"""
MACHINE = {
    "apiVersion": "kubevirt.io/v1",
    "kind": "VirtualMachine",
    "metadata": {"name": "web01", "namespace": "default", "uid": "u-1", "managedFields": []},
    "spec": {
        "template": {
            "spec": {
                "domain": {"cpu": {"cores": 2}, "memory": {"guest": "2Gi"}},
                "volumes": [
                    {"name": "root", "persistentVolumeClaim": {"claimName": "web01-root"}},
                    {"name": "data", "dataVolume": {"name": "web01-data"}},
                    {"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config"}},
                ],
            }
        }
    },
    "status": {"printableStatus": "Stopped"},
}


class Programs:
    """On the PATH: each prints what it is told, and notes how it was called."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.image = place / "image"
        self.image.write_bytes(qcow2())

    def put(self, name: str, script: str) -> None:
        program = self.place / name
        program.write_text(f'#!/bin/sh\necho "$0 $*" >> {self.place}/calls\n{script}\n')
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        lines = (self.place / "calls").read_text().splitlines()
        return [line.removeprefix(f"{self.place}/") for line in lines]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}/bin{os.pathsep}/usr/bin")
    found = Programs(place)
    (place / "domain.xml").write_text(DOMAIN)
    (place / "vm.json").write_text(json.dumps(MACHINE))
    found.put(
        "virsh",
        f'case "$1" in domstate) echo "shut off"; echo;; dumpxml) cat {place}/domain.xml;; esac',
    )
    found.put(
        "qemu-img",
        f'[ "$1" = convert ] && cp {found.image} "$5"\n'
        f'[ "$1" != info ] || echo \'{{"virtual-size": {GIB}}}\'',
    )
    found.put("kubectl", f"cat {place}/vm.json")
    found.put(
        "virtctl",
        f'for each; do case "$each" in --output=*) cp {found.image} "${{each#*=}}";; esac; done',
    )
    return found


def written(into: Path) -> tuple[Path, dict[str, Any]]:
    (metadata,) = into.rglob("metadata.json")
    found: dict[str, Any] = json.loads(metadata.read_text())
    return metadata.parent, found


def catalogued(into: Path) -> World:
    """What was written, uploaded as it is and at once."""
    world = World(MemoryTable())
    files = [each for each in into.rglob("*") if each.is_file()]
    events = [Happened(str(each.relative_to(into)), each.read_bytes()) for each in files]
    with patch.object(memory_services, "WRITTEN", datetime.now(UTC)):
        world.settle([target(), *events])
    return world


def test_a_domain_becomes_a_restorable_folder(
    programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "backups"
    assert folder.main(["--libvirt", "pg-1", "--machine", "db/pg-1", "--into", str(into)]) == 0
    point = only(catalogued(into).table)
    assert (point.state, point.reasons) == (State.RESTORABLE, ())
    assert (point.namespace, point.vm) == ("db", "pg-1")
    assert (point.machine.cpu, point.machine.memory_bytes) == (2, 4 * GIB)
    assert point.machine.firmware_uuid == "5d307ca9-b3ef-428c-8861-06e72d69f223"
    assert [(each.disk, each.size_bytes) for each in point.volumes] == [("vda", GIB)]
    assert [(each.network, each.mac) for each in point.networks] == [
        ("libvirt/lan", "52:54:00:00:00:01")
    ]
    place, _ = written(into)
    assert f"qemu-img convert -O qcow2 /images/pg-1.qcow2 {place}/vda.qcow2" in programs.calls
    said = capsys.readouterr().out
    assert said.index("--exclude metadata.json") < said.index("--include metadata.json")


def test_a_virtual_machine_becomes_a_restorable_folder(programs: Programs, tmp_path: Path) -> None:
    into = tmp_path / "backups"
    assert folder.main(["--kubevirt", "--machine", "default/web01", "--into", str(into)]) == 0
    place, metadata = written(into)
    assert metadata["metadata"] == {"name": "web01", "namespace": "default"}
    assert "status" not in metadata
    assert {each.name for each in place.iterdir()} == {"metadata.json", "root.raw", "data.raw"}
    assert (
        "virtctl vmexport download web01-export --pvc=web01-data --namespace=default --format=raw"
        f" --output={place}/data.raw"
    ) in programs.calls
    point = only(catalogued(into).table)
    assert [(each.disk, each.claim) for each in point.volumes] == [
        ("root", "web01-root"),
        ("data", "web01-data"),
    ]


FAILURES: dict[str, tuple[str, str, str]] = {
    "running": ("virsh", "echo running", "domain pg-1 is running: shut it down"),
    "unknown": ("virsh", "echo 'error: failed to get domain' >&2; exit 1", "failed to get domain"),
    "unread": ("qemu-img", "echo 'Could not open' >&2; exit 1", "Could not open"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_told_and_leaves_no_metadata(
    programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    program, script, why = FAILURES[case]
    programs.put(program, script)
    into = tmp_path / "backups"
    assert folder.main(["--libvirt", "pg-1", "--machine", "db/pg-1", "--into", str(into)]) == 1
    assert why in capsys.readouterr().err
    assert not list(into.rglob("metadata.json"))


def test_a_machine_that_runs_and_a_program_that_is_missing_are_told(
    programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--kubevirt", "--machine", "default/web01", "--into", str(tmp_path / "one")]
    (programs.place / "vm.json").write_text(json.dumps(MACHINE | {"status": {"created": True}}))
    assert folder.main(asked) == 1
    assert "default/web01 runs: stop it first" in capsys.readouterr().err
    (programs.place / "vm.json").write_text(json.dumps(MACHINE))
    (programs.place / "virtctl").unlink()
    assert folder.main([*asked[:-1], str(tmp_path / "two")]) == 1
    assert "virtctl is not installed here" in capsys.readouterr().err


def test_a_name_without_a_namespace_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.main(["--kubevirt", "--machine", "web01", "--into", str(tmp_path)]) == 1
    assert "must be NAMESPACE/NAME, such as db/web01" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
