"""A request to attach a backup target -> a cluster whose Longhorn reads it, or the reason why not;
and back.
"""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from shared import labels
from shared.attach import deciding, keys
from shared.attach.deciding import Do, Way, say
from shared.attach.request import AttachRequest
from shared.aws import secrets
from shared.aws.proving import Access, Proof, prove
from shared.aws.table import Table
from shared.catalogue import documents
from shared.errors import AlreadyExists, Conflict, NotFound, Refused, Rejected, Unavailable
from shared.kube import attaching, connecting, longhorn
from shared.kube.client import TargetCluster
from shared.models.attachments import Attachment, InUse, Permissions, State
from shared.models.documents import BackupTarget
from shared.models.restore_plans import Check
from shared.validation import short
from shared.workflows.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CONNECTIONS = 4
PATIENCE = 120.0  # seconds that Longhorn gets to read a place for the first time, and to let it go
SETTLED = 6.0  # seconds in which the number of backups that it has read stays the same
POLL = 2.0
LOCKS = "backupstore/volumes/re/pl/replant-permissions/locks"
"""Of a volume that there is none of: where Longhorn writes whatever it does, so that keys which may
only restore can write as well (docs/iam/restore-only.json)."""

LAST = 15.0  # seconds before a function's end at which no request is under way any more


class Clients(NamedTuple):
    """What attaching reads and writes; PROVE tries keys in a place."""

    table: Table
    secrets: "SecretsManagerClient"
    allow_loopback: bool
    secrets_prefix: str
    clock: Clock = Clock()
    prove: Callable[[Access, str, str, str], Proof] = prove


class _Run(NamedTuple):
    """TAG is of this execution, for names that no other one makes."""

    clients: Clients
    request: AttachRequest
    document: BackupTarget
    cluster: TargetCluster
    tag: str

    def say(self, what: str, verdict: Any, message: str) -> Check:
        return say(self.request.cluster, what, verdict, message)


def attach(
    clients: Clients, request: AttachRequest, execution: str, *, seconds: float
) -> dict[str, Any]:
    """What the execution answers; SECONDS are left for it. A repeated call goes on.

    Raises NotFound, Unreachable, and Refused for credentials that do not serve.
    """
    document = documents.need(clients.table, "targets", request.target, "target")
    cluster = documents.need(clients.table, "clusters", request.cluster, "cluster")
    cluster = cluster.with_secret_below(clients.secrets_prefix)
    kubeconfig = secrets.kubeconfig_of(clients.secrets, cluster)
    deadline = clients.clock.monotonic() + seconds - LAST
    with connecting.connect(
        kubeconfig,
        cluster,
        allow_loopback=clients.allow_loopback,
        connections=CONNECTIONS,
        deadline=deadline,
    ) as target:
        tag = hashlib.sha256(execution.encode()).hexdigest()[:8]
        run = _Run(clients, request, document, target, tag)
        act = _detach if request.detach else _attach
        try:
            return act(run).output
        except Rejected as error:
            raise Refused(error.message, "cluster") from None


def _attach(run: _Run) -> Attachment:
    way = deciding.attach(run.document, run.request.cluster, attaching.look(run.cluster))
    answer = Attachment(state=State.REFUSED, backup_target=way.name, checks=(way.check,))
    if way.do is Do.REFUSE:
        return answer
    if way.do is Do.USE:
        return _use(run, answer)
    try:
        stored = keys.parse(_secret(run), run.document.credential_secret or "")
    except (Refused, NotFound) as error:
        return _with(answer, run.say("credentials", "block", error.message))
    proof = _prove(run, stored)
    permissions = Permissions(read=proof.read, write=proof.write)
    answer = _with(answer, _of_proof(run, proof)).model_copy(update={"permissions": permissions})
    if proof.problems:
        return answer
    if run.request.dry_run:
        return answer.model_copy(update={"state": State.PLANNED})
    return _make(run, way, stored, proof.region, answer)


def _with(answer: Attachment, *checks: Check) -> Attachment:
    return answer.model_copy(update={"checks": (*answer.checks, *checks)})


def _use(run: _Run, answer: Attachment) -> Attachment:
    """Nothing is made, and no keys are needed."""
    state = State.PLANNED if run.request.dry_run else State.ATTACHED
    backups = attaching.count_backups(run.cluster, answer.backup_target)
    there = {"state": state, "available": True, "backups": backups}
    return answer.model_copy(update=there)


def _secret(run: _Run) -> str:
    """Raises NotFound."""
    return secrets.keys_of(run.clients.secrets, run.document, run.clients.secrets_prefix)


def _prove(run: _Run, stored: keys.Keys) -> Proof:
    access = Access(
        key_id=stored.values[keys.ID],
        secret=stored.values[keys.KEY],
        endpoint=stored.endpoint or run.document.endpoint,
        certificate=stored.certificate,
    )
    return run.clients.prove(
        access, run.document.bucket, run.document.prefix, f"{LOCKS}/lock-{run.tag}.lck"
    )


def _of_proof(run: _Run, proof: Proof) -> Check:
    what = f"The keys of target {run.document.id}"
    if not proof.problems:
        return run.say("permissions", "pass", f"{what} may read and write {run.document.url}.")
    remedy = "Longhorn needs to list, read and write below that place: give the keys these rights."
    return run.say("permissions", "block", f"{what}: {'; '.join(proof.problems)}. {remedy}")


def _make(run: _Run, way: Way, stored: keys.Keys, region: str, answer: Attachment) -> Attachment:
    """What Longhorn cannot read is taken away again, where it was made just now."""
    values = dict(stored.values)
    if run.document.endpoint:
        values.setdefault(keys.ENDPOINTS, run.document.endpoint)
    secret = f"{way.name}-{run.tag}"
    manifest = deciding.backup_target(run.document, way.name, region, secret)
    try:
        uid, is_new = _backup_target(run, way, manifest)
    except (Conflict, Rejected, Unavailable) as error:
        return _with(answer, run.say("backup-target", "block", error.message))
    problem = _let_read(run, way.name, uid, deciding.secret_of(secret, uid, way.name, values))
    if problem is None:
        backups = _await_backups(run, way.name)
        there = {"state": State.ATTACHED, "available": True, "backups": backups}
        return answer.model_copy(update=there)
    if is_new:
        run.cluster.delete("BackupTarget", labels.LONGHORN_NAMESPACE, way.name, uid=uid)
        problem = f"{problem} Backup target {way.name} was taken away again."
    return _with(answer, run.say("backup-target", "block", problem))


def _let_read(run: _Run, name: str, uid: str, secret: dict[str, Any]) -> str | None:
    """Gives a BackupTarget its Secret, and the word to read at once. A sentence where that comes to
    nothing.
    """
    try:
        run.cluster.create(secret)
    except AlreadyExists:
        pass  # of an earlier call of this execution: nobody else makes one of that name
    except (Rejected, Unavailable) as error:
        return error.message
    try:
        longhorn.request_sync(run.cluster, name, uid, run.clients.clock.now())
    except (Conflict, Rejected, Unavailable) as error:
        return error.message
    problem = _await_reading(run, name, uid)
    if problem is None:
        return None
    said = f"Longhorn on {run.request.cluster} cannot read {run.document.url}: {short(problem)}."
    return f"{said} Look at the network between them, and at the endpoint and its certificate."


def _backup_target(run: _Run, way: Way, manifest: dict[str, Any]) -> tuple[str, bool]:
    """The UID of the one that is there then, with the Secret's name in it; whether it is new."""
    try:
        return run.cluster.create(manifest).uid, True
    except AlreadyExists:
        there = attaching.look(run.cluster)
        if way.name not in there.ours:
            raise
    uid = there.targets[way.name].uid
    change = {"spec": {"credentialSecret": manifest["spec"]["credentialSecret"]}}
    run.cluster.patch("BackupTarget", labels.LONGHORN_NAMESPACE, way.name, change, uid=uid)
    return uid, False


def _await_reading(run: _Run, name: str, uid: str) -> str | None:
    """Why Longhorn cannot read it, in its own words; None where it can."""
    clock = run.clients.clock
    until = clock.monotonic() + PATIENCE
    while True:
        each = attaching.look(run.cluster).targets.get(name)
        if each is None or each.uid != uid:
            return "another client deleted it"
        if each.problem is None or clock.monotonic() >= until:
            return each.problem
        clock.sleep(POLL)


def _await_backups(run: _Run, name: str) -> int:
    """How many it has read: it goes on with that for a while after the first word."""
    clock = run.clients.clock
    until = clock.monotonic() + PATIENCE
    count, since = 0, clock.monotonic()
    while clock.monotonic() < min(until, since + SETTLED):
        clock.sleep(POLL)
        found = attaching.count_backups(run.cluster, name)
        if found != count:
            count, since = found, clock.monotonic()
    return count


def _detach(run: _Run) -> Attachment:
    name = deciding.name_of(run.document.id)
    found = attaching.look(run.cluster)
    used = attaching.in_use(run.cluster, name) if name in found.ours else InUse()
    way = deciding.detach(run.document.id, run.request.cluster, found, used)
    answer = Attachment(state=State.REFUSED, backup_target=name, checks=(way.check,))
    if way.do is Do.REFUSE:
        return answer
    if run.request.dry_run:
        return answer.model_copy(update={"state": State.PLANNED})
    if way.do is Do.DELETE:
        uid = found.targets[name].uid
        run.cluster.delete("BackupTarget", labels.LONGHORN_NAMESPACE, name, uid=uid)
        if not _await_end(run, name, uid):
            said = f"{name} is still there {PATIENCE:.0f} seconds after it was deleted: Longhorn"
            said = f"{said} on {run.request.cluster} has not let go of it. Start again later."
            return _with(answer, run.say("backup-target", "block", said))
    return answer.model_copy(update={"state": State.DETACHED})


def _await_end(run: _Run, name: str, uid: str) -> bool:
    clock = run.clients.clock
    until = clock.monotonic() + PATIENCE
    while clock.monotonic() < until:
        each = attaching.look(run.cluster).targets.get(name)
        if each is None or each.uid != uid:
            return True
        clock.sleep(POLL)
    return False
