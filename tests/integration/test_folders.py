"""Folders that no Harvester wrote, on the running system: from S3's own events to the search.

Aspects: the events of their names, the rights to read them, an image by its first bytes alone.
Not aspects: what a folder may say (test_folders.py of the unit tests).
"""

import json
from typing import Any

import pytest

from local.samples.folders import GIB, chain, document, qcow2
from local.stack import Stack, wait

pytestmark = pytest.mark.timeout(200)

PLACE = "exports/db/pg-9/"


def put(stack: Stack, backup: str, files: dict[str, bytes]) -> None:
    stack.put((f"{PLACE}{backup}/{name}", body) for name, body in files.items())


def point(stack: Stack, backup: str) -> dict[str, Any]:
    found = stack.search(vm="db/pg-9", cluster="east").get("restorePoints", [])
    return next((each for each in found if each["backup"] == backup), {})


def test_a_chain_across_folders_is_restorable_and_what_it_loses_is_named(stack: Stack) -> None:
    where = f"id: exports\nurl: s3://{stack.bucket}/exports/\ncluster: east\n"
    stack.document("targets/exports.yaml", where)
    metadata = json.dumps(document(name="pg-9")).encode()
    root = {"disk-0.qcow2": qcow2(), "metadata.json": metadata}
    put(stack, "full", root)
    later = {
        "disk-0.qcow2": qcow2(),
        "snapshots.json": chain(("disk-0.qcow2", "../full/disk-0.qcow2")),
    }
    put(stack, "later", {**later, "metadata.json": metadata})
    wait(lambda: point(stack, "later").get("state") == "restorable", seconds=60, what="the chain")
    (volume,) = point(stack, "later")["volumes"]
    assert (volume["sizeBytes"], volume["file"]) == (GIB, f"{PLACE}later/disk-0.qcow2")
    told = stack.search(summary=True, vm="db/pg-9", cluster="east", **{"as": "table"})
    assert told["counts"] == {"machines": 1, "restorable": 1, "notRestorable": 0}
    assert "db/pg-9" in told["text"]
    stack.s3.delete_object(Bucket=stack.bucket, Key=f"{PLACE}full/disk-0.qcow2")
    wait(lambda: point(stack, "later").get("state") == "incomplete", seconds=60, what="the loss")
    assert point(stack, "later")["reasons"] == [
        "disk disk-0: ../full/disk-0.qcow2 was deleted from the bucket"
    ]
    refused = stack.restore({"select": {"vm": "db/pg-9", "cluster": "east"}, "target": "west"})
    assert refused.status == "FAILED"
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="targets/exports.yaml")
