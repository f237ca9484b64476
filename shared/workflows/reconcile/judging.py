"""What was found in all ranges of a target -> what is to be looked at; and in the end, the outcome
told.
"""

import hashlib
from datetime import timedelta

from shared.aws import bucket_rules
from shared.catalogue import reconciling, retention
from shared.models.base import FILES, url_of
from shared.models.reconciles import Judgement, Run
from shared.models.row_keys import EXPIRES, KEPT, Key, told_incident, told_retention
from shared.runs.reconciles import files_of
from shared.workflows.reconcile.clients import Clients

FORGOTTEN = timedelta(days=2)

MOST_CHILDREN = 10_000
"""Executions that look at objects: their numbers are one state's input, which has 256 KiB."""


def judge(clients: Clients, id_: str) -> Judgement:
    """What is there is looked at in any case; what is not there any more only where that is no
    incident, or somebody has confirmed it. By the order of the keys Longhorn's records come before
    Harvester's metadata, so that most restore points are computed once.
    """
    notes = clients.notes(id_)
    run, tallies = notes.run(), notes.tallies()
    counts = reconciling.total(each.counts for each in tallies)
    incident = reconciling.is_incident(counts) and not run.confirm_vanished
    found: list[str] = []
    vanished: list[str] = []
    for number, tally in enumerate(tallies):
        there, gone = files_of(number, tally)
        found += there
        vanished += gone
    files = found if incident else [*found, *vanished]
    notes.save_files(files)
    state = "incident" if incident else "succeeded"
    children = min(len(files), MOST_CHILDREN)
    judgement = Judgement(state=state, counts=counts, files=len(files), children=children)
    notes.save_judgement(judgement, clients.clock.now())
    return judgement


def report(clients: Clients, id_: str) -> dict[str, object]:
    """The execution's output; an incident is told on the topic."""
    notes = clients.notes(id_)
    run, judgement = notes.run(), notes.judgement()
    counts = judgement.counts.model_dump(exclude={"known"})
    output: dict[str, object] = {"state": judgement.state, "counts": counts}
    if run.bucket != FILES:
        output["retention"] = _retention(clients, run)
    if judgement.state == "incident":
        output["message"] = _incident(run, judgement)
        if _is_news(clients, run, judgement):
            clients.catalogue.sns.publish(
                TopicArn=clients.names.topic,
                Subject=f"Replant: objects are missing in target {run.target}"[:99],
                Message=str(output["message"]),
            )
    return output


def _retention(clients: Clients, run: Run) -> dict[str, object]:
    """What the bucket does with its objects by itself; what harms backups is told once."""
    rules = bucket_rules.look(clients.catalogue.s3, run.bucket)
    problems = retention.problems(rules, run.bucket, run.prefix)
    if problems and _is_news_of(clients, told_retention(run.target), problems):
        clients.catalogue.sns.publish(
            TopicArn=clients.names.topic,
            Subject=f"Replant: target {run.target} is in danger"[:99],
            Message="\n".join(problems),
        )
    return {
        "versioning": rules.versioning,
        "objectLock": rules.lock,
        "problems": list(problems),
    }


def _is_news_of(clients: Clients, key: Key, said: tuple[str, ...]) -> bool:
    """Whether it is not what was told last, a week ago at most."""
    now = clients.clock.now()
    digest = hashlib.sha256("\n".join(said).encode()).hexdigest()
    week = f"{now:%G-W%V}"
    row = {
        "pk": key[0],
        "sk": key[1],
        "said": f"{week} {digest}",
        EXPIRES: int((now + KEPT).timestamp()),
    }
    return clients.table.put(
        row, condition="attribute_not_exists(pk) OR NOT said = :said", values={":said": row["said"]}
    )


def _is_news(clients: Clients, run: Run, judgement: Judgement) -> bool:
    """Whether the same was not told on that day: folders are scanned every quarter of an hour."""
    now = clients.clock.now()
    counts = judgement.counts
    key = told_incident(run.target, f"{now:%Y%m%d}", counts.vanished, counts.known)
    row = {
        "pk": key[0],
        "sk": key[1],
        "reconcile": run.id,
        EXPIRES: int((now + FORGOTTEN).timestamp()),
    }
    told = (
        "attribute_not_exists(pk) OR reconcile = :run"  # a report that is repeated tells it again
    )
    return clients.table.put(row, condition=told, values={":run": run.id})


def _incident(run: Run, judgement: Judgement) -> str:
    counts = judgement.counts
    return (
        f"{counts.vanished} of the {counts.known} objects that the catalogue knows below"
        f" {url_of(run.bucket, run.prefix)} (target {run.target}) are not there any more, and"
        f" {counts.listed} are listed. Nothing was deleted from the catalogue. Look at the bucket:"
        " whether somebody emptied it, whether a lifecycle rule did, whether the prefix moved; in a"
        " versioned bucket the objects can be brought back by removing their delete markers. If it"
        " is right that they are gone, start ReconcileStateMachine with"
        f' {{"target": "{run.target}", "confirmVanished": true}}.'
    )
