"""`python -m bench [NAME...]` measures and prints; `--write` also renders docs/benchmarks.md."""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date
from typing import Protocol

from bench import (
    batch,
    cfg,
    document,
    event,
    failover,
    fill,
    images,
    init,
    line,
    memory,
    migrate,
    ready,
    restore,
    rollback,
    rto,
    search,
    strategies,
)
from bench.figures import Table, markdown


class Benchmark(Protocol):
    """QUICK: the smallest sizes, to see that it works; its figures mean nothing."""

    def __call__(self, *, quick: bool) -> Sequence[Table]: ...


BENCHMARKS: dict[str, Benchmark] = {
    "event": event.tables,
    "fill": fill.tables,
    "migrate": migrate.tables,
    "search": search.tables,
    "init": init.tables,
    "restore": restore.tables,
    "batch": batch.tables,
    "rollback": rollback.tables,
    "failover": failover.tables,
    "line": line.tables,
    "ready": ready.tables,
    "memory": memory.tables,
    "cfg": cfg.tables,
    "images": images.tables,
    "strategies": strategies.tables,
    "rto": rto.tables,
}


def main(arguments: list[str]) -> int:
    """Run the benchmarks that are named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="|".join(BENCHMARKS), help="all by default")
    purpose = parser.add_mutually_exclusive_group()
    purpose.add_argument(
        "--write", action="store_true", help="render the tables into docs/benchmarks.md as well"
    )
    purpose.add_argument(
        "--quick", action="store_true", help="smallest sizes: does it work? not for figures"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    for name in options.names or BENCHMARKS:
        run(name, write=options.write, quick=options.quick)
    return 0


def run(name: str, *, write: bool, quick: bool) -> None:
    """One benchmark: written as soon as it is done, so that a later failure loses nothing."""
    if not quick:
        warning = f"{name} begins; it takes minutes, and quiet ones make better figures."
        print(warning, file=sys.stderr, flush=True)
    started = time.monotonic()
    tables = BENCHMARKS[name](quick=quick)
    print("\n\n".join(map(markdown, tables)))
    print(f"\n{name}: {time.monotonic() - started:.0f} s\n", flush=True)
    if write:
        text = document.FILE.read_text()
        conditions = document.conditions(name, date.today())
        document.FILE.write_text(document.written(text, name, tables, conditions))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
