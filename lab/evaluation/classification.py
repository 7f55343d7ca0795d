"""How well a classifier tells its classes, and the worst mistakes of its verdict, drawn by an autoencoder."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from hub.locate import BUNDLED, REPO_NAMES
from lab.data import labels_of, targets_of
from lab.evaluation.evaluated_repo import CARS, Benchmark
from lab.evaluation.outliers import MeasuredParts
from lab.training.augmentation import resized
from visim_models.galleries.picture_table import PictureTable
from visim_models.models.loading import load_network
from visim_models.models.network import Network
from visim_models.ood import OutOfDistributionDetector
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder

__all__ = ["class_probabilities", "classification_tables", "failures_table", "told_right"]

_Floats = npt.NDArray[np.float32]

_SURE: Final = 0.9
"""Probability of another body type from which on a label is suspected to be wrong."""
_SHOWN: Final = 8
_DRAWN_BY: Final = {True: "car-autoencoder", False: "cifar10-autoencoder"}


def class_probabilities(network: Network, embeddings: _Floats) -> _Floats:
    """Return the (N, C) probabilities of (N, D) embeddings, in the order of the network's class names."""
    found: _Floats = np.exp(network.log_probabilities(embeddings))
    return found


def told_right(images: PictureTable, probabilities: _Floats, class_names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return (N,) ones where the likeliest of (N, C) probabilities is the class of the picture's label."""
    right: npt.NDArray[np.bool_] = probabilities.argmax(axis=1) == targets_of(images, class_names)
    return right.astype(float)


def classification_tables(images: PictureTable, probabilities: _Floats, class_names: Sequence[str]) -> dict[str, Any]:
    """Count the confusions, and list the labels that are probably wrong.

    Args:
        images: N pictures.
        probabilities: (N, C).
        class_names: the C classes.

    Returns:
        `confusion`: its classes and counts, a row a true class; `suspected_labels`: the pictures that the network is
        sure are of another class.
    """
    counts = np.zeros((len(class_names), len(class_names)), np.int64)
    predicted = probabilities.argmax(axis=1)  # (N,)
    np.add.at(counts, (targets_of(images, class_names), predicted), 1)
    suspected = [
        {
            "file_name": name,
            "label": label,
            "predicted": class_names[index],
            "probability": round(float(probability), 3),
        }
        for name, label, probability, index in zip(
            images.file_names, labels_of(images), probabilities.max(axis=1), predicted, strict=True
        )
        if class_names[index] != label and probability > _SURE
    ]
    return {"confusion": {"classes": list(class_names), "counts": counts.tolist()}, "suspected_labels": suspected}


def failures_table(
    benchmark: Benchmark,
    detector: OutOfDistributionDetector,
    parts: MeasuredParts,
    test: PictureTable,
    others: PictureTable,
) -> dict[str, Any]:
    """Draw the worst mistakes: held-out pictures called strange, and other things taken for the gallery's.

    Args:
        benchmark: whose autoencoder draws, from its own code of the picture, for no photograph is stored.
        detector: the repo's own.
        parts: what it judges.
        test: the held-out pictures, those of `parts.test`.
        others: pictures of other kinds, those of `parts.kinds["other_kinds"]`.

    Returns:
        `false_alarms` and `misses`, the worst first: tiles as PNG in base64, with their p-values. {} without a bundled
        autoencoder.
    """
    folder = BUNDLED / REPO_NAMES[_DRAWN_BY[benchmark is CARS]]
    if not folder.is_dir():
        return {}
    found = {}
    for name, measured, pictures, sign in (
        ("false_alarms", parts.test, test, -1),
        ("misses", parts.kinds["other_kinds"], others, 1),
    ):
        verdicts = detector.verdicts(measured.measured, measured["embeddings"])
        worst = sorted(range(len(verdicts)), key=lambda index: sign * verdicts[index].score)[:_SHOWN]
        tiles = _tiles(folder, pictures["pixels"][worst])
        found[name] = [
            {"p_value": round(verdicts[index].p_value, 4), "tile": tile}
            for index, tile in zip(worst, tiles, strict=True)
        ]
    return found


def _tiles(folder: Path, pixels: npt.NDArray[np.uint8]) -> list[str]:
    """Encode and decode (N, 3, S, S) uint8 pictures: N PNG files in base64."""
    repo = RepoFolder(folder)
    network, processor = load_network(repo), ImageProcessor.load(repo)
    shown = processor.normalize(resized(torch.from_numpy(pixels), processor.size).round().numpy())
    tiles = []
    for tile in processor.denormalize(network.decode(network.embed(shown))):  # (3, s, s) uint8
        file = io.BytesIO()
        Image.fromarray(tile.transpose(1, 2, 0)).save(file, "PNG")
        tiles.append(base64.b64encode(file.getvalue()).decode())
    return tiles
