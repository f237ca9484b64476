"""A good kubeconfig to those that must be refused: each with the words that its refusal has."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import yaml

Config = dict[str, Any]

PLANTED = "planted-token-4f0c1d"
RUNS = "runs a program"


class Hostile(NamedTuple):
    """TEXT is what lies in the secret, WORDS what the refusal says: the path and the reason."""

    name: str
    text: str
    words: tuple[str, ...]


def kubeconfigs(good: str, canary: str) -> Iterator[Hostile]:
    """GOOD is the text of a usable kubeconfig; CANARY a file that a program in one would make."""
    for name, (bend, words) in _BENT.items():
        config = yaml.safe_load(good)
        config["users"][0]["user"] = {"token": PLANTED}
        bend(config, canary)
        yield Hostile(name, yaml.safe_dump(config), words)
    for name, (text, words) in _TEXTS.items():
        yield Hostile(name, text.replace("CANARY", canary), words)


def names() -> list[str]:
    return [*_BENT, *_TEXTS]


Bend = Callable[[Config, str], object]


def _user(**keys: Any) -> Bend:
    return lambda config, _: config["users"][0]["user"].update(keys)


def _only(**keys: Any) -> Bend:
    return lambda config, _: config["users"][0].update(user=keys)


def _cluster(**keys: Any) -> Bend:
    named = {key.replace("_", "-"): value for key, value in keys.items()}
    return lambda config, _: config["clusters"][0]["cluster"].update(named)


def _program(*, token: bool) -> Bend:
    def bend(config: Config, canary: str) -> None:
        kept = {"token": PLANTED} if token else {}
        run = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "touch",
            "args": [canary],
        }
        config["users"][0]["user"] = kept | {"exec": run}

    return bend


def _provider(name: str, **settings: str) -> Bend:
    def bend(config: Config, canary: str) -> None:
        given = {
            key.replace("_", "-"): value.replace("CANARY", canary)
            for key, value in settings.items()
        }
        config["users"][0]["user"]["auth-provider"] = {"name": name, "config": given}

    return bend


def _without_ca(config: Config, _: str) -> None:
    del config["clusters"][0]["cluster"]["certificate-authority-data"]


def _twice(config: Config, _: str) -> None:
    config["users"].append(deepcopy(config["users"][0]))


def _second_user(config: Config, canary: str) -> None:
    other = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "touch",
            "args": [canary],
        }
    }
    config["users"].append({"name": "unused", "user": other})


def _other_context(config: Config, _: str) -> None:
    config["current-context"] = "elsewhere"


USER = "users[0].user"
SERVER = "clusters[0].cluster.server"

_BENT: dict[str, tuple[Bend, tuple[str, ...]]] = {
    "exec": (_program(token=False), (f"{USER}.exec", RUNS)),
    "token-and-exec": (_program(token=True), (f"{USER}.exec", RUNS)),
    "exec-of-an-unused-user": (_second_user, ("users[1].user.exec", RUNS)),
    "gcp": (_provider("gcp", cmd_path="touch", cmd_args="CANARY"), (f"{USER}.auth-provider", RUNS)),
    "oidc": (
        _provider("oidc", idp_issuer_url="https://127.0.0.1/", id_token="e30.e30.x"),
        (f"{USER}.auth-provider",),
    ),
    "azure": (_provider("azure", access_token=PLANTED), (f"{USER}.auth-provider", RUNS)),
    "token-file": (
        _only(tokenFile="/proc/self/environ"),
        (f"{USER}.tokenFile", "sends a file of this machine"),
    ),
    "token-file-above": (
        _only(tokenFile="../../etc/hostname"),
        (f"{USER}.tokenFile", "sends a file"),
    ),
    "token-in-lines": (_user(token=f"{PLANTED}\n{PLANTED}"), (f"{USER}.token", "white space")),
    "no-token": (_only(), (USER, "neither a token nor a client certificate")),
    "certificate-file": (
        _only(**{"client-certificate": "/etc/hostname"}),
        (f"{USER}.client-certificate", "a file"),
    ),
    "key-file": (_only(**{"client-key": "/etc/hostname"}), (f"{USER}.client-key", "reads a file")),
    "ca-file": (
        _cluster(certificate_authority="/etc/hostname"),
        ("cluster.certificate-authority", "reads a file"),
    ),
    "no-ca": (_without_ca, ("cluster.certificate-authority-data", "is missing")),
    "broken-ca": (
        _cluster(certificate_authority_data="QUJD"),
        ("certificate-authority-data", "is not PEM"),
    ),
    "no-verification": (
        _cluster(insecure_skip_tls_verify=True),
        ("insecure-skip-tls-verify", "anybody in between"),
    ),
    "http": (_cluster(server="http://127.0.0.1:6443"), (SERVER, "is not an https:// address")),
    "metadata-service": (
        _cluster(server="https://169.254.169.254"),
        (SERVER, "169.254.169.254", "metadata address"),
    ),
    "runtime-api": (
        _cluster(server="https://127.0.0.1:9001"),
        (SERVER, "127.0.0.1", "Lambda runtime API"),
    ),
    "number-address": (
        _cluster(server="https://2130706433:6443"),
        (SERVER, "2130706433", "not a plainly written"),
    ),
    "login-in-address": (
        _cluster(server=f"https://admin:{PLANTED}@api"),
        (SERVER, "user name or password"),
    ),
    "proxy": (
        _cluster(proxy_url="http://127.0.0.1:3128"),
        ("cluster.proxy-url", "through another server"),
    ),
    "impersonation": (_user(**{"as": "system:admin"}), (f"{USER}.as", "impersonates")),
    "impersonated-groups": (
        _user(**{"as-groups": ["system:masters"]}),
        (f"{USER}.as-groups", "impersonates"),
    ),
    "impersonated-uid": (_user(**{"as-uid": "0"}), (f"{USER}.as-uid", "impersonates")),
    "password": (_only(username="admin", password=PLANTED), (f"{USER}.password", "password login")),
    "unknown-key": (_user(colour=PLANTED), (f"{USER}.colour", "may not have")),
    "user-twice": (_twice, ("users[1].name", "is used by two entries")),
    "no-such-context": (_other_context, ("current-context", "names no entry")),
}

_TEXTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "python-tag": (
        'a: !!python/object/apply:os.system ["touch CANARY"]\n',
        ("line 1", "uses a YAML tag"),
    ),
    "bomb": (f"a: &a [{PLANTED}]\nb: &b [*a, *a]\n", ("line 1", "uses a YAML anchor or alias")),
    "garbage": ("\x01\x02" + "\\" * 60_000, ("is not valid YAML",)),
    "64-kib": (PLANTED + "x" * (64 * 1024 - len(PLANTED)), ("the document", "must be a mapping")),
    "deep": ("[" * 1000, ("line 1", "nested deeper")),
    "a-list": (f"- {PLANTED}\n", ("the document", "must be a mapping")),
    "key-twice": (
        f"users: {PLANTED}\nusers: {PLANTED}\n",
        ("line 2", "the key 'users' twice; keep one"),
    ),
    "planted-key": (f"{PLANTED}-{PLANTED}-{PLANTED}: x\n", ("KEY", "may not have")),
}
