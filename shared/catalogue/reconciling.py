"""What a bucket lists and what the catalogue knows -> where they differ: pure, in one pass over
both, which are sorted by key.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from shared.aws.table import Item
from shared.catalogue.rows import REGISTERS
from shared.models.reconciles import Counts

FEW = 10
"""As many objects may vanish at once without being an incident, unless they were all."""

SHARE = 10
"""Of so many objects one may vanish."""


class Listed(NamedTuple):
    """An object in a bucket's listing."""

    key: str
    etag: str


class Known(NamedTuple):
    """An object as the catalogue has it; no ETAG: it was not read, and need not be."""

    key: str
    etag: str | None
    there: bool

    @classmethod
    def of(cls, item: Item) -> "Known":
        """Of its row, as far as the index has it."""
        orders = {name: str(item.get(name, "")) for name in REGISTERS}
        newest = max(orders, key=lambda name: (orders[name], name == "gone_order"))
        etag: Any = item.get("etag" if newest == "read_order" else "refused_etag")
        return cls(item["key"], etag, newest != "gone_order")


class What(Enum):
    """How an object in the bucket and the catalogue's word for it compare."""

    SAME = "same"
    ADDED = "added"
    CHANGED = "changed"
    VANISHED = "vanished"
    GONE = "gone"


class Compared(NamedTuple):
    """A key of the bucket, of the catalogue, or of both."""

    key: str
    what: What


def compare(listed: Iterable[Listed], known: Iterable[Known]) -> Iterator[Compared]:
    """Every key of either, in their order."""
    objects, rows = iter(listed), iter(known)
    here, there = next(objects, None), next(rows, None)
    while here or there:
        if there is None or (here and here.key < there.key):
            assert here is not None  # noqa: S101  # one of both is
            yield Compared(here.key, What.ADDED)
            here = next(objects, None)
        elif here is None or there.key < here.key:
            yield Compared(there.key, What.VANISHED if there.there else What.GONE)
            there = next(rows, None)
        else:
            yield Compared(here.key, _what(here, there))
            here, there = next(objects, None), next(rows, None)


def counts(seen: Mapping[What, int]) -> Counts:
    """Of how many keys each was found."""
    same, added = seen.get(What.SAME, 0), seen.get(What.ADDED, 0)
    changed, vanished = seen.get(What.CHANGED, 0), seen.get(What.VANISHED, 0)
    return Counts(
        listed=same + added + changed,
        added=added,
        changed=changed,
        vanished=vanished,
        known=same + changed + vanished,
    )


def total(every: Iterable[Counts]) -> Counts:
    found: Counter[str] = Counter()
    for each in every:
        found.update(each.model_dump())
    return Counts(**found)


def is_incident(counts: Counts) -> bool:
    """Whether so much is gone that somebody should look before anything is deleted: all, or more
    than a tenth and at least ten (contract, section 7).
    """
    if not counts.vanished:
        return False
    many = counts.vanished >= FEW and counts.vanished * SHARE > counts.known
    return many or counts.vanished == counts.known


def _what(listed: Listed, known: Known) -> What:
    if not known.there:
        return What.ADDED
    if known.etag is None or known.etag == listed.etag:
        return What.SAME
    return What.CHANGED
