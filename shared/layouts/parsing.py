"""Bytes that others wrote -> models: strict RFC 8259 JSON, lenient about unknown fields."""

import math
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from shared import strict_json
from shared.errors import Unreadable
from shared.models.base import Bytes, Foreign, Instant, from_instant
from shared.quantities import number
from shared.validation import explain

_T = TypeVar("_T", bound=BaseModel)

EPOCH_YEAR = 1970
_SENTENCE_LENGTH = 500  # a path may hold keys of any length
_MOST_VALUES = 200_000
"""A value of two bytes, such as `{}`, takes 64 bytes of memory. A machine has some hundred."""


class Nullable(Foreign):
    """Go writes nil maps, lists and pointers as null: here null is the same as absent."""

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: each for name, each in value.items() if each is not None}


def quantity(value: Any) -> Any:
    """A Kubernetes quantity ("40Gi", "125m", 1024, "1e3") as a whole number, rounded up."""
    if not isinstance(value, str):
        return value
    return math.ceil(number(value))


def moment(value: Any) -> Any:
    """An instant as Go programs write it: an empty text and Go's zero time are none."""
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  # pydantic turns a ValueError into its own
    if not value or value.startswith("0001-01-01T"):
        return None
    try:
        at = from_instant(value)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.year < EPOCH_YEAR:
        raise ValueError("must be an instant such as 2026-08-15T01:00:00Z")
    return at


Quantity = Annotated[Bytes, BeforeValidator(quantity)]
Moment = Annotated[Instant | None, BeforeValidator(moment)]
Count = Annotated[int, Field(ge=0, lt=2**31)]


def document(body: bytes) -> dict[str, Any]:
    """Raises Unreadable; names no content, which may be secret."""
    try:
        value = strict_json.parse(body, most=_MOST_VALUES)
    except strict_json.Fault as fault:
        raise Unreadable(f"{str(fault)[:_SENTENCE_LENGTH]}.") from None
    if not isinstance(value, dict):
        raise Unreadable("Invalid JSON: the file must hold an object, {...}.")
    return value


def model(kind: type[_T], value: Any) -> _T:
    """Raises Unreadable that names the field."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise Unreadable(explain(error)[1][:_SENTENCE_LENGTH]) from None
