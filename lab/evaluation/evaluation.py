"""All figures of a repo. This is the one module that knows which are measured of which kind of repo.

The tables of the metrics: `match_scores` and `reliability` (see `retrieval.py`), `strangeness` (`outliers.py`), and of
a classifier `confusion` and `suspected_labels` (`classification.py`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from lab.data import ImageSet
from lab.evaluation.alterations import alteration_figures
from lab.evaluation.baselines import PrincipalComponents
from lab.evaluation.benchmark import CARS
from lab.evaluation.classification import accuracy, class_probabilities, classification_tables
from lab.evaluation.data_folder import DataFolder
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.failures import failures_table
from lab.evaluation.labelled import evaluate_labelled
from lab.evaluation.match_calibration import match_calibration
from lab.evaluation.outlier_kinds import outliers_of
from lab.evaluation.outliers import MeasuredParts, outlier_baselines, outlier_figures, strangeness_table, view_figures
from lab.evaluation.reconstruction import reconstruction_errors, reconstruction_figures
from lab.evaluation.retrieval import (
    RAW_PIXELS,
    decorated_retrieval,
    match_tables,
    paint_around,
    pixel_retrieval,
    retrieval_figures,
)
from lab.evaluation.wild import same_model_chance, wild_figures
from lab.fitting import DetectorFit, embed_images, measure_images
from lab.outlier_data import left_out_labels, load_outliers
from lab.record import TrainingRecord
from lab.splits import learned_beside
from visim_models.embedding import keep_freed_memory
from visim_models.gallery import Gallery
from visim_models.measurements import Measured
from visim_models.metrics import Figure, Metrics
from visim_models.models import Classifier, ConvolutionalAutoencoder
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import SPLIT, TRAINING, WEIGHTS
from visim_models.synthetic import SYNTHETIC_KINDS

__all__ = ["evaluate", "general_baselines"]

_SIBLINGS: Final = {"car-extractor": "car-autoencoder", "car-autoencoder": "car-extractor"}
"""Repo -> the repo beside it, in the same folder, that answers the same queries by another network."""
_GENERAL: Final = "general-extractor"
_MATCHES: Final = 10


def evaluate(folder: Path, data: Path, *, command: str, limit: int | None = None) -> Metrics:
    """Measure a repo, and the baselines that its figures are compared with.

    A repo that was trained here says by its split which pictures it held out. The gallery of any other is measured by
    labelled pictures that are not in it.

    Args:
        folder: the repo folder.
        data: the folder of the project's pictures; for a repo without a split, a folder or zip of `label/name.jpg`.
        command: reproduces the metrics; written into them.
        limit: use at most so many pictures of each part, for a trial, which leaves the general extractor out; None for
            all.

    Raises:
        DataError: pictures are missing, or the repo does not say which pictures it held out.
        VisimError: the repo cannot be loaded.
    """
    keep_freed_memory()
    if not RepoFolder(folder).has(SPLIT):
        return evaluate_labelled(folder, data, command=command, limit=limit)
    pictures = DataFolder(data, limit=limit)
    repo = EvaluatedRepo.load(folder, pictures)
    test = repo.part("test")
    outliers = dict(outliers_of(repo))
    parts = _measure_parts(repo, test, outliers, refitted=_refitted(repo))
    scores, indices = _matches(repo, parts.test)
    baselines = _picture_baselines(repo, test)
    figures = _main_figures(repo, test, parts.test, beat=baselines)
    if repo.benchmark is CARS:
        painted = measure_images(repo.similarity, paint_around(test.pixels), gallery=repo.known)
        figures += decorated_retrieval(test, indices, _matches(repo, painted)[1], repo)
        figures += [*wild_figures(repo), *alteration_figures(repo)]
        baselines += same_model_chance(repo)
    calibration, tables = match_calibration(repo)
    figures += [*calibration, *outlier_figures(repo, parts)]
    baselines += _sibling_baselines(repo, {figure.name for figure in figures})
    baselines += [*outlier_baselines(repo, parts), *(general_baselines(repo) if limit is None else ())]
    tables |= match_tables(test.labels, scores, indices, repo.known)
    tables["strangeness"] = strangeness_table(repo.similarity.ood, parts)
    model = repo.similarity.model
    if isinstance(model, Classifier):
        failures = failures_table(repo.benchmark, repo.similarity.ood, parts, test.pixels, outliers["other_kinds"])
        tables |= {"failures": failures} if failures else {}
        tables |= classification_tables(test, class_probabilities(model, parts.test.embeddings), model.class_names)
    return Metrics(
        command=command,
        limit=limit,
        weights_sha256=repo.repo.sha256(WEIGHTS),
        data=dict(sorted(pictures.counts.items())),
        figures=figures,
        baselines=baselines,
        tables=tables,
    )


def _measure_parts(
    repo: EvaluatedRepo,
    test: ImageSet,
    outliers: Mapping[str, Tensor],
    *,
    refitted: Mapping[str, OutOfDistributionDetector],
) -> MeasuredParts:
    def measured(pixels: Tensor) -> Measured:
        return measure_images(repo.similarity, pixels, gallery=repo.known)

    return MeasuredParts(
        calibration=measured(_every_file(repo, "calibration").pixels),
        test=measured(test.pixels),
        test_groups=repo.groups(test),
        kinds={kind: measured(pixels) for kind, pixels in outliers.items()},
        refitted=refitted,
    )


def _every_file(repo: EvaluatedRepo, part: str) -> ImageSet:
    """Return the pictures of a part, of all files that the split divides."""
    return ImageSet.concatenate([repo.part(part, file=file) for file in repo.divided_files(part)])


def _refitted(repo: EvaluatedRepo) -> dict[str, OutOfDistributionDetector]:
    """Fit the repo's detector again without each drawn kind, as its export fitted it: kind -> detector."""
    model, processor, limit = repo.similarity.model, repo.similarity.processor, repo.data.limit
    files = [repo.data.path / file for file in repo.benchmark.outlier_files]
    leave_out = left_out_labels(repo.benchmark.labels)
    seed = TrainingRecord.read(repo.repo / TRAINING).seed
    outliers = load_outliers(files, processor.size, part="fit", seed=seed, leave_out=leave_out, limit=limit)
    fitted = DetectorFit.measure(
        repo.known,
        model,
        processor,
        learned=learned_beside(repo.known_images, ImageSet.concatenate(list(repo.images.values())), repo.split).pixels,
        fit=_every_file(repo, "fit").pixels,
        calibration=_every_file(repo, "calibration").pixels,
        outliers=outliers.pixels,
        kinds=outliers.kinds,
    )
    return {kind: fitted.detector(without=f"drawn: {kind}") for kind in SYNTHETIC_KINDS}


def general_baselines(repo: EvaluatedRepo) -> list[Figure]:
    """Measure the general extractor on the same pictures, where the repo's network is a classifier."""
    if not isinstance(repo.similarity.model, Classifier):
        return []
    seen = repo.seen_by(_GENERAL)
    test = seen.part("test")
    parts = _measure_parts(seen, test, dict(outliers_of(seen)), refitted={})
    figures = retrieval_figures(test, _matches(seen, parts.test)[1], seen, method=_GENERAL)
    return [*figures, *wild_figures(seen, method=_GENERAL), *view_figures(seen, parts, method=_GENERAL)]


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
    if isinstance(model, Classifier):
        figures.append(_accuracy(repo, model, test, measured.embeddings, method=method))
    raw = [figure for figure in beat if figure.method == RAW_PIXELS]
    return figures + retrieval_figures(test, _matches(repo, measured)[1], repo, method=method, beat=raw)


def _accuracy(repo: EvaluatedRepo, model: Classifier, test: ImageSet, features: Tensor, *, method: str) -> Figure:
    """Measure the accuracy on the held-out cars, or on all of CIFAR-10's validation pictures."""
    images, groups = _reconstructed(repo, test)
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


def _reconstructed(repo: EvaluatedRepo, test: ImageSet) -> tuple[ImageSet, list[int] | None]:
    """Return the pictures that reconstructions and classes are measured on, and their groups of near-duplicates.

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
