"""Plain `sam build` and `sam deploy` on a clean clone: what they read and what they need."""

import subprocess
import tomllib

from tests.template import ROOT

DEPLOY = tomllib.loads((ROOT / "samplesconfig.toml").read_text())["default"]["deploy"]["parameters"]


def test_sam_finds_the_settings_without_a_flag() -> None:
    linked, settings = ROOT / "samconfig.toml", ROOT / "samplesconfig.toml"
    assert linked.read_text() == settings.read_text()


def test_a_deployment_is_named_tagged_and_asked_about() -> None:
    assert DEPLOY == {
        "stack_name": "replant",
        "region": "us-east-1",
        "resolve_s3": True,
        "s3_prefix": "replant",
        "capabilities": "CAPABILITY_IAM",
        "confirm_changeset": True,
        "fail_on_empty_changeset": False,
        "tags": "application=replant",
    }


def test_a_layer_for_lambda_needs_nothing_of_the_embedded_aws() -> None:
    """What SAM runs, as make would run it if nothing were there."""
    command = ["make", "--dry-run", "--always-make", "build-CoreLayer", "ARTIFACTS_DIR=/nowhere"]
    lambda_, host = (
        subprocess.run(
            [*command, f"LAYERS={audience}"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        for audience in ("lambda", "host")
    )
    assert ".venv-uv/bin/uv pip install" in lambda_
    assert ".venv-cloud" in host
    assert ".venv-cloud" not in lambda_
    assert ".venv-sam" not in lambda_


def test_a_deployment_without_a_terminal_does_not_wait_for_an_answer() -> None:
    command = ["make", "--dry-run", "deploy", "REGION=eu-central-1", "STACK=x"]
    recipe = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    (deploy,) = [line for line in recipe.splitlines() if " deploy " in line]
    assert "--stack-name x --region eu-central-1 " in deploy
    assert "$([ -t 0 ] || echo --no-confirm-changeset)" in deploy
