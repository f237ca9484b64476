"""Who uses what a restore made: machines, snapshots and volumes that stand on a target cluster."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared import labels
from shared.jsonpath import dig
from shared.models.machine_disks import claims_of

Live = Mapping[tuple[str, str, str], Mapping[str, Any]]
"""What stands on the target cluster, by kind, namespace ("" for none) and name."""


class Uses(NamedTuple):
    """By namespace and name of a claim: the machines that have it as a disk, with their UIDs, and
    the snapshots that were made of it; by image the volumes that lie over it, by the restore that
    made the claim of each, "" for others', None for one without a claim. Found once for all
    machines of a look, which may be thousands.
    """

    machines: Mapping[tuple[str, str], list[tuple[str, Any]]]
    snapshots: Mapping[tuple[str, str], list[str]]
    volumes: Mapping[str, Mapping[str | None, list[str]]] = {}


def users_of(live: Live) -> Uses:
    machines: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    snapshots: dict[tuple[str, str], list[str]] = {}
    makers: dict[str, str] = {}  # of claims, by their volumes
    over_images: dict[str, Mapping[str, Any]] = {}
    for (kind, namespace, name), each in live.items():
        if kind == "VirtualMachine":
            for claim in claims_of(each):
                user = name, dig(each, "metadata", "uid")
                machines.setdefault((namespace, claim), []).append(user)
        elif kind == "VolumeSnapshot":
            source = str(dig(each, "spec", "source", "persistentVolumeClaimName"))
            snapshots.setdefault((namespace, source), []).append(name)
        elif kind == "PersistentVolumeClaim":
            maker = dig(each, "metadata", "labels", labels.RESTORE)
            makers[str(dig(each, "spec", "volumeName"))] = str(maker or "")
        elif kind == "Volume" and dig(each, "spec", "backingImage"):
            over_images[name] = each
    volumes: dict[str, dict[str | None, list[str]]] = {}
    for name, each in over_images.items():
        known = makers[name] if name in makers else _maker_elsewhere(each, live)
        over = volumes.setdefault(str(dig(each, "spec", "backingImage")), {})
        over.setdefault(known, []).append(name)
    return Uses(machines, snapshots, volumes)


def _maker_elsewhere(volume: Mapping[str, Any], live: Live) -> str | None:
    """Of a volume whose claim is not in the namespaces that were looked at, or is gone."""
    status = dig(volume, "status", "kubernetesStatus")
    bound = dig(status, "pvStatus") == "Bound"
    elsewhere = ("Namespace", "", str(dig(status, "namespace"))) not in live
    return "" if bound and elsewhere else None
