"""The client against a real API server, with the rights of docs/target-access.yaml and no others.

Aspects: the shipped role is enough for every call and for nothing more, each of its verbs is needed, and every
error shape that a real server shows is told by its name. Faults of the network are in tests/unit.
The cluster is a throw-away one, started here, or the one of the administrator's kubeconfig that
REPLANT_TEST_KUBECONFIG names.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.cluster import Cluster
from shared.commands import access
from shared.errors import (
    AlreadyExists,
    Conflict,
    Refused,
    Rejected,
    ReplantError,
    Unavailable,
)
from shared.kube.client import JSON, TargetCluster
from shared.kube.credentials import Credentials
from shared.kube.kubeconfig import parse
from shared.kube.reply import Reply
from shared.kube.resources import KINDS, Kind
from shared.kube.transport import Transport

Object = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterroles/replant"
ADMISSION = "/apis/admissionregistration.k8s.io/v1/"
FINALIZER = "test.replant.dev/hold"
PLANTED = "PLANTED-s3cret"


@pytest.fixture(scope="module")
def administrator() -> Iterator[Path]:
    """The path of an administrator's kubeconfig."""
    given = os.environ.get("REPLANT_TEST_KUBECONFIG")
    if given:
        yield Path(given)
        return
    cluster = Cluster("kube-client")
    try:
        cluster.start()
        cluster.ready()
        yield cluster.kubeconfig
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def printed(administrator: Path) -> str:
    """What an operator gets."""
    command = [
        sys.executable,
        "-m",
        "shared.commands.access",
        "--kubeconfig",
        str(administrator),
        "--apply",
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def credentials(text: str) -> Credentials:
    return parse(text, cluster="west", secret="replant/clusters/west", allow_loopback=True)


@dataclass
class Admin:
    """Everything that Replant itself may not do."""

    transport: Transport

    def __call__(self, method: str, path: str, body: object = None, **query: str) -> Object:
        reply = self.send(method, path, body, **query)
        assert reply.status < 300 or (reply.status == 404 and method == "DELETE"), reply.data
        return reply.body

    def send(self, method: str, path: str, body: object = None, **query: str) -> Reply:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        if "fieldManager" in query:
            kind = "application/apply-patch+yaml"
        return self.transport.send(method, path, JSON | {"Content-Type": kind}, body, **query)


@pytest.fixture(scope="module")
def admin(administrator: Path) -> Iterator[Admin]:
    transport = Transport(credentials(administrator.read_text()), "west")
    yield Admin(transport)
    transport.close()


@pytest.fixture(scope="module")
def target(printed: str) -> Iterator[TargetCluster]:
    target = TargetCluster(credentials(printed), cluster="west")
    yield target
    target.close()


@pytest.fixture(scope="module")
def limited(printed: str) -> Iterator[Admin]:
    """Raw requests with Replant's own rights."""
    transport = Transport(credentials(printed), "west")
    yield Admin(transport)
    transport.close()


@pytest.fixture
def namespace(admin: Admin) -> str:
    name = f"t-{uuid.uuid4().hex[:10]}"
    admin("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"test": name}}})
    return name


def manifest(kind: str, namespace: str | None, name: str, **body: object) -> Object:
    meta = {"name": name} | ({"namespace": namespace} if KINDS[kind].namespaced else {})
    return {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": meta} | body


def vm(namespace: str, name: str = "web01", **spec: object) -> Object:
    template: Object = {"spec": {"domain": {"devices": {}}}}
    return manifest(
        "VirtualMachine",
        namespace,
        name,
        spec={"runStrategy": "Halted", "template": template} | spec,
    )


def claim(namespace: str, name: str = "disk", **spec: object) -> Object:
    wanted = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    return manifest("PersistentVolumeClaim", namespace, name, spec=wanted | spec)


def content(namespace: str, name: str = "disk", handle: str = "bak://v/b") -> Object:
    spec = {
        "deletionPolicy": "Retain",
        "driver": "driver.longhorn.io",
        "source": {"snapshotHandle": handle},
        "volumeSnapshotRef": {"name": name, "namespace": namespace},
    }
    return manifest("VolumeSnapshotContent", None, f"{namespace}-{name}", spec=spec)


def snapshot(namespace: str, name: str = "disk") -> Object:
    source = {"volumeSnapshotContentName": f"{namespace}-{name}"}
    return manifest("VolumeSnapshot", namespace, name, spec={"source": source})


def secret(namespace: str, name: str = "cloud-init", **body: object) -> Object:
    return manifest("Secret", namespace, name, **{"stringData": {"userdata": PLANTED}} | body)


def path(manifest: Object) -> str:
    meta, kind = manifest["metadata"], KINDS[manifest["kind"]]
    root = "/apis" if "/" in kind.api_version else "/api"
    middle = f"/namespaces/{meta['namespace']}" if kind.namespaced else ""
    return f"{root}/{kind.api_version}{middle}/{kind.plural}/{meta['name']}"


def rejected(act: Callable[[], object], error: type[ReplantError] = Rejected) -> str:
    with pytest.raises(error) as caught:
        act()
    assert type(caught.value) is error
    assert "PLANTED" not in str(caught.value)
    return caught.value.message


def eventually(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def denied(act: Callable[[], object]) -> bool:
    try:
        act()
    except Rejected as error:
        return "cannot" in error.message or "denied" in error.message
    return False


# The shipped role


def test_the_printed_kubeconfig_holds_a_server_a_ca_and_a_token(printed: str) -> None:
    found = credentials(printed)
    assert found.token
    assert found.client_certificate is None
    assert found.ca.startswith("-----BEGIN CERTIFICATE")


def test_the_shipped_role_is_enough_for_a_restore(target: TargetCluster) -> None:
    name = f"t-{uuid.uuid4().hex[:10]}"
    assert target.version().startswith("v")
    assert target.get("Namespace", None, name) is None
    assert target.create(manifest("Namespace", None, name), dry_run=True).uid
    assert target.create(manifest("Namespace", None, name)).uid
    assert target.get("Namespace", None, name)
    for each in (secret(name), content(name)):
        assert target.create(each, dry_run=True).uid
        assert target.create(each).uid
    for each in (snapshot(name), claim(name), vm(name)):
        kind, meta = each["kind"], each["metadata"]
        assert target.apply(each, dry_run=True).action == "create"
        created = target.apply(each)
        assert created.action == "create"
        [found] = target.list(kind, name)
        assert (found["metadata"]["uid"], found["metadata"]["name"]) == (created.uid, meta["name"])
        eventually(lambda each=each: repeats(target, each), f"applying {kind} again changes it")  # type: ignore[misc]
    for kind in (
        "VirtualMachineInstance",
        "StorageClass",
        "VolumeSnapshotClass",
        "VolumeSnapshotContent",
    ):
        assert isinstance(target.list(kind), list)
    assert target.get("NetworkAttachmentDefinition", name, "nothing") is None


def repeats(target: TargetCluster, manifest: Object) -> bool:
    """Whether a second apply changes nothing; a controller of the cluster may come between."""
    meta = manifest["metadata"]
    listed = target.list_metadata(manifest["kind"], meta.get("namespace"))
    assert "spec" not in listed[0]
    [before] = [item["metadata"] for item in listed if item["metadata"]["name"] == meta["name"]]
    actions = {
        target.apply(manifest, before=before, dry_run=dry_run).action for dry_run in (True, False)
    }
    return actions == {"unchanged"}


def test_a_listing_is_of_one_namespace_and_selector(target: TargetCluster, namespace: str) -> None:
    labelled = vm(namespace, "labelled")
    labelled["metadata"]["labels"] = {"replant.dev/restore": "r-1"}
    target.apply(labelled)
    target.apply(vm(namespace, "other"))
    for listing in (target.list, target.list_metadata):
        assert len(listing("VirtualMachine", namespace)) == 2
        [found] = listing("VirtualMachine", namespace, labels="replant.dev/restore=r-1")
        assert found["metadata"]["name"] == "labelled"


def test_a_change_is_an_update_also_in_a_dry_run(target: TargetCluster, namespace: str) -> None:
    target.apply(vm(namespace))
    [before] = [item["metadata"] for item in target.list_metadata("VirtualMachine", namespace)]
    started = vm(namespace, runStrategy="Always")
    assert target.apply(started, before=before, dry_run=True).action == "update"
    assert target.apply(started, before=before).action == "update"


FORBIDDEN = [
    ("GET", "/api/v1/secrets"),
    ("GET", "/api/v1/namespaces/{0}/secrets"),
    ("GET", "/api/v1/namespaces/{0}/secrets/cloud-init"),
    ("GET", "/api/v1/namespaces/replant/secrets/replant-token"),
    ("PATCH", "/api/v1/namespaces/{0}/secrets/cloud-init"),
    ("DELETE", "/api/v1/namespaces/{0}/secrets/cloud-init"),
    ("GET", "/api/v1/namespaces"),
    ("PATCH", "/api/v1/namespaces/{0}"),
    ("DELETE", "/api/v1/namespaces/{0}"),
    ("DELETE", "/apis/kubevirt.io/v1/namespaces/{0}/virtualmachines/web01"),
    ("PATCH", "/apis/kubevirt.io/v1/namespaces/{0}/virtualmachines/web01/status"),
    ("DELETE", "/api/v1/namespaces/{0}/persistentvolumeclaims/disk"),
    ("GET", "/api/v1/pods"),
    ("POST", "/api/v1/namespaces/{0}/pods"),
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/persistentvolumes"),
    ("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("PATCH", RBAC),
    ("POST", "/api/v1/namespaces/replant/serviceaccounts/replant/token"),
]


@pytest.mark.parametrize(("method", "where"), FORBIDDEN)
def test_the_shipped_role_is_enough_for_nothing_else(
    limited: Admin, namespace: str, method: str, where: str
) -> None:
    body: Object | None = {} if method in {"POST", "PATCH"} else None
    assert limited.send(method, where.format(namespace), body).status == 403


def rules() -> Iterator[tuple[str, str, str]]:
    documents = yaml.safe_load_all(access.RIGHTS.read_text())
    [role] = [document for document in documents if document["kind"] == "ClusterRole"]
    for rule in role["rules"]:
        for plural in rule["resources"]:
            yield from ((rule["apiGroups"][0], plural, verb) for verb in rule["verbs"])


def without(group: str, plural: str, verb: str) -> list[Object]:
    kept = [rule for rule in rules() if rule != (group, plural, verb)]
    return [{"apiGroups": [g], "resources": [p], "verbs": [v]} for g, p, v in kept]


def use(target: TargetCluster, plural: str, verb: str, namespace: str) -> None:
    """What the restore needs the verb for."""
    [kind] = [name for name, kind in KINDS.items() if kind.plural == plural]
    where = namespace if KINDS[kind].namespaced else None
    if verb == "get":
        target.get(kind, where, "nothing")
    elif verb == "list":
        target.list_metadata(kind, where)
    else:
        _write(target, kind, namespace)


def _write(target: TargetCluster, kind: str, namespace: str) -> None:
    builders: dict[str, Callable[[str, str], Object]] = {
        "PersistentVolumeClaim": claim,
        "VirtualMachine": vm,
        "VolumeSnapshot": snapshot,
    }
    if kind in builders:
        target.apply(builders[kind](namespace, f"a-{uuid.uuid4().hex[:6]}"), dry_run=True)
    elif kind == "Secret":
        target.create(secret(namespace, "ablation"), dry_run=True)
    elif kind == "VolumeSnapshotContent":
        target.create(content(namespace, "ablation"), dry_run=True)
    else:
        target.create(manifest(kind, None, f"{namespace}-ablation"), dry_run=True)


@pytest.mark.parametrize(("group", "plural", "verb"), [*rules()])
def test_each_verb_of_the_role_is_needed(
    admin: Admin, target: TargetCluster, namespace: str, group: str, plural: str, verb: str
) -> None:
    shipped = admin("GET", RBAC)["rules"]
    admin("PATCH", RBAC, {"rules": without(group, plural, verb)})
    try:
        eventually(
            lambda: denied(lambda: use(target, plural, verb, namespace)),
            f"{verb} {plural} is not needed",
        )
        message = rejected(lambda: use(target, plural, verb, namespace))
        assert f'cannot {verb} resource "{plural}"' in message
        assert "docs/target-access.yaml" in message
    finally:
        admin("PATCH", RBAC, {"rules": shipped})
    eventually(
        lambda: not denied(lambda: use(target, plural, verb, namespace)), "the role is not back"
    )


# What a real server answers


def test_another_managers_field_is_a_conflict_that_names_both(
    admin: Admin, target: TargetCluster, namespace: str
) -> None:
    theirs = vm(namespace, runStrategy="Always")
    admin("PATCH", path(theirs), theirs, fieldManager="somebody")
    message = rejected(lambda: target.apply(vm(namespace)), Conflict)
    assert message.startswith(f"VirtualMachine {namespace}/web01 on cluster west: ")
    assert '.spec.runStrategy is owned by "somebody"' in message
    assert "somebody" in rejected(lambda: target.apply(vm(namespace), dry_run=True), Conflict)


@pytest.mark.parametrize("build", [secret, vm, claim])
def test_creating_twice_is_a_conflict(
    target: TargetCluster, namespace: str, build: Callable[[str], Object]
) -> None:
    target.create(build(namespace))
    assert "exists already" in rejected(lambda: target.create(build(namespace)), AlreadyExists)


@pytest.mark.parametrize(
    "stale", [{"resourceVersion": "1"}, {"uid": "00000000-0000-0000-0000-000000000000"}]
)
def test_a_stale_identity_stops_an_apply(
    target: TargetCluster, namespace: str, stale: dict[str, str]
) -> None:
    changed = vm(namespace, runStrategy="Always")
    if "resourceVersion" in stale:
        target.apply(vm(namespace))
    changed["metadata"] |= stale
    rejected(lambda: target.apply(changed), Conflict)


def test_an_object_that_is_being_deleted_is_a_conflict(
    admin: Admin, target: TargetCluster, namespace: str
) -> None:
    held = vm(namespace)
    admin(
        "POST",
        path(held).rpartition("/")[0],
        held | {"metadata": held["metadata"] | {"finalizers": [FINALIZER]}},
    )
    admin("DELETE", path(held))
    assert "being deleted" in rejected(lambda: target.apply(held), Conflict)
    admin("PATCH", path(held), {"metadata": {"finalizers": []}})


def test_a_namespace_that_is_being_deleted_rejects(
    admin: Admin, target: TargetCluster, namespace: str
) -> None:
    held = vm(namespace, "held")
    admin(
        "POST",
        path(held).rpartition("/")[0],
        held | {"metadata": held["metadata"] | {"finalizers": [FINALIZER]}},
    )
    admin("DELETE", f"/api/v1/namespaces/{namespace}")
    assert "namespace is being deleted" in rejected(lambda: target.apply(vm(namespace)))
    admin("PATCH", path(held), {"metadata": {"finalizers": []}})


def test_a_missing_namespace_rejects_also_a_dry_run(target: TargetCluster) -> None:
    for dry_run in (False, True):
        message = rejected(lambda dry=dry_run: target.apply(vm("nowhere"), dry_run=dry))  # type: ignore[misc]
        assert "namespace nowhere does not exist" in message


PERMANENT: list[tuple[str, Callable[[str], Object]]] = [
    ("field not declared in schema", lambda ns: claim(ns, noSuchField=1)),
    ("failed to create typed patch object", lambda ns: claim(ns, accessModes="one")),
    ("Required value", lambda ns: manifest("PersistentVolumeClaim", ns, "disk", spec={})),
    (
        "spec.template",
        lambda ns: manifest("VirtualMachine", ns, "web01", spec={"runStrategy": "Halted"}),
    ),
    (
        "413",
        lambda ns: (
            claim(ns)
            | {"metadata": {"name": "d", "namespace": ns, "annotations": {"a": "x" * 4_000_000}}}
        ),
    ),
    (
        "400",
        lambda ns: (
            vm(ns)
            | {"metadata": {"name": "d", "namespace": ns, "managedFields": [{"manager": "x"}]}}
        ),
    ),
    ("422", lambda ns: vm(ns, "Not_A_Name")),
]


@pytest.mark.parametrize(("said", "build"), PERMANENT)
def test_a_wrong_object_is_rejected_at_once(
    printed: str, namespace: str, said: str, build: Callable[[str], Object]
) -> None:
    pauses: list[float] = []
    target = TargetCluster(credentials(printed), cluster="west", sleep=pauses.append)
    message = rejected(lambda: target.apply(build(namespace)))
    assert said in message
    assert len(message) < 800
    assert pauses == []


def test_immutable_fields_reject(admin: Admin, target: TargetCluster, namespace: str) -> None:
    target.apply(claim(namespace))
    changed = claim(namespace, accessModes=["ReadWriteOnce"])
    assert "immutable" in rejected(lambda: target.apply(changed))
    made, other = content(namespace), content(namespace, handle="bak://v/other")
    admin("POST", path(made).rpartition("/")[0], made)
    assert admin.send("PATCH", path(made), {"spec": other["spec"]}).status == 422


def test_a_foreign_uid_rejects(target: TargetCluster, namespace: str) -> None:
    target.apply(vm(namespace))
    changed = vm(namespace)
    changed["metadata"]["uid"] = str(uuid.uuid4())
    rejected(lambda: target.apply(changed))


def test_creating_with_an_unknown_field_is_rejected_instead_of_pruned(
    target: TargetCluster, namespace: str
) -> None:
    assert "noSuchField" in rejected(lambda: target.create(claim(namespace, noSuchField=1)))


SECRETS: list[Callable[[str], Object]] = [
    lambda ns: secret(ns, noSuchField=PLANTED),
    lambda ns: secret(ns, stringData={"a b": PLANTED}),
    lambda ns: secret(ns, stringData={"a": [PLANTED]}),
    lambda ns: secret(ns, data={"a": PLANTED}),
    lambda ns: secret(
        ns, stringData={".dockerconfigjson": PLANTED}, type="kubernetes.io/dockerconfigjson"
    ),
    lambda ns: secret(ns, stringData={"a": PLANTED * 100_000}),
]


@pytest.mark.parametrize("build", SECRETS)
def test_a_rejected_secret_is_never_quoted(
    target: TargetCluster, namespace: str, build: Callable[[str], Object]
) -> None:
    message = rejected(lambda: target.create(build(namespace)))
    assert f"Secret {namespace}/cloud-init on cluster west" in message


def test_a_kind_that_is_not_installed_is_refused(
    administrator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "Ghost", Kind("ghost.example/v1", "ghosts"))
    target = TargetCluster(credentials(administrator.read_text()), cluster="west")
    for act in (target.list, target.list_metadata):
        assert "does not serve this kind" in rejected(lambda call=act: call("Ghost"), Refused)  # type: ignore[misc]
    assert "Ghost default/x" in rejected(lambda: target.get("Ghost", "default", "x"), Refused)
    rejected(lambda: target.apply(manifest("Ghost", "default", "x")), Refused)
    target.close()


def test_a_token_that_is_not_accepted_is_refused(printed: str) -> None:
    config = yaml.safe_load(printed)
    config["users"][0]["user"]["token"] = PLANTED
    target = TargetCluster(credentials(yaml.safe_dump(config)), cluster="west")
    assert "does not accept the token" in rejected(lambda: target.list("StorageClass"), Refused)
    target.close()


def test_an_admission_policy_rejects(admin: Admin, target: TargetCluster, namespace: str) -> None:
    selector = {"matchLabels": {"test": namespace}}
    rule = {
        "apiGroups": ["kubevirt.io"],
        "apiVersions": ["v1"],
        "operations": ["*"],
        "resources": ["virtualmachines"],
    }
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false"}],
    }
    binding = {
        "policyName": namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    meta = {"metadata": {"name": namespace}}
    admin("POST", f"{ADMISSION}validatingadmissionpolicies", meta | {"spec": policy})
    admin("POST", f"{ADMISSION}validatingadmissionpolicybindings", meta | {"spec": binding})
    try:
        eventually(
            lambda: denied(lambda: target.apply(vm(namespace), dry_run=True)),
            "the policy is not active",
        )
        assert "denied request" in rejected(lambda: target.apply(vm(namespace)))
    finally:
        admin("DELETE", f"{ADMISSION}validatingadmissionpolicybindings/{namespace}")
        admin("DELETE", f"{ADMISSION}validatingadmissionpolicies/{namespace}")


def test_a_webhook_that_is_down_is_tried_again_and_then_unavailable(
    admin: Admin, printed: str, namespace: str
) -> None:
    webhook = {
        "name": "down.test.replant.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "namespaceSelector": {"matchLabels": {"test": namespace}},
        "rules": [
            {
                "apiGroups": ["kubevirt.io"],
                "apiVersions": ["v1"],
                "operations": ["*"],
                "resources": ["virtualmachines"],
            }
        ],
    }
    where = f"{ADMISSION}validatingwebhookconfigurations"
    admin("POST", where, {"metadata": {"name": namespace}, "webhooks": [webhook]})
    pauses: list[float] = []
    target = TargetCluster(credentials(printed), cluster="west", sleep=pauses.append)
    try:
        eventually(lambda: _down(target, namespace), "the webhook is not active")
        pauses.clear()
        assert "failed calling webhook" in rejected(
            lambda: target.apply(vm(namespace)), Unavailable
        )
        assert len(pauses) == 3
    finally:
        admin("DELETE", f"{where}/{namespace}")
        target.close()


def _down(target: TargetCluster, namespace: str) -> bool:
    try:
        target.apply(vm(namespace), dry_run=True)
    except Unavailable:
        return True
    return False


def test_one_target_serves_many_threads(target: TargetCluster, namespace: str) -> None:
    machines = [vm(namespace, f"web{number:02}") for number in range(48)]
    with ThreadPoolExecutor(16) as threads:
        actions = [applied.action for applied in threads.map(target.apply, machines * 2)]
    assert actions.count("create") == len(machines)
    assert len(target.list_metadata("VirtualMachine", namespace)) == len(machines)


# The operator's tool


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--apply"], "403"),
        (["--context", "nowhere"], "not usable"),
        (["--server", "https://169.254.169.254"], "403"),
    ],
)
def test_the_tool_says_what_is_wrong_and_prints_no_kubeconfig(
    printed: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    reason: str,
) -> None:
    config = tmp_path / "limited.kubeconfig"
    config.write_text(printed)
    assert access.main(["--kubeconfig", str(config), *options]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert reason in output.err
    assert "Traceback" not in output.err


def test_another_server_gets_the_clusters_own_ca(
    administrator: Path, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        access.main(["--kubeconfig", str(administrator), "--server", "https://10.1.2.3:6443"]) == 0
    )
    found = credentials(capsys.readouterr().out)
    assert found.server == "https://10.1.2.3:6443"
    assert found.token == credentials(printed).token


def test_a_server_that_replant_would_refuse_is_refused_at_once(
    administrator: Path, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed
    assert (
        access.main(["--kubeconfig", str(administrator), "--server", "https://169.254.169.254"])
        == 1
    )
    assert "metadata address" in capsys.readouterr().err
