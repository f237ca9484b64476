"""What a layer leaves to the other one, how large a function is, and how a template is packaged."""

import json
from pathlib import Path

from local.build.artifacts import sizes, subtract
from local.build.packaging import package
from local.build.template import load

TEMPLATE = """
Globals: {Function: {Layers: [!Ref Core]}}
Resources:
  Core: {Type: "AWS::Serverless::LayerVersion", Properties: {ContentUri: Core}}
  Call:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: Call, Role: !GetAtt Role.Arn, Name: !Sub "${A}-x", Tags: !If [Some, {a: 1}, !Ref B]}
  Machine: {Type: "AWS::Serverless::StateMachine", Properties: {DefinitionUri: machine.yaml}}
"""


def build(folder: Path) -> Path:
    """A finished build: one layer of 2 MB, one function of 1 MB that uses it."""
    for name, size in (("Core", 2), ("Call", 1)):
        (folder / name / "python").mkdir(parents=True)
        (folder / name / "python" / "code").write_bytes(bytes(size * 10**6))
    (folder / "machine.yaml").write_text("StartAt: X")
    (folder / "template.yaml").write_text(TEMPLATE)
    return folder


def test_a_layer_has_what_the_other_does_not_pin() -> None:
    both = "# made by uv\na==1 \\\n    --hash=sha256:1\nb-c==2 \\\n    --hash=sha256:2\n"
    assert subtract(both, "a==1 \\\n    --hash=sha256:1\n") == "b-c==2 \\\n    --hash=sha256:2\n"


def test_the_size_of_a_function_counts_its_layers(tmp_path: Path) -> None:
    assert sizes(build(tmp_path)) == {"Call": 3.0}


def test_intrinsic_functions_are_read_in_their_long_form(tmp_path: Path) -> None:
    call = load(build(tmp_path) / "template.yaml")["Resources"]["Call"]["Properties"]
    assert call["Role"] == {"Fn::GetAtt": ["Role", "Arn"]}
    assert call["Name"] == {"Fn::Sub": "${A}-x"}
    assert call["Tags"] == {"Fn::If": ["Some", {"a": 1}, {"Ref": "B"}]}


def test_every_artefact_is_uploaded_under_the_hash_of_its_content(tmp_path: Path) -> None:
    uploaded: dict[str, bytes] = {}

    def upload(key: str, content: bytes) -> str:
        uploaded[key] = content
        return f"s3://bucket/{key}"

    first = package(build(tmp_path), upload)
    resources = json.loads(first)["Resources"]
    named = [resources["Core"], resources["Call"], resources["Machine"]]
    keys = [next(iter(each["Properties"].values())).removeprefix("s3://bucket/") for each in named]
    assert sorted(keys) == sorted(uploaded)
    assert uploaded[keys[2]] == b"StartAt: X"
    assert package(tmp_path, upload) == first
