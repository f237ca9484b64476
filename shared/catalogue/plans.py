"""Plan documents -> whether the clusters that they name are known, which version counts: pure."""

from collections.abc import Collection, Iterable

from shared.catalogue.rows import Row
from shared.models.documents import PlanDocument
from shared.validation import listed


def claim(row: Row) -> PlanDocument | None:
    return row.said(PlanDocument) if row.in_force else None


def problem(row: Row, clusters: Collection[str]) -> str | None:
    """Why a readable plan is not in force: CLUSTERS are those with a document."""
    plan = claim(row)
    if plan is None:
        return None
    for key, cluster in (("source", plan.source), ("target", plan.target)):
        if cluster not in clusters:
            return (
                f"{key}: unknown cluster {cluster!r}. Known: {listed(clusters)}. Correct it, or put"
                f" clusters/{cluster}.yaml into the state bucket: the plan is then taken by itself."
            )
    return None


def ids_in_force(rows: Iterable[Row]) -> set[str]:
    """Of all documents of a kind."""
    return {row.sk.partition("/")[2] for row in rows if row.in_force}


def with_earlier(row: Row, stored: Row | None, clusters: Collection[str]) -> Row:
    """A plan's ROW with the version that counts while its own clusters are not known: the one that
    is STORED, or what that one kept. Of two versions whose events come in the other order the
    older one is never seen: then none is in force, which people are told.
    """
    plan, before = row.said(PlanDocument), stored and claim(stored)
    if plan is None or not before:
        return row
    earlier = before.earlier
    if {before.source, before.target} <= set(clusters):
        earlier = before.text
    return row.model_copy(update={"facts": plan.model_copy(update={"earlier": earlier})})
