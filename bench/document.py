"""Tables of one run into docs/benchmarks.md, between the markers of their benchmark."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from bench.figures import Table, markdown

FILE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
NAME_IN_CPUINFO = re.compile(r"model name\s*:\s*(.+)")


def written(text: str, name: str, tables: Sequence[Table], conditions: str) -> str:
    """TEXT with what stands between the markers of NAME replaced. Raises ValueError where it has no
    such markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(
            f"{FILE.name} must have the lines {begin} and {end} once each; restore them"
        )
    head, _, rest = text.partition(begin)
    tail = rest.partition(end)[2]
    body = "\n\n".join([conditions, *map(markdown, tables)])
    return f"{head}{begin}\n{body}\n{end}{tail}"


def conditions(name: str, today: date) -> str:
    """When and on what the figures of a benchmark came about."""
    facts = [
        f"`python -m bench {name}`",
        today.isoformat(),
        f"{os.cpu_count()} cores ({_processor()})",
        f"Python {platform.python_version()}",
        platform.system(),
        f"load {_load()} when it ended.",
    ]
    return ", ".join(facts)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := NAME_IN_CPUINFO.search(cpuinfo.read_text())):
        return found[1].strip()
    return platform.machine()


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
