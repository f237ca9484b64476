"""A backup target that a cluster is to see, as data: what was found there, and what came of it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from shared.models.base import Value
from shared.models.longhorn_facts import LonghornTarget
from shared.models.restore_plans import Check


class State(StrEnum):
    """The contract's states of an attachment."""

    ATTACHED = "attached"
    DETACHED = "detached"
    PLANNED = "planned"
    REFUSED = "refused"


class Permissions(Value):
    """What the target's own keys may do in its place."""

    read: bool = False
    write: bool = False


class Attachment(Value):
    """What an execution answers (contract, section 5); PERMISSIONS is None where nothing was tried,
    BACKUPS is how many Longhorn had read in the end.
    """

    state: State
    backup_target: str
    permissions: Permissions | None = None
    available: bool = False
    backups: int = 0
    checks: tuple[Check, ...] = ()

    @property
    def output(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Found(NamedTuple):
    """What a cluster has: its BackupTargets by name, which of them we made (OURS), and Longhorn's
    VERSION, None where it does not tell. SERVED: it has the kind at all.
    """

    served: bool
    version: str | None = None
    targets: Mapping[str, LonghornTarget] = {}
    ours: frozenset[str] = frozenset()


class InUse(NamedTuple):
    """Volumes that keep a backup target from going: those whose data still comes from it, and
    standby volumes, beside which Longhorn changes none.
    """

    copying: tuple[str, ...] = ()
    standby: tuple[str, ...] = ()
