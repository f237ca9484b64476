"""Ways into JSON documents that others wrote."""

from typing import Any


def dig(value: Any, *path: str | int) -> Any:
    """The value at a path of a JSON document; None when anything on the way is absent."""
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value
