"""Our own files in the state bucket: plans below work/, forgotten after a month, and reports, which
stay.

A plan is kept in parts, so that a run that only looks after machines reads none of their objects,
and one that creates them holds a few at a time, however many there are.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter

from shared.errors import NotFound
from shared.models.restore_plans import MachinePlan, Plan

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 50  # machines; some hundred KB

Form = Literal["json", "html", "txt"]
CONTENT_TYPES: dict[Form, str] = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}


class StateBucket:
    """LEDGER is the id of a restore's ledger; of the plans that it had, PLAN_HASH names one."""

    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def save_plan(self, ledger: str, plan: Plan) -> None:
        """The outline last: where it is, all of the plan is."""
        for number, start in enumerate(range(0, len(plan.machines), PART)):
            part = _machines().dump_json(plan.machines[start : start + PART])
            self._put(_key(ledger, plan.hash, f"machines-{number:04}"), part)
        outline = plan.outline().model_dump_json()
        self._put(_key(ledger, plan.hash, "outline"), outline.encode())

    def outline(self, ledger: str, plan_hash: str) -> Plan:
        """The plan without objects. Raises NotFound."""
        return Plan.model_validate_json(self._get(_key(ledger, plan_hash, "outline")))

    def machines(
        self, ledger: str, plan: Plan, wanted: Iterable[str] | None = None
    ) -> Iterator[MachinePlan]:
        """The machines with their objects, or those of the keys WANTED, in the plan's order.

        Raises NotFound.
        """
        keys = [each.key for each in plan.machines]
        chosen = set(keys) if wanted is None else set(wanted)
        for number, start in enumerate(range(0, len(keys), PART)):
            if chosen.isdisjoint(keys[start : start + PART]):
                continue
            body = self._get(_key(ledger, plan.hash, f"machines-{number:04}"))
            yield from (each for each in _machines().validate_json(body) if each.key in chosen)

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


def _key(ledger: str, plan_hash: str, part: str) -> str:
    return f"work/{ledger}/{plan_hash.removeprefix('sha256:')[:16]}/{part}.json"


def _report_key(name: str, form: Form) -> str:
    return f"reports/{name}.{form}"


@cache
def _machines() -> TypeAdapter[tuple[MachinePlan, ...]]:
    return TypeAdapter(tuple[MachinePlan, ...])
