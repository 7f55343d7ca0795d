"""Baselines of a repo's figures: raw pixels, principal components, the repo beside it, the general extractor."""

from typing import Final

import torch

from lab.data import ImageSet
from lab.evaluation.baselines import PrincipalComponents
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.main_figures import find_matches, main_figures, measure_parts, reconstructed
from lab.evaluation.outlier_kinds import outliers_of
from lab.evaluation.outliers import outlier_figures
from lab.evaluation.reconstruction import reconstruction_errors, reconstruction_figures
from lab.evaluation.retrieval import (
    pixel_retrieval,
    retrieval_figures,
)
from lab.evaluation.wild import wild_figures
from lab.fitting import measure_images
from lab.record import TrainingRecord
from lab.training.initialization import principal_components_
from visim_models.gallery import Gallery
from visim_models.models import Classifier, ConvolutionalAutoencoder
from visim_models.repo_folder.manifest import TRAINING
from visim_models.repo_folder.metrics import Figure

__all__ = ["general_baselines", "picture_baselines", "sibling_baselines"]

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
        codes = Gallery(known.file_names, known.labels, components.encode(known.pixels))
        top_k = min(max(repo.benchmark.ranks), len(codes))
        indices = torch.from_numpy(codes.search(components.encode(test.pixels), top_k=top_k)[1])
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
        pixels = processor.normalize(repo.part("train").pixels)
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
