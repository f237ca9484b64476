"""Mode register: machines over disks that are there already. Which claims are taken, and whole runs
on a fake cluster.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.samples.builders import a_point, facts, manifest, planned
from shared.errors import InvalidRequest
from shared.labels import LONGHORN_NAMESPACE
from shared.models.cluster_facts import ClusterFacts, StandingClaim, StandingDisks, StandingVolume
from shared.models.restore_plans import MachinePlan
from tests.lab import Lab, a_lab

Json = dict[str, Any]

POINT = a_point()
DISK = POINT.volumes[0]
SIZE = DISK.size_bytes or 0
ENGINE, BACKUP = DISK.engine_volume or "", DISK.engine_backup or ""
PLACE = "default/web01-disk-0"
BOUND = StandingClaim("Bound", "pvc-1", SIZE)
MADE = StandingVolume(ENGINE, BACKUP, PLACE, SIZE)


def on(claims: dict[str, StandingClaim], **volumes: StandingVolume) -> ClusterFacts:
    named = {name.replace("_", "-"): each for name, each in volumes.items()}
    return facts(standing=StandingDisks(claims, named))


def judged(there: ClusterFacts) -> tuple[MachinePlan, list[tuple[str, str]]]:
    """The machine, and what is said of its claim."""
    plan = planned(on=there, mode="register")
    (machine,) = plan.machines
    return machine, [(each.verdict, each.message) for each in plan.checks if each.check == "claim"]


def test_the_machine_and_its_secrets_are_made_over_the_claim_that_is_there() -> None:
    machine, said = judged(on({PLACE: BOUND}, pvc_1=MADE))
    assert said == [
        ("pass", f"Claim {PLACE} (disk-0) is there, with the data of the disk."),
    ]
    assert [each.kind for each in machine.objects] == ["VirtualMachine"]
    assert (machine.strategy, machine.claims) == ("register", ())
    assert machine.strategy_reason == "mode register: its disks are there already"
    note = manifest(machine, "VirtualMachine")["metadata"]["annotations"]
    (template,) = json.loads(note["harvesterhci.io/volumeClaimTemplates"])
    assert template["metadata"]["name"] == "web01-disk-0"


def test_the_volume_that_was_backed_up_is_the_disk_itself() -> None:
    own = StandingVolume(claim=PLACE, size_bytes=SIZE)
    there = facts(standing=StandingDisks({PLACE: BOUND._replace(volume=ENGINE)}, {ENGINE: own}))
    assert judged(there)[1][0][0] == "pass"


@pytest.mark.parametrize(
    ("there", "verdict", "words"),
    [
        (
            on({}),
            "block",
            "does not exist on west, and no volume there holds its data. Restore it with mode"
            " standard.",
        ),
        (
            on({PLACE: StandingClaim("Pending")}),
            "block",
            "is Pending, not Bound. Bind it, or restore it with mode standard.",
        ),
        (
            on({PLACE: BOUND._replace(users=("db01",))}, pvc_1=MADE),
            "block",
            "is a disk of VirtualMachine default/db01 already. Take it out there first.",
        ),
        (
            on({PLACE: BOUND._replace(size_bytes=2**20)}),
            "block",
            "has 1Mi, and the disk has 40Gi: the machine would lose its end. Choose another one.",
        ),
        (
            on({PLACE: BOUND}, pvc_1=MADE._replace(size_bytes=2**20)),
            "block",
            "has 1Mi, and the disk has 40Gi: the machine would lose its end. Choose another one.",
        ),
        (
            on({PLACE: BOUND}, pvc_1=MADE._replace(problem="is still being copied")),
            "block",
            "cannot be used yet: Longhorn's volume pvc-1 is still being copied.",
        ),
        (
            on({PLACE: BOUND}, pvc_1=MADE._replace(backup="backup-of-june")),
            "block",
            f"is made of backup backup-of-june of volume {ENGINE}, not of {BACKUP} of {ENGINE}."
            " Choose the restore point that it is of, or restore it with mode standard.",
        ),
        (
            on({PLACE: BOUND}, pvc_1=StandingVolume(claim=PLACE)),
            "warn",
            "is there. Whether its data is that of the backup cannot be seen: look at the machine"
            " before anybody relies on it.",
        ),
        (
            on({PLACE: BOUND}),
            "warn",
            "is there. Whether its data is that of the backup cannot be seen: look at the machine"
            " before anybody relies on it.",
        ),
    ],
)
def test_a_claim_is_judged_by_what_is_seen_of_it(
    there: ClusterFacts, verdict: str, words: str
) -> None:
    machine, said = judged(there)
    assert said == [(verdict, f"Claim {PLACE} (disk-0) {words}")]
    assert (machine.problem is not None) == (verdict == "block")


def test_a_claim_of_another_name_is_found_by_longhorn_s_own_notes() -> None:
    other = "default/restored-0"
    volume = MADE._replace(claim=other)
    machine, said = judged(on({other: BOUND}, pvc_1=volume))
    assert said == [
        (
            "warn",
            f"Claim {other} (disk-0) is taken: web01-disk-0 does not exist, and its volume holds"
            " the data of the disk.",
        )
    ]
    assert machine.details
    (disk,) = machine.details.disks
    assert (disk.claim, disk.class_after) == ("restored-0", disk.class_before)
    volumes = manifest(machine, "VirtualMachine")["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["persistentVolumeClaim"] == {"claimName": "restored-0"}


def test_of_several_claims_a_person_says_which() -> None:
    claims = {f"default/{name}": BOUND for name in ("one", "two")}
    volumes = {name: MADE._replace(claim=f"default/{name}") for name in ("one", "two")}
    machine, ((verdict, message),) = judged(facts(standing=StandingDisks(claims, volumes)))
    assert verdict == "block"
    assert machine.problem
    assert message.endswith(
        "several claims hold data of it: one, two. Delete or rename all but the right one."
    )


def test_a_claim_in_another_namespace_is_not_taken() -> None:
    elsewhere = "prod/restored-0"
    _, ((verdict, message),) = judged(on({elsewhere: BOUND}, pvc_1=MADE._replace(claim=elsewhere)))
    assert (verdict, "no volume there holds its data" in message) == ("block", True)


def test_a_strategy_says_where_disks_come_from_and_these_come_from_nowhere() -> None:
    with pytest.raises(InvalidRequest) as refused:
        planned(mode="register", strategy="csi")
    assert refused.value.field == "strategy"
    assert refused.value.message == (
        "strategy: 'csi' does not fit mode 'register', whose disks are there already. Leave it out,"
        " or use 'harvester', which registers the backup itself."
    )


# --- Whole runs -----------------------------------------------------------------------------------


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        lab.backup(secrets={"keys": {"userdata": "#cloud-config"}})
        yield lab


def disk_of(lab: Lab, name: str = "web01-disk-0", **changes: Any) -> Json:
    """A claim that somebody else made, of the backup, bound."""
    (volume,) = lab.cluster.of("BackupVolume").values()
    source = volume["spec"]["volumeName"]
    (backup,) = lab.cluster.of("Backup")
    size = lab.cluster.of("Backup")[backup]["status"]["volumeSize"]
    spec = {"fromBackup": f"s3://backups@us-east-1/?backup={backup}&volume={source}", "size": size}
    used = {"namespace": "default", "pvcName": name, "pvName": "pvc-1", "pvStatus": "Bound"}
    status = {"restoreRequired": False, "kubernetesStatus": used, **changes}
    lab.cluster.add("Volume", LONGHORN_NAMESPACE, "pvc-1", spec=spec, status=status)
    claim = lab.cluster.add("PersistentVolumeClaim", "default", name, spec={"volumeName": "pvc-1"})
    claim["status"] = {"phase": "Bound", "capacity": {"storage": size}}
    return claim


def restored(lab: Lab, **changes: Any) -> Json:
    output: Json = lab.restore(lab.request(mode="register", **changes))
    return output


def test_a_machine_is_made_over_its_disk_and_runs(lab: Lab) -> None:
    lab.cluster.bind = False
    claim = json.dumps(disk_of(lab))
    assert restored(lab)["counts"] == {"ready": 1}
    assert [(verb, kind) for verb, kind, _ in lab.cluster.writes] == [
        ("create", "VirtualMachine"),
        ("create", "Secret"),
        ("patch", "VirtualMachine"),
    ]
    (found,) = lab.cluster.of("PersistentVolumeClaim").values()
    assert json.dumps(found) == claim


def test_a_rollback_leaves_the_disk(lab: Lab) -> None:
    lab.cluster.bind = False
    disk_of(lab)
    restore_id = restored(lab, start=False)["restoreId"]
    output = lab.roll_back(restore_id)
    assert (output["state"], output["kept"]) == ("succeeded", [])
    assert list(lab.cluster.of("PersistentVolumeClaim")) == ["web01-disk-0"]
    assert list(lab.cluster.of("Volume")) == ["pvc-1"]
    assert lab.cluster.of("VirtualMachine") == {}


def test_a_disk_of_another_machine_is_not_taken(lab: Lab) -> None:
    lab.cluster.bind = False
    disk_of(lab)
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "web01-disk-0"}}]
    spec = {"runStrategy": "Halted", "template": {"spec": {"volumes": volumes}}}
    lab.cluster.add("VirtualMachine", "default", "theirs", spec=spec)
    (machine,) = restored(lab, failOn="never")["machines"]
    assert machine["state"] == "blocked"
    assert "is a disk of VirtualMachine default/theirs already" in machine["error"]["message"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"robustness": "faulted"}, "is faulted: Longhorn has no healthy copy of its data"),
        ({"restoreRequired": True}, "is still being copied from its backup"),
    ],
)
def test_a_volume_that_nobody_can_use_yet_is_named(lab: Lab, changes: Json, words: str) -> None:
    lab.cluster.bind = False
    disk_of(lab, **changes)
    (machine,) = restored(lab, failOn="never")["machines"]
    assert f"Longhorn's volume pvc-1 {words}" in machine["error"]["message"]


def test_without_longhorn_there_is_the_claim_to_go_by(lab: Lab) -> None:
    lab.cluster.bind = False
    disk_of(lab)
    lab.cluster.unserved = frozenset({"Volume", "BackupTarget", "VolumeSnapshotClass"})
    lab.cluster.rights = {}
    output = restored(lab, dryRun=True)
    assert output["counts"] == {"planned": 1}, output
    assert output["verdict"] == "warn"
    lab.cluster.unserved |= {"VolumeSnapshot", "VolumeSnapshotContent"}
    restore_id = restored(lab, start=False)["restoreId"]
    assert lab.roll_back(restore_id)["state"] == "succeeded"


def test_the_same_request_goes_on_and_a_machine_of_another_client_is_left_alone(lab: Lab) -> None:
    lab.cluster.bind = False
    disk_of(lab)
    assert restored(lab)["counts"] == {"ready": 1}
    again = lab.restore(lab.request(mode="register"), execution="run-2")
    assert again["counts"] == {"ready": 1}
    other = lab.restore(lab.request(mode="register", requestId="other", failOn="never"))
    (machine,) = other["machines"]
    assert machine["state"] == "blocked"
