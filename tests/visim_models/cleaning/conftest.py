"""Fixtures of the tests of `visim_models.cleaning`: a tiny network and a folder that needs cleaning."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from tests.builders import drawn_picture, tiny_repo, write_pictures
from visim_models.cleaning.plan import Plan, PlanRow
from visim_models.galleries.embed import Embedder
from visim_models.repo_folder.formats import file_sha256


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repo(tmp_path_factory.mktemp("cleaning") / "model")


@pytest.fixture(scope="session")
def parts(model: Path) -> Embedder:
    return Embedder.load(model)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of each of four classes."""
    return write_pictures(tmp_path / "photos", 5, size=64)


@pytest.fixture
def dirty(photos: Path) -> Path:
    """The same with a larger copy, a mirrored one, an exact one, a broken file and a blank picture."""
    picture = Image.fromarray(drawn_picture(7001, size=64))
    picture.save(photos / "one.png")
    picture.resize((128, 128), Image.Resampling.BICUBIC).save(photos / "large.png")
    ImageOps.mirror(picture).save(photos / "mirrored.png")
    (photos / "suv" / "copy.png").write_bytes((photos / "one.png").read_bytes())
    (photos / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (64, 64), "red").save(photos / "blank.png")
    return photos


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """Make a plan that removes files of a folder."""

    def make(folder: Path, *names: str) -> Plan:
        return Plan(
            tuple(
                PlanRow(
                    file_name=name,
                    root=str(folder),
                    find="duplicates",
                    action="remove",
                    bytes=(folder / name).stat().st_size,
                    sha256=file_sha256(folder / name),
                )
                for name in names
            )
        )

    return make
