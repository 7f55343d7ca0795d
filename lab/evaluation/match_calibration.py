"""How far the stated probability of a match is from the share of true ones."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.fitting import measure_images
from visim_models.repo_folder.metrics import Figure

__all__ = ["calibration_error", "match_calibration"]

_MATCHES: Final = 10
_BINS: Final = 10
_TARGET: Final = 2.0
_RESAMPLES: Final = 200
_TOLERANCE: Final = 0.1


def match_calibration(repo: EvaluatedRepo) -> tuple[list[Figure], dict[str, Any]]:
    """Measure the error of `Match.probability` over the ten nearest of each test query with a label of the gallery.

    Returns:
        The figure and its table; nothing where the repo states no probability.
    """
    probability = repo.similarity.match_probability
    if probability is None:
        return [], {}
    stated, true = [], []
    for file in repo.divided_files("test"):
        images = repo.part("test", file=file)
        own = images.subset([index for index, label in enumerate(images.labels) if label in repo.benchmark.labels])
        embeddings = measure_images(repo.similarity, own.pixels, gallery=repo.known).embeddings
        scores, indices = repo.known.search(embeddings, top_k=min(_MATCHES, len(repo.known)))
        stated += [[probability(float(score)) for score in row] for row in scores]
        true += [
            [repo.known.labels[index] == label for index in row] for label, row in zip(own.labels, indices, strict=True)
        ]
    told, is_true = torch.tensor(stated), torch.tensor(true).float()  # (Q, k)
    error, rows = calibration_error(told.flatten(), is_true.flatten())
    low, high = _interval(told, is_true)
    figure = Figure(
        name="match_calibration_error",
        value=100 * error,
        unit="points",
        n=len(told),
        what=f"Expected calibration error of the probability of a match, in {_BINS} bins of as many matches each.",
        tolerance=_TOLERANCE,
        interval=(min(low, 100 * error), max(high, 100 * error)),
        target={"at_most": _TARGET},
    )
    return [figure], {"match_probability": {"stated": [row[0] for row in rows], "true": [row[1] for row in rows]}}


def calibration_error(stated: Tensor, is_true: Tensor) -> tuple[float, list[tuple[float, float]]]:
    """Compute the expected calibration error (Naeini et al. 2015) in bins of equal numbers.

    Args:
        stated: (M,) probabilities.
        is_true: (M,) ones where they came true.

    Returns:
        The mean distance of the stated and the true share, and both shares of each bin.
    """
    order = stated.argsort(stable=True)
    rows: list[tuple[float, float]] = []
    error = 0.0
    for part in _bins(stated[order]):
        chosen = order[part]
        row = stated[chosen].double().mean().item(), is_true[chosen].double().mean().item()
        rows.append((round(row[0], 4), round(row[1], 4)))
        error += abs(row[0] - row[1]) * len(chosen) / len(stated)
    return error, rows


def _bins(ordered: Tensor) -> Sequence[slice]:
    """Split rising values into bins of about equal numbers; equal values stay together."""
    cuts = {0, len(ordered)}
    for edge in np.linspace(0, len(ordered), _BINS + 1).astype(int)[1:-1]:
        cuts.add(int(torch.searchsorted(ordered, ordered[edge])))
    edges = sorted(cuts)
    return [slice(low, high) for low, high in pairwise(edges)]


def _interval(stated: Tensor, is_true: Tensor) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles over queries drawn again, in points (bootstrap, Efron 1979)."""
    generator = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(_RESAMPLES):
        rows = torch.randint(len(stated), (len(stated),), generator=generator)
        errors.append(100 * calibration_error(stated[rows].flatten(), is_true[rows].flatten())[0])
    low, high = np.percentile(errors, [2.5, 97.5])
    return float(low), float(high)
