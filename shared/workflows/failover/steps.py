"""What the steps of a failover share: their clients, and what each tells the state machine."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from shared.aws.table import Table
from shared.models.failovers import FailoverRecord
from shared.runs.failovers import FailoverLedger, PlanLock
from shared.runs.files import StateBucket
from shared.workflows.clock import Clock
from shared.workflows.looking import machine_of

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient

Step = Literal["probe", "source", "advance", "ask", "start", "clean", "report"]


class Clients(NamedTuple):
    """What a failover or a drill reads and writes. TOPIC and RESTORES, the state machine that
    brings a wave back, are ARNs; of a failover so is DECISIONS, the function that takes them, of a
    drill ROLLBACKS, the state machine that deletes what it made.
    """

    table: Table
    state: StateBucket
    sns: "SNSClient"
    states: "SFNClient"
    topic: str
    restores: str
    rollbacks: str = ""
    decisions: str = ""
    clock: Clock = Clock()

    def ledger(self, id_: str) -> FailoverLedger:
        return FailoverLedger(self.table, id_, now=self.clock.now)

    def lock(self, record: FailoverRecord) -> PlanLock:
        """Of a plan: a drill holds up no failover, and no failover a drill."""
        return PlanLock(self.table, record.plan, now=self.clock.now, drill=record.drill)

    def runs(self, mine: str, other: str) -> bool:
        """Whether another execution runs. One of a stack that is gone does not."""
        if machine_of(other) != machine_of(mine):
            return False
        try:
            return self.states.describe_execution(executionArn=other)["status"] == "RUNNING"
        except self.states.exceptions.ExecutionDoesNotExist:
            return False  # it is forgotten, 90 days after its end


def answer(record: FailoverRecord, step: Step, wait: int = 0) -> dict[str, Any]:
    """Which STEP comes next, in WAIT seconds. An execution's events show how far the waves are.

    Before the end of a planned failover without waves, the machines of its source start again.
    """
    if step == "report" and record.holds and record.freed is None:
        step = "start"
    return {
        "failoverId": record.failover_id,
        "attempt": record.attempt,
        "source": record.source,
        "next": step,
        "wait": wait,
        "approval": record.approval,
        "doing": record.doing,
        "waves": [
            {"name": each.name, "state": each.state, "counts": each.counts} for each in record.waves
        ],
    }
