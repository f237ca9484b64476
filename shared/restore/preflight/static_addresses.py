"""The IP addresses that machines give themselves: by cloud-init's network data, versions 1 and 2,
and by annotations that are an address and nothing else.

The documents are hostile, and some are secret: an address found here is compared, and never told.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from shared.jsonpath import dig
from shared.models.restore_plans import Fill, PlannedObject, Rewrite
from shared.restore.filling import find_value
from shared.restore.network_data import LARGEST
from shared.restore.rewriting import CLOUD_INIT, IN_SECRETS, change_of, rewrite
from shared.restore.rules import INSTANCE
from shared.validation import short

DEVICES = ("ethernets", "bonds", "bridges", "vlans", "wifis", "tunnels", "vrfs", "dummy-devices")
"""Where version 2 has interfaces (netplan)."""

_LIKE_AN_ADDRESS = re.compile("[0-9A-Fa-f.:]{3,45}")


class Static(NamedTuple):
    """An address and who has it, in words that do not tell it."""

    address: str
    holder: str


def of_objects(
    objects: Iterable[PlannedObject], metadata: dict[str, Any], how: Rewrite | None
) -> tuple[Static, ...]:
    """Of a machine's objects as they will be filled in. Raises AttributeError, LookupError,
    TypeError or ValueError for damaged metadata.
    """
    objects = tuple(objects)
    secrets = frozenset(_names_of_secrets(metadata))
    found: list[Static] = []
    for planned in objects:
        for fill in planned.fills:
            value = find_value(metadata, fill.source)
            if fill.change and how:
                value = rewrite(value, fill.change, how).text
            if isinstance(value, str):
                found += _of_fill(planned, fill, value, metadata, secrets)
    return tuple(dict.fromkeys(found))


def of_network_data(text: str, only: frozenset[str] | None = None) -> tuple[Static, ...]:
    """Of a document, plain or in base64; none of one that cannot be read, as its guest cannot.

    One that does not mention an address of ONLY is not read, which takes a while.
    """
    if len(text) > 2 * LARGEST:
        return ()
    document = _decoded(text) or text
    mentioned = set(map(comparable, _LIKE_AN_ADDRESS.findall(document))) - {None}
    if not mentioned or (only is not None and not mentioned & only):
        return ()
    if len(document) > LARGEST:
        return ()
    root = _read(document)
    return tuple(_of_network(_below(root, "network") or root))


def comparable(text: str) -> str | None:
    """An address, with or without its prefix, in the one form that it has; None for what is none
    that only one machine of a network may have.
    """
    try:
        address: IPv4Address | IPv6Address = ip_address(text.strip().partition("/")[0])
    except ValueError:
        return None
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return None
    return str(address)


def _names_of_secrets(metadata: dict[str, Any]) -> Iterator[str]:
    """Those that hold network data."""
    for volume in dig(metadata, "vmSourceSpec", *INSTANCE, "volumes") or []:
        for kind in CLOUD_INIT:
            if isinstance(name := dig(volume, kind, "networkDataSecretRef", "name"), str):
                yield name


def _of_fill(
    planned: PlannedObject,
    fill: Fill,
    value: str,
    metadata: dict[str, Any],
    secrets: frozenset[str],
) -> tuple[Static, ...]:
    if planned.kind == "VirtualMachine" and "annotations" in fill.to:
        address = comparable(value)
        return (Static(address, f"annotation {short(str(fill.to[-1]))}"),) if address else ()
    if planned.kind == "VirtualMachine" and change_of(fill.to):
        return of_network_data(value)
    of_secret = dig(metadata, *fill.source[:2], "name") in secrets
    if planned.kind == "Secret" and fill.source[-1] in IN_SECRETS and of_secret:
        return of_network_data(_decoded(value))
    return ()


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except ValueError:
        return ""


def _read(document: str) -> Any:
    # Not at the top of the module: it takes 12 ms, and most restores have no need of it.
    import yaml

    try:
        return yaml.compose(document, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        return None


def _of_network(network: Any) -> Iterator[Static]:
    for device in _items(_below(network, "config")):
        name = _scalar(_below(device, "name"))
        for subnet in _items(_below(device, "subnets")):
            yield from _static(_scalar(_below(subnet, "address")), name)
    for kind in DEVICES:
        for name, device in _entries(_below(network, kind)):
            for each in _items(_below(device, "addresses")):
                # netplan has options of an address as a mapping below it
                plain = _scalar(each) or next((key for key, _ in _entries(each)), "")
                yield from _static(plain, name)


def _static(text: str, name: str) -> Iterator[Static]:
    if address := comparable(text):
        yield Static(address, f"network data, interface {short(name) or 'without a name'}")


def _below(node: Any, key: str) -> Any:
    return next((value for name, value in _entries(node) if name == key), None)


def _entries(node: Any) -> list[tuple[str, Any]]:
    if node is None or node.id != "mapping":
        return []
    return [(key.value, value) for key, value in node.value if key.id == "scalar"]


def _items(node: Any) -> list[Any]:
    return node.value if node is not None and node.id == "sequence" else []


def _scalar(node: Any) -> str:
    return node.value if node is not None and node.id == "scalar" else ""
