"""What a fresh interpreter takes to import things, make clients and handle events: JSON in argv,
JSON on the last line out; needs only the stdlib.
"""

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


class Context:
    """As much of Lambda's context as decorators and handlers read; SECONDS are left at first."""

    function_name = "bench"
    function_version = "$LATEST"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:bench"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def __init__(self, seconds: float = 300) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


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
        _named(path)()
    for service in task["services"]:
        importlib.import_module("boto3").client(service)


def main(task: dict[str, Any]) -> None:
    """A task may have `events`: [handler, event, seconds that the handler has]."""
    sys.path[:0] = task["path"]
    known, started, used = len(sys.modules), time.perf_counter(), time.process_time()
    prepared(task)
    sample = {
        "ms": (time.perf_counter() - started) * 1000,
        "cpu": (time.process_time() - used) * 1000,
        "modules": len(sys.modules) - known,
        "mb": peak_kilobytes() / 1024,
    }
    started = time.perf_counter()
    for handler, event, seconds in task.get("events", ()):
        _named(handler)(event, Context(seconds))
    sample["handled"] = time.perf_counter() - started
    sample["peak"] = peak_kilobytes() / 1024
    print(json.dumps(sample))


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
