"""House rules for the state machines of template.yaml: what is repeated, how long, how they end."""

import ast
import re
from datetime import timedelta

import pytest

from local.build.template import load
from shared.models.base import LONGEST_APPROVAL, LONGEST_WAIT
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


def states(machine: Json) -> dict[str, Json]:
    """Those of a definition, and those inside its Maps."""
    found = dict(machine["States"])
    for each in machine["States"].values():
        found |= each.get("ItemProcessor", {}).get("States", {})
    return found


TASKS = {
    f"{machine}.{name}": state
    for machine in STATE_MACHINES
    for name, state in states(definition(machine)).items()
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


@pytest.mark.parametrize("task", sorted(set(CALLS) - WAITING))
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


@pytest.mark.parametrize("task", sorted(WAITING))
def test_a_task_that_waits_for_people_has_their_time_and_its_end_is_an_answer(task: str) -> None:
    """The function looks whether its time is over before it tells anybody anything."""
    assert TASKS[task]["TimeoutSeconds"] == "{% $states.input.approval %}"
    first = TASKS[task]["Catch"][0]
    assert (first["ErrorEquals"], first["Next"]) == (["States.Timeout"], TASKS[task]["Next"])


def test_an_execution_has_time_for_the_longest_approval_and_the_longest_restore() -> None:
    copying = timedelta(seconds=TASKS["RestoreStateMachine.CopyFirst"]["TimeoutSeconds"])
    assert (
        definition("RestoreStateMachine")["TimeoutSeconds"]
        == (copying + LONGEST_APPROVAL + LONGEST_WAIT + timedelta(hours=1)).total_seconds()
    )
    following = states(definition("MigrateStateMachine"))["RestoreCopies"]["TimeoutSeconds"]
    assert following > definition("RestoreStateMachine")["TimeoutSeconds"]
    assert definition("MigrateStateMachine")["TimeoutSeconds"] > following


WAKING = [each for each in of_type("AWS::IAM::RolePolicy").values() if "Wake" in str(each)]


def test_only_who_asks_and_who_decides_may_wake_an_execution_and_only_ours() -> None:
    statements = [each for each in allowed() if "states:SendTaskSuccess" in listed(each["Action"])]
    assert {each["RoleName"]["Ref"] for each in WAKING} == {
        "ApprovalRole",
        "DecisionRole",
        "FailoverRole",
        "DrillRole",
    }
    assert statements == [one for each in WAKING for one in allowed(each)]
    assert all(each["Action"] == "states:SendTaskSuccess" for each in statements)
    machines = [{"Ref": "RestoreStateMachine"}, {"Ref": "FailoverStateMachine"}]
    for each in statements:
        woken = listed(each["Resource"])
        assert woken in (machines, machines[:1])


@pytest.mark.parametrize("task", TASKS)
def test_attempts_are_spread_and_never_far_apart(task: str) -> None:
    for each in TASKS[task]["Retry"]:
        if each["MaxAttempts"]:
            assert (each["MaxDelaySeconds"], each["JitterStrategy"]) == (60, "FULL")
            waits_its_turn = each["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
            assert each["MaxAttempts"] <= (60 if waits_its_turn else 6)


@pytest.mark.parametrize("machine", STATE_MACHINES)
def test_a_cause_is_never_what_step_functions_says_but_our_own_json(machine: str) -> None:
    """That may quote a stack trace, or hold a value that nobody foresaw."""
    every = states(definition(machine))
    caught = [catch for each in every.values() for catch in each.get("Catch", [])]
    to_fail = [each for each in caught if every[each["Next"]]["Type"] == "Fail"]
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


def test_executions_are_looked_at_by_state_machines_and_by_what_starts_them() -> None:
    """No function that may run in a VPC needs a way to Step Functions, which that may not have."""
    looks = "states:DescribeExecution"
    found = set()
    for kind in ("AWS::IAM::RolePolicy", "AWS::IAM::Role"):
        for name, policy in of_type(kind).items():
            for statement in allowed(policy):
                actions = frozenset(listed(statement["Action"]))
                if looks in actions:
                    role = policy.get("RoleName", {"Ref": name})["Ref"]
                    found.add((role, actions, statement["Resource"]["Fn::Sub"]))
    arn = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution"
    executions = f"{arn}:${{RestoreStateMachine.Name}}"
    drills = f"{arn}:${{DrillStateMachine.Name}}:*"
    look = frozenset({looks})
    of_batches = frozenset({looks, "states:StopExecution", "states:RedriveExecution"})
    reconciles = f"{arn}:${{ReconcileStateMachine.Name}}/*"
    migrations = f"{arn}:${{MigrateStateMachine.Name}}/*"
    follow = frozenset({looks, "states:StopExecution"})
    assert found == {
        ("MigrateStateMachineRole", of_batches, migrations),
        ("MigrateStateMachineRole", follow, f"{executions}:*"),
        ("RestoreStateMachineRole", follow, f"{arn}:${{AWS::StackName}}-migrate:*"),
        ("ReconcileStateMachineRole", of_batches, reconciles),
        ("RestoreStateMachineRole", of_batches, f"{executions}/*"),
        ("RestoreStateMachineRole", look, f"{executions}:*"),
        ("RollbackStateMachineRole", look, f"{executions}:*"),
        ("RollbackStateMachineRole", look, f"{arn}:${{FailoverStateMachine.Name}}:*"),
        ("FailoverRole", follow, f"{executions}:*"),
        ("FailoverRole", look, f"{arn}:${{FailoverStateMachine.Name}}:*"),
        ("DrillRole", follow, f"{executions}:*"),
        ("DrillRole", look, f"{arn}:${{RollbackStateMachine.Name}}:*"),
        ("DrillRole", look, f"{arn}:${{DrillStateMachine.Name}}:*"),
        ("SweepRole", follow, drills),
        ("UpkeepRole", look, f"{arn}:${{ReconcileStateMachine.Name}}:*"),
        ("MigrateRole", look, f"{arn}:${{AWS::StackName}}-migrate:*"),
    }
    inside = [name for name, each in FUNCTIONS.items() if "VpcConfig" in each]
    assert inside
    assert not [name for name in inside if "stepfunctions" in ast.unparse(source(name))]


# --- The loop over one batch and over one of several --------------------------------------------

TWINS = {
    "Apply": "ApplyBatch",
    "IsItDone": "IsBatchDone",
    "WaitForMachines": "WaitForBatch",
}


def test_a_batch_of_several_goes_through_the_loop_of_a_single_one() -> None:
    """But for what a child execution cannot see, and for where it ends."""
    machine = definition("RestoreStateMachine")["States"]
    batches = machine["ApplyBatches"]
    child = batches["ItemProcessor"]["States"]
    for one, other in TWINS.items():
        (mine, its) = (dict(machine[one]), dict(child[other]))
        assert TWINS.get(mine.pop("Next", "")) == its.pop("Next", None)
        assert TWINS.get(mine.pop("Default", "")) == its.pop("Default", None)
        if one == "Apply":
            given = mine.pop("Arguments")["Payload"]
            assert its.pop("Arguments")["Payload"] == "{% $states.input %}"
            assert given | {"batch": batches["ItemSelector"]["batch"]} == batches["ItemSelector"]
            assert [each["Next"] for each in mine.pop("Catch")] == ["Report"]
            assert {each["Next"] for each in its.pop("Catch")} == {"BatchFailed"}
        if one == "IsItDone":
            (done,) = mine.pop("Choices")
            also_done, overtaken = its.pop("Choices")
            assert done["Condition"] == also_done["Condition"]
            assert (done["Next"], also_done["Next"]) == ("Report", "BatchDone")
            assert overtaken["Next"] == "LookAtTheParent"
        assert mine == its


def test_a_batch_that_fails_takes_no_other_along_and_all_of_them_are_reported() -> None:
    batches = definition("RestoreStateMachine")["States"]["ApplyBatches"]
    assert batches["ToleratedFailurePercentage"] == 100
    assert batches["ItemProcessor"]["ProcessorConfig"] == {
        "Mode": "DISTRIBUTED",
        "ExecutionType": "STANDARD",
    }
    assert (batches["Next"], [each["Next"] for each in batches["Catch"]]) == ("Report", ["Report"])
    assert 0 < batches["MaxConcurrency"] <= 40


def test_a_batch_s_execution_is_no_restore_that_was_stopped() -> None:
    """Its status event names its state machine with the label of the Map, which no rule matches."""
    detail = of_type("AWS::Events::Rule")["StoppedRestoreRule"]["EventPattern"]["detail"]
    assert {"Ref": "RestoreStateMachine"} in detail["stateMachineArn"]
    assert all(list(each) == ["Ref"] for each in detail["stateMachineArn"]), "no pattern"
