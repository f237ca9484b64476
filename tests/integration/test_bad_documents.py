"""Our own documents with mistakes, and targets that come, overlap and go: the last good version
stays in force.

Aspects: quarantine of documents, what stays in force, who owns the objects below overlapping
targets. Not aspects: every rule of every document (unit tests), secrets behind cluster documents
(test_bad_targets).
"""

from typing import Any

import pytest

from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.faulty import entry, quarantined, settled, subscribed

CLUSTER = "id: spare\nsecret: replant/clusters/spare\n"


def target(stack: Stack, id_: str, prefix: str, cluster: str = "west") -> str:
    return f"id: {id_}\nurl: s3://{stack.bucket}/{prefix}\ncluster: {cluster}\n"


def below(prefix: str, vm: str) -> list[tuple[str, bytes]]:
    return [
        (prefix + key, body) for key, body in a_vm_backup(vm, "branch", f"{prefix.strip('/')}-{vm}")
    ]


def owners(stack: Stack, vm: str) -> dict[str, str]:
    """The state of each cluster's point of a machine."""
    found = stack.search(vm=f"branch/{vm}")["restorePoints"]
    return {point["cluster"]: point["state"] for point in found}


def owned(stack: Stack, vm: str, **states: str) -> None:
    wait(
        lambda: owners(stack, vm) == states, seconds=30, what=f"branch/{vm} of {states}", every=0.1
    )


@pytest.fixture(scope="module")
def spare(stack: Stack) -> dict[str, Any]:
    """A cluster document in force; its secret does not exist, which a restore to it says."""
    stack.document("clusters/spare.yaml", CLUSTER)
    stack.put(a_vm_backup("web", "branch", "web"))
    return wait(
        lambda: stack.newest("branch/web", "restorable"),
        seconds=60,
        what="a point of branch/web",
        every=0.1,
    )


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        (
            "clusters/spare.yaml",
            CLUSTER.replace("secret", "secrett"),
            ["'secrett'", "Did you mean 'secret'?"],
        ),
        (
            "clusters/spare.yaml",
            CLUSTER + "xyz: red\n",
            ["'xyz'", "Known here: harvester, id, kubernetes"],
        ),
        (
            "clusters/spare.yaml",
            CLUSTER.replace("id: spare", "id: other"),
            ["'other'", "'spare'", "Make them the same"],
        ),
        ("clusters/spare.yaml", "id: spare\n", ["secret: is missing"]),
        (
            "clusters/spare.yaml",
            "id: spare\nsecret: elsewhere/spare\n",
            ["secret: must be replant/clusters/NAME"],
        ),
        ("clusters/spare.yaml", CLUSTER + "secret: twice\n", ["'secret' twice", "keep one"]),
        ("clusters/spare.yaml", "id: &a spare\nsecret: *a\n", ["alias", "write the value out"]),
        ("clusters/spare.yaml", "id: [spare\n", ["not valid YAML", "line 2"]),
        ("clusters/spare.yaml", "- spare\n", ["must be a mapping"]),
        ("clusters/spare.yaml", "# " + "x" * 70_000, ["70002 bytes", "65536"]),
        ("clusters/spare.json", "{}", ["clusters/spare.json", "clusters/<id>.yaml", "Rename it"]),
        (
            "targets/bad.yaml",
            "id: bad\nurl: s3://not-ours/\ncluster: west\n",
            ["'not-ours'", "BackupBuckets"],
        ),
        (
            "targets/bad.yaml",
            "id: bad\nurl: backups\ncluster: west\n",
            ["url: must be s3://BUCKET/[PREFIX/]"],
        ),
        (
            "targets/bad.yaml",
            "id: bad\nurl: s3://not-ours/\ncluster: West\n",
            ["cluster: must be an id of a-z, 0-9 and -"],
        ),
        ("plans/wages.yaml", "name: wages\n", ["source: is missing"]),
    ],
)
def test_a_bad_document_is_quarantined_and_the_last_good_one_stays_in_force(
    stack: Stack, spare: dict[str, Any], key: str, text: str, words: list[str]
) -> None:
    with subscribed(stack) as topic:
        stack.document(key, text)
        found = quarantined(stack, key)
        assert found["bucket"] == stack.state_bucket
        assert not [word for word in words if word not in found["reason"]], found
        topic.about(key)
    in_force = stack.restore({"select": {"id": spare["id"]}, "target": "spare"})
    assert "secret replant/clusters/spare has no text" in in_force.cause["message"]
    if key == "clusters/spare.yaml":
        stack.document(key, CLUSTER)
    else:
        stack.s3.delete_object(Bucket=stack.state_bucket, Key=key)
    wait(lambda: entry(stack, key) is None, seconds=30, what=f"{key} out of quarantine", every=0.1)


def test_a_longer_prefix_takes_over_what_lies_below_it_and_gives_it_back(stack: Stack) -> None:
    stack.put(below("branch/", "before"))
    owned(stack, "before", east="restorable")
    stack.document("targets/branch.yaml", target(stack, "branch", "branch/"))
    owned(stack, "before", east="deleted", west="restorable")
    stack.put(below("branch/", "after"))
    owned(stack, "after", west="restorable")
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="targets/branch.yaml")
    owned(stack, "before", east="restorable", west="deleted")
    owned(stack, "after", east="restorable", west="deleted")


def test_a_prefix_ends_at_its_slash(stack: Stack) -> None:
    stack.document("targets/near.yaml", target(stack, "near", "near"))
    stack.put(below("nearby/", "neighbour"))
    owned(stack, "neighbour", east="restorable")
    stack.put(below("near/", "inside"))
    owned(stack, "inside", west="restorable")


def test_a_bad_version_of_a_target_changes_no_owner(stack: Stack) -> None:
    stack.put(below("firm/", "kept"))
    owned(stack, "kept", east="restorable")
    stack.document("targets/firm.yaml", target(stack, "firm", "firm/"))
    owned(stack, "kept", east="deleted", west="restorable")
    stack.document(
        "targets/firm.yaml", target(stack, "firm", "firm/", "east").replace("cluster", "clusterr")
    )
    assert "Did you mean 'cluster'?" in quarantined(stack, "targets/firm.yaml")["reason"]
    settled(stack)
    owned(stack, "kept", east="deleted", west="restorable")
    stack.document("targets/firm.yaml", target(stack, "firm", "firm/", "east"))
    wait(
        lambda: owners(stack, "kept").get("east") == "restorable",
        seconds=30,
        what="the new owner",
        every=0.1,
    )


def test_a_cluster_whose_document_was_deleted_is_not_found(
    stack: Stack, spare: dict[str, Any]
) -> None:
    stack.document("clusters/brief.yaml", "id: brief\nsecret: replant/clusters/brief\n")
    request = {"select": {"id": spare["id"]}, "target": "brief"}
    settled(stack)
    assert "secret replant/clusters/brief has no text" in stack.restore(request).cause["message"]
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="clusters/brief.yaml")
    settled(stack)
    said = stack.restore(request).cause["message"]
    assert said.startswith("Unknown cluster 'brief'. Known: ")
    assert "Put clusters/brief.yaml into the state bucket." in said


def test_versions_that_expire_and_a_deletion_that_is_taken_back_leave_a_document_in_force(
    stack: Stack,
) -> None:
    """The state bucket is versioned, and its events name versions."""
    key, bucket = "targets/versions.yaml", stack.state_bucket
    stack.put(below("versions/", "expiring"))
    owned(stack, "expiring", east="restorable")
    for _ in range(2):
        stack.document(key, target(stack, "versions", "versions/"))
    owned(stack, "expiring", east="deleted", west="restorable")
    listed = stack.s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
    (old,) = [each["VersionId"] for each in listed if not each["IsLatest"]]
    stack.s3.delete_object(Bucket=bucket, Key=key, VersionId=old)
    settled(stack)
    owned(stack, "expiring", east="deleted", west="restorable")
    marker = stack.s3.delete_object(Bucket=bucket, Key=key)["VersionId"]
    owned(stack, "expiring", east="restorable", west="deleted")
    stack.s3.delete_object(Bucket=bucket, Key=key, VersionId=marker)
    owned(stack, "expiring", east="deleted", west="restorable")


def test_a_second_target_of_the_same_place_is_a_conflict_until_the_first_is_gone(
    stack: Stack,
) -> None:
    stack.put(below("shared/", "fought"))
    owned(stack, "fought", east="restorable")
    stack.document("targets/mine.yaml", target(stack, "mine", "shared/"))
    owned(stack, "fought", east="deleted", west="restorable")
    stack.document("targets/mistyped.yaml", target(stack, "mistyped", "shared/", "east"))
    assert "targets/mine.yaml gave" in quarantined(stack, "targets/mistyped.yaml")["reason"]
    settled(stack)
    owned(stack, "fought", east="deleted", west="restorable")
    stack.s3.delete_object(Bucket=stack.state_bucket, Key="targets/mine.yaml")
    wait(
        lambda: entry(stack, "targets/mistyped.yaml") is None,
        seconds=30,
        what="the end of the conflict",
        every=0.1,
    )
