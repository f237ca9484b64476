"""Disks from images that the target cluster imports: DataVolume of CDI -> the claim that it brings.

CDI makes the claim, with the labels and annotations of the DataVolume, which owns it, and a pod
that writes the image to it (containerized-data-importer pkg/controller/datavolume). Where the claim
is deleted and the DataVolume is not, it makes another one.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.jsonpath import dig
from shared.models.restore_plans import Check, MachinePlan, PlannedObject
from shared.models.restore_points import Volume
from shared.restore.strategies.strategy import Data, Live, Strategy
from shared.validation import short

if TYPE_CHECKING:
    from shared.models.cluster_facts import ClusterFacts
    from shared.restore.wanted import Wanted

DONE = "Succeeded"
STEP = 5  # percent: how far it is would otherwise be written down at every look


def check_target(target: str, facts: "ClusterFacts") -> Iterator[Check]:
    if "DataVolume" in facts.unserved:
        said = f"Cluster {target} does not serve DataVolume (cdi.kubevirt.io/v1beta1)"
        remedy = "Harvester has it since 1.5. Upgrade it, or choose another cluster."
        yield _block("import", target, f"{said}. {remedy}")
    if facts.imports.problem:
        yield _block("import-keys", target, facts.imports.problem)


def _block(check: str, target: str, message: str) -> Check:
    return Check(check=check, subject=target, verdict="block", message=message)


# Imported where they are needed: functions that only look after machines start without all that
# planning needs.


def check_disk(wanted: "Wanted", volume: Volume) -> Iterator[Check]:
    from shared.restore.strategies import import_objects

    yield from import_objects.check_disk(wanted, volume)


def make_disk(wanted: "Wanted", volume: Volume) -> Iterator[PlannedObject]:
    from shared.restore.strategies import import_objects

    yield from import_objects.make_disk(wanted, volume)


def make_secrets(wanted: "Wanted") -> Iterator[PlannedObject]:
    from shared.restore.strategies import import_objects

    yield import_objects.make_secret(wanted)


def data(machine: MachinePlan, live: Live) -> list[Data]:
    return [_of_claim(machine, name, live) for name in machine.claims]


def _of_claim(machine: MachinePlan, name: str, live: Live) -> Data:
    """A claim is bound long before its image is in it."""
    claim = live.get(("PersistentVolumeClaim", machine.namespace, name))
    if claim is None:
        return Data(name, 0, f"claim {name} is not there")
    if dig(claim, "status", "phase") == "Lost":
        return Data(name, 0, f"claim {name} is Lost", failed=True)
    volume = live.get(("DataVolume", machine.namespace, name))
    if volume is None:
        return Data(name, 0, f"DataVolume {name} is not there")
    phase = dig(volume, "status", "phase") or "without a status"
    if phase == DONE:
        return Data(name, 100)
    percent = _percent(volume)
    event = dig(live.get(("Event", machine.namespace, name)), "message")
    why = event or _why(volume)
    told = f"{phase}: {short(str(why))}" if why else phase
    said = f"claim {name}: {percent} % of its image is imported (DataVolume {told})"
    return Data(name, percent, said)


def _percent(volume: object) -> int:
    """CDI writes `42.17%`, and `N/A` before it knows; all of it only once it is done."""
    told = str(dig(volume, "status", "progress") or "").removesuffix("%")
    try:
        percent = int(float(told))
    except (ValueError, OverflowError):
        return 0
    return max(0, min(99, percent)) // STEP * STEP


def _why(volume: object) -> object:
    """What its pod said when it last ended: CDI starts it again, for ever."""
    conditions = dig(volume, "status", "conditions")
    for each in conditions if isinstance(conditions, list) else []:
        if (dig(each, "type"), dig(each, "status")) == ("Running", "False"):
            return dig(each, "message")
    return None


IMPORT = Strategy(
    name="import",
    kinds=("DataVolume", "PersistentVolumeClaim"),
    check_target=check_target,
    check_disk=check_disk,
    make_disk=make_disk,
    data=data,
    make_secrets=make_secrets,
)
