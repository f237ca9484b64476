"""Mode emergency: machines of one replica beside their originals, kept for some time only. Whole
runs on a fake cluster, and the clock that rolls them back.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from local.samples.builders import a_class, a_machine, facts, manifest, planned, request
from shared.errors import InvalidRequest, NotFound, Refused
from shared.models.base import from_instant, to_instant
from shared.models.target_facts import Versions
from shared.restore.decisions import asked
from shared.restore.expiry import MOST
from shared.restore.rollback_request import rollback_request
from shared.runs import temporaries
from shared.workflows import deciding, expiring, rolling_back, undoing
from shared.workflows.looking import Ask
from tests.fake_cluster import Place, status
from tests.lab import BEGIN, RUN_SECONDS, STATE, Lab, a_lab
from tests.memory_table import Watched

Json = dict[str, Any]

HOUR = timedelta(hours=1)
NAME = "web01-emergency"
VM: Place = ("VirtualMachine", "default", NAME)
EXPIRES = "replant.dev/expires"
ROLLBACKS = "arn:aws:states:eu-central-1:123456789012:stateMachine:Rollback"
DECISIONS = "arn:aws:lambda:eu-central-1:123456789012:function:replant-DecisionFunction-1A2B"


NO_ANSWER = EndpointConnectionError(endpoint_url="https://states.example")


class Starts:
    """Executions that were started: their names and inputs."""

    def __init__(self) -> None:
        self.made: dict[str, Json] = {}
        self.broken = False
        self.before: Callable[[], None] | None = None

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> Json:  # noqa: N803
        assert stateMachineArn == ROLLBACKS
        assert len(name) <= 80, "as Step Functions has it"
        assert name not in self.made, "Step Functions starts each name once"
        if self.broken:
            raise NO_ANSWER
        self.made[name] = json.loads(input)
        return {"executionArn": name}


class Site:
    """A lab with the clock that sweeps it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.starts = Starts()

    def restored(self, *ids: str, **changes: Any) -> Json:
        asks = {"mode": "emergency", "keepFor": "PT2H", **changes}
        output: Json = self.lab.restore(self.lab.request(*ids, **asks))
        return output

    def sweep(self) -> list[str]:
        states: Any = self.starts
        sns: Any = self.lab.topic
        clients = expiring.Clients(
            self.lab.table, states, sns, "topic", ROLLBACKS, DECISIONS, self.lab.clock
        )
        return expiring.expire(clients)

    def decide(self, restore_id: str, **changes: Any) -> tuple[bool, str]:
        states: Any = self.lab.states
        clients = deciding.Clients(self.lab.table, states, self.lab.now)
        body = {"restoreId": restore_id, "decision": "keep", "by": "Ada", **changes}
        verdict = deciding.decide(clients, asked(body))
        return verdict.accepted, verdict.message

    def until(self, instant: datetime) -> None:
        self.lab.seconds = (instant - BEGIN).total_seconds()

    def expiry(self) -> datetime:
        return from_instant(self.lab.cluster.objects[VM]["metadata"]["annotations"][EXPIRES])

    def is_pending(self, restore_id: str) -> bool:
        return temporaries.read(self.lab.table, restore_id) is not None


@pytest.fixture
def site() -> Iterator[Site]:
    with a_lab() as lab:
        lab.backup()
        yield Site(lab)


def standing(lab: Lab) -> dict[Place, str]:
    return {place: each["metadata"]["uid"] for place, each in lab.cluster.objects.items()}


def refusal(**changes: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        request(**changes)
    return refused.value


# --- What is made ---------------------------------------------------------------------------------


def test_a_machine_runs_beside_its_original_on_volumes_of_one_replica(site: Site) -> None:
    site.lab.cluster.add("VirtualMachine", "default", "web01", spec={})
    output = site.restored()
    assert (output["state"], output["counts"]) == ("succeeded", {"ready": 1})
    (volume,) = site.lab.cluster.of("Volume").values()
    assert volume["spec"]["numberOfReplicas"] == 1
    assert list(site.lab.cluster.of("PersistentVolumeClaim")) == ["web01-disk-0-emergency"]
    assert site.lab.cluster.objects[VM]["spec"]["runStrategy"] == "RerunOnFailure"


def test_no_recurring_job_backs_its_volumes_up() -> None:
    """Not those of its class, and not the cluster's default ones."""
    jobs = '[{"name": "nightly", "isGroup": false}]'
    there = a_class(parameters={"recurringJobSelector": jobs})
    machine = a_machine(on=facts(storage_classes={"harvester-longhorn": there}), mode="emergency")
    found = manifest(machine, "Volume")["metadata"]["labels"]
    assert {name: each for name, each in found.items() if "recurring" in name} == {
        "recurring-job-group.longhorn.io/replant-temporary": "enabled"
    }


@pytest.mark.parametrize(
    ("longhorn", "jobs"),
    [("v1.11.3", "disabled"), ("1.4.0", "disabled"), ("1.3.2", None), (None, None)],
)
def test_nor_do_those_that_the_backup_knows(longhorn: str | None, jobs: str | None) -> None:
    """Where Longhorn can be told so: one before 1.4 refuses what it does not know."""
    there = facts(versions=Versions(longhorn=longhorn))
    volume = manifest(a_machine(on=there, mode="emergency"), "Volume")
    assert volume["spec"].get("restoreVolumeRecurringJob") == jobs
    plain = manifest(a_machine(on=there, strategy="longhorn"), "Volume")
    assert "restoreVolumeRecurringJob" not in plain["spec"]


def test_all_that_is_made_is_marked_and_only_a_machine_that_is_ready_says_until_when(
    site: Site,
) -> None:
    output = site.restored()
    made = [
        each
        for each in site.lab.cluster.objects.values()
        if "replant.dev/restore" in each["metadata"].get("labels", {})
    ]
    assert {each["kind"] for each in made} == {
        "Volume",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "VirtualMachine",
    }
    assert all(each["metadata"]["labels"]["replant.dev/temporary"] == "true" for each in made)
    (machine,) = output["machines"]
    assert site.expiry() == from_instant(machine["finishedAt"]) + 2 * HOUR
    others = [each for each in made if each["kind"] != "VirtualMachine"]
    assert not any(EXPIRES in each["metadata"]["annotations"] for each in others)


def test_its_time_begins_when_it_is_ready_and_not_when_it_is_made(site: Site) -> None:
    site.lab.cluster.copied = 40
    plan = site.lab.plan(site.lab.request(mode="emergency", keepFor="PT2H"))
    site.lab.apply(plan, seconds=120)
    assert EXPIRES not in site.lab.cluster.objects[VM]["metadata"]["annotations"]
    site.lab.seconds += 1800
    site.lab.cluster.copied = 100
    site.lab.finish(plan)
    assert site.expiry() >= BEGIN + timedelta(seconds=1800) + 2 * HOUR


def test_an_annotation_that_is_refused_for_now_is_written_later(site: Site) -> None:
    busy = status(503, "ServiceUnavailable", "try again")
    plan = site.lab.plan(site.lab.request(mode="emergency"))
    seen: list[Place] = []

    def refuse(method: str, place: Place) -> None:
        vm = site.lab.cluster.objects.get(VM)
        ready = vm and vm.get("status", {}).get("ready")
        if (method, place) == ("PATCH", VM) and ready and not seen:
            seen.append(place)
            site.lab.cluster.fail("PATCH", "VirtualMachine", busy, times=4)

    site.lab.cluster.before = refuse
    assert site.lab.finish(plan)["counts"] == {"ready": 1}
    assert seen
    assert EXPIRES in site.lab.cluster.objects[VM]["metadata"]["annotations"]


def test_an_annotation_that_is_refused_fails_no_machine_and_is_told(site: Site) -> None:
    """The row says until when it is kept, not the annotation."""
    forbidden = status(422, "Invalid", "denied the request: no annotations here")
    plan = site.lab.plan(site.lab.request(mode="emergency"))

    def refuse(method: str, place: Place) -> None:
        vm = site.lab.cluster.objects.get(VM)
        if (method, place) == ("PATCH", VM) and vm and vm.get("status", {}).get("ready"):
            site.lab.cluster.fail("PATCH", "VirtualMachine", forbidden)

    site.lab.cluster.before = refuse
    output = site.lab.finish(plan)
    (machine,) = output["machines"]
    assert machine["state"] == "ready"
    assert f"its annotation {EXPIRES} could not be set to " in machine["note"]
    assert "no annotations here" in machine["note"]
    assert site.is_pending(output["restoreId"])


def test_the_suffix_can_be_another_one_and_a_plans_counts() -> None:
    assert request(mode="emergency").named().mapping.name("web01") == NAME
    other = request(mode="emergency", mapping={"names": {"suffix": "-now"}})
    assert other.named().mapping.name("web01") == "web01-now"
    mapped = request(mode="emergency", mapping={"mac": "derive"}).named()
    assert (mapped.mapping.name("web01"), mapped.mapping.mac) == (NAME, "derive")
    assert request().named().mapping.name("web01") == "web01"


def test_the_machines_of_a_recovery_plan_get_the_suffix_as_well(site: Site) -> None:
    site.lab.recovery_plan(
        "name: payments\nsource: east\ntarget: west\nwaves:\n- name: all\n  machines:\n"
        "  - {namespace: default, name: '*'}\nmapping: {mac: derive}\n"
    )
    plan = site.lab.plan(site.lab.request(select={"plan": "payments"}, mode="emergency"))
    assert list(site.lab.names(plan, "VirtualMachine")) == [NAME]


def test_the_plan_says_why_and_for_how_long() -> None:
    plan = planned(mode="emergency", keepFor="PT90M")
    assert plan.keep_for == 5400
    (machine,) = plan.machines
    assert machine.strategy == "longhorn"
    assert machine.strategy_reason == "mode emergency: volumes of one replica each"
    assert planned().keep_for is None


# --- What people read of it -----------------------------------------------------------------------


def test_the_report_and_the_message_say_until_when_it_is_kept_and_how_to_keep_it(
    site: Site,
) -> None:
    output = site.restored()
    restore_id, expires = output["restoreId"], site.expiry()
    assert site.lab.s3.json(f"reports/{restore_id}.json")["temporary"] == {
        "keepFor": "PT2H",
        "expires": to_instant(expires),
    }
    said = f"until {expires:%Y-%m-%d %H:%M:%S} UTC, and then deleted"
    page = site.lab.s3.objects[STATE, f"reports/{restore_id}.html"].decode()
    assert f"It is kept {said}. To keep it for good" in page
    assert "&quot;decision&quot;: &quot;keep&quot;" in page
    table = site.lab.s3.objects[STATE, f"reports/{restore_id}.txt"].decode()
    assert f"What it makes is kept {said}" in table
    half = to_instant(expires - HOUR)
    told = f"What it made is deleted at {to_instant(expires)}; how to keep it is told at {half}."
    assert told in site.lab.topic.texts[-1]


def test_a_plan_says_for_how_long_it_will_be_kept(site: Site) -> None:
    restore_id = site.restored(dryRun=True)["restoreId"]
    page = site.lab.s3.objects[STATE, f"reports/{restore_id}.html"].decode()
    assert "for PT2H from when it is ready, and then deleted" in page
    assert "decision" not in page


def test_of_what_stays_nothing_is_said(site: Site) -> None:
    restore_id = site.lab.restore()["restoreId"]
    assert site.lab.s3.json(f"reports/{restore_id}.json")["temporary"] is None
    for form in ("html", "txt"):
        assert "deleted" not in site.lab.s3.objects[STATE, f"reports/{restore_id}.{form}"].decode()


# --- Its end --------------------------------------------------------------------------------------


def test_it_is_rolled_back_when_it_has_expired_and_never_before(site: Site) -> None:
    before = standing(site.lab)
    restore_id = site.restored()["restoreId"]
    expires = site.expiry()
    site.until(expires - timedelta(seconds=1))
    assert site.sweep() == []
    site.until(expires)
    assert site.sweep() == [restore_id]
    (wanted,) = site.starts.made.values()
    assert wanted == {"restoreId": restore_id, "deleteStarted": True}
    output = site.lab.roll_back(restore_id, deleteStarted=True)
    assert output["state"] == "succeeded"
    assert standing(site.lab) == before
    site.lab.seconds += 3600
    assert site.sweep() == []
    assert not site.is_pending(restore_id)


def test_of_several_machines_the_last_that_was_ready_counts(site: Site) -> None:
    """The first was ready half an hour earlier, and is deleted with it."""
    site.lab.backup("web02")

    def hold(_: float) -> None:
        late = site.lab.now() < BEGIN + timedelta(minutes=30)
        vm = site.lab.cluster.objects.get(("VirtualMachine", "default", "web02-emergency"))
        if vm and "status" in vm and late:
            vm["status"]["ready"] = False

    site.lab.during = hold
    output = site.restored("point-web01", "point-web02", keepFor="PT1H")
    assert output["counts"] == {"ready": 2}
    last = max(from_instant(each["finishedAt"]) for each in output["machines"])
    assert last >= BEGIN + timedelta(minutes=30)
    site.until(site.expiry())
    assert site.sweep() == []
    site.until(last + HOUR)
    assert site.sweep() == [output["restoreId"]]


def test_a_rollback_that_is_under_way_is_not_started_again(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    site.until(site.expiry())
    site.sweep()
    site.lab.roll_back_once(restore_id, execution="arn:rollback:2", deleteStarted=True)
    site.lab.seconds += 300
    assert site.sweep() == []


def test_a_rollback_that_fails_is_started_again_ever_more_rarely(site: Site) -> None:
    """The cluster may be away for days: what is on it is not forgotten."""
    restore_id = site.restored()["restoreId"]
    site.until(site.expiry())
    tries = []
    for minute in range(600):
        if site.sweep():
            tries.append(minute)
        site.lab.seconds += 60
    assert tries[:7] == [0, 2, 6, 14, 30, 62, 122]
    assert all(later - sooner == 60 for sooner, later in pairwise(tries[6:]))
    assert site.is_pending(restore_id)


def test_what_a_rollback_keeps_again_and_again_is_left_to_a_person(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    site.lab.cluster.objects[VM]["metadata"]["uid"] = "of another one"
    site.until(site.expiry())
    for number in range(MOST):
        assert site.sweep() == [restore_id]
        output = site.lab.roll_back(restore_id, f"arn:rollback:{number}", deleteStarted=True)
        assert output["state"] == "partial"
        site.lab.seconds += 3600
    assert site.sweep() == []
    assert not site.is_pending(restore_id)


def test_what_cannot_be_started_now_is_started_soon(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    site.until(site.expiry())
    site.starts.broken = True
    with pytest.raises(EndpointConnectionError):
        site.sweep()
    site.starts.broken = False
    assert site.sweep() == []
    site.lab.seconds += 120
    assert site.sweep() == [restore_id]


def test_one_that_cannot_be_taken_keeps_no_other_one_waiting(site: Site) -> None:
    site.lab.backup("web02")
    first = site.restored(requestId="a")["restoreId"]
    second = site.restored("point-web02", requestId="b")["restoreId"]
    site.until(site.expiry() + HOUR)
    start = site.starts.start_execution

    def once(**asked: Any) -> Json:
        site.starts.start_execution = start  # type: ignore[method-assign]
        raise NO_ANSWER

    site.starts.start_execution = once  # type: ignore[method-assign]
    with pytest.raises(EndpointConnectionError):
        site.sweep()
    assert len(site.starts.made) == 1
    site.lab.seconds += 120
    site.sweep()
    wanted = {each["restoreId"] for each in site.starts.made.values()}
    assert wanted == {first, second}


def test_a_stopped_restore_expires_as_well(site: Site) -> None:
    site.lab.cluster.run = False
    plan = site.lab.plan(site.lab.request(mode="emergency", keepFor="PT1H"))
    site.lab.apply(plan, seconds=120)
    output = site.lab.stop()
    assert output
    assert output["state"] == "cancelled"
    site.until(site.lab.now() + HOUR)
    assert site.sweep() == [output["restoreId"]]


def test_nothing_expires_while_its_restore_goes_on_once_more(site: Site) -> None:
    output = site.restored()
    first = site.expiry()
    site.until(first - timedelta(minutes=1))
    again = site.lab.request(mode="emergency", keepFor="PT2H")
    plan = site.lab.plan(again, "run-2")
    site.until(first + timedelta(minutes=1))
    assert site.sweep() == []
    site.lab.finish(plan)
    assert site.sweep() == []
    site.until(site.expiry())
    assert site.expiry() > first
    assert site.sweep() == [output["restoreId"]]


@pytest.mark.parametrize("changes", [{"dryRun": True}, {"mode": "standard", "keepFor": "PT24H"}])
def test_what_stays_or_was_never_made_never_expires(site: Site, changes: Json) -> None:
    assert not site.is_pending(site.restored(**changes)["restoreId"])


# --- Told at half of its time, and kept -----------------------------------------------------------


def test_the_topic_is_told_once_at_half_of_its_time(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    expires = site.expiry()
    told = len(site.lab.topic.told)
    site.until(expires - HOUR - timedelta(seconds=1))
    site.sweep()
    assert len(site.lab.topic.told) == told
    site.until(expires - HOUR)
    site.sweep()
    site.sweep()
    assert len(site.lab.topic.told) == told + 1
    message, text = site.lab.topic.told[-1], site.lab.topic.texts[-1]
    assert message["restoreId"] == restore_id
    assert message["expires"] == to_instant(expires)
    assert to_instant(expires) in site.lab.topic.subjects[-1]
    assert message["commands"]["keep"] in text
    assert '"decision": "keep"' in message["commands"]["keep"]
    assert "--function-name replant-DecisionFunction-1A2B" in message["commands"]["keep"]
    assert '"deleteStarted": true' in message["commands"]["delete"]
    assert "deleted at" in text


def test_a_message_that_did_not_go_out_is_sent_again(site: Site) -> None:
    site.restored()
    site.until(site.expiry() - HOUR)
    site.lab.topic.broken = True
    with pytest.raises(ConnectionError):
        site.sweep()
    site.lab.topic.broken = False
    told = len(site.lab.topic.told)
    site.sweep()
    assert len(site.lab.topic.told) == told + 1


def test_what_somebody_keeps_is_not_rolled_back(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    accepted, message = site.decide(restore_id)
    assert accepted
    assert message == (
        f"Restore {restore_id} is kept: nothing of it is deleted by itself any more. In the next"
        " minutes its machines lose the marks of what is temporary, and its volumes get the"
        " replicas of their class. To delete it, start RollbackStateMachine with"
        f' {{"restoreId": "{restore_id}", "deleteStarted": true}}.'
    )
    kept_at = site.lab.now()
    site.until(site.expiry() + HOUR)
    told = len(site.lab.topic.told)
    site.sweep()
    assert [each for each in site.starts.made.values() if "deleteStarted" in each] == []
    assert len(site.lab.topic.told) == told
    again = site.decide(restore_id, by="Bob")
    assert again == (
        True,
        f"Restore {restore_id} is kept already by Ada, since {to_instant(kept_at)}.",
    )


def test_what_is_kept_stays_kept_when_its_restore_goes_on(site: Site) -> None:
    output = site.restored()
    site.decide(output["restoreId"])
    site.lab.restore(site.lab.request(mode="emergency", keepFor="PT2H"), "run-2")
    site.until(site.expiry() + HOUR)
    site.sweep()
    assert [each for each in site.starts.made.values() if "deleteStarted" in each] == []


def test_what_is_kept_can_still_be_rolled_back_by_a_person(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    site.decide(restore_id)
    assert site.lab.roll_back(restore_id, deleteStarted=True)["state"] == "succeeded"
    site.sweep()
    assert not site.is_pending(restore_id)


def test_it_is_too_late_to_keep_what_is_being_rolled_back(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    site.until(site.expiry())
    site.sweep()
    accepted, message = site.decide(restore_id)
    assert not accepted
    assert "is being rolled back" in message


def test_of_a_decision_and_a_rollback_at_once_the_first_wins(site: Site) -> None:
    """Between what the decision reads and what it writes the sweep begins."""
    restore_id = site.restored()["restoreId"]
    site.until(site.expiry())
    read = temporaries.read

    def then_sweep(table: Any, id_: str) -> Any:
        found = read(table, id_)
        site.sweep()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temporaries, "read", then_sweep)
        accepted, _ = site.decide(restore_id)
    assert not accepted
    assert len(site.starts.made) == 1


@contextmanager
def at_call(site: Site, number: int, act: Callable[[], object]) -> Iterator[None]:
    """ACT happens ahead of that call to the table, once, and its own calls are not counted."""
    plain, count = site.lab.table, 0

    def before() -> None:
        nonlocal count
        count += 1
        if count == number:
            site.lab.table = plain
            act()
            site.lab.table = watched  # type: ignore[assignment]

    watched = Watched(plain, before)
    site.lab.table = watched  # type: ignore[assignment]
    yield
    site.lab.table = plain


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("first", ["decide", "sweep"])
def test_wherever_they_meet_it_is_either_kept_or_rolled_back(
    site: Site, first: str, number: int
) -> None:
    """A whole decision between any two calls of a sweep, and a whole sweep between any two of a
    decision.
    """
    restore_id = site.restored()["restoreId"]
    site.until(site.expiry())
    accepted: list[bool] = []
    acts: dict[str, Callable[[], object]] = {
        "decide": lambda: accepted.append(site.decide(restore_id)[0]),
        "sweep": site.sweep,
    }
    (second,) = acts.keys() - {first}
    with at_call(site, number, acts[second]):
        acts[first]()
    undone = [each for each in site.starts.made.values() if "deleteStarted" in each]
    if not accepted:
        accepted.append(site.decide(restore_id)[0])
    assert accepted == [not undone]


def test_there_is_nothing_to_keep_of_what_runs_or_stays(site: Site) -> None:
    plan = site.lab.plan(site.lab.request(mode="emergency"))
    assert "still runs" in site.decide(plan.ledger)[1]
    other = site.lab.restore(site.lab.request(requestId="other"))
    accepted, message = site.decide(other["restoreId"])
    assert not accepted
    assert "nothing that would be deleted by itself" in message
    with pytest.raises(NotFound):
        site.decide("r-0123456789abcdef")


def test_a_failover_is_not_kept_by_a_decision() -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked({"failoverId": "f-0123456789abcdef", "decision": "keep"})
    assert refused.value.field == "decision"


# --- Made permanent -------------------------------------------------------------------------------


def settled(site: Site, restore_id: str, execution: str = "arn:rollback:9") -> Json:
    """One call of RollbackFunction, as the sweep starts it."""
    asked_for = rollback_request({"restoreId": restore_id, "keep": True})
    call = rolling_back.Call(asked_for, execution, "", "", {}, {}, RUN_SECONDS)
    answer = undoing.undo(site.lab.rolling_back(), call)
    assert isinstance(answer, rolling_back.Progress)
    assert answer.done
    assert answer.output
    return answer.output


def test_what_somebody_keeps_becomes_permanent(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    site.decide(restore_id)
    assert site.sweep() == [restore_id]
    ((name, wanted),) = site.starts.made.items()
    assert name.startswith("kept-")
    assert wanted == {"restoreId": restore_id, "keep": True}
    output = settled(site, restore_id)
    assert (output["state"], output["kept"]) == ("succeeded", [])
    metadata = site.lab.cluster.objects[VM]["metadata"]
    assert "replant.dev/temporary" not in metadata["labels"]
    assert metadata["labels"]["replant.dev/restore"] == restore_id
    assert EXPIRES not in metadata["annotations"]
    (volume,) = site.lab.cluster.of("Volume").values()
    assert volume["spec"]["numberOfReplicas"] == 3
    assert not [name for name in volume["metadata"]["labels"] if "recurring" in name]
    site.lab.seconds += 7200
    assert site.sweep() == []
    assert site.is_pending(restore_id), "that it is kept is not forgotten"


def test_its_volumes_get_as_many_replicas_as_their_class_says(site: Site) -> None:
    storage_class = site.lab.cluster.objects["StorageClass", "", "harvester-longhorn"]
    storage_class["parameters"]["numberOfReplicas"] = "2"
    restore_id = site.restored()["restoreId"]
    site.decide(restore_id)
    settled(site, restore_id)
    (volume,) = site.lab.cluster.of("Volume").values()
    assert volume["spec"]["numberOfReplicas"] == 2


def test_who_asks_for_it_at_once_need_not_decide_before(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    assert settled(site, restore_id)["state"] == "succeeded"
    site.until(BEGIN + timedelta(days=3))
    assert site.sweep() == []
    assert site.decide(restore_id)[0]


def test_what_cannot_be_changed_now_is_tried_again(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    site.decide(restore_id)
    site.lab.cluster.fail("PATCH", "Volume", status(403, "Forbidden", "volumes is forbidden"))
    output = settled(site, restore_id)
    assert output["state"] == "partial"
    (problem,) = output["kept"]
    (volume,) = site.lab.cluster.of("Volume")
    assert "forbidden" in problem.pop("reason")
    assert problem == {"kind": "Volume", "namespace": "longhorn-system", "name": volume}
    assert site.sweep() == [restore_id]
    assert settled(site, restore_id, "arn:rollback:10")["state"] == "succeeded"
    site.lab.seconds += 3600
    assert site.sweep() == []


def test_it_is_done_with_the_stored_kubeconfig_and_before_the_functions_end(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    settled(site, restore_id)
    asked_for = site.lab.connected[-1]
    assert (asked_for.kubeconfig, asked_for.cluster.id) == ("kubeconfig", "west")
    assert asked_for.cluster.secret == "replant/clusters/west"
    assert asked_for.deadline == asked_for.at + RUN_SECONDS - rolling_back.LAST
    assert asked_for.options == {"allow_loopback": True, "connections": rolling_back.CONNECTIONS}


def test_its_answer_has_the_form_of_a_rollbacks(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    call = rolling_back.Call(
        rollback_request({"restoreId": restore_id, "keep": True}), "e", "", "", {}, {}, RUN_SECONDS
    )
    counts = {"deleted": 0, "gone": 0, "kept": 1}
    assert undoing.undo(site.lab.rolling_back(), call) == rolling_back.Progress(
        done=True,
        wait=0,
        counts=counts,
        pending=0,
        moved_at=to_instant(site.lab.now()),
        output={
            "state": "succeeded",
            "counts": counts,
            "kept": [],
            "report": f"s3://state/reports/{restore_id}.json",
        },
    )


def test_while_its_restore_runs_the_execution_is_looked_at_first(site: Site) -> None:
    plan = site.lab.plan(site.lab.request(mode="emergency"))
    wanted = rollback_request({"restoreId": plan.ledger, "keep": True})
    call = rolling_back.Call(wanted, "e", "", "", {}, {}, RUN_SECONDS)
    assert undoing.undo(site.lab.rolling_back(), call) == Ask("run-1")
    with pytest.raises(Refused, match="still runs as run-1"):
        undoing.undo(site.lab.rolling_back(), call._replace(looked={"run-1": True}))
    with pytest.raises(Refused, match="nothing of it expires before") as refused:
        undoing.undo(site.lab.rolling_back(), call._replace(looked={"run-1": False}))
    assert refused.value.field == "restoreId"


def test_volumes_of_another_restore_are_left_alone(site: Site) -> None:
    site.lab.backup("web02")
    first = site.restored(requestId="a")["restoreId"]
    site.restored("point-web02", requestId="b")
    settled(site, first)
    replicas = [each["spec"]["numberOfReplicas"] for each in site.lab.cluster.of("Volume").values()]
    assert sorted(replicas) == [1, 3]


@pytest.mark.parametrize("noted", ["", "many", "3.0", "300", "²"])
def test_a_number_of_replicas_that_is_none_is_left(site: Site, noted: str) -> None:
    restore_id = site.restored()["restoreId"]
    (volume,) = site.lab.cluster.of("Volume").values()
    volume["metadata"]["annotations"]["replant.dev/replicas"] = noted
    assert settled(site, restore_id)["state"] == "succeeded"
    assert volume["spec"]["numberOfReplicas"] == 1
    assert "replant.dev/temporary" not in volume["metadata"]["labels"]


def test_one_that_another_client_has_keeps_no_other_one_from_it(site: Site) -> None:
    site.lab.backup("web02")
    output = site.restored("point-web01", "point-web02")
    site.lab.cluster.objects[VM]["metadata"]["uid"] = "of another one"
    name = ("VirtualMachine", "default", "web02-emergency")
    assert settled(site, output["restoreId"])["state"] == "succeeded"
    assert "replant.dev/temporary" not in site.lab.cluster.objects[name]["metadata"]["labels"]


def test_what_is_gone_or_anothers_by_now_is_left_alone(site: Site) -> None:
    restore_id = site.restored()["restoreId"]
    (volume,) = site.lab.cluster.of("Volume")
    del site.lab.cluster.objects["Volume", "longhorn-system", volume]
    site.lab.cluster.objects[VM]["metadata"]["uid"] = "of another one"
    before = list(site.lab.cluster.writes)
    assert settled(site, restore_id)["state"] == "succeeded"
    assert site.lab.cluster.writes == before


def test_there_is_nothing_to_make_permanent_of_what_stays_or_goes(site: Site) -> None:
    other = site.lab.restore(site.lab.request(requestId="other"))["restoreId"]
    with pytest.raises(Refused, match="nothing that would be deleted by itself"):
        settled(site, other)
    restore_id = site.restored(requestId="r2")["restoreId"]
    site.until(site.expiry())
    site.sweep()
    with pytest.raises(Refused, match="is being rolled back"):
        settled(site, restore_id)


@pytest.mark.parametrize(
    "more", [{"deleteStarted": True}, {"dryRun": True}, {"failoverId": "f-0123456789abcdef"}]
)
def test_to_keep_goes_with_a_restore_alone(more: Json) -> None:
    body = {"restoreId": "r-0123456789abcdef", "keep": True} | more
    if "failoverId" in more:
        del body["restoreId"]
    with pytest.raises(InvalidRequest) as refused:
        rollback_request(body)
    assert refused.value.field == "keep"


# --- What cannot be asked for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "remedy"),
    [
        ({"strategy": "csi"}, "strategy", "Use 'auto', 'longhorn' or 'mount', or mode 'standard'."),
        ({"onExisting": "update"}, "onExisting", "Use 'fail', 'skip' or 'recreate'."),
        ({"keepFor": "P15D"}, "keepFor", "must be between PT1S and P14D"),
        ({"keepFor": "PT0S"}, "keepFor", "must be between PT1S and P14D"),
        ({"keepFor": "PT1H", "mode": "standard"}, "keepFor", "Leave it out."),
        ({"keepFor": "PT1H", "mode": "register"}, "keepFor", "Leave it out."),
    ],
)
def test_what_does_not_fit_the_mode_is_named(changes: Json, field: str, remedy: str) -> None:
    error = refusal(**({"mode": "emergency"} | changes))
    assert error.field == field
    assert remedy in error.message


def test_a_request_is_the_same_one_as_before_there_was_a_time() -> None:
    """Or a restore that an earlier version has begun could not be gone on with."""
    assert request().digest == request(keepFor="PT24H").digest
    assert request(mode="emergency").digest != request(mode="emergency", keepFor="PT1H").digest
    assert request(mode="register").digest != request().digest
