"""Ways into JSON documents that others wrote."""

from typing import Any


def dig(value: Any, *path: str | int) -> Any:
    """The value at a path of a JSON document; None when anything on the way is absent."""
    for part in path:
        if not _has(value, part):
            return None
        value = value[part]
    return value


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value)
