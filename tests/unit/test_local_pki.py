"""The certificates of a local cluster are trusted under the strictest rules and readable by their
owner only.
"""

import ssl
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import NameOID

from local import pki


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pki"
    pki.create(made, "lab")
    return made


def context(folder: Path, purpose: int, name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(purpose)
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
    made.load_verify_locations(folder / "ca.crt")
    made.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return made


@pytest.mark.parametrize("address", pki.SERVER_NAMES)
def test_server_and_administrator_trust_each_other_strictly(folder: Path, address: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_context = context(folder, ssl.PROTOCOL_TLS_SERVER, "server")
    client_context = context(folder, ssl.PROTOCOL_TLS_CLIENT, "admin")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=address)
    waiting = [client, server]
    for _ in range(6):  # flights of a handshake, at most
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert waiting == []


def test_the_administrator_belongs_to_the_group_that_may_do_everything(folder: Path) -> None:
    subject = x509.load_pem_x509_certificate((folder / "admin.crt").read_bytes()).subject
    assert [each.value for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["admin"]
    groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [each.value for each in groups] == ["system:masters"]


def test_everything_secret_is_readable_by_its_owner_only(folder: Path) -> None:
    kubeconfig = folder / "admin.kubeconfig"
    pki.write_kubeconfig(kubeconfig, folder, "lab", "https://127.0.0.1:6443")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert yaml.safe_load(kubeconfig.read_text())["current-context"] == "lab"


def test_service_accounts_have_a_bare_key_pair(folder: Path) -> None:
    public = (folder / "service-account.pub").read_bytes()
    load_pem_public_key(public)
    assert b"CERTIFICATE" not in public
