"""Write the model card of a repo, README.md and its plots, from what its files say.

The card states the classes, counts and sources of training.json, the texts in its "about", and the figures of
metrics.json; nothing else is known of a model of one's own. A README.md that was edited by hand is kept.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from huggingface_hub import EvalResult

from hub.locate import local_folder
from hub.plots import draw_card_plots
from visim_models import VisualSimilarity
from visim_models.errors import ConfigurationError
from visim_models.repo_folder import RepoFolder, drafting
from visim_models.repo_folder.card import ADDRESS, markdown_table, model_card
from visim_models.repo_folder.manifest import ABOUT, CARD, METRICS, PLOTS, TRAINING, WEIGHTS
from visim_models.repo_folder.metrics import Figure, Metrics, is_met

__all__ = ["add_arguments", "figures_section", "run", "write_card"]

_TAGS: Final = ("out-of-distribution-detection", "pytorch")
_PLOTS_FOLDER: Final = "plots"
_LABELS_SHOWN: Final = 20
_MAIN_FIGURES: Final = ("accuracy", "reconstruction_", "retrieval_", "decorat", "ood_auroc_", "ood_false_alarms_")
_METRIC_TYPES: Final = {"reconstruction_mse": "mse", "reconstruction_psnr": "psnr", "accuracy": "accuracy"}
_AUROC: Final = "ood_auroc_"
_FOUND: Final = "ood_found_at_"
_BLIND: Final = 50.0
"""Percent found at 5 % false alarms below which a card says that the repo cannot tell a kind."""
_TRAINING_FORM: Final[Mapping[str, type | tuple[type, ...]]] = {
    "task": str,
    "recipe": str,
    "settings": dict,
    "epochs": int,
    "seed": int,
    "limit": (int, type(None)),
    "command": str,
    "sources": list,
    "outliers": list,
    "split_sha256": str,
    "about": dict,
}
"""Key of training.json -> type of its value. Every key may be missing: a card does not mention it then."""


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
    name = folder.resolve().name
    training = _training(repo)
    texts = CardTexts.from_dict(training.pop("about", {}), path=repo / TRAINING)
    similarity, metrics = VisualSimilarity.from_pretrained(repo), _metrics(repo)
    with drafting(folder) as draft:
        plots = draw_card_plots(repo, similarity, metrics, lambda name: draft.path(f"{_PLOTS_FOLDER}/{name}"))
        card = model_card(
            name=name,
            introduction=_introduction(name, repo, similarity, texts),
            sections=[
                _training_section(training),
                figures_section(metrics) if metrics else "",
                *(f"![{caption}]({_PLOTS_FOLDER}/{file})\n\n{caption}" for file, caption in plots.items()),
                _limits(similarity, texts),
                _origin(texts),
            ],
            address=address,
            tags=[*_TAGS, *texts.tags],
            **_metadata(name, texts, training, metrics),
        )
        is_written = draft.write_card(card)
        if is_written:  # a card that is kept may show plots that are not drawn any more
            draft.drop(*PLOTS)
    return is_written


@dataclass(frozen=True)
class CardTexts:
    """The hand-written texts of a card: "about" in training.json. A card leaves out the empty ones.

    Attributes:
        title: heading.
        summary: what the network is, one paragraph.
        purpose: what it is for, a point each.
        misuse: what it is not for.
        limits: what its users should know.
        origin: sources of architecture, data and methods.
        license: SPDX id of the weights' licence.
        tags: of the card, beside visim's own.
        datasets: ids of data sets on the Hub.
        dataset_name: name of the data that the figures are of.
    """

    title: str = ""
    summary: str = ""
    purpose: Sequence[str] = ()
    misuse: Sequence[str] = ()
    limits: Sequence[str] = ()
    origin: Sequence[str] = ()
    license: str = ""
    tags: Sequence[str] = ()
    datasets: Sequence[str] = ()
    dataset_name: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, path: Path) -> Self:
        """Read "about" of training.json.

        Raises:
            ConfigurationError: a key is unknown or has a wrong value.
        """
        form = cls.__dataclass_fields__
        for key, value in values.items():
            is_list = key in form and form[key].default == ()
            texts = value if is_list else [value]
            if key not in form or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ConfigurationError(
                    f"{path}: about.{key} is unknown, or has a value that does not fit.", path=path
                )
        return cls(**values)


def _training(repo: RepoFolder) -> dict[str, Any]:
    """Read training.json; {} where there is none."""
    path = repo / TRAINING
    values = repo.json(TRAINING) if repo.has(TRAINING) else {}
    for key, value in values.items():
        if key in _TRAINING_FORM and not isinstance(value, _TRAINING_FORM[key]):
            raise ConfigurationError(f"{path}: {key} has a value that does not fit.", path=path)
    for row in (*values.get("sources", []), *values.get("outliers", [])):
        if not isinstance(row, dict) or not isinstance(row.get("source"), str):
            raise ConfigurationError(f"{path} has a source without a name.", path=path)
        if not all(isinstance(row.get(key, {}), dict) for key in ("classes", "parts")):
            raise ConfigurationError(f"{path}: classes and parts must be objects.", path=path)
    return {key: value for key, value in values.items() if key in _TRAINING_FORM}


def _metrics(repo: RepoFolder) -> Metrics | None:
    if not repo.has(METRICS):
        return None
    metrics = Metrics.read(repo)
    if metrics.weights_sha256 != repo.sha256(WEIGHTS):
        raise ConfigurationError(
            f"{repo / METRICS} is of other weights than {WEIGHTS}: measure again with `{metrics.command} --write`, or "
            "delete it.",
            path=repo / METRICS,
            key="weights_sha256",
        )
    return metrics


def _metadata(name: str, texts: CardTexts, training: Mapping[str, Any], metrics: Metrics | None) -> dict[str, Any]:
    figures = [each for each in metrics.figures if each.name.startswith(_MAIN_FIGURES)] if metrics else []
    sources = [str(row["source"]) for row in training.get("sources", [])]
    results = [
        EvalResult(
            task_type="image-feature-extraction",
            task_name="Visual similarity search",
            dataset_type=texts.datasets[0] if texts.datasets else "custom",
            dataset_name=texts.dataset_name or ", ".join(sources) or name,
            metric_type=_metric_type(figure),
            metric_name=f"{figure.name} ({figure.unit})" if figure.unit else figure.name,
            metric_value=figure.to_dict()["value"],
        )
        for figure in figures
    ]
    return {
        "license": texts.license or None,
        "datasets": list(texts.datasets) or None,
        "metrics": sorted({_metric_type(figure) for figure in figures}) or None,
        "model_name": name if results else None,
        "eval_results": results or None,
    }


def _metric_type(figure: Figure) -> str:
    name = figure.name
    if name in _METRIC_TYPES:
        return _METRIC_TYPES[name]
    return "roc_auc" if "auroc" in name else "false_alarm_rate" if "false_alarms" in name else "precision_at_k"


def _introduction(name: str, repo: RepoFolder, similarity: VisualSimilarity, texts: CardTexts) -> list[str]:
    """Return the heading, what the repo is, and what it is for."""
    about = repo.json(ABOUT) if repo.has(ABOUT) else {}
    title, description = (about.get(key, "") for key in ("title", "description"))
    if not isinstance(title, str) or not isinstance(description, str):
        raise ConfigurationError(f"{repo / ABOUT}: title and description must be texts.", path=repo / ABOUT)
    return [
        f"# {_line(texts.title or title or name)}",
        texts.summary or _network(similarity),
        description,
        _gallery(similarity),
        _listed("It is for", texts.purpose),
        _listed("It is not for", texts.misuse),
    ]


def _network(similarity: VisualSimilarity) -> str:
    network = similarity.network
    size = network.image_size
    text = (
        f"A network of the type `{network.model_type}`. It turns a picture, resized to {size} x {size} pixels, into an "
        f"embedding of {network.embedding_dim:,} numbers; pictures are compared by the cosine of their embeddings."
    )
    if network.class_names:
        text += f" It tells these classes: {', '.join(map(_line, network.class_names))}."
    return text


def _gallery(similarity: VisualSimilarity) -> str:
    total = len(similarity.gallery)
    named = sorted(Counter(label for label in similarity.gallery.labels if label).items())
    text = f"The gallery has {total:,} picture{'s' if total > 1 else ''}"
    if named:
        text += f" with {len(named):,} label{'s' if len(named) > 1 else ''}: "
        text += _shortened([f"{_line(label)} ({count:,})" for label, count in named], last=" and ")
    return f"{text}. The repo holds their embeddings and file names, not the pictures."


def _training_section(record: Mapping[str, Any]) -> str:
    """Return what the weights were trained by, as training.json says it."""
    if not record:
        return "## Training\n\nThe repo does not say how its weights were trained."
    command, settings = record.get("command"), list(_settings(record.get("settings", {})))
    parts = [
        "## Training",
        _run(record),
        f"```sh\n{command}\n```" if command else "",
        _sources(record.get("sources", [])),
        _outliers(record.get("outliers", [])),
        f"Settings: {', '.join(settings)}." if settings else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _run(record: Mapping[str, Any]) -> str:
    stated = [
        f"recipe `{record['recipe']}`" if record.get("recipe") else "",
        f"task {_line(record['task'])}" if record.get("task") else "",
        f"{record['epochs']} epochs" if "epochs" in record else "",
        f"seed {record['seed']}" if "seed" in record else "",
    ]
    text = ", ".join(part for part in stated if part)
    if not text:
        return ""
    limit = record.get("limit")
    trial = f" A trial on at most {limit} pictures of each source." if limit else ""
    return f"{text[0].upper()}{text[1:]}.{trial}"


def _sources(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        (_line(row["source"]), _count(row.get("pictures")), _counts(row.get("classes")), _counts(row.get("parts")))
        for row in rows
    ]
    return markdown_table(("trained on", "pictures", "classes", "parts"), cells) if cells else ""


def _outliers(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [(_line(row["source"]), _line(row.get("part", "-")), _count(row.get("pictures"))) for row in rows]
    return markdown_table(("pictures of other things", "for", "pictures"), cells) if cells else ""


def _settings(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """Yield the plain settings, those of groups with the group's name in front."""
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _settings(value, f"{name} ")
        elif isinstance(value, bool):
            yield f"{name} {'yes' if value else 'no'}"
        elif isinstance(value, int | float):
            yield f"{name} {value:.4g}"
        elif isinstance(value, list) and value and all(isinstance(each, int | float) for each in value):
            yield f"{name} {'/'.join(f'{each:.4g}' for each in value)}"
        elif isinstance(value, str):
            yield f"{name} {_line(value)}"


def _limits(similarity: VisualSimilarity, texts: CardTexts) -> str:
    """Return what users should know: of the repo, of the percentage, and of the verdict."""
    detector = similarity.ood
    meaning = (
        "A search finds pictures of the gallery alone, and the percentage is a cosine of embeddings, not a probability."
    )
    size = len(detector.calibration_scores)
    if detector.threshold is not None:
        verdict = "The verdict is a fixed threshold: its rate of false alarms is unknown."
    elif not detector.can_reject:
        verdict = f"There is no verdict: {size:,} calibration pictures are too few for it."
    elif not detector.can_tell:
        verdict = "There is no verdict: its check found less than half of what is surely of another kind."
    else:
        verdict = (
            f"The verdict is set for {100 * detector.false_alarm_rate:g} % false alarms, by {size:,} calibration "
            "pictures. On pictures of another source the rate is another one."
        )
    return _listed("## Limits\n", [*texts.limits, meaning, verdict])


def _origin(texts: CardTexts) -> str:
    """Return the licence and the sources, where they are named."""
    parts = [
        f"Licence of the weights: {texts.license}." if texts.license else "",
        _listed("", texts.origin).lstrip(),
    ]
    title = "Licence and origin" if texts.license else "Origin"
    return "\n\n".join([f"## {title}", *filter(None, parts)]) if any(parts) else ""


def _counts(values: object) -> str:
    if not isinstance(values, Mapping) or not values:
        return "-"
    return _shortened([f"{_line(name)} {_count(count)}" for name, count in values.items()], last=", and ")


def _shortened(texts: Sequence[str], *, last: str) -> str:
    more = len(texts) - _LABELS_SHOWN
    return ", ".join(texts[:_LABELS_SHOWN]) + (f"{last}{more:,} more" if more > 0 else "")


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _listed(heading: str, points: Sequence[str]) -> str:
    return "\n".join([heading, *(f"* {point}" for point in points)]) if points else ""


def _line(text: object) -> str:
    """Return a name that somebody chose as one line that cannot become markup."""
    return " ".join(str(text).split()).replace("<", "&lt;").replace("`", "'")


def figures_section(metrics: Metrics) -> str:
    """Return the section of figures: the main table, the one of outliers, missed targets, suspected labels."""
    outliers = (_AUROC, _FOUND)
    main = [figure for figure in metrics.figures if not figure.name.startswith(outliers)]
    parts = [
        "## Figures",
        f"`{metrics.command} --check` measures them again, baselines included. In brackets: 95 % sampling intervals.",
        "" if metrics.limit is None else f"A trial on at most {metrics.limit} pictures of each part, not all of them.",
        _main_table(main, metrics.baselines),
        _outlier_table(metrics),
        _missed(metrics.figures),
        _suspected_labels(metrics),
    ]
    return "\n\n".join(part for part in parts if part)


def _main_table(figures: Sequence[Figure], baselines: Sequence[Figure]) -> str:
    if not figures:
        return ""
    rows = []
    for figure in figures:
        beside = [f"{each.method}: {_cell(each)}" for each in baselines if each.name == figure.name]
        rows.append(
            (figure.what, _bold(figure), str(figure.n), figure.formatted_target() or "-", "; ".join(beside) or "-")
        )
    return markdown_table(("figure", "value", "pictures", "target", "baselines, measured alike"), rows)


def _outlier_table(metrics: Metrics) -> str:
    """Return a row for each kind and method: the AUROC, and the shares found at 5 and at 1 % false alarms."""
    kinds = [figure.name.removeprefix(_AUROC) for figure in metrics.figures if figure.name.startswith(_AUROC)]
    if not kinds:
        return ""
    own = {figure.name: figure for figure in metrics.figures}
    methods = list(dict.fromkeys(each.method for each in metrics.baselines if each.name.startswith(_AUROC)))
    found = {"this repo": own}
    found |= {method: {each.name: each for each in metrics.baselines if each.method == method} for method in methods}
    rows = [
        _outlier_row(kind, method, figures, is_own=figures is own)
        for kind in kinds
        for method, figures in found.items()
        if _AUROC + kind in figures
    ]
    columns = ("kind", "method", "AUROC", "found at 5 % false alarms", "at 1 %", "pictures", "targets")
    heading = "Pictures of other things, against the held-out ones. A method without a rate has one fixed threshold."
    return "\n\n".join(part for part in (heading, markdown_table(columns, rows), _blind(kinds, own)) if part)


def _outlier_row(kind: str, method: str, figures: dict[str, Figure], *, is_own: bool) -> tuple[str, ...]:
    area = figures[_AUROC + kind]
    shares = [figures.get(f"{_FOUND}{rate}_{kind}") for rate in (5, 1)]
    targets = [figure.formatted_target() for figure in (area, *shares) if figure is not None and figure.target]
    show = _bold if is_own else _cell
    cells = [show(figure) if figure is not None else "-" for figure in (area, *shares)]
    return (kind if is_own else "", method, *cells, str(area.n), ", ".join(targets) or "-")


def _blind(kinds: Sequence[str], own: dict[str, Figure]) -> str:
    shares = {kind: own[f"{_FOUND}5_{kind}"] for kind in kinds if f"{_FOUND}5_{kind}" in own}
    missed = [f"{kind} ({figure.formatted()} found)" for kind, figure in shares.items() if figure.value < _BLIND]
    return f"Kinds that it cannot tell: {', '.join(missed)}." if missed else ""


def _missed(figures: Iterable[Figure]) -> str:
    lines = []
    for figure in figures:
        if is_met(figure) is False and figure.target is not None:
            low, high = figure.target.get("at_least", figure.value), figure.target.get("at_most", figure.value)
            gap = max(low - figure.value, figure.value - high)
            line = f"* `{figure.name}`: {figure.formatted()} misses {figure.formatted_target()} by {gap:.2g}"
            lines.append(f"{line} {'points' if figure.unit == '%' else figure.unit}".rstrip())
    return "Targets that are missed:\n\n" + "\n".join(lines) if lines else ""


def _suspected_labels(metrics: Metrics) -> str:
    suspected = metrics.tables.get("suspected_labels", [])
    if not suspected:
        return ""
    names = ", ".join(f"`{each['file_name']}` ({each['predicted']}?)" for each in suspected)
    return f"Held-out pictures whose label is probably wrong, all counted as errors above: {names}."


def _cell(figure: Figure) -> str:
    interval = figure.formatted_interval()
    return f"{figure.formatted()} ({interval})" if interval else figure.formatted()


def _bold(figure: Figure) -> str:
    interval = figure.formatted_interval()
    return f"**{figure.formatted()}** ({interval})" if interval else f"**{figure.formatted()}**"
