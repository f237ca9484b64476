"""How the client meets faults of the network, misleading names and answers of every status.

Not here: what a real API server answers and which rights it asks for
(tests/integration/test_kube_client.py), hostile answers (test_kube_hostile.py), and what each
refusal means (test_kube_errors.py).
"""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.errors import Refused, Rejected, Unreachable
from shared.kube import connection
from shared.kube.connection import Distrust
from tests.certificates import Authority
from tests.unit.scripted_server import (
    BUSY,
    CLIENT,
    PLANTED,
    VERSION,
    Answer,
    Client,
    scripted,
    status,
    stored,
    vm,
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with scripted(tmp_path) as client:
        yield client


def test_a_create_is_a_strict_post_that_asks_for_metadata_only(client: Client) -> None:
    created = client.target(Answer(201, stored())).create(vm(), dry_run=True)
    method, path, headers, body = client.script.requests[0]
    assert (created.uid, created.resource_version, created.repeated) == ("u-1", "7", False)
    assert method == "POST"
    assert path.startswith("/apis/kubevirt.io/v1/namespaces/prod/virtualmachines?")
    assert set(path.partition("?")[2].split("&")) == {
        "fieldManager=replant", "fieldValidation=Strict", "dryRun=All",
    }  # fmt: skip
    assert headers["Content-Type"] == "application/json"
    assert "as=PartialObjectMetadata;" in headers["Accept"]
    assert headers["Authorization"] == f"Bearer {PLANTED}"
    assert body == vm()


def test_a_patch_is_a_merge_of_the_object_with_this_uid_alone(client: Client) -> None:
    change = {"metadata": {"annotations": {"a": "b"}}, "spec": {"runStrategy": "Always"}}
    patched = client.target(Answer(200, stored())).patch(
        "VirtualMachine", "prod", "web01", change, uid="u-1"
    )
    method, path, headers, body = client.script.requests[0]
    assert (patched.uid, patched.resource_version) == ("u-1", "7")
    assert (method, path.partition("?")[0]) == (
        "PATCH",
        "/apis/kubevirt.io/v1/namespaces/prod/virtualmachines/web01",
    )
    assert "dryRun" not in path
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert body == {
        "metadata": {"annotations": {"a": "b"}, "uid": "u-1"},
        "spec": {"runStrategy": "Always"},
    }


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
        vm() | {"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1"},
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
    with pytest.raises(Rejected):
        target.create(manifest)
    assert client.count == 0


def test_a_text_that_is_not_unicode_is_rejected_unsent(client: Client) -> None:
    with pytest.raises(Rejected, match="not Unicode"):
        client.target().create(vm(annotations={"a": "\ud800"}))
    assert client.count == 0


def test_a_listing_can_be_of_one_selector(client: Client) -> None:
    target = client.target(Answer(200, {"items": []}))
    assert target.list("VirtualMachine", "prod", labels="app=web,tier!=test") == []
    assert client.script.requests[0][1].endswith(
        "?limit=500&labelSelector=app%3Dweb%2Ctier%21%3Dtest"
    )


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


def test_an_answer_that_stops_in_the_middle_is_repeated(client: Client) -> None:
    short = Answer(200, {"gitVersion": "v1"}, {"Content-Length": "900", "Connection": "close"})
    assert client.target(short, VERSION).version() == "v1.34.1"


def test_a_slow_answer_is_given_up_and_repeated(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TIMEOUTS", (1.0, 0.1))
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


def test_a_name_that_does_not_resolve_is_unreachable(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable, match="a name that does not resolve"):
        client.target(server="https://nowhere.example").version()


def test_an_address_that_takes_no_connection_leads_to_the_next_one(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        addresses = [free.getsockname(), ("127.0.0.1", client.script.server_port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert client.target(VERSION).version() == "v1.34.1"


def test_a_server_that_speaks_no_tls_is_unreachable(client: Client) -> None:
    def greet() -> None:
        for _ in range(4):
            connection, _address = plain.accept()
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as plain:
        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Unreachable, match="broke off the TLS handshake"):
            client.target(server=f"https://127.0.0.1:{plain.getsockname()[1]}").version()
        thread.join()


def test_an_expired_certificate_is_said_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap = ssl.SSLContext.wrap_socket

    def expired(context: ssl.SSLContext, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
        if not options.get("server_hostname"):
            return wrap(context, sock, **options)
        error = ssl.SSLCertVerificationError()
        error.verify_message = "certificate has expired"
        raise error

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", expired)
    with pytest.raises(Unreachable, match="expired certificate") as caught:
        client.target(VERSION).version()
    assert isinstance(caught.value.__cause__, Distrust)
    assert client.pauses == []


def test_a_connection_that_breaks_in_a_record_is_unreachable(client: Client) -> None:
    def corrupt(_: object) -> None:
        # Below TLS: the next record is garbage to it.
        client.script.write_plainly(b"\x00" * 100)

    with pytest.raises(Unreachable, match="closed the connection"):
        client.target(Answer(raw=corrupt)).version()


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


def test_lists_are_read_page_by_page(client: Client) -> None:
    first = Answer(200, {"items": [vm(name="a")], "metadata": {"continue": "next page"}})
    last = Answer(200, {"items": [vm(name="b")], "metadata": {}})
    found = client.target(first, last).list_metadata("VirtualMachine")
    assert [item["metadata"]["name"] for item in found] == ["a", "b"]
    assert [path for _, path, *_ in client.script.requests] == [
        "/apis/kubevirt.io/v1/virtualmachines?limit=500",
        "/apis/kubevirt.io/v1/virtualmachines?limit=500&continue=next+page",
    ]


def test_errors_and_reprs_hold_no_token(client: Client) -> None:
    target = client.target(status(401, "Unauthorized", PLANTED))
    with pytest.raises(Refused) as caught:
        target.version()
    assert "PLANTED" not in str(caught.value)
    assert "PLANTED" not in repr(target.__dict__)
