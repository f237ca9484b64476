"""The disks that stand on a target cluster: claims, Longhorn's volumes behind them, and the
machines that have them.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.jsonpath import dig
from shared.kube.client import TargetCluster
from shared.kube.parallel import each_of
from shared.kube.resources import Object
from shared.labels import LONGHORN_NAMESPACE
from shared.models.cluster_facts import StandingClaim, StandingDisks, StandingVolume
from shared.models.machine_disks import claims_of
from shared.quantities import number
from shared.validation import listed


def observe(
    target: TargetCluster, namespaces: Iterable[str], machines: Iterable[Object]
) -> StandingDisks:
    """MACHINES are those of the namespaces. Raises what TargetCluster raises."""
    users = _users(machines)
    listed = each_of(namespaces, lambda name: target.list("PersistentVolumeClaim", name))
    claims = {
        _place(each): _claim(each, users.get(_place(each), []))
        for every in listed.values()
        for each in every
    }
    if not target.serves("Volume"):
        return StandingDisks(claims)
    # A PersistentVolume of Longhorn's has its volume's name (csi/controller_server.go).
    bound = {each.volume: place for place, each in claims.items() if each.phase == "Bound"}
    volumes = {
        each["metadata"]["name"]: _volume(each)
        for each in target.list("Volume", LONGHORN_NAMESPACE)
    }
    named = {
        name: each._replace(claim=each.claim or bound.get(name, ""))
        for name, each in volumes.items()
    }
    return StandingDisks(claims, named)


def _place(each: Object) -> str:
    return f"{each['metadata'].get('namespace')}/{each['metadata']['name']}"


def _users(machines: Iterable[Object]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in machines:
        namespace = each["metadata"].get("namespace")
        for claim in claims_of(each):
            found.setdefault(f"{namespace}/{claim}", []).append(each["metadata"]["name"])
    return found


def _claim(each: Object, users: list[str]) -> StandingClaim:
    return StandingClaim(
        phase=str(dig(each, "status", "phase") or "without a status"),
        volume=str(dig(each, "spec", "volumeName") or ""),
        size_bytes=_bytes(dig(each, "status", "capacity", "storage")),
        users=tuple(sorted(users)),
    )


def _volume(each: Object) -> StandingVolume:
    made_of = _query(dig(each, "spec", "fromBackup"))
    status = dig(each, "status", "kubernetesStatus")
    claim = ""
    if dig(status, "pvStatus") == "Bound":
        claim = f"{dig(status, 'namespace')}/{dig(status, 'pvcName')}"
    return StandingVolume(
        source=made_of.get("volume", ""),
        backup=made_of.get("backup", ""),
        claim=claim,
        size_bytes=_bytes(dig(each, "spec", "size")),
        problem=_problem(each),
    )


def _query(url: Any) -> dict[str, str]:
    """Of a backup's URL, as Longhorn writes it (backupstore, EncodeBackupURL)."""
    try:
        query = urlsplit(str(url or "")).query
    except ValueError:
        return {}
    return {name: values[0] for name, values in parse_qs(query).items()}


def _problem(each: Object) -> str | None:
    if dig(each, "status", "robustness") == "faulted":
        return "is faulted: Longhorn has no healthy copy of its data"
    if dig(each, "status", "restoreRequired"):
        return "is still being copied from its backup"
    if pods := _pods(each):
        return f"is in use by pod {listed(pods)}"
    return None


def _pods(each: Object) -> list[str]:
    """Those that have it mounted: Longhorn remembers others too, with the time when they went."""
    status = dig(each, "status", "kubernetesStatus")
    workloads = dig(status, "workloadsStatus")
    if dig(status, "lastPodRefAt") or not isinstance(workloads, list):
        return []
    return [str(dig(one, "podName")) for one in workloads]


def _bytes(quantity: Any) -> int | None:
    try:
        return int(number(quantity))
    except ValueError:
        return None
