"""A folder in; a cluster's certificates, its service-account key pair and an administrator's
kubeconfig out.
"""

import base64
from pathlib import Path

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

# 10.0.0.1 is the first address of the service range, by which the API server calls itself.
SERVER_NAMES = ("localhost", "127.0.0.1", "10.0.0.1")


def create(folder: Path, name: str) -> None:
    """Write everything that the control plane of that name needs to trust and be trusted.

    The files are ca.crt, server.{crt,key}, admin.{crt,key} and service-account.{key,pub}, PEM.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = trustme.CA(organization_name="replant", organization_unit_name=name)
    server = authority.issue_cert(*SERVER_NAMES, common_name="kube-apiserver")
    # Kubernetes reads a client's groups from the organization; this one may do everything. The
    # name is there twice because an empty list of alternative names is refused by strict verifiers.
    admin = authority.issue_cert("admin", common_name="admin", organization_name="system:masters")
    _write(folder / "ca.crt", authority.cert_pem.bytes())
    _write_pair(folder, "server", server)
    _write_pair(folder, "admin", admin)
    _write_key_pair(folder, "service-account")


def write_kubeconfig(path: Path, folder: Path, name: str, server: str) -> None:
    """Write a self-contained kubeconfig of the administrator."""
    user = {
        "client-certificate-data": _encoded(folder / "admin.crt"),
        "client-key-data": _encoded(folder / "admin.key"),
    }
    cluster = {"server": server, "certificate-authority-data": _encoded(folder / "ca.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
    }
    _write(path, yaml.safe_dump(config, sort_keys=False).encode())


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
