"""Turn values a picture into figures, each with its tolerance and its 95 % sampling interval.

The tolerance covers the arithmetic of another machine, nothing else: other instructions add numbers in another order
and round a resized pixel the other way, so that a picture on the edge of a decision falls on its other side. A share
may move by two such decisions or by 0.05 % of them, whichever is more: on up to 10,000 pictures six more mistakes are
beyond it. A mean squared error may move by a thousandth of itself, a PSNR by as much in dB, an AUROC by 0.001.
Measured with the car extractor, once with AVX2 and once with nothing beyond SSE4.1: 21 of 77 figures moved, shares by
two decisions at most, AUROCs by 0.0007.

The interval says how far a figure may be from its value over all pictures of the kind. Shares get Wilson's (1927),
which also holds near 0 and 1, where the normal one is empty. Pictures of one group of near-duplicates, and the matches
of one query, are not independent draws: the interval is that of the number of independent draws that would vary as
much. Areas under the ROC curve get the same, from the variance of Hanley and McNeil (1982). Means of errors, of
differences and of several sources get the normal interval.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from visim_models.repo_folder.metrics import Figure

__all__ = [
    "area_figure", "auroc", "auroc_interval", "error_figures", "histogram", "independent_draws", "label_share",
    "loss_figure", "mean_figure", "mean_interval", "psnr", "share_figure", "share_interval", "wilson",
]  # fmt: skip

Values = npt.NDArray[Any]
Interval = tuple[float, float]
Target = Mapping[str, float] | None
Groups = Sequence[int] | None
"""The group of near-duplicates of each picture; None where each is a group of its own."""

_EDGE_SHARE: Final = 0.0005
_LEAST_EDGE: Final = 2
"""Share of the decisions, and at least how many, that another machine's arithmetic may turn over."""
_ERROR_TOLERANCE: Final = 1e-3
"""Relative, of a mean squared error."""
_AREA_TOLERANCE: Final = 1e-3
_Z: Final = 1.959964
"""Quantile of the normal distribution that leaves 2.5 % on each side."""
_NEXT_TO_0: Final = 1e-6


def auroc(inside: Values, outside: Values) -> float:
    """Return how often one of (m,) scores `outside` is above one of (n,) `inside`; ties count half."""
    ordered = np.sort(inside)
    below, up_to = (np.searchsorted(ordered, outside, side=side) for side in ("left", "right"))  # (m,) each
    return float((below + up_to).mean() / (2 * len(inside)))


def psnr(mean_squared_error: float) -> float:
    """Return the peak signal-to-noise ratio in dB of pixels on the scale from -1 to 1; 126 where there is no error."""
    return 10 * math.log10(4 / max(mean_squared_error, 1e-12))


def label_share(labels: Sequence[str], found: Sequence[Sequence[str]]) -> Values:
    """Return the (Q,) shares of each query's matches, of k labels each, that have the query's label."""
    shares: Values = np.mean(np.asarray(found) == np.asarray(labels)[:, None], axis=1)
    return shares


def histogram(values: Values, edges: Sequence[float]) -> list[int]:
    """Count values between rising edges, one bin fewer than edges; the end bins also hold the values beyond them."""
    bins = np.searchsorted(np.array(edges[1:-1]), values, side="right")
    counts: list[int] = np.bincount(bins, minlength=len(edges) - 1).tolist()
    return counts


def share_figure(values: Values, *, decisions: int = 1, groups: Groups = None, **stated: Any) -> Figure:
    """Return the mean of shares as a percentage.

    Args:
        values: (n,) shares, 0 to 1, one a picture.
        decisions: how many decisions each share is made of, such as the matches that are right or wrong.
        groups: the group of near-duplicates of each picture.
        stated: `name`, `what`, `target` and `method` of the figure.
    """
    low, high = share_interval(values, groups)
    return Figure(
        value=100 * float(np.mean(values, dtype=float)),
        unit="%",
        n=len(values),
        tolerance=100 * _share_tolerance(len(values) * decisions),
        interval=(100 * low, 100 * high),
        **stated,
    )


def mean_figure(figures: Sequence[Figure], **stated: Any) -> Figure:
    """Return the mean of percentages of several sources, each of which counts the same, whatever its size."""
    halves = [(high - low) / 2 for low, high in (figure.interval for figure in figures if figure.interval)]
    value = sum(figure.value for figure in figures) / len(figures)
    half = math.hypot(*halves) / len(figures)
    return Figure(
        value=value,
        unit="%",
        n=sum(figure.n for figure in figures),
        tolerance=sum(figure.tolerance for figure in figures) / len(figures),
        interval=(max(value - half, 0.0), min(value + half, 100.0)),
        **stated,
    )


def loss_figure(before: Values, after: Values, *, decisions: int = 1, groups: Groups = None, **stated: Any) -> Figure:
    """Return how much lower the mean of (n,) shares is after a change of the same pictures, in percentage points."""
    loss = np.subtract(before, after, dtype=float)  # (n,)
    low, high = mean_interval(loss, groups)
    return Figure(
        value=100 * float(loss.mean()),
        unit="points",
        n=len(loss),
        tolerance=2 * 100 * _share_tolerance(len(loss) * decisions),
        interval=(100 * low, 100 * high),
        **stated,
    )


def area_figure(inside: Values, outside: Values, **stated: Any) -> Figure:
    """Return the area under the ROC curve of (n,) scores of the gallery's kind and (m,) of others."""
    area = auroc(inside, outside)
    interval = auroc_interval(area, len(inside), len(outside))
    return Figure(value=area, unit="", n=len(outside), tolerance=_AREA_TOLERANCE, interval=interval, **stated)


def error_figures(
    errors: Values,
    *,
    pictures: str,
    groups: Groups = None,
    mse_target: Target = None,
    psnr_target: Target = None,
    method: str = "",
) -> list[Figure]:
    """Return the mean squared error of reconstructions, and the PSNR of it.

    Args:
        errors: (n,) mean squared errors on the scale from -1 to 1, one a picture.
        pictures: names the pictures in a sentence.
        groups: the group of near-duplicates of each picture.
        mse_target: "at_least", "at_most" or both.
        psnr_target: the same, in dB.
        method: the method, for a baseline.
    """
    mean = float(np.mean(errors, dtype=float))
    low, high = mean_interval(errors, groups)
    return [
        Figure(
            name="reconstruction_mse",
            value=mean,
            unit="",
            n=len(errors),
            what=f"Mean squared error of the reconstruction on the scale from -1 to 1, over {pictures}.",
            tolerance=mean * _ERROR_TOLERANCE,
            interval=(low, high),
            target=mse_target,
            method=method,
        ),
        Figure(
            name="reconstruction_psnr",
            value=psnr(mean),
            unit="dB",
            n=len(errors),
            what=f"Peak signal-to-noise ratio of that error, over {pictures}.",
            tolerance=psnr(mean) - psnr(mean * (1 + _ERROR_TOLERANCE)),
            interval=(psnr(high), psnr(max(low, 0.0))),
            target=psnr_target,
            method=method,
        ),
    ]


def _share_tolerance(decisions: int) -> float:
    """Return the share of so many decisions that may turn over."""
    return max(int(_EDGE_SHARE * decisions), _LEAST_EDGE) / decisions


def wilson(share: float, draws: float) -> Interval:
    """Return Wilson's interval of a share, 0 to 1, of a number of independent draws."""
    centre = share + _Z**2 / (2 * draws)
    half = _Z * math.sqrt(share * (1 - share) / draws + _Z**2 / (4 * draws**2))
    scale = 1 + _Z**2 / draws
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def share_interval(values: Values, groups: Groups = None) -> Interval:
    """Return the interval of the mean of (n,) shares, 0 to 1, one a picture."""
    mean = min(max(float(np.mean(values, dtype=float)), 0.0), 1.0)
    return wilson(mean, independent_draws(values, groups))


def independent_draws(values: Values, groups: Groups = None) -> float:
    """Return how many independent draws of 0 or 1 have a mean that varies as much as that of (n,) shares.

    That is n for n ungrouped values of 0 and 1, and for values that are all the same; fewer where pictures of one
    group agree, and more where each value is itself a share of several.
    """
    mean = float(np.mean(values, dtype=float))
    variance = _variance_of_mean(values, groups)
    if variance <= 0 or not 0 < mean < 1:
        return len(set(groups)) if groups is not None else len(values)
    return max(mean * (1 - mean) / variance, 1.0)


def mean_interval(values: Values, groups: Groups = None) -> Interval:
    """Return the normal interval of the mean of (n,) values."""
    mean = float(np.mean(values, dtype=float))
    half = _Z * math.sqrt(_variance_of_mean(values, groups))
    return mean - half, mean + half


def auroc_interval(area: float, n_inside: int, n_outside: int) -> Interval:
    """Return the interval of an area under the ROC curve, 0 to 1, of so many pictures of the kind and others."""
    inner = min(max(area, _NEXT_TO_0), 1 - _NEXT_TO_0)  # at 0 and 1 the variance is 0, for any number of pictures
    q1, q2 = inner / (2 - inner), 2 * inner**2 / (1 + inner)
    spread = inner * (1 - inner)
    variance = spread + (n_outside - 1) * (q1 - inner**2) + (n_inside - 1) * (q2 - inner**2)
    return wilson(area, spread / (variance / (n_inside * n_outside)))


def _variance_of_mean(values: Values, groups: Groups) -> float:
    """Return the variance of the mean of (n,) values of which those of one group are drawn together."""
    residuals = np.asarray(values, float) - np.mean(values, dtype=float)  # (n,)
    if groups is not None:
        residuals = np.bincount(np.unique(groups, return_inverse=True)[1], weights=residuals)  # (G,)
    return float(np.square(residuals).sum()) / len(values) ** 2
