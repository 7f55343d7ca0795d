"""`python -m benchmarks`: measure, and print one table. `--only` measures some rows; `--quick` only tries them."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.exact_search import search_rows
from benchmarks.folder import folder_rows
from benchmarks.pictures import DATA
from benchmarks.queries import first_tab_rows, second_tab_rows
from benchmarks.scale import Scale
from benchmarks.serving import serving_rows, user_rows
from benchmarks.startup import startup_rows
from benchmarks.table import Row, as_text, write_json

__all__ = ["ROWS", "main"]

ROWS: dict[str, Callable[[Scale], Iterator[Row]]] = {
    "cars": second_tab_rows,
    "cifar10": first_tab_rows,
    "folder": folder_rows,
    "search": search_rows,
    "demo": serving_rows,
    "users": user_rows,
    "start": startup_rows,
}
"""Name -> what gives these rows of the table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the options say, print the table; 0 however the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="measure these rows alone")
    parser.add_argument("--quick", action="store_true", help="small sizes: tries the code; the figures say nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of real pictures [%(default)s]")
    options = parser.parse_args(arguments)
    scale = Scale.quick(data=options.data) if options.quick else Scale(data=options.data)
    rows: list[Row] = []
    for name in options.only:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        rows += ROWS[name](scale)
    print(as_text(rows))
    if options.json:
        write_json(rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
