"""A cluster's stored kubeconfig -> whether its API server answers, and what it tells of itself."""

import re
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Any, TypeVar

from shared.errors import Refused, Rejected, Unreachable
from shared.jsonpath import dig
from shared.kube import longhorn
from shared.kube.client import TargetCluster
from shared.kube.connection import Distrust
from shared.kube.expiry import expiry
from shared.kube.kubeconfig import parse
from shared.kube.reply import Reply
from shared.kube.resources import Object, Objects
from shared.labels import LONGHORN_DRIVER, LONGHORN_NAMESPACE
from shared.models.documents import ClusterDocument
from shared.models.longhorn_facts import DEFAULT_TARGET
from shared.models.observations import Answer, Observation, SeenVersions

LONGEST = 10.0
"""Seconds for one look at a cluster, with everything that is asked."""

ATTEMPTS = 2
"""Of each request: a single lost packet is no outage."""

FAILED = re.compile(r"^\[-\]([A-Za-z0-9/._-]{1,80}) failed", re.MULTILINE)
"""What an API server says at /readyz of each check that does not pass."""

NOBODY_BEHIND = frozenset({502, 503, 504})
"""What a load balancer answers that has no API server behind it; with other words, an API server
itself does."""

_T = TypeVar("_T")


def probe(
    kubeconfig: str,
    cluster: ClusterDocument,
    at: datetime,
    *,
    allow_loopback: bool,
    seconds: float = LONGEST,
) -> Observation:
    """The look that began AT. Whatever the server does, it ends in some SECONDS; only the look-up
    of its name is not ours to end.
    """
    try:
        credentials = parse(
            kubeconfig, cluster=cluster.id, secret=cluster.secret, allow_loopback=allow_loopback
        )
    except Refused as error:
        return no_credentials(cluster.id, at, error.message)
    target = TargetCluster(
        credentials,
        cluster=cluster.id,
        connections=1,
        attempts=ATTEMPTS,
        deadline=time.monotonic() + seconds,
    )
    with closing(target):
        seen = _look(target, at)
    return seen.model_copy(update={"credentials_expire": expiry(credentials)})


def no_credentials(cluster: str, at: datetime, why: str) -> Observation:
    return Observation(cluster=cluster, at=at, answer=Answer.NO_CREDENTIALS, reason=why)


def unreachable(cluster: str, at: datetime, why: str) -> Observation:
    return Observation(cluster=cluster, at=at, answer=Answer.UNREACHABLE, reason=why)


def _look(target: TargetCluster, at: datetime) -> Observation:
    try:
        reply = target.readiness()
    except Unreachable as error:
        seen = unreachable(target.cluster, at, error.message)
        if isinstance(error.__cause__, Distrust):
            return seen.model_copy(update={"answer": Answer.UNTRUSTED})
        return seen
    except Refused as error:  # the server's name leads to an address that no kubeconfig may name
        return no_credentials(target.cluster, at, error.message)
    answer, why = judge(reply, target.cluster)
    told: dict[str, Any] = {}
    if answer in {Answer.READY, Answer.NOT_READY}:
        told = _ask(target)
    return Observation(cluster=target.cluster, at=at, answer=answer, reason=why, **told)


def judge(reply: Reply, cluster: str) -> tuple[Answer, str | None]:
    """What an answer of /readyz means, and why it is not `ready`.

    Who answers at all has a certificate of the cluster's own CA, so that any answer but that of a
    load balancer without servers is the cluster's: a strange one is told, and is no outage.
    """
    said = f"cluster {cluster}: the API server answers {reply.status} to /readyz"
    text = reply.data.decode(errors="replace")
    failed = FAILED.findall(text)
    if reply.status == 200 and text.strip() == "ok":
        return Answer.READY, None
    if reply.status in {401, 403}:
        return Answer.REJECTED, (
            f"{said}: it does not accept the token or certificate; renew the kubeconfig in its "
            "secret: `python -m shared.commands.access --kubeconfig ADMIN_KUBECONFIG --apply`"
        )
    if reply.status in NOBODY_BEHIND and not failed and not reply.is_status:
        return Answer.UNREACHABLE, (
            f"cluster {cluster}: a server in front of the API server answers {reply.status}; "
            "check that an API server runs behind it"
        )
    if failed:
        return Answer.NOT_READY, (
            f"{said}: {', '.join(failed[:5])} failed; look at the cluster's control plane"
        )
    if reply.status >= 500 or reply.status == 429:
        return Answer.NOT_READY, f"{said}: it is not ready; look at the cluster's control plane"
    return Answer.NOT_READY, (
        f"{said} with something else than `ok`, as no API server does; check `server` in the "
        "kubeconfig"
    )


def _ask(target: TargetCluster) -> dict[str, Any]:
    """What it tells of itself, one after the other over one connection; None of what it keeps from
    these credentials, does not have, or does not tell in time.
    """
    nodes = _optional(lambda: target.list("Node"))
    classes = _optional(lambda: target.list("StorageClass"))
    engines = _optional(lambda: target.list("LonghornNode", LONGHORN_NAMESPACE))
    backup_targets = _optional(lambda: target.list("BackupTarget", LONGHORN_NAMESPACE))
    return {
        "nodes": None if nodes is None else len(nodes),
        "nodes_ready": None if nodes is None else sum(map(_is_ready, nodes)),
        "storage_ready": _storage_ready(classes, engines),
        "backup_target_available": _available(backup_targets),
        "versions": _versions(target),
    }


def _optional(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except (Refused, Rejected, Unreachable):
        return None


def _is_ready(node: Object) -> bool:
    """Of Kubernetes' nodes and of Longhorn's: both have such a condition."""
    conditions = dig(node, "status", "conditions")
    return any(
        (dig(each, "type"), dig(each, "status")) == ("Ready", "True")
        for each in (conditions if isinstance(conditions, list) else [])
    )


def _storage_ready(classes: Objects | None, engines: Objects | None) -> bool | None:
    """Whether Longhorn has a class, and a node that is ready, where its nodes may be seen."""
    if classes is None:
        return None
    provisioned = any(each.get("provisioner") == LONGHORN_DRIVER for each in classes)
    return provisioned and (engines is None or any(map(_is_ready, engines)))


def _available(found: Objects | None) -> bool | None:
    """Longhorn's word about its default backup target."""
    for each in found or []:
        if each["metadata"]["name"] == DEFAULT_TARGET:
            return dig(each, "status", "available") is True
    return None


def _versions(target: TargetCluster) -> SeenVersions:
    setting = _optional(lambda: target.get("HarvesterSetting", None, "server-version"))
    return SeenVersions(
        kubernetes=_told(_optional(target.version)),
        harvester=_told(dig(setting, "value")) or _told(dig(setting, "default")),
        longhorn=_told(_optional(lambda: longhorn.read_version(target))),
    )


def _told(value: object) -> str | None:
    """A version as a system writes it; None of anything else, and of what is far too long."""
    if not isinstance(value, str) or not 0 < len(value) <= 100:
        return None
    return value
