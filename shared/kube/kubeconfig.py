"""A stored kubeconfig, which is hostile input, to credentials: an allow-list, in memory, nothing
executed.
"""

import re
import ssl
from base64 import b64decode
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.errors import Refused
from shared.kube.address import NAME, host_refusal
from shared.kube.credentials import Credentials, present, trusting
from shared.strict_yaml import WORD, Fault, mapping, read, text

REMEDY = (
    "store a kubeconfig with a service-account token, made by "
    "`python -m shared.commands.access --kubeconfig ADMIN_KUBECONFIG --apply`"
)

LARGEST = 64 * 1024
"""Bytes; what Secrets Manager holds at most."""

ALLOWED = {
    "": {"apiVersion", "kind", "preferences", "current-context"}
    | {"clusters", "users", "contexts"},
    "cluster": {"server", "certificate-authority-data", "tls-server-name", "disable-compression"},
    "user": {"token", "client-certificate-data", "client-key-data"},
    "context": {"cluster", "user", "namespace"},
}

HAZARDS = {
    "exec": "runs a program",
    "auth-provider": "runs a program or asks a server of its own choice",
    "tokenFile": "sends a file of this machine to the server",
    "client-certificate": "reads a file of this machine",
    "client-key": "reads a file of this machine",
    "certificate-authority": "reads a file of this machine",
    "insecure-skip-tls-verify": "leaves the server unverified: anybody in between gets the token",
    "proxy-url": "sends the connection through another server",
    "as": "impersonates another user",
    "as-groups": "impersonates another user",
    "as-uid": "impersonates another user",
    "as-user-extra": "impersonates another user",
    "username": "is a password login, which API servers no longer take",
    "password": "is a password login, which API servers no longer take",
}

UNSET = {"", "~", "null", "false"}
AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
PATH = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)*/?")
TOKEN = re.compile(r"[\x21-\x7e]+")

Entry = Literal["cluster", "user", "context"]


def parse(content: str, *, cluster: str, secret: str, allow_loopback: bool) -> Credentials:
    """The credentials of the current context.

    Entries that the current context does not use are held to the same keys: a file with a program
    to run in it was not made for this purpose. Raises Refused (naming the cluster, the secret and
    the key, no value) for all that is not a self-contained server, CA and token or certificate.
    """
    try:
        config = read(content.encode(errors="surrogatepass"), largest=LARGEST)
        return _credentials(config, allow_loopback=allow_loopback)
    except Fault as fault:
        where = f"cluster {cluster}: the kubeconfig in secret {secret} is refused"
        raise Refused(f"{where}: {fault}; {REMEDY}", field=fault.path) from None


def _credentials(config: dict[str, object], *, allow_loopback: bool) -> Credentials:
    _check_keys(config, "", "")
    for key, expected in (("apiVersion", "v1"), ("kind", "Config")):
        if config.get(key, expected) != expected:
            raise Fault(key, f"must be {expected}")
    contexts, clusters, users = (_entries(config, kind) for kind in ("context", "cluster", "user"))
    context, path = _find(contexts, config.get("current-context"), "current-context")
    cluster, cluster_path = _find(clusters, context.get("cluster"), f"{path}.cluster")
    user, user_path = _find(users, context.get("user"), f"{path}.user")
    return _loaded(
        Credentials(
            server=_server(cluster.get("server"), f"{cluster_path}.server", allow_loopback),
            ca=_pem(cluster, "certificate-authority-data", cluster_path),
            tls_server_name=_server_name(cluster, cluster_path),
            allow_loopback=allow_loopback,
            **_identity(user, user_path),
        ),
        cluster_path,
        user_path,
    )


def _entries(config: dict[str, object], kind: Entry) -> dict[str, tuple[dict[str, object], str]]:
    """Name to (body, path of the body)."""
    found: dict[str, tuple[dict[str, object], str]] = {}
    entries = config.get(f"{kind}s")
    if not isinstance(entries, list):
        raise Fault(f"{kind}s", "must be a list")
    for number, value in enumerate(entries):
        path = f"{kind}s[{number}]"
        entry = mapping(value, path)
        if set(entry) != {"name", kind}:
            raise Fault(path, f"must have the keys name and {kind}, and no other")
        name = text(entry["name"], f"{path}.name")
        if name in found:
            raise Fault(f"{path}.name", "is used by two entries")
        found[name] = mapping(entry[kind], f"{path}.{kind}"), f"{path}.{kind}"
        _check_keys(*found[name], kind)
    return found


def _check_keys(body: dict[str, object], path: str, kind: Entry | Literal[""]) -> None:
    for key, value in body.items():
        if key in ALLOWED[kind] or key == "extensions":
            continue
        if key not in HAZARDS:
            shown = key if WORD.fullmatch(key) else "KEY"
            raise Fault(
                f"{path}.{shown}".lstrip("."), "is a key that a kubeconfig for Replant may not have"
            )
        if not isinstance(value, str) or value.lower() not in UNSET:
            raise Fault(f"{path}.{key}".lstrip("."), HAZARDS[key])


def _find(
    entries: dict[str, tuple[dict[str, object], str]], name: object, path: str
) -> tuple[dict[str, object], str]:
    if not isinstance(name, str) or name not in entries:
        raise Fault(path, "is missing or names no entry")
    return entries[name]


def _server(value: object, path: str, allow_loopback: bool) -> str:
    url = text(value, path)
    authority, slash, rest = url[8:].partition("/")
    if url[:8].lower() != "https://":
        raise Fault(path, "is not an https:// address")
    if "@" in authority:
        raise Fault(path, "carries a user name or password")
    if not AUTHORITY.fullmatch(authority) or not PATH.fullmatch(slash + rest):
        raise Fault(path, "is not a plain https://HOST[:PORT][/PATH]")
    host, port = _host_and_port(url, path)
    if why := host_refusal(host, port, allow_loopback=allow_loopback):
        raise Fault(path, f"leads to {host[:253]}, {why}")
    return "https://" + url[8:].rstrip("/")


def _host_and_port(url: str, path: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Fault(path, "is not a plain https://HOST[:PORT][/PATH]") from None
    if not parts.hostname or port == 0:
        raise Fault(path, "has no host or no usable port")
    return parts.hostname, port or 443


def _server_name(cluster: dict[str, object], path: str) -> str | None:
    if "tls-server-name" not in cluster:
        return None
    path = f"{path}.tls-server-name"
    name = text(cluster["tls-server-name"], path)
    if not NAME.fullmatch(name.lower()):
        raise Fault(path, "is not a host name")
    return name


def _identity(user: dict[str, object], path: str) -> dict[str, SecretStr]:
    """Either a token or a certificate with its key, as the fields of Credentials."""
    certificate = {"client-certificate-data", "client-key-data"} & user.keys()
    if "token" in user and certificate:
        raise Fault(path, "has both a token and a client certificate")
    if "token" in user:
        return {"token": SecretStr(_token(user["token"], f"{path}.token"))}
    if not certificate:
        raise Fault(path, "has neither a token nor a client certificate with its key")
    return {
        "client_certificate": SecretStr(_pem(user, "client-certificate-data", path)),
        "client_key": SecretStr(_pem(user, "client-key-data", path)),
    }


def _token(value: object, path: str) -> str:
    token = text(value, path).strip()
    if not TOKEN.fullmatch(token):
        raise Fault(path, "is empty or holds white space or characters outside ASCII")
    return token


def _pem(body: dict[str, object], key: str, path: str) -> str:
    if key not in body:
        raise Fault(f"{path}.{key}", "is missing")
    encoded = "".join(text(body[key], f"{path}.{key}").split())
    try:
        decoded = b64decode(encoded, validate=True).decode("ascii")
    except ValueError:
        decoded = ""
    if "-----BEGIN " not in decoded:
        raise Fault(f"{path}.{key}", "is not PEM in base64")
    return decoded


def _loaded(credentials: Credentials, cluster_path: str, user_path: str) -> Credentials:
    try:
        context = trusting(credentials.ca)
    except (ssl.SSLError, ValueError):
        raise Fault(
            f"{cluster_path}.certificate-authority-data", "holds no valid certificate"
        ) from None
    if credentials.client_certificate and credentials.client_key:
        try:
            present(context, credentials.client_certificate, credentials.client_key)
        except (ssl.SSLError, ValueError):
            why = "does not load or does not belong to client-certificate-data"
            raise Fault(f"{user_path}.client-key-data", why) from None
    return credentials
