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
    a_class,
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
from shared.models.cluster_facts import Needs
from shared.models.restore_details import Estimate
from shared.models.restore_plans import (
    Condition,
    Earlier,
    Fill,
    MachinePlan,
    Maker,
    Mapped,
    Plan,
    PlannedObject,
    Problem,
    Rewrite,
)
from shared.models.restore_points import State
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
        ("backup", "default/web01", "pass"),
        ("storage-class", "default/web01", "pass"),
        ("versions", "west", "pass"),
        ("permissions", "west", "pass"),
        ("capacity", "west", "pass"),
        ("quota", "west", "pass"),
        ("in-use", "default/web01", "pass"),
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
SECOND_GOLD = a_metadata(disks_=(*disks(), Disk(name="disk-1", claim="late", storage_class="gold")))
WITHOUT_CLASS = a_metadata(disks_=disks(storage_class=""))
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
    (SECOND_GOLD, {}, {}, "Storage class gold (disk-1) does not exist on west."),
    (
        WITHOUT_CLASS,
        {},
        {"storageClasses": {"*": "fast"}},
        'Map it with mapping.storageClasses {"": …}.',
    ),
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
            f"Namespace {name} belongs to cluster west itself. Map it to another one, such as"
            ' mapping.namespaces {"default": "restored"}.',
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


VM_KEY = "VirtualMachine/default/web01"
CLAIM_KEY = "PersistentVolumeClaim/default/web01-disk-0"
MOVE = "Delete or rename what is there, or map the namespace to another one"
MAKERS = [
    ("", "another client"),
    ("r-of-another", "restore r-of-another"),
    (RESTORE_ID, f"restore {RESTORE_ID}"),  # of an earlier life, for nothing of it is created yet
]


@pytest.mark.parametrize("key", [VM_KEY, CLAIM_KEY])
@pytest.mark.parametrize(("maker", "by"), MAKERS)
def test_what_exists_when_a_plan_is_made_is_a_conflict_whoever_made_it(
    key: str, maker: str, by: str
) -> None:
    machine = a_machine(on=facts(existing={key: maker}))
    said = f"{key.replace('/', ' ', 1)} already exists and was created by {by}."
    assert machine.problem == Problem(
        code="Conflict", message=f"{said} {MOVE}, or use onExisting: skip."
    )
    assert machine.skip is None


def test_everything_that_exists_is_told_at_once_with_its_maker() -> None:
    plan = planned(on=facts(existing={VM_KEY: "r-of-another", CLAIM_KEY: ""}))
    assert checks_of(plan, "existing") == [
        (
            "block",
            "PersistentVolumeClaim default/web01-disk-0 already exists and was created by another"
            " client; VirtualMachine default/web01 already exists and was created by restore"
            f" r-of-another. {MOVE}, or use onExisting: skip.",
        )
    ]


@pytest.mark.parametrize(("maker", "by"), MAKERS)
@pytest.mark.parametrize("claim_too", [False, True])
def test_a_machine_that_exists_is_skipped_where_the_request_says_so(
    maker: str, by: str, claim_too: bool
) -> None:
    existing = {VM_KEY: maker} | ({CLAIM_KEY: maker} if claim_too else {})
    plan = planned(on=facts(existing=existing), onExisting="skip")
    (machine,) = plan.machines
    told = f"VirtualMachine default/web01 already exists and was created by {by}. Skipped, as"
    assert machine.problem is None
    assert machine.skip
    assert machine.skip.endswith(f"{told} onExisting says.")
    assert ("PersistentVolumeClaim default/web01-disk-0" in machine.skip) == claim_too
    assert checks_of(plan, "existing") == [("warn", machine.skip)]


def test_a_leftover_claim_without_its_machine_is_nothing_to_skip_and_both_facts_are_told() -> None:
    machine = a_machine(on=facts(existing={CLAIM_KEY: ""}), onExisting="skip")
    assert machine.skip is None
    assert machine.problem == Problem(
        code="Conflict",
        message="PersistentVolumeClaim default/web01-disk-0 already exists and was created by"
        " another client. VirtualMachine default/web01 itself does not exist, so that there is"
        f" nothing to skip. {MOVE}.",
    )


@pytest.mark.parametrize("way", ["fail", "skip"])
@pytest.mark.parametrize("maker", ["r-of-another", RESTORE_ID])
def test_half_a_restore_is_resumed_by_its_request_and_not_deleted(way: str, maker: str) -> None:
    on = facts(existing={CLAIM_KEY: maker}, unfinished={maker: "tuesday", "r-of-a-third": "x"})
    problem = a_machine(on=on, onExisting=way).problem
    assert problem
    assert problem.message.endswith(
        " That restore did not come to its end: start its request again with"
        ' "requestId": "tuesday" to resume it.'
    )
    assert "Delete" not in problem.message
    other = a_machine(on=facts(existing={CLAIM_KEY: ""}, unfinished={maker: "tuesday"})).problem
    assert other
    assert MOVE in other.message


def test_what_lies_elsewhere_is_in_nobodys_way() -> None:
    elsewhere = {
        "VirtualMachine/prod/web01": "",
        "VirtualMachine/default/web02": "",
        "PersistentVolumeClaim/default/web01": RESTORE_ID,
        "PersistentVolumeClaim/prod/web01-disk-0": "r-of-another",
    }
    plan = planned(on=facts(existing=elsewhere))
    assert (plan.machines[0].problem, plan.machines[0].skip) == (None, None)
    assert checks_of(plan, "existing") == [("pass", "Its names are free.")]


def test_a_machine_that_may_be_skipped_is_still_blocked_by_what_is_wrong_otherwise() -> None:
    on = facts(existing={"VirtualMachine/default/web01": ""}, networks=frozenset())
    for way in ("skip", "fail"):
        machine = a_machine(on=on, onExisting=way)
        assert (machine.problem and machine.problem.code, machine.skip) == ("Refused", None)


@pytest.mark.parametrize("state", [State.INCOMPLETE, State.CORRUPT, State.DELETED])
@pytest.mark.parametrize("metadata", [None, a_metadata()])
@pytest.mark.parametrize(
    ("reasons", "why"),
    [
        (("disk disk-0: gone", "disk disk-1: gone"), "disk disk-0: gone; disk disk-1: gone"),
        ((), "no reason is known"),
    ],
)
def test_a_point_that_is_not_restorable_fails_its_machine_with_the_reasons(
    state: State, metadata: Metadata | None, reasons: tuple[str, ...], why: str
) -> None:
    bad = Selected(a_point(state=state, reasons=reasons), metadata)
    machines = planned(bad, a_metadata("web02")).machines
    said = f"Restore point {bad.point.id} is {state}: {why}. Choose a restorable one."
    assert machines[0].problem == Problem(code="Refused", message=said)
    assert (machines[0].objects, machines[1].problem) == ((), None)


def test_everything_that_blocks_a_machine_is_told_at_once() -> None:
    plan = planned(a_metadata(networks=(Nic(network="vlan7"),), disks_=disks(storage_class="gold")))
    problem = plan.machines[0].problem
    assert problem
    ((_, of_class),) = checks_of(plan, "storage-class")
    ((_, of_network),) = checks_of(plan, "network")
    assert problem.message == f"{of_class} {of_network}"


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
    assert (caught.value.field, caught.value.message) == (
        "select",
        "a/web01 of east (a) and b/web01 of east (b) would both become x/web01."
        " Select one of them, or map their namespaces apart.",
    )


def test_what_is_looked_up_are_mapped_namespaces_and_backups() -> None:
    mapping = {"namespaces": {"default": "prod"}}
    looked_up = planning.needs([a_point()], builders.request(mapping=mapping))
    assert looked_up == Needs(frozenset({"prod"}), frozenset({"backup-web01-0"}))
    registered = planning.needs([a_point()], builders.request(mode="register"))
    assert registered == Needs(frozenset({"default"}), frozenset(), disks=True)


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
    told = " already belongs to a/web01 in this restore. Map their namespaces apart."
    if second.problem:
        assert second.problem.code == "Conflict"
        assert second.problem.message.endswith(told)
    blocked = planned(*chosen, on=facts(networks=frozenset()), mapping=mapping)
    assert "already belongs" not in str(blocked.machines[1]), "the first one is not touched"
    skipping = facts(existing={"VirtualMachine/a/web01": ""})
    assert (
        planned(*chosen, on=skipping, mapping=mapping, onExisting="skip").machines[1].problem
        is None
    )


def test_of_a_collision_the_plan_has_a_check_that_blocks() -> None:
    plan = planned(*pair("PersistentVolumeClaim", ("a", "a")))
    ((verdict, message),) = checks_of(plan, "collision")
    assert plan.machines[1].problem == Problem(code="Conflict", message=message)
    assert (verdict, plan.verdict) == ("block", "block")


def test_a_third_machine_is_told_of_the_one_that_has_the_name_and_not_of_the_one_left_out() -> None:
    own = (Disk(claim="data"),)
    chosen = [a_metadata(vm, disks_=own) for vm in ("web01", "web02", "web03")]
    problems = [each.problem for each in planned(*chosen).machines]
    assert (len(problems), problems[0]) == (3, None)
    for each in problems[1:]:
        assert each
        assert "already belongs to default/web01 in" in each.message


def test_machines_between_two_with_one_name_change_nothing() -> None:
    own = (Disk(claim="data"),)
    first, last = a_metadata("web01", disks_=own), a_metadata("web03", disks_=own)
    _, between, other = planned(first, a_metadata("web02"), last).machines
    assert between.problem is None
    assert other.problem
    assert "already belongs to default/web01 in" in other.problem.message


def test_two_machines_share_all_of_their_secrets_or_the_later_is_left_out() -> None:
    first = a_metadata("web01", secrets={"a": {"k": "1"}, "b": {"k": "1"}})
    second = a_metadata("web02", secrets={"a": {"k": "1"}, "b": {"k": "2"}})
    problem = planned(first, second).machines[1].problem
    assert problem
    assert problem.message.startswith("Secret default/b-")


def owned(plan: Plan) -> list[tuple[str, str]]:
    """Machine and name of each object that goes with its machine."""
    return [
        (machine.name, each.name)
        for machine in plan.machines
        for each in machine.objects
        if each.owned
    ]


def test_a_secret_goes_with_its_machine_unless_two_machines_share_it() -> None:
    alone = planned(a_metadata(secrets={"own": {"k": "1"}, "keys": {"k": "2"}}))
    assert owned(alone) == [("web01", "own-4e65d3fb"), ("web01", "keys-4e65d3fb")]
    first = a_metadata("web01", secrets={"own": {"k": "1"}, "keys": {"k": "2"}})
    second, third = (a_metadata(vm, secrets={"keys": {"k": "2"}}) for vm in ("web02", "web03"))
    shared = planned(first, second, third)
    assert [each.problem for each in shared.machines] == [None, None, None]
    assert owned(shared) == [("web01", "own-4e65d3fb")]
    kinds = [each.kind for each in shared.machines[1].objects]
    assert kinds.count("Secret") == 1, "each of them still makes it"


def test_each_secret_that_two_machines_share_goes_with_neither() -> None:
    chosen = [
        a_metadata(f"web{number:02}", secrets={name: {"k": "1"}})
        for number, name in enumerate(("a", "a", "b", "b"))
    ]
    assert owned(planned(*chosen)) == []


def test_a_secret_that_only_a_machine_left_out_would_share_goes_with_its_machine() -> None:
    left_out = a_metadata("web02", secrets={"keys": {"k": "2"}}, networks=(Nic(network="none"),))
    plan = planned(a_metadata(secrets={"keys": {"k": "2"}}), left_out)
    assert plan.machines[1].problem
    assert ("web01", "keys-4e65d3fb") in owned(plan)


def test_secrets_whose_value_is_null_in_one_backup_and_empty_in_another_are_the_same() -> None:
    def emptied(value: str | None) -> Metadata:
        vm = "web01" if value is None else "web02"
        metadata = a_metadata(vm, secrets={"keys": {"k": "x"}})
        metadata["secretBackups"][0]["data"]["k"] = value
        return metadata

    plan = planned(emptied(None), emptied(""))
    assert [each.problem for each in plan.machines] == [None, None]


def whole(**changes: Json) -> Plan:
    """A plan that has something of everything: a namespace to be made, Secrets, a warning."""
    metadata = with_pod(nodeSelector={"gpu": "yes"})
    secrets = a_metadata("web02", secrets={"keys": {"userdata": "x"}}, cloud_init="#cloud-config")
    mapping = {"namespaces": {"default": "prod"}}
    return planned(metadata, secrets, mapping=mapping, **changes)


def test_the_hash_depends_on_neither_the_request_s_id_nor_dry_run_nor_concurrency() -> None:
    plan = whole()
    others = {
        "requestId": whole(requestId="run-2"),
        "dryRun": whole(dryRun=True),
        "concurrency": whole(concurrency=1),
        "all": whole(requestId="run-3", dryRun=True, concurrency=64),
    }
    assert {name: each.hash for name, each in others.items()} == dict.fromkeys(others, plan.hash)
    assert others["requestId"].restore_id != plan.restore_id
    assert plan.hash.removeprefix("sha256:").isalnum()


def test_the_hash_outlives_the_bucket_and_does_not_depend_on_itself_or_the_secret_s_name() -> None:
    plan = whole()
    assert Plan.model_validate_json(plan.model_dump_json()).hashed() == plan
    renamed = plan.model_copy(update={"secret": "replant/clusters/renamed", "hash": "x"})
    assert renamed.hashed().hash == plan.hash


def test_the_hash_does_not_depend_on_the_order_of_the_selection() -> None:
    some = [a_metadata("web01"), a_metadata("web02")]
    assert planned(*some).hash == planned(*some[::-1]).hash


FORMAL = {
    *("restore_id", "secret", "dry_run", "concurrency", "fail_on", "estimate", "space"),
    *("images", "keys"),
    *("size", "batch_size", "first", "worst", "hash"),
}
OF_PLAN: dict[str, Json] = {
    "target": "north",
    "timeout": 1.0,
    "keep_for": 1,
    "absent": ("elsewhere",),
    "namespaces": (),
    "machines": (),
    "checks": (),
}
OF_MACHINE: dict[str, Json] = {
    "records": True,
    "images": ("x",),
    "id": "x",
    "cluster": "x",
    "vm": "x/x",
    "namespace": "x",
    "name": "x",
    "backup": "x",
    "taken_at": builders.NOW,
    "source": a_point().source.model_copy(update={"etag": "another"}),
    "strategy": "x",
    "strategy_reason": "x",
    "objects": (),
    "claims": (),
    "lazy": ("x",),
    "run_strategy": None,
    "waits_for": Condition.NONE,
    "problem": Problem(code="Refused", message="x"),
    "skip": "x",
    "mapped": (Mapped(what="x", before="y", after="z"),),
    "updates": True,
    "replaces": (Earlier(restore_id="r-1", machine="default/web01"),),
    "rewrite": Rewrite(drops_unknown=True),
    "note": "x",
}
OF_OBJECT: dict[str, Json] = {
    "maker": Maker(kind="x", name="x"),
    "taken": True,
    "kind": "x",
    "namespace": "x",
    "name": "x",
    "reason": "x",
    "manifest": {},
    "fills": (Fill(to=("x",), source=("x",)),),
    "owned": True,
}


def test_the_hash_depends_on_every_field_of_a_plan_its_machines_and_their_objects() -> None:
    plan = whole()
    first, *machines = plan.machines
    begin, *objects = first.objects
    assert OF_PLAN.keys() == Plan.model_fields.keys() - FORMAL
    assert OF_MACHINE.keys() == MachinePlan.model_fields.keys() - {"details"}
    assert OF_OBJECT.keys() == PlannedObject.model_fields.keys()

    def with_first(machine: MachinePlan) -> Plan:
        return plan.model_copy(update={"machines": (machine, *machines)})

    def with_begin(changes: dict[str, Json]) -> Plan:
        changed = begin.model_copy(update=changes)
        return with_first(first.model_copy(update={"objects": (changed, *objects)}))

    others = [plan.model_copy(update={name: value}) for name, value in OF_PLAN.items()]
    others += [
        with_first(first.model_copy(update={name: value})) for name, value in OF_MACHINE.items()
    ]
    others += [with_begin({name: value}) for name, value in OF_OBJECT.items()]
    hashes = {each.hashed().hash for each in others}
    assert len(hashes | {plan.hash}) == len(others) + 1


def test_the_hash_does_not_depend_on_what_is_only_shown() -> None:
    plan = whole()
    bare = tuple(each.model_copy(update={"details": None}) for each in plan.machines)
    said = Estimate(size_bytes=1, least_seconds=1, most_seconds=1, basis="x")
    assert all(each.details for each in plan.machines)
    for other in ({"machines": bare}, {"estimate": said}):
        assert plan.model_copy(update=other).hashed().hash == plan.hash


@pytest.mark.parametrize(
    "other",
    [
        planned(a_metadata(cpu=3)),
        planned(a_metadata("web02")),
        planned(a_metadata(), a_metadata("web02")),
        planned(start=False),
        planned(ready={"condition": "agent"}),
        planned(ready={"timeout": "PT5M"}),
        planned(strategy="csi"),
        planned(mapping={"mac": "keep"}),
        planned(on=facts(snapshot_class="x")),
        planned(on=facts(existing={VM_KEY: ""})),
        planned(on=facts(existing={VM_KEY: ""}), onExisting="skip"),
        planned(on=facts(namespaces={})),
        planned(builders.selected(taken_at=builders.NOW)),
        planned(builders.selected(id="another")),
    ],
)
def test_the_hash_is_another_for_anything_else_that_is_asked_chosen_or_found(other: Plan) -> None:
    assert planned().hash != other.hash


@pytest.mark.parametrize(
    ("plan", "verdict"),
    [
        (planned(), "pass"),
        (planned(with_pod(nodeSelector={"gpu": "yes"})), "warn"),
        (planned(on=facts(existing={VM_KEY: ""}), onExisting="skip"), "warn"),
        (planned(on=facts(existing={VM_KEY: ""})), "block"),
        (planned(with_pod(nodeSelector={"gpu": "yes"}), on=facts(networks=frozenset())), "block"),
        (planned(on=facts(snapshot_class=None), dryRun=True), "block"),
    ],
)
def test_the_verdict_is_the_worst_of_the_checks(plan: Plan, verdict: str) -> None:
    assert plan.verdict == verdict
    assert plan.outline().verdict == verdict


def test_the_outline_is_the_plan_without_objects() -> None:
    plan = whole()
    outline = plan.outline()
    assert [each.objects for each in outline.machines] == [(), ()]
    assert (outline.hash, outline.namespaces) == (plan.hash, plan.namespaces)
    restored = tuple(
        each.model_copy(update={"objects": full.objects})
        for each, full in zip(outline.machines, plan.machines, strict=True)
    )
    assert outline.model_copy(update={"machines": restored}) == plan


@pytest.mark.parametrize(
    ("strategy", "start", "made", "expected"),
    [
        ({"run_strategy": "Always"}, True, "Halted", "Always"),
        ({"run_strategy": "RerunOnFailure"}, True, "Halted", "RerunOnFailure"),
        ({"running": True}, True, "Halted", "Always"),
        ({"run_strategy": "Manual"}, True, "Manual", None),
        ({"run_strategy": "Halted"}, True, "Halted", None),
        ({"running": False}, True, "Halted", None),
        ({"run_strategy": "Always"}, False, "Halted", None),
        ({"run_strategy": "Manual"}, False, "Manual", None),
    ],
)
def test_a_machine_is_made_halted_and_started_as_it_was_only_when_asked(
    strategy: dict[str, Json], start: bool, made: str, expected: str | None
) -> None:
    machine = a_machine(a_metadata(**strategy), start=start)
    spec = manifest(machine, "VirtualMachine")["spec"]
    assert (machine.run_strategy, spec["runStrategy"]) == (expected, made)
    assert "running" not in spec


def test_a_machine_s_plan_says_which_backup_it_is_and_which_claims_to_wait_for() -> None:
    point = a_point(a_metadata(disks_=disks(count=2)))
    machine = a_machine(Selected(point, a_metadata(disks_=disks(count=2)), note="older than usual"))
    assert (machine.backup, machine.taken_at, machine.source) == (
        "nightly",
        builders.TAKEN_AT,
        point.source,
    )
    assert machine.claims == ("web01-disk-0", "web01-disk-1")
    assert machine.note == "older than usual"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("auto", "auto: Longhorn data, and west makes volumes of CSI snapshots"),
        ("csi", "as the request says"),
    ],
)
def test_the_strategy_is_told_with_its_reason(asked: str, reason: str) -> None:
    machine = a_machine(strategy=asked)
    assert (machine.strategy, machine.strategy_reason) == ("csi", reason)


def test_metadata_of_a_shape_that_no_machine_has_stops_its_own_machine() -> None:
    broken = a_metadata("web02")
    broken["volumeBackups"] = [{}]
    sound, other = planned(a_metadata(), Selected(a_point(a_metadata("web02")), broken)).machines
    assert (sound.problem, other.objects) == (None, ())
    assert other.problem == Problem(
        code="Refused",
        message=f"{other.source.url} does not describe a VirtualMachine as KubeVirt has it."
        " Choose another restore point.",
    )


def test_claims_of_a_class_that_waits_for_its_first_consumer_are_lazy() -> None:
    classes = {"harvester-longhorn": a_class(), "local": a_class(binding="WaitForFirstConsumer")}
    two = (*disks(), Disk(name="disk-1", claim="late", storage_class="local"))
    assert a_machine(a_metadata(disks_=two), on=facts(storage_classes=classes)).lazy == ("late",)
