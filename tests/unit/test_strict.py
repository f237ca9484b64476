"""The loaders of hostile documents: what plain data becomes, and what is said of anything else."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shared import strict_json, strict_yaml

PLANTED = "PLANTED-s3cret"


def read(text: str) -> dict[str, object]:
    return strict_yaml.read(text.encode(errors="surrogatepass"), largest=64 * 1024)


def test_every_scalar_stays_text() -> None:
    text = "a: 1.10\nb: no\nc: 2026-01-01\nd: [~, 0x1f]\ne: {f: 'x'}\n"
    found = {"a": "1.10", "b": "no", "c": "2026-01-01", "d": ["~", "0x1f"], "e": {"f": "x"}}
    assert read(text) == found


FAULTS = [
    ("a: &a [b]\nc: *a", "line 1 uses a YAML anchor or alias (&name, *name); write the value out"),
    ("a: b\nc: *a", "line 2 uses a YAML anchor or alias (&name, *name); write the value out"),
    ("a: !!binary UExB", "line 1 uses a YAML tag (!name); leave it out"),
    ("a: !x {b: c}", "line 1 uses a YAML tag (!name); leave it out"),
    ("a: b\nc: d\na: e", "line 3 has the key 'a' twice; keep one"),
    ("a:\n- b: 1\n  b: 2", "line 3 has the key 'b' twice; keep one"),
    (f"{PLANTED}: a\n{PLANTED}: b", "line 2 has a key twice; keep one"),
    ("a: b\n? [c]\n: d", "line 2 has a key that is not a text"),
    ("a: " + "[" * 30 + "]" * 30, "line 1 is nested deeper than 24 levels"),
    ("[" * 50_000, "line 1 is nested deeper than 24 levels"),
    ('a: "\\ud800"', "line 1 has an escape that is half a character"),
    ('a: "\\U00110000"', "the document is not valid YAML: a number in it is out of range"),
    ('a: "\\UFFFFFFFF"', "the document is not valid YAML: a number in it is out of range"),
    (
        f"%YAML 1.{'9' * 5000}\n---\na: b",
        "the document is not valid YAML: a number in it is out of",
    ),
    ("a: b\n---\nc: d", "line 2 begins a second document; keep one"),
    ("a: b\n c: d", "line 2 is not valid YAML: mapping values are not allowed here"),
    (
        f"%TAG !{PLANTED}! x\n%TAG !{PLANTED}! y\n---\na: b",
        "is not valid YAML: duplicate tag handle",
    ),
    ("a: \x01", "the document is not valid YAML: a special character"),
    ("a: \ud800", "line 1 is not UTF-8"),
    ("- a", "the document must be a mapping of keys to values"),
    ("", "the document must be a mapping of keys to values"),
    ("#" * 70_000, "the document has 70000 bytes; it may have 65536"),
    ("é" * 40_000, "the document has 80000 bytes; it may have 65536"),
]


@pytest.mark.parametrize(("text", "sentence"), FAULTS)
def test_what_is_not_plain_data_is_told_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(strict_yaml.Fault) as caught:
        read(text)
    assert sentence in str(caught.value)
    assert PLANTED not in str(caught.value)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@#?, \n\\U0189udxF"))
def test_no_text_raises_anything_but_a_fault(text: str) -> None:
    try:
        found = read(text)
    except strict_yaml.Fault:
        return
    assert found == yaml.load(text, yaml.BaseLoader)  # noqa: S506 - text only


BROKEN = [
    (b"", "the file is empty, probably an interrupted upload"),
    (b" \n", "the file is empty, probably an interrupted upload"),
    (b'{"a": [1, 2', "the file ends at column 11, probably an interrupted upload"),
    (b'{"a":\n "b', "the file ends at line 2, column 3, probably an interrupted upload"),
    (b"{'a': 1}", "key must be a string at line 1 column 2"),
    (b'{"a": NaN}', "Invalid JSON"),
    (b'{"a": "\\ud800"}', "Invalid JSON"),
    (b"\xff", "Invalid JSON"),
    (b"[" * 100 + b"]" * 100, "nested deeper than 64 levels"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a": {}}' + b"x", "trailing characters"),
]


@pytest.mark.parametrize(("body", "sentence"), BROKEN)
def test_what_is_not_json_is_told(body: bytes, sentence: str) -> None:
    with pytest.raises(strict_json.Fault) as caught:
        strict_json.parse(body)
    assert str(caught.value).startswith("Invalid JSON: ")
    assert sentence in str(caught.value)


def test_the_number_of_values_can_be_bounded() -> None:
    body = json.dumps([0] * 100).encode()
    assert strict_json.parse(body, most=100) == [0] * 100
    with pytest.raises(strict_json.Fault, match="more than 99 values"):
        strict_json.parse(body, most=99)
    assert strict_json.parse(b'{"a": [{"b": 1}]}') == {"a": [{"b": 1}]}
