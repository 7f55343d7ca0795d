"""How well a classifier tells its classes."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from lab.data import ImageSet
from lab.evaluation.figures import share_figure
from visim_models.models import Classifier
from visim_models.repo_folder.metrics import Figure

__all__ = ["accuracy", "class_probabilities", "classification_tables"]

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
