"""A target cluster: manifests in, what became of them out; its rights are docs/target-access.yaml."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.errors import Conflict, Refused, Unreachable
from shared.kube.credentials import Credentials
from shared.kube.errors import error_of, installed
from shared.kube.resources import Object, Objects, Subject, subject_of
from shared.kube.transport import Reply, Transport

MANAGER = "replant"
PAGE = 500
JSON = {"Accept": "application/json"}
METADATA = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
METADATA_LIST = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


@dataclass(frozen=True)
class Applied:
    """What an apply or a create did, or, as a dry run, would do."""

    action: Literal["create", "update", "unchanged"]
    uid: str
    resource_version: str


class TargetCluster:
    """One API server. Safe to share between threads; every request may be repeated after a lost answer.

    Every method raises Unreachable (no usable answer after `attempts`), Refused (the credentials, the
    address, or a kind that is not installed) and Rejected (missing rights, or this object for good).
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        cluster: str,
        connections: int = 16,
        attempts: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.cluster = cluster
        self._transport = Transport(credentials, cluster, connections, attempts, sleep)

    def version(self) -> str:
        """The server's gitVersion, such as v1.34.1."""
        subject = Subject(self.cluster, "APIServer", name="version")
        return str(_succeeded(self._transport.send("GET", "/version", JSON), subject)["gitVersion"])

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The whole object; None where it, or its namespace, does not exist."""
        subject = Subject(self.cluster, kind, namespace, name)
        reply = self._transport.send("GET", subject.path, JSON)
        if reply.status == 404 and installed(reply):
            return None
        return _succeeded(reply, subject)

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
        """Server-side apply without force. `before` is the object's `metadata` as a listing or `get` showed it:
        without it, an apply that changes nothing is told as an update.

        Raises Conflict where another manager owns a field, or the object is being deleted.
        """
        subject = subject_of(manifest, self.cluster)
        headers = METADATA | {"Content-Type": "application/apply-patch+yaml"}
        query = _query(dry_run) | {"force": "false"}
        reply = self._transport.send("PATCH", subject.path, headers, dict(manifest), **query)
        return _applied(reply, subject, before)

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Applied:
        """For what is made and never changed, such as a Secret, which nobody may patch: an apply could read it.

        Raises Conflict where the object exists, which it also does where an earlier answer was lost.
        """
        subject = subject_of(manifest, self.cluster)
        headers = METADATA | {"Content-Type": "application/json"}
        reply = self._transport.send(
            "POST", subject.collection, headers, dict(manifest), **_query(dry_run)
        )
        return _applied(reply, subject, None)

    def close(self) -> None:
        """Closes the idle connections."""
        self._transport.close()

    def _items(
        self, subject: Subject, headers: Mapping[str, str], labels: str | None
    ) -> Iterator[Object]:
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        while True:
            page = _succeeded(
                self._transport.send("GET", subject.collection, headers, **query), subject
            )
            yield from page.get("items") or ()
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query["continue"] = token


def _query(dry_run: bool) -> dict[str, str]:
    query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
    return query | {"dryRun": "All"} if dry_run else query


def _succeeded(reply: Reply, subject: Subject) -> Object:
    if reply.status not in {200, 201}:
        raise error_of(reply, subject)
    if not reply.body:
        raise Unreachable(
            f"{subject}: the answer is no JSON object; check that `server` is the API server"
        )
    return reply.body


def _applied(reply: Reply, subject: Subject, before: Mapping[str, Any] | None) -> Applied:
    meta = _succeeded(reply, subject).get("metadata", {})
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
    """What changes with an apply of ours that changes something, to the second where there is no generation.

    Not resourceVersion: a dry run keeps it, every status moves it, and so does the first re-apply of a claim.
    """
    ours = [entry for entry in meta.get("managedFields") or () if entry.get("manager") == MANAGER]
    return [
        meta.get("uid"),
        meta.get("generation"),
        meta.get("labels"),
        meta.get("annotations"),
        ours,
    ]
