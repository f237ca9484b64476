"""The way back of a recovery plan: what is inverted, what is named for a person to fill in."""

from typing import Any

import pytest
import yaml

from shared.failover import reverse
from shared.failover.reverse import NOTHING, Used
from shared.layouts import documents, registry
from shared.models.recovery_plans import RecoveryPlan

WAVES = [{"name": "databases", "machines": [{"namespace": "db", "name": "pg-*"}]}]


def a_plan(mapping: dict[str, Any] | None = None, **changes: Any) -> RecoveryPlan:
    body = {"name": "payments", "source": "east", "target": "west", "waves": WAVES}
    return RecoveryPlan.model_validate(body | {"mapping": mapping or {}} | changes)


def inverted(plan: RecoveryPlan, used: Used = NOTHING) -> RecoveryPlan:
    """The way back, for which nobody has to fill in anything."""
    found = reverse.invert(plan, used)
    assert found.problems == ()
    return found.plan


def mapping_of(plan: RecoveryPlan) -> dict[str, Any]:
    said: dict[str, Any] = plan.mapping.model_dump(
        mode="json", by_alias=True, exclude_defaults=True
    )
    return said


INVERTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "namespaces": (
        {"namespaces": {"db": "prod-db", "web": "web"}},
        {"namespaces": {"prod-db": "db", "web": "web"}},
    ),
    "names that change places": (
        {"namespaces": {"db": "web", "web": "db"}},
        {"namespaces": {"web": "db", "db": "web"}},
    ),
    "a namespace called keep": ({"namespaces": {"db": "keep"}}, {"namespaces": {"keep": "db"}}),
    "classes": (
        {"storageClasses": {"fast": "quick", "slow": "keep", "*": "keep"}},
        {"storageClasses": {"quick": "fast", "slow": "keep", "*": "keep"}},
    ),
    "networks": (
        {"networks": {"default/vlan100": "prod/vlan200", "a/b": "keep"}},
        {"networks": {"prod/vlan200": "default/vlan100", "a/b": "keep"}},
    ),
    "addresses": (
        {"addresses": [{"from": "10.1.0.0/16", "to": "10.2.0.0/16"}]},
        {"addresses": [{"from": "10.2.0.0/16", "to": "10.1.0.0/16"}]},
    ),
    "addresses of two kinds": (
        {
            "addresses": [
                {"from": "10.1.0.0/16", "to": "10.2.0.0/16"},
                {"from": "2001:db8:1::/48", "to": "2001:db8:2::/48"},
            ]
        },
        {
            "addresses": [
                {"from": "10.2.0.0/16", "to": "10.1.0.0/16"},
                {"from": "2001:db8:2::/48", "to": "2001:db8:1::/48"},
            ]
        },
    ),
    "kept hardware addresses": ({"mac": "keep"}, {"mac": "keep"}),
    "derived hardware addresses": ({"mac": "derive"}, {"mac": "derive"}),
    "half the size": (
        {"resources": {"cpuPercent": 50, "memoryPercent": 80}},
        {"resources": {"cpuPercent": 200, "memoryPercent": 125}},
    ),
}


@pytest.mark.parametrize("case", INVERTED)
def test_what_has_an_inverse_is_inverted_and_again_is_what_it_was(case: str) -> None:
    mapping, back = INVERTED[case]
    there = inverted(a_plan(mapping))
    assert mapping_of(there) == back
    assert inverted(there) == a_plan(mapping)


NAMED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "any class": (
        {"storageClasses": {"*": "longhorn", "fast": "quick"}},
        {"storageClasses": {"quick": "fast"}},
        "mapping.storageClasses: * became longhorn, whatever it was before.",
    ),
    "any network": (
        {"networks": {"*": "prod/vlan200"}},
        {},
        "mapping.networks: * became prod/vlan200",
    ),
    "no network": (
        {"networks": {"default/vlan100": "none"}},
        {},
        "mapping.networks: default/vlan100 became none. The interfaces are in no backup",
    ),
    "no networks": ({"networks": {"*": "none"}}, {}, "mapping.networks: * became none."),
    "many to one": (
        {"namespaces": {"db": "prod", "web": "prod", "a": "b"}},
        {"namespaces": {"b": "a"}},
        "mapping.namespaces: db, web all became prod. Which of them",
    ),
    "one beside one that stayed": (
        {"namespaces": {"web": "db"}},
        {},
        "mapping.namespaces: db, web all became db.",
    ),
    "addresses that overlap": (
        {
            "addresses": [
                {"from": "10.1.0.0/16", "to": "10.9.0.0/16"},
                {"from": "10.2.4.0/24", "to": "10.9.4.0/24"},
                {"from": "10.3.0.0/16", "to": "10.4.0.0/16"},
            ]
        },
        {"addresses": [{"from": "10.4.0.0/16", "to": "10.3.0.0/16"}]},
        "10.1.0.0/16 became 10.9.0.0/16, and 10.2.4.0/24 became 10.9.4.0/24, which overlap.",
    ),
    "no whole percent": (
        {"resources": {"cpuPercent": 75, "memoryPercent": 50}},
        {"resources": {"memoryPercent": 200}},
        "mapping.resources.cpuPercent: 75 % of a machine has no inverse",
    ),
    "too many percent": (
        {"resources": {"memoryPercent": 5}},
        {},
        "mapping.resources.memoryPercent: 5 %",
    ),
    "a suffix": (
        {"names": {"suffix": "-dr"}},
        {},
        "-dr was appended to names, and no mapping takes it away: db-1-dr would come back as",
    ),
    "a patch": (
        {
            "patches": [
                {
                    "match": {"kind": "VirtualMachine", "name": "pg-*"},
                    "patch": [{"op": "replace", "path": "/metadata/labels/tier", "value": "x"}],
                }
            ]
        },
        {},
        "mapping.patches.0: what VirtualMachine pg-* had before 'replace /metadata/labels/tier'",
    ),
    "a class that was none": (
        {"storageClasses": {"": "longhorn"}},
        {},
        "mapping.storageClasses.longhorn: must",
    ),
}


@pytest.mark.parametrize("case", NAMED)
def test_what_has_no_inverse_is_named_and_left_out(case: str) -> None:
    mapping, back, said = NAMED[case]
    found = reverse.invert(a_plan(mapping))
    (problem,) = found.problems
    assert said in problem
    assert problem.endswith(
        "Write plans/payments.yaml from the document, with what should be there."
    )
    assert mapping_of(found.plan) == back


USED: dict[str, tuple[dict[str, Any], Used, str]] = {
    "namespaces": (
        {"namespaces": {"web": "shop"}},
        Used(namespaces=frozenset({"shop"})),
        "mapping.namespaces: shop, web all became shop.",
    ),
    "classes": (
        {"storageClasses": {"fast": "slow"}},
        Used(storage_classes=frozenset({"fast", "slow"})),
        "mapping.storageClasses: fast, slow all became slow.",
    ),
    "networks": (
        {"networks": {"a/b": "c/d"}},
        Used(networks=frozenset({"c/d", "e/f"})),
        "mapping.networks: a/b, c/d all became c/d.",
    ),
}


@pytest.mark.parametrize("case", USED)
def test_what_no_rule_names_has_stayed_and_may_be_in_the_way(case: str) -> None:
    mapping, used, said = USED[case]
    (problem,) = reverse.invert(a_plan(mapping), used).problems
    assert said in problem
    assert reverse.invert(a_plan(mapping)).problems == ()


def test_a_network_that_is_mapped_away_is_in_nobody_s_way() -> None:
    used = Used(networks=frozenset({"a/b", "c/d"}))
    back = inverted(a_plan({"networks": {"a/b": "c/d", "c/d": "a/b"}}), used)
    assert mapping_of(back) == {"networks": {"c/d": "a/b", "a/b": "c/d"}}


def test_source_and_target_are_exchanged_and_the_rest_stays() -> None:
    plan = a_plan(
        {"namespaces": {"db": "prod"}},
        objectives={"rpo": "PT24H"},
        trigger={"alarm": "rack-7", "mode": "automatic", "cooldown": "PT2H"},
        guard={"probes": 5},
    )
    back = reverse.invert(plan).plan
    assert (back.name, back.source, back.target) == ("payments", "west", "east")
    assert (back.objectives, back.guard) == (plan.objectives, plan.guard)
    assert back.trigger.alarm is None, "that one watches east"
    assert (back.trigger.mode, back.trigger.cooldown) == ("automatic", plan.trigger.cooldown)


GROUPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pattern": (
        {"namespace": "db", "name": "pg-*"},
        {"namespace": "prod", "name": "pg-*-dr"},
    ),
    "namespace": ({"namespace": "db"}, {"namespace": "prod", "name": "*-dr"}),
    "other namespace": ({"namespace": "web"}, {"namespace": "web", "name": "*-dr"}),
    "labels": ({"labels": {"tier": "data"}}, {"labels": {"tier": "data"}, "name": "*-dr"}),
}


@pytest.mark.parametrize("case", GROUPS)
def test_groups_are_those_of_the_machines_as_the_target_calls_them(case: str) -> None:
    group, expected = GROUPS[case]
    wave = {
        "name": "one",
        "machines": [group],
        "onFailure": "continue",
        "ready": {"condition": "agent", "timeout": "PT1H"},
    }
    mapping = {"namespaces": {"db": "prod"}, "names": {"suffix": "-dr"}}
    (back,) = reverse.invert(a_plan(mapping, waves=[wave])).plan.waves
    (found,) = back.machines
    assert found.model_dump(by_alias=True, exclude_none=True) == expected
    assert (back.on_failure, back.ready.condition) == ("continue", "agent")


def test_the_document_is_a_plan_that_says_what_is_to_be_filled_in() -> None:
    plan = a_plan(
        {"namespaces": {"db": "prod"}, "storageClasses": {"*": "longhorn"}},
        objectives={"rpo": "PT24H", "rto": "PT30M"},
    )
    found = reverse.invert(plan)
    text = reverse.document(found.plan, found.problems)
    assert "# The way back of plan payments: from west to east.\n" in text
    assert "# - mapping.storageClasses: * became longhorn" in text
    place = registry.recognise_document("plans/payments.yaml")
    assert documents.parse(place, text.encode(), buckets=frozenset())
    assert RecoveryPlan.model_validate(yaml.safe_load(text)) == found.plan


def test_an_original_that_still_stands_is_named_with_its_remedy() -> None:
    (one, _) = reverse.originals(reverse.invert(a_plan()).plan, ["db/pg-2", "db/pg-1"])
    assert one == (
        "db/pg-1 still stands on east: the machine that comes back finds its name taken. See that"
        " nothing on it is needed any more, and delete it there."
    )
