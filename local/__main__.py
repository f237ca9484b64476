"""`python -m local up|down|status`, `python -m local outage|recover CLUSTER`."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

from local import runtime

COMMANDS: dict[tuple[str, int], Callable[..., int]] = {
    ("up", 0): runtime.up,
    ("down", 0): runtime.down,
    ("status", 0): runtime.status,
    ("outage", 1): runtime.outage,
    ("recover", 1): runtime.recover,
}
"""By name and number of arguments."""


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Run one command; a kill is handled like Ctrl-C, so that a half-started runtime is stopped."""
    command = COMMANDS.get(("".join(arguments[:1]), len(arguments) - 1))
    if command is None:
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return command(*arguments[1:])
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - whatever it is, its message is what a person needs
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
