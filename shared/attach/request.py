"""A request to attach or detach a backup target, as a user types it -> a frozen model (contract,
section 5).
"""

from typing import Any

from pydantic import StrictBool

from shared.models.base import ClusterId, Value
from shared.validation import parse


class AttachRequest(Value):
    """The backup TARGET that Longhorn on the CLUSTER is to read, or (DETACH) no more; DRY_RUN shows
    it.
    """

    target: ClusterId
    cluster: ClusterId
    dry_run: StrictBool = False
    detach: StrictBool = False


def attach_request(body: Any) -> AttachRequest:
    """Raises InvalidRequest."""
    return parse(AttachRequest, body, lacking={})
