"""docs/iam: what a person who deploys may do, held against what CloudFormation's own registry says
that each type of resource needs.
"""

import json
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from local.build.template import load

ROOT = Path(__file__).parents[2]
TEMPLATE = load(ROOT / "template.yaml")
SAM = ROOT / ".venv-sam/bin/python"

# What AWS SAM makes of its own types, for what this template uses of them.
FROM_SAM = {
    "AWS::Serverless::Function": (
        "AWS::Lambda::Function",
        "AWS::Lambda::Version",
        "AWS::Lambda::Alias",
        "AWS::Lambda::EventSourceMapping",
    ),
    "AWS::Serverless::LayerVersion": ("AWS::Lambda::LayerVersion",),
    "AWS::Serverless::StateMachine": ("AWS::StepFunctions::StateMachine",),
}
# The registry names the rights for every property that a type has; these properties are not used.
NOT_USED = {
    "s3tables:*": "no tables in buckets",
    "s3:*MetadataTableConfiguration": "no tables in buckets",
    "s3:UpdateBucketMetadata*": "no tables in buckets",
    "s3:REST.PUT.OBJECT": "not an action of IAM",
    "s3:*Abac": "no tag based access",
    "s3:*Acl": "access lists are off",
    "s3:*CORS": "no browser reads it",
    "s3:*Cors": "no browser reads it",
    "s3:*Website": "no website",
    "s3:*Accelerate*": "no acceleration",
    "s3:*Analytics*": "no analytics",
    "s3:*IntelligentTiering*": "Longhorn's blocks stay where they are",
    "s3:*Inventory*": "no inventory",
    "s3:*Metrics*": "no request metrics",
    "s3:*Replication*": "no replication",
    "s3:PutObjectLockConfiguration": "an alias of PutBucketObjectLockConfiguration",
    "s3:Delete*": "a property that is never taken away again",
    "s3:GetObject*": "the code, which CloudFormation reads as the one who deploys",
    "dynamodb:*Replica": "no global table",
    "dynamodb:*Item": "no global table",
    "dynamodb:*ImportTable": "the table begins empty",
    "dynamodb:DescribeImport": "the table begins empty",
    "dynamodb:Query": "no global table",
    "dynamodb:Scan": "no global table",
    "dynamodb:*Kinesis*": "no stream",
    "dynamodb:UpdateContributorInsights": "no contributor insights",
    "dynamodb:*ResourcePolicy": "no policy at the table",
    "iam:CreateServiceLinkedRole": "no global table",
    "iam:AttachRolePolicy": "no managed policies",
    "iam:DetachRolePolicy": "no managed policies",
    "iam:*GroupPolicy": "policies of roles only",
    "iam:*UserPolicy": "policies of roles only",
    "kinesis:*": "no stream",
    "firehose:*": "no delivery stream",
    "elasticfilesystem:*": "no file system",
    "s3files:*": "no file system",
    "kms:*Grant": "the table has a key of AWS",
    "kms:*crypt": "the table and the functions have keys of AWS",
    "kms:GenerateDataKey": "the functions have keys of AWS",
    "kms:ListAliases": "the table has a key of AWS",
    "vpc-lattice:*": "no service network",
    "vpce:*": "endpoints of this region",
    "codedeploy:*": "no gradual deployment",
    "lambda:*CodeSigningConfig": "no code signing",
    "lambda:*ProvisionedConcurrencyConfig": "no provisioned concurrency",
    "lambda:PutFunction*Config": "as AWS has them",
    "lambda:PutRuntimeManagementConfig": "as AWS has it",
    "lambda:AssociateRuntimeAlias": "as AWS has it",
    "lambda:PassCapacityProvider": "no capacity provider",
    "logs:*DataProtectionPolicy": "logs hold no personal data",
    "logs:*IndexPolicy": "no index",
    "logs:*KmsKey": "no key of one's own for logs",
    "logs:*DeletionProtection": "logs may go",
    "logs:PutBearerTokenAuthentication": "as AWS has it",
    "logs:DeleteResourcePolicy": "shared with other logs of the account",
    "logs:CreateLogStream": "for the table's contributor insights",
    "logs:DescribeLogStreams": "for the table's contributor insights",
    "logs:PutLogEvents": "for the table's contributor insights",
    "sns:PutDataProtectionPolicy": "no data protection policy",
}
# What `sam deploy` itself asks of the bucket for the code.
SAM_CLI = {
    "s3:GetBucketLocation",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:PutObject",
    "s3:DeleteObject",  # by `sam delete`
}
READ_THE_REGISTRY = """
import json, sys
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER as registry
schemas = {each: registry.get_resource_schema("us-east-1", each) for each in json.load(sys.stdin)}
json.dump({name: each.schema.get("handlers", {}) for name, each in schemas.items()}, sys.stdout)
"""


DOCUMENTS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs/iam").glob("*.json")}
DEPLOYING = [
    statement
    for name, document in DOCUMENTS.items()
    if name.startswith("deploy-")
    for statement in document["Statement"]
]
MANAGED = 6144  # characters of a managed policy without white space
LONG = {"STACK": "s" * 24, "REGION": "ap-southeast-1", "ACCOUNT": "1" * 12, "BUCKET": "b" * 63}
WHICH_TAKE_NO_RESOURCE = """
import json, pathlib, sys
import cfnlint
data = pathlib.Path(cfnlint.__file__).parent / "data/AdditionalSpecs/Policies.json"
services = json.loads(data.read_text())
def resources(action):
    service, name = action.split(":")
    return services[service]["Actions"][name.lower()].get("Resources")
json.dump([action for action in json.load(sys.stdin) if not resources(action)], sys.stdout)
"""


def granted() -> set[str]:
    return {action for each in DEPLOYING for action in listed(each["Action"])}


def listed(value: str | list[str]) -> list[str]:
    if isinstance(value, str):
        return [value]
    return value


def types() -> list[str]:
    named = {each["Type"] for each in TEMPLATE["Resources"].values()}
    return sorted({made for each in named for made in FROM_SAM.get(each, (each,))})


@pytest.fixture(scope="module")
def needed() -> dict[str, set[str]]:
    """The rights that CloudFormation's registry names for each type, from cfn-lint's copy of it."""
    read = subprocess.run(
        [SAM, "-c", READ_THE_REGISTRY],
        input=json.dumps(types()),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    handlers: dict[str, dict[str, Any]] = json.loads(read.stdout)
    return {
        name: {
            action
            for kind in ("create", "read", "update", "delete")
            for action in each.get(kind, {}).get("permissions", [])
        }
        for name, each in handlers.items()
    }


def test_who_deploys_may_make_and_remove_every_type_of_resource(
    needed: dict[str, set[str]],
) -> None:
    assert len(needed) > 12
    assert all(needed.values())
    lacks = {
        (name, action)
        for name, actions in needed.items()
        for action in actions - granted()
        if not any(fnmatchcase(action, pattern) for pattern in NOT_USED)
    }
    assert not lacks


def test_no_exception_and_no_right_outlives_its_reason(needed: dict[str, set[str]]) -> None:
    every = set().union(*needed.values())
    asked = {pattern for pattern in NOT_USED if any(fnmatchcase(each, pattern) for each in every)}
    assert asked == set(NOT_USED)
    assert {each for each in granted() - every if not each.startswith("cloudformation:")} <= SAM_CLI


def test_rights_end_at_the_stack_where_a_name_can_say_so() -> None:
    assert len(DEPLOYING) > 12
    for statement in DEPLOYING:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", statement["Sid"])
        actions = listed(statement["Action"])
        assert not [each for each in actions if "*" in each]
        if any(each.startswith("iam:") for each in actions):
            assert statement["Resource"] == "arn:aws:iam::ACCOUNT:role/STACK-*"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_fits_into_a_managed_policy(name: str) -> None:
    text = json.dumps(DOCUMENTS[name], separators=(",", ":"))
    for placeholder, value in LONG.items():
        text = text.replace(placeholder, value)
    assert len(text) <= MANAGED


def test_a_right_that_takes_no_resource_is_given_on_all() -> None:
    """On a named one it would be no right at all. AWS' own list, from cfn-lint's copy of it."""
    read = subprocess.run(
        [SAM, "-c", WHICH_TAKE_NO_RESOURCE],
        input=json.dumps(sorted(granted())),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    everywhere = set(json.loads(read.stdout))
    assert everywhere
    for statement in DEPLOYING:
        if everywhere & set(listed(statement["Action"])):
            assert statement["Resource"] == "*", statement["Sid"]


def test_roles_are_given_to_the_services_that_assume_them() -> None:
    (passing,) = [each for each in DEPLOYING if each["Action"] == "iam:PassRole"]
    assumed = {
        statement["Principal"]["Service"]
        for each in TEMPLATE["Resources"].values()
        if each["Type"] == "AWS::IAM::Role"
        for statement in each["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    }
    assumed -= {"scheduler.amazonaws.com"}  # to whom UpkeepFunction gives it
    assert set(passing["Condition"]["StringEquals"]["iam:PassedToService"]) == assumed
