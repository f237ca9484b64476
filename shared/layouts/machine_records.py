"""A machine's metadata, in whatever layout -> as Harvester writes it: the one form that restores
are made of.
"""

from typing import Any

from pydantic_core import from_json

from shared.errors import Unreadable
from shared.layouts.registry import recognise
from shared.models.facts import Kind


def machine_record(key: str, body: bytes, vm: str) -> dict[str, Any]:
    """BODY as it was catalogued under the KEY, of the machine that the catalogue calls VM. Its
    values may be secret. Raises Unreadable.
    """
    if recognise(key).kind is Kind.FOLDER:
        from shared.layouts import folder_records  # its models and PyYAML, only where one is met

        return folder_records.machine_record(key, body, vm)
    try:
        document = from_json(body)
    except ValueError:
        raise Unreadable("It is no JSON.") from None
    if not isinstance(document, dict):
        raise Unreadable("It is no JSON object.")
    return document
