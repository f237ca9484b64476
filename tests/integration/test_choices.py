"""The choices of a restore request on the running system: what is selected, changed, waited for."""

from typing import Any

import pytest

from local.api import Api
from local.samples.guests import Nic
from local.samples.world import a_vm_backup, an_image
from local.stack import Ended, Stack, wait
from tests.integration.lab_objects import a_backing_image

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9")
MAC = "52:54:00:6b:3c:02"
IMAGE = "default/image-8xv2l"
OLDER, NEWER = "2026-08-10T01:00:00Z", "2026-08-15T01:00:00Z"


@pytest.fixture(scope="module")
def west(stack: Stack) -> Api:
    return stack.cluster("west")


@pytest.fixture(scope="module", autouse=True)
def backups(stack: Stack, west: Api) -> None:
    """A machine with two backups, one that was halted and came from an image, one that says only
    `running`.
    """
    first = a_vm_backup("web", "many", "web-1", taken_at=OLDER, networks=[Nic(mac=MAC)])
    stack.put(first)
    stack.put(
        a_vm_backup("web", "many", "web-2", taken_at=NEWER, networks=[Nic(mac=MAC)], after=first)
    )
    stack.put(a_vm_backup("halted", "many", "halted", image=IMAGE, run_strategy="Halted"))
    west.apply(a_backing_image(an_image(IMAGE)))
    stack.put(a_vm_backup("running", "many", "running", version="1.0", running=True))
    for vm in ("web", "halted", "running"):
        restorable(stack, f"many/{vm}")


def restorable(stack: Stack, vm: str) -> dict[str, Any]:
    return wait(
        lambda: stack.newest(vm, "restorable"), seconds=60, what=f"a restorable point of {vm}"
    )


def restored(
    stack: Stack,
    into: str,
    select: dict[str, Any],
    mapping: dict[str, Any] | None = None,
    **more: Any,
) -> Ended:
    """The mapping that every case here needs, and more; each case has a namespace of its own."""
    always = {
        "namespaces": {"many": into},
        "networks": {"*": "default/vlan200"},
        "storageClasses": {"*": "harvester-longhorn"},
    }
    ended = stack.restore(
        {"select": select, "target": "west", "mapping": always | (mapping or {}), **more}
    )
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "succeeded"), ended
    return ended


def states(ended: Ended) -> dict[str, str]:
    return {each["vm"]: each["state"] for each in ended.output["machines"]}


def vm(west: Api, namespace: str, name: str = "web") -> dict[str, Any]:
    return west.call("GET", f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}")


def strategy(west: Api, namespace: str, name: str = "web") -> str:
    return str(vm(west, namespace, name)["spec"]["runStrategy"])


def macs(west: Api, namespace: str) -> list[str | None]:
    interfaces = vm(west, namespace)["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
    return [each.get("macAddress") for each in interfaces]


def test_a_namespace_comes_back_whole_and_each_machine_as_it_was(stack: Stack, west: Api) -> None:
    ready = {"condition": "agent", "timeout": "PT5M"}
    ended = restored(stack, "c-whole", {"namespace": "many", "cluster": "east"}, ready=ready)
    assert states(ended) == {"web": "ready", "running": "ready", "halted": "applied"}
    found = {name: strategy(west, "c-whole", name) for name in states(ended)}
    assert found == {"web": "RerunOnFailure", "running": "Always", "halted": "Halted"}


def test_an_instant_selects_the_newest_point_at_or_before_it(stack: Stack, west: Api) -> None:
    for into, at, backup in (("c-old", "2026-08-12T00:00:00Z", OLDER), ("c-new", "latest", NEWER)):
        restored(stack, into, {"vm": "many/web", "cluster": "east", "at": at})
        assert vm(west, into)["metadata"]["annotations"]["backup.origin.taken-at"] == backup


def test_macs_are_cleared_kept_or_derived(stack: Stack, west: Api) -> None:
    for policy in ("clear", "keep", "derive"):
        restored(stack, f"c-{policy}", {"vm": "many/web"}, {"mac": policy})
    assert macs(west, "c-clear") == [None]
    assert macs(west, "c-keep") == [MAC]
    [derived] = macs(west, "c-derive")
    assert derived
    assert derived.startswith("02:")


def test_a_machine_that_is_not_to_start_stays_halted_over_its_disks(
    stack: Stack, west: Api
) -> None:
    ended = restored(stack, "c-halted", {"vm": "many/web"}, start=False)
    assert (states(ended), strategy(west, "c-halted")) == ({"web": "applied"}, "Halted")
    claims = west.call("GET", "/api/v1/namespaces/c-halted/persistentvolumeclaims")["items"]
    assert [each["status"]["phase"] for each in claims] == ["Bound"]


def test_nobody_waits_for_a_machine_with_the_condition_none(stack: Stack, west: Api) -> None:
    ended = restored(stack, "c-none", {"vm": "many/web"}, ready={"condition": "none"})
    assert (states(ended), strategy(west, "c-none")) == ({"web": "applied"}, "RerunOnFailure")


def test_a_storage_class_is_mapped_for_the_claim_and_in_harvesters_note(
    stack: Stack, west: Api
) -> None:
    west.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "fast"},
            "provisioner": "driver.longhorn.io",
            "parameters": {"migratable": "true"},
        }
    )
    restored(
        stack,
        "c-class",
        {"id": restorable(stack, "many/halted")["id"]},
        {"storageClasses": {"*": "fast"}},
    )
    [claim] = west.call("GET", "/api/v1/namespaces/c-class/persistentvolumeclaims")["items"]
    assert claim["spec"]["storageClassName"] == "fast"
    note = vm(west, "c-class", "halted")["metadata"]["annotations"][
        "harvesterhci.io/volumeClaimTemplates"
    ]
    assert '"storageClassName":"fast"' in note


def test_backups_of_every_version_of_harvester_come_back_together(stack: Stack) -> None:
    names = {version: f"v{version.replace('.', '-')}" for version in VERSIONS}
    for version, name in names.items():
        stack.put(a_vm_backup(name, "many", name, version=version))
    ids = [restorable(stack, f"many/{name}")["id"] for name in names.values()]
    ended = restored(stack, "c-versions", {"ids": ids}, concurrency=4)
    assert states(ended) == dict.fromkeys(names.values(), "ready")
