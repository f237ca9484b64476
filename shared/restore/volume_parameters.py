"""The parameters of a Longhorn storage class -> the fields of a Volume that is made without the CSI
driver, as the driver itself reads them (longhorn-manager csi/util.go, getVolumeOptions).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from shared.quantities import number
from shared.validation import short, shown

MIGRATABLE = "migratable"
OF_CSI = "csi.storage.k8s.io/"
FILE_SYSTEM = f"{OF_CSI}fstype"
RECURRING = "recurringJobSelector"

SECRETS = {
    "nodeStageSecretRef": f"{OF_CSI}node-stage-secret",
    "nodePublishSecretRef": f"{OF_CSI}node-publish-secret",
    "nodeExpandSecretRef": f"{OF_CSI}node-expand-secret",
    "controllerExpandSecretRef": f"{OF_CSI}controller-expand-secret",
}
"""The fields of a PersistentVolume -> the parameters, but for `-name` and `-namespace`."""


def _text(value: str) -> str:
    return value


def _truth(value: str) -> bool:
    """As Go's strconv.ParseBool, in the spellings that people use. Raises ValueError."""
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def _bytes(value: str) -> str:
    return str(int(number(value)))


def _names(value: str) -> list[str]:
    return value.split(",")


FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "numberOfReplicas": ("numberOfReplicas", int),
    "staleReplicaTimeout": ("staleReplicaTimeout", int),
    "dataLocality": ("dataLocality", _text),
    "replicaAutoBalance": ("replicaAutoBalance", _text),
    "diskSelector": ("diskSelector", _names),
    "nodeSelector": ("nodeSelector", _names),
    "encrypted": ("encrypted", _truth),
    "dataEngine": ("dataEngine", _text),
    "backingImage": ("backingImage", _text),
    "backupBlockSize": ("backupBlockSize", _bytes),
    "disableRevisionCounter": ("revisionCounterDisabled", _truth),
    "unmapMarkSnapChainRemoved": ("unmapMarkSnapChainRemoved", _text),
    "replicaSoftAntiAffinity": ("replicaSoftAntiAffinity", _text),
    "replicaZoneSoftAntiAffinity": ("replicaZoneSoftAntiAffinity", _text),
    "replicaDiskSoftAntiAffinity": ("replicaDiskSoftAntiAffinity", _text),
    "freezeFilesystemForSnapshot": ("freezeFilesystemForSnapshot", _text),
}
"""Parameters -> the field of a Volume, and how its value is read. Only what a class names is set:
an older Longhorn does not know the newer ones."""

OTHERS = {
    MIGRATABLE,
    RECURRING,
    "share",  # the claim's access mode decides
    "exclusive",
    "fromBackup",  # the restore decides
    "backupTargetName",
    "fsType",
    "mkfsParams",  # the data brings its file system
    "nfsOptions",  # read from the PersistentVolume
}
"""What is heeded elsewhere, or means nothing for a volume that is made of a backup."""


DEFAULT_REPLICAS = 3
"""Longhorn's own number, of a class that says none."""


class Read(NamedTuple):
    """FIELDS of a Volume's spec and its LABELS; PROBLEMS are what cannot be read, each a sentence,
    LEFT_OUT the parameters that only the CSI driver knows.
    """

    fields: Mapping[str, Any]
    labels: Mapping[str, str]
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def read(parameters: Mapping[str, str]) -> Read:
    fields: dict[str, Any] = {}
    problems = []
    for name, (field, reader) in FIELDS.items():
        if name not in parameters:
            continue
        try:
            fields[field] = reader(parameters[name])
        except ValueError:
            problems.append(f"its parameter {name} is {shown(short(parameters[name]))}")
    try:
        labels = dict(_recurring(parameters.get(RECURRING)))
    except (ValueError, TypeError, LookupError, RecursionError):
        labels = {}
        problems.append(f"its parameter {RECURRING} is {shown(short(parameters[RECURRING]))}")
    known = FIELDS.keys() | OTHERS
    left_out = (name for name in parameters if name not in known and not name.startswith(OF_CSI))
    return Read(fields, labels, tuple(problems), tuple(sorted(left_out)))


def _recurring(selector: str | None) -> Iterator[tuple[str, str]]:
    """The labels by which Longhorn finds the jobs of a volume, which its API would set
    (longhorn-manager manager/volume.go, Create).
    """
    for job in json.loads(selector) if selector else []:
        kind = "recurring-job-group" if job.get("isGroup") else "recurring-job"
        yield f"{kind}.longhorn.io/{job['name']}", "enabled"


def attributes(parameters: Mapping[str, str]) -> dict[str, str]:
    """What the PersistentVolume keeps of them: external-provisioner keeps what is not its own."""
    return {name: value for name, value in parameters.items() if not name.startswith(OF_CSI)}


def secrets(
    parameters: Mapping[str, str], names: Mapping[str, str]
) -> dict[str, dict[str, str] | None]:
    """The references of a PersistentVolume to Secrets, by field; NAMES are what may be written in
    them as ${name}. None for one that has any other word in it.
    """
    found: dict[str, dict[str, str] | None] = {}
    for field, parameter in SECRETS.items():
        if f"{parameter}-name" not in parameters:
            continue
        filled = {
            part: _filled(parameters.get(f"{parameter}-{part}", ""), names)
            for part in ("name", "namespace")
        }
        found[field] = None if any("${" in each for each in filled.values()) else filled
    return found


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", value)
    return text
