"""Time works in turns, read the memory of a process, and keep rows with the conditions of their measurement."""

import datetime
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.processes import PROJECT
from benchmarks.scale import Scale, are_photographs

__all__ = [
    "Floor",
    "Row",
    "Work",
    "as_text",
    "conditions",
    "interleaved",
    "median",
    "medians",
    "percentile",
    "share_row",
    "write_json",
]


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
        ratio: how the two compare; by default the measured one over the baseline.
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
    ratio_unit: str
    ratio: float = math.nan
    floors: tuple[Floor, ...] = ()
    target: str = ""
    met: bool | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.ratio):
            object.__setattr__(self, "ratio", self.measured / self.baseline)


def share_row(
    what: str,
    measured: float,
    baseline_name: str,
    baseline: float,
    *,
    target: str = "",
    met: bool | None = None,
    note: str = "",
) -> Row:
    """Return the row of two percentages; one of nothing counts as next to nothing, so that there is a ratio."""
    least = 1e-9
    return Row(
        what=what, measured=max(measured, least), unit="%", baseline_name=baseline_name, baseline=max(baseline, least),
        ratio_unit="times as much", target=target, met=met, note=note,
    )  # fmt: skip


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


Work = Callable[[], object]


def interleaved(
    works: Mapping[str, Work], *, rounds: int, each: Mapping[str, int] | None = None, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Time several works in turns.

    Args:
        works: name -> the work to time.
        rounds: how many timed turns each work gets.
        each: name -> how often a work runs in one of its turns, for short ones; 1 where it is not named.
        warm_ups: how many turns go before, which are not timed.

    Returns:
        Name -> the seconds of each timed run, in order.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(-warm_ups, rounds):
        for name, work in works.items():
            for _ in range((each or {}).get(name, 1)):
                start = time.perf_counter()
                work()
                if turn >= 0:
                    seconds[name].append(time.perf_counter() - start)
    return seconds


def median(values: Iterable[float]) -> float:
    """Return the median: every figure of a row is one."""
    return statistics.median(values)


def medians(seconds: Mapping[str, Sequence[float]], *, scale: float = 1.0) -> dict[str, float]:
    """Return the median of each work, in seconds times `scale`."""
    return {name: scale * median(values) for name, values in seconds.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


_CPUINFO = Path("/proc/cpuinfo")


def conditions(scale: Scale) -> dict[str, Any]:
    """Return the date (UTC), the commit, the machine, the versions and the pictures of a run.

    `commit` is "" outside a git checkout, and `modified` says whether a tracked file differs from it. `quick` says
    whether the sizes are too small for the figures to mean anything.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pictures": "real" if all(are_photographs(tab, data=scale.data) for tab, _ in scale.repos) else "drawn",
        "quick": scale.is_quick,
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    """Return the processor's name, or its architecture where the kernel gives no name."""
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
