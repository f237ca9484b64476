"""The client against a real API server, with the rights of docs/target-access.yaml and no others.

Aspects: the shipped role is enough for every call and for nothing more, each of its verbs is
needed, and every error shape that a real server shows is told by its name. Faults of the network
are in tests/unit. The cluster is a throw-away one, started here, or the one of the administrator's
kubeconfig that REPLANT_TEST_KUBECONFIG names.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

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
from shared.kinds import KINDS, Kind
from shared.kube import contents, discovery
from shared.kube.client import JSON, TargetCluster
from shared.kube.credentials import Credentials
from shared.kube.kubeconfig import parse
from shared.kube.reply import Reply
from shared.kube.transport import Transport, Verb
from shared.labels import LONGHORN_NAMESPACE
from shared.models.cluster_facts import Needs
from shared.models.target_facts import Versions
from shared.restore.rollback import why_namespace_stays

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterroles/replant"
ADMISSION = "/apis/admissionregistration.k8s.io/v1/"
NOBODY = "00000000-0000-0000-0000-000000000000"
FINALIZER = "test.replant.dev/hold"
PLANTED = "PLANTED-s3cret"
STARTED = {"spec": {"runStrategy": "Always"}}


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
        content = MERGE if method == "PATCH" else JSON
        target = f"{path}?{urlencode(query)}" if query else path
        data = b"" if body is None else json.dumps(body).encode()
        return self.transport.send(Verb(method, JSON, content), target, data)


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
def unlimited(administrator: Path) -> Iterator[TargetCluster]:
    """The client with every right."""
    target = TargetCluster(credentials(administrator.read_text()), cluster="west")
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
    for each in (content(name), snapshot(name), claim(name), vm(name), secret(name)):
        assert target.create(each, dry_run=True).uid
        created = target.create(each)
        if each["kind"] == "Secret":
            continue
        where = each["metadata"].get("namespace")
        found = target.get(each["kind"], where, each["metadata"]["name"])
        assert found
        assert found["metadata"]["uid"] == created.uid
    started = target.patch("VirtualMachine", name, "web01", STARTED, uid=uid_of(target, name))
    [machine] = target.list("VirtualMachine", name)
    assert machine["metadata"]["uid"] == started.uid
    assert machine["spec"]["runStrategy"] == "Always"
    for kind in LISTED:
        assert isinstance(target.list(kind), list)


LISTED = (
    "PersistentVolumeClaim",
    "VolumeSnapshot",
    "VirtualMachine",
    "VirtualMachineInstance",
    "StorageClass",
    "VolumeSnapshotClass",
    "NetworkAttachmentDefinition",
    "ResourceQuota",
    "KubeVirt",
    "KeyPair",
)


def test_one_look_sees_all_that_checks_ask_for_with_the_shipped_role(
    target: TargetCluster, namespace: str
) -> None:
    needs = Needs(frozenset({namespace, "not-made-yet"}), frozenset())
    found = discovery.observe(target, needs, Versions()).target
    assert not found.unseen
    assert found.versions.kubernetes == target.version()
    assert (found.versions.harvester, found.versions.kubevirt) == ("v1.8.2", "v1.7.0")
    assert [each.node for each in found.disks or ()] == ["node-1", "node-2", "node-3"]
    for place in (namespace, "not-made-yet"):
        rights = found.rights[place]
        assert rights.whole
        assert rights.allow("kubevirt.io", "virtualmachines", "create")
        assert rights.allow("", "secrets", "create")
        assert not rights.allow("", "secrets", "get")
        assert not rights.allow("longhorn.io", "volumes", "list")
    assert found.rights[LONGHORN_NAMESPACE].allow("longhorn.io", "volumes", "list")


def test_quotas_and_key_pairs_of_a_real_server_are_facts(
    admin: Admin, target: TargetCluster, namespace: str
) -> None:
    quota = {"hard": {"requests.storage": "10Gi", "persistentvolumeclaims": 2}}
    meta = {"name": "team", "namespace": namespace}
    admin(
        "POST",
        f"/api/v1/namespaces/{namespace}/resourcequotas",
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": quota},
    )
    pair = {"apiVersion": "harvesterhci.io/v1beta1", "kind": "KeyPair", "metadata": meta}
    admin(
        "POST",
        f"/apis/harvesterhci.io/v1beta1/namespaces/{namespace}/keypairs",
        pair | {"spec": {"publicKey": "ssh-ed25519 AAAA"}},
    )
    needs = Needs(frozenset({namespace}), frozenset())
    found = discovery.observe(target, needs, Versions()).target
    (read,) = found.quotas[namespace]
    assert read.hard == {"requests.storage": "10Gi", "persistentvolumeclaims": "2"}
    assert f"{namespace}/team" in found.key_pairs


def uid_of(target: TargetCluster, namespace: str, kind: str = "VirtualMachine") -> str:
    """Of the one object that the namespace has."""
    [found] = target.list_metadata(kind, namespace)
    assert "spec" not in found
    return str(found["metadata"]["uid"])


def test_a_listing_is_of_one_namespace_and_selector(target: TargetCluster, namespace: str) -> None:
    labelled = vm(namespace, "labelled")
    labelled["metadata"]["labels"] = {"replant.dev/restore": "r-1"}
    target.create(labelled)
    target.create(vm(namespace, "other"))
    for listing in (target.list, target.list_metadata):
        assert len(listing("VirtualMachine", namespace)) == 2
        [found] = listing("VirtualMachine", namespace, labels="replant.dev/restore=r-1")
        assert found["metadata"]["name"] == "labelled"


FORBIDDEN = [
    ("GET", "/api/v1/secrets"),
    ("GET", "/api/v1/namespaces/{0}/secrets"),
    ("GET", "/api/v1/namespaces/{0}/secrets/cloud-init"),
    ("GET", "/api/v1/namespaces/replant/secrets/replant-token"),
    ("PATCH", "/api/v1/namespaces/{0}/secrets/cloud-init"),
    ("DELETE", "/api/v1/namespaces/{0}/secrets/cloud-init"),
    ("GET", "/api/v1/namespaces"),
    ("PATCH", "/api/v1/namespaces/{0}"),
    ("DELETE", "/apis/kubevirt.io/v1/namespaces/{0}/virtualmachines"),
    ("DELETE", "/apis/harvesterhci.io/v1beta1/namespaces/{0}/virtualmachinebackups/nightly"),
    ("DELETE", "/apis/harvesterhci.io/v1beta1/namespaces/{0}/virtualmachineimages/ubuntu"),
    ("PATCH", "/apis/harvesterhci.io/v1beta1/namespaces/{0}/virtualmachineimages/ubuntu"),
    ("DELETE", "/apis/longhorn.io/v1beta2/namespaces/longhorn-system/backups/backup-1"),
    ("DELETE", "/apis/longhorn.io/v1beta2/namespaces/longhorn-system/engines/pvc-1-e-0"),
    ("DELETE", "/apis/longhorn.io/v1beta2/namespaces/longhorn-system/volumes"),
    ("PATCH", "/apis/longhorn.io/v1beta2/namespaces/longhorn-system/volumes/pvc-1/status"),
    ("PATCH", "/apis/longhorn.io/v1beta2/namespaces/longhorn-system/engines/pvc-1-e-0"),
    ("PATCH", "/apis/longhorn.io/v1beta2/namespaces/longhorn-system/backingimages/vmi-1"),
    ("PATCH", "/api/v1/namespaces/{0}/resourcequotas/ours"),
    ("PATCH", "/apis/kubevirt.io/v1/namespaces/{0}/virtualmachines/web01/status"),
    ("DELETE", "/api/v1/namespaces/{0}/persistentvolumeclaims"),
    ("PATCH", "/api/v1/namespaces/{0}/persistentvolumeclaims/disk"),
    ("PATCH", "/apis/snapshot.storage.k8s.io/v1/namespaces/{0}/volumesnapshots/disk"),
    ("GET", "/api/v1/pods"),
    ("POST", "/api/v1/namespaces/{0}/pods"),
    ("GET", "/api/v1/nodes/node-1"),
    ("PATCH", "/api/v1/nodes/node-1"),
    ("GET", "/metrics"),
    ("DELETE", "/api/v1/persistentvolumes"),
    ("PATCH", "/api/v1/persistentvolumes/pvc-1"),
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
    documents = yaml.safe_load_all(access.TARGET.read_text())
    [role] = [document for document in documents if document["kind"] == "ClusterRole"]
    for rule in role["rules"]:
        for plural in rule.get("resources", ()):
            yield from ((rule["apiGroups"][0], plural, verb) for verb in rule["verbs"])


def without(group: str, plural: str, verb: str) -> list[Object]:
    kept = [rule for rule in rules() if rule != (group, plural, verb)]
    return [{"apiGroups": [g], "resources": [p], "verbs": [v]} for g, p, v in kept]


def use(target: TargetCluster, group: str, plural: str, verb: str, namespace: str) -> None:
    """What the restore needs the verb for."""
    [kind] = [name for name, kind in KINDS.items() if (kind.group, kind.plural) == (group, plural)]
    where = namespace if KINDS[kind].namespaced else None
    if verb == "get":
        target.get(kind, where, "server-version" if plural == "settings" else "nothing")
    elif verb == "list":
        target.list_metadata(kind, where)
    elif verb == "patch":
        target.patch(kind, namespace, "nothing", STARTED, uid=NOBODY)
    elif verb == "delete":
        target.delete(kind, where, "nothing", uid=NOBODY)
    else:
        target.create(BUILDERS[kind](namespace), dry_run=True)


BUILDERS: dict[str, Callable[[str], Object]] = {
    "Namespace": lambda namespace: manifest("Namespace", None, f"{namespace}-ablation"),
    "ResourceQuota": lambda namespace: manifest(
        "ResourceQuota", namespace, "ours", spec={"hard": {"count/secrets": "9"}}
    ),
    "NetworkPolicy": lambda namespace: manifest(
        "NetworkPolicy", namespace, "ours", spec={"podSelector": {}, "policyTypes": ["Egress"]}
    ),
    "Secret": secret,
    "PersistentVolume": lambda _: manifest(
        "PersistentVolume",
        None,
        "ours",
        spec={
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "1Gi"},
            "csi": {"driver": "driver.longhorn.io", "volumeHandle": "ours"},
        },
    ),
    "PersistentVolumeClaim": claim,
    "DataVolume": lambda namespace: manifest(
        "DataVolume",
        namespace,
        "ours",
        spec={"source": {"blank": {}}, "pvc": claim(namespace)["spec"]},
    ),
    "VirtualMachine": vm,
    "VirtualMachineImage": lambda namespace: manifest(
        "VirtualMachineImage",
        namespace,
        "ours",
        spec={"displayName": "ours", "sourceType": "restore", "url": "s3://b@r/?backingImage=b"},
    ),
    "VolumeSnapshot": snapshot,
    "VolumeSnapshotContent": content,
}


@pytest.mark.parametrize(("group", "plural", "verb"), [*rules()])
def test_each_verb_of_the_role_is_needed(
    admin: Admin, target: TargetCluster, namespace: str, group: str, plural: str, verb: str
) -> None:
    shipped = admin("GET", RBAC)["rules"]
    admin("PATCH", RBAC, {"rules": without(group, plural, verb)})
    try:
        eventually(
            lambda: denied(lambda: use(target, group, plural, verb, namespace)),
            f"{verb} {plural} is not needed",
        )
        message = rejected(lambda: use(target, group, plural, verb, namespace))
        assert f'cannot {verb} resource "{plural}"' in message
        assert "docs/target-access.yaml" in message
    finally:
        admin("PATCH", RBAC, {"rules": shipped})
    eventually(
        lambda: not denied(lambda: use(target, group, plural, verb, namespace)),
        "the role is not back",
    )


# Deleting


def test_a_deletion_is_of_one_object_and_where_it_says_so_of_one_state(
    target: TargetCluster, namespace: str
) -> None:
    first = target.create(vm(namespace))
    target.patch("VirtualMachine", namespace, "web01", STARTED, uid=first.uid)
    rejected(lambda: target.delete("VirtualMachine", namespace, "web01", uid=NOBODY), Conflict)
    old = first.resource_version
    rejected(
        lambda: target.delete("VirtualMachine", namespace, "web01", uid=first.uid, version=old),
        Conflict,
    )

    def deleted_as_it_is() -> bool:
        found = target.get("VirtualMachine", namespace, "web01")
        assert found
        version = found["metadata"]["resourceVersion"]
        try:
            target.delete("VirtualMachine", namespace, "web01", uid=first.uid, version=version)
        except Conflict:  # a controller wrote its status after the look
            return False
        return True

    eventually(deleted_as_it_is, "its version is never the one that was read")
    eventually(lambda: target.get("VirtualMachine", namespace, "web01") is None, "it is there")
    target.delete("VirtualMachine", namespace, "web01", uid=first.uid)


def test_a_quota_counts_what_a_namespace_holds_and_nobody_reads_it(
    target: TargetCluster, namespace: str
) -> None:
    kinds = target.namespaced_kinds()
    harvesters = {"virtualmachinebackups.harvesterhci.io", "virtualmachines.kubevirt.io"}
    assert {"secrets", "configmaps", "pods", *harvesters} <= kinds
    assert "namespaces" not in kinds

    def counted() -> dict[str, int]:
        end = time.monotonic() + 20

        def wait() -> bool:
            time.sleep(0.1)
            return time.monotonic() < end

        return contents.count(target, namespace, "r-1", kinds, wait=wait)

    eventually(lambda: counted()["configmaps"] == 1, "the CA certificates of the cluster")
    assert why_namespace_stays(kinds, counted()) is None
    target.create(secret(namespace))
    assert why_namespace_stays(kinds, counted()) == "it holds 1 secrets"
    assert target.get("ResourceQuota", namespace, "replant-r-1-count") is None


# What a real server answers


@pytest.mark.parametrize("build", [secret, vm, claim])
def test_creating_twice_is_a_conflict(
    target: TargetCluster, namespace: str, build: Callable[[str], Object]
) -> None:
    target.create(build(namespace))
    assert "exists already" in rejected(lambda: target.create(build(namespace)), AlreadyExists)


@pytest.mark.parametrize(
    ("kind", "build", "change"),
    [
        ("VirtualMachine", vm, STARTED),
        ("PersistentVolumeClaim", claim, {"metadata": {"labels": {"a": "b"}}}),
    ],
)
def test_a_patch_touches_the_object_of_its_uid_and_no_other(
    unlimited: TargetCluster,
    namespace: str,
    kind: str,
    build: Callable[[str], Object],
    change: Object,
) -> None:
    created = unlimited.create(build(namespace))
    name = build(namespace)["metadata"]["name"]

    def said() -> object:
        """What the changes are about; controllers work on the rest meanwhile."""
        found = unlimited.get(kind, namespace, name)
        assert found
        return found["spec"].get("runStrategy"), found["metadata"].get("labels")

    before = said()
    message = rejected(lambda: unlimited.patch(kind, namespace, name, change, uid=NOBODY), Conflict)
    assert "created again by another client" in message
    assert said() == before
    assert unlimited.patch(kind, namespace, name, change, uid=created.uid).uid == created.uid
    assert said() != before


def test_a_patch_of_what_is_gone_is_rejected(target: TargetCluster, namespace: str) -> None:
    patch = partial(target.patch, "VirtualMachine", namespace, "gone", STARTED, uid=NOBODY)
    assert "was deleted" in rejected(patch)


def test_a_patch_is_owned_by_our_field_manager(target: TargetCluster, namespace: str) -> None:
    created = target.create(vm(namespace))
    target.patch("VirtualMachine", namespace, "web01", STARTED, uid=created.uid)
    [machine] = target.list("VirtualMachine", namespace)
    managers = {entry["manager"] for entry in machine["metadata"]["managedFields"]}
    assert "replant" in managers


def test_an_object_that_is_being_deleted_is_unavailable(
    admin: Admin, printed: str, namespace: str
) -> None:
    held = vm(namespace)
    pauses: list[float] = []
    target = TargetCluster(credentials(printed), cluster="west", sleep=pauses.append)
    admin("POST", path(held).rpartition("/")[0], with_finalizer(held))
    uid = uid_of(target, namespace)
    admin("DELETE", path(held))
    assert "being deleted" in rejected(lambda: target.create(held), Unavailable)
    assert len(pauses) == 3
    patch = partial(target.patch, "VirtualMachine", namespace, "web01", STARTED, uid=uid)
    assert "being deleted" in rejected(patch, Unavailable)
    admin("PATCH", path(held), {"metadata": {"finalizers": []}})
    target.close()


def with_finalizer(manifest: Object) -> Object:
    return manifest | {"metadata": manifest["metadata"] | {"finalizers": [FINALIZER]}}


def test_a_quota_that_is_exceeded_rejects(
    admin: Admin, target: TargetCluster, namespace: str
) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"persistentvolumeclaims": "0"}}}
    where = f"/api/v1/namespaces/{namespace}/resourcequotas"
    admin("POST", where, quota)
    admin("PATCH", f"{where}/few/status", {"status": COUNTED})
    eventually(
        lambda: "exceeded quota: few" in rejected(lambda: target.create(claim(namespace))),
        "the quota is not enforced",
    )


COUNTED = {"hard": {"persistentvolumeclaims": "0"}, "used": {"persistentvolumeclaims": "0"}}


def test_a_namespace_that_is_being_deleted_rejects(
    admin: Admin, target: TargetCluster, namespace: str
) -> None:
    held = vm(namespace, "held")
    admin("POST", path(held).rpartition("/")[0], with_finalizer(held))
    admin("DELETE", f"/api/v1/namespaces/{namespace}")
    assert "namespace is being deleted" in rejected(lambda: target.create(vm(namespace)))
    admin("PATCH", path(held), {"metadata": {"finalizers": []}})


def test_a_missing_namespace_rejects_also_a_dry_run(target: TargetCluster) -> None:
    for dry_run in (False, True):
        message = rejected(partial(target.create, vm("nowhere"), dry_run=dry_run))
        assert "namespace nowhere does not exist" in message


PERMANENT: list[tuple[str, Callable[[str], Object]]] = [
    ("unknown field", lambda ns: claim(ns, noSuchField=1)),
    ("unknown field", lambda ns: vm(ns, noSuchField=1)),
    ("400", lambda ns: claim(ns, accessModes="one")),
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
    ("422", lambda ns: vm(ns, "Not_A_Name")),
]


@pytest.mark.parametrize(("said", "build"), PERMANENT)
def test_a_wrong_object_is_rejected_at_once(
    printed: str, namespace: str, said: str, build: Callable[[str], Object]
) -> None:
    pauses: list[float] = []
    target = TargetCluster(credentials(printed), cluster="west", sleep=pauses.append)
    message = rejected(lambda: target.create(build(namespace)))
    target.close()
    assert said in message
    assert len(message) < 800
    assert pauses == []


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
        assert "does not serve this kind" in rejected(partial(act, "Ghost"), Refused)
    assert "Ghost default/x" in rejected(lambda: target.get("Ghost", "default", "x"), Refused)
    rejected(lambda: target.create(manifest("Ghost", "default", "x")), Refused)
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
            lambda: denied(lambda: target.create(vm(namespace), dry_run=True)),
            "the policy is not active",
        )
        assert "denied request" in rejected(lambda: target.create(vm(namespace)))
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
            lambda: target.create(vm(namespace)), Unavailable
        )
        assert len(pauses) == 3
    finally:
        admin("DELETE", f"{where}/{namespace}")
        target.close()


def _down(target: TargetCluster, namespace: str) -> bool:
    try:
        target.create(vm(namespace), dry_run=True)
    except Unavailable:
        return True
    return False


def test_one_target_serves_many_threads(target: TargetCluster, namespace: str) -> None:
    machines = [vm(namespace, f"web{number:02}") for number in range(48)]
    with ThreadPoolExecutor(16) as threads:
        uids = {created.uid for created in threads.map(target.create, machines)}
    found = target.list_metadata("VirtualMachine", namespace)
    assert {each["metadata"]["uid"] for each in found} == uids


def test_of_many_that_create_one_object_one_has_made_it(
    target: TargetCluster, namespace: str
) -> None:
    def made(_: int) -> bool:
        try:
            target.create(vm(namespace))
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(made, range(8))) == 1


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
