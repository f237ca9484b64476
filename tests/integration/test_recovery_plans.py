"""A recovery plan on the running system: it waits for its cluster; its machines are restored."""

from local.samples.guests import Nic
from local.samples.world import a_vm_backup
from local.stack import Stack, wait
from tests.integration.faulty import entry, quarantined

KEY = "plans/ledgers.yaml"
PLAN = """\
name: ledgers
source: branch-office
target: west
mapping:
  namespaces: {ledgers: ledgers-dr}
  networks: {default/vlan100: default/vlan200}
waves:
  - name: databases
    machines: [{namespace: ledgers, name: "pg-*"}]
  - name: web
    machines: [{namespace: ledgers, name: web}, {labels: {tier: web}}]
    after: [databases]
"""


def test_a_plan_waits_for_its_cluster_and_brings_its_machines_back(stack: Stack) -> None:
    stack.document(KEY, PLAN)
    assert "source: unknown cluster 'branch-office'" in quarantined(stack, KEY)["reason"]
    select = {"plan": "ledgers"}
    refused = stack.restore({"select": select, "target": "west"})
    assert (refused.status, refused.error) == ("FAILED", "NotFound")
    assert f"{KEY} is in quarantine" in refused.cause["message"]

    place = f"id: branch-s3\nurl: s3://{stack.bucket}/branch-office/\ncluster: branch-office\n"
    keys = "credentialSecret: replant/targets/branch\n"
    stack.document("targets/branch-s3.yaml", place + keys)
    stack.document(
        "clusters/branch-office.yaml", "id: branch-office\nsecret: replant/clusters/branch\n"
    )
    wait(lambda: entry(stack, KEY) is None, seconds=30, what="the plan in force", every=0.1)

    for vm in ("pg-1", "web", "other"):
        backup = a_vm_backup(vm, "ledgers", f"ledgers-{vm}", networks=[Nic()])
        stack.put((f"branch-office/{key}", body) for key, body in backup)
    question = {"cluster": "branch-office", "state": "restorable"}
    wait(
        lambda: len(stack.search(**question)["restorePoints"]) == 3,
        seconds=60,
        what="three restore points",
    )
    planned = stack.restore({"select": select, "target": "west", "dryRun": True})
    assert planned.output["counts"] == {"planned": 2}, planned
    places = {f"{each['namespace']}/{each['vm']}" for each in planned.output["machines"]}
    assert places == {"ledgers-dr/pg-1", "ledgers-dr/web"}
    checks = stack.report(planned.output["report"])["checks"]
    backups = [each["message"] for each in checks if each["check"] == "backup"]
    assert all("first attaches target branch-s3 to west" in said for said in backups), backups
    at_once, *told = [each["message"] for each in checks if each["check"] == "plan"]
    assert "heeds neither their order" in at_once
    assert told == [
        "Wave web of plan ledgers, machines.1: tier=web fits no machine that the catalogue knows of"
        " branch-office."
    ]
