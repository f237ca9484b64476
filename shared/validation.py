"""What a user types -> a request model, or InvalidRequest that names the key, the value and the
remedy.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.errors import InvalidRequest, explain, first
from shared.models import Value

_T = TypeVar("_T", bound=Value)


def parse(
    kind: type[_T],
    body: Any,
    *,
    lacking: Mapping[str, tuple[Any, ...]],
    instead: Mapping[str, Any] = {},
) -> _T:
    """LACKING: dotted paths of the contract that this version does not do -> the values that change nothing.

    INSTEAD replaces top-level keys once nothing lacks. Raises InvalidRequest.
    """
    if not isinstance(body, dict):
        raise InvalidRequest(f"the request is {_name(body)}, it must be an object such as {{...}}")
    for path, harmless in lacking.items():
        for value in _at(body, path.split(".")):
            if value not in harmless:
                raise InvalidRequest(
                    f"{path}: this version cannot do {_shown(value)}; leave it out", path
                )
    try:
        return kind.model_validate({**body, **instead}, by_alias=True, by_name=False)
    except ValidationError as error:
        path, sentence = explain(error, set(_keys(kind.model_json_schema())), "the request")
        raise InvalidRequest(sentence + _given(error), path or None) from None


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from _keys(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _keys(part)


def _given(error: ValidationError) -> str:
    """The value of the first problem, where it is a plain one and not the key that is wrong."""
    problem = first(error)
    plain = isinstance(problem["input"], str | int | float) and problem["type"] != "extra_forbidden"
    return f"; it is {problem['input']!r:.80}" if plain else ""


def _shown(value: Any) -> str:
    return f"{value!r:.80}" if isinstance(value, str | int | float | bool) else "this"


def _name(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number")
