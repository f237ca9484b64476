"""A whole failover in memory: the product's own use cases, with a fake Step Functions that runs the
restores of its waves on the lab's fake cluster.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from shared.catalogue import observations
from shared.errors import Overtaken, ReplantError
from shared.failover.drill import drill_request
from shared.failover.request import failover_request
from shared.models.failovers import FailoverRecord
from shared.models.observations import Answer, Observation
from shared.restore import decisions
from shared.restore.rollback_request import rollback_request
from shared.runs.failovers import FailoverLedger
from shared.runs.files import StateBucket
from shared.workflows import deciding, rolling_back
from shared.workflows.failover import (
    asking,
    beginning,
    cleaning,
    conducting,
    drilling,
    freeing,
    guarding,
    preparing,
    reporting,
    undoing,
)
from shared.workflows.failover.steps import Clients
from shared.workflows.looking import Ask
from shared.workflows.planning import Planned
from tests.lab import BEGIN, DECISIONS, RUN_SECONDS, STATE, Json, Lab, States, a_lab

ACCOUNT = "arn:aws:states:eu-central-1:123456789012"
RESTORES = f"{ACCOUNT}:stateMachine:restore"
ROLLBACKS = f"{ACCOUNT}:stateMachine:rollback"
DRILLS = f"{ACCOUNT}:stateMachine:drill"
FAILOVERS = f"{ACCOUNT}:execution:failover"
UNDOING = f"{ACCOUNT}:execution:rollback"

PLAN = """\
name: payments
source: east
target: west
objectives: {rpo: PT24H, rto: PT30M}
trigger: {mode: automatic}
waves:
  - name: databases
    machines: [{namespace: default, name: "db-*"}]
  - name: web
    machines: [{namespace: default, name: "web*"}]
"""


class ExecutionAlreadyExists(ClientError):
    """As boto3 raises it."""


class ExecutionDoesNotExist(ClientError):
    """Of one that is forgotten, or never was."""


@dataclass
class Execution:
    """Of the restores' state machine, as far as it came: PHASE is the state that comes next."""

    arn: str
    request: Json
    status: str = "RUNNING"
    phase: str = "plan"
    planned: Planned | None = None
    error: str | None = None
    cause: str | None = None
    stopped_at: datetime | None = None
    reported: bool = False
    output: Json | None = None
    looked: dict[str, bool] = field(default_factory=dict)
    before: Json = field(default_factory=dict)


class StepFunctions(States):
    """Executions of restores: each goes one step further whenever somebody sleeps."""

    class exceptions(States.exceptions):  # noqa: N801  # boto3's own name
        ExecutionAlreadyExists = ExecutionAlreadyExists
        ExecutionDoesNotExist = ExecutionDoesNotExist

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self._lab = lab
        self._busy = False
        self.executions: dict[str, Execution] = {}
        self.running_elsewhere: set[str] = set()
        self.starts: list[str] = []
        self.stops: list[str] = []

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> Json:  # noqa: N803
        assert len(name) <= 80
        arn = conducting.execution_of(stateMachineArn, name)
        if arn in self.executions:
            raise ExecutionAlreadyExists({"Error": {"Code": "x"}}, "StartExecution")
        phase = PHASES[stateMachineArn]
        self.executions[arn] = Execution(arn, json.loads(input), phase=phase)
        self.starts.append(name)
        self._lab.alive.add(arn)
        return {"executionArn": arn}

    def describe_execution(self, *, executionArn: str) -> Json:  # noqa: N803
        if executionArn in self.running_elsewhere:
            return {"status": "RUNNING"}
        found = self.executions.get(executionArn)
        if found is None:
            raise ExecutionDoesNotExist({"Error": {"Code": "x"}}, "DescribeExecution")
        told: Json = {"status": found.status, "error": found.error, "cause": found.cause}
        told["stopDate"] = found.stopped_at
        told["output"] = None if found.output is None else json.dumps(found.output)
        return {key: value for key, value in told.items() if value is not None}

    def stop_execution(self, *, executionArn: str, error: str) -> Json:  # noqa: N803
        if executionArn in self.running_elsewhere:
            self.running_elsewhere.discard(executionArn)
            self.stops.append(executionArn.rpartition(":")[2])
            return {}
        found = self.executions.get(executionArn)
        if found is None:
            raise ExecutionDoesNotExist({"Error": {"Code": "x"}}, "StopExecution")
        self.stops.append(executionArn.rpartition(":")[2])
        if found.status == "RUNNING":
            self._end(found, "ABORTED")
        return {}

    def go_on(self) -> None:
        """Not those that sleep in a step of their own."""
        if self._busy:
            return
        self._busy = True
        try:
            self._go_on()
        finally:
            self._busy = False

    def _go_on(self) -> None:
        for each in list(self.executions.values()):
            if each.status == "RUNNING":
                self._step(each)
            elif each.status == "ABORTED" and not each.reported:
                each.reported = True
                self._lab.end(each.arn)

    def _step(self, execution: Execution) -> None:
        try:
            execution.phase = getattr(self, f"_{execution.phase}")(execution)
        except Overtaken:
            return
        except ReplantError as error:
            execution.error, execution.cause = error.code, str(error)
            self._end(execution, "FAILED")

    def _end(self, execution: Execution, status: str) -> None:
        execution.status, execution.stopped_at = status, self._lab.now()
        self._lab.alive.discard(execution.arn)

    def _idle(self, execution: Execution) -> str:
        """Of a drill: a test runs it by itself."""
        return "idle"

    def _roll_back(self, execution: Execution) -> str:
        answer = self._lab.roll_back_once(
            execution.request["restoreId"],
            execution=execution.arn,
            looked=execution.looked,
            before=execution.before,
            deleteStarted=execution.request["deleteStarted"],
        )
        if isinstance(answer, Ask):
            execution.looked[answer.execution] = answer.execution in self._lab.alive
        elif answer.done:
            execution.output = answer.output
            self._end(execution, "SUCCEEDED")
        else:
            execution.before = answer._asdict()
        return "roll_back"

    def _plan(self, execution: Execution) -> str:
        execution.planned = answer = self._lab.plan(execution.request, execution.arn)
        return "ask" if answer.approval else "apply"

    def _ask(self, execution: Execution) -> str:
        assert execution.planned
        self._lab.ask(execution.planned, execution.arn)
        return "wait"

    def _wait(self, execution: Execution) -> str:
        assert execution.planned
        if execution.arn not in self.woken:
            return "wait"
        return "apply" if self._lab.settle(execution.planned) else "report"

    def _apply(self, execution: Execution) -> str:
        planned = execution.planned
        assert planned
        done = [self._lab.apply(planned, batch=number).done for number in range(planned.batches)]
        return "report" if all(done) else "apply"

    def _report(self, execution: Execution) -> str:
        assert execution.planned
        self._lab.reported(execution.planned)
        self._end(execution, "SUCCEEDED")
        return "done"


PHASES = {RESTORES: "plan", ROLLBACKS: "roll_back", DRILLS: "idle"}
"""What an execution of a state machine begins with."""


class CloudWatch:
    """Its alarms, as far as a failover asks."""

    def __init__(self) -> None:
        self.metric: list[Json] = []
        self.composite: list[Json] = []
        self.rules: list[Json] = []

    def describe_alarms(self, *, AlarmNames: list[str], AlarmTypes: list[str]) -> Json:  # noqa: N803
        assert AlarmTypes == ["MetricAlarm", "CompositeAlarm"]
        return {"MetricAlarms": self.metric, "CompositeAlarms": self.composite}

    def list_alarm_mute_rules(self, *, AlarmName: str, Statuses: list[str]) -> Json:  # noqa: N803
        assert Statuses == ["ACTIVE"]
        return {"AlarmMuteRuleSummaries": self.rules}


Decide = Callable[["FailoverLab", FailoverRecord], object]


@dataclass
class FailoverLab:
    """SOURCE is how the API server of east answers; SECOND holds how it does to the second place to
    probe from, if there is one. None: the probe fails. DECIDE is who answers a request for
    approval; nobody does without. EACH_SECOND is called whenever the clock moves, and first of all
    ALSO, which is what other clusters do. SOURCE_CLIENTS are those of SourceFunction.
    """

    lab: Lab
    states: StepFunctions
    cloudwatch: CloudWatch = field(default_factory=CloudWatch)
    source: Answer | None = Answer.UNREACHABLE
    second: tuple[()] | tuple[Answer | None] = ()
    decide: Decide | None = None
    each_second: Callable[[], object] | None = None
    also: Callable[[], object] | None = None
    source_clients: Callable[[], preparing.Clients] | None = None
    probes: int = 0

    def clients(self) -> Clients:
        states: Any = self.states
        sns: Any = self.lab.topic
        return Clients(
            table=self.lab.table,
            state=StateBucket(self.lab.s3, STATE),  # type: ignore[arg-type]
            sns=sns,
            states=states,
            topic="topic",
            decisions=DECISIONS,
            restores=RESTORES,
            rollbacks=ROLLBACKS,
            clock=self.lab.clock,
        )

    def ledger(self, id_: str) -> FailoverLedger:
        return FailoverLedger(self.lab.table, id_, now=self.lab.now)

    def probe(self) -> Json | None:
        """One call of ProbeFunction; None where it fails."""
        self.probes += 1
        if self.source is None:
            return None
        seen = observations.record(self.lab.table, self._seen(self.source))
        return seen.model_dump(mode="json")

    def told(self) -> dict[str, Json | None]:
        """What the state machine tells the guard."""
        told = {"first": self.probe()}
        for answer in self.second:
            told["second"] = self._seen(answer).model_dump(mode="json") if answer else None
        return told

    def _seen(self, answer: Answer) -> Observation:
        reason = None if answer is Answer.READY else f"It is {answer}."
        return Observation(cluster="east", at=self.lab.now(), answer=answer, reason=reason)

    def begin(self, request: Json | None = None, execution: str = "run-1") -> Json:
        wanted = failover_request(request or {"plan": "payments"}, execution_name=execution)
        cloudwatch: Any = self.cloudwatch
        arn = f"{FAILOVERS}:{execution}"
        return beginning.begin(self.clients(), cloudwatch, wanted, arn)

    def run(self, request: Json | None = None, execution: str = "run-1") -> Json:
        """A whole execution: its output."""
        arn = f"{FAILOVERS}:{execution}"
        self.states.running_elsewhere.add(arn)
        answer = self.begin(request, execution)
        for _ in range(1000):
            if answer["next"] == "report":
                break
            answer = self.step(answer, arn)
        self.states.running_elsewhere.discard(arn)
        return reporting.report_failover(self.clients(), answer["failoverId"], answer["attempt"])

    def show(self, request: Json, execution: str = "run-1") -> Json:
        """The output of a dry run."""
        assert self.source_clients
        wanted = failover_request(request, execution_name=execution)
        return preparing.show(self.source_clients(), wanted)

    def step(self, answer: Json, arn: str = f"{FAILOVERS}:run-1") -> Json:
        """The step that the answer of another one asks for."""
        id_, attempt = answer["failoverId"], answer["attempt"]
        if answer["next"] == "ask":
            return self._ask(answer, arn)
        self.lab.sleep(answer["wait"])
        if answer["next"] in ("source", "start"):
            assert self.source_clients
            step = preparing.prepare if answer["next"] == "source" else freeing.start_again
            return step(self.source_clients(), id_, attempt)
        if answer["next"] == "probe":
            return guarding.take_probe(self.clients(), id_, attempt, self.told())
        return conducting.advance(self.clients(), id_, attempt)

    def _ask(self, answer: Json, arn: str) -> Json:
        id_, attempt = answer["failoverId"], answer["attempt"]
        self.states.open.add(arn)
        asking.ask(self.clients(), id_, attempt, arn, self.lab.now())
        if self.decide:
            record = self.ledger(id_).record()
            assert record
            self.decide(self, record)
        late = arn not in self.states.woken
        if late:
            self.lab.sleep(answer["approval"])
        return conducting.advance(self.clients(), id_, attempt, late=late)

    def roll_back_once(
        self,
        failover_id: str,
        execution: str = "undo-1",
        before: Json | None = None,
        **changes: Any,
    ) -> undoing.Progress:
        """One call of RollbackFunction, once it was told whether the executions that it asks for
        run.
        """
        request = rollback_request({"failoverId": failover_id, **changes})
        looked: dict[str, bool] = {}
        while True:
            call = rolling_back.Call(
                request,
                f"{UNDOING}:{execution}",
                RESTORES,
                FAILOVERS.replace(":execution:", ":stateMachine:"),
                looked,
                before or {},
                RUN_SECONDS,
            )
            answer = undoing.roll_back_failover(self.lab.rolling_back(), call, failover_id)
            if not isinstance(answer, Ask):
                return answer
            looked[answer.execution] = self._is_running(answer.execution)

    def _is_running(self, execution: str) -> bool:
        known = execution in self.states.executions or execution in self.states.running_elsewhere
        if not known:
            return False
        told = self.states.describe_execution(executionArn=execution)
        return bool(told["status"] == "RUNNING")

    def roll_back(self, failover_id: str, execution: str = "undo-1", **changes: Any) -> Json:
        """A whole execution of the rollback."""
        before: Json = {}
        for _ in range(200):
            answer = self.roll_back_once(failover_id, execution, before, **changes)
            if answer.output is not None:
                return answer.output
            # As the state machine hands it on.
            before = json.loads(json.dumps(answer._asdict()))
            self.lab.sleep(answer.wait)
        raise AssertionError("not done after 200 calls")

    def stop_rollback(self, execution: str = "undo-1", error: str | None = None) -> None:
        """What the status event of a rollback that did not succeed brings about."""
        arn = f"{UNDOING}:{execution}"
        self.lab.end(arn, error=error)
        reporting.report_ended(self.clients(), execution=arn, error=error)

    def drill(self, request: Json | None = None, execution: str = "run-1") -> Json:
        """A whole execution of a drill: its output."""
        answer = self.begin_drill(request, execution)
        return self.finish_drill(answer, execution)

    def begin_drill(self, request: Json | None = None, execution: str = "run-1") -> Json:
        arn = self.drill_arn(execution)
        self.states.running_elsewhere.add(arn)
        wanted = drill_request(request or {"plan": "payments"}, execution_name=execution)
        return drilling.begin_drill(self.clients(), wanted, arn)

    def finish_drill(self, answer: Json, execution: str = "run-1") -> Json:
        for _ in range(1000):
            if answer["next"] == "report":
                break
            answer = self.drill_step(answer)
        self.states.running_elsewhere.discard(self.drill_arn(execution))
        return reporting.report_failover(self.clients(), answer["failoverId"], answer["attempt"])

    def drill_step(self, answer: Json) -> Json:
        call = (self.clients(), answer["failoverId"], answer["attempt"])
        self.lab.sleep(answer["wait"])
        if answer["next"] == "advance":
            return conducting.advance(*call)
        return cleaning.clean(*call)

    def sweep(self) -> list[str]:
        """One call of SweepFunction."""
        states: Any = self.states
        return drilling.sweep(drilling.Sweeper(self.lab.table, states, DRILLS, self.lab.clock))

    def drill_arn(self, execution: str) -> str:
        return conducting.execution_of(DRILLS, execution)

    def stop(self, execution: str = "run-1", error: str | None = None) -> Json | None:
        """What the status event of an execution that did not succeed brings about."""
        arn = f"{FAILOVERS}:{execution}"
        self.states.running_elsewhere.discard(arn)
        return reporting.report_ended(self.clients(), execution=arn, error=error)

    def answer(self, record: FailoverRecord, decision: str, **changes: Any) -> decisions.Verdict:
        """One call of DecisionFunction."""
        body: Json = {"failoverId": record.failover_id, "decision": decision, "by": "Ada"}
        body |= {"planHash": record.plan_hash}
        states: Any = self.states
        clients = deciding.Clients(self.lab.table, states, self.lab.now)
        return deciding.decide(clients, decisions.asked(body | changes))

    def report(self, output: Json) -> Json:
        found: Json = self.lab.s3.json(output["report"].partition(f"{STATE}/")[2])
        return found

    def fleet(self, *, hours: float = 5) -> None:
        """Two databases and a web server, backed up so many hours ago."""
        taken = BEGIN - timedelta(hours=hours)
        for vm in ("db-1", "db-2", "web01"):
            self.lab.backup(vm, taken_at=taken)


@contextmanager
def a_failover_lab(plan: str = PLAN) -> Iterator[FailoverLab]:
    with a_lab() as lab:
        states = StepFunctions(lab)
        lab.states = states
        lab.recovery_plan(plan)
        found = FailoverLab(lab, states)

        def go_on(_: float) -> None:
            if found.also:
                found.also()
            states.go_on()
            if found.each_second:
                found.each_second()

        lab.during = go_on
        yield found
