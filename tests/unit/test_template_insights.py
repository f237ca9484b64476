"""House rules for template.yaml: Lambda Insights, where its layer is named, and nothing of it where
not.
"""

import re

from tests.template import TEMPLATE, listed, mappings, of_type, resource_of

FUNCTIONS = of_type("AWS::Serverless::Function")
LAYERS = TEMPLATE["Globals"]["Function"]["Layers"]
INSIGHTS = {
    "Fn::If": ["LambdaInsights", {"Ref": "LambdaInsightsLayerArn"}, {"Ref": "AWS::NoValue"}]
}
POLICY = TEMPLATE["Resources"]["LambdaInsightsLog"]

NOTHING = {"AWS::NoValue"}


def test_every_function_has_the_layer_that_is_named() -> None:
    assert INSIGHTS in LAYERS
    assert not [name for name, each in FUNCTIONS.items() if "Layers" in each]
    assert TEMPLATE["Parameters"]["LambdaInsightsLayerArn"]["Default"] == ""


def test_every_function_may_write_the_layers_log_and_only_then() -> None:
    assert POLICY["Condition"] == "LambdaInsights"
    roles = {resource_of(each["Role"]) for each in FUNCTIONS.values()}
    given = POLICY["Properties"]["Roles"]
    assert {each["Ref"] for each in mappings(given) if "Ref" in each} - NOTHING == roles
    (statement,) = POLICY["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Resource"]["Fn::Sub"].endswith(":log-group:/aws/lambda-insights:*")
    assert {action.split(":")[0] for action in listed(statement["Action"])} == {"logs"}


def test_a_layers_arn_is_aws_own_in_any_partition_region_and_account() -> None:
    pattern = TEMPLATE["Parameters"]["LambdaInsightsLayerArn"]["AllowedPattern"]
    for layer in ("aws:lambda:us-east-1:580247275435", "aws-cn:lambda:cn-north-1:488211338238"):
        for name in ("LambdaInsightsExtension:35", "LambdaInsightsExtension-Arm64:2"):
            assert re.search(pattern, f"arn:{layer}:layer:{name}")
    assert not re.search(pattern, "arn:aws:lambda:us-east-1:580247275435:layer:Mine:1")
    assert re.search(pattern, "")
