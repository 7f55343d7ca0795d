"""Try the verdict of a gallery on drawn pictures, which surely are of another kind; metrics.json has the figures."""

from collections.abc import Sequence
from typing import Final

import torch
from tqdm import tqdm

from visim_models.decoding import pictures_at_once
from visim_models.metrics import Figure
from visim_models.pipeline import VisualSimilarity
from visim_models.synthetic import synthetic_outliers

__all__ = ["check_figures", "check_verdict", "summary"]

_NAMES: Final = {
    "noise": "noise",
    "plain": "plain colours",
    "gradient": "gradients",
    "stripes": "stripes and chequerboards",
    "text": "pages of text",
    "plot": "charts",
}
"""Kind of drawn pictures -> what it is called."""

_A_KIND: Final = 50
_SEED: Final = 14
_TOLERANCE: Final = 4.0
"""Two of 50 pictures, that another machine's arithmetic may turn over, in percent."""


def check_verdict(similarity: VisualSimilarity, *, progress: bool = False) -> list[Figure]:
    """Measure how many drawn pictures of each kind the verdict calls of another kind.

    Args:
        similarity: a gallery with its verdict.
        progress: show a progress bar.

    Returns:
        A figure for each kind; none where the verdict can call nothing so.
    """
    if not similarity.ood.can_reject:
        return []
    kinds = tqdm(_NAMES, desc="trying the verdict", unit="kind", disable=not progress)
    return [_found(similarity, kind) for kind in kinds]


def _found(similarity: VisualSimilarity, kind: str) -> Figure:
    processor = similarity.processor
    pictures = synthetic_outliers(kind, _A_KIND, processor.size, seed=_SEED)
    found: list[bool] = []
    for batch in pictures.split(pictures_at_once(processor.size)):
        measured = similarity.measure(processor.normalize(batch))
        found += [verdict.is_ood for verdict in similarity.ood.verdicts(measured)]
    share = torch.tensor(found).float().mean().item()
    rate = 100 * similarity.ood.false_alarm_rate
    return Figure(
        name=f"ood_found_at_{rate:.0f}_{kind}",
        value=100 * share,
        unit="%",
        n=len(found),
        what=f"Share called of another kind of drawn {_NAMES[kind]}, set for {rate:g} % false alarms.",
        tolerance=_TOLERANCE,
    )


def check_figures(figures: Sequence[Figure]) -> list[Figure]:
    """Return those of a repo's figures that `check_verdict` makes."""
    return [
        figure for figure in figures
        if figure.name.startswith("ood_found_at_") and figure.name.rpartition("_")[2] in _NAMES
    ]  # fmt: skip


def summary(figures: Sequence[Figure]) -> str:
    """Say in one sentence what a verdict finds."""
    found = ", ".join(f"{figure.value:.0f} % of {_NAMES[figure.name.rpartition('_')[2]]}" for figure in figures)
    return f"The verdict finds {found}."
