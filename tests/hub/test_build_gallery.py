"""A gallery of one's own: built, killed and gone on with, added to, reduced; and its detector's calibration."""

import csv
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hub
from hub.__main__ import main
from hub.build_gallery import SKIPPED_FILE, build_gallery, change_gallery
from hub.embedded_pictures import EmbeddedPictures, embed_source
from hub.picture_source import PictureSource
from hub.self_calibration import calibrated_on, leave_one_out_evidence
from lab.fitting import observe_images
from tests.builders import files_of, tiny_repo, write_pictures
from visim_models import DataError, GalleryError, OutOfDistributionDetector, VisualSimilarity
from visim_models.ood import Term

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_repo(tmp_path / "model")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 8)


def names_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_a_gallery_of_a_folder_finds_its_own_pictures(model: Path, pictures: Path, tmp_path: Path) -> None:
    report = build_gallery(model, pictures, tmp_path / "mine")
    mine = hub.load(tmp_path / "mine")
    assert mine.gallery.file_names == names_of(pictures)
    assert report.pictures == report.added == 32
    assert report.removed == report.skipped == 0
    for name in mine.gallery.file_names[::5]:
        found = mine.search(pictures / name, top_k=1).matches[0]
        assert (found.file_name, found.percent) == (name, 100)
        assert found.label == name.split("/")[0]
    assert mine.gallery.image_root == str(pictures)


def test_it_keeps_the_network_and_the_score_of_its_model(model: Path, pictures: Path, tmp_path: Path) -> None:
    build_gallery(model, pictures, tmp_path / "mine", image_root="https://example.org/pictures")
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        assert (tmp_path / "mine" / name).read_bytes() == (model / name).read_bytes()
    mine, theirs = hub.load(tmp_path / "mine"), hub.load(model)
    assert mine.ood.terms == theirs.ood.terms
    assert torch.equal(mine.ood.probe_weight, theirs.ood.probe_weight)  # type: ignore[arg-type]
    assert len(mine.ood.calibration_scores) == 32
    assert mine.gallery.image_root == "https://example.org/pictures"


def test_a_zip_gives_the_same_files_as_its_folder(model: Path, pictures: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for name in names_of(pictures):
            archive.write(pictures / name, name)
    build_gallery(model, pictures, tmp_path / "a", image_root="")
    build_gallery(model, tmp_path / "pictures.zip", tmp_path / "b", image_root="")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "model", "pictures", "pictures.zip"]


def test_broken_files_are_skipped_counted_and_listed(model: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "suv" / "empty.jpg").write_bytes(b"")
    (pictures / "suv" / "cut.png").write_bytes((pictures / "suv" / "0000.png").read_bytes()[:200])
    (pictures / "suv" / "text.jpg").write_text("no picture")
    (pictures / "notes.txt").write_text("not meant to be one")
    report = build_gallery(model, pictures, tmp_path / "mine")
    assert (report.pictures, report.skipped) == (32, 3)
    with (tmp_path / "mine" / SKIPPED_FILE).open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file_name", "reason"]
    assert [row[0] for row in rows[1:]] == ["suv/cut.png", "suv/empty.jpg", "suv/text.jpg"]
    assert all(row[1] for row in rows[1:])


def test_a_zip_cannot_name_a_file_outside(model: Path, pictures: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        for number, name in enumerate(
            ["../../evil.png", "/etc/evil.png", "a\\..\\evil.png", "fine/one.png", "fine/two.png"]
        ):
            archive.writestr(name, (pictures / names_of(pictures)[number]).read_bytes())
    report = build_gallery(model, tmp_path / "hostile.zip", tmp_path / "mine")
    assert hub.load(tmp_path / "mine").gallery.file_names == ["fine/one.png", "fine/two.png"]
    assert report.skipped == 3


def test_adding_embeds_only_what_is_new(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, more = write_pictures(tmp_path / "few", 5), write_pictures(tmp_path / "few", 8)
    assert few == more
    for name in names_of(few):
        if Path(name).stem >= "0005":
            (tmp_path / "later" / name).parent.mkdir(parents=True, exist_ok=True)
            (few / name).rename(tmp_path / "later" / name)
    build_gallery(model, few, tmp_path / "grown", image_root="")
    decoded: list[str] = []
    whole = PictureSource._decode
    monkeypatch.setattr(
        PictureSource, "_decode", lambda self, name, processor: (decoded.append(name), whole(self, name, processor))[1]
    )
    for name in names_of(tmp_path / "later"):
        (tmp_path / "later" / name).rename(few / name)
    report = change_gallery(tmp_path / "grown", add=few)
    assert (report.pictures, report.added) == (32, 12)
    assert len(decoded) == 12
    build_gallery(model, few, tmp_path / "at_once", image_root="")
    grown, at_once = hub.load(tmp_path / "grown"), hub.load(tmp_path / "at_once")
    assert sorted(grown.gallery.file_names) == at_once.gallery.file_names
    assert torch.allclose(grown.ood.calibration_scores, at_once.ood.calibration_scores, rtol=1e-2, atol=1e-2)


def test_removing_takes_pictures_out_and_calibrates_anew(model: Path, pictures: Path, tmp_path: Path) -> None:
    build_gallery(model, pictures, tmp_path / "mine")
    gone = ["coupe/0001.png", "truck/0007.png"]
    report = change_gallery(tmp_path / "mine", remove=gone)
    mine = hub.load(tmp_path / "mine")
    assert (report.pictures, report.removed, report.calibration_size) == (30, 2, 30)
    assert mine.gallery.file_names == [name for name in names_of(pictures) if name not in gone]
    assert mine.search(pictures / gone[0], top_k=1).matches[0].file_name != gone[0]


def test_a_change_that_cannot_be_made_leaves_the_folder(model: Path, pictures: Path, tmp_path: Path) -> None:
    build_gallery(model, pictures, tmp_path / "mine")
    before = files_of(tmp_path / "mine")
    with pytest.raises(DataError, match="no pictures"):
        change_gallery(tmp_path / "mine", remove=["coupe/0001.png", "coupe/9999.png"])
    with pytest.raises(DataError, match="delete the folder"):
        change_gallery(tmp_path / "mine", remove=names_of(pictures))
    with pytest.raises(DataError, match="two pictures"):
        change_gallery(tmp_path / "mine", remove=names_of(pictures)[1:])
    assert files_of(tmp_path / "mine") == before
    with pytest.raises(GalleryError, match="build-gallery"):
        change_gallery(model, remove=["sedan/0000.png"])


def test_a_killed_build_goes_on_where_it_stopped(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(320):
        Image.fromarray(rng.integers(0, 255, (300, 300, 3), np.uint8)).save(
            folder / f"{number:04d}.png", compress_level=0
        )
    command = [
        sys.executable,
        "-m",
        "hub",
        "build-gallery",
        "--model",
        model,
        "--images",
        folder,
        "--out",
        tmp_path / "mine",
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 300
    while not (parts := list(tmp_path.glob(".mine.work-*/part-*.safetensors"))) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    parts = list(tmp_path.glob(".mine.work-*/part-*.safetensors"))
    assert 1 <= len(parts) < 5
    assert not (tmp_path / "mine").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "going on: " in done.stdout + done.stderr
    resumed = int((done.stdout + done.stderr).split("going on: ")[1].split()[0])
    assert resumed == 64 * len(parts)
    assert len(hub.load(tmp_path / "mine").gallery) == 320
    assert not list(tmp_path.glob(".mine*"))


def test_a_file_that_changed_meanwhile_is_embedded_again(model: Path, pictures: Path, tmp_path: Path) -> None:
    similarity, work = hub.load(model), tmp_path / "work"
    source = PictureSource(pictures)
    first = embed_source(source, source.file_names, similarity.model, similarity.processor, work=work, batch_size=8)
    changed = source.file_names[3]
    (pictures / changed).write_bytes((pictures / source.file_names[20]).read_bytes())
    (work / "part-000002.safetensors").write_bytes(b"damaged")
    again = embed_source(source, source.file_names, similarity.model, similarity.processor, work=work, batch_size=8)
    assert again.file_names == first.file_names
    assert torch.equal(again.embeddings[3], again.embeddings[20])
    rest = [place for place in range(32) if place != 3]
    assert torch.allclose(again.embeddings[rest], first.embeddings[rest], rtol=1e-3)


def test_the_calibration_sees_what_a_query_would(model: Path, pictures: Path, tmp_path: Path) -> None:
    """Each picture left out is measured as `VisualSimilarity.observe` measures it against the gallery without it."""
    build_gallery(model, pictures, tmp_path / "mine")
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    embedded = EmbeddedPictures.of_gallery(tmp_path / "mine", mine.gallery)
    places, evidence = leave_one_out_evidence(embedded)
    assert places == list(range(32))
    for place in places[::7]:
        squares = mine.processor.resize(Image.open(pictures / mine.gallery.file_names[place]).convert("RGB"))[None]
        others = mine.gallery.subset([other for other in places if other != place])
        seen = observe_images(mine, squares, gallery=others).evidence
        assert set(seen) == set(evidence)
        for name, values in seen.items():
            assert values.item() == pytest.approx(evidence[name][place].item(), rel=2e-3, abs=2e-3), name


def test_near_duplicates_are_left_out_together() -> None:
    embeddings = torch.eye(4)[[0, 0, 1, 2]] + 0.01
    thumbnails = torch.randint(0, 255, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    thumbnails[1] = thumbnails[0]
    pictures = EmbeddedPictures(["a", "b", "c", "d"], embeddings, {}, thumbnails)
    _, evidence = leave_one_out_evidence(pictures)
    assert evidence["top_distance"][:2].min() > 0.9  # not 0, the distance of each other


def test_the_rate_of_false_alarms_is_kept() -> None:
    """On exchangeable pictures: alarms on fresh ones stay at the stated rate, within three standard errors."""
    generator = torch.Generator().manual_seed(5)

    def draw(count: int) -> EmbeddedPictures:
        embeddings = torch.randn(count, 6, generator=generator)
        thumbnails = torch.randint(0, 255, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)
        return EmbeddedPictures([str(place) for place in range(count)], embeddings, {}, thumbnails)

    detector = OutOfDistributionDetector({"neighbour_distance": Term(1.0, 0.0, 1.0)}, threshold=0.0)
    known, fresh = draw(400), draw(1000)
    calibrated = calibrated_on(known, detector)
    cosines = torch.nn.functional.normalize(fresh.embeddings) @ torch.nn.functional.normalize(known.embeddings).T
    distances = 1 - cosines.topk(10, dim=1).values.mean(dim=1)
    alarms = [verdict.is_ood for verdict in calibrated.verdicts({"neighbour_distance": distances}, fresh.embeddings)]
    assert 0.01 < sum(alarms) / 1000 < 0.05 + 3 * (0.05 * 0.95 * (1 / 400 + 1 / 1000)) ** 0.5


def test_the_command_line(model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "mine")
    assert main(["build-gallery", "--model", str(model), "--images", str(pictures), "--out", out]) == 0
    assert "32 pictures" in capsys.readouterr().out
    listed = tmp_path / "gone.txt"
    listed.write_text("suv/0000.png\nsuv/0001.png\n")
    assert main(["build-gallery", "--out", out, "--remove-list", str(listed), "--remove", "suv/0002.png"]) == 0
    assert "29 pictures (0 added, 3 removed)" in capsys.readouterr().out
    assert main(["build-gallery", "--out", out, "--image-root", "https://example.org/pictures"]) == 0
    assert hub.load(out).gallery.image_root == "https://example.org/pictures"
    before = files_of(tmp_path / "mine")
    for wrong in (
        [],
        ["--images", str(pictures)],
        ["--model", str(model), "--remove", "suv/0003.png"],
        ["--model", str(model), "--images", str(pictures), "--add", str(pictures)],
        ["--remove-list", str(tmp_path / "missing.txt")],
    ):
        assert main(["build-gallery", "--out", out, *wrong]) == 2, wrong
        assert "Give --model and --images" in capsys.readouterr().err or "missing.txt" in wrong[-1], wrong
    assert files_of(tmp_path / "mine") == before
