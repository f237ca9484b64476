"""One look at a cluster: what each answer of an API server means, a hostile one's too, in time."""

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.x509 import load_pem_x509_certificate

from shared.kube import probing
from shared.kube.probing import judge, probe
from shared.kube.reply import Reply
from shared.models.documents import ClusterDocument
from shared.models.observations import Answer as Told
from shared.models.observations import Observation, SeenVersions
from tests.certificates import Authority
from tests.unit.scripted_server import CA, CLIENT, PLANTED, Answer, Client, scripted, status

NOON = datetime(2026, 8, 15, 12, tzinfo=UTC)
EAST = ClusterDocument(id="east", secret="replant/clusters/east")
OK = Answer(200, "ok")
READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
BROKEN = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
LONGHORN = "/apis/longhorn.io/v1beta2/namespaces/longhorn-system"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with scripted(tmp_path) as client:
        client.script.answers = [Answer(404, "404 page not found")]
        yield client


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(client: Client | None = None, *, server: str = "", **user: str) -> str:
    address = server or f"https://127.0.0.1:{client.script.server_port if client else 1}"
    cluster = {"server": address, "certificate-authority-data": encoded(CA.certificate)}
    return yaml.safe_dump(
        {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "c", "user": user or {"token": PLANTED}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
    )


def look(client: Client, seconds: float = 5, **routes: Answer) -> Observation:
    """ROUTES of /readyz and /version."""
    for name, answer in routes.items():
        client.script.routes["GET", f"/{name}"] = answer
    config = kubeconfig(client)
    return probe(config, EAST, NOON, allow_loopback=True, seconds=seconds)


def listing(*items: object) -> Answer:
    named = [{"metadata": {"name": f"o-{each}"}} | dict(item) for each, item in enumerate(items)]  # type: ignore[call-overload]
    return Answer(200, {"items": named, "metadata": {}})


def serve(client: Client, **changes: Answer) -> None:
    """A Harvester that is well, but for CHANGES."""
    default = {"metadata": {"name": "default"}, "status": {"available": True}}
    answers = {
        "nodes": ("/api/v1/nodes", listing(READY, READY, BROKEN)),
        "classes": (
            "/apis/storage.k8s.io/v1/storageclasses",
            listing({"provisioner": "other"}, {"provisioner": "driver.longhorn.io"}),
        ),
        "engines": (f"{LONGHORN}/nodes", listing(BROKEN, READY)),
        "targets": (f"{LONGHORN}/backuptargets", listing({}, default)),
        "harvester": (
            "/apis/harvesterhci.io/v1beta1/settings/server-version",
            Answer(200, {"metadata": {"name": "server-version"}, "value": "v1.8.2"}),
        ),
        "longhorn": (
            f"{LONGHORN}/settings/current-longhorn-version",
            Answer(200, {"metadata": {"name": "s"}, "value": "v1.11.3"}),
        ),
        "version": ("/version", Answer(200, {"gitVersion": "v1.34.1+rke2r1"})),
    }
    for name, (path, answer) in answers.items():
        client.script.routes["GET", path] = changes.get(name, answer)


def test_a_cluster_that_is_well_tells_all_of_itself(client: Client) -> None:
    serve(client)
    assert look(client, readyz=OK) == Observation(
        cluster="east",
        at=NOON,
        answer=Told.READY,
        nodes=3,
        nodes_ready=2,
        storage_ready=True,
        backup_target_available=True,
        versions=SeenVersions(kubernetes="v1.34.1+rke2r1", harvester="v1.8.2", longhorn="v1.11.3"),
    )
    assert client.script.connections == 1, "each connection is a handshake"


def test_what_is_kept_from_it_is_unknown_and_fails_nothing(client: Client) -> None:
    serve(client, nodes=status(403, "Forbidden", 'User "u" cannot list resource "nodes"'))
    told = look(client, readyz=OK)
    assert (told.answer, told.nodes, told.nodes_ready) == (Told.READY, None, None)
    assert told.storage_ready


def test_a_kubernetes_without_harvester_is_ready(client: Client) -> None:
    told = look(client, readyz=OK)
    assert told == Observation(cluster="east", at=NOON, answer=Told.READY)


@pytest.mark.parametrize(
    ("changes", "ready"),
    [
        ({"classes": listing({"provisioner": "other"})}, False),
        ({"classes": listing()}, False),
        ({"engines": listing(BROKEN, {"status": {"conditions": 7}})}, False),
        ({"engines": status(403, "Forbidden", "no")}, True),
        ({"classes": status(403, "Forbidden", "no")}, None),
    ],
)
def test_storage_is_a_class_of_longhorn_and_a_node_that_is_ready(
    client: Client, changes: dict[str, Answer], ready: bool | None
) -> None:
    serve(client, **changes)
    assert look(client, readyz=OK).storage_ready is ready


@pytest.mark.parametrize(
    ("answer", "available"),
    [
        (listing({"metadata": {"name": "default"}, "status": {"available": False}}), False),
        (listing({"metadata": {"name": "default"}}), False),
        (listing({"metadata": {"name": "other"}, "status": {"available": True}}), None),
        (Answer(200, "garbage"), None),
    ],
)
def test_the_default_backup_target_is_longhorns_word(
    client: Client, answer: Answer, available: bool | None
) -> None:
    serve(client, targets=answer)
    assert look(client, readyz=OK).backup_target_available is available


@pytest.mark.parametrize("value", ["", "v" * 101, 7, None])
def test_a_version_is_a_short_text(client: Client, value: object) -> None:
    told = Answer(200, {"metadata": {"name": "server-version"}, "value": value, "default": value})
    serve(client, harvester=told, version=Answer(200, {"gitVersion": "v1.34.1"}))
    versions = look(client, readyz=OK).versions
    assert (versions.harvester, versions.kubernetes) == (None, "v1.34.1")


def reply(code: int, text: str = "") -> Reply:
    return Reply(code, "", text.encode())


ETCD = "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/x failed: no\nchecks failed"
STATUS = json.dumps({"kind": "Status", "message": "apiserver is shutting down"})


@pytest.mark.parametrize(
    ("answer", "told", "why"),
    [
        (reply(200, "ok"), Told.READY, None),
        (reply(200, "ok\n"), Told.READY, None),
        (reply(200, "<html>"), Told.NOT_READY, "something else than `ok`"),
        (reply(500, ETCD), Told.NOT_READY, "etcd, poststarthook/x failed"),
        (reply(503, ETCD), Told.NOT_READY, "etcd, poststarthook/x failed"),
        (reply(500), Told.NOT_READY, "answers 500 to /readyz: it is not ready"),
        (reply(429), Told.NOT_READY, "it is not ready"),
        (reply(503, STATUS), Told.NOT_READY, "it is not ready"),
        (reply(503, "<html>No server is available"), Told.UNREACHABLE, "in front of"),
        (reply(502), Told.UNREACHABLE, "in front of"),
        (reply(504), Told.UNREACHABLE, "in front of"),
        (reply(401, "Unauthorized"), Told.REJECTED, "renew the kubeconfig"),
        (reply(403), Told.REJECTED, "renew the kubeconfig"),
        (reply(302), Told.NOT_READY, "check `server`"),
        (reply(404), Told.NOT_READY, "check `server`"),
    ],
)
def test_what_an_answer_means(answer: Reply, told: Told, why: str | None) -> None:
    found, reason = judge(answer, "east")
    assert found is told
    assert (reason is None) == (why is None)
    assert why is None or (reason and why in reason and reason.startswith("cluster east: "))


def test_checks_that_fail_are_told_in_short(client: Client) -> None:
    many = "\n".join(f"[-]check-{number} failed" for number in range(1000))
    told = look(client, readyz=Answer(500, many))
    assert told.reason
    assert ("check-4 failed" in told.reason, "check-5" in told.reason) == (True, False)


def test_a_server_that_is_not_ready_is_asked_all_the_same(client: Client) -> None:
    serve(client)
    told = look(client, readyz=Answer(500, ETCD))
    assert (told.answer, told.nodes, told.alive) == (Told.NOT_READY, 3, True)


def test_who_is_rejected_asks_no_more(client: Client) -> None:
    told = look(client, readyz=status(401, "Unauthorized"))
    assert (told.answer, told.alive, told.credentials_usable) == (Told.REJECTED, True, False)
    assert [path for _, path, _, _ in client.script.requests] == ["/readyz"]
    assert PLANTED not in told.model_dump_json()


# No answer


def test_a_server_that_refuses_connections_is_unreachable() -> None:
    told = probe(kubeconfig(server="https://127.0.0.1:1"), EAST, NOON, allow_loopback=True)
    assert (told.answer, told.alive) == (Told.UNREACHABLE, False)
    assert told.reason
    assert "accepts no connection" in told.reason


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    told = probe(kubeconfig(server="https://no.invalid"), EAST, NOON, allow_loopback=True)
    assert told.answer is Told.UNREACHABLE


def test_a_certificate_of_another_authority_is_no_outage(client: Client) -> None:
    other = encoded(Authority.make().certificate)
    config = kubeconfig(client).replace(encoded(CA.certificate), other)
    told = probe(config, EAST, NOON, allow_loopback=True)
    assert (told.answer, told.alive, told.credentials_usable) == (Told.UNTRUSTED, False, False)
    assert "certificate-authority-data" in (told.reason or "")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(0),
        Answer(raw=lambda file: file.write(b"SSH-2.0-OpenSSH\r\n")),
        Answer(raw=lambda file: file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")),
    ],
)
def test_what_is_no_answer_is_unreachable(client: Client, answer: Answer) -> None:
    assert look(client, readyz=answer).answer is Told.UNREACHABLE


def drip(file: Any) -> None:
    file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(50):
        time.sleep(0.05)
        file.write(b"x")


@pytest.mark.parametrize("answer", [Answer(200, "ok", pause=2), Answer(raw=drip)])
def test_a_server_that_hangs_is_unreachable_in_time(client: Client, answer: Answer) -> None:
    began = time.monotonic()
    told = look(client, seconds=0.5, readyz=answer)
    assert time.monotonic() - began < 1
    assert told.answer is Told.UNREACHABLE


def test_a_server_that_hangs_later_is_alive_and_the_rest_unknown(client: Client) -> None:
    serve(client, nodes=Answer(200, "", pause=3))
    began = time.monotonic()
    told = look(client, seconds=1, readyz=OK)
    assert time.monotonic() - began < 2
    assert (told.answer, told.nodes, told.storage_ready) == (Told.READY, None, None)


def test_an_endless_listing_ends_with_the_look(client: Client) -> None:
    tokens = count()

    def page(file: Any) -> None:
        body = json.dumps({"items": [], "metadata": {"continue": str(next(tokens))}})
        file.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    serve(client, nodes=Answer(raw=page, keep=True))
    began = time.monotonic()
    told = look(client, seconds=1, readyz=OK)
    assert time.monotonic() - began < 2
    assert (told.answer, told.nodes) == (Told.READY, None)


@pytest.mark.parametrize(
    "body", [[], {"items": 7}, {"items": [None]}, {"items": [{"metadata": []}]}, "ok"]
)
def test_garbage_is_unknown(client: Client, body: object) -> None:
    for name in ("nodes", "classes", "engines", "targets", "harvester", "longhorn", "version"):
        serve(client, **{name: Answer(200, body)})
        assert look(client, readyz=OK).answer is Told.READY


# Credentials


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the kubeconfig in secret replant/clusters/east is refused"),
        (kubeconfig(exec="sh"), "runs a program"),
        (kubeconfig(server="https://169.254.169.254"), "cloud metadata"),
    ],
)
def test_a_kubeconfig_that_is_of_no_use_is_no_outage(text: str, why: str) -> None:
    told = probe(text, EAST, NOON, allow_loopback=True)
    assert (told.answer, told.reachable, told.credentials_usable) == (
        Told.NO_CREDENTIALS,
        True,
        False,
    )
    assert told.reason
    assert why in told.reason


def test_a_name_that_leads_to_a_refused_address_is_no_outage(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 443))])
    config = kubeconfig(client, server="https://east.example")
    told = probe(config, EAST, NOON, allow_loopback=False)
    assert told.answer is Told.NO_CREDENTIALS


def jwt(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


END = NOON + timedelta(days=30)


@pytest.mark.parametrize(
    ("token", "end"),
    [
        (jwt(exp=END.timestamp()), END),
        (jwt(exp=int(END.timestamp())), END),
        (jwt(sub="nobody"), None),
        (jwt(exp="soon"), None),
        (jwt(exp=True), None),
        (jwt(exp=-1), None),
        (jwt(exp=10**30), None),
        ("e30.W10.c2ln", None),
        ("e30.!.c2ln", None),
        (f"e30.{'W1tb' * 200}.c2ln", None),
        ("opaque", None),
    ],
)
def test_until_when_a_token_is_good_is_its_own_word(
    client: Client, token: str, end: datetime | None
) -> None:
    client.script.routes["GET", "/readyz"] = OK
    told = probe(kubeconfig(client, token=token), EAST, NOON, allow_loopback=True)
    assert told.credentials_expire == end


def test_until_when_a_certificate_is_good_is_known_of_a_cluster_that_is_gone() -> None:
    pair = {
        "client-certificate-data": encoded(CLIENT.certificate),
        "client-key-data": encoded(CLIENT.key),
    }
    config = kubeconfig(None, server="https://127.0.0.1:1", **pair)
    told = probe(config, EAST, NOON, allow_loopback=True)
    assert told.credentials_expire == _not_after(CLIENT.certificate)
    assert told.answer is Told.UNREACHABLE


def _not_after(pem: str) -> datetime:
    return load_pem_x509_certificate(pem.encode()).not_valid_after_utc


def test_the_longest_look_leaves_room_for_a_second_one() -> None:
    assert probing.LONGEST * 2 < 30
