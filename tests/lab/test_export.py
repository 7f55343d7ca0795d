"""The command that exports: held-out pictures are found by content, whatever folder or name they come in."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lab.data import hashes_of, load_images
from lab.export import main
from lab.fitting import measure_images
from lab.run import TrainingRecord
from lab.splits import Split, not_held_out
from lab.train import main as train
from tests.builders import drawn_picture, edit_json, files_of, write_pictures
from tests.processes import run_program
from visim_models import DataError, ImageProcessor, VisualSimilarity
from visim_models.repo_folder.formats import read_json, write_json

pytestmark = pytest.mark.usefixtures("tiny_article")


@pytest.fixture(autouse=True)
def _draw_few_outliers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.data._PER_KIND", 5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "cars", 50, size=40)


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "autoencoder"
    assert train(["autoencoder", "--data", str(pictures), "--out", str(out), "--epochs", "1", "--device", "cpu"]) == 0
    return out


def export(run: Path, gallery: Path, out: Path, *more: str) -> int:
    return main(["--run", str(run), "--gallery", str(gallery), "--out", str(out), *more])


@pytest.fixture(scope="module")
def repo(run: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repos") / "repo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.data._PER_KIND", 5)
        assert export(run, pictures, out) == 0
    return out


def test_what_a_repo_has(repo: Path, run: Path) -> None:
    assert set(files_of(repo)) == {
        "config.json", "model.safetensors", "preprocessor_config.json", "gallery/metadata.csv",
        "gallery/embeddings.safetensors", "ood.json", "ood.safetensors", "match_probability.json", "split.csv",
        "training.json", "losses.csv",
    }  # fmt: skip
    for name in ("split.csv", "losses.csv"):
        assert (repo / name).read_bytes() == (run / name).read_bytes()


def test_it_can_be_searched(repo: Path, pictures: Path) -> None:
    found = VisualSimilarity.from_pretrained(repo)
    assert len(found.gallery) == 200
    match = found.search(pictures / found.gallery.file_names[17], top_k=1).matches[0]
    assert (match.file_name, match.percent) == (found.gallery.file_names[17], 100)


def test_what_the_card_is_written_from(repo: Path, run: Path) -> None:
    training = read_json(repo / "training.json")
    assert training["sources"] == read_json(run / "run.json")["sources"]
    assert training["split_sha256"] == Split.read(repo / "split.csv").sha256
    assert {row["part"] for row in training["outliers"]} == {"fit"}
    assert "about" not in training
    assert TrainingRecord.read(repo / "training.json").recipe == "article"


def test_calibration_pictures_are_compared_with_the_learnt_ones_alone(repo: Path, pictures: Path) -> None:
    found, split = VisualSimilarity.from_pretrained(repo), Split.read(repo / "split.csv")
    images = load_images(pictures, found.processor, quiet=True)
    assert images.file_names == found.gallery.file_names
    hashes = hashes_of(images)
    known = found.gallery.subset(split.indices(hashes, ["train"]))
    calibration = images.subset(split.indices(hashes, ["calibration"]))
    measured = measure_images(calibration, network=found.network, processor=found.processor, gallery=known)
    assert measured.measured["top_distance"].min() > 1e-4  # none is compared with itself
    expected = np.sort(found.ood.score(measured.measured, measured["embeddings"]))
    np.testing.assert_allclose(found.ood.calibration_scores, expected, atol=2e-3, rtol=1e-3)


def renamed(source: Path, target: Path) -> Path:
    for number, path in enumerate(sorted(source.rglob("*.png"))):
        (target / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / path.parent.name / f"photo {number}.png")
    return target


def encoded_again(source: Path, target: Path) -> Path:
    """The same pictures in files of another content: other hashes, the same embeddings."""
    for path in sorted(source.rglob("*.png")):
        (target / path.parent.name).mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            picture.save(target / path.parent.name / path.name, compress_level=1)
        assert (target / path.parent.name / path.name).read_bytes() != path.read_bytes()
    return target


def zipped(source: Path, target: Path) -> Path:
    archive = target.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(source.rglob("*.png")):
            file.write(path, path.relative_to(source).as_posix())
    return archive


@pytest.mark.parametrize("copied", [shutil.copytree, renamed, zipped, encoded_again])
def test_a_copy_of_the_training_data_calibrates_alike(
    copied: Callable[[Path, Path], Path], repo: Path, run: Path, pictures: Path, tmp_path: Path
) -> None:
    """Found by path, no held-out picture would be in the copy: each would be compared with itself, at distance 0."""
    gallery = Path(copied(pictures, tmp_path / "copy"))
    assert export(run, gallery, tmp_path / "repo") == 0
    alike, original = (VisualSimilarity.from_pretrained(folder).ood for folder in (tmp_path / "repo", repo))
    np.testing.assert_allclose(alike.calibration_scores, original.calibration_scores, atol=2e-3, rtol=1e-3)


def test_no_held_out_picture_is_among_those_that_are_compared_with(run: Path, pictures: Path) -> None:
    shown = load_images(pictures, ImageProcessor(size=32), quiet=True)
    split = Split.read(run / "split.csv")
    held_out = shown.subset(
        [index for index, sha256 in enumerate(hashes_of(shown)) if split.part_of(sha256) != "train"]
    )
    known = not_held_out(shown, held_out, split)
    assert {split.part_of(hashes_of(shown)[index]) for index in known} == {"train"}
    assert len(known) == len(shown) - len(held_out)
    with pytest.raises(DataError, match="only held-out"):
        not_held_out(held_out, held_out, split)


def test_copies_of_a_calibration_picture_count_once(repo: Path, run: Path, pictures: Path, tmp_path: Path) -> None:
    doubled = Path(shutil.copytree(pictures, tmp_path / "doubled"))
    for path in pictures.rglob("*.png"):
        shutil.copyfile(path, doubled / path.parent.name / f"copy of {path.name}")
    assert export(run, pictures, tmp_path / "repo", "--data", str(doubled)) == 0
    assert (tmp_path / "repo" / "ood.json").read_bytes() == (repo / "ood.json").read_bytes()


def test_a_gallery_of_other_pictures_is_compared_with_whole(run: Path, tmp_path: Path) -> None:
    others = write_pictures(tmp_path / "others", 5, size=40, seed=9)
    assert export(run, others, tmp_path / "repo") == 0
    assert len(VisualSimilarity.from_pretrained(tmp_path / "repo").gallery) == 20


def test_a_run_whose_split_is_not_the_models(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the old command left it when it was interrupted with another seed."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    other = tmp_path / "other"
    arguments = ["autoencoder", "--data", str(pictures), "--out", str(other), "--epochs", "1", "--device", "cpu"]
    assert train([*arguments, "--seed", "1"]) == 0
    for name in ("run.json", "split.csv"):
        shutil.copyfile(other / name, copy / name)
    capsys.readouterr()
    assert export(copy, pictures, tmp_path / "repo") == 2
    assert "another split" in capsys.readouterr().err
    assert not (tmp_path / "repo").exists()


def test_a_split_that_is_not_the_runs(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    text = (copy / "split.csv").read_text()
    (copy / "split.csv").write_text(text.replace(",train,", ",calibration,", 1))
    assert export(copy, pictures, tmp_path / "repo") == 2
    assert "split.csv" in capsys.readouterr().err


def test_an_unfinished_run(run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(copy / "model")
    assert export(copy, pictures, tmp_path / "repo") == 2
    assert "no model yet" in capsys.readouterr().err


def test_training_data_that_moved(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, moved = Path(shutil.copytree(run, tmp_path / "run")), renamed(pictures, tmp_path / "moved")
    sources = read_json(copy / "run.json")["sources"]
    sources[0]["source"] = str(tmp_path / "gone")
    edit_json(copy / "run.json", sources=sources)
    assert export(copy, pictures, tmp_path / "repo") == 2
    assert "--data" in capsys.readouterr().err
    next(moved.rglob("*.png")).rename(tmp_path / "elsewhere.png")
    assert export(copy, pictures, tmp_path / "repo", "--data", str(moved)) in (0, 2)
    for path in moved.rglob("*.png"):
        path.unlink()
    write_pictures(moved, 2)
    assert export(copy, pictures, tmp_path / "repo2", "--data", str(moved)) == 2
    assert "--data" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["gallery", "in gallery", "run", "in run", "above"])
def test_an_output_in_its_input_is_refused_before_the_work(
    place: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    gallery, copy = write_pictures(home / "pics", 1), Path(shutil.copytree(run, home / "run"))
    out = home / {"gallery": "pics", "in gallery": "pics/repo", "run": "run", "in run": "run/repo", "above": ""}[place]
    before = files_of(tmp_path)
    monkeypatch.setattr("lab.export.load_images", None)
    assert export(copy, gallery, out) == 2
    assert "input" in capsys.readouterr().err
    assert files_of(tmp_path) == before


def test_a_folder_of_somebody_else_is_refused(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert export(run, pictures, tmp_path) == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert set(files_of(tmp_path)) == {"thesis.txt"}


def test_exporting_again_drops_what_is_of_the_old_repo_and_keeps_the_rest(
    repo: Path, run: Path, pictures: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(repo, tmp_path / "repo"))
    for name in ("metrics.json", "plots/losses.png", "skipped.csv", "notes.txt", "gallery/about.json"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("{}")
    assert export(run, pictures, copy) == 0
    assert set(files_of(copy)) == {*files_of(repo), "notes.txt", "gallery/about.json"}


def test_texts_of_the_maker(run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(tmp_path / "about.json", {"title": "Mine", "license": "MIT", "limits": ["few"]})
    more = ["--about", str(tmp_path / "about.json"), "--image-root", "https://example.org/pictures/"]
    assert export(run, pictures, tmp_path / "repo", *more) == 0
    about = read_json(tmp_path / "repo" / "training.json")["about"]
    assert (about["title"], about["license"], about["limits"], about["origin"]) == ("Mine", "MIT", ["few"], [])
    assert VisualSimilarity.from_pretrained(tmp_path / "repo").gallery.image_root == "https://example.org/pictures/"
    write_json(tmp_path / "about.json", {"licence": "MIT"})
    assert export(run, pictures, tmp_path / "repo", *more) == 2
    assert "licence" in capsys.readouterr().err


def test_exporting_what_is_no_run(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path, pictures, tmp_path.parent / "out") == 2
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path.parent / "out").exists()


def test_exporting_twice_gives_the_same_bytes(run: Path, pictures: Path, tmp_path: Path) -> None:
    """Also in another process."""
    assert export(run, pictures, tmp_path / "one", "--limit", "4") == 0
    arguments = ["--limit", "4", "--run", str(run), "--gallery", str(pictures)]
    code = "import lab.data as o, lab.export as e, sys; o._PER_KIND = 5; sys.exit(e.main())"
    done = run_program(code, *arguments, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "by the content" in text
    assert all(len(part) > 40 for part in text.split("\n  --")[1:])


REAL = {
    "cifar10-autoencoder": ("autoencoder", "cifar10/train.zip", 260),
    "car-extractor": ("car-classifier", "cars/photos.zip", 60),
}


@pytest.mark.parametrize("recipe", REAL)
def test_train_export_reload_and_search_on_real_pictures(recipe: str, shared_data: Path, tmp_path: Path) -> None:
    task, source, limit = REAL[recipe]
    data = shared_data / source
    others = ["--outliers", str(shared_data / "not_cars" / "caltech101.zip")]
    size = ["--limit", str(limit)]
    arguments = [task, "--recipe", recipe, "--data", str(data), "--out", str(tmp_path / "run"), "--epochs", "1", *size]
    assert train([*arguments, *(others if task == "car-classifier" else [])]) == 0
    assert export(tmp_path / "run", data, tmp_path / "repo", *size, *others) == 0
    found = VisualSimilarity.from_pretrained(tmp_path / "repo")
    assert len(found.gallery) == limit
    result = found.search(drawn_picture(1), top_k=3)
    assert len(result.matches) == 3
    assert 0 < result.ood.p_value <= 1
