"""What a hostile API server can cost: bounded time and memory, and one sentence that names it."""

import gzip
import json
import socket
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from shared.errors import Refused, Rejected, ReplantError, Unreachable
from shared.kube import client as client_module
from shared.kube import connection, transport
from shared.kube.connection import MEBIBYTE
from tests.unit.scripted_server import VERSION, Answer, Client, scripted, status, stored, vm

MOST_MEMORY = 100 * MEBIBYTE


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with scripted(tmp_path) as client:
        yield client


@pytest.fixture
def memory() -> Iterator[Callable[[], int]]:
    """The most that Python has held since the test began, in bytes."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def refusal(act: Callable[[], object], error: type[ReplantError] = Unreachable) -> str:
    with pytest.raises(error) as caught:
        act()
    assert "cluster west" in caught.value.message
    return caught.value.message


def listed(client: Client, *answers: Answer) -> str:
    target = client.target(*answers)
    return refusal(lambda: target.list("VirtualMachine", "prod"))


def gotten(client: Client, *answers: Answer) -> str:
    target = client.target(*answers)
    return refusal(lambda: target.get("VirtualMachine", "prod", "web01"))


def page(token: str, *items: object) -> Answer:
    return Answer(200, {"items": items, "metadata": {"continue": token}})


def packed(body: bytes, encoding: str = "gzip") -> Answer:
    return Answer(200, gzip.compress(body), {"Content-Encoding": encoding})


# Listings


def test_a_repeated_continue_token_ends_a_listing(client: Client) -> None:
    assert "repeats its `continue` token" in listed(client, page("a"), page("b"), page("a"))
    assert client.count == 3


def test_a_listing_without_end_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_PAGES", 5)
    assert "5 pages" in listed(client, *(page(str(number)) for number in range(99)))
    assert client.count == 6


def test_a_listing_of_too_many_objects_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MOST_OBJECTS", 5)
    full = [page(str(number), vm(), vm(), vm()) for number in range(99)]
    assert "more than 5 objects" in listed(client, *full)
    assert client.count == 2


def test_a_listing_of_large_pages_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LARGEST_LISTING", 3000)
    large = vm(annotations={"a": "x" * 1000})
    full = [page(str(number), large) for number in range(99)]
    assert "larger than" in listed(client, *full)
    assert client.count == 3


@pytest.mark.parametrize(
    "body",
    [
        {"items": "x"},
        {"items": {"a": "b"}},
        {"items": ["x"]},
        {"items": [{}]},
        {"items": [{"metadata": []}]},
        {"items": [{"metadata": {"name": 1}}]},
        {"items": [{"metadata": {"name": "a", "namespace": ["x"]}}]},
        {"items": [{"metadata": {"name": "a", "labels": None}}]},
        {"items": [{"metadata": {"name": "a", "labels": {"a": 1}}}]},
        {"items": [{"metadata": {"name": "a", "annotations": ["x"]}}]},
        {"items": [], "metadata": "x"},
        {"items": [], "metadata": {"continue": ["x"]}},
        {"items": [], "metadata": {"continue": "x" * 100_000}},
    ],
)
def test_a_listing_of_something_else_is_not_usable(client: Client, body: object) -> None:
    assert "is not usable" in listed(client, Answer(200, body))


@pytest.mark.parametrize("body", [{"metadata": {}}, {"kind": "Namespace"}, {"metadata": "x"}])
def test_an_object_without_a_name_is_not_usable(client: Client, body: object) -> None:
    assert "not an object with a name" in gotten(client, Answer(200, body))


# Bodies


def test_deep_json_is_named(client: Client) -> None:
    deep = '{"a":' * 80 + "1" + "}" * 80
    assert "nested deeper than 64 levels" in gotten(client, Answer(200, deep))
    assert "is not usable" in gotten(client, Answer(200, "[" * 500_000))


def test_a_deep_refusal_is_still_a_refusal(client: Client) -> None:
    deep = '{"kind":"Status","details":' + "[" * 5000 + "]" * 5000 + "}"
    target = client.target(Answer(422, deep))
    refusal(lambda: target.create(vm()), Rejected)


def test_json_of_nothing_but_brackets_is_not_parsed(
    client: Client, memory: Callable[[], int]
) -> None:
    assert "more than 2,000,000 values" in listed(
        client, Answer(200, "[" + "{}," * 4_000_000 + "1]")
    )
    assert memory() < MOST_MEMORY


def test_a_packed_answer_is_unpacked(client: Client) -> None:
    assert client.target(packed(b'{"gitVersion": "v1"}')).version() == "v1"


def bomb(size: int) -> bytes:
    """SIZE bytes of spaces, packed: as a whole they would take up the memory that is measured."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(b" " * MEBIBYTE) for _ in range(size // MEBIBYTE)]
    return b"".join((*pieces, packer.flush()))


def test_a_bomb_is_named_and_not_unpacked(client: Client, memory: Callable[[], int]) -> None:
    answer = Answer(200, bomb(300 * MEBIBYTE), {"Content-Encoding": "gzip"})
    assert "more than 8 MiB" in gotten(client, answer)
    assert memory() < MOST_MEMORY
    assert client.count == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(200, gzip.compress(b"{}")[:-9], {"Content-Encoding": "gzip"}), "cut off"),
        (Answer(200, b"{}", {"Content-Encoding": "gzip"}), "broken gzip"),
        (packed(b"{}", "gzip, gzip"), "encoding that was not asked for"),
        (packed(b"{}", "br"), "encoding that was not asked for"),
    ],
)
def test_what_does_not_unpack_is_named(client: Client, answer: Answer, said: str) -> None:
    assert said in gotten(client, answer)


def test_a_length_beyond_the_bound_is_not_read(client: Client, memory: Callable[[], int]) -> None:
    announced = Answer(200, "{}", {"Content-Length": str(10**15), "Connection": "close"})
    assert "more than 8 MiB" in gotten(client, announced)
    assert "more than 64 MiB" in listed(client, announced)
    assert memory() < MOST_MEMORY
    assert client.count == 2


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def endlessly(start: bytes, piece: bytes) -> Answer:
    """An answer that never ends, as fast as it is taken."""

    def write(file: BinaryIO) -> None:
        file.write(start)
        while True:
            file.write(piece)

    return Answer(raw=write)


def slowly(start: bytes, piece: bytes) -> Answer:
    """An answer that never ends, with a byte now and then."""

    def write(file: BinaryIO) -> None:
        file.write(start)
        while True:
            file.write(piece)
            time.sleep(0.02)

    return Answer(raw=write)


ENDLESS = [
    (endlessly(CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"), "more than 8 MiB"),
    (endlessly(HEAD + b"\r\n", b"x" * 0x10000), "more than 8 MiB"),
    (endlessly(HEAD, b"X-Filler: " + b"x" * 1000 + b"\r\n"), "headers"),
    (endlessly(HEAD + b"X-Filler: ", b"x" * 1000), "headers"),
    (endlessly(b"", b"x" * 1000), "not HTTP"),
    (endlessly(CHUNKED, b"x" * 1000), "not HTTP"),
]


@pytest.mark.parametrize(("answer", "said"), ENDLESS)
def test_an_answer_without_end_is_given_up(
    client: Client, memory: Callable[[], int], answer: Answer, said: str
) -> None:
    assert said in gotten(client, answer)
    assert memory() < MOST_MEMORY


DRIPPING = [
    slowly(b"", b"H"),
    slowly(HEAD, b"X-A: b\r\n"),
    slowly(HEAD + b"X-Filler: ", b"x"),
    slowly(HEAD + b"\r\n", b"x"),
    slowly(HEAD + b"Content-Length: 9000\r\n\r\n", b"x"),
    slowly(CHUNKED, b"1\r\nx\r\n"),
    slowly(CHUNKED, b"0"),
    slowly(CHUNKED + b"0\r\n", b"X-Trailer: x\r\n"),
    slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
]


PATIENCE = 1.5
"""Seconds that a test waits for an answer which never ends: time to connect on a busy machine."""


@pytest.mark.parametrize("answer", DRIPPING)
def test_no_slow_answer_outlasts_the_deadline(client: Client, answer: Answer) -> None:
    target = client.target(answer, deadline=time.monotonic() + PATIENCE)
    assert "did not answer in the time that was left" in refusal(target.version)
    assert client.count == 1


def test_without_a_deadline_a_slow_answer_is_given_up_as_well(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LONGEST_REQUEST", PATIENCE)
    assert "did not answer in the time that was left" in gotten(client, DRIPPING[3])


# Time


def test_after_the_deadline_no_request_is_begun(client: Client) -> None:
    target = client.target(VERSION, deadline=time.monotonic() - 1)
    for act in (target.version, lambda: target.create(vm())):
        assert "no time is left" in refusal(act)
    assert client.count == 0


def test_a_pause_that_would_pass_the_deadline_is_not_made(client: Client) -> None:
    busy = Answer(429, "Too many requests", {"Retry-After": "20"})
    target = client.target(busy, deadline=time.monotonic() + 10)
    assert "429" in refusal(lambda: target.create(vm()))
    assert client.count == 1
    assert client.pauses == []


def test_all_attempts_together_take_two_minutes_at_most(client: Client) -> None:
    clock = count(0, 10)
    busy = Answer(429, "x", {"Retry-After": "30"})
    target = client.target(busy, clock=lambda: float(next(clock)))
    assert "429" in refusal(lambda: target.create(vm()))
    assert client.count < 4


def test_a_silent_server_is_left_at_the_deadline(client: Client) -> None:
    target = client.target(
        Answer(200, {}, pause=2 * PATIENCE), deadline=time.monotonic() + PATIENCE
    )
    assert "did not answer in the time that was left" in refusal(target.version)


def test_a_handshake_that_never_ends_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TIMEOUTS", (0.1, 30.0))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        target = client.target(server=f"https://127.0.0.1:{deaf.getsockname()[1]}")
        assert "did not finish the TLS handshake" in refusal(target.version)


# Connections


def test_a_connection_is_used_again(client: Client) -> None:
    target = client.target(VERSION)
    for _ in range(3):
        target.version()
    assert client.script.connections == 1


@pytest.mark.parametrize("header", [{"Connection": "close"}, {}])
def test_a_connection_that_the_server_closed_is_replaced_at_once(
    client: Client, header: dict[str, str]
) -> None:
    target = client.target(Answer(200, {"gitVersion": "v1"}, header))
    target.version()
    client.script.drop()
    assert target.version() == "v1"
    assert client.pauses == []


def test_what_nobody_asked_for_is_not_taken_for_the_next_answer(client: Client) -> None:
    body = json.dumps({"gitVersion": "v1"}).encode()
    first = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    forged = first.replace(b"v1", b"v0")
    target = client.target(Answer(raw=lambda file: file.write(first + forged), keep=True), VERSION)
    assert target.version() == "v1"
    assert target.version() == "v1.34.1"


def test_more_than_an_answer_ends_the_connection(client: Client) -> None:
    rest = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" * 300
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    target = client.target(Answer(raw=lambda file: file.write(first + rest), keep=True), VERSION)
    refusal(target.version)
    assert target.version() == "v1.34.1"
    assert client.script.connections == 2


def test_what_comes_between_two_requests_ends_the_connection(client: Client) -> None:
    target = client.target(VERSION)
    target.version()
    client.script.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert target.version() == "v1.34.1"
    assert client.script.connections == 2


def test_an_address_in_between_that_is_refused_refuses_the_name(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = client.script.server_port
    addresses: list[Any] = [("127.0.0.1", port), ("169.254.169.254", port)]
    found = [(2, 1, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    target = client.target(VERSION)
    assert "169.254.169.254" in refusal(target.version, Refused)
    assert client.count == 0


def test_the_answer_of_a_patch_is_bounded_too(client: Client) -> None:
    large = Answer(200, stored(annotations={"a": "x" * (9 * MEBIBYTE)}))
    target = client.target(large, status(500))
    refusal(lambda: target.patch("VirtualMachine", "prod", "web01", {}, uid="u-1"))
