"""The rows that a benchmark gives, and how they are printed and written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Floor", "Row", "as_text", "write_json"]


@dataclass(frozen=True)
class Floor:
    """A part that no way of doing the work can do without, or the sum of such parts.

    Attributes:
        name: of the part.
        value: its figure when it runs alone, in the unit of its row.
    """

    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement against its baseline. All figures are of the same run.

    Attributes:
        what: the work that was measured.
        measured: its figure, in `unit`.
        unit: of `measured`, `baseline` and `floors`.
        baseline_name: the work that it is compared with.
        baseline: that work's figure.
        ratio: how the two compare.
        ratio_unit: how to read the ratio: "times faster", "of its time" and so on.
        floors: the parts of the work, measured alone.
        target: the figure to reach, in words; "" where the row only informs.
        met: whether the target is reached; None where there is none.
        note: further facts.
    """

    what: str
    measured: float
    unit: str
    baseline_name: str
    baseline: float
    ratio: float
    ratio_unit: str
    floors: tuple[Floor, ...] = ()
    target: str = ""
    met: bool | None = None
    note: str = ""


_HEADINGS = ("what", "measured", "baseline", "ratio", "floor", "target", "met", "note")


def as_text(rows: Sequence[Row], conditions: Mapping[str, Any]) -> str:
    """Format the rows as one table, with the conditions of the run below it."""
    lines = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ruled = [lines[0], tuple("-" * width for width in widths), *lines[1:]]
    text = "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in ruled
    )
    facts = ", ".join(f"{key}: {value}" for key, value in conditions.items())
    return f"{text}\n\nEvery time is the median of interleaved rounds of this run. {facts}"


def write_json(rows: Sequence[Row], path: Path, conditions: Mapping[str, Any]) -> None:
    """Write the conditions and the rows as a JSON file, every attribute of a row under its own name."""
    values = {**conditions, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _cells(row: Row) -> tuple[str, ...]:
    met = "" if row.met is None else "yes" if row.met else "no"
    floors = ", ".join(f"{floor.name} {_figure(floor.value)}" for floor in row.floors)
    return (
        row.what,
        f"{_figure(row.measured)} {row.unit}",
        f"{row.baseline_name}: {_figure(row.baseline)} {row.unit}",
        f"{_figure(row.ratio)} {row.ratio_unit}",
        f"{floors} {row.unit}" if floors else "",
        row.target,
        met,
        row.note,
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
