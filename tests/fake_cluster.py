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
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.kinds import KINDS
from shared.kube.client import TargetCluster
from shared.kube.connection import Limits, Silence
from shared.kube.reply import Reply
from shared.kube.transport import Transport
from shared.models.documents import ClusterDocument

SERVER = "https://west.example:6443"

Json = dict[str, Any]
Place = tuple[str, str, str]  # kind, namespace ("" for none), name

_KIND_OF = {
    (("apis/" if "/" in kind.api_version else "api/") + kind.api_version, kind.plural): name
    for name, kind in KINDS.items()
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
    request.
    """

    objects: dict[Place, Json] = field(default_factory=dict)
    writes: list[tuple[str, str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    before: Callable[[str, Place], None] | None = None
    down: str | None = None
    bind: bool = True
    run: bool = True
    _uids: Iterator[int] = field(default_factory=count)

    def add(self, kind: str, namespace: str, name: str, **body: Any) -> Json:
        """An object of another client's, or of the cluster's."""
        metadata = {"name": name, "uid": f"uid-{next(self._uids)}", **body.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        made = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": metadata, **body}
        self.objects[kind, namespace, name] = made
        return made

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
        """What controllers do meanwhile."""
        for (kind, _, _), each in list(self.objects.items()):
            if kind == "PersistentVolumeClaim" and self.bind:
                each["status"] = {"phase": "Bound"}
            if kind == "VirtualMachine":
                runs = each["spec"].get("runStrategy") in ("Always", "RerunOnFailure")
                each["status"] = {"ready": runs and self.run, "printableStatus": "Starting"}

    def answer(self, method: str, url: str, body: Json | None) -> Reply | Silence:
        parts = urlsplit(url)
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
        if method == "POST":
            return self._create(place, body or {}, dry_run="dryRun" in query)
        if method == "PATCH":
            return self._patch(place, body or {})
        if place[2]:
            found = self.objects.get(place)
            return _reply(200, found) if found else _missing(place)
        return self._list(place, query.get("labelSelector", ""))

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
        if standing and standing["metadata"].get("deletionTimestamp"):
            return status(409, "AlreadyExists", f"object is being deleted: {name} already exists")
        if standing:
            return status(409, "AlreadyExists", f"{name} already exists")
        metadata = {**body["metadata"], "uid": f"uid-{next(self._uids)}"}
        made = {**json.loads(json.dumps(body)), "metadata": metadata}
        if not dry_run:
            self.objects[kind, namespace, name] = made
            self.writes.append(("create", kind, name))
        return _reply(201, made)

    def _patch(self, place: Place, change: Json) -> Reply:
        found = self.objects.get(place)
        if found is None:
            return _missing(place)
        if change["metadata"]["uid"] != found["metadata"]["uid"]:
            cause = {"reason": "FieldValueInvalid", "field": "metadata.uid"}
            return status(422, "Invalid", "metadata.uid: field is immutable", causes=[cause])
        found["spec"] |= change["spec"]
        self.writes.append(("patch", place[0], place[2]))
        return _reply(200, found)

    def _list(self, place: Place, selector: str) -> Reply:
        label, _, value = selector.partition("=")
        items = [
            each
            for (kind, namespace, _), each in self.objects.items()
            if kind == place[0]
            and place[1] in ("", namespace)
            and (not label or each["metadata"].get("labels", {}).get(label) == value)
        ]
        return _reply(200, {"kind": "List", "metadata": {}, "items": items})


class FakeTransport(Transport):
    """The real retries, pauses and deadlines; a fake in place of the connection."""

    server: FakeCluster

    def _once(self, head: bytes, body: bytes, limits: Limits) -> Reply | Silence:
        method, target, _ = head.decode().split(" ", 2)
        return self.server.answer(method, target, json.loads(body) if body else None)


@contextmanager
def connected(
    server: FakeCluster,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    cluster: ClusterDocument,
    deadline: float | None,
) -> Iterator[TargetCluster]:
    """A client of the fake, as `discovery.connect` makes one of a real cluster."""
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


def _missing(place: Place) -> Reply:
    plural = KINDS[place[0]].plural
    return status(404, "NotFound", f'{plural} "{place[2]}" not found', kind=plural, name=place[2])


def _reply(code: int, body: Json) -> Reply:
    return Reply(code, "", json.dumps(body).encode())


def _place(path: str) -> Place:
    root, *rest = path.lstrip("/").split("/")
    version = rest.pop(0)
    if root == "apis":
        version += f"/{rest.pop(0)}"
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    kind = _KIND_OF[f"{root}/{version}", rest[0]]
    return kind, namespace, rest[1] if len(rest) > 1 else ""
