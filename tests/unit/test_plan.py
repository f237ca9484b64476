"""What is decided before anything is done: order, verdicts with their sentences, and who is left
out why.
"""

from typing import Any

import pytest

from local.samples import builders
from local.samples.builders import (
    RESTORE_ID,
    WEST,
    Metadata,
    a_machine,
    a_metadata,
    a_point,
    disks,
    facts,
    manifest,
    planned,
)
from local.samples.guests import MANAGEMENT, Disk, Nic
from shared import labels
from shared.errors import InvalidRequest, Refused
from shared.models import Plan, Problem, State
from shared.restore import plan as planning
from shared.restore.plan import Selected

Json = Any


def checks_of(plan: Plan, name: str) -> list[tuple[str, str]]:
    return [(each.verdict, each.message) for each in plan.checks if each.check == name]


def with_pod(**fields: Json) -> Metadata:
    """A machine with fields of its pod's specification; a list is added to what is there."""
    metadata = a_metadata()
    pod = metadata["vmSourceSpec"]["spec"]["template"]["spec"]
    pod |= {
        key: pod.get(key, []) + value if isinstance(value, list) else value
        for key, value in fields.items()
    }
    return metadata


def with_volume(kind: str) -> Metadata:
    return with_pod(volumes=[{"name": "extra", kind: {}}])


def test_a_sound_machine_passes_every_check_and_is_planned_as_asked() -> None:
    metadata = a_metadata(networks=(MANAGEMENT, Nic()), secrets={"keys": {"userdata": "x"}})
    plan = planned(metadata, concurrency=3, ready={"condition": "agent", "timeout": "PT5M"})
    assert {(each.check, each.subject, each.verdict) for each in plan.checks} == {
        ("snapshot-class", "west", "pass"),
        ("restorable", "default/web01", "pass"),
        ("existing", "default/web01", "pass"),
    }
    (machine,) = plan.machines
    assert (plan.restore_id, plan.target, plan.secret, plan.dry_run) == (
        RESTORE_ID,
        "west",
        WEST.secret,
        False,
    )
    assert (plan.concurrency, plan.timeout, machine.waits_for) == (3, 300, "agent")
    assert (machine.id, machine.vm, machine.key) == (
        "point-default-web01",
        "default/web01",
        "default/web01",
    )
    assert (machine.run_strategy, machine.problem, machine.skip, machine.lazy) == (
        "RerunOnFailure",
        None,
        None,
        (),
    )
    assert plan.namespaces == ()


def test_machines_are_in_the_order_of_their_names_on_the_target_whatever_the_selection() -> None:
    chosen = [a_metadata("web02", "zeta"), a_metadata("web02"), a_metadata("web01")]
    mapping = {"namespaces": {"zeta": "alpha"}}
    expected = ["alpha/web02", "default/web01", "default/web02"]
    for some in (chosen, chosen[::-1]):
        assert [each.key for each in planned(*some, mapping=mapping).machines] == expected


SOUND = a_metadata()
GOLD = a_metadata(disks_=disks(storage_class="gold"))
VLAN7 = a_metadata(networks=(MANAGEMENT, Nic(network="vlan7")))
UPWARDS = a_metadata(networks=(Nic(network="default/.."),))
GOING = "Namespace default is being deleted on west. Wait until it is gone, or map default to"
PROTECTED = (
    "kube-system",
    "cattle-system",
    "longhorn-system",
    "harvester-system",
    "fleet-local",
    "replant",
)
HOSTILE = ("hostDisk", "ephemeral", "dataVolume", "containerPath", "somethingNew")
BLOCKING: list[tuple[Metadata, dict[str, Json], dict[str, Json], str]] = [
    (
        GOLD,
        {},
        {},
        "Storage class gold (disk-0) does not exist on west. Available: harvester-longhorn. Map it",
    ),
    (GOLD, {}, {}, 'Map it with mapping.storageClasses {"gold": …}.'),
    (
        SOUND,
        {},
        {"storageClasses": {"*": "fast"}},
        "Storage class fast (mapped from harvester-longhorn, disk-0) does not exist on west",
    ),
    (SOUND, {"storage_classes": {}}, {}, "does not exist on west. Available: none."),
    (
        VLAN7,
        {},
        {},
        "Network default/vlan7 (nic-1) does not exist on west. Available: default/vlan100. Create"
        ' it, or map it with mapping.networks {"default/vlan7": …}.',
    ),
    (
        SOUND,
        {},
        {"networks": {"*": "prod/vlan200"}},
        "Network prod/vlan200 (mapped from default/vlan100, nic-1) does not exist on west.",
    ),
    (UPWARDS, {}, {}, "Network default/.. (nic-1) does not exist on west."),
    (SOUND, {"namespaces": {"default": "Terminating"}}, {}, GOING),
    *(
        (
            SOUND,
            {},
            {"namespaces": {"default": name}},
            f"Namespace {name} belongs to cluster west itself. Map it to another one, such as",
        )
        for name in PROTECTED
    ),
    *((with_volume(kind), {}, {}, f"Disk 'extra' ({kind}): ") for kind in HOSTILE),
]


@pytest.mark.parametrize(("metadata", "on", "mapping", "said"), BLOCKING)
def test_what_blocks_a_machine_fails_it_with_thing_value_and_remedy(
    metadata: Metadata, on: dict[str, Json], mapping: dict[str, Json], said: str
) -> None:
    plan = planned(metadata, on=facts(**on), mapping=mapping)
    (machine,) = plan.machines
    assert machine.problem
    assert (machine.problem.code, said in machine.problem.message, machine.skip) == (
        "Refused",
        True,
        None,
    )
    assert [each.verdict for each in plan.checks if said in each.message] == ["block"]
    assert plan.namespaces == ()
    assert machine.objects, "a dry run shows what would have been"


PASSWORD = [{"userPassword": {"source": {"secret": {"secretName": "pw"}}}}]
OUTSIDE = (
    "configMap",
    "secret",
    "serviceAccount",
    "sysprep",
    "downwardMetrics",
    "memoryDump",
)
MANUAL = "Its runStrategy is Manual: it is restored so, and a person starts it."
WARNING: list[tuple[Metadata, str, str]] = [
    *((with_volume(kind), "volume", f"Disk 'extra' ({kind}) is left out: ") for kind in OUTSIDE),
    (
        with_pod(accessCredentials=PASSWORD),
        "secret",
        "The access credential of Secret 'pw' is left out: the backup does not hold it",
    ),
    (
        with_pod(nodeSelector={"gpu": "yes"}),
        "node",
        "It runs only on nodes with the label 'gpu=yes': a node of the target",
    ),
    (a_metadata(run_strategy="Manual"), "run-strategy", MANUAL),
]


@pytest.mark.parametrize(("metadata", "check", "said"), WARNING)
def test_what_a_person_should_know_is_said_and_blocks_nothing(
    metadata: Metadata, check: str, said: str
) -> None:
    plan = planned(metadata)
    ((verdict, message),) = checks_of(plan, check)
    assert (verdict, message.startswith(said), plan.machines[0].problem) == ("warn", True, None)


def test_harmless_volumes_are_not_worth_a_word() -> None:
    for kind in (
        "containerDisk",
        "emptyDisk",
        "downwardAPI",
        "cloudInitNoCloud",
        "cloudInitConfigDrive",
    ):
        assert not checks_of(planned(with_volume(kind)), "volume")


def test_a_target_that_cannot_bind_any_backup_refuses_the_restore_and_shows_it_in_a_dry_run() -> (
    None
):
    lacking = facts(snapshot_class=None)
    with pytest.raises(
        Refused, match="Cluster west has no VolumeSnapshotClass of driver"
    ) as caught:
        planned(on=lacking)
    assert caught.value.field == "target"
    plan = planned(on=lacking, dryRun=True)
    assert (checks_of(plan, "snapshot-class")[0][0], plan.dry_run) == ("block", True)
    assert (
        manifest(plan.machines[0], "VolumeSnapshot")["spec"]["volumeSnapshotClassName"]
        == "longhorn"
    )


@pytest.mark.parametrize(
    "key", ["VirtualMachine/default/web01", "PersistentVolumeClaim/default/web01-disk-0"]
)
def test_what_exists_and_is_not_of_this_restore_is_a_conflict_or_skipped(key: str) -> None:
    subject = key.replace("/", " ", 1)
    for owner in ("", "r-of-another"):
        taken = facts(existing={key: owner})
        machine = a_machine(on=taken)
        assert machine.problem
        assert machine.problem.code == "Conflict"
        said = f"Already there, and not of this restore: {subject}"
        assert machine.problem.message.startswith(f"{said}. Delete or rename")
        machine = a_machine(on=taken, onExisting="skip")
        assert machine.skip == f"{said}. Skipped, as onExisting says."


def test_what_this_restore_made_earlier_and_what_lies_elsewhere_is_in_nobodys_way() -> None:
    own = {
        "VirtualMachine/default/web01": RESTORE_ID,
        "PersistentVolumeClaim/default/web01-disk-0": RESTORE_ID,
    }
    machine = a_machine(
        on=facts(
            existing=own | {"VirtualMachine/prod/web01": "", "VirtualMachine/default/web02": ""}
        )
    )
    assert (machine.problem, machine.skip) == (None, None)


def test_a_machine_that_may_be_skipped_is_still_blocked_by_what_is_wrong_otherwise() -> None:
    on = facts(existing={"VirtualMachine/default/web01": ""}, networks=frozenset())
    for way in ("skip", "fail"):
        machine = a_machine(on=on, onExisting=way)
        assert (machine.problem and machine.problem.code, machine.skip) == ("Refused", None)


@pytest.mark.parametrize("state", [State.INCOMPLETE, State.CORRUPT, State.DELETED])
def test_a_point_that_is_not_restorable_fails_its_machine_with_the_reasons(state: State) -> None:
    bad = Selected(a_point(state=state, reasons=("disk disk-0: gone",)), None)
    machines = planned(bad, a_metadata("web02")).machines
    said = f"Restore point {bad.point.id} is {state}: disk disk-0: gone. Choose a restorable one."
    assert machines[0].problem == Problem(code="Refused", message=said)
    assert (machines[0].objects, machines[1].problem) == ((), None)


def test_lost_metadata_fails_its_machine_with_what_became_of_it() -> None:
    lost = Selected(
        a_point(),
        None,
        "s3://backups/x was deleted since it was catalogued; choose another restore point",
    )
    machine = a_machine(lost)
    assert (machine.problem and machine.problem.message, machine.objects) == (lost.lost, ())


def test_missing_namespaces_are_made_once_and_only_for_machines_that_are_touched() -> None:
    blocked = a_metadata("b1", "b", disks_=disks("b1", storage_class="x"))
    (made,) = planned(
        a_metadata("a1", "a"), a_metadata("a2", "a"), blocked, a_metadata("d1")
    ).namespaces
    assert made.manifest["metadata"] == {"name": "a", "labels": labels.of_restore(RESTORE_ID)}


def test_two_machines_that_would_become_one_are_refused_by_name_and_no_third_is_blamed() -> None:
    points = [
        a_point(a_metadata("web01", namespace), id=namespace) for namespace in ("a", "b", "c")
    ]
    with pytest.raises(InvalidRequest) as caught:
        planning.needs(points, builders.request(mapping={"namespaces": {"a": "x", "b": "x"}}))
    said = "a/web01 of east (a) and b/web01 of east (b) would both become x/web01; select one, or map their"
    assert (caught.value.field, caught.value.message.startswith(said)) == ("select", True)


def test_what_is_looked_up_is_what_the_mapping_makes_of_the_selection_and_can_exist() -> None:
    nics = (
        MANAGEMENT,
        Nic(network="vlan7"),
        Nic(name="nic-2", network="other/vlan8"),
        Nic(network="default/.."),
    )
    mapping = {"namespaces": {"default": "prod"}, "networks": {"other/vlan8": "prod/vlan200"}}
    looked_up = planning.needs(
        [a_point(a_metadata(networks=nics))], builders.request(mapping=mapping)
    )
    assert looked_up == (frozenset({"prod"}), frozenset({"default/vlan7", "prod/vlan200"}))


def pair(
    kind: str, namespaces: tuple[str, str], values: tuple[str, str] = ("x", "x")
) -> list[Selected]:
    """Two machines that have a claim, or a secret, of one name."""
    secrets = [{"keys": {"userdata": value}} if kind == "Secret" else {} for value in values]
    made = zip(("web01", "web02"), namespaces, secrets, strict=True)
    own = (Disk(claim="data"),) if kind == "PersistentVolumeClaim" else None
    return [
        builders.selected(a_metadata(vm, ns, disks_=own or disks(vm), secrets=held))
        for vm, ns, held in made
    ]


@pytest.mark.parametrize(
    ("chosen", "free"),
    [
        (pair("Secret", ("a", "a")), True),  # the backups hold it twice
        (pair("Secret", ("a", "b")), True),
        (pair("Secret", ("a", "a"), ("x", "y")), False),
        (pair("Secret", ("a", "b"), ("x", "y")), False),
        (pair("PersistentVolumeClaim", ("a", "a")), False),
        (pair("PersistentVolumeClaim", ("a", "b")), False),
    ],
)
def test_of_two_machines_with_one_name_for_different_things_the_later_is_left_out(
    chosen: list[Selected], free: bool
) -> None:
    mapping = {"namespaces": {"b": "a"}}
    first, second = planned(*chosen, mapping=mapping).machines
    assert first.problem is None
    assert (second.problem is None) == free
    assert free or "is already a/web01's in this restore; map their namespaces apart" in str(
        second.problem
    )
    assert "is already" not in str(
        planned(*chosen, on=facts(networks=frozenset()), mapping=mapping).machines[1]
    )
    skipping = facts(existing={"VirtualMachine/a/web01": ""})
    assert (
        planned(*chosen, on=skipping, mapping=mapping, onExisting="skip").machines[1].problem
        is None
    )


def test_the_hash_is_the_same_for_the_same_and_another_for_anything_else() -> None:
    plan = planned()
    assert plan.hash == planned().hash == Plan.model_validate_json(plan.model_dump_json()).hash
    others = [
        planned(a_metadata(cpu=3)),
        planned(start=False),
        planned(dryRun=True),
        planned(requestId="run-2"),
    ]
    others += [
        planned(on=facts(snapshot_class="x")),
        planned(a_metadata("web02")),
        planned(concurrency=1),
    ]
    assert len({plan.hash, *(each.hash for each in others)}) == 8


@pytest.mark.parametrize(
    ("strategy", "start", "expected", "alone"),
    [
        ({"run_strategy": "Always"}, True, "Always", True),
        ({"run_strategy": "Manual"}, True, "Manual", False),
        ({"run_strategy": "Halted"}, True, None, False),
        ({"run_strategy": "Always"}, False, None, False),
    ],
)
def test_a_machine_is_started_as_it_was_and_only_when_asked(
    strategy: dict[str, Json], start: bool, expected: str | None, alone: bool
) -> None:
    machine = a_machine(a_metadata(**strategy), start=start)
    assert (machine.run_strategy, planning.starts_itself(machine)) == (expected, alone)
    halted, begun = machine.objects[-1].manifest, planning.started(machine).manifest
    assert begun == {**halted, "spec": {**halted["spec"], "runStrategy": expected}}
    assert halted["spec"]["runStrategy"] == "Halted"


def test_claims_of_a_class_that_waits_for_its_first_consumer_are_lazy() -> None:
    classes = {"harvester-longhorn": "Immediate", "local": "WaitForFirstConsumer"}
    two = (*disks(), Disk(name="disk-1", claim="late", storage_class="local"))
    assert a_machine(a_metadata(disks_=two), on=facts(storage_classes=classes)).lazy == ("late",)
