"""The folder of a training run, and its record: made once, continued on request, and never a folder of anybody else.

    run.json            the record
    split.csv           the part of each picture, see `splits.py`; both are written before the training starts
    losses.csv, losses.png, epoch_NN.png
    checkpoint/         the state after the last epoch that was kept
    teacher/            losses, pictures and checkpoint of the network that this one learns from, where there is one
    model/              the trained network, its processor and the record: a repo folder

The record is also the training.json of a repo, which its card is written from:

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
"""

import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from lab.data import hashes_of, labels_of
from lab.splits import Split
from visim_models.errors import DataError, OutputError, VisimError
from visim_models.galleries.picture_table import PictureTable
from visim_models.models import PretrainedModel
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder, check_apart, drafting
from visim_models.repo_folder.atomic import replacing_files
from visim_models.repo_folder.formats import listed, one_line, read_json, write_json
from visim_models.repo_folder.manifest import LOSSES, SPLIT, TRAINING, is_in_manifest

__all__ = ["ABOUT_KEYS", "TrainingRecord", "TrainingRun", "command_line", "read_about", "run_command", "source_row"]

ABOUT_KEYS: Final[dict[str, type]] = {
    "title": str, "summary": str, "purpose": list, "misuse": list, "limits": list, "origin": list, "license": str,
    "tags": list, "datasets": list, "dataset_name": str,
}  # fmt: skip
"""Hand-written texts of a card: text, or a list of texts. `license` is an SPDX id, `datasets` are ids on the Hub."""

_NOT_AGAIN: Final = ("--force", "--resume")


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What a network was trained by; the docstring of this module shows and explains the form."""

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


def source_row(source: str, images: PictureTable, split: Split) -> dict[str, Any]:
    """Describe a source of training data for the record."""
    hashes, classes = hashes_of(images), Counter(labels_of(images))
    return {
        "source": source,
        "pictures": len(images),
        "copies": len(hashes) - len(set(hashes)),
        "classes": dict(sorted(classes.items())),
        "parts": split.counts(hashes),
    }


def run_command(work: Callable[[], int | None], *, stopped: str) -> int:
    """Do the work of a command; return its status, 2 with a message where it fails, 130 where it is interrupted."""
    try:
        return work() or 0
    except VisimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nstopped: {stopped}", file=sys.stderr)
        return 130


def command_line(module: str, arguments: Sequence[str]) -> str:
    """Return a command as it is typed into a shell to do the same again: absolute paths are made relative."""
    again = [_relative_path(argument) for argument in arguments if argument not in _NOT_AGAIN]
    return shlex.join(["python", "-m", module, *again])


def _relative_path(argument: str) -> str:
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


_RECORD: Final = "run.json"
_CHECKPOINT: Final = "checkpoint"
_MODEL: Final = "model"
_TEACHER: Final = "teacher"
_OWN: Final = re.compile(
    r"run\.json|split\.csv|(teacher/)?(losses\.(csv|png)|epoch_(?P<epoch>\d+)\.png"
    r"|checkpoint/(state\.safetensors|progress\.json))"
)


class TrainingRun:
    """A run's folder.

    Args:
        path: the folder, which may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def for_output(
        cls, path: Path, *, inputs: Sequence[str | os.PathLike[str]] = (), resume: bool = False, force: bool = False
    ) -> "TrainingRun":
        """Return the run that may be written into a folder.

        Args:
            path: a new or empty folder; with `resume` or `force`, a run. A symbolic link is followed.
            inputs: folders and files that the run reads.
            resume: continue the run.
            force: start the run again; its own files go when `begin` is called.

        Raises:
            OutputError: the folder is a run, but neither `resume` nor `force` is given; or it has files and is no run;
                or it is, holds or is in one of the inputs.
            DataError: there is no run to resume.
        """
        target = check_apart(path, inputs=inputs)
        if os.path.lexists(target) and not target.is_dir():
            raise OutputError(f"--out {path} is a file: choose another name.", path=target)
        run = cls(target)
        try:
            is_empty = not target.exists() or not any(target.iterdir())
        except OSError as error:
            raise OutputError(f"--out {path} cannot be read ({one_line(error)}).", path=target) from error
        if not is_empty and not run.exists:
            raise OutputError(
                f"--out {path} has files and is no training run: nothing was changed. Choose a new or empty folder.",
                path=target,
            )
        if resume and is_empty:
            raise DataError(f"There is no run in {path} to resume: leave --resume out.", path=target)
        if strangers := run._strangers():
            raise OutputError(
                f"{target / _MODEL} holds {listed(strangers)}, which no run writes: move it away, for that folder "
                "is written again.",
                path=target / _MODEL,
            )
        if not is_empty and not resume and not force:
            raise OutputError(
                f"{path} is a training run already: continue it with --resume, start it again with --force (its files "
                "are deleted then), or choose another folder.",
                path=target,
            )
        return run

    @property
    def exists(self) -> bool:
        """Return whether the folder is a run."""
        try:
            self.record()
        except DataError:
            return False
        return True

    def record(self) -> TrainingRecord:
        """Read the record.

        Raises:
            DataError: the folder is no run.
        """
        return TrainingRecord.read(self.path / _RECORD)

    def split(self) -> Split:
        """Read the split.

        Raises:
            DataError: the run has none, or it is not the one that the record names.
        """
        split = Split.read(self.path / SPLIT)
        if split.sha256 != self.record().split_sha256:
            raise DataError(
                f"{self.path / SPLIT} is not the split that the run was begun with: restore it.", path=self.path
            )
        return split

    def begin(self, record: TrainingRecord, split: Split) -> None:
        """Write the record and the split of a new run; all files of an old one go in the same step.

        Raises:
            RepositoryError: the folder cannot be written.
        """
        epochs = self._longest() if self.exists else 0
        with replacing_files(self.path, owned=partial(_is_own, epochs=epochs)) as staged:
            split.write(staged / SPLIT)
            write_json(staged / _RECORD, record.to_dict())

    def resume(self, record: TrainingRecord, hashes: Sequence[str]) -> Split:
        """Check that a run can be continued, and record the new number of epochs.

        Args:
            record: of the command that continues it; its sources, outliers and split do not count.
            hashes: SHA-256 of each training picture.

        Returns:
            The split of the run.

        Raises:
            DataError: the run was begun with another task, recipe or seed, or other pictures.
        """
        begun, split = self.record(), self.split()
        for key in ("task", "recipe", "seed", "limit", "settings"):
            was, is_now = (_without_epochs(getattr(each, key)) for each in (begun, record))
            was = _with_later_settings(was, is_now)
            if was != is_now:
                raise DataError(
                    f"{self.path} was begun with {key} {was!r}, not {is_now!r}: resume it as it was begun.",
                    path=self.path,
                    key=key,
                )
        if not split.has_exactly(hashes):
            raise DataError(f"{self.path} was begun with other pictures: resume it as it was begun.", path=self.path)
        if begun.epochs != record.epochs:
            with replacing_files(self.path, owned=_RECORD.__eq__) as staged:
                settings = {**begun.settings, "epochs": record.epochs}
                write_json(staged / _RECORD, replace(begun, epochs=record.epochs, settings=settings).to_dict())
        return split

    def save_model(self, model: PretrainedModel, processor: ImageProcessor) -> None:
        """Write the trained network, its processor and the record as a repo folder.

        Raises:
            WeightsError: a weight is beyond float16.
            RepositoryError: the folder cannot be written.
        """
        with drafting(self.path / _MODEL) as draft:
            model.write_files(draft)
            processor.write_files(draft)
            draft.write_json(TRAINING, self.record().to_dict())

    def model(self) -> RepoFolder:
        """Return the trained network's repo folder.

        Raises:
            DataError: the training has not ended, or the network was trained by another split than the run's.
        """
        folder = self.path / _MODEL
        if not folder.is_dir():
            raise DataError(
                f"{self.path} has no model yet: let the training end (python -m lab.train --resume).", path=folder
            )
        repo = RepoFolder(folder)
        if TrainingRecord.read(repo / TRAINING).split_sha256 != self.split().sha256:
            raise DataError(
                f"{folder} was trained by another split than {self.path / SPLIT}: pictures that this one holds out may "
                "have been learnt. Train again.",
                path=folder,
            )
        return repo

    def _longest(self) -> int:
        """Return the epochs of the network or of its teacher, whichever are more."""
        record = self.record()
        return max(record.epochs, int((record.settings.get("teacher") or {}).get("epochs", 0)))

    def _strangers(self) -> list[str]:
        """List the files and empty folders in the folder of the network that no run writes."""
        folder = self.path / _MODEL
        ends = [path for path in folder.rglob("*") if not path.is_dir() or not any(path.iterdir())]
        names = [path.relative_to(folder).as_posix() for path in ends]
        return [name for name in names if not is_in_manifest(name)]

    @property
    def losses(self) -> Path:
        """Return the path of losses.csv."""
        return self.path / LOSSES

    @property
    def checkpoint(self) -> Path:
        """Return the path of the checkpoint's folder."""
        return self.path / _CHECKPOINT

    @property
    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint to continue from."""
        return self.checkpoint.is_dir()

    @property
    def teacher(self) -> "TrainingRun":
        """Return the run of the teacher: losses and checkpoint alone, for no repo is made of it."""
        return TrainingRun(self.path / _TEACHER)


def _without_epochs(value: Any) -> Any:
    """Leave the number of epochs out of a recipe's settings: a run may be continued for longer."""
    return {key: each for key, each in value.items() if key != "epochs"} if isinstance(value, dict) else value


def _with_later_settings(was: Any, is_now: Any) -> Any:
    """Add to the settings of an older version those that recipes have since, where they change nothing."""
    if not isinstance(was, dict) or not isinstance(is_now, dict):
        return was
    later = {key: each for key, each in is_now.items() if key not in was and (not each or each == "kept")}
    return {**later, **{key: _with_later_settings(each, is_now.get(key)) for key, each in was.items()}}


def _is_own(name: str, *, epochs: int) -> bool:
    """Return whether a path, relative to a run, is a file that a run of so many epochs writes."""
    if found := _OWN.fullmatch(name):
        return not found["epoch"] or int(found["epoch"]) <= epochs
    return name.startswith(f"{_MODEL}/") and is_in_manifest(name.removeprefix(f"{_MODEL}/"))
