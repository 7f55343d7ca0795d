"""Figures from values a picture, each with its tolerance and its sampling interval.

The tolerance covers the arithmetic of another machine, nothing else: other instructions add numbers in another order
and round a resized pixel the other way, so that a picture on the edge of a decision falls on its other side. A share
may move by two such decisions or by 0.05 % of them, whichever is more: on up to 10,000 pictures six more mistakes are
beyond it. A mean squared error may move by a thousandth of itself, a PSNR by as much in dB, an AUROC by 0.001.

Measured with the car extractor, once with AVX2 and once with nothing beyond SSE4.1, whose resized pixels differ by one
level: 21 of 77 figures moved, shares by two decisions at most, AUROCs by 0.0007.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from lab.evaluation.intervals import auroc_interval, mean_interval, share_interval
from lab.evaluation.measures import auroc, psnr
from visim_models.repo_folder.metrics import Figure

__all__ = ["area_figure", "error_figures", "loss_figure", "share_figure"]

_EDGE_SHARE: Final = 0.0005
_LEAST_EDGE: Final = 2
"""Share of the decisions, and at least how many, that another machine's arithmetic may turn over."""
_ERROR_TOLERANCE: Final = 1e-3
"""Relative, of a mean squared error."""
_AREA_TOLERANCE: Final = 1e-3

Target = Mapping[str, float] | None


def share_figure(
    values: Tensor,
    *,
    name: str,
    what: str,
    decisions: int = 1,
    groups: Sequence[int] | None = None,
    target: Target = None,
    method: str = "",
) -> Figure:
    """Return the mean of shares as a percentage.

    Args:
        values: (n,) shares, 0 to 1, one a picture.
        name: the figure's key.
        what: one sentence that says what it is.
        decisions: how many decisions each share is made of, such as the matches that are right or wrong.
        groups: the group of near-duplicates of each picture; None where each is a group of its own.
        target: "at_least", "at_most" or both, in percent.
        method: the method, for a baseline.
    """
    low, high = share_interval(values, groups)
    return Figure(
        name=name,
        value=100 * values.double().mean().item(),
        unit="%",
        n=len(values),
        what=what,
        tolerance=100 * _share_tolerance(len(values) * decisions),
        interval=(100 * low, 100 * high),
        target=target,
        method=method,
    )


def loss_figure(
    before: Tensor,
    after: Tensor,
    *,
    name: str,
    what: str,
    decisions: int = 1,
    groups: Sequence[int] | None = None,
    target: Target = None,
) -> Figure:
    """Return how much lower the mean of shares is after a change of the same pictures, in percentage points.

    Args:
        before: (n,) shares, 0 to 1, one a picture.
        after: (n,) shares of the changed pictures.
        name: the figure's key.
        what: one sentence that says what it is.
        decisions: how many decisions each share is made of.
        groups: the group of near-duplicates of each picture; None where each is a group of its own.
        target: "at_least", "at_most" or both, in points.
    """
    loss = before - after  # (n,)
    low, high = mean_interval(loss, groups)
    return Figure(
        name=name,
        value=100 * loss.double().mean().item(),
        unit="points",
        n=len(loss),
        what=what,
        tolerance=2 * 100 * _share_tolerance(len(loss) * decisions),
        interval=(100 * low, 100 * high),
        target=target,
    )


def area_figure(
    inside: Tensor, outside: Tensor, *, name: str, what: str, target: Target = None, method: str = ""
) -> Figure:
    """Return the area under the ROC curve of (n,) scores of the gallery's kind and (m,) of others."""
    area = auroc(inside, outside)
    return Figure(
        name=name,
        value=area,
        unit="",
        n=len(outside),
        what=what,
        tolerance=_AREA_TOLERANCE,
        interval=auroc_interval(area, len(inside), len(outside)),
        target=target,
        method=method,
    )


def error_figures(
    errors: Tensor,
    *,
    pictures: str,
    groups: Sequence[int] | None = None,
    mse_target: Target = None,
    psnr_target: Target = None,
    method: str = "",
) -> list[Figure]:
    """Return the mean squared error of reconstructions, and the PSNR of it.

    Args:
        errors: (n,) mean squared errors on the scale from -1 to 1, one a picture.
        pictures: names the pictures in a sentence.
        groups: the group of near-duplicates of each picture; None where each is a group of its own.
        mse_target: "at_least", "at_most" or both.
        psnr_target: the same, in dB.
        method: the method, for a baseline.
    """
    mean = errors.double().mean().item()
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
