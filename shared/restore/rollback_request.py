"""A rollback request as a user types it -> a frozen model (contract, section 5)."""

from typing import Annotated, Any

from pydantic import StrictBool

from shared.errors import InvalidRequest
from shared.models.base import Value, matching
from shared.validation import parse

RestoreId = Annotated[
    str, matching("r-[0-9a-f]{16}", "the restoreId of a restore, such as r-4e65d3fbe8ad6535")
]
FailoverId = Annotated[
    str, matching("f-[0-9a-f]{16}", "the failoverId of a failover, such as f-0f3b2c1d4e5a6978")
]


class RollbackRequest(Value):
    """Which restore, or which failover with all its waves, is rolled back, whether machines that
    have run go too, and whether it is only shown. KEEP: the opposite, of mode emergency; what it
    made becomes permanent.
    """

    restore_id: RestoreId | None = None
    failover_id: FailoverId | None = None
    delete_started: StrictBool = False
    dry_run: StrictBool = False
    keep: StrictBool = False

    @property
    def named(self) -> str:
        """The id that it gives."""
        return self.restore_id or self.failover_id or ""


def rollback_request(body: Any) -> RollbackRequest:
    """Raises InvalidRequest."""
    wanted = parse(RollbackRequest, body, lacking={})
    if bool(wanted.restore_id) == bool(wanted.failover_id):
        how = "both are" if wanted.restore_id else "neither is"
        raise InvalidRequest(
            f"restoreId, failoverId: {how} given. Name what is to be rolled back: one restore, or"
            " one failover with all its waves.",
            "restoreId",
        )
    if wanted.keep and (wanted.failover_id or wanted.delete_started or wanted.dry_run):
        raise InvalidRequest(
            "keep: goes with restoreId alone. To delete what the restore made, leave keep out.",
            "keep",
        )
    return wanted
