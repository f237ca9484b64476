"""Functions of ours that are called without waiting for their answer."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3


def begins(function: str) -> Callable[[Mapping[str, Any]], None]:
    """Its client is made when it is called: most who may call it never do."""

    def begin(event: Mapping[str, Any]) -> None:
        payload = json.dumps(event).encode()
        client = boto3.client("lambda")
        client.invoke(FunctionName=function, InvocationType="Event", Payload=payload)

    return begin
