"""Processors and memory in percent: what a machine gets, whatever way its sizes were written."""

import copy
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.samples.builders import Metadata, a_machine, a_metadata, manifest, planned
from shared.jsonpath import dig
from shared.models.mapping import Resources
from shared.quantities import GIB, MIB, in_bytes, number
from shared.restore import sizes
from shared.restore.rules import INSTANCE
from shared.restore.virtual_machine import HOTPLUG

Json = Any


def with_domain(domain: Json, annotations: dict[str, str]) -> dict[str, Json]:
    spec = {"template": {"spec": {"domain": copy.deepcopy(domain)}}}
    return {"metadata": {"annotations": annotations}, "spec": spec}


def scaled(
    domain: Json, *, cpu: int = 100, memory: int = 100, noted: dict[str, str] | None = None
) -> Json:
    vm = with_domain(domain, noted or {})
    before = copy.deepcopy(vm)
    made = sizes.with_sizes(vm, Resources(cpu_percent=cpu, memory_percent=memory))
    assert vm == before, "what was given is not changed"
    return dig(made, *INSTANCE, "domain")


def of_cpu(cores: int, sockets: int = 1, threads: int = 1, **more: int) -> dict[str, int]:
    return {"cores": cores, "sockets": sockets, "threads": threads, **more}


@pytest.mark.parametrize(
    ("cpu", "percent", "expected"),
    [
        (of_cpu(4), 50, of_cpu(2)),
        (of_cpu(4), 60, of_cpu(3)),
        (of_cpu(1), 10, of_cpu(1)),
        (of_cpu(2), 1000, of_cpu(20)),
        (of_cpu(1, 4), 50, of_cpu(1, 2)),  # made of sockets
        (of_cpu(2, 2, 2), 50, of_cpu(1, 2, 2)),
        (of_cpu(2, 2, 2), 25, of_cpu(1, 1, 2)),
        (of_cpu(2, 1, 2), 75, of_cpu(3)),  # no threads of an odd number
        (of_cpu(1, 2, maxSockets=8), 200, of_cpu(1, 4, maxSockets=16)),
        (of_cpu(1, 3, maxSockets=3), 50, of_cpu(1, 2, maxSockets=2)),
        ({"cores": 4}, 50, {"cores": 2}),
        ({"cores": 4, "sockets": 0}, 50, {"cores": 2, "sockets": 1}),
        ({"sockets": 4, "model": "host-model"}, 50, {"sockets": 2, "model": "host-model"}),
        ({"sockets": 2}, 150, {"sockets": 3}),
        ({"model": "host-model"}, 50, {"model": "host-model"}),
    ],
)
def test_processors_keep_the_form_that_they_had(cpu: Json, percent: int, expected: Json) -> None:
    assert scaled({"cpu": cpu}, cpu=percent)["cpu"] == expected


@pytest.mark.parametrize(
    ("amounts", "percent", "expected"),
    [
        ({"limits": {"cpu": "4"}}, 50, {"limits": {"cpu": "2"}}),
        ({"limits": {"cpu": 3}}, 50, {"limits": {"cpu": "2"}}),
        ({"limits": {"cpu": "1"}}, 10, {"limits": {"cpu": "1"}}),
        ({"requests": {"cpu": "125m"}}, 50, {"requests": {"cpu": "63m"}}),
        ({"limits": {"cpu": "1500m"}}, 200, {"limits": {"cpu": "3000m"}}),
        ({"limits": {"memory": "4Gi"}}, 50, {"limits": {"memory": "4Gi"}}),
    ],
)
def test_amounts_of_processors_are_scaled_as_they_were_written(
    amounts: Json, percent: int, expected: Json
) -> None:
    assert scaled({"resources": amounts}, cpu=percent)["resources"] == expected


RESERVED = "harvesterhci.io/reservedMemory"
SMALL = {"limits": {"memory": "512Mi"}}


@pytest.mark.parametrize(
    ("resources", "memory", "percent", "expected"),
    [
        ({"limits": {"memory": "4Gi"}}, {}, 50, ("2Gi", None, None)),
        ({"limits": {"memory": "4Gi"}}, {}, 33, ("1352Mi", None, None)),
        ({"limits": {"memory": "4G"}}, {}, 100, ("4G", None, None)),
        ({"requests": {"memory": "2730Mi"}}, {"guest": "3996Mi"}, 50, (None, "1365Mi", "1998Mi")),
        (SMALL, {}, 25, ("356Mi", None, None)),  # 256Mi for the guest, 100Mi for QEMU
        ({"limits": {"memory": "64Mi"}}, {}, 25, ("64Mi", None, None)),  # it was below already
        ({}, {"guest": "1Gi", "hugepages": {"pageSize": "1Gi"}}, 150, (None, None, "2Gi")),
        ({}, {"guest": "2Gi", "maxGuest": "8Gi"}, 25, (None, None, "1Gi")),
    ],
)
def test_memory_is_whole_mebibytes_and_no_less_than_a_guest_needs(
    resources: Json, memory: Json, percent: int, expected: Json
) -> None:
    made = scaled({"resources": resources, "memory": memory}, memory=percent)
    places = (
        dig(made, "resources", "limits", "memory"),
        dig(made, "resources", "requests", "memory"),
        dig(made, "memory", "guest"),
    )
    assert places == expected


def test_what_qemu_was_given_by_a_person_is_kept_beside_the_least() -> None:
    made = scaled({"resources": SMALL}, memory=10, noted={RESERVED: "200Mi"})
    assert made["resources"]["limits"]["memory"] == "456Mi"


def test_memory_that_can_grow_stays_as_kubevirt_asks_for_it() -> None:
    domain = {
        "resources": {"limits": {"memory": "8Gi"}, "requests": {"memory": "1Gi"}},
        "memory": {"guest": "2050Mi", "maxGuest": "8Gi"},
    }
    made = scaled(domain, memory=75, noted={HOTPLUG: "true"})
    assert made["memory"] == {"guest": "1538Mi", "maxGuest": "6Gi"}
    assert made["resources"]["limits"]["memory"] == "6Gi"


def test_a_machine_as_harvester_writes_it_has_both_scaled_and_the_rest_left_to_the_webhook() -> (
    None
):
    mapping = {"resources": {"cpuPercent": 50, "memoryPercent": 25}}
    machine = a_machine(a_metadata(cpu=4, memory=8 * GIB), mapping=mapping)
    domain = dig(manifest(machine, "VirtualMachine"), *INSTANCE, "domain")
    assert domain["cpu"] == {"cores": 2, "sockets": 1, "threads": 1}
    assert domain["resources"] == {"limits": {"cpu": "2", "memory": "2Gi"}, "requests": {}}
    assert "guest" not in domain["memory"]
    told = {each.what: (each.before, each.after) for each in machine.mapped}
    assert (told["processors"], told["memory"]) == (("4", "2"), ("8Gi", "2Gi"))


def test_what_a_machine_does_not_say_is_not_invented() -> None:
    def bare(metadata: Metadata) -> None:
        spec = metadata["vmSourceSpec"]["spec"]
        spec["instancetype"] = {"name": "large"}
        for each in ("cpu", "memory", "resources"):
            del spec["template"]["spec"]["domain"][each]

    plan = planned(a_metadata(edit=bare), mapping={"resources": {"memoryPercent": 50}})
    (machine,) = plan.machines
    domain = dig(manifest(machine, "VirtualMachine"), *INSTANCE, "domain")
    assert not domain.keys() & {"cpu", "memory", "resources"}
    assert [(each.verdict, each.message) for each in plan.checks if each.check == "mapping"] == [
        (
            "warn",
            "mapping.resources.memoryPercent changes nothing of it: its specification says no such"
            " size, so that its instance type or the target does.",
        )
    ]


@pytest.mark.parametrize(
    "domain",
    [
        {"cpu": {"cores": "2"}},
        {"cpu": {"cores": -2}},
        {"cpu": {"cores": 1.5}},
        {"cpu": ["cores"]},
        {"resources": {"limits": {"cpu": "two"}}},
        {"resources": {"limits": {"memory": "1e999"}}},
        {"resources": {"limits": {"memory": {"of": "4Gi"}}}},
        {"memory": {"guest": "1Gi", "hugepages": {"pageSize": "big"}}},
        "none",
    ],
)
def test_a_size_that_is_none_is_an_error_that_stops_its_own_machine(domain: Json) -> None:
    with pytest.raises((AttributeError, LookupError, TypeError, ValueError)):
        scaled(domain, cpu=50, memory=50)


counts = st.integers(1, 16)
percents = st.integers(1, 1000)


@given(counts, counts, counts, percents)
def test_any_topology_has_as_many_processors_as_its_limit_says(
    cores: int, sockets: int, threads: int, percent: int
) -> None:
    total = cores * sockets * threads
    domain = {"cpu": of_cpu(cores, sockets, threads), "resources": {"limits": {"cpu": str(total)}}}
    made = scaled(domain, cpu=percent)
    count = made["cpu"]["cores"] * made["cpu"]["sockets"] * made["cpu"]["threads"]
    assert str(count) == made["resources"]["limits"]["cpu"]
    assert count == max(1, math.ceil(Fraction(total * percent, 100)))


@given(st.integers(1, 2**45), st.integers(1, 2**45), percents)
def test_what_is_asked_for_never_exceeds_its_limit(one: int, other: int, percent: int) -> None:
    low, high = sorted((one, other))
    domain = {
        "resources": {"limits": {"memory": str(high)}, "requests": {"memory": str(low)}},
        "memory": {"guest": str(low)},
    }
    made = scaled(domain, memory=percent)
    limit = number(made["resources"]["limits"]["memory"])
    assert number(made["resources"]["requests"]["memory"]) <= limit
    assert number(made["memory"]["guest"]) <= limit


def test_sizes_are_written_as_people_read_them() -> None:
    assert [in_bytes(each) for each in (GIB, 3 * MIB, MIB + 1)] == ["1Gi", "3Mi", "1048577"]
