"""Cloud-init's network data, versions 1 and 2 -> the same with other addresses, of IP and hardware.

The document is hostile: it is read to nodes and written again, so that nothing in it is built, run
or multiplied. Its order and its types stay; comments and spaces may not.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.models.restore_plans import Rewrite
from shared.restore.addresses import Ranges

Node = Any
"""PyYAML's, whose module is imported where it is needed only."""

LARGEST = 64 * 2**10
"""Characters. Harvester's pages make some hundred; KubeVirt takes 2048 in the machine itself."""

HARDWARE = ("mac_address", "macaddress")
TEXT = "tag:yaml.org,2002:str"


class Rewritten(NamedTuple):
    """A value, and what was changed in it: addresses by the number of their range, hardware
    addresses that FOLLOWED their interface or were DROPPED. PROBLEM says why it stays as it was.
    """

    text: str
    hits: Counter[int] = Counter()
    followed: int = 0
    dropped: int = 0
    problem: str | None = None


def rewrite(text: str, how: Rewrite) -> Rewritten:
    """Never raises: a document that cannot be read stays as it is, for its guest cannot read it
    either.
    """
    ranges = Ranges(how.addresses)
    if not ranges.replace(text).hits and not any(key in text for key in HARDWARE):
        return Rewritten(text)
    if len(text) > LARGEST:
        return Rewritten(text, problem=f"it has more than {LARGEST} characters")
    return _rewrite(text, how, ranges)


def _rewrite(text: str, how: Rewrite, ranges: Ranges) -> Rewritten:
    # Not at the top of the module: it takes 12 ms, and most restores have no need of it.
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None or _version(root) not in ("1", "2"):
            return Rewritten(text, problem="it is not network data of version 1 or 2")
        changed = _change(root, how, ranges)
        if not (changed.hits or changed.followed or changed.dropped):
            return Rewritten(text)
        written = yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=LARGEST)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" at line {line + 1}"
        return Rewritten(text, problem=f"it is not valid YAML{where}")
    except (ValueError, OverflowError, RecursionError):  # what PyYAML lets out
        return Rewritten(text, problem="it is not valid YAML")
    return changed._replace(text=written)


def _version(root: Node) -> str | None:
    """Both forms are in use: with everything below `network`, and without."""
    inner = _entries(root).get("network", root)
    version = _entries(inner).get("version")
    return str(version.value) if version is not None and version.id == "scalar" else None


def _entries(node: Node) -> dict[str, Node]:
    if node.id != "mapping":
        return {}
    return {key.value: value for key, value in node.value if key.id == "scalar"}


def _change(root: Node, how: Rewrite, ranges: Ranges) -> Rewritten:
    """What was changed of the nodes, in their place."""
    hits: Counter[int] = Counter()
    followed = dropped = 0
    emptied: set[int] = set()
    for node in _nodes(root):
        if node.id == "scalar":
            replaced = ranges.replace(node.value)
            if replaced.hits:
                node.value, node.tag = replaced.text, TEXT
                hits += replaced.hits
        elif node.id == "mapping":
            before = len(node.value)
            followed += _follow(node, how)
            dropped += before - len(node.value)
            if before and not node.value:
                emptied.add(id(node))
    for node in _nodes(root):
        if node.id == "mapping":
            _drop_empty_match(node, emptied)
    return Rewritten("", hits, followed, dropped)


def _nodes(root: Node) -> Iterator[Node]:
    """Each once, however often it is referred to."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if node.id == "sequence":
            waiting += node.value
        elif node.id == "mapping":
            waiting += [part for pair in node.value for part in pair]


def _follow(mapping: Node, how: Rewrite) -> int:
    """How many hardware addresses of a mapping followed their interface; those that cannot are
    taken out of it.
    """
    followed = 0
    kept = []
    for key, value in mapping.value:
        if key.id == value.id == "scalar" and key.value in HARDWARE:
            old = value.value.lower().replace("-", ":")
            new = how.macs.get(old, "" if how.drops_unknown else old)
            if not new:
                continue
            if new != old:
                value.value, value.tag = new, TEXT
                followed += 1
        kept.append((key, value))
    mapping.value = kept
    return followed


def _drop_empty_match(mapping: Node, emptied: set[int]) -> None:
    """An empty `match` is any interface, and `set-name` without one is refused by netplan."""
    match = _entries(mapping).get("match")
    if match is not None and id(match) in emptied:
        gone = ("match", "set-name")
        mapping.value = [pair for pair in mapping.value if pair[0].value not in gone]
