"""What a fresh interpreter takes to import things and make clients: JSON in argv, JSON out; needs
only the stdlib.
"""

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def peak_kilobytes() -> int:
    """Of this program alone: ru_maxrss would begin with what the parent had."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


def prepared(task: dict[str, Any]) -> None:
    """Import modules, call what is to be called of them, make the SDK's clients."""
    for name in task["imports"]:
        importlib.import_module(name)
    for path in task["calls"]:
        module, _, name = path.partition(":")
        getattr(importlib.import_module(module), name)()
    for service in task["services"]:
        importlib.import_module("boto3").client(service)


def main(task: dict[str, Any]) -> None:
    sys.path[:0] = task["path"]
    known, started = len(sys.modules), time.perf_counter()
    prepared(task)
    took = (time.perf_counter() - started) * 1000
    print(
        json.dumps({"ms": took, "modules": len(sys.modules) - known, "mb": peak_kilobytes() / 1024})
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
