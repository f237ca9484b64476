"""Recovery plans: what a user may write, how mistakes are answered, when one is in force."""

import itertools
import json

import pytest

from local.cloud import ROOT
from shared.catalogue import documents as catalogued
from shared.errors import Unreadable
from shared.layouts import documents, registry
from shared.models.recovery_plans import RecoveryPlan, before
from tests.memory_table import MemoryTable
from tests.scenarios import STATE, Happened, World, quarantined

PLAN = """\
name: payments
source: east
target: west
waves:
  - name: databases
    machines: [{namespace: db, name: "pg-*"}, {labels: {tier: data}}]
  - name: web
    machines: [{namespace: web}]
"""


def read(text: str) -> RecoveryPlan:
    place = registry.recognise_document("plans/payments.yaml")
    found = documents.parse(place, text.encode(), buckets=frozenset())
    return RecoveryPlan.model_validate_json(json.loads(found.model_dump_json())["text"])


def refusal(text: str) -> str:
    with pytest.raises(Unreadable) as caught:
        read(text)
    return caught.value.message


def with_waves(*waves: str) -> str:
    head = PLAN.partition("waves:")[0]
    return (
        head
        + "waves:\n"
        + "".join(f"  - {{{wave}, machines: [{{namespace: a}}]}}\n" for wave in waves)
    )


def test_a_plan_says_where_machines_come_back_and_in_which_order() -> None:
    plan = read(PLAN)
    assert (plan.name, plan.source, plan.target) == ("payments", "east", "west")
    assert before(plan.waves) == {"databases": (), "web": ("databases",)}
    assert plan.waves[0].ready.timeout.total_seconds() == 600
    assert plan.waves[0].on_failure == "stop"


def test_the_example_that_is_shipped_is_one() -> None:
    plan = read((ROOT / "events" / "documents" / "plan-payments.yaml").read_text())
    assert plan.mapping.networks


def test_numbers_flags_and_texts_are_what_they_are_in_json() -> None:
    mapping = """\
mapping:
  resources: {cpuPercent: 50}
  patches:
    - match: {kind: VirtualMachine, name: "web*"}
      patch:
        - {op: add, path: /spec/template/spec/hostname, value: "007"}
        - {op: add, path: /spec/template/spec/domain/cpu/cores, value: 4}
        - {op: add, path: /spec/template/spec/domain/ioThreads, value: true}
        - {op: add, path: /spec/template/spec/subdomain, value: 1.10.0}
"""
    found = read(PLAN + mapping).mapping
    assert found.resources.cpu_percent == 50
    assert [each.value for each in found.patches[0].patch] == ["007", 4, True, "1.10.0"]


@pytest.mark.parametrize(
    ("machine", "is_meant"),
    [
        (("db", "pg-1", {}), True),
        (("db", "mysql", {}), False),
        (("db", "mysql", {"tier": "data", "a": "b"}), True),
        (("other", "pg-1", {"tier": "web"}), False),
        (("web", "anything", {}), True),
    ],
)
def test_a_group_means_the_machines_that_fit_all_of_it(
    machine: tuple[str, str, dict[str, str]], is_meant: bool
) -> None:
    assert read(PLAN).has(*machine) is is_meant


def test_waves_that_wait_for_the_same_one_run_side_by_side() -> None:
    waves = read(
        with_waves("name: a", "name: b", "name: c, after: [a]", "name: d, after: []")
    ).waves
    assert before(waves) == {"a": (), "b": ("a",), "c": ("a",), "d": ()}


MISTAKES = {
    "an unknown key": (PLAN + "targt: west\n", "Unknown key 'targt'. Did you mean 'target'?"),
    "an unknown key of a wave": (
        PLAN + "    redy: {timeout: PT1M}\n",
        "Unknown key 'waves.1.redy'. Did you mean 'ready'?",
    ),
    "an unknown key of its mapping": (
        PLAN + "mapping: {storageclasses: {}}\n",
        "Unknown key 'mapping.storageclasses'. Did you mean 'storageClasses'?",
    ),
    "another name": (
        PLAN.replace("name: payments", "name: orders"),
        "name: 'orders' is not what the key says ('payments'). Make them the same.",
    ),
    "the same cluster": (
        PLAN.replace("target: west", "target: east"),
        "the document: must have a target that is not its source, east.",
    ),
    "no waves": (PLAN.partition("waves")[0], "waves: is missing."),
    "no wave": (PLAN.partition("waves")[0] + "waves: []\n", "waves: must have 1 or more entries."),
    "a wave twice": (with_waves("name: a", "name: a"), "waves: must have wave a once."),
    "an unknown wave": (
        with_waves("name: a", "name: b, after: [c]"),
        "waves: must know all waves: b is after 'c'. Known: a, b.",
    ),
    "a circle": (
        with_waves("name: a, after: [b]", "name: b, after: [a]"),
        "waves: must not wait for each other: ",
    ),
    "a wave after itself": (
        with_waves("name: a, after: [a]"),
        "waves: must not wait for each other: a after a.",
    ),
    "a group of nothing": (
        PLAN.replace("{namespace: web}", "{name: web}"),
        "waves.1.machines.0: must have a namespace or labels",
    ),
    "a machine's name with its namespace": (
        PLAN.replace("{namespace: web}", "{namespace: web, name: web/a}"),
        "waves.1.machines.0.name: must be a machine's name, in which * stands for any characters.",
    ),
    "no duration": (
        PLAN + "    ready: {timeout: 10m}\n",
        "waves.1.ready.timeout: must be an ISO 8601 duration such as PT30M.",
    ),
    "too long a wait": (
        PLAN + "    ready: {timeout: P2D}\n",
        "waves.1.ready.timeout: must be between PT1S and P1D.",
    ),
    "another word": (
        PLAN + "    onFailure: abort\n",
        "waves.1.onFailure: must be one of: 'stop', 'continue'.",
    ),
    "a place that is none": (
        PLAN + "replicate: [my-copies/east/]\n",
        "replicate.0: must be s3://BUCKET/[PREFIX/].",
    ),
    "a place named twice": (
        PLAN + "replicate: [s3://my-copies/east/, s3://my-copies/east]\n",
        "replicate: must have each place once.",
    ),
    "a number as name": (PLAN.replace("source: east", "source: 1"), "source: must be a string."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_answered_with_its_remedy(mistake: str) -> None:
    text, sentence = MISTAKES[mistake]
    assert refusal(text).startswith(sentence)


def test_what_no_feature_heeds_yet_is_refused_rather_than_ignored() -> None:
    """Whoever writes of verified backups must not believe that any is."""
    said = refusal(PLAN + "verified: full\n")
    assert said.startswith("verified: this value is not supported in this version.")
    assert read(PLAN + "verified: any\n") == read(PLAN)


# --- When it is in force ------------------------------------------------------------------------


def plan(number: int = 1, text: str = PLAN) -> Happened:
    return Happened("plans/payments.yaml", text.encode(), number, STATE)


def cluster(id_: str, number: int = 1, *, gone: bool = False) -> Happened:
    body = None if gone else f"id: {id_}\nsecret: replant/clusters/{id_}\n".encode()
    return Happened(f"clusters/{id_}.yaml", body, number, STATE)


def in_force(table: MemoryTable) -> RecoveryPlan | None:
    return catalogued.plan(table, "payments")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_plan_waits_for_its_clusters_in_quarantine_and_is_then_taken_by_itself(
    order: tuple[int, ...],
) -> None:
    table = MemoryTable()
    world = World(table)
    events = [plan(), cluster("east"), cluster("west")]
    for place in order[:2]:
        world.settle([events[place]])
    assert in_force(table) is None
    assert quarantined(table) == (["plans/payments.yaml"] if 0 in order[:2] else [])
    world.settle([events[order[2]]])
    assert in_force(table) == read(PLAN)
    assert quarantined(table) == []


def test_a_plan_that_waits_says_for_what() -> None:
    table = MemoryTable()
    World(table).settle([cluster("east"), plan()])
    assert catalogued.why_unknown(table, "plans", "payments") == (
        "plans/payments.yaml is in quarantine, and no earlier version of it is in force: target:"
        " unknown cluster 'west'. Known: east. Correct it, or put clusters/west.yaml into the state"
        " bucket: the plan is then taken by itself."
    )
    assert catalogued.why_unknown(table, "plans", "orders").startswith("Unknown plan 'orders'.")


def test_a_plan_goes_into_quarantine_when_its_cluster_goes() -> None:
    table = MemoryTable()
    world = World(table)
    world.settle([cluster("east"), cluster("west"), plan()])
    told = len(world.sns.messages)
    world.settle([cluster("west", 2, gone=True)])
    assert quarantined(table) == ["plans/payments.yaml"]
    assert len(world.sns.messages) == told + 1
    assert in_force(table) is None
    world.settle([cluster("west", 3)])
    assert in_force(table) == read(PLAN)


@pytest.mark.parametrize(
    "bad", [PLAN.replace("target: west", "target: wset"), "{", PLAN + "standby: {}\n"]
)
def test_the_last_good_version_stays_in_force(bad: str) -> None:
    table = MemoryTable()
    world = World(table)
    world.settle([cluster("east"), cluster("west"), plan(), plan(2, bad), plan(3, bad)])
    assert quarantined(table) == ["plans/payments.yaml"]
    assert in_force(table) == read(PLAN)
    better = PLAN.replace("databases", "data")
    world.settle([plan(4, better)])
    assert in_force(table) == read(better)
    assert quarantined(table) == []


def test_a_deleted_plan_does_not_come_back() -> None:
    table = MemoryTable()
    world = World(table)
    world.settle([cluster("east"), cluster("west"), plan()])
    world.settle([Happened("plans/payments.yaml", None, 2, STATE), plan(3, "{")])
    assert in_force(table) is None


def test_all_plans_of_a_source_are_found() -> None:
    table = MemoryTable()
    world = World(table)
    orders = PLAN.replace("name: payments", "name: orders")
    back = PLAN.replace("source: east", "source: west").replace("target: west", "target: east")
    world.settle([cluster("east"), cluster("west"), plan()])
    world.settle([Happened("plans/orders.yaml", orders.encode(), 1, STATE)])
    home = back.replace("name: payments", "name: home")
    world.settle([Happened("plans/home.yaml", home.encode(), 1, STATE)])
    assert [each.name for each in catalogued.plans_of(table, "east")] == ["orders", "payments"]
