"""What a machine of a backup may bring to another cluster: an allow-list, place by place.

Whoever can write an object into a backup bucket writes the specification of a machine that runs on
the target. The tables below say what of it is taken (KubeVirt's API kubevirt.io/v1, as of 1.8):

- what makes the machine is kept;
- what may hold a secret is kept out of the plan, and filled in when the machine is made;
- what the machine can do without is dropped, with a warning;
- what would make it another machine blocks it.

A key that is in no table is dropped with a warning as well: a field of a newer KubeVirt is more
often harmless to lose than dangerous to lack. An unknown *kind* of volume or network blocks, since
a disk or an interface is never harmless to lose.
"""

from collections.abc import Mapping
from typing import Any

from shared.restore.annotations import LABELS, OF_CLAIMS, OF_INSTANCES, OF_MACHINES
from shared.restore.nodes import in_words, own_terms
from shared.restore.rules import (
    At,
    Part,
    Rule,
    Table,
    block,
    blocking,
    drop,
    each,
    entries,
    fields,
    foreign,
    keep,
    keep_and_warn,
    noting,
    secret,
    stale,
    warning,
)
from shared.validation import listed, shown

INSTEAD = "Restore a point from before it had this, or take it away on the source and back up again"
NODE_DEVICES = "no backup holds a device of a node; add one of the target's to the machine"
NEEDS_NODES = "a node of the target must offer it, or the machine does not start."


def _priority(name: Any, at: At) -> Part:
    """system-* are Kubernetes' own; those of Longhorn, KubeVirt and Rancher end in -critical."""
    if str(name).startswith("system-") or str(name).endswith("-critical"):
        why = "it would put the machine before what the target itself needs"
        return Part(findings=(warning(f"{at} {shown(name)} is left out: {why}."),))
    needed = f"{at} {shown(name)}: the target needs a PriorityClass of this name."
    return Part(name, findings=(noting(needed),))


def _scheduler(name: Any, at: At) -> Part:
    if name == "default-scheduler":
        return Part(name)
    why = "the target has a scheduler of its own"
    return Part(findings=(warning(f"{at} {shown(name)} is left out: {why}."),))


def _tolerations(values: Any, at: At) -> Part:
    kept = [each for each in values if not _opens_system_nodes(each)]
    if len(kept) == len(values):
        return Part(kept)
    why = "it opens nodes that the target keeps for itself"
    said = f"{at}: what tolerates everything or the control plane is left out: {why}."
    return Part(kept, findings=(warning(said),))


def _opens_system_nodes(toleration: Any) -> bool:
    """One without a key tolerates everything (core/v1 Toleration)."""
    key = toleration.get("key") or ""
    return key in ("", "CriticalAddonsOnly") or key.startswith("node-role.kubernetes.io/")


def _node_label(key: str, value: Any) -> Rule:
    """Nodes of the source by name, and those of any control plane, are not to be chosen."""
    if key == "kubernetes.io/hostname" or key.startswith("node-role.kubernetes.io/"):
        return foreign
    return _needed_node_label


def _needed_node_label(value: Any, at: At) -> Part:
    label = shown(f"{at.to[-1]}={value}")
    said = f"It runs only on nodes with the label {label}: a node of the target needs it."
    return Part(value, findings=(noting(said, "node"),))


def _affinity(value: Any, at: At) -> Part:
    """Taken whole: without_source_affinity takes out of it what Harvester added."""
    terms = own_terms(value)
    if not terms:
        return Part(value)
    said = f"It runs only on nodes with {in_words(terms)}: a node of the target needs it."
    return Part(value, findings=(noting(said, "node"),))


def _amount(key: str, value: Any) -> Rule:
    """Any other resource is a device, by the name of its plugin."""
    plain = key in ("cpu", "memory", "ephemeral-storage") or key.startswith("hugepages-")
    return keep if plain else foreign


def _path_in_image(value: Any, at: At) -> Part:
    """KubeVirt before 0.55.1 followed it out of the image, into the node (CVE-2022-1798)."""
    if ".." in str(value).split("/"):
        return Part(findings=(warning(f"{at} is left out: it leads out of the image."),))
    return Part(value)


def _network(value: Any, at: At) -> Part:
    kinds = {key for key in value if value[key] is not None} - {"name", "multus", "pod"}
    part = fields(NETWORK)(value, at)
    if not kinds:
        return part
    said = f"Network {shown(value.get('name'))} is a {listed(kinds)}, which is not supported."
    return part._replace(findings=(blocking(f"{said} {INSTEAD}.", "network"),), unknown=())


AMOUNTS = entries(_amount, "they are devices of nodes")
NETWORK: Table = {
    "name": keep,
    "multus": fields({"networkName": keep, "default": keep}),
    "pod": fields({"vmNetworkCIDR": keep, "vmIPv6NetworkCIDR": keep}),
}
CLOUD_INIT: Table = {
    "userData": secret,
    "userDataBase64": secret,
    "networkData": secret,
    "networkDataBase64": secret,
    "secretRef": fields({"name": keep}),
    "networkDataSecretRef": fields({"name": keep}),
}
VOLUMES: Table = {
    "persistentVolumeClaim": fields({"claimName": keep, "hotpluggable": keep, "readOnly": keep}),
    "cloudInitNoCloud": fields(CLOUD_INIT),
    "cloudInitConfigDrive": fields(CLOUD_INIT),
    "containerDisk": fields(
        {
            "image": keep,
            "imagePullPolicy": keep,
            "path": _path_in_image,
            "imagePullSecret": drop("no backup holds this Secret"),
        }
    ),
    "emptyDisk": fields({"capacity": keep}),
    "downwardAPI": keep,  # the machine's own labels and annotations
    # Only where the backup holds the Secret that they name: see `admission`
    "secret": fields({"secretName": keep, "optional": keep, "volumeLabel": keep}),
    "sysprep": fields({"secret": fields({"name": keep})}),
}
DROPPED_VOLUMES: Mapping[str, str] = {
    "configMap": "no backup holds ConfigMaps",
    "secret": "the backup does not hold the Secret that it names",
    "sysprep": "the backup does not hold what it names",
    "serviceAccount": "it would give the machine a credential of the target",
    "downwardMetrics": "it would show the machine the figures of its node",
    "memoryDump": "no backup holds it, and the machine does not use it",
}
BLOCKED_VOLUMES: Mapping[str, str] = {
    "dataVolume": "no backup holds its data",
    "ephemeral": "no backup holds the claim below it",
    "hostDisk": "it is a file of a node",
    "containerPath": "it is a folder of the container that the machine runs in",
}

CREDENTIAL = fields(
    {"source": fields({"secret": fields({"secretName": keep})}), "propagationMethod": keep}
)
PROBE: Table = {
    "exec": fields({"command": secret}),
    "guestAgentPing": keep,
    "httpGet": fields(
        {
            "host": drop("nodes of the target would ask any address that it names"),
            "httpHeaders": secret,
            "path": secret,
            "port": keep,
            "scheme": keep,
        }
    ),
    "tcpSocket": fields(
        {"host": drop("nodes of the target would ask any address that it names"), "port": keep}
    ),
    "failureThreshold": keep,
    "initialDelaySeconds": keep,
    "periodSeconds": keep,
    "successThreshold": keep,
    "timeoutSeconds": keep,
}
DISK: Table = {
    "blockSize": keep,
    "bootOrder": keep,
    "cache": keep,
    "cdrom": keep,
    "changedBlockTracking": keep,
    "dedicatedIOThread": keep,
    "disk": keep,
    "errorPolicy": keep,
    "io": keep,
    "lun": keep,
    "name": keep,
    "serial": keep,
    "shareable": keep,
    "tag": keep,
}
INTERFACE: Table = {
    "acpiIndex": keep,
    "binding": keep,
    "bootOrder": keep,
    "bridge": keep,
    "dhcpOptions": keep,
    "macAddress": keep,
    "macvtap": keep,
    "masquerade": keep,
    "model": keep,
    "name": keep,
    "passt": keep,
    "passtBinding": keep,
    "pciAddress": keep,
    "ports": keep,
    "slirp": keep,
    "sriov": keep,  # the device is the network's, which the mapping chooses
    "state": keep,
    "tag": keep,
}
DEVICES: Table = {
    "autoattachGraphicsDevice": keep,
    "autoattachInputDevice": keep,
    "autoattachMemBalloon": keep,
    "autoattachPodInterface": keep,
    "autoattachSerialConsole": keep,
    "autoattachVSOCK": keep,
    "blockMultiQueue": keep,
    "clientPassthrough": keep,  # USB devices of who looks at the console
    "disableHotplug": keep,
    "disks": each(fields(DISK)),
    "downwardMetrics": drop("it would show the machine the figures of its node"),
    "filesystems": each(fields({"name": keep, "virtiofs": keep})),
    "gpus": drop(NODE_DEVICES),
    "hostDevices": drop(NODE_DEVICES),
    "inputs": keep,
    "interfaces": each(fields(INTERFACE)),
    "logSerialConsole": keep,
    "networkInterfaceMultiqueue": keep,
    "panicDevices": keep,
    "rng": keep,
    "sound": keep,
    "tpm": fields(
        {
            "enabled": keep,
            "persistent": keep_and_warn(
                "no backup holds the TPM's state; BitLocker, for one, will ask for its key."
            ),
        }
    ),
    "useVirtioTransitional": keep,
    "video": keep,
    "watchdog": keep,
}
FIRMWARE: Table = {
    "acpi": drop("the Secrets that it names are in no backup"),
    "bootloader": fields(
        {
            "bios": keep,
            "efi": fields(
                {
                    "secureBoot": keep,
                    "persistent": keep_and_warn("no backup holds the EFI variables."),
                }
            ),
        }
    ),
    "kernelBoot": block(f"it boots a kernel from a container, not from its disk. {INSTEAD}."),
    "serial": keep,
    "uuid": keep,
}
DOMAIN: Table = {
    "chassis": keep,
    "clock": keep,
    "cpu": fields(
        {
            "cores": keep,
            "dedicatedCpuPlacement": keep_and_warn(NEEDS_NODES),
            "features": keep,
            "isolateEmulatorThread": keep,
            "maxSockets": keep,
            "model": keep,
            "numa": keep_and_warn(NEEDS_NODES),
            "realtime": keep_and_warn(NEEDS_NODES),
            "sockets": keep,
            "threads": keep,
        }
    ),
    "devices": fields(DEVICES),
    "features": keep,
    "firmware": fields(FIRMWARE),
    "ioThreads": keep,
    "ioThreadsPolicy": keep,
    "launchSecurity": fields(
        {
            "sev": fields(
                {"attestation": keep, "dhCert": secret, "policy": keep, "session": secret}
            ),
            "snp": keep,
            "tdx": keep,
        }
    ),
    "machine": fields({"type": keep}),
    "memory": fields(
        {
            "guest": keep,
            "hugepages": keep_and_warn(NEEDS_NODES),
            "maxGuest": keep,
            "reservedOverhead": keep,
        }
    ),
    "rebootPolicy": keep,
    "resources": fields({"limits": AMOUNTS, "requests": AMOUNTS, "overcommitGuestOverhead": keep}),
}
INSTANCES: Table = {
    "accessCredentials": each(fields({"sshPublicKey": CREDENTIAL, "userPassword": CREDENTIAL})),
    "affinity": _affinity,
    "architecture": keep,
    "dnsConfig": keep,
    "dnsPolicy": keep,
    "domain": fields(DOMAIN),
    "evictionStrategy": keep,
    "hostname": keep,
    "livenessProbe": fields(PROBE),
    "networks": each(_network),
    "nodeSelector": entries(_node_label, "they choose nodes by what the source calls them"),
    "priorityClassName": _priority,
    "readinessProbe": fields(PROBE),
    "resourceClaims": drop(NODE_DEVICES),
    "schedulerName": _scheduler,
    "startStrategy": keep,
    "subdomain": keep,
    "terminationGracePeriodSeconds": keep,
    "tolerations": _tolerations,
    "topologySpreadConstraints": keep,
    "utilityVolumes": drop("they belong to a backup or a dump that was being made"),
    "volumes": each(fields({"name": keep, **VOLUMES})),
}
SIZES: Table = {
    "inferFromVolume": keep,
    "inferFromVolumeFailurePolicy": keep,
    "kind": keep,
    "name": keep_and_warn("the target must have one of this name, and its sizes are used."),
    # Names a ControllerRevision, which no other cluster has: KubeVirt would refuse the machine
    "revisionName": drop("the target has revisions of its own, and its current one is used"),
}
MACHINE = fields(
    {
        "metadata": fields(
            {"annotations": OF_MACHINES, "labels": LABELS},
            others=stale,  # names, owners and times are the source's
        ),
        "spec": fields(
            {
                "dataVolumeTemplates": stale,  # would make its disks anew
                "instancetype": fields(SIZES),
                "preference": fields(SIZES),
                "running": stale,  # when it runs is the restore's to decide
                "runStrategy": stale,
                "template": fields(
                    {
                        "metadata": fields(
                            {
                                "annotations": OF_INSTANCES,
                                "labels": LABELS,
                            },
                            others=stale,
                        ),
                        "spec": fields(INSTANCES),
                    }
                ),
                "updateVolumesStrategy": drop("it is about a change of disks on the source"),
            }
        ),
    }
)
CLAIM = fields({"annotations": OF_CLAIMS, "labels": LABELS}, others=stale)
