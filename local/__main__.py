"""`python -m local up|down|status`."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

from local import runtime

COMMANDS: dict[str, Callable[[], int]] = {
    "up": runtime.up,
    "down": runtime.down,
    "status": runtime.status,
}


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Run one command; a kill is handled like Ctrl-C, so that a half-started runtime is stopped."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return COMMANDS[arguments[0]]()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - whatever it is, its message is what a person needs
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
