"""Where objects lie on an API server, and how its refusals are told."""

import pytest
from kubernetes.client import ApiException

from local.api import path, said


@pytest.mark.parametrize(
    ("expected", "place"),
    [
        ("/api/v1", ("v1", "")),
        ("/api/v1/namespaces", ("v1", "namespaces")),
        ("/api/v1/namespaces/shop/secrets", ("v1", "secrets", "shop")),
        ("/apis/kubevirt.io/v1/virtualmachines", ("kubevirt.io/v1", "virtualmachines")),
        ("/apis/kubevirt.io/v1/namespaces/shop/x/a%20b", ("kubevirt.io/v1", "x", "shop", "a b")),
    ],
)
def test_the_path_of_a_collection_or_an_object(expected: str, place: tuple[str, ...]) -> None:
    assert path(*place) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"kind": "Status", "message": "pods \\"x\\" not found"}', '404: pods "x" not found'),
        ("404 page not found", "404: 404 page not found"),
        ("[]", "404: []"),
        (None, "404: Not Found"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(body: str | None, expected: str) -> None:
    error = ApiException(status=404, reason="Not Found", body=body)
    assert said(error) == expected
