"""Kubernetes quantities ("40Gi", "125m", 1024, "1e3") to exact numbers, and back to text."""

import re
from fractions import Fraction

_UNITS = {
    unit: Fraction(1000) ** power
    for power, unit in enumerate(("n", "u", "m", "", "k", *"MGTPE"), start=-3)
} | {
    unit: Fraction(1024) ** power
    for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
}
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)([KMGTPE]i|[numkMGTPE]?)"
)
_LENGTH = 64

MIB = 2**20
GIB = 2**30


def number(quantity: str | int | float) -> Fraction:
    """Raises ValueError for what is no quantity."""
    text = str(quantity)
    match = _QUANTITY.fullmatch(text) if len(text) <= _LENGTH else None
    if match is None:
        raise ValueError("must be a Kubernetes quantity such as 40Gi")
    return Fraction(match[1]) * _UNITS[match[2]]


def in_gib(size: int) -> str:
    """For people."""
    return f"{size / GIB:.1f} GiB"


def in_bytes(size: int) -> str:
    """As people write it where it is whole."""
    for unit, name in ((GIB, "Gi"), (MIB, "Mi")):
        if size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)
