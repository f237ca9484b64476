"""A restore request as a user types it -> a frozen model with every default filled in (contract,
section 5).
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool
from pydantic.alias_generators import to_camel

from shared.errors import InvalidRequest
from shared.models.base import (
    ClusterId,
    Duration,
    Instant,
    Person,
    Value,
    answerable,
    keepable,
    waitable,
)
from shared.models.mapping import Mac, Mapping
from shared.models.restore_plans import Condition, FailOn
from shared.models.selections import CopyPlace, Select
from shared.validation import parse

if TYPE_CHECKING:
    from shared.models.recovery_plans import DrillProbe, RecoveryPlan

LACKING: dict[str, tuple[Any, ...]] = {
    "select.verified": ("any",),
}
"""Keys of the contract whose feature does not exist yet -> the values that change nothing."""


class OnExisting(StrEnum):
    """What to do with a machine of which something exists already."""

    FAIL = "fail"
    SKIP = "skip"
    UPDATE = "update"
    RECREATE = "recreate"


class Mode(StrEnum):
    """What is made: machines with their disks, machines that are deleted again after some time,
    machines over disks that are there already, or machines of backups that are copied first.
    """

    STANDARD = "standard"
    EMERGENCY = "emergency"
    REGISTER = "register"
    MIGRATE = "migrate"


EMERGENCY_SUFFIX = "-emergency"
DAY = timedelta(hours=24)


class Approve(StrEnum):
    """Whether a person must approve the plan before anything of it is done."""

    NONE = "none"
    REQUIRED = "required"


class Ready(Value):
    """What a machine is waited for, and how long from the moment that it is begun."""

    condition: Condition = Condition.VM
    timeout: Annotated[Duration, AfterValidator(waitable)] = timedelta(hours=1)


class RestoreRequest(Value):
    """What to restore, where to and how; BY is who asks, for the history."""

    select: Select
    target: ClusterId
    mode: Mode = Mode.STANDARD
    strategy: Literal["auto", "csi", "longhorn", "harvester", "import", "mount"] = "auto"
    mapping: Mapping = Field(default_factory=Mapping)
    on_existing: OnExisting = OnExisting.FAIL
    fail_on: FailOn = FailOn.FAILED
    start: StrictBool = True
    ready: Ready = Field(default_factory=Ready)
    dry_run: StrictBool = False
    approve: Approve = Approve.NONE
    approval_timeout: Annotated[Duration, AfterValidator(answerable)] = timedelta(minutes=15)
    attach: Literal["auto", "never"] = "auto"
    keep_for: Annotated[Duration, AfterValidator(keepable)] = DAY
    to: CopyPlace | None = None
    concurrency: Annotated[int, Field(ge=1, le=64, strict=True)] = 16
    by: Person | None = None
    request_id: Annotated[str, Field(min_length=1, max_length=256)]

    @property
    def restore_id(self) -> str:
        return "r-" + hashlib.sha256(self.request_id.encode()).hexdigest()[:16]

    def of_plan(self, plan: "RecoveryPlan") -> "RestoreRequest":
        """With the mapping of the plan that it selects, unless it has one of its own; what a drill
        restores is apart from all else.
        """
        request = self
        if "mapping" not in self.model_fields_set:
            request = self.model_copy(update={"mapping": plan.mapping})
        if expires := plan.temporary_until():
            drill = {"expires": expires, "probes": plan.drill.probes}
            return DrilledRequest.model_construct(**{**dict(request), **drill})
        return request

    def named(self) -> "RestoreRequest":
        """With the names that temporary machines have beside their originals, unless its mapping
        has a suffix for them.
        """
        names = self.mapping.names
        if self.mode is not Mode.EMERGENCY or names.suffix:
            return self
        names = names.model_copy(update={"suffix": EMERGENCY_SUFFIX})
        mapping = self.mapping.model_copy(update={"names": names})
        return self.model_copy(update={"mapping": mapping})

    def copied(self) -> "RestoreRequest":
        """Once everything that it restores has been copied."""
        if self.mode is not Mode.MIGRATE:
            return self
        return self.model_copy(update={"mode": Mode.STANDARD, "to": None})

    @property
    def drilled(self) -> "DrilledRequest | None":
        return None

    @property
    def temporary(self) -> bool:
        """Whether what it makes is deleted again without anybody's doing."""
        return self.mode is Mode.EMERGENCY

    @property
    def kept(self) -> int | None:
        """For how many seconds what it makes is kept once it is ready; None: for ever, or for as
        long as a drill takes.
        """
        return int(self.keep_for.total_seconds()) if self.mode is Mode.EMERGENCY else None

    @property
    def approval(self) -> int | None:
        """For how many seconds its plan waits for a decision; a dry run waits for none."""
        if self.dry_run or self.approve is Approve.NONE:
            return None
        return int(self.approval_timeout.total_seconds())

    @property
    def digest(self) -> str:
        """The same for two requests that ask the same, whoever asks and however they write it; and
        the same as that of an earlier version, which knew fewer keys.
        """
        left_out = {"by"}
        if self.attach == "auto":
            left_out.add("attach")
        if self.mode is not Mode.EMERGENCY:
            left_out.add("keep_for")
        if self.to is None:
            left_out.add("to")
        if self.mode is Mode.STANDARD:
            left_out.add("mode")
        asked = self.model_dump(mode="json", exclude=left_out)
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class DrilledRequest(RestoreRequest):
    """Of machines that are apart from all others and may be deleted when they EXPIRE; PROBES say
    when some of them are ready. Nobody can type one: a drill makes it of its plan.
    """

    expires: Instant
    probes: tuple[Any, ...] = ()

    @property
    def drilled(self) -> "DrilledRequest | None":
        return self

    @property
    def temporary(self) -> bool:
        return True

    def probe_of(self, namespace: str, vm: str) -> "DrillProbe | None":
        return next((each for each in self.probes if each.fits(namespace, vm)), None)


def restore_request(body: Any, *, execution_name: str) -> RestoreRequest:
    """Raises InvalidRequest."""
    if isinstance(body, dict):
        body = {"requestId": execution_name, **body}
    request = parse(RestoreRequest, body, lacking=LACKING)
    for field, problem in _misfits(request):
        raise InvalidRequest(f"{field}: {problem}", field)
    return request


def _misfits(request: RestoreRequest) -> Iterator[tuple[str, str]]:
    """Values that do not fit the mode, and why."""
    mode, strategy, existing = request.mode, request.strategy, request.on_existing
    if mode is Mode.REGISTER and strategy not in ("auto", "harvester"):
        yield (
            "strategy",
            f"{strategy!r} does not fit mode 'register', whose disks are there already."
            " Leave it out, or use 'harvester', which registers the backup itself.",
        )
    if strategy == "harvester":
        yield from _misfits_of_harvester(request)
    if mode is Mode.EMERGENCY and strategy not in ("auto", "longhorn", "mount"):
        yield (
            "strategy",
            f"{strategy!r} does not fit mode 'emergency', whose disks have one replica each, or are"
            " images that are read where they lie. Use 'auto', 'longhorn' or 'mount', or mode"
            " 'standard'.",
        )
    if mode in (Mode.STANDARD, Mode.MIGRATE) and strategy == "mount":
        yield (
            "strategy",
            f"'mount' does not fit mode {mode.value!r}: what a machine writes over images that are"
            " only read is lost when it stops. Use mode 'emergency', or strategy 'auto'.",
        )
    if mode is Mode.EMERGENCY and existing is OnExisting.UPDATE:
        yield (
            "onExisting",
            "'update' does not fit mode 'emergency', which makes machines of its own."
            " Use 'fail', 'skip' or 'recreate'.",
        )
    yield from _misfits_of_copying(request)
    if mode is not Mode.EMERGENCY and request.keep_for != DAY:
        yield (
            "keepFor",
            f"belongs to mode 'emergency'; what mode {mode.value!r} makes stays. Leave it out.",
        )


def _misfits_of_copying(request: RestoreRequest) -> Iterator[tuple[str, str]]:
    if request.mode is Mode.MIGRATE and request.to is None:
        yield (
            "to",
            "is missing: mode 'migrate' copies what it restores to that place first. Name one as"
            " s3://BUCKET/[PREFIX/], or use mode 'standard'.",
        )
    if request.mode is not Mode.MIGRATE and request.to is not None:
        said = f"mode {request.mode.value!r} copies nothing"
        yield "to", f"belongs to mode 'migrate'; {said}. Leave it out."


def _misfits_of_harvester(request: RestoreRequest) -> Iterator[tuple[str, str]]:
    """It makes what the backup says, and a backup that is registered stays what it is."""
    plain, mapping = Mapping(), request.mapping
    kept = (
        {"namespaces", "names", "mac"} if request.mode in (Mode.STANDARD, Mode.MIGRATE) else set()
    )
    for name in sorted(Mapping.model_fields.keys() - kept):
        if getattr(mapping, name) != getattr(plain, name):
            yield (
                f"mapping.{to_camel(name)}",
                "does not fit strategy 'harvester', which makes what the backup says"
                f"{', under other names at most' if kept else ''}. Leave it out, or use strategy"
                " 'auto'.",
            )
    if mapping.mac is Mac.DERIVE:
        yield (
            "mapping.mac",
            "'derive' does not fit strategy 'harvester'. Use 'clear' or 'keep', or strategy"
            " 'auto'.",
        )
    if request.on_existing is OnExisting.UPDATE:
        yield (
            "onExisting",
            "'update' does not fit strategy 'harvester', which makes whole machines."
            " Use 'fail', 'skip' or 'recreate'.",
        )
