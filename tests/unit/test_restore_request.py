"""What a user may type to start a restore, what it means, and what the answer to anything else
says.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequest
from shared.models.mapping import Mac
from shared.models.restore_plans import Condition
from shared.restore.request import LACKING, OnExisting, RestoreRequest, restore_request

Json = Any

LEAST = {"select": {"id": "point-1"}, "target": "west"}
WRITTEN_OUT = {
    **LEAST,
    "mode": "standard",
    "strategy": "auto",
    "mapping": {
        "namespaces": {},
        "storageClasses": {},
        "networks": {},
        "mac": "clear",
        "addresses": [],
        "names": {},
    }
    | {"resources": {"cpuPercent": 100, "memoryPercent": 100}, "patches": []},
    "onExisting": "fail",
    "start": True,
    "ready": {"condition": "vm", "timeout": "PT1H"},
    "dryRun": False,
    "approve": "none",
    "approvalTimeout": "PT15M",
    "concurrency": 16,
    "requestId": "run-1",
}
LONG = "dont-quote-me" * 20


def parsed(**changes: Json) -> RestoreRequest:
    return restore_request({**LEAST, **changes}, execution_name="run-1")


def refusal(body: Json) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        restore_request(body, execution_name="run-1")
    return caught.value


def nested(path: str, value: Json) -> dict[str, Json]:
    """The least request with VALUE at a dotted path."""
    first, _, rest = path.partition(".")
    return {**LEAST, first: {rest: value} if rest else value}


def test_only_select_and_target_are_required_and_the_rest_is_as_the_contract_shows() -> None:
    request = parsed()
    assert (request.on_existing, request.start, request.dry_run) == (OnExisting.FAIL, True, False)
    assert (request.ready.condition, request.ready.timeout) == (Condition.VM, timedelta(hours=1))
    assert (request.mapping.mac, request.concurrency, request.request_id) == (
        Mac.CLEAR,
        16,
        "run-1",
    )
    assert request == restore_request(WRITTEN_OUT, execution_name="another")


@pytest.mark.parametrize("missing", ["select", "target"])
def test_what_is_required_and_missing_is_named(missing: str) -> None:
    error = refusal({key: value for key, value in LEAST.items() if key != missing})
    assert (error.field, missing in error.message) == (missing, True)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("dryrun", "'dryRun'"),
        ("maping", "'mapping'"),
        ("onexisting", "'onExisting'"),
        ("requestID", "'requestId'"),
        ("stratgy", "'strategy'"),
        ("select.label", "'labels'"),
        ("select.zzz", "Known here: at, cluster, failover, id, ids, labels, namespace, plan"),
        ("mapping.storageClass", "'storageClasses'"),
        ("mapping.network", "'networks'"),
        ("ready.timeOut", "'timeout'"),
        ("ready.zzz", "Known here: condition, timeout."),
    ],
)
def test_an_unknown_key_is_named_with_its_path_and_the_likely_one(path: str, hint: str) -> None:
    error = refusal(nested(path, {}))
    assert error.field == path
    assert repr(path) in error.message
    assert hint in error.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("select.verified", value) for value in ("presence", "full")),
    ],
)
def test_what_the_contract_has_and_this_version_has_not_is_refused_by_key_and_value(
    path: str, value: Json
) -> None:
    error = refusal(nested(path, value))
    what = repr(value) if isinstance(value, str) else "this value"
    assert error.field == path
    assert error.message.startswith(f"{path}: {what} is not supported in this version. ")


@pytest.mark.parametrize(
    ("path", "value", "remedy"),
    [
        ("onExisting", "overwrite", "it is 'overwrite'."),
        ("mode", "migrate", "or use mode 'standard'."),
        ("to", "s3://elsewhere/", "Leave it out."),
        ("to", "elsewhere", "it is 'elsewhere'."),
    ],
)
def test_what_is_not_supported_is_answered_with_what_is(
    path: str, value: Json, remedy: str
) -> None:
    assert refusal(nested(path, value)).message.endswith(remedy)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((path, each) for path, harmless in LACKING.items() for each in harmless),
        ("mapping.resources", {"cpuPercent": 100}),
        ("mapping.names", {"suffix": ""}),
        ("mapping.names", {}),
        ("mapping", {}),
        ("ready", {}),
    ],
)
def test_what_changes_nothing_may_be_written_out(path: str, value: Json) -> None:
    select = {"vm": "default/web01"} if path.startswith("select.") else LEAST["select"]
    body = nested(path, value)
    body["select"] = select | body["select"] if path.startswith("select.") else select
    assert restore_request(body, execution_name="run-1") == parsed(select=select)


def test_who_asks_is_kept_and_changes_nothing_that_is_done() -> None:
    assert parsed(by="Ana (on call)").by == "Ana (on call)"
    assert parsed(by="Ana").digest == parsed(by="Ben").digest == parsed().digest
    for by in ("", "x" * 201, "a\nb", 5):
        assert refusal({**LEAST, "by": by}).field == "by"


@pytest.mark.parametrize(
    "select",
    [
        {"id": "p"},
        {"ids": ["p", "q"]},
        {"vm": "default/web01"},
        {"vm": "default/web01", "cluster": "east", "at": "latest"},
        {"namespace": "default", "cluster": "east", "at": "2026-08-15T01:00:00Z"},
        {"labels": {"tier": "data"}},
        {"plan": "payments", "at": "2026-08-15T01:00:00Z"},
        {"labels": {"a.example/tier": "", "b": "c"}, "cluster": "east", "at": "latest"},
        {"cluster": "east"},
        {"cluster": "east", "at": "2026-08-15T01:00:00Z"},
    ],
)
def test_each_form_of_select_is_understood(select: Json) -> None:
    shown = parsed(select=select).select.model_dump(mode="json", exclude_none=True)
    assert shown == {key: value for key, value in select.items() if value != "latest"}


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ({}, "must have one of id, ids, vm, namespace, labels, plan, or cluster for all of it"),
        (
            {"at": "latest"},
            "must have one of id, ids, vm, namespace, labels, plan, or cluster for all",
        ),
        ({"id": "p", "vm": "a/b"}, "must have one of id, vm, not several"),
        ({"id": "p", "cluster": "east"}, "must leave out cluster and at: id"),
        ({"ids": ["p"], "at": "2026-08-15T01:00:00Z"}, "must leave out cluster and at: id"),
        ({"ids": []}, "select.ids"),
        ({"plan": "payments", "cluster": "east"}, "must leave out cluster: the plan says it"),
        ({"plan": "Payments"}, "select.plan: must be an id of a-z, 0-9 and -"),
        ({"labels": {}}, "must have one of id, ids, vm, namespace, labels, plan, or cluster"),
        ({"labels": {"tier": 1}}, "select.labels.tier: must be a string"),
        ({"labels": {"tier": "a b"}}, "select.labels.tier: must be a label's value such as data"),
        ({"labels": {"-": "a"}}, "must be a label such as tier"),
        ({"labels": {"tier": "a"}, "namespace": "b"}, "must have one of namespace, labels, not"),
        ({"ids": ["p", "p"]}, "twice"),
        ({"vm": "web01"}, "select.vm"),
        ({"vm": "a/b", "clustr": "east"}, "Did you mean 'cluster'?"),
        ({"vm": "a/b/c"}, "select.vm"),
        ({"vm": "a/" + "b" * 400}, "select.vm: must have at most 317 characters; it is 'a/bbb"),
        ({"vm": "a" * 64 + "/b"}, "select.vm: must be namespace/name such as default/web01"),
        ({"id": ""}, "select.id: must have 1 or more characters"),
        ({"id": "x" * 254}, "select.id: must have at most 253 characters"),
        ({"ids": ["p", ""]}, "select.ids.1: must have 1 or more characters"),
        ({"namespace": "Default"}, "select.namespace"),
        (
            {"vm": "a/b", "at": "yesterday"},
            "select.at: must be latest, or an instant such as 2026-08-15T01:00:00Z",
        ),
        (
            {"vm": "a/b", "at": "2026-08-15"},
            "select.at: must be latest, or an instant such as 2026-08-15T01:00:00Z",
        ),
        (
            {"vm": "a/b", "at": "0001-01-01T00:00:00+10:00"},
            "select.at: must be latest, or an instant such as 2026-08-15T01:00:00Z",
        ),
        (
            {"vm": "a/b", "at": 1786755600},
            "select.at: must be latest, or an instant such as 2026-08-15T01:00:00Z",
        ),
        ("point-1", "select"),
    ],
)
def test_a_select_that_means_nothing_or_two_things_is_refused(select: Json, said: str) -> None:
    error = refusal({**LEAST, "select": select})
    assert said in error.message
    assert (error.field or "").startswith("select")


def test_an_instant_may_be_in_any_zone_and_latest_is_none() -> None:
    at = parsed(select={"vm": "a/b", "at": "2026-08-15T03:00:00+02:00"}).select.at
    assert at == datetime(2026, 8, 15, 1, tzinfo=UTC)
    assert parsed(select={"vm": "a/b", "at": "latest"}).select.at is None


def nest(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


OPERATION = {"op": "remove", "path": "/spec/template/spec/hostname"}

WRONG: list[tuple[str, list[Json]]] = [
    ("ready.timeout", ["1h", "3600", 3600, "PT0S", "-PT1H", "P2D", "PT", "", None]),
    ("ready.condition", ["network"]),
    ("concurrency", [0, 65, "many", 1.5, None]),
    ("target", ["West", "", "a/b", None, 5]),
    ("requestId", ["", "x" * 257, None, 5]),
    ("dryRun", ["perhaps", "false", "true", 1, None, {}]),
    ("start", ["no", 0, None]),
    ("mapping", [[], None]),
    ("mapping.mac", ["random", None, 1]),
    ("mapping.namespaces", [{"default": "Prod"}, {"a/b": "prod"}]),
    (
        "mapping.networks",
        [{"a/b": name} for name in ("vlan200", "a/..", "../a", "a/b/c", "*", "None")],
    ),
    ("mapping.networks", [{"vlan100": "prod/vlan200"}]),
    ("mapping.storageClasses", [{"*": "Not A Name"}]),
    (
        "mapping.patches",
        [
            *({}, None, [{}], [{"match": {"kind": "VirtualMachine"}}]),
            [{"match": {"kind": "VirtualMachine"}, "patch": []}],
            [{"match": {"kind": "VirtualMachine"}, "patch": [OPERATION] * 101}],
            [{"match": {"kind": "Pod"}, "patch": [OPERATION]}],
            [{"match": {"kind": "VirtualMachine", "name": ""}, "patch": [OPERATION]}],
            [{"match": {"kind": "VirtualMachine", "namespace": "a"}, "patch": [OPERATION]}],
            [{"match": {"kind": "VirtualMachine"}, "patch": [OPERATION]}] * 101,
        ],
    ),
    (
        "mapping.patches",
        [
            [{"match": {"kind": "VirtualMachine"}, "patch": [operation]}]
            for operation in (
                {"op": "append", "path": "/spec", "value": 1},
                {"op": "replace", "path": "spec", "value": 1},
                {"op": "replace", "path": "/spec/~2", "value": 1},
                {"op": "replace", "path": "/" + "a" * 1024, "value": 1},
                {"op": "replace", "path": "/spec"},
                {"op": "test", "path": "/spec"},
                {"op": "move", "path": "/spec"},
                {"op": "copy", "path": "/spec", "value": 1},
                {"op": "copy", "path": "/spec", "from": "x"},
                {"op": "add", "path": "/spec/x", "value": "\ud800"},
                {"op": "add", "path": "/spec/x", "value": float("nan")},
                {"op": "add", "path": "/spec/x", "value": nest(65)},
                {"op": "add", "path": "/spec/x", "value": 1, "why": "x"},
            )
        ],
    ),
    ("mapping.names", [[], None, {"suffix": None}, {"prefix": "dr-"}]),
    (
        "mapping.addresses",
        [
            *({}, None, [{}], ["10.1.0.0/16"], [{"from": "10.1.0.0/16"}]),
            [{"from": "10.1.0.0/16", "to": "10.2.0.0/17"}],
            [{"from": "10.1.0.0/16", "to": "2001:db8::/16"}],
            [{"from": "10.1.0.5/16", "to": "10.2.0.0/16"}],
            [{"from": "10.1.0.0/33", "to": "10.2.0.0/33"}],
            [{"from": "web", "to": "10.2.0.0/16"}],
            [{"from": 5, "to": "10.2.0.0/16"}],
            [{"from": "10.1.0.0/16", "to": "10.2.0.0/16", "of": "web"}],
            [{"from": "10.1.0.0/16", "to": "10.2.0.0/16"}] * 2,
            [{"from": f"10.{n}.0.0/16", "to": "10.200.0.0/16"} for n in range(101)],
        ],
    ),
    ("mapping.resources", [[], None, {"cpu": 50}]),
    *(
        (f"mapping.resources.{key}Percent", [0, -5, 1001, "50", 1.5, None, True])
        for key in ("cpu", "memory")
    ),
    ("mapping.names.suffix", ["-DR", "dr-", ".dr", "-", "a" * 63, 5, "a/b"]),
]


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in WRONG for value in values]
)
def test_a_value_of_the_wrong_form_is_refused_by_its_path(path: str, value: Json) -> None:
    assert (refusal(nested(path, value)).field or "").startswith(path)


@pytest.mark.parametrize(
    ("path", "value", "form"),
    [
        ("ready.timeout", "1h", "must be an ISO 8601 duration such as PT30M"),
        ("ready.timeout", "P2D", "must be between PT1S and P1D"),
        ("approvalTimeout", "P8D", "must be between PT1S and P7D"),
        ("approvalTimeout", "PT0S", "must be between PT1S and P7D"),
        ("approve", "maybe", "must be one of: 'none', 'required'"),
        (
            "mapping.networks",
            {"a/b": "nothing"},
            "must be namespace/name such as default/vlan200, keep or none",
        ),
    ],
)
def test_a_value_of_the_wrong_form_is_told_the_right_one(path: str, value: Json, form: str) -> None:
    error = refusal(nested(path, value))
    assert error.message.removeprefix(f"{error.field}: ").startswith(f"{form}; it is ")


@pytest.mark.parametrize(
    ("source", "to", "said"),
    [
        (
            "10.1.0.5/16",
            "10.2.0.0/16",
            "0.from: must be a network, and this is an address in 10.1.0.0/16;",
        ),
        (
            "10.1/16",
            "10.2.0.0/16",
            "0.from: must be a network such as 10.1.0.0/16 or 2001:db8::/48;",
        ),
        ("10.1.0.0/16", "10.2.0.0/24", "0: must have networks of the same kind and size, and"),
        ("10.1.0.0/16", "fd00::/16", "0: must have networks of the same kind and size, and"),
    ],
)
def test_a_range_of_addresses_is_told_the_right_form(source: str, to: str, said: str) -> None:
    error = refusal(nested("mapping.addresses", [{"from": source, "to": to}]))
    assert error.message.startswith(f"mapping.addresses.{said}")


GUARDED = [
    *(("VirtualMachine", path) for path in ("/kind", "/apiVersion", "/status/ready", "/status")),
    *(("VirtualMachine", f"/metadata/{key}") for key in ("name", "namespace", "ownerReferences")),
    *(("VirtualMachine", f"/metadata/{key}") for key in ("finalizers/0", "uid", "generateName")),
    ("VirtualMachine", "/metadata/labels/replant.dev~1restore"),
    ("VirtualMachine", "/metadata/labels/app.kubernetes.io~1managed-by"),
    ("VirtualMachine", "/metadata/annotations/backup.origin.cluster"),
    ("VirtualMachine", "/metadata/annotations/harvesterhci.io~1volumeClaimTemplates"),
    *(("VirtualMachine", f"/spec/{key}") for key in ("runStrategy", "running")),
    ("VirtualMachine", "/spec/dataVolumeTemplates/0"),
    *(("PersistentVolumeClaim", path) for path in ("/spec", "/spec/storageClassName")),
    *(("VolumeSnapshotContent", path) for path in ("/spec/deletionPolicy", "/spec/source")),
    ("VolumeSnapshot", "/spec/volumeSnapshotClassName"),
    *(("Secret", path) for path in ("/data", "/data/userdata", "/stringData/x")),
]


@pytest.mark.parametrize(("kind", "path"), GUARDED)
def test_what_a_restore_alone_decides_on_cannot_be_patched(kind: str, path: str) -> None:
    def refused(operation: Json) -> str:
        error = refusal(
            nested("mapping.patches", [{"match": {"kind": kind}, "patch": [operation]}])
        )
        return error.message

    for operation in (
        {"op": "add", "path": path, "value": 1},
        {"op": "replace", "path": path, "value": 1},
        {"op": "remove", "path": path},
        {"op": "move", "from": path, "path": "/metadata/labels/x"},
        {"op": "copy", "from": "/spec/x", "path": path},
    ):
        assert refused(operation).startswith(f"mapping.patches.0: must leave {path} alone: ")
    reading: Json = {"op": "test", "path": path, "value": 1}
    copying: Json = {"op": "copy", "from": path, "path": "/metadata/labels/x"}
    patches = [{"match": {"kind": kind}, "patch": [reading, copying]}]
    if kind == "Secret":
        assert "no value of a Secret" in refused(reading)
        assert "no value of a Secret" in refused(copying)
    else:
        assert parsed(mapping={"patches": patches}).mapping.patches


def test_a_range_is_given_once_and_may_hold_another() -> None:
    pairs = [("10.1.0.0/16", "10.2.0.0/16"), ("10.1.7.0/24", "10.3.0.0/24")]
    ranges = [{"from": source, "to": to} for source, to in pairs]
    assert len(parsed(mapping={"addresses": ranges}).mapping.addresses) == 2
    error = refusal(nested("mapping.addresses", ranges[:1] * 2))
    assert error.message == "mapping.addresses: must have 10.1.0.0/16 once in from."


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT30M", 1800), ("PT1H30M", 5400), ("P1D", 86400), ("PT1S", 1)]
)
def test_times_are_iso_durations_of_up_to_a_day(text: str, seconds: int) -> None:
    assert parsed(ready={"timeout": text}).ready.timeout == timedelta(seconds=seconds)


def test_the_restore_is_named_after_the_request_id_or_else_the_execution() -> None:
    assert parsed().restore_id == "r-4e65d3fbe8ad6535"  # printf run-1 | sha256sum | head -c 16
    assert (
        parsed(requestId="run-1").restore_id
        == restore_request(LEAST, execution_name="run-1").restore_id
    )
    assert restore_request(LEAST, execution_name="run-2").restore_id != parsed().restore_id


def test_a_plan_waits_for_its_approval_where_one_is_required_but_for_a_dry_run() -> None:
    assert parsed().approval is None
    assert parsed(approve="required").approval == 15 * 60
    assert parsed(approve="required", approvalTimeout="P7D").approval == 7 * 24 * 3600
    assert parsed(approve="required", dryRun=True).approval is None
    assert parsed(approvalTimeout="PT5M").approval is None


def test_the_digest_depends_on_what_is_asked_and_not_on_how_it_is_written() -> None:
    digest = parsed().digest
    assert restore_request(dict(reversed(WRITTEN_OUT.items())), execution_name="x").digest == digest
    assert parsed(ready={"timeout": "PT60M"}).digest == digest
    assert parsed(start=False).digest != digest
    assert parsed(approve="required").digest != digest
    assert parsed(mapping={"networks": {"*": "keep"}}).digest != digest
    orders = [{"a": "b", "c": "d"}, {"c": "d", "a": "b"}]
    assert len({parsed(mapping={"namespaces": order}).digest for order in orders}) == 1


@pytest.mark.parametrize(
    "path",
    ["select.at", "select.vm", "ready.timeout", "mapping.mac", "target", "mode", "onExisting"],
)
def test_a_long_value_is_not_quoted(path: str) -> None:
    assert LONG not in refusal(nested(path, LONG)).message


def test_a_mistyped_required_key_is_named_rather_than_missed() -> None:
    assert refusal({"select": {"id": "p"}, "tarket": "west"}).field == "tarket"


PLACES = [
    *WRITTEN_OUT,
    *LACKING,
    "by",
    *(f"select.{key}" for key in ("id", "ids", "vm", "namespace", "cluster", "at")),
    *(f"mapping.{key}" for key in ("namespaces", "storageClasses", "networks", "mac")),
    *(f"mapping.{key}.default" for key in ("namespaces", "storageClasses", "networks")),
    "mapping.networks.default/vlan100",
    "mapping.names.suffix",
    "mapping.resources.cpuPercent",
    "mapping.addresses",
    "mapping.patches",
    *(f"ready.{key}" for key in ("condition", "timeout")),
    *("other", "select.other", "mapping.other", "ready.other"),
]
texts = st.text(max_size=8) | st.sampled_from(
    [LONG, "latest", "PT1H", "a/b", "*", "0001-01-01T00:00:00+10:00", "\ud800", "P", "none"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
keys = st.sampled_from([*WRITTEN_OUT, "id", "vm", "mac", "at", "\ud800"]) | st.text(max_size=8)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5)
)
PYDANTIC = ("nput should", "valid dictionary", "validation error", "Value error", "unable to")


def put(path: str, value: Json, *, among: dict[str, Json]) -> dict[str, Json]:
    """AMONG with VALUE at a dotted path."""
    first, _, rest = path.partition(".")
    inner = among.get(first)
    holder = inner if isinstance(inner, dict) else {}
    return {**among, first: put(rest, value, among=holder) if rest else value}


def outcome(body: Json) -> RestoreRequest | InvalidRequest:
    try:
        return restore_request(body, execution_name="run-1")
    except InvalidRequest as error:
        return error


def try_whatever(body: Json, *, place: str = "") -> None:
    """It is a request, or the answer names a place and is in our words."""
    answer = outcome(body)
    if isinstance(answer, RestoreRequest):
        assert (len(answer.restore_id), len(answer.digest)) == (18, 64)
        return
    assert answer.field or not isinstance(body, dict)
    assert (answer.field or "").startswith(place.partition(".")[0])
    assert LONG not in str(answer)
    assert not [words for words in PYDANTIC if words in answer.message]
    assert str(answer).encode()


@given(st.sampled_from(PLACES), documents)
def test_any_value_in_any_place_is_a_request_or_refused_by_that_place_in_our_words(
    place: str, value: Json
) -> None:
    try_whatever(put(place, value, among=LEAST), place=place)


@given(documents)
def test_any_document_is_a_request_or_refused_in_our_words(body: Json) -> None:
    try_whatever(body)
    try_whatever({**LEAST, "select": body}, place="select")
    try_whatever({**LEAST, "mapping": body}, place="mapping")
