"""`python -m bench [event|init|restore|cfg]...` measures and prints; `--write` also renders
docs/benchmarks.md.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date

from bench import cfg, document, event, init, restore
from bench.figures import Table, markdown

BENCHMARKS: dict[str, Callable[[], Sequence[Table]]] = {
    "event": event.tables,
    "init": init.tables,
    "restore": restore.tables,
    "cfg": cfg.tables,
}


def main(arguments: list[str]) -> int:
    """Run the benchmarks that are named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="|".join(BENCHMARKS), help="all by default")
    parser.add_argument(
        "--write", action="store_true", help="render the tables into docs/benchmarks.md as well"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    for name in options.names or BENCHMARKS:
        run(name, write=options.write)
    return 0


def run(name: str, *, write: bool) -> None:
    """One benchmark: written as soon as it is done, so that a later failure loses nothing."""
    print(
        f"{name} begins; it takes minutes, and quiet ones make better figures.",
        file=sys.stderr,
        flush=True,
    )
    started = time.monotonic()
    tables = BENCHMARKS[name]()
    print("\n\n".join(map(markdown, tables)))
    print(f"\n{name}: {time.monotonic() - started:.0f} s\n", flush=True)
    if write:
        text = document.FILE.read_text()
        document.FILE.write_text(
            document.written(text, name, tables, document.conditions(name, date.today()))
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
