"""The tables of figures in a model card, targets and baselines beside them."""

from collections.abc import Iterable, Sequence

from lab.evaluation.report import format_target, format_value
from visim_models.metrics import Figure, Metrics, is_met

__all__ = ["figures_section"]

_AUROC = "ood_auroc_"
_FOUND = "ood_found_at_"
_BLIND = 50.0
"""Percent found at 5 % false alarms under which a card says that the repo can't tell a kind."""


def figures_section(metrics: Metrics) -> str:
    """The figures as Markdown: the main table, the one of strange pictures, missed targets, suspected labels."""
    strange = (_AUROC, _FOUND)
    main = [each for each in metrics.figures if not each.name.startswith(strange)]
    parts = [_main_table(main, metrics.baselines), _strange_table(metrics), _missed(metrics.figures), _labels(metrics)]
    return "\n\n".join(part for part in parts if part)


def _main_table(figures: Sequence[Figure], baselines: Sequence[Figure]) -> str:
    rows = []
    for figure in figures:
        beside = [f"{each.method}: {_cell(each)}" for each in baselines if each.name == figure.name]
        rows.append((figure.what, _bold(figure), str(figure.n), format_target(figure) or "-", "; ".join(beside) or "-"))
    return _markdown(("what", "value", "pictures", "target", "baselines, measured alike"), rows)


def _strange_table(metrics: Metrics) -> str:
    """A row a kind and a method: the AUROC, and what is found at 5 and at 1 % false alarms."""
    kinds = [each.name.removeprefix(_AUROC) for each in metrics.figures if each.name.startswith(_AUROC)]
    if not kinds:
        return ""
    own = {each.name: each for each in metrics.figures}
    methods = list(dict.fromkeys(each.method for each in metrics.baselines if each.name.startswith(_AUROC)))
    besides = {method: {each.name: each for each in metrics.baselines if each.method == method} for method in methods}
    rows = []
    for kind in kinds:
        for method, found in {"this repo": own, **besides}.items():
            area = found[_AUROC + kind]
            cells = [found.get(f"{_FOUND}{rate}_{kind}") for rate in (5, 1)]
            first = found is own
            target = ", ".join(format_target(each) for each in (area, *cells) if each is not None and each.target)
            show = _bold if first else _cell
            shares = [show(each) if each is not None else "-" for each in cells]
            rows.append((kind if first else "", method, show(area), *shares, str(area.n), target or "-"))
    heading = (
        "Strange pictures, against the held-out ones. The top-score rule has one threshold of its own, not a rate.\n\n"
    )
    columns = ("kind", "method", "AUROC", "found at 5 % false alarms", "at 1 %", "pictures", "targets")
    return heading + _markdown(columns, rows) + _blind(kinds, own)


def _blind(kinds: Sequence[str], own: dict[str, Figure]) -> str:
    shares = {kind: own[f"{_FOUND}5_{kind}"] for kind in kinds if f"{_FOUND}5_{kind}" in own}
    missed = [f"{kind} ({_cell(figure)} found)" for kind, figure in shares.items() if figure.value < _BLIND]
    return f"\n\nWhat it cannot tell: {', '.join(missed)}." if missed else ""


def _missed(figures: Iterable[Figure]) -> str:
    lines = []
    for figure in figures:
        if is_met(figure) is False and figure.target is not None:
            low, high = figure.target.get("at_least", figure.value), figure.target.get("at_most", figure.value)
            gap = max(low - figure.value, figure.value - high)
            lines.append(
                f"* `{figure.name}`: {_cell(figure)} misses {format_target(figure)} by {gap:.2g} {figure.unit}"
            )
    return "Targets that are missed:\n\n" + "\n".join(line.rstrip() for line in lines) if lines else ""


def _labels(metrics: Metrics) -> str:
    suspected = metrics.tables.get("suspected_labels", [])
    if not suspected:
        return ""
    names = ", ".join(f"`{each['file_name']}` ({each['predicted']}?)" for each in suspected)
    return f"Held-out pictures whose label is suspected to be wrong, all counted as errors above: {names}."


def _cell(figure: Figure) -> str:
    if figure.unit == "%":
        return f"{figure.value:.1f} ± {figure.noise:.1f} %"
    return format_value(figure)


def _bold(figure: Figure) -> str:
    return f"**{_cell(figure)}**"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
