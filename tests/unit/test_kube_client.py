"""How the client meets what a real API server shows rarely: faults, hostile answers, misleading names.

Not here: what a real API server answers and which rights it asks for (tests/integration/test_kube_client.py).
"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.errors import Conflict, Refused, Rejected, ReplantError, Unreachable
from shared.kube import transport
from shared.kube.client import TargetCluster
from shared.kube.credentials import Credentials
from tests.certificates import Authority

CA = Authority.make()
SERVER = CA.sign("server", "127.0.0.1", names=("kubernetes.default",))
CLIENT = CA.sign("client")
PLANTED = "PLANTED-s3cret"


@dataclass(frozen=True)
class Answer:
    """What the server does for one request; status 0 drops the connection."""

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0

    @property
    def data(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class Script(ThreadingHTTPServer):
    """An HTTPS server on loopback that gives its answers in turn, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.failures = 0

    def handle_error(self, request: object, client_address: object) -> None:
        self.failures += 1

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Handler(BaseHTTPRequestHandler):
    """Answers every method from the script."""

    server: Script
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(
            (self.command, self.path, dict(self.headers), json.loads(body or b"null"))
        )
        answer = self.server.next()
        time.sleep(answer.pause)
        if not answer.status:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in ({"Content-Length": str(len(answer.data))} | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.data)

    do_GET = do_PATCH = do_POST = answer  # noqa: N815 - names that the library gives

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    (tmp_path / "server.pem").write_text(SERVER.certificate + SERVER.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(cadata=CA.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = Script()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Client:
    """A target on the scripted server; `pauses` are the seconds that it would have slept."""

    script: Script
    pauses: list[float] = field(default_factory=list)

    def target(self, *answers: Answer, **changes: object) -> TargetCluster:
        self.script.answers = list(answers) or [Answer()]
        known: dict[str, Any] = {
            "server": f"https://127.0.0.1:{self.script.server_port}",
            "ca": CA.certificate,
            "token": SecretStr(PLANTED),
            "allow_loopback": True,
        }
        return TargetCluster(
            Credentials(**known | changes), cluster="west", sleep=self.pauses.append
        )

    @property
    def count(self) -> int:
        return len(self.script.requests)


@pytest.fixture
def client(script: Script) -> Client:
    return Client(script)


VERSION = Answer(200, {"gitVersion": "v1.34.1"})
BUSY = Answer(429, "Too many requests, please try again later.", {"Retry-After": "7"})


def status(code: int, reason: str | None = None, message: str = "", **details: object) -> Answer:
    body = {"kind": "Status", "code": code, "message": message, "details": details}
    return Answer(code, body | ({"reason": reason} if reason else {}))


def vm(**metadata: object) -> dict[str, Any]:
    meta = {"name": "web01", "namespace": "prod"} | metadata
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": meta, "spec": {}}


def secret() -> dict[str, Any]:
    meta = {"name": "s", "namespace": "prod"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"a": PLANTED}}


def stored(**metadata: object) -> dict[str, Any]:
    return {
        "kind": "PartialObjectMetadata",
        "metadata": {"uid": "u-1", "resourceVersion": "7"} | metadata,
    }


def test_an_apply_is_a_strict_patch_that_asks_for_metadata_only(client: Client) -> None:
    applied = client.target(Answer(201, stored())).apply(vm(), dry_run=True)
    method, path, headers, body = client.script.requests[0]
    assert (applied.action, applied.uid, applied.resource_version) == ("create", "u-1", "7")
    assert method == "PATCH"
    assert path.startswith("/apis/kubevirt.io/v1/namespaces/prod/virtualmachines/web01?")
    assert set(path.partition("?")[2].split("&")) == {
        "fieldManager=replant", "fieldValidation=Strict", "force=false", "dryRun=All",
    }  # fmt: skip
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert "as=PartialObjectMetadata;" in headers["Accept"]
    assert headers["Authorization"] == f"Bearer {PLANTED}"
    assert body == vm()


@pytest.mark.parametrize(
    ("before", "action"),
    [
        (None, "update"),
        ({"uid": "u-0"}, "update"),
        ({"uid": "u-1", "resourceVersion": "6"}, "unchanged"),
        ({"uid": "u-1", "managedFields": [{"manager": "kubelet"}]}, "unchanged"),
        ({"uid": "u-1", "managedFields": [{"manager": "replant"}]}, "update"),
        ({"uid": "u-1", "generation": 1}, "update"),
        ({"uid": "u-1", "labels": {"a": "b"}}, "update"),
    ],
)
def test_unchanged_is_told_by_the_metadata_before(
    client: Client, before: dict[str, Any] | None, action: str
) -> None:
    assert client.target(Answer(200, stored())).apply(vm(), before=before).action == action


def test_names_are_percent_encoded_and_paths_cannot_be_climbed(client: Client) -> None:
    target = client.target(status(404, "NotFound"))
    assert target.get("VirtualMachine", "prod", "a/../b?c") is None
    assert client.script.requests[0][1].endswith("/virtualmachines/a%2F..%2Fb%3Fc")
    for name in ("", ".", ".."):
        with pytest.raises(Rejected):
            target.get("VirtualMachine", "prod", name)
        with pytest.raises(Rejected):
            target.get("VirtualMachine", name or ".", "web01")
    assert client.count == 1


@pytest.mark.parametrize(
    "manifest",
    [
        {"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "x"}},
        vm() | {"apiVersion": "kubevirt.io/v1alpha3"},
        {"kind": "VirtualMachine", "apiVersion": "kubevirt.io/v1", "metadata": {"name": "x"}},
        {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "x", "namespace": "n"}},
        {"kind": "Namespace", "apiVersion": "v1"},
        {},
    ],
)  # fmt: skip
def test_a_manifest_outside_the_table_is_rejected_unsent(
    client: Client, manifest: dict[str, Any]
) -> None:
    target = client.target()
    for act in (target.apply, target.create):
        with pytest.raises(Rejected):
            act(manifest)
    assert client.count == 0


@pytest.mark.parametrize(
    "answer",
    [
        BUSY,
        Answer(503, "no backend"),
        Answer(502, "<html>"),
        status(504, "Timeout"),
        status(500, "InternalError", "failed calling webhook: connection refused"),
        status(500, "ServerTimeout"),
        Answer(0),
    ],
)
def test_a_passing_fault_is_repeated(client: Client, answer: Answer) -> None:
    assert client.target(answer, answer, VERSION).version() == "v1.34.1"
    assert client.count == 3
    assert len(client.pauses) == 2


@pytest.mark.parametrize(
    "answer", [BUSY, Answer(503, "x"), status(500, "InternalError", "y"), Answer(0)]
)
@pytest.mark.parametrize("act", ["apply", "create"])
def test_a_lasting_fault_is_unreachable_after_four_attempts(
    client: Client, answer: Answer, act: str
) -> None:
    with pytest.raises(Unreachable, match="cluster west"):
        getattr(client.target(answer), act)(vm())
    assert client.count == 4


def test_pauses_grow_and_obey_retry_after(client: Client) -> None:
    client.target(Answer(503, "x"), Answer(503, "x"), BUSY, VERSION).version()
    assert 0.25 <= client.pauses[0] <= 0.5 <= client.pauses[1] <= 1
    assert client.pauses[2] == 7


@pytest.mark.parametrize(
    ("asked", "longest"), [("99999", 30), ("Mon, 1 Jan 2030 00:00:00 GMT", 1), ("-1", 1)]
)
def test_retry_after_cannot_hold_the_function_up(
    client: Client, asked: str, longest: float
) -> None:
    client.target(Answer(429, "x", {"Retry-After": asked}), VERSION).version()
    assert client.pauses[0] <= longest


@pytest.mark.parametrize(
    "answer",
    [
        status(
            500,
            None,
            "failed to create typed patch object: .spec.noSuchField: field not declared in schema",
        ),
        status(422, "Invalid", "spec is immutable"),
        status(400, "BadRequest", "strict decoding error"),
        status(413, "RequestEntityTooLarge", "limit is 3145728"),
        status(415, "UnsupportedMediaType", "no"),
        status(403, "Forbidden", 'User "u" cannot patch resource "virtualmachines"'),
        status(409, "Conflict", "uid mismatch"),
        status(401, "Unauthorized", "Unauthorized"),
        Answer(404, "404 page not found"),
    ],
)
def test_a_permanent_answer_is_not_repeated(client: Client, answer: Answer) -> None:
    with pytest.raises(ReplantError):
        client.target(answer).apply(vm())
    assert client.count == 1
    assert client.pauses == []


def test_an_answer_that_stops_in_the_middle_is_repeated(client: Client) -> None:
    short = Answer(200, {"gitVersion": "v1"}, {"Content-Length": "900", "Connection": "close"})
    assert client.target(short, VERSION).version() == "v1.34.1"


def test_a_slow_answer_is_given_up_and_repeated(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TIMEOUTS", (1.0, 0.1))
    with pytest.raises(Unreachable, match="did not answer within"):
        client.target(Answer(200, {}, pause=0.4)).version()
    assert len(client.pauses) == 3


def test_a_closed_port_is_unreachable(client: Client) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Unreachable, match="accepts no connection"):
            client.target(server=server).version()
    assert len(client.pauses) == 3


def test_a_ca_that_does_not_fit_is_said_at_once(client: Client) -> None:
    with pytest.raises(Unreachable, match="certificate-authority-data"):
        client.target(ca=Authority.make().certificate).version()
    assert client.pauses == []


def test_a_certificate_for_another_name_is_said_at_once(client: Client) -> None:
    with pytest.raises(Unreachable, match="another name"):
        client.target(tls_server_name="elsewhere.example").version()
    assert client.pauses == []


def test_tls_server_name_is_the_name_that_is_verified(client: Client) -> None:
    assert client.target(VERSION, tls_server_name="kubernetes.default").version() == "v1.34.1"


def test_a_client_certificate_works_and_leaves_no_key_file(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    target = client.target(
        VERSION,
        token=None,
        client_certificate=SecretStr(CLIENT.certificate),
        client_key=SecretStr(CLIENT.key),
    )
    assert target.version() == "v1.34.1"
    assert "Authorization" not in client.script.requests[0][2]
    assert list(folder.iterdir()) == []


def test_a_name_that_leads_to_loopback_is_refused_before_a_byte_is_sent(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = client.script.server_port
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    target = client.target(server=f"https://kubernetes.default:{port}", allow_loopback=False)
    with pytest.raises(Refused, match=r"127\.0\.0\.1.*loopback"):
        target.version()
    assert client.count == 0


def test_a_proxy_of_the_environment_is_not_used(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert client.target(VERSION).version() == "v1.34.1"


def test_a_redirect_is_not_followed(client: Client) -> None:
    elsewhere = Answer(
        302, "", {"Location": f"https://127.0.0.1:{client.script.server_port}/elsewhere"}
    )
    with pytest.raises(Refused, match="302"):
        client.target(elsewhere).version()
    assert client.count == 1


@pytest.mark.parametrize("body", ["<html>sign in</html>", "", "[]", "null"])
def test_a_page_instead_of_an_object_is_unreachable(client: Client, body: str) -> None:
    with pytest.raises(Unreachable, match="server"):
        client.target(Answer(200, body)).version()


def test_an_object_that_is_being_deleted_is_a_conflict(client: Client) -> None:
    with pytest.raises(Conflict, match="being deleted"):
        client.target(Answer(200, stored(deletionTimestamp="2026-01-01T00:00:00Z"))).apply(vm())


def test_lists_are_read_page_by_page(client: Client) -> None:
    first = Answer(200, {"items": [vm(name="a")], "metadata": {"continue": "next page"}})
    last = Answer(200, {"items": [vm(name="b")], "metadata": {}})
    found = client.target(first, last).list_metadata("VirtualMachine")
    assert [item["metadata"]["name"] for item in found] == ["a", "b"]
    assert [path for _, path, *_ in client.script.requests] == [
        "/apis/kubevirt.io/v1/virtualmachines?limit=500",
        "/apis/kubevirt.io/v1/virtualmachines?limit=500&continue=next+page",
    ]


def test_field_conflicts_name_manager_and_field(client: Client) -> None:
    cause = {
        "reason": "FieldManagerConflict",
        "field": ".spec.runStrategy",
        "message": 'conflict with "kubectl"',
    }
    answer = status(409, "Conflict", "Apply failed with 1 conflict", causes=[cause])
    with pytest.raises(Conflict) as caught:
        client.target(answer).apply(vm())
    assert caught.value.message.startswith(
        'VirtualMachine prod/web01 on cluster west: .spec.runStrategy is owned by "kubectl"; '
    )


@pytest.mark.parametrize("code", [400, 403, 422, 500, 503])
def test_a_server_that_quotes_a_secret_is_not_quoted(client: Client, code: int) -> None:
    cause = {
        "reason": "FieldValueInvalid",
        "field": "data[a]",
        "message": f"Invalid value: {PLANTED}",
    }
    answer = status(code, "Invalid", f'webhook "x" denied: {PLANTED}', causes=[cause])
    with pytest.raises(ReplantError) as caught:
        client.target(answer).create(secret())
    assert "PLANTED" not in str(caught.value)
    assert "Secret prod/s on cluster west" in caught.value.message
    assert "data[a] FieldValueInvalid" in caught.value.message


def test_a_server_that_quotes_cloud_init_data_is_not_quoted(client: Client) -> None:
    with pytest.raises(Rejected) as caught:
        client.target(status(422, "Invalid", f"cloudInitNoCloud.userData: {PLANTED}")).apply(vm())
    assert "PLANTED" not in str(caught.value)


def test_a_long_message_is_cut(client: Client) -> None:
    with pytest.raises(Rejected) as caught:
        client.target(status(422, "Invalid", "x" * 9000)).apply(vm())
    assert len(caught.value.message) < 700


def test_errors_and_reprs_hold_no_token(client: Client) -> None:
    target = client.target(status(401, "Unauthorized", PLANTED))
    with pytest.raises(Refused) as caught:
        target.version()
    assert "PLANTED" not in str(caught.value)
    assert "PLANTED" not in repr(target.__dict__)
