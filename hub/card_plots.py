"""The plots that a card shows, drawn from the files of a repo; the same files give the same bytes."""

import base64
import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from PIL import Image

from hub.plots import draw_confusion, draw_reconstructions, new_figure, plot_losses
from visim_models import ConvolutionalAutoencoder, VisualSimilarity
from visim_models.errors import ConfigurationError
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import LOSSES, METRICS
from visim_models.repo_folder.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_card_plots"]

Table = Mapping[str, Any]

_TILES: Final = 10
_TILE_SIDE: Final = 96
_GAP: Final = 4
_LARGEST_TILE: Final = 256
_NOT_DRAWABLE: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError, csv.Error)


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
    if isinstance(similarity.model, ConvolutionalAutoencoder):
        _draw_tiles(similarity, path_of("decoded.png"))
        captions["decoded.png"] = "Gallery pictures, drawn by the decoder from their codes: one of each label."
        _draw_reconstructions(similarity.model, similarity, path_of("reconstructions.png"))
        captions["reconstructions.png"] = "Pictures drawn by a program, above their reconstructions."
    return captions


def _plot_confusion(table: Table, file: Path) -> None:
    draw_confusion(torch.tensor(table["counts"]), table["classes"], file)


def _plot_strangeness(table: Table, file: Path) -> None:
    def draw(axes: "Axes") -> None:
        for kind, counts in table["counts"].items():
            share = np.array(counts) / max(sum(counts), 1)
            inside = kind == "held-out"
            axes.stairs(share, np.array(table["edges"]), fill=inside, alpha=0.5 if inside else 1, label=kind)
        axes.axvline(table["threshold"], color="k", linestyle=":")
        axes.set(xlabel="score (the end bins also hold those beyond)", ylabel="share of the pictures")
        axes.legend(fontsize="small")

    _save(draw, file)


def _plot_match_scores(table: Table, file: Path) -> None:
    def draw(axes: "Axes") -> None:
        for key in ("true", "false"):
            counts = np.array(table[key])
            share = counts / max(counts.sum(), 1)
            axes.step(np.array(table["percent"]), share, where="mid", label=f"{key} matches ({counts.sum()})")
        seen = np.flatnonzero(np.array(table["true"]) + np.array(table["false"]))
        axes.set(xlabel="similarity in percent", ylabel="share of the matches")
        axes.set_xlim(max(int(seen[0]) - 2, 0) if len(seen) else 0, 101)
        axes.legend(fontsize="small")

    _save(draw, file)


def _plot_reliability(table: Table, file: Path) -> None:
    rows = [
        (start, 100 * share, total)
        for start, share, total in zip(table["percent_from"], table["true_share"], table["matches"], strict=True)
        if share is not None
    ]

    def draw(axes: "Axes") -> None:
        axes.bar([start + 2.5 for start, _, _ in rows], [share for _, share, _ in rows], width=4.4)
        for start, share, total in rows:
            axes.text(start + 2.5, share + 1, str(total), ha="center", fontsize="x-small")
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
    rows = [table[name][:_TILES] for name in ("false_alarms", "misses")]
    sheet = Image.new("RGB", (max(map(len, rows)) * (_TILE_SIDE + _GAP) - _GAP, 2 * _TILE_SIDE + _GAP), "white")
    for line, row in enumerate(rows):
        for column, each in enumerate(row):
            with Image.open(io.BytesIO(base64.b64decode(each["tile"], validate=True)), formats=["PNG"]) as tile:
                if max(tile.size) > _LARGEST_TILE:
                    raise ValueError(f"a tile of {tile.size} pixels")
                large = tile.convert("RGB").resize((_TILE_SIDE, _TILE_SIDE), Image.Resampling.NEAREST)
            sheet.paste(large, (column * (_TILE_SIDE + _GAP), line * (_TILE_SIDE + _GAP)))
    sheet.save(file)


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
    sheet = Image.new("RGB", (len(firsts) * (_TILE_SIDE + _GAP) - _GAP, _TILE_SIDE), "white")
    for column, index in enumerate(firsts):
        tile = Image.fromarray(similarity.decode_gallery(gallery.file_names[index]))
        tile = tile.resize((_TILE_SIDE, _TILE_SIDE), Image.Resampling.NEAREST)
        sheet.paste(tile, (column * (_TILE_SIDE + _GAP), 0))
    sheet.save(file)


def _draw_reconstructions(model: ConvolutionalAutoencoder, similarity: VisualSimilarity, file: Path) -> None:
    size = similarity.processor.size
    drawn = torch.from_numpy(np.concatenate([synthetic_outliers(kind, 1, size, seed=7) for kind in SYNTHETIC_KINDS]))
    with torch.inference_mode():
        rebuilt = similarity.processor.denormalize(model(similarity.processor.normalize(drawn)))
    draw_reconstructions(drawn, rebuilt, file)


def _save(draw: Callable[["Axes"], None], file: Path) -> None:
    figure = new_figure(6, 3.5)
    draw(figure.subplots())
    figure.savefig(file, metadata={"Software": None})  # matplotlib's version would change the bytes
