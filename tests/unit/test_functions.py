"""The functions of a restore: their events decoded, their clients wired, their answers.

The use cases behind them are tested in test_restoring.py; here they run once each, as Lambda calls
them.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from functions import approval, decision, plan, report, restore, rollback, source
from shared.errors import NotFound, Overtaken, Refused
from shared.observe import logger, metrics
from shared.settings import settings
from shared.workflows import rolling_back
from shared.workflows.clock import Clock
from shared.workflows.failover import freeing
from shared.workflows.run import Clients
from tests.failover_lab import PLAN
from tests.lab import DECISIONS, STATE, Lab, Secrets, a_lab

Json = Any

CONTEXT: Json = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn",
    aws_request_id="1",
    get_remaining_time_in_millis=lambda: 300_000,
)
ENVIRONMENT = {
    "CATALOGUE_TABLE": "catalogue",
    "STATE_BUCKET": STATE,
    "NOTIFICATION_TOPIC": "topic",
    "DECISION_FUNCTION": DECISIONS,
    "ALLOW_LOOPBACK_CLUSTERS": "true",
    "POWERTOOLS_SERVICE_NAME": "replant",
    "POWERTOOLS_METRICS_NAMESPACE": "Replant",
}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab whose table, bucket and topic are what boto3 leads to."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with a_lab() as lab:
        made = {
            "dynamodb": lab.table,
            "s3": lab.s3,
            "secretsmanager": Secrets(),
            "sns": lab.topic,
            "stepfunctions": lab.states,
        }
        monkeypatch.setattr(boto3, "client", lambda service, **_: made[service])
        for module in (plan, restore, report, approval, decision, rollback, source):
            # Their table is the lab's own, which is no client of DynamoDB's.
            monkeypatch.setattr(module, "Table", lambda client, name: client)
            module.clients.cache_clear()
        monkeypatch.setattr(report, "sleep", lab.sleep)
        clock = Clock(lab.now, lambda: lab.seconds, lab.sleep)
        monkeypatch.setattr(restore, "Clients", partial(Clients, clock=clock))
        monkeypatch.setattr(rollback, "Clients", partial(rolling_back.Clients, clock=clock))
        monkeypatch.setattr(metrics, "namespace", "Replant")  # read when it was imported
        settings.cache_clear()
        yield lab
        settings.cache_clear()
        metrics.clear_metrics()


@pytest.mark.parametrize("name", ["catalogue", "plan", "restore", "rollback"])
def test_a_cold_start_looks_for_no_garbage(name: str) -> None:
    program = f"""
import gc
import functions

def looks():
    return sum(each["collections"] for each in gc.get_stats())

before = looks()
from functions import {name}

{name}.clients()
print(looks() - before)
"""
    environment = {**os.environ, **ENVIRONMENT, "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )
    assert done.stdout == b"0\n"


PARENT: Json = {"execution": "arn:run-1", "redriven": 0}
"""What the state machine adds of itself."""


def planned(lab: Lab, **changes: Json) -> Json:
    request = {"select": {"id": "point-web01"}, "target": "west", **changes}
    event = {"request": request, "execution": "arn:run-1", "name": "run-1"}
    return plan.handler(event, CONTEXT) | {"batch": 0}


def test_plan_restore_and_report_pass_on_what_the_state_machine_hands_over(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.backup()
    event = planned(lab)
    assert set(event) == {"restoreId", "ledger", "attempt", "planHash", "batches", "batch"}
    assert event["batches"] == 1
    event = restore.handler(event, CONTEXT) | PARENT
    assert (event["done"], event["counts"], event["waiting"]) == (True, {"ready": 1}, [])
    answer = report.handler(event, CONTEXT)
    assert answer
    assert list(answer) == ["output"], "a cause would fail the execution"
    output = answer["output"]
    assert (output["state"], output["counts"]) == ("succeeded", {"ready": 1})
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (measured,) = [each for each in emitted if "UnsuccessfulRestores" in each]
    assert measured["UnsuccessfulRestores"] == [0.0]


def test_a_run_that_was_overtaken_lets_the_next_one_go_on(lab: Lab) -> None:
    lab.backup()
    event = planned(lab)
    lab.ledger(SimpleNamespace(ledger=event["ledger"])).stop("arn:run-1")  # type: ignore[arg-type]
    answer = restore.handler(event, CONTEXT)
    assert answer == event | {"done": False, "wait": 2, "overtaken": True}


def test_an_error_of_the_execution_is_told_and_counted(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.backup()
    event = planned(lab) | PARENT | {"error": {"Error": "States.Timeout", "Cause": ""}}
    answer = report.handler(event, CONTEXT)
    assert answer
    assert answer["output"]["machines"][0]["error"]["code"] == "States.Timeout"
    cause = json.loads(answer["cause"])
    assert (cause["code"], cause["report"]) == ("RestoreFailed", answer["output"]["report"])
    assert '"UnsuccessfulRestores":[1.0]' in capsys.readouterr().out


def status_event(status: str, execution: str = "arn:run-1", **detail: Json) -> Json:
    """As EventBridge sends it."""
    detail |= {"executionArn": execution, "status": status}
    return {"detail-type": "Step Functions Execution Status Change", "detail": detail}


@pytest.mark.parametrize(
    ("event", "state", "code"),
    [
        (status_event("ABORTED"), "cancelled", "Cancelled"),
        (status_event("TIMED_OUT", redriveCount=0, error=None), "cancelled", "Cancelled"),
        (status_event("FAILED", error="States.Runtime"), "failed", "States.Runtime"),
        (status_event("FAILED", error=None), "failed", "an unnamed error"),
    ],
)
def test_the_event_of_an_execution_that_ended_without_a_report_reports_it_once(
    lab: Lab, event: Json, state: str, code: str
) -> None:
    lab.backup()
    planned(lab)
    answer = report.handler(event, CONTEXT)
    assert answer
    (machine,) = answer["output"]["machines"]
    assert (answer["output"]["state"], machine["error"]["code"]) == (state, code)
    assert report.handler(event, CONTEXT) is None, "events come at least once"


def test_the_event_of_an_execution_that_began_nothing_reports_nothing(lab: Lab) -> None:
    assert report.handler(status_event("FAILED", "arn:of-nobody"), CONTEXT) is None
    assert not lab.topic.told


def test_an_execution_that_was_stopped_and_is_redriven_goes_on(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    event = restore.handler(planned(lab), CONTEXT)
    report.handler(status_event("ABORTED"), CONTEXT)
    lab.cluster.bind = True
    redriven = event | {"execution": "arn:run-1", "redriven": 1}
    event = restore.handler(redriven, CONTEXT)
    assert (event["done"], event["attempt"]) == (True, 2)
    assert report.handler(status_event("ABORTED", redriveCount=0), CONTEXT) is None, "comes late"
    answer = report.handler(event, CONTEXT)
    assert answer
    assert answer["output"]["state"] == "succeeded"


def test_a_batch_of_an_execution_that_is_redriven_goes_on_once_it_has_seen_that(lab: Lab) -> None:
    """Its own input, which Step Functions gives it again, says that it was never redriven."""
    lab.backup()
    lab.cluster.bind = False
    event = restore.handler(planned(lab) | PARENT, CONTEXT)
    report.handler(status_event("ABORTED"), CONTEXT)
    lab.cluster.bind = True
    event = restore.handler(event, CONTEXT)
    assert (event["done"], event["overtaken"]) == (False, True)
    event = restore.handler(event | {"redriven": 1}, CONTEXT)
    assert (event["done"], event["overtaken"], event["attempt"]) == (True, False, 2)


def test_a_report_is_of_the_last_redrive_and_needs_none_of_its_runs(lab: Lab) -> None:
    lab.backup()
    event = restore.handler(planned(lab), CONTEXT) | PARENT
    report.handler(status_event("TIMED_OUT"), CONTEXT)
    answer = report.handler(event | {"redriven": 1}, CONTEXT)
    assert answer
    assert answer["output"]["state"] == "succeeded"
    restore.handler(event | {"redriven": 2}, CONTEXT)
    with pytest.raises(Overtaken):
        report.handler(event | {"redriven": 1}, CONTEXT)


def test_the_errors_of_batches_are_told_of_their_machines(lab: Lab) -> None:
    lab.backup()
    why = {"code": "Refused", "message": "The token is not accepted.", "field": None}
    cause = json.dumps({"errorMessage": json.dumps(why)})
    errors = [{"batch": 0, "error": {"Error": "Refused", "Cause": cause}}]
    answer = report.handler(planned(lab) | PARENT | {"errors": errors}, CONTEXT)
    assert answer
    (machine,) = answer["output"]["machines"]
    assert machine["error"] == {"code": "Refused", "message": "The token is not accepted."}


def test_a_report_of_nothing_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound, match="has no plan"):
        report.handler({"ledger": "r-nothing", **PARENT}, CONTEXT)


def test_plan_asks_for_the_execution_that_has_the_restore_and_goes_on_with_the_answer(
    lab: Lab,
) -> None:
    lab.backup()
    planned(lab, requestId="r")
    request = {"select": {"id": "point-web01"}, "target": "west", "requestId": "r"}
    event = {"request": request, "execution": "arn:run-2", "name": "run-2", "looked": {}}
    asked = plan.handler(event, CONTEXT)
    assert asked == {"ask": "arn:run-1", "looked": {}, "attached": {}, "copied": None}
    with pytest.raises(Refused, match="still running as arn:run-1"):
        plan.handler(event | {"looked": {"arn:run-1": True}}, CONTEXT)
    answer = plan.handler(event | {"looked": {"arn:run-1": False}}, CONTEXT)
    assert answer["attempt"] == 2


@pytest.mark.usefixtures("lab")
def test_a_variable_that_the_template_must_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATALOGUE_TABLE")
    settings.cache_clear()
    with pytest.raises(RuntimeError, match="CATALOGUE_TABLE is missing or wrong"):
        settings()


def test_no_function_logs_what_it_was_given(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", said)
    lab.backup(secrets={"keys": {"userdata": "PLANTED"}})
    restore.handler(planned(lab, by="PLANTED"), CONTEXT)
    assert "planned" in said.getvalue()
    assert "PLANTED" not in said.getvalue()


def decided(event: Json, answer: str, **changes: Json) -> Json:
    told = {"restoreId": event["restoreId"], "planHash": event["planHash"], "by": "Ada"}
    return decision.handler({**told, "decision": answer} | changes, CONTEXT)


def test_an_approval_is_asked_for_answered_and_settled(lab: Lab) -> None:
    lab.backup()
    event = planned(lab, approve="required", approvalTimeout="PT2M")
    assert event["approval"] == 120
    lab.states.open.add("t")
    assert approval.handler(event | {"token": "t"}, CONTEXT) is None
    (told,) = lab.topic.told
    assert told["planHash"] == event["planHash"]
    refused = decided(event, "approve", planHash=f"sha256:{'0' * 64}")
    assert (refused["accepted"], "is not the plan" in refused["message"]) == (False, True)
    assert set(refused) == {"accepted", "message"}
    assert decided(event, "approve")["accepted"] is True
    assert approval.handler(event, CONTEXT) == {"attempt": 1, "approved": True}


def test_a_redriven_execution_that_waits_has_an_attempt_of_its_own(lab: Lab) -> None:
    lab.backup()
    event = planned(lab, approve="required")
    report.handler(status_event("ABORTED"), CONTEXT)
    redriven = event | {"execution": "arn:run-1", "redriven": 1}
    assert approval.handler(redriven | {"token": "t"}, CONTEXT) is None
    assert approval.handler(redriven, CONTEXT) == {"attempt": 2, "approved": False}


def test_a_run_of_a_cancelled_restore_is_the_last_one(lab: Lab) -> None:
    lab.backup()
    event = planned(lab)
    assert decided(event, "cancel", planHash=None)["accepted"] is True
    ended = event | {"done": True, "wait": 2, "overtaken": True}
    assert restore.handler(event, CONTEXT) == ended
    answer = report.handler(event | PARENT, CONTEXT)
    assert answer
    assert (answer["output"]["state"], "cause" in answer) == ("cancelled", False)


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"restoreId": f"r-{'0' * 16}", "decision": "cancel"}, "NotFound", "restoreId"),
        ({"failoverId": "f", "decision": "cancel"}, "InvalidRequest", "failoverId"),
        ([], "InvalidRequest", None),
    ],
)
def test_a_bad_decision_is_not_accepted_and_its_error_is_the_message(
    body: Json, code: str, field: str | None
) -> None:
    answer = decision.handler(body, CONTEXT)
    assert (answer["accepted"], answer["message"]) == (False, answer["error"]["message"])
    assert (answer["error"]["code"], answer["error"]["field"]) == (code, field)


def undone(restore_id: str, **event: Json) -> Json:
    """An event of RollbackFunction."""
    request = {"restoreId": restore_id}
    called = {"request": request, "execution": "arn:back:1", "restores": "arn", "failovers": ""}
    return {**called, "looked": {}, **event}


def test_a_rollback_asks_for_the_restores_execution_and_then_answers_as_the_contract_has_it(
    lab: Lab,
) -> None:
    lab.backup()
    event = planned(lab, start=False)
    ask = rollback.handler(undone(event["restoreId"]), CONTEXT)
    assert ask == {"looked": {}, "progress": {}, "ask": "arn:run-1"}
    report.handler(restore.handler(event, CONTEXT) | PARENT, CONTEXT)
    answer = rollback.handler(undone(event["restoreId"]), CONTEXT)
    while not answer["done"]:
        assert set(answer) == {"looked", "progress", "done", "wait", "output"}
        event = undone(event["restoreId"], progress=answer["progress"])
        answer = rollback.handler(event, CONTEXT)
    assert answer["output"]["state"] == "succeeded"
    assert set(answer["output"]) == {"state", "counts", "kept", "report"}


def test_a_run_of_a_rollback_that_was_overtaken_lets_the_next_one_go_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*_: Json) -> Json:
        raise Overtaken("a newer run")

    monkeypatch.setattr(rollback, "undo", overtaken)
    answer = rollback.handler(undone("r-4e65d3fbe8ad6535"), CONTEXT)
    assert answer == {"looked": {}, "progress": {}, "done": False, "wait": 2}
    assert lab.cluster.writes == []


# --- Source -------------------------------------------------------------------------------------


def test_the_source_of_a_failover_is_looked_at_shown_and_started_again(lab: Lab) -> None:
    lab.recovery_plan(PLAN)
    asked = {"plan": "payments", "reverse": True, "dryRun": True}
    shown = source.handler({"step": "show", "request": asked, "name": "run-1"}, CONTEXT)
    assert shown
    assert shown["state"] == "planned"
    call = {"failoverId": "f-0123456789abcdef", "attempt": 1}
    for step in ("prepare", "start"):
        with pytest.raises((NotFound, Overtaken)):
            source.handler(call | {"step": step}, CONTEXT)


@pytest.mark.parametrize("overtaken", [False, True])
def test_the_end_of_an_execution_that_halted_nothing_is_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, overtaken: bool
) -> None:
    def overtake(*_: Any) -> None:
        raise Overtaken("another one")

    if overtaken:
        monkeypatch.setattr(freeing, "start_after_stop", overtake)
    detail = {"executionArn": "arn:run-1", "status": "ABORTED"}
    event = {"detail-type": "Step Functions Execution Status Change", "detail": detail}
    assert source.handler(event, CONTEXT) is None
