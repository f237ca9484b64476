"""A bucket of the embedded AWS in, a cluster whose Longhorn uses it as backup target out."""

import base64
import json

from local import cloud
from local.api import Api, Object, path
from local.longhorn.resources import NAMESPACE, VERSION
from local.longhorn.store import Store, address

POLL_SECONDS = 3


def configure(api: Api, bucket: str, endpoint: str, poll: int = POLL_SECONDS) -> None:
    """Harvester's setting `backup-target`; its own controller makes the rest of it, if it runs.

    POLL: seconds between two looks at the bucket.
    """
    value = {
        "type": "s3",
        "endpoint": endpoint,
        "accessKeyId": "test",
        "secretAccessKey": "test",
        "bucketName": bucket,
        "bucketRegion": cloud.REGION,
        "cert": "",
        "virtualHostedStyle": False,
        "refreshIntervalInSeconds": poll,
    }
    setting = {
        "apiVersion": "harvesterhci.io/v1beta1",
        "kind": "Setting",
        "metadata": {"name": "backup-target"},
        "default": "{}",
        "value": json.dumps(value),
    }
    api.apply(setting)


def attach(api: Api, name: str, url: str, endpoint: str, poll: int = POLL_SECONDS) -> None:
    """Make the BackupTarget of that name, and the Secret with its credentials, or change them."""
    secret = f"{name}-credentials"
    keys = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINTS": endpoint,
    }
    api.apply(_object("v1", "Secret", secret, stringData=keys))
    spec = {"backupTargetURL": url, "credentialSecret": secret, "pollInterval": interval(poll)}
    api.apply(_object(VERSION, "BackupTarget", name, spec=spec))


def interval(seconds: int) -> str:
    """As Longhorn writes it."""
    return f"{seconds}s"


def store(api: Api, name: str) -> Store:
    """The bucket of a BackupTarget, with the credentials that it names. Raises ApiException, and
    ValueError for a URL that is none of S3's.
    """
    spec = api.call("GET", path(VERSION, "backuptargets", NAMESPACE, name))["spec"]
    where = address(spec["backupTargetURL"])
    secret = spec.get("credentialSecret")
    if not secret:
        return Store(where, {})
    data = api.call("GET", path("v1", "secrets", NAMESPACE, secret)).get("data") or {}
    keys = {name: base64.b64decode(value).decode() for name, value in data.items()}
    return Store(where, keys)


def url_of(bucket: str, prefix: str = "") -> str:
    """As Harvester writes it."""
    return f"s3://{bucket}@{cloud.REGION}/{prefix}"


def _object(version: str, kind: str, name: str, **parts: object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}
