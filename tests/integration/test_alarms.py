"""Every alarm of the template fires when what its description says has happened."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from local.build.template import load
from local.cloud import ROOT
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.faulty import queue, subscribed

GARBAGE = {
    "messageId": "1",
    "body": "no event",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:x:1:q",
}
NOBODY = {"select": {"vm": "no/body"}, "target": "west"}
HOUR = 3600
PERIOD = 300  # of the alarms that count failures
A_MOMENT = 15
PERIODS = 20  # more than any alarm needs until it sees its cause
LONGEST = yaml.safe_load((ROOT / "statemachines/restore.asl.yaml").read_text())["TimeoutSeconds"]
CANCEL = {"restoreId": "r-0000000000000000", "decision": "cancel"}
UNKNOWN = {"restoreId": "r-0000000000000000", "attempt": 1}
STEP = {"step": "advance", "failoverId": "f-0000000000000000", "attempt": 1, "late": False}
PREPARE = {"step": "prepare", "failoverId": "f-0000000000000000", "attempt": 1}
RECONCILE = {"step": "judge", "id": "0000000000000000"}
OVERDUE = """\
name: overdue
source: east
target: west
drill: {schedule: "cron(0 3 1 * ? *)"}
waves: [{name: all, machines: [{namespace: nobody}]}]
"""


AGED = """\
name: aged
source: east
target: west
objectives: {rpo: PT1S}
waves: [{name: all, machines: [{namespace: aged}]}]
"""
STANDS_BY = """\
name: late
source: east
target: west
standby: {every: PT5M, machines: [{namespace: late}]}
waves: [{name: all, machines: [{namespace: late}]}]
"""


def function(stack: Stack, name: str) -> str:
    found = stack.client("lambda").list_functions()["Functions"]
    return next(str(each["FunctionName"]) for each in found if name in each["FunctionName"])


def fails(stack: Stack, name: str, event: dict[str, Any]) -> None:
    answer = stack.client("lambda").invoke(
        FunctionName=function(stack, name), Payload=json.dumps(event).encode()
    )
    assert "FunctionError" in answer


def one_message_fails(stack: Stack) -> None:
    answer = stack.client("lambda").invoke(
        FunctionName=function(stack, "CatalogueFunction"),
        Payload=json.dumps({"Records": [GARBAGE]}).encode(),
    )
    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def fails_without_table(stack: Stack, which: str, event: dict[str, Any]) -> None:
    """What people send cannot break it, so its table is taken away for a moment."""
    name, functions = function(stack, which), stack.client("lambda")
    environment = functions.get_function_configuration(FunctionName=name)["Environment"][
        "Variables"
    ]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": environment | {"CATALOGUE_TABLE": "gone"}}
    )
    try:
        fails(stack, which, event)
    finally:
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": environment}
        )


def keeps_failing(stack: Stack, which: str, times: int = 3) -> None:
    """Within one period of its alarm, which counts how often."""
    if (left := PERIOD - time.time() % PERIOD) < A_MOMENT:
        time.sleep(left)
    for _ in range(times):
        fails_without_table(stack, which, {})


def restore_cannot_begin(stack: Stack) -> None:
    assert stack.restore(NOBODY).status == "FAILED"


def cannot_begin(stack: Stack, machine: str) -> None:
    assert stack.finish(stack.start({"plan": "nobodys"}, machine)).status == "FAILED"


def an_alarm_fires(stack: Stack) -> None:
    watch = stack.client("cloudwatch")
    alarm = described(stack, "DeadLetterAlarm")["AlarmName"]
    watch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="test")
    watch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    watch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="test")


def a_drill_is_overdue(stack: Stack) -> Iterator[float]:
    """A plan that was never practised."""
    stack.document("plans/overdue.yaml", OVERDUE)

    def listed() -> bool:
        return any(each["overdue"] for each in stack.search(drills=True)["drills"])

    wait(listed, seconds=60, what="the overdue drill")
    stack.client("lambda").invoke(FunctionName=function(stack, "UpkeepFunction"), Payload=b"{}")
    yield time.time()
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="plans/overdue.yaml")
    wait(lambda: not listed(), seconds=60, what="the end of the plan")


def machines_are_counted(stack: Stack) -> None:
    answer = stack.client("lambda").invoke(
        FunctionName=function(stack, "CensusFunction"), Payload=b"{}"
    )
    assert "FunctionError" not in answer, answer["Payload"].read()


def a_machine_is_beyond_its_rpo(stack: Stack) -> Iterator[float]:
    """Its only backup is of August, and its plan wants one of the last second."""
    stack.put(a_vm_backup("old", "aged", "aged"))
    wait(lambda: stack.newest("aged/old", "restorable"), seconds=60, what="the old backup")
    stack.document("plans/aged.yaml", AGED)

    def missed() -> bool:
        found = stack.search(summary=True, vm="aged/old")["machines"]
        return any(each["rpo"] and not each["rpo"]["met"] for each in found)

    wait(missed, seconds=60, what="the plan's objective")
    machines_are_counted(stack)
    yield time.time()
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="plans/aged.yaml")
    wait(lambda: not missed(), seconds=60, what="the end of the plan")


def a_machine_stands_by_late(stack: Stack) -> Iterator[float]:
    """Its plan names what no backup is of, so that nothing will ever stand by."""
    stack.document("plans/late.yaml", STANDS_BY)

    def late() -> bool:
        answer = stack.client("lambda").invoke(
            FunctionName=function(stack, "StandbyFunction"), Payload=b"{}"
        )
        kept = json.loads(answer["Payload"].read())
        return any(each["plan"] == "late" and each["late"] for each in kept)

    wait(late, seconds=60, what="the late machine")
    yield time.time()
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="plans/late.yaml")


def a_backup_stays_incomplete(stack: Stack) -> Iterator[float]:
    """All has come but the record of its volume: it was taken in August."""
    backup = a_vm_backup("torn", "torn", "torn")
    stack.put((key, body) for key, body in backup if not key.endswith("/volume.cfg"))
    wait(lambda: stack.newest("torn/torn", "incomplete"), seconds=60, what="half a backup")
    machines_are_counted(stack)
    yield time.time()
    stack.s3.delete_object(Bucket=stack.bucket, Key=backup.key)
    wait(lambda: not stack.newest("torn/torn"), seconds=60, what="its end")


def something_is_in_quarantine(stack: Stack) -> Iterator[float]:
    key = "harvester/vmbackups/garbage/garbage.cfg"
    stack.put([(key, b"no JSON")])

    def there() -> bool:
        found = stack.search(quarantine=True, limit=1000)["quarantined"]
        return any(each["key"] == key for each in found)

    wait(there, seconds=60, what="the garbage in quarantine")
    machines_are_counted(stack)
    yield time.time()
    stack.s3.delete_object(Bucket=stack.bucket, Key=key)
    wait(lambda: not there(), seconds=60, what="its end")


def restore_is_unsuccessful(stack: Stack) -> None:
    stack.put(a_vm_backup("alarming", "alarms", "alarming"))
    wait(
        lambda: stack.newest("alarms/alarming", "restorable"), seconds=60, what="a restorable point"
    )
    mapping = {"storageClasses": {"*": "not-there"}}
    ended = stack.restore(
        {"select": {"vm": "alarms/alarming"}, "target": "west", "mapping": mapping}
    )
    assert ended.output["state"] == "failed"


def no_event_is_taken(stack: Stack, messages: int, *, ahead: float = 0) -> Iterator[float]:
    """Nobody takes events out of the queue, as when the function is disabled."""
    functions, sqs = stack.client("lambda"), stack.client("sqs")
    url, name = queue(stack, "CatalogueQueue"), function(stack, "CatalogueFunction")
    (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        for start in range(0, messages, 10):
            numbers = range(start, min(start + 10, messages))
            entries = [{"Id": str(number), "MessageBody": "{}"} for number in numbers]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)
        yield time.time() + ahead
    finally:
        sqs.purge_queue(QueueUrl=url)
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def a_restore_is_stopped(stack: Stack) -> None:
    wait(lambda: stopped(stack), seconds=60, what="a restore that is stopped while it runs")


def stopped(stack: Stack) -> bool:
    """Not where it has failed before."""
    states = stack.client("stepfunctions")
    try:
        states.stop_execution(executionArn=stack.start(NOBODY))
    except states.exceptions.ValidationException:
        return False
    return True


def a_restore_takes_too_long(stack: Stack) -> None:
    wait(lambda: late(stack) == "TIMED_OUT", seconds=60, what="a restore that is late")


def late(stack: Stack) -> str:
    """Where it has not failed before."""
    execution = stack.start(NOBODY)
    tick(stack, time.time() + LONGEST + HOUR)
    return stack.finish(execution).status


def throttled(stack: Stack, name: str) -> None:
    functions, found = stack.client("lambda"), function(stack, name)
    functions.put_function_concurrency(FunctionName=found, ReservedConcurrentExecutions=0)
    try:
        with pytest.raises(functions.exceptions.TooManyRequestsException):
            functions.invoke(FunctionName=found)
    finally:
        functions.delete_function_concurrency(FunctionName=found)


def refused(stack: Stack, name: str, happens: Callable[[Stack], Any]) -> Iterator[float]:
    """The target is a queue whose policy does not know the rule; the event is a dead letter."""
    events, sqs = stack.client("events"), stack.client("sqs")
    rule = next(each["Name"] for each in events.list_rules()["Rules"] if name in each["Name"])
    target, *_ = events.list_targets_by_rule(Rule=rule)["Targets"]
    closed = sqs.create_queue(QueueName=f"closed-{name}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=closed, AttributeNames=["QueueArn"])["Attributes"]
    letters = queue(stack, target["DeadLetterConfig"]["Arn"].rpartition(":")[2])
    events.put_targets(Rule=rule, Targets=[target | {"Arn": arn["QueueArn"]}])
    try:
        happens(stack)
        wait(lambda: received(stack, letters), seconds=30, what="the dead letter")
        yield time.time()
    finally:
        events.put_targets(Rule=rule, Targets=[target])
        sqs.purge_queue(QueueUrl=letters)
        sqs.delete_queue(QueueUrl=closed)


def received(stack: Stack, url: str) -> Any:
    answer = stack.client("sqs").receive_message(QueueUrl=url, VisibilityTimeout=0)
    return answer.get("Messages")


def object_arrives(stack: Stack) -> None:
    """In a bucket that sends to EventBridge, which the stack's own does not."""
    stack.s3.create_bucket(Bucket="alarming")
    stack.s3.put_bucket_notification_configuration(
        Bucket="alarming", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    stack.put([("backups/nobody.cfg", b"{}")], bucket="alarming")


def document_arrives(stack: Stack) -> None:
    stack.document("clusters/lost.yaml", "id: lost\nsecret: replant/clusters/lost\n")


# What a cause keeps up while the alarm is looked at, it does around its yield, which says from when
# on that is.
CAUSES: dict[str, Callable[[Stack], Iterator[float] | None]] = {
    "CatalogueErrorAlarm": lambda stack: fails(stack, "CatalogueFunction", {}),
    "CatalogueFailureAlarm": one_message_fails,
    "SearchErrorAlarm": lambda stack: fails_without_table(stack, "SearchFunction", {"vm": "a/b"}),
    "DecisionErrorAlarm": lambda stack: fails_without_table(stack, "DecisionFunction", CANCEL),
    "RestoreErrorAlarm": lambda stack: fails(stack, "RestoreFunction", UNKNOWN),
    "ReportErrorAlarm": lambda stack: fails(stack, "ReportFunction", UNKNOWN),
    "RestoreExecutionAlarm": restore_cannot_begin,
    "UnsuccessfulRestoreAlarm": restore_is_unsuccessful,
    "QueueAgeAlarm": lambda stack: no_event_is_taken(stack, 1),
    "QueueDepthAlarm": lambda stack: no_event_is_taken(
        stack,
        5001,
        ahead=3 * HOUR,  # behind what the test above has published
    ),
    "RestoreAbortedAlarm": a_restore_is_stopped,
    "RestoreTimedOutAlarm": a_restore_takes_too_long,
    "CatalogueThrottleAlarm": lambda stack: throttled(stack, "CatalogueFunction"),
    "PlanThrottleAlarm": lambda stack: throttled(stack, "PlanFunction"),
    "RestoreThrottleAlarm": lambda stack: throttled(stack, "RestoreFunction"),
    "ReportThrottleAlarm": lambda stack: throttled(stack, "ReportFunction"),
    "ProbeErrorAlarm": lambda stack: fails_without_table(stack, "ProbeFunction", {}),
    "ProbeThrottleAlarm": lambda stack: throttled(stack, "ProbeFunction"),
    "SecondProbeErrorAlarm": lambda stack: keeps_failing(stack, "SecondProbeFunction", 6),
    "UpkeepErrorAlarm": lambda stack: keeps_failing(stack, "UpkeepFunction"),
    "BackupObjectRuleAlarm": lambda stack: refused(stack, "BackupObjectRule", object_arrives),
    "UndeliveredEventsAlarm": lambda stack: refused(stack, "DocumentRule", document_arrives),
    "DocumentRuleAlarm": lambda stack: refused(stack, "DocumentRule", document_arrives),
    "StoppedRestoreRuleAlarm": lambda stack: refused(
        stack, "StoppedRestoreRule", a_restore_is_stopped
    ),
    "StoppedRestoreAlarm": lambda stack: refused(stack, "StoppedRestoreRule", a_restore_is_stopped),
    "FailoverErrorAlarm": lambda stack: fails(stack, "FailoverFunction", STEP),
    "FailoverThrottleAlarm": lambda stack: throttled(stack, "FailoverFunction"),
    "FailoverExecutionAlarm": lambda stack: cannot_begin(stack, "FailoverStateMachine"),
    "AlarmThrottleAlarm": lambda stack: throttled(stack, "AlarmFunction"),
    "FailoverAlarmRuleAlarm": lambda stack: refused(stack, "FailoverAlarmRule", an_alarm_fires),
    "FailoverDeadLettersAlarm": lambda stack: refused(stack, "FailoverAlarmRule", an_alarm_fires),
    "StoppedFailoverRuleAlarm": lambda stack: refused(
        stack, "StoppedFailoverRule", lambda stack: cannot_begin(stack, "FailoverStateMachine")
    ),
    "SourceErrorAlarm": lambda stack: fails(stack, "SourceFunction", PREPARE),
    "DrillErrorAlarm": lambda stack: fails(stack, "DrillFunction", STEP),
    "DrillThrottleAlarm": lambda stack: throttled(stack, "DrillFunction"),
    "DrillExecutionAlarm": lambda stack: cannot_begin(stack, "DrillStateMachine"),
    "SweepErrorAlarm": lambda stack: keeps_failing(stack, "SweepFunction"),
    "ReconcileErrorAlarm": lambda stack: fails(stack, "ReconcileFunction", RECONCILE),
    "ReconcileThrottleAlarm": lambda stack: throttled(stack, "ReconcileFunction"),
    "ReconcileExecutionAlarm": lambda stack: cannot_begin(stack, "ReconcileStateMachine"),
    "MigrateExecutionAlarm": lambda stack: cannot_begin(stack, "MigrateStateMachine"),
    "RpoAlarm": a_machine_is_beyond_its_rpo,
    "IncompleteBackupAlarm": a_backup_stays_incomplete,
    "QuarantineAlarm": something_is_in_quarantine,
    "StandbyErrorAlarm": lambda stack: keeps_failing(stack, "StandbyFunction"),
    "LateStandbyAlarm": a_machine_stands_by_late,
    "OverdueDrillAlarm": a_drill_is_overdue,
}
ELSEWHERE = {
    "DeadLetterAlarm",  # tests/integration/test_bad_objects.py
    "PruneExecutionAlarm",  # tests/integration/test_pruning.py
}


def tick(stack: Stack, now: float) -> None:
    body = json.dumps({"now": now}).encode()
    with urlopen(Request(f"{stack.endpoint}/_local/tick", data=body), timeout=30):  # noqa: S310  # ours
        pass


def described(stack: Stack, alarm: str) -> dict[str, Any]:
    found = stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return next(each for each in found if alarm in each["AlarmName"])


def fired(stack: Stack, alarm: str, since: float) -> bool:
    """Whether it is in ALARM at the end of one of the next periods."""
    period = described(stack, alarm)["Period"]
    for number in range(1, PERIODS + 1):
        tick(stack, since + number * period)
        if described(stack, alarm)["StateValue"] == "ALARM":
            return True
    return False


def calm(stack: Stack, alarm: str) -> None:
    """What another test has caused is over: an alarm that is still in ALARM tells nothing anew."""
    period = described(stack, alarm)["Period"]
    for number in range(PERIODS):
        if described(stack, alarm)["StateValue"] != "ALARM":
            return
        tick(stack, time.time() + number * period)
    raise AssertionError(f"{alarm} stays in ALARM")


@pytest.mark.parametrize("alarm", CAUSES)
def test_an_alarm_fires_and_tells_the_topic(stack: Stack, alarm: str) -> None:
    calm(stack, alarm)
    with subscribed(stack) as topic:
        for since in CAUSES[alarm](stack) or [time.time()]:
            wait(partial(fired, stack, alarm, since), seconds=30, what=f"{alarm} in ALARM")
        assert "ALARM" in topic.about(alarm)["Message"]


def test_every_alarm_of_the_stack_has_its_cause_here_or_elsewhere() -> None:
    resources = load(ROOT / "template.yaml")["Resources"]
    alarms = {name for name, each in resources.items() if each["Type"] == "AWS::CloudWatch::Alarm"}
    assert alarms == set(CAUSES) | ELSEWHERE


def test_a_finished_restore_is_told_with_its_report(stack: Stack) -> None:
    with subscribed(stack) as topic:
        restore_is_unsuccessful(stack)
        message = topic.about('"truncated"')
    assert message["Subject"] == ("Replant: failed: restore of alarms/alarming from east to west")
    text, _, below = message["Message"].partition("\n\n{")
    assert "- alarms/alarming (blocked): Storage class not-there" in text
    told = json.loads("{" + below)
    assert told["state"] == "failed"
    assert told["machines"][0]["error"]["message"].startswith(
        "Storage class not-there (mapped from harvester-longhorn, disk-0) does not exist on west."
    )
    assert stack.report(told["report"])["restoreId"] == told["restoreId"]
