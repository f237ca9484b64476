"""The fields of a kind, as an API server's OpenAPI document declares them.

Not here: what becomes of a machine's other fields (test_pruning).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Unreachable
from shared.kube import schema
from shared.kube.schema import fields_of
from tests.unit.scripted_server import Answer, Client, scripted, status

Json = Any

GVK = [{"group": "kubevirt.io", "version": "v1", "kind": "VirtualMachine"}]
TEXT = {"type": "string"}


def a_document(spec: Json, **others: Json) -> dict[str, Json]:
    """One whose VirtualMachine has this spec; OTHERS are schemas beside it."""
    machine = {
        "type": "object",
        "properties": {"spec": spec},
        "x-kubernetes-group-version-kind": GVK,
    }
    listed = {"x-kubernetes-group-version-kind": [{**GVK[0], "kind": "VirtualMachineList"}]}
    return {"components": {"schemas": {"List": listed, "Machine": machine, **others}}}


def an_object(**properties: Json) -> dict[str, Json]:
    return {"type": "object", "properties": properties}


def refer(name: str) -> dict[str, Json]:
    return {"$ref": f"#/components/schemas/{name}"}


def spec_of(spec: Json, **others: Json) -> Json:
    found = fields_of(a_document(spec, **others), "VirtualMachine")
    assert found
    return found["spec"]


LIST_OF_DISKS = {"type": "array", "items": an_object(name=TEXT, lun=an_object(bus=TEXT))}
FREE = {"x-kubernetes-preserve-unknown-fields": True}
WITH_REFERENCE = {"description": "x", "default": {}, "allOf": [refer("Disk")]}
SPECS: list[tuple[Json, Json]] = [
    (an_object(a=TEXT, b=an_object(c=TEXT)), {"a": "*", "b": {"c": "*"}}),
    (an_object(disks=LIST_OF_DISKS), {"disks": {"name": "*", "lun": {"bus": "*"}}}),
    (an_object(names={"type": "array", "items": TEXT}), {"names": "*"}),
    (an_object(labels={"type": "object", "additionalProperties": TEXT}), {"labels": "*"}),
    (an_object(labels={"type": "object", "additionalProperties": {}}), {"labels": "*"}),
    (an_object(a={**an_object(b=TEXT), "additionalProperties": False}), {"a": {"b": "*"}}),
    (an_object(meta={"type": "object", **FREE}), {"meta": "*"}),
    (an_object(meta={**an_object(name=TEXT), **FREE}), {"meta": "*"}),
    (an_object(rng={"type": "object"}), {"rng": "*"}),
    (an_object(disk=refer("Disk")), {"disk": {"bus": "*"}}),
    (an_object(disk=WITH_REFERENCE), {"disk": {"bus": "*"}}),
    (an_object(a=refer("Absent")), {"a": "*"}),
    (an_object(a={"allOf": [{"required": ["b"]}], **an_object(b=TEXT)}), {"a": {"b": "*"}}),
    (an_object(a=5, b=None, c=["x"]), {"a": "*", "b": "*", "c": "*"}),
    ({"properties": 5}, "*"),
    ({"allOf": 5}, "*"),
    (5, "*"),
]


@pytest.mark.parametrize(("spec", "expected"), SPECS)
def test_a_schema_becomes_a_tree_of_its_fields(spec: Json, expected: Json) -> None:
    assert spec_of(spec, Disk=an_object(bus=TEXT)) == expected


def test_a_schema_that_refers_to_itself_ends() -> None:
    node = an_object(name=TEXT, child=refer("Node"), children={"items": refer("Node")})
    assert spec_of(refer("Node"), Node=node) == {"name": "*", "child": "*", "children": "*"}


def test_a_tree_of_references_is_read_once_and_a_long_chain_only_as_deep_as_a_manifest() -> None:
    doubling = {f"S{n}": an_object(a=refer(f"S{n + 1}"), b=refer(f"S{n + 1}")) for n in range(500)}
    found, depth = spec_of(refer("S0"), **doubling), 0
    while isinstance(found, dict):
        found, depth = found["a"], depth + 1
    assert 20 < depth < 70


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"components": 5},
        {"components": {"schemas": []}},
        {"components": {"schemas": {"Machine": 5}}},
        {"components": {"schemas": {"Machine": {"x-kubernetes-group-version-kind": 5}}}},
        {"components": {"schemas": {"Machine": {"x-kubernetes-group-version-kind": GVK}}}},
        {"components": {"schemas": {"Machine": {"x-kubernetes-group-version-kind": [5]}}}},
    ],
)
def test_a_document_without_the_kind_tells_nothing(document: dict[str, Json]) -> None:
    assert fields_of(document, "VirtualMachine") is None


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with scripted(tmp_path) as client:
        yield client


def test_the_document_of_the_kinds_group_is_asked_for(client: Client) -> None:
    document = a_document(an_object(running=TEXT))
    target = client.target(Answer(200, document))
    assert schema.declared(target, "VirtualMachine") == {"spec": {"running": "*"}}
    method, path, headers, _ = client.script.requests[0]
    assert (method, path) == ("GET", "/openapi/v3/apis/kubevirt.io/v1")
    assert headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    "answer", [status(404, "NotFound"), Answer(404, "404 page not found"), Answer(200, b"")]
)
def test_a_cluster_that_has_no_document_leaves_the_fields_unknown(
    client: Client, answer: Answer
) -> None:
    assert schema.declared(client.target(answer), "VirtualMachine") is None


def test_credentials_that_may_not_read_it_leave_the_fields_unknown(client: Client) -> None:
    answer = status(403, "Forbidden")
    assert schema.declared(client.target(answer), "VirtualMachine") is None


def test_a_document_that_is_no_json_is_the_clusters_fault(client: Client) -> None:
    with pytest.raises(Unreachable, match="VirtualMachine schema on cluster"):
        schema.declared(client.target(Answer(200, "<html>")), "VirtualMachine")
