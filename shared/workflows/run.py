"""One run of a restore: one call of the restore function, and what all of its steps share."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from shared import labels
from shared.aws.table import Table
from shared.kube.client import TargetCluster
from shared.models.restore_plans import MachinePlan, MachineResult, Plan, RestoreRecord
from shared.runs.batches import Batch, Taken
from shared.runs.files import StateBucket
from shared.workflows.clock import Clock
from shared.workflows.fence import Fence
from shared.workflows.sharing import Share

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient

Results = dict[str, MachineResult]
"""What became of each machine so far, by `namespace/name` on the target cluster."""


class Clients(NamedTuple):
    """What a restore reads and writes. BEGIN_IMAGE has ImageFunction called with that event, and
    does not wait for it.
    """

    table: Table
    s3: "S3Client"
    secrets: "SecretsManagerClient"
    state: StateBucket
    allow_loopback: bool
    begin_image: Callable[[Mapping[str, Any]], None]
    clock: Clock = Clock()


class Outage:
    """Whether the cluster answers: what one thread finds out spares the others the same wait.

    SINCE when it does not, as an earlier run found out; None while it answers.
    """

    def __init__(self, since: datetime | None) -> None:
        self.since = since
        self.why: str | None = None

    def begin(self, now: datetime, why: str | None = None) -> datetime:
        """Since when the cluster does not answer."""
        self.since = self.since or now
        self.why = self.why or why
        return self.since

    def end(self) -> None:
        self.since = self.why = None


class Run(NamedTuple):
    """PLAN is that of the batch, without objects. After DEADLINE (monotonic) nothing new is begun.

    OUTAGE is shared by the run's threads. UNREADY are machines (`namespace/name`) that are not made
    in this run, since their images are not there.
    """

    clients: Clients
    cluster: TargetCluster
    plan: Plan
    taken: Taken
    batch: Batch
    fence: Fence
    deadline: float
    outage: Outage
    share: Share
    unready: set[str]

    @property
    def record(self) -> RestoreRecord:
        return self.taken.restore

    @property
    def number(self) -> int:
        """Of the runs of this batch, so that the ledger knows the newest."""
        return self.taken.batch.run

    @property
    def labels(self) -> dict[str, str]:
        """What the objects of this batch have, and those of the restore's others have not."""
        if self.plan.batches == 1:
            return {}
        return {labels.BATCH: str(self.batch.number)}

    @property
    def selector(self) -> str:
        """Of the batch's objects on the target cluster."""
        wanted = {labels.RESTORE: self.plan.restore_id} | self.labels
        return ",".join(f"{name}={value}" for name, value in wanted.items())

    @property
    def timeout(self) -> timedelta:
        return timedelta(seconds=self.plan.timeout)

    @property
    def is_over(self) -> bool:
        """Whether its time is used up: from then on a request may end for that reason alone."""
        return self.clients.clock.monotonic() >= self.deadline

    def write(self, results: Iterable[MachineResult]) -> Results:
        """The results, written down. Raises Overtaken."""
        changed = {result.key: result for result in results}
        self.batch.write(self.number, changed.values())
        return changed

    def waiting(self, results: Results) -> list[MachinePlan]:
        return [each for each in self.plan.machines if not results[each.key].final]
