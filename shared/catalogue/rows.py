"""What one object's row says: its newest readable version, its newest unreadable one, its deletion.

Each of the three is kept with the position of its own event and only ever replaced by a newer one
of the same sort. So a row is the same whatever the order in which its events arrive, and a version
that cannot be read hides the last good one without destroying it.
"""

import hashlib
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from shared.catalogue.events import SEQUENCER_WIDTH, padded
from shared.models.base import Instant, url_of
from shared.models.facts import MODELS, Facts, Kind
from shared.models.restore_points import Quarantined, Source
from shared.models.row_keys import DOCUMENTS, IN_BUCKET, Key

LOOKED = "~"
"""Behind all hexadecimal digits."""

_F = TypeVar("_F", bound=BaseModel)

_READ = ("facts", "sequencer", "etag", "version_id", "object_time", "since", "back_at")
_REFUSED = ("refusal", "refused_version", "refused_etag", "refused_at")
REGISTERS = {"read_order": _READ, "refused_order": _REFUSED, "gone_order": ("gone_at",)}
"""The event's position -> what the newest event of that sort says."""


class Object(NamedTuple):
    """An object, and where its row lies."""

    row_key: Key
    kind: Kind
    bucket: str
    key: str
    root: str


class Row(BaseModel):
    """One object as its events left it. An empty position: there was no such event.

    Facts outlive the object: they say what was lost. SINCE is when a target first claimed its
    place; STOOD, of a machine's metadata, which versions were read (`overwritten.Stood`); FOLLOWED,
    the VERSION of the row of which all that follows from it was done.
    """

    # Built when first used, with the models of all facts: a search seldom meets one.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    pk: str
    sk: str
    kind: Kind
    bucket: str
    key: str
    root: str = ""
    read_order: str = ""
    facts: Facts | None = None
    sequencer: str = ""
    etag: str = ""
    version_id: str | None = None
    object_time: Instant | None = None
    since: Instant | None = None
    back_at: Instant | None = None
    refused_order: str = ""
    refusal: str | None = None
    refused_version: str | None = None
    refused_etag: str | None = None
    refused_at: Instant | None = None
    gone_order: str = ""
    gone_at: Instant | None = None
    points: frozenset[str] = frozenset()
    stood: frozenset[str] = frozenset()
    followed: str = ""

    @classmethod
    def of(cls, item: dict[str, Any]) -> Self:
        """The row as the table has it, where facts are JSON."""
        facts = item.get("facts")
        if facts is None:
            return cls.model_validate(item)
        known = MODELS[Kind(item["kind"])].model_validate_json(facts)
        return cls.model_validate({**item, "facts": known})

    @classmethod
    def of_event(cls, seen: Object, **said: Any) -> Self:
        """What one event says; SAID are the fields of one register."""
        pk, sk = seen.row_key
        return cls(
            pk=pk, sk=sk, kind=seen.kind, bucket=seen.bucket, key=seen.key, root=seen.root, **said
        )

    @property
    def row_key(self) -> Key:
        return self.pk, self.sk

    @property
    def url(self) -> str:
        return url_of(self.bucket, self.key)

    @property
    def order(self) -> str:
        return max(self.read_order, self.refused_order, self.gone_order)

    @property
    def version(self) -> str:
        """Another one for each event that has left something in the row."""
        said = [getattr(self, name) for name in REGISTERS] + sorted(self.stood)
        return hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]

    @property
    def changed_at(self) -> Instant | None:
        """When what is the newest of it happened; None where nobody said."""
        if self.deleted:
            return self.gone_at
        return self.refused_at if self.problem else self.back_at or self.object_time

    @property
    def deleted(self) -> bool:
        return bool(self.gone_order) and self.gone_order == self.order

    @property
    def problem(self) -> str | None:
        """Why the newest version cannot be read; None where it can, or is gone."""
        if self.deleted or self.refused_order < self.order:
            return None
        return self.refusal

    @property
    def in_force(self) -> bool:
        """Whether the last good version counts: what was deleted since does not come back."""
        return self.read_order > self.gone_order

    def said(self, model: type[_F]) -> _F | None:
        """The facts, where they are of that model."""
        return self.facts if isinstance(self.facts, model) else None

    def source(self) -> Source:
        return Source(
            bucket=self.bucket,
            key=self.key,
            version_id=self.version_id,
            etag=self.etag,
            sequencer=self.sequencer,
        )

    def register(self) -> str:
        """The position's name, of a row that one event made."""
        return next(name for name in REGISTERS if getattr(self, name))

    def stored(self) -> dict[str, Any]:
        """The attributes that one event's row sets; None for those that it removes."""
        name = self.register()
        fields = {"kind", "bucket", "key", "root", name, *REGISTERS[name]}
        values = self.model_dump(mode="json", include=fields - {"facts"})
        if self.facts is not None:
            values["facts"] = self.facts.model_dump_json()
        if self.pk != DOCUMENTS:
            values[IN_BUCKET] = self.bucket
        return values


def facts_of(row: Row | None, model: type[_F]) -> _F | None:
    """As `Row.said`, of an object that may be unknown."""
    if row is None:
        return None
    return row.said(model)


def position_of_look(order: str, run: str) -> str:
    """Of what a look at the bucket found, without an event: behind ORDER, which is the row's so
    far, and before any later event. RUN grows from one reconcile to the next.
    """
    return f"{padded(order)[:SEQUENCER_WIDTH]}{LOOKED}{run}"


def position_is_of(order: str, run: str) -> bool:
    """Whether a look of that RUN found what is the newest of a row."""
    return order[SEQUENCER_WIDTH:] == f"{LOOKED}{run}"


def quarantined(row: Row, reason: str, at: Instant) -> Quarantined:
    return Quarantined(
        bucket=row.bucket,
        key=row.key,
        version_id=row.refused_version if row.problem else row.version_id,
        reason=reason,
        seen_at=at,
    )
