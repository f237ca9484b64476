"""The end of a certificate, out of its DER."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.kube.credentials import Credentials
from shared.kube.expiry import expiry

NOON = datetime(2026, 8, 15, 12, tzinfo=UTC)


def certificate(end: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "replant" * 9)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOON)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def end_of(pem: str) -> datetime | None:
    known = Credentials(server="https://east", ca="")
    return expiry(known._replace(client_certificate=SecretStr(pem)))


@pytest.mark.parametrize("days", [1, 365, 365 * 22, 365 * 30])  # from 2050 on in another form
def test_the_end_of_a_certificate(days: int) -> None:
    end = NOON + timedelta(days=days)
    assert end_of(certificate(end)) == end


def test_of_a_chain_the_clients_own_certificate_counts() -> None:
    first, second = certificate(NOON + timedelta(days=1)), certificate(NOON + timedelta(days=2))
    assert end_of(f"# its name\n{first}{second}") == NOON + timedelta(days=1)


@pytest.mark.parametrize("content", ["", "AAAA", "MAA=", "!", "MIIBIjAN"])
def test_what_is_no_certificate_has_no_end(content: str) -> None:
    assert end_of(f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----") is None
    assert end_of(content) is None


@given(st.binary(max_size=200))
def test_garbage_has_no_end_and_breaks_nothing(data: bytes) -> None:
    assert end_of(ssl.DER_cert_to_PEM_cert(data)) is None


def test_credentials_without_either_have_no_end() -> None:
    assert expiry(Credentials(server="https://east", ca="")) is None
