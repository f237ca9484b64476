"""Step Functions' distributed Map: child executions that are executions, and fields in JSONata."""

import contextvars
import copy
import json
import threading
import time
from typing import Any

from ministack.core.responses import new_uuid, now_iso
from ministack.services import stepfunctions

from local.emulator.seams import require, seam

LOOK = 0.05
"""Seconds between two looks at a Map Run."""

Json = dict[str, Any]


def a_distributed_map_has_executions() -> None:
    """AWS evaluates a distributed Map's fields in JSONata, gives each child execution a context and
    a history of its own, and stops the children with their parent; MiniStack does none of it.
    """
    patch = "a_distributed_map_has_executions"
    given = ("state_def", "raw_input", "effective", "iterator", "execution", "ctx")
    seam(patch, stepfunctions, "_run_distributed_map", *given)
    seam(patch, stepfunctions, "_run_execution", "exec_arn")
    seam(patch, stepfunctions, "_jsonata_state_field", "state_def", "field", "expected")
    seam(patch, stepfunctions, "_apply_jsonata_template", "value", "raw_input", "ctx", "result")
    seam(patch, stepfunctions, "_add_event", "execution", "event_type")
    require(patch, hasattr(stepfunctions, "_map_runs"))

    def run(
        state: Json, raw_input: Any, _effective: Any, processor: Json, parent: Json, ctx: Json
    ) -> tuple[Any, str | None]:
        items = stepfunctions._jsonata_state_field(state, "Items", "array", raw_input, ctx)
        map_run = _MapRun(state, processor, parent, len(items))
        inputs = [_child_input(state, raw_input, ctx, place) for place in enumerate(items)]
        results = map_run.run(inputs)
        output = stepfunctions._apply_jsonata_output(
            state, raw_input, ctx, result=results, default=results
        )
        return output, stepfunctions._next_or_end(state)

    stepfunctions._run_distributed_map = run


def _child_input(state: Json, raw_input: Any, ctx: Json, place: tuple[int, Any]) -> Any:
    index, item = place
    if "ItemSelector" not in state:
        return item
    own = {**copy.deepcopy(ctx), "Map": {"Item": {"Index": index, "Value": item}}}
    return stepfunctions._apply_jsonata_template(state["ItemSelector"], raw_input, own)


class _MapRun:
    """One Map Run: what DescribeMapRun shows of it, and its children."""

    def __init__(self, state: Json, processor: Json, parent: Json, items: int) -> None:
        self.parent = parent
        self.tolerated = float(state.get("ToleratedFailurePercentage") or 0)
        self.most = int(state.get("MaxConcurrency") or 0) or items
        label = state.get("Label") or new_uuid()
        machine = parent["stateMachineArn"]
        self.machine = f"{machine}/{label}"
        self.executions = f"{machine.replace(':stateMachine:', ':execution:')}/{label}"
        self.arn = f"{machine.replace(':stateMachine:', ':mapRun:')}/{label}:{new_uuid()}"
        language = {"QueryLanguage": state.get("QueryLanguage", "JSONata")}
        self.definition = json.dumps(language | processor)
        self.shown: Json = {
            "mapRunArn": self.arn,
            "executionArn": parent["executionArn"],
            "status": "RUNNING",
            "startDate": now_iso(),
            "maxConcurrency": self.most,
            "toleratedFailurePercentage": self.tolerated,
            "toleratedFailureCount": 0,
            "redriveCount": 0,
            "_stateMachineArn": self.machine,
        }
        self.children: list[Json] = []
        self._count(items)
        stepfunctions._map_runs[self.arn] = self.shown

    def run(self, inputs: list[Any]) -> list[Any]:
        """The children's outputs. Raises what AWS raises when too many of them failed."""
        # An execution finds its definition by its state machine.
        machines = stepfunctions._state_machines
        machines[self.machine] = machines[self.parent["stateMachineArn"]] | {
            "stateMachineArn": self.machine,
            "name": self.machine.rpartition(":")[2],
            "definition": self.definition,
        }
        self._run_all(inputs)
        self.shown["stopDate"] = now_iso()
        failed = [each for each in self.children if each["status"] != "SUCCEEDED"]
        if len(failed) * 100 > self.tolerated * len(inputs):
            self.shown["status"] = "FAILED"
            raise stepfunctions._ExecutionError(
                "States.ExceedToleratedFailureThreshold",
                "The specified tolerated failure threshold was exceeded",
            )
        self.shown["status"] = "SUCCEEDED"
        return [json.loads(each["output"]) for each in self.children if each not in failed]

    def _run_all(self, inputs: list[Any]) -> None:
        left = list(inputs)
        while left or self._running():
            while left and len(self._running()) < self.most:
                self._start(left.pop(0))
            self._count(len(inputs))
            time.sleep(LOOK)
            if self.parent["status"] != "RUNNING":
                self._abort()
                left = []
        self._count(len(inputs))

    def _running(self) -> list[Json]:
        return [each for each in self.children if each["status"] == "RUNNING"]

    def _start(self, child_input: Any) -> None:
        name = new_uuid()
        child: Json = {
            "executionArn": f"{self.executions}:{name}",
            "stateMachineArn": self.machine,
            "name": name,
            "status": "RUNNING",
            "startDate": now_iso(),
            "stopDate": None,
            "input": json.dumps(child_input),
            "inputDetails": {"included": True},
            "output": None,
            "outputDetails": {"included": True},
            "mapRunArn": self.arn,
            "events": [],
            "mockAttempts": {},
        }
        stepfunctions._executions[child["executionArn"]] = child
        self.children.append(child)
        # The account and the region that a thread works for are in its context.
        context = contextvars.copy_context()
        run = stepfunctions._run_execution
        threading.Thread(target=context.run, args=(run, child["executionArn"]), daemon=True).start()

    def _abort(self) -> None:
        for child in self._running():
            child.update(status="ABORTED", stopDate=now_iso())
            stepfunctions._add_event(
                child, "ExecutionAborted", {"executionAbortedEventDetails": {}}
            )
            stepfunctions._emit_execution_status_event(child)

    def _count(self, total: int) -> None:
        names = ("running", "succeeded", "failed", "aborted")
        states = [each["status"].lower() for each in self.children]
        counts = {name: states.count(name) for name in names}
        rest = {"pending": total - len(states), "total": total, "timedOut": 0, "resultsWritten": 0}
        self.shown |= {"itemCounts": counts | rest, "executionCounts": counts | rest}


PATCHES = (a_distributed_map_has_executions,)
