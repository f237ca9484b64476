"""What is reported, and told on the topic, at the end of an execution; and when another one has
taken up its restore meanwhile.

Not aspects: what the report and the output consist of (test_report).
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import Overtaken
from shared.models.base import to_instant
from shared.models.restore_plans import MachineState
from shared.restore.message import TOLD
from shared.workflows.reporting import GRACE
from tests.lab import STATE, Lab, a_lab

Json = Any


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def test_a_late_report_of_an_execution_leaves_that_of_the_next_one_alone(lab: Lab) -> None:
    """StopExecution leaves a report function running as well."""
    lab.backup()
    first = lab.plan()
    lab.apply(first)
    lab.stop()
    second = lab.plan(execution="run-2")
    output = lab.finish(second)
    objects, told = dict(lab.s3.objects), list(lab.topic.told)
    with pytest.raises(Overtaken) as caught:
        lab.report(first, execution="run-1")
    assert caught.value.message == (
        f"Restore {first.ledger} was taken up by another execution, which reports it."
    )
    assert (lab.s3.objects, lab.topic.told) == (objects, told)
    assert lab.record(second).outcome == output["state"] == "succeeded"


def reported(lab: Lab, output: Json) -> Json:
    """The report that the output names."""
    return lab.s3.json(output["report"].removeprefix(f"s3://{STATE}/"))


def test_the_report_has_every_key_of_the_output(lab: Lab) -> None:
    lab.backup()
    output = lab.finish(lab.plan())
    report = reported(lab, output)
    assert report["report"] == output["report"]
    assert output.keys() <= report.keys()
    assert output["machines"][0].keys() <= report["machines"][0].keys()


# --- The end of an execution --------------------------------------------------------------------


def test_a_report_says_when_the_restore_and_the_machines_that_were_cut_off_ended(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    lab.apply(planned)
    lab.sleep(60)
    output = lab.report(planned, {"Error": "States.Timeout", "Cause": ""})
    (machine,) = output["machines"]
    assert machine["finishedAt"] == reported(lab, output)["finishedAt"] == to_instant(lab.now())


def test_the_topic_is_told_the_output_with_the_first_machines(lab: Lab) -> None:
    ids = [lab.backup(f"web{number:02}").id for number in range(TOLD + 1)]
    output = lab.restore(lab.request(*ids))
    assert lab.topic.subjects == [
        f"Replant: succeeded: restore of {TOLD + 1} machines from east to west"
    ]
    assert lab.topic.texts[0].startswith(f"Restore of {TOLD + 1} machines from east to west: suc")
    assert lab.topic.told == [output | {"machines": output["machines"][:TOLD]}]


def test_a_dry_run_is_told_to_nobody_and_beside_a_restore_has_a_report_of_its_own(
    lab: Lab,
) -> None:
    lab.backup()
    first = lab.restore(lab.request(dryRun=True), "dry-1")
    assert first["report"] == f"s3://{STATE}/reports/{first['restoreId']}.json"
    assert not lab.topic.told
    lab.restore()
    second = lab.restore(lab.request(dryRun=True), "dry-2")
    own = rf"s3://{STATE}/reports/{first['restoreId']}-dry-[0-9a-f]+\.json"
    assert re.fullmatch(own, second["report"])


def test_the_manifests_of_machines_that_were_touched_are_not_read_for_a_report(lab: Lab) -> None:
    """There may be thousands of them; what became of their objects is in the ledger."""
    lab.backup()
    planned = lab.plan()
    lab.apply(planned)
    for bucket, key in list(lab.s3.objects):
        if "-machines-" in key:
            del lab.s3.objects[bucket, key]
    (machine,) = reported(lab, lab.report(planned))["machines"]
    assert [each["action"] for each in machine["objects"]] == ["create"] * 4


def test_a_message_that_is_not_sent_is_sent_by_the_next_call(lab: Lab) -> None:
    """The restore does not count as reported before everything is told."""
    lab.backup()
    lab.cluster.bind = False
    lab.apply(lab.plan())
    lab.topic.broken = True
    with pytest.raises(ConnectionError):
        lab.stop()
    lab.topic.broken = False
    output = lab.stop()
    assert output
    assert lab.topic.told == [output]


def test_a_restore_that_its_execution_has_reported_is_not_reported_by_its_event(lab: Lab) -> None:
    lab.backup()
    lab.restore()
    told = list(lab.topic.told)
    assert lab.end(error="RestoreFailed") is None
    assert lab.stop() is None
    assert lab.topic.told == told


@pytest.mark.parametrize(("fail_on", "fails"), [("failed", True), ("never", False)])
def test_a_restore_of_which_nothing_came_back_fails_its_execution_after_its_report(
    lab: Lab, fail_on: str, fails: bool
) -> None:
    lab.backup()
    lab.cluster.run = False
    planned = lab.plan(lab.request(failOn=fail_on, ready={"timeout": "PT1S"}))
    while not lab.apply(planned).done:
        lab.sleep(60)
    found = lab.reported(planned)
    assert (found.output["state"], found.cause is not None) == ("failed", fails)
    assert reported(lab, found.output)["state"] == "failed"


# --- A redrive ----------------------------------------------------------------------------------


def test_a_machine_of_a_redriven_execution_has_all_of_its_time_and_is_looked_at_anew(
    lab: Lab,
) -> None:
    lab.backup()
    lab.backup("web02")
    lab.cluster.run = False
    planned = lab.plan(lab.request("point-web01", "point-web02"))
    lab.apply(planned)
    lab.stop()
    lab.sleep(7 * 24 * 3600)
    lab.cluster.run = True
    lab.ledger(planned).resume("run-1", 1)
    again = planned._replace(attempt=2)
    assert lab.finish(again)["counts"] == {"ready": 2}
    assert lab.record(again).outcome == "succeeded"


# --- A stop -------------------------------------------------------------------------------------


def test_a_stop_between_two_runs_is_reported_at_once(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    lab.apply(lab.plan())
    stopped_at = lab.now()
    output = lab.stop()
    assert output
    (machine,) = output["machines"]
    assert (machine["state"], machine["finishedAt"]) == ("cancelled", to_instant(stopped_at))


def test_what_a_stopped_run_has_in_hand_is_in_the_report(lab: Lab) -> None:
    """It still writes that down, and then that it has ended."""
    lab.backup()
    lab.cluster.run = False
    planned = lab.plan()
    lab.apply(planned)
    run = lab.batch(planned).take_run(planned.attempt).batch.run
    ready = {"state": MachineState.READY, "waits": None, "finished_at": lab.now()}
    stopped_at = lab.seconds

    def end(_: float) -> None:
        if lab.seconds == stopped_at + 3:
            result = lab.result(planned).model_copy(update=ready)
            lab.batch(planned).write(run, [result])
            lab.batch(planned).end_run(run)

    lab.during = end
    output = lab.stop()
    assert output
    assert (output["state"], output["counts"]) == ("cancelled", {"ready": 1})
    assert lab.seconds == stopped_at + 3


def test_a_restore_that_goes_on_before_its_stop_is_reported_is_not_reported_as_cancelled(
    lab: Lab,
) -> None:
    """Or the report of the stopped execution might come after that of the next one."""
    lab.backup()
    planned = lab.plan()
    lab.batch(planned).take_run(planned.attempt)
    went_on: list[float] = []

    def go_on(_: float) -> None:
        if not went_on:
            went_on.append(lab.seconds)
            lab.plan(execution="run-2")

    lab.during = go_on
    assert lab.stop() is None
    assert went_on
    assert not lab.topic.told
    assert f"reports/{planned.ledger}.json" not in {key for _, key in lab.s3.objects}


def test_a_stopped_run_that_never_ends_is_not_waited_for_beyond_its_grace(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    lab.batch(planned).take_run(planned.attempt)
    output = lab.stop()
    assert output
    assert (output["state"], output["counts"]) == ("cancelled", {"cancelled": 1})
    assert lab.seconds == GRACE


# --- What people read ---------------------------------------------------------------------------


def test_a_page_and_a_table_lie_beside_the_report(lab: Lab) -> None:
    lab.backup()
    output = lab.restore(lab.request(by="Ada"))
    name = output["report"].removeprefix(f"s3://{STATE}/").removesuffix(".json")
    page = lab.s3.objects[STATE, f"{name}.html"].decode()
    table = lab.s3.objects[STATE, f"{name}.txt"].decode()
    assert "<dt>Asked by</dt><dd>Ada</dd>" in page
    assert output["report"] in page
    assert table.startswith("Restore to west: succeeded, checks: pass\n")
    assert (reported(lab, output)["by"], reported(lab, output)["requestId"]) == ("Ada", "r")


def test_who_asks_is_no_part_of_the_request_and_the_first_one_stays(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    lab.apply(lab.plan(lab.request(by="Ada")))
    lab.stop()
    lab.cluster.bind = True
    output = lab.restore(lab.request(by="Grace"), "run-2")
    assert (output["state"], reported(lab, output)["by"]) == ("succeeded", "Ada")


def test_while_a_restore_runs_its_page_is_written_again_and_again(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    lab.apply(planned)
    running = lab.s3.objects[STATE, f"reports/{planned.ledger}.html"].decode()
    assert "The restore is running. 0 of 1 machine came back." in running
    assert "Waits: claim web01-disk-0" in running
    lab.cluster.bind = True
    lab.finish(planned)
    ended = lab.s3.objects[STATE, f"reports/{planned.ledger}.html"].decode()
    assert "1 of 1 machine came back." in ended
