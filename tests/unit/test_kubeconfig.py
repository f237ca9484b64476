"""A stored kubeconfig is hostile input: what is refused, how it is said, and that no secret is
repeated.
"""

import base64
import contextlib
import copy
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Refused
from shared.kube.credentials import Credentials, tls_context
from shared.kube.kubeconfig import parse
from tests.certificates import Authority

CA = Authority.make()
CLIENT = CA.sign("client")
OTHER = CA.sign("other")
PLANTED = "PLANTED-s3cret"
Document = dict[str, Any]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig() -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "extensions": [],
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": "https://10.1.2.3:6443",
                    "certificate-authority-data": b64(CA.certificate),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": PLANTED}}],
        "contexts": [
            {
                "name": "x",
                "context": {"cluster": "c", "user": "u", "namespace": "n", "extensions": []},
            }
        ],
        "current-context": "x",
    }


def parsed(document: object, *, allow_loopback: bool = False) -> Credentials:
    text = document if isinstance(document, str) else yaml.safe_dump(document)
    return parse(
        text, cluster="west", secret="replant/clusters/west", allow_loopback=allow_loopback
    )


def refusal(document: object, *, allow_loopback: bool = False) -> Refused:
    with pytest.raises(Refused) as caught:
        parsed(document, allow_loopback=allow_loopback)
    error = caught.value
    assert error.code == "Refused"
    assert "cluster west" in error.message
    assert "replant/clusters/west" in error.message
    assert "python -m shared.commands.access" in error.message
    assert "PLANTED" not in str(error)
    assert error.__cause__ is None
    return error


def cluster(document: Document) -> Document:
    return document["clusters"][0]["cluster"]  # type: ignore[no-any-return]


def user(document: Document) -> Document:
    return document["users"][0]["user"]  # type: ignore[no-any-return]


def with_certificate(pair_key: str = CLIENT.key, certificate: str = CLIENT.certificate) -> Document:
    document = kubeconfig()
    document["users"][0]["user"] = {
        "client-certificate-data": b64(certificate),
        "client-key-data": b64(pair_key),
    }
    return document


def test_a_token_kubeconfig_yields_server_ca_and_token() -> None:
    document = kubeconfig()
    user(document)["token"] = f"  {PLANTED}\n"
    cluster(document)["tls-server-name"] = "kubernetes.default"
    credentials = parsed(document)
    assert credentials.server == "https://10.1.2.3:6443"
    assert credentials.ca == CA.certificate
    assert credentials.tls_server_name == "kubernetes.default"
    assert credentials.token
    assert credentials.token.get_secret_value() == PLANTED
    assert PLANTED not in repr(credentials)


def test_a_certificate_kubeconfig_loads_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    credentials = parsed(with_certificate())
    assert credentials.client_key
    assert "PRIVATE" not in repr(credentials)
    tls_context(credentials)
    assert list(tmp_path.iterdir()) == []


def test_the_context_verifies_host_names_against_the_given_ca_alone() -> None:
    context = tls_context(parsed(kubeconfig()))
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT, (
        "RKE2 CAs lack what Python 3.13 asks for"
    )


def test_base64_may_be_folded_over_lines() -> None:
    document = kubeconfig()
    data = cluster(document)["certificate-authority-data"]
    cluster(document)["certificate-authority-data"] = "\n".join(
        data[i : i + 64] for i in range(0, len(data), 64)
    )
    assert parsed(document).ca == CA.certificate


def test_switches_that_are_off_are_no_reason() -> None:
    document = kubeconfig()
    cluster(document)["insecure-skip-tls-verify"] = False
    cluster(document)["proxy-url"] = ""
    assert parsed(document).server


def test_the_current_context_chooses_among_several() -> None:
    document = kubeconfig()
    document["clusters"].append(copy.deepcopy(document["clusters"][0]) | {"name": "c2"})
    document["clusters"][1]["cluster"]["server"] = "https://10.9.9.9"
    document["contexts"].append({"name": "x2", "context": {"cluster": "c2", "user": "u"}})
    document["current-context"] = "x2"
    assert parsed(document).server == "https://10.9.9.9"


USER_HAZARDS: dict[str, object] = {
    "exec": {"command": "sh", "env": [{"name": "A", "value": PLANTED}]},
    "auth-provider": {"name": "gcp", "config": {"cmd-path": PLANTED}},
    "tokenFile": f"/proc/self/environ{PLANTED}",
    "client-certificate": f"/tmp/{PLANTED}",  # noqa: S108 - never opened
    "client-key": f"/tmp/{PLANTED}",  # noqa: S108 - never opened
    "as": PLANTED,
    "as-groups": [PLANTED],
    "as-uid": PLANTED,
    "as-user-extra": {"a": [PLANTED]},
    "username": PLANTED,
    "password": PLANTED,
    "impersonate": PLANTED,
}

CLUSTER_HAZARDS: dict[str, object] = {
    "certificate-authority": f"/tmp/{PLANTED}",  # noqa: S108 - never opened
    "insecure-skip-tls-verify": True,
    "proxy-url": f"http://{PLANTED}",
    "exec": {"command": PLANTED},
    "proxy-ca": PLANTED,
}


@pytest.mark.parametrize("key", USER_HAZARDS)
def test_a_hazard_in_a_user_is_named_by_its_path(key: str) -> None:
    document = kubeconfig()
    user(document)[key] = USER_HAZARDS[key]
    assert f" users[0].user.{key} " in refusal(document).message


@pytest.mark.parametrize("key", CLUSTER_HAZARDS)
def test_a_hazard_in_a_cluster_is_named_by_its_path(key: str) -> None:
    document = kubeconfig()
    cluster(document)[key] = CLUSTER_HAZARDS[key]
    assert refusal(document).field == f"clusters[0].cluster.{key}"


def test_a_hazard_in_an_unused_entry_is_refused_too() -> None:
    document = kubeconfig()
    document["users"].append({"name": "other", "user": {"exec": {"command": PLANTED}}})
    assert refusal(document).field == "users[1].user.exec"


def test_an_unknown_key_that_looks_like_a_value_is_not_repeated() -> None:
    document = kubeconfig()
    document[f"{PLANTED}0:"] = 1
    assert refusal(document).field == "KEY"


def drop(*path: str | int) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        here: Any = document
        for step in path[:-1]:
            here = here[step]
        del here[path[-1]]

    return change


def put(value: object, *path: str | int) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        here: Any = document
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = value

    return change


def again(kind: str) -> Callable[[Document], None]:
    return lambda document: document[kind].append(copy.deepcopy(document[kind][0]))


CLUSTER, USER = ("clusters", 0, "cluster"), ("users", 0, "user")
CA_DATA = "certificate-authority-data"

WRONG: list[tuple[str, Callable[[Document], None]]] = [
    ("apiVersion", put("v2", "apiVersion")),
    ("kind", put("Secret", "kind")),
    ("current-context", drop("current-context")),
    ("current-context", put("nowhere", "current-context")),
    ("current-context", put(["x"], "current-context")),
    ("contexts[0].context.cluster", put("nowhere", "contexts", 0, "context", "cluster")),
    ("contexts[0].context.user", put("nowhere", "contexts", 0, "context", "user")),
    ("contexts[0].context.user", drop("contexts", 0, "context", "user")),
    ("contexts[0].context.exec", put(PLANTED, "contexts", 0, "context", "exec")),
    ("contexts[1].name", again("contexts")),
    ("clusters[1].name", again("clusters")),
    ("users[1].name", again("users")),
    ("clusters", drop("clusters")),
    ("users", put({"u": PLANTED}, "users")),
    ("users[0]", put(PLANTED, "users", 0)),
    ("users[0]", put(PLANTED, "users", 0, "exec")),
    ("users[0].user", put(PLANTED, "users", 0, "user")),
    ("users[0].user", drop("users", 0, "user", "token")),
    ("users[0].user", put(b64(CLIENT.key), *USER, "client-key-data")),
    ("users[0].user.token", put("PLANTED with space", *USER, "token")),
    ("users[0].user.token", put("PLANTED\nX: y", *USER, "token")),
    ("users[0].user.token", put("PLANTEDé", *USER, "token")),
    ("users[0].user.token", put(" ", *USER, "token")),
    ("users[0].user.token", put([PLANTED], *USER, "token")),
    (f"clusters[0].cluster.{CA_DATA}", drop(*CLUSTER, CA_DATA)),
    (f"clusters[0].cluster.{CA_DATA}", put("PLANTED!", *CLUSTER, CA_DATA)),
    (f"clusters[0].cluster.{CA_DATA}", put(b64(PLANTED), *CLUSTER, CA_DATA)),
    (f"clusters[0].cluster.{CA_DATA}", put(b64("é"), *CLUSTER, CA_DATA)),
    (f"clusters[0].cluster.{CA_DATA}", put(b64("-----BEGIN X-----PLANTED"), *CLUSTER, CA_DATA)),
    (f"clusters[0].cluster.{CA_DATA}", put(b64(CLIENT.key), *CLUSTER, CA_DATA)),
    ("clusters[0].cluster.tls-server-name", put("PLANTED/..", *CLUSTER, "tls-server-name")),
    ("clusters[0].cluster.server", drop(*CLUSTER, "server")),
    ("clusters[0].cluster.server", put("http://PLANTED", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put(f"https://u:{PLANTED}@h", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put(f"https://{PLANTED}@h", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put(f"https://h/?{PLANTED}", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put(f"https://h/#{PLANTED}", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put("https://h/a/../PLANTED", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put("https://h\\PLANTED", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put("https://h:0", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put("https://h:65536", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put("https://", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put("https://hé", *CLUSTER, "server")),
    ("clusters[0].cluster.server", put("https://[::g]", *CLUSTER, "server")),
]


@pytest.mark.parametrize(("path", "change"), WRONG)
def test_what_is_wrong_is_named_by_its_path(path: str, change: Callable[[Document], None]) -> None:
    document = kubeconfig()
    change(document)
    assert refusal(document).field == path


@pytest.mark.parametrize("key", ["client-certificate-data", "client-key-data"])
def test_a_certificate_needs_its_key(key: str) -> None:
    document = with_certificate()
    del user(document)[key]
    assert refusal(document).field == f"users[0].user.{key}"


def test_a_token_and_a_certificate_are_one_identity_too_many() -> None:
    document = with_certificate()
    user(document)["token"] = PLANTED
    assert "both a token and a client certificate" in refusal(document).message


@pytest.mark.parametrize(
    "key",
    [OTHER.key, "-----BEGIN PRIVATE KEY-----\nPLANTED\n-----END PRIVATE KEY-----", "-----BEGIN "],
)
def test_a_key_that_does_not_load_or_fit_is_refused(key: str) -> None:
    assert refusal(with_certificate(key)).field == "users[0].user.client-key-data"


def test_an_encrypted_key_is_refused_and_asks_nobody() -> None:
    encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----"
    assert refusal(with_certificate(encrypted)).field == "users[0].user.client-key-data"


LOOPBACK = [
    "127.0.0.1", "127.0.0.1.", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost", "LOCALHOST.",
    "a.localhost", "169.254.1.1", "[fe80::1]",
]  # fmt: skip
NEVER = [
    "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0", "0.0.0.0", "[::]",  # noqa: S104
    "0.1.2.3", "169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]", "2852039166", "224.0.0.1",
    "[ff02::1]", "[fe80::1%25eth0]", "a..b", "-a", "a.0x7f", "1.2.3.4.5",
    "127.0.0.1:9001", "localhost:9001", "[::1]:9001", "[::ffff:127.0.0.1]:9001", "127.0.0.2:9001",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK + NEVER)
def test_an_address_of_this_machine_or_its_link_is_refused(host: str) -> None:
    document = kubeconfig()
    cluster(document)["server"] = f"https://{host}"
    assert refusal(document).field == "clusters[0].cluster.server"


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_allowed_where_the_stack_says_so(host: str) -> None:
    document = kubeconfig()
    cluster(document)["server"] = f"https://{host}:6443"
    assert parsed(document, allow_loopback=True).allow_loopback


@pytest.mark.parametrize("host", NEVER)
def test_metadata_and_runtime_addresses_stay_refused(host: str) -> None:
    document = kubeconfig()
    cluster(document)["server"] = f"https://{host}"
    refusal(document, allow_loopback=True)


@pytest.mark.parametrize("api", ["127.0.0.1:7777", "sandbox.internal:7777", "169.254.100.1:7777"])
def test_the_runtime_api_is_where_the_environment_says(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", api)
    document = kubeconfig()
    cluster(document)["server"] = f"https://{api}"
    assert "runtime API" in refusal(document, allow_loopback=True).message


@pytest.mark.parametrize(
    "server",
    [
        "https://k8s.example.com",
        "HTTPS://10.0.0.1:6443/",
        "https://rancher.example/k8s/clusters/c-m-1x",
        "https://[fd00::5]:6443",
    ],
)
def test_an_ordinary_server_is_accepted(server: str) -> None:
    document = kubeconfig()
    cluster(document)["server"] = server
    assert parsed(document).server == "https://" + server[8:].rstrip("/")


def bomb() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]" for i in range(8)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "", "PLANTED", "- PLANTED", "a: [PLANTED", "\tPLANTED: x", "a: b\n---\nc: PLANTED",
        "\x00PLANTED", "\ud800", "? [PLANTED]\n: x", "? {a: b}\n: x",
        "token: PLANTED\ntoken: PLANTED2", bomb(),
        "a: &a PLANTED", "a: *a", "a: !!python/object/apply:os.system [PLANTED]",
        "a: !!binary UExBTlRFRA==",
        "[" * 5000, "- " * 5000, "a: " * 300, "{a: " * 3000, "#" * 70_000, "a: 'PLANTED\n",
        "%YAML 9.9\n---\na: PLANTED",
    ],
)  # fmt: skip
def test_what_is_not_a_plain_mapping_is_refused(text: str) -> None:
    refusal(text)


def test_reading_looks_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("a name was resolved"))
    document = kubeconfig()
    cluster(document)["server"] = "https://k8s.example.com"
    assert parsed(document)


KEYS = st.sampled_from(
    [
        "clusters",
        "users",
        "contexts",
        "current-context",
        "name",
        "cluster",
        "user",
        "context",
        "server",
        "token",
        CA_DATA,
    ]
)
LEAVES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["x", "c", "u", "https://[", "https://h:x", b64(CA.certificate)]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4)
    ),
)


@settings(max_examples=3 * settings().max_examples)
@given(st.text() | st.text(alphabet=":-[]{}&*!|>'\"%@#?, \nab") | TREES.map(yaml.safe_dump))
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    with pytest.raises(Refused):
        parsed(text)


PLACES = [(key,) for key in kubeconfig()] + [
    (*CLUSTER, "server"),
    (*CLUSTER, CA_DATA),
    (*USER, "token"),
    USER,
    CLUSTER,
]


@settings(max_examples=3 * settings().max_examples)
@given(st.sampled_from(PLACES), TREES | st.text().map(lambda text: f"https://{text}"))
def test_no_value_in_a_good_file_raises_anything_but_a_refusal(
    place: tuple[str | int, ...], value: object
) -> None:
    document = kubeconfig()
    put(value, *place)(document)
    with contextlib.suppress(Refused):
        parsed(document)
