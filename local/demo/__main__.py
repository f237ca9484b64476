"""`python -m local.demo` tells the story, and says whether every step of it was true."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes.client import ApiException

from local import runtime
from local.api import said
from local.demo import failing_over, restoring
from local.demo.telling import UntrueError, chapter
from local.stack import Stack


def main() -> int:
    """0 only when every step of the story was true."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        with running() as stack:
            chapter("1. One machine of cluster east is restored on cluster west")
            restoring.tell(stack)
            chapter("2. Cluster east is lost, and the rest of its machines fails over to west")
            failing_over.tell(stack)
    except ApiException as error:
        return untrue(f"an API server answers {said(error)}")
    except (UntrueError, TimeoutError) as error:
        return untrue(str(error))
    except KeyboardInterrupt:
        return 130
    print(f"\nAll true, after {time.monotonic() - started:.0f} s.")
    return 0


def untrue(reason: str) -> int:
    print(f"\nThe story is not true: {reason}", file=sys.stderr)
    return 1


@contextmanager
def running() -> Iterator[Stack]:
    """The stack that is up, or one of our own for the length of the story."""
    ours = not runtime.FILE.exists()
    if runtime.up() != 0:
        raise UntrueError("the embedded runtime did not start; the lines above say why")
    try:
        yield Stack.running()
    finally:
        if ours:
            print()
            runtime.down()


if __name__ == "__main__":
    sys.exit(main())
