"""The first chapter: backups arrive, are catalogued, planned, and one machine stands on west."""

import time
from functools import partial
from typing import Any

from local.demo.backups import a_backup
from local.demo.telling import show, step, true
from local.samples.guests import Nic
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


def tell(stack: Stack) -> None:
    arrive(stack)
    catalogue(stack)
    plan(stack)
    restored = restore(stack)
    look(stack, restored)


def arrive(stack: Stack) -> None:
    step(
        "Cluster east backs up two machines; a third upload breaks off, and a fourth file is"
        " damaged."
    )
    web = a_backup("web", disks=2, networks=[Nic()], secrets=CLOUD_INIT)
    ledger = a_backup("ledger", version="1.2")
    broken_off = a_backup("mail")
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
    step("The catalogue, from events alone:")
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
    step("What would happen: a dry run against west.")
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
    step("The same request without dryRun, through Step Functions:")
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
    step("On west, as `kubectl get virtualmachines -A` would show it:")
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
