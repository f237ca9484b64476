"""An API server's refusal to an error of ours: by status, reason, causes and message."""

import re
from collections.abc import Callable

from shared.errors import (
    AlreadyExists,
    Conflict,
    Refused,
    Rejected,
    ReplantError,
    Unavailable,
    Unreachable,
)
from shared.kube.reply import DENIAL, Reply
from shared.kube.resources import Subject

LONGEST = 500
ACCESS = "apply docs/target-access.yaml to the cluster"
FORBIDDEN = re.compile(
    r'User "[^"]*" cannot \w+ resource "[^"]*"( in API group "[^"]*")?( in the namespace "[^"]*")?'
)
CONFIDENTIAL = re.compile(r"user-?data|network-?data|password|token", re.IGNORECASE)


def error_of_write(reply: Reply, subject: Subject) -> ReplantError:
    """What a refused create or patch means: Unavailable and Rejected are about its object alone,
    Unreachable and Refused about the cluster.

    The message never has a value of a Secret or of cloud-init data.
    """
    if reply.denied:
        return _denied(reply, subject)
    if reply.temporary and reply.about_one_object:
        return _unavailable(reply, subject)
    return _error_of(reply, subject)


def error_of_read(reply: Reply, subject: Subject) -> ReplantError:
    """What a refused get or list means; for what is temporary, Unreachable."""
    return _error_of(reply, subject)


def installed(reply: Reply) -> bool:
    """Whether a 404 is about an object: an unknown kind is answered with plain text."""
    return reply.is_status and reply.reason == "NotFound"


def is_of_rights(reply: Reply) -> bool:
    """Whether the account is refused, or something that it has no right to."""
    missing_right = reply.status == 403 and FORBIDDEN.search(reply.message)
    return reply.status == 401 or bool(missing_right)


def _error_of(reply: Reply, subject: Subject) -> ReplantError:
    if reply.temporary:
        return _busy(reply, subject)
    return _BY_STATUS.get(reply.status, _other)(reply, subject)


def _denied(reply: Reply, subject: Subject) -> ReplantError:
    said = _said(reply, subject)
    denial = DENIAL.search(reply.message)
    if denial and denial[0] not in said:
        said = f"{denial[0]}, with words that may hold secret data: {said}"
    return Rejected(
        f"{subject}: {said}; change the mapping, or what the webhook asks for on the cluster"
    )


def _unavailable(reply: Reply, subject: Subject) -> ReplantError:
    if reply.being_deleted:
        return Unavailable(
            f"{subject}: an object of this name is still being deleted; wait until it is gone"
        )
    return Unavailable(
        f"{subject}: the API server answers {reply.status}: {_said(reply, subject)}; "
        "this object can be tried again later"
    )


def _busy(reply: Reply, subject: Subject) -> ReplantError:
    said = _said(reply, subject) or "no reason given"
    return Unreachable(
        f"cluster {subject.cluster}: the API server answers {reply.status} to the request for "
        f"{subject}: {said}; try again when the API server is well"
    )


def _unauthorized(_: Reply, subject: Subject) -> ReplantError:
    return Refused(
        f"cluster {subject.cluster}: the API server does not accept the token or certificate; "
        "renew the kubeconfig in its secret: "
        "`python -m shared.commands.access --kubeconfig ADMIN_KUBECONFIG --apply`"
    )


def _forbidden(reply: Reply, subject: Subject) -> ReplantError:
    if "NamespaceTerminating" in (cause.get("reason") for cause in reply.causes):
        return Rejected(
            f"{subject}: the namespace is being deleted; wait until it is gone, "
            "or map it to another one"
        )
    missing_right = FORBIDDEN.search(reply.message)
    if missing_right:
        return Rejected(f"{subject}: {missing_right[0][:LONGEST]}; {ACCESS}")
    said = _said(reply, subject)
    if "exceeded quota" in reply.message:
        return Rejected(f"{subject}: {said}; raise the quota, or map to another namespace")
    return Rejected(f"{subject}: forbidden: {said}; ask the cluster's administrator")


def _not_found(reply: Reply, subject: Subject) -> ReplantError:
    if not installed(reply):
        return Refused(
            f"{subject}: the cluster does not serve this kind (or `server` has a wrong path); "
            "install the component that brings it"
        )
    if reply.details.get("kind") == "namespaces" and subject.namespace:
        return Rejected(
            f"{subject}: the namespace {subject.namespace} does not exist; create it first"
        )
    return Rejected(f"{subject}: it was deleted; start a new restore of its machine")


def _conflict(reply: Reply, subject: Subject) -> ReplantError:
    if reply.reason == "AlreadyExists":
        return AlreadyExists(f"{subject}: it exists already{_perhaps_ours(reply)}")
    return Conflict(f"{subject}: {_said(reply, subject)}; look at the object and repeat")


def _perhaps_ours(reply: Reply) -> str:
    if not reply.repeated:
        return "; choose another name or namespace, or delete it"
    return "; the answer to an earlier attempt was lost, which may have created it"


def _invalid(reply: Reply, subject: Subject) -> ReplantError:
    # A uid in a patch is its precondition: another one reads as an attempt to change it.
    if "metadata.uid" in (cause.get("field") for cause in reply.causes):
        return _changed_hands(subject)
    return _other(reply, subject)


def _changed_hands(subject: Subject) -> ReplantError:
    return Conflict(
        f"{subject}: it was deleted and created again by another client; it is left as it is"
    )


def _other(reply: Reply, subject: Subject) -> ReplantError:
    if reply.status >= 501:
        return _busy(reply, subject)
    if reply.status < 400:
        return Refused(
            f"cluster {subject.cluster}: the server answers {reply.status}, as no API server does; "
            "redirects are not followed: give the API server's own address as `server` "
            "in the kubeconfig"
        )
    return Rejected(
        f"{subject}: the API server answers {reply.status}: {_said(reply, subject)}; "
        "correct the mapping or its patches"
    )


_BY_STATUS: dict[int, Callable[[Reply, Subject], ReplantError]] = {
    401: _unauthorized,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    410: _busy,
    422: _invalid,
}


def _said(reply: Reply, subject: Subject) -> str:
    if subject.kind != "Secret" and not CONFIDENTIAL.search(reply.message):
        return reply.message[:LONGEST]
    fields = ", ".join(f"{cause.get('field')} {cause.get('reason')}" for cause in reply.causes)
    return f"{reply.reason} {fields}".strip()[:LONGEST]
