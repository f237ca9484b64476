"""A backup that has come hastens its copies: whoever looks after them is called half a minute
later, once for all that came meanwhile, where anybody wants copies at all.
"""

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from local.samples.world import a_vm_backup
from shared.catalogue.events import Hasten
from shared.workflows.hurrying import DELAY, PAUSE, Hurry
from tests.memory_table import MemoryTable
from tests.scenarios import (
    BUCKET,
    NOW,
    STATE,
    Happened,
    World,
    folders_of,
    objects,
    only,
    target,
)

HASTEN = Hasten().model_dump_json()
PLAN = """\
name: payments
source: east
target: west
waves: [{name: all, machines: [{namespace: default}]}]
"""


class Lab:
    """A catalogue whose function may call another one."""

    def __init__(self) -> None:
        table = MemoryTable()
        self.calls: list[Any] = []
        functions: Any = SimpleNamespace(invoke=lambda **call: self.calls.append(call))
        self.made = 0

        def client() -> Any:
            self.made += 1
            return functions

        self.world = World(table)
        hurry = Hurry(table, "replant-MigrateFunction", client)
        self.world.clients = self.world.clients._replace(hurry=hurry)
        self.world.settle([target()])

    def arrive(self, *events: Happened) -> int:
        """How many messages that hasten there are after that."""
        for each in events:
            self.world.deliver(each)
        return self.world.sqs.messages.count(HASTEN)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_one_call_for_all_that_comes_within_its_delay(lab: Lab) -> None:
    """And none for what Longhorn writes of a backup before Harvester writes the last of it."""
    *records, metadata = objects(a_vm_backup())
    assert lab.arrive(*records) == 0
    assert lab.arrive(metadata) == 1
    assert lab.arrive(*objects(a_vm_backup("other", backup="other"))) == 1
    lab.world.now += PAUSE
    assert lab.arrive(*objects(a_vm_backup("third", backup="third"))) == 2
    assert PAUSE < DELAY, "what does not hasten comes before the call that was asked for"


def test_the_message_comes_after_the_delay(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(lab.world.sqs, "send_message", lambda **asked: sent.append(asked))
    lab.arrive(*objects(a_vm_backup()))
    assert sent == [{"QueueUrl": "queue", "MessageBody": HASTEN, "DelaySeconds": 30}]


@pytest.mark.parametrize(
    "what", ["deleted", "unreadable", "told twice", "an image's", "nobody's", "a document"]
)
def test_what_is_no_new_backup_does_not_hasten(lab: Lab, what: str) -> None:
    metadata = objects(a_vm_backup())[-1]
    lab.arrive(metadata)
    lab.world.sqs.messages.clear()
    lab.world.now += timedelta(hours=1)
    event = {
        "deleted": metadata._replace(body=None, number=2),
        "unreadable": metadata._replace(body=b"{", number=2),
        "told twice": metadata,
        "an image's": objects(a_vm_backup("i", backup="i", image="default/image-8xv2l"))[0],
        "nobody's": metadata._replace(key="elsewhere/x.txt", number=2),
        "a document": target(number=2),
    }[what]
    assert lab.arrive(event) == 0


def test_folders_hasten_too(lab: Lab) -> None:
    assert lab.arrive(*folders_of("pg-1")) == 1


def test_nobody_is_called_and_no_client_made_where_nobody_wants_copies(lab: Lab) -> None:
    lab.world.deliver(HASTEN)
    assert (lab.calls, lab.made) == ([], 0)


@pytest.mark.parametrize("who", ["a plan", "a target"])
def test_who_looks_after_copies_is_called_where_any_are_wanted(lab: Lab, who: str) -> None:
    copies = f"replica{'te' if who == 'a plan' else 's'}: [s3://{BUCKET}/copy/]\n"
    documents = {
        "a plan": Happened("plans/payments.yaml", (PLAN + copies).encode(), 1, STATE),
        "a target": Happened(
            "targets/east-s3.yaml",
            f"id: east-s3\nurl: s3://{BUCKET}/\ncluster: east\n{copies}".encode(),
            2,
            STATE,
        ),
    }
    clusters = (
        Happened(
            f"clusters/{id_}.yaml",
            f"id: {id_}\nsecret: replant/clusters/{id_}\n".encode(),
            1,
            STATE,
        )
        for id_ in ("east", "west")
    )
    lab.world.settle([*clusters, documents[who], *objects(a_vm_backup())])
    (call,) = lab.calls
    assert call.pop("Payload") == b'{"step": "replicate"}'
    assert call == {"FunctionName": "replant-MigrateFunction", "InvocationType": "Event"}
    assert only(lab.world.table).vm == "web01"


def test_whoever_only_looks_into_a_bucket_does_not_hasten() -> None:
    """A reconcile has no such caller: the clock comes after it."""
    world = World(MemoryTable())
    world.settle([target(), *objects(a_vm_backup()), HASTEN])
    assert world.sqs.messages.count(HASTEN) == 0
    assert json.loads(HASTEN) == {"task": "hasten"}
    assert cast(Any, world.clients.hurry) is None
    assert world.now == NOW
