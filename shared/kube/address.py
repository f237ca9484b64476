"""Which addresses a stored kubeconfig may lead to: none that only this function's own machine can
reach.
"""

import os
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
NUMERIC = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)")
"""A host that ends in a number is an address to the C library, also as 2130706433, 0x7f.1 or
0177.0.0.1.
"""

METADATA = tuple(map(ip_network, ("169.254.169.0/24", "169.254.170.0/24", "fd00:ec2::/32")))
THIS_MACHINE = ip_network("0.0.0.0/8")
EMBEDS_IPV4 = tuple(map(ip_network, ("::/96", "64:ff9b::/96")))
RUNTIME_API = "127.0.0.1:9001"


def host_refusal(host: str, port: int, *, allow_loopback: bool) -> str | None:
    """Why a server's host, as it is written, is refused; None where it is not.

    A name is judged as written only: what it resolves to is judged when the connection stands.
    """
    name = host.lower().removesuffix(".")
    if (name, port) == _runtime_api():
        return "which is the Lambda runtime API"
    if name == "localhost" or name.endswith(".localhost"):
        return address_refusal(IPv4Address("127.0.0.1"), port, allow_loopback=allow_loopback)
    if ":" in name or NUMERIC.fullmatch(name):
        return _literal_refusal(name, port, allow_loopback=allow_loopback)
    if len(name) > 253 or not NAME.fullmatch(name):
        return "which is not a host name"
    return None


def address_refusal(address: Address, port: int, *, allow_loopback: bool) -> str | None:
    """Why an address (of a literal, or of the peer of a connection) is refused; None where it is
    not.
    """
    reasons = (_refusal(form, port, allow_loopback) for form in _forms(address))
    return next(filter(None, reasons), None)


def _literal_refusal(name: str, port: int, *, allow_loopback: bool) -> str | None:
    try:
        address = ip_address(name)
    except ValueError:
        return "which is not a plainly written IPv4 or IPv6 address"
    return address_refusal(address, port, allow_loopback=allow_loopback)


def _refusal(address: Address, port: int, allow_loopback: bool) -> str | None:
    if any(address in network for network in METADATA):
        return "which is a cloud metadata address"
    if address.is_unspecified or address.is_multicast or address in THIS_MACHINE:
        return "which is not the address of a server"
    if address.is_loopback and port in {9001, _runtime_api()[1]}:
        return "which is the Lambda runtime API"
    if (address.is_loopback or address.is_link_local) and not allow_loopback:
        return "which is a loopback or link-local address"
    return None


def _forms(address: Address) -> list[Address]:
    """The address and the IPv4 address that it may carry: ::ffff:7f00:1 and 64:ff9b::7f00:1 are
    127.0.0.1.
    """
    if isinstance(address, IPv4Address):
        return [address]
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and any(address in network for network in EMBEDS_IPV4) and int(address) > 1:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is None:
        return [address]
    return [address, inner]


def _runtime_api() -> tuple[str, int]:
    # Read from the environment each time: Lambda says there where its own API listens.
    host, _, port = os.environ.get("AWS_LAMBDA_RUNTIME_API", RUNTIME_API).rpartition(":")
    return host.lower(), int(port) if port.isdecimal() else 9001
