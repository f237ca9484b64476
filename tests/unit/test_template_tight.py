"""House rules for template.yaml: encryption, transport, versions, and whose requests are taken."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.template import TEMPLATE, Json, listed, mappings, of_type, source

ACCOUNT = {"Ref": "AWS::AccountId"}
BUCKETS = of_type("AWS::S3::Bucket")
QUEUES = of_type("AWS::SQS::Queue")
TOPICS = of_type("AWS::SNS::Topic")
RESOURCES: dict[str, Json] = TEMPLATE["Resources"]
POLICIES = {
    "AWS::S3::BucketPolicy": "Bucket",
    "AWS::SQS::QueuePolicy": "Queues",
    "AWS::SNS::TopicPolicy": "Topics",
}
(KEY,) = of_type("AWS::KMS::Key").values()
SENDERS = {"events", "s3"}  # services that send to our queues
USE_OF_A_KEY = {"kms:Decrypt", "kms:GenerateDataKey*"}
OUR_QUEUES = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:*"
MY_KEY = {"Fn::If": ["KeyForMessages", {"Ref": "MessageKey"}, {"Ref": "AWS::NoValue"}]}


def statements_about(resource: str) -> list[Json]:
    """Those of the resource's own policies, whose conditions are the resource's."""
    return [
        statement
        for each in RESOURCES.values()
        if each["Type"] in POLICIES
        and {"Ref": resource} in listed(each["Properties"][POLICIES[each["Type"]]])
        and each.get("Condition") == RESOURCES[resource].get("Condition")
        for statement in each["Properties"]["PolicyDocument"]["Statement"]
    ]


def arns(resource: str) -> list[Json]:
    if resource in TOPICS:
        return [{"Ref": resource}]
    arn = {"Fn::GetAtt": [resource, "Arn"]}
    return [arn, {"Fn::Sub": f"${{{resource}.Arn}}/*"}] if resource in BUCKETS else [arn]


@pytest.mark.parametrize("resource", [*BUCKETS, *QUEUES, *TOPICS])
def test_plain_http_is_refused_wherever_it_is_deployed(resource: str) -> None:
    (denial,) = [each for each in statements_about(resource) if each["Effect"] == "Deny"]
    assert denial["Principal"] == "*"
    # SNS takes no wildcard in the policy of a topic.
    whole = {"s3:*"} if resource in BUCKETS else {"sqs:*", "sns:Publish"}
    assert denial["Action"] in whole
    assert all(arn in listed(denial["Resource"]) for arn in arns(resource))
    assert denial["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def service_statements() -> Iterator[Json]:
    for each in mappings(RESOURCES):
        if isinstance(each.get("Principal"), dict) and "Service" in each["Principal"]:
            yield each


def services(statement: Json) -> set[str]:
    named = listed(statement["Principal"]["Service"])
    return {each.removesuffix(".amazonaws.com") for each in named}


def test_a_service_acts_for_this_account_only() -> None:
    """EventBridge does not say for which account it acts, so each of its rules is named; who asks
    for the key does not either, so the queues of the account are.
    """
    rules = [{"Fn::GetAtt": [name, "Arn"]} for name in of_type("AWS::Events::Rule")]
    found = list(service_statements())
    assert len(found) >= 10
    for statement in found:
        assert statement["Effect"] == "Allow"
        condition = statement["Condition"]
        if statement in KEY["KeyPolicy"]["Statement"] and services(statement) == SENDERS:
            (context,) = condition["ArnLike"].items()
            assert context == ("kms:EncryptionContext:aws:sqs:arn", {"Fn::Sub": OUR_QUEUES})
        elif services(statement) == {"events"}:
            (sources,) = condition["ArnEquals"].values()
            assert condition.keys() == {"ArnEquals"}
            assert all(source in rules for source in sources)
        else:
            assert condition["StringEquals"]["aws:SourceAccount"] == ACCOUNT


@pytest.mark.parametrize("permission", of_type("AWS::Lambda::Permission"))
def test_a_function_is_called_by_the_rule_that_is_meant_only(permission: str) -> None:
    """With a SourceAccount EventBridge could not call it at all."""
    properties = of_type("AWS::Lambda::Permission")[permission]
    assert properties["Principal"] == "events.amazonaws.com"
    assert properties["SourceArn"]["Fn::GetAtt"][0] in of_type("AWS::Events::Rule")
    assert "SourceAccount" not in properties


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_is_encrypted_with_our_key_or_that_of_sqs(queue: str) -> None:
    assert QUEUES[queue]["KmsMasterKeyId"] == MY_KEY
    assert QUEUES[queue]["SqsManagedSseEnabled"] == {
        "Fn::If": ["KeyForMessages", {"Ref": "AWS::NoValue"}, True]
    }


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_encrypted_with_our_key_or_not_at_all(topic: str) -> None:
    """The key of SNS itself, alias/aws/sns, lets no alarm publish."""
    assert TOPICS[topic]["KmsMasterKeyId"] == MY_KEY


def test_all_that_sends_messages_may_use_the_key() -> None:
    assert KEY["EnableKeyRotation"] is True
    statements = [each for each in service_statements() if each in KEY["KeyPolicy"]["Statement"]]
    assert [services(each) for each in statements] == [{"cloudwatch", "sns"}, SENDERS]
    assert all(set(each["Action"]) == USE_OF_A_KEY for each in statements)


def test_no_rule_publishes_on_the_topic_since_eventbridge_then_names_no_account_to_the_key() -> (
    None
):
    targets = [
        each["Arn"] for rule in of_type("AWS::Events::Rule").values() for each in rule["Targets"]
    ]
    assert targets
    assert not [target for target in targets if target in ([{"Ref": each} for each in TOPICS])]


@pytest.mark.parametrize("role", of_type("AWS::IAM::Role"))
def test_who_sends_or_receives_messages_may_use_the_key_and_nobody_else(role: str) -> None:
    statements = [each for each in mappings(of_type("AWS::IAM::Role")[role]) if "Action" in each]
    actions = {action for each in statements for action in listed(each["Action"])}
    services = {"sqs", "sns"} & {action.split(":")[0] for action in actions}
    using = [each for each in statements if each.get("Sid") == "UseTheMessageKey"]
    via = [
        each["Fn::Sub"].split(".")[0]
        for statement in using
        for each in statement["Condition"]["StringEquals"]["kms:ViaService"]
    ]
    assert set(via) == services


@pytest.mark.parametrize("role", of_type("AWS::IAM::Role"))
def test_every_role_has_the_boundary_that_is_given(role: str) -> None:
    assert of_type("AWS::IAM::Role")[role]["PermissionsBoundary"] == {
        "Fn::If": ["BoundRoles", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]
    }


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_has_versions_and_forgets_those_that_are_not_current(bucket: str) -> None:
    properties = BUCKETS[bucket]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = properties["LifecycleConfiguration"]["Rules"]
    (whole,) = [rule for rule in rules if "Prefix" not in rule]
    assert whole["Status"] == "Enabled"
    assert whole["NoncurrentVersionExpiration"]["NoncurrentDays"]
    assert whole["ExpiredObjectDeleteMarker"] is True


def test_no_rule_ever_touches_what_longhorn_still_reads() -> None:
    rules = BUCKETS["BackupBucket"]["LifecycleConfiguration"]["Rules"]
    current = {"ExpirationInDays", "ExpirationDate", "Transition", "Transitions"}
    assert not [key for rule in rules for key in rule if key in current]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_access_is_logged_where_a_bucket_for_it_is_given(bucket: str) -> None:
    condition, given, _ = BUCKETS[bucket]["LoggingConfiguration"]["Fn::If"]
    assert condition == "LogAccess"
    assert given["DestinationBucketName"] == {"Ref": "AccessLogBucket"}


def test_only_the_bucket_of_the_stack_is_locked_and_a_lock_can_be_lifted_by_an_administrator() -> (
    None
):
    (locked,) = [name for name, each in BUCKETS.items() if "ObjectLockConfiguration" in each]
    assert locked == "BackupBucket"
    lock = BUCKETS[locked]["ObjectLockConfiguration"]["Fn::If"]
    assert (lock[0], lock[1]["Rule"]["DefaultRetention"]["Mode"]) == ("LockBackups", "GOVERNANCE")


@pytest.mark.parametrize("role", of_type("AWS::IAM::Role"))
def test_who_reads_backups_or_secrets_may_decrypt_them_through_those_services_only(
    role: str,
) -> None:
    statements = [each for each in mappings(of_type("AWS::IAM::Role")[role]) if "Sid" in each]
    reads = {each["Sid"]: each for each in statements}
    of_backups = {"ReadBackupMetadata", "ReadBackupMetadataAndHeadsOfImages", "ReadImages"}
    of_backups |= {"CopyBackups", "ReadCopies"}
    services = {"s3"} if of_backups & reads.keys() else set()
    if "ReadClusterCredentials" in reads:
        services.add("secretsmanager")
        assert "secret:${SecretsPrefix}clusters/*" in str(reads["ReadClusterCredentials"])
    decrypting = reads.get("DecryptWhatItReads")
    assert (decrypting is not None) == bool(services)
    if decrypting is None:
        return
    assert decrypting["Action"] == ["kms:Decrypt"]
    assert decrypting["Resource"] == {"Fn::Split": [",", {"Ref": "KmsKeyArns"}]}
    (via,) = decrypting["Condition"].values()
    regions = {"s3": "*"}  # a bucket may lie in another one
    assert {each["Fn::Sub"] for each in via["kms:ViaService"]} == {
        f"{each}.{regions.get(each, '${AWS::Region}')}.${{AWS::URLSuffix}}" for each in services
    }


def test_no_function_reads_a_block_of_longhorns() -> None:
    """Those that read backups read metadata, by its names; only the catalogue may read the
    beginning of an image, whose name nobody knows before, by event or in a reconcile, and what
    makes an image of others all of them. To copy a block within S3 is to read it, for IAM.
    """
    read = {
        role: [
            each for each in mappings(properties) if "s3:GetObject" in listed(each.get("Action"))
        ]
        for role, properties in of_type("AWS::IAM::Role").items()
    }
    whole = {
        role
        for role, statements in read.items()
        for each in statements
        if each["Effect"] == "Allow" and "${BackupBucket.Arn}/*'" in str(each["Resource"])
    }
    assert whole == {"CatalogueRole", "ImageRole", "MigrateRole", "ReconcileRole"}
    metadata = {
        role: {
            name
            for each in statements
            for name in (".cfg", "/metadata.*")
            if f"${{BackupBucket.Arn}}/*{name}'" in str(each["Resource"])
        }
        for role, statements in read.items()
    }
    both = {".cfg", "/metadata.*"}
    read_metadata = {role: names for role, names in metadata.items() if names}
    longhorns = {".cfg"}  # no volume of Longhorn's follows an image in a folder
    assert read_metadata == {"PlanRole": both, "RestoreRole": both, "StandbyRole": longhorns}
    for role in whole - {"MigrateRole"}:
        (denied,) = [each for each in read[role] if each["Effect"] == "Deny"]
        assert denied["Resource"] == "arn:*:s3:::*.blk"


def in_vpc(function: Json) -> bool:
    return "InVpc" in str(function.get("VpcConfig"))


def clients_of(function: str) -> set[str]:
    """The services of which a function makes clients."""
    return set(re.findall(r"boto3\.client\(['\"](\w+)", ast.unparse(source(function))))


def test_endpoints_are_made_on_request_only_and_each_answers_for_a_service_that_is_called() -> None:
    endpoints = {
        each["Properties"]["ServiceName"]["Fn::Sub"].rsplit(".", 1)[1]: each
        for each in RESOURCES.values()
        if each["Type"] == "AWS::EC2::VPCEndpoint"
    }
    inside = [name for name, each in of_type("AWS::Serverless::Function").items() if in_vpc(each)]
    called = {service for name in inside for service in clients_of(name)}
    assert set(endpoints) == called == {"s3", "dynamodb", "secretsmanager", "sns"}
    assert {each["Condition"] for each in endpoints.values()} == {"MakeEndpoints"}
    assert TEMPLATE["Parameters"]["CreateVpcEndpoints"]["Default"] == "false"


def skipped() -> list[tuple[str, dict[str, str]]]:
    return [
        (name, each)
        for name, resource in RESOURCES.items()
        for each in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]


def test_what_checkov_would_have_otherwise_is_said_with_a_reason() -> None:
    assert skipped()
    for name, each in skipped():
        assert re.fullmatch(r"CKV2?_AWS_[0-9]+", each["id"]), name
        assert re.fullmatch(r"[A-Z].{20,}\.", each["comment"]), name


def test_the_event_of_a_stopped_restore_is_kept_when_its_report_fails() -> None:
    report = of_type("AWS::Serverless::Function")["ReportFunction"]
    kept = {"Fn::GetAtt": ["StoppedRestoreDeadLetters", "Arn"]}
    assert report["DeadLetterQueue"] == {"Type": "SQS", "TargetArn": kept}
    role = of_type("AWS::IAM::Role")["ReportRole"]
    (right,) = [each for each in mappings(role) if each.get("Action") == ["sqs:SendMessage"]]
    assert right["Resource"] == kept
