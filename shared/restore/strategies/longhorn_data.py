"""How far the data of a Longhorn volume is that is made of a backup: its Volume and its Engine.

A volume is there at once and its data later (longhorn-manager controller/volume_controller.go):
until then `restoreRequired` is true. One that became faulted meanwhile is never repaired.
"""

from typing import Any

from shared.jsonpath import dig
from shared.labels import LONGHORN_NAMESPACE
from shared.restore.strategies.strategy import Data, Live
from shared.validation import short

STEP = 5  # percent: how far a volume is would otherwise be written down at every look


def of_volume(claim: str, name: str, live: Live) -> Data:
    """The data of a bound claim, whose volume has that NAME."""
    volume = live.get(("Volume", LONGHORN_NAMESPACE, name))
    if volume is None:
        return Data(claim, 0, f"claim {claim}: Longhorn's volume {name} is not there")
    engine = live.get(("Engine", LONGHORN_NAMESPACE, name))
    if dig(volume, "status", "robustness") == "faulted":
        why = f"claim {claim}: Longhorn could not restore volume {name}: {_failure(volume, engine)}"
        return Data(claim, 0, why, failed=True)
    if _is_whole(volume):
        return Data(claim, 100)
    percent = _percent(engine)
    return Data(claim, percent, f"claim {claim}: {percent} % of its data is copied")


def _is_whole(volume: Any) -> bool:
    """One that Longhorn has not begun with does not say yet that it is to be restored."""
    begun = dig(volume, "status", "restoreInitiated") or not dig(volume, "spec", "fromBackup")
    return bool(begun) and not dig(volume, "status", "restoreRequired")


def _percent(engine: Any) -> int:
    """Of the replica that is least far; less than all until the volume itself says so."""
    told = [dig(each, "progress") for each in _replicas(engine)]
    least = min((each for each in told if isinstance(each, int)), default=0)
    return max(0, min(99, least)) // STEP * STEP


def _failure(volume: Any, engine: Any) -> str:
    """Longhorn's own words: of the condition, and of each replica."""
    conditions = dig(volume, "status", "conditions")
    said = [
        dig(each, "message")
        for each in (conditions if isinstance(conditions, list) else [])
        if dig(each, "reason") == "RestoreFailure"
    ]
    said += [dig(each, "error") for each in _replicas(engine)]
    told = dict.fromkeys(str(each) for each in said if each)
    return short("; ".join(told)) or "it is faulted"


def _replicas(engine: Any) -> list[Any]:
    statuses = dig(engine, "status", "restoreStatus")
    return list(statuses.values()) if isinstance(statuses, dict) else []
