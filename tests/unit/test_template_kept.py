"""House rules for template.yaml: what outlives the stack, and where it may be deployed."""

import pytest

from local.build.adopt import adoption
from tests.template import ROOT, TEMPLATE, listed, mappings, of_type

STATEFUL = {"AWS::S3::Bucket", "AWS::DynamoDB::Table"}
NAMES = set(
    [
        "BucketName",
        "TableName",
        "QueueName",
        "TopicName",
        "RoleName",
        "FunctionName",
        "AlarmName",
        "LogGroupName",
        "StateMachineName",
        "AliasName",
        "LayerName",
    ]
)
KEPT = [name for name, each in TEMPLATE["Resources"].items() if each["Type"] in STATEFUL]


@pytest.mark.parametrize("name", KEPT)
def test_what_holds_data_stays_when_its_stack_goes_but_not_when_it_never_came_to_be(
    name: str,
) -> None:
    resource = TEMPLATE["Resources"][name]
    assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
    # CloudFormation knows no such value for a replacement.
    assert resource["UpdateReplacePolicy"] == "Retain"


def test_nobody_deletes_the_catalogue_by_mistake() -> None:
    (table,) = of_type("AWS::DynamoDB::Table").values()
    assert table["DeletionProtectionEnabled"] is True


def test_no_resource_has_a_name_that_two_stacks_would_fight_for() -> None:
    for name, resource in TEMPLATE["Resources"].items():
        given = {key for key in NAMES if isinstance(resource.get("Properties", {}).get(key), str)}
        assert not given, name


@pytest.mark.parametrize("path", ["template.yaml", "statemachines/restore.asl.yaml"])
def test_no_arn_names_a_partition(path: str) -> None:
    assert "arn:aws:" not in (ROOT / path).read_text()


@pytest.mark.parametrize("role", of_type("AWS::IAM::Role"))
def test_what_lambda_needs_for_a_vpc_is_denied_to_the_functions_own_code(role: str) -> None:
    statements = [each for each in mappings(of_type("AWS::IAM::Role")[role]) if "Effect" in each]
    network = [each for each in statements if str(listed(each["Action"])[0]).startswith("ec2:")]
    if not network:
        return
    allow, deny = network
    assert (allow["Effect"], deny["Effect"]) == ("Allow", "Deny")
    assert deny["Action"] == "ec2:*", "shorter than naming them, and a role has not much room"
    (condition,) = deny["Condition"].items()
    assert condition[0] == "ArnLike"
    assert condition[1] == {
        "lambda:SourceFunctionArn": {
            "Fn::Sub": "arn:${AWS::Partition}:lambda:*:${AWS::AccountId}:function:*"
        }
    }


def test_an_import_has_nothing_that_refers_to_what_is_not_imported() -> None:
    names = {"BackupBucket": "backups", "CatalogueTable": "catalogue"}
    template, identities = adoption(TEMPLATE, names)
    assert set(template["Resources"]) == set(names)
    references = {"Ref", "Condition", "DependsOn"}
    assert not [each for each in mappings(template) if references & set(each)]
    assert not [key for each in mappings(template) for key in each if key.startswith("Fn::")]
    table = TEMPLATE["Resources"]["CatalogueTable"]["Properties"]
    assert template["Resources"]["CatalogueTable"]["Properties"]["KeySchema"] == table["KeySchema"]
    assert [each["ResourceIdentifier"] for each in identities] == [
        {"BucketName": "backups"},
        {"TableName": "catalogue"},
    ]


def test_only_what_is_kept_is_adopted() -> None:
    with pytest.raises(ValueError, match="CatalogueQueue: not to be adopted; BackupBucket, Catal"):
        adoption(TEMPLATE, {"CatalogueQueue": "x"})


# CloudFormation's types that have no tags; a linter refuses tags where there are none.
WITHOUT_TAGS = {
    "AWS::IAM::Policy",
    "AWS::IAM::RolePolicy",
    "AWS::Lambda::Permission",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Serverless::LayerVersion",
}


def test_whatever_can_have_tags_says_that_it_is_ours() -> None:
    assert TEMPLATE["Globals"]["Function"]["Tags"] == {"application": "replant"}
    for name, resource in TEMPLATE["Resources"].items():
        if resource["Type"] in WITHOUT_TAGS | {"AWS::Serverless::Function"}:
            continue
        pairs = [{"Key": "application", "Value": "replant"}]
        serverless = resource["Type"].startswith("AWS::Serverless::")
        expected = {"application": "replant"} if serverless else pairs
        assert resource.get("Properties", {}).get("Tags") == expected, name
