"""Harvester's metadata: every version's shape, what counts as content, and what is refused without
being quoted.

The genuine files lie in the folder REPLANT_FIXTURES; our generator's are always read.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.samples.encoding import GIB, MIB
from local.samples.guests import MANAGEMENT, Disk, Nic
from local.samples.harvester import machine, schedule_name, vm_image
from local.samples.replay import objects_in
from shared.errors import Unreadable
from shared.layouts import registry
from shared.layouts.harvester import content_hash, image_backup, machine_backup
from shared.layouts.parsing import quantity
from shared.models.backups import ImageBackup, MachineBackup
from shared.models.base import from_instant
from shared.models.facts import Kind
from shared.models.restore_points import Machine
from shared.models.run_strategies import run_strategy

Raw = dict[str, Any]
FIXTURES = Path(__file__).parents[2] / os.environ.get("REPLANT_FIXTURES", "../shared/fixtures")
VERSIONS = [f"1.{minor}" for minor in range(10)]
SECRET = "hunter2-hunter2"
DISKS = tuple(
    Disk(name=f"disk-{n}", claim=f"web01-disk-{n}", backup=f"backup-{n}") for n in range(3)
)


def files() -> dict[str, bytes]:
    ours = {
        f"own-{v}": machine(version=v, disks=DISKS, secrets={"web01-key": {"userdata": SECRET}})
        for v in VERSIONS
    }
    genuine = [
        file for file in sorted(FIXTURES.glob("harvester/**/*.cfg")) if "vmimage" not in str(file)
    ]
    return {name: made[1] for name, made in ours.items()} | {
        str(file.relative_to(FIXTURES)): file.read_bytes() for file in genuine
    }


def raw(**traits: Any) -> Raw:
    return dict(json.loads(machine(disks=DISKS, **traits)[1]))


def body(document: Raw) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(("name", "written"), files().items(), ids=files())
def test_every_versions_metadata_is_read(name: str, written: bytes) -> None:
    read_, source = machine_backup(written), json.loads(written)
    spec = source["vmSourceSpec"]["spec"]["template"]["spec"]
    assert (read_.namespace, read_.backup) == (source["namespace"], source["name"])
    assert read_.vm == source["backupSpec"]["source"]["name"]
    volumes = {volume["volumeName"]: volume for volume in source["volumeBackups"]}
    assert [disk.disk for disk in read_.disks] == sorted(volumes)
    for disk in read_.disks:
        claim = volumes[disk.disk]["persistentVolumeClaim"]
        assert (disk.claim, disk.engine_volume) == (
            claim["metadata"]["name"],
            claim["spec"]["volumeName"],
        )
        assert disk.size_bytes == quantity(claim["spec"]["resources"]["requests"]["storage"])
        assert disk.engine_backup == volumes[disk.disk]["longhornBackupName"]
        assert disk.driver == "driver.longhorn.io"
    assert read_.machine.cpu == spec["domain"]["cpu"]["cores"]
    assert read_.machine.memory_bytes == quantity(spec["domain"]["resources"]["limits"]["memory"])
    assert [nic.interface for nic in read_.networks] == [
        network["name"] for network in spec["networks"]
    ]
    assert {secret.name: set(secret.keys) for secret in read_.secrets} == {
        secret["name"]: set(secret["data"]) for secret in source.get("secretBackups", [])
    }
    assert read_.gaps == ()
    assert SECRET not in read_.model_dump_json()


def test_a_disk_whose_driver_is_not_said_or_empty_is_longhorns() -> None:
    """Harvester 1.0 does not say it; a newer one that moves such a file writes it empty."""
    document = raw()
    first, second, _ = document["volumeBackups"]
    del first["csiDriverName"]
    second["csiDriverName"] = ""
    drivers = {disk.driver for disk in machine_backup(body(document)).disks}
    assert drivers == {"driver.longhorn.io"}


def stored() -> dict[str, bytes]:
    """Objects by key: those of the genuine layouts where they exist, and always ours."""
    genuine = {
        key: body
        for tree in FIXTURES.glob("harvester/*layout")
        for key, body in objects_in(tree).items()
    }
    image = vm_image(backing_image="vmi-1", checksum="00ff")
    return dict([image, *(machine(version=version) for version in VERSIONS)]) | genuine


@pytest.mark.parametrize(("key", "written"), stored().items(), ids=stored())
def test_a_key_leads_to_the_name_in_the_metadata(key: str, written: bytes) -> None:
    place = registry.recognise(key)
    found = registry.read(place, registry.Content([written]))
    assert place.kind is (Kind.IMAGE if isinstance(found, ImageBackup) else Kind.MACHINE)
    assert place.name.endswith(
        found.backup if isinstance(found, MachineBackup) else json.loads(written)["name"]
    )


def test_an_image_says_its_backing_image_and_checksum() -> None:
    image = image_backup(
        vm_image(backing_image="vmi-1", checksum="00ff", display_name="Ubuntu <24.04>")[1]
    )
    assert (image.namespace, image.name, image.display_name) == (
        "default",
        "image-8xv2l",
        "Ubuntu <24.04>",
    )
    assert (image.backing_image, image.checksum) == ("vmi-1", "00ff")
    elsewhere = image_backup(b'{"name":"image-1","url":"https://x/y.img"}')
    assert (elsewhere.backing_image, elsewhere.namespace) == (None, "default")
    named = image_backup(b'{"name":"image-1","namespace":"prod"}')
    assert named.namespace == "prod"


@pytest.mark.parametrize("empty", [{}, {"namespace": None}, {"namespace": ""}])
def test_what_says_no_namespace_is_of_the_namespace_default(empty: Raw) -> None:
    source = raw()
    del source["namespace"]
    assert machine_backup(body(source | empty)).namespace == "default"
    assert image_backup(body({"name": "image-1"} | empty)).namespace == "default"


def test_a_disks_image_is_what_its_claim_was_made_of() -> None:
    disks = (
        Disk(name="a", claim="web01-a", image="default/image-8xv2l"),
        Disk(name="b", claim="web01-b"),
    )
    found = machine_backup(machine(disks=disks)[1]).disks
    assert [disk.image for disk in found] == ["default/image-8xv2l", None]


def sized(limits: Raw, requests: Raw, cpu: Raw | None = None, guest: str | None = None) -> Machine:
    source = raw()
    domain = source["vmSourceSpec"]["spec"]["template"]["spec"]["domain"]
    domain |= {"resources": {"limits": limits, "requests": requests}, "cpu": cpu}
    domain["memory"] = {"guest": guest}
    return machine_backup(body(source)).machine


@pytest.mark.parametrize(
    ("cpu", "number"),
    [
        ({"cores": 3, "sockets": 2, "threads": 2}, 12),
        ({"cores": 3}, 3),
        ({"sockets": 3}, 3),
        ({"threads": 3}, 3),
        ({}, 1),
        (None, 7),
    ],
)
def test_cpus_are_cores_times_sockets_times_threads_or_else_the_limit(
    cpu: Raw | None, number: int
) -> None:
    assert sized({"cpu": "7"}, {"cpu": "5"}, cpu).cpu == number


@pytest.mark.parametrize(
    ("limit", "guest", "request_", "gib"),
    [
        ("4Gi", "3Gi", "2Gi", 4),
        (None, "3Gi", "2Gi", 3),
        (None, "3Gi", None, 3),
        (None, None, "2Gi", 2),
    ],
)
def test_memory_is_the_limit_or_else_the_guests_or_else_the_request(
    limit: str | None, guest: str | None, request_: str | None, gib: int
) -> None:
    found = sized({"memory": limit}, {"memory": request_}, guest=guest)
    assert found.memory_bytes == gib * GIB


def test_the_operating_system_is_a_label() -> None:
    assert machine_backup(machine()[1]).machine.os == "ubuntu"
    source = raw()
    del source["vmSourceSpec"]["metadata"]["labels"]["harvesterhci.io/os"]
    assert machine_backup(body(source)).machine.os is None


def test_a_machine_may_have_512_disks_and_no_more() -> None:
    source = raw()
    volumes = [{"name": f"disk-{number}"} for number in range(513)]
    spec = source["vmSourceSpec"]["spec"]["template"]["spec"]
    spec["volumes"] = volumes[:512]
    assert machine_backup(body(source)).backup == source["name"]
    spec["volumes"] = volumes
    with pytest.raises(Unreadable) as refusal:
        machine_backup(body(source))
    assert refusal.value.message == "The machine has 513 disks. At most 512 are catalogued."


def test_a_disk_that_was_backed_up_twice_is_refused_with_the_remedy() -> None:
    source = raw()
    source["volumeBackups"].append(source["volumeBackups"][0])
    with pytest.raises(Unreadable) as refusal:
        machine_backup(body(source))
    assert refusal.value.message == (
        "volumeBackups: a volumeName is there twice. Back the machine up again."
    )


def test_a_network_is_named_with_its_namespace_and_the_pod_network_is_pod() -> None:
    nics = (
        MANAGEMENT,
        Nic(name="a", network="vlan1", mac="52:54:00:00:00:01"),
        Nic(name="b", network="net/vlan2"),
    )
    found = machine_backup(machine(namespace="blue", networks=nics)[1]).networks
    assert {nic.interface: nic.network for nic in found} == {
        "default": "pod",
        "a": "blue/vlan1",
        "b": "net/vlan2",
    }
    assert found[1].mac == "52:54:00:00:00:01"


def test_what_the_backup_lacks_is_said() -> None:
    source = raw()
    lost = source["volumeBackups"].pop()["persistentVolumeClaim"]["metadata"]["name"]
    volumes = source["vmSourceSpec"]["spec"]["template"]["spec"]["volumes"]
    volumes.append({"name": "extra", "dataVolume": {"name": "dv-1"}})
    gaps = machine_backup(body(source)).gaps
    assert [gap.partition(": ")[2] for gap in gaps] == [f"claim {lost}", "data volume dv-1"]


@pytest.mark.parametrize(
    ("spec", "strategy"),
    [
        ({"runStrategy": "RerunOnFailure"}, "RerunOnFailure"),
        ({"runStrategy": "Halted", "running": True}, "Halted"),
        ({"runStrategy": "", "running": True}, "Always"),
        ({"running": True}, "Always"),
        ({"running": False}, "Halted"),
        ({"runStrategy": None, "running": None}, "Halted"),
        ({}, "Halted"),
    ],
)
def test_running_is_the_older_word_for_a_run_strategy(spec: Raw, strategy: str) -> None:
    assert run_strategy(spec) == strategy
    source = raw()
    template = source["vmSourceSpec"]["spec"]["template"]
    source["vmSourceSpec"]["spec"] = spec | {"template": template}
    assert machine_backup(body(source)).machine.run_strategy == strategy


@pytest.mark.parametrize(
    ("name", "time"),
    [
        (schedule_name("2026-08-15T01:00:00Z"), "2026-08-15T01:00:00Z"),
        ("svmb-x-20260229.0100", None),
        ("svmb-x-00010101.0000", None),
        ("svmb-x-19691231.2359", None),
        ("svmb-x-19700101.0000", "1970-01-01T00:00:00Z"),
        ("svmb-x-20260815.2500", None),
        ("nightly-20260815.0100", None),
    ],
)
def test_a_schedules_name_says_the_time_in_utc(name: str, time: str | None) -> None:
    named = machine_backup(machine(backup=name)[1]).named_at
    assert named == (from_instant(time) if time else None)


def test_order_progress_and_empty_times_are_no_content() -> None:
    source = raw(version="1.9", secrets={"a": {"k": "v"}, "b": {"k": "v"}})
    other = json.loads(body(source))
    other["volumeBackups"].reverse()
    other["secretBackups"].reverse()
    for volume in other["volumeBackups"]:
        volume |= {
            "progress": 7,
            "readyToUse": True,
            "creationTime": "2026-01-01T00:00:00Z",
            "error": {"message": "x"},
        }
        volume["persistentVolumeClaim"]["metadata"]["creationTimestamp"] = None
    other["vmSourceSpec"]["metadata"]["creationTimestamp"] = None
    assert content_hash(other) == content_hash(source)


def test_the_content_is_the_hash_of_json_without_spaces_whose_keys_are_sorted() -> None:
    """It is in the fingerprint of a restore point, which must stay the same in every version."""
    source = {
        "volumeBackups": [
            {"volumeName": "b", "progress": 7},
            {"volumeName": "a", "longhornBackupName": "backup-1"},
        ],
        "name": "ü",
        "vmSourceSpec": {"spec": {"running": None}, "metadata": {"name": "web01"}},
    }
    text = (
        r'{"name":"\u00fc","secretBackups":[],'
        '"vmSourceSpec":{"metadata":{"name":"web01"},"spec":{}},'
        '"volumeBackups":[{"longhornBackupName":"backup-1","volumeName":"a"},{"volumeName":"b"}]}'
    )
    assert content_hash(source) == hashlib.sha256(text.encode()).hexdigest()


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [leaf for key, part in parts for leaf in leaves(part, (*path, key))] or (
        [path] if value is not None else []
    )


def changed(source: Raw, path: tuple[str | int, ...]) -> Raw:
    copy: Any = json.loads(body(source))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "changed"
    return dict(copy)


def test_every_other_change_is_new_content() -> None:
    labels, secrets = (
        {"progress": "1", "error": "1"},
        {"web01-key": {"creationTime": "x", "readyToUse": "y"}},
    )
    source = raw(labels=labels, secrets=secrets)
    for path in leaves(source):
        moving = (path[0], path[-1]) == ("volumeBackups", "progress")
        assert (content_hash(changed(source, path)) == content_hash(source)) is moving, path


QUANTITIES = {
    "40Gi": 40 * GIB,
    "1.5Gi": 3 * GIB // 2,
    "64Mi": 64 * MIB,
    "2Ti": 2048 * GIB,
    "1Ki": 1024,
    "1k": 1000,
    "3P": 3 * 10**15,
    "1E": 10**18,
    "1e3": 1000,
    "1E3": 1000,
    "1e-3": 1,
    "125m": 1,
    "2000m": 2,
    "2001m": 3,
    "100u": 1,
    "1n": 1,
    "0": 0,
    "0.5": 1,
    ".5": 1,
    "2.": 2,
    "+5": 5,
    "0" * 63 + "5": 5,
    "-3": -3,
    "9007199254740993": 2**53 + 1,  # a float would lose the last digit
    "9007199254740993Ki": (2**53 + 1) * 1024,
}


@pytest.mark.parametrize(("text", "number"), QUANTITIES.items())
def test_a_quantity_is_a_whole_number_rounded_up(text: str, number: int) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Gi",
        "1gi",
        "1 Gi",
        " 1",
        "1_000",
        "1e",
        "1e400",
        "nan",
        "inf",
        "²",
        "0x10",
        "1KiB",
        "0" * 64 + "5",
        SECRET,
    ],
)
def test_what_is_no_quantity_is_refused_unquoted(text: str) -> None:
    with pytest.raises(ValueError, match="quantity") as refusal:
        quantity(text)
    assert str(refusal.value) == "must be a Kubernetes quantity such as 40Gi"


def vm(edit: Callable[[Raw], object]) -> Callable[[Raw], object]:
    return lambda source: edit(source["vmSourceSpec"]["spec"]["template"]["spec"])


def volume(edit: Callable[[Raw], object]) -> Callable[[Raw], object]:
    return lambda source: edit(source["volumeBackups"][0])


WRONG: list[tuple[str, Callable[[Raw], object]]] = [
    ("vmSourceSpec", lambda source: source.pop("vmSourceSpec")),
    ("volumeBackups", lambda source: source.update(volumeBackups={"a": SECRET})),
    ("volumeBackups.0.volumeSize", volume(lambda one: one.update(volumeSize=SECRET))),
    ("volumeBackups.0.volumeSize", volume(lambda one: one.update(volumeSize=2**63))),
    (
        "volumeBackups.0.persistentVolumeClaim",
        volume(lambda one: one.update(persistentVolumeClaim=SECRET)),
    ),
    (
        "vmSourceSpec.spec.template.spec.domain.cpu.cores",
        vm(lambda s: s["domain"]["cpu"].update(cores=10**4000)),
    ),
    (
        "vmSourceSpec.spec.template.spec.domain.cpu.cores",
        vm(lambda s: s["domain"]["cpu"].update(cores=-1)),
    ),
    (
        "vmSourceSpec.spec.template.spec.networks.0.name",
        vm(lambda s: s["networks"][0].update(name=[SECRET])),
    ),
    (
        "secretBackups.0.data",
        lambda source: source.update(secretBackups=[{"name": "a", "data": SECRET}]),
    ),
    (
        "secretBackups.0.name",
        lambda source: source.update(secretBackups=[{"name": "../x", "data": {}}]),
    ),
]


@pytest.mark.parametrize(
    ("field", "edit"), WRONG, ids=[f"{n}-{field}" for n, (field, _) in enumerate(WRONG)]
)
def test_a_wrong_field_is_named_and_its_value_is_not_quoted(
    field: str, edit: Callable[[Raw], object]
) -> None:
    source = raw()
    edit(source)
    with pytest.raises(Unreadable) as refusal:
        machine_backup(body(source))
    assert refusal.value.message.startswith(f"{field}: ")
    assert SECRET not in str(refusal.value)
