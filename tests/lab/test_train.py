"""The command lines: train, resume, export and search, on drawn pictures and, where they are there, on real ones."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hub.__main__ import main as hub_main
from lab.run import read_split
from lab.train import main
from tests.builders import drawn_picture, files_of, write_pictures
from visim_models import VisualSimilarity, repository

ROOT = Path(__file__).resolve().parents[3]


def train(task: str, data: Path | str, out: Path, *more: str) -> int:
    return main([task, "--data", str(data), "--out", str(out), "--epochs", "1", "--device", "cpu", *more])


def export(run: Path, data: Path, out: Path, *more: str) -> int:
    return hub_main(
        ["export", "--run", str(run), "--training-data", str(data), "--gallery", str(data), "--out", str(out), *more]
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "cars", 30, size=40)


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "autoencoder"
    assert train("autoencoder", pictures, out) == 0
    return out


def test_what_training_leaves(run: Path) -> None:
    assert {"losses.csv", "losses.png", "epoch_01.png", "run.json", "split.csv", "checkpoint", "model"} == {
        path.name for path in run.iterdir()
    }
    assert set(files_of(run / "model")) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert repository.read_json(run / "run.json") == {
        "task": "autoencoder", "recipe": "article", "epochs": 1, "seed": 0
    }  # fmt: skip


def test_the_split_names_every_picture_once(run: Path) -> None:
    parts = read_split(run)
    names = [name for part in parts.values() for name in part]
    assert len(names) == len(set(names)) == 120
    assert min(len(part) for part in parts.values()) > 0


def test_resume_adds_an_epoch(pictures: Path, tmp_path: Path) -> None:
    assert train("autoencoder", pictures, tmp_path) == 0
    assert train("autoencoder", pictures, tmp_path, "--epochs", "2", "--resume") == 0
    with (tmp_path / "losses.csv").open(newline="", encoding="utf-8") as file:
        epochs = {row["epoch"] for row in csv.DictReader(file)}
    assert epochs == {"1", "2"}
    assert (tmp_path / "epoch_02.png").exists()


def test_resuming_with_another_split_is_refused(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another seed deals the pictures anew: what was held out would have been learnt from."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    before = files_of(copy)
    assert train("autoencoder", pictures, copy, "--resume", "--seed", "1") == 2
    assert "error: " in capsys.readouterr().err
    assert files_of(copy) == before


BAD = {
    "no such data": ["--data", "missing"],
    "no picture in it": ["--data", "empty"],
    "nothing to resume": ["--resume"],
    "negative limit": ["--limit", "-5"],
    "too few to validate on": ["--limit", "4"],
    "negative epochs": ["--epochs", "-1"],
    "unknown device": ["--device", "abacus"],
}


@pytest.mark.parametrize("more", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_trained_ends_in_a_message(
    more: list[str], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    more = [str(tmp_path / word) if word in ("missing", "empty") else word for word in more]
    assert train("autoencoder", pictures, tmp_path / "run", *more) == 2
    message = capsys.readouterr().err
    assert "error: " in message
    assert "Traceback" not in message


def test_body_types_are_the_only_classes_of_cars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_pictures(tmp_path / "pets", 8, classes=["cat", "dog"])
    assert train("car-classifier", data, tmp_path / "run", "--limit", "16") == 2
    assert "cat" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["autoencoder"], ["autoencoder", "--recipe", "none"], ["x"]])
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_exporting_twice_gives_the_same_bytes(run: Path, pictures: Path, tmp_path: Path) -> None:
    assert export(run, pictures, tmp_path / "one", "--limit", "120") == 0
    arguments = ["--limit", "120", "--run", str(run), "--training-data", str(pictures), "--gallery", str(pictures)]
    subprocess.run(
        [sys.executable, "-m", "hub", "export", *arguments, "--out", str(tmp_path / "two")],
        cwd=ROOT, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    found = VisualSimilarity.from_pretrained(tmp_path / "one")
    assert len(found.gallery) == 120
    picture = pictures / found.gallery.file_names[17]
    match = found.search(picture, top_k=1).matches[0]
    assert (match.file_name, match.percent) == (found.gallery.file_names[17], 100)


def test_exporting_what_is_no_run(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path, pictures, tmp_path / "out") == 2
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


REAL = {
    "cifar10-autoencoder": ("autoencoder", "cifar10/train.zip", 260),
    "car-extractor": ("car-classifier", "cars/photos.zip", 60),
    "car-autoencoder": ("autoencoder", "cars/photos.zip", 60),
}


@pytest.mark.parametrize("recipe", REAL)
def test_train_export_reload_and_search_on_real_pictures(recipe: str, shared_data: Path, tmp_path: Path) -> None:
    task, source, limit = REAL[recipe]
    data, size = shared_data / source, ("--limit", str(limit))
    more = ["--outliers", str(shared_data / "not_cars" / "caltech101.zip")] if task == "car-classifier" else []
    assert train(task, data, tmp_path / "run", "--recipe", recipe, *size, *more) == 0
    assert export(tmp_path / "run", data, tmp_path / "repo", *size) == 0
    found = VisualSimilarity.from_pretrained(tmp_path / "repo")
    assert len(found.gallery) == limit
    result = found.search(drawn_picture(1), top_k=3)
    assert len(result.matches) == 3
    assert 0 < result.ood.p_value <= 1
