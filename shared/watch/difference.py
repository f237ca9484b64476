"""What there should be, and what there is -> what to put and what to delete: pure, for whatever is
kept in line with the documents by its name.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

_T = TypeVar("_T")


class Difference(NamedTuple):
    """Names, sorted: those to be made or changed, and those that nobody wants."""

    put: tuple[str, ...]
    surplus: tuple[str, ...]


def difference(wanted: Mapping[str, _T], found: Mapping[str, _T]) -> Difference:
    changed = (each for each in wanted if each not in found or found[each] != wanted[each])
    return Difference(_sorted(changed), _sorted(found.keys() - wanted.keys()))


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))
