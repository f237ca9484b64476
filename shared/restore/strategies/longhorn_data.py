"""What the strategies have in common whose disks are Longhorn's backups: what must be there for
them, and how far the data of a volume is that is made of one, by its Volume and its Engine.

A volume is there at once and its data later (longhorn-manager controller/volume_controller.go):
until then `restoreRequired` is true. One that became faulted meanwhile is never repaired.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from shared import labels
from shared.jsonpath import dig
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_plans import Check, MachinePlan
from shared.models.restore_points import Volume
from shared.restore.strategies.strategy import Data, Live
from shared.validation import short

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts
    from shared.restore.wanted import Wanted

READY = "ready"
STEP = 5  # percent: how far a volume is would otherwise be written down at every look


def check_target(target: str, facts: "ClusterFacts") -> Iterator[Check]:
    if "BackupTarget" in facts.unserved:
        said = f"Cluster {target} has no Longhorn (longhorn.io/v1beta2). Install it, or choose"
        message = f"{said} another cluster."
        yield Check(check="longhorn", subject=target, verdict="block", message=message)


def check_disk(wanted: "Wanted", volume: Volume) -> Iterable[Check]:
    # Here, since functions that only look after machines start without all that planning needs.
    from shared.restore import backup_checks, class_checks, image_checks

    yield backup_checks.of_disk(wanted, volume)
    yield from class_checks.of_disk(wanted, volume)
    if image := image_checks.of_disk(wanted, volume):
        yield image


def of_machine(machine: MachinePlan, live: Live) -> list[Data]:
    return [_of_claim(machine, name, live) for name in machine.claims]


def _of_claim(machine: MachinePlan, name: str, live: Live) -> Data:
    claim = live.get(("PersistentVolumeClaim", machine.namespace, name))
    if claim is None:
        return Data(name, 0, f"claim {name} is not there")
    phase = dig(claim, "status", "phase") or "without a status"
    if phase == "Bound":
        return of_volume(name, str(dig(claim, "spec", "volumeName")), live)
    if phase != "Lost" and name in machine.lazy:
        return Data(name, 0, f"claim {name} is bound when its machine starts", at_start=True)
    return Data(name, 0, f"claim {name} is {phase}{_reason(machine, name, claim, live)}")


def _reason(machine: MachinePlan, name: str, claim: object, live: Live) -> str:
    """The provisioner's own words, or else the snapshot's, if it is of one."""
    event = dig(live.get(("Event", machine.namespace, name)), "message")
    if isinstance(event, str) and event:
        return f": {short(event)}"
    snapshot_name = str(dig(claim, "spec", "dataSource", "name"))
    snapshot = live.get(("VolumeSnapshot", machine.namespace, snapshot_name))
    if snapshot is None or dig(snapshot, "status", "readyToUse"):
        return ""
    error = dig(snapshot, "status", "error", "message") or "not ready to use"
    return f", its VolumeSnapshot {snapshot_name}: {error}"


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
        if other := _other_data(volume, engine):
            return Data(claim, 0, f"claim {claim}: {other}", failed=True)
        return Data(claim, 100)
    percent = _percent(engine)
    said = f"claim {claim}: {percent} % of its data is copied"
    return Data(claim, percent, said + _image(volume, live))


def _other_data(volume: Any, engine: Any) -> str | None:
    """Of one that stood by: Longhorn restores the newest backup to it before it lets it be used."""
    wanted = dig(volume, "metadata", "annotations", labels.HOLDS)
    held = dig(engine, "status", "lastRestoredBackup")
    if not wanted or held == wanted:
        return None
    name = dig(volume, "metadata", "name")
    said = f"Longhorn's volume {name}, which stood by, holds backup {held} by now, not {wanted}"
    return f"{said}. Start a new restore, with another requestId"


def _is_whole(volume: Any) -> bool:
    """One that Longhorn has not begun with does not say yet that it is to be restored; one that
    stands by does so until it holds the newest backup and is wanted.
    """
    if dig(volume, "status", "isStandby"):
        return False
    begun = dig(volume, "status", "restoreInitiated") or not dig(volume, "spec", "fromBackup")
    return bool(begun) and not dig(volume, "status", "restoreRequired")


def _percent(engine: Any) -> int:
    """Of the replica that is least far; less than all until the volume itself says so."""
    told = [dig(each, "progress") for each in _replicas(engine)]
    least = min((each for each in told if isinstance(each, int)), default=0)
    return max(0, min(99, least)) // STEP * STEP


def _image(volume: Any, live: Live) -> str:
    """How far the image is that the volume lies over, where no disk of the cluster has it yet:
    without it no data comes. Longhorn tries a failed one again.
    """
    name = str(dig(volume, "spec", "backingImage") or "")
    files = dig(live.get(("BackingImage", LONGHORN_NAMESPACE, name)), "status", "diskFileStatusMap")
    told = list(files.values()) if isinstance(files, dict) else []
    if not told or any(dig(each, "state") == READY for each in told):
        return ""
    failed = [str(dig(each, "message") or "no reason is given") for each in told if _failed(each)]
    if failed:
        return f"; its image {short(name)} cannot be copied: {short('; '.join(failed))}"
    copied = [each for each in (dig(one, "progress") for one in told) if isinstance(each, int)]
    return f"; {max(copied, default=0) // STEP * STEP} % of its image {short(name)} first"


def _failed(file: Any) -> bool:
    return str(dig(file, "state")).startswith("failed")


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
