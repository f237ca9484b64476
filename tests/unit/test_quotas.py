"""What the machines of a restore add to namespaces with quotas."""

from typing import Any

import pytest

from local.samples.builders import a_class, a_metadata, disks, facts, planned
from shared.models.cluster_facts import ClusterFacts
from shared.models.restore_plans import MachinePlan, Plan
from shared.models.target_facts import Quota
from shared.quantities import GIB
from shared.restore.preflight import quotas

Json = dict[str, Any]
GUEST = {"limits": {"cpu": "2", "memory": "4Gi"}}


def a_guest(vm: str = "web01", resources: Json | None = None, **traits: Any) -> Json:
    """A machine with one disk of 20 GiB, two processors and 4 GiB."""

    def edit(metadata: Json) -> None:
        domain = metadata["vmSourceSpec"]["spec"]["template"]["spec"]["domain"]
        domain["resources"] = GUEST if resources is None else resources
        domain.pop("cpu", None)
        domain.pop("memory", None)

    return a_metadata(vm, edit=edit, disks_=disks(vm, size=20 * GIB), **traits)


def on(hard: Json, used: Json | None = None, **changes: Any) -> ClusterFacts:
    quota = Quota(name="team", hard=hard, used=used or {}, **changes)
    fast = {"harvester-longhorn": a_class(is_default=True)}
    return facts(quotas={"default": (quota,)}, storage_classes=fast)


def of_quota(plan: Plan) -> list[tuple[str, str]]:
    return [(each.verdict, each.subject) for each in plan.checks if each.check == "quota"]


def said(plan: Plan) -> str:
    return next(each.message for each in plan.checks if each.check == "quota")


def test_a_namespace_with_room_or_without_a_quota_passes_in_one_line() -> None:
    room = on({"requests.storage": "40Gi", "pods": "1"}, {"requests.storage": "20Gi"})
    for where in (room, facts()):
        plan = planned(a_guest(), on=where)
        assert of_quota(plan) == [("pass", "west")]
        assert not plan.machines[0].problem


@pytest.mark.parametrize(
    ("resource", "hard", "told"),
    [
        ("requests.storage", "30Gi", "20Gi of requests.storage, of which 10Gi are left"),
        (
            "harvester-longhorn.storageclass.storage.k8s.io/requests.storage",
            "30Gi",
            "20Gi of harvester-longhorn.storageclass.storage.k8s.io/requests.storage, of which",
        ),
        ("limits.memory", "21Gi", "4Gi of limits.memory, of which 1Gi are left"),
    ],
)
def test_what_certainly_does_not_fit_blocks_its_machine(
    resource: str, hard: str, told: str
) -> None:
    plan = planned(a_guest(), on=on({resource: hard}, {resource: "20Gi"}))
    assert of_quota(plan) == [("block", "default/web01")]
    assert told in said(plan)
    (machine,) = plan.machines
    assert machine.problem
    assert machine.problem.code == "Refused"
    assert machine.problem.message == said(plan)


@pytest.mark.parametrize(
    ("resource", "told"),
    [
        ("persistentvolumeclaims", "1 of persistentvolumeclaims, of which 0 are left"),
        ("count/persistentvolumeclaims", "1 of count/persistentvolumeclaims"),
        ("secrets", "1 of secrets"),
        ("count/virtualmachines.kubevirt.io", "1 of count/virtualmachines.kubevirt.io"),
        ("count/volumesnapshots.snapshot.storage.k8s.io", "1 of count/volumesnapshots"),
        ("pods", "1 of pods"),
        ("limits.cpu", "2 of limits.cpu"),
        (
            "harvester-longhorn.storageclass.storage.k8s.io/persistentvolumeclaims",
            "1 of harvester-longhorn.storageclass",
        ),
    ],
)
def test_everything_that_is_made_is_counted(resource: str, told: str) -> None:
    guest = a_guest(secrets={"keys": {"userdata": "x"}})
    full = planned(guest, on=on({resource: "5"}, {resource: "5"}))
    assert told in said(full)
    assert of_quota(full) == [("block", "default/web01")]


def test_a_whole_namespace_is_left_out_and_no_other() -> None:
    machines = [a_guest("web01"), a_guest("web02"), a_guest("db01", namespace="shop")]
    where = on({"requests.storage": "30Gi"})
    where = where._replace(namespaces={"default": "Active", "shop": "Active"})
    plan = planned(*machines, on=where)
    assert [(each.key, bool(each.problem)) for each in plan.machines] == [
        ("default/web01", True),
        ("default/web02", True),
        ("shop/db01", False),
    ]
    assert said(plan) == (
        "ResourceQuota team of namespace default: its 2 machines add 40Gi of requests.storage, of"
        " which 30Gi are left. Raise the quota, select fewer machines, or map some to another"
        " namespace."
    )


def test_what_its_pods_ask_for_is_the_target_s_to_say_and_may_not_fit() -> None:
    plan = planned(a_guest(), on=on({"requests.memory": "3Gi", "requests.cpu": "500m"}))
    assert of_quota(plan) == [("warn", "default")]
    assert said(plan).startswith(
        "It may not fit: ResourceQuota team of namespace default: its machine adds 2 of"
        " requests.cpu, of which 0.5 are left; 4Gi of requests.memory, of which 3Gi are left."
    )
    assert not plan.machines[0].problem


def test_a_machine_that_is_not_started_needs_no_pod() -> None:
    tight = on({"pods": "0", "limits.memory": "1Gi", "requests.cpu": "0"})
    assert of_quota(planned(a_guest(), on=tight, start=False)) == [("pass", "west")]
    assert of_quota(planned(a_guest(run_strategy="Halted"), on=tight)) == [("pass", "west")]


def test_a_quota_of_some_pods_only_is_a_warning() -> None:
    plan = planned(a_guest(), on=on({"pods": "0"}, scoped=True))
    assert of_quota(plan) == [("warn", "default")]


@pytest.mark.parametrize("hard", [{"requests.storage": "much"}, {"requests.storage": ""}, {}])
def test_what_is_no_quantity_limits_nothing(hard: Json) -> None:
    assert of_quota(planned(a_guest(), on=on(hard))) == [("pass", "west")]


def test_used_up_beyond_the_limit_leaves_nothing() -> None:
    plan = planned(a_guest(), on=on({"pods": "1"}, {"pods": "9"}))
    assert "1 of pods, of which 0 are left" in said(plan)


def test_sizes_that_are_none_count_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (machine,) = planned(a_guest()).machines
    vm = next(each for each in machine.objects if each.kind == "VirtualMachine")
    vm.manifest["spec"]["template"]["spec"]["domain"] = {
        "cpu": {"cores": "many"},
        "resources": {"limits": {"memory": "much"}},
    }
    claim = next(each for each in machine.objects if each.kind == "PersistentVolumeClaim")
    claim.manifest["spec"]["resources"] = {"requests": {"storage": "None"}}
    bent: list[MachinePlan] = [machine]
    tight = on({"limits.memory": "0", "requests.storage": "0", "requests.cpu": "0"})
    assert [each.verdict for each in quotas.check("west", tight, bent)] == ["pass"]


def test_quotas_that_cannot_be_listed_are_said_with_the_reason() -> None:
    plan = planned(a_guest(), on=facts(unseen={"quota": "403"}))
    assert of_quota(plan) == [("warn", "west")]
    assert said(plan) == (
        "Whether the quotas of west have room could not be checked: 403. Apply"
        " docs/target-access.yaml again, or look at them."
    )
