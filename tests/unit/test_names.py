"""What restored objects are called, and which namespaces are the target's own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.samples.builders import RESTORE_ID
from shared.models.base import DNS_NAME
from shared.restore import names


@pytest.mark.parametrize(
    "namespace",
    [
        "kube-system",
        "kube-public",
        "kubevirt",
        "cdi",
        "cert-manager",
        "istio-system",
        "harvester-public",
        "harvester-system",
        "longhorn-system",
        "cattle-system",
        "cattle-monitoring-system",
        "fleet-local",
        "cluster-fleet-local-local-1a3d67d0a899",
        "rancher-turtles",
        "traefik",
        "calico-apiserver",
        "tigera-operator",
        "gpu-operator",
        "operators",
        "metallb-system",
        "replant",
        "local",
    ],
)
def test_namespaces_that_run_the_cluster_are_protected(namespace: str) -> None:
    assert names.protected(namespace)


@pytest.mark.parametrize(
    "namespace", ["default", "prod", "kubernetes-lab", "systems", "operator", "my-cdi", "payments"]
)
def test_namespaces_of_people_are_not(namespace: str) -> None:
    assert not names.protected(namespace)


def test_a_secret_is_named_after_the_source_and_the_restore() -> None:
    assert names.secret(RESTORE_ID, "keys") == "keys-4e65d3fb"
    assert names.secret("r-0000000000000000", "keys") == "keys-00000000"


def test_a_name_is_cut_only_where_the_restore_makes_it_too_long() -> None:
    longest = "k" * (253 - len("-4e65d3fb"))
    assert names.secret(RESTORE_ID, longest) == f"{longest}-4e65d3fb"


dns_names = st.from_regex(DNS_NAME, fullmatch=True).filter(lambda name: len(name) <= 253)
long_names = st.builds(
    lambda head, tail: f"{head}{tail:.>{253 - len(head)}}".replace("..", ".x"),
    st.sampled_from(["a", "web01-keys", "b" * 240]),
    st.text("abc-.0", min_size=1, max_size=14).map(lambda text: f"x{text}x".replace("..", "a.")),
).filter(lambda name: len(name) <= 253 and re.fullmatch(DNS_NAME, name) is not None)


@given(dns_names | long_names, dns_names | long_names)
def test_the_name_of_a_secret_is_one_that_kubernetes_takes_and_its_own(a: str, b: str) -> None:
    made = [names.secret(RESTORE_ID, name) for name in (a, b)]
    for name in made:
        assert len(name) <= 253
        assert re.fullmatch(DNS_NAME, name)
        assert name.endswith("-4e65d3fb")
    assert (made[0] == made[1]) == (a == b)


@pytest.mark.parametrize("end", ["a", ".", "-", "-.", "a.-"])
def test_a_name_that_is_cut_does_not_end_in_what_no_label_ends_in(end: str) -> None:
    cut = 253 - 2 * len("-4e65d3fb") - len(end)
    name = names.secret(RESTORE_ID, "a" * cut + end + "b" * 30)
    assert re.fullmatch(r"a+-[0-9a-f]{8}-4e65d3fb", name)
    assert len(name) <= 253
