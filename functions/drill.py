"""A drill of a recovery plan, one step a call: begin, advance its waves, delete what it made,
report. Also of a drill whose own execution is gone.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.failover.drill import drill_request
from shared.observe import logger
from shared.runs.files import StateBucket
from shared.settings import settings
from shared.workflows.failover import cleaning, conducting, drilling, reporting
from shared.workflows.failover.steps import Clients

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def clients() -> Clients:
    """Made once a sandbox."""
    return Clients(
        table=Table(boto3.client("dynamodb"), settings().catalogue_table),
        state=StateBucket(boto3.client("s3"), settings().state_bucket),
        sns=boto3.client("sns"),
        states=boto3.client("stepfunctions"),
        topic=settings().notification_topic,
        restores=settings().restore_state_machine,
        rollbacks=settings().rollback_state_machine,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    if event["step"] == "begin":
        return begin(event)
    logger.info("step", extra={"drill": event["failoverId"], "step": event["step"]})
    call = (clients(), event["failoverId"], event["attempt"])
    match event["step"]:
        case "advance":
            return conducting.advance(*call)
        case "clean":
            return cleaning.clean(*call)
        case _:
            return reporting.report_failover(*call, event.get("error"))


def begin(event: dict[str, Any]) -> dict[str, Any]:
    asked, execution = event["request"], event["execution"]
    if isinstance(asked, dict) and set(asked) == {"sweep"}:
        return drilling.take_over(clients(), asked["sweep"], execution)
    request = drill_request(asked, execution_name=event["name"])
    return drilling.begin_drill(clients(), request, execution)
