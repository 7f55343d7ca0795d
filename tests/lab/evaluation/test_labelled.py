"""Any labelled gallery is measured by labelled pictures that are not in it."""

import shutil
from pathlib import Path

import pytest

from lab.evaluate import main
from tests.builders import tiny_repo, write_pictures
from visim_models.errors import DataError
from visim_models.galleries import build
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.metrics import Metrics


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("things"), 12, classes=["chair", "lamp"], size=24)


@pytest.fixture(scope="module")
def gallery(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    network = tiny_repo(folder / "network")
    build(pictures, folder / "mine", model=network, progress=False)
    return folder / "mine"


def test_the_figures_of_a_gallery(gallery: Path, tmp_path: Path) -> None:
    others = write_pictures(tmp_path / "others", 5, classes=["chair", "lamp", "sofa"], size=24, seed=9)
    assert main([str(gallery), "--data", str(others), "--write"]) == 0
    metrics = Metrics.read(RepoFolder(gallery))
    own = {figure.name: figure for figure in metrics.figures}
    assert {"retrieval_top_1", "retrieval_top_4", "ood_false_alarms_at_5", "ood_found_at_5_noise"} <= set(own)
    assert 0 < own["retrieval_top_4"].n <= 10  # the sofas have no label of the gallery
    assert {figure.method for figure in metrics.baselines} == {"raw pixels, Euclidean"}
    assert main([str(gallery), "--data", str(others), "--check"]) == 0


def test_pictures_of_the_gallery_do_not_count(
    gallery: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(gallery), "--data", str(pictures)]) == 2
    assert "are in the gallery" in capsys.readouterr().err


def test_pictures_of_other_labels_measure_nothing(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = write_pictures(tmp_path / "others", 2, classes=["sofa"], size=24, seed=9)
    assert main([str(gallery), "--data", str(others)]) == 2
    assert "label/name.jpg" in capsys.readouterr().err


def test_a_gallery_without_labels(tmp_path: Path, pictures: Path) -> None:
    from lab.evaluation.labelled import evaluate_labelled

    network = tiny_repo(tmp_path / "network")
    build(pictures / "chair", tmp_path / "mine", model=network, progress=False)
    with pytest.raises(DataError, match="without labels"):
        evaluate_labelled(tmp_path / "mine", pictures, command="")


def test_recall_at_1_of_any_labelled_pictures(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every picture is there twice, under one name of two labels: the nearest other is its copy."""
    twice = write_pictures(tmp_path / "twice", 6, classes=["chair", "lamp"], size=24, seed=3)
    for path in sorted(twice.rglob("*.png")):
        shutil.copyfile(path, path.with_name(f"copy {path.name}"))
    assert main([str(gallery), "--data", str(twice), "--recall"]) == 0
    assert "recall_at_1  100.0 %" in " ".join(capsys.readouterr().out.split()).replace("recall_at_1 ", "recall_at_1  ")
    shutil.move(twice / "chair" / "copy 0000.png", twice / "lamp" / "copy of a chair.png")
    assert main([str(gallery), "--data", str(twice), "--recall"]) == 0
    assert "100.0 % " not in capsys.readouterr().out
    assert main([str(gallery), "--data", str(twice / "lamp" / "copy of a chair.png"), "--recall"]) == 2
