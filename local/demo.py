"""The story on screen, with the real stack: backups arrive, are catalogued, planned, and one
machine stands on west.
"""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from kubernetes.client import ApiException

from local import runtime
from local.api import said
from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from local.tables import table

REQUEST: dict[str, Any] = {
    "select": {"vm": "shop/web", "cluster": "east", "at": "latest"},
    "target": "west",
    "mapping": {
        "namespaces": {"shop": "shop-dr"},
        "networks": {"default/vlan100": "default/vlan200"},
    },
}
CLOUD_INIT = {"web-cloudinit": {"userdata": "#cloud-config\nhostname: web\n"}}


class UntrueError(AssertionError):
    """A step of the story did not come true."""


def main() -> int:
    """0 only when every step of the story was true."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        with running() as stack:
            tell(stack)
    except ApiException as error:
        return untrue(f"the API server of west answers {said(error)}")
    except (UntrueError, TimeoutError) as error:
        return untrue(str(error))
    except KeyboardInterrupt:
        return 130
    print(f"\nAll true, after {time.monotonic() - started:.0f} s.")
    return 0


def untrue(reason: str) -> int:
    print(f"\nThe story is not true: {reason}", file=sys.stderr)
    return 1


@contextmanager
def running() -> Iterator[Stack]:
    """The stack that is up, or one of our own for the length of the story."""
    ours = not runtime.FILE.exists()
    if runtime.up() != 0:
        raise UntrueError("the embedded runtime did not start; the lines above say why")
    try:
        yield Stack.running()
    finally:
        if ours:
            runtime.down()


def tell(stack: Stack) -> None:
    arrive(stack)
    catalogue(stack)
    plan(stack)
    restored = restore(stack)
    look(stack, restored)


def arrive(stack: Stack) -> None:
    chapter(
        "Cluster east backs up two machines; a third upload breaks off, and a fourth file is"
        " damaged."
    )
    web = a_vm_backup("web", "shop", "nightly", disks=2, networks=[Nic()], secrets=CLOUD_INIT)
    ledger = a_vm_backup("ledger", "shop", "monthly", version="1.2")
    broken_off = a_vm_backup("mail", "shop", "nightly-mail")
    stack.put(web.metadata)
    early = wait(
        lambda: stack.newest("shop/web"),
        seconds=30,
        what="the metadata of shop/web in the catalogue",
    )
    print(f"  shop/web, before its volumes are there: {early['state']}\n    {early['reasons'][0]}")
    true(early["state"] == "incomplete", "a machine without its volumes is incomplete")
    stack.put([*web, *ledger, *broken_off.metadata])
    stack.put([("harvester/vmbackups/shop/damaged.cfg", b'{"name":"damaged","namesp')])


def catalogue(stack: Stack) -> None:
    chapter("The catalogue, from events alone:")
    for vm in ("shop/web", "shop/ledger"):
        newest = partial(stack.newest, vm, "restorable")
        wait(newest, seconds=60, what=f"a restorable point of {vm}")
    entries = wait(
        lambda: stack.search(quarantine=True)["quarantined"], seconds=30, what="the damaged file"
    )
    points = stack.search(cluster="east", latest=True)["restorePoints"]
    rows = [
        (f"{p['namespace']}/{p['vm']}", p["backup"], p["takenAt"], p["state"], len(p["volumes"]))
        for p in points
    ]
    show(table(("MACHINE", "BACKUP", "TAKEN AT", "STATE", "DISKS"), rows))
    show(f"in quarantine: {entries[0]['key']}\n  {entries[0]['reason']}")
    states = {p["vm"]: p["state"] for p in points}
    true(states.get("mail") == "incomplete", "the broken-off backup is incomplete")


def plan(stack: Stack) -> None:
    chapter("What would happen: a dry run against west.")
    ended = stack.restore({**REQUEST, "dryRun": True})
    true(
        ended.status == "SUCCEEDED" and ended.output["state"] == "planned",
        f"the dry run ends planned: {ended}",
    )
    report = stack.report(ended.output["report"])
    objects = [{"kind": "Namespace", **each} for each in report["namespaces"]]
    objects += [each for machine in report["machines"] for each in machine["objects"]]
    show(
        table(
            ("KIND", "NAME", "CHANGE", "WHY"),
            [(o["kind"], o["name"], o["action"], o["reason"]) for o in objects],
        )
    )
    verdicts = [(check["check"], check["verdict"], check["message"]) for check in report["checks"]]
    show(table(("CHECK", "VERDICT", ""), verdicts))
    show(f"plan {ended.output['planHash']}")
    namespaces = stack.cluster("west").call("GET", "/api/v1/namespaces")["items"]
    true(
        "shop-dr" not in {each["metadata"]["name"] for each in namespaces},
        "a dry run changes nothing on west",
    )


def restore(stack: Stack) -> dict[str, Any]:
    chapter("The same request without dryRun, through Step Functions:")
    started = time.monotonic()
    ended = stack.restore(REQUEST)
    true(
        ended.status == "SUCCEEDED" and ended.output["state"] == "succeeded",
        f"the restore succeeds: {ended}",
    )
    output: dict[str, Any] = ended.output
    rows = [
        (f"{m['namespace']}/{m['vm']}", m["state"], m["startedAt"], m["finishedAt"])
        for m in output["machines"]
    ]
    show(table(("MACHINE", "STATE", "STARTED", "FINISHED"), rows))
    took = time.monotonic() - started
    show(f"restore {output['restoreId']}: {output['state']} after {took:.0f} s, {output['report']}")
    return output


def look(stack: Stack, restored: dict[str, Any]) -> None:
    chapter("On west, as `kubectl get virtualmachines -A` would show it:")
    machines = stack.cluster("west").call("GET", "/apis/kubevirt.io/v1/virtualmachines")["items"]
    ours = [
        vm
        for vm in machines
        if vm["metadata"]["labels"].get("replant.dev/restore") == restored["restoreId"]
    ]
    header = ("NAMESPACE", "NAME", "STATUS", "READY", "BACKUP.ORIGIN.CLUSTER")
    show(table(header, [listed(vm) for vm in ours]))
    true(
        [listed(vm)[2:] for vm in ours] == [("Running", True, "east")],
        "the machine runs on west and comes from east",
    )


def listed(vm: dict[str, Any]) -> tuple[str, str, str, bool, str]:
    meta, status = vm["metadata"], vm["status"]
    origin = meta["annotations"]["backup.origin.cluster"]
    return meta["namespace"], meta["name"], status["printableStatus"], status["ready"], origin


def chapter(text: str) -> None:
    print(f"\n{text}", flush=True)


def show(text: str) -> None:
    print("\n" + "\n".join(f"  {line}" for line in text.splitlines()), flush=True)


def true(fact: bool, sentence: str) -> None:
    if not fact:
        raise UntrueError(sentence)


if __name__ == "__main__":
    sys.exit(main())
