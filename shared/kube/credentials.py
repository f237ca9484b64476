"""What a connection to a cluster needs, and the TLS context made from it without leaving a key on
disk.
"""

import ssl
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from pydantic import SecretStr


class Credentials(NamedTuple):
    """One API server and one identity: a token, or a certificate with its key. All certificates are
    PEM.
    """

    server: str
    ca: str
    tls_server_name: str | None = None
    token: SecretStr | None = None
    client_certificate: SecretStr | None = None
    client_key: SecretStr | None = None
    allow_loopback: bool = False


def tls_context(credentials: Credentials) -> ssl.SSLContext:
    """Verifies the server by the credentials' CA alone and presents their certificate, if any.

    Raises ssl.SSLError or ValueError where a certificate or key does not load.
    """
    context = trusting(credentials.ca)
    if credentials.client_certificate and credentials.client_key:
        present(context, credentials.client_certificate, credentials.client_key)
    return context


def trusting(ca: str) -> ssl.SSLContext:
    """Raises ssl.SSLError or ValueError where the text holds no PEM certificate."""
    context = ssl.create_default_context(cadata=ca)
    # Python 3.13 turns this on; CAs that RKE2 made lack the key identifiers that it asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def present(context: ssl.SSLContext, certificate: SecretStr, key: SecretStr) -> None:
    """Raises ssl.SSLError where they do not load or fit each other, or the key is encrypted."""
    # OpenSSL reads a chain from a file only: mode 0600, gone when it is read.
    with NamedTemporaryFile("w", prefix="replant-", suffix=".pem") as file:
        file.write(f"{certificate.get_secret_value()}\n{key.get_secret_value()}\n")
        file.flush()
        context.load_cert_chain(file.name, password="")
