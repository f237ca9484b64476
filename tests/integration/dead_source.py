"""A source cluster that never answers, whose machines' backups are in a bucket and whose target is
west: what a test of failovers begins with.
"""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from local.api import Api
from local.longhorn import target
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Stack, wait


@contextmanager
def dead_source(stack: Stack, name: str, space: str, vms: Iterable[str]) -> Iterator[Api]:
    """The target, which sees the backups of the machines VMS in the source's namespace SPACE."""
    api = stack.cluster("west")
    prefix = f"{name}/"
    target.attach(api, name, target.url_of(stack.bucket, prefix), stack.endpoint)
    secret = f"replant/clusters/{name}"
    stack.client("secretsmanager").create_secret(Name=secret, SecretString=leads_nowhere(stack))
    stack.document(f"clusters/{name}.yaml", f"id: {name}\nsecret: {secret}\n")
    where = f"id: {name}-s3\nurl: s3://{stack.bucket}/{prefix}\ncluster: {name}\n"
    stack.document(f"targets/{name}-s3.yaml", where)
    for vm in vms:
        backup = a_vm_backup(vm, space, f"{vm}-nightly", networks=[Nic()])
        stack.put((f"{prefix}{key}", body) for key, body in backup)
    for vm in vms:
        wait(
            lambda vm=vm: _restorable(stack, name, f"{space}/{vm}"),  # type: ignore[misc]
            seconds=90,
            what=f"a point of {vm}",
        )
    try:
        yield api
    finally:
        for key in (f"clusters/{name}.yaml", f"targets/{name}-s3.yaml"):
            stack.s3.delete_object(Bucket=stack.state_bucket, Key=key)


def leads_nowhere(stack: Stack) -> str:
    """A kubeconfig of a server that does not listen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config: Any = yaml.safe_load(of_west(stack))
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    return str(yaml.safe_dump(config))


def of_west(stack: Stack) -> str:
    """A kubeconfig of a cluster that answers."""
    secrets = stack.client("secretsmanager")
    return str(secrets.get_secret_value(SecretId="replant/clusters/west")["SecretString"])


def _restorable(stack: Stack, cluster: str, vm: str) -> bool:
    points = stack.search(vm=vm, cluster=cluster, latest=True)
    return any(each["state"] == "restorable" for each in points.get("restorePoints", []))


def recovery_plan(stack: Stack, name: str, text: str) -> None:
    """In force once this returns."""
    stack.document(f"plans/{name}.yaml", text)
    table = stack.client("dynamodb")
    key = {"pk": {"S": "documents"}, "sk": {"S": f"plans/{name}"}}

    def taken() -> bool:
        row = table.get_item(TableName=stack.outputs["CatalogueTable"], Key=key).get("Item")
        return bool(row) and name in row.get("facts", {}).get("S", "")

    wait(taken, seconds=60, what=f"plan {name}")


def latest_failover(stack: Stack, execution: str) -> dict[str, Any] | None:
    """Its entry in the history."""
    found = stack.search(failovers=True, limit=10)["failovers"]
    return next((each for each in found if each["execution"] == execution), None)
