"""A folder in; a cluster's certificates, its service-account key pair and an administrator's
kubeconfig out.
"""

import base64
import datetime
import ipaddress
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=365)
CLOCK_SKEW = datetime.timedelta(minutes=5)
# 10.0.0.1 is the first address of the service range, by which the API server calls itself.
SERVER_NAMES = x509.SubjectAlternativeName(
    [
        x509.DNSName("localhost"),
        *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ("127.0.0.1", "10.0.0.1")),
    ]
)

SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A certificate authority that writes what it issues into its folder, readable by the owner
    only.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._name, self._key.public_key())
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(SIGNS, critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._write("ca.crt", self._sign(builder.add_extension(own, critical=False)))

    def issue(
        self,
        file: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        *extensions: x509.ExtensionType,
    ) -> None:
        """Write FILE.crt and FILE.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, key.public_key())
        # Python 3.13 verifies strictly: a certificate must name its issuer's key.
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for extension in (x509.ExtendedKeyUsage([usage]), issuer, *extensions):
            builder = builder.add_extension(extension, critical=False)
        self._write(f"{file}.crt", self._sign(builder))
        self._write(f"{file}.key", _private(key))

    def key_pair(self, file: str) -> None:
        """Write FILE.key and FILE.pub."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        self._write(f"{file}.key", _private(key))
        self._write(
            f"{file}.pub", key.public_key().public_bytes(serialization.Encoding.PEM, public)
        )

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        certificate = builder.issuer_name(self._name).sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def _write(self, file: str, content: bytes) -> None:
        path = self._folder / file
        path.touch(mode=0o600)
        path.write_bytes(content)


def create(folder: Path, name: str) -> None:
    """Write everything that the control plane of that name needs to trust and be trusted."""
    authority = Authority(folder, f"{name} certificate authority")
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    authority.issue("server", server, ExtendedKeyUsageOID.SERVER_AUTH, SERVER_NAMES)
    admin = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
            x509.NameAttribute(NameOID.COMMON_NAME, "admin"),
        ]
    )
    authority.issue("admin", admin, ExtendedKeyUsageOID.CLIENT_AUTH)
    authority.key_pair("service-account")


def write_kubeconfig(path: Path, folder: Path, name: str, server: str) -> None:
    """Write a self-contained kubeconfig of the administrator."""
    data = {
        file: base64.b64encode((folder / file).read_bytes()).decode()
        for file in ("ca.crt", "admin.crt", "admin.key")
    }
    user = {"client-certificate-data": data["admin.crt"], "client-key-data": data["admin.key"]}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": data["ca.crt"]},
            }
        ],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
