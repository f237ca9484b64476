"""Failovers on the running system: real state machines, a real target, a source that never answers.

Aspects: an alarm that starts one, waves in their order, an approval by the command that the topic
has, a source that is alive, an alarm that is muted, a stop, the history, least privilege.
Not aspects: what the guard decides (test_guard.py), an outage that is seen (test_watch.py).
"""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from local.api import Api
from local.longhorn import target
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait
from tests.integration.lab_objects import faults

pytestmark = pytest.mark.timeout(600)

SPACE = "pay"
PREFIX = "gone/"
ALARM = "rack-7-power"
PLAN = f"""\
name: payments
source: gone
target: west
objectives: {{rpo: P365D, rto: PT15M}}
trigger: {{alarm: {ALARM}, mode: automatic, cooldown: PT0S}}
guard: {{probes: 2, unreachableFor: PT5S}}
mapping: {{namespaces: {{{SPACE}: NAMESPACE}}, networks: {{"*": "none"}}}}
waves:
  - name: databases
    machines: [{{namespace: {SPACE}, name: "db-*"}}]
    ready: {{condition: vm, timeout: PT2M}}
  - name: web
    machines: [{{namespace: {SPACE}}}]
    ready: {{condition: vm, timeout: PT2M}}
"""
VMS = ("db-1", "db-2", "web")


@pytest.fixture(scope="module")
def west(stack: Stack) -> Iterator[Api]:
    """The target, which sees the backups of a cluster that is gone."""
    api = stack.cluster("west")
    url = target.url_of(stack.bucket, PREFIX)
    target.attach(api, "gone", url, stack.endpoint)
    stack.client("secretsmanager").create_secret(
        Name="replant/clusters/gone", SecretString=leads_nowhere(stack)
    )
    stack.document("clusters/gone.yaml", "id: gone\nsecret: replant/clusters/gone\n")
    where = f"id: gone-s3\nurl: s3://{stack.bucket}/{PREFIX}\ncluster: gone\n"
    stack.document("targets/gone-s3.yaml", where)
    for vm in VMS:
        backup = a_vm_backup(vm, SPACE, f"{vm}-nightly", networks=[Nic()])
        stack.put((f"{PREFIX}{key}", body) for key, body in backup)
    for vm in VMS:
        wait(lambda vm=vm: restorable(stack, vm), seconds=90, what=f"a point of {vm}")  # type: ignore[misc]
    try:
        yield api
    finally:
        for key in ("clusters/gone.yaml", "targets/gone-s3.yaml"):
            stack.s3.delete_object(Bucket=stack.state_bucket, Key=key)
        stack.client("secretsmanager").delete_secret(
            SecretId="replant/clusters/gone", ForceDeleteWithoutRecovery=True
        )


def leads_nowhere(stack: Stack) -> str:
    """A kubeconfig of a server that does not listen."""
    secrets = stack.client("secretsmanager")
    stored = secrets.get_secret_value(SecretId="replant/clusters/west")["SecretString"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config: Any = yaml.safe_load(stored)
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    return str(yaml.safe_dump(config))


def restorable(stack: Stack, vm: str) -> bool:
    points = stack.search(vm=f"{SPACE}/{vm}", cluster="gone", latest=True)
    return any(each["state"] == "restorable" for each in points.get("restorePoints", []))


def plan(stack: Stack, namespace: str, **changes: str) -> None:
    """Its machines come back in a NAMESPACE of their own."""
    text = PLAN.replace("NAMESPACE", namespace)
    for old, new in changes.items():
        text = text.replace(old, new)
    stack.document("plans/payments.yaml", text)
    table = stack.client("dynamodb")
    key = {"pk": {"S": "documents"}, "sk": {"S": "plans/payments"}}

    def taken() -> bool:
        row = table.get_item(TableName=stack.outputs["CatalogueTable"], Key=key).get("Item")
        return bool(row) and namespace in row.get("facts", {}).get("S", "")

    wait(taken, seconds=60, what="the plan")


def fail_over(stack: Stack, **request: Any) -> Ended:
    asked = {"plan": "payments", "by": "a test", **request}
    return stack.finish(stack.start(asked, "FailoverStateMachine"), seconds=300)


def executions(stack: Stack) -> set[str]:
    machine = stack.outputs["FailoverStateMachine"]
    found = stack.client("stepfunctions").list_executions(stateMachineArn=machine)
    return {each["executionArn"] for each in found["executions"]}


def machines(api: Api, namespace: str) -> set[str]:
    found = api.call("GET", f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines")
    return {each["metadata"]["name"] for each in found["items"]}


def fire(stack: Stack) -> None:
    watch = stack.client("cloudwatch")
    watch.set_alarm_state(AlarmName=ALARM, StateValue="OK", StateReason="power is back")
    watch.set_alarm_state(AlarmName=ALARM, StateValue="ALARM", StateReason="no power")


@pytest.fixture(scope="module")
def alarm(stack: Stack) -> Iterator[str]:
    """One that the plan waits for, on a metric that nobody publishes."""
    watch = stack.client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName=ALARM,
        Namespace="Test",
        MetricName="Power",
        Statistic="Minimum",
        Period=86400,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="ignore",
    )
    yield ALARM
    watch.delete_alarms(AlarmNames=[ALARM])


def test_an_alarm_brings_the_waves_back_in_order_and_measures_what_it_cost(
    stack: Stack, west: Api, alarm: str
) -> None:
    plan(stack, "pay-alarm")
    before = executions(stack)
    fire(stack)
    started = wait(
        lambda: executions(stack) - before, seconds=60, what="an execution of the failover"
    )
    (execution,) = started
    ended = stack.finish(execution, seconds=300)
    output = ended.output
    assert output["state"] == "succeeded", ended
    first, second = output["waves"]
    assert (first["name"], first["counts"]) == ("databases", {"ready": 2})
    assert (second["name"], second["counts"]) == ("web", {"ready": 1})
    assert first["finishedAt"] <= second["startedAt"]
    assert {each["answer"] for each in output["guard"]["probes"]} == {"unreachable"}
    assert len(output["guard"]["probes"]) >= 2
    assert output["rto"]["met"] is True
    assert output["rpo"]["met"] is True
    assert output["rpo"]["machine"].startswith(f"{SPACE}/")
    assert machines(west, "pay-alarm") == set(VMS)
    report = stack.report(output["report"])
    assert report["alarm"] == alarm
    assert [each["state"] for each in report["machines"]] == ["ready"] * 3
    page = output["report"].replace(".json", ".html").removeprefix(f"s3://{stack.state_bucket}/")
    body = stack.s3.get_object(Bucket=stack.state_bucket, Key=page)["Body"].read().decode()
    assert "Failover of payments from gone to west" in body


def test_somebody_approves_it_by_its_hash(stack: Stack, west: Api) -> None:
    plan(stack, "pay-ask", automatic="approve")
    execution = stack.start({"plan": "payments", "requestId": "pay-ask"}, "FailoverStateMachine")
    waiting = wait(lambda: asked(stack, execution), seconds=120, what="the request for approval")
    assert west.answers("/api/v1/namespaces/pay-ask") is False
    body = {"failoverId": waiting["failoverId"], "decision": "approve", "by": "Ada"}
    refused = decide(stack, body | {"planHash": f"sha256:{'0' * 64}"})
    assert refused["accepted"] is False
    assert "is not the plan of failover" in refused["message"]
    accepted = decide(stack, body | {"planHash": waiting["planHash"]})
    assert accepted["accepted"] is True, accepted
    assert decide(stack, body | {"decision": "reject", "by": "Bob"})["accepted"] is False
    ended = stack.finish(execution, seconds=300)
    assert ended.output["state"] == "succeeded", ended
    (decision,) = stack.report(ended.output["report"])["decisions"]
    assert (decision["decision"], decision["by"]) == ("approve", "Ada")


def asked(stack: Stack, execution: str) -> dict[str, Any] | None:
    """The report of a failover that waits."""
    found = stack.search(failovers=True, limit=20)["failovers"]
    if not found or found[0]["execution"] != execution:
        return None
    key = f"reports/{found[0]['failoverId']}.json"
    if not stack.s3.list_objects_v2(Bucket=stack.state_bucket, Prefix=key).get("Contents"):
        return None
    report = stack.report(f"s3://{stack.state_bucket}/{key}")
    return report if report["state"] == "waiting" else None


def decide(stack: Stack, body: dict[str, Any]) -> dict[str, Any]:
    if "planHash" not in body:
        body = body | {"planHash": f"sha256:{'0' * 64}"}
    answer = stack.client("lambda").invoke(
        FunctionName=stack.outputs["DecisionFunction"], Payload=json.dumps(body).encode()
    )
    found: dict[str, Any] = json.loads(answer["Payload"].read())
    return found


def test_a_source_that_is_alive_is_refused_with_the_evidence(stack: Stack, west: Api) -> None:
    plan(stack, "pay-alive", gone="east")
    ended = fail_over(stack)
    assert (ended.status, ended.output["state"]) == ("SUCCEEDED", "refused"), ended
    assert ended.output["reason"].startswith("east answers: at ")
    probes = ended.output["guard"]["probes"]
    assert [(each["place"], each["answer"]) for each in probes] == [
        ("first", "ready"),
        ("second", "ready"),
    ]
    assert west.answers("/api/v1/namespaces/pay-alive") is False


def test_an_alarm_that_is_muted_starts_nothing(stack: Stack, west: Api, alarm: str) -> None:
    plan(stack, "pay-muted")
    watch = stack.client("cloudwatch")
    watch.put_alarm_mute_rule(
        Name="sunday",
        Rule={"Schedule": {"Expression": "cron(0 2 * * *)", "Duration": "PT4H"}},
        MuteTargets={"AlarmNames": [alarm]},
    )
    try:
        ended = fail_over(stack, alarm=alarm)
    finally:
        watch.delete_alarm_mute_rule(AlarmMuteRuleName="sunday")
    assert ended.output["state"] == "refused", ended
    assert "is muted: sunday is active" in ended.output["reason"]


def test_a_stopped_failover_stops_its_waves_and_the_same_request_goes_on(
    stack: Stack, west: Api
) -> None:
    plan(stack, "pay-stop")
    request = {"plan": "payments", "requestId": "pay-stop"}
    west.apply(faults(neverReady="pay-stop/*"))
    try:
        execution = stack.start(request, "FailoverStateMachine")
        wait(
            lambda: west.answers("/apis/kubevirt.io/v1/namespaces/pay-stop/virtualmachines/db-1"),
            seconds=120,
            what="the first machine",
        )
        stack.client("stepfunctions").stop_execution(executionArn=execution)
        # Lambda calls again a minute after a call that failed.
        stopped = wait(
            lambda: entry(stack, execution, "aborted"), seconds=150, what="the report of the stop"
        )
    finally:
        west.apply(faults())
    assert "stopped" in stopped["why"]
    ended = stack.finish(stack.start(request, "FailoverStateMachine"), seconds=300)
    assert ended.output["state"] == "succeeded", ended
    assert machines(west, "pay-stop") == set(VMS)


def entry(stack: Stack, execution: str, state: str) -> dict[str, Any] | None:
    found = stack.search(failovers=True, limit=1)["failovers"]
    matches = (each for each in found if (each["execution"], each["state"]) == (execution, state))
    return next(matches, None)


BAD = {
    "unknown plan": ({"plan": "pyments"}, "NotFound", "Unknown plan 'pyments'."),
    "typo": ({"pln": "payments"}, "InvalidRequest", "plan"),
    "no look at that": ({"plan": "payments", "dryRun": True}, "InvalidRequest", "reverse: true"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_named_with_its_remedy(stack: Stack, west: Api, case: str) -> None:
    assert west
    request, error, said = BAD[case]
    ended = stack.finish(stack.start(request, "FailoverStateMachine"))
    assert (ended.status, ended.error) == ("FAILED", error), ended
    assert said in ended.cause["message"]
