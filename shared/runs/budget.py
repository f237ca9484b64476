"""The budget of one target cluster in the table: a row that all restores to it share.

It holds a claim of each batch that has machines at work there, or waits to have. A run asks before
each slice of its work and gives back after it; who asks at the same time loses the race and asks
again.
"""

import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from shared.aws.table import Table
from shared.models.row_keys import EXPIRES, RECORD, budget_partition
from shared.runs import shares
from shared.runs.shares import Claim, Grant

PATIENCE = timedelta(seconds=100)
"""How long a claim that waits is kept: a run of each batch comes at least every minute."""

KEPT = timedelta(days=1)
"""How long the row of a target to which nothing is restored stays."""

_claims = TypeAdapter(tuple[Claim, ...])


class Budget:
    """Of the cluster with the id TARGET; NOW gives the time in UTC, SLEEP takes seconds."""

    def __init__(
        self,
        table: Table,
        target: str,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        self.target = target
        self._table = table
        self._key = (budget_partition(target), RECORD)
        self._now = now
        self._sleep = sleep

    def ask(self, asked: Claim, *, take: bool = True) -> Grant:
        """How many machines the batch may have at work, until its run gives them back or the claim
        expires; without TAKE only how many it would get.

        One that gets none waits in the row, and comes before those that have had theirs since. A
        newer run takes the place of an older one, which gets nothing any more.
        """
        while True:
            revision, claims = self._read()
            known = next((each for each in claims if each.holder == asked.holder), asked)
            if known.run > asked.run:
                return Grant(0)
            mine = asked.model_copy(update={"since": known.since})
            others = [each for each in claims if each.holder != mine.holder]
            granted = shares.grant([*others, mine], mine)
            if granted.machines and not take:
                return granted
            changes: dict[str, object] = {"granted": granted.machines}
            if not granted.machines:
                changes["expires"] = self._now() + PATIENCE
            if self._write(revision, [*others, mine.model_copy(update=changes)]):
                return granted
            self._back_off()

    def give_back(self, asked: Claim, *, wants: int) -> None:
        """The run has no machine at work any more; one that WANTS some waits for its next turn."""
        while True:
            revision, claims = self._read()
            mine = [each for each in claims if (each.holder, each.run) == (asked.holder, asked.run)]
            if not mine:
                return
            left = [each for each in claims if each not in mine]
            if wants:
                now = self._now()
                waiting = {"granted": 0, "wants": wants, "since": now, "expires": now + PATIENCE}
                left.append(asked.model_copy(update=waiting))
            if self._write(revision, left):
                return
            self._back_off()

    def claims(self) -> tuple[Claim, ...]:
        """Those that have not expired."""
        return self._read()[1]

    def _read(self) -> tuple[int, tuple[Claim, ...]]:
        row = self._table.get(self._key)
        if row is None:
            return 0, ()
        return int(row["revision"]), shares.living(_claims.validate_json(row["body"]), self._now())

    def _write(self, revision: int, claims: Iterable[Claim]) -> bool:
        pk, sk = self._key
        row = {
            "pk": pk,
            "sk": sk,
            "body": _claims.dump_json(tuple(claims)).decode(),
            "revision": revision + 1,
            EXPIRES: int((self._now() + KEPT).timestamp()),
        }
        if revision == 0:
            return self._table.put(row, condition="attribute_not_exists(pk)", values={})
        return self._table.put(row, condition="revision = :before", values={":before": revision})

    def _back_off(self) -> None:
        """A random time, so that many who ask at once do not meet again."""
        self._sleep(random.uniform(0.01, 0.1))  # noqa: S311  # no secret
