"""All figures of a repo. This is the one module that knows which are measured of which kind of repo.

The tables of the metrics: `match_scores` and `reliability` (see `retrieval.py`), `strangeness` (`outliers.py`), and of
a classifier `confusion` and `suspected_labels` (`classification.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from lab.data import ImageSet
from lab.evaluation.baselines import PrincipalComponents
from lab.evaluation.benchmark import CARS
from lab.evaluation.classification import accuracy, body_probabilities, classification_tables
from lab.evaluation.data_folder import DataFolder
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.outlier_kinds import outliers_of
from lab.evaluation.outliers import MeasuredParts, outlier_baselines, outlier_figures, strangeness_table
from lab.evaluation.reconstruction import reconstruction_errors, reconstruction_figures
from lab.evaluation.retrieval import (
    RAW_PIXELS,
    decorated_retrieval,
    match_tables,
    paint_around,
    pixel_retrieval,
    retrieval_figures,
)
from lab.fitting import measure_images
from visim_models.gallery import Gallery
from visim_models.measurements import Measured
from visim_models.metrics import Figure, Metrics
from visim_models.models import CarFeatureExtractor, ConvolutionalAutoencoder
from visim_models.repo_folder.manifest import WEIGHTS

__all__ = ["evaluate"]

_SIBLINGS: Final = {"car-extractor": "car-autoencoder", "car-autoencoder": "car-extractor"}
"""Repo -> the repo beside it, in the same folder, that answers the same queries by another network."""
_MATCHES: Final = 10


def evaluate(folder: Path, data: Path, *, command: str, limit: int | None = None) -> Metrics:
    """Measure a repo, and the baselines that its figures are compared with.

    Args:
        folder: the repo folder.
        data: the folder of the project's pictures.
        command: reproduces the metrics; written into them.
        limit: use at most so many pictures of each part, for a trial; None for all.

    Raises:
        DataError: pictures are missing, or the repo does not say which pictures it held out.
        VisimError: the repo cannot be loaded.
    """
    pictures = DataFolder(data, limit=limit)
    repo = EvaluatedRepo.load(folder, pictures)
    test = repo.part("test")
    parts = _measure_parts(repo, test)
    scores, indices = _matches(repo, parts.test)
    baselines = _picture_baselines(repo, test)
    figures = _main_figures(repo, test, parts.test, beat=baselines)
    if repo.benchmark is CARS:
        painted = measure_images(repo.similarity, paint_around(test.pixels), gallery=repo.known)
        figures += decorated_retrieval(test, indices, _matches(repo, painted)[1], repo)
    figures += outlier_figures(repo, parts)
    baselines += _sibling_baselines(repo, {figure.name for figure in figures})
    baselines += outlier_baselines(repo, parts)
    tables = match_tables(test.labels, scores, indices, repo.known)
    tables["strangeness"] = strangeness_table(repo.similarity.ood, parts)
    model = repo.similarity.model
    if isinstance(model, CarFeatureExtractor):
        tables |= classification_tables(test, body_probabilities(model, parts.test.embeddings), model.class_names)
    return Metrics(
        command=command,
        limit=limit,
        weights_sha256=repo.repo.sha256(WEIGHTS),
        data=dict(sorted(pictures.counts.items())),
        figures=figures,
        baselines=baselines,
        tables=tables,
    )


def _measure_parts(repo: EvaluatedRepo, test: ImageSet) -> MeasuredParts:
    def measured(pixels: Tensor) -> Measured:
        return measure_images(repo.similarity, pixels, gallery=repo.known)

    return MeasuredParts(
        calibration=measured(repo.part("calibration").pixels),
        test=measured(test.pixels),
        test_groups=repo.groups(test),
        kinds={kind: measured(pixels) for kind, pixels in outliers_of(repo)},
    )


def _matches(repo: EvaluatedRepo, measured: Measured) -> tuple[Tensor, Tensor]:
    """Find the ten nearest of each of Q queries in the known gallery: (Q, 10) scores and indices."""
    scores, indices = repo.known.search(measured.embeddings, top_k=min(_MATCHES, len(repo.known)))
    return torch.from_numpy(scores), torch.from_numpy(indices)


def _main_figures(
    repo: EvaluatedRepo, test: ImageSet, measured: Measured, *, method: str = "", beat: Sequence[Figure] = ()
) -> list[Figure]:
    """Measure reconstruction, accuracy and retrieval, as far as the repo's network has them."""
    figures: list[Figure] = []
    model = repo.similarity.model
    if isinstance(model, ConvolutionalAutoencoder):
        images, groups = _reconstructed(repo, test)
        errors = reconstruction_errors(model, repo.similarity.processor, images.pixels)
        figures += reconstruction_figures(errors, repo.benchmark, groups=groups, method=method)
    if isinstance(model, CarFeatureExtractor):
        probabilities = body_probabilities(model, measured.embeddings)
        figures.append(
            accuracy(probabilities, test.targets(model.class_names), groups=repo.groups(test), method=method)
        )
    raw = [figure for figure in beat if figure.method == RAW_PIXELS]
    return figures + retrieval_figures(test, _matches(repo, measured)[1], repo, method=method, beat=raw)


def _reconstructed(repo: EvaluatedRepo, test: ImageSet) -> tuple[ImageSet, list[int] | None]:
    """Return the pictures that reconstructions are measured on, and their groups of near-duplicates.

    These are the held-out cars, or all of CIFAR-10's validation pictures, which no network here was trained on.
    """
    return (test, repo.groups(test)) if repo.benchmark is CARS else (repo.gallery_images(), None)


def _picture_baselines(repo: EvaluatedRepo, test: ImageSet) -> list[Figure]:
    """Measure raw pixels; and principal components, where the repo's network is an autoencoder."""
    figures = pixel_retrieval(test, repo)
    if isinstance(repo.similarity.model, ConvolutionalAutoencoder):
        components = PrincipalComponents.fit(repo.part("train").pixels)
        method = f"PCA, {components.basis.shape[1]} components"
        images, groups = _reconstructed(repo, test)
        errors = components.errors(images.pixels)
        figures += reconstruction_figures(errors, repo.benchmark, groups=groups, method=method)
        known = repo.known_images
        codes = Gallery(known.file_names, known.labels, components.encode(known.pixels))
        top_k = min(max(repo.benchmark.ranks), len(codes))
        indices = torch.from_numpy(codes.search(components.encode(test.pixels), top_k=top_k)[1])
        figures += retrieval_figures(test, indices, repo, method=method)
    return figures


def _sibling_baselines(repo: EvaluatedRepo, names: set[str]) -> list[Figure]:
    """Measure the repo beside this one that answers the same queries, by those of its figures that this one has too."""
    sibling = _SIBLINGS.get(repo.name)
    folder = repo.repo.path.resolve().parent / f"visim-{sibling}"
    if sibling is None or not folder.is_dir():
        return []
    other = EvaluatedRepo.load(folder, repo.data)
    test = other.part("test")
    measured = measure_images(other.similarity, test.pixels, gallery=other.known)
    return [figure for figure in _main_figures(other, test, measured, method=sibling) if figure.name in names]
