"""Other ways to a machine's disks than CSI snapshots: of Longhorn's own objects, without the CSI
driver (strategy `longhorn`), by Harvester itself (`harvester`), images that are imported (`import`)
or only read (`mount`), and disks that are there already (mode register).

Aspects: that machines run on them, that a rollback takes away what the restore made and nothing
else, that such a volume is what the driver would have made. Sources of the rules: longhorn-manager
csi/util.go and webhook/resources/volume, kubernetes pkg/controller/volume/persistentvolume.
"""

import json
from contextlib import nullcontext

import pytest
import yaml

from local.api import Object, path
from local.samples.folders import document
from local.samples.harvester import MANAGEMENT
from local.stack import Ended
from shared import labels
from shared.jsonpath import dig
from shared.models.machine_disks import claims_of
from shared.restore import volume_parameters
from tests.conformance.lab import HARVESTER, LONGHORN, LONGHORN_NAMESPACE, SOURCE, Lab
from tests.conformance.test_cleanup import Made, is_usable, records, request_of, restored_machine
from tests.conformance.test_restores import put, restore, states
from tests.conformance.test_storage import of_class
from tests.integration.lab_objects import manifest

CDI = "cdi.kubevirt.io/v1beta1"
FEW_PARAMETERS = "the simulated CSI driver reads few parameters"


def test_a_machine_runs_on_volumes_that_no_csi_driver_made_and_a_rollback_takes_them_away(
    lab: Lab,
) -> None:
    made = restored_machine(lab, strategy="longhorn")
    before, known = lab.etags(), records(lab)
    assert made.of("VirtualMachine"), "it is ready"
    assert not made.of("VolumeSnapshot")
    assert len(made.volumes) == 2
    for name in made.volumes:
        assert name.startswith("replant-r-")
        persistent = lab.get(manifest("v1", "PersistentVolume", name))
        assert persistent["status"]["phase"] == "Bound"
        volume = lab.get(manifest(LONGHORN, "Volume", name, LONGHORN_NAMESPACE))
        assert volume["spec"]["fromBackup"]
        assert volume["status"]["restoreRequired"] is False
    restore_id = made.selector.partition("=")[2]
    ended = lab.stack.roll_back(restore_id, seconds=280, deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    made.wait_for_none("PersistentVolumeClaim")
    made.wait_for_no_volume()
    lab.settle()
    assert lab.etags() == before
    assert records(lab) == known


def test_a_machine_that_is_lost_comes_back_over_the_disks_that_it_left(lab: Lab) -> None:
    made = restored_machine(lab, start=False)
    made.delete("VirtualMachine")
    claims = {each["metadata"]["uid"] for each in made.of("PersistentVolumeClaim")}
    again = lab.stack.restore(request_of(lab, made.namespace, mode="register"))
    assert again.output["counts"] == {"ready": 1}, again
    ended = lab.stack.roll_back(again.output["restoreId"], seconds=280, deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    assert {each["metadata"]["uid"] for each in made.of("PersistentVolumeClaim")} == claims


def shelved(lab: Lab) -> str:
    """A folder with a raw image, in a target whose files nodes can mount; its machine's name."""
    disks = [{"name": "root", "file": "disk.img", "format": "raw"}]
    metadata = json.dumps(document(disks, name="till", namespace=lab.namespace)).encode()
    where = f"shelf/{lab.namespace}/"
    share = {"server": "nas.example.com", "path": f"/export/{lab.namespace}"}
    id_ = f"shelf-{lab.namespace}"
    target = {"id": id_, "url": f"s3://{lab.bucket}/{where}", "cluster": SOURCE, "nfs": share}
    lab.stack.document(f"targets/{id_}.yaml", yaml.safe_dump(target))
    below = f"{where}{lab.namespace}/till/nightly/"
    lab.stack.put([(f"{below}disk.img", bytes(4096)), (f"{below}metadata.json", metadata)])
    vm = f"{lab.namespace}/till"
    question = {"vm": vm, "cluster": SOURCE, "state": "restorable"}
    lab.wait(lambda: bool(lab.stack.search(**question).get("restorePoints")), f"a point of {vm}")
    return vm


def test_a_machine_runs_over_an_image_that_is_only_read_and_a_rollback_takes_it_away(
    lab: Lab,
) -> None:
    """KubeVirt's webhooks take the overlay, Harvester's the machine, Kubernetes binds the claim."""
    vm = shelved(lab)
    before = lab.etags()
    request = request_of(lab, f"{lab.namespace}-restored", mode="emergency")
    ended = lab.stack.restore({**request, "select": {"vm": vm, "cluster": SOURCE}})
    assert ended.output, ended
    assert ended.output["counts"] == {"ready": 1}, ended.output
    restore_id = ended.output["restoreId"]
    made = Made(lab, f"{lab.namespace}-restored", f"{labels.RESTORE}={restore_id}", ())
    (machine,) = made.of("VirtualMachine")
    (claim,) = made.of("PersistentVolumeClaim")
    assert claim["status"]["phase"] == "Bound"
    (disk,) = machine["spec"]["template"]["spec"]["volumes"]
    assert disk["ephemeral"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    ended = lab.stack.roll_back(restore_id, seconds=280, deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    made.wait_for_none("PersistentVolumeClaim")
    lab.gone(manifest("v1", "PersistentVolume", claim["spec"]["volumeName"]))
    assert lab.etags() == before


def test_a_machine_runs_on_a_claim_that_its_image_was_imported_to_and_a_rollback_takes_it_away(
    lab: Lab,
) -> None:
    """CDI alone is simulated. Harvester makes a claim of its own where it finds none."""
    vm = shelved(lab)
    before = lab.etags()
    request = request_of(lab, f"{lab.namespace}-restored")
    ended = lab.stack.restore({**request, "select": {"vm": vm, "cluster": SOURCE}}, seconds=280)
    assert ended.output, ended
    assert ended.output["counts"] == {"ready": 1}, ended.output
    restore_id = ended.output["restoreId"]
    made = Made(lab, f"{lab.namespace}-restored", f"{labels.RESTORE}={restore_id}", ())
    (claim,) = made.of("PersistentVolumeClaim")
    assert [each["kind"] for each in claim["metadata"]["ownerReferences"]] == ["DataVolume"]
    assert (claim["status"]["phase"], claim["spec"]["volumeMode"]) == ("Bound", "Block")
    volume = lab.get(manifest(CDI, "DataVolume", claim["metadata"]["name"], made.namespace))
    assert volume["status"]["phase"] == "Succeeded"
    (machine,) = made.of("VirtualMachine")
    assert machine["status"]["ready"]
    ended = lab.stack.roll_back(restore_id, seconds=280, deleteStarted=True)
    assert (ended.output["state"], ended.output["kept"]) == ("succeeded", []), ended
    made.wait_for_none("PersistentVolumeClaim")
    lab.gone(volume)
    assert lab.etags() == before


def restored_by_harvester(lab: Lab, backup: Object, who: str, namespace: str) -> Ended:
    """Of a backup that WHO has registered: Harvester looks at the bucket, or not."""
    with lab.unread() if who == "replant" else nullcontext():
        put(lab, "web", networks=[MANAGEMENT])
        if who == "harvester" and lab.is_real:
            lab.wait(lambda: is_usable(lab, backup), "Harvester has registered it")
        mapping = {"namespaces": {lab.namespace: namespace}}
        return restore(lab, 1, strategy="harvester", mapping=mapping)


@pytest.mark.parametrize("suffix", ["", "-restored"], ids=["its own", "another"])
@pytest.mark.parametrize("who", ["harvester", "replant"])
def test_harvester_itself_restores_a_machine_and_its_backup_outlives_the_rollback(
    lab: Lab, suffix: str, who: str
) -> None:
    backup = manifest(HARVESTER, "VirtualMachineBackup", f"{lab.namespace}-web", lab.namespace)
    namespace = f"{lab.namespace}{suffix}"
    ended = restored_by_harvester(lab, backup, who, namespace)
    assert states(ended) == {"web": "ready"}, ended.output["machines"][0]["error"]
    restore_id, keys = ended.output["restoreId"], lab.in_bucket("")
    made = Made(lab, namespace, f"{labels.RESTORE}={restore_id}", ())
    (machine,) = made.of("VirtualMachine")
    (found,) = made.of("PersistentVolumeClaim")
    assert claims_of(machine) == {found["metadata"]["name"]}, "the name of the plan"
    where = path(HARVESTER, "virtualmachinerestores", namespace)
    (own,) = lab.api.call("GET", where)["items"]
    assert own["metadata"]["ownerReferences"][0]["uid"] == machine["metadata"]["uid"]
    ours = restore_id if who == "replant" or not lab.is_real else None
    assert dig(lab.get(backup), "metadata", "labels", labels.RESTORE) == ours

    rolled = lab.stack.roll_back(restore_id, seconds=280, deleteStarted=True)
    assert rolled.output["state"] == "succeeded", rolled.output["kept"]
    assert {each["kind"] for each in rolled.output["kept"]} <= {"VirtualMachineBackup", "Namespace"}
    made.wait_for_none("VirtualMachine")
    made.wait_for_none("PersistentVolumeClaim")
    assert not lab.api.call("GET", where)["items"]
    assert is_usable(lab, backup)
    assert lab.in_bucket("") == keys


@pytest.mark.only_real(FEW_PARAMETERS)
def test_a_volume_has_the_fields_that_the_csi_driver_gives_one_of_the_same_class(lab: Lab) -> None:
    parameters = {
        "migratable": "true",
        "numberOfReplicas": "2",
        "staleReplicaTimeout": "20",
        "dataLocality": "best-effort",
        "replicaAutoBalance": "best-effort",
        "diskSelector": "ssd,nvme",
        "nodeSelector": "storage",
        "disableRevisionCounter": "true",
        "dataEngine": "v1",
    }
    spec = of_class(lab, **parameters)
    assert spec["migratable"] is True
    assert spec["accessMode"] == "rwx"
    assert {**spec, **volume_parameters.read(parameters).fields} == spec
