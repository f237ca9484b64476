"""The events and requests of `events/`, and the functions that take them."""

import json
from typing import Any

from local.stack import Stack
from tests.template import ROOT

FOLDER = ROOT / "events"
MINE = "my-backups"


def example(name: str, bucket: str = MINE) -> Any:
    return json.loads((FOLDER / name).read_text().replace(MINE, bucket))


def invoke(stack: Stack, function: str, event: Any) -> Any:
    functions = stack.client("lambda")
    names = [each["FunctionName"] for each in functions.list_functions()["Functions"]]
    name = next(name for name in names if name.startswith(f"replant-{function}-"))
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())
