"""What stays when a stack goes, and how a new stack takes it over, as docs/deploy.md tells it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import cloud
from local.build.packaging import package
from tests.integration.emulator import Emulator, eventually, running
from tests.template import ROOT

TABLE = {
    "Type": "AWS::DynamoDB::Table",
    "DeletionPolicy": "RetainExceptOnCreate",
    "Properties": {
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": True,
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    },
}
BROKEN = {
    "Type": "AWS::StepFunctions::StateMachine",
    "DependsOn": "Table",
    "Properties": {"DefinitionString": "{}", "RoleArn": {"Fn::GetAtt": ["Table", "Nonsense"]}},
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator")) as started:
        yield started


def status(emulator: Emulator, name: str) -> str:
    try:
        found = emulator.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except emulator.client("cloudformation").exceptions.ClientError:
        return "GONE"
    return str(found["StackStatus"])


def test_a_first_deployment_that_fails_leaves_the_protected_table_until_it_is_unprotected(
    emulator: Emulator,
) -> None:
    stacks, tables = emulator.client("cloudformation"), emulator.client("dynamodb")
    body = json.dumps({"Resources": {"Table": TABLE, "Broken": BROKEN}})
    stacks.create_stack(StackName="failed", TemplateBody=body)
    eventually(lambda: not status(emulator, "failed").endswith("PROGRESS"))
    assert status(emulator, "failed") == "ROLLBACK_FAILED"
    (table,) = [name for name in tables.list_tables()["TableNames"] if "failed" in name]
    tables.update_table(TableName=table, DeletionProtectionEnabled=False)
    stacks.delete_stack(StackName="failed")
    eventually(lambda: status(emulator, "failed") == "GONE")


def real_stack(emulator: Emulator) -> dict[str, str]:
    pages = emulator.client("cloudformation").get_paginator("list_stack_resources")
    return {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for page in pages.paginate(StackName=cloud.STACK)
        for each in page["StackResourceSummaries"]
    }


def reached(emulator: Emulator, wanted: str) -> None:
    eventually(lambda: not status(emulator, cloud.STACK).endswith("PROGRESS"), seconds=120)
    assert status(emulator, cloud.STACK) == wanted


def adopt(emulator: Emulator, kept: dict[str, str], folder: Path) -> None:
    stacks = emulator.client("cloudformation")
    command = [sys.executable, "-m", "local.build.adopt", str(folder)]
    named = [f"{name}={real}" for name, real in kept.items()]
    subprocess.run([*command, *named], cwd=ROOT, check=True)
    change = {"StackName": cloud.STACK, "ChangeSetName": "adopt"}
    stacks.create_change_set(
        **change,
        ChangeSetType="IMPORT",
        TemplateBody=(folder / "template.json").read_text(),
        ResourcesToImport=json.loads((folder / "resources.json").read_text()),
    )
    stacks.get_waiter("change_set_create_complete").wait(**change)
    stacks.execute_change_set(**change)


def update(emulator: Emulator) -> None:
    """As `make deploy` does."""

    def upload(key: str, content: bytes) -> str:
        emulator.client("s3").put_object(Bucket=cloud.ARTIFACTS, Key=key, Body=content)
        return f"s3://{cloud.ARTIFACTS}/{key}"

    upload("again.json", package(cloud.BUILD, upload).encode())
    emulator.client("cloudformation").update_stack(
        StackName=cloud.STACK,
        TemplateURL=f"{emulator.endpoint}/{cloud.ARTIFACTS}/again.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )


def test_a_new_stack_takes_over_what_a_deleted_one_left(emulator: Emulator, tmp_path: Path) -> None:
    cloud.deploy(emulator.endpoint, cloud.BUILD, {})
    before = real_stack(emulator)
    kept = {name: before[name] for name in ("BackupBucket", "StateBucket", "CatalogueTable")}
    document = {"Bucket": kept["StateBucket"], "Key": "clusters/west.yaml"}
    row = {"pk": {"S": "kept"}, "sk": {"S": "row"}}
    objects, rows = emulator.client("s3"), emulator.client("dynamodb")
    objects.put_object(**document, Body=b"kept")
    rows.put_item(TableName=kept["CatalogueTable"], Item=row)
    emulator.client("cloudformation").delete_stack(StackName=cloud.STACK)
    reached(emulator, "GONE")

    adopt(emulator, kept, tmp_path)
    reached(emulator, "IMPORT_COMPLETE")
    update(emulator)
    reached(emulator, "UPDATE_COMPLETE")
    after = real_stack(emulator)
    assert {name: after[name] for name in kept} == kept
    assert after["CatalogueFunction"]
    assert objects.get_object(**document)["Body"].read() == b"kept"
    assert rows.get_item(TableName=kept["CatalogueTable"], Key=row)["Item"] == row
