"""A question about restore points or about restores -> a page of them, newest first, or an error
that says what is wrong with it.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from shared.aws.table import Table
from shared.catalogue.search import question
from shared.errors import InvalidRequest, NotFound
from shared.observe import logger
from shared.settings import settings
from shared.workflows.searching import answer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def table() -> Table:
    return Table(boto3.client("dynamodb"), settings().catalogue_table)


@logger.inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    try:
        return answer(table(), question(event))
    except (InvalidRequest, NotFound) as error:
        return {"error": error.as_dict()}
