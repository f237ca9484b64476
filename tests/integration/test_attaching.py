"""A backup target that is attached, restored from and detached on the running system: real keys,
a real API server and its garbage collector.
"""

import json
from typing import Any

import pytest

from local.api import Api
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.lab_objects import store_keys

LONGHORN = "/apis/longhorn.io/v1beta2/namespaces/longhorn-system"
SECRETS = "/api/v1/namespaces/longhorn-system/secrets"
NAME = "replant-copies"
SECRET = "replant/targets/copies"  # its name
RESTORE = {
    "select": {"vm": "copied/web"},
    "target": "west",
    "mapping": {"networks": {"*": "none"}},
    "requestId": "from-a-copy",
}


@pytest.fixture(scope="module")
def west(stack: Stack) -> Api:
    store_keys(stack, SECRET)
    place = f"url: s3://{stack.bucket}/copies/\ncluster: east\n"
    document = f"id: copies\n{place}credentialSecret: {SECRET}\n"
    stack.document("targets/copies.yaml", document)
    backup = a_vm_backup("web", "copied", "web-copied")
    stack.put((f"copies/{key}", body) for key, body in backup)
    wait(lambda: stack.newest("copied/web", "restorable"), seconds=60, what="a restorable point")
    return stack.cluster("west")


def attach(stack: Stack, **changes: Any) -> Any:
    asked = {"target": "copies", "cluster": "west", **changes}
    return stack.finish(stack.start(asked, "AttachStateMachine"), seconds=180)


def targets(west: Api) -> dict[str, Any]:
    return {
        each["metadata"]["name"]: each["spec"]
        for each in west.call("GET", f"{LONGHORN}/backuptargets")["items"]
    }


def secrets(west: Api) -> set[str]:
    return {each["metadata"]["name"] for each in west.call("GET", SECRETS)["items"]}


def test_a_place_is_attached_and_detached_and_nothing_else_changes(stack: Stack, west: Api) -> None:
    before, objects = targets(west), stack.listing()
    blocked = stack.restore(RESTORE | {"attach": "never", "requestId": "before-it"})
    said = blocked.output["machines"][0]["error"]["message"]
    assert "None of its backup targets reads" in said
    assert "AttachStateMachine" in said

    planned = attach(stack, dryRun=True).output
    assert (planned["state"], planned["permissions"]) == ("planned", {"read": True, "write": True})
    assert targets(west) == before

    attached = attach(stack).output
    assert (attached["state"], attached["backupTarget"], attached["available"]) == (
        "attached",
        NAME,
        True,
    ), attached
    assert attached["backups"] == 1
    assert targets(west).keys() == before.keys() | {NAME}
    assert attach(stack).output["state"] == "attached"
    uploads = stack.s3.list_multipart_uploads(Bucket=stack.bucket)
    assert not uploads.get("Uploads")

    secret = targets(west)[NAME]["credentialSecret"]
    detached = attach(stack, detach=True).output
    assert detached["state"] == "detached", detached
    assert targets(west) == before
    wait(lambda: secret not in secrets(west), seconds=60, what="the end of its Secret")
    assert stack.listing() == objects


def test_a_restore_attaches_by_itself_what_its_cluster_does_not_read(
    stack: Stack, west: Api
) -> None:
    before = targets(west)
    planned = stack.restore(RESTORE | {"dryRun": True}).output
    assert (planned["state"], planned["verdict"]) == ("planned", "warn")
    assert targets(west) == before
    restored = stack.restore(RESTORE)
    assert restored.output["counts"] == {"ready": 1}, restored
    assert targets(west).keys() == before.keys() | {NAME}
    assert attach(stack, detach=True).output["state"] == "detached"
    undone = stack.roll_back(restored.output["restoreId"], deleteStarted=True)
    assert undone.output["state"] == "succeeded", undone


def test_keys_that_s3_does_not_know_are_refused(stack: Stack, west: Api) -> None:
    stored = stack.client("secretsmanager")
    keys = json.loads(stored.get_secret_value(SecretId=SECRET)["SecretString"])
    before = targets(west)
    stored.put_secret_value(
        SecretId=SECRET,
        SecretString=json.dumps(keys | {"AWS_ENDPOINTS": "http://127.0.0.1:9"}),
    )
    refused = attach(stack).output
    assert refused["state"] == "refused"
    assert refused["permissions"] == {"read": False, "write": False}
    (machine,) = stack.restore(RESTORE | {"requestId": "not-from-there"}).output["machines"]
    assert "could not be attached to west: The keys of target copies" in machine["error"]["message"]
    assert targets(west) == before
    stored.put_secret_value(SecretId=SECRET, SecretString=json.dumps(keys))


def test_what_is_not_known_fails_by_name(stack: Stack, west: Api) -> None:
    wrong = attach(stack, target="nowhere")
    assert (wrong.status, wrong.error) == ("FAILED", "NotFound")
    assert wrong.cause["field"] == "target"
    wrong = attach(stack, dryrun=True)
    assert (wrong.error, wrong.cause["field"]) == ("InvalidRequest", "dryrun")
