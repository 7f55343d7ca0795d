"""The measures, as plain functions of tensors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["auroc", "histogram", "label_share", "psnr", "squared_errors"]


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Return the area under the ROC curve of two sets of scores.

    Args:
        inside: (n,) scores of pictures of the gallery's kind.
        outside: (m,) scores of other pictures.

    Returns:
        How often one of `outside` scores above one of `inside`; ties count half.
    """
    ordered = inside.double().sort().values  # (n,)
    below = torch.searchsorted(ordered, outside.double(), side="left")  # (m,)
    up_to = torch.searchsorted(ordered, outside.double(), side="right")  # (m,)
    return float((below + up_to).double().mean() / (2 * len(inside)))


def psnr(mean_squared_error: float) -> float:
    """Return the peak signal-to-noise ratio in dB of pixels on the scale from -1 to 1; 126 where there is no error."""
    return 10 * math.log10(4 / max(mean_squared_error, 1e-12))


def squared_errors(pixels: Tensor, others: Tensor) -> Tensor:
    """Return the (N,) mean squared differences between each of (N, ...) pictures and its counterpart."""
    return (pixels - others).square().flatten(1).mean(dim=1)


def label_share(labels: Sequence[str], found: Sequence[Sequence[str]]) -> Tensor:
    """Return the share of each query's matches that have its label.

    Args:
        labels: Q labels of the queries.
        found: for each query the labels of its k matches.

    Returns:
        (Q,) float32.
    """
    return torch.tensor(
        [sum(match == label for match in matches) / len(matches) for label, matches in zip(labels, found, strict=True)]
    )


def histogram(values: Tensor, edges: Sequence[float]) -> list[int]:
    """Count values between rising edges, one bin fewer than edges; the end bins also hold the values beyond them."""
    inner = torch.tensor(edges[1:-1], dtype=torch.float64)
    bins = torch.bucketize(values.double(), inner, right=True)
    counts: list[int] = torch.bincount(bins, minlength=len(edges) - 1).tolist()
    return counts
