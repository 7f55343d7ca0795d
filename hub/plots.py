"""The pictures of a training run: losses, originals beside their reconstructions, a confusion matrix."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

__all__ = ["draw_confusion", "draw_reconstructions", "plot_losses"]


def plot_losses(log: Path, file: Path) -> None:
    """Draw the mean training and validation loss of each epoch that losses.csv holds."""
    sums: dict[str, dict[int, list[float]]] = {"training": {}, "validation": {}}
    with log.open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            sums[row["part"]].setdefault(int(row["epoch"]), []).append(float(row["loss"]))
    figure = Figure(figsize=(6, 3.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for part, epochs in sums.items():
        axes.plot(list(epochs), [float(np.mean(losses)) for losses in epochs.values()], marker=".", label=part)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.set_yscale("log")
    axes.legend()
    figure.savefig(file)


def draw_reconstructions(originals: Tensor, reconstructions: Tensor, file: Path) -> None:
    """A grid of pairs, original above reconstruction; both (N, 3, S, S) uint8."""
    rows = torch.cat([originals, reconstructions])  # (2N, 3, S, S)
    grid = make_grid(rows, nrow=len(originals), padding=2, pad_value=255).permute(1, 2, 0)
    picture = Image.fromarray(grid.numpy())
    scale = max(1, 96 // originals.shape[-1])
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(file)


def draw_confusion(counts: Tensor, classes: Sequence[str], file: Path) -> None:
    """A confusion matrix, (C, C) counts, rows are the true classes."""
    figure = Figure(figsize=(4, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.imshow((counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).numpy(), cmap="Blues", vmin=0, vmax=1)
    for row in range(len(classes)):
        for column in range(len(classes)):
            dark = counts[row, column] > counts[row].sum() / 2
            axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color="w" if dark else "k")
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    figure.savefig(file)
