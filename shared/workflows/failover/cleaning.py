"""What a drill made is deleted again: by a rollback of each wave's restore, some at a time.

A namespace that two waves share can go only when both are gone, so what is kept is tried again once
all waves had their turn.
"""

import json
from contextlib import suppress
from typing import Any

from shared.models.failovers import CleanUp, FailoverRecord, FailoverState, WaveProgress
from shared.runs.failovers import FailoverLedger
from shared.workflows.failover.conducting import LOOK, PATIENCE, called_off, execution_of
from shared.workflows.failover.steps import Clients, answer

PAUSE = 5  # seconds between two calls
AT_ONCE = 8
"""Rollbacks: each holds a function of the account's, and 16 of the cluster's connections."""

MOST_TRIES = 4
"""Rollbacks of one wave, after which what is left is told of."""

STOPPED = "The drill was stopped before its waves were through."


def clean(clients: Clients, drill_id: str, attempt: int) -> dict[str, Any]:
    """Raises Overtaken when another execution has taken up the drill."""
    ledger = clients.ledger(drill_id)
    until = clients.clock.monotonic() + PATIENCE
    while True:
        record = _clean(clients, ledger, ledger.of_attempt(attempt))
        if record.verdict and all(each.done for each in record.cleaning):
            return answer(record, "report")
        if clients.clock.monotonic() >= until:
            return answer(record, "clean", PAUSE)
        clients.clock.sleep(LOOK)


def _clean(clients: Clients, ledger: FailoverLedger, record: FailoverRecord) -> FailoverRecord:
    if record.verdict is None or not record.cleaning:
        return _begin(clients, ledger, record)
    turns = [each.wave for each in record.cleaning if not each.done][:AT_ONCE]
    if not turns:
        return record
    cleaning = tuple(
        _delete(clients, record, each) if each.wave in turns else each for each in record.cleaning
    )
    if all(each.done for each in cleaning):
        cleaning = tuple(map(_again, cleaning))
    return ledger.change(record.attempt, cleaning=cleaning)


def _begin(clients: Clients, ledger: FailoverLedger, record: FailoverRecord) -> FailoverRecord:
    """Nothing of it runs any more, whatever it was doing; each wave that has begun has its turn."""
    waves = tuple(called_off(clients, record.waves, STOPPED))
    begun = [each for each in reversed(waves) if each.execution]
    changes: dict[str, object] = {"waves": waves}
    changes["cleaning"] = tuple(
        CleanUp(wave=each.name, restore_id=each.restore_id) for each in begun
    )
    if record.verdict is None:
        changes |= {"verdict": FailoverState.ABORTED, "why": STOPPED}
    return ledger.change(record.attempt, **changes)


def _again(cleaning: CleanUp) -> CleanUp:
    """What is kept may be so because of another wave, which is gone by now."""
    if not cleaning.kept or cleaning.tries >= MOST_TRIES:
        return cleaning
    return cleaning.model_copy(update={"done": False, "execution": None})


def _delete(clients: Clients, record: FailoverRecord, turn: CleanUp) -> CleanUp:
    if turn.execution:
        return _look(clients, turn)
    (wave,) = (each for each in record.waves if each.name == turn.wave)
    if _runs(clients, wave):
        return turn  # it was stopped, and has something in hand
    return _start(clients, record, turn)


def _runs(clients: Clients, wave: WaveProgress) -> bool:
    return bool(wave.execution) and clients.runs(wave.execution or "", wave.execution or "")


def _start(clients: Clients, record: FailoverRecord, turn: CleanUp) -> CleanUp:
    """A repeated call starts no second one."""
    number = [each.wave for each in record.cleaning].index(turn.wave)
    name = f"{record.failover_id}-{record.attempt}-undo-{number:02}-{turn.tries}"
    asked = {"restoreId": turn.restore_id, "deleteStarted": True}
    with suppress(clients.states.exceptions.ExecutionAlreadyExists):
        clients.states.start_execution(
            stateMachineArn=clients.rollbacks, name=name, input=json.dumps(asked)
        )
    execution = execution_of(clients.rollbacks, name)
    return turn.model_copy(update={"execution": execution, "tries": turn.tries + 1})


def _look(clients: Clients, turn: CleanUp) -> CleanUp:
    """How its rollback ended. A restore that never began has made nothing."""
    told = clients.states.describe_execution(executionArn=turn.execution or "")
    if told["status"] == "RUNNING":
        return turn
    if told["status"] == "SUCCEEDED":
        kept = json.loads(told.get("output") or "{}").get("kept", [])
        return turn.model_copy(update={"done": True, "kept": tuple(kept)})
    if told.get("error") == "NotFound":
        return turn.model_copy(update={"done": True, "kept": ()})
    if turn.tries < MOST_TRIES:
        return turn.model_copy(update={"execution": None})
    why = f"{turn.execution} ended {told['status']} with {told.get('error')}."
    left = {"kind": "Restore", "namespace": None, "name": turn.restore_id, "reason": why}
    return turn.model_copy(update={"done": True, "kept": (left,)})
