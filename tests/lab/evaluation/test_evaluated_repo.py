"""Held-out pictures are found by content, and a repo whose split is not that of its training is refused."""

import csv
import io
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from lab.data import hashes_of
from lab.evaluation.evaluated_repo import DataFolder, EvaluatedRepo
from lab.splits import Split
from tests.builders import edit_json, tiny_repo
from visim_models.errors import DataError
from visim_models.galleries.picture_table import PictureTable


def contents(images: PictureTable) -> set[str]:
    return set(hashes_of(images))


@pytest.fixture
def copy(car_repo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(car_repo, tmp_path / "copy"))


def test_queries_are_held_out_and_no_held_out_picture_is_compared_with_them(car_repo: Path, drawn_data: Path) -> None:
    repo = EvaluatedRepo.load(car_repo, DataFolder(drawn_data))
    parts = {part: contents(repo.part(part)) for part in ("train", "fit", "calibration", "test")}
    assert {part: len(found) for part, found in parts.items()} == {"train": 16, "fit": 8, "calibration": 8, "test": 8}
    assert len(set.union(*parts.values())) == 40
    assert len(repo.similarity.gallery) == 40
    assert contents(repo.known_images) == parts["train"]
    assert repo.known.file_names == repo.known_images.file_names


def test_a_renamed_copy_of_the_data_is_the_same_data(car_repo: Path, drawn_data: Path, tmp_path: Path) -> None:
    """Found by name, every picture of the copy would count as learnt from."""
    before = EvaluatedRepo.load(car_repo, DataFolder(drawn_data))
    moved = Path(shutil.copytree(drawn_data, tmp_path / "data"))
    with zipfile.ZipFile(drawn_data / "cars" / "photos.zip") as old:
        names = sorted(old.namelist())
        with zipfile.ZipFile(moved / "cars" / "photos.zip", "w") as new:
            for name, other in zip(names, [*names[1:], names[0]], strict=True):
                new.writestr(name, old.read(other))
    after = EvaluatedRepo.load(car_repo, DataFolder(moved))
    assert contents(after.part("test")) == contents(before.part("test"))
    assert not contents(after.known_images) & {
        sha256 for part in ("fit", "calibration", "test") for sha256 in contents(before.part(part))
    }


def test_a_near_duplicate_of_a_held_out_picture_is_not_compared_with_it(
    autoencoder_repo: Path, drawn_data: Path, tmp_path: Path
) -> None:
    """A gallery picture that the split does not list is found although its file has another content."""
    whole = EvaluatedRepo.load(autoencoder_repo, DataFolder(drawn_data))
    data = Path(shutil.copytree(drawn_data, tmp_path / "data"))
    with zipfile.ZipFile(drawn_data / "cifar10" / "train.zip") as archive:
        held_out = Image.open(io.BytesIO(archive.read(whole.part("test").file_names[0])))
    copy = io.BytesIO()
    held_out.resize((80, 64)).save(copy, "PNG")
    file = Path("cifar10", "test.zip")
    with zipfile.ZipFile(drawn_data / file) as old, zipfile.ZipFile(data / file, "w") as new:
        for name in sorted(old.namelist()):
            new.writestr(name, copy.getvalue() if name == "ship/0001.png" else old.read(name))
    found = EvaluatedRepo.load(autoencoder_repo, DataFolder(data))
    assert set(whole.known.file_names) - set(found.known.file_names) == {"ship/0001.png"}


def test_a_limit_takes_pictures_evenly_spaced(car_repo: Path, drawn_data: Path) -> None:
    whole = EvaluatedRepo.load(car_repo, DataFolder(drawn_data)).part("test").file_names
    limited = EvaluatedRepo.load(car_repo, DataFolder(drawn_data, limit=3)).part("test").file_names
    assert limited == [whole[0], whole[3], whole[7]]


def test_pictures_without_near_duplicates_are_groups_of_their_own(car_repo: Path, drawn_data: Path) -> None:
    repo = EvaluatedRepo.load(car_repo, DataFolder(drawn_data))
    test = repo.part("test")
    assert len(set(repo.groups(test))) == len(test)
    grouped = Split(dict.fromkeys(hashes_of(test), "test"), dict.fromkeys(hashes_of(test)[:3], 5))
    object.__setattr__(repo, "split", grouped)
    assert repo.groups(test)[:3] == [5, 5, 5]
    assert len(set(repo.groups(test))) == len(test) - 2


def test_a_repo_without_a_split_is_refused(copy: Path, drawn_data: Path) -> None:
    (copy / "split.csv").unlink()
    with pytest.raises(DataError, match=r"split\.csv"):
        EvaluatedRepo.load(copy, DataFolder(drawn_data))


@pytest.mark.parametrize("change", ["split", "digest", "record"])
def test_a_split_that_is_not_that_of_the_training_is_refused(copy: Path, drawn_data: Path, change: str) -> None:
    if change == "split":  # a picture that was learnt from becomes a query
        rows = list(csv.reader((copy / "split.csv").read_text(encoding="utf-8").splitlines()))
        learnt = next(row for row in rows if row[1] == "train")
        learnt[1] = "test"
        (copy / "split.csv").write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    elif change == "digest":
        edit_json(copy / "training.json", split_sha256="0" * 64)
    else:
        (copy / "training.json").unlink()
    with pytest.raises(DataError, match=r"not the split that training\.json names"):
        EvaluatedRepo.load(copy, DataFolder(drawn_data))


def test_data_that_lacks_pictures_of_the_split_are_refused(car_repo: Path, drawn_data: Path, tmp_path: Path) -> None:
    part = Path(shutil.copytree(drawn_data, tmp_path / "data"))
    file = Path("cars", "photos.zip")
    with zipfile.ZipFile(drawn_data / file) as old, zipfile.ZipFile(part / file, "w") as new:
        for name in sorted(old.namelist())[:-3]:
            new.writestr(name, old.read(name))
    with pytest.raises(DataError, match=r"3 of the 70 pictures in .*split\.csv are not in .*photos\.zip"):
        EvaluatedRepo.load(car_repo, DataFolder(part))


def test_a_gallery_of_other_labels_is_refused(drawn_data: Path, tmp_path: Path) -> None:
    repo = tiny_repo(tmp_path / "repo")
    table = (repo / "gallery" / "metadata.csv").read_text(encoding="utf-8")
    (repo / "gallery" / "metadata.csv").write_text(table.replace(",sedan", ",chair"), encoding="utf-8")
    with pytest.raises(DataError, match="'chair'"):
        EvaluatedRepo.load(repo, DataFolder(drawn_data))


def test_the_name_is_that_of_the_folder(car_repo: Path, drawn_data: Path) -> None:
    repo = EvaluatedRepo.load(car_repo, DataFolder(drawn_data))
    assert repo.name == "drawn-cars"
