"""IP addresses in free text and in cloud-init's network data: which are changed, and into what.

Not here: where a machine has them, and what a plan says (test_readdressing.py).
"""

import base64
from collections import Counter
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.addresses import AddressRange
from shared.models.restore_plans import Change, Rewrite
from shared.restore import network_data
from shared.restore.addresses import Ranges
from shared.restore.rewriting import change_of, rewrite

Json = Any

MOVE = ("10.1.0.0/16", "10.2.0.0/16")
SIX = ("2001:db8:1::/48", "fd00:0:2::/48")


def ranges(*pairs: tuple[str, str]) -> tuple[AddressRange, ...]:
    made = ({"from": source, "to": to} for source, to in pairs)
    return tuple(map(AddressRange.model_validate, made))


def moved(text: str, *pairs: tuple[str, str]) -> str:
    return Ranges(ranges(*(pairs or (MOVE, SIX)))).replace(text).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.1.0.5", "10.2.0.5"),
        ("10.1.0.5/24", "10.2.0.5/24"),
        ("http://10.1.0.5:8080/x", "http://10.2.0.5:8080/x"),
        ("tcp:10.1.0.5", "tcp:10.2.0.5"),
        ("10.1.0.5,10.1.255.255;10.3.0.1", "10.2.0.5,10.2.255.255;10.3.0.1"),
        ("10.1.0.5-10.1.0.9", "10.2.0.5-10.2.0.9"),
        ("It is 10.1.0.5.", "It is 10.2.0.5."),
        ('{"ip":"10.1.0.5"}', '{"ip":"10.2.0.5"}'),
        ("10.1.0.0/16", "10.2.0.0/16"),
        ("2001:db8:1::5", "fd00:0:2::5"),
        ("[2001:DB8:1:0::5]:443", "[fd00:0:2::5]:443"),
        ("2001:db8:1::/64", "fd00:0:2::0/64"),  # YAML takes a text that ends in a colon for a key
        ("2001:db8:1:2:3:4:5:6%eth0", "fd00:0:2:2:3:4:5:6%eth0"),
    ],
)
def test_whole_addresses_move_and_keep_their_host(text: str, expected: str) -> None:
    assert moved(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "110.1.0.55",
        "10.1.0.555",
        "10.1.0.5555",
        "10.1.0.5.6",
        "1.10.1.0.5",
        "v10.1.0.5",
        "10.1.0.5a",
        "10.1.0.5_1",
        "web-10.1.0.5",
        "10.1.0.5-rc1",
        "ip-10.1.0.5.example",
        "10.1.0.5.example",
        "10.01.0.5",
        "10.1.0",
        "10.2.0.5",
        "::ffff:10.1.0.5",
        "52:54:00:6b:3c:01",
        "12:30:45",
        "x2001:db8:1::5",
        "2001:db8:1::5x",
        "2001:db8:2::5",
        "1:2001:db8:1:0:0:0:0:0:5",
        "1\u0660.1.0.5",
        "",
        "." * 1000,
        ":" * 1000,
    ],
)
def test_whatever_else_looks_like_one_stays(text: str) -> None:
    assert moved(text) == text


def test_the_longer_prefix_decides_and_nothing_moves_twice() -> None:
    pairs = (MOVE, ("10.1.7.0/24", "192.168.7.0/24"), ("10.2.0.0/16", "10.1.0.0/16"))
    replaced = Ranges(ranges(*pairs)).replace("10.1.7.5 10.1.8.5 10.2.7.5 10.1.8.6")
    assert replaced.text == "192.168.7.5 10.2.8.5 10.1.7.5 10.2.8.6"
    assert replaced.hits == Counter({0: 2, 1: 1, 2: 1})


addresses = st.ip_addresses().map(str)


@given(st.lists(st.one_of(addresses, st.text(max_size=5)), max_size=6))
def test_there_and_back_again_is_what_it_was(parts: list[str]) -> None:
    text = " ".join(parts)
    there = (("0.0.0.0/1", "128.0.0.0/1"), ("128.0.0.0/1", "0.0.0.0/1"))
    once = moved(text, *there)
    assert moved(moved(once, *there), *there) == once
    assert moved(once, *there).split(" ") == moved(text, ("0.0.0.0/0", "0.0.0.0/0")).split(" ")


KEPT = "52:54:00:6b:3c:01"
OLD = "52:54:00:6b:3c:02"
NEW = "02:65:ee:f4:78:da"
DERIVED = Rewrite(addresses=ranges(MOVE, SIX), macs={OLD: NEW}, drops_unknown=True)
CLEARED = Rewrite(addresses=ranges(MOVE, SIX), macs={OLD: ""}, drops_unknown=True)
KEEPING = Rewrite(addresses=ranges(MOVE, SIX))

V2 = f"""# of web01
version: 2
ethernets:
  id0:
    match: {{macaddress: "{OLD.upper()}"}}
    set-name: eth0
    dhcp4: no
    mtu: 0x5dc
    addresses: [10.1.0.5/24, "2001:db8:1::5/64"]
    gateway4: 10.1.0.1
    routes:
    - to: 110.1.0.0/16
      via: 10.1.0.254
    nameservers: {{addresses: [10.1.0.53, 8.8.8.8], search: [example.com]}}
"""
V1 = f"""version: 1
config:
- type: physical
  name: eth0
  mac_address: '{OLD}'
  subnets:
  - {{type: static, address: 10.1.0.5/24, gateway: 10.1.0.1, dns_nameservers: [10.1.0.53]}}
- type: nameserver
  address: [10.1.0.53]
"""


def read(text: str) -> Json:
    return yaml.safe_load(text)


def changed(text: str, how: Rewrite = DERIVED) -> tuple[Json, network_data.Rewritten]:
    made = network_data.rewrite(text, how)
    return read(made.text), made


def test_version_2_has_its_addresses_moved_and_follows_the_interfaces() -> None:
    document, made = changed(V2)
    expected = read(V2.replace("10.1.0.", "10.2.0.").replace("110.2.0.", "110.1.0."))
    interface = expected["ethernets"]["id0"]
    interface["match"]["macaddress"] = NEW
    interface["addresses"][1] = "fd00:0:2::5/64"
    assert document == expected
    assert list(document["ethernets"]["id0"]) == list(interface), "in its order"
    assert "mtu: 0x5dc" in made.text, "as it was written"
    assert (made.hits, made.followed, made.dropped) == (Counter({0: 4, 1: 1}), 1, 0)


def test_version_1_has_its_addresses_moved_and_follows_the_interfaces() -> None:
    document, made = changed(V1)
    expected = read(V1.replace("10.1.", "10.2.").replace(OLD, NEW))
    assert document == expected
    assert (made.hits, made.followed, made.dropped) == (Counter({0: 4}), 1, 0)


def test_below_network_it_is_the_same() -> None:
    below = "network:\n" + "".join(f"  {line}\n" for line in V2.splitlines())
    document, made = changed(below)
    assert document == {"network": changed(V2)[0]}
    assert made.followed == 1


@pytest.mark.parametrize("known", [True, False])
def test_an_address_that_is_not_known_is_dropped_with_what_needs_it(known: bool) -> None:
    how = CLEARED if known else CLEARED.model_copy(update={"macs": {}})
    document, made = changed(V2, how)
    assert not document["ethernets"]["id0"].keys() & {"match", "set-name"}
    assert (made.followed, made.dropped) == (0, 1)
    document, made = changed(V1, how)
    assert "mac_address" not in document["config"][0]
    assert (made.followed, made.dropped) == (0, 1)


def test_a_match_that_says_more_keeps_the_rest() -> None:
    match = f"{{driver: virtio, macaddress: {OLD}}}"
    text = f"version: 2\nethernets:\n  a: {{match: {match}, set-name: b}}"
    document, _ = changed(text, CLEARED)
    assert document["ethernets"]["a"] == {"match": {"driver": "virtio"}, "set-name": "b"}
    document, made = changed(text + "\n  c: {match: {}, set-name: d}", CLEARED)
    assert document["ethernets"]["c"] == {"match": {}, "set-name": "d"}
    assert made.dropped == 1


def test_hardware_addresses_that_are_kept_stay() -> None:
    assert changed(V2, KEEPING)[0]["ethernets"]["id0"]["match"] == {"macaddress": OLD.upper()}
    only_mac = f"version: 2\nethernets:\n  a: {{match: {{macaddress: {OLD}}}}}"
    assert network_data.rewrite(only_mac, KEEPING) == network_data.Rewritten(only_mac)
    left_out = Rewrite(macs={OLD: ""})
    assert network_data.rewrite(only_mac, left_out).dropped == 1
    assert network_data.rewrite(only_mac.replace(OLD, KEPT), left_out).dropped == 0


def test_a_hardware_address_is_text_also_where_yaml_would_count_it() -> None:
    """52:54:00:11:22:33 is a number of base 60 in YAML 1.1."""
    old, new = "52:54:00:11:22:33", "12:54:00:11:22:34"
    text = f"version: 2\nethernets:\n  a: {{match: {{macaddress: {old}}}}}"
    document, _ = changed(text, Rewrite(macs={old: new}))
    assert document["ethernets"]["a"]["match"] == {"macaddress": new}


def test_anchors_are_followed_once_and_written_again() -> None:
    text = "version: 2\nx: &a {via: 10.1.0.1}\ny: [*a, *a]\nz: {<<: *a}\n"
    document, made = changed(text)
    assert document == read(text.replace("10.1.", "10.2."))
    assert made.hits == Counter({0: 1})


BOMB = "version: 2\ngateway4: 10.1.0.1\na0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)
)
UNREADABLE = [
    ("version: 2\ngateway4: [10.1.0.1", "it is not valid YAML at line 2"),
    ("version: 2\n\tgateway4: 10.1.0.1", "it is not valid YAML at line 2"),
    ("version: 2\ngateway4: 10.1.0.1\x00", "it is not valid YAML"),
    ("version: 2\n---\ngateway4: 10.1.0.1", "it is not valid YAML at line 2"),
    ("version: 2\ngateway4: *nobody # 10.1.0.1", "it is not valid YAML at line 2"),
    ("a: " + "[" * 5000 + "10.1.0.1", "it is not valid YAML"),
    ("version: 3\ngateway4: 10.1.0.1", "it is not network data of version 1 or 2"),
    ("version: [2]\ngateway4: 10.1.0.1", "it is not network data of version 1 or 2"),
    ("gateway4: 10.1.0.1", "it is not network data of version 1 or 2"),
    ("# 10.1.0.1", "it is not network data of version 1 or 2"),
    ("- 10.1.0.1", "it is not network data of version 1 or 2"),
    ("auto eth0\niface eth0 inet static\n  address 10.1.0.5", "it is not network data of"),
    ("version: 2\ngateway4: 10.1.0.1\n" + "#" * 2**16, "it has more than 65536 characters"),
]


@pytest.mark.parametrize(("text", "problem"), UNREADABLE)
def test_what_cannot_be_read_stays_as_it_is_and_is_said(text: str, problem: str) -> None:
    made = network_data.rewrite(text, DERIVED)
    assert made.problem
    assert made.problem.startswith(problem)
    assert made == network_data.Rewritten(text, problem=made.problem)
    assert "10.1" not in made.problem


def test_what_has_nothing_to_change_is_not_even_read() -> None:
    for text in ("version: 2\nethernets: {a: {dhcp4: true}}\n", "{", "", "a: *b", "[" * 5000):
        assert network_data.rewrite(text, DERIVED) == network_data.Rewritten(text)


def test_what_would_be_endless_when_it_is_built_is_not_built() -> None:
    made = network_data.rewrite(BOMB, DERIVED)
    assert (made.hits, made.problem) == (Counter({0: 1}), None)
    assert len(made.text) < 2 * len(BOMB)
    itself = network_data.rewrite("version: 2\na: &a [*a, 10.1.0.1]", DERIVED)
    assert itself.hits == Counter({0: 1})
    assert "10.2.0.1" in itself.text
    python = network_data.rewrite(
        "version: 2\na: !!python/object/apply:os.getcwd [10.1.0.1]", DERIVED
    )
    assert "!!python/object/apply:os.getcwd" in python.text


PIECES = (
    *("version: 2", "\n", "  ", "- ", "a: ", "10.1.0.5", "2001:db8:1::5", f"macaddress: {OLD}"),
    *("match: ", "{", "}", "[", "]", ", ", "&a ", "*a", "!!int ", "'", '"', "|\n", "\\ud800", "? "),
    *("<<: ", "set-name: b", "network:\n", "---\n", "%YAML 1.1\n", "\t", "1_0:30", "\u00e9", "#"),
)
documents = st.lists(st.sampled_from(PIECES), max_size=25).map(
    lambda parts: "version: 2\n" + "".join(parts)
)


@settings(max_examples=4 * settings().max_examples)
@given(documents)
def test_any_document_is_changed_or_left_and_one_that_is_changed_is_still_one(text: str) -> None:
    for how in (DERIVED, CLEARED):
        made = network_data.rewrite(text, how)
        if made.text == text:
            continue
        assert not made.problem
        yaml.compose(made.text, Loader=yaml.SafeLoader)
        again = network_data.rewrite(made.text, how)
        assert (again.hits, again.problem) == (Counter(), None)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("change", list(Change))
def test_a_value_is_changed_in_the_form_that_it_has(change: Change) -> None:
    text = "version: 2\ngateway4: 10.1.0.1\n"
    value = encoded(text) if change is Change.NETWORK_DATA_BASE64 else text
    expected = "version: 2\ngateway4: 10.2.0.1\n"
    if change is Change.NETWORK_DATA_BASE64:
        expected = encoded(expected)
    assert rewrite(value, change, DERIVED).text == expected
    other = value.replace("10.1.", "10.3.") if change is not Change.NETWORK_DATA_BASE64 else ""
    assert rewrite(other, change, DERIVED).text == other


@pytest.mark.parametrize("value", [None, 5, ["10.1.0.5"], {"a": "10.1.0.5"}])
@pytest.mark.parametrize("change", list(Change))
def test_what_is_no_text_stays(value: Json, change: Change) -> None:
    assert rewrite(value, change, DERIVED).text == value


@pytest.mark.parametrize("value", ["10.1.0.5", "é", "YQ", "/w==", "\ud800"])
def test_what_is_no_text_in_base64_stays_and_is_said(value: str) -> None:
    made = rewrite(value, Change.NETWORK_DATA_BASE64, DERIVED)
    assert (made.text, made.problem) == (value, "it is not text in base64")


def test_base64_may_have_several_lines() -> None:
    text = encoded("version: 2\ngateway4: 10.1.0.1\n")
    made = rewrite(text[:8] + "\r\n" + text[8:], Change.NETWORK_DATA_BASE64, DERIVED)
    assert made.hits == Counter({0: 1})


@pytest.mark.parametrize(
    ("to", "change"),
    [
        (("metadata", "annotations", "note"), Change.ADDRESSES),
        (("spec", "template", "metadata", "annotations", "kubevirt.io/ignitiondata"), None),
        (("spec", "volumes", 1, "cloudInitNoCloud", "networkData"), Change.NETWORK_DATA),
        (
            ("spec", "volumes", 1, "cloudInitConfigDrive", "networkDataBase64"),
            Change.NETWORK_DATA_BASE64,
        ),
        (("spec", "volumes", 1, "cloudInitNoCloud", "userData"), None),
        (("spec", "volumes", 1, "cloudInitNoCloud", "userDataBase64"), None),
        (("spec", "readinessProbe", "exec", "command"), None),
        (("networkData",), None),
    ],
)
def test_user_data_is_never_changed(to: tuple[str | int, ...], change: Change | None) -> None:
    assert change_of(to) is change
