"""A target cluster: manifests in, what became of them out; rights as in docs/target-access.yaml."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from pydantic_core import to_json

from shared.errors import Rejected, Unavailable, Unreachable
from shared.jsonpath import dig
from shared.kinds import KINDS
from shared.kube.connection import MEBIBYTE
from shared.kube.credentials import Credentials
from shared.kube.errors import error_of_read, error_of_write, installed, is_of_rights
from shared.kube.reply import Reply
from shared.kube.resources import Object, Objects, Subject, subject_of
from shared.kube.transport import Transport, Verb

MANAGER = "replant"
WRITING = f"fieldManager={MANAGER}&fieldValidation=Strict"

READY, STARTING = "/readyz", 429
"""Where every API server tells anybody whether it is ready, and from which status on it is not."""

UNKNOWN_ACCOUNT = {401, 403}
"""What READY is answered even earlier, for some 100 ms, while the server knows neither accounts nor
the right of all to ask for it. On a cluster that takes this right away, and to credentials that are
no longer good, it is always the answer."""

PAUSES = (1.0, 2.0, 4.0)
"""Seconds between looks at a server that does not say whether it is ready."""

RIGHTS = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
PAGE = 500
MOST_PAGES = 1000
LONGEST_TOKEN = 16 * 1024
MOST_OBJECTS = 100_000
LARGEST_LISTING = 256 * MEBIBYTE
"""One listing: ten times what the largest restore concerns."""

JSON = "application/json"
METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

GET = Verb("GET", JSON)
LIST = Verb("GET", JSON, largest=64 * MEBIBYTE)
SCHEMAS = Verb("GET", JSON, largest=32 * MEBIBYTE)
LIST_OF_METADATA = Verb("GET", METADATA_LIST, largest=64 * MEBIBYTE)
REVIEW = Verb("POST", JSON, JSON)
CREATE = Verb("POST", METADATA, JSON)
PATCH = Verb("PATCH", METADATA, "application/merge-patch+json")
DELETE = Verb("DELETE", JSON, JSON)


class Created(NamedTuple):
    """An object as it stands, or, of a dry run, would stand.

    `repeated`: the answer to an earlier attempt of the same request was lost.
    """

    uid: str
    resource_version: str
    repeated: bool


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
            credentials,
            cluster,
            connections=connections,
            attempts=attempts,
            deadline=deadline,
            sleep=sleep,
            clock=clock,
        )

    def readiness(self) -> Reply:
        """What the server says of itself, whatever its status: for who asks nothing else of it."""
        return self._transport.send(GET, READY)

    def version(self) -> str:
        """The server's gitVersion, such as v1.34.1."""
        subject = Subject(self.cluster, "APIServer", name="version")
        answer = _body(self._send(GET, "/version"), subject)
        return str(answer.get("gitVersion"))

    def serves(self, kind: str) -> bool:
        """Whether the cluster has the kind at all."""
        subject = Subject(self.cluster, kind)
        reply = self._send(GET, subject.group)
        if reply.status == 404:
            return False
        resources = _body(reply, subject).get("resources")
        if not isinstance(resources, list):
            raise _unusable(subject, "it lists no kinds")
        return subject.plural in {str(dig(each, "name")) for each in resources}

    def schemas(self, kind: str) -> Object | None:
        """The OpenAPI document of the kind's group and version; None where the cluster has none, or
        keeps it from these credentials.
        """
        subject = Subject(self.cluster, kind, name="schema")
        reply = self._send(SCHEMAS, f"/openapi/v3{KINDS[kind].root}")
        nothing = reply.status == 200 and not reply.data
        if nothing or reply.status in {403, 404}:
            return None
        return _body(reply, subject)

    def review_rights(self, namespace: str) -> Object:
        """What these credentials may do in a namespace, whether it exists or not: the status of a
        SelfSubjectRulesReview, which asks and makes nothing.
        """
        subject = Subject(self.cluster, "SelfSubjectRulesReview", namespace)
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": subject.kind,
            "spec": {"namespace": namespace},
        }
        reply = self._send(REVIEW, RIGHTS, _encoded(review, subject))
        if reply.status not in {200, 201}:
            raise error_of_read(reply, subject)
        status = _answer(reply, subject).get("status")
        return status if isinstance(status, dict) else {}

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The whole object; None where it, or its namespace, does not exist."""
        subject = Subject(self.cluster, kind, namespace, name)
        reply = self._send(GET, subject.path)
        if reply.status == 404 and installed(reply):
            return None
        return _object(_body(reply, subject), subject)

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> Objects:
        """Whole objects of a namespace, or of all; `labels` is a selector, such as
        `app=web,tier!=test`, and `fields` another one, of the few fields that the kind has for it.
        """
        return self._items(Subject(self.cluster, kind, namespace), LIST, labels, fields)

    def list_metadata(
        self, kind: str, namespace: str | None = None, *, labels: str | None = None
    ) -> Objects:
        """As `list`, but each object is `{"metadata": …}` only."""
        return self._items(Subject(self.cluster, kind, namespace), LIST_OF_METADATA, labels)

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Created:
        """Make an object that does not exist; one that does is never changed or read.

        Raises AlreadyExists where an object of the name stands, Unavailable where this object
        alone cannot be made for now (its name is still being deleted, a webhook does not answer),
        and Rejected where it never can (a webhook's denial, in its own words; a quota).
        """
        subject = subject_of(manifest, self.cluster)
        target = _target(subject.collection, dry_run)
        reply = self._send(CREATE, target, _encoded(manifest, subject))
        return _created(reply, subject)

    def patch(  # noqa: PLR0913 - all but the change say which object, in which state
        self,
        kind: str,
        namespace: str | None,
        name: str,
        change: Mapping[str, Any],
        *,
        uid: str,
        version: str | None = None,
        dry_run: bool = False,
    ) -> Created:
        """Change the fields that `change` has (a JSON merge patch) of the object that `uid` is, in
        no other state than `version`, where one is given.

        Raises Conflict where the name is another object's by now, Rejected where it is nobody's,
        Unavailable where its state is another one by now, and otherwise what `create` raises.
        """
        subject = Subject(self.cluster, kind, namespace, name)
        metadata = {**(change.get("metadata") or {}), "uid": uid}
        if version:
            metadata["resourceVersion"] = version
        target = _target(subject.path, dry_run=dry_run)
        reply = self._send(PATCH, target, _encoded({**change, "metadata": metadata}, subject))
        return _created(reply, subject)

    def delete(
        self, kind: str, namespace: str | None, name: str, *, uid: str, version: str | None = None
    ) -> None:
        """Ask for the end of the object that `uid` is, of no other state than `version`, where one
        is given; what it owns goes after it. It may be there for as long as finalizers hold it.
        Nothing happens where no object has the name.

        Raises Conflict where the name is another object's by now, or its state another one, and
        otherwise what `create` raises.
        """
        subject = Subject(self.cluster, kind, namespace, name)
        expected = {"uid": uid} | ({"resourceVersion": version} if version else {})
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": expected,
            "propagationPolicy": "Background",
        }
        reply = self._send(DELETE, subject.path, _encoded(options, subject))
        if reply.status == 404 and installed(reply):
            return
        if reply.status not in {200, 202}:
            raise error_of_write(reply, subject)

    def namespaced_kinds(self) -> frozenset[str]:
        """All kinds of which objects can stand in a namespace, as a ResourceQuota names them:
        `secrets`, `virtualmachines.kubevirt.io`.
        """
        found: set[str] = set()
        for group in self._groups():
            subject = Subject(self.cluster, "APIServer", name=group)
            resources = _body(self._send(GET, group), subject).get("resources")
            if not isinstance(resources, list):
                raise _unusable(subject, "it lists no kinds")
            suffix = group.split("/")[2] if group.startswith("/apis/") else ""
            found |= {
                ".".join(filter(None, (str(dig(each, "name")), suffix)))
                for each in resources
                if _can_stand(each)
            }
        return frozenset(found)

    def _groups(self) -> Iterator[str]:
        """The path of each version of each group."""
        yield "/api/v1"
        subject = Subject(self.cluster, "APIServer", name="groups")
        groups = _body(self._send(GET, "/apis"), subject).get("groups")
        if not isinstance(groups, list):
            raise _unusable(subject, "it lists no groups")
        for group in groups:
            for version in dig(group, "versions") or []:
                yield f"/apis/{dig(version, 'groupVersion')}"

    def _send(self, verb: Verb, target: str, body: bytes = b"") -> Reply:
        """An API server that has just started knows neither accounts nor rights, and refuses what
        it grants a moment later: a refusal counts when a server that is ready repeats it. What it
        refused has changed nothing.

        Raises Unreachable.
        """
        for pause in PAUSES:
            reply = self._transport.send(verb, target, body)
            if not is_of_rights(reply):
                return reply
            readiness = self._transport.send(GET, READY).status
            if readiness >= STARTING:
                raise Unreachable(
                    f"cluster {self.cluster}: the API server answers {reply.status} while it starts"
                    " and does not know all rights yet; try again when it is ready"
                )
            if readiness not in UNKNOWN_ACCOUNT or not self._transport.wait(pause):
                break
        return self._transport.send(verb, target, body)

    def close(self) -> None:
        """Closes the idle connections."""
        self._transport.close()

    def _items(
        self, subject: Subject, verb: Verb, labels: str | None, fields: str | None = None
    ) -> Objects:
        found: Objects = []
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        seen: set[str] = set()
        size = 0
        while True:
            reply = self._send(verb, f"{subject.collection}?{urlencode(query)}")
            size += len(reply.data)
            items, token = _page(_body(reply, subject), subject)
            found += items
            if not token:
                return found
            if token in seen:
                raise _unusable(subject, "the listing repeats its `continue` token")
            seen.add(token)
            if too_much := _too_much(len(seen), len(found), size):
                raise _unusable(subject, f"the listing {too_much}")
            query["continue"] = token


def _can_stand(resource: object) -> bool:
    """Whether there are objects of it that stay, in namespaces: not a part of another kind, and
    nothing that is only asked.
    """
    verbs = dig(resource, "verbs")
    stays = isinstance(verbs, list) and {"create", "delete", "list", "watch"} <= set(
        map(str, verbs)
    )
    return stays and dig(resource, "namespaced") is True


def _target(path: str, dry_run: bool) -> str:
    if dry_run:
        return f"{path}?{WRITING}&dryRun=All"
    return f"{path}?{WRITING}"


def _encoded(manifest: Mapping[str, Any], subject: Subject) -> bytes:
    try:
        return to_json({**manifest})
    except ValueError:
        raise Rejected(
            f"{subject}: it holds a text that is not Unicode; correct the backup"
        ) from None


def _body(reply: Reply, subject: Subject) -> Object:
    """The JSON object that a read was answered with."""
    if reply.status != 200:
        raise error_of_read(reply, subject)
    return _answer(reply, subject)


def _answer(reply: Reply, subject: Subject) -> Object:
    if not reply.body:
        raise _unusable(subject, reply.fault)
    return reply.body


def _too_much(pages: int, objects: int, size: int) -> str | None:
    if pages > MOST_PAGES:
        return f"has more than {MOST_PAGES:,} pages"
    if objects > MOST_OBJECTS:
        return f"has more than {MOST_OBJECTS:,} objects"
    if size > LARGEST_LISTING:
        return f"is larger than {LARGEST_LISTING // MEBIBYTE} MiB"
    return None


def _page(body: Object, subject: Subject) -> tuple[Objects, str]:
    """The objects of a page and the token of the next one; "" after the last."""
    items, meta = body.get("items") or [], body.get("metadata") or {}
    if not isinstance(items, list) or not isinstance(meta, dict):
        raise _unusable(subject, "it is no listing")
    token = meta.get("continue") or ""
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
        raise _unusable(subject, "the `continue` token of the listing is not a short text")
    return [_object(each, subject) for each in items], token


def _object(value: object, subject: Subject) -> Object:
    """The value as an object with the metadata that every object has."""
    if not isinstance(value, dict) or not _is_metadata(value.get("metadata")):
        raise _unusable(subject, "it holds something that is not an object with a name")
    return value


def _is_metadata(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return False
    texts = (value.get("namespace", ""), value.get("uid", ""))
    maps = (value.get("labels", {}), value.get("annotations", {}))
    return all(isinstance(each, str) for each in texts) and all(
        isinstance(each, dict) and all(isinstance(text, str) for text in each.values())
        for each in maps
    )


def _unusable(subject: Subject, why: str) -> Unreachable:
    return Unreachable(
        f"cluster {subject.cluster}: the answer to the request for {subject} is not usable: {why}; "
        "check that `server` in the kubeconfig is the API server"
    )


def _created(reply: Reply, subject: Subject) -> Created:
    if reply.status not in {200, 201}:
        raise error_of_write(reply, subject)
    meta = reply.metadata
    uid = meta.get("uid")
    if not isinstance(uid, str):
        raise _unusable(subject, "it is no object with a uid")
    if meta.get("deletionTimestamp"):
        raise Unavailable(f"{subject}: it is being deleted; wait until it is gone")
    return Created(uid, str(meta.get("resourceVersion", "")), reply.repeated)
