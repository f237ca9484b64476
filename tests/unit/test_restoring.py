"""Whole restores on a fake cluster: the product's use cases, and everything that goes wrong around
them.

Aspects: order of writes, one bad machine among good ones, outages, deadlines, runs that overlap,
resuming, stopping, what is told of each. Not aspects: manifests, checks, and what an API server's
answers mean, which have tests of their own.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from local.samples.guests import Nic
from shared.errors import InvalidRequest, NotFound, Overtaken, Refused
from shared.kube.connection import Silence
from shared.models.restore_plans import Phase
from shared.models.restore_points import State
from tests.fake_cluster import Place, status
from tests.lab import Lab, a_lab

WEB = ("VirtualMachine", "default", "web01")
CLAIM = ("PersistentVolumeClaim", "default", "web01-disk-0")
WEBHOOK = "failed calling webhook"
QUOTA = "Operation cannot be fulfilled on resourcequotas"
DENIED = 'admission webhook "validator.harvesterhci.io" denied the request: duplicate mac address'
REFUSED = Silence("accepts no connection")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def error_of(output: dict[str, Any], vm: str = "web01") -> dict[str, str]:
    (found,) = [each["error"] for each in output["machines"] if each["vm"] == vm]
    assert found, output
    return dict(found)


def states(output: dict[str, Any]) -> dict[str, str]:
    return {each["vm"]: each["state"] for each in output["machines"]}


def started(lab: Lab, vm: str = "web01") -> list[tuple[str, str, str]]:
    return [each for each in lab.cluster.writes if each == ("patch", "VirtualMachine", vm)]


def test_a_machine_is_restored_from_its_disks_to_its_start(lab: Lab) -> None:
    lab.backup(secrets={"keys": {"userdata": "#cloud-config"}})
    output = lab.restore()
    assert (output["state"], output["counts"], output["verdict"]) == (
        "succeeded",
        {"ready": 1},
        "pass",
    )
    assert [(verb, kind) for verb, kind, _ in lab.cluster.writes] == [
        ("create", "VolumeSnapshotContent"),
        ("create", "VolumeSnapshot"),
        ("create", "PersistentVolumeClaim"),
        ("create", "VirtualMachine"),
        ("create", "Secret"),
        ("patch", "VirtualMachine"),
    ]
    vm = lab.cluster.objects[WEB]
    (secret,) = lab.cluster.of("Secret").values()
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["name"], owner["uid"]) == ("web01", vm["metadata"]["uid"])
    assert secret["data"] == {"userdata": "I2Nsb3VkLWNvbmZpZw=="}
    assert vm["spec"]["runStrategy"] == "RerunOnFailure"
    assert lab.topic.told[-1]["state"] == "succeeded"


def test_the_report_has_every_object_and_its_action(lab: Lab) -> None:
    lab.backup()
    output = lab.restore()
    report = lab.s3.json(f"reports/{output['restoreId']}.json")
    (machine,) = report["machines"]
    assert [each["action"] for each in machine["objects"]] == ["create"] * 4
    assert (machine["strategy"], machine["backup"]) == ("csi", "web01-nightly")
    assert (report["state"], report["counts"]) == ("succeeded", {"ready": 1})


def test_a_missing_namespace_is_made_once_and_one_that_another_client_just_made_is_used(
    lab: Lab,
) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)
    asked = lab.request("point-web01", "point-web02", mapping={"namespaces": {"default": "prod"}})
    planned = lab.plan(asked)
    lab.cluster.add("Namespace", "", "prod")
    assert lab.finish(planned)["counts"] == {"ready": 2}
    assert ("create", "Namespace", "prod") not in lab.cluster.writes


def test_a_namespace_that_cannot_be_made_fails_its_machines_and_no_others(lab: Lab) -> None:
    lab.backup("web01")
    lab.backup("db01", namespace="db")
    lab.cluster.fail("POST", "Namespace", status(500, "InternalError", DENIED))
    output = lab.restore(lab.request("point-web01", "point-db01"))
    assert states(output) == {"db01": "failed", "web01": "ready"}
    assert "denied the request" in error_of(output, "db01")["message"]
    (db01, _) = lab.s3.json(f"reports/{output['restoreId']}.json")["machines"]
    assert [(each["kind"], each["action"]) for each in db01["objects"]] == [
        ("VolumeSnapshotContent", "skip"),
        ("VolumeSnapshot", "skip"),
        ("PersistentVolumeClaim", "skip"),
        ("VirtualMachine", "skip"),
    ]


# --- One machine among others ------------------------------------------------------------------


def test_a_secret_value_of_null_is_an_empty_value(lab: Lab) -> None:
    def empty(metadata: dict[str, Any]) -> None:
        metadata["secretBackups"][0]["data"]["userdata"] = None

    lab.backup(secrets={"keys": {"userdata": "x"}}, edit=empty)
    assert lab.restore()["counts"] == {"ready": 1}
    (secret,) = lab.cluster.of("Secret").values()
    assert secret["data"] == {"userdata": ""}


@pytest.mark.parametrize(
    ("code", "reason"), [(500, "InternalError"), (400, ""), (403, "Forbidden"), (422, "Invalid")]
)
def test_a_webhooks_denial_fails_its_machine_at_once_in_its_words(
    lab: Lab, code: int, reason: str
) -> None:
    for vm in ("web01", "web02", "web03"):
        lab.backup(vm)
    lab.cluster.fail("POST", "VirtualMachine", status(code, reason, DENIED), times=99)
    lab.cluster.faults[0].name = "web02"
    output = lab.restore(lab.request("point-web01", "point-web02", "point-web03"))
    assert states(output) == {"web01": "ready", "web02": "failed", "web03": "ready"}
    assert error_of(output, "web02")["code"] == "Rejected"
    assert DENIED in error_of(output, "web02")["message"]
    report = lab.s3.json(f"reports/{output['restoreId']}.json")
    bad = next(each for each in report["machines"] if each["vm"] == "web02")
    assert [each["action"] for each in bad["objects"]] == ["create"] * 3 + ["failed"]


def test_a_webhook_that_does_not_answer_is_waited_for(lab: Lab) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)
    fault = status(500, "InternalError", f'{WEBHOOK} "v.kubevirt.io": connection refused')
    lab.cluster.fail("POST", "VirtualMachine", fault, name="web02", times=9)
    output = lab.restore(lab.request("point-web01", "point-web02"))
    assert states(output) == {"web01": "ready", "web02": "ready"}


def test_a_webhook_that_never_answers_fails_its_machine_when_its_time_is_over(lab: Lab) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)
    fault = status(500, "InternalError", f'{WEBHOOK} "v.kubevirt.io": connection refused')
    lab.cluster.fail("POST", "VirtualMachine", fault, name="web02", times=10_000)
    output = lab.restore(
        lab.request("point-web01", "point-web02", ready={"timeout": "PT10M"}),
    )
    assert states(output) == {"web01": "ready", "web02": "failed"}
    assert error_of(output, "web02")["code"] == "Unavailable"
    assert WEBHOOK in error_of(output, "web02")["message"]
    assert 600 < lab.seconds < 800


@pytest.mark.parametrize(
    "refusal",
    [
        status(409, "Conflict", f'{QUOTA} "default": the object has been modified'),
        status(409, "AlreadyExists", "object is being deleted: secrets already exists"),
        status(429, "TooManyRequests", "please try again later"),
    ],
    ids=["quota", "being deleted", "busy"],
)
def test_a_secret_never_vanishes_behind_a_refusal_that_is_not_its_existence(
    lab: Lab, refusal: Any
) -> None:
    lab.backup(secrets={"keys": {"userdata": "x"}})
    lab.cluster.fail("POST", "Secret", refusal, times=6)
    assert lab.restore()["counts"] == {"ready": 1}
    assert len(lab.cluster.of("Secret")) == 1


def test_a_secret_that_stands_already_is_this_restores_own(lab: Lab) -> None:
    """Its answer was lost; the name ends in the restore's id."""
    lab.backup(secrets={"keys": {"userdata": "x"}})

    def lose_the_answer(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "Secret") and not lab.cluster.of("Secret"):
            lab.cluster.add("Secret", "default", "keys-" + planned.ledger[2:10])

    planned = lab.plan()
    lab.cluster.before = lose_the_answer
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_metadata_that_changed_fails_its_machine_before_anything_of_it_is_made(lab: Lab) -> None:
    lab.backup("web01", secrets={"keys": {"userdata": "x"}})
    lab.backup("web02")
    planned = lab.plan(lab.request("point-web01", "point-web02"))
    (key,) = [place for place in lab.s3.objects if "web01" in lab.s3.objects[place].decode()][:1]
    lab.s3.objects[key] += b" "
    output = lab.finish(planned)
    assert states(output) == {"web01": "failed", "web02": "ready"}
    assert "changed since" in error_of(output)["message"]
    assert not [name for _, _, name in lab.cluster.writes if "web01" in name]


# --- Other clients ------------------------------------------------------------------------------


def test_a_name_that_was_taken_after_the_plan_leaves_nothing_half_made(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    lab.cluster.add(*WEB, spec={"runStrategy": "Always"})
    output = lab.finish(planned)
    assert error_of(output)["code"] == "Conflict"
    assert "created by another client after the plan" in error_of(output)["message"]
    assert lab.cluster.writes == []


def test_a_name_that_is_taken_at_the_last_moment_is_a_conflict_and_left_alone(lab: Lab) -> None:
    lab.backup()

    def take(method: str, place: Place) -> None:
        if (method, place[0]) == ("POST", "VirtualMachine"):
            lab.cluster.add(*WEB, spec={"runStrategy": "Always"})

    lab.cluster.before = take
    output = lab.restore()
    assert error_of(output)["code"] == "Conflict"
    assert "was created by another client" in error_of(output)["message"]
    assert lab.cluster.objects[WEB]["spec"] == {"runStrategy": "Always"}
    assert not started(lab)


def test_a_machine_that_changed_hands_is_never_started(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    lab.apply(planned)
    labels = lab.cluster.objects[WEB]["metadata"]["labels"]
    lab.cluster.add(*WEB, metadata={"labels": labels}, spec={"runStrategy": "Halted"})
    lab.cluster.bind = True
    output = lab.finish(planned)
    assert "another client deleted it" in error_of(output)["message"]
    assert not started(lab)


def test_a_machine_that_another_client_started_is_not_overruled(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    lab.apply(planned)
    lab.cluster.objects[WEB]["spec"]["runStrategy"] = "Always"
    lab.cluster.bind = True
    assert lab.finish(planned)["counts"] == {"ready": 1}
    assert not started(lab)
    assert lab.cluster.objects[WEB]["spec"]["runStrategy"] == "Always"


def test_a_machine_that_was_deleted_while_it_was_waited_for_is_told_at_once(lab: Lab) -> None:
    lab.backup()
    lab.cluster.run = False
    planned = lab.plan()
    lab.apply(planned)
    del lab.cluster.objects[WEB]
    output = lab.finish(planned, runs=1)
    assert "was deleted after this restore had made it" in error_of(output)["message"]


# --- Time and outages ---------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["VolumeSnapshot", "VirtualMachine"])
def test_a_short_outage_ends_nothing(lab: Lab, after: str) -> None:
    lab.backup()
    until: list[float] = []

    def fall(method: str, place: Place) -> None:
        if place[0] == after and method == "POST" and not until:
            until.append(lab.seconds + 12)
        lab.cluster.down = None
        if until and lab.seconds < until[0]:
            lab.cluster.down = "accepts no connection"

    lab.cluster.before = fall
    assert lab.restore()["counts"] == {"ready": 1}


@pytest.mark.parametrize(
    ("method", "kind"), [("GET", "VirtualMachine"), ("POST", "VolumeSnapshot")]
)
@pytest.mark.parametrize("code", [401, 403])
def test_an_api_server_that_comes_back_and_knows_no_rights_yet_refuses_nothing(
    lab: Lab, method: str, kind: str, code: int
) -> None:
    """Until it is ready, it refuses what the account may do."""
    lab.backup()
    planned = lab.plan()
    said = 'virtualmachines is forbidden: User "replant" cannot list resource "virtualmachines"'
    lab.cluster.starting = True
    lab.cluster.fail(method, kind, status(code, "Forbidden", said), times=3)
    assert lab.finish(planned)["counts"] == {"ready": 1}


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_from_just_before_the_api_server_was_ready_is_asked_again(
    lab: Lab, code: int
) -> None:
    lab.backup()
    planned = lab.plan()
    said = 'virtualmachines is forbidden: User "replant" cannot list resource "virtualmachines"'
    lab.cluster.fail("GET", "VirtualMachine", status(code, "Forbidden", said), times=1)
    assert lab.finish(planned)["counts"] == {"ready": 1}


@pytest.mark.parametrize("code", [401, 403])
def test_an_api_server_that_knows_nobody_yet_does_not_even_say_whether_it_is_ready(
    lab: Lab, code: int
) -> None:
    """As kube-apiserver does in its first moments on a host with much to do."""
    lab.backup()
    planned = lab.plan()
    said = 'virtualmachines is forbidden: User "replant" cannot list resource "virtualmachines"'
    lab.cluster.fail("GET", "VirtualMachine", status(code, "Forbidden", said), times=2)
    lab.cluster.fail("REVIEW", "Readiness", status(code, "Forbidden", 'cannot get "/readyz"'))
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_an_outage_while_machines_are_waited_for_ends_nothing(lab: Lab) -> None:
    lab.backup()
    lab.cluster.run = False
    planned = lab.plan()
    lab.apply(planned)
    lab.cluster.down = "accepts no connection"
    progress = lab.apply(planned)
    assert (progress.done, "accepts no connection" in progress.waiting[0]["waits"]) == (False, True)
    lab.cluster.down = None
    lab.cluster.run = True
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_a_cluster_that_never_comes_back_fails_its_machines_when_their_time_is_over(
    lab: Lab,
) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)
    planned = lab.plan(lab.request("point-web01", "point-web02", ready={"timeout": "PT10M"}))
    lab.cluster.down = "accepts no connection"
    output = lab.finish(planned)
    assert states(output) == {"web01": "failed", "web02": "failed"}
    assert error_of(output)["code"] == "Unreachable"
    assert "accepts no connection" in error_of(output)["message"]
    assert 600 < lab.seconds < 800


def test_many_machines_wait_for_a_dead_cluster_no_longer_than_one(lab: Lab) -> None:
    ids = [lab.backup(f"web{number:02}").id for number in range(6)]
    request = lab.request(*ids, concurrency=1, ready={"timeout": "PT10M"})

    def die(method: str, place: Place) -> None:
        if method == "POST":
            lab.cluster.down = "accepts no connection"

    planned = lab.plan(request)
    lab.cluster.before = die
    assert lab.finish(planned)["counts"] == {"failed": 6}
    assert 600 < lab.seconds < 800


def test_a_short_outage_fails_no_machine_that_was_not_begun_yet(lab: Lab) -> None:
    """However long the restore has taken until then."""
    ids = [lab.backup(f"web{number:02}").id for number in range(6)]
    planned = lab.plan(lab.request(*ids, concurrency=1, ready={"timeout": "PT10M"}))
    lab.cluster.fail("POST", "VirtualMachine", REFUSED, name="web03", times=5)

    def take_long(method: str, place: Place) -> None:
        if method == "POST":
            lab.seconds += 45

    lab.cluster.before = take_long
    assert lab.finish(planned)["counts"] == {"ready": 6}
    assert lab.seconds > 900, "the outage came after all of one machine's time"


def test_the_first_machines_start_while_the_last_are_still_created(lab: Lab) -> None:
    ids = [lab.backup(f"web{number:02}").id for number in range(8)]

    def take_long(method: str, place: Place) -> None:
        if method == "POST":
            lab.seconds += 5
            lab.cluster.settle()

    lab.cluster.before = take_long
    assert lab.restore(lab.request(*ids, concurrency=1))["counts"] == {"ready": 8}
    first_start = lab.cluster.writes.index(("patch", "VirtualMachine", "web00"))
    last_made = lab.cluster.writes.index(("create", "VirtualMachine", "web07"))
    assert first_start < last_made


def test_an_object_that_never_gets_an_answer_fails_its_machine_and_no_other(lab: Lab) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)
    planned = lab.plan(lab.request("point-web01", "point-web02", ready={"timeout": "PT10M"}))
    lab.cluster.fail("POST", "VirtualMachine", REFUSED, name="web02", times=100_000)
    output = lab.finish(planned)
    assert states(output) == {"web01": "ready", "web02": "failed"}
    assert "accepts no connection" in error_of(output, "web02")["message"]
    assert 600 < lab.seconds < 800


def test_no_machine_is_tried_on_a_cluster_that_another_one_found_dead(lab: Lab) -> None:
    ids = [lab.backup(f"web{number:02}").id for number in range(30)]
    planned = lab.plan(lab.request(*ids, concurrency=1))
    asked: list[str] = []

    def count(method: str, place: Place) -> None:
        if method == "POST":
            lab.cluster.down = "accepts no connection"
            asked.append(place[0])

    lab.cluster.before = count
    lab.apply(planned)
    assert len(asked) <= 4, "the attempts of one request"


def test_a_hung_request_does_not_outlast_the_run(lab: Lab) -> None:
    lab.backup()

    def hang() -> Silence:
        lab.seconds += 30
        return Silence("did not answer within 30 s")

    lab.cluster.fail("POST", "VirtualMachine", hang, times=1000)
    planned = lab.plan()
    lab.apply(planned)
    assert lab.seconds < 300


def test_a_dry_run_of_many_machines_ends_and_tries_each_object_once(lab: Lab) -> None:
    ids = [lab.backup(f"web{number:02}").id for number in range(12)]
    tried: list[Place] = []

    def slow(method: str, place: Place) -> None:
        if method == "POST":
            lab.seconds += 0.4
            tried.append(place)

    lab.cluster.before = slow
    planned = lab.plan(lab.request(*ids, dryRun=True, concurrency=1))
    runs = 0
    while not lab.apply(planned, seconds=65).done:
        runs += 1
    assert 1 < runs < 10
    assert len(tried) == 12 * 4
    assert lab.report(planned)["counts"] == {"planned": 12}
    assert lab.cluster.writes == []


def test_a_machine_that_is_not_ready_in_time_fails_with_what_it_waits_for(lab: Lab) -> None:
    lab.backup()
    lab.cluster.run = False
    output = lab.restore(lab.request(ready={"timeout": "PT5M"}))
    error = error_of(output)
    assert error["code"] == "NotReady"
    assert error["message"] == ("not ready after 300 s: VirtualMachine default/web01 is Starting")


def test_a_resumed_machine_has_all_of_its_time_again(lab: Lab) -> None:
    lab.backup()
    lab.cluster.run = False
    request = lab.request(ready={"timeout": "PT5M"})
    assert lab.restore(request)["state"] == "failed"
    planned = lab.plan(request, "run-2")
    assert lab.apply(planned).done is False
    lab.cluster.run = True
    assert lab.finish(planned)["counts"] == {"ready": 1}
    assert len(started(lab)) == 1, "it was started once, and never halted"


# --- Resuming -----------------------------------------------------------------------------------


def test_what_is_told_ready_was_seen_so_in_that_execution(lab: Lab) -> None:
    lab.backup()
    assert lab.restore()["counts"] == {"ready": 1}
    lab.cluster.run = False
    lab.cluster.settle()
    planned = lab.plan(None, "run-2")
    assert lab.apply(planned).done is False
    lab.cluster.run = True
    assert lab.finish(planned)["counts"] == {"ready": 1}
    assert len(started(lab)) == 1


def test_a_machine_that_was_deleted_since_is_made_again_as_far_as_it_is_missing(lab: Lab) -> None:
    lab.backup()
    lab.restore()
    del lab.cluster.objects[WEB]
    before = len(lab.cluster.writes)
    assert lab.restore(execution="run-2")["counts"] == {"ready": 1}
    made = [(verb, kind) for verb, kind, _ in lab.cluster.writes[before:]]
    assert made == [("create", "VirtualMachine"), ("patch", "VirtualMachine")]


def test_a_cluster_that_was_emptied_gets_everything_again(lab: Lab) -> None:
    lab.backup(secrets={"keys": {"userdata": "x"}})
    lab.restore()
    for place in list(lab.cluster.objects):
        if "labels" in lab.cluster.objects[place]["metadata"]:
            del lab.cluster.objects[place]
    assert lab.restore(execution="run-2")["counts"] == {"ready": 1}
    assert lab.cluster.objects[WEB]["spec"]["runStrategy"] == "RerunOnFailure"


def test_the_same_request_again_writes_nothing_to_the_cluster(lab: Lab) -> None:
    lab.backup(secrets={"keys": {"userdata": "x"}})
    first = lab.restore()
    before = list(lab.cluster.writes)
    again = lab.restore(execution="run-2")
    assert (again["restoreId"], again["counts"]) == (first["restoreId"], {"ready": 1})
    assert lab.cluster.writes == before


def test_another_request_with_the_same_id_is_told_so(lab: Lab) -> None:
    lab.backup()
    lab.restore()
    with pytest.raises(InvalidRequest, match="belongs to another request") as caught:
        lab.plan(lab.request(start=False), "run-2")
    assert caught.value.field == "requestId"


def test_a_restore_that_still_runs_is_not_taken_up(lab: Lab) -> None:
    lab.backup()
    lab.plan()
    with pytest.raises(Refused, match="still running as run-1"):
        lab.plan(execution="run-2")


def test_a_plan_that_was_given_to_a_run_stays_whatever_is_newer(lab: Lab) -> None:
    """The disk that exists is the older point's: to tell of a newer one would be a lie."""
    older = lab.backup(id_="older")
    request = {"select": {"vm": "default/web01"}, "target": "west", "requestId": "r"}
    planned = lab.plan(request)
    lab.cluster.down = "accepts no connection"
    lab.apply(planned)
    lab.stop()
    lab.cluster.down = None
    newer = older.taken_at.replace(day=older.taken_at.day + 1)
    lab.backup(id_="newer", backup="nightly-2", taken_at=newer)
    output = lab.restore(request, "run-2")
    assert (output["machines"][0]["id"], output["planHash"]) == ("older", planned.plan_hash)


def test_a_plan_that_nothing_was_done_by_gives_way_to_newer_points(lab: Lab) -> None:
    older = lab.backup(id_="older")
    request = {"select": {"vm": "default/web01"}, "target": "west", "requestId": "r"}
    lab.plan(request)
    lab.stop()
    newer = older.taken_at.replace(day=older.taken_at.day + 1)
    lab.backup(id_="newer", backup="nightly-2", taken_at=newer)
    assert lab.restore(request, "run-2")["machines"][0]["id"] == "newer"


def test_a_content_of_another_restore_point_under_our_name_is_a_conflict(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    name = next(lab.names(planned, "VolumeSnapshotContent"))
    content = {
        "metadata": {
            "labels": {"replant.dev/restore": planned.ledger},
            "annotations": {"backup.origin.restore-point": "point-web01"},
        },
        "spec": {"source": {"snapshotHandle": "bak://pvc-other/backup-other"}},
    }
    lab.cluster.add("VolumeSnapshotContent", "", name, **content)
    output = lab.finish(planned)
    assert error_of(output)["code"] == "Conflict"
    assert "from another restore point" in error_of(output)["message"]


def test_with_the_ledger_lost_our_own_label_proves_nothing(lab: Lab) -> None:
    lab.backup()
    lab.restore()
    for key in [key for key in lab.table.packed if key[0].startswith("restore#")]:
        del lab.table.packed[key]
    before = list(lab.cluster.writes)
    output = lab.restore(execution="run-2")
    assert states(output) == {"web01": "blocked"}
    assert "already exists" in error_of(output)["message"]
    assert lab.cluster.writes == before
    assert lab.cluster.objects[WEB]["spec"]["runStrategy"] == "RerunOnFailure"


def test_who_restores_again_after_a_stopped_run_is_told_the_request_that_resumes_it(
    lab: Lab,
) -> None:
    lab.backup()
    lab.cluster.bind = False
    lab.apply(lab.plan(lab.request(requestId="monday")))
    lab.stop()
    lab.cluster.bind = True
    output = lab.restore(lab.request(requestId="tuesday"), "run-2")
    assert states(output) == {"web01": "blocked"}
    assert '"requestId": "monday"' in error_of(output)["message"]
    assert "Delete" not in error_of(output)["message"]


def test_a_selection_by_labels_takes_the_machines_that_carry_them_all(lab: Lab) -> None:
    lab.backup("db01", labels={"tier": "data", "app": "pg"})
    lab.backup("db02", labels={"tier": "data"}, state=State.INCOMPLETE, reasons=["disk: gone"])
    lab.backup("web01", labels={"tier": "web"})
    output = lab.restore(lab.request() | {"select": {"labels": {"tier": "data"}}})
    assert states(output) == {"db01": "ready", "db02": "blocked"}
    wanted = {"labels": {"tier": "data", "app": "mysql"}, "cluster": "east"}
    with pytest.raises(NotFound) as caught:
        lab.plan(lab.request() | {"select": wanted, "requestId": "none"})
    said = "no restore point of a machine with tier=data, app=mysql of cluster east is known"
    assert said in caught.value.message


# --- Runs that overlap --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["VolumeSnapshotContent", "PersistentVolumeClaim", "VirtualMachine"]
)
def test_a_run_that_was_overtaken_writes_nothing_more(lab: Lab, kind: str) -> None:
    """A stopped execution leaves its function running; the next one restores the machine."""
    lab.backup(secrets={"keys": {"userdata": "x"}})
    planned = lab.plan()
    outputs: list[Any] = []

    def overtake(method: str, place: Place) -> None:
        if method == "POST" and place[0] == kind and not outputs:
            outputs.append(None)
            lab.alive.discard("run-1")
            outputs[0] = lab.restore(execution="run-2")
            lab.cluster.writes.append(("overtaken", "", ""))

    lab.cluster.before = overtake
    with pytest.raises(Overtaken):
        lab.apply(planned)
    assert outputs[0]["counts"] == {"ready": 1}
    late = lab.cluster.writes[lab.cluster.writes.index(("overtaken", "", "")) + 1 :]
    assert late == [], "what was under way met what exists; nothing new was begun"
    assert lab.cluster.objects[WEB]["spec"]["runStrategy"] == "RerunOnFailure"
    (result,) = lab.ledger(planned).machines().values()
    assert (result.phase, result.state, result.attempt) == (Phase.STARTED, "ready", 2)


def test_of_two_calls_of_one_execution_only_the_newer_acts(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()
    done: list[Any] = []

    def repeat(method: str, place: Place) -> None:
        if method == "POST" and place[0] == "VolumeSnapshot" and not done:
            done.append(None)
            done[0] = lab.finish(planned)

    lab.cluster.before = repeat
    with pytest.raises(Overtaken):
        lab.apply(planned)
    assert done[0]["counts"] == {"ready": 1}
    assert len(started(lab)) == 1


def test_two_plan_calls_at_once_go_on_with_one_plan(lab: Lab) -> None:
    older = lab.backup(id_="older")
    request = {"select": {"vm": "default/web01"}, "target": "west", "requestId": "r"}
    plans: list[Any] = []

    def plan_meanwhile(method: str, place: Place) -> None:
        if place[0] == "StorageClass" and not plans:
            plans.append(None)
            newer = older.taken_at.replace(day=older.taken_at.day + 1)
            lab.backup(id_="newer", backup="nightly-2", taken_at=newer)
            plans[0] = lab.plan(request)

    lab.cluster.before = plan_meanwhile
    assert lab.plan(request) == plans[0]
    assert lab.finish(plans[0])["machines"][0]["id"] == "newer"


def test_a_stopped_restore_writes_nothing_more_and_is_reported_cancelled(lab: Lab) -> None:
    ids = [lab.backup(f"web{number:02}").id for number in range(6)]
    planned = lab.plan(lab.request(*ids, concurrency=1))
    stopped: list[int] = []

    def stop(method: str, place: Place) -> None:
        two_are_made = len(lab.cluster.of("VirtualMachine")) == 2
        if (method, place[0]) == ("POST", "VolumeSnapshot") and two_are_made and not stopped:
            lab.ledger(planned).stop("run-1")
            lab.seconds += 1
            stopped.append(len(lab.cluster.writes))

    lab.cluster.before = stop
    with pytest.raises(Overtaken):
        lab.apply(planned)
    assert len(lab.cluster.writes) == stopped[0] + 1, "the request that was under way"
    known = [each for made in lab.ledger(planned).objects().values() for each in made]
    created = [(each.kind, each.name) for each in known if each.action == "create"]
    assert sorted(created) == sorted((kind, name) for _, kind, name in lab.cluster.writes)
    output = lab.stop()
    assert output
    assert (output["state"], output["counts"]) == ("cancelled", {"cancelled": 6})
    assert lab.topic.told[-1]["state"] == "cancelled"
    assert lab.s3.json(f"reports/{output['restoreId']}.json")["state"] == "cancelled"
    lab.cluster.before = None
    again = lab.restore(lab.request(*ids, concurrency=1), "run-2")
    assert again["counts"] == {"ready": 6}
    assert len(lab.cluster.of("VirtualMachine")) == 6


def test_a_machine_that_was_ready_before_the_stop_stays_so_in_the_report(lab: Lab) -> None:
    for vm in ("web01", "web02"):
        lab.backup(vm)

    def only_one(method: str, place: Place) -> None:
        for name, vm in lab.cluster.of("VirtualMachine").items():
            vm["status"] = {"ready": name == "web01", "printableStatus": "Starting"}

    lab.cluster.run = False
    lab.cluster.before = only_one
    lab.apply(lab.plan(lab.request("point-web01", "point-web02")))
    output = lab.stop()
    assert output
    assert states(output) == {"web01": "ready", "web02": "cancelled"}


def test_the_stop_of_an_execution_that_was_overtaken_stops_nobody(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    lab.apply(lab.plan())
    lab.alive.clear()
    planned = lab.plan(execution="run-2")
    assert lab.stop("run-1") is None
    lab.cluster.bind = True
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_the_stop_of_an_execution_that_began_nothing_says_nothing(lab: Lab) -> None:
    lab.backup()
    assert lab.stop("run-9") is None
    lab.cluster.down = "accepts no connection"


# --- Dry runs, and what cannot begin ------------------------------------------------------------


def test_a_dry_run_claims_nothing_and_hashes_as_the_restore_does(lab: Lab) -> None:
    lab.backup()
    dry = lab.restore(lab.request(dryRun=True), "dry-1")
    assert (dry["state"], dry["counts"], lab.cluster.writes) == ("planned", {"planned": 1}, [])
    real = lab.restore(lab.request(start=True), "run-1")
    assert (real["state"], real["planHash"]) == ("succeeded", dry["planHash"])
    other = lab.restore(lab.request(requestId="other", dryRun=True, concurrency=3), "dry-2")
    assert other["planHash"] != dry["planHash"], "the machine exists by now"


def test_the_hash_depends_on_what_is_done_and_not_on_who_asks(lab: Lab) -> None:
    lab.backup()
    first = lab.restore(lab.request(requestId="one", dryRun=True), "dry-1")
    second = lab.restore(lab.request(requestId="two", dryRun=True, concurrency=2), "dry-2")
    third = lab.restore(lab.request(requestId="two", dryRun=True, start=False), "dry-3")
    assert first["planHash"] == second["planHash"] != third["planHash"]


def test_a_dry_run_does_not_overwrite_the_report_of_the_restore(lab: Lab) -> None:
    lab.backup()
    real = lab.restore()
    dry = lab.restore(lab.request(dryRun=True), "dry-1")
    assert dry["report"] != real["report"]
    assert lab.s3.json(f"reports/{real['restoreId']}.json")["state"] == "succeeded"


def test_a_dry_run_of_a_blocked_machine_does_not_blame_its_missing_namespace(lab: Lab) -> None:
    lab.backup(networks=(Nic(network="vlan999"),))
    request = lab.request(dryRun=True, mapping={"namespaces": {"default": "prod"}})
    output = lab.restore(request)
    (machine,) = lab.s3.json(f"reports/{output['restoreId']}.json")["machines"]
    assert machine["state"] == "blocked"
    assert "vlan999" in machine["error"]["message"]
    actions = {each["kind"]: each["action"] for each in machine["objects"]}
    assert actions == {
        "VolumeSnapshotContent": "create",
        "VolumeSnapshot": "unchecked",
        "PersistentVolumeClaim": "unchecked",
        "VirtualMachine": "unchecked",
    }


def test_a_dry_run_shows_what_the_api_server_would_refuse(lab: Lab) -> None:
    lab.backup()
    lab.cluster.fail("POST", "VirtualMachine", status(500, "InternalError", DENIED))
    output = lab.restore(lab.request(dryRun=True))
    assert (output["state"], states(output)) == ("planned", {"web01": "blocked"})
    assert DENIED in error_of(output)["message"]


def test_a_dry_run_leaves_out_what_lies_in_a_namespace_that_is_still_to_be_made(lab: Lab) -> None:
    lab.backup()
    request = lab.request(dryRun=True, mapping={"namespaces": {"default": "prod"}})
    output = lab.restore(request)
    (machine,) = lab.s3.json(f"reports/{output['restoreId']}.json")["machines"]
    actions = {each["kind"]: each["action"] for each in machine["objects"]}
    assert actions["VolumeSnapshotContent"] == "create"
    assert actions["VirtualMachine"] == "unchecked"


def test_an_unknown_point_cluster_or_machine_is_not_found(lab: Lab) -> None:
    lab.backup()
    for request, field in (
        (lab.request("point-web09"), "select"),
        (lab.request() | {"target": "wset"}, "target"),
        (lab.request() | {"select": {"vm": "default/web09"}}, "select"),
    ):
        with pytest.raises(NotFound) as caught:
            lab.plan(request)
        assert caught.value.field == field


def test_the_execution_shows_how_far_each_waiting_machine_is(lab: Lab) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    progress = lab.apply(planned)
    assert (progress.done, progress.counts) == (False, {"waiting": 1})
    (waiting,) = progress.waiting
    assert (waiting["vm"], waiting["percent"]) == ("default/web01", 0)
    assert waiting["waits"].startswith("claim web01-disk-0 is")
    assert waiting["waits"].endswith("(0 % of its data is there)")
    running = lab.s3.json(f"reports/{planned.ledger}.json")
    assert (running["state"], running["finishedAt"]) == ("running", None)
    assert running["machines"][0]["waits"] == waiting["waits"]
    assert running["machines"][0]["percent"] == 0


def test_an_error_that_ended_the_execution_is_told_of_the_machines_that_it_cut_off(
    lab: Lab,
) -> None:
    lab.backup()
    lab.cluster.bind = False
    planned = lab.plan()
    lab.apply(planned)
    cause = '{"errorMessage": "{\\"code\\": \\"Refused\\", \\"message\\": \\"token expired\\"}"}'
    output = lab.report(planned, {"Error": "Refused", "Cause": cause})
    assert error_of(output) == {"code": "Refused", "message": "token expired"}
    assert output["state"] == "failed"


def test_a_resumed_restore_of_a_dead_cluster_fails_when_its_time_is_over(lab: Lab) -> None:
    """Nothing is believed, and nothing written, before the cluster was looked at."""
    lab.backup()
    request = lab.request(ready={"timeout": "PT10M"})
    assert lab.restore(request)["counts"] == {"ready": 1}
    began = lab.seconds
    planned = lab.plan(request, "run-2")
    lab.cluster.down = "accepts no connection"
    assert lab.apply(planned).done is False
    assert lab.result(planned).attempt == 1
    output = lab.finish(planned)
    assert error_of(output)["code"] == "Unreachable"
    assert 600 < lab.seconds - began < 800


def test_an_object_that_is_on_its_way_out_is_waited_for(lab: Lab) -> None:
    lab.backup()
    lab.restore()
    claim = lab.cluster.objects[CLAIM]
    del lab.cluster.objects[WEB]
    claim["metadata"] |= {"deletionTimestamp": "2026-09-01T00:00:00Z", "finalizers": ["hold"]}
    planned = lab.plan(execution="run-2")
    progress = lab.apply(planned)
    assert "being deleted" in progress.waiting[0]["waits"]
    del lab.cluster.objects[CLAIM]
    assert lab.finish(planned)["counts"] == {"ready": 1}


def test_an_object_that_goes_between_two_requests_is_made_after_all(lab: Lab) -> None:
    lab.backup()
    planned = lab.plan()

    def come_and_go(method: str, place: Place) -> None:
        if place[0] != "PersistentVolumeClaim" or place in lab.cluster.objects:
            lab.cluster.objects.pop(CLAIM if method == "GET" and place[2] else ("", "", ""), None)
        elif method == "POST" and not gone:
            gone.append(lab.cluster.add(*CLAIM))

    gone: list[Any] = []
    lab.cluster.before = come_and_go
    assert lab.finish(planned)["counts"] == {"ready": 1}
    assert gone


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (status(403, "Forbidden", 'User "x" cannot patch resource "virtualmachines"'), "Rejected"),
        (status(500, "InternalError", DENIED), "Rejected"),
    ],
)
def test_a_start_that_is_refused_fails_its_machine(lab: Lab, answer: Any, code: str) -> None:
    lab.backup()
    lab.cluster.fail("PATCH", "VirtualMachine", answer, times=99)
    assert error_of(lab.restore())["code"] == code


def test_a_start_that_is_refused_for_now_is_tried_again(lab: Lab) -> None:
    lab.backup()
    fault = status(500, "InternalError", f'{WEBHOOK} "v.kubevirt.io": connection refused')
    lab.cluster.fail("PATCH", "VirtualMachine", fault, times=6)
    assert lab.restore()["counts"] == {"ready": 1}


def test_metadata_that_is_gone_when_the_plan_is_made_blocks_its_machine(lab: Lab) -> None:
    lab.backup()
    lab.s3.objects.clear()
    output = lab.restore()
    assert states(output) == {"web01": "blocked"}
    assert "was deleted since" in error_of(output)["message"]


def test_a_point_that_is_not_restorable_blocks_its_machine_with_the_reason(lab: Lab) -> None:
    lab.backup(state=State.INCOMPLETE, reasons=("disk disk-0: volume.cfg has not been seen",))
    output = lab.restore()
    assert states(output) == {"web01": "blocked"}
    assert "volume.cfg has not been seen" in error_of(output)["message"]


def test_a_right_that_planning_lacks_refuses_the_restore(lab: Lab) -> None:
    lab.backup()
    forbidden = status(403, "Forbidden", 'User "x" cannot list resource "storageclasses"')
    lab.cluster.fail("GET", "StorageClass", forbidden, times=2)
    with pytest.raises(Refused, match="storageclasses") as caught:
        lab.plan()
    assert caught.value.field == "target"


def test_a_namespace_is_restored_machine_by_machine_with_notes_and_reasons(lab: Lab) -> None:
    older = lab.backup("web01", id_="older")
    newer = older.taken_at.replace(day=older.taken_at.day + 1)
    damaged: dict[str, Any] = {"state": State.INCOMPLETE, "reasons": ("disk disk-0: gone",)}
    lab.backup("web01", id_="newer", backup="web01-2", taken_at=newer, **damaged)
    lab.backup("web02", **damaged)
    request = lab.request() | {"select": {"namespace": "default", "cluster": "east"}}
    output = lab.restore(request)
    assert states(output) == {"web01": "ready", "web02": "blocked"}
    assert "disk disk-0: gone" in error_of(output, "web02")["message"]
    (web01,) = [each for each in output["machines"] if each["vm"] == "web01"]
    assert web01["id"] == "older"
    assert "is taken: the newest" in web01["note"]


def test_a_machine_without_a_restorable_point_is_not_found_with_the_reason(lab: Lab) -> None:
    lab.backup(state=State.INCOMPLETE, reasons=("disk disk-0: gone",))
    with pytest.raises(NotFound, match="disk disk-0: gone"):
        lab.plan(lab.request() | {"select": {"vm": "default/web01"}})


def test_a_machine_of_two_clusters_must_be_told_apart(lab: Lab) -> None:
    lab.backup(id_="of-east")
    lab.backup(id_="of-north", cluster="north", backup="other")
    with pytest.raises(InvalidRequest, match="several clusters: east, north") as caught:
        lab.plan(lab.request() | {"select": {"vm": "default/web01"}})
    assert caught.value.field == "select.cluster"
