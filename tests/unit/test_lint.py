"""What the state machine lint objects to, and that it is silent otherwise."""

from typing import Any

import pytest

from local.build.lint import problems

CATCH = [{"ErrorEquals": ["States.ALL"], "Next": "Broken"}]
LAMBDA = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "TimeoutSeconds": 60,
    "Catch": CATCH,
    "End": True,
}
BROKEN = {"Type": "Fail"}
INNER = {"StartAt": "Item", "States": {"Item": {"Type": "Pass", "End": True}}}
MAP = {"Type": "Map", "ItemProcessor": INNER, "End": True}
DISTRIBUTED = {**MAP, "ItemProcessor": {**INNER, "ProcessorConfig": {"Mode": "DISTRIBUTED"}}}


def machine(**states: Any) -> dict[str, Any]:
    """A definition that starts at its first state."""
    return {"StartAt": next(iter(states)), "States": states}


def without(state: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != field}


def test_a_sound_machine_is_accepted() -> None:
    assert problems(machine(Call=LAMBDA, Broken=BROKEN)) == []
    assert problems(machine(Each=DISTRIBUTED | {"Items": "{% [1] %}", "MaxConcurrency": 5})) == []
    assert problems(machine(Each=MAP | {"Items": "{% $states.input %}"})) == []


@pytest.mark.parametrize("field", ["ItemBatcher", "ResultWriter", "HeartbeatSeconds"])
def test_fields_that_are_silently_ignored_are_refused(field: str) -> None:
    assert problems(machine(Each=MAP | {field: {}}))[0].startswith(
        f"Each: {field} is not to be used"
    )


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (
            machine(Each=MAP | {"ToleratedFailurePercentage": "{% 5 %}"}),
            "ToleratedFailurePercentage must be",
        ),
        (
            machine(Each=DISTRIBUTED | {"MaxConcurrency": "{% 5 %}"}),
            "MaxConcurrency must be",
        ),
        (
            machine(Call=without(LAMBDA, "TimeoutSeconds"), Broken=BROKEN),
            "Call: a Task needs TimeoutSeconds",
        ),
        (machine(Call=without(LAMBDA, "Catch")), "Call: a Lambda task needs a Catch of States.ALL"),
        (machine(Call=LAMBDA), "Call: leads to Broken, which is no state"),
        (machine(Call=LAMBDA, Broken=BROKEN, Lost=BROKEN), "Lost: no other state leads to it"),
        (
            machine(Call=LAMBDA, Broken={"Type": "Pass", "Next": "Broken"}),
            "from where no end is reached",
        ),
        (
            machine(
                Read={
                    "Type": "Task",
                    "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
                    "End": True,
                }
            ),
            "S3 calls belong into a function",
        ),
        ({"StartAt": "Nowhere", "States": {}}, "StartAt names no state: Nowhere"),
    ],
)
def test_a_wrong_machine_is_told_why(wrong: dict[str, Any], expected: str) -> None:
    assert any(expected in problem for problem in problems(wrong))


def test_machines_inside_maps_and_branches_are_read_too() -> None:
    inner = machine(Call=without(LAMBDA, "Catch"))
    branches = {"Type": "Parallel", "Branches": [inner, INNER], "End": True}
    assert problems(machine(Both=branches)) == problems(inner)
    assert problems(machine(Each=MAP | {"ItemProcessor": inner})) == problems(inner)
