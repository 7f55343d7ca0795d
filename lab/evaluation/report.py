"""The figures as a table for a terminal."""

from collections.abc import Sequence
from typing import Final

from visim_models.repo_folder.metrics import Figure, Metrics, is_met

__all__ = ["format_report"]

_HEADINGS: Final = ("figure", "value", "95 % interval", "tolerance", "pictures", "target", "")
_VERDICTS: Final = {None: "", True: "met", False: "MISSED"}


def format_report(metrics: Metrics) -> str:
    """Format figures, then baselines, one a line, then the command that measured them."""
    tables = [
        f"{heading}\n{_table(figures)}"
        for heading, figures in (("Figures", metrics.figures), ("Baselines", metrics.baselines))
        if figures
    ]
    return "\n\n".join([*tables, f"Measured with: {metrics.command}"])


def _table(figures: Sequence[Figure]) -> str:
    rows = [_HEADINGS, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.title,
        figure.formatted(),
        figure.formatted_interval(),
        f"{figure.tolerance:.2g}",
        str(figure.n),
        figure.formatted_target(),
        _VERDICTS[is_met(figure)],
    )
