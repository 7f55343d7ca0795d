"""The command that trains: what a run has, its split, resuming, starting again, classes of one's own, refusals."""

import csv
import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from lab.data import hashes_of, load_images
from lab.recipes import RECIPES, ClassifierRecipe, Recipe
from lab.run import TrainingRecord, TrainingRun
from lab.splits import HELD_OUT, PARTS, Shares, Split
from lab.train import main
from lab.training.loop import Objective, fit
from tests.builders import files_of, write_pictures
from visim_models import CarClassifier, Cifar10Classifier, ImageProcessor
from visim_models.models import PretrainedModel
from visim_models.repo_folder.formats import read_json

pytestmark = pytest.mark.usefixtures("tiny_article")


def train(task: str, data: Path | str, out: Path, *more: str) -> int:
    return main([task, "--data", str(data), "--out", str(out), "--epochs", "1", "--device", "cpu", *more])


@pytest.fixture(autouse=True)
def _draw_few_outliers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.data._PER_KIND", 2)


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
    assert set(files_of(run / "model")) == {
        "config.json", "model.safetensors", "preprocessor_config.json", "training.json"
    }  # fmt: skip


def test_what_is_recorded(run: Path, pictures: Path) -> None:
    record = TrainingRecord.read(run / "run.json")
    assert (record.task, record.recipe, record.epochs, record.seed, record.limit) == (
        "autoencoder",
        "article",
        1,
        0,
        None,
    )
    there, out = os.path.relpath(pictures), os.path.relpath(run)
    assert record.command == f"python -m lab.train autoencoder --data {there} --out {out} --epochs 1 --device cpu"
    (source,) = record.sources
    assert (source["source"], source["pictures"]) == (str(pictures), 120)
    assert source["classes"] == {"coupe": 30, "sedan": 30, "suv": 30, "truck": 30}
    assert sum(source["parts"].values()) == 120
    assert record.outliers == []
    assert (record.settings["learning_rate"], record.settings["epochs"]) == (1e-3, 1)


def test_run_checkpoint_and_model_name_the_split(run: Path) -> None:
    expected = Split.read(run / "split.csv").sha256
    for name in ("run.json", "checkpoint/progress.json", "model/training.json"):
        assert read_json(run / name)["split_sha256"] == expected, name


def test_the_split_has_every_picture_in_one_of_its_parts(run: Path, pictures: Path) -> None:
    hashes = hashes_of(load_images(pictures, ImageProcessor(size=8), quiet=True))
    split = Split.read(run / "split.csv")
    assert split.has_exactly(hashes)
    counts = split.counts(hashes)
    assert set(counts) | {"unused"} == set(PARTS)
    assert 1 <= sum(counts.get(part, 0) for part in HELD_OUT) <= 12


def test_a_copy_with_other_names_is_dealt_out_alike(run: Path, pictures: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        target = tmp_path / "copy" / path.parent.name / f"{997 - number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    assert train("autoencoder", tmp_path / "copy", tmp_path / "run") == 0
    assert (tmp_path / "run" / "split.csv").read_bytes() == (run / "split.csv").read_bytes()


class Stopped(Exception):
    """Stands for the process being killed."""


def test_the_split_is_written_before_the_training(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stopped

    monkeypatch.setattr("lab.train.fit", stop)
    with pytest.raises(Stopped):
        train("autoencoder", pictures, tmp_path / "run")
    assert set(files_of(tmp_path / "run")) == {"run.json", "split.csv"}


def test_resume_adds_an_epoch(run: Path, pictures: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    assert train("autoencoder", pictures, copy, "--epochs", "2", "--resume") == 0
    with (copy / "losses.csv").open(newline="", encoding="utf-8") as file:
        assert {row["epoch"] for row in csv.DictReader(file)} == {"1", "2"}
    assert (copy / "epoch_02.png").exists()
    assert TrainingRecord.read(copy / "model" / "training.json").epochs == 2


@pytest.mark.parametrize("more", [[], ["--seed", "1"]])
def test_an_existing_run_is_not_overwritten(
    more: list[str], run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(run)
    assert train("autoencoder", pictures, run, *more) == 2
    assert "--resume" in capsys.readouterr().err
    assert files_of(run) == before


def test_force_starts_again_and_deletes_nothing_else(run: Path, pictures: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / "notes.txt").write_text("mine")
    assert train("autoencoder", pictures, copy, "--seed", "1", "--force") == 0
    assert (copy / "notes.txt").read_text() == "mine"
    assert Split.read(copy / "split.csv").sha256 != Split.read(run / "split.csv").sha256
    assert TrainingRecord.read(copy / "model" / "training.json").seed == 1


def test_the_split_of_an_earlier_run_holds_the_same_pictures_out(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["--seed", "1", "--split", str(run / "split.csv")]
    assert train("autoencoder", pictures, tmp_path / "again", *again) == 0
    assert (tmp_path / "again" / "split.csv").read_bytes() == (run / "split.csv").read_bytes()
    assert train("autoencoder", pictures, tmp_path / "trial", *again, "--limit", "60") == 0
    trial, whole = (Split.read(folder / "split.csv") for folder in (tmp_path / "trial", run))
    hashes = hashes_of(load_images(pictures, ImageProcessor(size=8), limit=60))
    assert len(trial) == 60 < len(whole)
    assert [trial.part_of(sha256) for sha256 in hashes] == [whole.part_of(sha256) for sha256 in hashes]
    fewer = write_pictures(tmp_path / "fewer", 29, size=40)
    assert train("autoencoder", fewer, tmp_path / "other", *again) == 2
    assert "split of other pictures" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_folder_of_somebody_else_is_refused_even_with_force(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert train("autoencoder", pictures, tmp_path, "--force") == 2
    assert "no training run" in capsys.readouterr().err
    before = files_of(pictures)
    assert train("autoencoder", pictures, pictures / "run", "--force") == 2
    assert files_of(pictures) == before
    assert set(files_of(tmp_path)) == {"thesis.txt"}


def test_resuming_with_another_split_is_refused(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another seed deals the pictures out again: what was held out would be learnt."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    before = files_of(copy)
    assert train("autoencoder", pictures, copy, "--resume", "--seed", "1") == 2
    assert "seed" in capsys.readouterr().err
    fewer = write_pictures(tmp_path / "fewer", 29, size=40)
    assert train("autoencoder", fewer, copy, "--resume") == 2
    assert "other pictures" in capsys.readouterr().err
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
    assert not (tmp_path / "run").exists()


def test_a_missing_matplotlib_is_said_before_the_training(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert train("autoencoder", pictures, tmp_path / "run") == 2
    assert "visim-models[train]" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_classifier_of_ones_own_classes(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pets", 12, classes=["dog", "cat", "ant"])
    things = write_pictures(tmp_path / "things", 12, classes=["drum", "cat"], seed=3)
    recipe = ["--recipe", "car-extractor", "--outliers", str(things)]
    assert train("car-classifier", data, tmp_path / "run", *recipe) == 0
    assert CarClassifier.from_pretrained(tmp_path / "run" / "model").class_names == ["ant", "cat", "dog"]
    record = TrainingRecord.read(tmp_path / "run" / "run.json")
    outliers = record.outliers[0]
    assert (outliers["source"], outliers["part"]) == (str(things), "train")
    assert 0 < outliers["pictures"] <= 12  # drums alone: cats are a class


def test_a_teacher_comes_first_and_is_not_trained_again_on_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_pictures(tmp_path / "kinds", 24, classes=["cat", "ant", "owl"], size=32)
    things = write_pictures(tmp_path / "things", 12, classes=["drum", "lamp"], seed=3, size=32)
    recipe = ["--recipe", "cifar10-extractor", "--outliers", str(things)]

    class Stopped(Exception):
        pass

    def stop_after_the_teacher(objective: object, settings: Recipe, run: TrainingRun, **more: Any) -> PretrainedModel:
        if run.path.name != "teacher":
            raise Stopped
        return fit(cast(Objective, objective), settings, run, **more)

    with monkeypatch.context() as patch:
        patch.setattr("lab.train.fit", stop_after_the_teacher)
        with pytest.raises(Stopped):
            train("cifar10-classifier", data, tmp_path / "run", *recipe)
    taught = files_of(tmp_path / "run" / "teacher")
    assert "losses.csv" in taught
    assert not (tmp_path / "run" / "model").exists()
    assert train("cifar10-classifier", data, tmp_path / "run", *recipe, "--resume") == 0
    assert files_of(tmp_path / "run" / "teacher") == taught
    assert Cifar10Classifier.from_pretrained(tmp_path / "run" / "model").class_names == ["ant", "cat", "owl"]
    (tmp_path / "run" / "teacher" / "notes.txt").write_text("mine")
    assert train("cifar10-classifier", data, tmp_path / "run", *recipe, "--force") == 0
    assert (tmp_path / "run" / "teacher" / "notes.txt").read_text() == "mine"


def test_three_sources_with_second_labels_and_a_split_that_is_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files of two sources have the same names: each table is of the source that is called as it is."""
    recipe = dataclasses.replace(
        cast(ClassifierRecipe, RECIPES["car-classifier"]["article"]),
        second_weight=0.5, contrastive_weight=0.5, doubted_labels="left out", batch_size=32, shares=Shares(test=0.2),
    )  # fmt: skip
    monkeypatch.setitem(cast(dict[str, Recipe], RECIPES["car-classifier"]), "sources", recipe)
    folders = [write_pictures(tmp_path / name, 12, size=40, seed=seed) for seed, name in enumerate(("a", "b", "c"))]
    names = sorted(path.relative_to(folders[1]).as_posix() for path in folders[1].rglob("*.png"))
    for letter, column in (("b", "model"), ("c", "near_group")):
        rows = [f"{name},{column} {number // 4}" for number, name in enumerate(names)]
        (tmp_path / f"{letter}.csv").write_text("\n".join([f"file_name,{column}", *rows]), encoding="utf-8")
    two = ["--keep-together", str(tmp_path / "b.csv"), "model", "--second-label", str(tmp_path / "b.csv"), "model"]
    first, second = tmp_path / "first", tmp_path / "second"
    more = [str(folders[1]), "--recipe", "sources", *two]
    assert main(["car-classifier", "--data", str(folders[0]), *more, "--out", str(first), "--epochs", "1"]) == 0
    more = [
        *map(str, folders[1:]),
        "--recipe",
        "sources",
        *two,
        "--keep-together",
        str(tmp_path / "c.csv"),
        "near_group",
    ]
    again = ["--split", str(first / "split.csv"), "--out", str(second), "--epochs", "1"]
    assert main(["car-classifier", "--data", str(folders[0]), *more, *again]) == 0
    old, new = Split.read(first / "split.csv"), Split.read(second / "split.csv")
    assert {key: new.parts[key] for key in old.parts} == old.parts
    assert len(new) == len(old) + 48
    listings = load_images(folders[2], ImageProcessor(size=8), quiet=True)
    groups = [set(map(new.part_of, hashes_of(listings)[start : start + 4])) for start in range(0, 48, 4)]
    assert all(len(parts - {"unused"}) == 1 for parts in groups)
    sources = TrainingRecord.read(second / "run.json").sources
    assert [len(row["parts"]) > 1 for row in sources] == [True] * 3
    assert all(0 <= row["doubted"] < 48 for row in sources)
    said = capsys.readouterr()
    assert "labels are doubted, and left out" in said.out
    assert "mean_accuracy" in said.out
    again[-3:-1] = [str(tmp_path / "third"), "--epochs"]
    assert main(["car-classifier", "--data", *map(str, folders), "--recipe", "sources", *again]) == 2
    assert "name a table" in capsys.readouterr().err


def test_a_table_that_names_no_picture_is_an_error(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else nothing would be kept together, and figures of unseen models would be of seen ones."""
    table = tmp_path / "models.csv"
    table.write_text("file_name,model\nelsewhere/0001.png,a\n", encoding="utf-8")
    assert train("autoencoder", pictures, tmp_path / "run", "--keep-together", str(table), "model") == 2
    assert "must name the pictures of one source" in capsys.readouterr().err
    assert train("autoencoder", pictures, tmp_path / "run", "--keep-together", str(table), "colour") == 2
    assert "colour" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_several_sources(tmp_path: Path, pictures: Path) -> None:
    more = write_pictures(tmp_path / "more", 3, classes=["van"])
    assert train("autoencoder", pictures, tmp_path / "run", "--data", str(pictures), str(more)) == 0
    record = TrainingRecord.read(tmp_path / "run" / "run.json")
    assert [(row["source"], row["pictures"]) for row in record.sources] == [(str(pictures), 120), (str(more), 3)]
    assert len(Split.read(tmp_path / "run" / "split.csv")) == 123


def test_one_class_cannot_be_classified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_pictures(tmp_path / "pets", 60, classes=["cat"], size=16)
    assert train("car-classifier", data, tmp_path / "run") == 2
    assert "cat" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_outliers_that_a_recipe_does_not_use(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("car-classifier", pictures, tmp_path / "run", "--outliers", str(pictures)) == 2
    assert "no outliers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["autoencoder"],
        ["autoencoder", "--recipe", "none"],
        ["x"],
        ["autoencoder", "--data", "x", "--out", "y", "--resume", "--force"],
    ],
)
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["autoencoder", "--help"], ["car-classifier", "--help"]])
def test_every_option_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) > 15
    assert all(len(part) > 40 for part in text.split("\n  --")[1:])
