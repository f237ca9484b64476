"""An API server's refusal to an error of ours: by status, reason, causes and form of the message."""

import re
from collections.abc import Callable
from typing import Any

from shared.errors import Conflict, Refused, Rejected, ReplantError, Unreachable
from shared.kube.resources import Subject
from shared.kube.transport import Reply

LONGEST = 500
ACCESS = "apply docs/target-access.yaml to the cluster"
DENIED = re.compile(
    r'User "[^"]*" cannot \w+ resource "[^"]*"( in API group "[^"]*")?( in the namespace "[^"]*")?'
)
CONFIDENTIAL = re.compile(r"user-?data|network-?data|password|token", re.IGNORECASE)


def error_of(reply: Reply, subject: Subject) -> ReplantError:
    """What an answer without success means; never with a value of a Secret or of cloud-init data."""
    return _BY_STATUS.get(reply.status, _other)(reply, subject)


def installed(reply: Reply) -> bool:
    """Whether a 404 is about an object: an unknown kind is answered with plain text."""
    return reply.body.get("kind") == "Status" and reply.body.get("reason") == "NotFound"


def _unauthorized(_: Reply, subject: Subject) -> ReplantError:
    return Refused(
        f"cluster {subject.cluster}: the API server does not accept the token or certificate; renew the "
        "kubeconfig in its secret: `python -m shared.commands.access --kubeconfig ADMIN_KUBECONFIG --apply`"
    )


def _forbidden(reply: Reply, subject: Subject) -> ReplantError:
    if "NamespaceTerminating" in (cause.get("reason") for cause in _causes(reply)):
        return Rejected(
            f"{subject}: the namespace is being deleted; wait until it is gone or map it"
        )
    denied = DENIED.search(_message(reply))
    if denied:
        return Rejected(f"{subject}: {denied[0][:LONGEST]}; {ACCESS}")
    return Rejected(
        f"{subject}: forbidden: {_said(reply, subject)}; ask the cluster's administrator"
    )


def _not_found(reply: Reply, subject: Subject) -> ReplantError:
    if not installed(reply):
        return Refused(
            f"{subject}: the cluster does not serve this kind (or `server` has a wrong path); "
            "install the component that brings it"
        )
    if _details(reply).get("kind") == "namespaces" and subject.namespace:
        return Rejected(
            f"{subject}: the namespace {subject.namespace} does not exist; create it first"
        )
    return Rejected(f"{subject}: {_said(reply, subject)}; it went away meanwhile: repeat")


def _conflict(reply: Reply, subject: Subject) -> ReplantError:
    owners = [
        f"{cause.get('field')} is owned by {_manager(cause)}"
        for cause in _causes(reply)
        if cause.get("reason") == "FieldManagerConflict"
    ]
    if owners:
        return Conflict(
            f"{subject}: {'; '.join(owners)[:LONGEST]}; choose onExisting, or remove the object"
        )
    if reply.body.get("reason") == "AlreadyExists":
        return Conflict(
            f"{subject}: it exists already; choose onExisting, another name, or remove it"
        )
    return Conflict(f"{subject}: {_said(reply, subject)}; look at the object and repeat")


def _busy(reply: Reply, subject: Subject) -> ReplantError:
    said = _said(reply, subject) or "no reason given"
    return Unreachable(
        f"{subject}: the API server answers {reply.status}: {said}; repeat when it is well"
    )


def _server_error(reply: Reply, subject: Subject) -> ReplantError:
    permanent = reply.status == 500 and reply.body.get("kind") == "Status" and not reply.temporary
    return _other(reply, subject) if permanent else _busy(reply, subject)


def _other(reply: Reply, subject: Subject) -> ReplantError:
    if reply.status >= 501:
        return _busy(reply, subject)
    if reply.status < 400:
        return Refused(
            f"cluster {subject.cluster}: the server answers {reply.status}, as no API server does; "
            "redirects are not followed: give the API server's own address as `server` in the kubeconfig"
        )
    return Rejected(
        f"{subject}: the API server answers {reply.status}: {_said(reply, subject)}; correct the mapping or its patches"
    )


_BY_STATUS: dict[int, Callable[[Reply, Subject], ReplantError]] = {
    401: _unauthorized,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    410: _busy,
    429: _busy,
    500: _server_error,
}


def _said(reply: Reply, subject: Subject) -> str:
    message = _message(reply)
    if subject.kind != "Secret" and not CONFIDENTIAL.search(message):
        return message[:LONGEST]
    fields = ", ".join(f"{cause.get('field')} {cause.get('reason')}" for cause in _causes(reply))
    return f"{reply.body.get('reason')} {fields}".strip()[:LONGEST]


def _manager(cause: dict[str, Any]) -> str:
    return str(cause.get("message")).removeprefix("conflict with ")


def _message(reply: Reply) -> str:
    return str(reply.body.get("message") or "")


def _details(reply: Reply) -> dict[str, Any]:
    return reply.body.get("details") or {}


def _causes(reply: Reply) -> list[dict[str, Any]]:
    return _details(reply).get("causes") or []
