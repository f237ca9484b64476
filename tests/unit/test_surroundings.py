"""What a restore can be planned without, as a target cluster tells it: well, badly, or not at all.

On the fake cluster, through the whole of planning.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from shared.catalogue import observations
from shared.errors import Refused, Unreachable
from shared.kube import discovery
from shared.kube.parallel import READERS
from shared.labels import LONGHORN_NAMESPACE
from shared.models.cluster_facts import Needs
from shared.models.documents import ClusterDocument
from shared.models.observations import Answer, Observation, SeenVersions
from shared.models.target_facts import InUse, Quota, TargetFacts, Versions
from tests.fake_cluster import ALL_RIGHTS, Place, connected, status
from tests.lab import STATE, Lab, a_lab

Json = dict[str, Any]
SETTING = ("HarvesterSetting", "", "server-version")
OPTIONAL = (
    ("HarvesterSetting", "Which Harvester west has is not known"),
    ("LonghornNode", "Whether Longhorn's disks on west have room could not be checked"),
    ("ResourceQuota", "Whether the quotas of west have room could not be checked"),
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def observe(lab: Lab, *namespaces: str, stated: Versions | None = None) -> TargetFacts:
    document = ClusterDocument(id="west", secret="replant/clusters/west")
    needs = Needs(frozenset(namespaces or ("default",)), frozenset())
    with connected(lab.cluster, lambda: lab.seconds, lab.sleep, document, None) as target:
        return discovery.observe(target, needs, stated or Versions()).target


def dry_run(lab: Lab) -> list[Json]:
    output = lab.restore(lab.request(dryRun=True))
    assert output["state"] == "planned"
    report = lab.s3.json(output["report"].removeprefix(f"s3://{STATE}/"))
    return list(report["checks"])


def warned(checks: list[Json]) -> list[str]:
    return [each["message"] for each in checks if each["verdict"] == "warn"]


def test_a_sound_target_passes_every_check_of_a_whole_restore(lab: Lab) -> None:
    lab.backup()
    checks = dry_run(lab)
    assert {each["verdict"] for each in checks} == {"pass"}
    names = {each["check"] for each in checks}
    assert {"versions", "permissions", "quota", "in-use", "capacity"} <= names


def test_versions_are_read_of_each_system(lab: Lab) -> None:
    assert observe(lab).versions == Versions(
        kubernetes="v1.34.1+rke2r1", harvester="v1.8.2", longhorn="v1.11.3", kubevirt="v1.7.0"
    )


def test_what_a_document_states_wins_over_what_is_read(lab: Lab) -> None:
    stated = Versions(kubernetes="1.30.0", harvester="1.6.1", longhorn="1.9.2")
    assert observe(lab, stated=stated).versions == stated._replace(kubevirt="v1.7.0")


@pytest.mark.parametrize(
    ("stated", "seen", "told"),
    [
        ({}, {}, "Harvester from 1.3 on"),
        ({}, {"harvester": "v1.7.1", "longhorn": "v1.10.0"}, "Harvester v1.7.1, Longhorn v1.10.0"),
        ({"harvester": "1.7.0"}, {"harvester": "v1.7.1", "longhorn": "v1.10.0"}, "1.7.0, Longhorn"),
    ],
)
def test_versions_of_a_source_that_no_document_states_are_as_the_probe_saw_them_last(
    lab: Lab, stated: Json, seen: Json, told: str
) -> None:
    lab.backup()
    lab.know_cluster("east", **stated)
    for answer in (Answer.READY, Answer.UNREACHABLE) if seen else ():
        versions = SeenVersions(**seen) if answer is Answer.READY else SeenVersions()
        at = lab.now()
        look = Observation(cluster="east", at=at, answer=answer, versions=versions)
        observations.record(lab.table, look)
    (said,) = [each["message"] for each in dry_run(lab) if each["check"] == "versions"]
    assert "backups of east are of" in said
    assert told in said


def test_the_default_of_a_setting_counts_where_nobody_set_it(lab: Lab) -> None:
    lab.cluster.objects[SETTING] |= {"value": "", "default": "v1.8.1"}
    assert observe(lab).versions.harvester == "v1.8.1"


def test_of_two_kubevirts_that_differ_none_is_the_one(lab: Lab) -> None:
    other = {"observedKubeVirtVersion": "v1.6.0"}
    lab.cluster.add("KubeVirt", "kubevirt", "kubevirt", status=other)
    assert observe(lab).versions.kubevirt is None


@pytest.mark.parametrize("kind", [kind for kind, _ in OPTIONAL])
def test_a_kind_that_may_not_be_read_fails_no_plan_and_its_check_says_so(
    lab: Lab, kind: str
) -> None:
    lab.backup()
    lab.cluster.fail("GET", kind, status(403, "Forbidden", FORBIDDEN), times=99)
    (said,) = warned(dry_run(lab))
    assert dict(OPTIONAL)[kind] in said
    assert "cannot list resource" in said
    assert lab.restore(lab.request(requestId="r-2"), "run-2")["counts"] == {"ready": 1}


FORBIDDEN = 'User "u" cannot list resource "x" in API group "y"'


@pytest.mark.parametrize("unserved", ["HarvesterSetting", "KubeVirt", "KeyPair", "LonghornNode"])
def test_a_kind_that_is_not_installed_fails_no_plan(lab: Lab, unserved: str) -> None:
    lab.backup()
    missing = status(404, "", "404 page not found")
    lab.cluster.fail("GET", unserved, missing, times=99)
    assert lab.restore()["counts"] == {"ready": 1}


def test_rights_that_may_not_be_asked_for_fail_no_plan(lab: Lab) -> None:
    lab.backup()
    refused = status(403, "Forbidden", 'User "u" cannot create resource "selfsubjectrulesreviews"')
    lab.cluster.fail("REVIEW", "SelfSubjectRulesReview", refused, times=99)
    lab.cluster.fail("REVIEW", "Version", refused, times=99)
    (said,) = warned(dry_run(lab))
    assert said.startswith("What its account may do on west could not be checked:")


def test_a_missing_right_refuses_a_restore_and_nothing_is_written(lab: Lab) -> None:
    lab.backup()
    rule = {"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}
    lab.cluster.rights["default"] = ALL_RIGHTS | {"resourceRules": [rule]}
    with pytest.raises(Refused) as caught:
        lab.plan()
    assert 'cannot create resource "virtualmachines"' in caught.value.message
    assert not lab.cluster.writes
    checks = dry_run(lab)
    assert [each["check"] for each in checks if each["verdict"] == "block"] == ["permissions"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"resourceRules": None, "incomplete": True},
        {"resourceRules": "all", "incomplete": "no"},
        {"resourceRules": [None, 5, {"verbs": "*", "apiGroups": [7], "resources": {}}]},
    ],
)
def test_rights_without_a_shape_block_nothing(lab: Lab, answer: Json) -> None:
    lab.backup()
    lab.cluster.rights = {"default": answer, LONGHORN_NAMESPACE: answer}
    (said,) = warned(dry_run(lab))
    assert "rights in part only" in said


def test_a_rule_about_single_objects_allows_to_make_no_others(lab: Lab) -> None:
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "resourceNames": ["one"]}
    lab.cluster.rights["default"] = ALL_RIGHTS | {"resourceRules": [rule]}
    rights = observe(lab).rights["default"]
    assert rights.whole
    assert not rights.allow("", "secrets", "create")


def test_quotas_are_read_of_the_target_namespaces_alone(lab: Lab) -> None:
    told = {"hard": {"pods": "5", "limits.cpu": 8, "x": None}, "used": {"pods": "2"}}
    lab.cluster.add(
        "ResourceQuota", "default", "team", spec={"scopes": ["Terminating"]}, status=told
    )
    lab.cluster.add("ResourceQuota", "other", "theirs", status=told)
    lab.cluster.add("ResourceQuota", "default", "fresh", spec={"hard": {"pods": "1"}}, status=5)
    assert observe(lab).quotas == {
        "default": (
            Quota(
                name="team",
                hard={"pods": "5", "limits.cpu": "8"},
                used={"pods": "2"},
                scoped=True,
            ),
            Quota(name="fresh", hard={"pods": "1"}),
        )
    }


def test_what_machines_have_is_read_of_machines_and_of_what_runs(lab: Lab) -> None:
    interfaces = [{"name": "a", "macAddress": "52:54:00:AA:00:01"}, {"name": "b"}]
    domain = {"devices": {"interfaces": interfaces}, "firmware": {"uuid": "U-1", "serial": "S"}}
    inline = [{"cloudInitNoCloud": {"networkData": "version: 1", "networkDataBase64": 5}}]
    lab.cluster.add(
        "VirtualMachine",
        "shop",
        "db01",
        metadata={"annotations": {"network.harvesterhci.io/ips": '["10.1.0.9"]'}},
        spec={"template": {"spec": {"domain": domain, "volumes": inline}}},
    )
    seen = [{"ipAddress": "10.1.0.5", "ipAddresses": ["10.1.0.5", "2001:DB8::5"]}]
    running = {"domain": {"firmware": {"uuid": "U-2"}}}
    lab.cluster.add(
        "VirtualMachineInstance", "shop", "db01", spec=running, status={"interfaces": seen}
    )
    owner = "shop/db01"
    assert observe(lab).in_use == InUse(
        macs={"52:54:00:aa:00:01": owner},
        firmware={"uuid u-1": owner, "serial s": owner, "uuid u-2": owner},
        addresses={"10.1.0.9": owner, "10.1.0.5": owner, "2001:db8::5": owner},
        network_data={owner: ("version: 1",)},
    )


@pytest.mark.parametrize("shape", [None, 5, "x", [], {}, [None], {"a": [5]}])
def test_objects_without_a_shape_are_facts_of_nothing(lab: Lab, shape: Any) -> None:
    lab.backup()
    cluster = lab.cluster
    cluster.version = {"gitVersion": shape}
    cluster.objects[SETTING] |= {"value": shape, "default": shape}
    for place in list(cluster.objects):
        if place[0] in ("KubeVirt", "LonghornNode"):
            cluster.objects[place] |= {"spec": shape, "status": shape}
    cluster.add("LonghornNode", LONGHORN_NAMESPACE, "n", spec=shape, status={"diskStatus": shape})
    domain = {"devices": {"interfaces": shape}, "firmware": shape}
    bent = {"template": {"spec": {"domain": domain, "volumes": shape}}}
    cluster.add("VirtualMachine", "shop", "a", spec=bent)
    cluster.add("VirtualMachineInstance", "shop", "a", spec=shape, status={"interfaces": shape})
    cluster.add("ResourceQuota", "default", "q", spec=shape, status={"hard": shape, "used": shape})
    cluster.add("KeyPair", "default", "k", spec=shape)
    assert "block" not in {each["verdict"] for each in dry_run(lab)}


@pytest.mark.parametrize(
    ("node", "disk"),
    [
        ({"allowScheduling": False}, {}),
        ({"evictionRequested": True}, {}),
        ({}, {"allowScheduling": False}),
        ({}, {"evictionRequested": True}),
    ],
)
def test_a_disk_that_takes_no_replica_is_no_room(lab: Lab, node: Json, disk: Json) -> None:
    bend(lab, node, disk)
    assert observe(lab).disks == ()


@pytest.mark.parametrize("condition", ["Ready", "Schedulable"])
def test_a_node_that_is_not_well_is_no_room(lab: Lab, condition: str) -> None:
    for name in lab.cluster.of("LonghornNode"):
        node = lab.cluster.objects["LonghornNode", LONGHORN_NAMESPACE, name]
        node["status"]["conditions"] = [{"type": condition, "status": "False"}]
    assert observe(lab).disks == ()


def test_room_is_the_size_without_what_is_reserved_by_the_factor_less_what_is_promised(
    lab: Lab,
) -> None:
    disks = observe(lab).disks
    assert disks
    assert {each.room for each in disks} == {2 * (2**40 - 2**36) - 2**38}
    assert [each.node for each in disks] == ["node-0", "node-1", "node-2"]


@pytest.mark.parametrize("size", [None, -5, True, "1Ti", 2**64])
def test_a_disk_that_does_not_tell_its_size_leaves_the_room_unknown(lab: Lab, size: Any) -> None:
    node = lab.cluster.objects["LonghornNode", LONGHORN_NAMESPACE, "node-1"]
    node["status"]["diskStatus"]["disk-1"]["storageMaximum"] = size
    assert observe(lab).disks is None


def test_what_is_promised_and_reserved_counts_as_nothing_where_it_is_not_told(lab: Lab) -> None:
    for name in lab.cluster.of("LonghornNode"):
        node = lab.cluster.objects["LonghornNode", LONGHORN_NAMESPACE, name]
        node["status"]["diskStatus"]["disk-1"] = {"storageMaximum": 100}
        node["spec"]["disks"] = {}
    assert {each.room for each in observe(lab).disks or ()} == {200}


@pytest.mark.parametrize("value", ["", "much", "-5", "9999999"])
def test_without_the_factor_no_room_is_known(lab: Lab, value: str) -> None:
    place = ("Setting", LONGHORN_NAMESPACE, "storage-over-provisioning-percentage")
    lab.cluster.objects[place]["value"] = value
    assert observe(lab).disks is None


def bend(lab: Lab, node: Json, disk: Json) -> None:
    for name in lab.cluster.of("LonghornNode"):
        spec = lab.cluster.objects["LonghornNode", LONGHORN_NAMESPACE, name]["spec"]
        spec |= node
        spec["disks"]["disk-1"] |= disk


# --- How many requests ---------------------------------------------------------------------------


def test_more_machines_take_no_more_requests_but_for_their_own_backups(lab: Lab) -> None:
    def count(*ids: str, request: str) -> Counter[str]:
        asked: Counter[str] = Counter()

        def note(method: str, place: Place) -> None:
            asked[f"{method} {place[0]}"] += 1

        lab.cluster.before = note
        lab.plan(lab.request(*ids, dryRun=True, requestId=request), request)
        lab.cluster.before = None
        return asked

    ids = [lab.backup(f"web{number:02}").id for number in range(12)]
    one, many = count(ids[0], request="one"), count(*ids, request="many")
    assert many - one == {"GET Backup": 11}
    assert one["REVIEW SelfSubjectRulesReview"] == 2
    assert sum(one.values()) < 40


def test_a_cluster_that_does_not_answer_is_told_after_one_request(lab: Lab) -> None:
    lab.backup()
    lab.cluster.down = "accepts no connection"
    asked: list[str] = []
    lab.cluster.before = lambda method, place: asked.append(method)
    with pytest.raises(Unreachable):
        lab.plan()
    assert len(asked) == 4, "with its attempts"


def test_no_more_requests_are_under_way_than_allowed(lab: Lab) -> None:
    under_way: list[Place] = []
    at_once: list[int] = []

    def note(method: str, place: Place) -> None:
        under_way.append(place)
        at_once.append(len(under_way))
        time.sleep(0.002)
        under_way.remove(place)

    lab.cluster.before = note
    namespaces = [f"team-{number}" for number in range(60)]
    facts = observe(lab, *namespaces)
    assert len(facts.rights) == 61
    assert 1 < max(at_once) <= READERS
