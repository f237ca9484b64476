"""Whether a namespace that a restore made may be deleted: it takes all that it holds with it."""

from shared.errors import Refused, Rejected, Unavailable
from shared.kube import contents
from shared.kube.client import TargetCluster
from shared.restore import rollback
from shared.workflows.clock import Clock

PATIENCE = 20.0
"""Seconds that the cluster gets to count, and that what goes after its owner gets to go."""

POLL = 1.0


def why_it_stays(
    target: TargetCluster, restore_id: str, namespace: str, clock: Clock
) -> str | None:
    """None for one that holds nothing but what every namespace has."""
    until = clock.monotonic() + PATIENCE

    def wait() -> bool:
        clock.sleep(POLL)
        return clock.monotonic() < until

    try:
        kinds = target.namespaced_kinds()
        counted = contents.count(target, namespace, restore_id, kinds, wait=wait)
        while rollback.is_leaving(counted) and wait():
            counted |= contents.count(target, namespace, restore_id, kinds, wait=wait)
        return rollback.why_namespace_stays(kinds, counted)
    except (Rejected, Unavailable, Refused) as error:
        return f"what it holds could not be counted: {error.message}"
