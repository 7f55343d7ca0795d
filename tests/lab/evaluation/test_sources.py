"""Each source is measured apart: those of the training by their test part, later ones as a training would deal them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab.data import hashes_of, outlier_part
from lab.evaluation.evaluated_repo import CARS, DataFolder, EvaluatedRepo
from lab.evaluation.outliers import outliers_of
from lab.evaluation.sources import mean_figures, source_figures
from lab.splits import HELD_OUT
from tests.builders import edit_json
from tests.drawn_data import write_later_sources
from visim_models.repo_folder.formats import read_json
from visim_models.repo_folder.metrics import Figure


@pytest.fixture(scope="module")
def data(drawn_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(drawn_data, tmp_path_factory.mktemp("later") / "data"))
    write_later_sources(folder)
    return folder


@pytest.fixture(scope="module")
def repo(car_repo: Path, data: Path) -> EvaluatedRepo:
    return EvaluatedRepo.load(car_repo, DataFolder(data))


def test_a_source_that_came_later_is_held_out_of_nothing_that_was_learnt(
    repo: EvaluatedRepo, car_repo: Path, drawn_data: Path
) -> None:
    assert repo.new_files == {"cars/listings.zip"}
    assert repo.divided_files("test") == ["cars/photos.zip", "cars/wild.zip"]
    test = repo.part("test", file="cars/listings.zip")
    assert 2 <= len(test) <= 8
    before = EvaluatedRepo.load(car_repo, DataFolder(drawn_data))
    assert before.new_files == frozenset()
    assert hashes_of(before.every_file("calibration")) == hashes_of(repo.every_file("calibration"))
    assert hashes_of(before.own_images()) == hashes_of(repo.own_images())
    assert before.known.file_names == repo.known.file_names
    again = EvaluatedRepo.load(car_repo, DataFolder(repo.data.path))
    assert again.part("test", file="cars/listings.zip").file_names == test.file_names
    hashes = hashes_of(repo.images["cars/listings.zip"])
    assert set(repo.split.counts(hashes)) >= {"train", "test"}
    assert not set(repo.split.indices(hashes, ["train"])) & set(repo.split.indices(hashes, HELD_OUT))


def test_every_source_and_the_mean_of_them(repo: EvaluatedRepo) -> None:
    figures = source_figures(repo)
    names = [figure.name for figure in figures]
    assert names == [
        "wild_false_alarms_at_5", "wild_accuracy", "wild_retrieval_top_4", "same_model_top_4", "wild_recall_at_1",
        "listings_false_alarms_at_5", "listings_accuracy", "listings_retrieval_top_4",
    ]  # fmt: skip
    found = dict(zip(names, figures, strict=True))
    assert found["wild_accuracy"].n < found["wild_false_alarms_at_5"].n  # the vans are of no body that the gallery has
    assert found["listings_accuracy"].target == {"at_least": 90}
    assert mean_figures(figures) == []
    dealers = replace(found["wild_accuracy"], name="accuracy", value=100.0)
    (mean,) = mean_figures([*figures, dealers])
    expected = np.mean([100, found["wild_accuracy"].value, found["listings_accuracy"].value])
    assert (mean.name, mean.value) == ("mean_accuracy", pytest.approx(expected))
    assert mean.n == dealers.n + found["wild_accuracy"].n + found["listings_accuracy"].n


def kinds_of(repo: EvaluatedRepo) -> dict[str, int]:
    return {kind: len(pictures) for kind, pictures in outliers_of(repo)}


def test_near_kinds_count_as_long_as_nothing_has_learnt_them(
    repo: EvaluatedRepo, car_repo: Path, tmp_path: Path
) -> None:
    kinds = kinds_of(repo)
    assert (kinds["car_parts"], kinds["vehicles"]) == (9, 6)
    assert repo.fitted_files() == list(CARS.outlier_files)
    copy = Path(shutil.copytree(car_repo, tmp_path / "copy"))
    rows = read_json(copy / "training.json")["outliers"]
    used = {"source": "../elsewhere/not_cars/car_parts.zip", "part": "train", "pictures": 6}
    edit_json(copy / "training.json", outliers=[*rows, used])
    taught = EvaluatedRepo.load(copy, repo.data)
    kinds = kinds_of(taught)
    assert outlier_part("boot") == "report"
    assert (kinds["car_parts"], kinds["vehicles"]) == (3, 6)  # the boots alone
    assert taught.fitted_files()[-1] == "not_cars/car_parts.zip"


def test_the_ten_kinds_have_a_second_source_and_near_ones_of_their_own(autoencoder_repo: Path, data: Path) -> None:
    repo = EvaluatedRepo.load(autoencoder_repo, DataFolder(data, limit=5))
    kinds = kinds_of(repo)
    assert (kinds["motorbike"], kinds["bus"]) == (3, 3)
    assert source_figures(repo) == []  # an autoencoder tells no kinds

    class Telling:
        """The same network, as if it told the ten kinds."""

        def __init__(self, network: object) -> None:
            self._network = network
            self.class_names = sorted(repo.benchmark.labels)

        def __getattr__(self, name: str) -> object:
            return getattr(self._network, name)

        def log_probabilities(self, embeddings: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            return np.log(np.full((len(embeddings), 10), 0.1, np.float32))

    repo.similarity.network = Telling(repo.similarity.network)  # type: ignore[assignment]
    found: dict[str, Figure] = {figure.name: figure for figure in source_figures(repo)}
    assert set(found) == {"second_source_false_alarms_at_5", "second_source_accuracy", "second_source_retrieval_top_10"}
    assert found["second_source_accuracy"].n == 5
    assert found["second_source_accuracy"].value == pytest.approx(60)  # the first kind is told of all: 3 airplanes of 5
