"""The pictures of a training run: losses, originals above their reconstructions, a confusion matrix."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visim_models.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_confusion", "draw_reconstructions", "new_figure", "plot_losses"]

_PADDING = 2
"""White pixels around each picture of a grid."""
_LEAST_SIDE = 96
"""Pixels that a picture of a grid is enlarged to, at least nearly."""


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure.

    Args:
        width: in inches of 120 pixels.
        height: likewise.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra="train", purpose="Drawing plots") from error
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def plot_losses(log: Path, file: Path) -> None:
    """Draw the mean training and validation loss of each epoch of a losses.csv.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    sums: dict[str, dict[int, list[float]]] = {"training": {}, "validation": {}}
    with log.open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            sums[row["part"]].setdefault(int(row["epoch"]), []).append(float(row["loss"]))
    figure = new_figure(6, 3.5)
    axes = figure.subplots()
    for part, epochs in sums.items():
        axes.plot(list(epochs), [float(np.mean(losses)) for losses in epochs.values()], marker=".", label=part)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.set_yscale("log")
    axes.legend()
    figure.savefig(file)


def draw_reconstructions(originals: Tensor, reconstructions: Tensor, file: Path) -> None:
    """Draw a row of originals above a row of their reconstructions.

    Args:
        originals: (N, 3, S, S) uint8, RGB.
        reconstructions: likewise.
        file: the PNG to write.
    """
    count, _, side, _ = originals.shape
    step = side + _PADDING
    grid = torch.full((3, 2 * step + _PADDING, count * step + _PADDING), 255, dtype=torch.uint8)
    for row, pictures in enumerate((originals, reconstructions)):
        for column, picture in enumerate(pictures):
            top, left = row * step + _PADDING, column * step + _PADDING
            grid[:, top : top + side, left : left + side] = picture
    picture = Image.fromarray(grid.permute(1, 2, 0).numpy())
    scale = max(1, _LEAST_SIDE // side)
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(file)


def draw_confusion(counts: Tensor, classes: Sequence[str], file: Path) -> None:
    """Draw a confusion matrix.

    Args:
        counts: (C, C); rows are the true classes.
        classes: C names.
        file: the PNG to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    side = max(4.0, 0.6 * len(classes) + 1.5)
    figure = new_figure(side, side - 0.4)
    axes = figure.subplots()
    axes.imshow((counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).numpy(), cmap="Blues", vmin=0, vmax=1)
    for row in range(len(classes)):
        for column in range(len(classes)):
            is_dark = counts[row, column] > counts[row].sum() / 2
            text = str(int(counts[row, column]))
            axes.text(column, row, text, ha="center", va="center", color="w" if is_dark else "k")
    axes.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 6 else 0)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    figure.savefig(file)
