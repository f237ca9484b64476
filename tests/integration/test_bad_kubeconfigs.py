"""Hostile kubeconfigs behind cluster documents: refused with place and reason, never used or quoted.

Aspects: the execution's error, that nothing ran, that no planted value is anywhere; servers that are
not to be trusted.
Not aspects: every form of every key (unit tests of shared.kube.kubeconfig).
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.processes import free_port
from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait
from tests.integration.faulty import settled
from tests.integration.hostile import PLANTED, Hostile, kubeconfigs, names

REMEDY = "python -m shared.commands.access"
MAPPING = {"networks": {"*": "default/vlan200"}, "namespaces": {"lure": "lured"}}


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "it-ran"


@pytest.fixture(scope="module")
def good(stack: Stack) -> str:
    """The kubeconfig that the system itself uses for west."""
    secret: str = stack.client("secretsmanager").get_secret_value(SecretId="replant/clusters/west")[
        "SecretString"
    ]
    return secret


@pytest.fixture(scope="module")
def point(stack: Stack) -> dict[str, Any]:
    stack.put(a_vm_backup("web", "lure", "web"))
    return wait(
        lambda: stack.newest("lure/web", "restorable"), seconds=60, what="a point of lure/web"
    )


@pytest.fixture(scope="module")
def refused(
    stack: Stack, point: dict[str, Any], good: str, canary: Path
) -> dict[str, tuple[Hostile, Ended]]:
    """All of them at once: a restore to each."""
    hostile = list(kubeconfigs(good, str(canary)))
    for each in hostile:
        a_cluster(stack, f"evil-{each.name}", each.text)
    settled(stack)
    started = [stack.start(request(point, f"evil-{each.name}")) for each in hostile]
    return {
        each.name: (each, stack.finish(arn)) for each, arn in zip(hostile, started, strict=True)
    }


def a_cluster(stack: Stack, name: str, kubeconfig: str | bytes) -> None:
    kind = "SecretBinary" if isinstance(kubeconfig, bytes) else "SecretString"
    stack.client("secretsmanager").create_secret(
        Name=f"replant/clusters/{name}", **{kind: kubeconfig}
    )
    stack.document(f"clusters/{name}.yaml", f"id: {name}\nsecret: replant/clusters/{name}\n")


def request(point: dict[str, Any], target: str) -> dict[str, Any]:
    return {"select": {"id": point["id"]}, "target": target, "mapping": MAPPING}


def restored_to(stack: Stack, point: dict[str, Any], target: str, kubeconfig: str | bytes) -> Ended:
    a_cluster(stack, target, kubeconfig)
    settled(stack)
    return stack.restore(request(point, target))


def changed(good: str, *, user: dict[str, Any] | None = None, **cluster: str) -> str:
    config = yaml.safe_load(good)
    config["clusters"][0]["cluster"] |= {
        key.replace("_", "-"): value for key, value in cluster.items()
    }
    config["users"][0]["user"] |= user or {}
    return yaml.safe_dump(config)


def failed(ended: Ended, error: str, *words: str) -> None:
    assert (ended.status, ended.error, ended.cause["code"]) == ("FAILED", error, error), ended
    assert not [word for word in words if word not in ended.cause["message"]], ended.cause
    assert PLANTED not in json.dumps(ended)


@pytest.mark.parametrize("name", names())
def test_a_hostile_kubeconfig_is_refused_with_its_place_and_reason(
    refused: dict[str, tuple[Hostile, Ended]], name: str
) -> None:
    hostile, ended = refused[name]
    where = f"cluster evil-{name}: the kubeconfig in secret replant/clusters/evil-{name} is refused"
    failed(ended, "Refused", where, *hostile.words, REMEDY)
    assert ended.cause["field"]


def test_nothing_of_a_hostile_kubeconfig_ran(
    refused: dict[str, tuple[Hostile, Ended]], canary: Path
) -> None:
    assert len(refused) == len(names())
    assert not canary.exists()


def test_no_planted_value_is_in_a_history_the_table_the_state_bucket_or_a_log(
    stack: Stack, refused: dict[str, tuple[Hostile, Ended]]
) -> None:
    states, logs = stack.client("stepfunctions"), stack.client("logs")
    pages: list[Any] = [
        list(states.get_paginator("get_execution_history").paginate(executionArn=ended.arn))
        for _, ended in refused.values()
    ]
    pages += (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=stack.outputs["CatalogueTable"])
    )
    for page in stack.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.state_bucket):
        keys = [each["Key"] for each in page["Contents"]]
        pages += [
            stack.s3.get_object(Bucket=stack.state_bucket, Key=key)["Body"].read() for key in keys
        ]
    for group in logs.describe_log_groups()["logGroups"]:
        pages += logs.get_paginator("filter_log_events").paginate(
            logGroupName=group["logGroupName"]
        )
    text = "".join(map(str, pages))
    assert "evil-exec" in text
    assert PLANTED not in text


def test_a_secret_without_text_is_not_found_and_says_how_to_fill_it(
    stack: Stack, point: dict[str, Any]
) -> None:
    ended = restored_to(stack, point, "evil-binary", PLANTED.encode())
    failed(
        ended, "NotFound", "cluster evil-binary", "replant/clusters/evil-binary has no text", REMEDY
    )


def test_a_token_that_is_not_accepted_refuses_the_restore(
    stack: Stack, point: dict[str, Any], good: str
) -> None:
    ended = restored_to(stack, point, "evil-token", changed(good, user={"token": PLANTED}))
    failed(ended, "Refused", "cluster evil-token", "does not accept the token", REMEDY)


def test_another_authority_makes_the_server_unreachable(
    stack: Stack, point: dict[str, Any], good: str
) -> None:
    other = yaml.safe_load(
        stack.client("secretsmanager").get_secret_value(SecretId="replant/clusters/east")[
            "SecretString"
        ]
    )
    authority = other["clusters"][0]["cluster"]["certificate-authority-data"]
    ended = restored_to(
        stack, point, "evil-ca", changed(good, certificate_authority_data=authority)
    )
    failed(
        ended,
        "Unreachable",
        "cluster evil-ca",
        "certificate-authority-data",
        "renew the kubeconfig",
    )


def test_another_server_name_makes_the_server_unreachable(
    stack: Stack, point: dict[str, Any], good: str
) -> None:
    ended = restored_to(
        stack, point, "evil-name", changed(good, tls_server_name="elsewhere.example")
    )
    failed(
        ended,
        "Unreachable",
        "cluster evil-name",
        "for another name",
        "set tls-server-name or server",
    )


def test_a_dead_server_is_unreachable_within_a_minute(
    stack: Stack, point: dict[str, Any], good: str
) -> None:
    server = f"https://127.0.0.1:{free_port()}"
    began = time.monotonic()
    ended = restored_to(stack, point, "evil-dead", changed(good, server=server))
    failed(
        ended,
        "Unreachable",
        "cluster evil-dead",
        server,
        "accepts no connection",
        "check that the API server runs",
    )
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("select", "error"),
    [({"vm": "lure/nobody"}, "NotFound"), ({"vm": "lure/web", "plan": 1}, "InvalidRequest")],
)
def test_what_is_wrong_with_the_request_is_told_before_a_hostile_kubeconfig(
    stack: Stack, refused: dict[str, tuple[Hostile, Ended]], select: dict[str, Any], error: str
) -> None:
    failed(stack.restore({"select": select, "target": "evil-exec"}), error)


def test_the_same_machine_is_restored_by_a_good_kubeconfig(
    stack: Stack, refused: dict[str, tuple[Hostile, Ended]], point: dict[str, Any]
) -> None:
    assert stack.restore(request(point, "west")).output["counts"] == {"ready": 1}
