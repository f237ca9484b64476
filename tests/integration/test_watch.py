"""A cluster that is watched: its outage, its credentials, and its alarms in line with documents.

Aspects: what fires, when, and what does not; who makes, puts back and deletes the alarms; rights
of the shipped roles. An outage, its end and a deletion wait for the clocks themselves.
Not aspects: what an answer means (test_probing), which alarms there should be (test_watch).
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from local import cloud, cluster, processes
from local.api import path
from local.cluster import Cluster
from local.stack import Stack, wait
from tests.integration.faulty import subscribed

pytestmark = pytest.mark.timeout(1200)

RIGHTS = cloud.ROOT / "docs" / "target-access.yaml"
OUTAGE, CREDENTIALS = "replant-watched-unreachable", "replant-watched-credentials"
PROMISED = 150
"""Seconds from an outage to its alarm."""

CLOCKS = 240
"""Seconds in which every clock has struck twice, and alarms were evaluated since."""

DOCUMENTS = {
    "clusters/watched.yaml": "id: watched\nsecret: replant/clusters/watched\n",
    "targets/watched.yaml": "id: watched\nurl: s3://BUCKET/watched/\ncluster: watched\n",
}


DOCUMENTED: Any = {"seconds": 60, "what": "the documents in force"}


@pytest.fixture(scope="module")
def watched(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of our own, known to the system as the source of backups."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "RUNTIME", tmp_path_factory.mktemp("watched"))
        try:
            started = cluster.start(["watched"])["watched"]
            stack.client("secretsmanager").create_secret(
                Name="replant/clusters/watched", SecretString=started.restricted_kubeconfig(RIGHTS)
            )
            for key, text in DOCUMENTS.items():
                stack.document(key, text.replace("BUCKET", stack.bucket))
            wait(lambda: stack.search(cluster="watched").get("restorePoints") == [], **DOCUMENTED)
            yield started
        finally:
            processes.stop_all()


def alarm(stack: Stack, name: str) -> dict[str, Any] | None:
    found = stack.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return dict(found[0]) if found else None


def is_in(stack: Stack, name: str, state: str) -> bool:
    found = alarm(stack, name)
    return found is not None and found["StateValue"] == state


def is_gone(stack: Stack, name: str) -> bool:
    return alarm(stack, name) is None


def wait_for(stack: Stack, name: str, state: str, seconds: float = CLOCKS) -> None:
    what = f"{name} in {state}"
    wait(partial(is_in, stack, name, state), seconds=seconds, what=what)


def call(stack: Stack, name: str, **event: str) -> Any:
    answer = stack.client("lambda").invoke(
        FunctionName=cloud.physical_name(stack.endpoint, name), Payload=json.dumps(event).encode()
    )
    found = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, found
    return found


def look(stack: Stack) -> dict[str, Any]:
    """What the probe answers about the cluster."""
    found: dict[str, Any] = call(stack, "ProbeFunction", cluster="watched")
    return found


def test_a_source_gets_its_alarms(stack: Stack, watched: Cluster) -> None:
    assert watched.api
    call(stack, "ProbeFunction")
    call(stack, "ProbeFunction")
    call(stack, "UpkeepFunction")
    wait_for(stack, OUTAGE, "OK")
    wait_for(stack, CREDENTIALS, "OK")
    found = alarm(stack, OUTAGE)
    assert found
    assert "cluster watched" in found["AlarmDescription"]
    assert found["AlarmActions"] == found["OKActions"] == [stack.outputs["NotificationTopic"]]
    tags = stack.client("cloudwatch").list_tags_for_resource(ResourceARN=found["AlarmArn"])["Tags"]
    assert {each["Key"]: each["Value"] for each in tags} == {
        "application": "replant",
        "replant:cluster": "watched",
    }


def test_what_a_cluster_tells_of_itself_is_seen_with_the_shipped_rights(
    stack: Stack, watched: Cluster
) -> None:
    found = look(stack)
    assert watched.api
    assert (found["answer"], found["reason"]) == ("ready", None)
    assert found["nodes"] is not None
    assert found["storageReady"] is True
    assert all(found["versions"][each] for each in ("kubernetes", "harvester", "longhorn"))


def test_an_outage_is_told_in_time_and_so_is_its_end(stack: Stack, watched: Cluster) -> None:
    wait_for(stack, OUTAGE, "OK")
    with subscribed(stack) as topic:
        watched.take_away()
        try:
            wait_for(stack, OUTAGE, "ALARM", PROMISED)
            assert "ALARM" in topic.about(OUTAGE)["Message"]
            found = look(stack)
            assert (found["answer"], found["lastAlive"] < found["unreachableSince"]) == (
                "unreachable",
                True,
            )
            assert found["versions"]["longhorn"], "as they were"
            assert is_in(stack, CREDENTIALS, "OK")
        finally:
            watched.bring_back()
        wait_for(stack, OUTAGE, "OK", PROMISED)
        assert look(stack)["unreachableSince"] is None


def test_an_alarm_that_somebody_changed_is_put_back(stack: Stack, watched: Cluster) -> None:
    assert watched.api
    wait_for(stack, OUTAGE, "OK")
    found = alarm(stack, OUTAGE)
    assert found
    given = ("MetricName", "Namespace", "Statistic", "Period", "EvaluationPeriods", "Dimensions")
    changed = {key: found[key] for key in (*given, "ComparisonOperator")}
    stack.client("cloudwatch").put_metric_alarm(AlarmName=OUTAGE, **changed, Threshold=0)
    assert call(stack, "UpkeepFunction")["alarms"] == {"put": [OUTAGE], "deleted": []}
    now = alarm(stack, OUTAGE)
    assert now
    assert (now["Threshold"], now["AlarmActions"]) == (1, found["AlarmActions"])


def test_credentials_that_are_revoked_are_told_of_and_are_no_outage(
    stack: Stack, watched: Cluster
) -> None:
    wait_for(stack, CREDENTIALS, "OK")
    watched.api.call("DELETE", f"{path('v1', 'secrets', 'replant')}/replant-token")
    wait(lambda: look(stack)["answer"] == "rejected", seconds=60, what="a 401")
    with subscribed(stack) as topic:
        wait_for(stack, CREDENTIALS, "ALARM")
        assert "cluster watched" in topic.about(CREDENTIALS)["Message"]
    assert is_in(stack, OUTAGE, "OK")


def test_the_alarms_go_with_the_documents(stack: Stack, watched: Cluster) -> None:
    assert watched.api
    for key in DOCUMENTS:
        stack.s3.delete_object(Bucket=stack.state_bucket, Key=key)
    for name in (OUTAGE, CREDENTIALS):
        wait(partial(is_gone, stack, name), seconds=CLOCKS, what=f"the end of {name}")
    assert alarm(stack, "replant-east-unreachable"), "nobody else's goes along"
