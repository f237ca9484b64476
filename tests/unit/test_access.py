"""The operator's command on a server that answers as an API server: what it prints, or says
instead.

On a real one: tests/integration/test_kube_client.py.
"""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.processes import free_port
from shared.commands import access
from shared.kube.credentials import Credentials
from shared.kube.kubeconfig import parse
from tests.unit.scripted_server import CA, PLANTED, Answer, Client, scripted, status

CORE = "/api/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
TOKEN = f"{CORE}/namespaces/replant/secrets/replant-token"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(access, "PATIENCE", 0.5)
    with scripted(tmp_path) as client:
        client.script.answers = [status(404, "NotFound")]
        client.script.routes = {("GET", path): Answer(200, body) for path, body in SERVED.items()}
        client.script.routes |= {
            ("PATCH", each): Answer(200, {"kind": "Applied"})
            for each in RIGHTS + OF_A_SOURCE + OF_HARVESTER
        }
        client.script.routes["GET", TOKEN] = a_secret(CA.certificate)
        yield client


def resource(kind: str, name: str, *, namespaced: bool) -> dict[str, Any]:
    verbs = ["get", "list", "create", "patch"]
    return {"kind": kind, "name": name, "namespaced": namespaced, "verbs": verbs}


SERVED: dict[str, dict[str, Any]] = {
    "/version": {"gitVersion": "v1.36.0", "major": "1", "minor": "36"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [
            {
                "name": "rbac.authorization.k8s.io",
                "versions": [{"groupVersion": "rbac.authorization.k8s.io/v1", "version": "v1"}],
                "preferredVersion": {"version": "v1"},
            }
        ],
    },
    CORE: {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            resource("Namespace", "namespaces", namespaced=False),
            resource("ServiceAccount", "serviceaccounts", namespaced=True),
            resource("Secret", "secrets", namespaced=True),
        ],
    },
    RBAC: {
        "kind": "APIResourceList",
        "groupVersion": "rbac.authorization.k8s.io/v1",
        "resources": [
            resource("ClusterRole", "clusterroles", namespaced=False),
            resource("ClusterRoleBinding", "clusterrolebindings", namespaced=False),
            resource("Role", "roles", namespaced=True),
            resource("RoleBinding", "rolebindings", namespaced=True),
        ],
    },
}

OF_LONGHORN = (
    f"{RBAC}/namespaces/longhorn-system/roles/replant",
    f"{RBAC}/namespaces/longhorn-system/rolebindings/replant",
)
RIGHTS = (
    f"{CORE}/namespaces/replant",
    f"{CORE}/namespaces/replant/serviceaccounts/replant",
    f"{RBAC}/clusterroles/replant",
    f"{RBAC}/clusterrolebindings/replant",
    *OF_LONGHORN,
    TOKEN,
)
OF_A_SOURCE = (
    f"{CORE}/namespaces/replant",
    f"{CORE}/namespaces/replant/serviceaccounts/replant",
    f"{RBAC}/clusterroles/replant-source",
    f"{RBAC}/clusterrolebindings/replant-source",
    TOKEN,
)

OF_HARVESTER = (
    f"{RBAC}/clusterroles/replant-harvester",
    f"{RBAC}/clusterrolebindings/replant-harvester",
)


def a_secret(authority: str, **data: str) -> Answer:
    found = {"token": b64(PLANTED), "ca.crt": b64(authority)} | data
    return Answer(200, {"apiVersion": "v1", "kind": "Secret", "data": found})


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


def run(client: Client, folder: Path, *options: str, port: int = 0) -> int:
    """The command's exit code, with an administrator's kubeconfig of the scripted server."""
    cluster = {
        "server": f"https://127.0.0.1:{port or client.script.server_port}",
        "certificate-authority-data": b64(CA.certificate),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "administrator"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = folder / "admin.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return access.main(["--kubeconfig", str(file), *options])


def printed(capsys: pytest.CaptureFixture[str]) -> Credentials:
    text = capsys.readouterr().out
    return parse(text, cluster="west", secret="replant/clusters/west", allow_loopback=True)


def test_the_rights_are_applied_and_the_token_is_printed_as_a_kubeconfig(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(client, tmp_path, "--apply") == 0
    found = printed(capsys)
    assert found.server == f"https://127.0.0.1:{client.script.server_port}"
    assert found.ca == CA.certificate
    assert found.token
    assert found.token.get_secret_value() == PLANTED
    patched = [path for method, path, *_ in client.script.requests if method == "PATCH"]
    assert [path.partition("?")[0] for path in patched] == [*RIGHTS]
    assert all("force=True" in path or "force=true" in path for path in patched)


@pytest.mark.parametrize(
    ("options", "applied"),
    [
        ([], ()),
        (["--apply-source"], OF_A_SOURCE),
        (["--apply", "--apply-source"], RIGHTS + OF_A_SOURCE),
        (["--apply", "--apply-harvester"], RIGHTS + OF_HARVESTER),
    ],
)
def test_a_cluster_has_the_rights_that_it_is_for_and_one_token(
    client: Client,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    applied: tuple[str, ...],
) -> None:
    assert run(client, tmp_path, *options) == 0
    assert printed(capsys).token
    patched = [path for method, path, *_ in client.script.requests if method == "PATCH"]
    assert tuple(path.partition("?")[0] for path in patched) == applied


def test_rights_in_a_namespace_that_does_not_exist_are_left_out_with_a_word(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in OF_LONGHORN:
        client.script.routes["PATCH", path] = status(404, "NotFound")
    assert run(client, tmp_path, "--apply") == 0
    found = capsys.readouterr()
    assert found.err == (
        "Namespace longhorn-system does not exist, so the rights in it are left out. Once its"
        " system is installed, run this again: a restore needs them.\n"
    )
    assert "current-context: replant" in found.out


def test_without_apply_nothing_is_written(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(client, tmp_path) == 0
    assert printed(capsys).token
    assert {method for method, *_ in client.script.requests} == {"GET"}


def test_another_server_gets_the_clusters_own_authority(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = CA.certificate + CA.certificate
    client.script.routes["GET", TOKEN] = a_secret(own)
    assert run(client, tmp_path, "--server", "https://10.1.2.3:6443") == 0
    found = printed(capsys)
    assert (found.server, found.ca) == ("https://10.1.2.3:6443", own)


def failed(code: int, capsys: pytest.CaptureFixture[str]) -> str:
    output = capsys.readouterr()
    assert (code, output.out) == (1, "")
    assert "Traceback" not in output.err
    assert PLANTED not in output.err
    return output.err


def test_a_token_that_does_not_come_is_told_with_who_makes_it(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.script.routes["GET", TOKEN] = Answer(200, {"apiVersion": "v1", "kind": "Secret"})
    assert "kube-controller-manager" in failed(run(client, tmp_path), capsys)


def test_a_server_that_replant_would_refuse_is_refused_at_once(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failed(run(client, tmp_path, "--server", "https://169.254.169.254"), capsys)
    assert "metadata address" in said


def test_who_is_no_administrator_is_told_so(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.script.routes["GET", TOKEN] = status(403, "Forbidden", "no")
    said = failed(run(client, tmp_path), capsys)
    assert "403" in said
    assert "administrator" in said


def test_a_context_that_is_not_there_is_told(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "not usable" in failed(run(client, tmp_path, "--context", "nowhere"), capsys)


def test_a_server_that_is_not_there_is_told(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failed(run(client, tmp_path, port=free_port()), capsys)
    assert "the API server cannot be reached" in said
