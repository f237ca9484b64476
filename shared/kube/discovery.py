"""A target cluster -> what a restore needs to know of it before anything is decided."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from shared import labels
from shared.jsonpath import dig
from shared.kube import longhorn, schema, surroundings
from shared.kube.client import TargetCluster
from shared.kube.parallel import at_once
from shared.kube.resources import Object, Objects
from shared.kube.tracking import makers
from shared.labels import LONGHORN_NAMESPACE
from shared.models.cluster_facts import ClusterFacts, Fields, Needs, StorageClass
from shared.models.longhorn_facts import BackingImageFacts, LonghornFacts
from shared.models.target_facts import Versions

NEEDED = (
    "VirtualMachine",
    "NetworkAttachmentDefinition",
    "VolumeSnapshotClass",
    "BackupTarget",
)
"""Kinds without which a cluster is no target, of each system that a restore needs."""

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def observe(target: TargetCluster, needs: Needs, stated: Versions) -> ClusterFacts:
    """Everything at once, but for what Longhorn knows of single backups, which follows.

    STATED are the versions that a document says. Raises what TargetCluster raises.
    """
    # By itself: a cluster that does not answer is told after one request, not after all of them.
    target.serves("Namespace")
    with at_once() as pool:
        asked = _ask(pool, target, needs)
        facts = _gather(asked, stated)
    if needs.disks:
        from shared.kube import disks  # few restores are of disks that stand

        machines = asked.served["VirtualMachine"].result() or []
        facts = facts._replace(standing=disks.observe(target, needs.namespaces, machines))
    if needs.imports and not target.serves("DataVolume"):
        facts = facts._replace(unserved=facts.unserved | {"DataVolume"})
    if needs.records is not None:
        from shared.kube import harvester  # few restores are Harvester's own

        facts = facts._replace(harvester=harvester.observe(target, needs.records))
    if "BackupTarget" in facts.unserved:
        return facts
    if needs.standby:
        from shared.kube import standby  # few restores take what stands by

        facts = facts._replace(standby=standby.by_source(standby.list_standby(target)))
    version = facts.target.versions.longhorn
    backups = longhorn.read_backups(target, needs.backups, version)
    known = facts.longhorn._replace(backups=backups)
    return facts._replace(longhorn=longhorn.with_saved(target, known))


class _Asked(NamedTuple):
    """Answers that are on their way: SERVED by kind, SPACES and CLAIMS by namespace."""

    served: dict[str, Future[Objects | None]]
    spaces: dict[str, Future[Object | None]]
    claims: dict[str, Future[Objects]]
    classes: Future[Objects]
    images: Future[dict[str, BackingImageFacts]]
    fields: Future[Fields | None]
    rest: surroundings.Asked


def _ask(pool: Executor, target: TargetCluster, needs: Needs) -> _Asked:
    names = sorted(needs.namespaces)
    return _Asked(
        served={kind: pool.submit(_list_served, target, kind) for kind in NEEDED},
        spaces={name: pool.submit(target.get, "Namespace", None, name) for name in names},
        claims={
            name: pool.submit(target.list_metadata, "PersistentVolumeClaim", name) for name in names
        },
        classes=pool.submit(target.list, "StorageClass"),
        images=pool.submit(_list_images, target),
        fields=pool.submit(schema.declared, target, "VirtualMachine"),
        rest=surroundings.ask(pool, target, names),
    )


def _gather(asked: _Asked, stated: Versions) -> ClusterFacts:
    served = {kind: each.result() for kind, each in asked.served.items()}
    found = {kind: each or [] for kind, each in served.items()}
    machines = found["VirtualMachine"]
    there = [each for each in machines if each["metadata"].get("namespace") in asked.spaces]
    claims = [claim for each in asked.claims.values() for claim in each.result()]
    return ClusterFacts(
        unserved=frozenset(kind for kind, each in served.items() if each is None),
        namespaces=_phases({name: each.result() for name, each in asked.spaces.items()}),
        storage_classes={
            each["metadata"]["name"]: _storage_class(each) for each in asked.classes.result()
        },
        snapshot_class=_snapshot_class(found["VolumeSnapshotClass"]),
        networks=frozenset(map(_full_name, found["NetworkAttachmentDefinition"])),
        existing=makers("VirtualMachine", there) | makers("PersistentVolumeClaim", claims),
        longhorn=LonghornFacts(
            targets=longhorn.targets(found["BackupTarget"]), images=asked.images.result()
        ),
        machine_fields=asked.fields.result(),
        target=surroundings.gather(asked.rest, machines, stated),
    )


def _list_served(target: TargetCluster, kind: str) -> Objects | None:
    """All of the kind, as much of each as is looked at; None where the cluster does not have it."""
    if not target.serves(kind):
        return None
    if kind == "NetworkAttachmentDefinition":
        return target.list_metadata(kind)
    return target.list(kind, LONGHORN_NAMESPACE if kind == "BackupTarget" else None)


def _list_images(target: TargetCluster) -> dict[str, BackingImageFacts]:
    if not target.serves("BackingImage"):
        return {}
    return longhorn.list_images(target)


def _phases(namespaces: Mapping[str, Object | None]) -> dict[str, str]:
    return {name: _phase(each) for name, each in namespaces.items() if each is not None}


def _full_name(each: Object) -> str:
    return f"{each['metadata'].get('namespace')}/{each['metadata']['name']}"


def _storage_class(each: Object) -> StorageClass:
    return StorageClass(
        provisioner=str(each.get("provisioner")),
        binding=str(each.get("volumeBindingMode") or "Immediate"),
        parameters={key: str(text) for key, text in (each.get("parameters") or {}).items()},
        is_default=dig(each, "metadata", "annotations", DEFAULT_CLASS) == "true",
        reclaim=str(each.get("reclaimPolicy") or "Delete"),
    )


def _phase(namespace: Object) -> str:
    return "Terminating" if namespace["metadata"].get("deletionTimestamp") else "Active"


def _snapshot_class(classes: Iterable[Object]) -> str | None:
    """Harvester ships `longhorn` for backups; `type: snap` makes snapshots that stay in the
    cluster.
    """
    usable = [
        each["metadata"]["name"]
        for each in classes
        if each.get("driver") == labels.LONGHORN_DRIVER and _type(each) in ("bak", "bs", None)
    ]
    if "longhorn" in usable:
        return "longhorn"
    return min(usable, default=None)


def _type(snapshot_class: Object) -> Any:
    return dig(snapshot_class, "parameters", "type")
