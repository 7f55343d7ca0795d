"""The record of a run says what it used, is read strictly, and hand-written texts have agreed keys."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lab.data import ImageSet
from lab.record import ABOUT_KEYS, TrainingRecord, command_line, read_about, source_row
from lab.split_file import Split
from tests.builders import edit_json
from visim_models import DataError, VisimError

RECORD = TrainingRecord(
    task="autoencoder", recipe="article", settings={"epochs": 2}, epochs=2, seed=0, limit=None, command="python -m x",
    sources=[{"source": "a.zip", "pictures": 1, "classes": {"a": 1}, "parts": {"train": 1}}], outliers=[],
    split_sha256="ab",
)  # fmt: skip


def write(path: Path, **more: Any) -> Path:
    path.write_text(json.dumps({**RECORD.to_dict(), **more}), encoding="utf-8")
    return path


def test_written_and_read_again(tmp_path: Path) -> None:
    assert TrainingRecord.read(write(tmp_path / "run.json")) == RECORD


def test_texts_of_a_repo_are_not_of_the_run(tmp_path: Path) -> None:
    assert TrainingRecord.read(write(tmp_path / "training.json", about={"title": "x"})) == RECORD


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": ...},
        {"colour": "red"},
        {"sources": [{"pictures": 1}]},
        {"outliers": [{"source": 3}]},
        {"sources": 1},
    ],
)
def test_another_form_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "run.json")
    edit_json(path, **changes)
    with pytest.raises(DataError, match=r"run\.json"):
        TrainingRecord.read(path)


def test_a_missing_or_damaged_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.json"):
        TrainingRecord.read(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json"):
        TrainingRecord.read(tmp_path / "run.json")


def test_a_source_with_its_classes_and_parts() -> None:
    hashes = [hashlib.sha256(bytes([number])).hexdigest() for number in range(5)]
    labels = ["x", "y", "x", "x", "y", "x"]
    images = ImageSet(list("abcdef"), labels, torch.zeros(6, 3, 1, 1), [*hashes, hashes[0]])
    split = Split(dict(zip(hashes, ["train", "test", "train", "fit", "train"], strict=True)))
    assert source_row("my.zip", images, split) == {
        "source": "my.zip", "pictures": 6, "copies": 1, "classes": {"x": 4, "y": 2},
        "parts": {"train": 3, "fit": 1, "test": 1},
    }  # fmt: skip


def test_a_command_as_it_would_be_typed() -> None:
    assert command_line("lab.train", ["--data", "my cars.zip"]) == "python -m lab.train --data 'my cars.zip'"
    again = command_line("lab.train", ["--out", os.path.abspath("runs/a"), "--force"])
    assert again == "python -m lab.train --out runs/a"


def about(path: Path, **texts: Any) -> Path:
    path.write_text(json.dumps(texts), encoding="utf-8")
    return path


def test_texts_that_are_not_given_are_empty(tmp_path: Path) -> None:
    texts = read_about(about(tmp_path / "about.json", title="Mine", limits=["small", "old"], license="MIT"))
    assert list(texts) == list(ABOUT_KEYS)
    assert (texts["title"], texts["limits"], texts["license"]) == ("Mine", ["small", "old"], "MIT")
    assert (texts["summary"], texts["tags"]) == ("", [])


@pytest.mark.parametrize(
    "texts", [{"licence": "MIT"}, {"title": ["x"]}, {"limits": "x"}, {"tags": [1]}, {"title": None}]
)
def test_other_texts_are_refused(texts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=next(iter(texts))):
        read_about(about(tmp_path / "about.json", **texts))


def test_no_texts_there(tmp_path: Path) -> None:
    with pytest.raises(VisimError, match=r"about\.json"):
        read_about(tmp_path / "about.json")
