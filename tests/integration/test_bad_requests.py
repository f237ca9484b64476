"""Questions and restores that cannot be answered: each error names thing, value and remedy.

Aspects: the search answer's error, the execution's error and cause, which error comes first,
running twice, resuming.
Not aspects: the target cluster's faults (test_bad_targets), objects that cannot be read
(test_bad_objects).
"""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from local.api import Api
from local.samples.world import a_vm_backup
from local.stack import Ended, Stack, wait
from tests.integration.lab_objects import faults

VM = {"vm": "ask/web", "cluster": "east"}
NETWORKS = {"networks": {"*": "default/vlan200"}}
GOOD: dict[str, Any] = {"select": VM, "target": "west", "mapping": NETWORKS}
NOWHERE = {"id": "nowhere", "secret": "replant/clusters/nowhere"}
ELSEWHERE = base64.urlsafe_b64encode(b"an answer of somebody else").decode()


@pytest.fixture(scope="module")
def backups(stack: Stack) -> dict[str, Any]:
    """A machine that can be restored, one that cannot, and one of two clusters."""
    stack.document(
        "clusters/nowhere.yaml", "\n".join(f"{key}: {value}" for key, value in NOWHERE.items())
    )
    stack.document(
        "targets/ask-west.yaml",
        f"id: ask-west\nurl: s3://{stack.bucket}/ask-west/\ncluster: west\n",
    )
    stack.put(a_vm_backup("web", "ask", "web"))
    stack.put(a_vm_backup("half", "ask", "half").metadata)
    both = list(a_vm_backup("both", "ask", "both"))
    stack.put([*both, *((f"ask-west/{key}", body) for key, body in both)])
    wait(lambda: stack.newest("ask/half"), seconds=60, what="the point of ask/half")
    wait(
        lambda: len(points(stack, vm="ask/both", state="restorable")) == 2,
        seconds=60,
        what="both of ask/both",
    )
    return wait(
        lambda: stack.newest("ask/web", "restorable"),
        seconds=60,
        what="a restorable point of ask/web",
    )


@pytest.fixture
def west(stack: Stack) -> Iterator[Api]:
    """Its machines of the namespace `stuck` never become ready, until a test says otherwise."""
    api = stack.cluster("west")
    api.apply(faults(neverReady="stuck/*"))
    yield api
    api.apply(faults())


def points(stack: Stack, **question: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.search(**question)["restorePoints"]
    return found


def failed(ended: Ended, error: str, field: str | None, *words: str) -> None:
    """It did not begin, and its cause is the contract's."""
    assert (ended.status, ended.error) == ("FAILED", error), ended
    assert ended.cause.keys() == {"code", "message", "field"}
    assert (ended.cause["code"], ended.cause["field"]) == (error, field), ended.cause
    assert not [word for word in words if word not in ended.cause["message"]], ended.cause


@pytest.mark.parametrize(
    ("question", "field", "words"),
    [
        ({"clustre": "east"}, "clustre", ["'clustre'", "Did you mean 'cluster'?"]),
        ({"xyz": "mint"}, "xyz", ["'xyz'", "Known here: after, as, asOf, before, cluster"]),
        ({"label": "tier"}, "label", ["label", "key=value such as tier=data", "'tier'"]),
        ({"before": "yesterday"}, "before", ["before", "an instant such as", "'yesterday'"]),
        ({"as": "html"}, "as", ["as", "'table'", "'html'"]),
        ({"asOf": "yesterday"}, "asOf", ["asOf", "an instant such as", "'yesterday'"]),
        ({"object": "web01.cfg"}, "object", ["s3://BUCKET/KEY", "'web01.cfg'"]),
        ({"fingerprint": "sha256:1"}, "fingerprint", ["64 digits", "'sha256:1'"]),
        ({"summary": True, "latest": True}, "summary", ["vm, namespace, cluster", "latest"]),
        ({"limit": 0}, "limit", ["limit", "at least 1", "it is 0"]),
        ({"limit": 1001}, "limit", ["limit", "at most 1000", "it is 1001"]),
        ({"limit": "many"}, "limit", ["limit", "whole number", "'many'"]),
        ({"vm": "web01"}, "vm", ["vm", "/", "'web01'"]),
        ({"vm": 7}, "vm", ["vm", "string", "7"]),
        ({"cluster": "East"}, "cluster", ["cluster", "a-z, 0-9 and -", "'East'"]),
        ({"state": "broken"}, "state", ["state", "'restorable', 'incomplete'", "'broken'"]),
        ({"quarantine": True, "vm": "ask/web"}, "quarantine", ["limit and cursor only"]),
        ({"cursor": "!!"}, "cursor", ["cursor", "without it"]),
        ({"cursor": ELSEWHERE}, "cursor", ["cursor", "without it"]),
        ({"quarantine": True, "cursor": ELSEWHERE}, "cursor", ["cursor", "without it"]),
    ],
)
def test_a_bad_question_is_answered_with_the_key_the_value_and_the_remedy(
    stack: Stack, question: dict[str, Any], field: str | None, words: list[str]
) -> None:
    answer = stack.search(**question)
    assert answer.keys() == {"error"}
    assert (answer["error"]["code"], answer["error"]["field"]) == ("InvalidRequest", field), answer
    assert not [word for word in words if word not in answer["error"]["message"]], answer


def test_a_cursor_of_another_list_is_refused(stack: Stack, backups: dict[str, Any]) -> None:
    stack.put([("ask/one.cfg", b"{}"), ("ask/two.cfg", b"{}")])
    page = wait(
        lambda: (found := stack.search(quarantine=True, limit=1))["cursor"] and found,
        seconds=30,
        what="two bad objects",
    )
    assert stack.search(cursor=page["cursor"])["error"]["field"] == "cursor"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"targett": "west"}, "targett", ["'targett'", "Did you mean 'target'?"]),
        ({"target": ..., "targget": "west"}, "targget", ["'targget'", "Did you mean 'target'?"]),
        (
            {"mapping": {"networkz": {}}},
            "mapping.networkz",
            ["'mapping.networkz'", "Did you mean 'networks'?"],
        ),
        ({"mode": "migrate"}, "to", ["to: is missing", "s3://BUCKET/[PREFIX/]"]),
        ({"to": "s3://elsewhere/"}, "to", ["belongs to mode 'migrate'"]),
        (
            {"mode": "emergency", "strategy": "csi"},
            "strategy",
            [
                "strategy",
                "'csi' does not fit mode 'emergency'",
                "Use 'auto', 'longhorn' or 'mount'",
            ],
        ),
        (
            {"keepFor": "PT1H"},
            "keepFor",
            ["keepFor", "belongs to mode 'emergency'", "Leave it out"],
        ),
        (
            {"strategy": "import"},
            "strategy",
            ["strategy", "'import'", "Use 'auto', 'csi', 'longhorn' or 'harvester'."],
        ),
        (
            {"strategy": "mount"},
            "strategy",
            ["strategy", "'mount' does not fit mode 'standard'", "Use mode 'emergency'"],
        ),
        (
            {"mapping": {"patches": [{"match": {"kind": "Pod"}, "patch": []}]}},
            "mapping.patches.0.match.kind",
            ["mapping.patches.0.match.kind", "'VirtualMachine'", "'Pod'"],
        ),
        (
            {"mapping": {"names": {"suffix": "-DR"}}},
            "mapping.names.suffix",
            ["mapping.names.suffix", "a-z", "'-DR'"],
        ),
        (
            {"mapping": {"networks": {"vlan100": "a/b"}}},
            "mapping.networks.vlan100",
            ["vlan100", "/"],
        ),
        (
            {"mapping": {"mac": "random"}},
            "mapping.mac",
            ["mapping.mac", "'clear', 'keep', 'derive'", "'random'"],
        ),
        (
            {"onExisting": "overwrite"},
            "onExisting",
            ["onExisting", "'fail', 'skip', 'update', 'recreate'", "'overwrite'"],
        ),
        (
            {"approve": "required", "approvalTimeout": "P8D"},
            "approvalTimeout",
            ["approvalTimeout", "between PT1S and P7D", "'P8D'"],
        ),
        (
            {"select": {"plan": "payments", "cluster": "east"}},
            "select",
            ["must leave out cluster: the plan says it"],
        ),
        (
            {"select": {"labels": {"tier": "d b"}}},
            "select.labels.tier",
            ["select.labels.tier", "a label's value", "'d b'"],
        ),
        ({"select": {}}, "select", ["one of id, ids, vm, namespace, labels, plan, or cluster"]),
        ({"select": {"id": "a", "vm": "ask/web"}}, "select", ["one of id, vm, not several"]),
        (
            {"select": VM | {"at": "yesterday"}},
            "select.at",
            ["latest", "2026-08-15T01:00:00Z", "'yesterday'"],
        ),
        ({"ready": {"timeout": "5m"}}, "ready.timeout", ["ready.timeout", "PT30M", "'5m'"]),
        (
            {"ready": {"timeout": "P30D"}},
            "ready.timeout",
            ["ready.timeout", "between PT1S and P1D", "'P30D'"],
        ),
        (
            {"concurrency": 0},
            "concurrency",
            ["concurrency", "at least 1", "it is 0"],
        ),
        ({"target": "West!"}, "target", ["target", "a-z, 0-9 and -", "'West!'"]),
        ({"target": None}, "target", ["target", "string"]),
    ],
)
def test_a_bad_request_fails_with_the_key_the_value_and_the_remedy(
    stack: Stack, change: dict[str, Any], field: str, words: list[str]
) -> None:
    asked = {key: value for key, value in (GOOD | change).items() if value is not ...}
    failed(stack.restore(asked), "InvalidRequest", field, *words)


@pytest.mark.parametrize(
    ("body", "what"), [([GOOD], "a list"), ("west", "a string"), (None, "null"), (5, "a number")]
)
def test_a_request_that_is_no_object_is_told_so(stack: Stack, body: Any, what: str) -> None:
    failed(stack.restore(body), "InvalidRequest", None, what, "must be an object")


@pytest.mark.parametrize("key", ["select", "target"])
def test_a_request_without_a_needed_key_names_it(stack: Stack, key: str) -> None:
    failed(
        stack.restore({k: v for k, v in GOOD.items() if k != key}),
        "InvalidRequest",
        key,
        key,
        "is missing",
    )


def test_an_unknown_cluster_is_not_found_and_the_document_to_write_is_named(
    stack: Stack, backups: dict[str, Any]
) -> None:
    ended = stack.restore(GOOD | {"target": "mars"})
    failed(ended, "NotFound", "target", "'mars'", "clusters/mars.yaml", "state bucket")


def test_a_cluster_without_its_secret_is_not_found_and_says_how_to_make_one(
    stack: Stack, backups: dict[str, Any]
) -> None:
    ended = stack.restore(GOOD | {"target": "nowhere"})
    failed(
        ended,
        "NotFound",
        "target",
        "nowhere",
        NOWHERE["secret"],
        "python -m shared.commands.access",
    )


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ({"id": "0" * 32}, ["0" * 32, "SearchFunction"]),
        ({"ids": ["0" * 32]}, ["0" * 32, "SearchFunction"]),
        ({"vm": "ask/nobody"}, ["machine ask/nobody", "SearchFunction"]),
        (
            {"vm": "ask/web", "cluster": "west"},
            ["machine ask/web of cluster west", "SearchFunction"],
        ),
        (
            {"namespace": "empty", "cluster": "east"},
            ["namespace empty of cluster east", "SearchFunction"],
        ),
        ({"vm": "ask/half"}, ["ask/half", "half", "incomplete", "has not been seen in the bucket"]),
        (
            {"vm": "ask/web", "at": "2020-01-01T00:00:00Z"},
            ["ask/web", "2020-01-01T00:00:00Z", "the oldest is web of"],
        ),
    ],
)
def test_what_cannot_be_found_is_named_with_the_reason(
    stack: Stack, backups: dict[str, Any], select: dict[str, Any], words: list[str]
) -> None:
    failed(stack.restore(GOOD | {"select": select}), "NotFound", "select", *words)


def test_a_machine_of_two_clusters_asks_which(stack: Stack, backups: dict[str, Any]) -> None:
    ended = stack.restore(GOOD | {"select": {"vm": "ask/both"}})
    failed(ended, "InvalidRequest", "select.cluster", "ask/both", "east, west", "Name one")


def test_two_machines_that_would_become_one_are_named_with_their_points(
    stack: Stack, backups: dict[str, Any]
) -> None:
    ids = [each["id"] for each in points(stack, vm="ask/both", state="restorable")]
    failed(
        stack.restore(GOOD | {"select": {"ids": ids}}),
        "InvalidRequest",
        "select",
        *ids,
        "ask/both",
        "map",
    )


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"target": "mars", "colour": "red"}, "InvalidRequest", "colour"),
        ({"target": "mars", "select": {"vm": "ask/both"}}, "InvalidRequest", "select.cluster"),
        ({"target": "mars", "requestId": "ask-first"}, "InvalidRequest", "requestId"),
        ({"select": {"vm": "ask/nobody"}, "requestId": "ask-first"}, "InvalidRequest", "requestId"),
        ({"target": "nowhere", "select": {"vm": "ask/nobody"}}, "NotFound", "select"),
    ],
)
def test_of_several_errors_the_first_of_the_contract_is_told(
    stack: Stack, backups: dict[str, Any], change: dict[str, Any], error: str, field: str
) -> None:
    mapping = NETWORKS | {"namespaces": {"ask": "first"}}
    first = stack.restore(GOOD | {"requestId": "ask-first", "mapping": mapping})
    assert first.output["state"] == "succeeded"
    failed(stack.restore(GOOD | change), error, field)


def test_a_restore_is_refused_while_the_first_of_its_id_runs(
    stack: Stack, backups: dict[str, Any], west: Api
) -> None:
    request = GOOD | {
        "requestId": "ask-busy",
        "mapping": NETWORKS | {"namespaces": {"ask": "stuck"}},
    }
    running = stack.start(request)
    wait(lambda: west.answers(MACHINE), seconds=60, what="the machine of the first restore")
    failed(stack.restore(request), "Refused", "requestId", running, "Wait for it, or stop it")
    west.apply(faults())
    assert stack.finish(running).output["counts"] == {"ready": 1}


MACHINE = "/apis/kubevirt.io/v1/namespaces/stuck/virtualmachines/web"


def test_a_restore_that_failed_is_continued_by_the_same_request(
    stack: Stack, backups: dict[str, Any], west: Api
) -> None:
    west.apply(faults(neverReady="again/*"))
    changes = {"ready": {"timeout": "PT5S"}, "requestId": "ask-again"}
    request = GOOD | changes | {"mapping": NETWORKS | {"namespaces": {"ask": "again"}}}
    first = stack.restore(request)
    error = first.output["machines"][0]["error"]
    assert (first.output["state"], error["code"]) == ("failed", "NotReady")
    assert "VirtualMachine again/web is Starting: simulated" in error["message"]
    before = west.call("GET", MACHINE.replace("stuck", "again"))["metadata"]
    west.apply(faults())
    second = stack.restore(request)
    assert (second.output["state"], second.output["restoreId"]) == (
        "succeeded",
        first.output["restoreId"],
    )
    after = west.call("GET", MACHINE.replace("stuck", "again"))["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
