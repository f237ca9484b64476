"""House rules for template.yaml: state machines run published versions of their functions, and
every change publishes a new one. AWS SAM's own translator says what becomes of the template.
"""

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.template import ROOT, TEMPLATE, Json, listed, mappings, of_type

FUNCTIONS = of_type("AWS::Serverless::Function")
STATE_MACHINES = of_type("AWS::Serverless::StateMachine")
ROLES = of_type("AWS::IAM::Role")
CALLED = [each.get("Environment", {}).get("Variables", {}).values() for each in FUNCTIONS.values()]
PUBLISHED = sorted(
    {
        name
        for machine in STATE_MACHINES.values()
        for name in machine["DefinitionSubstitutions"]
        if name in FUNCTIONS
    }
    | {name for name in FUNCTIONS for each in CALLED if {"Ref": f"{name}.Version"} in each}
)
# The layer is built for it, and a new layer makes new versions.
SEEN_OTHERWISE = {"Architecture"}
LONGEST_DESCRIPTION = 256
TRANSLATE = """
import json, sys
from samtranslator.translator.transform import transform
print(json.dumps(transform(json.load(sys.stdin), {}, None)))
"""


def packaged() -> Json:
    """The template as it is uploaded: its artifacts lie in a bucket."""
    template = copy.deepcopy(TEMPLATE)
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            properties["CodeUri"] = "s3://code/one"
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = "s3://code/layer"
        elif resource["Type"] == "AWS::Serverless::StateMachine":
            properties["DefinitionUri"] = "s3://code/machine"
    return template


def translated(template: Json) -> Json:
    read = subprocess.run(
        [ROOT / ".venv-sam/bin/python", "-c", TRANSLATE],
        input=json.dumps(template),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={"AWS_DEFAULT_REGION": "us-east-1"},
    )
    resources: Json = json.loads(read.stdout)["Resources"]
    return resources


def versions(resources: Json) -> dict[str, str]:
    """The logical name of each function's version."""
    return {
        each["Properties"]["FunctionName"]["Ref"]: name
        for name, each in resources.items()
        if each["Type"] == "AWS::Lambda::Version"
    }


@cache
def as_it_is() -> Json:
    return translated(packaged())


def parameters(value: Json) -> set[str]:
    """The parameters that a part of the template depends on, those of its conditions included."""
    return {name for name in _named(value) if name in TEMPLATE["Parameters"]}


def _named(value: Json) -> Iterator[str]:
    for each in mappings(value):
        if isinstance(each.get("Ref"), str):
            yield each["Ref"]
        for text in listed(each.get("Fn::Sub", [])):
            if isinstance(text, str):
                yield from (part.partition("}")[0] for part in text.split("${")[1:])
        if "Fn::If" in each:
            yield from _named(TEMPLATE["Conditions"][each["Fn::If"][0]])


def where_it_is(value: Json) -> Json:
    """What is said of a function that is not in every stack, in one that has it."""
    return value["Fn::If"][1] if "Fn::If" in value else value


def test_state_machines_run_published_versions() -> None:
    assert PUBLISHED
    names = versions(as_it_is())
    for machine in STATE_MACHINES:
        substitutions = as_it_is()[machine]["Properties"]["DefinitionSubstitutions"]
        called = {
            name: where_it_is(each) for name, each in substitutions.items() if name in FUNCTIONS
        }
        assert called == {name: {"Ref": names[name]} for name in called}


def test_a_version_stays_when_a_newer_one_takes_its_place() -> None:
    """An execution that runs, or is redriven, has the definition with the older one."""
    for name in versions(as_it_is()).values():
        version = as_it_is()[name]
        assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_a_state_machine_may_run_every_version_of_its_functions() -> None:
    for machine in STATE_MACHINES.values():
        role = ROLES[machine["Role"]["Fn::GetAtt"][0]]
        (statement,) = [
            each for each in mappings(role) if each.get("Action") == "lambda:InvokeFunction"
        ]
        called = set(machine["DefinitionSubstitutions"]) & set(FUNCTIONS)
        assert {where_it_is(each)["Fn::Sub"] for each in statement["Resource"]} == {
            f"${{{name}.Arn}}:*" for name in called
        }


def _code(resources: Json) -> None:
    for name in PUBLISHED:
        resources[name]["Properties"]["CodeUri"] = "s3://code/two"


def _layer(resources: Json) -> None:
    resources["CoreLayer"]["Properties"]["ContentUri"] = "s3://code/another"


def _environment(resources: Json) -> None:
    for name in PUBLISHED:
        resources[name]["Properties"]["Environment"]["Variables"]["NEW"] = "x"


def _memory(resources: Json) -> None:
    for name in PUBLISHED:
        resources[name]["Properties"]["MemorySize"] = 2048


@pytest.mark.parametrize("change", [_code, _layer, _environment, _memory])
def test_every_change_of_a_function_publishes_a_version(change: Callable[[Json], None]) -> None:
    template = packaged()
    change(template["Resources"])
    before, after = versions(as_it_is()), versions(translated(template))
    assert before.keys() == after.keys() == set(PUBLISHED)
    assert not set(before.values()) & set(after.values())


def test_without_a_change_nothing_is_published() -> None:
    assert versions(translated(packaged())) == versions(as_it_is())


@pytest.mark.parametrize("function", PUBLISHED)
def test_another_value_of_a_parameter_that_a_function_depends_on_publishes_a_version(
    function: str,
) -> None:
    """SAM looks at the template only; CloudFormation replaces a version whose description is
    another. Not for any other parameter: of an unchanged function there is no version to publish.
    """
    properties = dict(FUNCTIONS[function])
    description = properties.pop("VersionDescription", "")
    depends = parameters([properties, TEMPLATE["Globals"]["Function"]])
    assert depends - SEEN_OTHERWISE == parameters(description) - SEEN_OTHERWISE


def test_a_description_is_never_too_long_for_lambda() -> None:
    given = TEMPLATE["Parameters"]
    ids = given["SubnetIds"]["MaxLength"] + given["SecurityGroupIds"]["MaxLength"]
    separators = 4 * len(",subnet-") + 4 * len(",sg-")
    assert "{1,50}/" in given["SecretsPrefix"]["AllowedPattern"]
    assert "{1,4}$" in given["LambdaInsightsLayerArn"]["AllowedPattern"]
    assert ids - separators + 51 + 4 + len("false") + 4 <= LONGEST_DESCRIPTION
