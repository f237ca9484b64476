"""What Harvester's VirtualMachineBackups say of themselves."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.jsonpath import dig
from shared.validation import short

RECORD = "VirtualMachineBackup"


def backups_of(record: Mapping[str, Any]) -> frozenset[str]:
    """The names of Longhorn's backups that it is of."""
    names = (dig(each, "longhornBackupName") for each in _list(record, "volumeBackups"))
    return frozenset(str(each) for each in names if each)


def why_unready(record: Mapping[str, Any] | None) -> str | None:
    """In Harvester's own words, where there are any; None where it can be restored from."""
    if dig(record, "status", "readyToUse"):
        return None
    told = dict.fromkeys([dig(record, "status", "error", "message"), *_said(record)])
    return short("; ".join(str(each) for each in told if each)) or "Harvester looks at it"


def _said(record: Mapping[str, Any] | None) -> Iterator[Any]:
    for each in _list(record, "conditions"):
        if dig(each, "type") == "Progressing":
            yield dig(each, "message")


def _list(record: Mapping[str, Any] | None, name: str) -> list[Any]:
    found = dig(record, "status", name)
    return found if isinstance(found, list) else []
