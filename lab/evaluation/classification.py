"""How well the car classifier tells body types."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lab.data import ImageSet
from visim_models.metrics import Figure, share_figure
from visim_models.models.car_classifier import CAR_CLASSES, CarFeatureExtractor

__all__ = ["accuracy", "body_probabilities", "classification_tables"]

_SURE = 0.9
"""Probability of another body type from which on a label is suspected to be wrong."""


def body_probabilities(model: CarFeatureExtractor, features: Tensor) -> Tensor:
    """(N, 514) features -> (N, 4) probabilities, in the order of `CAR_CLASSES`."""
    with torch.inference_mode():
        return model.classify(features).exp()


def accuracy(probabilities: Tensor, targets: Tensor, *, method: str = "") -> Figure:
    """The share of pictures whose likeliest body type is that of their label: (N, 4) and (N,) int64."""
    return share_figure(
        (probabilities.argmax(dim=1) == targets).float(),
        name="accuracy",
        what="Share of held-out photographs whose body type is told as labelled; near-duplicates were kept together.",
        target=None if method else {"at_least": 95.0},
        method=method,
    )


def classification_tables(images: ImageSet, probabilities: Tensor, targets: Tensor) -> dict[str, Any]:
    """`confusion`: counts, a row a true class; `suspected_labels`: pictures surely told to be another body type."""
    predicted = probabilities.argmax(dim=1)
    size = len(CAR_CLASSES)
    counts = torch.bincount(targets * size + predicted, minlength=size * size).view(size, size)
    return {
        "confusion": {"classes": list(CAR_CLASSES), "counts": counts.tolist()},
        "suspected_labels": _suspected(images.file_names, images.labels, probabilities),
    }


def _suspected(names: Sequence[str], labels: Sequence[str], probabilities: Tensor) -> list[dict[str, Any]]:
    best = probabilities.max(dim=1)
    rows = zip(names, labels, best.values.tolist(), best.indices.tolist(), strict=True)
    return [
        {"file_name": name, "label": label, "predicted": CAR_CLASSES[place], "probability": round(probability, 3)}
        for name, label, probability, place in rows
        if CAR_CLASSES[place] != label and probability > _SURE
    ]
