"""A target cluster: manifests in, what became of them out; its rights are docs/target-access.yaml."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from shared.errors import Conflict, Refused, Unavailable, Unreachable
from shared.kube.credentials import Credentials
from shared.kube.errors import error_of_read, error_of_write, installed
from shared.kube.reply import Reply
from shared.kube.resources import Object, Objects, Subject, subject_of
from shared.kube.transport import Transport

MANAGER = "replant"
PAGE = 500
JSON = {"Accept": "application/json"}
METADATA = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
METADATA_LIST = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
CREATE = METADATA | {"Content-Type": "application/json"}
MERGE = METADATA | {"Content-Type": "application/merge-patch+json"}


class Created(NamedTuple):
    """An object as it stands, or, of a dry run, would stand.

    `repeated`: the answer to an earlier attempt of the same request was lost.
    """

    uid: str
    resource_version: str
    repeated: bool


@dataclass(frozen=True)
class Applied:
    """What an apply did, or, as a dry run, would do."""

    action: Literal["create", "update", "unchanged"]
    uid: str
    resource_version: str


class TargetCluster:
    """One API server. Safe to share between threads; every request may be repeated after a lost
    answer.

    `deadline`, in seconds of `clock`, is when the last request must have ended: nothing waits
    longer, and none is begun after it. Without one, a request with all its attempts takes at most
    two minutes.

    Every method raises Unreachable (no connection, no usable answer, or no time left) and Refused
    (the credentials, the address, or a kind that is not installed), which concern the whole
    cluster, and Rejected (missing rights, or this object for good).
    """

    def __init__(  # noqa: PLR0913 - two of them are the clock, for tests
        self,
        credentials: Credentials,
        *,
        cluster: str,
        connections: int = 16,
        attempts: int = 4,
        deadline: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cluster = cluster
        self._transport = Transport(
            credentials, cluster, connections, attempts, deadline, sleep, clock
        )

    def version(self) -> str:
        """The server's gitVersion, such as v1.34.1."""
        subject = Subject(self.cluster, "APIServer", name="version")
        return str(_read(self._transport.send("GET", "/version", JSON), subject)["gitVersion"])

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The whole object; None where it, or its namespace, does not exist."""
        subject = Subject(self.cluster, kind, namespace, name)
        reply = self._transport.send("GET", subject.path, JSON)
        if reply.status == 404 and installed(reply):
            return None
        return _read(reply, subject)

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str | None = None
    ) -> Objects:
        """Whole objects of a namespace, or of all; `labels` is a selector, such as
        `app=web,tier!=test`.
        """
        return [*self._items(Subject(self.cluster, kind, namespace), JSON, labels)]

    def list_metadata(
        self, kind: str, namespace: str | None = None, *, labels: str | None = None
    ) -> Objects:
        """As `list`, but each object is `{"metadata": …}` only."""
        return [*self._items(Subject(self.cluster, kind, namespace), METADATA_LIST, labels)]

    def apply(
        self,
        manifest: Mapping[str, Any],
        *,
        before: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> Applied:
        """Server-side apply without force. `before` is the object's `metadata` as a listing or
        `get` showed it: without it, an apply that changes nothing is told as an update.

        Raises Conflict where another manager owns a field, or the object is being deleted.
        """
        subject = subject_of(manifest, self.cluster)
        headers = METADATA | {"Content-Type": "application/apply-patch+yaml"}
        query = _query(dry_run) | {"force": "false"}
        reply = self._transport.send("PATCH", subject.path, headers, dict(manifest), **query)
        return _applied(reply, subject, before)

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Created:
        """Make an object that does not exist; one that does is never changed or read.

        Raises AlreadyExists where an object of the name stands, Unavailable where this object
        alone cannot be made for now (its name is still being deleted, a webhook does not answer),
        and Rejected where it never can (a webhook's denial, in its own words; a quota).
        """
        subject = subject_of(manifest, self.cluster)
        reply = self._transport.send(
            "POST", subject.collection, CREATE, dict(manifest), **_query(dry_run)
        )
        return _created(reply, subject)

    def patch(
        self, kind: str, namespace: str | None, name: str, change: Mapping[str, Any], *, uid: str
    ) -> Created:
        """Change the fields that `change` has (a JSON merge patch) of the object that `uid` is.

        Raises Conflict where the name is another object's by now, Rejected where it is nobody's,
        and otherwise what `create` raises.
        """
        subject = Subject(self.cluster, kind, namespace, name)
        guarded = dict(change) | {"metadata": dict(change.get("metadata") or {}) | {"uid": uid}}
        reply = self._transport.send("PATCH", subject.path, MERGE, guarded, **_query(False))
        return _created(reply, subject)

    def close(self) -> None:
        """Closes the idle connections."""
        self._transport.close()

    def _items(
        self, subject: Subject, headers: Mapping[str, str], labels: str | None
    ) -> Iterator[Object]:
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = labels
        while True:
            page = _read(self._transport.send("GET", subject.collection, headers, **query), subject)
            yield from page.get("items") or ()
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query["continue"] = token


def _query(dry_run: bool) -> dict[str, str]:
    query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
    return query | {"dryRun": "All"} if dry_run else query


def _read(reply: Reply, subject: Subject) -> Object:
    if reply.status != 200:
        raise error_of_read(reply, subject)
    return _object(reply, subject)


def _object(reply: Reply, subject: Subject) -> Object:
    if not reply.body:
        raise Unreachable(
            f"cluster {subject.cluster}: the answer to the request for {subject} is not usable: "
            f"{reply.fault}; check that `server` in the kubeconfig is the API server"
        )
    return reply.body


def _created(reply: Reply, subject: Subject) -> Created:
    if reply.status not in {200, 201}:
        raise error_of_write(reply, subject)
    meta = _metadata(_object(reply, subject), subject)
    if meta.get("deletionTimestamp"):
        raise Unavailable(f"{subject}: it is being deleted; wait until it is gone")
    return Created(meta["uid"], str(meta.get("resourceVersion", "")), reply.repeated)


def _metadata(body: Object, subject: Subject) -> Mapping[str, Any]:
    meta = body.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("uid"), str):
        raise Unreachable(
            f"cluster {subject.cluster}: the answer to the request for {subject} is no object "
            "with a uid; check that `server` in the kubeconfig is the API server"
        )
    return meta


def _applied(reply: Reply, subject: Subject, before: Mapping[str, Any] | None) -> Applied:
    if reply.status not in {200, 201}:
        raise error_of_write(reply, subject)
    meta = _object(reply, subject).get("metadata", {})
    if meta.get("deletionTimestamp"):
        raise Conflict(f"{subject}: it is being deleted; wait until it is gone and repeat")
    if "uid" not in meta:
        raise Refused(
            f"{subject}: the server answers {reply.status} without an object; check `server`"
        )
    return Applied(
        _action(reply.status, meta, before), meta["uid"], meta.get("resourceVersion", "")
    )


def _action(
    status: int, meta: Mapping[str, Any], before: Mapping[str, Any] | None
) -> Literal["create", "update", "unchanged"]:
    if status == 201:
        return "create"
    return "unchanged" if before is not None and _state(before) == _state(meta) else "update"


def _state(meta: Mapping[str, Any]) -> list[object]:
    """What changes with an apply of ours that changes something, to the second where there is no
    generation.

    Not resourceVersion: a dry run keeps it, every status moves it, and so does the first re-apply
    of a claim.
    """
    ours = [entry for entry in meta.get("managedFields") or () if entry.get("manager") == MANAGER]
    return [
        meta.get("uid"),
        meta.get("generation"),
        meta.get("labels"),
        meta.get("annotations"),
        ours,
    ]
