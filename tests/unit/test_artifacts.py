"""What a layer leaves to the other one, how large a function is, and how a template is packaged."""

import json
import subprocess
from pathlib import Path

from local.build.artifacts import sizes
from local.build.packaging import package
from local.build.template import load

ROOT = Path(__file__).parents[2]
TEMPLATE = """
Globals: {Function: {Layers: [!Ref Core]}}
Resources:
  Core: {Type: "AWS::Serverless::LayerVersion", Properties: {ContentUri: Core}}
  Call:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: Call
      Role: !GetAtt Role.Arn
      Name: !Sub "${A}-x"
      Tags: !If [Some, {a: 1}, !Ref B]
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


def test_the_size_of_a_function_counts_its_layers(tmp_path: Path) -> None:
    assert sizes(build(tmp_path)) == {"Call": 3.0}


def test_intrinsic_functions_are_read_in_their_long_form(tmp_path: Path) -> None:
    call = load(build(tmp_path) / "template.yaml")["Resources"]["Call"]["Properties"]
    assert call["Role"] == {"Fn::GetAtt": ["Role", "Arn"]}
    assert call["Name"] == {"Fn::Sub": "${A}-x"}
    assert call["Tags"] == {"Fn::If": ["Some", {"a": 1}, {"Ref": "B"}]}


def test_every_artifact_is_uploaded_under_the_hash_of_its_content(tmp_path: Path) -> None:
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


def test_a_function_ships_itself_and_all_of_shared_but_what_an_operator_runs(
    tmp_path: Path,
) -> None:
    command = ["make", "build-PlanFunction", f"ARTIFACTS_DIR={tmp_path}", "COMPILER_lambda="]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    shipped = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py")}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "shared").rglob("*.py")}
    commands = {path for path in sources if path.startswith("shared/commands/")}
    assert commands
    assert shipped == sources - commands | {"functions/__init__.py", "functions/plan.py"}
