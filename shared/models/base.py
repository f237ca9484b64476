"""Names, instants and sizes as constrained types, and the two kinds of model: ours and foreign."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.alias_generators import to_camel
from pydantic_core.core_schema import (
    CoreSchema,
    no_info_after_validator_function,
    plain_serializer_function_ser_schema,
    str_schema,
)

FILES = "file:///mnt/backups"
"""Where a file system is mounted (contract, section 3): a bucket of that name is none of S3, and
its keys are paths below it."""

DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"  # Kubernetes limits a subdomain as a whole, not its parts
DNS_NAME = rf"{_PART}(\.{_PART})*"


class matching(NamedTuple):  # noqa: N801  # it reads as a word of an annotation
    """A text of that form; whoever gives another one is told WHAT it should be, not a pattern,
    which only the JSON Schema has.
    """

    pattern: str
    what: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        form = re.compile(self.pattern)

        def check(text: str) -> str:
            if not form.fullmatch(text):
                raise ValueError(f"must be {self.what}")
            return text

        return no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        told = {"pattern": f"^({self.pattern})$", "description": f"Must be {self.what}."}
        return handler(schema) | told


ClusterId = Annotated[
    str, matching(r"[a-z0-9-]{1,63}", "an id of a-z, 0-9 and -, with at most 63 characters")
]
Label = Annotated[str, matching(DNS_LABEL, "a name of a-z, 0-9 and -, with at most 63 characters")]
"""A namespace or any other RFC 1123 label."""
Name = Annotated[
    str, Field(max_length=253), matching(DNS_NAME, "a Kubernetes name of a-z, 0-9, - and .")
]
"""A Kubernetes object's name: an RFC 1123 subdomain."""
EngineName = Annotated[
    str, Field(max_length=253), matching(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", "a Longhorn name")
]
"""A Longhorn volume or backup (backupstore util.ValidateName)."""
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LabelKey = Annotated[
    str, Field(max_length=317), matching(rf"({DNS_NAME}/)?{_LABEL}", "a label such as tier")
]
LabelValue = Annotated[
    str, Field(max_length=63), matching(rf"({_LABEL})?", "a label's value such as data")
]
Bytes = Annotated[int, Field(ge=0, lt=2**63)]
_NO_INSTANT = "must be an instant such as 2026-08-15T01:00:00Z"


def url_of(bucket: str, key: str) -> str:
    return f"{bucket}/{key}" if bucket == FILES else f"s3://{bucket}/{key}"


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of an object's address, or of a place's."""
    if url.startswith(FILES):
        return FILES, url.removeprefix(FILES).removeprefix("/")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def to_instant(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds: sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def from_instant(text: str) -> datetime:
    """Raises ValueError for anything but an RFC 3339 instant with a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # whose own words quote the value
        raise ValueError(_NO_INSTANT) from None
    if "T" not in text or moment.tzinfo is None:
        raise ValueError(_NO_INSTANT)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie within the years 1 to 9999 in UTC") from None


def _instant(value: Any) -> Any:
    return from_instant(value) if isinstance(value, str) else value


class _Written:
    """As text; pydantic's PlainSerializer does the same, and is in a module that takes a hundredth
    of a cold start.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        as_text = plain_serializer_function_ser_schema(to_instant, return_schema=str_schema())
        return {**handler(source), "serialization": as_text}


Instant = Annotated[datetime, BeforeValidator(_instant), _Written()]


def _iso(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("P"):
        raise ValueError("must be an ISO 8601 duration such as PT30M")
    return value


Duration = Annotated[timedelta, BeforeValidator(_iso)]


def to_duration(span: timedelta) -> str:
    """ISO 8601 in whole seconds, without days, as objectives are usually written: PT24H30M."""
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "H"), (minutes, "M"), (seconds, "S"))
    return "PT" + ("".join(f"{number}{unit}" for number, unit in parts if number) or "0S")


LONGEST_WAIT = timedelta(days=1)


def waitable(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST_WAIT:
        raise ValueError("must be between PT1S and P1D")
    return value


LONGEST_KEPT = timedelta(days=14)
"""With the longest approval and the longest restore before it, less than the month for which the
plan is kept, without which nothing is rolled back."""


def keepable(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= LONGEST_KEPT:
        raise ValueError("must be between PT1S and P14D")
    return value


LONGEST_APPROVAL = timedelta(days=7)
"""As TimeoutSeconds of the state machines have it."""


def answerable(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= LONGEST_APPROVAL:
        raise ValueError("must be between PT1S and P7D")
    return value


FailoverId = Annotated[
    str, matching("f-[0-9a-f]{16}", "the id of a failover such as f-236f43f4916a4a15")
]
Person = Annotated[str, Field(max_length=200), matching(r"[^\x00-\x1f\x7f]+", "a name on one line")]


def _latest_or_instant(value: Any) -> Any:
    if value is None or value == "latest":
        return None
    if isinstance(value, str):
        try:
            return from_instant(value)
        except ValueError:
            pass  # said below, with the other form that it may have
    raise ValueError("must be latest, or an instant such as 2026-08-15T01:00:00Z")


At = Annotated[Instant | None, BeforeValidator(_latest_or_instant)]
"""The instant at or before which restore points are taken; None is `latest`."""


class Value(BaseModel):
    """Our own data: frozen, closed to unknown keys, camelCase outside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        defer_build=True,
    )


class Foreign(BaseModel):
    """Data that others write: frozen, and unknown keys are ignored: newer versions add some.

    Built when first used: most are parts of others, which are built without them, and of the ways
    in which the same is written a call meets one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
