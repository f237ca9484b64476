"""A migration as it is asked for, and what is kept of it (contract, section 7)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from shared.models.base import Bytes, ClusterId, Instant, Value, url_of
from shared.models.selections import CopyPlace, Select


class MigrateRequest(Value):
    """What to copy, and to which place; THEN is the restore request that follows, without its
    `select`. A dry run copies nothing and says how much that would be. REPLICATES is the recovery
    plan that wants the copies, where it is no person.
    """

    select: Select
    to: CopyPlace
    then: dict[str, Any] | None = None
    dry_run: Annotated[bool, Field(strict=True)] = False
    replicates: ClusterId | None = None


class Version(Value):
    """One version of an object, as the catalogue or a listing knows it."""

    key: str
    etag: str
    version_id: str | None = None


class Part(Value):
    """What is copied together, since others may need some of it too: the data of one engine volume,
    as far as these BACKUPS need it; a backing image; or the FILES of a folder.

    Keys lose BASE, the prefix of the target that it lies in; ROOT is where Longhorn's tree begins.
    STAMP is another one when the volume's own record has changed.
    """

    kind: Literal["volume", "image", "folder"]
    bucket: str
    base: str
    root: str = ""
    name: str = ""
    backups: tuple[str, ...] = ()
    files: tuple[Version, ...] = ()
    stamp: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        return self.kind, self.bucket, self.root, self.name


class Selected(Value):
    """A restore point that was asked for: its metadata, the PARTS (their numbers) that it needs,
    and what it NEEDS of these, by the names of backups, or of the part itself. BLOCKED is why it is
    not copied. ORIGINAL is the point itself, or that of which it is a copy already.
    """

    id: str
    original: str
    namespace: str
    vm: str
    backup: str
    taken_at: Instant
    source: Version
    bucket: str
    base: str
    parts: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    blocked: str | None = None

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.vm}, backup {self.backup}"


class Closure(Value):
    """All that a migration copies."""

    points: tuple[Selected, ...]
    parts: tuple[Part, ...]


class Run(Value):
    """ID names a migration's rows and files; TARGET is the document that owns the place BUCKET and
    PREFIX; THEN, DRY_RUN and REPLICATES as they were asked for. So many copies are KEPT: their
    originals are no more.
    """

    id: str
    execution: str
    target: ClusterId
    bucket: str
    prefix: str
    began: Instant
    then: dict[str, Any] | None = None
    dry_run: bool = False
    replicates: ClusterId | None = None
    kept: int = 0

    @property
    def place(self) -> str:
        return url_of(self.bucket, self.prefix)

    def placed(self, key: str, base: str) -> str:
        """Where a key of the source lies at the destination."""
        return self.prefix + key.removeprefix(base)


class Writes(Value):
    """A cluster writes its backups to a place, BY what there says so."""

    cluster: ClusterId
    url: str
    by: str


class Written(Value):
    """What clusters write to; NOTES say which could not be asked."""

    places: tuple[Writes, ...] = ()
    notes: tuple[str, ...] = ()

    def to(self, place: str) -> str | None:
        """Which cluster writes to a place, as a sentence without its end; None where none does."""
        for each in self.places:
            if each.url == place:
                return f"cluster {each.cluster} writes its backups to {each.url} ({each.by})"
        return None


class Amount(Value):
    """Objects, and their bytes."""

    objects: int = 0
    bytes: Bytes = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(objects=self.objects + other.objects, bytes=self.bytes + other.bytes)


class Problem(Value):
    """An object that is not at the destination, and why."""

    key: str
    reason: str


class Gathered(Value):
    """What one part lacks at the destination: so many FILES of objects to copy; PRESENT is what is
    there already: where nothing is to be copied, the DIGEST is of that; SEALED: it is the very same
    as when a migration ended. LOST are backups, or of another part its name, that cannot be copied,
    with the reason. Of a dry run, what is LACKING, and the SIZES of what each backup needs.
    """

    files: int = 0
    present: Amount = Amount()
    digest: str | None = None
    sealed: bool = False
    lost: dict[str, str] = {}
    lacking: Amount = Amount()
    sizes: dict[str, Amount] = {}


class Requests(Value):
    """What one call has asked of S3."""

    number: int


class Files(Value):
    """How many files of objects there are to copy."""

    files: int


class Copied(Value):
    """How far one file of objects is: so many of its entries are DONE. UPLOAD is of the next one,
    where S3 does not copy that at once.
    """

    done: int = 0
    upload: str | None = None
    amount: Amount = Amount()
    problems: tuple[Problem, ...] = ()


class Settled(Value):
    """A part of which all is at the destination but for what is LOST, as in Gathered; the AMOUNTS
    are of its records.
    """

    copied: Amount = Amount()
    present: Amount = Amount()
    lost: dict[str, str] = {}


class Arrived(Value):
    """A point's metadata at the destination."""

    id: str
    key: str
    etag: str


class Published(Value):
    """The points that are there as a whole since AT, and why the others are LOST."""

    at: Instant | None = None
    arrived: tuple[Arrived, ...] = ()
    lost: dict[str, str] = {}
    copied: Amount = Amount()
    present: Amount = Amount()
