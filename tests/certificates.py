"""Throw-away certificates for tests: a CA, and what it signs, as PEM text."""

from typing import NamedTuple, Self

import trustme


class Pair(NamedTuple):
    """A certificate and its private key."""

    certificate: str
    key: str


class Authority(NamedTuple):
    """A CA; its certificate is PEM."""

    certificate: str
    authority: trustme.CA

    @classmethod
    def make(cls) -> Self:
        authority = trustme.CA()
        return cls(authority.cert_pem.bytes().decode(), authority)

    def sign(self, name: str, *addresses: str, names: tuple[str, ...] = ()) -> Pair:
        """A certificate for these IP addresses and DNS names, or, as a client's, for its name."""
        # Never for none: strict verifiers refuse an empty list of alternative names.
        identities = (*names, *addresses) or (name,)
        leaf = self.authority.issue_cert(*identities, common_name=name)
        certificate = leaf.cert_chain_pems[0].bytes().decode()
        return Pair(certificate, leaf.private_key_pem.bytes().decode())
