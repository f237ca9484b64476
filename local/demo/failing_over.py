"""The second chapter: a recovery plan is practised, then its source dies, an alarm fires, and what
the plan names comes back on the other cluster, wave by wave.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from local import cloud, processes
from local.cluster import Cluster
from local.demo.backups import SPACE, a_backup
from local.demo.telling import line, show, step, true
from local.stack import Stack, wait
from local.tables import table
from shared.aws.table import Table
from shared.catalogue import documents, observations
from shared.models.failovers import FailoverRecord
from shared.runs.failovers import FailoverLedger

SOURCE, TARGET = "east", "west"
ALARM = f"{cloud.STACK}-{SOURCE}-unreachable"
PLAN = f"""\
name: shop
source: {SOURCE}
target: {TARGET}
objectives: {{rpo: P1D, rto: PT15M}}
trigger: {{mode: approve}} # its alarm starts it, a person decides
guard: {{probes: 3, unreachableFor: PT1M}} # what must be seen of {SOURCE} before that
mapping:
  namespaces: {{{SPACE}: {SPACE}-dr}}
  networks: {{default/vlan100: default/vlan200}}
waves:
  - name: databases
    machines: [{{namespace: {SPACE}, name: ledger}}, {{namespace: {SPACE}, name: stock}}]
  - name: services # when the databases are ready
    machines: [{{namespace: {SPACE}, name: mail}}, {{namespace: {SPACE}, name: checkout}}]
"""
REST = {"ledger", "stock", "mail", "checkout"}
VMS = "/apis/kubevirt.io/v1/virtualmachines"
PROMISED = 150
"""Seconds from an outage to its alarm."""

PAGE = processes.RUNTIME / "failover.html"


def tell(stack: Stack) -> None:
    prepare(stack)
    practise(stack)
    with outage(stack):
        fire(stack)
        failover_id = guard(stack)
        approve(stack, failover_id)
        come_back(stack, failover_id)
        measure(stack, failover_id)


def prepare(stack: Stack) -> None:
    step(
        "The rest of east is backed up: the upload that broke off is completed, and two more"
        " machines come."
    )
    for vm in ("mail", "stock", "checkout"):
        stack.put(a_backup(vm))
    for vm in REST:
        newest = partial(stack.newest, f"{SPACE}/{vm}", "restorable")
        wait(newest, seconds=60, what=f"a restorable point of {vm}")
    line(f"restorable: {', '.join(f'{SPACE}/{vm}' for vm in sorted(REST))}")
    step("A recovery plan says what comes back, in which order, and who decides:")
    stack.document("plans/shop.yaml", PLAN)
    wait(lambda: documents.plan(catalogue(stack), "shop"), seconds=60, what="the plan in force")
    show(PLAN.rstrip())


def practise(stack: Stack) -> None:
    step(
        "A drill of it: the same waves from the same backups, in a namespace of its own and on no"
        " network; then all of it is deleted again."
    )
    before = standing(stack)
    ended = stack.finish(stack.start({"plan": "shop"}, "DrillStateMachine"), seconds=180)
    true(
        ended.status == "SUCCEEDED" and ended.output["state"] == "succeeded",
        f"the drill succeeds: {ended}",
    )
    show(waves(ended.output))
    true(ended.output["cleanedUp"], f"the drill cleans up: {ended.output['leftovers']}")
    true(standing(stack) == before, "a drill leaves west as it was")
    show("Cleaned up: the machines and namespaces of west are those of before.")


@contextmanager
def outage(stack: Stack) -> Iterator[None]:
    """East without its API server, which is brought back whatever happens meanwhile."""
    step("East dies: its API server is taken away. Nobody tells Replant.")
    Cluster(SOURCE).take_away()
    line(f"{clock(datetime.now(UTC))}  {SOURCE} takes no connection any more")
    try:
        yield
    finally:
        Cluster(SOURCE).bring_back()
    step(
        "East is brought back, with its data. Replant changes nothing there: which of its machines"
        " may run again beside those on west is for people to say."
    )


def fire(stack: Stack) -> None:
    step(
        f"A probe looks at each cluster every minute, and CloudWatch at what it saw: within"
        f" {PROMISED} s the alarm {ALARM} fires."
    )
    started = time.monotonic()
    told = 0.0
    while (state := state_of_alarm(stack)) != "ALARM":
        waited = time.monotonic() - started
        true(waited < PROMISED, f"{ALARM} fires within {PROMISED} s; it is {state}")
        if waited - told >= 10:
            told = waited
            line(f"after {waited:3.0f} s  {waits_for(stack)}")
        time.sleep(0.5)
    line(f"after {time.monotonic() - started:3.0f} s  the alarm fires")


def waits_for(stack: Stack) -> str:
    seen = observations.read(catalogue(stack), SOURCE)
    if seen is None or seen.unreachable_since is None:
        return "waits for the next look of the probe"
    return f"no answer since {clock(seen.unreachable_since)}; CloudWatch has yet to look at that"


def guard(stack: Stack) -> str:
    """The id of the failover that the alarm has started, once it is planned."""
    step(
        "The alarm starts a failover by itself. Its guard does not believe the alarm: it probes"
        " east again, from two places in the network, for as long as the plan says."
    )
    failover_id = wait(lambda: started(stack), seconds=60, what="the failover of the alarm")
    line(f"failover {failover_id}")
    told = 0
    for _ in looks(seconds=300, what="the request for approval"):
        found = record(stack, failover_id)
        true(found.verdict is None, f"the failover goes on: {found.why}")
        for probe in found.probes[told:]:
            said = f"{probe.answer}: {(probe.reason or '').partition(';')[0]}"
            line(f"{clock(probe.at)}  {probe.place:6}  {said}")
        told = len(found.probes)
        if found.asked_at:
            break
    true(told >= 2 * 3, "the guard has seen three probes without an answer from either place")
    return failover_id


def started(stack: Stack) -> str | None:
    entries = stack.search(failovers=True, limit=1)["failovers"]
    return next((each["failoverId"] for each in entries if each["alarm"] == ALARM), None)


def record(stack: Stack, failover_id: str) -> FailoverRecord:
    ledger = FailoverLedger(catalogue(stack), failover_id, now=partial(datetime.now, UTC))
    return ledger.of_attempt(1)


def approve(stack: Stack, failover_id: str) -> None:
    step(
        "All waves are planned, and nothing is done yet. The topic asks for a decision about"
        " exactly these plans; Ada takes it, by the command in that message:"
    )
    decision = {
        "failoverId": failover_id,
        "decision": "approve",
        "planHash": record(stack, failover_id).plan_hash,
        "by": "Ada",
    }
    said = json.dumps(decision, indent=2)
    show(f"aws lambda invoke --function-name DECISION-FUNCTION answer.json --payload '{said}'")
    answer = stack.client("lambda").invoke(
        FunctionName=stack.outputs["DecisionFunction"], Payload=json.dumps(decision).encode()
    )
    verdict = json.loads(answer["Payload"].read())
    show(verdict["message"])
    true(verdict["accepted"], "the decision is accepted")


def come_back(stack: Stack, failover_id: str) -> None:
    step("The waves come up on west, one after the other:")
    ready: set[str] = set()
    for _ in looks(seconds=300, what="the end of the failover"):
        ended = record(stack, failover_id).outcome is not None
        for vm in sorted(running(stack) & REST - ready):
            line(f"{clock(datetime.now(UTC))}  {SPACE}-dr/{vm} is ready")
            ready.add(vm)
        if ended:
            break
    true(ready == REST, f"all machines of the plan are ready on west, not only {ready}")


def measure(stack: Stack, failover_id: str) -> None:
    step("What it has cost, beside the plan's objectives:")
    address = record(stack, failover_id).report or ""
    report = stack.report(address)
    true(report["state"] == "succeeded", f"the failover succeeds: {report['reason']}")
    show(waves(report))
    first, second = report["waves"]
    true(first["finishedAt"] <= second["startedAt"], "the databases come before the services")
    rto, rpo = report["rto"], report["rpo"]
    since = clock(record(stack, failover_id).unreachable_since or datetime.now(UTC))
    show(
        f"RTO {rto['measured']} of {rto['objective']}: from the first probe without an answer"
        f" ({since}) until the last machine was ready\n"
        f"RPO {rpo['worst']} of {rpo['objective']}: the age that the oldest backup"
        f" ({rpo['machine']}) had by then"
    )
    true(rto["met"] and rpo["met"], "the objectives are met")
    key = address.replace(".json", ".html").removeprefix(f"s3://{stack.state_bucket}/")
    body = stack.s3.get_object(Bucket=stack.state_bucket, Key=key)["Body"].read()
    PAGE.write_bytes(body)
    show(f"its report, in the state bucket: {key}\nthe same to look at in a browser: {PAGE}")


def looks(*, seconds: float, what: str) -> Iterator[None]:
    """Two in a second. Raises TimeoutError that says what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.5)
    raise TimeoutError(f"{what} did not come within {seconds:.0f} s")


def catalogue(stack: Stack) -> Table:
    return Table(stack.client("dynamodb"), stack.outputs["CatalogueTable"])


def state_of_alarm(stack: Stack) -> str:
    watch = stack.client("cloudwatch")
    (found,) = watch.describe_alarms(AlarmNames=[ALARM])["MetricAlarms"]
    return str(found["StateValue"])


def standing(stack: Stack) -> set[str]:
    """The namespaces and machines of west."""
    west = stack.cluster(TARGET)
    paths = ("/api/v1/namespaces", VMS)
    objects = (each["metadata"] for path in paths for each in west.call("GET", path)["items"])
    return {f"{each.get('namespace', '')}/{each['name']}" for each in objects}


def running(stack: Stack) -> set[str]:
    """The machines of the shop that are ready on west."""
    where = VMS.replace("/v1/", f"/v1/namespaces/{SPACE}-dr/")
    items = stack.cluster(TARGET).call("GET", where)["items"]
    return {each["metadata"]["name"] for each in items if each.get("status", {}).get("ready")}


def waves(report: dict[str, Any]) -> str:
    def row(wave: dict[str, Any]) -> Iterable[str]:
        counts = ", ".join(f"{number} {state}" for state, number in wave["counts"].items())
        times = (wave[each][11:19] for each in ("startedAt", "finishedAt"))
        return wave["name"], wave["state"], counts, *times

    header = ("WAVE", "STATE", "MACHINES", "BEGAN", "THROUGH")
    return table(header, [tuple(row(each)) for each in report["waves"]])


def clock(instant: datetime) -> str:
    return f"{instant:%H:%M:%S}"
