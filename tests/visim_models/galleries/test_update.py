"""A gallery that changes: only new pictures are embedded, and nothing that its owner wrote is lost."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.builders import files_of, write_pictures
from visim_models import (
    DataError,
    GalleryError,
    ImageSourceError,
    OutputError,
    RepositoryError,
    VisualSimilarity,
)
from visim_models.galleries import build, sources, update
from visim_models.repo_folder.manifest import CARD, EMBEDDINGS, MEASUREMENTS, METADATA, OOD, SKIPPED


@pytest.fixture
def mine(model: Path, pictures: Path, tmp_path: Path) -> Path:
    build(pictures, tmp_path / "mine", model=model, progress=False)
    return tmp_path / "mine"


@pytest.fixture
def embedded(mine: Path, embedded: list[str]) -> list[str]:
    """The files that are embedded after the gallery was built."""
    embedded.clear()
    return embedded


def gallery_of(repo: Path) -> dict[str, list[float]]:
    gallery = VisualSimilarity.from_pretrained(repo).gallery
    return dict(zip(gallery.file_names, gallery.embeddings.tolist(), strict=True))


def edit_metadata(repo: Path, edited: dict[str, dict[str, str]]) -> None:
    """Add columns to metadata.csv by hand."""
    with (repo / METADATA).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {"file_name": "", "label": ""} | {key: "" for values in edited.values() for key in values}
    with (repo / METADATA).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows({**columns, **row, **edited.get(row["file_name"], {})} for row in rows)


def metadata_of(repo: Path) -> dict[str, dict[str, str]]:
    with (repo / METADATA).open(newline="", encoding="utf-8") as file:
        return {row["file_name"]: row for row in csv.DictReader(file)}


# --- adding and removing


def test_adding_embeds_only_what_is_new(
    mine: Path, pictures: Path, model: Path, tmp_path: Path, embedded: list[str]
) -> None:
    write_pictures(pictures, 6)
    report = update(mine, add=pictures, progress=False)
    assert report.pictures == 24
    assert (
        embedded
        == report.changes.added
        == [f"{label}/000{n}.png" for label in ("coupe", "sedan", "suv", "truck") for n in (4, 5)]
    )
    build(pictures, tmp_path / "at_once", model=model, progress=False)
    grown, at_once = VisualSimilarity.from_pretrained(mine), VisualSimilarity.from_pretrained(tmp_path / "at_once")
    assert grown.gallery.file_names == at_once.gallery.file_names
    assert grown.gallery.labels == at_once.gallery.labels
    assert np.allclose(grown.ood.calibration_scores, at_once.ood.calibration_scores, rtol=1e-2, atol=1e-2)


def test_adding_leaves_what_has_the_same_name(mine: Path, pictures: Path, tmp_path: Path, embedded: list[str]) -> None:
    before = gallery_of(mine)
    others = write_pictures(tmp_path / "others", 2, seed=5)
    shutil.copy(pictures / "suv" / "0001.png", others / "suv" / "0001.png")
    report = update(mine, add=others, progress=False)
    assert not embedded
    assert len(report.changes.differing) == 7
    assert "suv/0001.png" not in report.changes.differing
    assert gallery_of(mine) == before


def test_removing_calibrates_again_and_reports_what_is_unknown(mine: Path, pictures: Path, embedded: list[str]) -> None:
    before, gone = gallery_of(mine), ["coupe/0001.png", "truck/0003.png"]
    report = update(mine, remove=[*gone, "coupe/9999.png"], progress=False)
    assert (report.pictures, len(report.detector.calibration_scores)) == (14, 14)
    assert report.changes.removed == gone
    assert report.unknown == ["coupe/9999.png"]
    assert not embedded
    assert gallery_of(mine) == {name: row for name, row in before.items() if name not in gone}
    found = VisualSimilarity.from_pretrained(mine).search(pictures / gone[0], top_k=1)
    assert found.matches[0].file_name != gone[0]
    whole = files_of(mine)
    assert update(mine, remove=["coupe/0001.png"], progress=False).unknown == ["coupe/0001.png"]
    assert files_of(mine) == whole


def test_a_picture_is_replaced_by_removing_and_adding_it(mine: Path, pictures: Path, embedded: list[str]) -> None:
    before = gallery_of(mine)
    write_pictures(pictures, 1, classes=["suv"], seed=9)
    report = update(mine, remove=["suv/0000.png"], add=pictures, progress=False)
    assert embedded == report.changes.added == report.changes.removed == ["suv/0000.png"]
    after = gallery_of(mine)
    assert after["suv/0000.png"] != before["suv/0000.png"]
    assert after.keys() == before.keys()


def test_a_change_that_cannot_be_made_leaves_the_folder(
    mine: Path, model: Path, pictures: Path, tmp_path: Path
) -> None:
    names = list(gallery_of(mine))
    before = files_of(tmp_path)
    with pytest.raises(DataError, match="delete the folder"):
        update(mine, remove=names, progress=False)
    with pytest.raises(DataError, match="two pictures"):
        update(mine, remove=names[1:], progress=False)
    with pytest.raises(DataError, match="either all pictures"):
        update(mine, pictures=pictures, remove=names[:1], progress=False)
    with pytest.raises(GalleryError, match="visim build"):
        update(model, remove=["sedan/0000.png"], progress=False)
    with pytest.raises(OutputError, match="is the input"):
        update(mine, add=mine, progress=False)
    with pytest.raises(RepositoryError, match="build a gallery first"):
        update(tmp_path / "nowhere", remove=names[:1], progress=False)
    assert files_of(tmp_path) == before


# --- all pictures


def test_new_changed_renamed_and_vanished_files(
    mine: Path, pictures: Path, model: Path, tmp_path: Path, embedded: list[str]
) -> None:
    write_pictures(pictures, 1, classes=["suv"], seed=9)
    write_pictures(pictures, 1, classes=["van"], seed=4)
    (pictures / "sedan" / "0001.png").rename(pictures / "sedan" / "renamed.png")
    (pictures / "truck" / "0002.png").unlink()
    report = update(mine, pictures=pictures, progress=False)
    assert embedded == ["suv/0000.png", "van/0000.png"]
    assert (report.changes.added, report.changes.changed) == (["van/0000.png"], ["suv/0000.png"])
    assert (report.changes.renamed, report.changes.removed) == (
        {"sedan/renamed.png": "sedan/0001.png"},
        ["truck/0002.png"],
    )
    build(pictures, tmp_path / "fresh", model=model, progress=False)
    assert gallery_of(mine).keys() == gallery_of(tmp_path / "fresh").keys()
    for name, row in gallery_of(tmp_path / "fresh").items():
        assert gallery_of(mine)[name] == pytest.approx(row, rel=1e-2, abs=1e-3)
    assert (mine / METADATA).read_bytes() == (tmp_path / "fresh" / METADATA).read_bytes()


def test_a_file_that_cannot_be_read_this_time_leaves_its_picture(
    mine: Path, pictures: Path, embedded: list[str]
) -> None:
    before = gallery_of(mine)
    (pictures / "suv" / "0000.png").write_bytes(b"half a copy")
    (pictures / "suv" / "0001.png").unlink()
    (pictures / "suv" / "0001.png").symlink_to("unmounted.png")
    report = update(mine, pictures=pictures, progress=False)
    assert [item.file_name for item in report.skipped] == ["suv/0001.png", "suv/0000.png"]
    assert not report.changes.removed
    assert gallery_of(mine) == before
    assert (mine / SKIPPED).read_text(encoding="utf-8").count("suv/000") == 2


def test_an_empty_folder_is_an_error(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "unmounted").mkdir()
    before = files_of(mine)
    with pytest.raises(DataError, match="no picture files"):
        update(mine, pictures=tmp_path / "unmounted", progress=False)
    assert files_of(mine) == before


# --- what its owner wrote


def test_notes_a_card_and_other_files_stay(mine: Path, pictures: Path) -> None:
    precious = {
        CARD: b"# My watches",
        "notes.txt": b"buy more",
        "gallery/notes.txt": b"and sell some",
        "gallery/about.json": b'{"title": "Watches"}',
        ".git/HEAD": b"ref: refs/heads/main",
    }
    for name, content in precious.items():
        (mine / name).parent.mkdir(exist_ok=True)
        (mine / name).write_bytes(content)
    write_pictures(pictures, 5)
    update(mine, add=pictures, progress=False)
    update(mine, remove=["suv/0000.png"], progress=False)
    update(mine, image_root="https://example.org/pictures", progress=False)
    update(mine, pictures=pictures, progress=False)
    assert {name: (mine / name).read_bytes() for name in precious} == precious
    assert len(gallery_of(mine)) == 20


def test_columns_and_labels_that_were_edited_stay(mine: Path, pictures: Path) -> None:
    edit_metadata(
        mine,
        {
            "suv/0000.png": {"price": "10", "label": "jeep"},
            "suv/0001.png": {"price": "20"},
            "suv/0002.png": {"price": "30"},
        },
    )
    write_pictures(pictures, 5)
    update(mine, add=pictures, progress=False)
    update(mine, remove=["truck/0000.png"], progress=False)
    (pictures / "truck" / "0000.png").unlink()
    (pictures / "suv" / "0001.png").rename(pictures / "coupe" / "moved.png")
    write_pictures(pictures, 3, classes=["suv"], seed=8)
    (pictures / "suv" / "0001.png").unlink()
    update(mine, pictures=pictures, progress=False)
    rows = metadata_of(mine)
    assert rows["suv/0000.png"] == {"file_name": "suv/0000.png", "label": "jeep", "price": "10"}
    assert rows["coupe/moved.png"] == {"file_name": "coupe/moved.png", "label": "coupe", "price": "20"}
    assert rows["suv/0002.png"]["price"] == "30"
    assert rows["suv/0004.png"] == {"file_name": "suv/0004.png", "label": "suv", "price": ""}


def test_the_image_root_alone_changes_nothing_else(mine: Path) -> None:
    before = files_of(mine)
    report = update(mine, image_root="https://example.org/pictures", progress=False)
    assert report.gallery.image_root == VisualSimilarity.from_pretrained(mine).gallery.image_root
    after = files_of(mine)
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == [EMBEDDINGS]
    update(mine, image_root=report.gallery.image_root, progress=False)
    assert files_of(mine) == after


@pytest.mark.parametrize("root", ["nowhere", "ftp://example.org/pictures"])
def test_an_image_root_that_nobody_could_use_is_refused(root: str, mine: Path) -> None:
    before = files_of(mine)
    with pytest.raises(ImageSourceError):
        update(mine, image_root=root, progress=False)
    assert files_of(mine) == before


def test_an_image_root_on_this_machine_is_found_from_every_folder(
    mine: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    assert update(mine, image_root=pictures.name, progress=False).gallery.image_root == str(pictures.resolve())


def test_two_changes_at_once_lose_none(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one, which began with the gallery before the first one's end, is told so."""
    more = [write_pictures(tmp_path / name, 1, classes=[name], seed=seed) for seed, name in ((7, "one"), (8, "two"))]
    module, hashed = sys.modules["visim_models.galleries.building"], sources.hash_pictures

    def slow(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(module, "hash_pictures", hashed)
        update(mine, add=more[0], progress=False)
        return hashed(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "hash_pictures", slow)
    with pytest.raises(RepositoryError, match="Another program"):
        update(mine, add=more[1], progress=False)
    update(mine, add=more[1], progress=False)
    assert set(VisualSimilarity.from_pretrained(mine).gallery.labels) >= {"one", "two"}


def test_pictures_that_moved_are_found_where_they_are_now(mine: Path, pictures: Path) -> None:
    moved = pictures.rename(pictures.with_name("moved"))
    assert update(mine, remove=["suv/0000.png"], progress=False).gallery.image_root == str(pictures)
    report = build(moved, mine, progress=False)
    assert report.gallery.image_root == str(moved)
    assert report.changes.added == ["suv/0000.png"]
    update(mine, image_root="https://example.org/pictures", progress=False)
    assert build(moved, mine, progress=False).gallery.image_root == "https://example.org/pictures"


def test_a_change_of_the_root_needs_no_measurements(model: Path) -> None:
    assert not (model / MEASUREMENTS).exists()
    ood = (model / OOD).read_bytes()
    assert update(model, image_root="https://example.org/cars", progress=False).pictures == 12
    assert VisualSimilarity.from_pretrained(model).gallery.image_root == "https://example.org/cars"
    assert (model / OOD).read_bytes() == ood


def test_measurements_that_do_not_fit_are_refused(mine: Path, model: Path, tmp_path: Path) -> None:
    fewer = write_pictures(tmp_path / "fewer", 3)
    build(fewer, tmp_path / "other", model=model, progress=False)
    shutil.copy(tmp_path / "other" / MEASUREMENTS, mine / MEASUREMENTS)
    with pytest.raises(GalleryError, match="does not fit"):
        update(mine, remove=["suv/0000.png"], progress=False)
