"""A run is made once and continued on request; its record says what the network was trained by."""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.run import ABOUT_KEYS, TrainingRecord, TrainingRun, command_line, read_about, source_row
from lab.splits import Split
from tests.builders import edit_json, files_of, tiny_autoencoder
from visim_models import DataError, ImageProcessor, OutputError, VisimError
from visim_models.galleries.picture_table import PictureTable, hash_array

HASHES = [hashlib.sha256(bytes([number])).hexdigest() for number in range(4)]
SPLIT = Split(dict(zip(HASHES, ["train", "train", "test", "fit"], strict=True)))
OTHER_SPLIT = Split(dict(zip(HASHES, ["test", "train", "train", "fit"], strict=True)))
RECORD = TrainingRecord(
    task="autoencoder", recipe="article", settings={"epochs": 120, "batch_size": 2}, epochs=120, seed=0, limit=None,
    command="", sources=[], outliers=[], split_sha256=SPLIT.sha256,
)  # fmt: skip
OWN = [
    "run.json", "split.csv", "losses.csv", "losses.png", "epoch_01.png", "epoch_120.png",
    "checkpoint/state.safetensors", "checkpoint/progress.json",
    "model/config.json", "model/model.safetensors", "model/preprocessor_config.json", "model/training.json",
]  # fmt: skip
FOREIGN = ["notes.txt", "epoch_x.png", "epoch_2024.png", "checkpoint/notes.txt", "photos/run.json", ".git/config"]


def begun(path: Path) -> TrainingRun:
    run = TrainingRun.for_output(path)
    run.begin(RECORD, SPLIT)
    return run


def full(path: Path) -> TrainingRun:
    """A run with all of its files, among files of somebody else."""
    run = begun(path)
    for name in [*OWN[2:], *FOREIGN]:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return run


def test_a_new_run_has_its_record_and_its_split(tmp_path: Path) -> None:
    run = begun(tmp_path / "runs" / "mine")
    assert set(files_of(run.path)) == {"run.json", "split.csv"}
    assert run.record() == RECORD
    assert run.split().sha256 == SPLIT.sha256


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    run = full(tmp_path / "run")
    before = files_of(run.path)
    with pytest.raises(OutputError, match=r"--resume.*--force"):
        TrainingRun.for_output(run.path)
    assert files_of(run.path) == before


def test_beginning_again_removes_the_runs_files_and_no_others(tmp_path: Path) -> None:
    run = full(tmp_path / "run")
    again = TrainingRun.for_output(run.path, force=True)
    assert set(files_of(run.path)) == {*OWN, *FOREIGN}  # nothing goes before the new run begins
    again.begin(dataclasses.replace(RECORD, split_sha256=OTHER_SPLIT.sha256), OTHER_SPLIT)
    assert set(files_of(run.path)) == {"run.json", "split.csv", *FOREIGN}
    assert all((run.path / name).read_text() == name for name in FOREIGN)
    assert again.split().sha256 == OTHER_SPLIT.sha256


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_no_run_is_refused_in_any_case(resume: bool, force: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="no training run"):
        TrainingRun.for_output(tmp_path, resume=resume, force=force)
    (tmp_path / "run.json").write_text('{"name": "of another program"}')
    with pytest.raises(OutputError, match="no training run"):
        TrainingRun.for_output(tmp_path, resume=resume, force=force)
    with pytest.raises(OutputError, match="is a file"):
        TrainingRun.for_output(tmp_path / "thesis.txt", resume=resume, force=force)
    assert set(files_of(tmp_path)) == {"thesis.txt", "run.json"}


def test_a_run_apart_from_its_input(tmp_path: Path) -> None:
    data = tmp_path / "home" / "photos"
    data.mkdir(parents=True)
    for out in (data, tmp_path / "home", data / "run"):
        with pytest.raises(OutputError, match="the input"):
            TrainingRun.for_output(out, inputs=[data], force=True)
    link = tmp_path / "link"
    link.symlink_to(data)
    with pytest.raises(OutputError, match="the input"):
        TrainingRun.for_output(link / "run", inputs=[data])
    TrainingRun.for_output(tmp_path / "home" / "run", inputs=[data, tmp_path / "missing.zip"])


def test_a_link_leads_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    begun(tmp_path / "run")
    assert set(files_of(tmp_path / "disk")) == {"run.json", "split.csv"}
    assert (tmp_path / "run").is_symlink()


@pytest.mark.parametrize("name", ["thesis.txt", "plots/holiday.png", "empty/"])
def test_a_file_of_somebody_else_beside_the_model_is_found_before_the_training(name: str, tmp_path: Path) -> None:
    run = full(tmp_path / "run")
    if name.endswith("/"):
        (run.path / "model" / name).mkdir()
    else:
        (run.path / "model" / name).parent.mkdir(exist_ok=True)
        (run.path / "model" / name).write_text("mine")
    before = files_of(run.path)
    for resume in (True, False):
        with pytest.raises(OutputError, match=Path(name).name):
            TrainingRun.for_output(run.path, resume=resume, force=not resume)
    assert files_of(run.path) == before


def test_a_run_that_begins_again_leaves_no_empty_folder_of_the_old_one(tmp_path: Path) -> None:
    run = full(tmp_path / "run")
    (run.path / "model" / "plots").mkdir()
    (run.path / "model" / "plots" / "losses.png").write_text("a plot")
    again = TrainingRun.for_output(run.path, force=True)
    again.begin(RECORD, SPLIT)
    assert not (run.path / "model").exists()
    again.save_model(tiny_autoencoder(), ImageProcessor(size=8))


def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run"):
        TrainingRun.for_output(tmp_path / "run", resume=True)


def test_resumed_for_more_epochs(tmp_path: Path) -> None:
    run = full(tmp_path / "run")
    longer = dataclasses.replace(RECORD, epochs=3, settings={"epochs": 3, "batch_size": 2}, command="other")
    before = files_of(run.path)
    TrainingRun.for_output(run.path, resume=True).resume(longer, HASHES)
    assert run.record() == dataclasses.replace(longer, command="")
    after = files_of(run.path)
    assert {name: content for name, content in after.items() if name != "run.json"} == {
        name: content for name, content in before.items() if name != "run.json"
    }


def test_a_run_of_an_older_version_is_resumed_where_later_settings_are_off(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    later = {**RECORD.settings, "contrastive_weight": 0.0, "doubted_labels": "kept"}
    run.resume(dataclasses.replace(RECORD, settings=later), HASHES)
    with pytest.raises(DataError, match="settings"):
        run.resume(dataclasses.replace(RECORD, settings={**later, "contrastive_weight": 0.5}), HASHES)


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"task": "x"}, {"recipe": "x"}, {"limit": 9}, {"settings": {"epochs": 1, "batch_size": 3}}]
)
def test_resumed_otherwise_is_refused(changes: dict[str, object], tmp_path: Path) -> None:
    run = full(tmp_path / "run")
    before = files_of(run.path)
    with pytest.raises(DataError, match=next(iter(changes))):
        run.resume(dataclasses.replace(RECORD, **changes), HASHES)  # type: ignore[arg-type]
    assert files_of(run.path) == before


@pytest.mark.parametrize("hashes", [HASHES[1:], [*HASHES, "e" * 64]], ids=["fewer", "more"])
def test_resumed_with_other_pictures_is_refused(hashes: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="other pictures"):
        begun(tmp_path / "run").resume(RECORD, hashes)


def test_another_split_under_the_record_is_refused(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    OTHER_SPLIT.write(run.path / "split.csv")
    with pytest.raises(DataError, match=r"split\.csv"):
        run.split()
    (run.path / "split.csv").unlink()
    with pytest.raises(DataError, match=r"split\.csv"):
        run.split()


def test_the_model_of_a_run(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with pytest.raises(DataError, match="no model yet"):
        run.model()
    run.save_model(tiny_autoencoder(), ImageProcessor(size=8))
    repo = run.model()
    assert set(files_of(repo.path)) == {"config.json", "model.safetensors", "preprocessor_config.json", "training.json"}
    assert TrainingRecord.read(repo / "training.json") == RECORD


def test_a_model_of_another_split_is_refused(tmp_path: Path) -> None:
    """As an interrupted run with another seed left it: an old model under a new split."""
    old, new = begun(tmp_path / "old"), TrainingRun(tmp_path / "new")
    old.save_model(tiny_autoencoder(), ImageProcessor(size=8))
    new.begin(dataclasses.replace(RECORD, seed=1, split_sha256=OTHER_SPLIT.sha256), OTHER_SPLIT)
    shutil.copytree(old.path / "model", new.path / "model")
    with pytest.raises(DataError, match="another split"):
        new.model()
    edit_json(new.path / "model" / "training.json", split_sha256=...)
    with pytest.raises(DataError, match=r"training\.json"):
        new.model()


OTHER_RECORD = TrainingRecord(
    task="autoencoder", recipe="article", settings={"epochs": 2}, epochs=2, seed=0, limit=None, command="python -m x",
    sources=[{"source": "a.zip", "pictures": 1, "classes": {"a": 1}, "parts": {"train": 1}}], outliers=[],
    split_sha256="ab",
)  # fmt: skip


def write(path: Path, **more: Any) -> Path:
    path.write_text(json.dumps({**OTHER_RECORD.to_dict(), **more}), encoding="utf-8")
    return path


def test_written_and_read_again(tmp_path: Path) -> None:
    assert TrainingRecord.read(write(tmp_path / "run.json")) == OTHER_RECORD


def test_texts_of_a_repo_are_not_of_the_run(tmp_path: Path) -> None:
    assert TrainingRecord.read(write(tmp_path / "training.json", about={"title": "x"})) == OTHER_RECORD


@pytest.mark.parametrize(
    "changes",
    [{"seed": ...}, {"colour": "red"}, {"sources": [{"pictures": 1}]}, {"outliers": [{"source": 3}]}, {"sources": 1}],
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
    names = [f"{label}/{number}.png" for number, label in enumerate(labels)]
    images = PictureTable(names, {"sha256": hash_array([*hashes, hashes[0]])})
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
