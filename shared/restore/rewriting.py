"""What the mapping changes in values that a plan does not hold: the plan has the rule, and the
value is changed where it is filled in.
"""

import base64
from collections.abc import Callable
from typing import Any

from shared.models.restore_plans import Change, Rewrite
from shared.restore import network_data
from shared.restore.addresses import Ranges
from shared.restore.network_data import Rewritten

CLOUD_INIT = ("cloudInitNoCloud", "cloudInitConfigDrive")
IN_SECRETS = ("networkdata", "networkData")
"""The keys by which KubeVirt finds network data in a Secret (pkg/cloud-init)."""

USER_DATA = "kubevirt.io/ignitiondata"
"""An annotation that is what user data is elsewhere."""


def change_of(to: tuple[str | int, ...]) -> Change | None:
    """What a value of a machine may be changed by, told by its place in the manifest."""
    if "annotations" in to:
        return None if to[-1] == USER_DATA else Change.ADDRESSES
    if len(to) > 1 and to[-2] in CLOUD_INIT:
        kinds = {
            "networkData": Change.NETWORK_DATA,
            "networkDataBase64": Change.NETWORK_DATA_BASE64,
        }
        return kinds.get(str(to[-1]))
    return None


def rewrite(value: Any, change: Change, how: Rewrite) -> Rewritten:
    """Never raises; the text is the value itself where nothing is changed."""
    if not isinstance(value, str):
        return Rewritten(value)
    return _WAYS[change](value, how)


def _plain(text: str, how: Rewrite) -> Rewritten:
    return Rewritten(*Ranges(how.addresses).replace(text))


def _encoded(text: str, how: Rewrite) -> Rewritten:
    try:
        # Go reads base64 of several lines as well
        document = base64.b64decode("".join(text.split()), validate=True).decode()
    except ValueError:
        return Rewritten(text, problem="it is not text in base64")
    made = network_data.rewrite(document, how)
    if made.text == document:
        return made._replace(text=text)
    return made._replace(text=base64.b64encode(made.text.encode()).decode())


_WAYS: dict[Change, Callable[[str, Rewrite], Rewritten]] = {
    Change.ADDRESSES: _plain,
    Change.NETWORK_DATA: network_data.rewrite,
    Change.NETWORK_DATA_BASE64: _encoded,
}
