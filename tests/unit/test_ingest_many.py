"""Ten thousand events of a fleet, shuffled, repeated and several to a message: the same table as in
their order.
"""

import random
from collections.abc import Iterator

from local.samples.world import VmBackup, a_vm_backup
from shared.models.row_keys import TOLD
from tests.memory_table import MemoryTable
from tests.scenarios import (
    BUCKET,
    Happened,
    World,
    as_notification,
    folders_of,
    objects,
    points,
    target,
)
from tests.unit.test_ingest import Rows, ends

MACHINES = 60
FOLDERS = 24
EVENTS = 10_000
AT_ONCE = 5  # records in a message, at most


def fleet() -> Iterator[Happened]:
    """Each machine is backed up twice; some backups are overwritten, by garbage too, some deleted,
    and some data goes before its metadata. Others are folders with images over images.
    """
    yield target()
    for number in range(MACHINES):
        name = f"vm-{number}"
        first = a_vm_backup(name, "fleet", f"{name}-1")
        second = a_vm_backup(name, "fleet", f"{name}-2", after=first)
        written = {each.key: each for each in [*objects(first), *objects(second, number=2)]}
        yield from objects(first)
        yield from (each for each in objects(second, number=2) if each not in objects(first))
        yield from later(number, first, second, set(written))
    for number in range(FOLDERS):
        folders = folders_of(f"pg-{number}")
        yield from folders
        yield from changed(number, folders)


def changed(number: int, folders: list[Happened]) -> Iterator[Happened]:
    below, _, _, image, chain, metadata = folders
    match number % 6:
        case 1:
            yield below._replace(body=None, number=2)
        case 2:
            yield metadata._replace(body=b"no JSON", number=2)
        case 3:
            yield metadata._replace(body=None, number=2)
        case 4:
            yield chain._replace(body=b"no JSON", number=2)
            yield chain._replace(number=3)
        case 5:
            yield image._replace(body=b"", number=2)
            yield image._replace(body=None, number=3)
            yield image._replace(number=4)


def later(number: int, first: VmBackup, second: VmBackup, keys: set[str]) -> Iterator[Happened]:
    (data,) = [key for key in keys if first.disks[0].backup and str(first.disks[0].backup) in key]
    match number % 6:
        case 1:
            yield Happened(second.key, b"no JSON", 3)
        case 2:
            yield Happened(first.key, None, 3)
            yield Happened(data, None, 3)
        case 3:
            yield Happened(data, None, 3)
        case 4:
            again = a_vm_backup(f"vm-{number}", "fleet", f"vm-{number}-1", labels={"tier": "web"})
            yield Happened(first.key, dict(again.metadata)[first.key], 3)
        case 5:
            yield Happened(first.key, None, 3)
            yield Happened(first.key, dict(first.metadata)[first.key], 4)


def test_ten_thousand_events_in_any_order_end_in_the_same_table() -> None:
    events = list(fleet())
    whole = MemoryTable()
    World(whole).settle(events)
    chance = random.Random(20261201)  # noqa: S311  # no secret
    table = MemoryTable()
    world = World(table)
    for event in events:
        world.happen(event)  # the bucket is as it is; only what is told of it is late
    told = [*events, *chance.choices(events, k=EVENTS - len(events))]
    assert len(told) == EVENTS
    chance.shuffle(told)
    world.settle(messages(told, chance))
    assert untold(table) == untold(whole)
    assert {each.state.value for each in points(table)} == {"restorable", "incomplete", "deleted"}


def untold(table: MemoryTable) -> Rows:
    """Who is told of garbage depends on whether its repair is known by then."""
    return {key: row for key, row in ends(table).items() if key[0] != TOLD}


def messages(told: list[Happened], chance: random.Random) -> Iterator[str]:
    """Some as EventBridge sends them, some as S3 does, several in one."""
    while told:
        several = [told.pop() for _ in range(min(len(told), chance.randint(1, AT_ONCE)))]
        if len(several) == 1 or any(each.bucket != BUCKET for each in several):
            yield from (each.message() for each in several)
        else:
            yield as_notification(several)
