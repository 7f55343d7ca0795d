"""Find labels that are probably wrong: a classifier that has not seen a picture is sure of another class.

Source: Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels" (2021).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hub.locate import locate
from lab.data import labels_of
from lab.fitting import embed_images
from lab.training.augmentation import resized
from visim_models.galleries.picture_table import PictureTable
from visim_models.models.loading import load_network
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder

__all__ = ["cross_validated", "doubted_labels"]

_FOLDS: Final = 5
_SURE: Final = 0.9
"""Probability of another class from which on a label is doubted."""
_JUDGE: Final = "general-extractor"
_PENALTY: Final = 1e-3


def doubted_labels(
    pictures: PictureTable, class_names: Sequence[str], groups: Sequence[int], *, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Judge every label by a linear classifier on the features of a frozen network, fitted on the other pictures.

    Args:
        pictures: N pictures; labels that are no class are not judged.
        class_names: C classes.
        groups: the group of near-duplicates of each picture, which are judged by one classifier.
        seed: of the folds.

    Returns:
        (N,) index of the class that the classifier is sure of in place of the label, or -1.
    """
    repo = RepoFolder(locate(_JUDGE))
    network, processor = load_network(repo), ImageProcessor.load(repo)
    blocks = torch.from_numpy(pictures["pixels"]).split(512)  # floats of all would be gigabytes
    small = (resized(block, processor.size).round().to(torch.uint8).numpy() for block in blocks)
    features = np.concatenate([embed_images(network, processor, pixels) for pixels in small])  # (N, D)
    index_of = {name: index for index, name in enumerate(class_names)}
    targets = np.array([index_of.get(label, -1) for label in labels_of(pictures)])
    own = np.flatnonzero(targets >= 0)
    found = np.full(len(pictures), -1, np.int64)
    if len(own):
        probabilities = cross_validated(features[own], targets[own], np.asarray(groups)[own], seed=seed)
        likeliest = probabilities.argmax(axis=1)
        is_doubted = (likeliest != targets[own]) & (probabilities.max(axis=1) > _SURE)
        found[own[is_doubted]] = likeliest[is_doubted]
    return found


def cross_validated(
    features: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], *, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Return the (N, C) probabilities of pictures by a linear classifier that was fitted without their fold.

    Args:
        features: (N, D).
        targets: (N,) indices of the classes.
        groups: (N,); the pictures of one are in one fold.
        seed: of the folds.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(names))[numbers] % _FOLDS  # (N,)
    rows = torch.from_numpy((features - features.mean(axis=0)) / features.std(axis=0).clip(min=1e-6))
    wanted, classes = torch.from_numpy(targets), int(targets.max()) + 1
    probabilities = np.zeros((len(rows), classes), np.float32)
    for fold in range(_FOLDS):
        inside = torch.from_numpy(folds == fold)
        if inside.any() and not inside.all():
            layer = _linear(rows[~inside], wanted[~inside], classes)
            probabilities[inside.numpy()] = F.softmax(rows[inside] @ layer, dim=1).numpy()
    return probabilities


def _linear(rows: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Fit the (D, C) weights of a logistic regression."""
    layer = torch.zeros(rows.shape[1], classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([layer], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(rows @ layer, targets) + _PENALTY * layer.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer.detach()
