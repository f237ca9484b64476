"""The schedules of drills -> in line with the recovery plans: made, changed, deleted. Whether one
is enabled is left as it is: who switches it off has a reason.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws.table import Table
from shared.catalogue import documents
from shared.runs import failovers
from shared.runs.failovers import Lock
from shared.watch import drills
from shared.watch.difference import difference
from shared.watch.drills import Start
from shared.workflows.clock import Clock
from shared.workflows.failover.practice import overdue

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient


class Clients(NamedTuple):
    """What is read and written; GROUP is the stack's own, so that all in it is ours."""

    table: Table
    scheduler: "EventBridgeSchedulerClient"
    group: str
    start: Start
    clock: Clock = Clock()


class Kept(NamedTuple):
    """The plans whose schedules were changed, and those whose drill is overdue."""

    put: tuple[str, ...]
    deleted: tuple[str, ...]
    overdue: tuple[str, ...]


def keep_schedules(clients: Clients) -> Kept:
    """What is not made or deleted this time, since a call fails, is the next time."""
    plans = documents.recovery_plans(clients.table)
    wanted = drills.wanted(clients.start, plans)
    told = {name: _told(clients, name) for name in _names(clients)}
    found = {name: drills.settings(each) for name, each in told.items()}
    differs = difference(wanted, found)
    for name in differs.put:
        _put(clients, name, wanted[name], told.get(name))
    for name in differs.surplus:
        clients.scheduler.delete_schedule(GroupName=clients.group, Name=name)
    locks, now = failovers.drill_locks(clients.table), clients.clock.now()
    late = (each.name for each in plans if overdue(each, locks.get(each.name, Lock()), now))
    return Kept(differs.put, differs.surplus, tuple(sorted(late)))


def _names(clients: Clients) -> list[str]:
    pages = clients.scheduler.get_paginator("list_schedules").paginate(GroupName=clients.group)
    return [each["Name"] for page in pages for each in page["Schedules"]]


def _told(clients: Clients, name: str) -> Any:
    return clients.scheduler.get_schedule(GroupName=clients.group, Name=name)


def _put(clients: Clients, name: str, settings: drills.Settings, before: Any) -> None:
    if before is None:
        clients.scheduler.create_schedule(GroupName=clients.group, Name=name, **settings)
        return
    state = before.get("State", "ENABLED")
    clients.scheduler.update_schedule(GroupName=clients.group, Name=name, State=state, **settings)
