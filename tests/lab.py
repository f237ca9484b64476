"""A whole restore in memory: the product's own use cases on a fake table, bucket, topic, clock and
target cluster.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from local.samples import builders
from local.samples.builders import a_metadata, a_point
from shared.kube import connecting
from shared.kube.client import TargetCluster
from shared.labels import LONGHORN_DRIVER, LONGHORN_NAMESPACE
from shared.layouts import documents, registry
from shared.models.documents import ClusterDocument
from shared.models.images import Making
from shared.models.restore_plans import MachineResult, MachineState, Phase, RestoreRecord
from shared.models.restore_points import RestorePoint
from shared.models.standbys import Standing
from shared.restore import decisions
from shared.restore.decisions import Verdict
from shared.restore.request import restore_request
from shared.restore.rollback_request import rollback_request
from shared.runs.batches import Batch
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.workflows import (
    asking,
    deciding,
    flattening,
    imaging,
    planning,
    reporting,
    rolling_back,
    standing_by,
)
from shared.workflows.clock import Clock
from shared.workflows.following import Progress
from shared.workflows.looking import Ask
from shared.workflows.restoring import run_batch
from shared.workflows.run import Clients
from tests.fake_cluster import FakeCluster, connected
from tests.memory_services import Body
from tests.memory_table import MemoryTable

Json = dict[str, Any]
Looked = dict[str, bool]

BEGIN = datetime(2026, 9, 1, 3, tzinfo=UTC)
STATE = "state"
RUN_SECONDS = 300.0
DECISIONS = "arn:aws:lambda:eu-central-1:123456789012:function:replant-DecisionFunction-1A2B"
RESTORES = ""
"""The state machine whose executions the lab's restores are."""


class NoSuchKey(ClientError):
    """As boto3 raises it."""


class Exceptions:
    """What boto3's client has under this name."""

    ClientError = ClientError
    NoSuchKey = NoSuchKey


class PlainS3:
    """The two calls that restores make, and S3's way of saying that a key is not there."""

    exceptions = Exceptions
    meta = SimpleNamespace(endpoint_url="https://s3.amazonaws.com", region_name="us-east-1")

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> Json:  # noqa: N803
        self.objects[Bucket, Key] = Body
        return {}

    def get_object(self, *, Bucket: str, Key: str, **_: Any) -> Json:  # noqa: N803
        body = self.objects.get((Bucket, Key))
        if body is None:
            raise self.exceptions.NoSuchKey({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        etag = f'"{hashlib.md5(body).hexdigest()}"'  # noqa: S324  # as S3 makes it
        return {"Body": Body(body), "ETag": etag, "ContentLength": len(body), "LastModified": BEGIN}

    def json(self, key: str) -> Any:
        return json.loads(self.objects[STATE, key])


class ResourceNotFoundException(ClientError):
    """As boto3 raises it."""


class Secrets:
    """One kubeconfig for everybody, which nobody reads here, and TEXTS by their names: the keys
    with which clusters read images.
    """

    class exceptions:  # noqa: N801  # boto3's own name
        ResourceNotFoundException = ResourceNotFoundException

    def __init__(self) -> None:
        keys = {"AWS_ACCESS_KEY_ID": "AKIAIMPORT", "AWS_SECRET_ACCESS_KEY": "hunter2/import"}
        self.texts = {"replant/import": json.dumps(keys)}

    def get_secret_value(self, *, SecretId: str, **_: Any) -> Json:  # noqa: N803
        if SecretId in self.texts or "/clusters/" in SecretId:
            return {"SecretString": self.texts.get(SecretId, "kubeconfig")}
        raise ResourceNotFoundException({"Error": {"Code": "…"}}, "GetSecretValue")


class Connected(NamedTuple):
    """What a run asked for when it connected, on the lab's clock."""

    kubeconfig: str
    cluster: ClusterDocument
    at: float
    deadline: float | None
    options: Json


class Topic:
    """What was published: the text for people, the JSON below it, and under which subjects."""

    def __init__(self) -> None:
        self.told: list[Json] = []
        self.texts: list[str] = []
        self.subjects: list[str] = []
        self.broken = False

    def publish(self, *, TopicArn: str, Subject: str, Message: str) -> None:  # noqa: N803
        assert TopicArn == "topic", "the only one there is"
        if self.broken:
            raise ConnectionError("no answer")
        self.subjects.append(Subject)
        text, _, below = Message.partition("\n\n{")
        self.texts.append(text)
        self.told.append(json.loads(f"{{{below}"))


class TaskTimedOut(ClientError):
    """As boto3 raises it: of a task that has ended."""


class TaskDoesNotExist(ClientError):
    """Of one that is forgotten."""


class InvalidToken(ClientError):
    """Of what is no token."""


class States:
    """Executions that wait, by their tokens; OPEN ones can be woken, once."""

    class exceptions:  # noqa: N801  # boto3's own name
        TaskTimedOut = TaskTimedOut
        TaskDoesNotExist = TaskDoesNotExist
        InvalidToken = InvalidToken

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.woken: list[str] = []
        self.broken = False

    def send_task_success(self, *, taskToken: str, output: str) -> None:  # noqa: N803
        if self.broken:
            raise ConnectionError("no answer")
        assert json.loads(output) == {}, "what was decided is in the ledger"
        if taskToken not in self.open:
            raise TaskTimedOut({"Error": {"Code": "TaskTimedOut"}}, "SendTaskSuccess")
        self.open.remove(taskToken)
        self.woken.append(taskToken)


def _nobody_attaches(wanted: planning.Attach) -> str:
    raise AssertionError(f"{wanted}: no document has keys")


def _nobody_copies(wanted: planning.Copy) -> None:
    raise AssertionError(f"{wanted}: nobody was asked to copy")


@dataclass
class Lab:
    """Its clock moves when somebody sleeps; controllers work then, and after every run. IMAGES:
    ImageFunction works then, too, at what was BEGUN.
    """

    cluster: FakeCluster = field(default_factory=FakeCluster)
    table: MemoryTable = field(default_factory=MemoryTable)
    s3: PlainS3 = field(default_factory=PlainS3)
    topic: Topic = field(default_factory=Topic)
    states: States = field(default_factory=States)
    secrets: Secrets = field(default_factory=Secrets)
    seconds: float = 0.0
    alive: set[str] = field(default_factory=set)
    secrets_prefix: str = "replant/"
    during: Callable[[float], None] | None = None
    images: bool = True
    begun: list[Json] = field(default_factory=list)
    connected: list[Connected] = field(default_factory=list)
    attach: Callable[[planning.Attach], str] = field(default=_nobody_attaches)
    copy: Callable[[planning.Copy], None] = field(default=_nobody_copies)

    def __post_init__(self) -> None:
        document = {"id": "west", "secret": "replant/clusters/west"}
        self.table.put_many([_document("clusters", document["id"], document)])
        for namespace in ("default", LONGHORN_NAMESPACE):
            self.cluster.add("Namespace", "", namespace)
        self.cluster.add(
            "StorageClass",
            "",
            "harvester-longhorn",
            provisioner=LONGHORN_DRIVER,
            parameters={"migratable": "true"},
        )
        self.read_backups("default", "s3://backups@us-east-1/")
        self.cluster.add("VolumeSnapshotClass", "", "longhorn", driver="driver.longhorn.io")
        self.cluster.add("NetworkAttachmentDefinition", "default", "vlan100")
        self._add_harvester()

    def _add_harvester(self) -> None:
        """What tells of its versions and of its room."""
        add = self.cluster.add
        add("HarvesterSetting", "", "server-version", value="v1.8.2", default="dev")
        status = {"observedKubeVirtVersion": "v1.7.0"}
        add("KubeVirt", "harvester-system", "kubevirt", status=status)
        for name, value in (
            ("current-longhorn-version", "v1.11.3"),
            ("storage-over-provisioning-percentage", "200"),
        ):
            add("Setting", LONGHORN_NAMESPACE, name, value=value)
        disk = {"storageMaximum": 2**40, "storageScheduled": 2**38}
        for name in ("node-0", "node-1", "node-2"):
            disks = {"disk-1": {"allowScheduling": True, "storageReserved": 2**36}}
            spec = {"allowScheduling": True, "disks": disks}
            told = {"diskStatus": {"disk-1": disk}}
            add("LonghornNode", LONGHORN_NAMESPACE, name, spec=spec, status=told)

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    @property
    def clock(self) -> Clock:
        return Clock(self.now, lambda: self.seconds, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.cluster.settle()
        if self.images:
            self.make_images()
        if self.during:
            self.during(seconds)

    def backup(self, vm: str = "web01", *, id_: str | None = None, **traits: Any) -> RestorePoint:
        """A restorable point of a machine, catalogued, with its metadata in the bucket."""
        changes = {
            name: traits.pop(name)
            for name in ("taken_at", "state", "reasons", "cluster", "kept_version")
            if name in traits
        }
        metadata = a_metadata(vm, **({"backup": f"{vm}-nightly"} | traits))
        point = a_point(metadata, id=id_ or f"point-{vm}", **changes)
        body = json.dumps(metadata).encode()
        self.s3.objects[point.source.bucket, point.source.key] = body
        etag = hashlib.md5(body).hexdigest()  # noqa: S324  # as S3 makes it
        point = point.model_copy(update={"source": point.source.model_copy(update={"etag": etag})})
        self._list(point)
        self.sync(point)
        return point

    def sync(self, point: RestorePoint) -> None:
        """The cluster's Longhorn has read the backups of the point."""
        for volume in point.volumes:
            status = {
                "state": "Completed",
                "volumeName": volume.engine_volume,
                "volumeSize": str(volume.size_bytes),
                "backupTargetName": "default",
            }
            name = volume.engine_backup or ""
            self.cluster.add("Backup", LONGHORN_NAMESPACE, name, status=status)
            spec = {"volumeName": volume.engine_volume, "backupTargetName": "default"}
            self.cluster.add(
                "BackupVolume",
                LONGHORN_NAMESPACE,
                f"{volume.engine_volume}-default",
                metadata={"labels": {"backup-volume": volume.engine_volume}},
                spec=spec,
            )

    def _list(self, point: RestorePoint) -> None:
        """The rows that the catalogue keeps of a point."""
        assert self.table.write_together(builders.rows(self.table, point, self.now()))

    def recovery_plan(self, text: str, *clusters: str) -> None:
        """In force: the document plans/NAME.yaml, and those of cluster east and of CLUSTERS."""
        name = text.partition("name: ")[2].partition("\n")[0]
        place = registry.recognise_document(f"plans/{name}.yaml")
        plan = documents.parse(place, text.encode(), buckets=frozenset())
        known = [
            _document("clusters", id_, {"id": id_, "secret": f"replant/clusters/{id_}"})
            for id_ in ("east", *clusters)
        ]
        self.table.put_many([*known, _document("plans", name, plan.model_dump(mode="json"))])

    def know_cluster(self, id_: str, **facts: str) -> None:
        """By a document, with what that says of its versions."""
        document = {"id": id_, "secret": f"replant/clusters/{id_}", **facts}
        self.table.put_many([_document("clusters", id_, document)])

    def read_backups(self, name: str, url: str) -> None:
        """By a BackupTarget of Longhorn's."""
        spec, status = {"backupTargetURL": url}, {"available": True}
        self.cluster.add("BackupTarget", LONGHORN_NAMESPACE, name, spec=spec, status=status)

    def know_target(self, id_: str, **document: Any) -> None:
        """By a document, in force."""
        self.table.put_many([_document("targets", id_, {"id": id_, **document})])

    def request(self, *ids: str, **changes: Any) -> Json:
        select = {"ids": list(ids)} if ids else {"id": "point-web01"}
        return {"select": select, "target": "west", "requestId": "r", **changes}

    def plan(self, request: Json | None = None, execution: str = "run-1") -> planning.Planned:
        """What PlanFunction, the looks at other executions, migrations and AttachFunction do;
        EXECUTION runs from here on.
        """
        looked: dict[str, bool] = {}
        attached: dict[str, str] = {}
        copied: tuple[str, ...] | None = None
        while not isinstance(
            answer := self.plan_once(request, execution, looked, attached, copied),
            planning.Planned,
        ):
            if isinstance(answer, Ask):
                looked[answer.execution] = answer.execution in self.alive
            elif isinstance(answer, planning.Copy):
                self.copy(answer)
                copied = answer.ids
            else:
                attached[answer.target] = self.attach(answer)
        self.alive.add(execution)
        return answer

    def plan_once(
        self,
        request: Json | None = None,
        execution: str = "run-1",
        looked: Looked | None = None,
        attached: dict[str, str] | None = None,
        copied: tuple[str, ...] | None = None,
    ) -> planning.Planned | Ask | planning.Attach | planning.Copy:
        """One call of PlanFunction."""
        clients = planning.Clients(
            table=self.table,
            s3=self.s3,  # type: ignore[arg-type]  # as much of it as is used
            secrets=self.secrets,  # type: ignore[arg-type]
            state=StateBucket(self.s3, STATE),  # type: ignore[arg-type]
            allow_loopback=True,
            secrets_prefix=self.secrets_prefix,
            images=f"https://s3.eu-central-1.amazonaws.com/{STATE}",
            clock=self.clock,
        )
        wanted = restore_request(request or self.request(), execution_name=execution)
        return planning.plan_restore(clients, wanted, execution, looked or {}, attached, copied)

    def make_images(self, seconds: float = 900) -> list[Making]:
        """What ImageFunction makes of the calls that it has got."""
        begun, self.begun = self.begun, []
        asked = [
            imaging.Wanted(each["ledger"], each["planHash"], each["place"], each["attempt"])
            for each in begun
        ]
        return [imaging.make_image(self.imaging(), each, seconds=seconds) for each in asked]

    def imaging(self) -> imaging.Clients:
        s3: Any = self.s3
        flattens = flattening.Clients(s3, STATE, lambda: self.seconds, self.now)
        return imaging.Clients(self.table, flattens, StateBucket(s3, STATE))

    def apply(
        self, planned: planning.Planned, seconds: float = RUN_SECONDS, *, batch: int = 0
    ) -> Progress:
        """One call of RestoreFunction."""
        clients = Clients(
            table=self.table,
            s3=self.s3,  # type: ignore[arg-type]
            secrets=self.secrets,  # type: ignore[arg-type]
            state=StateBucket(self.s3, STATE),  # type: ignore[arg-type]
            allow_loopback=True,
            begin_image=lambda event: self.begun.append(dict(event)),
            clock=self.clock,
        )
        progress = run_batch(clients, planned.ledger, batch, planned.attempt, seconds=seconds)
        self.cluster.settle()
        for result in self.ledger(planned).machines().values():
            check_times(result)
        return progress

    def finish(self, planned: planning.Planned, runs: int = 100) -> reporting.Output:
        """What the state machine does after Plan; of several batches the runs take turns."""
        waiting = list(range(planned.batches))
        for _ in range(runs):
            told = {number: self.apply(planned, batch=number) for number in waiting}
            waiting = [number for number, progress in told.items() if not progress.done]
            if not waiting:
                return self.report(planned)
            self.sleep(min(told[number].wait for number in waiting))
        raise AssertionError(f"not done after {runs} runs: {told}")

    def restore(self, request: Json | None = None, execution: str = "run-1") -> reporting.Output:
        """A whole execution."""
        output = self.finish(self.plan(request, execution))
        self.alive.discard(execution)
        return output

    def ask(self, planned: planning.Planned, token: str = "token-1") -> None:  # noqa: S107
        """What Step Functions does when it waits for a decision, as far as it is asked for."""
        self.states.open.add(token)
        asking.ask(self._asking(), planned.ledger, planned.attempt, token)

    def settle(self, planned: planning.Planned) -> bool:
        """What it does when the wait is over."""
        return asking.settle(self._asking(), planned.ledger, planned.attempt)

    def decide(self, planned: planning.Planned, decision: str, **changes: Any) -> Verdict:
        """One call of DecisionFunction, about the plan."""
        body = {"restoreId": planned.ledger, "decision": decision, "planHash": planned.plan_hash}
        states: Any = self.states
        clients = deciding.Clients(self.table, states, self.now)
        return deciding.decide(clients, decisions.asked({**body, "by": "Ada"} | changes))

    def _asking(self) -> asking.Clients:
        state = StateBucket(self.s3, STATE)  # type: ignore[arg-type]
        sns: Any = self.topic
        states: Any = self.states
        return asking.Clients(self.table, state, sns, states, "topic", DECISIONS, self.now)

    def report(
        self,
        planned: planning.Planned,
        error: Json | None = None,
        execution: str = "",
        batches: dict[int, Json] | None = None,
    ) -> reporting.Output:
        return self.reported(planned, error, execution, batches).output

    def reported(
        self,
        planned: planning.Planned,
        error: Json | None = None,
        execution: str = "",
        batches: dict[int, Json] | None = None,
    ) -> reporting.Reported:
        """What ReportFunction answers at the end of an execution: that which has the restore, or
        EXECUTION.
        """
        record = self.record(planned)
        finished = reporting.Finished(
            execution or record.execution, record.redriven, error, batches or {}
        )
        return reporting.report_restore(self._reporting(), planned.ledger, finished)

    def keep_standbys(self, *, after: float = 0) -> list[Standing]:
        """One call of StandbyFunction, and what Longhorn does then."""
        self.sleep(after)
        clients = standing_by.Clients(
            table=self.table,
            s3=self.s3,  # type: ignore[arg-type]  # as much of it as is used
            secrets=self.secrets,  # type: ignore[arg-type]
            allow_loopback=True,
            secrets_prefix=self.secrets_prefix,
            clock=self.clock,
        )
        kept = standing_by.keep_standbys(clients, seconds=300)
        self.cluster.settle()
        return kept

    def stop(self, execution: str = "run-1", redriven: int = 0) -> reporting.Output | None:
        """What StopExecution brings about."""
        return self.end(execution, redriven)

    def end(
        self, execution: str = "run-1", redriven: int = 0, error: str | None = None
    ) -> reporting.Output | None:
        """What the status event of an execution that did not succeed brings about."""
        self.alive.discard(execution)
        ended = reporting.Ended(execution, redriven, error)
        reported = reporting.report_ended(self._reporting(), ended)
        return reported.output if reported else None

    def _reporting(self) -> reporting.Clients:
        state = StateBucket(self.s3, STATE)  # type: ignore[arg-type]
        sns: Any = self.topic
        return reporting.Clients(self.table, state, sns, "topic", self.now, self.sleep)

    def names(self, planned: planning.Planned, kind: str) -> Iterator[str]:
        """The names of the planned objects of a kind."""
        state = StateBucket(self.s3, STATE)  # type: ignore[arg-type]
        plan = state.outline(planned.ledger, planned.plan_hash)
        for machine in state.machines(planned.ledger, plan):
            yield from (each.name for each in machine.objects if each.kind == kind)

    def ledger(self, planned: planning.Planned) -> Ledger:
        return Ledger(self.table, planned.ledger, now=self.now)

    def batch(self, planned: planning.Planned, number: int = 0) -> Batch:
        return Batch(self.ledger(planned), number)

    def roll_back_once(
        self,
        restore_id: str,
        *,
        execution: str = "arn:rollback:1",
        looked: Looked | None = None,
        before: Json | None = None,
        **changes: Any,
    ) -> rolling_back.Progress | Ask:
        """One call of RollbackFunction."""
        request = rollback_request({"restoreId": restore_id, **changes})
        call = rolling_back.Call(
            request, execution, RESTORES, "", looked or {}, before or {}, RUN_SECONDS
        )
        return rolling_back.roll_back(self.rolling_back(), call, restore_id)

    def rolling_back(self) -> rolling_back.Clients:
        sns: Any = self.topic
        return rolling_back.Clients(
            table=self.table,
            secrets=self.secrets,  # type: ignore[arg-type]
            state=StateBucket(self.s3, STATE),  # type: ignore[arg-type]
            sns=sns,
            topic="topic",
            allow_loopback=True,
            clock=self.clock,
        )

    def roll_back(
        self, restore_id: str, execution: str = "arn:rollback:1", **changes: Any
    ) -> dict[str, Any]:
        """A whole execution of the rollback."""
        looked: Looked = {}
        before: Json = {}
        for _ in range(100):
            answer = self.roll_back_once(
                restore_id, execution=execution, looked=looked, before=before, **changes
            )
            if isinstance(answer, Ask):
                looked[answer.execution] = answer.execution in self.alive
            elif answer.done:
                assert answer.output
                return answer.output
            else:
                before = answer._asdict()
                self.sleep(answer.wait)
        raise AssertionError("not done after 100 calls")

    def record(self, planned: planning.Planned) -> RestoreRecord:
        record = self.ledger(planned).record()
        assert record
        return record

    def result(self, planned: planning.Planned, vm: str = "web01") -> MachineResult:
        return self.ledger(planned).machines()[f"default/{vm}"]


@contextmanager
def a_lab() -> Iterator[Lab]:
    """A lab whose cluster is what a stored kubeconfig leads to."""
    lab = Lab()

    def connect(
        text: str, cluster: ClusterDocument, *, deadline: float | None = None, **options: Any
    ) -> AbstractContextManager[TargetCluster]:
        lab.connected.append(Connected(text, cluster, lab.seconds, deadline, options))
        return connected(lab.cluster, lambda: lab.seconds, lab.sleep, cluster, deadline)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connecting, "connect", connect)
        yield lab


def check_times(result: MachineResult) -> None:
    """What holds of every machine after every run."""
    if result.phase is not Phase.PENDING:
        assert result.since, result
    if result.state in (MachineState.READY, MachineState.APPLIED, MachineState.FAILED):
        assert result.finished_at, result
        assert result.waits is None, result


def _document(kind: str, id_: str, document: Json) -> Json:
    return {
        "pk": "documents",
        "sk": f"{kind}/{id_}",
        "kind": kind,
        "bucket": STATE,
        "key": f"{kind}/{id_}.yaml",
        "sequencer": "0",
        "read_order": "0",
        "object_time": "2026-08-01T00:00:00Z",
        "facts": json.dumps(document),
    }
