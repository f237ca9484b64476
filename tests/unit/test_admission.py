"""What a machine of a backup may bring to another cluster, and what is said of the rest.

Aspects: every machine that Harvester writes passes with no word but on its keys; what is kept,
filled in, dropped and blocked, place by place; what goes along with a volume.
Not aspects: secrets in the plan (test_plan_secrets), any value anywhere (test_plan_hostile).
"""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from local.samples.builders import a_machine, a_metadata, a_point, disks
from local.samples.guests import MANAGEMENT, Nic
from shared.jsonpath import dig
from shared.restore import admission
from shared.restore.admission import Admitted, Brought
from shared.restore.nodes import REQUIRED
from shared.restore.rules import INSTANCE, MOST_FINDINGS, Finding

Json = Any

FIXTURES = Path(__file__).parents[2] / os.environ.get("REPLANT_FIXTURES", "../shared/fixtures")
RECORDS = sorted(set(FIXTURES.glob("harvester/*.cfg")) - set(FIXTURES.glob("harvester/*image*")))
HELD = Brought(claims=frozenset({"web01-disk-0"}), secrets=frozenset({"keys"}))
TEMPLATE = ("spec", "template", "metadata")


IN_ZONE = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]}
HAS_GPU = {"key": "gpu", "operator": "Exists"}
ON_SSD = {"key": "disk", "operator": "In", "values": ["ssd"]}
OF_HARVESTER = {"key": "network.harvesterhci.io/mgmt", "operator": "In", "values": ["true"]}


def on_nodes(*terms: list[Json]) -> dict[str, Json]:
    """An affinity to nodes that meet one of the terms."""
    alternatives = [{"matchExpressions": term} for term in terms]
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": alternatives}}}


def a_source(**traits: Json) -> dict[str, Json]:
    return dict(a_metadata(**traits)["vmSourceSpec"])


def put(document: dict[str, Json], path: str, value: Json) -> dict[str, Json]:
    """DOCUMENT with VALUE at a dotted path below the instance's spec; a list is added to."""
    changed = copy.deepcopy(document)
    holder = changed["spec"]["template"]["spec"]
    *way, last = path.split(".")
    for step in way:
        holder = holder.setdefault(step, {})
    holder[last] = holder.get(last, []) + value if isinstance(value, list) else value
    return changed


def admitted(path: str, value: Json) -> Admitted:
    return admission.machine(put(a_source(), path, value), HELD)


def of_instance(one: Admitted, path: str) -> Json:
    return dig(one.manifest, *INSTANCE, *path.split("."))


def said(one: Admitted) -> list[tuple[str, str]]:
    return [(each.verdict, each.message) for each in one.findings]


@pytest.mark.parametrize(
    "version", ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9"]
)
def test_a_machine_as_each_harvester_writes_it_is_taken_whole_without_a_word(
    version: str,
) -> None:
    secrets = {"web01-ci": {"userdata": "a", "networkdata": "b"}, "web01-key": {"key": "c"}}
    metadata = a_metadata(
        version=version,
        disks_=disks(count=2, image="default/jammy"),
        networks=(MANAGEMENT, Nic()),
        secrets=secrets,
        ssh_names='["default/key"]',
        annotations={"harvesterhci.io/reservedMemory": "256Mi"},
    )
    point = a_point(metadata)
    source = metadata["vmSourceSpec"]
    one = admission.machine(source, admission.brought(point))
    assert (said(one), one.fills) == ([], ())
    assert one.manifest["spec"]["template"]["spec"] == source["spec"]["template"]["spec"]
    for number, backup in enumerate(metadata["volumeBackups"]):
        claim = admission.claim(backup["persistentVolumeClaim"]["metadata"], number)
        assert (claim.findings, claim.fills) == ((), ())


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_harvesters_own_records_are_taken_without_a_word(path: Path) -> None:
    metadata = json.loads(path.read_bytes())
    one = admission.machine(metadata["vmSourceSpec"], admission.brought(a_point(metadata)))
    assert not one.findings


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ('["default/b","default/a"]', True),
        ("[]", True),
        ("[5]", True),
        ("null", False),
        ("{", False),
        ("5", False),
    ],
)
def test_the_names_of_key_pairs_come_along_and_a_broken_note_of_them_does_not(
    names: str, kept: bool
) -> None:
    one = admission.machine(a_source(ssh_names=names), HELD)
    annotations = dig(one.manifest, *TEMPLATE, "annotations")
    assert annotations.get("harvesterhci.io/sshNames") == (names if kept else None)
    assert not said(one)


POD_ANNOTATIONS = (
    "hooks.kubevirt.io/hookSidecars",
    "k8s.v1.cni.cncf.io/networks",
    "v1.multus-cni.io/default-network",
    "sidecar.istio.io/inject",
    "vault.hashicorp.com/agent-inject",
    "container.apparmor.security.beta.kubernetes.io/compute",
    "example.com/owner",
    "plain",
)


@pytest.mark.parametrize("annotation", POD_ANNOTATIONS)
def test_no_annotation_of_the_pod_is_taken_that_might_act_there(annotation: str) -> None:
    source = a_source(ssh_names="[]")
    source["spec"]["template"]["metadata"]["annotations"][annotation] = "x"
    one = admission.machine(source, HELD)
    assert dig(one.manifest, *TEMPLATE, "annotations") == {"harvesterhci.io/sshNames": "[]"}
    assert said(one) == [
        (
            "warn",
            f"spec.template.metadata.annotations: {annotation} left out, since controllers of the"
            " target might act on them.",
        )
    ]


def test_what_the_source_noted_on_the_pod_goes_without_a_word() -> None:
    source = a_source()
    noted = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "replant.dev/restore": "r"}
    source["spec"]["template"]["metadata"]["annotations"] = noted
    one = admission.machine(source, HELD)
    assert (dig(one.manifest, *TEMPLATE, "annotations"), said(one)) == ({}, [])


def test_ignition_is_filled_in_when_the_machine_is_made() -> None:
    source = a_source()
    source["spec"]["template"]["metadata"]["annotations"] = {"kubevirt.io/ignitiondata": "PLANTED"}
    one = admission.machine(source, HELD)
    (fill,) = one.fills
    assert fill.to == (*TEMPLATE, "annotations", "kubevirt.io/ignitiondata")
    assert fill.source == ("vmSourceSpec", *fill.to)
    assert (dig(one.manifest, *TEMPLATE, "annotations"), one.findings) == ({}, ())


@pytest.mark.parametrize(
    ("annotation", "fate"),
    [
        ("harvesterhci.io/reservedMemory", "kept"),
        ("harvesterhci.io/vmRunStrategy", "kept"),
        ("harvesterhci.io/imageId", "kept"),
        ("example.com/owner", "filled"),
        ("plain", "filled"),
        ("harvesterhci.io/removedPersistentVolumeClaims", "told"),
        ("harvesterhci.io/waitingStorageMigration", "told"),
        ("objectset.rio.cattle.io/id", "told"),
        ("argocd.argoproj.io/tracking-id", "told"),
        ("meta.helm.sh/release-name", "told"),
        ("kubevirt.io/anything", "told"),
        ("kubevirt.io/any/thing", "told"),
        ("kubectl.kubernetes.io/last-applied-configuration", "silent"),
        ("kubevirt.io/latest-observed-api-version", "silent"),
        ("kubevirt.io/storage-observed-api-version", "silent"),
        ("network.harvesterhci.io/ips", "silent"),
        ("restore.harvesterhci.io/name", "silent"),
        ("harvesterhci.io/mac-address", "silent"),
        ("pv.kubernetes.io/bind-completed", "silent"),
        ("volume.kubernetes.io/storage-provisioner", "silent"),
        ("cdi.kubevirt.io/storage.bind.immediate.requested", "silent"),
        ("harvesterhci.io/owned-by", "silent"),
        ("field.cattle.io/description", "silent"),
        ("replant.dev/restore", "silent"),
        ("backup.origin.cluster", "silent"),
    ],
)
def test_annotations_of_people_come_along_unread_and_those_of_controllers_by_name(
    annotation: str, fate: str
) -> None:
    if annotation == "harvesterhci.io/imageId":
        one = admission.claim({"name": "c", "annotations": {annotation: "x"}}, 3)
        where: tuple[str | int, ...] = ("volumeBackups", 3, "persistentVolumeClaim", "metadata")
        kept = one.manifest["annotations"]
    else:
        source = a_source()
        source["metadata"]["annotations"] = {annotation: "x"}
        one = admission.machine(source, HELD)
        where = ("vmSourceSpec", "metadata")
        kept = one.manifest["metadata"]["annotations"]
    assert kept == ({annotation: "x"} if fate == "kept" else {})
    assert [each.source for each in one.fills] == (
        [(*where, "annotations", annotation)] if fate == "filled" else []
    )
    assert [annotation in message for _, message in said(one)] == ([True] if fate == "told" else [])


@pytest.mark.parametrize(
    ("label", "value", "fate"),
    [
        ("tier", "web", "kept"),
        ("example.com/tier", "web", "kept"),
        ("harvesterhci.io/vmName", "web01", "kept"),
        ("tag.harvesterhci.io/ssh-user", "ubuntu", "kept"),
        ("app.kubernetes.io/name", "shop", "kept"),
        ("kubevirt.io/domain", "web01", "kept"),
        ("vm.kubevirt.io/template", "x", "kept"),
        ("kubevirt.io", "virt-launcher", "kept"),  # without a slash it is nobody's domain
        ("kubevirt.io/created-by", "x", "told"),
        ("sidecar.istio.io/inject", "true", "told"),
        ("objectset.rio.cattle.io/hash", "x", "told"),
        ("topology.kubernetes.io/zone", "a", "told"),
        ("notharvesterhci.io.k8s.io/x", "a", "told"),
        ("replant.dev/restore", "r-old", "silent"),
        ("cdi.kubevirt.io/import", "x", "silent"),
        ("app", "containerized-data-importer", "silent"),
        ("app.kubernetes.io/component", "storage", "silent"),
    ],
)
def test_labels_come_along_but_for_those_of_controllers(label: str, value: str, fate: str) -> None:
    source = a_source()
    source["metadata"]["labels"] = {label: value}
    source["spec"]["template"]["metadata"]["labels"] = {label: value}
    machine = admission.machine(source, HELD)
    claim = admission.claim({"name": "c", "labels": {label: value}}, 0)
    expected = {label: value} if fate == "kept" else {}
    assert machine.manifest["metadata"]["labels"] == expected
    assert dig(machine.manifest, *TEMPLATE, "labels") == expected
    assert claim.manifest["labels"] == expected
    told = 1 if fate == "told" else 0
    assert (len(machine.findings), len(claim.findings)) == (2 * told, told)


KERNEL = {"kernelArgs": "x"}
BLOCKED: list[tuple[str, Json, str]] = [
    ("domain.firmware.kernelBoot", KERNEL, "it boots a kernel from a container"),
]


@pytest.mark.parametrize(("path", "value", "why"), BLOCKED)
def test_what_the_machine_cannot_be_without_blocks_it_with_the_remedy(
    path: str, value: Json, why: str
) -> None:
    one = admitted(path, value)
    ((check, verdict, message, _),) = one.findings
    assert (check, verdict, message.startswith(f"{path}: {why}")) == ("allow-list", "block", True)
    assert "back up again" in message
    assert of_instance(one, path) is None
    assert admitted(path, type(value)()).findings == ()


NODE_DEVICES = (
    "is left out: no backup holds a device of a node; add one of the target's to the machine."
)
DROPPED: list[tuple[str, Json, Json, str]] = [
    *(
        (path, [{"deviceName": "x", "name": "y"}], None, f"{path} {NODE_DEVICES}")
        for path in ("domain.devices.hostDevices", "domain.devices.gpus", "resourceClaims")
    ),
    (
        "priorityClassName",
        "system-node-critical",
        None,
        "priorityClassName 'system-node-critical' is left out: it would put the machine before",
    ),
    (
        "priorityClassName",
        "system-of-mine",
        None,
        "priorityClassName 'system-of-mine' is left out: it would put the machine before",
    ),
    (
        "priorityClassName",
        "longhorn-critical",
        None,
        "priorityClassName 'longhorn-critical' is left out: it would put the machine before",
    ),
    (
        "priorityClassName",
        "gold",
        "gold",
        "priorityClassName 'gold': the target needs a PriorityClass of this name.",
    ),
    (
        "schedulerName",
        "mine",
        None,
        "schedulerName 'mine' is left out: the target has a scheduler of its own.",
    ),
    (
        "tolerations",
        [{"operator": "Exists"}, {"key": "gpu", "operator": "Exists"}],
        [{"key": "gpu", "operator": "Exists"}],
        "tolerations: what tolerates everything or the control plane is left out",
    ),
    (
        "tolerations",
        [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}],
        [],
        "tolerations: what tolerates everything or the control plane is left out: it opens nodes",
    ),
    (
        "tolerations",
        [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
        [],
        "tolerations: what tolerates everything or the control plane is left out",
    ),
    (
        "nodeSelector",
        {"kubernetes.io/hostname": "node-1"},
        {},
        "nodeSelector: kubernetes.io/hostname left out, since they choose nodes by what",
    ),
    (
        "nodeSelector",
        {"node-role.kubernetes.io/control-plane": "true"},
        {},
        "nodeSelector: node-role.kubernetes.io/control-plane left out, since they choose nodes",
    ),
    (
        "nodeSelector",
        {"gpu": "yes"},
        {"gpu": "yes"},
        "It runs only on nodes with the label 'gpu=yes': a node of the target needs it.",
    ),
    (
        "affinity",
        on_nodes([IN_ZONE]),
        on_nodes([IN_ZONE]),
        "It runs only on nodes with topology.kubernetes.io/zone In (a, b): a node of the target"
        " needs it.",
    ),
    (
        "affinity",
        on_nodes([IN_ZONE, HAS_GPU], [ON_SSD]),
        on_nodes([IN_ZONE, HAS_GPU], [ON_SSD]),
        "It runs only on nodes with topology.kubernetes.io/zone In (a, b) and gpu Exists or disk In"
        " (ssd): a node of the target needs it.",
    ),
    (
        "domain.resources.limits",
        {"cpu": "2", "ephemeral-storage": "1Gi", "hugepages-2Mi": "1Gi", "nvidia.com/gpu": "1"},
        {"cpu": "2", "ephemeral-storage": "1Gi", "hugepages-2Mi": "1Gi"},
        "domain.resources.limits: nvidia.com/gpu left out, since they are devices of nodes.",
    ),
    ("domain.devices.downwardMetrics", {"x": 1}, None, "domain.devices.downwardMetrics is left"),
    ("domain.firmware.acpi", {"slicNameRef": "x"}, None, "domain.firmware.acpi is left out: "),
    ("utilityVolumes", [{"claimName": "others"}], None, "utilityVolumes is left out: they belong"),
    (
        "domain.cpu.dedicatedCpuPlacement",
        True,
        True,
        "domain.cpu.dedicatedCpuPlacement: a node of the target must offer it",
    ),
    (
        "domain.memory.hugepages",
        {"pageSize": "2Mi"},
        {"pageSize": "2Mi"},
        "domain.memory.hugepages: a node of the target must offer it",
    ),
    ("domain.devices.tpm", {"persistent": True}, {"persistent": True}, "domain.devices.tpm.persi"),
    (
        "domain.firmware.bootloader",
        {"efi": {"persistent": True, "secureBoot": False}},
        {"efi": {"persistent": True, "secureBoot": False}},
        "domain.firmware.bootloader.efi.persistent: no backup holds the EFI variables.",
    ),
    (
        "readinessProbe",
        {"tcpSocket": {"host": "169.254.169.254", "port": 80}, "periodSeconds": 5},
        {"tcpSocket": {"port": 80}, "periodSeconds": 5},
        "readinessProbe.tcpSocket.host is left out: nodes of the target would ask any address",
    ),
    (
        "somethingNew",
        {"a": "b"},
        None,
        "Left out, since this version does not know them: somethingNew.",
    ),
    (
        "domain.devices.somethingNew",
        1,
        None,
        "Left out, since this version does not know them: domain.devices.somethingNew.",
    ),
]


@pytest.mark.parametrize(("path", "value", "kept", "message"), DROPPED)
def test_what_the_machine_can_do_without_is_dropped_or_minded_with_a_warning(
    path: str, value: Json, kept: Json, message: str
) -> None:
    one = admitted(path, value)
    assert of_instance(one, path) == kept
    ((verdict, found),) = said(one)
    assert (verdict, found[: len(message)]) == ("warn", message)


@pytest.mark.parametrize(("path", "empty"), [("utilityVolumes", []), ("domain.firmware.acpi", {})])
def test_what_is_dropped_and_says_nothing_is_not_worth_a_word(path: str, empty: Json) -> None:
    one = admitted(path, empty)
    assert (of_instance(one, path), one.findings) == (None, ())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schedulerName", "default-scheduler"),
        ("tolerations", [{"key": "gpu", "operator": "Exists"}]),
        ("domain.cpu.dedicatedCpuPlacement", False),
        ("domain.resources.requests", {"memory": "1Gi"}),
        ("dnsPolicy", "None"),
        ("dnsConfig", {"nameservers": ["10.0.0.1"]}),
        ("evictionStrategy", "LiveMigrate"),
        ("domain.features", {"acpi": {"enabled": True}, "new": {"x": 1}}),
        ("domain.devices.tpm", {"persistent": False}),
        ("affinity", {"podAntiAffinity": {}}),
        ("affinity", {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [1]}}),
        ("affinity", on_nodes([OF_HARVESTER])),
        ("affinity", on_nodes([OF_HARVESTER], [IN_ZONE])),  # alternatives: any node will do
    ],
)
def test_what_makes_the_machine_is_kept_without_a_word(path: str, value: Json) -> None:
    one = admitted(path, value)
    assert (of_instance(one, path), one.findings) == (value, ())


@pytest.mark.parametrize("path", ["readinessProbe", "livenessProbe"])
def test_what_a_probe_may_hold_of_secrets_is_filled_in(path: str) -> None:
    probe = {
        "httpGet": {"path": "/?token=x", "httpHeaders": [{"name": "a", "value": "b"}], "port": 80},
        "exec": {"command": ["x"]},
    }
    one = admitted(path, probe)
    assert of_instance(one, path) == {"httpGet": {"port": 80}, "exec": {}}
    below = [".".join(map(str, each.to[4:])) for each in one.fills]
    assert below == ["httpGet.path", "httpGet.httpHeaders", "exec.command"]
    assert one.findings == ()


def test_revisions_of_an_instance_type_are_the_sources_and_its_name_must_be_on_the_target() -> None:
    source = a_source()
    source["spec"]["instancetype"] = {"name": "large", "revisionName": "large-v1"}
    source["spec"]["preference"] = {"inferFromVolume": "disk-0"}
    one = admission.machine(source, HELD)
    assert one.manifest["spec"]["instancetype"] == {"name": "large"}
    assert one.manifest["spec"]["preference"] == {"inferFromVolume": "disk-0"}
    assert said(one) == [
        (
            "warn",
            "spec.instancetype.name: the target must have one of this name, and its sizes are"
            " used.",
        ),
        (
            "warn",
            "spec.instancetype.revisionName is left out: the target has revisions of its own, and"
            " its current one is used.",
        ),
    ]


def with_volume(source: Json, *, device: str = "disks") -> Admitted:
    extra = {"name": "extra"}
    document = put(a_source(), "volumes", [extra | source])
    return admission.machine(put(document, f"domain.devices.{device}", [extra]), HELD)


def names(one: Admitted, path: str) -> list[str]:
    return [each["name"] for each in of_instance(one, path)]


LEFT_OUT: list[tuple[Json, str]] = [
    ({"configMap": {"name": "x"}}, "no backup holds ConfigMaps"),
    ({"secret": {"secretName": "others"}}, "the backup does not hold the Secret that it names"),
    ({"secret": {}}, "the backup does not hold the Secret that it names"),
    ({"sysprep": {"secret": {"name": "others"}}}, "the backup does not hold what it names"),
    ({"sysprep": {"configMap": {"name": "keys"}}}, "the backup does not hold what it names"),
    ({"serviceAccount": {"serviceAccountName": "admin"}}, "a credential of the target"),
    ({"downwardMetrics": {}}, "the figures of its node"),
    ({"memoryDump": {"claimName": "x"}}, "the machine does not use it"),
]


@pytest.mark.parametrize(("source", "why"), LEFT_OUT)
@pytest.mark.parametrize("device", ["disks", "filesystems"])
def test_a_volume_that_no_backup_brings_is_left_out_with_its_device(
    source: Json, why: str, device: str
) -> None:
    one = with_volume(source, device=device)
    assert names(one, "volumes") == ["disk-0"]
    assert "extra" not in names(one, f"domain.devices.{device}")
    ((check, verdict, message, _),) = one.findings
    (kind,) = source
    assert (check, verdict) == ("volume", "warn")
    assert f"Disk 'extra' ({kind}) is left out: " in message
    assert why in message


def test_a_secret_that_the_backup_holds_does_not_bring_another_volume_along() -> None:
    one = with_volume({"secret": {"secretName": "keys"}, "serviceAccount": {}})
    assert names(one, "volumes") == ["disk-0"]


def test_an_empty_place_among_the_volumes_hides_none_behind_it() -> None:
    document = put(a_source(), "volumes", [None, {"name": "extra", "hostDisk": {"path": "/"}}])
    one = admission.machine(document, HELD)
    assert names(one, "volumes") == ["disk-0"]
    assert [verdict for verdict, _ in said(one)] == ["block"]


@pytest.mark.parametrize(
    "source",
    [
        {"secret": {"secretName": "keys"}},
        {"sysprep": {"secret": {"name": "keys"}}},
        {"cloudInitNoCloud": {"secretRef": {"name": "keys"}}},
        {"cloudInitConfigDrive": {"networkDataSecretRef": {"name": "keys"}}},
        {"cloudInitNoCloud": {}},
        {"containerDisk": {"image": "registry/virtio"}},
        {"emptyDisk": {"capacity": "1Gi"}},
        {"downwardAPI": {"fields": []}},
    ],
)
def test_a_volume_that_holds_nothing_of_others_is_kept(source: Json) -> None:
    one = with_volume(source)
    assert of_instance(one, "volumes")[-1] == {"name": "extra", **source}
    assert names(one, "domain.devices.disks")[-1] == "extra"
    assert one.findings == ()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"hostDisk": {"path": "/etc"}}, "Disk 'extra' (hostDisk): it is a file of a node."),
        ({"ephemeral": {}}, "Disk 'extra' (ephemeral): no backup holds the claim below it."),
        (
            {"dataVolume": {"name": "x"}},
            "Disk 'extra' (dataVolume): no backup holds its data.",
        ),
        ({"containerPath": {"path": "/"}}, "Disk 'extra' (containerPath): it is a folder of"),
        ({"new": {}}, "Disk 'extra' (new): this version does not know what it holds."),
        (
            {"persistentVolumeClaim": {"claimName": "others"}},
            "Disk 'extra' is on claim 'others', which the backup does not hold.",
        ),
        (
            {"secret": {"secretName": "keys"}, "hostDisk": {"path": "/"}},
            "Disk 'extra' (hostDisk): it is a file of a node.",
        ),
    ],
)
def test_a_volume_that_the_machine_may_be_made_of_blocks_it(source: Json, why: str) -> None:
    one = with_volume(source)
    ((check, verdict, message, _),) = one.findings
    assert (check, verdict, message[: len(why)]) == ("volume", "block", why)


@pytest.mark.parametrize(
    ("field", "value"), [("path", "/disk/../../etc/shadow"), ("imagePullSecret", "others")]
)
def test_a_container_disk_does_not_reach_out_of_its_image(field: str, value: str) -> None:
    one = with_volume({"containerDisk": {"image": "registry/virtio", field: value}})
    assert of_instance(one, "volumes")[-1]["containerDisk"] == {"image": "registry/virtio"}
    ((verdict, message),) = said(one)
    assert (verdict, message.startswith(f"volumes.1.containerDisk.{field} is left out: ")) == (
        "warn",
        True,
    )
    kept = {"image": "registry/virtio", "path": "/disk/virtio.iso"}
    assert of_instance(with_volume({"containerDisk": kept}), "volumes")[-1]["containerDisk"] == kept


def test_cloud_init_of_a_secret_that_the_backup_lacks_keeps_what_it_has_otherwise() -> None:
    source = {"userData": "x", "networkDataSecretRef": {"name": "others"}}
    one = with_volume({"cloudInitNoCloud": source})
    assert of_instance(one, "volumes")[-1] == {"name": "extra", "cloudInitNoCloud": {}}
    assert [fill.to[-2:] for fill in one.fills] == [("cloudInitNoCloud", "userData")]
    assert said(one) == [
        (
            "warn",
            "The networkDataSecretRef 'others' of disk 'extra' is left out: the backup does not"
            " hold this Secret; create it on the target and add it to the machine again.",
        )
    ]
    assert [each.check for each in one.findings] == ["secret"]


def test_cloud_init_that_has_nothing_else_goes_with_its_disk() -> None:
    one = with_volume({"cloudInitConfigDrive": {"secretRef": {"name": "others"}}})
    assert (names(one, "volumes"), names(one, "domain.devices.disks")) == (["disk-0"], ["disk-0"])
    assert [(each.check, each.verdict) for each in one.findings] == [
        ("secret", "warn"),
        ("volume", "warn"),
    ]
    assert said(one)[1][1] == "Disk 'extra' is left out: nothing else is on it."


def test_a_credential_of_a_secret_that_the_backup_lacks_is_left_out() -> None:
    def credential(name: str) -> Json:
        return {"userPassword": {"source": {"secret": {"secretName": name}}}}

    one = admitted("accessCredentials", [credential("others"), credential("keys")])
    assert of_instance(one, "accessCredentials") == [credential("keys")]
    assert said(one) == [
        (
            "warn",
            "The access credential of Secret 'others' is left out: the backup does not hold it;"
            " create it on the target and add it to the machine again.",
        )
    ]


def test_fills_follow_the_places_that_are_left() -> None:
    document = put(
        a_source(),
        "volumes",
        [
            {"name": "gone", "configMap": {"name": "x"}},
            None,
            {"name": "c", "cloudInitNoCloud": {"userData": "x"}},
        ],
    )
    one = admission.machine(document, HELD)
    (fill,) = one.fills
    below = ("cloudInitNoCloud", "userData")
    assert fill.source == ("vmSourceSpec", *INSTANCE, "volumes", 3, *below)
    assert fill.to == (*INSTANCE, "volumes", 1, *below)
    assert of_instance(one, "volumes")[1] == {"name": "c", "cloudInitNoCloud": {}}


def test_a_network_of_an_unknown_kind_blocks() -> None:
    one = admitted("networks", [{"name": "n", "genie": {"networkName": "x"}}])
    ((check, verdict, message, _),) = one.findings
    assert (check, verdict) == ("network", "block")
    assert message.startswith("Network 'n' is a genie, which is not supported. Restore a point")


def test_what_blocks_comes_before_every_warning_whichever_rules_they_are_of() -> None:
    document = put(a_source(), "volumes", [{"name": "extra", "hostDisk": {"path": "/"}}])
    one = admission.machine(put(document, "schedulerName", "mine"), HELD)
    assert [verdict for verdict, _ in said(one)] == ["block", "warn"]


@pytest.mark.parametrize(("over", "last"), [(0, "Disk 'v49'"), (1, "There are 1 more findings")])
def test_findings_are_cut_only_where_there_are_too_many(over: int, last: str) -> None:
    number = MOST_FINDINGS + over
    many = [{"name": f"v{n}", "configMap": {"name": "x"}} for n in range(number)]
    one = admission.machine(put(a_source(), "volumes", many), HELD)
    assert len(one.findings) == number
    assert said(one)[-1][1].startswith(last)


def test_what_blocks_comes_first_and_a_flood_of_findings_is_cut() -> None:
    many = [{"name": f"v{n}", "configMap": {"name": "x"}} for n in range(80)]
    document = put(put(a_source(), "volumes", many), "domain.firmware.kernelBoot", KERNEL)
    one = admission.machine(document, HELD)
    assert len(one.findings) == MOST_FINDINGS + 1
    assert one.findings[0].verdict == "block"
    assert one.findings[-1] == Finding(
        "allow-list", "warn", "There are 31 more findings like these."
    )


def test_what_a_claim_leaves_behind_is_told_with_its_name() -> None:
    one = admission.claim({"name": "data", "annotations": {"x.cattle.io/y": "z"}}, 0)
    assert said(one)[0][1].startswith("Claim 'data': metadata.annotations: x.cattle.io/y left out")
    assert admission.claim(None, 0) == ({}, (), ())


def test_nothing_that_was_given_is_changed() -> None:
    source = put(a_source(), "volumes", [{"name": "x", "configMap": {"name": "y"}}])
    before = copy.deepcopy(source)
    admission.machine(source, HELD)
    assert source == before


def test_a_finding_that_blocks_fails_its_machine_in_the_plan_and_a_warning_does_not() -> None:
    def with_field(path: str, value: Json) -> Json:
        metadata = a_metadata()
        metadata["vmSourceSpec"] = put(metadata["vmSourceSpec"], path, value)
        return metadata

    blocked = a_machine(with_field("domain.firmware.kernelBoot", KERNEL))
    assert blocked.problem
    assert "domain.firmware.kernelBoot" in blocked.problem.message
    assert a_machine(with_field("schedulerName", "mine")).problem is None
