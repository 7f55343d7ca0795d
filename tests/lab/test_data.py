"""Pictures become one table; outliers come without the own kinds, each kind for one purpose."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lab.data import (
    hashes_of,
    labels_of,
    left_out_labels,
    load_images,
    load_outliers,
    load_source,
    local_paths,
    outlier_part,
    targets_of,
)
from tests.builders import drawn_pictures, write_pictures
from visim_models import CAR_CLASSES, DataError, ImageProcessor, ImageSourceError, VisimError
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.synthetic import SYNTHETIC_KINDS

SMALL = ImageProcessor(size=12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 3)


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.png")):
            file.write(path, path.relative_to(folder).as_posix())
    return archive


def test_names_labels_pixels_and_hashes(folder: Path) -> None:
    found = load_images(folder, ImageProcessor(size=48), quiet=True)
    assert found.file_names == [f"{label}/{n:04d}.png" for label in sorted(CAR_CLASSES) for n in range(3)]
    assert labels_of(found) == [label for label in sorted(CAR_CLASSES) for _ in range(3)]
    assert (found["pixels"].shape, found["pixels"].dtype, len(found)) == ((12, 3, 48, 48), np.uint8, 12)
    sedan = found.file_names.index("sedan/0001.png")
    expected = drawn_pictures(2, seed=1 + CAR_CLASSES.index("sedan"))[1]
    assert np.array_equal(found["pixels"][sedan].transpose(1, 2, 0), expected)
    assert hashes_of(found)[sedan] == hashlib.sha256((folder / "sedan" / "0001.png").read_bytes()).hexdigest()


def test_a_zip_is_as_good_as_its_folder(folder: Path, tmp_path: Path) -> None:
    archive = zipped(folder, tmp_path / "pictures.zip")
    one, other = load_images(folder, SMALL, quiet=True), load_images(archive, SMALL, quiet=True)
    assert (one.file_names, hashes_of(one)) == (other.file_names, hashes_of(other))
    assert np.array_equal(one["pixels"], other["pixels"])


def test_the_label_is_the_whole_folder(tmp_path: Path) -> None:
    for place in ("", "watch/mens", "watch/womens"):
        write_pictures(tmp_path / place, 1, classes=["."])
    assert labels_of(load_images(tmp_path, SMALL, quiet=True)) == ["", "watch/mens", "watch/womens"]


def test_damaged_files_are_left_out_and_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "suv" / "0001.png").write_bytes(b"not a picture")
    (folder / "suv" / "notes.txt").write_text("not meant to be one")
    found = load_images(folder, SMALL, quiet=True)
    assert len(found) == 11
    assert "suv/0001.png" not in found.file_names
    assert "1 files" in capsys.readouterr().out


def test_limit_takes_of_every_class(folder: Path) -> None:
    found = load_images(folder, SMALL, limit=4, quiet=True)
    assert len(found) == 4
    assert set(labels_of(found)) == set(CAR_CLASSES)
    assert len(load_images(folder, SMALL, limit=1000, quiet=True)) == 12


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing(folder: Path, limit: int) -> None:
    with pytest.raises(DataError):
        load_images(folder, SMALL, limit=limit, quiet=True)


def test_only_some_are_chosen_by_their_name(folder: Path) -> None:
    suvs = load_images(folder, SMALL, choose=lambda name: name.startswith("suv/"), quiet=True)
    assert labels_of(suvs) == ["suv"] * 3
    nothing = load_images(folder, SMALL, choose=lambda _: False, quiet=True)
    assert (len(nothing), nothing["pixels"].shape, hashes_of(nothing)) == (0, (0, 3, 12, 12), [])


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "hollow.zip", "w") as file:
        file.writestr("readme.txt", "nothing here")
    for name in ("missing", "empty", "text.zip", "hollow.zip"):
        with pytest.raises(VisimError, match=name):
            load_images(tmp_path / name, SMALL, quiet=True)


def test_nothing_that_can_be_decoded(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="None of the 1 pictures"):
        load_images(tmp_path, SMALL, quiet=True)


def test_a_damaged_member_of_a_zip_is_left_out(folder: Path, tmp_path: Path) -> None:
    archive = zipped(folder, tmp_path / "pictures.zip")
    content = bytearray(archive.read_bytes())
    index = content.index(b"IDAT") + 30  # inside a stored member: its checksum no longer fits
    content[index] ^= 0xFF
    archive.write_bytes(content)
    assert len(load_images(archive, SMALL, quiet=True)) == 11


def test_targets() -> None:
    images = PictureTable(["a/0", "b/0", "a/1", "c/0"], {})
    assert targets_of(images, ["c", "b", "a"]).tolist() == [2, 1, 2, 0]
    with pytest.raises(DataError, match="'c'"):
        targets_of(images, ["a", "b"])
    assert targets_of(images.subset([]), ["a"]).dtype == np.int64


def test_orientation_and_modes_are_those_of_a_query(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    picture, file = Image.fromarray(drawn_pictures(1)[0][:30]), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(file, format="PNG", exif=exif)
    (tmp_path / "x" / "a.png").write_bytes(file.getvalue())
    found = load_images(tmp_path, SMALL, quiet=True)["pixels"][0]
    assert np.array_equal(SMALL.normalize(found), SMALL(file.getvalue()))


class FakeCifar10:
    """torchvision's class without its download: three pictures of two classes, out of order."""

    classes = ("airplane", "cat")
    targets = (1, 0, 1)
    data = np.stack(drawn_pictures(3, size=32))

    def __init__(self, folder: Path, *, train: bool, download: bool) -> None:
        if not download or not train:
            raise RuntimeError("no network")


def test_torchvisions_download_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCifar10)
    found = load_source("cifar10", SMALL)
    assert found.file_names == ["airplane/0000.jpg", "cat/0000.jpg", "cat/0001.jpg"]
    assert np.array_equal(found["pixels"][1], FakeCifar10.data[0].transpose(2, 0, 1))
    assert len(set(hashes_of(found))) == 3
    assert load_source("cifar10", SMALL, limit=2).file_names == ["airplane/0000.jpg", "cat/0001.jpg"]


def test_paths_on_this_machine() -> None:
    assert local_paths(["a.zip", "hf://datasets/n/d", Path("b"), "cifar10"]) == [Path("a.zip"), Path("b")]


def test_the_real_zips(shared_data: Path) -> None:
    cars = load_images(shared_data / "cars" / "photos.zip", SMALL, limit=8, quiet=True)
    assert set(labels_of(cars)) == set(CAR_CLASSES)


DRAWN = len(SYNTHETIC_KINDS)
KINDS = ["accordion", "anchor", "ant", "automobile", "barrel", "bass", "beaver", "binocular"]


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("things"), 4, classes=KINDS, size=16)


@pytest.fixture(autouse=True)
def _draw_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.data._PER_KIND", 3)


def photographs(found: PictureTable) -> set[bytes]:
    return {
        picture.tobytes()
        for picture, kind in zip(found["pixels"], labels_of(found), strict=True)
        if not kind.startswith("drawn")
    }


def test_a_kind_is_for_one_purpose(things: Path) -> None:
    parts = {part: load_outliers([things], 16, part=part, seed=0) for part in ("train", "fit", "report")}
    kinds = {
        part: {kind for kind in labels_of(found) if not kind.startswith("drawn")} for part, (found, _) in parts.items()
    }
    assert kinds == {part: {kind for kind in KINDS if outlier_part(kind) == part} for part in parts}
    assert all(kinds.values())
    assert sum(rows[0]["pictures"] for _, rows in parts.values()) == 4 * len(KINDS)
    assert not photographs(parts["train"][0]) & photographs(parts["fit"][0])


def test_of_the_few_near_kinds_one_is_kept_for_the_figures() -> None:
    for family in (("interior", "boot", "engine_bay"), ("lorry", "bus", "train"), ("motorbike", "bus", "train")):
        assert {outlier_part(kind) for kind in family} == {"train", "fit", "report"}


def test_kinds_are_dealt_out_in_shares() -> None:
    parts = [outlier_part(f"kind {number}") for number in range(4000)]
    counts = {part: parts.count(part) for part in ("train", "fit", "report")}
    assert counts["train"] == pytest.approx(2000, abs=150)
    assert counts["fit"] == pytest.approx(1000, abs=120)
    assert counts["report"] == pytest.approx(1000, abs=120)


def test_pictures_in_no_folder_are_each_a_kind(things: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(things.rglob("*.png"))):
        (tmp_path / f"{number}.png").write_bytes(path.read_bytes())
    found = {part: load_outliers([tmp_path], 16, part=part, seed=0) for part in ("train", "fit", "report")}
    counts = [rows[0]["pictures"] for _, rows in found.values()]
    assert sum(counts) == 4 * len(KINDS)
    assert all(counts)


def test_what_is_recorded(things: Path) -> None:
    found, rows = load_outliers([things], 16, part="fit", seed=0, limit=2)
    assert rows[0] == {"source": str(things), "part": "fit", "pictures": 2}
    assert rows[1:] == [{"source": f"drawn: {kind}", "part": "fit", "pictures": 2} for kind in SYNTHETIC_KINDS]
    assert len(found) == 2 + 2 * DRAWN
    assert set(labels_of(found)) >= {f"drawn: {kind}" for kind in SYNTHETIC_KINDS}
    assert found["pixels"].shape[1:] == (3, 16, 16)


def test_the_kinds_of_the_gallery_are_left_out(things: Path) -> None:
    assert left_out_labels(["cat", "accordion"]) == {"cat", "accordion"}
    assert left_out_labels(CAR_CLASSES) >= {*CAR_CLASSES, "automobile", "car_side"}
    part = outlier_part("automobile")
    (_, every), (_, others) = (
        load_outliers([things], 16, part=part, seed=0, leave_out=leave_out)
        for leave_out in ((), left_out_labels(CAR_CLASSES))
    )
    assert others[0]["pictures"] == every[0]["pictures"] - 4


def test_a_source_gives_at_most_so_many(things: Path) -> None:
    assert len(load_outliers([things], 16, part="train", seed=0, per_source=3)[0]) == 3


def test_drawn_ones_are_for_the_fit_alone_and_follow_the_seed() -> None:
    one, same, other = (load_outliers([], 16, part="fit", seed=seed, limit=3)[0]["pixels"] for seed in (0, 0, 1))
    assert len(one) == 3 * DRAWN
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(load_outliers([], 16, part="train", seed=0)[0]) == 0


def test_a_source_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageSourceError, match="nothing"):
        load_outliers([tmp_path / "nothing"], 16, part="fit", seed=0, limit=2)
