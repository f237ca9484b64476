"""Our own files in the state bucket: plans below work/, forgotten after a month, and reports, which
stay.

A plan is kept in parts: a head with what all of its machines share, the images that come before
them, an outline of each batch of them, and their objects. So a run reads its own batch alone, one
that only looks after machines reads none of their objects, and one that creates them holds a few at
a time.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import TypeAdapter

from shared.aws import uploads
from shared.errors import NotFound
from shared.models.images import FRESH, DiskImages
from shared.models.restore_plans import Check, MachinePlan, Plan

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 50  # machines; some hundred KB
IMAGES = "images.json"
HEAD = -1
"""In place of a batch's number: what belongs to none."""

Form = Literal["json", "html", "txt", "yaml"]
CONTENT_TYPES: dict[Form, str] = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "yaml": "text/plain; charset=utf-8",  # which a browser shows
}


class _Outline(NamedTuple):
    """What a batch has for itself."""

    machines: tuple[MachinePlan, ...]
    checks: tuple[Check, ...]


class StateBucket:
    """LEDGER is the id of a restore's ledger; of the plans that it had, PLAN_HASH names one."""

    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def save_plan(self, ledger: str, plan: Plan) -> None:
        """The head last: where it is, all of the plan is."""
        folder = _folder(ledger, plan.hash)
        apart = _checks_by_batch(plan)
        for number in range(plan.batches):
            batch = plan.batch(number)
            for part, start in enumerate(range(0, len(batch), PART)):
                body = _machines().dump_json(batch[start : start + PART])
                self._put(f"{folder}/{_part(number, part)}", body)
            outline = plan.model_copy(update={"machines": batch, "checks": apart[number]}).outline()
            body = _outlines().dump_json(_Outline(outline.machines, outline.checks))
            self._put(f"{folder}/{_outline(number)}", body)
        if plan.images:
            self._put(f"{folder}/{IMAGES}", _images().dump_json(plan.images))
        shared: dict[str, Any] = {"machines": (), "checks": apart[HEAD], "images": ()}
        head = plan.model_copy(update={**shared, "worst": plan.verdict})
        self._put(f"{folder}/head.json", head.model_dump_json().encode())

    def outline(self, ledger: str, plan_hash: str, batch: int | None = None) -> Plan:
        """The plan without objects, of all of its machines or of one BATCH. Raises NotFound."""
        folder = _folder(ledger, plan_hash)
        head = Plan.model_validate_json(self._get(f"{folder}/head.json"))
        numbers = range(head.batches) if batch is None else [batch]
        outlines = [
            _outlines().validate_json(self._get(f"{folder}/{_outline(number)}"))
            for number in numbers
        ]
        return head.model_copy(
            update={
                "machines": tuple(chain.from_iterable(each.machines for each in outlines)),
                "checks": (*head.checks, *chain.from_iterable(each.checks for each in outlines)),
                "first": (batch or 0) * head.batch_size,
                "worst": None if batch is None else head.worst,
            }
        )

    def machines(
        self, ledger: str, plan: Plan, wanted: Iterable[str] | None = None
    ) -> Iterator[MachinePlan]:
        """The machines with their objects, or those of the keys WANTED, in the plan's order.

        Raises NotFound.
        """
        chosen = {each.key for each in plan.machines} if wanted is None else set(wanted)
        folder = _folder(ledger, plan.hash)
        needed = {
            _part(*_place(plan, number)): None
            for number, each in enumerate(plan.machines, plan.first)
            if each.key in chosen
        }
        for part in needed:
            machines = _machines().validate_json(self._get(f"{folder}/{part}"))
            yield from (each for each in machines if each.key in chosen)

    def images(self, ledger: str, plan_hash: str) -> tuple[DiskImages, ...]:
        """Those of a plan, in its order. Raises NotFound."""
        return _images().validate_json(self._get(f"{_folder(ledger, plan_hash)}/{IMAGES}"))

    def has_image(self, place: str, now: datetime) -> bool:
        """Whether it is there as a whole, and stays: an upload that has not ended is no object."""
        found = uploads.find(self._s3, self._bucket, place)
        return found is not None and found.at > now - FRESH

    def report_address(self, name: str) -> str:
        """Of the JSON."""
        return f"s3://{self._bucket}/{_report_key(name, 'json')}"

    def save_report(self, name: str, report: str, form: Form = "json") -> None:
        """The same report lies in each form under the same NAME."""
        self._put(_report_key(name, form), report.encode(), CONTENT_TYPES[form])

    def _get(self, key: str) -> bytes:
        try:
            found = self._s3.get_object(Bucket=self._bucket, Key=key)
        except self._s3.exceptions.NoSuchKey:
            raise NotFound(
                f"s3://{self._bucket}/{key}, a part of the restore's plan, is gone: plans are kept"
                " for a month. Start a new restore with another requestId."
            ) from None
        with found["Body"] as body:
            return body.read()

    def _put(self, key: str, body: bytes, content_type: str = CONTENT_TYPES["json"]) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)


def _folder(ledger: str, plan_hash: str) -> str:
    return f"work/{ledger}/{plan_hash.removeprefix('sha256:')[:16]}"


def _outline(batch: int) -> str:
    return f"batch-{batch:05}.json"


def _part(batch: int, part: int) -> str:
    return f"batch-{batch:05}-machines-{part:04}.json"


def _place(plan: Plan, number: int) -> tuple[int, int]:
    """The batch, and in it the part, of the NUMBER-th machine of all."""
    batch, within = divmod(number, plan.batch_size)
    return batch, within // PART


def _checks_by_batch(plan: Plan) -> dict[int, tuple[Check, ...]]:
    """The checks of each batch's machines; those of no machine by HEAD."""
    batches = {each.key: number // plan.batch_size for number, each in enumerate(plan.machines)}
    apart: dict[int, list[Check]] = {number: [] for number in (HEAD, *range(plan.batches))}
    for check in plan.checks:
        apart[batches.get(check.subject, HEAD)].append(check)
    return {number: tuple(checks) for number, checks in apart.items()}


def _report_key(name: str, form: Form) -> str:
    return f"reports/{name}.{form}"


@cache
def _images() -> TypeAdapter[tuple[DiskImages, ...]]:
    return TypeAdapter(tuple[DiskImages, ...])


@cache
def _machines() -> TypeAdapter[tuple[MachinePlan, ...]]:
    return TypeAdapter(tuple[MachinePlan, ...])


@cache
def _outlines() -> TypeAdapter[_Outline]:
    return TypeAdapter(_Outline)
