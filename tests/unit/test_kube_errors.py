"""What a refusal of a create or patch means: for good, for now, of all, or of one object.

The answers are those of kube-apiserver 1.36, of its quota controller and of Harvester's webhooks.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import (
    AlreadyExists,
    Conflict,
    Refused,
    Rejected,
    ReplantError,
    Unavailable,
    Unreachable,
)
from shared.kube.client import PAUSES
from tests.unit.scripted_server import (
    PLANTED,
    Answer,
    Client,
    scripted,
    secret,
    status,
    stored,
    vm,
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with scripted(tmp_path) as client:
        yield client


def refusal(client: Client, answer: Answer, error: type[ReplantError]) -> str:
    """What a create says that is always answered so by a ready server; exactly that error."""
    client.script.routes.setdefault(("GET", "/readyz"), Answer(200, "ok"))
    with pytest.raises(error) as caught:
        client.target(answer).create(vm())
    assert type(caught.value) is error
    return caught.value.message


def text(code: int, body: str) -> Answer:
    return Answer(code, body)


DUPLICATE_MAC = (
    'admission webhook "validator.harvesterhci.io" denied the request: '
    "duplicate mac address present in vm default/other"
)
CALLING = (
    "Internal error occurred: failed calling webhook "
    '"virtualmachines-mutator.kubevirt.io": failed to call webhook: Post '
    '"https://virt-api.kubevirt.svc:443/": context deadline exceeded'
)
EXISTS = 'virtualmachines.kubevirt.io "web01" already exists'
QUOTA_CHANGED = (
    'Operation cannot be fulfilled on resourcequotas "compute": the object has been modified; '
    "please apply your changes to the latest version and try again"
)
QUOTA_EXCEEDED = (
    'persistentvolumeclaims "disk" is forbidden: exceeded quota: compute, '
    "requested: requests.storage=9Gi, used: requests.storage=2Gi, limited: requests.storage=10Gi"
)

FOR_GOOD = [
    status(500, "InternalError", DUPLICATE_MAC),
    status(400, None, DUPLICATE_MAC),
    status(403, "Forbidden", DUPLICATE_MAC),
    status(422, "Invalid", DUPLICATE_MAC),
    status(409, "Conflict", DUPLICATE_MAC),
    status(503, "ServiceUnavailable", DUPLICATE_MAC),
    status(403, "Forbidden", QUOTA_EXCEEDED),
    status(422, "Invalid", "spec.template: Required value"),
    status(400, "BadRequest", 'strict decoding error: unknown field "spec.noSuchField"'),
    status(413, "RequestEntityTooLarge", "limit is 3145728"),
    status(415, "UnsupportedMediaType", "no"),
    status(404, "NotFound", 'namespaces "prod" not found', kind="namespaces", name="prod"),
    status(500, None, "failed to create typed patch object: field not declared in schema"),
]


@pytest.mark.parametrize("answer", FOR_GOOD)
def test_what_is_permanent_about_an_object_is_rejected_at_once(
    client: Client, answer: Answer
) -> None:
    message = refusal(client, answer, Rejected)
    assert message.startswith("VirtualMachine prod/web01 on cluster west: ")
    assert client.count == 1
    assert client.pauses == []


def test_a_missing_right_is_believed_when_the_server_repeats_it(client: Client) -> None:
    answer = status(403, "Forbidden", 'User "u" cannot create resource "virtualmachines"')
    message = refusal(client, answer, Rejected)
    assert message.startswith("VirtualMachine prod/web01 on cluster west: ")
    assert client.count == 2
    assert client.pauses == []


@pytest.mark.parametrize("code", [400, 403, 409, 422, 500, 503])
def test_a_webhooks_denial_is_told_in_its_own_words(client: Client, code: int) -> None:
    assert DUPLICATE_MAC in refusal(client, status(code, "InternalError", DUPLICATE_MAC), Rejected)


def test_a_quota_is_told_in_its_own_words(client: Client) -> None:
    message = refusal(client, status(403, "Forbidden", QUOTA_EXCEEDED), Rejected)
    assert QUOTA_EXCEEDED in message
    assert "raise the quota" in message


TERMINATING = {"reason": "NamespaceTerminating", "field": "metadata.namespace"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(403, "Forbidden", "being terminated", causes=[TERMINATING]), "is being deleted"),
        (status(403, "Forbidden", "a rule of this place"), "forbidden: a rule of this place"),
        (status(404, "NotFound", "namespaces", kind="namespaces"), "namespace prod does not exist"),
    ],
)
def test_what_stands_in_the_way_is_said(client: Client, answer: Answer, said: str) -> None:
    assert said in refusal(client, answer, Rejected)


def test_any_other_conflict_is_told_in_the_servers_words(client: Client) -> None:
    assert "some words" in refusal(client, status(409, "Conflict", "some words"), Conflict)


FOR_NOW = [
    status(409, "AlreadyExists", f"object is being deleted: {EXISTS}"),
    status(409, "Conflict", QUOTA_CHANGED, kind="resourcequotas", name="compute"),
    status(403, "Forbidden", 'pods "a" is forbidden: status unknown for quota: compute'),
    status(403, "Forbidden", 'pods "a" is forbidden: not yet ready to handle request'),
    status(500, "InternalError", CALLING),
    status(500, "InternalError", "Internal error occurred: resource quota evaluation timed out"),
    status(500, "ServerTimeout", "The POST operation against virtualmachines could not be done"),
    status(500, None, "etcdserver: leader changed"),
    status(503, "ServiceUnavailable", CALLING),
    status(504, "Timeout", CALLING),
    status(429, "TooManyRequests", CALLING),
]


@pytest.mark.parametrize("answer", FOR_NOW)
def test_what_is_temporary_about_an_object_is_unavailable_after_four_attempts(
    client: Client, answer: Answer
) -> None:
    message = refusal(client, answer, Unavailable)
    assert message.startswith("VirtualMachine prod/web01 on cluster west: ")
    assert client.count == 4
    assert len(client.pauses) == 3


@pytest.mark.parametrize("answer", FOR_NOW)
def test_what_is_temporary_about_an_object_passes(client: Client, answer: Answer) -> None:
    assert client.target(answer, answer, Answer(201, stored())).create(vm()).uid == "u-1"
    assert client.count == 3


OF_THE_CLUSTER = [
    text(429, "Too many requests, please try again later."),
    status(429, "TooManyRequests", "storage is (re)initializing"),
    text(502, "<html>bad gateway</html>"),
    text(503, "no backend"),
    status(503, "ServiceUnavailable", "apiserver is shutting down"),
    status(504, "Timeout", "request did not complete within the requested timeout"),
    text(500, "<html>a proxy's own trouble</html>"),
]


@pytest.mark.parametrize("answer", OF_THE_CLUSTER)
def test_a_server_that_is_unwell_is_unreachable_after_four_attempts(
    client: Client, answer: Answer
) -> None:
    assert refusal(client, answer, Unreachable).startswith("cluster west: ")
    assert client.count == 4


def test_a_status_that_no_api_server_gives_is_unreachable_at_once(client: Client) -> None:
    refusal(client, text(507, "a proxy's own status"), Unreachable)
    assert client.count == 1


@pytest.mark.parametrize("answer", [text(200, "{}"), text(201, '{"metadata": {}}')])
def test_an_answer_without_an_object_is_unreachable(client: Client, answer: Answer) -> None:
    assert "`server`" in refusal(client, answer, Unreachable)


def test_credentials_are_refused_when_the_server_repeats_it(client: Client) -> None:
    refusal(client, status(401, "Unauthorized", "Unauthorized"), Refused)
    assert client.count == 2


def test_credentials_that_may_not_even_ask_for_readiness_are_refused_after_some_seconds(
    client: Client,
) -> None:
    unauthorized = status(401, "Unauthorized", "Unauthorized")
    client.script.routes["GET", "/readyz"] = unauthorized
    refusal(client, unauthorized, Refused)
    assert client.pauses == list(PAUSES)


def test_no_look_at_a_server_that_knows_nobody_ends_after_the_deadline(client: Client) -> None:
    unauthorized = status(401, "Unauthorized", "Unauthorized")
    client.script.routes["GET", "/readyz"] = unauthorized
    target = client.target(unauthorized, deadline=PAUSES[0] / 2, clock=lambda: 0.0)
    with pytest.raises(Refused):
        target.create(vm())
    assert client.pauses == []


def test_a_kind_that_is_not_served_is_refused_at_once(client: Client) -> None:
    refusal(client, text(404, "404 page not found"), Refused)
    assert client.count == 1


def test_an_object_that_stands_exists_already(client: Client) -> None:
    message = refusal(client, status(409, "AlreadyExists", EXISTS), AlreadyExists)
    assert message == (
        "VirtualMachine prod/web01 on cluster west: it exists already; "
        "choose another name or namespace, or delete it"
    )


@pytest.mark.parametrize("lost", [Answer(0), status(504, "Timeout"), status(500, "InternalError")])
def test_an_object_that_exists_after_a_lost_answer_may_be_our_own(
    client: Client, lost: Answer
) -> None:
    with pytest.raises(AlreadyExists, match="an earlier attempt was lost"):
        client.target(lost, status(409, "AlreadyExists", EXISTS)).create(vm())


def test_the_answer_to_a_repeated_create_says_so(client: Client) -> None:
    busy, done = Answer(429, "x"), Answer(201, stored())
    assert not client.target(done).create(vm()).repeated
    assert not client.target(busy, done).create(vm()).repeated
    assert client.target(Answer(0), done).create(vm()).repeated
    assert client.target(status(503, "x"), done).create(vm()).repeated


def test_an_object_that_is_deleted_at_once_does_not_count_as_created(client: Client) -> None:
    gone = Answer(201, stored(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert "being deleted" in refusal(client, gone, Unavailable)


UID_CHANGED = [
    status(409, "Conflict", "Operation cannot be fulfilled on x: Precondition failed: UID in it"),
    status(
        422, "Invalid", "uid", causes=[{"field": "metadata.uid", "reason": "FieldValueInvalid"}]
    ),
]


@pytest.mark.parametrize("answer", UID_CHANGED)
def test_a_patch_of_an_object_that_changed_hands_is_a_conflict(
    client: Client, answer: Answer
) -> None:
    with pytest.raises(Conflict) as caught:
        client.target(answer).patch("VirtualMachine", "prod", "web01", {}, uid="u-0")
    assert type(caught.value) is Conflict
    assert client.count == 1


def test_a_patch_of_what_is_gone_is_rejected(client: Client) -> None:
    gone = status(404, "NotFound", 'virtualmachines.kubevirt.io "web01" not found', name="web01")
    with pytest.raises(Rejected, match="was deleted"):
        client.target(gone).patch("VirtualMachine", "prod", "web01", {}, uid="u-1")


def test_a_patch_that_meets_another_change_is_repeated(client: Client) -> None:
    changed = status(
        409, "Conflict", 'Operation cannot be fulfilled on virtualmachines "web01": modified'
    )
    target = client.target(changed, Answer(200, stored()))
    assert target.patch("VirtualMachine", "prod", "web01", {}, uid="u-1").uid == "u-1"
    with pytest.raises(Unavailable):
        client.target(changed).patch("VirtualMachine", "prod", "web01", {}, uid="u-1")


@pytest.mark.parametrize("answer", FOR_NOW + OF_THE_CLUSTER)
def test_a_reading_that_fails_for_now_is_unreachable(client: Client, answer: Answer) -> None:
    with pytest.raises(Unreachable, match="cluster west"):
        client.target(answer).list("VirtualMachine", "prod")


@pytest.mark.parametrize("code", [400, 403, 422, 500, 503])
def test_a_server_that_quotes_a_secret_is_not_quoted(client: Client, code: int) -> None:
    cause = {
        "reason": "FieldValueInvalid",
        "field": "data[a]",
        "message": f"Invalid value: {PLANTED}",
    }
    said = f'admission webhook "x" denied the request: {PLANTED}'
    answer = status(code, "Invalid", said, causes=[cause])
    with pytest.raises(Rejected) as caught:
        client.target(answer).create(secret())
    assert "PLANTED" not in str(caught.value)
    assert "Secret prod/s on cluster west" in caught.value.message
    assert 'admission webhook "x" denied the request' in caught.value.message
    assert "data[a] FieldValueInvalid" in caught.value.message


def test_a_server_that_quotes_cloud_init_data_is_not_quoted(client: Client) -> None:
    answer = status(422, "Invalid", f"cloudInitNoCloud.userData: {PLANTED}")
    assert "PLANTED" not in refusal(client, answer, Rejected)


def test_a_long_message_is_cut(client: Client) -> None:
    assert len(refusal(client, status(422, "Invalid", "x" * 9000), Rejected)) < 700


@pytest.mark.parametrize("details", [[], {"causes": "x"}, {"causes": ["x", 1]}, None])
def test_a_status_of_wrong_types_is_still_an_answer(client: Client, details: object) -> None:
    body = {"kind": "Status", "reason": ["x"], "message": {"a": 1}, "details": details}
    refusal(client, Answer(422, body), Rejected)
