"""What is measured of a repo and of its baselines alike."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from lab.data import ImageSet
from lab.evaluation.cars import wild_figures
from lab.evaluation.classification import accuracy, class_probabilities
from lab.evaluation.evaluated_repo import CARS, EvaluatedRepo
from lab.evaluation.outliers import MeasuredParts, outlier_figures, outliers_of
from lab.evaluation.reconstruction import PrincipalComponents, reconstruction_errors, reconstruction_figures
from lab.evaluation.retrieval import (
    RAW_PIXELS,
    pixel_retrieval,
    retrieval_figures,
)
from lab.fitting import embed_images, measure_images
from lab.run import TrainingRecord
from lab.tensors import Measured, normalized
from lab.training.autoencoder import principal_components_
from visim_models.gallery import Gallery
from visim_models.models import Classifier, ConvolutionalAutoencoder
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder.manifest import TRAINING
from visim_models.repo_folder.metrics import Figure

__all__ = [
    "every_file",
    "find_matches",
    "general_baselines",
    "main_figures",
    "measure_parts",
    "picture_baselines",
    "sibling_baselines",
]

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
    scores, indices = repo.known.search(measured.embeddings.numpy(), top_k=min(_MATCHES, len(repo.known)))
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


_SIBLINGS: Final = {"car-extractor": "car-autoencoder", "car-autoencoder": "car-extractor"}
"""Repo -> the repo beside it, in the same folder, that answers the same queries by another network."""
_GENERAL: Final = "general-extractor"


def general_baselines(repo: EvaluatedRepo) -> list[Figure]:
    """Measure the general extractor on the same pictures, where the repo's network is a classifier."""
    if not isinstance(repo.similarity.model, Classifier):
        return []
    seen = repo.seen_by(_GENERAL)
    test = seen.part("test")
    parts = measure_parts(seen, test, dict(outliers_of(seen)), refitted={})
    figures = retrieval_figures(test, find_matches(seen, parts.test)[1], seen, method=_GENERAL)
    return [*figures, *wild_figures(seen, method=_GENERAL), *outlier_figures(seen, parts, method=_GENERAL)]


def picture_baselines(repo: EvaluatedRepo, test: ImageSet) -> list[Figure]:
    """Measure raw pixels; and principal components, where the repo's network is an autoencoder."""
    figures = pixel_retrieval(test, repo)
    if isinstance(repo.similarity.model, ConvolutionalAutoencoder):
        figures += _start(repo, test)
        components = PrincipalComponents.fit(repo.part("train").pixels)
        method = f"PCA, {components.basis.shape[1]} components"
        images, groups = reconstructed(repo, test)
        errors = components.errors(images.pixels)
        figures += reconstruction_figures(errors, repo.benchmark, groups=groups, method=method)
        known = repo.known_images
        codes = Gallery(known.file_names, known.labels, components.encode(known.pixels).numpy())
        top_k = min(max(repo.benchmark.ranks), len(codes))
        indices = torch.from_numpy(codes.search(components.encode(test.pixels).numpy(), top_k=top_k)[1])
        figures += retrieval_figures(test, indices, repo, method=method)
    return figures


def _start(repo: EvaluatedRepo, test: ImageSet) -> list[Figure]:
    """Measure the reconstructions of the network as its training began, where that was by principal components."""
    record, processor = TrainingRecord.read(repo.repo / TRAINING), repo.similarity.processor
    if not record.settings.get("principal_components"):
        return []
    config = repo.similarity.model.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(record.seed)
        model = ConvolutionalAutoencoder(**config)
        pixels = normalized(processor, repo.part("train").pixels)
        principal_components_(
            model,
            pixels,
            share=record.settings.get("components_share", 0.9),
            paired_share=record.settings.get("paired_share", 1.0),
            mirrored=record.settings.get("mirrored_components", False),
        )
    images, groups = reconstructed(repo, test)
    errors = reconstruction_errors(model.eval(), processor, images.pixels)
    return reconstruction_figures(errors, repo.benchmark, groups=groups, method="its start, before training")


def sibling_baselines(repo: EvaluatedRepo, names: set[str]) -> list[Figure]:
    """Measure the repo beside this one that answers the same queries, by those of its figures that this one has too."""
    sibling = _SIBLINGS.get(repo.name)
    folder = repo.repo.path.resolve().parent / f"visim-{sibling}"
    if sibling is None or not folder.is_dir():
        return []
    other = EvaluatedRepo.load(folder, repo.data)
    test = other.part("test")
    measured = measure_images(other.similarity, test.pixels, gallery=other.known)
    return [figure for figure in main_figures(other, test, measured, method=sibling) if figure.name in names]
