"""Target clusters that lack something: what fails, where it is told, and that the others of the
restore come back.

Aspects: checks of one machine and of the whole target, faults while machines get ready, rights that
were removed.
Not aspects: credentials (test_bad_kubeconfigs), a server that dies meanwhile (test_bad_outage).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.api import MERGE, Api, Object
from local.samples.harvester import Nic
from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait
from tests.integration.lab_objects import KUBEVIRT, faults, machine, manifest

MAPPING = {
    "networks": {"default/vlan100": "default/vlan200"},
    "namespaces": {"t-sys": "kube-system"},
}
CLASSES = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/replant"
STAYS = "/api/v1/namespaces/t-term/configmaps/stays"
Points = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def points(stack: Stack) -> Points:
    """One machine a namespace; each but those of t-good and t-slow meets an obstacle of its own."""
    for space in ("t-good", "t-slow", "t-sys", "t-term", "t-taken"):
        stack.put(a_vm_backup("web", space, space))
    stack.put(a_vm_backup("web", "t-net", "t-net", networks=[Nic(network="default/absent")]))
    stack.put(a_vm_backup("web", "t-class", "t-class", image="default/jammy"))
    stack.put(
        a_vm_backup("web", "t-key", "t-key", secrets={"web-ci": {"userdata": "#cloud-config"}})
    )
    return {space: point(stack, space) for space in (*OBSTACLES, "t-good", "t-slow", "t-key")}


@pytest.fixture(scope="module")
def west(stack: Stack) -> Iterator[Api]:
    """A machine stands in the way in t-taken, and t-term is being deleted without end."""
    api = stack.cluster("west")
    for space in ("t-taken", "t-term"):
        api.apply(manifest("v1", "Namespace", space))
    api.apply(machine("t-taken", "Halted"))
    stays = manifest("v1", "ConfigMap", "stays", "t-term")
    api.apply(stays | {"metadata": stays["metadata"] | {"finalizers": ["replant.dev/test"]}})
    api.call("DELETE", "/api/v1/namespaces/t-term")
    yield api
    api.call("PATCH", STAYS, {"metadata": {"finalizers": None}}, MERGE)


@pytest.fixture(scope="module")
def partial(stack: Stack, west: Api, points: Points) -> Ended:
    chosen = [point["id"] for space, point in points.items() if space not in ("t-slow", "t-key")]
    return stack.restore({"select": {"ids": chosen}, "target": "west", "mapping": MAPPING})


def point(stack: Stack, space: str) -> dict[str, Any]:
    return wait(
        lambda: stack.newest(f"{space}/web", "restorable"),
        seconds=60,
        what=f"a point of {space}",
        every=0.1,
    )


def request(point: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"select": {"id": point["id"]}, "target": "west", "mapping": MAPPING} | changes


def only(ended: Ended) -> dict[str, Any]:
    assert (ended.error == "RestoreFailed") == (ended.output["state"] == "failed"), ended
    (found,) = ended.output["machines"]
    return dict(found)


OBSTACLES: dict[str, tuple[str, list[str]]] = {
    "t-net": (
        "Refused",
        ["Network default/absent (nic-1) does not exist on west", "Create it, or map it"],
    ),
    "t-class": (
        "Refused",
        [
            "Storage class lh-",
            "(disk-0) does not exist on west",
            "storageClasses",
            "Available: ",
            "harvester-longhorn",
        ],
    ),
    "t-sys": (
        "Refused",
        ["Namespace kube-system belongs to cluster west itself", "Map it to another one"],
    ),
    "t-term": (
        "Refused",
        ["Namespace t-term is being deleted", "Wait until it is gone, or map t-term to another"],
    ),
    "t-taken": (
        "Conflict",
        ["VirtualMachine t-taken/web already exists", "another client", "onExisting: skip"],
    ),
}


@pytest.mark.parametrize("space", OBSTACLES)
def test_a_machine_with_an_obstacle_tells_it_in_output_and_report(
    stack: Stack, partial: Ended, points: Points, space: str
) -> None:
    code, words = OBSTACLES[space]
    report = stack.report(partial.output["report"])
    for told in (partial.output, report):
        found = next(each for each in told["machines"] if each["id"] == points[space]["id"])
        assert (found["state"], found["error"]["code"]) == ("blocked", code)
        assert not [word for word in words if word not in found["error"]["message"]], found
    found = next(each for each in report["machines"] if each["id"] == points[space]["id"])
    assert {each["action"] for each in found["objects"]} == {"skip"}
    assert any(
        each["verdict"] == "block" and words[0] in each["message"] for each in report["checks"]
    )


def test_the_machines_without_an_obstacle_come_back(partial: Ended, west: Api) -> None:
    assert (partial.status, partial.output["state"]) == ("SUCCEEDED", "partial")
    assert partial.output["counts"] == {"blocked": len(OBSTACLES), "ready": 1}
    assert west.answers(f"/apis/{KUBEVIRT}/namespaces/t-good/virtualmachines/web")
    assert not west.answers("/api/v1/namespaces/t-net")


def test_a_machine_that_exists_is_skipped_where_that_is_asked(
    stack: Stack, west: Api, points: Points
) -> None:
    place = f"/apis/{KUBEVIRT}/namespaces/t-taken/virtualmachines/web"
    before = west.call("GET", place)["metadata"]["resourceVersion"]
    ended = stack.restore(request(points["t-taken"], onExisting="skip"))
    assert (only(ended)["state"], ended.output["state"]) == ("skipped", "succeeded")
    note = stack.report(ended.output["report"])["machines"][0]["note"]
    assert note.startswith("VirtualMachine t-taken/web already exists")
    assert west.call("GET", place)["metadata"]["resourceVersion"] == before


@contextmanager
def without_snapshot_class(api: Api) -> Iterator[None]:
    found = api.call("GET", f"{CLASSES}/longhorn")
    kept: Object = {key: found[key] for key in ("apiVersion", "kind", "driver", "deletionPolicy")}
    api.call("DELETE", f"{CLASSES}/longhorn")
    try:
        yield
    finally:
        api.apply(kept | {"metadata": {"name": "longhorn"}})


def test_a_missing_snapshot_class_refuses_the_restore_and_shows_in_a_dry_run(
    stack: Stack, west: Api, points: Points
) -> None:
    asked = request(points["t-slow"])
    with without_snapshot_class(west):
        refused = stack.restore(asked)
        planned = stack.restore(asked | {"dryRun": True})
    assert (refused.status, refused.error, refused.cause["field"]) == (
        "FAILED",
        "Refused",
        "target",
    )
    message = refused.cause["message"]
    assert "Cluster west has no VolumeSnapshotClass of driver.longhorn.io" in message
    assert "Create one such as `longhorn`" in message
    assert (planned.status, planned.output["state"]) == ("SUCCEEDED", "planned")
    checks = stack.report(planned.output["report"])["checks"]
    assert [each["message"] for each in checks if each["verdict"] == "block"] == [message]


def test_a_snapshot_that_fails_is_the_reason_of_its_machine(
    stack: Stack, west: Api, points: Points
) -> None:
    volume = points["t-slow"]["volumes"][0]
    west.apply(faults(snapshotError=f"bak://{volume['engineVolume']}/*"))
    try:
        found = only(
            stack.restore(request(points["t-slow"], ready={"timeout": "PT5S"}, requestId="t-slow"))
        )
    finally:
        west.apply(faults())
    assert (found["state"], found["error"]["code"]) == ("failed", "NotReady")
    words = [
        "not ready after 5 s",
        volume["claim"],
        "VolumeSnapshot replant-",
        volume["engineBackup"],
        "is not found",
    ]
    assert not [word for word in words if word not in found["error"]["message"]], found


def test_a_machine_that_never_gets_ready_says_what_it_waits_for(
    stack: Stack, west: Api, points: Points
) -> None:
    west.apply(faults(neverReady="t-slow-2/*"))
    namespaces = MAPPING | {"namespaces": {"t-slow": "t-slow-2"}}
    try:
        found = only(
            stack.restore(request(points["t-slow"], ready={"timeout": "PT5S"}, mapping=namespaces))
        )
    finally:
        west.apply(faults())
    assert (found["state"], found["error"]["code"]) == ("failed", "NotReady")
    words = [
        "not ready after 5 s",
        "VirtualMachine t-slow-2/web is Starting",
        "never becomes ready",
    ]
    assert not [word for word in words if word not in found["error"]["message"]], found


@contextmanager
def without_right(api: Api, verb: str, group: str, resource: str) -> Iterator[None]:
    """The shipped role, less one right, as soon as the API server acts on it."""
    rules = api.call("GET", ROLE)["rules"]
    less = [
        rule
        | {
            "verbs": [
                each
                for each in rule["verbs"]
                if each != verb or resource not in rule.get("resources", ())
            ]
        }
        for rule in rules
    ]
    less = [rule for rule in less if rule["verbs"]]
    ask = {"verb": verb, "group": group, "resource": resource, "namespace": "t-any"}
    try:
        api.call("PATCH", ROLE, {"rules": less}, MERGE)
        wait(
            lambda: not allowed(api, ask),
            seconds=20,
            what=f"no right to {verb} {resource}",
            every=0.1,
        )
        yield
    finally:
        api.call("PATCH", ROLE, {"rules": rules}, MERGE)
        wait(
            lambda: allowed(api, ask), seconds=20, what=f"the right to {verb} {resource}", every=0.1
        )


def allowed(api: Api, attributes: dict[str, str]) -> bool:
    spec = {"user": "system:serviceaccount:replant:replant", "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return bool(
        api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"][
            "allowed"
        ]
    )


def names_the_right(message: str, verb: str, resource: str) -> None:
    words = [
        f'cannot {verb} resource "{resource}"',
        "on cluster west",
        "apply docs/target-access.yaml",
    ]
    assert not [word for word in words if word not in message], message


@pytest.mark.parametrize(
    ("verb", "group", "resource"),
    [
        ("create", "", "secrets"),
        ("create", "", "persistentvolumeclaims"),
        ("create", "snapshot.storage.k8s.io", "volumesnapshotcontents"),
        ("patch", "kubevirt.io", "virtualmachines"),
    ],
)
def test_a_right_that_the_restore_will_need_refuses_it_before_anything_is_made(
    stack: Stack, west: Api, points: Points, verb: str, group: str, resource: str
) -> None:
    namespaces = MAPPING | {"namespaces": {"t-key": f"t-{resource}"}}
    asked = request(points["t-key"], mapping=namespaces, requestId=f"t-right-{resource}")
    with without_right(west, verb, group, resource):
        ended = stack.restore(asked)
    assert (ended.status, ended.error, ended.cause["field"]) == ("FAILED", "Refused", "target")
    names_the_right(ended.cause["message"], verb, resource)
    assert not west.answers(f"/api/v1/namespaces/t-{resource}")
    again = only(stack.restore(asked))
    assert again["state"] == "ready", again


@pytest.mark.parametrize(
    ("verb", "group", "resource"),
    [
        ("list", "kubevirt.io", "virtualmachines"),
        ("get", "", "namespaces"),
        ("list", "storage.k8s.io", "storageclasses"),
    ],
)
def test_a_right_that_the_plan_lacks_refuses_the_restore_and_names_itself(
    stack: Stack, west: Api, points: Points, verb: str, group: str, resource: str
) -> None:
    with without_right(west, verb, group, resource):
        ended = stack.restore(request(points["t-taken"]))
    assert (ended.status, ended.error, ended.cause["code"]) == ("FAILED", "Refused", "Refused"), (
        ended
    )
    names_the_right(ended.cause["message"], verb, resource)
