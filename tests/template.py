"""template.yaml as plain data, and how its tests walk it."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from local.build.template import load

Json = Any

ROOT = Path(__file__).parents[1]
TEMPLATE = load(ROOT / "template.yaml")


def of_type(kind: str) -> dict[str, Json]:
    return {
        name: each["Properties"]
        for name, each in TEMPLATE["Resources"].items()
        if each["Type"] == kind
    }


def mappings(value: Json) -> Iterator[dict[str, Json]]:
    """Every mapping of a document, whatever tags and conditions surround it."""
    if isinstance(value, dict):
        yield value
    for each in children(value):
        yield from mappings(each)


def children(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list):
        return value
    return ()


def resource_of(attribute: Json) -> str:
    """The resource that a Fn::GetAtt names."""
    return str(attribute["Fn::GetAtt"][0])


def listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def allowed(value: Json = TEMPLATE) -> list[dict[str, Json]]:
    return [
        each
        for each in mappings(value)
        if each.get("Effect") == "Allow" and "Principal" not in each
    ]


def source(function: str) -> ast.Module:
    """The module of a function's handler."""
    handler = of_type("AWS::Serverless::Function")[function]["Handler"]
    module = handler.removesuffix(".handler").replace(".", "/")
    return ast.parse((ROOT / f"{module}.py").read_text())
