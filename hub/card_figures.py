"""The tables of figures in a model card, with intervals, targets and baselines."""

from collections.abc import Iterable, Sequence
from typing import Final

from visim_models.repo_folder.card import markdown_table
from visim_models.repo_folder.metrics import Figure, Metrics, is_met

__all__ = ["figures_section"]

_AUROC: Final = "ood_auroc_"
_FOUND: Final = "ood_found_at_"
_BLIND: Final = 50.0
"""Percent found at 5 % false alarms below which a card says that the repo cannot tell a kind."""


def figures_section(metrics: Metrics) -> str:
    """Return the section of figures: the main table, the one of outliers, missed targets, suspected labels."""
    outliers = (_AUROC, _FOUND)
    main = [figure for figure in metrics.figures if not figure.name.startswith(outliers)]
    parts = [
        "## Figures",
        f"`{metrics.command} --check` measures them again, baselines included. In brackets: 95 % sampling intervals.",
        "" if metrics.limit is None else f"A trial on at most {metrics.limit} pictures of each part, not all of them.",
        _main_table(main, metrics.baselines),
        _outlier_table(metrics),
        _missed(metrics.figures),
        _suspected_labels(metrics),
    ]
    return "\n\n".join(part for part in parts if part)


def _main_table(figures: Sequence[Figure], baselines: Sequence[Figure]) -> str:
    if not figures:
        return ""
    rows = []
    for figure in figures:
        beside = [f"{each.method}: {_cell(each)}" for each in baselines if each.name == figure.name]
        rows.append(
            (figure.what, _bold(figure), str(figure.n), figure.formatted_target() or "-", "; ".join(beside) or "-")
        )
    return markdown_table(("figure", "value", "pictures", "target", "baselines, measured alike"), rows)


def _outlier_table(metrics: Metrics) -> str:
    """Return a row for each kind and method: the AUROC, and the shares found at 5 and at 1 % false alarms."""
    kinds = [figure.name.removeprefix(_AUROC) for figure in metrics.figures if figure.name.startswith(_AUROC)]
    if not kinds:
        return ""
    own = {figure.name: figure for figure in metrics.figures}
    methods = list(dict.fromkeys(each.method for each in metrics.baselines if each.name.startswith(_AUROC)))
    found = {"this repo": own}
    found |= {method: {each.name: each for each in metrics.baselines if each.method == method} for method in methods}
    rows = [
        _outlier_row(kind, method, figures, is_own=figures is own)
        for kind in kinds
        for method, figures in found.items()
        if _AUROC + kind in figures
    ]
    columns = ("kind", "method", "AUROC", "found at 5 % false alarms", "at 1 %", "pictures", "targets")
    heading = "Pictures of other things, against the held-out ones. A method without a rate has one fixed threshold."
    return "\n\n".join(part for part in (heading, markdown_table(columns, rows), _blind(kinds, own)) if part)


def _outlier_row(kind: str, method: str, figures: dict[str, Figure], *, is_own: bool) -> tuple[str, ...]:
    area = figures[_AUROC + kind]
    shares = [figures.get(f"{_FOUND}{rate}_{kind}") for rate in (5, 1)]
    targets = [figure.formatted_target() for figure in (area, *shares) if figure is not None and figure.target]
    show = _bold if is_own else _cell
    cells = [show(figure) if figure is not None else "-" for figure in (area, *shares)]
    return (kind if is_own else "", method, *cells, str(area.n), ", ".join(targets) or "-")


def _blind(kinds: Sequence[str], own: dict[str, Figure]) -> str:
    shares = {kind: own[f"{_FOUND}5_{kind}"] for kind in kinds if f"{_FOUND}5_{kind}" in own}
    missed = [f"{kind} ({figure.formatted()} found)" for kind, figure in shares.items() if figure.value < _BLIND]
    return f"Kinds that it cannot tell: {', '.join(missed)}." if missed else ""


def _missed(figures: Iterable[Figure]) -> str:
    lines = []
    for figure in figures:
        if is_met(figure) is False and figure.target is not None:
            low, high = figure.target.get("at_least", figure.value), figure.target.get("at_most", figure.value)
            gap = max(low - figure.value, figure.value - high)
            line = f"* `{figure.name}`: {figure.formatted()} misses {figure.formatted_target()} by {gap:.2g}"
            lines.append(f"{line} {'points' if figure.unit == '%' else figure.unit}".rstrip())
    return "Targets that are missed:\n\n" + "\n".join(lines) if lines else ""


def _suspected_labels(metrics: Metrics) -> str:
    suspected = metrics.tables.get("suspected_labels", [])
    if not suspected:
        return ""
    names = ", ".join(f"`{each['file_name']}` ({each['predicted']}?)" for each in suspected)
    return f"Held-out pictures whose label is probably wrong, all counted as errors above: {names}."


def _cell(figure: Figure) -> str:
    interval = figure.formatted_interval()
    return f"{figure.formatted()} ({interval})" if interval else figure.formatted()


def _bold(figure: Figure) -> str:
    interval = figure.formatted_interval()
    return f"**{figure.formatted()}** ({interval})" if interval else f"**{figure.formatted()}**"
