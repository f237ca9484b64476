"""Bytes and names that nobody should write: whatever they are, the answer is Unreadable and quotes
none of them.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from local.samples import folders
from local.samples.harvester import machine
from local.samples.world import a_vm_backup
from shared.errors import Unreadable
from shared.layouts import documents, registry
from shared.layouts.harvester import machine_backup
from shared.layouts.keys import Place
from shared.layouts.parsing import document
from shared.models.facts import Facts, Kind

Raw = dict[str, Any]
SECRET = "hunter2-hunter2"
PLACES = [Place(kind, "", "pvc-1", "name-1") for kind in Kind]
PLACES.append(Place(Kind.FOLDER, "", name="metadata.json"))  # any other name is YAML
MANIFEST = {
    "kind": "VirtualMachine",
    "metadata": {"name": "web01"},
    "spec": {
        "template": {
            "spec": {
                "volumes": [
                    {"name": "root", "dataVolume": {"name": "web01-root"}},
                    {"name": "seed", "cloudInitNoCloud": {"userData": SECRET}},
                ]
            }
        }
    },
}
WRITTEN = [
    body
    for key, body in a_vm_backup(image="default/ubuntu", secrets={"s": {"k": SECRET}})
    if ".cfg" in key
]
WRITTEN += [json.dumps(each).encode() for each in (MANIFEST, folders.document())]
WRITTEN.append(folders.chain(("a.qcow2", "b.qcow2"), ("b.qcow2", None)))

NO_JSON = {
    "empty": b"",
    "blank": b" \n",
    "not a number": b'{"a":NaN}',
    "infinite": b'{"a":-Infinity}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "bad UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "high surrogate": rb'{"a":"\ud800"}',
    "low surrogate": rb'{"a":"\udc00"}',
    "encoded surrogate": b'{"a":"\xed\xa0\x80"}',
    "control character": b'{"a":"\x00"}',
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "truncated": b'{"a":"hunter2-hunter2',
    "single quotes": b"{'a':'hunter2-hunter2'}",
    "comment": b"{} // hunter2-hunter2",
    "trailing comma": b'{"a":1,}',
    "two documents": b"{}{}",
    "endless number": b'{"a":' + b"1" * 100_000 + b"}",
    "leading zero": b'{"a":01}',
    "a list": b'["hunter2-hunter2"]',
    "a text": b'"hunter2-hunter2"',
    "null": b"null",
    "gzip": bytes.fromhex("1f8b0800"),
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_strict_json_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable, match="Invalid JSON: ") as refusal:
        document(body)
    assert SECRET not in str(refusal.value)


def readable_or_unreadable(place: Place, chunks: list[bytes]) -> None:
    found = outcome(place, chunks)
    if isinstance(found, Unreadable):
        assert 0 < len(found.message) <= 600
        assert SECRET not in found.message
    elif found is not None:
        assert type(found).model_validate_json(found.model_dump_json()) == found


def outcome(place: Place, chunks: list[bytes]) -> Facts | Unreadable | None:
    try:
        return registry.read(place, registry.Content(chunks))
    except Unreadable as error:
        return error


@given(st.lists(st.binary(max_size=50), max_size=4), st.sampled_from(PLACES))
def test_arbitrary_bytes_are_unreadable_at_most(chunks: list[bytes], place: Place) -> None:
    readable_or_unreadable(place, chunks)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
    ),
    max_leaves=6,
)
TIMES = ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
NUMBERS = (10**4299, -(10**4298), 2**63, 1e308, "9" * 5000, "1e99")
ODD = JSON | st.sampled_from(
    [
        SECRET,
        "\x00",
        "../..",
        {},
        [],
        [None],
        {"": None},
        "A" * 10_000,
        {"k" * 10_000: 1},
        *TIMES,
        *NUMBERS,
    ]
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path] * bool(path) + [
        found for key, part in parts for found in paths(part, (*path, key))
    ]


@settings(max_examples=4 * settings().max_examples)
@given(st.sampled_from(WRITTEN), st.data())
def test_a_record_with_any_value_anywhere_is_unreadable_at_most(
    body: bytes, data: st.DataObject
) -> None:
    source: Any = json.loads(body)
    name, volume = str(source.get("Name")), str(source.get("VolumeName", source.get("Name")))
    for path in data.draw(st.lists(st.sampled_from(paths(source)), min_size=1, max_size=3)):
        inner = source
        try:
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = copy.deepcopy(data.draw(ODD))
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change removed it
    for kind in Kind:
        readable_or_unreadable(Place(kind, "", volume, name), [json.dumps(source).encode()])


@given(st.sampled_from(WRITTEN), st.data())
def test_a_record_with_bytes_changed_or_cut_is_unreadable_at_most(
    body: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(body)))
    changed = (
        body[:at] + data.draw(st.binary(max_size=3)) + body[at + data.draw(st.integers(0, 3)) :]
    )
    for place in PLACES:
        readable_or_unreadable(place, [changed[: data.draw(st.integers(0, len(changed)))], changed])


def test_a_message_is_short_whatever_the_keys() -> None:
    source = json.loads(machine()[1])
    source["vmSourceSpec"]["metadata"]["labels"] = {"k" * 100_000: {"is": SECRET}}
    with pytest.raises(Unreadable) as refusal:
        machine_backup(json.dumps(source).encode())
    assert refusal.value.message.startswith("vmSourceSpec.metadata.labels.kkk")
    assert len(refusal.value.message) <= 500


def test_metadata_without_end_is_refused_before_it_fills_the_memory() -> None:
    endless = (b" " * 2**20 for _ in range(10_000))
    with pytest.raises(Unreadable, match=f"at most {registry.METADATA_LIMIT}"):
        registry.read(Place(Kind.MACHINE, ""), registry.Content(endless))


def test_metadata_in_pieces_is_read_up_to_its_limit_and_not_beyond() -> None:
    key, body = machine()
    place = registry.recognise(key)
    room = b" " * (registry.METADATA_LIMIT - len(body))
    pieces = [body[:100], body[100:], room]
    assert registry.read(place, registry.Content(pieces)) == machine_backup(body)
    with pytest.raises(Unreadable) as refusal:
        registry.read(place, registry.Content([*pieces, b" "]))
    assert refusal.value.message == (
        "It has 4194305 bytes, and an object of this kind at most 4194304."
        " Upload the original again."
    )


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (Kind.MACHINE, 4_194_304),
        (Kind.VOLUME, 4_194_304),
        (Kind.TARGET, 4_194_304),
        (Kind.BACKUP, 1_073_741_824),
        (Kind.BACKING_IMAGE, 1_073_741_824),
    ],
)
def test_a_size_is_checked_against_the_kinds_limit_before_anything_is_read(
    kind: Kind, limit: int
) -> None:
    registry.check_size(Place(kind, ""), limit)
    with pytest.raises(Unreadable) as refusal:
        registry.check_size(Place(kind, ""), limit + 1)
    assert refusal.value.message == (
        f"It has {limit + 1} bytes, and an object of this kind at most {limit}."
        " Upload the original again."
    )


HOSTILE = [
    "../../secrets",
    "Web01",
    "a" * 300,
    "-a",
    "a/b",
    "a b",
    "a\n",
    "a.",
    "ä",
    "a..b",
    "%2e%2e",
    SECRET + "_",
]


def at(*path: str | int) -> Callable[[Raw, str], None]:
    def put(source: Raw, value: str) -> None:
        inner: Any = source
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return put


NAMES = {
    "namespace": at("namespace"),
    "backup": at("name"),
    "machine": at("backupSpec", "source", "name"),
    "disk": at("volumeBackups", 0, "volumeName"),
    "claim": at("volumeBackups", 0, "persistentVolumeClaim", "metadata", "name"),
    "secret": at("secretBackups", 0, "name"),
}
ENGINE_NAMES = {
    "engine volume": at("volumeBackups", 0, "persistentVolumeClaim", "spec", "volumeName"),
    "engine backup": at("volumeBackups", 0, "longhornBackupName"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("put", NAMES.values(), ids=NAMES)
def test_a_name_that_no_kubernetes_object_has_is_refused(
    put: Callable[[Raw, str], None], name: str
) -> None:
    source = json.loads(machine(secrets={"web01-key": {"userdata": "x"}})[1])
    put(source, name)
    with pytest.raises(Unreadable) as refusal:
        machine_backup(json.dumps(source).encode())
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("name", ["../../x", "a" * 300, "a", "-ab", "a/b", "a b", "ab\n", "äb"])
@pytest.mark.parametrize("put", ENGINE_NAMES.values(), ids=ENGINE_NAMES)
def test_a_name_that_no_longhorn_object_has_is_refused(
    put: Callable[[Raw, str], None], name: str
) -> None:
    source = json.loads(machine()[1])
    put(source, name)
    with pytest.raises(Unreadable):
        machine_backup(json.dumps(source).encode())


@pytest.mark.parametrize("claim", ["a" * 64 + "-disk-0-x7k2p", "a" * 253])
def test_a_long_name_that_kubernetes_takes_is_read(claim: str) -> None:
    """Harvester calls a claim <machine>-<disk>-<five characters>: 63 characters for the machine
    alone are usual.
    """
    source = json.loads(machine()[1])
    NAMES["claim"](source, claim)
    assert machine_backup(json.dumps(source).encode()).disks[0].claim == claim


@example(b"*a")
@example(b"a: *a")
@example(b"[" * 60_000)
@example(b"? {a: b}\n: c")
@example(b"\x00")
@given(st.binary(max_size=60) | st.text("ab:-?{}[]&*!|>'\"#%@,\n ", max_size=60).map(str.encode))
def test_a_document_of_arbitrary_bytes_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        documents.parse(Place(Kind.TARGET, "", name="east"), body, buckets=frozenset({"b"}))
