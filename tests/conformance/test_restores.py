"""Our restores on controllers that change what we write: what a machine becomes there.

Aspects: run strategies, addresses, data that comes later or never, backups that the cluster does
not know yet, what acts on others' claims. Not aspects: versions of Harvester (test_versions),
deleting what a restore made (test_cleanup).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any
from uuid import uuid5

import pytest

from local.api import Object
from local.samples.guests import Nic
from local.samples.harvester import MANAGEMENT
from local.samples.longhorn import backing_image
from local.samples.world import VmBackup, a_vm_backup, address, an_image
from local.stack import Ended, wait
from shared.jsonpath import dig
from shared.restore.virtual_machine import FIRMWARE_UUIDS
from tests.conformance.lab import HARVESTER, LONGHORN, LONGHORN_NAMESPACE, SOURCE, Lab
from tests.conformance.test_machines import MAC, NO_WEBHOOKS, STRATEGY, network
from tests.integration.lab_objects import KUBEVIRT, a_backing_image, claim, manifest

NO_SCHEDULER = "the simulated cluster has no scheduler"
REMOVED = "harvesterhci.io/removedPersistentVolumeClaims"


def put(
    lab: Lab,
    vm: str,
    *,
    notes: Object | None = None,
    edit: Any = None,
    described: bool = True,
    **traits: Any,
) -> None:
    """A backup of a machine, whose annotations have NOTES, in the bucket; DESCRIBED: with what
    Harvester saves of its image.
    """
    # Harvester names VolumeSnapshotContents after backups: one name in all of the cluster.
    made = a_vm_backup(vm, lab.namespace, f"{lab.namespace}-{vm}", **traits)
    objects = bent(made, lambda spec: bend(spec, notes or {}, edit))
    lab.stack.put(each for each in objects if described or "vmimages/" not in each[0])


def bend(source: Object, notes: Object, edit: Callable[[Object], object] | None) -> None:
    source["metadata"].setdefault("annotations", {}).update(notes)
    if edit:
        edit(source["spec"]["template"]["spec"])


def bent(backup: VmBackup, edit: Callable[[Object], None]) -> Iterator[tuple[str, bytes]]:
    for key, body in backup:
        if key == backup.key:
            document = json.loads(body)
            edit(document["vmSourceSpec"])
            body = json.dumps(document).encode()
        yield key, body


def restore(lab: Lab, vms: int, **more: Any) -> Ended:
    """Every machine of the test, into its own namespace."""
    return lab.stack.restore(request(lab, vms, **more), seconds=240)


def request(lab: Lab, vms: int, **more: Any) -> Object:
    """The restore of every machine of the test, once there are so many restorable ones."""

    def points() -> bool:
        found = lab.stack.search(cluster=SOURCE, state="restorable", limit=1000)["restorePoints"]
        return len([each for each in found if each["namespace"] == lab.namespace]) == vms

    lab.settle()
    wait(points, seconds=60, what=f"{vms} restorable points")
    return {
        "select": {"namespace": lab.namespace, "cluster": SOURCE},
        "target": lab.name,
        "ready": {"condition": "vm", "timeout": "PT2M"},
        **more,
    }


def states(ended: Ended) -> dict[str, str]:
    assert ended.output, ended
    return {each["vm"]: each["state"] for each in ended.output["machines"]}


def error(ended: Ended, vm: str) -> str:
    machines = {each["vm"]: each for each in ended.output["machines"]}
    return str(machines[vm]["error"]["message"])


def virtual_machine(lab: Lab, name: str) -> Object:
    return lab.get(manifest(KUBEVIRT, "VirtualMachine", name, lab.namespace))


def interfaces(lab: Lab, name: str) -> list[Object]:
    found = virtual_machine(lab, name)["spec"]["template"]["spec"]["domain"]["devices"]
    return list(found["interfaces"])


def test_every_run_strategy_is_the_source_s_again_whatever_its_annotation_said(lab: Lab) -> None:
    """Harvester turns a start of a halted machine into what its annotation says."""
    cases = {
        "absent": ("Always", {}),
        "equal": ("Always", {STRATEGY: "Always"}),
        "different": ("Always", {STRATEGY: "RerunOnFailure"}),
        "rerun": ("RerunOnFailure", {}),
        "manual": ("Manual", {STRATEGY: "RerunOnFailure"}),
        "halted": ("Halted", {}),
    }
    for vm, (strategy, notes) in cases.items():
        put(lab, vm, run_strategy=strategy, networks=[MANAGEMENT], notes=notes)
    ended = restore(lab, len(cases))
    still = dict.fromkeys(("manual", "halted"), "applied")
    assert states(ended) == {vm: still.get(vm, "ready") for vm in cases}
    found = {vm: virtual_machine(lab, vm)["spec"]["runStrategy"] for vm in cases}
    assert found == {vm: strategy for vm, (strategy, _) in cases.items()}
    for vm in still:
        instance = manifest(KUBEVIRT, "VirtualMachineInstance", vm, lab.namespace)
        assert not lab.exists(instance), "nobody started it"


def test_a_machine_starts_when_its_data_is_there_and_not_when_its_claim_is_bound(lab: Lab) -> None:
    put(lab, "web", networks=[MANAGEMENT])
    asked = request(lab, 1)
    lab.inject(restoreSeconds="8")
    running = lab.stack.start(asked)
    wanted = claim(lab.namespace)
    wanted["metadata"]["name"] = virtual_claim(lab)
    volume = lab.volume_of(wanted)
    lab.wait(lambda: bool(lab.longhorn("volumes", volume).get("restoreRequired")), "it is copied")
    assert virtual_machine(lab, "web")["spec"]["runStrategy"] == "Halted"
    ended = lab.stack.finish(running)
    assert states(ended) == {"web": "ready"}
    assert lab.longhorn("volumes", volume)["restoreRequired"] is False


def virtual_claim(lab: Lab) -> str:
    """The name of the claim of the machine `web`, once it is made."""
    wanted = manifest(KUBEVIRT, "VirtualMachine", "web", lab.namespace)
    lab.wait(lambda: lab.exists(wanted), "the machine is made")
    volumes = lab.get(wanted)["spec"]["template"]["spec"]["volumes"]
    return next(
        str(each["persistentVolumeClaim"]["claimName"])
        for each in volumes
        if "persistentVolumeClaim" in each
    )


def test_a_copy_that_fails_is_told_in_longhorn_s_words_and_nothing_is_started(lab: Lab) -> None:
    put(lab, "web", networks=[MANAGEMENT])
    asked = request(lab, 1)
    lab.inject(restoreError="*")
    ended = lab.stack.restore(asked)
    assert states(ended) == {"web": "failed"}
    assert "All replica restore failed and the volume became Faulted" in error(ended, "web")
    assert virtual_machine(lab, "web")["spec"]["runStrategy"] == "Halted"


def test_a_backup_that_the_cluster_has_not_read_yet_is_asked_for(lab: Lab) -> None:
    target = manifest(LONGHORN, "BackupTarget", "default", LONGHORN_NAMESPACE)
    with lab.unread():
        put(lab, "web", networks=[MANAGEMENT])
        ended = restore(lab, 1)
    assert states(ended) == {"web": "ready"}
    assert lab.get(target)["spec"]["syncRequestedAt"]


def test_one_address_that_another_machine_has_stops_that_machine_alone(lab: Lab) -> None:
    lan, taken = network(lab), address(f"{lab.namespace}/other")
    put(lab, "other", networks=[Nic(network=lan, mac=taken)])
    assert states(restore(lab, 1, mapping={"mac": "keep"})) == {"other": "ready"}
    for number in range(1, 9):
        vm = f"web-{number}"
        mac = taken if number == 4 else address(f"{lab.namespace}/{vm}")
        put(lab, vm, networks=[Nic(network=lan, mac=mac)])
    ended = restore(lab, 9, mapping={"mac": "keep"}, onExisting="skip")
    expected = {f"web-{number}": "ready" for number in range(1, 9)}
    assert states(ended) == expected | {"web-4": "blocked", "other": "skipped"}
    assert f"is used by machine {lab.namespace}/other on {lab.name}" in error(ended, "web-4")


@pytest.mark.only_real(NO_WEBHOOKS)
def test_a_restore_that_is_repeated_leaves_what_the_webhooks_changed(lab: Lab) -> None:
    lan = network(lab)
    put(lab, "web", networks=[Nic(network=lan, mac=MAC)])
    asked = request(lab, 1, requestId=f"repeated-{lab.namespace}")
    assert states(lab.stack.restore(asked)) == {"web": "ready"}
    before = virtual_machine(lab, "web")
    (interface,) = interfaces(lab, "web")
    assert interface["macAddress"] not in ("", MAC), "Harvester's own"
    assert states(lab.stack.restore(asked)) == {"web": "ready"}
    after = virtual_machine(lab, "web")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    conditions = {each["type"] for each in after["status"].get("conditions", [])}
    assert "RestartRequired" not in conditions


def test_a_stranger_s_claim_outlives_a_machine_whose_annotation_named_it(lab: Lab) -> None:
    """Harvester deletes the claims that the annotation names with the machine."""
    stranger = claim(lab.namespace)
    del stranger["spec"]["dataSource"]
    lab.apply(stranger)
    lab.volume_of(stranger)
    put(lab, "web", networks=[MANAGEMENT], notes={REMOVED: stranger["metadata"]["name"]})
    assert states(restore(lab, 1)) == {"web": "ready"}
    restored = manifest(KUBEVIRT, "VirtualMachine", "web", lab.namespace)
    lab.delete(restored)
    lab.gone(restored)
    assert lab.never(lambda: not lab.exists(stranger))


def test_a_note_of_a_disk_that_is_not_restored_makes_no_empty_claim(lab: Lab) -> None:
    """Harvester makes a claim of each template that has none."""
    extra = {
        "metadata": {"name": "extra"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Block",
            "storageClassName": "harvester-longhorn",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    note = {"harvesterhci.io/volumeClaimTemplates": json.dumps([extra])}
    put(lab, "web", networks=[MANAGEMENT], notes=note)
    assert states(restore(lab, 1)) == {"web": "ready"}
    unwanted = claim(lab.namespace)
    unwanted["metadata"]["name"] = "extra"
    assert lab.never(lambda: lab.exists(unwanted))


def over_an_image(lab: Lab, image: str, *, described: bool = True, **traits: Any) -> Object:
    """The request for a machine whose disk lies over it; DESCRIBED: with Harvester's metadata."""
    put(lab, "web", networks=[MANAGEMENT], image=image, described=described, **traits)
    asked = request(lab, 1, mapping={"storageClasses": {"*": "harvester-longhorn"}})
    lab.wait(
        lambda: "image" in json.dumps(lab.stack.search(vm=f"{lab.namespace}/web")), "it is known"
    )
    return asked


def test_an_image_that_lies_in_the_bucket_is_restored_and_goes_with_its_machine(lab: Lab) -> None:
    """One that Harvester has not saved, or no longer."""
    image = f"default/image-{lab.namespace}"
    picture = an_image(image)
    other = backing_image(picture.name, b"other content")
    here = manifest(LONGHORN, "BackingImage", picture.name, LONGHORN_NAMESPACE)
    asked = over_an_image(lab, image, described=False)
    lab.apply(a_backing_image(other))
    wrong = lab.stack.restore(asked)
    assert states(wrong) == {"web": "blocked"}
    assert f"BackingImage {picture.name} on {lab.name} has other content" in error(wrong, "web")
    lab.delete(here)
    ended = lab.stack.restore(asked)
    assert states(ended) == {"web": "ready"}
    made = lab.get(here)["spec"]
    assert (made["sourceType"], made["checksum"]) == ("restore", picture.checksum)
    assert made["sourceParameters"]["backup-url"].endswith(f"?backingImage={picture.name}")
    undone = lab.stack.roll_back(ended.output["restoreId"], seconds=280, deleteStarted=True)
    assert (undone.output["state"], undone.output["kept"]) == ("succeeded", []), undone
    assert not lab.exists(here)


@pytest.mark.parametrize("who", ["harvester", "replant"])
def test_an_image_that_harvester_has_saved_is_restored_by_harvester_and_stays(
    lab: Lab, who: str
) -> None:
    """Harvester makes it of the metadata by itself when it looks at the bucket."""
    image = f"{lab.namespace}/image-{lab.namespace}"
    with lab.unread() if who == "replant" else nullcontext():
        asked = over_an_image(lab, image)
        before = lab.etags()
        ended = lab.stack.restore(asked)
    assert states(ended) == {"web": "ready"}, ended
    here = manifest(LONGHORN, "BackingImage", an_image(image).name, LONGHORN_NAMESPACE)
    made = lab.get(here)
    assert made["metadata"]["annotations"]["harvesterhci.io/imageId"] == image
    assert made["spec"]["checksum"] == an_image(image).checksum
    undone = lab.stack.roll_back(ended.output["restoreId"], seconds=280, deleteStarted=True)
    assert undone.output["state"] == "succeeded", undone
    assert {each["kind"] for each in undone.output["kept"]} <= {"VirtualMachineImage", "Namespace"}
    assert lab.exists(here)
    owner = manifest(HARVESTER, "VirtualMachineImage", f"image-{lab.namespace}", lab.namespace)
    assert dig(lab.get(owner), "spec", "sourceType") == "restore"
    assert lab.etags() == before


def test_an_image_that_was_never_backed_up_must_be_on_the_target(lab: Lab) -> None:
    """As before Harvester 1.4."""
    image = f"default/image-{lab.namespace}"
    picture = an_image(image)
    asked = over_an_image(lab, image, version="1.2")
    missing = lab.stack.restore(asked)
    assert states(missing) == {"web": "blocked"}
    assert f"has no BackingImage {picture.name}" in error(missing, "web")
    lab.apply(a_backing_image(picture))
    assert states(lab.stack.restore(asked)) == {"web": "ready"}


def test_a_machine_with_a_gpu_comes_back_without_it_and_the_plan_said_so(lab: Lab) -> None:
    gpus = [{"name": "gpu1", "deviceName": "nvidia.com/GA102GL"}]
    put(
        lab,
        "web",
        networks=[MANAGEMENT],
        edit=lambda spec: spec["domain"]["devices"].update(gpus=gpus),
    )
    ended = restore(lab, 1)
    assert states(ended) == {"web": "ready"}
    report = lab.stack.report(ended.output["report"])
    assert "domain.devices.gpus is left out" in json.dumps(report["checks"])
    devices = virtual_machine(lab, "web")["spec"]["template"]["spec"]["domain"]["devices"]
    assert "gpus" not in devices


@pytest.mark.only_real("the simulated cluster has the definitions of another version")
def test_a_field_that_an_older_kubevirt_does_not_declare_is_left_out_with_a_word(lab: Lab) -> None:
    def newer(spec: Object) -> None:
        spec["domain"]["rebootPolicy"] = "Terminate"
        spec["domain"].pop("firmware", None)

    put(lab, "web", networks=[MANAGEMENT], edit=newer)
    ended = restore(lab, 1)
    assert states(ended) == {"web": "ready"}
    report = lab.stack.report(ended.output["report"])
    said = [each["message"] for each in report["checks"] if each["check"] == "schema"]
    assert said == [
        "domain.rebootPolicy is left out: the target's KubeVirt does not know this field."
    ]
    domain = virtual_machine(lab, "web")["spec"]["template"]["spec"]["domain"]
    assert domain["firmware"]["uuid"] == str(uuid5(FIRMWARE_UUIDS, "web")), "as it was, not random"


@pytest.mark.only_real(NO_SCHEDULER)
def test_a_machine_that_demands_a_zone_waits_for_a_node_of_it_and_the_plan_said_so(
    lab: Lab,
) -> None:
    term = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["berlin"]}
    demand = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": demand}}
    put(lab, "web", networks=[MANAGEMENT], edit=lambda spec: spec.update(affinity=affinity))
    ended = restore(lab, 1, ready={"timeout": "PT20S"})
    assert states(ended) == {"web": "failed"}
    report = lab.stack.report(ended.output["report"])
    warned = [each["message"] for each in report["checks"] if each["verdict"] == "warn"]
    assert any("topology.kubernetes.io/zone" in each for each in warned), warned
    assert "ErrorUnschedulable" in error(ended, "web")
