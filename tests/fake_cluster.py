"""A stand-in for a target cluster, as nasty as an API server is to a restore, below the real
client.

It answers single HTTP requests, so that what the client makes of an answer is tested along. It
knows what exists, is being deleted, changed hands or is in a namespace that goes; faults are
planted for requests that match. Its controllers bind claims and run machines when the clock is told
to wait. Not modelled: schemas, webhooks that change objects, pages.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import RLock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.kube.client import RIGHTS, TargetCluster
from shared.kube.connection import Limits, Silence
from shared.kube.reply import Reply
from shared.kube.transport import Transport
from shared.labels import LONGHORN_NAMESPACE
from shared.models.documents import ClusterDocument
from tests import fake_deletion as deletion
from tests import fake_harvester as harvester
from tests import fake_imports as importing
from tests import fake_standby as standing_by

SERVER = "https://west.example:6443"

Json = dict[str, Any]
_ABOUT_ITSELF = {"/readyz": "Readiness", "/version": "Version", RIGHTS: "SelfSubjectRulesReview"}
ALL_RIGHTS: Json = {
    "resourceRules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    "nonResourceRules": [],
    "incomplete": False,
}
HELD = ("metadata", "annotations", "replant.dev/holds")
Place = tuple[str, str, str]  # kind, namespace ("" for none), name

_KIND_OF = {
    (("apis/" if "/" in kind.api_version else "api/") + kind.api_version, kind.plural): name
    for name, kind in (KINDS | deletion.OTHERS).items()
}


@dataclass
class Fault:
    """What a matching request gets instead of its answer, the next TIMES that it comes."""

    method: str
    kind: str
    name: str
    answer: Reply | Silence | Callable[[], Reply | Silence | None]
    times: int


@dataclass
class FakeCluster:
    """WRITES are the requests that changed something, in order. BEFORE is called ahead of each
    request. SCHEMAS are OpenAPI documents by path. RIGHTS are what reviews of them answer, by
    namespace; all there are where nothing is said. LOST_BACKUPS were deleted in the bucket by what
    was deleted here. A quota COUNTS all but UNCOUNTED, such as `count/secrets`. BIND_SNAPSHOTS are
    the writes of binding that the snapshot-controller gets to. CDI makes claims, and has IMPORTED
    so much of each image. Harvester REGISTERS backups whose data it finds, and COMPLETES restores
    once it has looked at a machine that is ready. What stands by FOLLOWS the newest backup. What
    was made a moment ago is UNSEEN by webhooks, which look into a cache.
    """

    objects: dict[Place, Json] = field(default_factory=dict)
    writes: list[tuple[str, str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    before: Callable[[str, Place], None] | None = None
    down: str | None = None
    starting: bool = False
    unserved: frozenset[str] = frozenset()
    bind: bool = True
    cdi: bool = True
    imported: str = "100.0%"
    registers: bool = True
    completes: bool = True
    follows: bool = True
    bind_snapshots: tuple[str, ...] = deletion.BINDING
    copied: int = 100
    run: bool = True
    schemas: dict[str, Json] = field(default_factory=dict)
    rights: dict[str, Json] = field(default_factory=dict)
    version: Json = field(default_factory=lambda: {"gitVersion": "v1.34.1+rke2r1"})
    lost_backups: list[str] = field(default_factory=list)
    counts: bool = True
    uncounted: frozenset[str] = frozenset()
    unseen: set[Place] = field(default_factory=set)
    _working: RLock = field(default_factory=RLock)
    _versions: Iterator[int] = field(default_factory=lambda: count(1))
    _uids: Iterator[int] = field(default_factory=count)

    def add(self, kind: str, namespace: str, name: str, **body: Any) -> Json:
        """An object of another client's, or of the cluster's."""
        metadata = {"name": name, "uid": f"uid-{next(self._uids)}", **body.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        version = (KINDS | deletion.OTHERS)[kind].api_version
        made = {"apiVersion": version, "kind": kind, "metadata": metadata, **body}
        self.objects[kind, namespace, name] = made
        self.touch(made)
        return made

    def touch(self, each: Json) -> None:
        """It was changed."""
        each["metadata"]["resourceVersion"] = str(next(self._versions))

    def fail(
        self,
        method: str,
        kind: str,
        answer: Reply | Silence | Callable[[], Reply | Silence | None],
        *,
        name: str = "",
        times: int = 1,
    ) -> None:
        self.faults.append(Fault(method, kind, name, answer, times))

    def of(self, kind: str) -> dict[str, Json]:
        """The objects of a kind by name."""
        return {place[2]: each for place, each in self.objects.items() if place[0] == kind}

    def settle(self) -> None:
        """What controllers do meanwhile, whichever thread lets them."""
        with self._working:
            self._settle()

    def _settle(self) -> None:
        self.unseen.clear()
        for place in [each for each in self.objects if each[0] == "VirtualMachine"]:
            importing.make_what_it_names(self, place)  # Harvester is faster than CDI
        for place in [each for each in self.objects if each[0] == "DataVolume"]:
            importing.bring(self, place)
        harvester.settle(self)
        standing_by.settle(self)
        for (kind, _, _), each in list(self.objects.items()):
            if kind == "PersistentVolumeClaim" and self.bind:
                self._bind(each)
            if kind == "VirtualMachine":
                runs = each["spec"].get("runStrategy") in ("Always", "RerunOnFailure")
                status = {"ready": runs and self.run, "printableStatus": "Starting"}
                if each.get("status") != status:
                    each["status"] = status
                    self.touch(each)
        deletion.settle(self)

    def _bind(self, claim: Json) -> None:
        """Its volume is there at once, and COPIED percent of its data. One that names its volume is
        bound to that, if it is meant for it.
        """
        name = claim["spec"].setdefault("volumeName", f"pvc-{claim['metadata']['uid']}")
        if volume := self.objects.get(("PersistentVolume", "", name)):
            meant = volume["spec"]["claimRef"]
            if meant["name"] != claim["metadata"]["name"]:
                return
            meant["uid"] = claim["metadata"]["uid"]
        claim["status"] = {"phase": "Bound"}
        if volume and dig(self.objects.get(("Volume", LONGHORN_NAMESPACE, name)), *HELD):
            return  # its data is there, or will be
        if volume and "nfs" in volume["spec"]:
            return  # nothing of Longhorn's
        labels = {"longhornvolume": name}
        status = {"restoreInitiated": True, "restoreRequired": self.copied < 100}
        engine = {"restoreStatus": {"tcp://10.0.0.1:10000": {"progress": self.copied}}}
        made_of = {
            "fromBackup": "s3://backups@us-east-1/?backup=…",
            "backingImage": self._image_below(claim),
        }
        if claim["metadata"].get("ownerReferences"):
            made_of = {}  # what CDI writes to it
        for kind, spec, state in (
            ("Volume", made_of, status),
            ("Engine", {"volumeName": name}, engine),
        ):
            place = (kind, LONGHORN_NAMESPACE, name)
            if place not in self.objects:
                volume = self.objects.get(("Volume", LONGHORN_NAMESPACE, name))
                owners = [{"uid": volume["metadata"]["uid"]}] if volume else []
                metadata = {"labels": labels, "ownerReferences": owners}
                self.add(*place, metadata=metadata, spec=spec)
            self.objects[place]["status"] = self.objects[place].get("status", {}) | state

    def _image_below(self, claim: Json) -> str | None:
        """That of the backup which the claim's snapshot names."""
        snapshot = str(dig(claim, "spec", "dataSource", "name"))
        content = self.objects.get(("VolumeSnapshotContent", "", snapshot))
        handle = str(dig(content, "spec", "source", "snapshotHandle"))
        backup = self.objects.get(("Backup", LONGHORN_NAMESPACE, handle.rpartition("/")[2]))
        found = dig(backup, "status", "volumeBackingImageName")
        return str(found) if found else None

    def answer(self, method: str, url: str, body: Json | None) -> Reply | Silence:
        parts = urlsplit(url)
        if parts.path in _ABOUT_ITSELF:
            return self._about_itself(parts.path, body)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        place = _place(parts.path)
        if body and method == "POST":
            place = (place[0], place[1], body["metadata"]["name"])
        if self.before:
            self.before(method, place)
        if self.down:
            return Silence(self.down)
        if (fault := self._fault(method, place)) is not None:
            return fault
        if method == "GET":
            return self._read(parts.path, place, query)
        return self._write(method, place, body or {}, dry_run="dryRun" in query)

    def _write(self, method: str, place: Place, body: Json, *, dry_run: bool) -> Reply:
        if method == "POST":
            return self._create(place, body, dry_run=dry_run)
        if method == "PATCH":
            return self._patch(place, body, dry_run=dry_run)
        return self._delete(place, body)

    def _about_itself(self, path: str, body: Json | None) -> Reply | Silence:
        """Whether it is ready, its version, or what the client may do: no object of any kind."""
        kind = _ABOUT_ITSELF[path]
        namespace = (body or {}).get("spec", {}).get("namespace", "")
        place = (kind, namespace, namespace)
        if self.before:
            self.before("REVIEW", place)
        if self.down:
            return Silence(self.down)
        if (fault := self._fault("REVIEW", place)) is not None:
            return fault
        if kind == "Readiness":
            return Reply(500 if self.starting else 200, "", b"ok")
        if kind == "Version":
            return _reply(200, self.version)
        status = self.rights.get(namespace, ALL_RIGHTS)
        return _reply(201, {**(body or {}), "metadata": {}, "status": status})

    def _read(self, path: str, place: Place, query: dict[str, str]) -> Reply:
        if not place[0]:
            return self._kinds(path)
        if not place[2]:
            labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
            return self._list(place, labels, fields)
        found = self.objects.get(place)
        return _reply(200, found) if found else _missing(place)

    def _kinds(self, path: str) -> Reply:
        """What a group and version has; UNSERVED kinds are not installed."""
        every = KINDS | deletion.OTHERS
        served = {name: kind for name, kind in every.items() if name not in self.unserved}
        if path == "/apis":
            versions = sorted({kind.api_version for kind in served.values()} - {"v1"})
            groups = [{"versions": [{"groupVersion": each}]} for each in versions]
            return _reply(200, {"kind": "APIGroupList", "groups": groups})
        verbs = ["create", "delete", "get", "list", "watch"]
        resources = [
            {"name": kind.plural, "namespaced": kind.namespaced, "verbs": verbs}
            for kind in served.values()
            if kind.root == path
        ]
        if not resources:
            return Reply(404, "", b"404 page not found\n")
        return _reply(200, {"kind": "APIResourceList", "resources": resources})

    def schema(self, path: str) -> Reply | Silence:
        if self.down:
            return Silence(self.down)
        if path not in self.schemas:
            return Reply(404, "", b"404 page not found")
        return _reply(200, self.schemas[path])

    def _fault(self, method: str, place: Place) -> Reply | Silence | None:
        for fault in self.faults:
            wanted = (fault.method, fault.kind)
            if fault.times and (method, place[0]) == wanted and fault.name in place[2]:
                fault.times -= 1
                if isinstance(fault.answer, Reply | Silence):
                    return fault.answer
                return fault.answer()
        return None

    def _create(self, place: Place, body: Json, *, dry_run: bool) -> Reply:
        kind, namespace, name = place
        standing = self.objects.get((kind, namespace, name))
        if namespace and ("Namespace", "", namespace) not in self.objects:
            return _missing(("Namespace", "", namespace))
        if denial := harvester.denial(self, body):
            return status(422, "Invalid", denial)
        if standing and standing["metadata"].get("deletionTimestamp"):
            return status(409, "AlreadyExists", f"object is being deleted: {name} already exists")
        if standing:
            return status(409, "AlreadyExists", f"{name} already exists")
        metadata = {**body["metadata"], "uid": f"uid-{next(self._uids)}"}
        made = {**json.loads(json.dumps(body)), "metadata": metadata}
        if kind == "Volume" and (denial := self._admit_volume(made)):
            return status(500, "InternalError", denial)
        if not dry_run:
            self.touch(made)
            self.objects[kind, namespace, name] = made
            self.unseen.add((kind, namespace, name))
            self.writes.append(("create", kind, name))
        return _reply(201, made)

    def _admit_volume(self, volume: Json) -> str | None:
        """What Longhorn's webhook denies, or makes of it: the size is the backup's."""
        url = volume["spec"]["fromBackup"]
        backup = self.objects.get(
            ("Backup", LONGHORN_NAMESPACE, parse_qs(urlsplit(url).query)["backup"][0])
        )
        if backup is None:
            return f'admission webhook "mutator.longhorn.io" denied the request: no backup {url}'
        volume["metadata"]["labels"]["longhornvolume"] = volume["metadata"]["name"]
        volume["spec"]["size"] = backup["status"]["volumeSize"]
        volume["spec"]["backingImage"] = image = backup["status"].get("volumeBackingImageName")
        place = ("BackingImage", LONGHORN_NAMESPACE, image or "")
        if image and (place not in self.objects or place in self.unseen):
            said = f'failed to get backing image {image}: backingimage "{image}" not found'
            return f'admission webhook "mutator.longhorn.io" denied the request: {said}'
        return None

    def _patch(self, place: Place, change: Json, *, dry_run: bool) -> Reply:
        found = self.objects.get(place)
        if found is None:
            return _missing(place)
        if change["metadata"]["uid"] != found["metadata"]["uid"]:
            cause = {"reason": "FieldValueInvalid", "field": "metadata.uid"}
            return status(422, "Invalid", "metadata.uid: field is immutable", causes=[cause])
        metadata = {**change["metadata"]}
        version = metadata.pop("resourceVersion", found["metadata"]["resourceVersion"])
        if version != found["metadata"]["resourceVersion"]:
            said = "Operation cannot be fulfilled on the object: it has been modified"
            return status(409, "Conflict", said)
        if dry_run:
            return _reply(200, found)
        _merge(found, {**change, "metadata": metadata})
        self.touch(found)
        self.writes.append(("patch", place[0], place[2]))
        return _reply(200, found)

    def _delete(self, place: Place, options: Json) -> Reply:
        if place not in self.objects:
            return _missing(place)
        if refused := deletion.refusal(self, place, options):
            return status(*refused)
        self.writes.append(("delete", place[0], place[2]))
        deletion.delete(self, place)
        return _reply(200, {"kind": "Status", "status": "Success"})

    def _list(self, place: Place, labels: str, fields: str) -> Reply:
        items = [
            each
            for (kind, namespace, _), each in self.objects.items()
            if kind == place[0]
            and place[1] in ("", namespace)
            and _is_selected(each["metadata"].get("labels", {}), labels)
            and all(_has(each, *one.split("=")) for one in fields.split(",") if one)
        ]
        return _reply(200, {"kind": "List", "metadata": {}, "items": items})


class FakeTransport(Transport):
    """The real retries, pauses and deadlines; a fake in place of the connection."""

    server: FakeCluster

    def _once(self, head: bytes, body: bytes, limits: Limits) -> Reply | Silence:
        method, target, _ = head.decode().split(" ", 2)
        if target.startswith("/openapi/"):
            return self.server.schema(target)
        return self.server.answer(method, target, json.loads(body) if body else None)


@contextmanager
def connected(
    server: FakeCluster,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    cluster: ClusterDocument,
    deadline: float | None,
) -> Iterator[TargetCluster]:
    """A client of the fake, as `connecting.connect` makes one of a real cluster."""
    target = TargetCluster.__new__(TargetCluster)
    target.cluster = cluster.id
    transport = FakeTransport.__new__(FakeTransport)
    transport.__dict__ |= {
        "_url": SERVER,
        "_cluster": cluster.id,
        "_prefix": "",
        "_headers": "",
        "_attempts": 4,
        "_deadline": deadline,
        "_sleep": sleep,
        "_clock": clock,
    }
    transport.server = server
    target._transport = transport
    yield target


def status(code: int, reason: str, message: str, **details: Any) -> Reply:
    """An API server's own answer to what it refuses."""
    body = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    return _reply(code, body | {"reason": reason, "details": details})


def _merge(found: Json, change: Json) -> None:
    """As RFC 7396 has it."""
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            _merge(found[key], value)
        elif value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            _merge(found.setdefault(key, {}), value)
        else:
            found[key] = value


def _is_selected(labels: Json, selector: str) -> bool:
    """By `label=value,label=value`, `label in (value,value)`, or `label`, which is there."""
    if " in " in selector:
        label, _, values = selector.partition(" in ")
        return labels.get(label) in values.strip("()").split(",")
    wanted = [each.partition("=") for each in selector.split(",") if each]
    return all(
        labels.get(label) == value if equals else label in labels for label, equals, value in wanted
    )


def _has(each: Json, field: str, value: str) -> bool:
    return bool(dig(each, *field.split(".")) == value)


def _missing(place: Place) -> Reply:
    plural = KINDS[place[0]].plural
    return status(404, "NotFound", f'{plural} "{place[2]}" not found', kind=plural, name=place[2])


def _reply(code: int, body: Json) -> Reply:
    return Reply(code, "", json.dumps(body).encode())


def _place(path: str) -> Place:
    root, *rest = path.lstrip("/").split("/")
    if not rest:
        return "", "", ""
    version = rest.pop(0)
    if root == "apis":
        version += f"/{rest.pop(0)}"
    namespace = ""
    if not rest:
        return "", "", ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    kind = _KIND_OF[f"{root}/{version}", rest[0]]
    return kind, namespace, rest[1] if len(rest) > 1 else ""
