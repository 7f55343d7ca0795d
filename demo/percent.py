"""The meaning of the percent: the scores of a search among the measured scores of true and of false matches."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from demo.texts import say

__all__ = ["PercentTable", "explain_percents", "read_percent_table"]

_log = logging.getLogger(__name__)

_LEAST = 30
"""Fewest measured matches around a percent from which a share is stated."""
_MAX_BYTES = 4 * 2**20
_MAX_COUNT = 10**9
_WIDTH, _HEIGHT, _FOOT = 360, 84, 16


@dataclass(frozen=True)
class PercentTable:
    """How often each percent was seen among the matches of held-out queries.

    Attributes:
        true: percent, 0 to 100 -> matches with the query's label.
        false: percent, 0 to 100 -> other matches.
    """

    true: Sequence[int]
    false: Sequence[int]

    def around(self, percent: int) -> tuple[int, int]:
        """Count the true and the false matches within one percent of this one, or within two, or three, up to five."""
        true = false = 0
        for reach in range(1, 6):
            near = slice(max(0, percent - reach), percent + reach + 1)
            true, false = sum(self.true[near]), sum(self.false[near])
            if true + false >= _LEAST:
                break
        return true, false


def read_percent_table(repo: Path) -> PercentTable | None:
    """Read the table in the metrics.json of a repo folder.

    Returns:
        None where there is no table, as for a gallery of a host's own, or none that can be used: the log says why.
    """
    path = repo / "metrics.json"
    if not path.exists():
        return None
    try:
        table = _read_json(path)["tables"]["match_scores"]
        return PercentTable(_counts(table["true"]), _counts(table["false"]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        _log.warning("%s cannot be used, so the page does not say how often a percent is right: %s", path, reason)
        return None


def _read_json(path: Path) -> Any:
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"it is no regular file of at most {_MAX_BYTES:,} bytes")
    return json.loads(path.read_text(encoding="utf-8"))


def _counts(values: Any) -> list[int]:
    """Check that a JSON value is 101 counts, one a percent, and that not all are 0."""
    is_whole = isinstance(values, list) and all(type(value) is int and 0 <= value <= _MAX_COUNT for value in values)
    if not is_whole or len(values) != 101 or not any(values):
        raise ValueError("a table of match scores must be 101 whole numbers, not all 0")
    return list(values)


def explain_percents(percents: Sequence[int], table: PercentTable) -> str:
    """Write one sentence on the first match, and draw a small plot of all matches, as HTML.

    Args:
        percents: of the matches, nearest first; at least one.
        table: of the gallery's repo.
    """
    first = max(0, percents[0])
    true, false = table.around(first)
    total = true + false
    share = (
        say("percent_share", n=f"{total:,}", percent=first, share=f"{100 * true / total:.0f}")
        if total >= _LEAST
        else say("percent_few", percent=first)
    )
    same, other, yours = (escape(say(f"percent_{key}")) for key in ("same", "other", "yours"))
    return (
        f'<figure class="visim-percent"><figcaption><b>{escape(say("percent_head"))}</b> {escape(share)}</figcaption>'
        f"{_plot(percents, table, share)}"
        f'<p><span class="visim-true">■</span> {same} <span class="visim-false">■</span> {other} '
        f"<span>│</span> {yours}</p></figure>"
    )


def _plot(percents: Sequence[int], table: PercentTable, share: str) -> str:
    least = min(_first_seen(table), max(0, min(percents)))
    least -= least % 10
    scale = _WIDTH / (100.5 - least)
    marks = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT}"/>'
        for x in sorted({(max(least, percent) - least) * scale for percent in percents})
    )
    step = 10 if least >= 40 else 20
    ticks = "".join(
        f'<text x="{(tick - least) * scale:.1f}" y="{_HEIGHT + _FOOT - 3}" text-anchor="'
        f'{"start" if tick == least else "end" if tick == 100 else "middle"}">{tick} %</text>'
        for tick in range(least, 101, step)
    )
    return (
        f'<svg viewBox="0 -2 {_WIDTH} {_HEIGHT + _FOOT + 2}" role="img" '
        f'aria-label="{escape(say("percent_plot"))} {escape(share)}">'
        f"{_outlines(table, least, scale)}"
        f'<g class="visim-marks">{marks}</g><g class="visim-ticks">{ticks}</g></svg>'
    )


def _outlines(table: PercentTable, least: int, scale: float) -> str:
    """Draw both histograms from `least` percent on, on one scale, so that heights compare; the higher one is behind."""
    curves = {"visim-true": _smooth(table.true, least), "visim-false": _smooth(table.false, least)}
    top = max(max(curve) for curve in curves.values())
    drawn = []
    for name, curve in sorted(curves.items(), key=lambda item: -max(item[1])):
        points = [(index * scale, _HEIGHT * (1 - value / top)) for index, value in enumerate(curve)]
        corners = [(0.0, float(_HEIGHT)), *points, (points[-1][0], float(_HEIGHT))]
        drawn.append(f'<polygon class="{name}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}"/>')
    return "".join(drawn)


def _smooth(counts: Sequence[int], least: int) -> list[float]:
    """Average each count from `least` percent on with its neighbours."""
    windows = (counts[max(0, percent - 1) : percent + 2] for percent in range(least, 101))
    return [sum(window) / len(window) for window in windows]


def _first_seen(table: PercentTable) -> int:
    """Find the percent below which hardly a match, true or false, was measured."""
    both = [true + false for true, false in zip(table.true, table.false, strict=True)]
    few, seen = sum(both) / 500, 0
    for percent, count in enumerate(both):
        seen += count
        if seen > few:
            return percent
    return 0
