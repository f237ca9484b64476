"""Requests: what is accepted, and that each mistake is answered with the key, the value and the
remedy.
"""

import json
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from shared.errors import InvalidRequest, ReplantError, explain
from shared.models import ClusterId, Value
from shared.validation import parse

SECRET = "hunter2-hunter2"


class Inner(Value):
    """A part of a request."""

    storage_classes: dict[str, str] = {}
    run_strategy: str | None = None


class Request(Value):
    """A request such as ours are."""

    target: ClusterId
    mapping: Inner = Inner()
    limit: Annotated[int, Field(ge=1)] = 1
    waves: tuple[Inner, ...] = ()


LACKING: dict[str, tuple[Any, ...]] = {
    "waves": ((), []),
    "mapping.secrets": (),
    "guard": (None, False),
}


def parsed(body: Any, **instead: Any) -> Request:
    return parse(Request, body, lacking=LACKING, instead=instead)


def test_a_request_is_read_in_camel_case() -> None:
    found = parsed(
        {"target": "west", "mapping": {"runStrategy": "Halted", "storageClasses": {"a": "b"}}}
    )
    assert (found.target, found.mapping.run_strategy) == ("west", "Halted")
    assert found.mapping.storage_classes == {"a": "b"}


def test_keys_are_replaced_only_once_nothing_lacks() -> None:
    assert parsed({"target": "west", "waves": []}, limit=5).limit == 5
    with pytest.raises(InvalidRequest, match="waves: this version cannot do this"):
        parsed({"target": "west", "waves": [{}]}, waves=[])


MISTAKES: list[tuple[Any, str | None, str]] = [
    (None, None, "the request is null, it must be an object such as {...}"),
    ([], None, "the request is a list, it must be an object"),
    ("text", None, "the request is a text, it must be an object"),
    (7, None, "the request is a number, it must be an object"),
    ({}, "target", "target: is missing"),
    (
        {"target": "WEST"},
        "target",
        "target: is no id of a-z, 0-9 and -, with at most 63 characters; it is 'WEST'",
    ),
    (
        {"target": "west", "limit": 0},
        "limit",
        "limit: Input should be greater than or equal to 1; it is 0",
    ),
    ({"target": "west", "limt": 1}, "limt", "unknown key 'limt'; did you mean 'limit'?"),
    ({"target": "west", "zzz": 1}, "zzz", "unknown key 'zzz'; known here: "),
    (
        {"target": "west", "mapping": {"storageclasses": {}}},
        "mapping.storageclasses",
        "unknown key 'mapping.storageclasses'; did you mean 'storageClasses'?",
    ),
    ({"target": "west", "mapping": []}, "mapping", "mapping: Input should be a valid dictionary"),
    (
        {"target": "west", "mapping": {"secrets": "x"}},
        "mapping.secrets",
        "mapping.secrets: this version cannot do 'x'",
    ),
    (
        {"target": "west", "waves": [{"a": SECRET}]},
        "waves",
        "waves: this version cannot do this; leave it out",
    ),
    (
        {"target": "west", "guard": True},
        "guard",
        "guard: this version cannot do True; leave it out",
    ),
    ({"target": "west", "guard": 0.5}, "guard", "guard: this version cannot do 0.5; leave it out"),
    ({"target": [SECRET]}, "target", "target: Input should be a valid string"),
]


@pytest.mark.parametrize(("body", "field", "sentence"), MISTAKES)
def test_a_mistake_is_named_with_its_remedy(body: Any, field: str | None, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parsed(body)
    assert (refusal.value.field, refusal.value.message[: len(sentence)]) == (field, sentence)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "body", [{"waves": ()}, {"mapping": {}}, {"mapping": {"storageClasses": {"secrets": "x"}}}]
)
def test_what_changes_nothing_is_accepted(body: dict[str, Any]) -> None:
    assert parsed({"target": "west"} | body).target == "west"


def problem(body: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate(body)
    return caught.value


def test_an_explanation_has_the_path_and_never_the_value() -> None:
    path, sentence = explain(
        problem({"target": "west", "mapping": {"storageClasses": {"a": [SECRET]}}})
    )
    assert path == "mapping.storageClasses.a"
    assert sentence == "mapping.storageClasses.a: Input should be a valid string"
    assert explain(problem([SECRET]))[1].startswith("the document: ")


@pytest.mark.parametrize(
    ("known", "hint"),
    [
        ((), "remove it"),
        (("target", "limit"), "did you mean 'limit'?"),
        (("b", "a"), "known here: a, b"),
    ],
)
def test_an_unknown_key_is_answered_with_a_hint(known: tuple[str, ...], hint: str) -> None:
    assert explain(problem({"target": "west", "limt": SECRET}), known) == (
        "limt",
        f"unknown key 'limt'; {hint}",
    )


@pytest.mark.parametrize("kind", ReplantError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_an_errors_text_is_the_json_that_an_execution_shows(kind: type[ReplantError]) -> None:
    error = kind("ein Grund: ü", "a.b")
    assert json.loads(str(error)) == {
        "code": kind.__name__,
        "message": "ein Grund: ü",
        "field": "a.b",
    }
    assert "ü" in str(error)
