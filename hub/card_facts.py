"""Everything that a repo's files say about it: a card states these facts, and no others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from visim_models import VisualSimilarity
from visim_models.errors import ConfigurationError
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import ABOUT, METRICS, TRAINING, WEIGHTS
from visim_models.repo_folder.metrics import Metrics

__all__ = ["CardFacts", "CardTexts"]

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


@dataclass(frozen=True)
class CardFacts:
    """The content of a repo's files, as far as a card states it.

    Attributes:
        name: of the folder.
        similarity: the pipeline.
        texts: hand-written texts.
        training: training.json without these; empty where there is none.
        gallery_title: what the gallery's about.json calls it; "" where it does not.
        gallery_description: likewise.
        metrics: the figures, or None.
    """

    name: str
    similarity: VisualSimilarity
    texts: CardTexts = field(default_factory=CardTexts)
    training: Mapping[str, Any] = field(default_factory=dict)
    gallery_title: str = ""
    gallery_description: str = ""
    metrics: Metrics | None = None

    @classmethod
    def read(cls, repo: RepoFolder) -> Self:
        """Read the files of a repo folder.

        Raises:
            VisimError: the repo cannot be loaded.
            ConfigurationError: a JSON file has a value that does not fit, or metrics.json is of other weights.
        """
        training = _training(repo)
        about = repo.json(ABOUT) if repo.has(ABOUT) else {}
        title, description = (about.get(key, "") for key in ("title", "description"))
        if not isinstance(title, str) or not isinstance(description, str):
            raise ConfigurationError(f"{repo / ABOUT}: title and description must be texts.", path=repo / ABOUT)
        return cls(
            name=repo.path.resolve().name,
            similarity=VisualSimilarity.from_pretrained(repo),
            texts=CardTexts.from_dict(training.pop("about", {}), path=repo / TRAINING),
            training=training,
            gallery_title=title,
            gallery_description=description,
            metrics=_metrics(repo),
        )

    @property
    def label_counts(self) -> dict[str, int]:
        """Return how many pictures of the gallery have each label, in the order of the labels."""
        labels = self.similarity.gallery.labels
        counts = dict.fromkeys(sorted(set(labels)), 0)
        for label in labels:
            counts[label] += 1
        return counts


def _training(repo: RepoFolder) -> dict[str, Any]:
    if not repo.has(TRAINING):
        return {}
    values = repo.json(TRAINING)
    for key, value in values.items():
        if key in _TRAINING_FORM and not isinstance(value, _TRAINING_FORM[key]):
            raise ConfigurationError(f"{repo / TRAINING}: {key} has a value that does not fit.", path=repo / TRAINING)
    for row in (*values.get("sources", []), *values.get("outliers", [])):
        if not isinstance(row, dict) or not isinstance(row.get("source"), str):
            raise ConfigurationError(f"{repo / TRAINING} has a source without a name.", path=repo / TRAINING)
        if not all(isinstance(row.get(key, {}), dict) for key in ("classes", "parts")):
            raise ConfigurationError(f"{repo / TRAINING}: classes and parts must be objects.", path=repo / TRAINING)
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
