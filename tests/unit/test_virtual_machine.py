"""Each change between a machine in a backup and the machine on the target, one at a time."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from local.samples.builders import a_metadata, a_point, disks
from local.samples.guests import MANAGEMENT, Nic
from shared.jsonpath import dig
from shared.models.mapping import Mac, Mapping
from shared.restore import virtual_machine
from shared.restore.filling import find_value
from shared.restore.nodes import REQUIRED, in_words, own_terms
from shared.restore.rules import INSTANCE

Json = Any

NETWORK_TERM = {"key": "network.harvesterhci.io/mgmt", "operator": "In", "values": ["true"]}
CPU_TERM = {"key": "cpumanager", "operator": "In", "values": ["true"]}
ZONE_TERM = {"key": "zone", "operator": "In", "values": ["a"]}


def a_vm(**traits: Json) -> dict[str, Json]:
    """The machine as the transforms see it: the annotations and spec of a backup."""
    source = a_metadata(**traits)["vmSourceSpec"]
    return {"metadata": {"annotations": source["metadata"]["annotations"]}, "spec": source["spec"]}


def with_pod(**fields: Json) -> dict[str, Json]:
    vm = a_vm()
    vm["spec"]["template"]["spec"] |= fields
    return vm


def pod(vm: dict[str, Json]) -> dict[str, Json]:
    return dict(dig(vm, *INSTANCE))


def interfaces(vm: dict[str, Json]) -> list[dict[str, Json]]:
    return list(dig(vm, *INSTANCE, "domain", "devices", "interfaces"))


@pytest.mark.parametrize(
    ("traits", "source", "expected"),
    [
        ({"run_strategy": "RerunOnFailure"}, "RerunOnFailure", "Halted"),
        ({"run_strategy": "Halted"}, "Halted", "Halted"),
        ({"run_strategy": "Manual"}, "Manual", "Manual"),
        ({"running": True}, "Always", "Halted"),
        ({"running": False}, "Halted", "Halted"),
    ],
)
def test_a_machine_is_not_started_in_the_one_way_that_says_so(
    traits: dict[str, Json], source: str, expected: str
) -> None:
    spec = virtual_machine.not_started(a_vm(**traits), source)["spec"]
    assert spec["runStrategy"] == expected
    assert "running" not in spec


@pytest.mark.parametrize(
    ("source", "noted", "expected"),
    [
        ("Always", None, "Always"),
        ("Always", "Manual", "Always"),
        ("Manual", "Always", "Manual"),
        ("Once", "RerunOnFailure", "Once"),
        ("Halted", "Always", "Always"),
        ("Halted", "RerunOnFailure", "RerunOnFailure"),
        ("Halted", None, None),
        ("Halted", "", None),
        ("Halted", "Halted", None),
        ("Halted", "Planted", None),
        ("Halted", 5, None),
    ],
)
def test_harvester_starts_a_machine_as_the_source_ran(
    source: str, noted: Json, expected: str | None
) -> None:
    vm = a_vm()
    vm["metadata"]["annotations"][virtual_machine.RUN_STRATEGY] = noted
    annotations = virtual_machine.not_started(vm, source)["metadata"]["annotations"]
    assert annotations.get(virtual_machine.RUN_STRATEGY) == expected
    bare = virtual_machine.not_started({**vm, "metadata": {}}, source)["metadata"]["annotations"]
    assert bare == ({} if source == "Halted" else {virtual_machine.RUN_STRATEGY: source})


def test_data_volume_templates_would_make_the_disks_anew_and_go() -> None:
    vm = a_vm()
    vm["spec"]["dataVolumeTemplates"] = [{"metadata": {"name": "disk-0"}}]
    assert "dataVolumeTemplates" not in virtual_machine.not_started(vm, "Always")["spec"]


REQUESTS = {"cpu": "125m", "memory": "2730Mi", "ephemeral-storage": "1Gi"}
MEMORY = {"guest": "3996Mi", "hugepages": {"pageSize": "2Mi"}}
CPU = {"cores": 2, "maxSockets": 1}


def a_domain(vm: dict[str, Json]) -> tuple[Json, Json, Json, Json]:
    domain = pod(vm)["domain"]
    resources = domain["resources"]
    return resources.get("limits"), resources["requests"], domain["memory"], domain["cpu"]


def with_limits(limits: Json, hotplug: Json = None) -> dict[str, Json]:
    vm = a_vm(annotations={virtual_machine.HOTPLUG: hotplug})
    pod(vm)["domain"] |= {
        "resources": copy.deepcopy({"requests": REQUESTS, "limits": limits}),
        "memory": copy.deepcopy(MEMORY),
        "cpu": dict(CPU),
    }
    return vm


@pytest.mark.parametrize(
    ("limits", "requests", "memory", "cpu"),
    [
        (
            {"cpu": "2", "memory": "4Gi"},
            {"ephemeral-storage": "1Gi"},
            {"hugepages": {"pageSize": "2Mi"}},
            {"cores": 2},
        ),
        ({"cpu": "2"}, {"memory": "2730Mi", "ephemeral-storage": "1Gi"}, MEMORY, CPU),
        (
            {"memory": "4Gi"},
            {"cpu": "125m", "ephemeral-storage": "1Gi"},
            {"hugepages": {"pageSize": "2Mi"}},
            {"cores": 2},
        ),
        ({"ephemeral-storage": "9Gi"}, REQUESTS, MEMORY, CPU),
        ({}, REQUESTS, MEMORY, CPU),
        (None, REQUESTS, MEMORY, CPU),
    ],
)
def test_what_harvester_derived_from_the_limits_is_left_to_the_target(
    limits: Json, requests: Json, memory: Json, cpu: Json
) -> None:
    changed = virtual_machine.without_overcommit(with_limits(limits))
    assert a_domain(changed) == (limits, requests, memory, cpu)


@pytest.mark.parametrize(
    ("hotplug", "kept"), [("true", True), ("True", True), ("false", False), (None, False)]
)
def test_memory_and_sockets_that_people_set_for_hotplug_are_kept(hotplug: Json, kept: bool) -> None:
    vm = with_limits({"cpu": "2", "memory": "4Gi"}, hotplug)
    assert (virtual_machine.without_overcommit(vm) == vm) is kept


def test_what_is_empty_without_its_derived_values_stays_for_the_webhook_to_fill() -> None:
    vm = a_vm()
    pod(vm)["domain"] |= {
        "resources": {"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "1"}},
        "cpu": {"maxSockets": 1},
    }
    del pod(vm)["domain"]["memory"]
    domain = pod(virtual_machine.without_overcommit(vm))["domain"]
    assert (domain["resources"]["requests"], domain["cpu"]) == ({}, {})
    assert "memory" not in domain


@pytest.mark.parametrize(
    ("mapping", "network", "expected"),
    [
        ({}, "default/vlan100", "default/vlan100"),
        ({}, "vlan100", "default/vlan100"),
        ({"default/vlan100": "prod/vlan200"}, "default/vlan100", "prod/vlan200"),
        ({"default/vlan100": "prod/vlan200"}, "vlan100", "prod/vlan200"),
        ({"default/vlan100": "prod/vlan200"}, "other/vlan100", "other/vlan100"),
        ({"*": "prod/vlan200"}, "other/vlan7", "prod/vlan200"),
        ({"*": "keep"}, "other/vlan7", "other/vlan7"),
        ({"*": "prod/vlan200", "other/vlan7": "keep"}, "other/vlan7", "other/vlan7"),
        ({"*": "keep", "other/vlan7": "prod/vlan200"}, "other/vlan7", "prod/vlan200"),
    ],
)
def test_networks_follow_the_mapping_and_one_without_namespace_means_the_source(
    mapping: dict[str, str], network: str, expected: str
) -> None:
    vm = virtual_machine.with_networks(
        a_vm(networks=(MANAGEMENT, Nic(network=network))), Mapping(networks=mapping), "default"
    )
    assert pod(vm)["networks"] == [
        {"name": "default", "pod": {}},
        {"name": "nic-1", "multus": {"networkName": expected}},
    ]


def test_addresses_are_kept_or_cleared() -> None:
    vm = a_vm()
    assert virtual_machine.with_macs(vm, Mac.KEEP, "prod/web01") == vm
    assert [
        set(each) for each in interfaces(virtual_machine.with_macs(vm, Mac.CLEAR, "prod/web01"))
    ] == [{"name", "model", "bridge"}]


def test_derived_addresses_are_locally_administered_stable_and_each_interfaces_own() -> None:
    vm = a_vm(networks=(MANAGEMENT, Nic()))
    derived = {
        identity: [
            each["macAddress"]
            for each in interfaces(virtual_machine.with_macs(vm, Mac.DERIVE, identity))
        ]
        for identity in ("prod/web01", "prod/web02", "test/web01")
    }
    every = [mac for macs in derived.values() for mac in macs]
    assert len(set(every)) == len(every) == 6
    assert all(int(mac[:2], 16) & 0b11 == 0b10 and len(mac.split(":")) == 6 for mac in every)
    again = interfaces(virtual_machine.with_macs(vm, Mac.DERIVE, "prod/web01"))
    assert [each["macAddress"] for each in again] == derived["prod/web01"]
    # printf prod/web01/nic-1 | sha256sum
    assert derived["prod/web01"][1] == "02:a0:fc:b8:16:ea"


@pytest.mark.parametrize("firmware", [None, {}, {"uuid": None}, {"uuid": "", "serial": "7"}])
def test_a_machine_without_a_firmware_uuid_gets_the_one_that_kubevirt_derived(
    firmware: Json,
) -> None:
    vm = a_vm()
    pod(vm)["domain"]["firmware"] = firmware
    made = pod(virtual_machine.with_firmware_uuid(vm, "web01"))["domain"]["firmware"]
    # sha1 of the namespace's bytes and web01, as RFC 9562 cuts it
    assert made == {**(firmware or {}), "uuid": "8521b45e-38d5-5e52-aebd-e6fb975b5614"}


def test_a_firmware_uuid_that_somebody_wrote_down_is_kept() -> None:
    vm = a_vm()
    pod(vm)["domain"]["firmware"] = {"uuid": "4b1f3a52-0000-4000-8000-000000000001"}
    assert virtual_machine.with_firmware_uuid(vm, "web01") == vm
    del pod(vm)["domain"]
    assert virtual_machine.with_firmware_uuid(vm, "web01") == vm


@pytest.mark.parametrize(
    ("terms", "left"),
    [
        ([[NETWORK_TERM]], None),
        ([[NETWORK_TERM, ZONE_TERM]], [[ZONE_TERM]]),
        ([[CPU_TERM, ZONE_TERM]], [[ZONE_TERM]]),
        ([[ZONE_TERM]], [[ZONE_TERM]]),
        ([[NETWORK_TERM, ZONE_TERM], [ZONE_TERM]], [[ZONE_TERM], [ZONE_TERM]]),
        ([[NETWORK_TERM], [ZONE_TERM]], None),  # alternatives: the first one means any node now
    ],
)
def test_labels_of_the_sources_networks_are_no_condition_any_more(terms: Json, left: Json) -> None:
    preferred = [{"weight": 1, "preference": {"matchExpressions": [ZONE_TERM]}}]
    node = {
        REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]},
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }
    vm = virtual_machine.without_source_affinity(
        with_pod(affinity={"nodeAffinity": node, "podAntiAffinity": {}})
    )
    kept = pod(vm)["affinity"]
    found = dig(kept, "nodeAffinity", REQUIRED, "nodeSelectorTerms")
    assert found == (left and [{"matchExpressions": term} for term in left])
    assert kept["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == preferred
    assert kept["podAntiAffinity"] == {}


@pytest.mark.parametrize("affinity", [None, {}, {"nodeAffinity": None}, {"podAffinity": {}}])
def test_a_machine_without_required_nodes_keeps_its_affinity(affinity: Json) -> None:
    vm = with_pod(affinity=affinity)
    assert virtual_machine.without_source_affinity(vm) == vm


def test_nodes_are_told_as_selectors_are_written_and_no_more_than_a_person_reads() -> None:
    fields = [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]
    terms = [{"matchExpressions": [ZONE_TERM], "matchFields": fields}, {"matchFields": fields}]
    assert (
        in_words(terms) == "zone In (a) and metadata.name In (node-1) or metadata.name In (node-1)"
    )
    assert in_words([{"matchFields": fields}] * 5).endswith("(node-1) or 2 more")
    assert in_words([{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]) == "gpu Exists"
    assert own_terms({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}]}}}) == []


SECRET_PLACES: list[dict[str, Json]] = [
    {"volumes": [{"name": "c", "cloudInitNoCloud": {"secretRef": {"name": "keys"}}}]},
    {"volumes": [{"name": "c", "cloudInitNoCloud": {"networkDataSecretRef": {"name": "keys"}}}]},
    {"volumes": [{"name": "c", "cloudInitConfigDrive": {"secretRef": {"name": "keys"}}}]},
    {
        "volumes": [
            {"name": "c", "cloudInitConfigDrive": {"networkDataSecretRef": {"name": "keys"}}}
        ]
    },
    {"accessCredentials": [{"sshPublicKey": {"source": {"secret": {"secretName": "keys"}}}}]},
    {"accessCredentials": [{"userPassword": {"source": {"secret": {"secretName": "keys"}}}}]},
    {"volumes": [{"name": "c", "secret": {"secretName": "keys"}}]},
    {"volumes": [{"name": "c", "sysprep": {"secret": {"name": "keys"}}}]},
]


@pytest.mark.parametrize("place", SECRET_PLACES)
def test_every_reference_to_a_secret_of_the_backup_follows_its_new_name(
    place: dict[str, Json],
) -> None:
    vm = with_pod(**place)
    renamed = virtual_machine.with_secrets(vm, {"keys": "keys-4e65d3fb"})
    assert json.dumps(renamed) == json.dumps(vm).replace('"keys"', '"keys-4e65d3fb"')
    assert virtual_machine.with_secrets(vm, {"others": "others-4e65d3fb"}) == vm


KEYS = {"keys": ["default/mine", "default/yours"], "absent": ["default/mine"]}


@pytest.mark.parametrize(
    ("note", "renamed"),
    [
        (json.dumps(KEYS), '{"keys-4e65d3fb":["default/mine","default/yours"]}'),
        ('{"keys": []}', '{"keys-4e65d3fb":[]}'),
        ('{"absent": ["default/mine"]}', None),
        ('{"keys": 5}', None),
        ('{"keys": "default/mine"}', None),
        ('{"keys": null}', None),
        ("[]", None),
        ("{", None),
        ("", None),
        (5, None),
    ],
)
def test_the_note_of_ssh_keys_follows_the_secrets_that_there_are(
    note: Json, renamed: str | None
) -> None:
    vm = a_vm()
    vm["spec"]["template"]["metadata"] = {"annotations": {virtual_machine.SSH_KEYS: note, "a": "b"}}
    changed = virtual_machine.with_secrets(vm, {"keys": "keys-4e65d3fb"})
    annotations = changed["spec"]["template"]["metadata"]["annotations"]
    assert annotations.pop("a") == "b"
    assert annotations.get(virtual_machine.SSH_KEYS) == renamed


def a_claim(name: str = "web01-disk-0", size: str = "42949672960", **spec: Json) -> dict[str, Json]:
    source = {"kind": "VolumeSnapshot", "name": "replant-r-1"}
    modes = {"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}
    resources = {"requests": {"storage": size}}
    metadata = {"name": name, "labels": {"a": "b"}, "annotations": {"c": "d"}}
    return {
        "metadata": metadata,
        "spec": {**modes, "resources": resources, "dataSource": source, **spec},
    }


def templates(vm: dict[str, Json], *claims: dict[str, Json]) -> Json:
    noted = virtual_machine.with_claim_templates(vm, claims)["metadata"]["annotations"]
    return json.loads(noted[virtual_machine.CLAIM_TEMPLATES])


def test_harvesters_note_of_the_claims_tells_of_the_restored_ones_and_nothing_of_their_data() -> (
    None
):
    claims = (a_claim(storageClassName="fast"), a_claim("other", "10Gi"))
    first, second = templates(a_vm(), *claims)
    assert first == {
        "metadata": {"name": "web01-disk-0"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Block",
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "40Gi"}},
        },
    }
    assert (second["metadata"], "storageClassName" in second["spec"]) == ({"name": "other"}, False)


PLANTED = [
    {
        "metadata": {"name": "planted", "annotations": {"harvesterhci.io/imageId": "default/x"}},
        "spec": {"dataSource": {"name": "others"}},
        "targetVolume": "others",
    }
]


@pytest.mark.parametrize("note", [None, "", "{", "5", "null", json.dumps(PLANTED)])
def test_whatever_the_sources_note_said_it_is_made_anew(note: Json) -> None:
    vm = a_vm(annotations={virtual_machine.CLAIM_TEMPLATES: note, "mine": "kept"})
    assert templates(vm, a_claim()) == templates({**vm, "metadata": {}}, a_claim())
    noted = virtual_machine.with_claim_templates(vm, [a_claim()])["metadata"]["annotations"]
    assert noted["mine"] == "kept"
    assert templates(vm) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"key": "c2VjcmV0"}, "c2VjcmV0"),
        ({"key": ""}, ""),
        ({"key": None}, ""),  # as Go writes an empty value
        ({}, None),
        (None, None),
        ([], None),
        ("key", None),
    ],
)
def test_a_secret_value_that_is_null_is_an_empty_one_and_an_absent_one_is_none(
    data: Json, expected: str | None
) -> None:
    metadata = {"secretBackups": [{"name": "keys", "data": data}]}
    assert find_value(metadata, ("secretBackups", 0, "data", "key")) == expected


@pytest.mark.parametrize(
    ("size", "storage"),
    [
        (str(40 * 2**30), "40Gi"),
        (str(41 * 2**30), "41Gi"),
        (str(2**30 + 1), "1073741825"),
        (str(2**30 + 2**20), "1074790400"),
        ("40Gi", "40Gi"),
    ],
)
def test_the_note_of_a_claim_has_the_size_of_the_restored_one(size: str, storage: str) -> None:
    (template,) = templates(a_vm(), a_claim(size=size))
    assert template["spec"]["resources"] == {"requests": {"storage": storage}}


def test_two_disks_on_one_claim_make_one_claim() -> None:
    volumes = a_point(a_metadata(disks_=disks(count=3))).volumes
    again = volumes[0].model_copy(update={"disk": "disk-9"})
    assert virtual_machine.one_per_claim((*volumes, again)) == volumes
    assert virtual_machine.one_per_claim(()) == ()


TRANSFORMS: dict[str, Callable[[dict[str, Json]], object]] = {
    "run strategy": lambda vm: virtual_machine.not_started(vm, "Always"),
    "overcommit": virtual_machine.without_overcommit,
    "networks": lambda vm: virtual_machine.with_networks(
        vm, Mapping(networks={"*": "prod/vlan200"}), "default"
    ),
    "mac": lambda vm: virtual_machine.with_macs(vm, Mac.DERIVE, "prod/web01"),
    "firmware": lambda vm: virtual_machine.with_firmware_uuid(vm, "web02"),
    "affinity": virtual_machine.without_source_affinity,
    "secrets": lambda vm: virtual_machine.with_secrets(vm, {"keys": "keys-1", "ssh": "ssh-1"}),
    "claims": lambda vm: virtual_machine.with_claim_templates(vm, [a_claim()]),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_no_change_touches_what_it_was_given(
    transform: Callable[[dict[str, Json]], object],
) -> None:
    vm = a_vm(
        secrets={"keys": {"userdata": "#cloud-config"}, "ssh": {"key": "x"}},
        cloud_init="#cloud-config",
    )
    pod(vm)["domain"]["firmware"] = {"serial": "7"}
    before = copy.deepcopy(vm)
    assert transform(vm) != before
    assert vm == before
