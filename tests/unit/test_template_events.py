"""House rules for template.yaml: which events reach the catalogue's queue, and from whom."""

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from shared.errors import Unreadable
from shared.layouts import keys, registry
from shared.models.facts import DOCUMENT_MODELS, Kind
from shared.workflows.retrying import pause
from tests.template import TEMPLATE, listed, mappings, of_type, resource_of

QUEUE = {"Fn::GetAtt": ["CatalogueQueue", "Arn"]}
RULES = {
    name: each
    for name, each in of_type("AWS::Events::Rule").items()
    if each.get("EventPattern", {}).get("source") == ["aws.s3"]
}
BACKUPS = of_type("AWS::S3::Bucket")["BackupBucket"]["NotificationConfiguration"]
(SENDERS,) = [
    each["PolicyDocument"]["Statement"]
    for each in of_type("AWS::SQS::QueuePolicy").values()
    if {"Ref": "CatalogueQueue"} in each["Queues"]
]
READ = (
    "harvester/vmbackups/default/nightly.cfg",
    "any/place/harvester/vmimages/default/image.cfg",
    keys.volume_key("", "pvc-1"),
    keys.backup_key("root/", "pvc-1", "backup-1"),
    keys.backing_image_key("", "vmi-1"),
    "default/web01/metadata.yaml",
    "default/web01/nightly/metadata.yml",
    "exports/default/web01/nightly/metadata.json",
    "default/web01/nightly/snapshots.json",
    "default/web01/disk-0.qcow2",
    "default/web01/nightly/disk-0.raw",
    "default/web01/nightly/disk-0.img",
)
UNREAD = (
    "backupstore/volumes/aa/bb/pvc-1/blocks/01/23/0123.blk",
    "backupstore/volumes/aa/bb/pvc-1/locks/lock-1.lck",
    "default/web01/disk-0.vmdk",
    "default/web01/README.md",
    "default/web01/my-metadata.yaml",
    "harvester/vmbackups/",
)


def matches(pattern: dict[str, str], key: str) -> bool:
    """As EventBridge compares; `*` is all that a wildcard has."""
    (kind, value), *more = pattern.items()
    assert not more
    if kind == "suffix":
        return key.endswith(value)
    assert kind == "wildcard"
    return fnmatchcase(key, value)


def taken(rule: str, key: str) -> bool:
    patterns = RULES[rule]["EventPattern"]["detail"]["object"]["key"]
    return any(matches(each, key) for each in patterns)


def suffixes(configuration: dict[str, Any]) -> dict[str, list[str]]:
    """Of each event that a bucket tells of."""
    found: dict[str, list[str]] = {}
    for each in configuration["QueueConfigurations"]:
        assert each["Queue"] == QUEUE
        for rule in each["Filter"]["S3Key"]["Rules"]:
            assert rule["Name"] == "suffix"
            found.setdefault(each["Event"], []).append(rule["Value"])
    return found


@pytest.mark.parametrize("key", READ)
def test_what_a_layout_reads_is_told_of_either_way(key: str) -> None:
    assert registry.LAYOUTS[registry.recognise(key).kind].read
    assert taken("BackupObjectRule", key)
    assert all(key.endswith(tuple(each)) for each in suffixes(BACKUPS).values())


@pytest.mark.parametrize("key", UNREAD)
def test_what_no_layout_reads_is_told_of_neither_way(key: str) -> None:
    with pytest.raises(Unreadable):
        registry.recognise(key)
    assert not taken("BackupObjectRule", key)
    assert not any(key.endswith(tuple(each)) for each in suffixes(BACKUPS).values())


def test_the_stacks_own_bucket_pays_for_no_events_and_tells_of_all_that_make_or_remove() -> None:
    assert "EventBridgeConfiguration" not in BACKUPS
    assert set(suffixes(BACKUPS)) == {
        "s3:ObjectCreated:*",
        "s3:ObjectRemoved:*",
        "s3:LifecycleExpiration:*",
    }
    # Else S3 refuses them as ambiguous.
    assert all(len(each) == len(set(each)) for each in suffixes(BACKUPS).values())


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("clusters/east.yaml", True),
        ("targets/east-s3.yaml", True),
        ("clusters/east.yml", True),
        ("plans/payments.yaml", True),
        ("clusters/", False),
        ("targets/", False),
        ("reports/r-1.json", False),
        ("work/r-1/head.json", False),
    ],
)
def test_documents_are_told_of_misspelt_ones_too_and_nothing_else(key: str, wanted: bool) -> None:
    assert taken("DocumentRule", key) == wanted


@pytest.mark.parametrize("kind", DOCUMENT_MODELS)
def test_every_kind_of_document_has_its_rule(kind: Kind) -> None:
    key = f"{kind.value}/some.yaml"
    assert registry.recognise_document(key).kind is kind
    assert taken("DocumentRule", key)


def sender(service: str) -> dict[str, Any]:
    statement: dict[str, Any]
    (statement,) = [each for each in SENDERS if each["Principal"] == {"Service": service}]
    assert (statement["Effect"], listed(statement["Action"])) == ("Allow", ["sqs:SendMessage"])
    return statement


def test_only_our_rules_may_send_to_the_queue() -> None:
    condition = sender("events.amazonaws.com")["Condition"]["ArnEquals"]
    assert condition == {"aws:SourceArn": [{"Fn::GetAtt": [name, "Arn"]} for name in RULES]}


def test_only_buckets_of_this_account_may_send_to_the_queue_and_of_those_the_given_ones() -> None:
    condition = sender("s3.amazonaws.com")["Condition"]
    assert condition["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    made, own, given = condition["ArnLike"]["aws:SourceArn"]["Fn::If"]
    assert (made, own) == ("MakeBackupBucket", "arn:*:s3:::*")
    assert re.search(r"Ref.*BackupBuckets", str(given))
    assert sender("s3.amazonaws.com")["Resource"] == QUEUE


def test_the_bucket_is_made_when_the_queue_lets_it_send() -> None:
    """S3 tests that at once, so the policy comes first and cannot name the bucket."""
    assert TEMPLATE["Resources"]["BackupBucket"]["DependsOn"] == "QueuePolicy"
    for name in ("QueuePolicy", "BackupObjectRule"):
        assert not [each for each in mappings(TEMPLATE["Resources"][name]) if names_bucket(each)]


def names_bucket(mapping: dict[str, Any]) -> bool:
    return mapping.get("Ref") == "BackupBucket" or "BackupBucket" in mapping.get("Fn::GetAtt", [])


# What a clock calls is called again by it.
BY_EVENT = [name for name, each in of_type("AWS::Events::Rule").items() if "EventPattern" in each]


def dead_letters_of(rule: str) -> set[str]:
    return {
        resource_of(target["DeadLetterConfig"]["Arn"])
        for target in of_type("AWS::Events::Rule")[rule]["Targets"]
    }


def test_dead_letters_of_rules_are_apart_from_those_of_queues() -> None:
    """SQS moves back what came from a queue, and refuses a queue that is no queue's."""
    queues = of_type("AWS::SQS::Queue")
    moved = {
        resource_of(each["RedrivePolicy"]["deadLetterTargetArn"])
        for each in queues.values()
        if "RedrivePolicy" in each
    }
    sent = {each for rule in BY_EVENT for each in dead_letters_of(rule)}
    assert moved == {"CatalogueDeadLetters"}
    assert sent
    assert not moved & sent


@pytest.mark.parametrize("rule", BY_EVENT)
def test_a_rule_may_send_to_its_dead_letters_and_somebody_is_told(rule: str) -> None:
    (letters,) = dead_letters_of(rule)
    (policy,) = [
        each["PolicyDocument"]["Statement"]
        for each in of_type("AWS::SQS::QueuePolicy").values()
        if {"Ref": letters} in each["Queues"]
    ]
    allowed = policy[0]["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert {"Fn::GetAtt": [rule, "Arn"]} in listed(allowed)
    watched = [each["Dimensions"] for each in of_type("AWS::CloudWatch::Alarm").values()]
    assert [{"Name": "QueueName", "Value": {"Fn::GetAtt": [letters, "QueueName"]}}] in watched


def test_the_catalogue_leaves_concurrency_to_restores() -> None:
    function = of_type("AWS::Serverless::Function")["CatalogueFunction"]
    source = function["Events"]["Objects"]["Properties"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "CatalogueConcurrency"}}
    parameter = TEMPLATE["Parameters"]["CatalogueConcurrency"]
    # What SQS accepts, and at most half of the executions that a new account may run at once.
    assert (parameter["MinValue"], parameter["MaxValue"]) == (2, 1000)
    assert parameter["Default"] <= 5


def test_tries_span_an_hour() -> None:
    tries = of_type("AWS::SQS::Queue")["CatalogueQueue"]["RedrivePolicy"]["maxReceiveCount"]
    shortest = sum(pause(each, 0) for each in range(1, tries))
    assert shortest > 25 * 60
    assert sum(pause(each, 1) for each in range(1, tries)) < 75 * 60
