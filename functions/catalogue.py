"""Object events of the backup buckets and the state bucket -> rows of the catalogue, in whatever
order they come.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.aws.table import Table
from shared.catalogue import events
from shared.catalogue.ingest import Index, Recorded
from shared.catalogue.rows import Row
from shared.errors import Unreadable
from shared.layouts import documents, keys, read
from shared.layouts.keys import Kind, Place
from shared.models import BackupTarget, Facts, Quarantined
from shared.observe import logger, metrics
from shared.settings import settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

CHUNK = 2**20
FACTS_LIMIT = 300_000  # a row of DynamoDB has at most 400 KB
QUEUE_BATCH = 10

batch = BatchProcessor(event_type=EventType.SQS)


class Clients(NamedTuple):
    """Made once a sandbox."""

    s3: Any
    sns: Any
    sqs: Any
    catalogue: Index


@cache
def clients() -> Clients:
    table = Table(boto3.client("dynamodb"), settings().catalogue_table)
    index = Index(table, now=lambda: datetime.now(UTC))
    return Clients(boto3.client("s3"), boto3.client("sns"), boto3.client("sqs"), index)


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> "PartialItemFailureResponse":
    return process_partial_response(event, catalogue, batch, context)


def catalogue(record: SQSRecord) -> None:
    event = events.parse(record.body)
    row = row_of(event)
    if row is None:
        return
    index = clients().catalogue
    recorded = repeated(row) if event.replayed else index.record(row)
    if entry := index.quarantine(recorded):
        announce(entry)
    index.follow(recorded)
    repeat_objects(recorded)
    metrics.add_metric("ObjectsCatalogued", MetricUnit.Count, 1)
    logger.info(
        "catalogued",
        extra={"object": row.url, "kind": row.kind, "deleted": row.deleted, "problem": row.problem},
    )


def row_of(event: events.ObjectEvent) -> Row | None:
    """What the event and the object's bytes say; None for an object of no use or one that is gone
    again.
    """
    place, problem = placed(event.bucket, event.key)
    if place.kind is Kind.OTHER:
        return None
    said = event.detail.object
    state = {
        "deleted": event.deleted,
        "problem": None if event.deleted else problem,
        "version_id": said.version_id,
    }
    row = Row.seen(place, event.bucket, event.key, said.sequencer, event.time, **state)
    return row if event.deleted or event.replayed or problem else filled(row, place)


def placed(bucket: str, key: str) -> tuple[Place, str | None]:
    try:
        return (documents if bucket == settings().state_bucket else keys).recognise(key), None
    except Unreadable as error:
        return Place(Kind.UNKNOWN, ""), error.message


def filled(row: Row, place: Place) -> Row | None:
    """The row with what the object's bytes say, or with the problem that they have."""
    found = fetched(row)
    if found is None:
        logger.info("gone again", extra={"object": row.url})
        return None
    identity = {
        "etag": found["ETag"].strip('"'),
        "version_id": found.get("VersionId") or row.version_id,
    }
    try:
        facts = parsed(place, found["Body"].iter_chunks(CHUNK)).model_dump_json()
        if len(facts) > FACTS_LIMIT:
            raise Unreadable(
                f"says {len(facts)} bytes about one object; the catalogue keeps {FACTS_LIMIT}"
            )
    except Unreadable as error:
        return row.model_copy(update=identity | {"problem": error.message})
    finally:
        found["Body"].close()
    return row.model_copy(update=identity | {"facts": facts})


def fetched(row: Row) -> "GetObjectOutputTypeDef | None":
    s3 = clients().s3
    version = {"VersionId": row.version_id} if row.version_id else {}
    try:
        found: GetObjectOutputTypeDef = s3.get_object(Bucket=row.bucket, Key=row.key, **version)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion", "404"):
            return None
        raise
    return found


def parsed(place: Place, chunks: Iterable[bytes]) -> Facts | Any:
    if place.kind not in documents.KINDS:
        return read(place, chunks)
    return documents.parse(
        place, b"".join(chunks), buckets=frozenset(settings().backup_buckets.split(","))
    )


def repeated(row: Row) -> Recorded:
    """The row as it stands, to be followed again."""
    return Recorded(clients().catalogue.stored((row.pk, row.sk)) or row, None, fresh=False)


def announce(entry: Quarantined) -> None:
    metrics.add_metric("ObjectsQuarantined", MetricUnit.Count, 1)
    clients().sns.publish(
        TopicArn=settings().notification_topic,
        Subject="Replant: an object cannot be read",
        Message=entry.model_dump_json(indent=2),
    )


def repeat_objects(recorded: Recorded) -> None:
    """Sends the machines below a new, changed or removed target through the queue once more, to
    find their owner.
    """
    row, before = recorded.row, recorded.before
    if row.kind != Kind.TARGET or (row.problem and not row.deleted):
        return
    targets: set[BackupTarget] = {
        known for known in (row.known(), before and before.known()) if known
    }
    index = clients().catalogue
    messages = (
        events.replay(machine) for target in targets for machine in index.machines_below(target)
    )
    while entries := list(_entries(islice(messages, QUEUE_BATCH))):
        answer = clients().sqs.send_message_batch(
            QueueUrl=settings().catalogue_queue, Entries=entries
        )
        if answer.get("Failed"):
            raise RuntimeError(
                f"the queue took not all of {len(entries)} messages; the event is retried"
            )


def _entries(messages: Iterable[str]) -> Iterator[dict[str, str]]:
    return ({"Id": str(number), "MessageBody": message} for number, message in enumerate(messages))
