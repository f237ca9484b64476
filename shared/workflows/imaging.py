"""The images that disks are imported from: made before their machines, one by one, and read by the
target cluster with keys that serve for nothing else.
"""

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.attach import keys
from shared.aws import secrets as stored
from shared.aws.table import Table
from shared.errors import NotFound, Refused, Unreadable
from shared.models.images import Imports, Making
from shared.restore.filling import IMPORT_KEYS
from shared.runs.files import StateBucket
from shared.runs.ledger import Ledger
from shared.runs.makings import Makings
from shared.workflows import flattening

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

SECRET = "import"  # noqa: S105  # the end of its name
TELL = 10.0  # seconds
RESERVE = 60.0
"""Seconds before a function's end from which on no piece of an image is begun: one of the largest
disk has 500 MB.
"""


def find_imports(secrets: "SecretsManagerClient", prefix: str, url: str) -> Imports:
    """PREFIX is that of this stack's secrets, URL that of the state bucket at AWS: its keys may
    say another one.
    """
    name = f"{prefix}{SECRET}"
    try:
        found = keys.parse(stored.import_keys(secrets, name), name)
    except (NotFound, Refused) as error:
        return Imports(problem=f"{error.message.rstrip('.')}.")
    if found.endpoint is None:
        return Imports(url=url, secret=name)
    bucket = url.rpartition("/")[2]
    return Imports(url=f"{found.endpoint.rstrip('/')}/{bucket}", secret=name)


def keys_for_cluster(secrets: "SecretsManagerClient", name: str) -> dict[str, str]:
    """As a Secret of Kubernetes has them for CDI: never to be logged or kept. Raises NotFound and
    Refused.
    """
    found = keys.parse(stored.import_keys(secrets, name), name).values
    return {
        of_cdi: base64.b64encode(found[ours].encode()).decode()
        for of_cdi, ours in IMPORT_KEYS.items()
    }


class Clients(NamedTuple):
    """What making an image reads and writes."""

    table: Table
    flattening: flattening.Clients
    state: StateBucket


class Wanted(NamedTuple):
    """The image of a restore's plan that is made at a PLACE, for an ATTEMPT of it."""

    ledger: str
    plan_hash: str
    place: str
    attempt: int


class _Unwanted(Exception):
    """Nobody waits for it any more."""


class _Told:
    """What others are told of an image while it is made, and whether somebody still waits for it:
    every TELL seconds.
    """

    def __init__(self, clients: Clients, wanted: Wanted, size: int, seconds: float) -> None:
        self._clock = clients.flattening
        self._ledger = Ledger(clients.table, wanted.ledger, now=self._clock.now)
        self._makings = Makings(self._ledger)
        self._size = size
        self._next = self._clock.monotonic()
        # For as long as this run may take: if it dies, the next one begins then.
        until = self._clock.now() + timedelta(seconds=seconds)
        self._making = Making(place=wanted.place, attempt=wanted.attempt, until=until)

    def look(self, written: int) -> None:
        """Raises _Unwanted."""
        if self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + TELL
        record = self._ledger.record()
        if record is None or record.stopped or record.outcome is not None:
            raise _Unwanted
        if record.attempt != self._making.attempt:
            raise _Unwanted  # which begins what it needs itself
        self._say(percent=min(99, 100 * written // max(1, self._size)))

    def end(self, **said: Any) -> Making:
        """The lease ends as well: who needs it goes on at once."""
        return self._say(**said, until=self._clock.now())

    def _say(self, **said: Any) -> Making:
        self._making = self._making.model_copy(update=said)
        self._makings.tell(self._making)
        return self._making


def make_image(clients: Clients, wanted: Wanted, *, seconds: float) -> Making:
    """As far as it gets in that time; to be called again until it is done. Raises NotFound for a
    plan that is gone.
    """
    images = clients.state.images(wanted.ledger, wanted.plan_hash)
    disk = next(each for each in images if each.place == wanted.place)
    told = _Told(clients, wanted, disk.size_bytes, seconds)
    until = clients.flattening.monotonic() + seconds - RESERVE
    try:
        told.look(0)
        made = flattening.flatten(clients.flattening, disk, until=until, tell=told.look)
    except (Refused, Unreadable) as error:
        return told.end(done=True, problem=f"{disk.files[0].url}: {error.message.rstrip('.')}")
    except _Unwanted:
        return told.end()
    percent = 100 if made.done else min(99, 100 * made.written // max(1, made.size))
    return told.end(done=made.done, percent=percent)
