"""A folder in; a cluster's certificates, its service-account key pair and an administrator's
kubeconfig out.
"""

import base64
from collections.abc import Mapping
from pathlib import Path

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

# 10.0.0.1 is the first address of the service range, by which the API server calls itself.
SERVER_NAMES = ("localhost", "127.0.0.1", "10.0.0.1")
FRONT_PROXY = "front-proxy-client"


def create(folder: Path, name: str) -> None:
    """Write everything that the control plane of that name needs to trust and be trusted.

    The files are ca.{crt,key}, server.{crt,key}, admin.{crt,key}, service-account.{key,pub}, and
    for API servers behind this one front-proxy-ca.crt and front-proxy.{crt,key}; all are PEM.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = trustme.CA(organization_name="replant", organization_unit_name=name)
    server = authority.issue_cert(*SERVER_NAMES, common_name="kube-apiserver")
    # Kubernetes reads a client's groups from the organization; this one may do everything. The
    # name is there twice because an empty list of alternative names is refused by strict verifiers.
    admin = authority.issue_cert("admin", common_name="admin", organization_name="system:masters")
    _write(folder / "ca.crt", authority.cert_pem.bytes())
    _write(folder / "ca.key", authority.private_key_pem.bytes())
    _write_pair(folder, "server", server)
    _write_pair(folder, "admin", admin)
    _write_key_pair(folder, "service-account")
    proxy = trustme.CA(organization_name="replant", organization_unit_name=f"{name} front proxy")
    _write(folder / "front-proxy-ca.crt", proxy.cert_pem.bytes())
    front = proxy.issue_cert(FRONT_PROXY, common_name=FRONT_PROXY)
    _write_pair(folder, "front-proxy", front)


def issue(folder: Path, file: str, *names: str, user: str, group: str | None = None) -> None:
    """One more certificate of the cluster's authority: FILE.{crt,key}.

    NAMES are those of a server; USER and GROUP are who it is for an API server.
    """
    authority = trustme.CA.from_pem(
        (folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes()
    )
    leaf = authority.issue_cert(*(names or ("client",)), common_name=user, organization_name=group)
    _write_pair(folder, file, leaf)


def write_kubeconfig(path: Path, folder: Path, name: str, server: str) -> None:
    """Write a self-contained kubeconfig of the administrator."""
    user = {
        "client-certificate-data": _encoded(folder / "admin.crt"),
        "client-key-data": _encoded(folder / "admin.key"),
    }
    cluster = {"server": server, "certificate-authority-data": _encoded(folder / "ca.crt")}
    _write_config(path, name, cluster, user)


def _write_config(
    path: Path, name: str, cluster: Mapping[str, str], user: Mapping[str, str]
) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": dict(cluster)}],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "user"}}],
    }
    _write(path, yaml.safe_dump(config, sort_keys=False).encode())


def write_identity(path: Path, folder: Path, file: str, server: str) -> None:
    """Write a kubeconfig that names the files of a certificate, which some programs insist on."""
    user = {
        "client-certificate": str(folder / f"{file}.crt"),
        "client-key": str(folder / f"{file}.key"),
    }
    cluster = {"server": server, "certificate-authority": str(folder / "ca.crt")}
    _write_config(path, file, cluster, user)


def _write_pair(folder: Path, name: str, leaf: trustme.LeafCert) -> None:
    _write(folder / f"{name}.crt", leaf.cert_chain_pems[0].bytes())
    _write(folder / f"{name}.key", leaf.private_key_pem.bytes())


def _write_key_pair(folder: Path, name: str) -> None:
    """Two bare keys: tokens of service accounts are signed and verified without a certificate."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    key = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    _write(folder / f"{name}.key", key)
    _write(folder / f"{name}.pub", private.public_key().public_bytes(pem, public))


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
