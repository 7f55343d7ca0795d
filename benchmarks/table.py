"""The rows that a benchmark gives, and how they are printed."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Row", "as_text", "write_json"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement against its baseline.

    Attributes:
        what: what was measured.
        measured: the figure, in `unit`.
        unit: of both figures.
        baseline_name: what it is compared with.
        baseline: the baseline's figure.
        ratio: how the two compare, as `target` states it.
        target: what is asked for, in words; "" where the row only informs.
        met: whether it is reached; None where there is no target.
        note: what else is worth knowing.
    """

    what: str
    measured: float
    unit: str
    baseline_name: str
    baseline: float
    ratio: float
    target: str = ""
    met: bool | None = None
    note: str = ""


_HEADINGS = ("what", "measured", "baseline", "ratio", "target", "met", "note")


def as_text(rows: Sequence[Row]) -> str:
    """The rows as one table, with the number of cores below it."""
    lines = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ruled = [lines[0], tuple("-" * width for width in widths), *lines[1:]]
    text = "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in ruled
    )
    return f"{text}\n\n{os.cpu_count()} cores. Times are medians of repeated, interleaved measurements."


def write_json(rows: Sequence[Row], path: Path) -> None:
    """The rows and the number of cores as a JSON file."""
    values = {"cores": os.cpu_count(), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _cells(row: Row) -> tuple[str, ...]:
    met = "" if row.met is None else "yes" if row.met else "no"
    baseline = f"{_figure(row.baseline)} {row.unit}: {row.baseline_name}"
    return (
        row.what, f"{_figure(row.measured)} {row.unit}", baseline, f"{_figure(row.ratio)}x", row.target, met, row.note,
    )  # fmt: skip


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
