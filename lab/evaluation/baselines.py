"""What is measured of a repo and of its baselines alike: reconstruction, accuracy, retrieval; and the baselines.

They are raw pixels, principal components, the start of a training, the repo beside this one, the general extractor.
"""

from collections.abc import Sequence
from typing import Final

import torch

from lab.evaluation.classification import class_probabilities, told_right
from lab.evaluation.evaluated_repo import CARS, EvaluatedRepo
from lab.evaluation.figures import share_figure
from lab.evaluation.outliers import MeasuredParts, outlier_figures, outliers_of
from lab.evaluation.reconstruction import PrincipalComponents, reconstruction_errors, reconstruction_figures
from lab.evaluation.retrieval import MATCHES, RAW_PIXELS, pixel_retrieval, retrieval_figures
from lab.evaluation.sources import mean_figures, source_figures
from lab.fitting import embed_images
from lab.run import TrainingRecord
from lab.training.augmentation import normalized
from lab.training.autoencoder import principal_components_
from visim_models.galleries.picture_table import PictureTable
from visim_models.gallery import Gallery
from visim_models.models import ConvolutionalAutoencoder, TorchNetwork
from visim_models.repo_folder.manifest import TRAINING
from visim_models.repo_folder.metrics import Figure

__all__ = ["general_baselines", "main_figures", "picture_baselines", "sibling_baselines"]

_SIBLINGS: Final = {"car-extractor": "car-autoencoder", "car-autoencoder": "car-extractor"}
"""Repo -> the repo beside it, in the same folder, that answers the same queries by another network."""
_GENERAL: Final = "general-extractor"


def main_figures(
    repo: EvaluatedRepo, test: PictureTable, measured: PictureTable, *, method: str = "", beat: Sequence[Figure] = ()
) -> list[Figure]:
    """Measure reconstruction, accuracy and retrieval, as far as the repo's network has them."""
    figures: list[Figure] = []
    network, processor = repo.similarity.network, repo.similarity.processor
    if network.can_decode:
        images, groups = _shown(repo, test)
        errors = reconstruction_errors(network, processor, images["pixels"])
        figures += reconstruction_figures(errors, repo.benchmark, groups=groups, method=method)
    if network.class_names:
        images, groups = _shown(repo, test)
        embeddings = measured["embeddings"]
        if images is not test:
            embeddings = embed_images(network, processor, images["pixels"])
        right = told_right(images, class_probabilities(network, embeddings), network.class_names)
        pictures, goal = ("held-out dealers' photographs", 95.0) if repo.benchmark is CARS else (_VALIDATION, 94.0)
        what = f"Share of {pictures} whose class is told as labelled."
        target = None if method else {"at_least": goal}
        figures.append(share_figure(right, name="accuracy", what=what, groups=groups, target=target, method=method))
    raw = [figure for figure in beat if figure.method == RAW_PIXELS]
    return figures + retrieval_figures(test, repo.matches(measured, MATCHES)[1], repo, method=method, beat=raw)


_VALIDATION: Final = "the validation pictures"


def _shown(repo: EvaluatedRepo, test: PictureTable) -> tuple[PictureTable, list[int] | None]:
    """Return the pictures that reconstructions and classes are measured on, and their groups of near-duplicates.

    These are the held-out cars, or all of CIFAR-10's validation pictures, which no network here was trained on.
    """
    return (test, repo.groups(test)) if repo.benchmark is CARS else (repo.gallery_images(), None)


def general_baselines(repo: EvaluatedRepo) -> list[Figure]:
    """Measure the general extractor on the same pictures, where the repo's network is a classifier."""
    if not repo.similarity.network.class_names:
        return []
    seen = repo.seen_by(_GENERAL)
    test = seen.part("test")
    parts = MeasuredParts.measure(seen, test, dict(outliers_of(seen)), refitted={})
    figures = retrieval_figures(test, seen.matches(parts.test, MATCHES)[1], seen, method=_GENERAL)
    figures += [*source_figures(seen, method=_GENERAL), *outlier_figures(seen, parts, method=_GENERAL)]
    return [*figures, *mean_figures(figures, method=_GENERAL)]


def picture_baselines(repo: EvaluatedRepo, test: PictureTable) -> list[Figure]:
    """Measure raw pixels; and principal components, where the repo's network is an autoencoder."""
    figures = pixel_retrieval(test, repo)
    if repo.similarity.network.can_decode:
        figures += _start(repo, test)
        components = PrincipalComponents.fit(repo.part("train")["pixels"])
        method = f"PCA, {components.basis.shape[1]} components"
        images, groups = _shown(repo, test)
        errors = components.errors(images["pixels"])
        figures += reconstruction_figures(errors, repo.benchmark, groups=groups, method=method)
        codes = Gallery(repo.known.file_names, repo.known.labels, components.encode(repo.known_images["pixels"]))
        top_k = min(max(repo.benchmark.ranks), len(codes))
        indices = codes.search(components.encode(test["pixels"]), top_k=top_k)[1]
        figures += retrieval_figures(test, indices, repo, method=method)
    return figures


def _start(repo: EvaluatedRepo, test: PictureTable) -> list[Figure]:
    """Measure the reconstructions of the network as its training began, where that was by principal components."""
    record, processor = TrainingRecord.read(repo.repo / TRAINING), repo.similarity.processor
    if not record.settings.get("principal_components"):
        return []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(record.seed)
        model = ConvolutionalAutoencoder(**repo.similarity.network.config)
        principal_components_(
            model,
            normalized(processor, torch.from_numpy(repo.part("train")["pixels"])),
            share=record.settings.get("components_share", 0.9),
            paired_share=record.settings.get("paired_share", 1.0),
            mirrored=record.settings.get("mirrored_components", False),
        )
    images, groups = _shown(repo, test)
    errors = reconstruction_errors(TorchNetwork(model), processor, images["pixels"])
    return reconstruction_figures(errors, repo.benchmark, groups=groups, method="its start, before training")


def sibling_baselines(repo: EvaluatedRepo, names: set[str]) -> list[Figure]:
    """Measure the repo beside this one that answers the same queries, by those of its figures that this one has too."""
    sibling = _SIBLINGS.get(repo.name)
    folder = repo.repo.path.resolve().parent / f"visim-{sibling}"
    if sibling is None or not folder.is_dir():
        return []
    other = EvaluatedRepo.load(folder, repo.data)
    test = other.part("test")
    figures = main_figures(other, test, other.measured(test), method=sibling)
    return [figure for figure in figures if figure.name in names]
