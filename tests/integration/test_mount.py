"""Images in place on the running system: a machine over an export of the bucket's files, from its
folder to its end.
"""

import json
import time
from typing import Any

import pytest

from local.api import Api
from local.samples.folders import document
from local.stack import Stack, wait
from tests.integration.test_emergency import keep, sweep

pytestmark = pytest.mark.timeout(200)

KEPT_FOR = 20  # seconds
PLACE = "shelf/shop/till/nightly/"
MACHINES = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachines"
CLAIMS = "/api/v1/namespaces/shop/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
DOCUMENT = """id: shelf
url: s3://{bucket}/shelf/
cluster: east
nfs: {{server: nas.example.com, path: /export/shelf}}
"""


def put(stack: Stack) -> None:
    disks = [{"name": "root", "file": "disk.img", "format": "raw"}]
    metadata = document(disks, name="till", namespace="shop")
    stack.document("targets/shelf.yaml", DOCUMENT.format(bucket=stack.bucket))
    image = b"\xeb\x63\x90".ljust(4096, b"\0")
    files = {"disk.img": image, "metadata.json": json.dumps(metadata).encode()}
    stack.put((f"{PLACE}{name}", body) for name, body in files.items())
    wait(lambda: point(stack).get("state") == "restorable", seconds=60, what="the folder's point")


def point(stack: Stack) -> dict[str, Any]:
    found = stack.search(vm="shop/till", cluster="east").get("restorePoints", [])
    return next(iter(found), {})


def request(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "select": {"vm": "shop/till"},
        "target": "west",
        "mode": "emergency",
        "keepFor": f"PT{KEPT_FOR}S",
        "mapping": {"networks": {"*": "none"}},
        "requestId": name,
        **changes,
    }


def ours(west: Api, restore_id: str, path: str) -> list[dict[str, Any]]:
    marked = f"{path}?labelSelector=replant.dev/restore={restore_id}"
    found: list[dict[str, Any]] = west.call("GET", marked)["items"]
    return found


def left(west: Api, restore_id: str) -> list[dict[str, Any]]:
    return [each for path in (MACHINES, CLAIMS, VOLUMES) for each in ours(west, restore_id, path)]


def test_a_machine_runs_over_an_export_and_is_gone_when_its_time_is_over(stack: Stack) -> None:
    put(stack)
    before = stack.listing()
    west = stack.cluster("west")

    ended = stack.restore(request("till-in-place"))
    assert ended.status == "SUCCEEDED", ended
    output = ended.output
    assert output["counts"] == {"ready": 1}, output["machines"]
    (machine,) = ours(west, output["restoreId"], MACHINES)
    (disk,) = machine["spec"]["template"]["spec"]["volumes"]
    (claim,) = ours(west, output["restoreId"], CLAIMS)
    (volume,) = ours(west, output["restoreId"], VOLUMES)
    mounted = {"claimName": claim["metadata"]["name"], "readOnly": True}
    assert disk == {"name": "root", "ephemeral": {"persistentVolumeClaim": mounted}}
    assert claim["status"]["phase"] == volume["status"]["phase"] == "Bound"
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert volume["spec"]["nfs"] == {
        "server": "nas.example.com",
        "path": "/export/shelf/shop/till/nightly",
        "readOnly": True,
    }
    kept = keep(stack, output["restoreId"])
    assert not kept["accepted"]
    assert "is lost when it stops" in kept["message"]

    time.sleep(KEPT_FOR)
    sweep(stack)
    wait(lambda: not left(west, output["restoreId"]), seconds=90, what="its end")
    assert stack.listing() == before


def test_in_mode_standard_the_same_image_is_imported(stack: Stack) -> None:
    """Elsewhere: the namespace of the one before may still be going."""
    put(stack)
    mapping = {"namespaces": {"shop": "shop-copied"}, "networks": {"*": "none"}}
    asked = request("till-copied", mode="standard", keepFor="PT24H", mapping=mapping)
    ended = stack.restore(asked)
    assert ended.output["counts"] == {"ready": 1}, ended.output["machines"][0]["error"]
    claims = CLAIMS.replace("/shop/", "/shop-copied/")
    (claim,) = ours(stack.cluster("west"), ended.output["restoreId"], claims)
    assert claim["metadata"]["ownerReferences"][0]["kind"] == "DataVolume"
    rolled = stack.roll_back(ended.output["restoreId"], deleteStarted=True)
    assert (rolled.output["state"], rolled.output["kept"]) == ("succeeded", []), rolled
