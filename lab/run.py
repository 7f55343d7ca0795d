"""What a training run is told and what it keeps: its pictures, their split, and the record that an export reads."""

import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.data import ImageSet, download_cifar10, load_images
from lab.recipes import Recipe
from lab.splits import Split, near_duplicate_groups, split
from visim_models import repository
from visim_models.errors import DataError, VisimError

__all__ = [
    "HELD_OUT_FILE",
    "RunRecord",
    "check_same_split",
    "load_training_images",
    "read_split",
    "split_images",
]

HELD_OUT_FILE = "held_out.csv"
"""In a repo folder: the pictures of the training data that its network has not learnt from."""

_RECORD_FILE = "run.json"
_SPLIT_FILE = "split.csv"
_PARTS = ("train", "calibration", "test")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """run.json: what the run was told.

    Attributes:
        task: autoencoder or car-classifier.
        recipe: its name.
        epochs: passes over the pictures.
        seed: of the split, the first weights and the order.
    """

    task: str
    recipe: str
    epochs: int
    seed: int

    def write(self, run: Path, images: ImageSet, parts: Split) -> None:
        """Write run.json, and split.csv: file_name, part."""
        run.mkdir(parents=True, exist_ok=True)
        repository.write_json(run / _RECORD_FILE, dataclasses.asdict(self))
        part_of = {place: part for part in _PARTS for place in getattr(parts, part)}
        with (run / _SPLIT_FILE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file_name", "part"])
            writer.writerows((images.file_names[place], part_of[place]) for place in sorted(part_of))

    @classmethod
    def read(cls, run: Path) -> Self:
        """The record of a run.

        Raises:
            DataError: there is none, or it is not one.
        """
        try:
            return cls(**repository.read_json(run / _RECORD_FILE))
        except (VisimError, TypeError) as error:
            raise DataError(f"{run} is no training run ({error}).") from error


def read_split(run: Path) -> dict[str, list[str]]:
    """Part -> the file names in it, as the run dealt them.

    Raises:
        DataError: the run has no split.csv.
    """
    parts: dict[str, list[str]] = {part: [] for part in _PARTS}
    try:
        with (run / _SPLIT_FILE).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                parts[row["part"]].append(row["file_name"])
    except (OSError, KeyError) as error:
        raise DataError(f"{run / _SPLIT_FILE} cannot be read ({error}).") from error
    return parts


def check_same_split(run: Path, images: ImageSet, parts: Split) -> None:
    """That a run to be resumed had dealt the same pictures out in the same way.

    Raises:
        DataError: it had not; going on would learn from pictures that were held out.
    """
    dealt = {part: [images.file_names[place] for place in getattr(parts, part)] for part in _PARTS}
    if read_split(run) != dealt:
        raise DataError(f"{run} was begun with other pictures or another --seed: resume it as it was begun.")


def load_training_images(data: str, recipe: Recipe, *, limit: int | None = None) -> ImageSet:
    """The pictures that a recipe learns from, at its `load_size`.

    Args:
        data: a folder, a zip, or "cifar10" for torchvision's download.
        recipe: whose processor resizes.
        limit: use only so many.

    Raises:
        DataError: no such source, or nothing readable in it.
    """
    if data == "cifar10":
        return download_cifar10(Path("data"), train=True)
    return load_images(Path(data), dataclasses.replace(recipe.processor, size=recipe.load_size), limit=limit)


def split_images(images: ImageSet, recipe: Recipe, *, seed: int) -> Split:
    """Deal the pictures out by the recipe's shares, near-duplicates together."""
    groups = near_duplicate_groups(images.pixels)
    return split(groups, images.labels, seed=seed, calibration=recipe.calibration, test=recipe.test)
