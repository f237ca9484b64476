"""Versions as clusters write them, and spans of them."""

import pytest

from shared.versions import Span, Version, before, exactly, parse, since


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.34.1+rke2r1", (1, 34, 1)),
        ("1.8.2", (1, 8, 2)),
        ("v1.7.0-rc1", (1, 7, 0)),
        ("1.10", (1, 10, 0)),
        ("v1.12.x-head", (1, 12, 0)),
        ("1.7.0-150700.3.5.2", (1, 7, 0)),
    ],
)
def test_a_version_is_read_from_what_is_around_it(text: str, version: tuple[int, ...]) -> None:
    assert parse(text) == version


@pytest.mark.parametrize(
    "text", [None, "", "dev", "v1", "master-head", "one.two", "1.12345", "1.2" + "-" * 100, "1.2\n"]
)
def test_what_is_no_version_is_none(text: str | None) -> None:
    assert parse(text) is None


def test_a_span_holds_what_is_inside_and_meets_what_is_partly() -> None:
    span = Span(Version(1, 4), Version(1, 6))
    assert span.holds(exactly(Version(1, 5, 2)))
    assert not span.holds(exactly(Version(1, 6)))
    assert not span.holds(since(1, 5)), "which has no end"
    assert not span.holds(before(1, 5)), "which has no beginning"
    assert span.meets(since(1, 5))
    assert not span.meets(since(1, 6))
    assert not span.meets(before(1, 4))
    assert Span().holds(span)


def test_spans_together_are_what_either_may_be() -> None:
    assert since(1, 4).together(since(1, 2)) == since(1, 2)
    assert before(1, 4).together(before(1, 6)) == before(1, 6)
    assert since(1, 4).together(before(1, 6)) == Span()


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (Span(), "any"),
        (since(1, 4), "from 1.4 on"),
        (before(1, 9), "before 1.9"),
        (Span(Version(1, 8, 2), Version(1, 9)), "from 1.8.2 on, before 1.9"),
    ],
)
def test_a_span_is_told_in_words(span: Span, said: str) -> None:
    assert str(span) == said
