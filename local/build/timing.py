"""Make targets in, their output and how long each took out; fails when one of them failed."""

import os
import subprocess
import sys
import time

WORDS = {True: "ok", False: "FAILED"}


def run(part: str) -> tuple[str, float, bool]:
    """Run one `[label=]target`; its label, seconds and success."""
    label, _, target = part.rpartition("=")
    started = time.monotonic()
    done = subprocess.run(
        [os.environ.get("MAKE", "make"), "--no-print-directory", "--keep-going", target],
        check=False,
    )
    return label or target, time.monotonic() - started, done.returncode == 0


def main(parts: list[str]) -> int:
    """Run every part, also after a failure, so that one run shows all that is wrong."""
    results = [run(part) for part in parts]
    print()
    for label, seconds, succeeded in results:
        print(f"{label:12}{seconds:8.1f} s  {WORDS[succeeded]}")
    return int(not all(succeeded for _, _, succeeded in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
