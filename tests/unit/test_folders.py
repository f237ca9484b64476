"""The directory layout: folders that people write -> restore points, whatever comes first.

Aspects: the metadata in both forms, images and their chains with holes, circles and lies, the place
of a folder, what is told of each. Not aspects: a qcow2's own header (test_image_headers.py).
"""

import json
import random
import re
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.cloud import ROOT
from local.samples.folders import GIB, chain, document, qcow2
from shared.catalogue import census, folders, summary
from shared.models.restore_points import RestorePoint, State
from shared.models.row_keys import bucket_partition
from tests.lab import a_lab
from tests.memory_table import MemoryTable
from tests.qemu import qemu_img, with_qemu
from tests.scenarios import BUCKET, Happened, World, only, points, quarantined, target

HERE = "db/pg-1/nightly/"
A_CLAIM = {"name": "root", "persistentVolumeClaim": {"claimName": "pg-1-root"}}
MANIFEST: dict[str, Any] = {
    "apiVersion": "kubevirt.io/v1",
    "kind": "VirtualMachine",
    "metadata": {"name": "web01", "labels": {"harvesterhci.io/os": "ubuntu"}},
    "spec": {
        "runStrategy": "RerunOnFailure",
        "template": {
            "spec": {
                "domain": {
                    "cpu": {"cores": 4},
                    "memory": {"guest": "2Gi"},
                    "firmware": {"uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223"},
                    "devices": {
                        "interfaces": [{"name": "nic-1", "macAddress": "52:54:00:aa:bb:cc"}]
                    },
                },
                "networks": [{"name": "nic-1", "multus": {"networkName": "vlan100"}}],
                "volumes": [
                    {"name": "root", "persistentVolumeClaim": {"claimName": "web01-root"}},
                    {"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config"}},
                ],
            }
        },
    },
}


def written(files: dict[str, Any], *, below: str = HERE, number: int = 1) -> list[Happened]:
    """FILES by their names; what is no bytes is written as JSON."""
    return [
        Happened(
            f"{below}{name}",
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            number,
        )
        for name, body in files.items()
    ]


def catalogued(files: dict[str, Any], *, below: str = HERE, **changes: Any) -> World:
    world = World(MemoryTable())
    world.settle([target(**changes), *written(files, below=below)])
    return world


def reasons(files: dict[str, Any], **changes: Any) -> tuple[str, ...]:
    point = only(catalogued(files, **changes).table)
    assert (point.state is State.INCOMPLETE) == bool(point.reasons)
    return point.reasons


WHOLE = {"metadata.json": document(), "disk-0.qcow2": qcow2()}


# --- What a folder says --------------------------------------------------------------------------


def test_a_folder_of_our_own_document_is_a_restorable_point() -> None:
    point = only(catalogued(WHOLE).table)
    assert (point.state, point.reasons, point.layout) == (State.RESTORABLE, (), "directory")
    assert (point.cluster, point.namespace, point.vm, point.backup) == (
        "east",
        "db",
        "pg-1",
        "nightly",
    )
    assert point.taken_at.isoformat() == "2026-08-15T01:00:00+00:00"
    assert (point.machine.cpu, point.machine.memory_bytes) == (2, 4 * GIB)
    assert point.machine.labels == {"tier": "data"}
    (volume,) = point.volumes
    assert (volume.disk, volume.claim, volume.size_bytes) == ("disk-0", "pg-1-disk-0", GIB)
    assert (volume.file, volume.state) == (f"{HERE}disk-0.qcow2", State.RESTORABLE)
    (network,) = point.networks
    assert (network.network, network.mac) == ("default/vlan100", "52:54:00:00:00:01")
    assert point.fingerprint


@pytest.mark.parametrize("name", ["metadata.yaml", "metadata.yml", "metadata.json"])
@pytest.mark.parametrize("ending", ["qcow2", "raw", "img"])
def test_a_virtual_machine_names_its_files_by_its_volumes(name: str, ending: str) -> None:
    text = json.dumps(MANIFEST) if name.endswith("json") else yaml.safe_dump(MANIFEST)
    image = qcow2() if ending == "qcow2" else b"x" * 512
    files = {name: text.encode(), f"root.{ending}": image}
    point = only(catalogued(files, below="default/web01/friday/").table)
    assert (point.state, point.reasons) == (State.RESTORABLE, ())
    assert (point.namespace, point.vm, point.backup) == ("default", "web01", "friday")
    assert point.taken_at_source == "object"
    assert (point.machine.cpu, point.machine.memory_bytes) == (4, 2 * GIB)
    assert (point.machine.os, point.machine.run_strategy) == ("ubuntu", "RerunOnFailure")
    assert [(each.disk, each.claim) for each in point.volumes] == [("root", "web01-root")]
    assert point.volumes[0].size_bytes == (GIB if ending == "qcow2" else 512)
    assert point.networks[0].network == "default/vlan100"


def test_a_machine_with_one_backup_needs_no_folder_for_it() -> None:
    point = only(catalogued(WHOLE, below="db/pg-1/").table)
    assert (point.state, point.backup) == (State.RESTORABLE, "pg-1")


def test_the_document_counts_before_the_folders_and_the_prefix_before_both() -> None:
    world = catalogued(WHOLE, below="exports/somewhere/else/nightly/", prefix="exports/")
    point = only(world.table)
    assert (point.namespace, point.vm, point.backup) == ("db", "pg-1", "nightly")
    assert point.state is State.RESTORABLE


def test_an_image_of_terabytes_is_known_by_its_first_bytes() -> None:
    world = World(MemoryTable())
    raw = {"name": "disk-0", "file": "disk-0.img", "format": "raw"}
    files = {"metadata.json": document([raw]), "disk-0.img": b"x" * 512}
    world.s3.sizes[BUCKET, f"{HERE}disk-0.img"] = 2**42
    world.settle([target(), *written(files)])
    assert only(world.table).volumes[0].size_bytes == 2**42
    assert max(each.taken for each in world.s3.opened) < 2**17


@pytest.mark.parametrize(
    ("name", "below"),
    [("metadata.json", "db/pg-1-copy/nightly/"), ("metadata.yaml", HERE)],
    ids=["a copy of the folder", "two files in one"],
)
def test_of_two_that_say_they_are_one_backup_none_is_taken(name: str, below: str) -> None:
    world = World(MemoryTable())
    other = json.dumps(document(cpu=7)).encode()
    world.settle([target(), *written(WHOLE), *written({**WHOLE, name: other}, below=below)])
    point = only(world.table)
    assert point.state is State.INCOMPLETE
    (why,) = point.reasons
    assert f"s3://{BUCKET}/{below}{name}" in why
    assert why.endswith("are of one machine and backup: which is meant is not known. Keep one")
    world.settle([Happened(f"{below}{name}", None, 2)])
    assert only(world.table).state is State.RESTORABLE


@with_qemu
@pytest.mark.parametrize("named", [True, False], ids=["with headers", "without"])
def test_a_chain_that_qemu_wrote_is_catalogued(tmp_path: Path, named: bool) -> None:
    """Three images in two folders; KubeVirt leaves the names of those below out of the headers."""
    size = str(64 * 2**20)
    for folder in ("full", "nightly"):
        (tmp_path / folder).mkdir()
    qemu_img("create", "-q", "-f", "raw", "full/base.img", size, at=tmp_path)
    for image, below, form in (
        ("full/one.qcow2", "base.img", "raw"),
        ("nightly/two.qcow2", "../full/one.qcow2", "qcow2"),
    ):
        backing = ("-b", below, "-F", form) if named else ()
        qemu_img("create", "-q", "-f", "qcow2", *backing, image, size, at=tmp_path)
    disk = {"name": "root", "file": "two.qcow2", "format": "qcow2", "sizeBytes": int(size)}
    links = chain(
        ("two.qcow2", "../full/one.qcow2"),
        ("../full/one.qcow2", "../full/base.img"),
        ("../full/base.img", None),
    )
    world = World(MemoryTable())
    files = {"metadata.json": document([disk]), "snapshots.json": links}
    images = {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in sorted(tmp_path.rglob("*.*"))
    }
    world.settle([target(), *written(files), *written(images, below="db/pg-1/")])
    point = only(world.table)
    assert (point.state, point.reasons) == (State.RESTORABLE, ())
    assert point.volumes[0].size_bytes == int(size)
    world.settle([Happened("db/pg-1/full/base.img", None, 2)])
    assert only(world.table).reasons == ("disk root: ../full/base.img was deleted from the bucket",)


@pytest.mark.parametrize("owned", [True, False])
def test_files_of_other_programs_are_nobodys_problem(owned: bool) -> None:
    world = World(MemoryTable())
    garbage = {"metadata.json": b"[1]", "snapshots.json": b"[]", "old.qcow2": b"QFI\xfb"}
    world.settle([target()] if owned else [])
    world.settle(written(garbage, below="photos/"))
    assert (quarantined(world.table), world.sns.messages) == ([], [])
    world.settle(written(garbage))
    assert len(quarantined(world.table)) == 3 * owned


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_what_is_left_empty_in_yaml_is_absent(nothing: str) -> None:
    text = yaml.safe_dump({**document(), "labels": "EMPTY", "networks": "EMPTY"})
    body = text.replace("EMPTY", nothing).encode()
    world = catalogued({"metadata.yaml": body, "disk-0.qcow2": qcow2()})
    assert only(world.table).state is State.RESTORABLE


def test_a_virtual_machine_of_another_system_is_none_of_kubevirt() -> None:
    manifest = {"apiVersion": "vmoperator.vmware.com/v1alpha1", "kind": "VirtualMachine"}
    world = catalogued({"metadata.json": manifest})
    assert quarantined(world.table) == [f"{HERE}metadata.json"]
    assert "manifest of another kind" in str(world.sns.messages[-1])


def test_a_key_that_is_there_twice_is_told_in_json_as_in_yaml() -> None:
    body = json.dumps(document()).encode().replace(b'"cpu": 2', b'"cpu": 2, "cpu": 4')
    world = catalogued({"metadata.json": body})
    assert quarantined(world.table) == [f"{HERE}metadata.json"]
    assert "'cpu' is there twice" in str(world.sns.messages[-1])


def test_a_number_of_thousands_of_digits_is_told() -> None:
    body = json.dumps(document()).encode().replace(b'"cpu": 2', b'"cpu": ' + b"9" * 5000)
    assert quarantined(catalogued({"metadata.json": body}).table) == [f"{HERE}metadata.json"]


def test_the_image_of_a_manifest_that_was_deleted_is_told_as_deleted() -> None:
    spec = {"template": {"spec": {"domain": {}, "volumes": [A_CLAIM]}}}
    manifest = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "pg-1", "namespace": "db"},
        "spec": spec,
    }
    world = World(MemoryTable())
    world.settle([target(), *written({"metadata.json": manifest, "root.raw": b"x" * 512})])
    world.settle([Happened(f"{HERE}root.raw", None, 2)])
    assert only(world.table).reasons == ("disk root: root.raw was deleted from the bucket",)


def test_of_an_absolute_path_in_a_header_the_name_counts_also_in_a_sibling() -> None:
    world = World(MemoryTable())
    on_host = qcow2(backing_file="/var/lib/libvirt/images/base.qcow2")
    files = {
        "metadata.json": document(),
        "disk-0.qcow2": on_host,
        "snapshots.json": chain(("disk-0.qcow2", "../old/base.qcow2")),
    }
    below = written({"base.qcow2": qcow2()}, below="db/pg-1/old/")
    world.settle([target(), *written(files), *below])
    assert only(world.table).state is State.RESTORABLE, only(world.table).reasons


def test_a_chain_that_was_deleted_does_not_make_an_increment_a_whole_disk() -> None:
    """As KubeVirt writes increments, without the name of what lies below in the header."""
    world = World(MemoryTable())
    files = {
        "metadata.json": document(),
        "disk-0.qcow2": qcow2(),
        "base.qcow2": qcow2(),
        "snapshots.json": chain(("disk-0.qcow2", "base.qcow2"), ("base.qcow2", None)),
    }
    world.settle([target(), *written(files)])
    fingerprint = only(world.table).fingerprint
    world.settle([Happened(f"{HERE}snapshots.json", None, 2)])
    lost = only(world.table)
    assert (lost.state, lost.fingerprint) == (State.INCOMPLETE, fingerprint)
    assert lost.reasons == (
        "disk disk-0: snapshots.json, which said what lies below disk-0.qcow2, was deleted",
    )
    world.settle(written({"snapshots.json": files["snapshots.json"]}, number=3))
    assert only(world.table).state is State.RESTORABLE


def test_a_chain_that_named_nothing_below_is_not_missed() -> None:
    world = World(MemoryTable())
    files = {**WHOLE, "snapshots.json": chain(("disk-0.qcow2", None))}
    world.settle([target(), *written(files)])
    world.settle([Happened(f"{HERE}snapshots.json", None, 2)])
    assert only(world.table).state is State.RESTORABLE


# --- What is missing, and what is not true -------------------------------------------------------


def test_every_missing_file_is_named() -> None:
    disks = [
        {"name": name, "file": f"{name}.qcow2", "format": "qcow2"}
        for name in ("one", "two", "three")
    ]
    found = reasons({"metadata.json": document(disks), "two.qcow2": qcow2()})
    assert found == (
        "disk one: one.qcow2 has not been seen in the bucket",
        "disk three: three.qcow2 has not been seen in the bucket",
    )


def test_none_of_the_files_that_a_volume_may_have_is_there() -> None:
    assert reasons({"metadata.json": MANIFEST}) == (
        "disk root: none of its files has been seen in the bucket: root.qcow2, root.raw, root.img",
    )


def test_of_two_files_of_one_volume_none_is_chosen() -> None:
    (why,) = reasons({"metadata.json": MANIFEST, "root.raw": b"x" * 512, "root.img": b"x" * 512})
    assert (
        why == "disk root: which of its files is meant is not known: root.raw, root.img. Keep one"
    )


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "format": (
        {
            "metadata.json": document([{"name": "d", "file": "d.img", "format": "qcow2"}]),
            "d.img": b"x" * 512,
        },
        "disk d: d.img is raw, and the metadata says qcow2",
    ),
    "no qcow2": (
        {"metadata.json": document(), "disk-0.qcow2": b"<html>Access denied</html>" * 20},
        "disk disk-0: disk-0.qcow2 cannot be read: It is called .qcow2 and is no qcow2 image.",
    ),
    "a disk of five bytes": (
        {
            "metadata.json": document([{"name": "d", "file": "d.raw", "format": "raw"}]),
            "d.raw": b"hello",
        },
        "disk d: d.raw cannot be read: It has 5 bytes, and a disk has at least 512.",
    ),
    "an image that ends before its table": (
        {"metadata.json": document(), "disk-0.qcow2": qcow2()[:-1]},
        "disk disk-0: disk-0.qcow2 cannot be read: The qcow2 image ends after 65551 bytes, before",
    ),
    "the metadata as an image": (
        {"metadata.json": document([{"name": "d", "file": "metadata.json", "format": "raw"}])},
        "disk d: metadata.json is no image of a disk",
    ),
    "the chain as a parent": (
        {**WHOLE, "snapshots.json": chain(("disk-0.qcow2", "snapshots.json"))},
        "disk disk-0: snapshots.json is no image of a disk",
    ),
    "the format of what lies below": (
        {
            "metadata.json": document(),
            "disk-0.qcow2": qcow2(backing_file="base.qcow2", backing_format="raw"),
            "base.qcow2": qcow2(),
        },
        "disk disk-0: the header of disk-0.qcow2 says that base.qcow2 is raw, and it is qcow2",
    ),
    "an ending that nobody reads": (
        {
            "metadata.json": document([{"name": "d", "file": "d.vmdk", "format": "raw"}]),
            "d.vmdk": b"x" * 512,
        },
        "disk d: d.vmdk is not read, since its name ends in none of .qcow2, .raw, .img",
    ),
    "a parent of such an ending": (
        {**WHOLE, "disk-0.qcow2": qcow2(backing_file="base.vmdk")},
        "disk disk-0: base.vmdk is not read, since its name ends in none of",
    ),
    "a time to come": (
        {**WHOLE, "metadata.json": document(createdAt="9999-12-31T00:00:00Z")},
        "the metadata says that it was taken at 9999-12-31T00:00:00Z, and was itself written at",
    ),
    "size": (
        {"metadata.json": document(), "disk-0.qcow2": qcow2(2 * GIB)},
        "disk disk-0: disk-0.qcow2 has 2147483648 bytes, and the metadata says 1073741824",
    ),
    "header and chain": (
        {
            **WHOLE,
            "disk-0.qcow2": qcow2(backing_file="base.qcow2"),
            "base.qcow2": qcow2(),
            "other.qcow2": qcow2(),
            "snapshots.json": chain(("disk-0.qcow2", "other.qcow2"), ("other.qcow2", None)),
        },
        "disk disk-0: the header of disk-0.qcow2 names 'base.qcow2', and snapshots.json says"
        " other.qcow2",
    ),
    "a root with a header": (
        {
            **WHOLE,
            "disk-0.qcow2": qcow2(backing_file="base.qcow2"),
            "snapshots.json": chain(("disk-0.qcow2", None)),
        },
        "disk disk-0: the header of disk-0.qcow2 names 'base.qcow2', and snapshots.json says no"
        " parent",
    ),
    "a raw image with a parent": (
        {
            "metadata.json": document([{"name": "disk-0", "file": "a.raw", "format": "raw"}]),
            "a.raw": b"x" * 512,
            "snapshots.json": chain(("a.raw", "b.raw")),
        },
        "disk disk-0: a.raw is raw, which has no parent, and snapshots.json names one",
    ),
    "a hole": (
        {
            **WHOLE,
            "snapshots.json": chain(("disk-0.qcow2", "mid.qcow2"), ("mid.qcow2", "root.qcow2")),
            "mid.qcow2": qcow2(),
        },
        "disk disk-0: root.qcow2 has not been seen in the bucket",
    ),
    "a circle": (
        {
            **WHOLE,
            "snapshots.json": chain(("disk-0.qcow2", "a.qcow2"), ("a.qcow2", "disk-0.qcow2")),
            "a.qcow2": qcow2(),
        },
        "disk disk-0: its chain is a circle: disk-0.qcow2 -> a.qcow2 -> disk-0.qcow2",
    ),
    "itself": (
        {**WHOLE, "disk-0.qcow2": qcow2(backing_file="disk-0.qcow2")},
        "disk disk-0: its chain is a circle: disk-0.qcow2 -> disk-0.qcow2",
    ),
    "another machine's": (
        {**WHOLE, "disk-0.qcow2": qcow2(backing_file="../../pg-2/nightly/disk-0.qcow2")},
        "disk disk-0: disk-0.qcow2 lies on '../../pg-2/nightly/disk-0.qcow2', which is not in the"
        " folder of the machine",
    ),
    "a file elsewhere": (
        {"metadata.json": document([{"name": "d", "file": "/etc/passwd", "format": "raw"}])},
        "disk d: '/etc/passwd', which is not in the folder of the machine",
    ),
    "an unreadable chain": (
        {**WHOLE, "snapshots.json": b"{"},
        "disk disk-0: snapshots.json cannot be read: Invalid JSON:",
    ),
    "a refused header": (
        {**WHOLE, "disk-0.qcow2": b"QFI\xfb" + bytes(10)},
        "disk disk-0: disk-0.qcow2 cannot be read: ",
    ),
    "another owner": (
        {**WHOLE, "metadata.json": document(cluster="north")},
        "ownership conflict: the metadata says that cluster north wrote it, and target east-s3 is"
        " of east",
    ),
}


OUT = {
    "absolute": "/a.raw",
    "with a backslash": "..\\a.raw",
    "unprintable": "a\u202e.raw",
    "the machine's own folder": "../a.raw/../../a.raw",
    "another machine": "../../pg-2/a.raw",
    "two folders down": "more/deep/a.raw",
    "the target itself": "../../../a.raw",
}


@pytest.mark.parametrize("case", OUT)
def test_no_file_is_read_outside_the_folder_of_the_machine(case: str) -> None:
    disk = {"name": "d", "file": OUT[case], "format": "raw"}
    (why,) = reasons({"metadata.json": document([disk]), "a.raw": b"x" * 512})
    assert why.endswith("which is not in the folder of the machine")
    links = chain(("disk-0.qcow2", OUT[case]))
    (why,) = reasons({**WHOLE, "snapshots.json": links})
    assert why.startswith("disk disk-0: the parent of 'disk-0.qcow2' is '")
    assert why.endswith("which is not in the folder of the machine")


def test_the_chain_of_a_sibling_names_files_as_they_lie_there() -> None:
    world = World(MemoryTable())
    old = {
        "a.qcow2": qcow2(2 * GIB),  # a root of another size is what a resize leaves
        "b.qcow2": qcow2(),
        "snapshots.json": chain(("b.qcow2", "a.qcow2"), ("a.qcow2", None)),
    }
    files = {**WHOLE, "snapshots.json": chain(("disk-0.qcow2", "../old/b.qcow2"))}
    world.settle([target(), *written(old, below="db/pg-1/old/"), *written(files)])
    assert only(world.table).reasons == ()


@pytest.mark.parametrize("case", LIES)
def test_what_is_not_true_is_told(case: str) -> None:
    files, why = LIES[case]
    (found,) = reasons(files)
    assert found.startswith(why)


def test_a_name_that_no_machine_can_have_is_told() -> None:
    manifest = {**MANIFEST, "metadata": {}}
    files = {"metadata.json": manifest, "root.raw": b"x" * 512}
    (found,) = reasons(files, below="Web Servers/web01/nightly/")
    assert found.startswith("'Web Servers/web01' cannot be the name of a machine in Kubernetes")


BAD_METADATA: dict[str, tuple[bytes, str]] = {
    "no yaml": (b"a: [", "is not valid YAML"),
    "another kind": (b"apiVersion: v1\nkind: Pod\n", "It is a manifest of another kind."),
    "no disk": (
        yaml.safe_dump({**MANIFEST, "spec": {"template": {"spec": {}}}}).encode(),
        "The VirtualMachine has no disk",
    ),
    "a mistyped key": (
        json.dumps(document(memorybytes=1)).encode(),
        "Unknown key 'memorybytes'. Did you mean 'memoryBytes'?",
    ),
    "no memory": (
        json.dumps(document(memoryBytes=0)).encode(),
        "memoryBytes: must be more than 0",
    ),
    "a time without a zone": (
        json.dumps(document(createdAt="2026-08-15T01:00:00")).encode(),
        "createdAt: must be an instant such as 2026-08-15T01:00:00Z",
    ),
    "a disk twice": (
        json.dumps(document(document()["disks"] * 2)).encode(),
        "disks: a name is there twice.",
    ),
    "a bomb": (b"a: &a [x, x]\nb: [*a, *a]\n", "uses a YAML anchor or alias"),
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_metadata_that_cannot_be_read_is_in_quarantine_with_the_reason(case: str) -> None:
    body, why = BAD_METADATA[case]
    world = catalogued({"metadata.yaml": body, "disk-0.qcow2": qcow2()})
    assert (points(world.table), quarantined(world.table)) == ([], [f"{HERE}metadata.yaml"])
    assert why in world.sns.messages[0]


@pytest.mark.parametrize("below", ["", "pg-1/", "a/b/db/pg-1/nightly/"])
def test_a_folder_at_another_depth_is_told_and_makes_no_point(below: str) -> None:
    world = catalogued(WHOLE, below=below)
    assert (points(world.table), quarantined(world.table)) == ([], [f"{below}metadata.json"])
    assert "NAMESPACE/MACHINE/[BACKUP/]metadata.json" in world.sns.messages[0]


def test_a_process_that_knows_an_older_target_tells_what_lies_in_the_wrong_place() -> None:
    """Its cache is old, and the walk of the target's change is over when the metadata comes."""
    world = catalogued(WHOLE)
    World(world.table, world.s3).settle([target(prefix="db/pg-1/", number=2)])
    world.settle(written(WHOLE, below="db/pg-1/weekly/"))
    assert "db/pg-1/weekly/metadata.json" in quarantined(world.table)
    assert "It does not lie where a backup of target" in world.sns.messages[-1]


def test_it_is_told_as_well_when_the_target_comes_later_and_not_any_more_when_it_moves() -> None:
    world = World(MemoryTable())
    world.settle(written(WHOLE, below="exports/db/pg-1/nightly/"))
    assert quarantined(world.table) == []
    world.settle([target()])
    assert quarantined(world.table) == ["exports/db/pg-1/nightly/metadata.json"]
    world.settle([target(prefix="exports/", number=2)])
    assert quarantined(world.table) == []
    assert only(world.table).state is State.RESTORABLE


# --- Chains --------------------------------------------------------------------------------------


def increments(days: int) -> list[Happened]:
    """A backup a day, each on the image of the day before, as KubeVirt writes them."""
    found = []
    for day in range(days):
        below = f"db/pg-1/day-{day}/"
        parent = f"../day-{day - 1}/disk-0.qcow2" if day else None
        files = {
            "metadata.json": document(createdAt=f"2026-08-{day + 1:02}T01:00:00Z"),
            "disk-0.qcow2": qcow2(),
            "snapshots.json": chain(("disk-0.qcow2", parent)),
        }
        found += written(files, below=below)
    return found


def test_a_chain_leads_through_the_folders_down_to_its_root() -> None:
    world = World(MemoryTable())
    world.settle([target(), *increments(5)])
    found = points(world.table)
    assert [each.state for each in found] == [State.RESTORABLE] * 5
    world.settle([Happened("db/pg-1/day-1/disk-0.qcow2", None, 2)])
    states = {each.backup: each.state for each in points(world.table)}
    assert states == {"day-0": State.RESTORABLE} | dict.fromkeys(
        ("day-1", "day-2", "day-3", "day-4"), State.INCOMPLETE
    )
    lost = {each.backup: each.reasons for each in points(world.table)}["day-4"]
    assert lost == ("disk disk-0: ../day-1/disk-0.qcow2 was deleted from the bucket",)
    world.settle([Happened("db/pg-1/day-1/disk-0.qcow2", qcow2(), 3)])
    assert {each.state for each in points(world.table)} == {State.RESTORABLE}


def test_a_header_alone_says_the_chain_wherever_a_host_kept_the_file() -> None:
    world = World(MemoryTable())
    below = {"metadata.json": document(), "base.qcow2": qcow2()}
    files = {**below, "disk-0.qcow2": qcow2(backing_file="/var/lib/libvirt/images/base.qcow2")}
    world.settle([target(), *written(files)])
    assert only(world.table).reasons == ()


def test_a_header_means_the_folder_that_its_own_image_lies_in() -> None:
    world = World(MemoryTable())
    old = {"a.qcow2": qcow2(backing_file="b.qcow2"), "b.qcow2": qcow2()}
    files = {**WHOLE, "disk-0.qcow2": qcow2(backing_file="../old/a.qcow2")}
    world.settle([target(), *written(old, below="db/pg-1/old/"), *written(files)])
    assert only(world.table).reasons == ()
    world.settle([Happened("db/pg-1/old/b.qcow2", None, 2)])
    assert only(world.table).reasons == ("disk disk-0: ../old/b.qcow2 was deleted from the bucket",)


def test_folders_that_contradict_each_other_are_told() -> None:
    files = {
        **WHOLE,
        "snapshots.json": chain(("disk-0.qcow2", "../old/a.qcow2"), ("../old/a.qcow2", None)),
    }
    world = World(MemoryTable())
    world.settle(
        [
            target(),
            *written(files),
            *written(
                {"a.qcow2": qcow2(), "snapshots.json": chain(("a.qcow2", "b.qcow2"))},
                below="db/pg-1/old/",
            ),
        ]
    )
    assert only(world.table).reasons == (
        "disk disk-0: the snapshots.json of two folders name different parents of ../old/a.qcow2",
    )


def body(point: RestorePoint) -> dict[str, Any]:
    return point.model_dump(mode="json", exclude={"indexed_at"})


def test_any_order_of_arrival_gives_the_same_point() -> None:
    files = {
        "metadata.json": document(),
        "disk-0.qcow2": qcow2(backing_file="../old/a.qcow2"),
        "snapshots.json": chain(("disk-0.qcow2", "../old/a.qcow2")),
    }
    events = [
        target(),
        *written(files),
        *written({"a.qcow2": qcow2()}, below="db/pg-1/old/"),
    ]
    seen = set()
    for order in permutations(events):
        world = World(MemoryTable())
        world.settle(order)
        seen.add(json.dumps(body(only(world.table)), sort_keys=True))
    assert len(seen) == 1
    assert only(world.table).state is State.RESTORABLE


def test_a_long_chain_that_comes_shuffled_and_twice_is_whole() -> None:
    events = [target(), *increments(12)]
    events += events[1:8]
    random.Random(7).shuffle(events)  # noqa: S311  # no secret
    world = World(MemoryTable())
    world.settle(events)
    assert [each.state for each in points(world.table)] == [State.RESTORABLE] * 12


def test_a_chain_of_years_is_read_in_few_requests() -> None:
    """And a snapshots.json that has all of it is gone through once."""
    links = [(f"i-{n}.qcow2", f"i-{n - 1}.qcow2" if n else None) for n in range(1500)]
    disk = {"name": "disk-0", "file": "i-1499.qcow2", "format": "qcow2"}
    files = {"metadata.json": document([disk]), "snapshots.json": chain(*links)}
    world = World(MemoryTable())
    world.settle([target(), *written({f"i-{n}.qcow2": qcow2() for n in range(1500)})])
    world.settle(written(files))
    assert only(world.table).reasons == ()
    links[0] = ("i-0.qcow2", "i-1499.qcow2")
    world.settle(written({"snapshots.json": chain(*links)}, number=2))
    assert only(world.table).reasons[0].startswith("disk disk-0: its chain is a circle")


def test_metadata_that_is_deleted_leaves_a_point_that_says_so() -> None:
    world = catalogued(WHOLE)
    world.settle([Happened(f"{HERE}metadata.json", None, 2)])
    point = only(world.table, state="deleted")
    assert point.reasons == ("its metadata was deleted from the bucket",)


def test_the_fingerprint_stays_when_an_image_is_lost_and_changes_with_its_content() -> None:
    world = catalogued(WHOLE)
    first = only(world.table).fingerprint
    world.settle([Happened(f"{HERE}disk-0.qcow2", None, 2)])
    assert only(world.table).fingerprint == first
    world.settle([Happened(f"{HERE}disk-0.qcow2", qcow2(), 3)])
    assert only(world.table).fingerprint not in (None, first)


def test_the_rows_of_a_folder_lie_together() -> None:
    world = catalogued(WHOLE)
    rows = list(world.table.query(bucket_partition(BUCKET), HERE))
    assert [row["sk"] for row in rows] == [f"{HERE}disk-0.qcow2", f"{HERE}metadata.json"]
    assert folders.folder_of(rows[0]["sk"]) == HERE


@pytest.mark.parametrize("select", [{"vm": "default/web01"}, {"namespace": "default"}])
def test_a_newer_folder_that_is_incomplete_hides_no_backup_that_can_be_restored(
    select: dict[str, str],
) -> None:
    with a_lab() as lab:
        lab.backup("web01")
        world = World(lab.table)
        newer = document(name="web01", namespace="default", createdAt="2026-09-02T00:00:00Z")
        files = {"metadata.json": newer}
        world.settle([target("files", prefix="exports/")])
        for day in ("monday", "tuesday"):
            world.settle(written(files, below=f"exports/default/web01/{day}/"))
        assert len(points(lab.table, vm="default/web01", state="incomplete")) == 2
        output = lab.restore({"select": {**select, "cluster": "east"}, "target": "west"})
        (machine,) = output["machines"]
        assert (machine["vm"], machine["state"]) == ("web01", "ready")


def test_a_folder_counts_as_restorable_and_proves_no_cluster_alive() -> None:
    """Anybody may have written it, at any time."""
    world = catalogued({**WHOLE, "metadata.json": document(createdAt="2026-08-16T01:00:00Z")})
    (count,) = census.census(world.table)
    assert (count.machines, count.restorable, count.newest) == (
        1,
        1,
        "2026-08-16T01:00:00Z",
    )
    assert census.newest_taken(world.table, "east") is None
    (_, entry), *_ = summary.entries(world.table, summary.Scope(), datetime.now(UTC))
    assert entry["newestRestorable"] == entry["newest"]
    for state in (State.RESTORABLE, State.INCOMPLETE):
        of_state = summary.entries(world.table, summary.Scope(state=state), datetime.now(UTC))
        assert len(list(of_state)) == (state is State.RESTORABLE), "its best point decides"
    newest = points(world.table, latest=True, state="restorable")
    assert [each.vm for each in newest] == ["pg-1"]


PAGE = (ROOT / "docs" / "layouts.md").read_text()


def test_the_example_of_the_page_is_restorable_once_its_images_are_there() -> None:
    files = dict(re.findall(r"\*\*(db/\S+)\*\*\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
    assert len(files) == 2
    world = World(MemoryTable())
    world.settle([target(), *(Happened(key, body.encode()) for key, body in files.items())])
    point = only(world.table)
    assert (point.state, quarantined(world.table)) == (State.INCOMPLETE, [])
    world.settle(
        Happened(f"db/pg-1/{day}/root.qcow2", qcow2()) for day in ("2026-08-15", "2026-08-16")
    )
    point = only(world.table)
    assert (point.state, point.reasons) == (State.RESTORABLE, ())
    assert (point.namespace, point.vm, point.backup) == ("db", "pg-1", "2026-08-16")


@pytest.mark.parametrize(
    "said", [each.partition(": ")[2] for _, (_, each) in sorted(LIES.items()) if "disk" in each]
)
def test_the_page_has_each_reason_and_what_to_do(said: str) -> None:
    table = PAGE[PAGE.index("| reason |") :]
    known = re.findall(r"`([^`]+)`", table[: table.index("## Events")])
    words = [part.strip(" …:") for each in known for part in each.split("…") if part.strip(" …:")]
    assert any(word in said for word in words), said
