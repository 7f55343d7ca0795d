"""Try the verdict of a gallery on drawn pictures, which surely are of another kind; metrics.json has the figures."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from visim_models.galleries.synthetic import synthetic_outliers
from visim_models.images.decode_ahead import decode_ahead, pictures_at_once
from visim_models.pipeline import VisualSimilarity
from visim_models.repo_folder.metrics import Figure

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

_A_KIND: Final = 40
_SEED: Final = 14
_TOLERANCE: Final = 5.0
"""Two of 40 pictures, that another machine's arithmetic may turn over, in percent."""


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
    drawn = _drawn(similarity.processor.size)
    tried = similarity.network.map_batches(partial(_found, similarity=similarity), drawn)
    found: dict[str, list[bool]] = defaultdict(list)
    with tqdm(total=_A_KIND * len(_NAMES), desc="trying the verdict", unit="picture", disable=not progress) as bar:
        for kind, verdicts in tried:
            found[kind] += verdicts
            bar.update(len(verdicts))
    return [_figure(kind, verdicts, similarity.ood.false_alarm_rate) for kind, verdicts in found.items()]


def _drawn(size: int) -> Iterator[tuple[str, Tensor]]:
    """Draw the pictures, a kind and (B, 3, S, S) uint8 at a time; the next kinds while one is tried."""

    def draw(kind: str) -> np.ndarray:
        return synthetic_outliers(kind, _A_KIND, size, seed=_SEED)

    for group in decode_ahead(_NAMES, draw, at_once=1):
        for kind, pictures in group:
            assert isinstance(pictures, np.ndarray)
            for batch in torch.from_numpy(pictures).split(pictures_at_once(size)):
                yield kind, batch


def _found(batch: tuple[str, Tensor], similarity: VisualSimilarity) -> tuple[str, list[bool]]:
    """Return the kind of a batch, and for each picture of it whether the verdict calls it of another kind."""
    kind, pictures = batch
    measured = similarity.measure(similarity.processor.normalize(pictures.numpy()))
    return kind, [verdict.is_ood for verdict in similarity.ood.verdicts(*measured)]


def _figure(kind: str, found: Sequence[bool], false_alarm_rate: float) -> Figure:
    rate = 100 * false_alarm_rate
    return Figure(
        name=f"ood_found_at_{rate:.0f}_{kind}",
        value=100 * sum(found) / len(found),
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
