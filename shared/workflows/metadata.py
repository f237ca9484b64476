"""A restore point's metadata as it lies in its bucket -> as a restore is made of it."""

from typing import TYPE_CHECKING, Any

from shared.aws import objects
from shared.errors import Refused, Unreadable
from shared.models.restore_points import Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def read_metadata(s3: "S3Client", source: Source, vm: str) -> dict[str, Any]:
    """Of the machine VM (`namespace/name`), secrets included: never to be logged or kept. Raises
    Refused when it has changed, or is none.
    """
    # Here: most runs of a restore need no metadata, and start without all that reads it.
    from shared.layouts.machine_records import machine_record

    body = objects.metadata(s3, source)
    try:
        return machine_record(source.key, body, vm.partition("/")[2])
    except Unreadable as error:
        raise Refused(f"{source.url}: {error.message}") from None
