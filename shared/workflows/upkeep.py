"""What AWS keeps for us beside the stack -> in line with the documents: made, changed, deleted."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.aws.table import Table
from shared.catalogue import documents, observations
from shared.runs import replications
from shared.watch import alarms
from shared.watch.alarms import Alarm, Owner
from shared.watch.difference import difference
from shared.workflows.clock import Clock
from shared.workflows.hurrying import Hurry

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

RECENT = timedelta(minutes=3)
"""How old the last look at a cluster may be when its alarm is made."""

COPIED_EVERY = 5  # minutes
COPIED_WITHIN = timedelta(days=1)
"""The newest backups of a recovery plan that says no RPO."""


class Clients(NamedTuple):
    """What upkeep reads and writes; OWNER is the stack."""

    table: Table
    cloudwatch: "CloudWatchClient"
    owner: Owner
    clock: Clock = Clock()


class Kept(NamedTuple):
    """What was changed, by name."""

    put: tuple[str, ...]
    deleted: tuple[str, ...]


def keep_alarms(clients: Clients) -> Kept:
    """Asks once, and where nothing differs does nothing more. What is not made or deleted this
    time, since a call fails, is the next time.
    """
    wanted = alarms.wanted(
        clients.owner,
        [each.id for each in documents.cluster_documents(clients.table)],
        documents.sources(clients.table),
        _copied(clients.table),
    )
    described = {each["AlarmName"]: each for each in _describe(clients)}
    found = {
        title: alarms.settings(each)
        for title, each in described.items()
        if title in wanted or alarms.may_be_ours(clients.owner, each)
    }
    differs = difference({title: each.settings for title, each in wanted.items()}, found)
    watched = _watched(clients)
    put = [
        title
        for title in differs.put
        if title in found or wanted[title].subject in watched or not wanted[title].needs_data
    ]
    for title in put:
        _put(clients, title, wanted[title], described.get(title))
    surplus = [title for title in differs.surplus if _is_ours(clients, described[title])]
    for title in surplus:
        # One at a time: a policy knows one alarm by its name.
        clients.cloudwatch.delete_alarms(AlarmNames=[title])
    return Kept(tuple(put), tuple(surplus))


def call_for_copies(hurry: Hurry, clock: Clock) -> bool:
    """Every five minutes, where a plan or a target wants any."""
    return clock.now().minute % COPIED_EVERY == 0 and hurry.call()


def _watched(clients: Clients) -> set[tuple[str, str]]:
    """Whose metrics there are today."""
    since = clients.clock.now() - RECENT
    found = {(alarms.UNREACHABLE, each) for each in observations.watched(clients.table, since)}
    copied = replications.all_of(clients.table)
    kinds = {of: kind for kind, of in alarms.OF.items()}
    return found | {(kinds[each.kind], each.name) for each in copied if each.looked}


def _copied(table: Table) -> dict[tuple[str, str], timedelta]:
    plans = (each for each in documents.recovery_plans(table) if each.replicate)
    found = {
        (alarms.REPLICATION, each.name): each.objectives.rpo or COPIED_WITHIN for each in plans
    }
    targets = (each for each in documents.targets(table) if each.replicas)
    return found | {(alarms.REPLICAS, each.id): COPIED_WITHIN for each in targets}


def _describe(clients: Clients) -> Iterator[Any]:
    pages = clients.cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=clients.owner.prefix, AlarmTypes=["MetricAlarm"]
    )
    for page in pages:
        yield from page["MetricAlarms"]


def _put(clients: Clients, title: str, alarm: Alarm, before: Any) -> None:
    tags: Any = [{"Key": key, "Value": value} for key, value in alarm.tags.items()]
    if before is None:
        clients.cloudwatch.put_metric_alarm(AlarmName=title, **alarm.settings, Tags=tags)
        return
    # CloudWatch takes tags with a new alarm only, and unmutes one that does not say that it is.
    enabled = before.get("ActionsEnabled", True)
    clients.cloudwatch.put_metric_alarm(AlarmName=title, **alarm.settings, ActionsEnabled=enabled)
    clients.cloudwatch.tag_resource(ResourceARN=before["AlarmArn"], Tags=tags)


def _is_ours(clients: Clients, described: Any) -> bool:
    answer = clients.cloudwatch.list_tags_for_resource(ResourceARN=described["AlarmArn"])
    tags = {each["Key"]: each["Value"] for each in answer["Tags"]}
    return alarms.is_ours(clients.owner, described["AlarmName"], tags)
