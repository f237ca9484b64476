"""A rollback request as a user types it -> a frozen model (contract, section 5)."""

from typing import Annotated, Any

from pydantic import StrictBool

from shared.models.base import Value, matching
from shared.validation import parse

LACKING: dict[str, tuple[Any, ...]] = {"failoverId": ()}
"""Keys of the contract whose feature does not exist yet."""


class RollbackRequest(Value):
    """Which restore is rolled back, whether machines that have run go too, and whether it is only
    shown.
    """

    restore_id: Annotated[
        str, matching("r-[0-9a-f]{16}", "the restoreId of a restore, such as r-4e65d3fbe8ad6535")
    ]
    delete_started: StrictBool = False
    dry_run: StrictBool = False


def rollback_request(body: Any) -> RollbackRequest:
    """Raises InvalidRequest."""
    return parse(RollbackRequest, body, lacking=LACKING)
