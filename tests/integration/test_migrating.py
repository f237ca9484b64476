"""A migration on the running system: its state machine, its role, its children, and the restore
that follows.

Aspects: what is there afterwards, the same again, a restore that succeeds and one that fails, what
is refused. Not aspects: what is copied and compared (test_migrating.py of the unit tests).
"""

from typing import Any

import pytest

from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait
from tests.integration.examples import example, invoke
from tests.integration.lab_objects import store_keys

pytestmark = pytest.mark.timeout(400)

SECRET = "replant/targets/moved"  # its name
BACKUPS = [a_vm_backup(name, "moving", f"{name}-moved") for name in ("web", "db")]
FROM, TO = "moving/", "moved/"
SELECT = {"namespace": "moving", "cluster": "south"}


@pytest.fixture(scope="module")
def stack_with_machines(stack: Stack) -> Stack:
    """Two machines that are backed up, and a place to copy them to."""
    store_keys(stack, SECRET)
    places = {FROM: "", TO: f"credentialSecret: {SECRET}\n"}
    for place, more in places.items():
        id_ = place.strip("/")
        document = f"id: {id_}\nurl: s3://{stack.bucket}/{place}\ncluster: south\n{more}"
        stack.document(f"targets/{id_}.yaml", document)
    for backup in BACKUPS:
        stack.put((FROM + key, body) for key, body in backup)
    wait(lambda: len(points(stack, "moving")) == len(BACKUPS), seconds=60, what="their points")
    return stack


def points(stack: Stack, target: str) -> set[str]:
    """The ids of those that are restorable."""
    found = stack.search(target=target, state="restorable").get("restorePoints", [])
    return {each["id"] for each in found}


def migrate(stack: Stack, **changes: Any) -> Ended:
    asked = {"select": SELECT, "to": f"s3://{stack.bucket}/{TO}", **changes}
    return stack.finish(stack.start(asked, "MigrateStateMachine"), seconds=300)


def below(stack: Stack, prefix: str) -> dict[str, str]:
    """Keys without PREFIX, and their ETags."""
    return {
        key.removeprefix(prefix): etag
        for key, etag in stack.listing().items()
        if key.startswith(prefix)
    }


def reports(stack: Stack) -> list[Any]:
    """Of all migrations."""
    bucket = stack.state_bucket
    found = stack.s3.list_objects_v2(Bucket=bucket, Prefix="reports/m-").get("Contents", [])
    names = [each["Key"] for each in found if each["Key"].endswith(".json")]
    return [stack.report(f"s3://{bucket}/{name}") for name in names]


def origin_of(stack: Stack, vm: str) -> str:
    """The restore point that a machine on west was made of."""
    machines = "/apis/kubevirt.io/v1/namespaces/moving/virtualmachines"
    machine = stack.cluster("west").call("GET", f"{machines}/{vm}")
    found: str = machine["metadata"]["annotations"]["backup.origin.restore-point"]
    return found


def take_away(stack: Stack, restore_id: str) -> None:
    undone = stack.roll_back(restore_id, deleteStarted=True)
    assert undone.output["state"] == "succeeded", undone
    asked = {"target": "moved", "cluster": "west", "detach": True}
    detached = stack.finish(stack.start(asked, "AttachStateMachine"))
    assert detached.output["state"] == "detached"


def test_restore_points_are_copied_and_catalogued_and_the_same_again_copies_nothing(
    stack_with_machines: Stack,
) -> None:
    stack = stack_with_machines
    source = below(stack, FROM)
    ended = migrate(stack)
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    output = ended.output
    assert (output["state"], output["restore"]) == ("succeeded", None)
    assert output["copied"]["objects"] == len(source)
    assert below(stack, TO).keys() == source.keys()
    assert below(stack, FROM) == source
    news = {each["newId"] for each in output["points"]}
    assert points(stack, "moved") == news
    report = stack.report(output["report"])
    assert (report["points"], report["failed"]) == (output["points"], [])

    again = migrate(stack).output
    assert (again["state"], again["copied"]) == ("succeeded", {"objects": 0, "bytes": 0})
    assert again["present"] == output["copied"]
    assert {each["newId"] for each in again["points"]} == news


def test_what_was_copied_is_restored(stack_with_machines: Stack) -> None:
    stack = stack_with_machines
    then = {"target": "west", "mapping": {"networks": {"*": "none"}}}
    ended = migrate(stack, select={"vm": "moving/web", "cluster": "south"}, then=then)
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    restored = ended.output["restore"]
    assert restored["counts"] == {"ready": 1}
    (point,) = ended.output["points"]
    assert origin_of(stack, "web") == point["newId"]
    take_away(stack, restored["restoreId"])


def test_a_restore_in_mode_migrate_copies_first(stack_with_machines: Stack) -> None:
    stack = stack_with_machines
    request = {
        "select": {"vm": "moving/db", "cluster": "south"},
        "target": "west",
        "mode": "migrate",
        "to": f"s3://{stack.bucket}/{TO}",
        "mapping": {"networks": {"*": "none"}},
    }
    planned = stack.restore({**request, "dryRun": True})
    assert planned.output["state"] == "planned", planned
    restored = stack.restore(request, seconds=300)
    assert restored.output, restored
    assert restored.output["counts"] == {"ready": 1}, restored.output
    assert origin_of(stack, "db") in points(stack, "moved")
    take_away(stack, restored.output["restoreId"])


def test_a_restore_in_mode_migrate_that_cannot_copy_says_why(stack_with_machines: Stack) -> None:
    stack = stack_with_machines
    select = {"vm": "moving/db", "cluster": "south"}
    request = {"select": select, "target": "west", "mode": "migrate", "to": f"s3://{stack.bucket}/"}
    refused = stack.restore(request)
    assert (refused.status, refused.error) == ("FAILED", "Refused")
    assert "writes its backups to" in refused.cause["message"]


def test_a_restore_that_fails_fails_the_migration_by_its_name_and_the_copies_stay(
    stack_with_machines: Stack,
) -> None:
    stack = stack_with_machines
    ended = migrate(stack, then={"target": "nowhere"})
    assert (ended.status, ended.error) == ("FAILED", "NotFound")
    assert ended.cause["field"] == "target"
    failed = [each for each in reports(stack) if (each["restore"] or {}).get("error")]
    assert [(each["restore"]["error"], each["state"]) for each in failed] == [
        ("NotFound", "succeeded")
    ]
    assert {each["newId"] for each in failed[0]["points"]} == points(stack, "moved")


def test_the_function_takes_its_event_and_a_person_the_request(stack_with_machines: Stack) -> None:
    stack = stack_with_machines
    event = example("migrate.json")
    assert event["request"] == example("migrate-request.json")
    mine = {"select": SELECT, "to": f"s3://{stack.bucket}/{TO}"}
    answer = invoke(stack, "MigrateFunction", event | {"request": event["request"] | mine})
    assert answer["children"] == len(BACKUPS)


def test_a_place_that_no_document_owns_or_a_cluster_writes_to_is_refused(
    stack_with_machines: Stack,
) -> None:
    stack = stack_with_machines
    nowhere = migrate(stack, to="s3://elsewhere/")
    assert (nowhere.error, nowhere.cause["field"]) == ("NotFound", "to")
    written = migrate(stack, to=f"s3://{stack.bucket}/")
    assert (written.error, written.cause["field"]) == ("Refused", "to")
    assert "writes its backups to" in written.cause["message"]
    typo = migrate(stack, too="s3://elsewhere/")
    assert (typo.error, typo.cause["field"]) == ("InvalidRequest", "too")
