"""A gallery of pictures: found again, robust against what folders hold, and built where nothing can be lost."""

import csv
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import visim_models.repo_folder.atomic as atomic
from tests.builders import files_of, tiny_repo, write_pictures
from tests.loopback import FileServer, running
from visim_models import (
    DataError,
    GalleryError,
    OutputError,
    RepositoryError,
    VisimError,
    VisualSimilarity,
)
from visim_models.galleries import build, embed_gallery
from visim_models.repo_folder.manifest import CONFIG, PROCESSOR, SKIPPED, WEIGHTS


def names_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def skipped_in(repo: Path) -> dict[str, str]:
    with (repo / SKIPPED).open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file_name", "reason"]
    return dict(rows[1:])


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names_of(folder):
            archive.write(folder / name, name)
    return path


# --- what it makes


def test_a_gallery_finds_its_own_pictures(model: Path, pictures: Path, tmp_path: Path) -> None:
    report = build(pictures, tmp_path / "mine", model=model, progress=False)
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    assert mine.gallery.file_names == names_of(pictures) == list(report.changes.added)
    assert report.pictures == len(report.detector.calibration_scores) == 16
    assert not report.changes.removed
    assert not report.skipped
    for name in mine.gallery.file_names[::3]:
        found = mine.search(pictures / name, top_k=1).matches[0]
        assert (found.file_name, found.percent, found.label) == (name, 100, name.split("/")[0])
    assert mine.gallery.image_root == report.gallery.image_root == str(pictures)


def test_it_keeps_the_network_of_its_model_and_judges_by_distance(model: Path, pictures: Path, tmp_path: Path) -> None:
    """The model's own detector was fitted to tell other pictures than these from anything else."""
    build(pictures, tmp_path / "mine", model=model, image_root="https://example.org/pictures", progress=False)
    for name in (CONFIG, WEIGHTS, PROCESSOR):
        assert (tmp_path / "mine" / name).read_bytes() == (model / name).read_bytes()
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    assert set(mine.ood.weightings) == {"neighbour_distance"}
    assert mine.ood.probe_weight is None
    assert len(mine.ood.calibration_scores) == 16
    assert mine.gallery.image_root == "https://example.org/pictures"


def test_a_zip_gives_the_same_files_as_its_folder(model: Path, pictures: Path, tmp_path: Path) -> None:
    archive = zipped(pictures, tmp_path / "pictures.zip")
    build(pictures, tmp_path / "a", model=model, image_root="", progress=False)
    build(archive, tmp_path / "b", model=model, image_root="", progress=False)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "model", "pictures", "pictures.zip"]


def test_the_label_is_the_whole_folder_path(model: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "watch" / "mens").mkdir(parents=True)
    shutil.copy(pictures / "suv" / "0000.png", pictures / "watch" / "mens" / "x.png")
    shutil.move(pictures / "suv" / "0001.png", pictures / "top.png")
    build(pictures, tmp_path / "mine", model=model, progress=False)
    gallery = VisualSimilarity.from_pretrained(tmp_path / "mine").gallery
    assert gallery.labels[gallery.index_of("watch/mens/x.png")] == "watch/mens"
    assert gallery.labels[gallery.index_of("top.png")] == ""


def test_the_same_in_memory(model: Path, pictures: Path, tmp_path: Path) -> None:
    before = files_of(tmp_path)
    built = embed_gallery(pictures, model=model, progress=False)
    assert files_of(tmp_path) == before
    build(pictures, tmp_path / "mine", model=model, progress=False)
    query = pictures / "coupe" / "0002.png"
    same = VisualSimilarity(built.embedder.network, built.embedder.processor, built.gallery, built.detector)
    assert same.search(query) == VisualSimilarity.from_pretrained(tmp_path / "mine").search(query)
    same.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / WEIGHTS).read_bytes() == (model / WEIGHTS).read_bytes()


def test_the_card_says_what_was_used_and_needs_the_wheel_alone(model: Path, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "mine", model=model, progress=False)
    card = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert "16 pictures with 4 labels" in card
    assert "library_name: visim-models" in card
    assert "from visim_models import VisualSimilarity" in card
    assert "pip install ./visim " in card
    assert "this gallery's 16 pictures are too few" in card.lower()
    for word in ("import hub", "CIFAR", "car photographs", "validation", str(tmp_path)):
        assert word not in card


# --- what folders and zips hold


def test_broken_files_are_left_out_and_listed(model: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "suv" / "empty.jpg").write_bytes(b"")
    (pictures / "suv" / "cut.png").write_bytes((pictures / "suv" / "0000.png").read_bytes()[:200])
    (pictures / "suv" / "text.jpg").write_text("no picture")
    (pictures / "notes.txt").write_text("not meant to be one")
    report = build(pictures, tmp_path / "mine", model=model, progress=False)
    assert (report.pictures, len(report.skipped)) == (16, 3)
    found = skipped_in(tmp_path / "mine")
    assert list(found) == ["suv/cut.png", "suv/empty.jpg", "suv/text.jpg"]
    assert all(found.values())


def test_a_pipe_a_broken_link_and_odd_names_are_left_out(model: Path, pictures: Path, tmp_path: Path) -> None:
    picture = (pictures / "suv" / "0000.png").read_bytes()
    os.mkfifo(pictures / "pipe.png")
    (pictures / "broken.png").symlink_to("nowhere.png")
    Path(os.fsdecode(os.fsencode(pictures) + b"/latin\xe9.png")).write_bytes(picture)
    (pictures / "new\nline.png").write_bytes(picture)
    (pictures / "Ünïcode ☂.png").write_bytes(picture)
    report = build(pictures, tmp_path / "mine", model=model, progress=False)
    gallery = VisualSimilarity.from_pretrained(tmp_path / "mine").gallery
    assert "Ünïcode ☂.png" in gallery.file_names
    assert report.pictures == 17
    assert sorted(skipped_in(tmp_path / "mine")) == ["broken.png", "latin\\udce9.png", "new\\nline.png", "pipe.png"]


def test_a_folder_whose_path_is_not_utf8_needs_a_root(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str]
) -> None:
    odd = pictures.rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(DataError, match=r"caf\\udce9.*--image-root"):
        build(odd, tmp_path / "mine", model=model, progress=False)
    assert not embedded
    assert build(odd, tmp_path / "mine", model=model, image_root="", progress=False).pictures == 16
    assert not list(tmp_path.glob(".mine*"))


def test_a_file_and_a_folder_without_permission_are_left_out(model: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "suv" / "0001.png").chmod(0)
    if os.access(pictures / "suv" / "0001.png", os.R_OK):
        pytest.skip("this user may read everything")
    (pictures / "truck").chmod(0o600)
    try:
        report = build(pictures, tmp_path / "mine", model=model, progress=False)
    finally:
        (pictures / "truck").chmod(0o700)
    assert report.pictures == 11
    assert sorted(skipped_in(tmp_path / "mine")) == ["suv/0001.png", "truck"]


def test_a_zip_cannot_name_a_file_outside(model: Path, pictures: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        for number, name in enumerate(
            ["../../evil.png", "/etc/evil.png", "fine/../evil.png", "fine/one.png", "fine/two.png"]
        ):
            archive.writestr(name, (pictures / names_of(pictures)[number]).read_bytes())
    report = build(tmp_path / "hostile.zip", tmp_path / "mine", model=model, progress=False)
    assert VisualSimilarity.from_pretrained(tmp_path / "mine").gallery.file_names == ["fine/one.png", "fine/two.png"]
    assert len(report.skipped) == 3


def test_a_zip_with_one_name_twice(model: Path, pictures: Path, tmp_path: Path) -> None:
    archive = zipped(pictures, tmp_path / "twice.zip")
    with zipfile.ZipFile(archive, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("suv/0000.png", (pictures / "suv" / "0003.png").read_bytes())
    assert build(archive, tmp_path / "mine", model=model, progress=False).pictures == 16
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    same = [mine.gallery.embeddings[mine.gallery.index_of(f"suv/{name}.png")].tolist() for name in ("0000", "0003")]
    assert same[0] == same[1]
    assert "2 times" in skipped_in(tmp_path / "mine")["suv/0000.png"]


def test_pictures_that_make_no_gallery(model: Path, pictures: Path, tmp_path: Path) -> None:
    for name in ("none", "one", "same", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "none" / "notes.txt").write_text("no picture")
    shutil.copy(pictures / "suv" / "0000.png", tmp_path / "one" / "a.png")
    for number in range(3):
        Image.new("RGB", (20, 20), "red").save(tmp_path / "same" / f"{number}.png")
        (tmp_path / "broken" / f"{number}.png").write_text("no picture")
    before = files_of(tmp_path)
    for name, message in {
        "none": "no picture files",
        "one": "at least two",
        "same": "not near-duplicates",
        "broken": "None of the 3 files",
    }.items():
        with pytest.raises(DataError, match=message):
            build(tmp_path / name, tmp_path / "mine", model=model, progress=False)
    with pytest.raises(VisimError, match="neither a folder"):
        build(tmp_path / "missing", tmp_path / "mine", model=model, progress=False)
    assert files_of(tmp_path) == before
    assert not list(tmp_path.glob(".mine*"))


# --- nothing is lost


@pytest.mark.parametrize(("source", "out"), [("photos", "photos"), ("home/pics", "home"), ("pics", "project")])
def test_an_output_that_could_lose_files_is_refused_before_anything_is_done(
    source: str, out: str, tmp_path: Path, embedded: list[str]
) -> None:
    write_pictures(tmp_path / source, 2)
    for name in ("home/docs/thesis.txt", "project/.git/HEAD", "photos/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("precious")
    before = files_of(tmp_path)
    with pytest.raises(OutputError, match=r"choose another folder|new or empty folder"):
        build(tmp_path / source, tmp_path / out, model=tmp_path / "no-model-is-loaded", progress=False)
    assert files_of(tmp_path) == before
    assert not embedded
    assert not list(tmp_path.glob(".*"))


def test_a_link_is_followed_to_its_folder(model: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    build(pictures, tmp_path / "link", model=model, progress=False)
    assert (tmp_path / "link").is_symlink()
    assert len(VisualSimilarity.from_pretrained(tmp_path / "target").gallery) == 16


def test_a_failure_at_the_end_leaves_the_old_folder_and_no_work(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(pictures, tmp_path / "mine", model=model, progress=False)
    (pictures / "suv" / "0000.png").rename(pictures / "suv" / "more.png")
    shutil.copy(pictures / "suv" / "more.png", pictures / "suv" / "0000.png")
    before = files_of(tmp_path)

    def failing(staged: Path, folder: Path) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(atomic, "_exchange", failing)
    with pytest.raises(RepositoryError, match="the disk is gone"):
        build(pictures, tmp_path / "mine", model=model, progress=False)
    assert files_of(tmp_path) == before
    assert not list(tmp_path.glob(".mine*"))


def test_a_repo_of_another_network_is_refused(model: Path, pictures: Path, tmp_path: Path) -> None:
    other = tiny_repo(tmp_path / "other", seed=1)
    build(pictures, tmp_path / "mine", model=model, progress=False)
    before = files_of(tmp_path / "mine")
    with pytest.raises(OutputError, match="another network"):
        build(pictures, tmp_path / "mine", model=other, progress=False)
    assert files_of(tmp_path / "mine") == before


def test_a_gallery_that_was_not_built_is_refused(model: Path, pictures: Path) -> None:
    before = files_of(model)
    with pytest.raises(GalleryError, match="visim build"):
        build(pictures, model, model=model, remove_missing=True, progress=False)
    assert files_of(model) == before


def test_building_again_embeds_what_changed_and_removes_nothing_unasked(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str]
) -> None:
    build(pictures, tmp_path / "mine", model=model, progress=False)
    embedded.clear()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*")}
    assert not build(pictures, tmp_path / "mine", model=model, progress=False).changes.added
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*")} == before
    shutil.copy(pictures / "suv" / "0001.png", pictures / "suv" / "0000.png")
    write_pictures(pictures, 1, classes=["van"], seed=3)
    report = build(pictures, tmp_path / "mine", model=model, progress=False)
    assert (report.changes.added, report.changes.changed, report.pictures) == (["van/0000.png"], ["suv/0000.png"], 17)
    assert embedded == ["van/0000.png"]  # the content of the other is in the gallery
    (pictures / "suv" / "0002.png").unlink()
    whole = files_of(tmp_path / "mine")
    with pytest.raises(OutputError, match=r"suv/0002\.png.*--sync"):
        build(pictures, tmp_path / "mine", model=model, progress=False)
    assert files_of(tmp_path / "mine") == whole
    report = build(pictures, tmp_path / "mine", model=model, remove_missing=True, progress=False)
    assert (report.changes.removed, report.pictures) == (["suv/0002.png"], 16)


def test_a_data_set_on_the_hub(model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_of(pictures)
    with running(FileServer()) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr("visim_models.sources.readers.get_token", lambda: None)
        listed = [{"type": "file", "path": name, "size": 9, "oid": "3" * 40} for name in [*names, "suv/lost.png"]]
        hub.files["/api/datasets/someone/cars/tree/main?recursive=true&expand=false"] = json.dumps(listed).encode()
        for name in names:
            hub.files[f"/datasets/someone/cars/resolve/main/{name}"] = (pictures / name).read_bytes()
        report = build("hf://datasets/someone/cars", tmp_path / "mine", model=model, progress=False)
        assert report.gallery.image_root == "hf://datasets/someone/cars"
        assert list(skipped_in(tmp_path / "mine")) == ["suv/lost.png"]
        hub.files["/datasets/someone/cars/resolve/main/suv/lost.png"] = hub.files.pop(
            "/datasets/someone/cars/resolve/main/truck/0000.png"
        )
        report = build("hf://datasets/someone/cars", tmp_path / "mine", model=model, progress=False)
        assert report.changes.added == ["suv/lost.png"]
    build(pictures, tmp_path / "local", model=model, progress=False)
    remote, local = (VisualSimilarity.from_pretrained(tmp_path / name).gallery for name in ("mine", "local"))
    assert local.embeddings.tolist() == [remote.embeddings[remote.index_of(name)].tolist() for name in local.file_names]
