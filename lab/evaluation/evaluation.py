"""All figures of a repo. This is the one module that knows which are measured of which kind of repo.

The tables of the metrics: `match_scores`, `reliability` and `match_probability` (`retrieval.py`), `strangeness`
(`outliers.py`), and of a classifier `confusion`, `suspected_labels` and `failures` (`classification.py`).
"""

from pathlib import Path

from lab.data import labels_of, left_out_labels, load_outliers
from lab.evaluation.baselines import general_baselines, main_figures, picture_baselines, sibling_baselines
from lab.evaluation.classification import class_probabilities, classification_tables, failures_table
from lab.evaluation.evaluated_repo import CARS, DataFolder, EvaluatedRepo
from lab.evaluation.labelled import evaluate_labelled
from lab.evaluation.outliers import MeasuredParts, outlier_baselines, outlier_figures, outliers_of, strangeness_table
from lab.evaluation.retrieval import MATCHES, decorated_retrieval, match_calibration, match_tables
from lab.evaluation.sources import alteration_figures, mean_figures, same_model_chance, source_figures
from lab.fitting import DetectorFit
from lab.run import TrainingRecord
from lab.splits import learned_beside
from visim_models.galleries.synthetic import SYNTHETIC_KINDS
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
    test, outliers = repo.part("test"), dict(outliers_of(repo))
    parts = MeasuredParts.measure(repo, test, outliers, refitted=_refitted(repo))
    scores, indices = repo.matches(parts.test, MATCHES)
    baselines = picture_baselines(repo, test)
    figures = [*main_figures(repo, test, parts.test, beat=baselines), *source_figures(repo)]
    if repo.benchmark is CARS:
        figures += [*decorated_retrieval(test, indices, repo), *alteration_figures(repo)]
        baselines += same_model_chance(repo)
    calibration, tables = match_calibration(repo)
    figures += [*calibration, *outlier_figures(repo, parts)]
    figures += mean_figures(figures)
    baselines += sibling_baselines(repo, {figure.name for figure in figures})
    baselines += [*outlier_baselines(repo, parts), *(general_baselines(repo) if limit is None else ())]
    tables |= match_tables(labels_of(test), scores, indices, repo.known)
    tables["strangeness"] = strangeness_table(repo.similarity.ood, parts)
    network = repo.similarity.network
    if network.class_names:
        failures = failures_table(repo.benchmark, repo.similarity.ood, parts, test, outliers["other_kinds"])
        tables |= {"failures": failures} if failures else {}
        probabilities = class_probabilities(network, parts.test["embeddings"])
        tables |= classification_tables(test, probabilities, network.class_names)
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
    network, processor, limit = repo.similarity.network, repo.similarity.processor, repo.data.limit
    files = [repo.data.path / file for file in repo.fitted_files()]
    leave_out = left_out_labels(repo.benchmark.labels)
    seed = TrainingRecord.read(repo.repo / TRAINING).seed
    outliers, _ = load_outliers(files, processor.size, part="fit", seed=seed, leave_out=leave_out, limit=limit)
    fitted = DetectorFit.measure(
        repo.known,
        network,
        processor,
        learned=learned_beside(repo.known_images, repo.own_images(), repo.split),
        fit=repo.every_file("fit"),
        calibration=repo.every_file("calibration"),
        outliers=outliers,
    )
    return {kind: fitted.detector(without=f"drawn: {kind}") for kind in SYNTHETIC_KINDS}
