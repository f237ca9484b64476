"""Images on the running system, from a folder that people wrote to a machine that runs: chains made
by the real qemu-img, one raw image in the state bucket, imported by CDI with keys of its own.

Aspects: every kind of chain, what CDI is handed, an image that cannot be read, the end.
"""

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.api import Api
from local.samples.folders import chain, document, qcow2_of_nowhere
from local.stack import Stack, wait
from tests.qemu import qemu_img, with_qemu, write

pytestmark = pytest.mark.timeout(200)

MIB = 2**20
BASE = "attic/shop/"
DOCUMENT = """id: attic
url: s3://{bucket}/attic/
cluster: east
"""
SPACE = "/namespaces/shop"
MACHINES = f"/apis/kubevirt.io/v1{SPACE}/virtualmachines"
CLAIMS = f"/api/v1{SPACE}/persistentvolumeclaims"
VOLUMES = f"/apis/cdi.kubevirt.io/v1beta1{SPACE}/datavolumes"

Json = dict[str, Any]


def put(stack: Stack, vm: str, files: Json, **disk: Any) -> None:
    """A folder of a machine with one disk."""
    stack.document("targets/attic.yaml", DOCUMENT.format(bucket=stack.bucket))
    metadata = document([{"name": "root", **disk}], name=vm, namespace="shop")
    written = {**files, "metadata.json": json.dumps(metadata).encode()}
    stack.put((f"{BASE}{vm}/nightly/{name}", body) for name, body in written.items())
    wait(lambda: _state(stack, vm) == "restorable", seconds=60, what=f"a point of {vm}")


def _state(stack: Stack, vm: str) -> str:
    found: list[Json] = stack.search(vm=f"shop/{vm}", cluster="east").get("restorePoints", [])
    return str(found[0]["state"]) if found else "unknown"


def request(vm: str, **changes: Any) -> Json:
    return {
        "select": {"vm": f"shop/{vm}"},
        "target": "west",
        "mapping": {"networks": {"*": "none"}},
        "requestId": f"import-{vm}",
        **changes,
    }


def ours(west: Api, restore_id: str, path: str) -> list[Json]:
    marked = f"{path}?labelSelector=replant.dev/restore={restore_id}"
    found: list[Json] = west.call("GET", marked)["items"]
    return found


def handed(stack: Stack, volume: Json) -> bytes:
    """What CDI is told to read."""
    bucket, _, key = urlsplit(volume["spec"]["source"]["s3"]["url"]).path.strip("/").partition("/")
    assert bucket == stack.outputs["StateBucket"]
    found = stack.client("s3").get_object(Bucket=bucket, Key=key)
    body: bytes = found["Body"].read()
    return body


def three(at: Path, *, told: bool) -> Json:
    """A chain of three, whose headers name what lies below, or do not."""
    names = ("base.qcow2", "monday.qcow2", "tuesday.qcow2")
    below = ""
    for number, name in enumerate(names, 1):
        parent = ("-b", below, "-F", "qcow2") if below else ()
        qemu_img("create", "-q", "-f", "qcow2", *parent, name, str(40 * MIB), at=at)
        write(name, f"write -P {number} {number}M 9M", f"write -z {20 + number}M 1M", at=at)
        below = name
    qemu_img("convert", "-O", "raw", names[-1], "judge", at=at)
    for name in names[1:]:
        if not told:
            qemu_img("rebase", "-u", "-b", "", name, at=at)
    return {name: (at / name).read_bytes() for name in names}


@with_qemu
@pytest.mark.parametrize("told", [True, False], ids=["headers", "snapshots"])
def test_a_chain_of_three_is_handed_to_cdi_as_qemu_would_convert_it(
    stack: Stack, tmp_path: Path, told: bool
) -> None:
    files = three(tmp_path, told=told)
    links = zip(files, [None, *files], strict=False)
    vm = "told" if told else "untold"
    put(
        stack,
        vm,
        {**files, "snapshots.json": chain(*links)},
        file="tuesday.qcow2",
        format="qcow2",
    )
    before = stack.listing()
    west = stack.cluster("west")

    ended = stack.restore(request(vm))
    assert ended.status == "SUCCEEDED", ended
    assert ended.output["counts"] == {"ready": 1}, ended.output["machines"]
    restore_id = ended.output["restoreId"]
    (volume,) = ours(west, restore_id, VOLUMES)
    judge = hashlib.sha256((tmp_path / "judge").read_bytes()).hexdigest()
    assert hashlib.sha256(handed(stack, volume)).hexdigest() == judge
    assert volume["status"]["phase"] == "Succeeded"
    (claim,) = ours(west, restore_id, CLAIMS)
    assert claim["metadata"]["ownerReferences"][0]["uid"] == volume["metadata"]["uid"]
    assert (claim["spec"]["volumeMode"], claim["spec"]["accessModes"]) == (
        "Block",
        ["ReadWriteMany"],
    )
    (machine,) = ours(west, restore_id, MACHINES)
    (disk,) = machine["spec"]["template"]["spec"]["volumes"]
    assert disk["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]

    rolled = stack.roll_back(restore_id, deleteStarted=True)
    assert (rolled.output["state"], rolled.output["kept"]) == ("succeeded", []), rolled
    left = [ours(west, restore_id, path) for path in (MACHINES, CLAIMS, VOLUMES)]
    assert left == [[], [], []]
    assert stack.listing() == before


def test_a_raw_image_is_copied_as_it_lies(stack: Stack) -> None:
    """In more than one part, the last of which is shorter."""
    image = b"".join(bytes([number]) * MIB for number in range(1, 37)) + b"end".ljust(512, b".")
    put(stack, "plain", {"root.raw": image}, file="root.raw", format="raw")
    ended = stack.restore(request("plain", start=False))
    assert ended.output["counts"] == {"applied": 1}, ended
    (volume,) = ours(stack.cluster("west"), ended.output["restoreId"], VOLUMES)
    assert handed(stack, volume) == image
    rolled = stack.roll_back(ended.output["restoreId"])
    assert (rolled.output["state"], rolled.output["kept"]) == ("succeeded", []), rolled


def test_an_image_that_is_damaged_is_told_and_nothing_is_made(stack: Stack) -> None:
    image = qcow2_of_nowhere(4 * MIB)
    put(stack, "torn", {"root.qcow2": image}, file="root.qcow2", format="qcow2")
    ended = stack.restore(request("torn"))
    assert ended.status == "FAILED", ended
    report = stack.report(ended.cause["report"])
    (machine,) = report["machines"]
    assert machine["error"]["code"] == "Refused"
    assert "root.qcow2" in machine["error"]["message"]
    west = stack.cluster("west")
    assert not ours(west, report["restoreId"], VOLUMES)
