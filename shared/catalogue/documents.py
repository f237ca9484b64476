"""Our own documents as the catalogue has them: those in force, and why another one is not."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

from shared.aws.table import Table
from shared.catalogue import plans, quarantine
from shared.catalogue.rows import Row
from shared.catalogue.targets import conflict, in_force
from shared.errors import NotFound
from shared.models import row_keys
from shared.models.documents import BackupTarget, ClusterDocument
from shared.models.facts import Document, Kind

if TYPE_CHECKING:
    from shared.models.recovery_plans import RecoveryPlan


@overload
def document(table: Table, kind: Literal["clusters"], id_: str) -> ClusterDocument | None: ...
@overload
def document(table: Table, kind: Literal["targets"], id_: str) -> BackupTarget | None: ...
def document(table: Table, kind: str, id_: str) -> Document | None:
    """The document in force, None when there is none: `why_unknown` says why."""
    row = _document_row(table, kind, id_)
    if row is None or not row.in_force:
        return None
    if row.kind is Kind.TARGET and conflict(row, _document_rows(table, kind)):
        return None
    return row.said(ClusterDocument) or row.said(BackupTarget)


@overload
def need(table: Table, kind: Literal["clusters"], id_: str, field: str) -> ClusterDocument: ...
@overload
def need(table: Table, kind: Literal["targets"], id_: str, field: str) -> BackupTarget: ...
def need(table: Table, kind: Any, id_: str, field: str) -> Document:
    """The document in force. Raises NotFound, which says that FIELD names none."""
    found: Document | None = document(table, kind, id_)
    if found is None:
        raise NotFound(why_unknown(table, kind, id_), field)
    return found


def cluster_documents(table: Table) -> list[ClusterDocument]:
    """All that are in force."""
    found = (each.said(ClusterDocument) for each in _in_force(table, "clusters"))
    return [each for each in found if each]


def sources(table: Table) -> set[str]:
    """The clusters that backups or recovery plans in force are of."""
    found = {each.source for each in recovery_plans(table)}
    return found | {each.cluster for each in targets(table)}


def targets(table: Table) -> tuple[BackupTarget, ...]:
    """All that are in force."""
    return in_force(_document_rows(table, "targets"))


def targets_of(table: Table, cluster: str) -> list[str]:
    """The places in force where a cluster writes its backups."""
    return [each.id for each in targets(table) if each.cluster == cluster]


def plan(table: Table, name: str) -> "RecoveryPlan | None":
    """The plan in force, None when there is none: `why_unknown` says why."""
    row = _document_row(table, "plans", name)
    return _plan(row, plans.ids_in_force(_document_rows(table, "clusters"))) if row else None


def plans_of(table: Table, source: str) -> "list[RecoveryPlan]":
    """All plans in force for the machines of a cluster."""
    return [each for each in recovery_plans(table) if each.source == source]


def recovery_plans(table: Table) -> "list[RecoveryPlan]":
    """All plans in force."""
    clusters = plans.ids_in_force(_document_rows(table, "clusters"))
    found = (_plan(row, clusters) for row in _document_rows(table, "plans"))
    return [each for each in found if each]


def plan_names(table: Table) -> list[str]:
    """Of all plans, those too that were deleted or are not in force: what came of them lasts."""
    return [row["sk"].partition("/")[2] for row in table.query(row_keys.DOCUMENTS, "plans/")]


def _plan(row: Row, clusters: set[str]) -> "RecoveryPlan | None":
    """The newest version whose clusters are known."""
    from shared.models.recovery_plans import RecoveryPlan  # only where a plan is asked for

    claim = plans.claim(row)
    for text in filter(None, (claim.text, claim.earlier) if claim else ()):
        found = RecoveryPlan.model_validate_json(text)
        if {found.source, found.target} <= clusters:
            return found
    return None


def why_unknown(table: Table, kind: Literal["clusters", "targets", "plans"], id_: str) -> str:
    """The sentence for whoever names a document that is not in force."""
    in_quarantine = _quarantine_of(table, kind, id_)
    if in_quarantine:
        return in_quarantine
    known = plans.ids_in_force(_document_rows(table, kind))
    unknown = _unknown(kind.removesuffix("s"), id_, known)
    return f"{unknown} Put {kind}/{id_}.yaml into the state bucket."


def clusters(table: Table) -> list[str]:
    """Every cluster that ever had a restore point."""
    return sorted(row["sk"] for row in table.query(row_keys.CLUSTERS))


def check_cluster(table: Table, cluster: str) -> None:
    """Raises NotFound for a cluster that no document in force and no restore point names."""
    known = set(clusters(table))
    known |= {target.cluster for target in targets(table)}
    known |= plans.ids_in_force(_document_rows(table, "clusters"))
    if cluster not in known:
        in_quarantine = _quarantine_of(table, "clusters", cluster)
        raise NotFound(in_quarantine or _unknown("cluster", cluster, known), "cluster")


def _quarantine_of(table: Table, kind: str, id_: str) -> str | None:
    """Why a document is in quarantine, as a sentence; None for one that is not."""
    row = _document_row(table, kind, id_)
    reason = quarantine.why(table, row) if row else None
    if row is None or reason is None:
        return None
    return f"{row.key} is in quarantine, and no earlier version of it is in force: {reason}"


def _unknown(what: str, id_: str, known: Iterable[str]) -> str:
    names = ", ".join(sorted(known)) or "none"
    return f"Unknown {what} {id_!r}. Known: {names}."


def _document_row(table: Table, kind: str, id_: str) -> Row | None:
    item = table.get(row_keys.document(kind, id_))
    return Row.of(item) if item else None


def _in_force(table: Table, kind: str) -> list[Row]:
    return [row for row in _document_rows(table, kind) if row.in_force]


def _document_rows(table: Table, kind: str) -> list[Row]:
    return [Row.of(item) for item in table.query(row_keys.DOCUMENTS, f"{kind}/")]
