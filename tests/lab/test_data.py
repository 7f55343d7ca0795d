"""Pictures of a folder or zip become one tensor, with names, labels and hashes; unreadable ones are left out."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lab.data import ImageSet, load_images, load_source, local_paths
from tests.builders import drawn_pictures, write_pictures
from visim_models import CAR_CLASSES, DataError, ImageProcessor, VisimError

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
    assert found.labels == [label for label in sorted(CAR_CLASSES) for _ in range(3)]
    assert (found.pixels.shape, found.pixels.dtype, len(found)) == ((12, 3, 48, 48), torch.uint8, 12)
    sedan = found.file_names.index("sedan/0001.png")
    expected = drawn_pictures(2, seed=1 + CAR_CLASSES.index("sedan"))[1]
    assert np.array_equal(found.pixels[sedan].permute(1, 2, 0), expected)
    assert found.sha256[sedan] == hashlib.sha256((folder / "sedan" / "0001.png").read_bytes()).hexdigest()


def test_a_zip_is_as_good_as_its_folder(folder: Path, tmp_path: Path) -> None:
    archive = zipped(folder, tmp_path / "pictures.zip")
    one, other = load_images(folder, SMALL, quiet=True), load_images(archive, SMALL, quiet=True)
    assert (one.file_names, one.labels, one.sha256) == (other.file_names, other.labels, other.sha256)
    assert torch.equal(one.pixels, other.pixels)


def test_the_label_is_the_whole_folder(tmp_path: Path) -> None:
    for place in ("", "watch/mens", "watch/womens"):
        write_pictures(tmp_path / place, 1, classes=["."])
    assert load_images(tmp_path, SMALL, quiet=True).labels == ["", "watch/mens", "watch/womens"]


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
    assert set(found.labels) == set(CAR_CLASSES)
    assert len(load_images(folder, SMALL, limit=1000, quiet=True)) == 12


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing(folder: Path, limit: int) -> None:
    with pytest.raises(DataError):
        load_images(folder, SMALL, limit=limit, quiet=True)


def test_only_some_are_kept_by_their_content(folder: Path) -> None:
    every = load_images(folder, SMALL, quiet=True)
    wanted = set(every.sha256[2:5])
    assert load_images(folder, SMALL, keep=wanted.__contains__, quiet=True).sha256 == every.sha256[2:5]
    nothing = load_images(folder, SMALL, keep=lambda _: False, quiet=True)
    assert (len(nothing), nothing.pixels.shape) == (0, (0, 3, 12, 12))


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


def test_subset_concatenation_and_targets() -> None:
    pixels = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    images = ImageSet(["a/0", "b/0", "a/1", "c/0"], ["a", "b", "a", "c"], pixels, ["1", "2", "3", "4"])
    part = images.subset([3, 0])
    assert (part.file_names, part.labels, part.sha256) == (["c/0", "a/0"], ["c", "a"], ["4", "1"])
    assert part.pixels[:, 0, 0, 0].tolist() == [3, 0]
    assert images.targets(["c", "b", "a"]).tolist() == [2, 1, 2, 0]
    with pytest.raises(DataError, match="'c'"):
        images.targets(["a", "b"])
    nothing = images.subset([])
    assert (len(nothing), nothing.targets(["a"]).dtype) == (0, torch.int64)
    both = ImageSet.concatenate([part, nothing, images])
    assert both.file_names == ["c/0", "a/0", *images.file_names]
    assert both.sha256 == ["4", "1", *images.sha256]
    assert both.pixels[:, 0, 0, 0].tolist() == [3, 0, 0, 1, 2, 3]


def test_orientation_and_modes_are_those_of_a_query(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    picture, file = Image.fromarray(drawn_pictures(1)[0][:30]), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(file, format="PNG", exif=exif)
    (tmp_path / "x" / "a.png").write_bytes(file.getvalue())
    found = load_images(tmp_path, SMALL, quiet=True).pixels[0]
    assert torch.equal(SMALL.normalize(found), SMALL(file.getvalue()))


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
    assert torch.equal(found.pixels[1], torch.from_numpy(FakeCifar10.data[0]).permute(2, 0, 1))
    assert len(set(found.sha256)) == 3
    kept = load_source("cifar10", SMALL, keep=lambda sha256: sha256 == found.sha256[2])
    assert kept.file_names == ["cat/0001.jpg"]
    assert load_source("cifar10", SMALL, limit=2).file_names == ["airplane/0000.jpg", "cat/0001.jpg"]


def test_paths_on_this_machine() -> None:
    assert local_paths(["a.zip", "hf://datasets/n/d", Path("b"), "cifar10"]) == [Path("a.zip"), Path("b")]


def test_the_real_zips(shared_data: Path) -> None:
    cars = load_images(shared_data / "cars" / "photos.zip", SMALL, limit=8, quiet=True)
    assert set(cars.labels) == set(CAR_CLASSES)
