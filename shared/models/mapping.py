"""How names of the source become names of the target (contract, section 5)."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator

from shared.models.addresses import AddressRange
from shared.models.base import DNS_LABEL, DNS_NAME, Label, Name, Value, matching
from shared.models.patches import Patch

MOST_PERCENT = 1000
"""Ten times the source: more is a slip of the hand rather than a wish."""

MOST_RULES = 100

KEEP = "keep"
NONE = "none"
ANY = "*"
POD_NETWORK = "pod"
"""What a restore point calls the network that a machine shares with its pod."""

NETWORK = rf"{DNS_LABEL}/{DNS_NAME}"
"""What a network that exists can be called; a backup may say anything."""

_NetworkName = Annotated[
    str, matching(r"[^/\s]+/[^/\s]+|\*", "namespace/name such as default/vlan100, or *")
]
_Network = Annotated[
    str,
    matching(rf"{NETWORK}|keep|none", "namespace/name such as default/vlan200, keep or none"),
]
_Suffix = Annotated[
    str,
    matching(
        r"([-a-z0-9]{0,61}[a-z0-9])?",
        "the end of a name, of a-z, 0-9 and -, such as -dr, with at most 62 characters",
    ),
]
_Percent = Annotated[int, Field(ge=1, le=MOST_PERCENT, strict=True)]


class Mac(StrEnum):
    """What to do with the addresses of network interfaces."""

    CLEAR = "clear"
    KEEP = "keep"
    DERIVE = "derive"


def _mapped(names: dict[str, str], source: str) -> str:
    mapped = names.get(source, names.get(ANY, KEEP))
    if mapped == KEEP:
        return source
    return mapped


class Names(Value):
    """What machines and claims are called on the target, for copies beside their originals."""

    suffix: _Suffix = ""


class Resources(Value):
    """Processors and memory in percent of what a machine had."""

    cpu_percent: _Percent = 100
    memory_percent: _Percent = 100


class Mapping(Value):
    """How names of the source become names of the target; what is not mapped stays as it was."""

    namespaces: dict[Label, Label] = {}
    storage_classes: dict[str, Name] = {}
    networks: dict[_NetworkName, _Network] = {}
    mac: Mac = Mac.CLEAR
    names: Names = Field(default_factory=Names)
    resources: Resources = Field(default_factory=Resources)
    patches: Annotated[tuple[Patch, ...], Field(max_length=MOST_RULES)] = ()
    addresses: Annotated[tuple[AddressRange, ...], Field(max_length=MOST_RULES)] = ()

    @field_validator("addresses")
    @classmethod
    def _distinct(cls, ranges: tuple[AddressRange, ...]) -> tuple[AddressRange, ...]:
        sources = [each.source for each in ranges]
        for source in sources:
            if sources.count(source) > 1:
                raise ValueError(f"must have {source} once in from")
        return ranges

    def name(self, source: str) -> str:
        """Of a machine or a claim."""
        return source + self.names.suffix

    def namespace(self, source: str) -> str:
        return self.namespaces.get(source, source)

    def storage_class(self, source: str | None) -> str | None:
        return _mapped(self.storage_classes, source or "") or None

    def network(self, source: str) -> str | None:
        """None where the interface is left out. The pod's network is no other one by `*`, but `*`
        leaves it out as well: who asks for no network means none.
        """
        mapped = _mapped(self.networks, source)
        if mapped == NONE:
            return None
        return source if source == POD_NETWORK else mapped
