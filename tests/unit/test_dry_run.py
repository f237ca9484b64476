"""Whole dry runs on a fake cluster: what is tried of machines that the plan leaves out."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.models.base import to_instant
from tests.fake_cluster import status
from tests.lab import STATE, Lab, a_lab

Json = Any


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def reported(lab: Lab, output: Json) -> list[Json]:
    """The machines of the report."""
    key = output["report"].removeprefix(f"s3://{STATE}/")
    machines: list[Json] = json.loads(lab.s3.objects[STATE, key])["machines"]
    return machines


def test_of_a_machine_that_is_skipped_nothing_is_tried(lab: Lab) -> None:
    lab.backup()
    lab.cluster.add("VirtualMachine", "default", "web01", spec={"runStrategy": "Always"})
    asked: list[str] = []
    lab.cluster.before = lambda method, place: asked.append(method)
    output = lab.restore(lab.request(dryRun=True, onExisting="skip"))
    (machine,) = reported(lab, output)
    assert (output["state"], machine["state"]) == ("planned", "skipped")
    assert {each["action"] for each in machine["objects"]} == {"skip"}
    assert set(asked) == {"GET", "REVIEW"}, "of its own rights, which makes nothing"


def test_a_machine_that_is_blocked_is_tried_once_however_many_runs_it_takes(lab: Lab) -> None:
    """Its objects tell what else is wrong; each run has time for one machine here."""
    for vm in ("web01", "web02", "web03"):
        lab.backup(vm, backup=f"nightly-{vm}")
    lab.cluster.add("VirtualMachine", "default", "web01", spec={"runStrategy": "Always"})
    tried: list[str] = []

    def slow(method: str, place: tuple[str, str, str]) -> None:
        if method == "POST":
            lab.seconds += 20
            tried.append(place[0])

    lab.cluster.before = slow
    ids = ("point-web01", "point-web02", "point-web03")
    planned = lab.plan(lab.request(*ids, dryRun=True, concurrency=1))
    runs = 0
    while not lab.apply(planned, seconds=100).done:
        runs += 1
        assert runs < 10, "it never ends"
    output = lab.report(planned)
    assert output["counts"] == {"blocked": 1, "planned": 2}
    assert tried.count("VirtualMachine") == 3
    assert [each["objects"][-1]["action"] for each in reported(lab, output)] == [
        "conflict",
        "create",
        "create",
    ]


def test_a_machine_that_the_api_server_refuses_is_tried_once_and_ends_then(lab: Lab) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)
    ends: list[str] = []

    def slow(method: str, place: tuple[str, str, str]) -> None:
        if (method, place[0]) == ("POST", "VirtualMachine"):
            lab.seconds += 60
            ends.append(to_instant(lab.now()))

    lab.cluster.before = slow
    denied = status(422, "Invalid", "spec.template is wrong")
    lab.cluster.fail("POST", "VirtualMachine", denied, name="web01", times=99)
    planned = lab.plan(lab.request("point-web01", "point-web02", dryRun=True, concurrency=1))
    for _ in range(3):
        lab.apply(planned, seconds=100)
    output = lab.report(planned)
    assert output["counts"] == {"blocked": 1, "planned": 1}
    assert [each["finishedAt"] for each in output["machines"]] == ends
