"""All figures of a repo. This is the one module that knows which are measured of which kind of repo.

The tables of the metrics: `match_scores` and `reliability` (see `retrieval.py`), `match_probability`
(`match_calibration.py`), `strangeness` (`outliers.py`), and of a classifier `confusion` and `suspected_labels`
(`classification.py`) and `failures` (`failures.py`).
"""

from pathlib import Path

from lab.data import ImageSet, left_out_labels, load_outliers
from lab.evaluation.baselines import (
    every_file,
    find_matches,
    general_baselines,
    main_figures,
    measure_parts,
    picture_baselines,
    sibling_baselines,
)
from lab.evaluation.cars import alteration_figures, same_model_chance, wild_figures
from lab.evaluation.classification import class_probabilities, classification_tables, failures_table
from lab.evaluation.evaluated_repo import CARS, DataFolder, EvaluatedRepo
from lab.evaluation.labelled import evaluate_labelled
from lab.evaluation.outliers import outlier_baselines, outlier_figures, outliers_of, strangeness_table
from lab.evaluation.retrieval import (
    decorated_retrieval,
    match_calibration,
    match_tables,
    paint_around,
)
from lab.fitting import DetectorFit, measure_images
from lab.run import TrainingRecord
from lab.splits import learned_beside
from visim_models.galleries.synthetic import SYNTHETIC_KINDS
from visim_models.models import Classifier
from visim_models.models.torch_network import keep_freed_memory
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import SPLIT, TRAINING, WEIGHTS
from visim_models.repo_folder.metrics import Metrics

__all__ = ["evaluate"]


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
    parts = measure_parts(repo, test, outliers, refitted=_refitted(repo))
    scores, indices = find_matches(repo, parts.test)
    baselines = picture_baselines(repo, test)
    figures = main_figures(repo, test, parts.test, beat=baselines)
    if repo.benchmark is CARS:
        painted = measure_images(repo.similarity, paint_around(test.pixels), gallery=repo.known)
        figures += decorated_retrieval(test, indices, find_matches(repo, painted)[1], repo)
        figures += [*wild_figures(repo), *alteration_figures(repo)]
        baselines += same_model_chance(repo)
    calibration, tables = match_calibration(repo)
    figures += [*calibration, *outlier_figures(repo, parts)]
    baselines += sibling_baselines(repo, {figure.name for figure in figures})
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
        fit=every_file(repo, "fit").pixels,
        calibration=every_file(repo, "calibration").pixels,
        outliers=outliers.pixels,
        kinds=outliers.kinds,
    )
    return {kind: fitted.detector(without=f"drawn: {kind}") for kind in SYNTHETIC_KINDS}
