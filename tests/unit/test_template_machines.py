"""House rules for the state machines of template.yaml: what is repeated, how long, how they end."""

import ast
import re
from datetime import timedelta

import pytest

from local.build.template import load
from shared.restore.request import LONGEST_APPROVAL, LONGEST_WAIT
from tests.template import ROOT, Json, allowed, listed, of_type, source
from tests.unit.test_template import DELIVERIES, TRACES

FUNCTIONS = of_type("AWS::Serverless::Function")
STATE_MACHINES = of_type("AWS::Serverless::StateMachine")
# As AWS names what is worth another try: tasks that fail, Lambda's own troubles.
TRANSIENT = {
    "States.TaskFailed",
    "States.Timeout",
    "Lambda.Unknown",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
}
FINAL = {"InvalidRequest", "NotFound", "Refused", "Rejected", "Overtaken"}


def definition(machine: str) -> Json:
    return load(ROOT / STATE_MACHINES[machine]["DefinitionUri"])


TASKS = {
    f"{machine}.{name}": state
    for machine in STATE_MACHINES
    for name, state in definition(machine)["States"].items()
    if state["Type"] == "Task"
}
CALLS = {name: each for name, each in TASKS.items() if "FunctionName" in each["Arguments"]}
WAITING = {name for name, each in CALLS.items() if each["Resource"].endswith(".waitForTaskToken")}


@pytest.mark.parametrize("machine", STATE_MACHINES)
def test_an_execution_and_every_task_of_it_has_a_time_limit_and_a_way_out(machine: str) -> None:
    assert definition(machine)["TimeoutSeconds"]
    assert len(CALLS) >= len(STATE_MACHINES)
    for task in TASKS.values():
        assert ["States.ALL"] in [catch["ErrorEquals"] for catch in task["Catch"]]
        assert task["TimeoutSeconds"]


@pytest.mark.parametrize("task", set(CALLS) - WAITING)
def test_a_task_waits_longer_than_its_function_may_take(task: str) -> None:
    """Or the execution goes on beside a function that still works."""
    function = re.fullmatch(r"\$\{(\w+)\}", CALLS[task]["Arguments"]["FunctionName"])
    assert function
    assert CALLS[task]["TimeoutSeconds"] > FUNCTIONS[function[1]]["Timeout"]


@pytest.mark.parametrize("task", CALLS)
def test_a_task_is_repeated_after_whatever_may_pass_and_never_after_a_final_error(
    task: str,
) -> None:
    """The first retrier that matches decides. Where people are waited for, time does not pass."""
    first, *others = CALLS[task]["Retry"]
    assert first["MaxAttempts"] == 0
    assert set(first["ErrorEquals"]) <= FINAL
    final = {"States.Timeout"} if task in WAITING else set()
    assert set(others[-1]["ErrorEquals"]) == TRANSIENT - final


@pytest.mark.parametrize("task", WAITING)
def test_a_task_that_waits_for_people_has_their_time_and_its_end_is_an_answer(task: str) -> None:
    """The function looks whether its time is over before it tells anybody anything."""
    assert TASKS[task]["TimeoutSeconds"] == "{% $states.input.approval %}"
    first = TASKS[task]["Catch"][0]
    assert (first["ErrorEquals"], first["Next"]) == (["States.Timeout"], TASKS[task]["Next"])


def test_an_execution_has_time_for_the_longest_approval_and_the_longest_restore() -> None:
    assert (
        definition("RestoreStateMachine")["TimeoutSeconds"]
        == (LONGEST_APPROVAL + LONGEST_WAIT + timedelta(hours=1)).total_seconds()
    )


WAKING = [each for each in of_type("AWS::IAM::RolePolicy").values() if "Wake" in str(each)]


def test_only_who_asks_and_who_decides_may_wake_an_execution_and_only_ours() -> None:
    statements = [each for each in allowed() if "states:SendTaskSuccess" in listed(each["Action"])]
    assert {each["RoleName"]["Ref"] for each in WAKING} == {"ApprovalRole", "DecisionRole"}
    assert statements == [one for each in WAKING for one in allowed(each)]
    assert all(each["Action"] == "states:SendTaskSuccess" for each in statements)
    assert all(each["Resource"] == {"Ref": "RestoreStateMachine"} for each in statements)


@pytest.mark.parametrize("task", TASKS)
def test_attempts_are_spread_and_never_far_apart(task: str) -> None:
    for each in TASKS[task]["Retry"]:
        if each["MaxAttempts"]:
            assert (each["MaxDelaySeconds"], each["JitterStrategy"]) == (60, "FULL")
            assert each["MaxAttempts"] <= 6


@pytest.mark.parametrize("machine", STATE_MACHINES)
def test_a_cause_is_never_what_step_functions_says_but_our_own_json(machine: str) -> None:
    """That may quote a stack trace, or hold a value that nobody foresaw."""
    states = definition(machine)["States"]
    caught = [catch for each in states.values() for catch in each.get("Catch", [])]
    to_fail = [each for each in caught if states[each["Next"]]["Type"] == "Fail"]
    assert to_fail
    for catch in to_fail:
        ours = set(catch["ErrorEquals"]) <= FINAL | {"Unreachable"}
        begin = "$parse($states.errorOutput.Cause).errorMessage" if ours else "$string({'code':"
        assert f"'cause': {begin}" in catch["Output"]


@pytest.mark.parametrize("machine", STATE_MACHINES)
def test_a_state_machine_is_traced_and_has_a_log_of_its_own_for_a_time(machine: str) -> None:
    properties = STATE_MACHINES[machine]
    assert properties["Tracing"] == {"Enabled": True}
    logging = properties["Logging"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", True)
    (destination,) = logging["Destinations"]
    arn = destination["CloudWatchLogsLogGroup"]["LogGroupArn"]
    log = of_type("AWS::Logs::LogGroup")[arn["Fn::GetAtt"][0]]
    assert log["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    # Any other name makes the one policy of the account's log deliveries longer, which is limited.
    assert log["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/states/${AWS::StackName}-")
    role = of_type("AWS::IAM::Role")[properties["Role"]["Fn::GetAtt"][0]]
    rights = {each["Sid"]: set(listed(each["Action"])) for each in allowed(role)}
    assert rights["DeliverItsLog"] == DELIVERIES
    assert rights["SendTraces"] == TRACES


def test_executions_are_looked_at_by_state_machines_and_only_those_of_restores() -> None:
    """No function that may run in a VPC needs a way to Step Functions, which that may not have."""
    looks = "states:DescribeExecution"
    found = {}
    for kind in ("AWS::IAM::RolePolicy", "AWS::IAM::Role"):
        for name, policy in of_type(kind).items():
            for statement in allowed(policy):
                if looks in listed(statement["Action"]):
                    role = policy.get("RoleName", {"Ref": name})["Ref"]
                    found[role] = (statement["Action"], statement["Resource"]["Fn::Sub"])
    assert set(found) == {"RestoreStateMachineRole", "RollbackStateMachineRole"}
    for actions, executions in found.values():
        assert actions == looks
        assert executions.endswith(":execution:${RestoreStateMachine.Name}:*")
    inside = [name for name, each in FUNCTIONS.items() if "VpcConfig" in each]
    assert inside
    assert not [name for name in inside if "stepfunctions" in ast.unparse(source(name))]
