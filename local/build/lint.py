"""State machine definitions -> what would not run the same on AWS and on the embedded AWS, or not
end well.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

State = dict[str, Any]
States = dict[str, State]

# Ignored by the embedded AWS without a word, and what to do instead.
AVOIDED = {
    "ItemBatcher": "write the batches into the item list",
    "ResultWriter": "let each child write its result",
    "HeartbeatSeconds": "use TimeoutSeconds",
    "HeartbeatSecondsPath": "use TimeoutSeconds",
}


def problems(definition: State) -> list[str]:
    """Every objection to a definition, in the order of its states."""
    return [each for machine in _machines(definition) for each in _machine_problems(machine)]


def _machines(definition: State) -> Iterator[State]:
    """The definition, and those inside its Map and Parallel states."""
    yield definition
    for state in definition.get("States", {}).values():
        inner = [state.get("ItemProcessor"), state.get("Iterator"), *state.get("Branches", [])]
        for each in filter(None, inner):
            yield from _machines(each)


def _machine_problems(machine: State) -> Iterator[str]:
    states: States = machine.get("States", {})
    if machine.get("StartAt") not in states:
        yield f"StartAt names no state: {machine.get('StartAt')}"
    for name in sorted(states.keys() - _reachable(states, machine.get("StartAt")), key=str):
        yield f"{name}: no other state leads to it"
    for name, state in states.items():
        for problem in _state_problems(state, states):
            yield f"{name}: {problem}"


def _state_problems(state: State, states: States) -> Iterator[str]:
    yield from (
        f"{field} is not to be used: {advice}"
        for field, advice in AVOIDED.items()
        if field in state
    )
    yield from (
        f"leads to {target}, which is no state" for target in _next(state) if target not in states
    )
    if state.get("Type") == "Task":
        yield from _task_problems(state, states)
    if state.get("Type") == "Map":
        yield from _map_problems(state)


def _task_problems(state: State, states: States) -> Iterator[str]:
    resource = state.get("Resource", "")
    if not {"TimeoutSeconds", "TimeoutSecondsPath"} & set(state):
        yield "a Task needs TimeoutSeconds"
    if ":aws-sdk:s3:" in resource:
        yield "S3 calls belong into a function: the embedded AWS makes none from a state machine"
    if "lambda" not in resource:
        return
    ends = [
        catch["Next"] for catch in state.get("Catch", []) if "States.ALL" in catch["ErrorEquals"]
    ]
    if not ends:
        yield "a Lambda task needs a Catch of States.ALL"
    if ends and not any(_ends(states[name]) for name in _reachable(states, ends[0])):
        yield f"its Catch of States.ALL leads to {ends[0]}, from where no end is reached"


def _map_problems(state: State) -> Iterator[str]:
    literal = ["ToleratedFailurePercentage"]
    if state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
        literal.append("MaxConcurrency")
    for field in literal:
        if _is_expression(state.get(field)):
            yield f"{field} must be a number: an expression is ignored"


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("{%")


def _next(state: State) -> list[str]:
    exits = [state, *state.get("Choices", []), *state.get("Catch", [])]
    return [name for each in exits for name in (each.get("Next"), each.get("Default")) if name]


def _ends(state: State) -> bool:
    return state.get("End") is True or state.get("Type") in ("Succeed", "Fail")


def _reachable(states: States, start: Any) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in states and name not in found:
            found.add(name)
            waiting.extend(_next(states[name]))
    return found


def main(folder: Path) -> None:
    """Print every problem of every definition; fail when there is one."""
    files = sorted(folder.glob("*.asl.yaml"))
    found = [
        f"{file.name}: {each}"
        for file in files
        for each in problems(yaml.safe_load(file.read_text()))
    ]
    if found:
        sys.exit("\n".join(found))
    print(f"{len(files)} state machines: nothing to object to")


if __name__ == "__main__":
    main(Path(__file__).parents[2] / "statemachines")
