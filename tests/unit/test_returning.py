"""Sources that answer again after a failover: who is told what, how often, and what it is by.

Aspects: the decision as a table, one message a return, flapping, what is told, least privilege.
Not aspects: what a probe sees (test_probing.py).
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions import upkeep as function
from shared.catalogue import documents
from shared.failover import incident
from shared.failover.incident import SILENCE, Turn, Twice
from shared.models.failovers import FailoverRecord, Probe
from shared.models.observations import Answer, Observation
from shared.models.rollbacks import Rollback
from shared.models.row_keys import document
from shared.runs import failovers
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows import scheduling
from shared.workflows import upkeep as keeping
from shared.workflows.failover import returning
from tests.failover_lab import PLAN, FailoverLab, a_failover_lab
from tests.lab import BEGIN, STATE
from tests.template import TEMPLATE, allowed, of_type

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
MINUTE = timedelta(minutes=1)


def at(minutes: float) -> datetime:
    return BEGIN + minutes * MINUTE


AN_OUTAGE: Json = {
    "given": True,
    "unreachable_since": BEGIN,
    "probes": (Probe(at=BEGIN, answer=Answer.UNREACHABLE),),
}


def a_record(**changes: Any) -> FailoverRecord:
    """Of a failover that brought machines back from a cluster that fell silent at BEGIN."""
    return FailoverRecord(
        failover_id=f"f-{'0' * 16}",
        request_id="r",
        request_digest="d",
        execution="arn:failover",
        attempt=1,
        started_at=BEGIN,
        taken_at=BEGIN,
        plan="payments",
        source="east",
        target="west",
    ).model_copy(update={**AN_OUTAGE, **changes})


def a_look(minutes: float, answer: Answer, **changes: Any) -> Observation:
    return Observation(cluster="east", at=at(minutes), answer=answer, **changes)


def undone(state: str) -> Rollback:
    return Rollback(execution="arn", state=state, counts={}, finished_at=BEGIN, report=None)


ALIVE = a_look(5, Answer.READY)
SILENT = a_look(30, Answer.UNREACHABLE, unreachable_since=at(25))
TOLD = {"incident_at": at(5)}

CASES: dict[str, tuple[Json, Observation | None, Turn]] = {
    "nobody has looked": ({}, None, Turn.NOTHING),
    "it is still silent": ({}, a_look(5, Answer.UNREACHABLE), Turn.NOTHING),
    "its credentials are gone, which says nothing": (
        {},
        a_look(5, Answer.NO_CREDENTIALS),
        Turn.NOTHING,
    ),
    "the look is older than the outage": ({}, a_look(-1, Answer.READY), Turn.NOTHING),
    "the look is the one before it": ({}, a_look(0, Answer.READY), Turn.NOTHING),
    "it answers": ({}, ALIVE, Turn.TELL),
    "it answers that it is not ready": ({}, a_look(5, Answer.NOT_READY), Turn.TELL),
    "it rejects us, and lives": ({}, a_look(5, Answer.REJECTED), Turn.TELL),
    "no wave was let go": ({"given": False}, ALIVE, Turn.NOTHING),
    "no outage was behind it": ({"unreachable_since": None}, ALIVE, Turn.NOTHING),
    "its source was halted, and never down": ({"probes": ()}, ALIVE, Turn.NOTHING),
    "all was rolled back": ({"rollback": undone("succeeded")}, ALIVE, Turn.NOTHING),
    "the rollback kept what had run": ({"rollback": undone("partial")}, ALIVE, Turn.TELL),
    "it was told": (TOLD, a_look(9, Answer.READY), Turn.NOTHING),
    "it was told, and is silent again": (TOLD, SILENT, Turn.SILENT),
    "that is known": (TOLD | {"quiet_since": at(25)}, SILENT, Turn.NOTHING),
    "a newer silence": (TOLD | {"quiet_since": at(12)}, SILENT, Turn.SILENT),
    "told, and its credentials are gone": (TOLD, a_look(9, Answer.NO_CREDENTIALS), Turn.NOTHING),
    "back after a short silence": (
        TOLD | {"quiet_since": at(25)},
        a_look(26, Answer.READY),
        Turn.FLAPS,
    ),
    "back after a long silence": (
        TOLD | {"quiet_since": at(25)},
        a_look(25 + SILENCE / MINUTE, Answer.READY),
        Turn.TELL,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_follows_from_a_look_at_the_source(case: str) -> None:
    changes, seen, expected = CASES[case]
    assert incident.judge(a_record(**changes), seen) is expected


# --- Told ---------------------------------------------------------------------------------------


class Bus:
    """The default bus; REFUSES: as EventBridge says it, in an answer that is no error."""

    def __init__(self) -> None:
        self.entries: list[Json] = []
        self.refuses = False

    def put_events(self, *, Entries: list[dict[str, str]]) -> Json:  # noqa: N803
        if self.refuses:
            refused = {"ErrorCode": "InternalFailure", "ErrorMessage": "no"}
            return {"FailedEntryCount": 1, "Entries": [refused]}
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    def details(self) -> list[Json]:
        return [json.loads(each["Detail"]) for each in self.entries]


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def site() -> Iterator[FailoverLab]:
    with a_failover_lab(PLAN) as site:
        site.fleet()
        yield site


def clients(site: FailoverLab, bus: Bus) -> returning.Clients:
    state = StateBucket(site.lab.s3, STATE)  # type: ignore[arg-type]
    sns: Any = site.lab.topic
    return returning.Clients(site.lab.table, state, sns, bus, "topic", site.lab.clock)


def minute(site: FailoverLab, bus: Bus, answer: Answer) -> list[str]:
    """The probe looks, and then the function."""
    site.lab.seconds += 60
    site.source = answer
    site.probe()
    return returning.tell_returns(clients(site, bus))


def failed_over(site: FailoverLab) -> str:
    output = site.run()
    assert output["state"] == "succeeded", output
    site.lab.topic.subjects.clear()
    return str(output["failoverId"])


def incidents(site: FailoverLab) -> list[str]:
    return [each for each in site.lab.topic.subjects if "incident" in each]


def test_a_return_is_told_once_with_the_machines_and_what_to_do(
    site: FailoverLab, bus: Bus
) -> None:
    id_ = failed_over(site)
    assert minute(site, bus, Answer.UNREACHABLE) == []
    assert minute(site, bus, Answer.READY) == [id_]
    assert minute(site, bus, Answer.READY) == []
    assert incidents(site) == [f"Replant: incident: east is back after failover {id_}"]
    text, told = site.lab.topic.texts[-1], site.lab.topic.told[-1]
    assert "Machines that run twice (3), unless they are off on east" in text
    assert "- default/db-1 -> default/db-1" in text
    assert "1. Fence east: power its nodes off" in text
    assert f'{{"failoverId": "{id_}"}}' in text
    assert "still runs" not in text
    (detail,) = bus.details()
    assert detail == told
    assert (detail["source"], detail["target"], detail["count"]) == ("east", "west", 3)
    machine = {"wave": "web", "source": "default/web01", "target": "default/web01"}
    assert machine in detail["machines"]
    assert detail["report"].endswith(f"reports/{id_}.json")
    (entry,) = bus.entries
    assert (entry["Source"], entry["DetailType"]) == ("replant", "Source Came Back")


def test_it_is_noted_in_the_record_and_seen_in_the_history(site: FailoverLab, bus: Bus) -> None:
    id_ = failed_over(site)
    minute(site, bus, Answer.READY)
    record = site.ledger(id_).record()
    assert record
    assert record.incident_at == site.lab.now()
    assert record.outcome == "succeeded"
    (_, entry), *_ = failovers.newest(site.lab.table)
    assert entry["incidentAt"] == bus.details()[0]["answeredAt"]


def test_a_source_that_flaps_is_told_once(site: FailoverLab, bus: Bus) -> None:
    failed_over(site)
    for _ in range(20):
        minute(site, bus, Answer.READY)
        minute(site, bus, Answer.UNREACHABLE)
    assert len(incidents(site)) == len(bus.entries) == 1


def test_one_that_was_fenced_and_comes_back_is_told_again(site: FailoverLab, bus: Bus) -> None:
    id_ = failed_over(site)
    minute(site, bus, Answer.READY)
    for _ in range(11):
        assert minute(site, bus, Answer.UNREACHABLE) == []
    assert minute(site, bus, Answer.READY) == [id_]
    assert minute(site, bus, Answer.READY) == []
    assert len(incidents(site)) == 2


def test_it_is_told_while_the_failover_still_runs(site: FailoverLab, bus: Bus) -> None:
    told: list[str] = []

    def once_a_machine_runs() -> None:
        record = site.ledger(answer["failoverId"]).record()
        if record and not told and record.waves and record.waves[0].state.final:
            told.extend(minute(site, bus, Answer.READY))

    answer = site.begin()
    site.each_second = once_a_machine_runs
    while answer["next"] != "report":
        answer = site.step(answer)
    assert told == [answer["failoverId"]]
    (detail,) = bus.details()
    assert (detail["state"], detail["report"]) == ("running", None)
    (text,) = [each for each in site.lab.topic.texts if "answers again" in each]
    assert "The failover still runs, and goes on: to end it, stop" in text
    assert "Machines that run twice" in text


def test_it_is_told_when_the_plan_was_deleted_since(site: FailoverLab, bus: Bus) -> None:
    id_ = failed_over(site)
    row = site.lab.table.get(document("plans", "payments"))
    assert row
    site.lab.table.put_many([row | {"gone_order": "9"}])
    assert documents.plan(site.lab.table, "payments") is None
    assert minute(site, bus, Answer.READY) == [id_]


def test_without_a_failover_nothing_is_told(site: FailoverLab, bus: Bus) -> None:
    assert minute(site, bus, Answer.READY) == []
    site.run()  # which is refused
    assert minute(site, bus, Answer.READY) == []
    assert incidents(site) == []


def test_a_failover_whose_record_has_expired_is_passed_by(site: FailoverLab, bus: Bus) -> None:
    id_ = failed_over(site)
    for key in [key for key in site.lab.table.packed if key[0] == f"failover#{id_}"]:
        del site.lab.table.packed[key]
    assert minute(site, bus, Answer.READY) == []


def test_a_failover_that_was_rolled_back_whole_is_not_told(site: FailoverLab, bus: Bus) -> None:
    id_ = failed_over(site)
    site.roll_back(id_, deleteStarted=True)
    assert minute(site, bus, Answer.READY) == []


def test_machines_of_a_plan_that_is_gone_are_named_on_the_target_alone(
    site: FailoverLab, bus: Bus
) -> None:
    failed_over(site)
    for key in [key for key in site.lab.s3.objects if "work/" in key[1]]:
        del site.lab.s3.objects[key]
    minute(site, bus, Answer.READY)
    assert "- not known any more -> default/db-1" in site.lab.topic.texts[-1]
    assert bus.details()[0]["machines"][0]["source"] is None


@pytest.mark.parametrize("broken", ["bus", "topic"])
def test_what_could_not_be_told_is_told_the_next_time(
    site: FailoverLab, bus: Bus, broken: str
) -> None:
    id_ = failed_over(site)
    bus.refuses, site.lab.topic.broken = broken == "bus", broken == "topic"
    with pytest.raises((RuntimeError, ConnectionError)):
        minute(site, bus, Answer.READY)
    assert incidents(site) == []
    bus.refuses = site.lab.topic.broken = False
    assert minute(site, bus, Answer.READY) == [id_]
    assert len(incidents(site)) == 1


def test_what_is_told_stays_small_whatever_comes_back() -> None:
    many = [Twice("web", "a" * 253 + "/" + "b" * 63, "c" * 253 + "/" + "d" * 63)] * 5000
    record = a_record(plan="p" * 63, source="s" * 63)
    told = incident.detail(record, ALIVE, many, "arn")
    text = incident.body(record, told, many)
    assert (len(told["machines"]), told["count"]) == (100, 5000)
    assert len(text) < 256 * 1024
    assert "and 4980 more" in text
    assert len(incident.subject(record)) < 100
    nothing = incident.body(record, incident.detail(record, ALIVE, [], "arn"), [])
    assert "None of its machines has been started on west so far." in nothing


# --- The function and its rights ----------------------------------------------------------------


@pytest.fixture
def kept(site: FailoverLab, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The function's clients are the lab's; each call that keeps alarms is listed."""
    fakes = {"dynamodb": site.lab.table, "s3": site.lab.s3, "sns": site.lab.topic, "events": bus}
    kept: list[Any] = []

    def keep(each: Any) -> keeping.Kept:
        kept.append(each)
        return keeping.Kept((), ())

    monkeypatch.setattr(keeping, "keep_alarms", keep)
    monkeypatch.setattr(scheduling, "keep_schedules", lambda _: scheduling.Kept((), (), ()))
    monkeypatch.setenv("CATALOGUE_TABLE", "table")
    monkeypatch.setenv("STATE_BUCKET", STATE)
    monkeypatch.setenv("NOTIFICATION_TOPIC", "topic")
    monkeypatch.setattr("boto3.client", fakes.get)
    monkeypatch.setattr(function, "Table", lambda client, _: client)
    caches = (settings, function.table, function.clients, function.tellers)
    for each in caches:
        each.cache_clear()
    yield kept
    for each in caches:
        each.cache_clear()


def test_the_function_tells_and_keeps_alarms_whatever_becomes_of_the_other(
    site: FailoverLab, bus: Bus, kept: list[Any]
) -> None:
    id_ = failed_over(site)
    site.source = Answer.READY
    site.lab.seconds += 60
    site.probe()
    event = json.loads((ROOT / "events" / "upkeep.json").read_text())
    context: Any = type("Context", (), {"function_name": "f", "memory_limit_in_mb": 1})()
    context.invoked_function_arn, context.aws_request_id = "arn", "id"
    bus.refuses = True
    with pytest.raises(RuntimeError, match="EventBridge takes no event of the return of east"):
        function.handler(event, context)
    assert len(kept) == 1, "alarms are kept all the same"
    bus.refuses = False
    assert function.handler(event, context)["returns"] == [id_]
    assert function.handler(event, context)["returns"] == []


def test_the_role_may_put_this_event_and_no_other() -> None:
    role = of_type("AWS::IAM::Role")["UpkeepRole"]
    (statement,) = [each for each in allowed(role) if each["Sid"] == "TellWhoeverFences"]
    assert statement["Resource"]["Fn::Sub"].endswith(":event-bus/default")
    assert statement["Condition"]["StringEquals"] == {
        "events:source": incident.EVENT_SOURCE,
        "events:detail-type": incident.DETAIL_TYPE,
    }
    clock = TEMPLATE["Resources"]["UpkeepClock"]["Properties"]
    assert clock["ScheduleExpression"] == "rate(1 minute)", "two minutes are promised"


def test_the_sample_is_an_event_as_it_is_sent() -> None:
    sample = json.loads((ROOT / "events" / "source-came-back.json").read_text())
    machines = [Twice("databases", "db/pg-1", "prod/pg-1")]
    made = incident.detail(a_record(), ALIVE, machines, "arn")
    assert sample["detail"].keys() == made.keys()
    assert sample["detail"]["machines"] == made["machines"]
    assert (sample["source"], sample["detail-type"]) == (
        incident.EVENT_SOURCE,
        incident.DETAIL_TYPE,
    )
