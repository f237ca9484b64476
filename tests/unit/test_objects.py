"""A machine's metadata as it was catalogued: read again, or refused with what became of it."""

from typing import Any, cast

import pytest

from shared.aws.objects import metadata
from shared.errors import Refused
from shared.models.restore_points import Source
from tests.memory_services import MemoryS3

KEY = "harvester/vmbackups/default/nightly.cfg"


@pytest.fixture
def s3() -> MemoryS3:
    made = MemoryS3()
    made.write("backups", KEY, "v1", b'{"name":"nightly"}')
    return made


def read(s3: MemoryS3, *, etag: str = "etag-v1", version_id: str | None = "v1") -> bytes:
    source = Source(bucket="backups", key=KEY, version_id=version_id, etag=etag, sequencer="1")
    return metadata(cast(Any, s3), source)


def test_the_version_that_was_catalogued_is_read(s3: MemoryS3) -> None:
    s3.write("backups", KEY, "v2", b'{"name":"other"}')
    assert read(s3) == b'{"name":"nightly"}'
    assert s3.opened[-1].closed


def test_an_object_that_was_changed_since_is_refused_unread(s3: MemoryS3) -> None:
    s3.write("backups", KEY, "v2", b'{"name":"other"}')
    with pytest.raises(Refused, match="was changed since it was catalogued"):
        read(s3, version_id=None)
    assert s3.opened[-1].closed


def test_an_object_that_was_deleted_since_is_refused(s3: MemoryS3) -> None:
    s3.remove("backups", KEY, "v1")
    for version_id in ("v1", None):
        with pytest.raises(Refused, match="was deleted since it was catalogued"):
            read(s3, version_id=version_id)


def test_an_object_that_was_archived_since_is_refused(s3: MemoryS3) -> None:
    s3.refusals["backups", KEY] = "InvalidObjectState"
    with pytest.raises(Refused, match=r"s3://backups/harvester/.*nightly\.cfg: It lies in an arch"):
        read(s3)


def test_an_outage_is_not_a_change(s3: MemoryS3) -> None:
    s3.refusals["backups", KEY] = "SlowDown"
    with pytest.raises(Exception, match="SlowDown"):
        read(s3)
