"""The record of a training run: run.json of a run and training.json of a repo, which its card is written from.

    {
      "task": "car-classifier",
      "recipe": "car-extractor",         its name in `lab.recipes`
      "settings": {...},                 all of the recipe's settings, as plain JSON types
      "epochs": 120,
      "seed": 0,
      "limit": null,                     or how many pictures of each source were used at most, in a trial
      "command": "python -m lab.train ...",     that does the same again; "" if unknown
      "sources": [{"source": "cars/photos.zip", "pictures": 7600, "copies": 410,
                   "classes": {"coupe": 1900, ...}, "parts": {"train": 5740, ...}}, ...],
      "outliers": [{"source": "caltech101.zip", "part": "train", "pictures": 2200}, ...],
      "split_sha256": "...",             of split.csv
      "about": {...}                     in a repo alone, and only where it was given: see `ABOUT_KEYS`
    }

Sources are written as they were given. Parts are those of `split_file.py`, in which copies of a file count once;
outliers are for "train" or for the "fit".
"""

import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from lab.data import ImageSet
from lab.split_file import Split
from visim_models.errors import DataError, VisimError
from visim_models.repo_folder.formats import read_json

__all__ = ["ABOUT_KEYS", "TrainingRecord", "command_line", "read_about", "source_row"]

ABOUT_KEYS: Final[dict[str, type]] = {
    "title": str,
    "summary": str,
    "purpose": list,
    "misuse": list,
    "limits": list,
    "origin": list,
    "license": str,
    "tags": list,
    "datasets": list,
    "dataset_name": str,
}
"""Hand-written texts of a card: text, or a list of texts. `license` is an SPDX id, `datasets` are ids on the Hub."""


_NOT_AGAIN: Final = ("--force", "--resume")


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What a network was trained by; the module's docstring shows the form.

    Attributes:
        task: "autoencoder" or "car-classifier".
        recipe: name of the recipe.
        settings: of the recipe, as plain JSON types.
        epochs: passes over the training pictures.
        seed: of the split, the first weights and the order of the pictures.
        limit: of the pictures of each source; None for all.
        command: that does the same again.
        sources: a row for each source of training data.
        outliers: a row for each source of outliers.
        split_sha256: of the split that the network was trained by.
    """

    task: str
    recipe: str
    settings: dict[str, Any]
    epochs: int
    seed: int
    limit: int | None
    command: str
    sources: list[dict[str, Any]]
    outliers: list[dict[str, Any]]
    split_sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON file."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read run.json or training.json; hand-written texts are left out.

        Raises:
            DataError: the file is missing or damaged, or lacks a key.
        """
        try:
            values = read_json(path)
            record = cls(**{key: value for key, value in values.items() if key != "about"})
            if not all(isinstance(row["source"], str) for row in (*record.sources, *record.outliers)):
                raise TypeError("a source that is no text")
        except (VisimError, TypeError, KeyError) as error:
            raise DataError(f"{path} is no record of a training run ({error}).", path=path) from error
        return record


def source_row(source: str, images: ImageSet, split: Split) -> dict[str, Any]:
    """Describe a source of training data for the record."""
    classes = {label: images.labels.count(label) for label in sorted(set(images.labels))}
    copies = len(images) - len(set(images.sha256))
    parts = split.counts(images.sha256)
    return {"source": source, "pictures": len(images), "copies": copies, "classes": classes, "parts": parts}


def command_line(module: str, arguments: Sequence[str]) -> str:
    """Return a command as it is typed into a shell to do the same again: absolute paths are made relative."""
    again = [_relative(argument) for argument in arguments if argument not in _NOT_AGAIN]
    return shlex.join(["python", "-m", module, *again])


def _relative(argument: str) -> str:
    return os.path.relpath(argument) if os.path.isabs(argument) else argument


def read_about(path: Path) -> dict[str, Any]:
    """Read hand-written texts for a card: any of `ABOUT_KEYS`. Keys that the file lacks are empty.

    Raises:
        DataError: a key is unknown or has a wrong value.
        ConfigurationError: the file is missing or no JSON object.
    """
    values = read_json(path)
    if unknown := values.keys() - ABOUT_KEYS.keys():
        raise DataError(f"{path} has unknown keys {sorted(unknown)}: use any of {list(ABOUT_KEYS)}.", path=path)
    for key, value in values.items():
        texts = value if ABOUT_KEYS[key] is list else [value]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            expected = "a list of texts" if ABOUT_KEYS[key] is list else "a text"
            raise DataError(f"{path}: {key} is {value!r}, but must be {expected}.", path=path, key=key)
    return {key: values.get(key, kind()) for key, kind in ABOUT_KEYS.items()}
