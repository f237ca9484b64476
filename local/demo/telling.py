"""How the story is told: chapters, their steps, what is shown, and what must be true."""

from textwrap import fill, indent

WIDTH = 96


class UntrueError(AssertionError):
    """A step of the story did not come true."""


def chapter(title: str) -> None:
    print(f"\n\n{title}\n{'=' * len(title)}", flush=True)


def step(text: str) -> None:
    print(f"\n{fill(text, WIDTH)}", flush=True)


def show(text: str) -> None:
    print(f"\n{indent(text, '  ')}", flush=True)


def line(text: str) -> None:
    """What happens now, below what was said last."""
    print(f"  {text}", flush=True)


def true(fact: bool, sentence: str) -> None:
    if not fact:
        raise UntrueError(sentence)
