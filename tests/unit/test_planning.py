"""What a restore is planned from: the points that a selection means, the target's document, what is
read again.

Not aspects: which point of a machine is taken (test_select), what a plan then says of it
(test_plan).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.errors import NotFound, Refused
from shared.models.base import to_instant
from shared.models.restore_points import State
from shared.workflows.looking import Ask
from shared.workflows.planning import LOOKS, READERS, Attach, Copy, Planned
from tests.lab import STATE, Lab, a_lab
from tests.scenarios import Happened, World

Json = dict[str, Any]
DAMAGED: Json = {"state": State.INCOMPLETE, "reasons": ("disk disk-0: gone",)}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def two_days(lab: Lab, **newer: Any) -> tuple[datetime, datetime]:
    """Two points of one machine, a day apart; the instants of the older and the newer."""
    first = lab.backup(id_="older").taken_at
    second = first + timedelta(days=1)
    lab.backup(id_="newer", backup="web01-2", taken_at=second, **newer)
    return first, second


def asked(lab: Lab, **select: Any) -> Json:
    return lab.request() | {"select": select}


def refusal(lab: Lab, request: Json) -> NotFound:
    with pytest.raises(NotFound) as caught:
        lab.plan(request)
    return caught.value


def points(output: Json) -> list[str]:
    return sorted(each["id"] for each in output["machines"])


# --- Another execution of the same request ------------------------------------------------------


def test_who_took_the_restore_up_meanwhile_is_looked_at_too_and_not_for_ever(lab: Lab) -> None:
    """Each answer is about an execution; the ledger may name another one by then."""
    lab.backup()
    lab.plan(execution="run-0")

    def take_up(number: int) -> Planned | Ask | Attach | Copy:
        everybody = {f"run-{each}": False for each in range(number)}
        lab.alive.clear()
        lab.plan(execution=f"run-{number}")
        return lab.plan_once(execution="run-z", looked=everybody)

    for number in range(LOOKS):
        assert take_up(number) == Ask(f"run-{number}")
    with pytest.raises(Refused) as caught:
        take_up(LOOKS)
    assert caught.value.field == "requestId"
    assert f"now run-{LOOKS}. Follow that one" in caught.value.message


def test_an_answer_about_an_execution_that_ended_since_only_delays(lab: Lab) -> None:
    lab.backup()
    lab.restore()
    answer = lab.plan_once(execution="run-2", looked={"run-1": True})
    assert isinstance(answer, Planned), "it has reported: there is nothing to ask"


def test_an_answer_about_an_execution_that_was_redriven_since_lets_the_newer_one_act(
    lab: Lab,
) -> None:
    lab.backup()
    lab.cluster.bind = False
    first = lab.plan()
    lab.apply(first)
    second = lab.plan_once(execution="run-2", looked={"run-1": False})
    assert isinstance(second, Planned)
    with pytest.raises(Refused, match="was taken up by run-2"):
        lab.ledger(first).resume("run-1", 1)
    lab.cluster.bind = True
    assert lab.finish(second)["counts"] == {"ready": 1}


def test_an_execution_of_a_stack_that_is_gone_is_not_looked_at(lab: Lab) -> None:
    """The role may see the executions of its own state machine only."""
    lab.backup()
    lab.cluster.bind = False
    lab.apply(lab.plan(execution="arn:aws:states:r:1:execution:RestoreStateMachine-old:one"))
    again = lab.plan_once(execution="arn:aws:states:r:1:execution:RestoreStateMachine-new:one")
    assert isinstance(again, Planned)
    lab.cluster.bind = True
    assert lab.finish(again)["counts"] == {"ready": 1}


# --- The target ---------------------------------------------------------------------------------


def test_planning_connects_with_the_stored_kubeconfig(lab: Lab) -> None:
    lab.backup()
    lab.plan()
    (one,) = lab.connected
    assert (one.kubeconfig, one.cluster.secret) == ("kubeconfig", "replant/clusters/west")
    assert one.options == {"allow_loopback": True, "connections": READERS}


def test_another_stack_keeps_the_secrets_that_its_documents_name_elsewhere(lab: Lab) -> None:
    lab.backup()
    lab.secrets_prefix = "team/second/"
    lab.apply(lab.plan())
    assert [each.cluster.secret for each in lab.connected] == ["team/second/clusters/west"] * 2


def test_a_plan_that_a_run_was_given_is_taken_up_without_a_look_at_the_cluster(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    lab.apply(planned)
    lab.stop()
    lab.cluster.down = "accepts no connection"
    assert lab.plan(execution="run-2").plan_hash == planned.plan_hash


def test_what_the_target_does_not_declare_of_a_machine_is_not_sent_to_it(lab: Lab) -> None:
    lab.backup()
    template = {"properties": {"spec": {"properties": {"domain": {"type": "object"}}}}}
    spec = {"properties": {"runStrategy": {"type": "string"}, "template": template}}
    kind = {"group": "kubevirt.io", "version": "v1", "kind": "VirtualMachine"}
    machine = {"properties": {"spec": spec}, "x-kubernetes-group-version-kind": [kind]}
    document = {"components": {"schemas": {"VirtualMachine": machine}}}
    lab.cluster.schemas["/openapi/v3/apis/kubevirt.io/v1"] = document
    (blocked,) = lab.restore()["machines"]
    assert "volumes: the target's KubeVirt does not know this field" in blocked["error"]["message"]
    assert not lab.cluster.writes
    known = {"networks": {"type": "array"}, "volumes": {"type": "array"}}
    template["properties"]["spec"]["properties"] |= known
    (made,) = lab.restore(lab.request(requestId="again"), "run-2")["machines"]
    assert made["state"] == "ready"
    (vm,) = lab.cluster.of("VirtualMachine").values()
    assert set(vm["spec"]["template"]["spec"]) == {"domain", *known}


def test_an_unknown_target_is_told_with_those_that_are_known(lab: Lab) -> None:
    lab.backup()
    found = refusal(lab, lab.request() | {"target": "wset"})
    assert found.message == (
        "Unknown cluster 'wset'. Known: west. Put clusters/wset.yaml into the state bucket."
    )


def test_a_target_whose_document_is_in_quarantine_is_told_with_the_reason(lab: Lab) -> None:
    lab.backup()
    World(lab.table).settle([Happened("clusters/north.yaml", b"id: south", 1, STATE)])
    found = refusal(lab, lab.request() | {"target": "north"})
    assert found.message.startswith("clusters/north.yaml is in quarantine")
    assert "secret: is missing" in found.message


def test_what_a_restore_made_that_ended_or_is_forgotten_is_nobodys_to_resume(lab: Lab) -> None:
    lab.backup()
    lab.restore(lab.request(requestId="monday"))
    ended = lab.restore(lab.request(requestId="tuesday"), "run-2")
    for key in [key for key in lab.table.packed if key[0].startswith("restore#")]:
        del lab.table.packed[key]
    forgotten = lab.restore(lab.request(requestId="wednesday"), "run-3")
    for output in (ended, forgotten):
        (machine,) = output["machines"]
        assert machine["error"]["code"] == "Conflict"
        assert "already exists and was created by restore r-" in machine["error"]["message"]
        assert "monday" not in machine["error"]["message"]


# --- The selection ------------------------------------------------------------------------------


def test_a_namespace_at_an_instant_means_what_there_was_of_it_then(lab: Lab) -> None:
    """Of that namespace and that cluster alone."""
    older, newer = two_days(lab)
    lab.backup("db01", namespace="db")
    lab.backup("web02", id_="of-north", cluster="north")
    lab.backup("web03", id_="young", taken_at=newer)
    request = asked(lab, namespace="default", cluster="east", at=to_instant(older))
    output = lab.restore(request)
    assert points(output) == ["older", "young"]
    assert output["counts"] == {"blocked": 1, "ready": 1}


def test_a_machine_that_had_no_point_yet_is_blocked_although_it_has_a_good_one_now(
    lab: Lab,
) -> None:
    taken_at = lab.backup().taken_at
    request = asked(lab, namespace="default", at=to_instant(taken_at - timedelta(days=1)))
    (machine,) = lab.restore(request)["machines"]
    assert machine["state"] == "blocked"
    assert "It has no restore point at or before" in machine["error"]["message"]
    assert not lab.cluster.writes


def test_a_machine_of_two_clusters_is_taken_from_the_one_that_is_named(lab: Lab) -> None:
    lab.backup(id_="of-east")
    lab.backup(id_="of-north", cluster="north", backup="other")
    assert points(lab.restore(asked(lab, vm="default/web01", cluster="north"))) == ["of-north"]


def test_a_deleted_point_that_is_kept_comes_back_by_its_id_and_says_so(lab: Lab) -> None:
    reasons = ("deleted; version v1 is kept",)
    lab.backup(state=State.DELETED, reasons=reasons, kept_version="v1")
    output = lab.restore(asked(lab, id="point-web01"))
    assert output["counts"] == {"ready": 1}
    plan = lab.s3.json(f"reports/{output['restoreId']}.json")
    (check,) = (each for each in plan["checks"] if each["check"] == "restorable")
    said = "Restore point point-web01 is deleted: deleted; version v1 is kept."
    assert (check["verdict"], check["message"]) == ("warn", said)


def test_a_deleted_point_is_never_selected_by_its_machine(lab: Lab) -> None:
    lab.backup(state=State.DELETED, kept_version="v1")
    with pytest.raises(NotFound, match="no restore point of machine default/web01"):
        lab.plan(asked(lab, vm="default/web01"))


def test_a_deleted_point_that_is_not_kept_stays_deleted(lab: Lab) -> None:
    lab.backup(state=State.DELETED, reasons=("gone",))
    (machine,) = lab.restore(asked(lab, id="point-web01"))["machines"]
    assert "is deleted: gone. Choose a restorable one." in machine["error"]["message"]


def test_an_older_point_whose_metadata_is_gone_is_still_told_why_it_was_taken(lab: Lab) -> None:
    two_days(lab, **DAMAGED)
    lab.s3.objects.clear()
    (machine,) = lab.restore(asked(lab, namespace="default"))["machines"]
    assert "was deleted since" in machine["error"]["message"]
    assert "is taken: the newest" in machine["note"]


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ({"vm": "default/web09"}, "machine default/web09"),
        ({"vm": "default/web09", "cluster": "east"}, "machine default/web09 of cluster east"),
        ({"namespace": "shop"}, "namespace shop"),
        ({"cluster": "south"}, "any machine of cluster south"),
    ],
)
def test_a_selection_of_nothing_says_what_was_looked_for(lab: Lab, select: Json, said: str) -> None:
    lab.backup()
    found = refusal(lab, asked(lab, **select))
    assert found.message.startswith(f"select: no restore point of {said} is known.")


def test_a_machine_that_cannot_be_restored_is_a_mistake_of_the_selection(lab: Lab) -> None:
    lab.backup(**DAMAGED)
    found = refusal(lab, asked(lab, vm="default/web01"))
    assert found.field == "select"
    assert found.message.startswith("select: machine default/web01 cannot be restored: ")


def test_unknown_restore_points_are_told_and_no_more_than_a_person_reads(lab: Lab) -> None:
    lab.backup()
    ids = [f"lost-{number:02}" for number in range(12)]
    found = refusal(lab, lab.request("point-web01", *ids))
    assert found.message.startswith(f"select: unknown restore point {', '.join(ids[:10])}.")
