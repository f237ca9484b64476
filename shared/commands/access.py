"""An operator's tool: an administrator's kubeconfig in, a kubeconfig with the rights of Replant
alone out.
"""

import argparse
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from urllib3.exceptions import HTTPError

from shared.errors import Refused
from shared.kube.kubeconfig import parse

NAMESPACE = "replant"
MANAGER = "replant-access"
TOKEN_SECRET = "replant-token"  # noqa: S105 - the name of a Secret
DOCS = Path(__file__).parents[2] / "docs"
TARGET, SOURCE = DOCS / "target-access.yaml", DOCS / "source-access.yaml"
HARVESTER = DOCS / "harvester-access.yaml"
TIMEOUTS = (5.0, 30.0)
PATIENCE = 30.0
"""Seconds that the token controller gets to fill the Secret."""


def main(arguments: list[str] | None = None) -> int:
    """Print the kubeconfig to stdout and return 0, or the reason to stderr and return 1."""
    options = _options(arguments)
    try:
        # The administrator's own file on their own machine: what it runs is theirs to decide.
        api = config.new_client_from_config(  # type: ignore[no-untyped-call]
            str(options.kubeconfig), options.context
        )
        with api:
            kubeconfig = make(api, server=options.server, apply=options.rights or ())
        print(kubeconfig, end="")  # noqa: T201 - its output
    except Refused as error:
        return _fail(error.message)
    except config.ConfigException as error:
        return _fail(f"the administrator's kubeconfig {options.kubeconfig} is not usable: {error}")
    except ApiException as error:
        return _fail(
            f"the API server answers {error.status} {error.reason}; is this an administrator?"
        )
    except HTTPError as error:
        return _fail(f"the API server cannot be reached: {type(error).__name__}")
    return 0


def make(api: ApiClient, *, server: str | None = None, apply: Iterable[Path] = ()) -> str:
    """A self-contained kubeconfig (YAML): server, CA and the service account's token, whose rights
    are those of the files that were ever applied.

    Raises Refused where the token does not appear or the result could not be used by Replant.
    """
    with tempfile.TemporaryDirectory() as folder:  # where the client keeps its list of resources
        dynamic = DynamicClient(  # type: ignore[no-untyped-call]
            api, cache_file=f"{folder}/resources"
        )
        for rights in apply:
            _apply(dynamic, rights)
        secret = _token(dynamic)
    ca = b64decode(secret["ca.crt"])
    # Behind another address stands the API server itself, whose CA is the cluster's own.
    if not server and api.configuration.ssl_ca_cert:
        ca = Path(api.configuration.ssl_ca_cert).read_bytes()
    token = b64decode(secret["token"]).decode()
    text = _kubeconfig(server or api.configuration.host, ca, token)
    parse(
        text,
        cluster=NAMESPACE,
        secret="(not stored yet)",  # noqa: S106 - a name
        allow_loopback=True,
    )
    return text


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shared.commands.access", description=__doc__)
    parser.add_argument(
        "--kubeconfig", type=Path, required=True, help="of an administrator of the cluster"
    )
    parser.add_argument("--context", help="of that kubeconfig; its current context by default")
    parser.add_argument(
        "--server",
        help="the API server as Replant reaches it, such as https://VIP:6443; needed where the "
        "administrator's kubeconfig leads through Rancher's proxy (…/k8s/clusters/…), which takes "
        "no service-account tokens",
    )
    for option, file, what in (
        ("--apply", TARGET, "a cluster that is restored to, or watched"),
        ("--apply-source", SOURCE, "a cluster whose machines a planned failover halts"),
        ("--apply-harvester", HARVESTER, "a cluster whose own Harvester restores (with --apply)"),
    ):
        said = f"apply docs/{file.name} first: the rights on {what}"
        parser.add_argument(option, dest="rights", action="append_const", const=file, help=said)
    return parser.parse_args(arguments)


def _apply(dynamic: DynamicClient, rights: Path) -> None:
    """A namespace that does not exist is one of a system that is not installed."""
    missing = set()
    for manifest in yaml.safe_load_all(rights.read_text()):
        resource = dynamic.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        try:
            # By force: the shipped file says what the rights are, whoever edited them since.
            dynamic.server_side_apply(  # type: ignore[no-untyped-call]
                resource,
                manifest,
                field_manager=MANAGER,
                force_conflicts=True,
                _request_timeout=TIMEOUTS,
            )
        except NotFoundError:
            missing.add(manifest["metadata"]["namespace"])
    for name in sorted(missing):
        _say(
            f"Namespace {name} does not exist, so the rights in it are left out. Once its system"
            " is installed, run this again: a restore needs them."
        )


def _token(dynamic: DynamicClient) -> dict[str, str]:
    """The data of the token's Secret, base64 as it is there."""
    secrets = dynamic.resources.get(api_version="v1", kind="Secret")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = secrets.get(name=TOKEN_SECRET, namespace=NAMESPACE, _request_timeout=TIMEOUTS)
        data: dict[str, str] = dict(found.to_dict().get("data") or {})
        if {"token", "ca.crt"} <= data.keys():
            return data
        time.sleep(0.2)
    raise Refused(
        f"Secret {NAMESPACE}/{TOKEN_SECRET} holds no token after {PATIENCE:.0f} s; "
        "check that kube-controller-manager runs with its service-account-token controller"
    )


def _kubeconfig(server: str, ca: bytes, token: str) -> str:
    cluster = {"server": server, "certificate-authority-data": b64encode(ca).decode()}
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAMESPACE, "cluster": cluster}],
        "users": [{"name": NAMESPACE, "user": {"token": token}}],
        "contexts": [{"name": NAMESPACE, "context": {"cluster": NAMESPACE, "user": NAMESPACE}}],
        "current-context": NAMESPACE,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _fail(reason: str) -> int:
    _say(reason)
    return 1


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201 - a command's error


if __name__ == "__main__":
    sys.exit(main())
