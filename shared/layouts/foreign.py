"""Bytes that others wrote -> models: strict RFC 8259 JSON in UTF-8, lenient about unknown fields."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError, model_validator
from pydantic_core import from_json

from shared.errors import Unreadable, explain
from shared.models import Foreign

_T = TypeVar("_T", bound=BaseModel)

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18} | {
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60, "m": 0.001
}  # fmt: skip


class Nullable(Foreign):
    """Go writes nil maps, lists and pointers as null: here null is the same as absent."""

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def quantity(value: Any) -> Any:
    """A Kubernetes quantity ("40Gi", "125m", 1024, "1e3") as a whole number, rounded up."""
    if not isinstance(value, str):
        return value
    number = value.rstrip("kMGTPEim")
    unit = value[len(number) :]
    if unit not in _UNITS:
        raise ValueError(f"{unit!r} is no unit of a Kubernetes quantity")
    try:
        amount = int(number) * _UNITS[unit] if number.isdigit() else float(number) * _UNITS[unit]
        return int(-(-amount // 1))
    except (ValueError, OverflowError):
        raise ValueError("is no Kubernetes quantity") from None


Quantity = Annotated[int, BeforeValidator(quantity)]


def document(body: bytes) -> dict[str, Any]:
    """Raises Unreadable; names no content, which may be secret."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Unreadable(f"is no JSON in UTF-8 ({error}); it is truncated or something else") from None
    if not isinstance(value, dict):
        raise Unreadable("is JSON, but no object")
    return value


def model(kind: type[_T], value: Any) -> _T:
    """Raises Unreadable that names the field."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise Unreadable(explain(error)[1]) from None
