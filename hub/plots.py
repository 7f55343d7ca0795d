"""Plots of a training run and of a card: losses, reconstructions, a confusion matrix, scores and probabilities.

The same numbers give the same bytes.
"""

import base64
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from visim_models import VisualSimilarity
from visim_models.errors import ConfigurationError, MissingExtraError
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import LOSSES, METRICS
from visim_models.repo_folder.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_card_plots", "draw_confusion", "draw_reconstructions", "new_figure", "plot_losses"]

Table = Mapping[str, Any]

_PADDING: Final = 2
"""White pixels around each picture of a grid."""
_TILES: Final = 10
_TILE_SIDE: Final = 96
"""Pixels that a picture of a grid is enlarged to, at least nearly."""
_GAP: Final = 4
_LARGEST_TILE: Final = 256
_NOT_DRAWABLE: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError, csv.Error)


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

    def draw(axes: "Axes") -> None:
        for part, epochs in sums.items():
            axes.plot(list(epochs), [float(np.mean(losses)) for losses in epochs.values()], marker=".", label=part)
        axes.set(xlabel="epoch", ylabel="loss")
        axes.set_yscale("log")
        axes.legend()

    _save(draw, file)


def draw_reconstructions(originals: ArrayLike, reconstructions: ArrayLike, file: Path) -> None:
    """Draw a row of originals above a row of their reconstructions.

    Args:
        originals: (N, 3, S, S) uint8, RGB.
        reconstructions: likewise.
        file: the PNG to write.
    """
    rows = np.stack([np.asarray(originals), np.asarray(reconstructions)])  # (2, N, 3, S, S)
    side = rows.shape[-1]
    padded = np.pad(rows, [(0, 0), (0, 0), (0, 0), (_PADDING, 0), (_PADDING, 0)], constant_values=255)
    grid = padded.transpose(0, 3, 1, 4, 2).reshape(2 * (side + _PADDING), -1, 3)  # (2 * (S + P), N * (S + P), 3)
    grid = np.pad(grid, [(0, _PADDING), (0, _PADDING), (0, 0)], constant_values=255)
    picture, scale = Image.fromarray(grid), max(1, _TILE_SIDE // side)
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(file)


def draw_confusion(counts: ArrayLike, classes: Sequence[str], file: Path) -> None:
    """Draw a confusion matrix.

    Args:
        counts: (C, C); rows are the true classes.
        classes: C names.
        file: the PNG to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matrix = np.asarray(counts)
    totals = matrix.sum(axis=1, keepdims=True).clip(min=1)  # (C, 1)

    def draw(axes: "Axes") -> None:
        axes.imshow(matrix / totals, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            color = "w" if count > totals[row, 0] / 2 else "k"
            axes.text(column, row, str(count), ha="center", va="center", color=color)
        axes.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 6 else 0)
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="predicted", ylabel="true")

    side = max(4.0, 0.6 * len(classes) + 1.5)
    _save(draw, file, side, side - 0.4)


def draw_card_plots(
    repo: RepoFolder, similarity: VisualSimilarity, metrics: Metrics | None, path_of: Callable[[str], Path]
) -> dict[str, str]:
    """Draw every plot that the files of a repo have numbers for.

    Args:
        repo: the repo folder; its losses.csv is drawn where there is one.
        similarity: its pipeline. An autoencoder draws decoded tiles, and reconstructions of drawn pictures.
        metrics: its figures, or None.
        path_of: name of a PNG -> the path to write it to.

    Returns:
        Name of each PNG -> its caption.

    Raises:
        ConfigurationError: losses.csv or a table of metrics.json cannot be drawn.
        MissingExtraError: there are numbers to plot, and matplotlib is not installed.
    """
    captions = {}
    if repo.has(LOSSES):
        try:
            plot_losses(repo / LOSSES, path_of("losses.png"))
        except _NOT_DRAWABLE as error:
            raise ConfigurationError(
                f"{repo / LOSSES} cannot be drawn ({error!r}): delete it, or restore it.", path=repo / LOSSES
            ) from error
        captions["losses.png"] = "Mean training and validation loss of each epoch."
    tables = metrics.tables if metrics else {}
    for name, (draw, caption) in _BY_TABLE.items():
        if name in tables:
            try:
                draw(tables[name], path_of(f"{name}.png"))
            except _NOT_DRAWABLE as error:
                raise ConfigurationError(
                    f"{repo / METRICS}: the table {name} cannot be drawn ({error!r}); measure again with --write.",
                    path=repo / METRICS,
                    key=name,
                ) from error
            captions[f"{name}.png"] = caption
    if similarity.network.can_decode:
        _draw_tiles(similarity, path_of("decoded.png"))
        captions["decoded.png"] = "Gallery pictures, drawn by the decoder from their codes: one of each label."
        _draw_reconstructions(similarity, path_of("reconstructions.png"))
        captions["reconstructions.png"] = "Pictures drawn by a program, above their reconstructions."
    return captions


def _plot_confusion(table: Table, file: Path) -> None:
    draw_confusion(np.array(table["counts"]), table["classes"], file)


def _plot_strangeness(table: Table, file: Path) -> None:
    def draw(axes: "Axes") -> None:
        for kind, counts in table["counts"].items():
            inside = kind == "held-out"
            edges = np.array(table["edges"])
            axes.stairs(_shares(counts), edges, fill=inside, alpha=0.5 if inside else 1, label=kind)
        axes.axvline(table["threshold"], color="k", linestyle=":")
        axes.set(xlabel="score (the end bins also hold those beyond)", ylabel="share of the pictures")
        axes.legend(fontsize="small")

    _save(draw, file)


def _plot_match_scores(table: Table, file: Path) -> None:
    def draw(axes: "Axes") -> None:
        for key in ("true", "false"):
            label = f"{key} matches ({np.sum(table[key])})"
            axes.step(np.array(table["percent"]), _shares(table[key]), where="mid", label=label)
        seen = np.flatnonzero(np.array(table["true"]) + np.array(table["false"]))
        axes.set(xlabel="similarity in percent", ylabel="share of the matches")
        axes.set_xlim(max(int(seen[0]) - 2, 0) if len(seen) else 0, 101)
        axes.legend(fontsize="small")

    _save(draw, file)


def _plot_reliability(table: Table, file: Path) -> None:
    columns = (table["percent_from"], table["true_share"], table["matches"])
    rows = [
        (start + 2.5, 100 * share, total) for start, share, total in zip(*columns, strict=True) if share is not None
    ]

    def draw(axes: "Axes") -> None:
        axes.bar([middle for middle, _, _ in rows], [share for _, share, _ in rows], width=4.4)
        for middle, share, total in rows:
            axes.text(middle, share + 1, str(total), ha="center", fontsize="x-small")
        axes.plot([0, 100], [0, 100], color="k", linestyle=":", linewidth=1)
        axes.set(xlabel="similarity in percent", ylabel="share of true matches in percent")
        axes.set(xlim=(0, 101), ylim=(0, 108))

    _save(draw, file)


def _plot_match_probability(table: Table, file: Path) -> None:
    def draw(axes: "Axes") -> None:
        axes.plot([0, 100], [0, 100], color="k", linestyle=":", linewidth=1)
        axes.plot([100 * share for share in table["stated"]], [100 * share for share in table["true"]], marker="o")
        axes.set(xlabel="stated probability of a match in percent", ylabel="share of true matches in percent")
        axes.set(xlim=(0, 101), ylim=(0, 101))

    _save(draw, file)


def _draw_failures(table: Table, file: Path) -> None:
    """Draw the worst mistakes as tiles: false alarms above, misses below."""
    rows: list[list[Image.Image]] = []
    for name in ("false_alarms", "misses"):
        rows.append([])
        for each in table[name][:_TILES]:
            with Image.open(io.BytesIO(base64.b64decode(each["tile"], validate=True)), formats=["PNG"]) as tile:
                if max(tile.size) > _LARGEST_TILE:
                    raise ValueError(f"a tile of {tile.size} pixels")
                rows[-1].append(tile.convert("RGB"))
    _save_tiles(rows, file)


_BY_TABLE: Final[Mapping[str, tuple[Callable[[Table, Path], None], str]]] = {
    "confusion": (_plot_confusion, "Confusion matrix of the held-out pictures."),
    "strangeness": (
        _plot_strangeness,
        "Score of the detector for held-out pictures and for other things; the line is the threshold.",
    ),
    "match_scores": (
        _plot_match_scores,
        "Scores of true and of false matches among the ten nearest of held-out queries.",
    ),
    "reliability": (
        _plot_reliability,
        "The share of true matches, those with the query's label, at each percent of similarity.",
    ),
    "match_probability": (
        _plot_match_probability,
        "The stated probability of a match, and the share of true ones, in bins of as many matches each.",
    ),
    "failures": (
        _draw_failures,
        "The worst mistakes of the verdict, drawn by an autoencoder from its codes: held-out pictures that are called "
        "strange, above other things that are not.",
    ),
}
"""Table of metrics.json -> what draws it, and the caption."""


def _draw_tiles(similarity: VisualSimilarity, file: Path) -> None:
    """Draw one gallery picture of each label, decoded, in a row."""
    gallery = similarity.gallery
    firsts = [gallery.labels.index(label) for label in sorted(set(gallery.labels))[:_TILES]]
    tiles = [Image.fromarray(similarity.decode_gallery(gallery.file_names[index])) for index in firsts]
    _save_tiles([tiles], file)


def _draw_reconstructions(similarity: VisualSimilarity, file: Path) -> None:
    processor, network = similarity.processor, similarity.network
    drawn = np.concatenate([synthetic_outliers(kind, 1, processor.size, seed=7) for kind in SYNTHETIC_KINDS])
    rebuilt = processor.denormalize(network.decode(network.embed(processor.normalize(drawn))))  # (N, 3, S, S)
    draw_reconstructions(drawn, rebuilt, file)


def _save_tiles(rows: Sequence[Sequence[Image.Image]], file: Path) -> None:
    """Write rows of pictures, each enlarged to a tile, as one picture."""
    step = _TILE_SIDE + _GAP
    sheet = Image.new("RGB", (max(map(len, rows)) * step - _GAP, len(rows) * step - _GAP), "white")
    for line, row in enumerate(rows):
        for column, tile in enumerate(row):
            large = tile.resize((_TILE_SIDE, _TILE_SIDE), Image.Resampling.NEAREST)
            sheet.paste(large, (column * step, line * step))
    sheet.save(file)


def _shares(counts: ArrayLike) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.asarray(counts, np.float64)
    shares: NDArray[np.float64] = values / np.maximum(values.sum(), 1)
    return shares


def _save(draw: Callable[["Axes"], None], file: Path, width: float = 6, height: float = 3.5) -> None:
    figure = new_figure(width, height)
    draw(figure.subplots())
    figure.savefig(file, metadata={"Software": None})  # matplotlib's version would change the bytes
