"""A backup target's document and what a cluster has -> how it is attached or detached, with the
reason. Pure.
"""

from enum import StrEnum
from typing import Any, NamedTuple

from shared import labels, versions
from shared.kinds import KINDS
from shared.models.attachments import Found, InUse
from shared.models.documents import BackupTarget
from shared.models.longhorn_facts import Place
from shared.models.restore_plans import Check, Verdict
from shared.validation import listed, short

SEVERAL_SINCE = (1, 8)
"""Longhorn's version from which on it has several backup targets."""

LONGEST = 63
"""Characters of a name that Longhorn writes into a label of every backup."""

POLL = "5m0s"
PREFIX = "replant-"


class Do(StrEnum):
    """What is done with a backup target of a cluster."""

    USE = "use"
    MAKE = "make"
    RENEW = "renew"
    REFUSE = "refuse"
    DELETE = "delete"
    NOTHING = "nothing"


class Way(NamedTuple):
    """What to do with the BackupTarget of that name, and the check that says why."""

    do: Do
    name: str
    check: Check


def name_of(target: str) -> str:
    """Of the BackupTarget that is made for a target's document."""
    return PREFIX + target


def attach(document: BackupTarget, cluster: str, found: Found) -> Way:
    """One that reads the place already is used as it is; ours that cannot be used gets new keys."""
    name = name_of(document.id)
    if document.scanned:
        said = f"{document.url} is a folder that only Replant's own function has mounted."
        remedy = "Bring it to a bucket (docs/deploy.md), and give that bucket a target document."
        return _refuse(name, cluster, "place", f"{said} {remedy}")
    if not found.served:
        said = f"{cluster} has no Longhorn (no kind BackupTarget)."
        return _refuse(name, cluster, "longhorn", f"{said} Install it, or choose another cluster.")
    if reader := _reader(document, found):
        return _use(reader, cluster, found)
    if problem := _too_old(document, cluster, found):
        return _refuse(name, cluster, "longhorn", problem)
    return _make(document, name, cluster, found)


def _reader(document: BackupTarget, found: Found) -> str | None:
    """The BackupTarget that reads exactly this place."""
    wanted = Place(document.bucket, document.prefix)
    names = [name for name, each in found.targets.items() if each.place == wanted]
    return min(names, key=lambda name: (name in found.ours, name), default=None)


def _use(name: str, cluster: str, found: Found) -> Way:
    each = found.targets[name]
    if each.problem is None:
        said = f"Backup target {name} of {cluster} reads {short(each.url)} already."
        return Way(Do.USE, name, say(cluster, "backup-target", "pass", said))
    if name in found.ours:
        said = f"Backup target {name} of {cluster} is not available ({short(each.problem)})."
        said = f"{said} It gets the keys that are stored now."
        return Way(Do.RENEW, name, say(cluster, "backup-target", "pass", said))
    said = (
        f"Backup target {short(name)} of {cluster} reads {short(each.url)} and is not available:"
        f" {short(each.problem)}. Longhorn has one for each place, and this one is not ours:"
        " correct its keys or the network there."
    )
    return _refuse(name, cluster, "backup-target", said)


def _too_old(document: BackupTarget, cluster: str, found: Found) -> str | None:
    if found.version is None:
        return (
            f"Longhorn on {cluster} does not tell its version, and before 1.8 it has one backup"
            f" target. {_by_hand(document)}"
        )
    known = versions.parse(found.version)
    if known and known.line >= SEVERAL_SINCE:
        return None
    return (
        f"Longhorn {short(found.version)} on {cluster} has one backup target (several since 1.8),"
        f" and that is Harvester's. {_by_hand(document)}"
    )


def _by_hand(document: BackupTarget) -> str:
    """Harvester's own way, with its hazard: a person's to choose."""
    return (
        "By hand: note what Harvester's setting backup-target is there, set it to bucket"
        f" {document.bucket}, restore, and set it back. Meanwhile Harvester lists the backups of"
        " the bucket as its own: whoever deletes one there, or its namespace, deletes it in the"
        " bucket."
    )


def _make(document: BackupTarget, name: str, cluster: str, found: Found) -> Way:
    if name in found.targets:
        said = (
            f"Backup target {name} of {cluster} reads {short(found.targets[name].url)}, and"
            f" {document.url} is another place. Detach it first, or give the document another id."
        )
        return _refuse(name, cluster, "backup-target", said)
    if len(name) > LONGEST:
        said = (
            f"{name} is too long for a backup target of Longhorn's ({len(name)} characters of at"
            f" most {LONGEST}). Give the document a shorter id."
        )
        return _refuse(name, cluster, "backup-target", said)
    if document.credential_secret is None:
        said = (
            f"Target {document.id} has no credentialSecret, and no backup target of {cluster} reads"
            f" {document.url}. Store its keys as a secret replant/targets/NAME, and name that in"
            f" targets/{document.id}.yaml."
        )
        return _refuse(name, cluster, "credentials", said)
    said = f"Backup target {name} is made on {cluster}, beside what is there: {_there(found)}."
    return Way(Do.MAKE, name, say(cluster, "backup-target", "pass", said))


def _there(found: Found) -> str:
    read = [f"{name} ({each.url or 'empty'})" for name, each in found.targets.items()]
    return listed(read) or "none"


def detach(target: str, cluster: str, found: Found, used: InUse) -> Way:
    """Only what attach made goes."""
    name = name_of(target)
    if name not in found.targets:
        said = f"{cluster} has no backup target {name}: there is nothing to detach."
        return Way(Do.NOTHING, name, say(cluster, "backup-target", "pass", said))
    if name not in found.ours:
        said = f"Backup target {name} of {cluster} was not made by Replant, and stays."
        return _refuse(name, cluster, "backup-target", said)
    if used.copying:
        said = (
            f"Volumes of {cluster} still get their data from {name}: {listed(used.copying)}. Wait"
            " for them, or delete them."
        )
        return _refuse(name, cluster, "volumes", said)
    if used.standby:
        said = (
            f"Longhorn changes no backup target while there are standby volumes, as on {cluster}:"
            f" {listed(used.standby)}. Activate or delete them first."
        )
        return _refuse(name, cluster, "volumes", said)
    said = f"Backup target {name} of {cluster} goes, with its Secret; nothing of the bucket does."
    return Way(Do.DELETE, name, say(cluster, "backup-target", "pass", said))


def backup_target(document: BackupTarget, name: str, region: str, secret: str) -> dict[str, Any]:
    """The object that makes Longhorn read the place."""
    return {
        "apiVersion": KINDS["BackupTarget"].api_version,
        "kind": "BackupTarget",
        "metadata": {
            "name": name,
            "namespace": labels.LONGHORN_NAMESPACE,
            "labels": {**labels.MANAGED_BY, labels.TARGET: document.id},
        },
        "spec": {
            "backupTargetURL": f"s3://{document.bucket}@{region}/{document.prefix}",
            "credentialSecret": secret,
            "pollInterval": POLL,
        },
    }


def secret_of(name: str, uid: str, backup_target: str, values: dict[str, str]) -> dict[str, Any]:
    """Owned by the BackupTarget, so that it goes with it: nobody needs to read or delete it."""
    owner = {
        "apiVersion": KINDS["BackupTarget"].api_version,
        "kind": "BackupTarget",
        "name": backup_target,
        "uid": uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": labels.LONGHORN_NAMESPACE,
            "labels": labels.MANAGED_BY,
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "stringData": values,
    }


def _refuse(name: str, cluster: str, what: str, message: str) -> Way:
    return Way(Do.REFUSE, name, say(cluster, what, "block", message))


def say(cluster: str, what: str, verdict: Verdict, message: str) -> Check:
    return Check(check=what, subject=cluster, verdict=verdict, message=message)
