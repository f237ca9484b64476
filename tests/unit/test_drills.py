"""Whole drills on a fake cluster: apart from all else, measured, and cleaned up whatever happens.

Not aspects: waves in their order (test_failing_over.py), what a rollback keeps (test_rolling_back).
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import InvalidRequest, NotFound, Refused
from shared.failover.drill import drill_request
from shared.models.observations import Answer
from shared.workflows.failover import drilling, practice
from tests.failover_lab import PLAN, FailoverLab, a_failover_lab
from tests.fake_cluster import status
from tests.lab import BEGIN

DENIED = 'admission webhook "validator.harvesterhci.io" denied the request: no'
DRILL = """\
drill:
  namespaceSuffix: -practice
  probes: [{machine: "default/db-*", tcp: 5432}, {machine: default/web01, http: "http://:80/up"}]
"""


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[FailoverLab]:
    with a_failover_lab(getattr(request, "param", PLAN + DRILL)) as site:
        site.source = Answer.READY
        site.fleet()
        yield site


def left(site: FailoverLab) -> set[tuple[str, str, str]]:
    """What stands on the target that was not there before."""
    kinds = {"VirtualMachine", "PersistentVolumeClaim", "VolumeSnapshot", "NetworkPolicy"}
    kinds |= {"VolumeSnapshotContent", "Secret"}
    spaces = {place for place in site.lab.cluster.objects if place[0] == "Namespace"}
    return {place for place in site.lab.cluster.objects if place[0] in kinds} | {
        place for place in spaces if place[2].endswith("-practice")
    }


def waves(output: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["state"] for each in output["waves"]}


def test_a_drill_brings_all_back_measures_it_and_leaves_nothing(site: FailoverLab) -> None:
    before = left(site)
    output = site.drill()
    assert output["state"] == "succeeded", output
    assert (output["cleanedUp"], output["leftovers"]) == (True, [])
    assert waves(output) == {"databases": "succeeded", "web": "succeeded"}
    assert output["rto"]["met"] is True
    assert output["rpo"] == {
        "objective": "PT24H",
        "worst": "PT5H",
        "machine": "default/web01",
        "met": True,
    }
    assert left(site) == before == set()
    assert site.lab.topic.subjects[-1] == (
        "Replant: succeeded: drill of payments from east to west"
    )
    assert "All that the drill made is deleted again." in site.lab.topic.texts[-1]


def test_its_machines_are_apart_from_all_others(site: FailoverLab) -> None:
    seen: dict[str, Any] = {}

    def look() -> None:
        for place, found in site.lab.cluster.objects.items():
            if place[0] in ("VirtualMachine", "NetworkPolicy"):
                seen.setdefault("/".join(place), found)

    site.each_second = look
    site.drill()
    (policy,) = [
        each
        for name, each in seen.items()
        if name.startswith("NetworkPolicy/default-practice/") and _about(each, seen, "db-1")
    ]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]
    vm = seen["VirtualMachine/default-practice/db-1"]
    template = vm["spec"]["template"]
    assert template["spec"]["domain"]["devices"]["interfaces"] == []
    assert template["spec"]["readinessProbe"]["tcpSocket"] == {"port": 5432}
    web = seen["VirtualMachine/default-practice/web01"]["spec"]["template"]["spec"]
    assert web["readinessProbe"]["httpGet"] == {"scheme": "HTTP", "port": 80, "path": "/up"}
    assert vm["metadata"]["labels"]["replant.dev/temporary"] == "true"
    assert vm["metadata"]["annotations"]["replant.dev/expires"] > "2026-09-01T04:00:00Z"


def _about(policy: dict[str, Any], seen: dict[str, Any], vm: str) -> bool:
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    template = seen[f"VirtualMachine/default-practice/{vm}"]["spec"]["template"]
    return bool(chosen.items() <= template["metadata"]["labels"].items())


def test_its_waves_are_deleted_side_by_side(site: FailoverLab) -> None:
    answer = site.begin_drill()
    under_way: list[int] = []

    def look() -> None:
        record = site.ledger(answer["failoverId"]).record()
        cleaning = record.cleaning if record else ()
        under_way.append(sum(each.execution is not None and not each.done for each in cleaning))

    site.each_second = look
    output = site.finish_drill(answer, "run-1")
    assert output["cleanedUp"] is True
    assert max(under_way) == 2


def test_the_machines_are_kept_as_long_as_is_asked_for(site: FailoverLab) -> None:
    answer = site.begin_drill({"plan": "payments", "keepFor": "PT20M"})
    while answer["next"] == "advance":
        answer = site.drill_step(answer)
    assert (answer["next"], answer["wait"]) == ("clean", 1200)
    assert ("VirtualMachine", "default-practice", "web01") in left(site)
    output = site.finish_drill(answer)
    assert (output["cleanedUp"], left(site)) == (True, set())


def test_a_drill_that_fails_cleans_up_at_once(site: FailoverLab) -> None:
    site.lab.cluster.fail(
        "POST", "VirtualMachine", status(403, "Forbidden", DENIED), name="db-1", times=99
    )
    output = site.drill({"plan": "payments", "keepFor": "PT0S"})
    assert output["state"] == "partial"
    assert waves(output) == {"databases": "partial", "web": "cancelled"}
    assert (output["cleanedUp"], left(site)) == (True, set())


def broken_off(site: FailoverLab) -> dict[str, Any]:
    """A drill whose function dies when its first machine was made."""
    begun = site.begin_drill()

    def die() -> None:
        if ("VirtualMachine", "default-practice", "db-1") in left(site):
            raise KeyboardInterrupt

    site.each_second = die
    with pytest.raises(KeyboardInterrupt):
        site.finish_drill(begun)
    site.each_second = None
    return begun


def test_a_crash_before_the_waves_are_through_cleans_up_as_well(site: FailoverLab) -> None:
    """The state machine goes to its clean-up with what it has."""
    answer = broken_off(site)
    output = site.finish_drill(answer | {"next": "clean", "wait": 0})
    assert (output["state"], output["cleanedUp"]) == ("aborted", True)
    assert left(site) == set()


def test_a_stopped_drill_is_swept(site: FailoverLab) -> None:
    answer = broken_off(site)
    assert site.sweep() == [], "it runs"
    site.states.running_elsewhere.clear()
    assert site.sweep() == [answer["failoverId"]]
    assert site.sweep() == [], "one is enough"
    (name,) = [each for each in site.states.starts if "-sweep-" in each]
    execution = site.drill_arn(name)
    taken = drilling.take_over(site.clients(), answer["failoverId"], execution)
    assert taken["next"] == "clean"
    output = site.finish_drill(taken, name)
    assert (output["state"], output["cleanedUp"]) == ("aborted", True)
    assert left(site) == set()
    assert site.sweep() == []


def test_a_sweep_that_dies_is_swept(site: FailoverLab) -> None:
    answer = site.begin_drill()
    site.drill_step(answer)
    site.states.running_elsewhere.clear()
    site.sweep()
    first = site.drill_arn(site.states.starts[-1])
    drilling.take_over(site.clients(), answer["failoverId"], first)
    site.states.executions[first].status = "ABORTED"
    assert site.sweep() == [answer["failoverId"]]
    second = site.drill_arn(site.states.starts[-1])
    assert second != first
    taken = drilling.take_over(site.clients(), answer["failoverId"], second)
    assert site.finish_drill(taken, second)["cleanedUp"] is True


def test_a_drill_that_hangs_beyond_its_time_is_stopped_and_swept(site: FailoverLab) -> None:
    answer = site.begin_drill()
    arn = site.drill_arn("run-1")
    site.lab.seconds += timedelta(hours=30).total_seconds()
    assert site.sweep() == [answer["failoverId"]]
    assert arn.rpartition(":")[2] in site.states.stops


def test_a_sweep_does_not_take_over_a_drill_that_runs(site: FailoverLab) -> None:
    answer = site.begin_drill()
    with pytest.raises(Refused, match="cleans up by itself"):
        drilling.take_over(site.clients(), answer["failoverId"], site.drill_arn("sweep-1"))
    with pytest.raises(NotFound):
        drilling.take_over(site.clients(), "f-0000000000000000", site.drill_arn("sweep-1"))


def test_what_cannot_be_deleted_is_told(site: FailoverLab) -> None:
    def change_hands() -> None:
        for (kind, _, name), found in site.lab.cluster.objects.items():
            if (kind, name) == ("VirtualMachine", "web01"):
                found["metadata"]["labels"].pop("replant.dev/restore", None)

    site.each_second = change_hands
    output = site.drill()
    assert (output["state"], output["cleanedUp"]) == ("partial", False)
    assert "web01" in {each["name"] for each in output["leftovers"]}
    assert "objects of the drill are left on the target" in site.lab.topic.texts[-1]


def test_one_drill_of_a_plan_runs_at_a_time_and_holds_up_no_failover(site: FailoverLab) -> None:
    site.begin_drill()
    second = site.begin_drill(execution="run-2")
    assert second["next"] == "report"
    output = site.finish_drill(second, "run-2")
    assert (output["state"], output["cleanedUp"]) == ("refused", True)
    assert "Plan payments is in drill f-" in output["reason"]
    site.source = Answer.UNREACHABLE
    assert site.run()["state"] == "succeeded"


def test_the_same_request_again_is_another_drill_once_the_first_is_through(
    site: FailoverLab,
) -> None:
    request = {"plan": "payments", "requestId": "monthly"}
    assert site.drill(request)["state"] == "succeeded"
    output = site.drill(request, "run-2")
    assert (output["state"], output["cleanedUp"], left(site)) == ("succeeded", True, set())


def test_a_machine_that_comes_into_the_catalogue_meanwhile_is_not_restored_as_it_was(
    site: FailoverLab,
) -> None:
    answer = site.begin_drill()
    site.lab.backup("db-9", namespace="late", taken_at=BEGIN - timedelta(hours=1))
    output = site.finish_drill(answer)
    assert output["state"] == "succeeded"
    assert not [name for _, kind, name in site.lab.cluster.writes if name == "db-9"]


BAD = [
    ({"plan": "payments", "keepFor": "PT25H"}, "keepFor"),
    ({"plan": "payments", "planned": True}, "planned"),
    ({}, "plan"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
def test_a_bad_request_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        drill_request(body, execution_name="run-1")
    assert caught.value.field == field


@pytest.mark.parametrize(
    "site", [PLAN + f"drill: {{namespaceSuffix: -{'x' * 58}}}\n"], indirect=True
)
def test_a_namespace_that_becomes_too_long_is_named(site: FailoverLab) -> None:
    with pytest.raises(InvalidRequest, match="makes namespace default too long"):
        site.begin_drill()


@pytest.mark.parametrize("kept", ["PT0S", "P1D"])
def test_machines_are_kept_for_no_time_or_for_a_day_at_most(site: FailoverLab, kept: str) -> None:
    assert site.begin_drill({"plan": "payments", "keepFor": kept})["next"] == "advance"


# --- What there was, and what is overdue ---------------------------------------------------------


SCHEDULED = PLAN + 'drill: {namespaceSuffix: -practice, schedule: "cron(0 3 1 * ? *)"}\n'


def listed(site: FailoverLab) -> dict[str, Any]:
    (entry,) = practice.drills(site.lab.table, site.lab.now())
    return entry


@pytest.mark.parametrize("site", [SCHEDULED], indirect=True)
def test_a_plan_that_was_never_drilled_is_overdue(site: FailoverLab) -> None:
    assert listed(site) == {
        "plan": "payments",
        "state": None,
        "startedAt": None,
        "rto": None,
        "rpo": None,
        "cleanedUp": None,
        "report": None,
        "overdue": True,
    }


@pytest.mark.parametrize("site", [SCHEDULED], indirect=True)
def test_a_drill_that_succeeds_is_good_until_the_next_is_due(site: FailoverLab) -> None:
    """It is 03:00 on the first of the month, when one is due."""
    answer = site.begin_drill()
    assert listed(site)["state"] == "running"
    output = site.finish_drill(answer)
    entry = listed(site)
    assert (entry["state"], entry["overdue"], entry["cleanedUp"]) == ("succeeded", False, True)
    assert (entry["rto"], entry["rpo"]) == (output["rto"]["measured"], "PT5H")
    assert entry["report"] == output["report"]
    site.lab.seconds += timedelta(days=29).total_seconds()
    assert listed(site)["overdue"] is False
    site.lab.seconds += timedelta(days=2).total_seconds()
    assert listed(site)["overdue"] is True


@pytest.mark.parametrize("site", [SCHEDULED], indirect=True)
def test_a_drill_that_fails_does_not_count(site: FailoverLab) -> None:
    site.lab.cluster.fail(
        "POST", "VirtualMachine", status(403, "Forbidden", DENIED), name="db-1", times=99
    )
    site.drill()
    site.lab.seconds += timedelta(days=1).total_seconds()
    entry = listed(site)
    assert (entry["state"], entry["overdue"]) == ("partial", True)


@pytest.mark.parametrize("site", [PLAN + DRILL], indirect=True)
def test_without_a_schedule_nothing_is_overdue(site: FailoverLab) -> None:
    assert listed(site)["overdue"] is False
    site.drill()
    del site.lab.table.packed["documents", "plans/payments"]
    entry = listed(site)
    assert (entry["plan"], entry["state"], entry["overdue"]) == ("payments", "succeeded", False)
