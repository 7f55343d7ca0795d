"""95 % sampling intervals: how far a figure may be from its value over all pictures of the kind.

Shares get Wilson's interval (1927), which also holds near 0 and 1, where the normal one is empty. Pictures of one group
of near-duplicates, and the matches of one query, are not independent draws: the interval is that of the number of
independent draws that would vary as much. Areas under the ROC curve get the same interval, from the variance of Hanley
and McNeil (1982). Means of errors and differences get the normal interval.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

__all__ = ["auroc_interval", "independent_draws", "mean_interval", "share_interval", "wilson"]

_Z: Final = 1.959964
"""Quantile of the normal distribution that leaves 2.5 % on each side."""

_NEXT_TO_0: Final = 1e-6

Interval = tuple[float, float]


def wilson(share: float, draws: float) -> Interval:
    """Return Wilson's interval of a share, 0 to 1, of a number of independent draws."""
    centre = share + _Z**2 / (2 * draws)
    half = _Z * math.sqrt(share * (1 - share) / draws + _Z**2 / (4 * draws**2))
    scale = 1 + _Z**2 / draws
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def share_interval(values: Tensor, groups: Sequence[int] | None = None) -> Interval:
    """Return the interval of the mean of shares.

    Args:
        values: (n,) shares, 0 to 1, one a picture.
        groups: the group of near-duplicates of each picture; None where each is a group of its own.
    """
    mean = min(max(values.double().mean().item(), 0.0), 1.0)
    return wilson(mean, independent_draws(values, groups))


def independent_draws(values: Tensor, groups: Sequence[int] | None = None) -> float:
    """Return how many independent draws of 0 or 1 have a mean that varies as much as that of (n,) shares.

    That is n for n ungrouped values of 0 and 1, and for values that are all the same; fewer where pictures of one
    group agree, and more where each value is itself a share of several.
    """
    mean = values.double().mean().item()
    variance = _variance_of_mean(values, groups)
    if variance <= 0 or not 0 < mean < 1:
        return len(set(groups)) if groups is not None else len(values)
    return max(mean * (1 - mean) / variance, 1.0)


def mean_interval(values: Tensor, groups: Sequence[int] | None = None) -> Interval:
    """Return the normal interval of the mean of (n,) values; `groups` is the group of near-duplicates of each."""
    mean = values.double().mean().item()
    half = _Z * math.sqrt(_variance_of_mean(values, groups))
    return mean - half, mean + half


def auroc_interval(area: float, n_inside: int, n_outside: int) -> Interval:
    """Return the interval of an area under the ROC curve.

    Args:
        area: the area, 0 to 1.
        n_inside: pictures of the gallery's kind.
        n_outside: other pictures.
    """
    inner = min(max(area, _NEXT_TO_0), 1 - _NEXT_TO_0)  # at 0 and 1 the variance is 0, for any number of pictures
    q1, q2 = inner / (2 - inner), 2 * inner**2 / (1 + inner)
    spread = inner * (1 - inner)
    variance = spread + (n_outside - 1) * (q1 - inner**2) + (n_inside - 1) * (q2 - inner**2)
    return wilson(area, spread / (variance / (n_inside * n_outside)))


def _variance_of_mean(values: Tensor, groups: Sequence[int] | None) -> float:
    """Return the variance of the mean of (n,) values of which those of one group are drawn together."""
    residuals = values.double() - values.double().mean()  # (n,)
    if groups is not None:
        numbers = {group: index for index, group in enumerate(dict.fromkeys(groups))}
        indices = torch.tensor([numbers[group] for group in groups])
        residuals = torch.zeros(len(numbers), dtype=torch.float64).index_add_(0, indices, residuals)  # (G,)
    return residuals.square().sum().item() / len(values) ** 2
