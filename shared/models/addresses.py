"""Networks of addresses that become others: as a request says them, and as a plan keeps them."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from shared.models.base import Value


def _network(value: str) -> str:
    try:
        return str(ip_network(value, strict=True))
    except ValueError:
        pass
    try:
        meant = ip_network(value, strict=False)
    except ValueError:
        raise ValueError("must be a network such as 10.1.0.0/16 or 2001:db8::/48") from None
    raise ValueError(f"must be a network, and this is an address in {meant}")


Network = Annotated[str, Field(max_length=64), AfterValidator(_network)]


class AddressRange(Value):
    """The addresses of one network become those of another one; the part of the host stays."""

    source: Network = Field(alias="from")
    to: Network

    @model_validator(mode="after")
    def _of_one_size(self) -> "AddressRange":
        source, to = ip_network(self.source), ip_network(self.to)
        if (source.version, source.prefixlen) != (to.version, to.prefixlen):
            raise ValueError(
                f"must have networks of the same kind and size, and {source} and {to} are not"
            )
        return self
