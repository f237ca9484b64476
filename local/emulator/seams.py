"""What a patch replaces, looked up with a check: a new MiniStack fails at start, with the patch's
name.
"""

import inspect
from collections.abc import Callable
from typing import Any


class SeamError(RuntimeError):
    """MiniStack no longer looks as a patch expects."""


def require(patch: str, holds: bool) -> None:
    """Refuse to start when a patch's assumption does not hold."""
    if not holds:
        raise SeamError(
            f"patch {patch}: this MiniStack differs from the version that it was written for"
        )


def seam(patch: str, owner: Any, name: str, *parameters: str) -> Callable[..., Any]:
    """The function to replace, provided that it still takes the expected parameters first."""
    function: Callable[..., Any] | None = getattr(owner, name, None)
    require(patch, callable(function))
    assert function is not None  # noqa: S101 - for mypy: required above
    require(patch, tuple(inspect.signature(function).parameters)[: len(parameters)] == parameters)
    return function


def edit(patch: str, text: str, old: str, new: str) -> str:
    """The text with its one occurrence of old replaced."""
    require(patch, text.count(old) == 1)
    return text.replace(old, new)
