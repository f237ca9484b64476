"""Requests: what is accepted, and that each mistake is answered with the key, the value and the
remedy.
"""

import json
import math
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

import shared.catalogue.events
import shared.catalogue.search
import shared.layouts.harvester
import shared.layouts.longhorn
import shared.restore.request  # noqa: F401  # the models of all of them are tried
from shared.errors import InvalidRequest, ReplantError
from shared.models.base import ClusterId, Foreign, Value
from shared.validation import SENTENCES, explain, listed, parse, short

SECRET = "hunter2-hunter2"
FORBIDDEN = "extra_forbidden"


class Colour(StrEnum):
    """A choice."""

    RED = "red"
    GREEN = "green"
    BLUE = "blue"


class Inner(Value):
    """A part of a request."""

    storage_classes: dict[str, str] = {}
    run_strategy: str | None = None


class Request(Value):
    """A request such as ours are."""

    target: ClusterId
    mapping: Inner = Inner()
    limit: Annotated[int, Field(ge=1, le=9)] = 1
    rules: tuple[Inner, ...] = ()
    colours: dict[ClusterId, Colour] = {}
    mode: str | None = None
    extra: Inner | None = None


LACKING: dict[str, tuple[Any, ...]] = {
    "waves": ((), []),
    "mapping.secrets": (),
    "guard": (None,),
    "speed": ("fast", "slow"),
}


def parsed(body: Any) -> Request:
    return parse(Request, body, lacking=LACKING)


def test_a_request_is_read_in_camel_case() -> None:
    found = parsed(
        {"target": "west", "mapping": {"runStrategy": "Halted", "storageClasses": {"a": "b"}}}
    )
    assert (found.target, found.mapping.run_strategy) == ("west", "Halted")
    assert found.mapping.storage_classes == {"a": "b"}


MISTAKES: list[tuple[Any, str | None, str]] = [
    (None, None, "The request is null; it must be an object such as {...}."),
    ([], None, "The request is a list; it must be an object such as {...}."),
    ("text", None, "The request is a string; it must be an object such as {...}."),
    (7, None, "The request is a number; it must be an object such as {...}."),
    ({}, "target", "target: is missing."),
    (
        {"target": "WEST"},
        "target",
        "target: must be an id of a-z, 0-9 and -, with at most 63 characters; it is 'WEST'.",
    ),
    ({"target": "west", "limit": 0}, "limit", "limit: must be at least 1; it is 0."),
    ({"target": "west", "limit": "x"}, "limit", "limit: must be a whole number; it is 'x'."),
    ({"target": "west", "limit": 10**50}, "limit", "limit: must be at most 9; it is this number."),
    ({"target": "west", "limt": 1}, "limt", "Unknown key 'limt'. Did you mean 'limit'?"),
    (
        {"target": "west", "zzz": 1},
        "zzz",
        "Unknown key 'zzz'. Known here: colours, extra, guard, limit, mapping, mode, rules, speed,"
        " target",
    ),
    ({"target": "west", "": 1}, "''", "Unknown key \"''\". Known here: colours, extra, guard,"),
    (
        {"target": "west", "extra": {"zzz": 1}},
        "extra.zzz",
        "Unknown key 'extra.zzz'. Known here: runStrategy, storageClasses.",
    ),
    (
        {"target": "west", "mapping": {"storageclasses": {}}},
        "mapping.storageclasses",
        "Unknown key 'mapping.storageclasses'. Did you mean 'storageClasses'?",
    ),
    (
        {"target": "west", "mapping": {"run_strategy": "Halted"}},
        "mapping.run_strategy",
        "Unknown key 'mapping.run_strategy'. Did you mean 'runStrategy'?",
    ),
    (
        {"target": "west", "rules": [{}, {"zzz": 1}]},
        "rules.1.zzz",
        "Unknown key 'rules.1.zzz'. Known here: runStrategy, storageClasses.",
    ),
    (
        {"target": "west", "mapping": []},
        "mapping",
        "mapping: must be an object such as {...}.",
    ),
    (
        {"target": "west", "mapping": {"secrets": "x"}},
        "mapping.secrets",
        "mapping.secrets: 'x' is not supported in this version. Leave it out.",
    ),
    (
        {"target": "west", "waves": [{"a": SECRET}]},
        "waves",
        "waves: this value is not supported in this version. Leave it out.",
    ),
    (
        {"target": "west", "guard": True},
        "guard",
        "guard: true is not supported in this version. Leave it out.",
    ),
    (
        {"target": "west", "guard": False},
        "guard",
        "guard: false is not supported in this version. Leave it out.",
    ),
    (
        {"target": "west", "guard": 0.5},
        "guard",
        "guard: 0.5 is not supported in this version. Leave it out.",
    ),
    (
        {"target": "west", "speed": "other"},
        "speed",
        "speed: 'other' is not supported in this version. Use 'fast' or 'slow'.",
    ),
    (
        {"target": "west", "speed": None},
        "speed",
        "speed: null is not supported in this version. Use 'fast' or 'slow'.",
    ),
    ({"target": [SECRET]}, "target", "target: must be a string."),
    (
        {"target": "west", "colours": {"Red": "red"}},
        "colours.Red",
        "colours.Red: the key must be an id of a-z, 0-9 and -, with at most 63 characters; it is",
    ),
    (
        {"target": "west", "colours": {"red": "mauve"}},
        "colours.red",
        "colours.red: must be one of: 'red', 'green', 'blue'; it is 'mauve'.",
    ),
]


@pytest.mark.parametrize(("body", "field", "sentence"), MISTAKES)
def test_a_mistake_is_named_with_its_remedy(body: Any, field: str | None, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parsed(body)
    assert (refusal.value.field, refusal.value.message[: len(sentence)]) == (field, sentence)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "body",
    [
        {"waves": ()},
        {"waves": [], "guard": None, "mapping": {}},
        {"mapping": {"storageClasses": {"secrets": "x"}}},
        {"speed": "slow"},
    ],
)
def test_what_changes_nothing_is_accepted(body: dict[str, Any]) -> None:
    assert parsed({"target": "west"} | body).target == "west"


@pytest.mark.parametrize("key", ["\ud800", "x" * 5000, "a\nb"])
def test_a_key_that_no_output_can_carry_is_shown_in_one_that_every_output_can(key: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parsed({"target": "west", "mapping": {key: 1}})
    assert len(str(refusal.value).encode()) < 700
    assert refusal.value.field
    assert refusal.value.field.startswith("mapping")


def test_a_key_that_no_output_can_carry_is_named_at_the_top_as_well() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parsed({"target": "west", "\ud800": 1})
    assert refusal.value.field == "\\ud800"


def problem(body: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate(body)
    return caught.value


def test_an_explanation_has_the_path_and_never_the_value() -> None:
    path, sentence = explain(
        problem({"target": "west", "mapping": {"storageClasses": {"a": [SECRET]}}})
    )
    assert path == "mapping.storageClasses.a"
    assert sentence == "mapping.storageClasses.a: must be a string."
    assert explain(problem([SECRET])) == ("", "the document: must be an object such as {...}.")


@pytest.mark.parametrize(
    ("known", "hint"),
    [
        ((), "Remove it."),
        (("target", "limit"), "Did you mean 'limit'?"),
        (("limitation",), "Did you mean 'limitation'?"),
        (("b", "a"), "Known here: a, b."),
        ([f"k{number:02}" for number in range(30)], "k27, k28, k29."),
        ([f"k{number:02}" for number in range(31)], "k27, k28, k29 and 1 more."),
    ],
)
def test_an_unknown_key_is_answered_with_a_hint(known: list[str], hint: str) -> None:
    path, sentence = explain(problem({"target": "west", "limt": SECRET}), known)
    assert path == "limt"
    assert sentence.startswith("Unknown key 'limt'. ")
    assert sentence.endswith(hint)


def models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in kind.__subclasses__():
        yield each
        yield from models(each)


OURS = sorted(
    {each for kind in (Value, Foreign) for each in models(kind) if "shared" in each.__module__},
    key=lambda each: (each.__module__, each.__name__),
)
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    0.5,
    math.inf,
    math.nan,
    "",
    "x",
    "\ud800",
    "x" * 1000,
    "P",
    "PT99999999999999999999H",
    "2026-13-15T01:00:00Z",
    b"x",
    [],
    ["x", "x"],
    ["x"] * 6000,
    {},
    {"x": "x"},
    {"\ud800": 1},
]


def mistaken(kind: type[BaseModel]) -> Iterator[Any]:
    """Documents of every shape: a value of each form as the whole, and in the place of each key."""
    yield from VALUES
    for name, field in kind.model_fields.items():
        for value in VALUES:
            yield {field.alias or name: value}
            yield {name: {inner: value for inner in ("id", "at", "timeout", "mac", "ids", "vm")}}


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_error_that_a_model_can_raise_has_a_sentence_of_ours(kind: type[BaseModel]) -> None:
    found: dict[str, Any] = {}
    for document in mistaken(kind):
        try:
            kind.model_validate(document)
        except ValidationError as error:
            found |= {each["type"]: each for each in error.errors() if each["type"] != FORBIDDEN}
    assert found.keys() <= SENTENCES.keys()
    for each in found.values():
        said = SENTENCES[each["type"]].format(**each.get("ctx", {}))
        assert "nput should" not in said
        assert each["type"] == "value_error" or each["msg"] != said


def test_an_error_that_has_no_sentence_is_told_without_pydantics_words() -> None:
    class Odd(Value):
        when: date

    with pytest.raises(ValidationError) as caught:
        Odd.model_validate({"when": "x"})
    assert explain(caught.value) == ("when", "when: has a value of the wrong form.")


@pytest.mark.parametrize(
    ("document", "said"),
    [("{", "the document: is not valid JSON: EOF while parsing"), (5, "must be JSON text")],
)
def test_json_that_is_none_is_told_so(document: Any, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate_json(document)
    assert said in explain(caught.value)[1]


def test_names_to_choose_from_are_sorted_and_no_more_than_a_person_reads() -> None:
    assert (listed([]), listed({"b", "a"})) == ("none", "a, b")
    assert listed(["b", "a"], most=2) == "a, b"
    assert listed((f"n{number:02}" for number in range(30)), most=3) == "n00, n01, n02 and 27 more"
    assert len(listed(["x" * 5000])) < 100
    assert listed(["a\x1b[2J", "\ud800", "blå"]) == "a\\x1b[2J, blå, \\ud800"


def test_foreign_text_is_cut_to_eighty_characters() -> None:
    assert short("x" * 80) == "x" * 80
    assert short("x" * 81) == "x" * 79 + "…"


@pytest.mark.parametrize("kind", ReplantError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_an_errors_text_is_the_json_that_an_execution_shows(kind: type[ReplantError]) -> None:
    error = kind("ein Grund: ü", "a.b")
    assert json.loads(str(error)) == {
        "code": kind.__name__,
        "message": "ein Grund: ü",
        "field": "a.b",
    }
    assert "ü" in str(error)
