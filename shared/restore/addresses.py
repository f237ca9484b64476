"""Whole IP addresses in free text: those of one network become those of another.

An address is whole where neither a letter, a digit, nor more of a name or number touches it:
10.1.0.5 is none in 110.1.0.55, in v10.1.0.5 or in ip-10.1.0.5.example.
"""

import re
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from shared.models.addresses import AddressRange

_V4 = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
_PATTERN = re.compile(
    rf"(?<![\w:.])(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}(?:[0-9A-Fa-f]{{1,4}}|{_V4})?(?![\w:]|\.\w)"
    rf"|(?<![\w.])(?<![A-Za-z_]-){_V4}(?!\w|\.\w|-[A-Za-z_])"
)


class Replaced(NamedTuple):
    """A text, and how many addresses each range changed in it, by the range's number."""

    text: str
    hits: Counter[int]


class _Rule(NamedTuple):
    number: int
    source: IPv4Network | IPv6Network
    to: IPv4Network | IPv6Network


class Ranges:
    """Of two that hold an address, the longer prefix decides, as in a table of routes."""

    def __init__(self, ranges: Iterable[AddressRange]) -> None:
        rules = (
            _Rule(number, ip_network(each.source), ip_network(each.to))
            for number, each in enumerate(ranges)
        )
        self._rules = sorted(rules, key=lambda rule: -rule.source.prefixlen)

    def replace(self, text: str) -> Replaced:
        hits: Counter[int] = Counter()

        def map_one(match: re.Match[str]) -> str:
            try:
                address = ip_address(match[0])
            except ValueError:
                return match[0]
            rule = next((each for each in self._rules if address in each.source), None)
            if rule is None:
                return match[0]
            hits[rule.number] += 1
            return _written(_moved(address, rule))

        return Replaced(_PATTERN.sub(map_one, text), hits) if self._rules else Replaced(text, hits)


def _moved(address: IPv4Address | IPv6Address, rule: _Rule) -> IPv4Address | IPv6Address:
    host = int(address) - int(rule.source.network_address)
    return rule.to.network_address + host


def _written(address: IPv4Address | IPv6Address) -> str:
    """YAML takes a text that ends in a colon for a key."""
    text = str(address)
    return f"{text}0" if text.endswith(":") else text
