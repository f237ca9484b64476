"""Until when credentials are good, as they say themselves: read, never verified."""

import ssl
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import NamedTuple

from shared import strict_json
from shared.kube.credentials import Credentials

LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
SEQUENCE, UTC_TIME, GENERALIZED_TIME, VERSION = 0x30, 0x17, 0x18, 0xA0
FORMS = {UTC_TIME: "%y%m%d%H%M%SZ", GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}


def expiry(credentials: Credentials) -> datetime | None:
    """None of those that have no end, or do not tell it."""
    if credentials.token:
        return _end_of_token(credentials.token.get_secret_value())
    if credentials.client_certificate:
        return _end_of_certificate(credentials.client_certificate.get_secret_value())
    return None


def _end_of_token(token: str) -> datetime | None:
    """`exp` of a JSON Web Token (RFC 7519); other tokens say nothing."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = strict_json.parse(payload)
    except ValueError:
        return None
    end = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(end, bool) or not isinstance(end, int | float) or not 0 < end < LATEST:
        return None
    return datetime.fromtimestamp(int(end), UTC)


def _end_of_certificate(pem: str) -> datetime | None:
    """`notAfter` of the first certificate, which is the client's own; the rest is its chain."""
    try:
        first = pem[pem.index(BEGIN) : pem.index(END) + len(END)]
        return _not_after(ssl.PEM_cert_to_DER_cert(first))
    except (ValueError, IndexError):
        return None


class _Value(NamedTuple):
    """A value of DER (ITU-T X.690), and what comes after it."""

    tag: int
    body: bytes
    rest: bytes


def _not_after(certificate: bytes) -> datetime:
    """Raises ValueError and IndexError for what is no certificate (RFC 5280, 4.1)."""
    signed = _read(_read(certificate, SEQUENCE).body, SEQUENCE).body
    before_validity = ["serial number", "signature", "issuer"]
    if signed[0] == VERSION:
        before_validity.append("version")
    for _ in before_validity:
        signed = _read(signed).rest
    not_before = _read(_read(signed, SEQUENCE).body)
    not_after = _read(not_before.rest)
    moment = datetime.strptime(not_after.body.decode("ascii"), FORMS.get(not_after.tag, ""))
    return moment.replace(tzinfo=UTC)


def _read(data: bytes, tag: int | None = None) -> _Value:
    if tag not in (None, data[0]):
        raise ValueError("another value was expected")
    size, begin = data[1], 2
    if size & 0x80:  # of so many bytes is the length
        begin += size & 0x7F
        size = int.from_bytes(data[2:begin], "big")
    return _Value(data[0], data[begin : begin + size], data[begin + size :])
