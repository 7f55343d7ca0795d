"""What is measured: a repo, its held-out pictures, and the gallery that they may fairly be compared with."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.run import HELD_OUT_FILE
from visim_models import CAR_CLASSES, CarFeatureExtractor, Gallery, VisualSimilarity, repository
from visim_models.errors import DataError, VisimError

__all__ = ["CARS", "CIFAR10", "Family", "Subject", "find_repo"]

_PRETRAINED = Path(__file__).resolve().parents[2] / "hub" / "pretrained"
_TRAINING_FILE = "training.json"


@dataclass(frozen=True)
class Family:
    """Repos that are measured alike.

    Attributes:
        name: of the family.
        labels: that its galleries have.
        training: file of the data folder that the networks learn from; the held-out pictures are in it, too.
        gallery: file of the data folder that the galleries show.
    """

    name: str
    labels: frozenset[str]
    training: str
    gallery: str


CARS = Family("cars", frozenset(CAR_CLASSES), "cars/photos.zip", "cars/photos.zip")
CIFAR10 = Family(
    "cifar10",
    frozenset({"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}),
    "cifar10/train.zip",
    "cifar10/test.zip",
)


@dataclass(frozen=True)
class Subject:
    """A repo to be measured.

    Attributes:
        name: its folder's name without "visim-".
        folder: where it lies.
        similarity: the pipeline.
        family: which pictures it is about.
        parts: "calibration" and "test" -> names, in the family's training file, that the network has not learnt.
        known: the gallery without any held-out picture: what queries are compared with.
    """

    name: str
    folder: Path
    similarity: VisualSimilarity
    family: Family
    parts: Mapping[str, frozenset[str]]
    known: Gallery

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The repo in a folder.

        Raises:
            DataError: it does not say what it held out, or its gallery is of neither family.
            VisimError: it cannot be loaded.
        """
        similarity = VisualSimilarity.from_pretrained(folder)
        labels = set(similarity.gallery.labels)
        family = next((family for family in (CARS, CIFAR10) if labels <= family.labels), None)
        if family is None:
            raise DataError(
                f"{folder} has gallery labels {sorted(labels)[:5]}: only galleries of cars or CIFAR-10 are measured."
            )
        parts, in_gallery = _read_held_out(folder / HELD_OUT_FILE)
        names = similarity.gallery.file_names
        known = similarity.gallery.subset([place for place, name in enumerate(names) if name not in in_gallery])
        return cls(folder.resolve().name.removeprefix("visim-"), folder, similarity, family, parts, known)

    @property
    def classifies(self) -> bool:
        """Whether its network tells car bodies: the targets of car retrieval and of strange pictures are for these."""
        return isinstance(self.similarity.model, CarFeatureExtractor)

    @property
    def method(self) -> str:
        """What this repo is called in another one's table of baselines: the recipe that it was trained by."""
        try:
            recipe = str(repository.read_json(self.folder / _TRAINING_FILE)["recipe"])
        except (VisimError, KeyError):
            return self.name
        return "the article's recipe" if recipe == "article" else recipe


def find_repo(name: str) -> Path:
    """The folder of a repo: a short name like "car-extractor" is the one in hub/pretrained, else a folder or Hub id.

    Raises:
        RepositoryError: there is none of that name.
    """
    bundled = _PRETRAINED / f"visim-{name}"
    return bundled if "/" not in name and bundled.is_dir() else repository.resolve(name)


def _read_held_out(path: Path) -> tuple[dict[str, frozenset[str]], set[str]]:
    """Part -> names, and the names that stand in the gallery, too."""
    parts: dict[str, set[str]] = {"calibration": set(), "test": set()}
    in_gallery = set()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                parts[row["part"]].add(row["file_name"])
                if {"true": True, "false": False}[row["in_gallery"]]:
                    in_gallery.add(row["file_name"])
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read ({error}): without it nobody knows what the network has not seen; export again."
        ) from error
    if not all(parts.values()):
        raise DataError(f"{path} must name calibration and test pictures.")
    return {part: frozenset(names) for part, names in parts.items()}, in_gallery
