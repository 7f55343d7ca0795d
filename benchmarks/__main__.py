"""Measure speed and memory against named baselines, and print one table: `python -m benchmarks`."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.backends import backend_build_rows, backend_demo_rows, backend_query_rows
from benchmarks.cleaning import copy_rows, group_rows, leak_rows, like_rows, speed_rows
from benchmarks.demo import serving_rows, startup_rows, user_rows
from benchmarks.engines import engine_rows, runner_rows
from benchmarks.exact_search import search_rows
from benchmarks.galleries import gallery_rows
from benchmarks.measuring import Row, as_text, conditions, write_json
from benchmarks.queries import build_rows, car_query_rows, cifar10_query_rows
from benchmarks.scale import DATA, Scale
from benchmarks.web import web_rows

__all__ = ["ROWS", "main"]

ROWS: dict[str, Callable[[Scale], Iterator[Row]]] = {
    "cars": car_query_rows,
    "cifar10": cifar10_query_rows,
    "search": search_rows,
    "demo": serving_rows,
    "users": user_rows,
    "start": startup_rows,
    "build": build_rows,
    "galleries": gallery_rows,
    "onnx-queries": backend_query_rows,
    "onnx-demo": backend_demo_rows,
    "onnx-build": backend_build_rows,
    "web": web_rows,
    "cleaning-leaks": leak_rows,
    "cleaning-copies": copy_rows,
    "cleaning-like": like_rows,
    "cleaning-speed": speed_rows,
    "cleaning-groups": group_rows,
    "scale-engines": engine_rows,
    "scale-runners": runner_rows,
}
"""Name on the command line -> the function that measures these rows.

Building and cleaning come last: from then on the process keeps freed memory, which no other way into the library asks
for.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows of the options and print the table; return 0, however the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=_groups(), default=list(ROWS), metavar="NAME",
        help="measure only these rows; the name before a dash stands for all of them: %(choices)s",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="try the code at small sizes; the figures mean nothing")
    parser.add_argument(
        "--sizes", nargs="+", type=int, metavar="N", help="of `scale-engines`: only these numbers of rows"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows and the conditions as JSON")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of real pictures [%(default)s]")
    options = parser.parse_args(arguments)
    scale = Scale.quick(data=options.data) if options.quick else Scale(data=options.data)
    scale = replace(scale, indexed=tuple(options.sizes or scale.indexed))
    facts = conditions(scale)  # before the run: files may change during it
    rows: list[Row] = []
    for name in [name for name in ROWS if {name, _group(name)} & {*options.only}]:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        rows += ROWS[name](scale)
    print(as_text(rows, facts))
    if options.json:
        write_json(rows, options.json, facts)
    return 0


def _group(name: str) -> str:
    return name.partition("-")[0]


def _groups() -> list[str]:
    return sorted({*ROWS, *map(_group, ROWS)})


if __name__ == "__main__":
    sys.exit(main())
