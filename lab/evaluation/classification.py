"""How well a classifier tells its classes, and the worst mistakes of its verdict."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hub.locate import BUNDLED, REPO_NAMES
from lab.data import ImageSet
from lab.evaluation.evaluated_repo import CARS, Benchmark
from lab.evaluation.figures import share_figure
from lab.evaluation.outliers import MeasuredParts
from lab.tensors import denormalized, normalized
from visim_models.models import Classifier, ConvolutionalAutoencoder
from visim_models.ood import OutOfDistributionDetector
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.metrics import Figure

__all__ = ["accuracy", "class_probabilities", "classification_tables", "failures_table"]

_SURE: Final = 0.9
"""Probability of another body type from which on a label is suspected to be wrong."""


def class_probabilities(model: Classifier, features: Tensor) -> Tensor:
    """Return the (N, C) probabilities of (N, D) features, in the order of the model's class names."""
    with torch.inference_mode():
        return model.classify(features).exp()


def accuracy(
    probabilities: Tensor,
    targets: Tensor,
    *,
    pictures: str,
    at_least: float,
    groups: Sequence[int] | None,
    method: str = "",
) -> Figure:
    """Return the share of pictures whose likeliest class is that of their label.

    Args:
        probabilities: (N, C).
        targets: (N,) int64 indices of the right classes.
        pictures: names the pictures in a sentence.
        at_least: the target, in percent.
        groups: the group of near-duplicates of each picture; None where each is a group of its own.
        method: the method, for a baseline.
    """
    return share_figure(
        (probabilities.argmax(dim=1) == targets).float(),
        name="accuracy",
        what=f"Share of {pictures} whose class is told as labelled.",
        groups=groups,
        target=None if method else {"at_least": at_least},
        method=method,
    )


def classification_tables(images: ImageSet, probabilities: Tensor, class_names: Sequence[str]) -> dict[str, Any]:
    """Count the confusions, and list the labels that are probably wrong.

    Args:
        images: N pictures.
        probabilities: (N, C).
        class_names: the C classes.

    Returns:
        `confusion`: its classes and counts, a row a true class; `suspected_labels`: the pictures that the network is
        sure are of another class.
    """
    size = len(class_names)
    targets, predicted = images.targets(class_names), probabilities.argmax(dim=1)  # (N,)
    counts = torch.bincount(targets * size + predicted, minlength=size * size).view(size, size)
    suspected = [
        {"file_name": name, "label": label, "predicted": class_names[index], "probability": round(probability, 3)}
        for name, label, probability, index in zip(
            images.file_names, images.labels, probabilities.amax(dim=1).tolist(), predicted.tolist(), strict=True
        )
        if class_names[index] != label and probability > _SURE
    ]
    return {
        "confusion": {"classes": list(class_names), "counts": counts.tolist()},
        "suspected_labels": suspected,
    }


_SHOWN: Final = 8
_DRAWN_BY: Final = {True: "car-autoencoder", False: "cifar10-autoencoder"}


def failures_table(
    benchmark: Benchmark, detector: OutOfDistributionDetector, parts: MeasuredParts, test: Tensor, others: Tensor
) -> dict[str, Any]:
    """Draw the worst mistakes.

    Args:
        benchmark: whose autoencoder draws.
        detector: the repo's own.
        parts: what it judges.
        test: (N, 3, S, S) uint8 held-out pictures, those of `parts.test`.
        others: (M, 3, S, S) uint8 pictures of other kinds, those of `parts.kinds["other_kinds"]`.

    Returns:
        `false_alarms` and `misses`, the worst first: tiles as PNG in base64, with their p-values. {} without a bundled
        autoencoder.
    """
    folder = BUNDLED / REPO_NAMES[_DRAWN_BY[benchmark is CARS]]
    if not folder.is_dir():
        return {}
    alarms, misses = (detector.verdicts(*part) for part in (parts.test, parts.kinds["other_kinds"]))
    worst_alarms = sorted(range(len(alarms)), key=lambda index: -alarms[index].score)[:_SHOWN]
    worst_misses = sorted(range(len(misses)), key=lambda index: misses[index].score)[:_SHOWN]
    return {
        name: [
            {"p_value": round(verdicts[index].p_value, 4), "tile": tile}
            for index, tile in zip(chosen, _tiles(folder, pixels[chosen]), strict=True)
        ]
        for name, verdicts, chosen, pixels in (
            ("false_alarms", alarms, worst_alarms, test),
            ("misses", misses, worst_misses, others),
        )
    }


def _tiles(folder: Path, pixels: Tensor) -> list[str]:
    """Encode and decode (N, 3, S, S) uint8 pictures: N PNG files in base64."""
    repo = RepoFolder(folder)
    model, processor = ConvolutionalAutoencoder.from_pretrained(repo), ImageProcessor.load(repo)
    small = F.interpolate(pixels.float(), size=processor.size, mode="bilinear", antialias=True)
    with torch.inference_mode():
        drawn = denormalized(processor, model(normalized(processor, small)))  # (N, 3, s, s) uint8
    tiles = []
    for tile in drawn:
        file = io.BytesIO()
        Image.fromarray(tile.permute(1, 2, 0).numpy()).save(file, "PNG")
        tiles.append(base64.b64encode(file.getvalue()).decode())
    return tiles
