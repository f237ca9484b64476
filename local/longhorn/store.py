"""A backup target's URL and credentials in, the records of its backup store out.

Read as Longhorn's backupstore reads them (see shared/layouts/longhorn.py), whole files, since the
stores of the embedded runtime are small.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

import boto3
from botocore.config import Config

from local.api import Object

VOLUME = re.compile(r"volumes/[0-9a-f]{2}/[0-9a-f]{2}/([a-z0-9][a-z0-9_.-]+)/volume\.cfg")
BACKUP = re.compile(
    r"volumes/[0-9a-f]{2}/[0-9a-f]{2}/([a-z0-9][a-z0-9_.-]+)/backups/backup_(.+)\.cfg"
)
IMAGE = re.compile(r"backing-images/backing-images/([^/]+)/backing-image\.cfg")
# s3://BUCKET@REGION/PREFIX/ (backupstore s3/s3.go)
_URL = re.compile(r"s3://([^@/]+)@([^/]+)/(.*)")
_TWICE = ("BackingImageName", "BackingImageChecksum", "StorageClassName")


class Address(NamedTuple):
    """Where a backup target lies; PREFIX ends in a slash, or is empty."""

    url: str
    bucket: str
    region: str
    prefix: str

    def of(self, **query: str) -> str:
        """The URL of a backup, or of a backing image, in it."""
        return f"{self.url}?{urlencode(sorted(query.items()))}"


@dataclass
class Records:
    """What the store says: volumes by name, their backups by name, and images by name.

    A record that cannot be read is left out, as Longhorn does.
    """

    volumes: dict[str, Object] = field(default_factory=dict)
    backups: dict[str, dict[str, Object]] = field(default_factory=dict)
    images: dict[str, Object] = field(default_factory=dict)


def address(url: str) -> Address:
    """Raises ValueError for a URL that is none of S3's."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"{url!r} must be s3://BUCKET@REGION/PATH/")
    bucket, region, path = match.groups()
    prefix = path.strip("/")
    return Address(url, bucket, region, f"{prefix}/" if prefix else "")


class Store:
    """One backup target. Bodies are kept by ETag: a sync reads only what changed.

    CREDENTIALS are the keys of Longhorn's credential secret (AWS_ACCESS_KEY_ID, …, AWS_ENDPOINTS).
    """

    def __init__(self, where: Address, credentials: Mapping[str, str]) -> None:
        self.where = where
        self._s3 = _client(where, credentials)
        self._known: dict[str, tuple[str, Object | None]] = {}

    def read(self) -> Records:
        """Raises what boto3 raises when the bucket cannot be listed."""
        found = Records()
        for key, etag in self._listed():
            path = key.removeprefix(f"{self.where.prefix}backupstore/")
            if match := VOLUME.fullmatch(path):
                self._add(found.volumes, match[1], key, etag)
            elif match := BACKUP.fullmatch(path):
                self._add(found.backups.setdefault(match[1], {}), match[2], key, etag)
            elif match := IMAGE.fullmatch(path):
                self._add(found.images, match[1], key, etag)
        return found

    def put(self, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=self.where.bucket, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket=self.where.bucket, Key=key)

    def _add(self, records: dict[str, Object], name: str, key: str, etag: str) -> None:
        known, record = self._known.get(key, ("", None))
        if known != etag:
            record = self._parsed(key)
            self._known[key] = etag, record
        if record:
            records[name] = record

    def _parsed(self, key: str) -> Object | None:
        body = self._s3.get_object(Bucket=self.where.bucket, Key=key)["Body"].read()
        try:
            record = json.loads(body)
            for name in _TWICE:
                if str(record.get(name, "")).startswith('"'):
                    record[name] = json.loads(record[name])
        except ValueError:
            return None
        return dict(record)

    def _listed(self) -> Iterator[tuple[str, str]]:
        pages = self._s3.get_paginator("list_objects_v2")
        for page in pages.paginate(
            Bucket=self.where.bucket, Prefix=f"{self.where.prefix}backupstore/"
        ):
            for each in page.get("Contents", []):
                if each["Key"].endswith(".cfg"):
                    yield each["Key"], each["ETag"]


def _client(where: Address, credentials: Mapping[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=credentials.get("AWS_ENDPOINTS") or None,
        region_name=where.region,
        aws_access_key_id=credentials.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=credentials.get("AWS_SECRET_ACCESS_KEY"),
        config=Config(
            proxies={},
            connect_timeout=3,
            read_timeout=10,
            retries={"max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )
