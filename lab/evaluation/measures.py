"""The measures: plain functions of tensors, solvable by hand."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["auroc", "auroc_error", "histogram", "label_share", "mean_and_error", "psnr", "squared_errors"]


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Area under the ROC curve: how often one of `outside` (m,) scores above one of `inside` (n,); ties count half."""
    ordered = inside.double().sort().values  # (n,)
    below = torch.searchsorted(ordered, outside.double(), side="left")  # (m,)
    up_to = torch.searchsorted(ordered, outside.double(), side="right")  # (m,)
    return float((below + up_to).double().mean() / (2 * len(inside)))


def auroc_error(value: float, n_inside: int, n_outside: int) -> float:
    """The standard error of an AUROC (Hanley and McNeil 1982), at least that of one picture out of order."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value) + (n_outside - 1) * (q1 - value**2) + (n_inside - 1) * (q2 - value**2)
    return max(math.sqrt(max(variance, 0.0) / (n_inside * n_outside)), 1 / (n_inside + n_outside))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of (n,) values and its standard error, at least 1/n: one picture that turns over."""
    count = len(values)
    spread = values.double().std().item() if count > 1 else 0.0
    return values.double().mean().item(), max(spread / math.sqrt(count), 1 / count)


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in decibels, of pixels on a scale from -1 to 1 (126 where there is no error)."""
    return 10 * math.log10(4 / max(mean_squared_error, 1e-12))


def squared_errors(pixels: Tensor, others: Tensor) -> Tensor:
    """(N,) mean squared difference of each of (N, ...) with its counterpart."""
    return (pixels - others).square().flatten(1).mean(dim=1)


def label_share(labels: Sequence[str], found: Sequence[Sequence[str]]) -> Tensor:
    """(Q,) float: for each query the share of its matches that have its label; `found` has k labels a query."""
    return torch.tensor(
        [sum(match == label for match in matches) / len(matches) for label, matches in zip(labels, found, strict=True)]
    )


def histogram(values: Tensor, edges: Sequence[float]) -> list[int]:
    """Counts between rising edges, one fewer than edges; what lies beyond the ends is counted in the end bins."""
    inner = torch.tensor(edges[1:-1], dtype=torch.float64)
    bins = torch.bucketize(values.double(), inner, right=True)
    counts: list[int] = torch.bincount(bins, minlength=len(edges) - 1).tolist()
    return counts
