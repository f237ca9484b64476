"""Strategy import: machines of images that the target cluster imports. Catalogued from folders,
made into one raw image each, then whole runs of mode standard on a fake cluster.

Aspects: what is made of which image, the keys it is read with, who makes the claim and when, how
far it is, what goes wrong with an image, what is undone. Not aspects: how folders are catalogued
(test_folders.py), how images are read (test_images.py) and written (test_flattening.py).
"""

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from functions import image
from local.samples.folders import chain, document, qcow2_of_nowhere
from shared.aws.calling import begins
from shared.aws.objects import address_of
from shared.errors import InvalidRequest, NotFound, Overtaken, Refused
from shared.restore import names
from shared.restore.decisions import asked
from shared.restore.strategies.imports import data
from shared.workflows import deciding, flattening, imaging
from tests.fake_cluster import FakeCluster, Place, status
from tests.image_s3 import ImageS3
from tests.lab import a_lab
from tests.qemu import qemu_img, with_qemu, write
from tests.scenarios import BUCKET, STATE, Happened, points
from tests.unit.test_flattening import KIB, small_parts
from tests.unit.test_functions import CONTEXT
from tests.unit.test_mount import HERE, Folders, a_disk, a_manifest, of_longhorns

Json = dict[str, Any]

__all__ = ["small_parts"]

RAW = bytes(range(256)) * 8
WHOLE: Json = {"metadata.json": document([a_disk()]), "disk.img": RAW}
VM: Place = ("VirtualMachine", "db", "pg-1")
CLAIM: Place = ("PersistentVolumeClaim", "db", "pg-1-disk-0")
VOLUME: Place = ("DataVolume", "db", "pg-1-disk-0")
BASE = f"https://s3.eu-central-1.amazonaws.com/{STATE}/"


class Site(Folders):
    """A lab whose machines are restored in mode standard."""

    def request(self, **changes: Any) -> Json:
        return super().request(**{"mode": "standard", **changes})

    @property
    def s3(self) -> ImageS3:
        assert isinstance(self.world.s3, ImageS3)
        return self.world.s3

    @property
    def cluster(self) -> FakeCluster:
        return self.lab.cluster

    def image(self, volume: Place = VOLUME) -> bytes:
        """What a DataVolume is told to import."""
        url = self.cluster.objects[volume]["spec"]["source"]["s3"]["url"]
        return self.s3.writes.objects[STATE, url.removeprefix(BASE)]

    def begin(self, **changes: Any) -> Any:
        """As far as its images."""
        planned = self.lab.plan(self.request(**changes))
        self.lab.apply(planned)
        self.lab.make_images()
        return planned

    def waits(self, planned: Any, **changes: Any) -> str:
        """What its one machine waits for after one more run."""
        (waiting,) = self.lab.apply(planned, **changes).waiting
        return str(waiting["waits"])


@pytest.fixture
def site() -> Iterator[Site]:
    with a_lab() as lab:
        lab.cluster.add("Namespace", "", "db")
        storage = lab.cluster.objects["StorageClass", "", "harvester-longhorn"]
        default = "storageclass.kubernetes.io/is-default-class"
        storage["metadata"]["annotations"] = {default: "true"}
        site = Site(lab)
        site.s3.writes.now = lab.now
        yield site


def is_ours(each: Json) -> bool:
    return "replant.dev/restore" in each["metadata"].get("labels", {})


# --- What is made ------------------------------------------------------------------------------


def test_a_machine_comes_back_on_a_claim_that_its_image_was_imported_to(site: Site) -> None:
    point = site.write(WHOLE)
    output = site.restore()
    assert (output["state"], output["counts"]) == ("succeeded", {"ready": 1})
    made = {place for place, each in site.cluster.objects.items() if is_ours(each)}
    secret = ("Secret", "db", names.secret(output["restoreId"], "pg-1-import"))
    assert made == {VM, VOLUME, CLAIM, secret}
    volume = site.cluster.objects[VOLUME]
    spec = volume["spec"]
    assert spec["pvc"] == {
        "accessModes": ["ReadWriteMany"],
        "volumeMode": "Block",
        "resources": {"requests": {"storage": str(len(RAW))}},
        "storageClassName": "harvester-longhorn",
    }
    assert spec["source"]["s3"]["url"].startswith(f"{BASE}work/images/")
    assert spec["source"]["s3"]["secretRef"] == secret[2]
    annotations = volume["metadata"]["annotations"]
    assert annotations["cdi.kubevirt.io/storage.deleteAfterCompletion"] == "false"
    assert annotations["cdi.kubevirt.io/storage.usePopulator"] == "false"
    assert annotations["backup.origin.restore-point"] == point.id
    assert site.image() == RAW
    owner = site.cluster.objects[secret]["metadata"]["ownerReferences"][0]
    assert owner["uid"] == site.cluster.objects[VM]["metadata"]["uid"]


def test_cdi_gets_keys_that_serve_for_images_alone(site: Site) -> None:
    site.write(WHOLE)
    output = site.restore()
    secret = site.cluster.objects["Secret", "db", names.secret(output["restoreId"], "pg-1-import")]
    told = {name: base64.b64decode(each).decode() for name, each in secret["data"].items()}
    assert told == {"accessKeyId": "AKIAIMPORT", "secretKey": "hunter2/import"}


def test_the_keys_are_in_no_file_row_or_message_of_ours(site: Site) -> None:
    site.write(WHOLE)
    site.restore()
    secret = b"hunter2/import", base64.b64encode(b"hunter2/import")
    kept = [each.body or b"" for every in site.s3.versions.values() for each in every]
    kept.append(repr(site.lab.table.rows()).encode())
    kept += [each.encode() for each in site.lab.topic.texts]
    assert len(kept) > 3
    assert not [each for each in kept if any(one in each for one in secret)]


def test_the_machine_comes_after_the_claim_that_cdi_makes(site: Site) -> None:
    """Harvester makes an empty one of the name, if it is faster."""
    site.cluster.cdi = False
    site.write(WHOLE)
    planned = site.begin()
    assert site.waits(planned) == (
        "PersistentVolumeClaim db/pg-1-disk-0 is not there yet: DataVolume pg-1-disk-0 is to bring"
        " it."
    )
    assert VM not in site.cluster.objects
    assert CLAIM not in site.cluster.objects
    site.cluster.cdi = True
    assert site.lab.finish(planned)["counts"] == {"ready": 1}
    machine = site.cluster.objects[VM]["metadata"]["annotations"]
    (template,) = json.loads(machine["harvesterhci.io/volumeClaimTemplates"])
    assert template["metadata"]["name"] == CLAIM[2]


def test_why_cdi_makes_no_claim_is_told_in_its_words(site: Site) -> None:
    site.cluster.cdi = False
    site.write(WHOLE)
    planned = site.begin()
    site.lab.apply(planned)
    said = 'persistentvolumeclaims "pg-1-disk-0" is forbidden: exceeded quota'
    conditions = [{"type": "Bound", "status": "Unknown", "message": said}, {"type": "Ready"}]
    site.cluster.objects[VOLUME]["status"] = {"conditions": conditions}
    assert f"is to bring it ({said})" in site.waits(planned)


def test_a_claim_of_another_client_that_came_in_between_is_a_conflict(site: Site) -> None:
    site.cluster.cdi = False
    site.write(WHOLE)
    planned = site.begin()
    site.lab.apply(planned)
    labels = site.cluster.objects[VOLUME]["metadata"]["labels"]
    site.cluster.add(*CLAIM, metadata={"labels": labels}, spec={})
    (machine,) = site.lab.finish(planned)["machines"]
    assert machine["error"]["code"] == "Conflict"
    assert "is not of DataVolume pg-1-disk-0" in machine["error"]["message"]
    assert VM not in site.cluster.objects


def test_a_claim_that_goes_is_not_taken_for_the_one_that_comes(site: Site) -> None:
    site.write(WHOLE)
    planned = site.begin()
    site.lab.cluster.cdi = False
    owner = {"kind": "DataVolume", "name": CLAIM[2], "uid": "older"}
    going = {"ownerReferences": [owner], "deletionTimestamp": "2026-09-01T00:00:00Z"}
    site.cluster.before = lambda method, place: _leaves(site, method, place, going)
    assert "is being deleted" in site.waits(planned)
    assert VM not in site.cluster.objects


def _leaves(site: Site, method: str, place: Place, going: Json) -> None:
    """It comes into sight when it is looked for, after the names were found to be free."""
    if (method, place) == ("GET", CLAIM):
        labels = site.cluster.objects[VOLUME]["metadata"]["labels"]
        metadata = {**going, "labels": labels, "finalizers": ["someone/else"]}
        site.cluster.add(*CLAIM, metadata=metadata, spec={})


@with_qemu
@pytest.mark.parametrize("told", [True, False], ids=["headers", "snapshots.json"])
def test_what_is_imported_of_a_chain_is_what_qemu_makes_of_it(
    site: Site, tmp_path: Path, told: bool
) -> None:
    size = 300 * KIB
    for name, below in (("a.qcow2", ""), ("b.qcow2", "a.qcow2"), ("c.qcow2", "b.qcow2")):
        parent = ("-b", below, "-F", "qcow2") if below else ()
        qemu_img("create", "-q", "-f", "qcow2", *parent, name, str(size), at=tmp_path)
        write(name, f"write -P {ord(name[0])} {ord(name[0])}k 100k", at=tmp_path)
    qemu_img("convert", "-O", "raw", "c.qcow2", "judge", at=tmp_path)
    links = (("a.qcow2", None), ("b.qcow2", "a.qcow2"), ("c.qcow2", "b.qcow2"))
    if not told:
        for name in ("b.qcow2", "c.qcow2"):
            qemu_img("rebase", "-u", "-b", "", name, at=tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name, _ in links}
    disk = a_disk(file="c.qcow2", format="qcow2")
    site.write({"metadata.json": document([disk]), "snapshots.json": chain(*links), **files})
    assert site.restore()["counts"] == {"ready": 1}
    assert site.image() == (tmp_path / "judge").read_bytes()


def test_the_image_of_a_manifest_and_its_secret_values_come_together(site: Site) -> None:
    manifest = a_manifest()
    _, seed = manifest["spec"]["template"]["spec"]["volumes"]
    seed["cloudInitNoCloud"]["userData"] = "password: hunter2"
    site.write({"metadata.json": manifest, "disk.img": RAW}, below="exports/db/web01/nightly/")
    assert site.restore()["counts"] == {"ready": 1}
    volumes = site.cluster.objects["VirtualMachine", "db", "web01"]["spec"]["template"]["spec"][
        "volumes"
    ]
    assert volumes[0]["persistentVolumeClaim"]["claimName"] == "web01-disk"
    assert volumes[1]["cloudInitNoCloud"]["userData"] == "password: hunter2"


def test_one_image_of_several_machines_is_made_once(site: Site) -> None:
    """Of two restores, too: what it is made of is in its name."""
    site.write(WHOLE)
    site.restore()
    site.restore(requestId="again", mapping={"namespaces": {"db": "default"}})
    assert site.s3.writes.calls["upload_part"] == 1


def test_a_mapping_acts_on_it_as_on_any_other(site: Site) -> None:
    site.write(WHOLE)
    site.cluster.add("StorageClass", "", "fast", provisioner="csi.example.com")
    patch = [{"op": "add", "path": "/metadata/labels/tier", "value": "gold"}]
    match = {"kind": "DataVolume", "name": "pg-1-*"}
    mapping = {
        "storageClasses": {"*": "fast"},
        "names": {"suffix": "-dr"},
        "networks": {"*": "none"},
        "addresses": [{"from": "10.1.0.0/16", "to": "10.2.0.0/16"}],
        "patches": [{"match": match, "patch": patch}],
    }
    output = site.restore(mapping=mapping)
    assert output["counts"] == {"ready": 1}, output
    claim = site.cluster.objects["PersistentVolumeClaim", "db", "pg-1-disk-0-dr"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["metadata"]["labels"]["tier"] == "gold"


# --- The plan ------------------------------------------------------------------------------------


def test_the_plan_names_the_images_and_what_becomes_of_them(site: Site) -> None:
    site.write(WHOLE)
    plan = site.plan()
    (machine,) = plan.machines
    assert (machine.strategy, machine.strategy_reason) == (
        "import",
        "its disks are images, which the target imports",
    )
    said = {each.check: each for each in plan.checks}
    assert said["image"].message == (
        f"Disk disk-0 is imported from s3://{BUCKET}/{HERE}disk.img, as one raw image that is made"
        " first."
    )
    assert plan.estimate
    assert plan.estimate.basis.startswith("no estimate: its images are made and imported first")
    planned = site.lab.plan(site.request(dryRun=True), "run-2")
    assert site.lab.finish(planned)["counts"] == {"planned": 1}
    assert not site.lab.begun, "a dry run makes none"


def test_the_plans_hash_is_of_the_images_it_was_made_with(site: Site) -> None:
    site.write(WHOLE)
    first = site.plan().hash
    assert site.plan(requestId="other").hash == first
    site.write({"disk.img": RAW[::-1]}, number=2)
    assert site.plan(requestId="another").hash != first


@pytest.mark.parametrize(("hard", "verdict"), [(len(RAW), "pass"), (len(RAW) - 1, "block")])
def test_a_quota_has_room_for_the_claim_that_cdi_makes(site: Site, hard: int, verdict: str) -> None:
    site.write(WHOLE)
    status = {"hard": {"requests.storage": str(hard)}, "used": {"requests.storage": "0"}}
    spec = {"hard": {"requests.storage": str(hard)}}
    site.cluster.add("ResourceQuota", "db", "room", spec=spec, status=status)
    said = [each.verdict for each in site.plan().checks if each.check == "quota"]
    assert said == [verdict]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "emergency", "strategy": "import"}, "Use 'auto', 'longhorn' or 'mount'"),
        ({"mode": "register", "strategy": "import"}, "does not fit mode 'register'"),
        ({"strategy": "longhorn"}, "whose disks are images. Use 'auto' or 'import'."),
    ],
)
def test_what_does_not_fit_is_an_invalid_request(site: Site, changes: Json, says: str) -> None:
    site.write(WHOLE)
    with pytest.raises(InvalidRequest) as refused:
        site.restore(**changes)
    assert refused.value.field == "strategy"
    assert says in refused.value.message


def test_what_fits_backups_of_longhorns_is_named(site: Site) -> None:
    site.write(WHOLE)
    backup = of_longhorns(site)
    with pytest.raises(InvalidRequest, match="'longhorn' or 'harvester'") as refused:
        site.lab.restore(site.lab.request(backup.id, strategy="import"))
    assert refused.value.field == "strategy"


def test_machines_of_both_layouts_come_back_in_one_restore(site: Site) -> None:
    image = site.write(WHOLE)
    backup = of_longhorns(site)
    output = site.lab.restore(site.lab.request(backup.id, image.id))
    assert output["counts"] == {"ready": 2}
    assert {each["kind"] for each in map(dict, site.cluster.objects.values())} >= {
        "VolumeSnapshot",
        "DataVolume",
    }


def test_a_cluster_without_cdi_is_refused_before_anything_is_made(site: Site) -> None:
    site.cluster.unserved = frozenset({"DataVolume"})
    site.write(WHOLE)
    with pytest.raises(Refused, match=r"does not serve DataVolume .* since 1\.5"):
        site.restore()
    assert not site.s3.writes.calls


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "secret replant/import, with whose keys .* as docs/deploy.md says"),
        ("{}", "lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_keys_that_are_none_are_told_before_anything_is_made(
    site: Site, text: str | None, says: str
) -> None:
    site.lab.secrets.texts = {} if text is None else {"replant/import": text}
    site.write(WHOLE)
    with pytest.raises(Refused, match=says):
        site.restore()


def test_keys_for_another_way_to_the_bucket_say_it(site: Site) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINTS": "https://in/"}
    site.lab.secrets.texts["replant/import"] = json.dumps(keys)
    site.write(WHOLE)
    site.restore()
    url = site.cluster.objects[VOLUME]["spec"]["source"]["s3"]["url"]
    assert url.startswith(f"https://in/{STATE}/work/images/")


def test_keys_that_are_gone_by_then_end_the_restore_with_their_name(site: Site) -> None:
    site.write(WHOLE)
    planned = site.begin()
    site.lab.secrets.texts = {}
    with pytest.raises(NotFound, match="replant/import"):
        site.lab.apply(planned)


def test_image_function_makes_what_the_restore_has_begun(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write(WHOLE)
    site.lab.apply(site.lab.plan(site.request()))
    monkeypatch.setattr(image, "clients", site.lab.imaging)
    (event,) = site.lab.begun
    image.handler(event, CONTEXT)
    assert site.s3.writes.objects[STATE, event["place"]] == RAW


def test_a_function_is_begun_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Json] = []
    client = SimpleNamespace(invoke=lambda **each: asked.append(each))
    monkeypatch.setattr(boto3, "client", {"lambda": client}.__getitem__)
    begins("image:7")({"place": "x"})
    (call,) = asked
    assert (call["FunctionName"], call["InvocationType"]) == ("image:7", "Event")
    assert json.loads(call["Payload"]) == {"place": "x"}


@pytest.mark.parametrize(
    ("endpoint", "region", "url"),
    [
        ("https://s3.amazonaws.com", "us-east-1", "https://s3.us-east-1.amazonaws.com/state"),
        ("https://s3.eu-west-1.amazonaws.com", "eu-west-1", None),
        ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1", None),
        ("http://127.0.0.1:4566", "us-east-1", None),
    ],
)
def test_the_address_of_a_bucket_says_its_region(
    endpoint: str, region: str, url: str | None
) -> None:
    """CDI takes the region that it signs for from it."""
    s3: Any = SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint, region_name=region))
    assert address_of(s3, "state") == (url or f"{endpoint}/state")


# --- Images that cannot be had -----------------------------------------------------------------


def test_an_image_that_was_changed_since_the_plan_is_never_imported(site: Site) -> None:
    site.write(WHOLE)
    planned = site.lab.plan(site.request())
    site.s3.write(BUCKET, f"{HERE}disk.img", "v0002", RAW[::-1])
    site.s3.remove(BUCKET, f"{HERE}disk.img", "v0001")
    (machine,) = site.lab.finish(planned)["machines"]
    assert machine["state"] == "failed"
    assert machine["error"]["code"] == "Refused"
    assert f"{HERE}disk.img" in machine["error"]["message"]
    assert not [each for each in site.cluster.objects.values() if is_ours(each)]


def test_a_damaged_image_keeps_its_own_machine_from_being_made_and_no_other(site: Site) -> None:
    site.write(WHOLE)
    other = "exports/db/pg-2/nightly/"
    site.write(
        {
            "metadata.json": document([a_disk(format="qcow2", file="disk.qcow2")], name="pg-2"),
            "disk.qcow2": qcow2_of_nowhere(2**20),
        },
        below=other,
    )
    first, second = sorted(points(site.lab.table, latest=True), key=lambda each: each.vm)
    output = site.lab.finish(site.lab.plan(site.lab.request(first.id, second.id)))
    assert output["counts"] == {"ready": 1, "failed": 1}
    failed = output["machines"][0]
    assert failed["vm"] == "pg-2"
    assert f"{other}disk.qcow2" in failed["error"]["message"]


def test_a_machine_says_how_far_its_images_are_and_is_made_once_they_are_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imaging, "TELL", 0)
    large = bytes(range(256)) * 256 * 8  # eight parts
    site.write({**WHOLE, "disk.img": large})
    planned = site.lab.plan(site.request())
    assert site.waits(planned) == "0 % of its images are made"
    assert VOLUME not in site.cluster.objects
    wrote: list[int] = []

    def slowly(name: str, _: int) -> None:
        """The function has no time left after four parts."""
        if name == "upload_part":
            wrote.append(1)
            site.lab.seconds += 1000 * (len(wrote) == 4)

    site.s3.writes.fails = slowly
    monkeypatch.setattr(flattening, "MOST_AT_ONCE", 1)
    site.lab.images = False
    (made,) = site.lab.make_images()
    assert (made.done, made.percent) == (False, 50)
    assert site.waits(planned) == "50 % of its images are made"
    site.lab.images = True
    assert site.lab.finish(planned)["counts"] == {"ready": 1}
    assert site.image() == large
    assert len(wrote) == 8, "it went on where it had ended"


def test_a_function_that_dies_is_begun_again_when_its_lease_is_over(site: Site) -> None:
    site.write(WHOLE)
    planned = site.lab.plan(site.request())
    site.lab.images = False
    site.waits(planned)
    site.lab.begun.clear()  # it is lost
    site.lab.seconds += 15 * 60
    site.waits(planned)
    assert not site.lab.begun
    site.lab.seconds += 2 * 60
    site.waits(planned)
    assert len(site.lab.begun) == 1
    site.lab.images = True
    assert site.lab.finish(planned)["counts"] == {"ready": 1}


def test_an_image_that_stands_still_ends_its_machine_as_data_that_does(site: Site) -> None:
    site.write(WHOLE)
    planned = site.lab.plan(site.request(ready={"timeout": "PT30M"}))
    site.lab.images = False
    (machine,) = site.lab.finish(planned, 300)["machines"]
    assert machine["state"] == "failed"
    assert machine["error"]["message"] == ("not ready after 1800 s: 0 % of its images are made")
    assert VOLUME not in site.cluster.objects


def test_of_many_images_some_are_made_at_a_time_and_nobodys_time_runs_out(site: Site) -> None:
    """In the order of their machines; each is started when its own are there."""
    ids = []
    for number in range(20):
        files = {"metadata.json": document([a_disk()], name=f"vm-{number:02}")}
        image = bytes([number]) * 4096
        below = f"exports/db/vm-{number:02}/nightly/"
        ids.append(site.write({**files, "disk.img": image}, below=below).id)
    planned = site.lab.plan(site.lab.request(*ids, ready={"timeout": "PT5M"}))
    site.lab.images = False
    for turn in range(3):
        progress = site.lab.apply(planned)
        assert len(site.lab.begun) == (8, 8, 4)[turn]
        if turn < 2:
            assert {each["waits"] for each in progress.waiting} >= {
                "its images wait for their turn: 8 of a restore are made at a time"
            }
        site.lab.make_images()
        site.lab.seconds += 250
    site.lab.images = True
    assert site.lab.finish(planned)["counts"] == {"ready": 20}
    assert site.s3.writes.calls["upload_part"] == 20


def test_a_restore_that_is_cancelled_begins_no_image_and_ends_those_that_are_made(
    site: Site,
) -> None:
    site.write(WHOLE)
    planned = site.lab.plan(site.request())
    site.lab.images = False
    site.lab.apply(planned)
    states: Any = site.lab.states
    clients = deciding.Clients(site.lab.table, states, site.lab.now)
    body = {"restoreId": planned.ledger, "decision": "cancel", "by": "Ada"}
    deciding.decide(clients, asked(body))
    (made,) = site.lab.make_images()
    assert not made.done
    assert not site.s3.writes.calls["upload_part"]
    with pytest.raises(Overtaken):
        site.lab.apply(planned)
    assert not site.lab.begun


def test_what_a_person_has_repaired_is_tried_again_by_the_same_request(site: Site) -> None:
    """Such as an image that lay in an archive."""
    site.write(WHOLE)
    place = (BUCKET, f"{HERE}disk.img")
    site.s3.refusals[place] = "InvalidObjectState"
    (machine,) = site.restore()["machines"]
    assert "lies in an archive" in machine["error"]["message"]
    del site.s3.refusals[place]
    output = site.lab.restore(site.request(), "run-2")
    assert output["counts"] == {"ready": 1}, output


def test_an_image_of_an_earlier_restore_is_used_while_it_is_fresh(site: Site) -> None:
    site.write(WHOLE)
    site.restore()
    site.lab.seconds += timedelta(days=19).total_seconds()
    site.restore(requestId="again", mapping={"names": {"suffix": "-2"}})
    assert site.s3.writes.calls["upload_part"] == 1
    site.lab.seconds += timedelta(days=2).total_seconds()
    site.restore(requestId="later", mapping={"names": {"suffix": "-3"}})
    assert site.s3.writes.calls["upload_part"] == 2


# --- How far it is -----------------------------------------------------------------------------


def test_a_machine_is_started_when_its_image_is_imported_and_not_when_it_is_bound(
    site: Site,
) -> None:
    site.write(WHOLE)
    site.cluster.imported = "42.17%"
    planned = site.begin()
    assert site.waits(planned) == (
        "claim pg-1-disk-0: 40 % of its image is imported (DataVolume ImportInProgress)"
        " (40 % of its data is there)"
    )
    assert site.cluster.objects[CLAIM]["status"]["phase"] == "Bound"
    assert site.cluster.objects[VM]["spec"]["runStrategy"] == "Halted"
    site.cluster.imported = "100.0%"
    assert site.lab.finish(planned)["counts"] == {"ready": 1}


@pytest.mark.parametrize(
    ("volume", "percent", "why"),
    [
        ({"phase": "Succeeded"}, 100, None),
        (
            {"phase": "ImportScheduled", "progress": "N/A"},
            0,
            "claim c: 0 % of its image is imported (DataVolume ImportScheduled)",
        ),
        (
            {"phase": "ImportInProgress", "progress": "100.0%"},
            95,
            "claim c: 95 % of its image is imported (DataVolume ImportInProgress)",
        ),
        (
            {"phase": "ImportInProgress", "progress": "nan%"},
            0,
            "claim c: 0 % of its image is imported (DataVolume ImportInProgress)",
        ),
        ({}, 0, "claim c: 0 % of its image is imported (DataVolume without a status)"),
        (
            {
                "phase": "ImportInProgress",
                "conditions": [
                    {"type": "Ready", "status": "False", "message": "x"},
                    {"type": "Running", "status": "False", "message": "403 from S3"},
                ],
            },
            0,
            "claim c: 0 % of its image is imported (DataVolume ImportInProgress: 403 from S3)",
        ),
        (None, 0, "DataVolume c is not there"),
    ],
)
def test_how_far_an_import_is(
    site: Site, volume: Json | None, percent: int, why: str | None
) -> None:
    site.write(WHOLE)
    (machine,) = site.plan().machines
    machine = machine.model_copy(update={"claims": ("c",)})
    live = {("PersistentVolumeClaim", "db", "c"): {"status": {"phase": "Bound"}}}
    if volume is not None:
        live["DataVolume", "db", "c"] = {"status": volume}
    (told,) = data(machine, live)
    assert (told.percent, told.why, told.failed) == (percent, why, False)


def test_why_a_claim_is_not_bound_is_told_in_the_provisioners_words(site: Site) -> None:
    site.write(WHOLE)
    (machine,) = site.plan().machines
    live: dict[tuple[str, str, str], Json] = {
        ("PersistentVolumeClaim", "db", "pg-1-disk-0"): {"status": {"phase": "Pending"}},
        ("DataVolume", "db", "pg-1-disk-0"): {"status": {"phase": "Pending"}},
        ("Event", "db", "pg-1-disk-0"): {"message": "no node has room"},
    }
    (told,) = data(machine, live)
    assert told.why == (
        "claim pg-1-disk-0: 0 % of its image is imported (DataVolume Pending: no node has room)"
    )


def test_a_claim_that_is_lost_or_gone_is_told(site: Site) -> None:
    site.write(WHOLE)
    (machine,) = site.plan().machines
    place = ("PersistentVolumeClaim", "db", "pg-1-disk-0")
    (lost,) = data(machine, {place: {"status": {"phase": "Lost"}}})
    assert (lost.failed, lost.why) == (True, "claim pg-1-disk-0 is Lost")
    (gone,) = data(machine, {})
    assert (gone.failed, gone.why) == (False, "claim pg-1-disk-0 is not there")


# --- What becomes of it ------------------------------------------------------------------------


def test_a_rollback_takes_away_all_of_it_and_nothing_of_the_backup(site: Site) -> None:
    site.write(WHOLE)
    before = set(site.cluster.objects)
    kept = {place: list(each) for place, each in site.s3.versions.items() if place[0] == BUCKET}
    output = site.restore()
    rolled = site.lab.roll_back(output["restoreId"], deleteStarted=True)
    assert (rolled["state"], rolled["kept"]) == ("succeeded", [])
    assert set(site.cluster.objects) == before
    now = {place: list(each) for place, each in site.s3.versions.items() if place[0] == BUCKET}
    assert now == kept


def test_the_data_volume_goes_before_its_claim_which_cdi_would_make_again(site: Site) -> None:
    site.write(WHOLE)
    output = site.restore(start=False)
    site.cluster.writes.clear()
    assert site.lab.roll_back(output["restoreId"])["state"] == "succeeded"
    deleted = [kind for what, kind, _ in site.cluster.writes if what == "delete"]
    assert deleted[:2] == ["VirtualMachine", "DataVolume"]


def test_a_disk_that_another_machine_uses_keeps_its_data_volume(site: Site) -> None:
    site.write(WHOLE)
    output = site.restore(start=False)
    volumes = [{"name": "d", "dataVolume": {"name": CLAIM[2]}}]
    spec = {"runStrategy": "Halted", "template": {"spec": {"volumes": volumes}}}
    site.cluster.add("VirtualMachine", "db", "other", spec=spec)
    rolled = site.lab.roll_back(output["restoreId"])
    reasons = {each["kind"]: each["reason"] for each in rolled["kept"]}
    assert reasons == {
        "DataVolume": "it is a disk of VirtualMachine db/other",
        "PersistentVolumeClaim": "it belongs to DataVolume db/pg-1-disk-0, which is kept",
    }
    assert CLAIM in site.cluster.objects


def test_a_run_that_dies_before_cdi_was_seen_leaves_nothing_that_a_rollback_keeps(
    site: Site,
) -> None:
    site.cluster.cdi = False
    site.write(WHOLE)
    before = set(site.cluster.objects)
    planned = site.begin()
    site.lab.apply(planned)
    site.cluster.cdi = True
    site.cluster.settle()
    assert CLAIM in site.cluster.objects
    site.lab.stop()
    rolled = site.lab.roll_back(planned.ledger)
    assert (rolled["state"], rolled["kept"]) == ("succeeded", [])
    site.cluster.settle()
    assert set(site.cluster.objects) == before


def test_a_second_execution_resumes_and_imports_nothing_twice(site: Site) -> None:
    site.write(WHOLE)
    site.cluster.imported = "10.0%"
    planned = site.begin()
    site.lab.apply(planned)
    site.lab.stop()
    site.lab.alive.discard("run-1")
    made = site.cluster.objects[VOLUME]["metadata"]["uid"]
    site.cluster.imported = "100.0%"
    output = site.lab.restore(site.request(), "run-2")
    assert output["counts"] == {"ready": 1}
    assert site.cluster.objects[VOLUME]["metadata"]["uid"] == made
    assert site.s3.writes.calls["upload_part"] == 1


def test_an_earlier_restore_is_replaced_with_its_data_volume(site: Site) -> None:
    site.write(WHOLE)
    site.restore(start=False)
    before = site.cluster.objects[VOLUME]["metadata"]["uid"]
    output = site.restore(requestId="again", onExisting="recreate")
    assert output["counts"] == {"ready": 1}, output
    assert site.cluster.objects[VOLUME]["metadata"]["uid"] != before


def test_a_machine_that_stands_is_updated_and_no_image_is_made_for_it(site: Site) -> None:
    site.write(WHOLE)
    site.restore(start=False)
    before = site.s3.writes.calls["head_object"]
    output = site.restore(requestId="again", onExisting="update")
    assert output["counts"] == {"applied": 1}, output
    assert site.s3.writes.calls["head_object"] == before


@pytest.mark.parametrize("kind", ["DataVolume", "Secret", "VirtualMachine"])
def test_whatever_is_refused_for_now_is_tried_again(site: Site, kind: str) -> None:
    site.write(WHOLE)
    planned = site.begin()
    site.cluster.fail("POST", kind, status(500, "InternalError", "webhook"), times=8)
    assert site.lab.finish(planned)["counts"] == {"ready": 1}


def test_its_metadata_is_registered_over_a_claim_that_stands(site: Site) -> None:
    site.write(WHOLE)
    site.restore(start=False)
    del site.cluster.objects[VM]
    output = site.restore(requestId="again", mode="register")
    assert output["counts"] == {"ready": 1}, output


def test_events_of_an_image_are_no_longer_a_reason_to_leave_a_folder_out(site: Site) -> None:
    """A selection takes a folder's newest point as any other."""
    site.write(WHOLE)
    site.write(WHOLE, below="exports/db/pg-1/newer/")
    site.world.settle([Happened("exports/db/pg-1/newer/disk.img", None, 2)])
    select = {"vm": "db/pg-1", "cluster": "east"}
    output = site.lab.restore({"select": select, "target": "west"})
    (machine,) = output["machines"]
    assert (machine["state"], machine["backup"]) == ("ready", "nightly")
    assert "newer" in machine["note"]
