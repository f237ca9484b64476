"""An operator's tool: a machine of libvirt or KubeVirt that is shut off in, a folder that Replant
catalogues out (docs/layouts.md).

It calls virsh and qemu-img, or kubectl and virtctl, as whoever runs it may. Nothing is written into
a folder that is there, and the metadata comes last: what broke off is no backup.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as Xml
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.models.base import to_instant

KIB = 1024
PIECE = 2**20
MADE_BY_THE_CLUSTER = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation")

Json = dict[str, Any]


class Failed(Exception):
    """Why there is no folder, as people are told."""


def main(arguments: list[str] | None = None) -> int:
    """Print what to do next and return 0, or the reason to stderr and return 1."""
    options = _options(arguments)
    now = datetime.now(UTC).replace(microsecond=0)
    namespace, _, vm = options.machine.rpartition("/")
    folder = options.into / namespace / vm / f"{now:%Y%m%dt%H%M%Sz}"
    try:
        if not namespace:
            raise Failed(f"--machine: {vm!r} must be NAMESPACE/NAME, such as db/{vm}")
        folder.mkdir(parents=True)
        if options.libvirt:
            metadata = from_libvirt(options.libvirt, namespace, vm, now, folder)
        else:
            metadata = from_kubevirt(namespace, vm, folder)
        (folder / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
    except (Failed, OSError) as error:
        print(f"{error}", file=sys.stderr)  # noqa: T201 - where people read it
        return 1
    print(_next(options.into, folder))  # noqa: T201 - its output
    return 0


def from_libvirt(domain: str, namespace: str, vm: str, now: datetime, folder: Path) -> Json:
    """Our own document; each disk is a qcow2 without a parent. Raises Failed."""
    state = _run("virsh", "domstate", domain).strip()
    if state != "shut off":
        raise Failed(f"domain {domain} is {state}: shut it down, or its disks are of no one moment")
    root = Xml.fromstring(_run("virsh", "dumpxml", domain))  # noqa: S314 - libvirt's own words
    disks = [_disk(folder, *each) for each in _sources(root)]
    if not disks:
        raise Failed(f"domain {domain} has no disk in a file or block device")
    return {
        "name": vm,
        "namespace": namespace,
        "createdAt": to_instant(now),
        "cpu": int(root.findtext("vcpu", "1")),
        "memoryBytes": int(root.findtext("memory", "0")) * KIB,  # dumpxml writes KiB
        "firmware": root.findtext("uuid"),
        "disks": disks,
        "networks": list(_networks(root)),
    }


def from_kubevirt(namespace: str, vm: str, folder: Path) -> Json:
    """The VirtualMachine; each disk is raw and called like its volume. Raises Failed."""
    get = ("kubectl", "get", "virtualmachine", vm, "--namespace", namespace, "--output", "json")
    machine: Json = json.loads(_run(*get))
    if machine.get("status", {}).get("created"):
        raise Failed(f"machine {namespace}/{vm} runs: stop it first (virtctl stop {vm})")
    for volume in machine["spec"]["template"]["spec"].get("volumes", []):
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        claim = claim or volume.get("dataVolume", {}).get("name")
        if claim:
            file = folder / f"{volume['name']}.raw"
            export = ("virtctl", "vmexport", "download", f"{vm}-export", f"--pvc={claim}")
            _run(*export, f"--namespace={namespace}", "--format=raw", f"--output={file}")
    machine.pop("status", None)
    for name in MADE_BY_THE_CLUSTER:
        machine["metadata"].pop(name, None)
    return machine


def _sources(domain: Xml.Element) -> Iterator[tuple[str, str]]:
    """The name that the guest has for each disk, and where it lies."""
    for disk in domain.iterfind("devices/disk[@device='disk']"):
        source, target = disk.find("source"), disk.find("target")
        path = source is not None and (source.get("file") or source.get("dev"))
        if path and target is not None:
            yield target.get("dev", "disk"), path


def _disk(folder: Path, name: str, source: str) -> Json:
    file = folder / f"{name}.qcow2"
    _run("qemu-img", "convert", "-O", "qcow2", source, str(file))
    info: Json = json.loads(_run("qemu-img", "info", "--output=json", str(file)))
    return {
        "name": name,
        "file": file.name,
        "format": "qcow2",
        "sizeBytes": info["virtual-size"],
        "sha256": _sum(file),
    }


def _sum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _networks(domain: Xml.Element) -> Iterator[Json]:
    """Networks have other names where the machine goes: a restore maps these."""
    for number, interface in enumerate(domain.iterfind("devices/interface")):
        source, mac = interface.find("source"), interface.find("mac")
        if source is not None:
            network = source.get("network") or source.get("bridge") or source.get("dev")
            found = {"interface": f"nic-{number}", "network": f"libvirt/{network}"}
            yield found | ({"mac": mac.get("address")} if mac is not None else {})


def _run(*command: str) -> str:
    """What a program prints. Raises Failed with what it says."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed here") from None
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip() or 'it failed'}")
    return done.stdout


def _next(into: Path, folder: Path) -> str:
    below = folder.relative_to(into)
    copy = f"aws s3 cp --recursive {folder} s3://BUCKET/[PREFIX/]{below}"
    return "\n".join(
        (
            f"Written: {folder}",
            "Upload the images first, and the metadata, which makes it a restore point, last:",
            f"{copy} --exclude metadata.json",
            f"{copy} --exclude '*' --include metadata.json",
        )
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shared.commands.folder", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--libvirt", metavar="DOMAIN", help="a domain of this host's libvirt")
    where.add_argument("--kubevirt", action="store_true", help="a VirtualMachine, by kubectl")
    parser.add_argument("--machine", required=True, metavar="NAMESPACE/NAME", help="its name")
    parser.add_argument("--into", required=True, type=Path, help="the folder of all backups")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
