"""The pictures of a model card, drawn from the tables of metrics.json; the same tables give the same bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from hub.plots import draw_confusion, draw_reconstructions, plot_losses
from visim_models import ConvolutionalAutoencoder, VisualSimilarity
from visim_models.synthetic import SYNTHETIC_KINDS, synthetic_outliers

__all__ = ["draw_plots"]

_TILES = 10
_TILE_SIDE = 96


def draw_plots(
    similarity: VisualSimilarity, tables: Mapping[str, Any], folder: Path, *, losses: Path | None = None
) -> dict[str, str]:
    """Draw what there is to draw into an existing folder.

    Args:
        similarity: of the repo; an autoencoder draws decoded tiles and reconstructions of drawn pictures.
        tables: of metrics.json; a plot whose table is missing is left out.
        folder: for the PNG files.
        losses: losses.csv of the training run.

    Returns:
        File name -> what it shows.
    """
    drawn = {}
    if losses is not None:
        plot_losses(losses, folder / "losses.png")
        drawn["losses.png"] = "Mean training and validation loss of each epoch."
    if "confusion" in tables:
        counts = torch.tensor(tables["confusion"]["counts"])
        draw_confusion(counts, tables["confusion"]["classes"], folder / "confusion.png")
        drawn["confusion.png"] = "Confusion matrix of the held-out pictures."
    for name, draw, caption in (
        (
            "strangeness",
            _strangeness,
            "Strangeness of held-out pictures and of other things; the line is the threshold.",
        ),
        (
            "match_scores",
            _match_scores,
            "Scores of true and of false matches among the ten nearest of held-out queries.",
        ),
        (
            "reliability",
            _reliability,
            "What a percent means: the share of matches of that percent with the query's label.",
        ),
    ):
        if name in tables:
            figure = Figure(figsize=(6, 3.5), dpi=120, layout="constrained")
            draw(figure.subplots(), tables[name])
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            drawn[f"{name}.png"] = caption
    if isinstance(similarity.model, ConvolutionalAutoencoder):
        _tiles(similarity, folder / "decoded.png")
        drawn["decoded.png"] = (
            "Gallery pictures, drawn by the decoder from their codes: one of each label, no photograph."
        )
        _reconstructions(similarity.model, similarity, folder / "reconstructions.png")
        drawn["reconstructions.png"] = (
            "Pictures drawn by a program, which it was not trained on, above their reconstructions."
        )
    return drawn


def _strangeness(axes: Axes, table: Mapping[str, Any]) -> None:
    edges = np.array(table["edges"])
    for kind, counts in table["counts"].items():
        share = np.array(counts) / max(sum(counts), 1)
        inside = kind == "held-out"
        axes.stairs(share, edges, fill=inside, alpha=0.5 if inside else 1, label=kind)
    axes.axvline(table["threshold"], color="k", linestyle=":")
    axes.set(xlabel="strangeness (the end bins hold what lies beyond)", ylabel="share of the pictures")
    axes.legend(fontsize="small")


def _match_scores(axes: Axes, table: Mapping[str, Any]) -> None:
    percent = np.array(table["percent"])
    for key in ("true", "false"):
        counts = np.array(table[key])
        axes.step(percent, counts / max(counts.sum(), 1), where="mid", label=f"{key} matches ({counts.sum()})")
    seen = np.flatnonzero(np.array(table["true"]) + np.array(table["false"]))
    axes.set(xlabel="similarity in percent", ylabel="share of the matches")
    axes.set_xlim(max(int(seen[0]) - 2, 0) if len(seen) else 0, 101)
    axes.legend(fontsize="small")


def _reliability(axes: Axes, table: Mapping[str, Any]) -> None:
    rows = [
        (start, 100 * share, total)
        for start, share, total in zip(table["percent_from"], table["true_share"], table["matches"], strict=True)
        if share is not None
    ]
    axes.bar([start + 2.5 for start, _, _ in rows], [share for _, share, _ in rows], width=4.4)
    for start, share, total in rows:
        axes.text(start + 2.5, share + 1, str(total), ha="center", fontsize="x-small")
    axes.plot([0, 100], [0, 100], color="k", linestyle=":", linewidth=1)
    axes.set(xlabel="similarity in percent", ylabel="share of true matches in percent", xlim=(0, 101), ylim=(0, 108))


def _tiles(similarity: VisualSimilarity, file: Path) -> None:
    """One gallery picture of each label, decoded, in a row."""
    gallery = similarity.gallery
    labels = sorted(set(gallery.labels))[:_TILES]
    tiles = [
        Image.fromarray(similarity.decode_gallery(gallery.file_names[gallery.labels.index(label)])).resize(
            (_TILE_SIDE, _TILE_SIDE), Image.Resampling.NEAREST
        )
        for label in labels
    ]
    sheet = Image.new("RGB", (len(tiles) * (_TILE_SIDE + 4) - 4, _TILE_SIDE), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place * (_TILE_SIDE + 4), 0))
    sheet.save(file)


def _reconstructions(model: ConvolutionalAutoencoder, similarity: VisualSimilarity, file: Path) -> None:
    size = similarity.processor.size
    drawn = torch.cat([synthetic_outliers(kind, 1, size, seed=7) for kind in SYNTHETIC_KINDS])
    with torch.inference_mode():
        rebuilt = similarity.processor.denormalize(model(similarity.processor.normalize(drawn)))
    draw_reconstructions(drawn, rebuilt, file)
