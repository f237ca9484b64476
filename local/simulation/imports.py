"""CDI: a DataVolume with an image in S3 in; its claim, and how far the image is, out.

As containerized-data-importer does it without populators (pkg/controller/datavolume,
pkg/importer/s3-datasource.go), and without writing anything: the claim has the labels and
annotations of the DataVolume, which owns it, and is made again when it is gone; the image is read,
whole, with the keys of the secret, and its size has to fit.
"""

import argparse
import base64
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from kubernetes.utils.quantity import parse_quantity

from local.api import JSON, MERGE, Api, Object, path
from local.simulation.controller import Controller
from local.watch.world import FAULTS, Faults

CDI = "cdi.kubevirt.io/v1beta1"
PLURAL = "datavolumes"
CLAIMS = "persistentvolumeclaims"
CHUNK = 2**20
DONE = "Succeeded"
POPULATOR = "cdi.kubevirt.io/storage.usePopulator"


class Imports(Controller):
    """Of one cluster."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._begun: dict[str, float] = {}

    def look(self) -> None:
        for volume in self.api.call("GET", path(CDI, PLURAL))["items"]:
            if not volume["metadata"].get("deletionTimestamp"):
                self._bring(volume)

    def _bring(self, volume: Object) -> None:
        metadata = volume["metadata"]
        claim = self.get("v1", CLAIMS, metadata["namespace"], metadata["name"])
        if claim is None:
            self._make_claim(volume)
            return
        owners = claim["metadata"].get("ownerReferences") or [{}]
        if owners[0].get("uid") != metadata["uid"]:
            self._tell(volume, "Pending", why=f"PVC {metadata['name']} is not owned by it")
        elif (volume.get("status") or {}).get("phase") != DONE:
            self._import(volume, claim)

    def _make_claim(self, volume: Object) -> None:
        metadata = volume["metadata"]
        owner = {
            "apiVersion": CDI,
            "kind": "DataVolume",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        labels = {"app": "containerized-data-importer", **metadata.get("labels", {})}
        made = {
            "name": metadata["name"],
            "labels": labels,
            "annotations": metadata.get("annotations", {}),
            "ownerReferences": [owner],
        }
        body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": made}
        where = path("v1", CLAIMS, metadata["namespace"])
        self.api.call("POST", where, {**body, "spec": volume["spec"]["pvc"]}, JSON)

    def _import(self, volume: Object, claim: Object) -> None:
        if (volume["metadata"].get("annotations") or {}).get(POPULATOR) != "false":
            self._tell(volume, "Pending", why="populators are not simulated")
            return
        source = volume["spec"]["source"]["s3"]
        secret = self.get("v1", "secrets", volume["metadata"]["namespace"], source["secretRef"])
        if secret is None or (claim.get("status") or {}).get("phase") != "Bound":
            self._tell(volume, "ImportScheduled", progress="N/A")
            return
        room = int(parse_quantity(claim["spec"]["resources"]["requests"]["storage"]))  # type: ignore[no-untyped-call]
        if why := _why_not(source["url"], secret["data"], room):
            self._tell(volume, "ImportInProgress", progress="N/A", why=why)
            return
        percent = self._percent(volume)
        phase = DONE if percent >= 100 else "ImportInProgress"
        self._tell(volume, phase, progress=f"{percent:.2f}%")

    def _percent(self, volume: Object) -> float:
        """By the time that a restored volume takes as well."""
        data = (self.get("v1", "configmaps", *FAULTS) or {}).get("data") or {}
        takes = Faults.of(data).restore_seconds
        now = time.monotonic()
        begun = self._begun.setdefault(volume["metadata"]["uid"], now)
        return min(100.0, 100 * (now - begun) / takes) if takes else 100.0

    def _tell(self, volume: Object, phase: str, *, progress: str = "N/A", why: str = "") -> None:
        running = {"type": "Running", "status": "False", "message": why}
        ready = {"type": "Ready", "status": str(phase == DONE)}  # which KubeVirt looks at
        status = {"phase": phase, "progress": progress, "conditions": [running, ready]}
        before = volume.get("status") or {}
        if {name: before.get(name) for name in status} == status:
            return
        metadata = volume["metadata"]
        where = path(CDI, PLURAL, metadata["namespace"], metadata["name"])
        self.api.call("PATCH", f"{where}/status", {"status": status}, MERGE)


def _why_not(url: str, keys: dict[str, str], room: int) -> str:
    """What CDI's pod would say."""
    parts = urlsplit(url)
    bucket, _, key = parts.path.strip("/").partition("/")
    try:
        s3 = _client(f"{parts.scheme}://{parts.netloc}", keys)
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        size = sum(len(chunk) for chunk in body.iter_chunks(CHUNK))
    except (BotoCoreError, ClientError, KeyError) as error:
        return f'Unable to process data: could not get s3 object: "{bucket}/{key}": {error}'
    if size > room:
        return f"Virtual image size {size} is larger than the reported available storage {room}"
    return ""


def _client(endpoint: str, keys: dict[str, str]) -> Any:
    id_, key = (base64.b64decode(keys[name]).decode() for name in ("accessKeyId", "secretKey"))
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=id_,
        aws_secret_access_key=key,
        config=Config(proxies={}, retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def main() -> None:
    """A program of one cluster, beside real controllers, until a signal ends it."""
    parser = argparse.ArgumentParser(description="CDI without data, beside one cluster")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    Imports(Api(parser.parse_args().kubeconfig)).run()


if __name__ == "__main__":
    main()
