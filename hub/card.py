"""Write the model card of a repo, README.md and its plots, from what its files say.

The card states the classes, counts and sources of training.json, the texts in its "about", and the figures of
metrics.json; nothing else is known of a model of one's own. A README.md that was edited by hand is kept.
"""

import argparse
from pathlib import Path
from typing import Final

from huggingface_hub import EvalResult, ModelCardData

from hub.card_facts import CardFacts
from hub.card_figures import figures_section
from hub.card_plots import draw_card_plots
from hub.card_sections import introduction, limits, origin, training, use
from hub.locate import local_folder
from visim_models.repo_folder import RepoFolder, drafting
from visim_models.repo_folder.manifest import CARD, PLOTS
from visim_models.repo_folder.metrics import Figure

__all__ = ["ADDRESS", "LIBRARY_NAME", "add_arguments", "run", "write_card"]

ADDRESS: Final = "ADDRESS"
"""Stands in the command that installs the library where the address of visim's repository is not given."""
LIBRARY_NAME: Final = "visim-models"

_TAGS: Final = ("visim", "visual-similarity", "image-retrieval", "out-of-distribution-detection", "pytorch")
_PLOTS_FOLDER: Final = "plots"
_MAIN_FIGURES: Final = ("accuracy", "reconstruction_", "retrieval_", "decorat", "ood_auroc_", "ood_false_alarms_")
_METRIC_TYPES: Final = {"reconstruction_mse": "mse", "reconstruction_psnr": "psnr", "accuracy": "accuracy"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m hub card`."""
    parser.add_argument("repos", nargs="+", metavar="REPO", help="short name of a bundled repo, or a repo folder")
    parser.add_argument(
        "--address", default=ADDRESS, help="address of visim's repository, for the command that installs the library"
    )


def run(options: argparse.Namespace) -> None:
    """Write the cards that the options name."""
    for name in options.repos:
        folder = local_folder(name)
        if write_card(folder, address=options.address):
            print(f"written: {folder / CARD}")
        else:
            print(f"kept: {folder / CARD} was written or edited by hand. Move it away to have a card written.")


def write_card(folder: Path, *, address: str = ADDRESS) -> bool:
    """Write README.md and plots/ into a repo folder; the same files give the same bytes.

    Args:
        folder: the repo folder.
        address: of visim's repository, for the command that installs the library.

    Returns:
        Whether the card was written: one that was edited by hand is kept. The plots are drawn in either case.

    Raises:
        VisimError: the repo cannot be loaded.
        ConfigurationError: a JSON file has a value that does not fit, or metrics.json is of other weights.
        RepositoryError: the folder cannot be written.
    """
    repo = RepoFolder(folder)
    facts = CardFacts.read(repo)
    with drafting(folder) as draft:
        plots = draw_card_plots(
            repo, facts.similarity, facts.metrics, lambda name: draft.path(f"{_PLOTS_FOLDER}/{name}")
        )
        sections = [
            f"---\n{_metadata(facts).to_yaml()}\n---",
            introduction(facts),
            use(facts, address=address),
            training(facts),
            figures_section(facts.metrics) if facts.metrics else "",
            *(f"![{caption}]({_PLOTS_FOLDER}/{name})\n\n{caption}" for name, caption in plots.items()),
            limits(facts),
            origin(facts),
        ]
        is_written = draft.write_card("\n\n".join(section for section in sections if section) + "\n")
        if is_written:  # a card that is kept may show plots that are not drawn any more
            draft.drop(*PLOTS)
    return is_written


def _metadata(facts: CardFacts) -> ModelCardData:
    texts, metrics = facts.texts, facts.metrics
    figures = [each for each in metrics.figures if each.name.startswith(_MAIN_FIGURES)] if metrics else []
    sources = [str(row["source"]) for row in facts.training.get("sources", [])]
    results = [
        EvalResult(
            task_type="image-feature-extraction",
            task_name="Visual similarity search",
            dataset_type=texts.datasets[0] if texts.datasets else "custom",
            dataset_name=texts.dataset_name or ", ".join(sources) or facts.name,
            metric_type=_metric_type(figure),
            metric_name=f"{figure.name} ({figure.unit})" if figure.unit else figure.name,
            metric_value=figure.to_dict()["value"],
        )
        for figure in figures
    ]
    return ModelCardData(
        license=texts.license or None,
        library_name=LIBRARY_NAME,
        pipeline_tag="image-feature-extraction",
        tags=[*_TAGS, *texts.tags],
        datasets=list(texts.datasets) or None,
        metrics=sorted({_metric_type(figure) for figure in figures}) or None,
        model_name=facts.name if results else None,
        eval_results=results or None,
    )


def _metric_type(figure: Figure) -> str:
    name = figure.name
    if name in _METRIC_TYPES:
        return _METRIC_TYPES[name]
    return "roc_auc" if "auroc" in name else "false_alarm_rate" if "false_alarms" in name else "precision_at_k"
