"""All figures of a repo. This is the one place that knows which are measured for which kind of repo.

Tables: `match_scores` and `reliability` (see `retrieval.py`), `strangeness` (`outliers.py`), and of a classifier
`confusion` and `suspected_labels` (`classification.py`).
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from lab.data import ImageSet
from lab.evaluation.baselines import PrincipalComponents
from lab.evaluation.classification import accuracy, body_probabilities, classification_tables
from lab.evaluation.outliers import Seen, outlier_baselines, outlier_figures, strangeness_table
from lab.evaluation.pictures import Pictures
from lab.evaluation.reconstruction import reconstruction_errors, reconstruction_quality
from lab.evaluation.retrieval import (
    decorated_retrieval,
    match_tables,
    paint_around,
    pixel_retrieval,
    ranks_of,
    retrieval_figures,
)
from lab.evaluation.subject import CARS, Subject
from lab.fitting import observe_images
from visim_models import repository
from visim_models.gallery import Gallery
from visim_models.metrics import Figure, Metrics
from visim_models.models.autoencoder import ConvolutionalAutoencoder
from visim_models.models.base import WEIGHTS_FILE
from visim_models.models.car_classifier import CAR_CLASSES, CarFeatureExtractor
from visim_models.pipeline import Observation

__all__ = ["evaluate"]

_SIBLINGS = {"visim-car-extractor": "visim-car-autoencoder", "visim-car-autoencoder": "visim-car-extractor"}
"""Repo -> the one beside it that answers the same queries another way."""
_MATCHES = 10


def evaluate(folder: Path, data: Path, *, compare: Sequence[Path] = (), limit: int | None = None) -> Metrics:
    """Measure a repo.

    Args:
        folder: the repo's.
        data: folder with the project's pictures.
        compare: other repos, whose main figures become baselines, each on its own held-out pictures.
        limit: use at most so many pictures of each part, to try things out.

    Raises:
        DataError: pictures are missing, or the repo does not say what it held out.
        VisimError: the repo cannot be loaded.
    """
    subject, pictures = Subject.load(folder), Pictures(data, limit=limit)
    test = pictures.held_out(subject, "test")
    seen = _observe(subject, pictures, test)
    scores, places = _matches(subject, seen.test)
    baselines = _picture_baselines(subject, pictures, test)
    figures = _main_figures(subject, pictures, test, seen.test, beat=baselines)
    if subject.family is CARS:
        painted = observe_images(subject.similarity, paint_around(test.pixels), gallery=subject.known)
        figures += decorated_retrieval(test.labels, places, _matches(subject, painted)[1], subject)
    figures += outlier_figures(subject, seen)
    for other in (*_sibling(folder), *compare):
        baselines += _main_figures_of(Subject.load(other), pictures, {figure.name for figure in figures})
    baselines += outlier_baselines(subject, seen)
    tables = match_tables(test.labels, scores, places, subject.known)
    tables["strangeness"] = strangeness_table(subject, seen)
    if isinstance(subject.similarity.model, CarFeatureExtractor):
        probabilities = body_probabilities(subject.similarity.model, seen.test.embeddings)
        tables |= classification_tables(test, probabilities, test.targets(CAR_CLASSES))
    return Metrics(
        command=f"python -m lab.evaluate {subject.name} --data ../shared/data"
        + (f" --limit {limit}" if limit is not None else ""),
        limit=limit,
        weights_sha256=repository.file_sha256(folder / WEIGHTS_FILE),
        data=dict(sorted(pictures.counts.items())),
        figures=figures,
        baselines=baselines,
        tables=tables,
    )


def _observe(subject: Subject, pictures: Pictures, test: ImageSet) -> Seen:
    calibration = pictures.held_out(subject, "calibration").pixels
    return Seen(
        observe_images(subject.similarity, calibration, gallery=subject.known),
        observe_images(subject.similarity, test.pixels, gallery=subject.known),
        {
            kind: observe_images(subject.similarity, images, gallery=subject.known)
            for kind, images in pictures.outliers(subject)
        },
    )


def _matches(subject: Subject, observed: Observation) -> tuple[torch.Tensor, torch.Tensor]:
    """(Q, 10) scores and places in the known gallery."""
    scores, places = subject.known.search(observed.embeddings, top_k=min(_MATCHES, len(subject.known)))
    return torch.from_numpy(scores), torch.from_numpy(places)


def _main_figures(
    subject: Subject,
    pictures: Pictures,
    test: ImageSet,
    seen: Observation,
    *,
    method: str = "",
    beat: Sequence[Figure] = (),
) -> list[Figure]:
    """Reconstruction, accuracy and retrieval, as far as the repo's network has them."""
    figures: list[Figure] = []
    model, processor = subject.similarity.model, subject.similarity.processor
    if isinstance(model, ConvolutionalAutoencoder):
        errors = reconstruction_errors(model, processor, pictures.validation(subject).pixels)
        figures += reconstruction_quality(errors, subject.family, method=method)
    if isinstance(model, CarFeatureExtractor):
        probabilities = body_probabilities(model, seen.embeddings)
        figures.append(accuracy(probabilities, test.targets(CAR_CLASSES), method=method))
    raw = [figure for figure in beat if figure.method.startswith("raw pixels")]
    return figures + retrieval_figures(test.labels, _matches(subject, seen)[1], subject, method=method, beat=raw)


def _main_figures_of(other: Subject, pictures: Pictures, names: set[str]) -> list[Figure]:
    """The main figures of another repo, those that also stand for this one."""
    test = pictures.held_out(other, "test")
    seen = observe_images(other.similarity, test.pixels, gallery=other.known)
    figures = _main_figures(other, pictures, test, seen, method=other.method)
    return [figure for figure in figures if figure.name in names]


def _picture_baselines(subject: Subject, pictures: Pictures, test: ImageSet) -> list[Figure]:
    """Raw pixels; and principal components, where the repo's network is an autoencoder."""
    known = pictures.known(subject)
    figures = pixel_retrieval(test, known, subject)
    if isinstance(subject.similarity.model, ConvolutionalAutoencoder):
        components = PrincipalComponents.fit(pictures.learnt(subject).pixels)
        method = f"PCA, {components.basis.shape[1]} components"
        errors = components.errors(pictures.validation(subject).pixels)
        figures += reconstruction_quality(errors, subject.family, method=method)
        codes = Gallery(known.file_names, known.labels, components.encode(known.pixels))
        top_k = min(max(ranks_of(subject.family)), len(codes))
        places = torch.from_numpy(codes.search(components.encode(test.pixels), top_k=top_k)[1])
        figures += retrieval_figures(test.labels, places, subject, method=method)
    return figures


def _sibling(folder: Path) -> list[Path]:
    name = _SIBLINGS.get(folder.resolve().name)
    beside = folder.resolve().parent / (name or "")
    return [beside] if name and beside.is_dir() else []
