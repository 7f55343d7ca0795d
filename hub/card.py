"""Write a repo's model card, README.md and its plots, from metrics.json."""

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hub.card_figures import figures_section
from hub.card_plots import draw_plots
from hub.card_text import CardText, card_text
from hub.locate import REPO_NAMES, locate
from lab.recipes import AUTOENCODER_RECIPES, CAR_CLASSIFIER_RECIPES, Recipe
from visim_models import VisualSimilarity, repository
from visim_models.errors import ConfigurationError, RepositoryError
from visim_models.metrics import METRICS_FILE, Metrics
from visim_models.models.base import WEIGHTS_FILE

__all__ = ["CARD_FILE", "PLOTS_FOLDER", "add_arguments", "run", "write_card"]

CARD_FILE = "README.md"
PLOTS_FOLDER = "plots"

_TRAINING_FILE = "training.json"
_LOSSES_FILE = "losses.csv"
_MAIN_FIGURES = ("accuracy", "reconstruction_", "retrieval_", "decorat", "ood_auroc_", "ood_false_alarms_")
_METRIC_TYPES = {"reconstruction_mse": "mse", "reconstruction_psnr": "psnr", "accuracy": "accuracy"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m hub card`."""
    parser.add_argument("repos", nargs="+", help="short names of bundled repos, or folders")


def run(options: argparse.Namespace) -> None:
    """Write the cards that the options name."""
    for name in options.repos:
        folder = locate(name)
        write_card(folder)
        print(f"written: {folder / CARD_FILE}")


def write_card(folder: Path) -> None:
    """Write README.md and plots/ into a repo folder; the same files give the same bytes.

    Without a metrics.json the card says that nothing has been measured. A losses.csv of the training run, where the
    folder has one, is drawn, too.

    Raises:
        VisimError: the repo cannot be loaded.
        ConfigurationError: metrics.json is damaged, or is of other weights than the folder's.
        RepositoryError: the folder cannot be written.
    """
    folder = folder.resolve()
    similarity = VisualSimilarity.from_pretrained(folder)
    metrics = _metrics(folder)
    losses = folder / _LOSSES_FILE
    with repository.replacing_folder(folder / PLOTS_FOLDER) as staged:
        plots = draw_plots(
            similarity, metrics.tables if metrics else {}, staged, losses=losses if losses.is_file() else None
        )
    text = card_text(similarity)
    parts = [
        f"---\n{_metadata(folder.name, text, metrics).to_yaml()}\n---",
        _introduction(folder.name, text),
        _training(folder, text),
        _figures(metrics, plots),
        _ending(text),
    ]
    _replace(folder / CARD_FILE, "\n\n".join(parts) + "\n")


def _metrics(folder: Path) -> Metrics | None:
    if not (folder / METRICS_FILE).exists():
        return None
    metrics = Metrics.read(folder)
    if metrics.weights_sha256 != repository.file_sha256(folder / WEIGHTS_FILE):
        raise ConfigurationError(
            f"{folder / METRICS_FILE} is of other weights than {WEIGHTS_FILE}: measure again with "
            f"`{metrics.command} --write`, or delete it."
        )
    return metrics


def _metadata(name: str, text: CardText, metrics: Metrics | None) -> ModelCardData:
    figures = [each for each in metrics.figures if each.name.startswith(_MAIN_FIGURES)] if metrics else []
    results = [
        EvalResult(
            task_type="image-feature-extraction",
            task_name="Visual similarity search",
            dataset_type=text.datasets[0] if text.datasets else "visim-cars",
            dataset_name=text.dataset,
            metric_type=_metric_type(figure.name),
            metric_name=f"{figure.name} ({figure.unit})" if figure.unit else figure.name,
            metric_value=figure.to_dict()["value"],
        )
        for figure in figures
    ]
    return ModelCardData(
        license="apache-2.0",
        library_name="visim",
        pipeline_tag="image-feature-extraction",
        tags=["visim", "visual-similarity", "image-retrieval", "out-of-distribution-detection", "pytorch", *text.tags],
        datasets=list(text.datasets) or None,
        metrics=sorted({_metric_type(figure.name) for figure in figures}) or None,
        model_name=name if results else None,
        eval_results=results or None,
    )


def _metric_type(name: str) -> str:
    if name in _METRIC_TYPES:
        return _METRIC_TYPES[name]
    return "roc_auc" if "auroc" in name else "false_alarm_rate" if "false_alarms" in name else "precision_at_k"


def _introduction(name: str, text: CardText) -> str:
    short = next((short for short, repo in REPO_NAMES.items() if repo == name), None)
    loading = f'hub.load("{short}")' if short else f'hub.load("{name}")  # its folder'
    return "\n".join(
        [
            f"# {text.title}",
            "",
            text.summary,
            "",
            "It is for",
            *(f"* {point}" for point in text.purpose),
            "",
            "It is not for",
            *(f"* {point}" for point in text.misuse),
            "",
            "## Use",
            "",
            "In a checkout of visim:",
            "",
            "```python",
            "import hub",
            f"similarity = {loading}",
            'print(similarity.search("photo.jpg", top_k=4))  # matches with scores, and the verdict',
            "```",
            "",
            f'With the library alone: `visim_models.VisualSimilarity.from_pretrained("namespace/{name}")`.',
        ]
    )


def _training(folder: Path, text: CardText) -> str:
    lines = ["## Training", "", text.training_data, ""]
    if not (folder / _TRAINING_FILE).exists():
        return "\n".join([*lines, "The repo does not say by which recipe its weights were trained."])
    record = repository.read_json(folder / _TRAINING_FILE)
    name = str(record.get("recipe"))
    seed, epochs = record.get("seed"), record.get("epochs")
    lines += [f"Recipe `{name}` of `lab.recipes`, {epochs} epochs, seed {seed}:", ""]
    recipes: Mapping[str, Recipe] = {**AUTOENCODER_RECIPES}
    if record.get("task") == "car-classifier":
        recipes = {**CAR_CLASSIFIER_RECIPES}
    lines += ["```sh", text.command.format(recipe=name), "```", ""]
    if name in recipes:
        settings = _settings(recipes[name]) | {"epochs": epochs}
        lines += [", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items()) + "."]
    return "\n".join(lines).rstrip()


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Name -> value of a recipe's plain settings, and of its augmentation's."""
    values = dataclasses.asdict(recipe)
    values |= {f"augmentation {key}": value for key, value in values.pop("augmentation").items()}
    size = recipe.processor.size
    plain = {key: value for key, value in values.items() if isinstance(value, int | float)}
    return {"picture size": f"{size} x {size}"} | {key: _plain(value) for key, value in plain.items()}


def _plain(value: float | bool) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:.4g}"


def _figures(metrics: Metrics | None, plots: Mapping[str, str]) -> str:
    pictures = "\n\n".join(f"![{caption}]({PLOTS_FOLDER}/{name})\n\n{caption}" for name, caption in plots.items())
    if metrics is None:
        told = "The figures of these weights have not been measured."
    else:
        told = f"`{metrics.command} --check` reproduces them.\n\n{figures_section(metrics)}"
        if metrics.limit is not None:
            told = f"A trial on at most {metrics.limit} pictures of each part, not the full measurement.\n\n{told}"
    return "\n\n".join(part for part in (f"## Figures\n\n{told}", pictures) if part)


def _ending(text: CardText) -> str:
    return "\n".join(
        [
            "## Limits",
            "",
            *(f"* {point}" for point in text.limits),
            "",
            "## Licence and origin",
            "",
            "Weights and code: Apache-2.0. The photographs belong to those who took them, and are not in this repo.",
            "",
            *(f"* {point}" for point in text.origin),
        ]
    )


def _replace(path: Path, content: str) -> None:
    """Write a text file in one step."""
    staged = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        staged = Path(name)
        staged.write_text(content, encoding="utf-8")
        staged.chmod(0o644)  # mkstemp makes it private
        staged.replace(path)
    except OSError as error:
        raise RepositoryError(f"{path} cannot be written ({error}); it is as it was.") from error
    finally:
        if staged is not None:
            staged.unlink(missing_ok=True)
