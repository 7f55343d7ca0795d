"""What is measured of a repo and of its baselines alike: reconstruction, accuracy, retrieval, all that verdicts see."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from lab.data import ImageSet
from lab.evaluation.benchmark import CARS
from lab.evaluation.classification import accuracy, class_probabilities
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.outliers import MeasuredParts
from lab.evaluation.reconstruction import reconstruction_errors, reconstruction_figures
from lab.evaluation.retrieval import (
    RAW_PIXELS,
    retrieval_figures,
)
from lab.fitting import embed_images, measure_images
from visim_models.measurements import Measured
from visim_models.models import Classifier, ConvolutionalAutoencoder
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder.metrics import Figure

__all__ = ["every_file", "find_matches", "main_figures", "measure_parts", "reconstructed"]

_MATCHES: Final = 10


def measure_parts(
    repo: EvaluatedRepo,
    test: ImageSet,
    outliers: Mapping[str, Tensor],
    *,
    refitted: Mapping[str, OutOfDistributionDetector],
) -> MeasuredParts:
    """Measure all that detectors are judged by.

    Args:
        repo: the repo, or another network's view of its pictures.
        test: the held-out pictures that nothing was fitted to.
        outliers: kind -> (M, 3, S, S) uint8 pictures.
        refitted: kind -> the repo's detector, fitted again without it.
    """

    def measured(pixels: Tensor) -> Measured:
        return measure_images(repo.similarity, pixels, gallery=repo.known)

    return MeasuredParts(
        calibration=measured(every_file(repo, "calibration").pixels),
        test=measured(test.pixels),
        test_groups=repo.groups(test),
        kinds={kind: measured(pixels) for kind, pixels in outliers.items()},
        refitted=refitted,
    )


def every_file(repo: EvaluatedRepo, part: str) -> ImageSet:
    """Return the pictures of a part, of all files that the split divides."""
    return ImageSet.concatenate([repo.part(part, file=file) for file in repo.divided_files(part)])


def find_matches(repo: EvaluatedRepo, measured: Measured) -> tuple[Tensor, Tensor]:
    """Find the ten nearest of each of Q queries in the known gallery: (Q, 10) scores and indices."""
    scores, indices = repo.known.search(measured.embeddings, top_k=min(_MATCHES, len(repo.known)))
    return torch.from_numpy(scores), torch.from_numpy(indices)


def main_figures(
    repo: EvaluatedRepo, test: ImageSet, measured: Measured, *, method: str = "", beat: Sequence[Figure] = ()
) -> list[Figure]:
    """Measure reconstruction, accuracy and retrieval, as far as the repo's network has them."""
    figures: list[Figure] = []
    model = repo.similarity.model
    if isinstance(model, ConvolutionalAutoencoder):
        images, groups = reconstructed(repo, test)
        errors = reconstruction_errors(model, repo.similarity.processor, images.pixels)
        figures += reconstruction_figures(errors, repo.benchmark, groups=groups, method=method)
    if isinstance(model, Classifier):
        figures.append(_accuracy(repo, model, test, measured.embeddings, method=method))
    raw = [figure for figure in beat if figure.method == RAW_PIXELS]
    return figures + retrieval_figures(test, find_matches(repo, measured)[1], repo, method=method, beat=raw)


def _accuracy(repo: EvaluatedRepo, model: Classifier, test: ImageSet, features: Tensor, *, method: str) -> Figure:
    """Measure the accuracy on the held-out cars, or on all of CIFAR-10's validation pictures."""
    images, groups = reconstructed(repo, test)
    if images is not test:
        features = embed_images(repo.similarity.model, repo.similarity.processor, images.pixels)
    is_cars = repo.benchmark is CARS
    return accuracy(
        class_probabilities(model, features),
        images.targets(model.class_names),
        pictures="held-out dealers' photographs" if is_cars else "the validation pictures",
        at_least=95.0 if is_cars else 94.0,
        groups=groups,
        method=method,
    )


def reconstructed(repo: EvaluatedRepo, test: ImageSet) -> tuple[ImageSet, list[int] | None]:
    """Return the pictures that reconstructions and classes are measured on, and their groups of near-duplicates.

    These are the held-out cars, or all of CIFAR-10's validation pictures, which no network here was trained on.
    """
    return (test, repo.groups(test)) if repo.benchmark is CARS else (repo.gallery_images(), None)
