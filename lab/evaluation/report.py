"""The figures as a table for a terminal."""

from collections.abc import Sequence

from visim_models.metrics import Figure, Metrics, is_met

__all__ = ["format_report", "format_target", "format_value"]

_HEADINGS = ("figure", "value", "noise", "pictures", "target", "")


def format_value(figure: Figure) -> str:
    """The value with as many digits as mean something, and its unit."""
    if figure.unit in ("%", "points"):
        return f"{figure.value:.1f} {figure.unit}"
    if figure.unit == "dB":
        return f"{figure.value:.2f} dB"
    return f"{figure.value:.4f}"


def format_target(figure: Figure) -> str:
    """The target as a few signs; "" where there is none."""
    if figure.target is None:
        return ""
    signs = {"at_least": ">=", "at_most": "<="}
    unit = f" {figure.unit}" if figure.unit else ""
    return ", ".join(f"{signs[key]} {limit:.4g}{unit}" for key, limit in figure.target.items())


def format_report(metrics: Metrics) -> str:
    """Figures, then baselines, one a line."""
    return "\n\n".join(
        f"{heading}\n{_table(figures)}"
        for heading, figures in (("Figures", metrics.figures), ("Baselines", metrics.baselines))
        if figures
    )


def _table(figures: Sequence[Figure]) -> str:
    verdicts = {None: "", True: "met", False: "MISSED"}
    rows = [_HEADINGS] + [
        (
            figure.title,
            format_value(figure),
            f"{figure.noise:.2g}",
            str(figure.n),
            format_target(figure),
            verdicts[is_met(figure)],
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
