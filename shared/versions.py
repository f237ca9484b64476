"""Versions as clusters and people write them ("v1.34.1+rke2r1", "1.8.2", "v1.7.0-rc1"), and spans
of them.
"""

import re
from typing import NamedTuple

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:[-+.].*)?")
_LENGTH = 64


class Version(NamedTuple):
    """One without a patch number is the first of its kind."""

    major: int
    minor: int
    patch: int = 0

    @property
    def line(self) -> tuple[int, int]:
        """What its patches have in common."""
        return self.major, self.minor


class Span(NamedTuple):
    """The versions from LEAST on, and only those BELOW the other; None is no bound."""

    least: Version | None = None
    below: Version | None = None

    def holds(self, other: "Span") -> bool:
        """Whether every version of the other one is in this one."""
        after = self.least is None or (other.least is not None and other.least >= self.least)
        before = self.below is None or (other.below is not None and other.below <= self.below)
        return after and before

    def meets(self, other: "Span") -> bool:
        """Whether a version can be in both."""
        both = self.within(other)
        return both.least is None or both.below is None or both.least < both.below

    def within(self, other: "Span") -> "Span":
        """The versions that are in both."""
        starts = [each for each in (self.least, other.least) if each is not None]
        ends = [each for each in (self.below, other.below) if each is not None]
        return Span(max(starts, default=None), min(ends, default=None))

    def together(self, other: "Span") -> "Span":
        """The smallest span that has all of both."""
        least = below = None
        if self.least is not None and other.least is not None:
            least = min(self.least, other.least)
        if self.below is not None and other.below is not None:
            below = max(self.below, other.below)
        return Span(least, below)

    def __str__(self) -> str:
        if self.least is None and self.below is None:
            return "any"
        said = []
        if self.least is not None:
            said.append(f"from {_told(self.least)} on")
        if self.below is not None:
            said.append(f"before {_told(self.below)}")
        return ", ".join(said)


def parse(text: str | None) -> Version | None:
    """None for what is no version ("dev"). A pre-release is taken for its release, whose behaviour
    it has.
    """
    match = _VERSION.fullmatch(text) if text and len(text) <= _LENGTH else None
    if match is None:
        return None
    return Version(int(match[1]), int(match[2]), int(match[3] or 0))


def since(major: int, minor: int) -> Span:
    """That version and all later ones."""
    return Span(least=Version(major, minor))


def before(major: int, minor: int) -> Span:
    """All versions before that one."""
    return Span(below=Version(major, minor))


def exactly(version: Version) -> Span:
    """That version alone."""
    return Span(version, version._replace(patch=version.patch + 1))


def _told(version: Version) -> str:
    if version.patch:
        return ".".join(map(str, version))
    return f"{version.major}.{version.minor}"
