"""Restores of a recovery plan's machines.

Aspects: which machines, with which mapping, what is told of the plan; a plan that is changed or
gone when its restore goes on. Not aspects: the document (test_recovery_plans.py).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import InvalidRequest, NotFound
from tests.lab import Lab, a_lab

PLAN = """\
name: payments
source: east
target: west
mapping: {namespaces: {default: restored}}
waves:
  - name: databases
    machines: [{namespace: default, name: "db-*"}, {labels: {tier: data}}]
  - name: web
    machines: [{namespace: default, name: web01}]
"""
SELECT = {"plan": "payments"}
AT_ONCE = (
    "The 2 waves of plan payments come back at once: a restore heeds neither their order, nor"
    " ready, nor onFailure; a failover does."
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        lab.recovery_plan(PLAN)
        yield lab


def fleet(lab: Lab) -> None:
    lab.backup("db-1")
    lab.backup("cache", labels={"tier": "data"})
    lab.backup("web01")
    lab.backup("other")


def restored(lab: Lab, **changes: Any) -> dict[str, Any]:
    return lab.restore({"select": SELECT, "target": "west", "requestId": "plan"} | changes)


def namespaces(output: dict[str, Any]) -> dict[str, str]:
    return {each["vm"]: each["namespace"] for each in output["machines"]}


def told(lab: Lab, output: dict[str, Any]) -> list[str]:
    """What the report says of the plan itself, beside that its waves come back at once."""
    report = lab.s3.json(output["report"].partition("state/")[2])
    at_once, *told = [each["message"] for each in report["checks"] if each["check"] == "plan"]
    assert at_once == AT_ONCE
    return told


def test_its_machines_come_back_with_its_mapping(lab: Lab) -> None:
    fleet(lab)
    output = restored(lab)
    assert output["counts"] == {"ready": 3}
    assert namespaces(output) == dict.fromkeys(("cache", "db-1", "web01"), "restored")
    assert told(lab, output) == []


@pytest.mark.parametrize("mapping", [{}, {"namespaces": {"default": "elsewhere"}}])
def test_a_request_with_a_mapping_has_that_alone(lab: Lab, mapping: dict[str, Any]) -> None:
    lab.backup("web01")
    output = restored(lab, mapping=mapping)
    assert namespaces(output) == {"web01": "elsewhere" if mapping else "default"}


def test_every_machine_of_it_is_accounted_for(lab: Lab) -> None:
    lab.backup("web01")
    lab.backup("db-1", state="incomplete", reasons=("disk: gone",))
    output = restored(lab)
    assert output["counts"] == {"ready": 1, "blocked": 1}


def test_a_group_that_fits_nothing_is_told(lab: Lab) -> None:
    lab.backup("web01")
    assert told(lab, restored(lab)) == [
        "Wave databases of plan payments, machines.0: default/db-* fits no machine that the"
        " catalogue knows of east.",
        "Wave databases of plan payments, machines.1: tier=data fits no machine that the catalogue"
        " knows of east.",
    ]


def test_machines_that_another_plan_has_as_well_are_told(lab: Lab) -> None:
    fleet(lab)
    lab.recovery_plan(PLAN.replace("payments", "orders").replace("db-*", "x*"))
    lab.recovery_plan(PLAN.replace("payments", "back").replace("east", "north"))
    (said,) = told(lab, restored(lab))
    assert (
        said == "Plan orders has machines of plan payments as well: default/cache, default/web01."
    )


def test_another_target_than_the_plans_is_told(lab: Lab) -> None:
    fleet(lab)
    lab.recovery_plan(PLAN.replace("west", "south"), "south")
    (said,) = told(lab, restored(lab))
    assert said == "Plan payments brings its machines to south; this restore to west."


def test_an_unknown_plan_is_answered_with_those_that_there_are(lab: Lab) -> None:
    with pytest.raises(NotFound, match=r"Unknown plan 'paymnts'. Known: payments.") as caught:
        restored(lab, select={"plan": "paymnts"})
    assert caught.value.field == "select.plan"


def test_a_plan_without_any_machine_is_told(lab: Lab) -> None:
    lab.backup("other")
    with pytest.raises(NotFound, match="no restore point of any machine of plan payments is known"):
        restored(lab)


def test_what_two_machines_of_it_would_both_become_is_refused(lab: Lab) -> None:
    lab.recovery_plan(
        PLAN.replace("{default: restored}", "{default: restored, shop: restored}")
        + "  - name: shop\n    machines: [{namespace: shop}]\n"
    )
    lab.backup("web01")
    lab.backup("web01", namespace="shop", id_="point-shop")
    with pytest.raises(InvalidRequest, match="would both become restored/web01"):
        restored(lab)


@pytest.mark.parametrize("text", ["", PLAN.replace("restored", "elsewhere")])
def test_a_restore_goes_on_with_what_was_planned_whatever_became_of_its_plan(
    lab: Lab, text: str
) -> None:
    fleet(lab)
    request = {"select": SELECT, "target": "west", "requestId": "plan"}
    planned = lab.plan(request)
    lab.apply(planned)
    lab.stop()
    if text:
        lab.recovery_plan(text)
    else:
        gone = ("documents", "plans/payments")
        lab.table.delete(gone, condition="read_order = :order", values={":order": "0"})
    again = lab.plan(request, "run-2")
    assert again.plan_hash == planned.plan_hash
    assert lab.finish(again)["counts"] == {"ready": 3}
