"""What somebody wrote -> one of our models, or a sentence that names the key, the value and the
remedy.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.errors import InvalidRequest
from shared.models.base import Value

_T = TypeVar("_T", bound=Value)

_WHOLE_NUMBER = "must be a whole number"
_NUMBER = "must be a number"
_FLAG = "must be true or false"
_OBJECT = "must be an object such as {{...}}"
_LIST = "must be a list"
_INSTANT = "must be an instant such as 2026-08-15T01:00:00Z"
_DURATION = "must be an ISO 8601 duration such as PT30M"
_CHOICE = "must be one of: {expected}"

SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "value_error": "{error}",  # a validator of ours: its text is a sentence already
    "string_type": "must be a string",
    "string_unicode": "must hold valid Unicode only",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "bool_type": _FLAG,
    "bool_parsing": _FLAG,
    "enum": _CHOICE,
    "literal_error": _CHOICE,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have at most {max_length} entries",
    "datetime_type": _INSTANT,
    "datetime_parsing": _INSTANT,
    "datetime_from_date_parsing": _INSTANT,
    "datetime_object_invalid": _INSTANT,
    "time_delta_type": _DURATION,
    "time_delta_parsing": _DURATION,
    "json_invalid": "is not valid JSON: {error}",
    "json_type": "must be JSON text",
}
"""Pydantic's type of an error -> our words for it; {…} is what pydantic says beside the type."""

_FALLBACK = "has a value of the wrong form"
_KEY = "[key]"  # pydantic's last step to the key of an entry, where it is the key that is wrong
_LONGEST = 80
_LARGEST = 10**40


def parse(
    kind: type[_T],
    body: Any,
    *,
    lacking: Mapping[str, tuple[Any, ...]],
) -> _T:
    """LACKING: dotted paths of the contract that are unknown to the model, and the values that
    change nothing there, which are taken out. Raises InvalidRequest.
    """
    if not isinstance(body, dict):
        raise InvalidRequest(
            f"The request is {_kind_of(body)}; it must be an object such as {{...}}."
        )
    for path, value, accepted in unsupported(body, lacking):
        raise InvalidRequest(not_supported(path, shown(value), accepted), path)
    try:
        return kind.model_validate(without(body, lacking), by_alias=True, by_name=False)
    except ValidationError as error:
        problem = _first(error)
        known = keys_where(error, kind, lacking)
        sentence = _sentence(problem, known, "the request", _given(problem))
        raise InvalidRequest(sentence, _path(problem) or None) from None


def unsupported(
    body: dict[str, Any], lacking: Mapping[str, tuple[Any, ...]]
) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """What BODY has that this version does not do: the path, the value, and the values accepted
    there.
    """
    for path, accepted in lacking.items():
        for value in _at(body, path.split(".")):
            if value not in accepted:
                yield path, value, accepted


def without(body: Any, paths: Iterable[str]) -> Any:
    """BODY without what lies at dotted paths."""
    for path in paths:
        body = _without(body, path.split("."))
    return body


def keys_where(
    error: ValidationError, kind: type[Value], lacking: Mapping[str, tuple[Any, ...]] = {}
) -> tuple[str, ...]:
    """The keys that may stand where the first problem of a validation is: those of KIND, and of
    what it is LACKING those that may be written all the same.
    """
    above = _first(error)["loc"][:-1]
    return (*_keys_at(kind, above), *_keys_below(above, lacking))


def explain(
    error: ValidationError, known: Iterable[str] = (), whole: str = "the document"
) -> tuple[str, str]:
    """The first problem of a validation as (field path, sentence); never quotes the value, which
    may be secret.

    KNOWN are the keys to choose from where one is unknown; WHOLE is what has no path.
    """
    problem = _first(error)
    return _path(problem), _sentence(problem, known, whole, "")


def shown(value: Any) -> str:
    """A value as a message may quote it: short, on one line, in JSON's words."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int) and abs(value) > _LARGEST:  # Python refuses to write very long ones
        return "this number"
    if isinstance(value, str | int | float):
        return short(repr(value))
    return "this value"


def short(text: str) -> str:
    """Foreign text as a message may hold it: short, on one line, and of characters that any output
    can carry (JSON may hold half a surrogate pair, or what moves a terminal's cursor).
    """
    safe = text
    if not text.isprintable():
        safe = repr(text)[1:-1]
    if len(safe) > _LONGEST:
        safe = safe[: _LONGEST - 1] + "…"
    return safe


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names to choose from: sorted, and no more of them than a person reads."""
    every = sorted(names)
    if not every:
        return "none"
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(map(short, every[:most])) + more


def _first(error: ValidationError) -> Any:
    """The problem to tell: a mistyped key rather than the right one, which is therefore missing."""
    problems = error.errors(include_url=False)
    return next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])


def _sentence(problem: Any, known: Iterable[str], whole: str, given: str) -> str:
    path = _path(problem)
    if problem["type"] == "extra_forbidden":
        return _unknown_key(path, str(problem["loc"][-1]), tuple(known))
    said = SENTENCES.get(problem["type"], _FALLBACK).format(**_context(problem))
    if problem["loc"] and problem["loc"][-1] == _KEY:
        return f"{path}: the key {said}{given}."
    return f"{path or whole}: {said}{given}."


def _context(problem: Any) -> dict[str, Any]:
    context = dict(problem.get("ctx", {}))
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace(" or ", ", ")
    return context


def _unknown_key(path: str, key: str, known: tuple[str, ...]) -> str:
    import difflib  # only what is refused needs it

    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if close:
        return f"Unknown key {path!r}. Did you mean {close[0]!r}?"
    if known:
        return f"Unknown key {path!r}. Known here: {listed(known, most=30)}."
    return f"Unknown key {path!r}. Remove it."


def _path(problem: Any) -> str:
    steps = [str(step) for step in problem["loc"] if step != _KEY]
    if not steps and problem["type"] == "string_unicode":  # pydantic tells no path to such a key
        steps = [str(problem["input"])]
    return ".".join(short(step) or "''" for step in steps)


def not_supported(path: str, given: str, accepted: tuple[Any, ...]) -> str:
    """GIVEN is the value as a message may show it, ACCEPTED are the values that can be had."""
    texts = [repr(each) for each in accepted if isinstance(each, str)]
    remedy = "Leave it out."
    if texts and len(texts) == len(accepted):
        *others, last = texts
        remedy = f"Use {', '.join(others)} or {last}." if others else f"Use {last}."
    return f"{path}: {given} is not supported in this version. {remedy}"


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _without(value: Any, path: list[str]) -> Any:
    if not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {key: each for key, each in value.items() if key != path[0]}
    return {**value, path[0]: _without(value[path[0]], path[1:])}


@cache
def _schema(kind: type[Value]) -> dict[str, Any]:
    return kind.model_json_schema()


def _keys_at(kind: type[Value], path: Iterable[str | int]) -> tuple[str, ...]:
    """The keys that the model takes at a path of its document."""
    schema = _schema(kind)
    places = [schema]
    for step in path:
        places = [inner for place in places for inner in _inside(place, step, schema)]
    return tuple(key for place in places for key in place.get("properties", {}))


def _keys_below(
    path: tuple[str | int, ...], lacking: Mapping[str, tuple[Any, ...]]
) -> Iterator[str]:
    """The keys there that the model does not know, and that may be written all the same."""
    for each, accepted in lacking.items():
        *above, key = each.split(".")
        if accepted and above == list(path):
            yield key


def _inside(place: dict[str, Any], step: str | int, schema: dict[str, Any]) -> list[dict[str, Any]]:
    """What the schema says of one step further down."""
    found = place.get("items") if isinstance(step, int) else place.get("properties", {}).get(step)
    if not isinstance(found, dict):
        return []
    ways: list[dict[str, Any]] = found.get("anyOf", [found])
    return [_resolved(each, schema) for each in ways]


def _resolved(place: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = str(place.get("$ref", "")).removeprefix("#/$defs/")
    return dict(schema["$defs"][name]) if name else place


def _given(problem: Any) -> str:
    """The value of the problem, where it is a plain one; of what is missing, it is the object."""
    if not isinstance(problem["input"], str | int | float):
        return ""
    return f"; it is {shown(problem['input'])}"


def _kind_of(value: Any) -> str:
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number")
