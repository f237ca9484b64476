"""The images of a restore in its ledger: which of them somebody makes, and how far each is."""

from datetime import datetime

from shared.models.base import to_instant
from shared.models.images import Making
from shared.runs.ledger import Ledger

IMAGE = "image#"


class Makings:
    """A row an image, which is a lease as well."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def all(self) -> dict[str, Making]:
        """By place, those that somebody has begun."""
        rows = self._ledger.table.query(self._ledger.pk, IMAGE)
        found = (Making.model_validate_json(row["body"]) for row in rows)
        return {each.place: each for each in found}

    def begin(
        self, place: str, known: Making | None, *, attempt: int, until: datetime
    ) -> Making | None:
        """With the lease; None where another run has it since what is KNOWN was read."""
        percent = known.percent if known else 0
        making = Making(place=place, attempt=attempt, percent=percent, until=until)
        condition, values = "attribute_not_exists(pk)", {}
        if known:
            condition, values = "leased = :leased", {":leased": to_instant(known.until)}
        row = self._row(making)
        return making if self._ledger.table.put(row, condition=condition, values=values) else None

    def tell(self, making: Making) -> None:
        """By who makes it: whoever else does writes the same image."""
        self._ledger.table.put_many([self._row(making)])

    def _row(self, making: Making) -> dict[str, object]:
        row = self._ledger.row(f"{IMAGE}{making.place}", making.model_dump_json())
        return row | {"leased": to_instant(making.until)}
