"""The last look at each cluster: one row, which only ever becomes newer."""

from datetime import datetime

from shared.aws.table import Item, Table
from shared.models.observations import BLIND, Observation, SeenVersions
from shared.models.row_keys import EXPIRES, KEPT, OBSERVATIONS, observation


def observe(previous: Observation | None, now: Observation) -> Observation:
    """NOW with what it takes over from the look before it: since when there is no answer, when
    there was the last one, and the versions that were not seen this time.
    """
    return now.model_copy(
        update={
            "versions": _versions(previous, now),
            "unreachable_since": _unreachable_since(previous, now),
            "last_alive": now.at if now.alive else previous and previous.last_alive,
        }
    )


def read(table: Table, cluster: str) -> Observation | None:
    """None of a cluster that nobody has looked at yet."""
    return _of(table.get(observation(cluster)))


def watched(table: Table, since: datetime) -> set[str]:
    """Clusters at which somebody looks by now, since then for the last time: not only once."""
    return {
        row["sk"]
        for row in table.query(OBSERVATIONS)
        if row["revision"] > 1 and Observation.model_validate_json(row["body"]).at >= since
    }


def record(table: Table, now: Observation) -> Observation:
    """Write it down, unless a newer one is there already; returns the newest."""
    while True:
        row = table.get(observation(now.cluster))
        previous = _of(row)
        if previous and previous.at > now.at:
            return previous
        observed = observe(previous, now)
        if _write(table, observed, int(row["revision"]) if row else 0):
            return observed


def _versions(previous: Observation | None, now: Observation) -> SeenVersions:
    """A cluster that is gone has those that it had."""
    if previous is None:
        return now.versions
    seen = now.versions.model_dump(exclude_none=True)
    return previous.versions.model_copy(update=seen)


def _unreachable_since(previous: Observation | None, now: Observation) -> object:
    if now.alive:
        return None
    before = previous and previous.unreachable_since
    if now.answer in BLIND:
        return before
    return before or now.at


def _of(row: Item | None) -> Observation | None:
    return Observation.model_validate_json(row["body"]) if row else None


def _write(table: Table, observed: Observation, before: int) -> bool:
    """False when another look was written meanwhile."""
    pk, sk = observation(observed.cluster)
    row = {
        "pk": pk,
        "sk": sk,
        "body": observed.model_dump_json(),
        "revision": before + 1,
        EXPIRES: int((observed.at + KEPT).timestamp()),
    }
    if before == 0:
        return table.put(row, condition="attribute_not_exists(pk)", values={})
    return table.put(row, condition="revision = :before", values={":before": before})
