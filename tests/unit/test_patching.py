"""Patches of a request: what they change, what stops them, and what no patch can reach.

Not here: what is refused of a request before anything is read (test_restore_request.py).
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.samples.builders import Metadata, a_machine, a_metadata, disks, facts, manifest, planned
from shared.errors import InvalidRequest
from shared.jsonpath import dig
from shared.models.restore_plans import MachinePlan, Plan
from shared.restore.filling import complete
from shared.restore.rules import INSTANCE

Json = Any

INSTANCE_AT = "/spec/template/spec"
OF_VM, OF_POD = "/metadata/annotations", "/spec/template/metadata/annotations"
CORES = f"{INSTANCE_AT}/domain/cpu/cores"
USER = "#cloud-config\npassword: PLANTED-user\n"
NOTE = "PLANTED-note"


def of(*operations: Json, kind: str = "VirtualMachine", name: str = "*") -> dict[str, Json]:
    return {"match": {"kind": kind, "name": name}, "patch": list(operations)}


def op(what: str, path: str, *value: Json, **more: Json) -> dict[str, Json]:
    return {"op": what, "path": path, **dict(zip(("value",), value, strict=False)), **more}


def a_volume(**kind: Json) -> dict[str, Json]:
    return op("add", f"{INSTANCE_AT}/volumes/-", {"name": "x", **kind})


def patched(*patches: Json, of_: Metadata | None = None, **mapping: Json) -> Plan:
    return planned(of_ or a_metadata(), mapping={"patches": list(patches), **mapping})


def the_machine(*patches: Json, of_: Metadata | None = None, **mapping: Json) -> MachinePlan:
    (machine,) = patched(*patches, of_=of_, **mapping).machines
    return machine


def spec(machine: MachinePlan) -> Json:
    return dig(manifest(machine, "VirtualMachine"), *INSTANCE)


def problem(*patches: Json, of_: Metadata | None = None, **mapping: Json) -> str:
    machine = the_machine(*patches, of_=of_, **mapping)
    assert machine.problem
    assert machine.problem.code == "Refused"
    return machine.problem.message


def told(plan: Plan, check: str) -> list[tuple[str, str, str]]:
    return [
        (each.subject, each.verdict, each.message) for each in plan.checks if each.check == check
    ]


def secretive(*, user_data: str = USER) -> Metadata:
    return a_metadata(
        cloud_init=user_data,
        annotations={"note": NOTE, "other": "PLANTED-other"},
        secrets={"ci": {"userdata": USER, "networkdata": "version: 2"}},
    )


def test_a_patch_changes_the_machines_that_match_and_is_told() -> None:
    patches = [
        of(op("replace", CORES, 8), name="web*"),
        of(op("remove", f"{INSTANCE_AT}/hostname")),
    ]
    plan = planned(a_metadata(), a_metadata("db01"), mapping={"patches": patches})
    db, web = plan.machines
    assert [dig(spec(each), "domain", "cpu", "cores") for each in (db, web)] == [2, 8]
    assert [spec(each).get("hostname") for each in (db, web)] == [None, None]
    changes = [(each.what, each.before, each.after) for each in web.mapped]
    assert (f"replace {CORES}", "2", "8") in changes
    assert (f"remove {INSTANCE_AT}/hostname", "'web01'", "none") in changes
    reasons = [each.reason for each in web.objects if each.kind == "VirtualMachine"]
    assert reasons[0].endswith("; patched by mapping.patches 0, 1")
    assert told(plan, "patch") == told(plan, "mapping") == []


def test_the_name_that_is_matched_is_the_sources_whatever_it_becomes() -> None:
    one = of(op("replace", CORES, 8), name="web01")
    assert spec(the_machine(one, names={"suffix": "-dr"}))["domain"]["cpu"]["cores"] == 8
    none = of(op("replace", CORES, 8), name="web01-dr")
    assert spec(the_machine(none, names={"suffix": "-dr"}))["domain"]["cpu"]["cores"] == 2
    label = op("add", "/metadata/labels/tier", "gold")
    for kind, name in (
        ("PersistentVolumeClaim", "web01-disk-1"),
        ("VolumeSnapshot", "web01-disk-1"),
        ("VolumeSnapshotContent", "web01-disk-1"),
        ("Secret", "ci"),
    ):
        metadata = a_metadata(disks_=disks(count=2), secrets={"ci": {"userdata": USER}})
        machine = the_machine(
            of(label, kind=kind, name=name), of_=metadata, names={"suffix": "-dr"}
        )
        marked = [
            each.kind for each in machine.objects if "tier" in each.manifest["metadata"]["labels"]
        ]
        assert marked == [kind]


def test_a_patch_that_matches_nothing_is_told() -> None:
    plan = patched(of(op("replace", CORES, 8), name="db*"))
    assert told(plan, "mapping") == [
        (
            "mapping.patches",
            "warn",
            "mapping.patches.0: VirtualMachine 'db*' matches nothing that is selected.",
        )
    ]


MISSING = "does not fit: nothing lies at its path, or nothing can be put there."


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (op("test", CORES, 4), f"(test {CORES}): the value there is not the one that it tests for"),
        (op("test", "/spec/x", 4), "(test /spec/x): the value there is not the one"),
        (op("replace", "/spec/x/y", 4), f"(replace /spec/x/y) {MISSING}"),
        (op("remove", "/spec/x"), f"(remove /spec/x) {MISSING}"),
        (op("add", "/spec/x/y", 1), f"(add /spec/x/y) {MISSING}"),
        (op("add", f"{INSTANCE_AT}/volumes/9", {}), MISSING),
        (op("add", f"{INSTANCE_AT}/volumes/x", {}), MISSING),
        (op("copy", "/spec/x", **{"from": "/spec/y"}), MISSING),
        (op("move", "/spec/template/x", **{"from": "/spec"}), MISSING),
        (op("remove", ""), MISSING),
    ],
)
def test_a_patch_that_does_not_fit_blocks_its_machine_and_no_other(
    operation: Json, said: str
) -> None:
    fitting = op("test", "/kind", "VirtualMachine")
    patches = [of(op("replace", CORES, 3)), of(fitting, operation, name="web*")]
    plan = planned(a_metadata(), a_metadata("db01"), mapping={"patches": patches})
    db, web = plan.machines
    assert db.problem is None
    assert spec(db)["domain"]["cpu"]["cores"] == 3
    assert web.problem
    assert web.problem.code == "Refused"
    assert web.problem.message.startswith("mapping.patches.1.patch.1 (")
    assert said in web.problem.message
    assert "Correct the patch" in web.problem.message or "correct the path" in web.problem.message
    assert web.mapped == () or all("cores" not in each.what for each in web.mapped)
    assert [(subject, verdict) for subject, verdict, _ in told(plan, "patch")] == [
        ("default/web01", "block")
    ]


@pytest.mark.parametrize(
    "operation",
    [
        op("replace", "", {}),
        op("replace", "", None),
        op("replace", "", []),
        op("replace", "/metadata", {"name": "x"}),
        op("replace", "/metadata/labels", {"a": "b"}),
        op("replace", "/metadata/annotations", {}),
        op("remove", "/metadata/labels"),
        op("replace", "/spec", {"template": {}}),
        op("remove", "/spec"),
        op("add", "/metadata/labels", None),
        op("add", "/finalizers", []),
        op("copy", "/metadata", **{"from": "/spec"}),
        op("move", "/spec/template/metadata/labels/x", **{"from": "/metadata/labels"}),
    ],
)
def test_what_is_guarded_cannot_be_changed_by_what_holds_it(operation: Json) -> None:
    assert problem(of(operation)).startswith(
        "mapping.patches.0 on VirtualMachine default/web01 changes what holds it together"
    )


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (
            op(
                "add",
                f"{INSTANCE_AT}/volumes/-",
                {"name": "x", "hostDisk": {"path": "/etc/shadow"}},
            ),
            "Disk 'x' (hostDisk): it is a file of a node",
        ),
        (
            a_volume(persistentVolumeClaim={"claimName": "others"}),
            "which the backup does not hold",
        ),
        (
            a_volume(serviceAccount={"name": "y"}),
            "it would give the machine a credential of the target",
        ),
        (
            op(
                "add", f"{INSTANCE_AT}/volumes/-", {"name": "x", "secret": {"secretName": "theirs"}}
            ),
            "the backup does not hold the Secret that it names",
        ),
        (
            op(
                "add",
                "/spec/template/metadata/annotations",
                {"hooks.kubevirt.io/hookSidecars": "x"},
            ),
            "hooks.kubevirt.io/hookSidecars left out",
        ),
        (
            op("add", f"{INSTANCE_AT}/priorityClassName", "system-node-critical"),
            "priorityClassName",
        ),
        (op("add", f"{INSTANCE_AT}/tolerations", [{"operator": "Exists"}]), "tolerations"),
        (op("add", f"{INSTANCE_AT}/somethingNew", {"a": 1}), "somethingNew"),
        (
            op("add", f"{INSTANCE_AT}/domain/firmware/kernelBoot", {"container": {"image": "x"}}),
            "it boots a kernel from a container",
        ),
        (op("add", "/metadata/labels/cattle.io~1claimed", "x"), "cattle.io/claimed"),
        (
            op("add", "/metadata/annotations/kubectl.kubernetes.io~1x", "y"),
            "kubectl.kubernetes.io/x",
        ),
        (op("replace", f"{INSTANCE_AT}/volumes", "x"), "makes no VirtualMachine of it"),
        (op("replace", f"{INSTANCE_AT}/domain", 5), "makes no VirtualMachine of it"),
        (
            op("replace", f"{INSTANCE_AT}/networks/0/multus/networkName", "theirs/net"),
            "network theirs/net does not exist on west. Available: default/vlan100.",
        ),
    ],
)
def test_a_patch_brings_no_more_to_a_cluster_than_a_backup_may(operation: Json, said: str) -> None:
    message = problem(of(operation))
    assert message.startswith("mapping.patches.0 on VirtualMachine default/web01")
    assert said in message


def test_a_label_by_which_an_importer_takes_a_claim_is_refused_too() -> None:
    label = op("add", "/metadata/labels/app", "containerized-data-importer")
    assert "metadata.labels.app is nothing that a restore brings" in problem(
        of(label, kind="PersistentVolumeClaim")
    )


def test_devices_of_the_targets_nodes_are_a_persons_to_name() -> None:
    devices = [{"name": "gpu", "deviceName": "nvidia.com/A2"}]
    plan = patched(of(op("add", f"{INSTANCE_AT}/domain/devices/gpus", devices)))
    (machine,) = plan.machines
    assert machine.problem is None
    assert spec(machine)["domain"]["devices"]["gpus"] == devices
    assert told(plan, "patch") == []


def test_what_a_patch_asks_of_the_target_is_told_as_of_a_backup() -> None:
    plan = patched(of(op("add", f"{INSTANCE_AT}/nodeSelector", {"zone": "a"})))
    assert plan.machines[0].problem is None
    (said,) = told(plan, "node")
    assert (said[1], "zone=a" in said[2]) == ("warn", True)


def test_values_that_the_plan_does_not_hold_are_neither_compared_nor_taken_elsewhere() -> None:
    note, user = "/metadata/annotations/note", f"{INSTANCE_AT}/volumes/1/cloudInitNoCloud/userData"
    metadata = secretive()
    assert "the value there is not the one" in problem(of(op("test", note, NOTE)), of_=metadata)
    assert "the value there is not the one" in problem(of(op("test", user, USER)), of_=metadata)
    for source in (note, user):
        for what in ("copy", "move"):
            leak = op(what, "/metadata/labels/leak", **{"from": source})
            assert "takes a value of VirtualMachine default/web01 elsewhere" in problem(
                of(leak), of_=metadata
            )
    whole = op("copy", "/metadata/labels/leak", **{"from": "/metadata/annotations"})
    assert problem(of(whole), of_=metadata)


def test_values_are_filled_in_where_their_place_went() -> None:
    metadata = secretive()
    disk = {"name": "first", "emptyDisk": {"capacity": "1Gi"}}
    added = op("add", f"{INSTANCE_AT}/volumes/0", disk)
    replaced = op("replace", "/metadata/annotations/note", "mine")
    removed = op("remove", "/metadata/annotations/other")
    machine = the_machine(of(added, replaced, removed), of_=metadata)
    assert machine.problem is None
    (planned_vm,) = [each for each in machine.objects if each.kind == "VirtualMachine"]
    vm = complete(planned_vm, machine, metadata, None)
    volumes = dig(vm, *INSTANCE, "volumes")
    assert [each["name"] for each in volumes] == ["first", "disk-0", "cloudinitdisk"]
    assert volumes[2]["cloudInitNoCloud"]["userData"] == USER
    annotations = vm["metadata"]["annotations"]
    assert annotations["note"] == "mine"
    assert "other" not in annotations
    assert "PLANTED" not in machine.model_dump_json()
    gone = op("remove", f"{INSTANCE_AT}/volumes/1")
    without = the_machine(of(gone), of_=metadata)
    (planned_vm,) = [each for each in without.objects if each.kind == "VirtualMachine"]
    assert USER not in json.dumps(complete(planned_vm, without, metadata, None))


def test_what_a_patch_writes_where_secrets_are_is_not_told() -> None:
    user = op("replace", f"{INSTANCE_AT}/volumes/1/cloudInitNoCloud/userData", "mine")
    machine = the_machine(of(user), of_=secretive())
    changed = [each for each in machine.mapped if "userData" in each.what]
    assert [(each.before, each.after) for each in changed] == [("this value", "this value")]


def test_patched_fields_that_the_target_does_not_know_are_left_out_like_others() -> None:
    domain = {"cpu": {"cores": "*"}, "devices": "*", "resources": "*", "memory": "*"}
    declared = {"spec": {"template": {"spec": {"domain": domain, "volumes": "*", "networks": "*"}}}}
    on = facts(machine_fields=declared)
    mapping = {"patches": [of(op("add", f"{INSTANCE_AT}/domain/ioThreadsPolicy", "auto"))]}
    plan = planned(on=on, mapping=mapping)
    assert "ioThreadsPolicy" not in spec(plan.machines[0])["domain"]
    assert any("ioThreadsPolicy" in message for _, _, message in told(plan, "schema"))


def test_a_patch_of_one_machine_changes_no_other_and_not_the_request() -> None:
    patches = [
        of(
            op("add", f"{INSTANCE_AT}/nodeSelector", {"zone": "a"}),
            op("add", f"{INSTANCE_AT}/nodeSelector/rack", "1"),
        )
    ]
    plan = planned(a_metadata(), a_metadata("web02"), mapping={"patches": patches})
    assert [spec(each)["nodeSelector"] for each in plan.machines] == [
        {"zone": "a", "rack": "1"}
    ] * 2


VOLUMES = f"{INSTANCE_AT}/volumes"


def test_copies_of_copies_and_endless_levels_end_where_a_cluster_would() -> None:
    growing = [op("copy", f"/spec/x{n}", **{"from": "/spec"}) for n in range(100)]
    assert "makes more of it than a cluster keeps" in problem(of(*growing))
    deep: Json = "x"
    for _ in range(40):
        deep = {"a": deep}
    nested = [op("add", INSTANCE_AT + "/a" * (1 + 40 * n), deep) for n in range(3)]
    assert "makes more of it than a cluster keeps" in problem(of(*nested))


def test_what_no_check_can_read_after_a_patch_is_told_of_the_patch_and_not_of_the_backup() -> None:
    nameless = op("add", f"{INSTANCE_AT}/domain/devices/interfaces/0", {"name": []})
    bare = op("add", f"{VOLUMES}/1/cloudInitNoCloud", None)
    machine = the_machine(of(bare, nameless), of_=secretive())
    assert machine.problem is not None
    assert machine.problem.message == (
        "mapping.patches 0 make no VirtualMachine of it as KubeVirt has it. Correct their paths and"
        " values."
    )
    assert manifest(machine, "VirtualMachine")["metadata"]["name"] == "web01"


def test_the_hash_covers_what_patches_made() -> None:
    hashes = {patched(of(op("replace", CORES, cores))).hash for cores in (2, 3, 4)}
    assert len(hashes | {planned().hash}) == 4


PLACES = st.sampled_from(
    (
        *("", "/x", "/metadata", "/metadata/labels", "/metadata/labels/a", OF_VM, f"{OF_VM}/note"),
        *("/spec", "/spec/template", INSTANCE_AT, f"{INSTANCE_AT}/networks", CORES),
        *(VOLUMES, f"{VOLUMES}/1", f"{VOLUMES}/-", f"{VOLUMES}/1/cloudInitNoCloud"),
        *(f"{VOLUMES}/1/cloudInitNoCloud/userData", f"{INSTANCE_AT}/domain/cpu"),
        f"{INSTANCE_AT}/domain/devices/interfaces/0",
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "1Gi"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["name", "spec", "cloudInitNoCloud", "a"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)
OPERATIONS = st.builds(
    lambda what, path, source, value: {"op": what, "path": path, "from": source, "value": value},
    st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
    PLACES,
    PLACES,
    VALUES,
)


@settings(max_examples=150)
@given(st.lists(OPERATIONS, min_size=1, max_size=3))
def test_any_patch_makes_a_sound_machine_or_blocks_it_and_tells_no_secret(
    operations: list[Json],
) -> None:
    metadata = secretive()
    try:
        machine = the_machine(of(*operations), of_=metadata)
    except InvalidRequest:
        return
    text = machine.model_dump_json()
    assert "PLANTED" not in text
    vm = manifest(machine, "VirtualMachine")
    assert vm["metadata"]["name"] == "web01"
    assert vm["metadata"]["labels"]["replant.dev/restore"]
    if machine.problem is None:
        for each in machine.objects:
            complete(each, machine, metadata, "uid")
    else:
        assert "Traceback" not in machine.problem.message
    assert a_machine(metadata).problem is None
