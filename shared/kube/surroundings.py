"""What a restore can be planned without: versions, rights, quotas, what is in use, key pairs, room.

None of these reads fails a plan. What could not be looked at is told with the reason, so that its
check says that it was not made.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, NamedTuple

from shared.errors import Refused, Rejected, Unreachable
from shared.jsonpath import dig
from shared.kube import longhorn
from shared.kube.client import TargetCluster
from shared.kube.resources import Object, Objects
from shared.labels import LONGHORN_NAMESPACE
from shared.models.target_facts import (
    DiskRoom,
    InUse,
    Quota,
    Right,
    Rights,
    TargetFacts,
    Versions,
)

DOMAIN = ("spec", "template", "spec", "domain")
VOLUMES = ("spec", "template", "spec", "volumes")
CLOUD_INIT = ("cloudInitNoCloud", "cloudInitConfigDrive")
NETWORK_DATA = ("networkData", "networkDataBase64")
OVER_PROVISIONING = "storage-over-provisioning-percentage"
NOTED_ADDRESSES = "network.harvesterhci.io/ips"
"""Where Harvester notes addresses of a machine that no guest agent tells."""

_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")
_LARGEST = 2**63


class Unseen(NamedTuple):
    """Why something could not be looked at."""

    why: str


class Asked(NamedTuple):
    """Answers that are on their way."""

    one: dict[str, "Future[Any]"]
    rights: dict[str, "Future[Any]"]
    quotas: dict[str, "Future[Any]"]


def ask(pool: Executor, target: TargetCluster, namespaces: Iterable[str]) -> Asked:
    """Of the namespaces, those that do not exist yet as well."""
    names = sorted(set(namespaces))
    reads: dict[str, Callable[[], Any]] = {
        "kubernetes": target.version,
        "harvester": lambda: target.get("HarvesterSetting", None, "server-version"),
        "longhorn": lambda: longhorn.read_version(target),
        "kubevirt": lambda: target.list("KubeVirt"),
        "instances": lambda: target.list("VirtualMachineInstance"),
        "key-pair": lambda: target.list_metadata("KeyPair"),
        "nodes": lambda: target.list("LonghornNode", LONGHORN_NAMESPACE),
        "over-provisioning": lambda: target.get("Setting", LONGHORN_NAMESPACE, OVER_PROVISIONING),
    }
    return Asked(
        {name: pool.submit(_optional, read) for name, read in reads.items()},
        {
            name: pool.submit(_optional, partial(target.review_rights, name))
            for name in {*names, LONGHORN_NAMESPACE}
        },
        {
            name: pool.submit(_optional, partial(target.list, "ResourceQuota", name))
            for name in names
        },
    )


def gather(asked: Asked, machines: Objects, stated: Versions) -> TargetFacts:
    """The answers as facts; MACHINES are the target's, STATED wins over what is read."""
    one = {name: each.result() for name, each in asked.one.items()}
    rights = {name: each.result() for name, each in asked.rights.items()}
    quotas = {name: each.result() for name, each in asked.quotas.items()}
    found = {name: each for name, each in one.items() if not isinstance(each, Unseen)}
    read = {
        "kubernetes": _text(found.get("kubernetes")),
        "harvester": _setting(found.get("harvester")),
        "longhorn": _text(found.get("longhorn")),
        "kubevirt": _kubevirt(found.get("kubevirt")),
    }
    counted = {name: each for name, each in quotas.items() if isinstance(each, list)}
    versions = {name: getattr(stated, name) or text or None for name, text in read.items()}
    return TargetFacts(
        versions=Versions(**versions),
        rights={name: _rights(each) for name, each in rights.items() if isinstance(each, dict)},
        quotas={name: tuple(map(_quota, each)) for name, each in counted.items()},
        in_use=_in_use(machines, found.get("instances") or []),
        key_pairs=frozenset(map(_name, found.get("key-pair") or [])),
        disks=_disks(found.get("nodes"), found.get("over-provisioning")),
        unseen=dict(_unseen(one, rights, quotas, versions)),
    )


def _optional(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (Refused, Rejected, Unreachable) as error:
        return Unseen(error.message)


def _unseen(
    one: dict[str, Any],
    rights: dict[str, Any],
    quotas: dict[str, Any],
    versions: dict[str, str | None],
) -> Iterator[tuple[str, str]]:
    """By the name of the check that misses it, the first reason of each."""
    lacking = {name: one[name] for name, version in versions.items() if version is None}
    groups = {
        **{name: [each] for name, each in lacking.items()},
        "permissions": list(rights.values()),
        "quota": list(quotas.values()),
        "in-use": [one["instances"]],
        "key-pair": [one["key-pair"]],
        "capacity": [one["nodes"], one["over-provisioning"]],
    }
    for name, answers in groups.items():
        if why := next((each.why for each in answers if isinstance(each, Unseen)), None):
            yield name, why


def _setting(setting: Any) -> str:
    return _text(dig(setting, "value")) or _text(dig(setting, "default"))


def _kubevirt(found: Any) -> str:
    """There is one; of several, none is the one."""
    told = {_text(dig(each, "status", "observedKubeVirtVersion")) for each in found or []} - {""}
    return told.pop() if len(told) == 1 else ""


def _rights(status: Object) -> Rights:
    rules = [
        Right(
            groups=_texts(dig(rule, "apiGroups")),
            resources=_texts(dig(rule, "resources")),
            verbs=_texts(dig(rule, "verbs")),
        )
        for rule in _items(status.get("resourceRules"))
        # One about single objects does not allow to make others.
        if not dig(rule, "resourceNames")
    ]
    return Rights(rules=tuple(rules), whole=status.get("incomplete") is False)


def _quota(each: Object) -> Quota:
    hard = _quantities(dig(each, "status", "hard")) or _quantities(dig(each, "spec", "hard"))
    return Quota(
        name=each["metadata"]["name"],
        hard=hard,
        used=_quantities(dig(each, "status", "used")),
        scoped=bool(dig(each, "spec", "scopes") or dig(each, "spec", "scopeSelector")),
    )


def _quantities(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {
        name: str(each)
        for name, each in value.items()
        if isinstance(each, str | int) and not isinstance(each, bool)
    }


def _in_use(machines: Objects, instances: Objects) -> InUse:
    """Of two machines that have one already, the first."""
    macs: dict[str, str] = {}
    firmware: dict[str, str] = {}
    addresses: dict[str, str] = {}
    network_data: dict[str, tuple[str, ...]] = {}
    for each in machines:
        owner = _name(each)
        domain = dig(each, *DOMAIN)
        for interface in _items(dig(domain, "devices", "interfaces")):
            _note(macs, dig(interface, "macAddress"), owner)
        _note_firmware(firmware, domain, owner)
        noted = dig(each, "metadata", "annotations", NOTED_ADDRESSES)
        for address in _ADDRESS.findall(_text(noted)):
            _note(addresses, address, owner)
        if documents := tuple(_network_data(each)):
            network_data[owner] = documents
    for each in instances:
        owner = _name(each)
        _note_firmware(firmware, dig(each, "spec", "domain"), owner)
        for interface in _items(dig(each, "status", "interfaces")):
            seen = [dig(interface, "ipAddress"), *_items(dig(interface, "ipAddresses"))]
            for address in seen:
                _note(addresses, address, owner)
    return InUse(macs=macs, firmware=firmware, addresses=addresses, network_data=network_data)


def _note(found: dict[str, str], value: Any, owner: str) -> None:
    if isinstance(value, str) and value:
        found.setdefault(value.lower(), owner)


def _note_firmware(found: dict[str, str], domain: Any, owner: str) -> None:
    for what in ("uuid", "serial"):
        if value := _text(dig(domain, "firmware", what)):
            _note(found, f"{what} {value}", owner)


def _network_data(machine: Object) -> Iterator[str]:
    for volume in _items(dig(machine, *VOLUMES)):
        for kind in CLOUD_INIT:
            for form in NETWORK_DATA:
                if text := _text(dig(volume, kind, form)):
                    yield text


def _disks(nodes: Any, setting: Any) -> tuple[DiskRoom, ...] | None:
    """None where one that takes replicas does not tell its size, where no node tells of any, or
    where Longhorn does not say how much more than their size it promises.
    """
    percent = _setting(setting)
    if not nodes or not re.fullmatch("[0-9]{1,6}", percent):
        return None
    if not any(_statuses(node) for node in nodes):
        return None
    found = [disk for node in nodes for disk in _disks_of(node, int(percent))]
    known = tuple(disk for disk in found if disk is not None)
    return known if len(known) == len(found) else None


def _statuses(node: Object) -> dict[str, Any]:
    statuses = dig(node, "status", "diskStatus")
    return statuses if isinstance(statuses, dict) else {}


def _disks_of(node: Object, percent: int) -> Iterator[DiskRoom | None]:
    """Those that take replicas (longhorn-manager scheduler/replica_scheduler.go)."""
    statuses = _statuses(node)
    if not _takes(node.get("spec"), node.get("status")):
        return
    for name, status in statuses.items():
        spec = dig(node, "spec", "disks", name)
        if not _takes(spec, status):
            continue
        maximum = _size(status, "storageMaximum")
        if maximum is None:
            yield None
            continue
        scheduled = _size(status, "storageScheduled") or 0
        reserved = _size(spec, "storageReserved") or 0
        room = (maximum - reserved) * percent // 100 - scheduled
        yield DiskRoom(node=node["metadata"]["name"], name=str(name), room=room)


def _takes(spec: Any, status: Any) -> bool:
    """Whether nothing says that it takes no replica."""
    if dig(spec, "allowScheduling") is False or dig(spec, "evictionRequested") is True:
        return False
    conditions = {
        dig(each, "type"): dig(each, "status") for each in _items(dig(status, "conditions"))
    }
    return "False" not in (conditions.get("Ready"), conditions.get("Schedulable"))


def _size(value: Any, field: str) -> int | None:
    """Bytes; None of what is no size."""
    found = dig(value, field)
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < _LARGEST:
        return found
    return None


def _name(each: Object) -> str:
    return f"{each['metadata'].get('namespace')}/{each['metadata']['name']}"


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in _items(value) if isinstance(each, str))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
