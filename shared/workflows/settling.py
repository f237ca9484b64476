"""What a restore of mode emergency made -> permanent: its marks go, and its volumes get as many
replicas as their class says. The opposite of a rollback.
"""

from collections.abc import Iterator
from typing import Any

from shared import labels
from shared.aws import secrets
from shared.errors import Conflict, Refused, Rejected, Unavailable
from shared.jsonpath import dig
from shared.kube import connecting
from shared.kube.client import TargetCluster
from shared.models.base import to_instant
from shared.models.documents import ClusterDocument
from shared.models.restore_plans import ObjectResult, RestoreRecord
from shared.restore import expiry
from shared.runs import temporaries
from shared.runs.rollbacks import RollbackLedger
from shared.workflows.looking import Ask, Unknown
from shared.workflows.rolling_back import CONNECTIONS, LAST, Call, Clients, Progress, plan_of

Change = dict[str, Any]


def settle(clients: Clients, call: Call, restore_id: str) -> Progress | Ask:
    """Raises NotFound, Refused for what is not temporary or is being rolled back, Unreachable, and
    Rejected when the credentials may not look.
    """
    ledger = RollbackLedger(clients.table, restore_id, now=clients.clock.now)
    try:
        record = ledger.look(call.execution, call.runs)
    except Unknown as unknown:
        return Ask(str(unknown))
    _keep(clients, record)
    plan = plan_of(clients, record)
    if plan is None:
        raise Refused(f"{record.named} has made nothing.", "restoreId")
    # Not validated: a document's secret begins with `replant/`, the plan's as this stack has it.
    document = ClusterDocument.model_construct(id=plan.target, secret=plan.secret)
    with connecting.connect(
        secrets.kubeconfig_of(clients.secrets, document),
        document,
        allow_loopback=clients.allow_loopback,
        connections=CONNECTIONS,
        deadline=clients.clock.monotonic() + call.seconds - LAST,
    ) as target:
        problems = list(_change_all(target, ledger))
    return _finish(clients, record, problems)


def _keep(clients: Clients, record: RestoreRecord) -> None:
    """As the decision does, for who did not decide it before. Raises Refused."""
    while True:
        found = temporaries.read(clients.table, record.restore_id)
        kept = expiry.keep(found, record, None, clients.clock.now())
        if not kept.accepted:
            raise Refused(kept.message, "restoreId")
        if kept.changes is None or found is None:
            return
        if temporaries.change(clients.table, found, clients.clock.now(), **kept.changes):
            return


def _change_all(target: TargetCluster, ledger: RollbackLedger) -> Iterator[dict[str, Any]]:
    """What could not be changed, and why; what is gone, or another client's by now, is none."""
    marked = f"{labels.RESTORE}={ledger.id}"
    volumes = {
        each["metadata"]["name"]: each
        for each in target.list("Volume", labels.LONGHORN_NAMESPACE, labels=marked)
    }
    for made in (each for objects in ledger.objects().values() for each in objects):
        change = _change(made, volumes)
        if change is None or made.uid is None:
            continue
        try:
            target.patch(made.kind, made.namespace, made.name, change, uid=made.uid)
        except Conflict:
            continue
        except (Rejected, Unavailable) as error:
            said = made.model_dump(mode="json", include={"kind", "namespace", "name"})
            yield said | {"reason": error.message}


def _change(made: ObjectResult, volumes: dict[str, Any]) -> Change | None:
    """None for what says nothing of its time, or is gone."""
    if made.kind == "VirtualMachine":
        marks = {"labels": {labels.TEMPORARY: None}, "annotations": {labels.EXPIRES: None}}
        return {"metadata": marks}
    if made.kind != "Volume" or made.name not in volumes:
        return None
    change: Change = {"metadata": {"labels": {labels.TEMPORARY: None, labels.UNBACKED: None}}}
    usual = str(dig(volumes[made.name], "metadata", "annotations", labels.REPLICAS) or "")
    if usual.isascii() and usual.isdecimal() and len(usual) < 3:
        change["spec"] = {"numberOfReplicas": int(usual)}
    return change


def _finish(clients: Clients, record: RestoreRecord, problems: list[dict[str, Any]]) -> Progress:
    """In the form of a rollback, of which it is the opposite."""
    if not problems:
        found = temporaries.read(clients.table, record.restore_id)
        if found:
            temporaries.change(clients.table, found, clients.clock.now(), settled=True)
    counts = {"deleted": 0, "gone": 0, "kept": sum(record.counts.values())}
    output = {
        "state": "partial" if problems else "succeeded",
        "counts": counts,
        "kept": problems,
        "report": record.report,
    }
    moved_at = to_instant(clients.clock.now())
    return Progress(True, 0, counts, 0, moved_at, output=output)
