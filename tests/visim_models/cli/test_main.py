"""The command `visim`: what it prints, its exit status, and that every mistake is one line."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import files_of, tiny_repo, write_pictures
from tests.processes import ROOT, run_program
from visim_models import OutOfDistributionDetector, VisimError, VisualSimilarity
from visim_models.cli.__main__ import main
from visim_models.galleries.calibration import summary
from visim_models.galleries.embed import Embedder
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import EMBEDDINGS, WEIGHTS
from visim_models.repo_folder.metrics import Metrics


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_repo(tmp_path / "model")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 5)


@pytest.fixture
def mine(model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run("build", pictures, "--out", tmp_path / "mine", "--model", model) == 0
    capsys.readouterr()
    return tmp_path / "mine"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line on standard error, which must be the only one besides progress bars, and no traceback."""
    printed = capsys.readouterr()
    assert printed.out == ""
    *bars, last = printed.err.strip().split("\n")
    assert last.startswith("error: ")
    assert not [line for line in bars if "%|" not in line]
    return last


# --- build


def test_build_says_what_it_made(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.png").write_text("no picture")
    out = tmp_path / "mine"
    assert run("build", pictures, "--out", out, "--model", model) == 0
    printed = capsys.readouterr()
    assert f"{out}: 20 pictures (20 added), which are looked up under {pictures}" in printed.out
    assert 'Every query gets "cannot tell"' in printed.out  # a network that was never trained misses what is strange
    assert f"1 file left out, with the reasons in {out / 'skipped.csv'}" in printed.out
    assert "embedding" in printed.err  # progress
    assert len(VisualSimilarity.from_pretrained(out).gallery) == 20


def test_what_a_build_takes_is_chosen_and_what_it_leaves_is_counted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = write_pictures(tmp_path / "pictures", 3, classes=("a", "b"))
    for folder in ("@eaDir", ".thumbnails"):
        shutil.copytree(pictures / "a", pictures / folder)
    (pictures / "a" / "IMG_1.CR2").write_bytes(b"II*\0\x10\0\0\0CR\2\0")
    (pictures / "a" / "IMG_2.CR2").write_bytes(b"II*\0\x10\0\0\0CR\2\0")
    (pictures / "a" / "IMG_3.png").write_bytes(b"8BPS\0\1")
    Image.new("RGB", (60, 50)).save(pictures / "a" / "large.png")
    out = tmp_path / "mine"
    assert run("build", pictures, "--out", out, "--model", model, "--exclude", "b", "--max-pixels", 2500) == 0
    printed = capsys.readouterr().out
    assert f"{out}: 3 pictures" in printed
    assert "3 files of kinds that visim does not read: 2 CR2, 1 PSD" in printed
    assert "9 picture files left out" in printed
    assert "--all takes them" in printed
    with (out / "skipped.csv").open(newline="", encoding="utf-8") as file:
        reasons = {row["file_name"]: row["reason"] for row in csv.DictReader(file)}
    assert sorted(reasons) == ["a/IMG_1.CR2", "a/IMG_2.CR2", "a/IMG_3.png", "a/large.png"]
    assert "Develop it" in reasons["a/IMG_1.CR2"]
    assert "is too large: 60 x 50" in reasons["a/large.png"]
    assert reasons["a/large.png"].endswith(".")  # to the end
    assert run("build", pictures, "--out", tmp_path / "all", "--model", model, "--all") == 0
    assert f"{tmp_path / 'all'}: 13 pictures" in capsys.readouterr().out


def test_a_gallery_too_small_for_a_verdict_says_so(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_pictures(tmp_path / "few", 2)
    assert run("build", few, "--out", tmp_path / "mine", "--model", model) == 0
    assert "8 pictures are too few for a verdict" in capsys.readouterr().out
    assert run("search", tmp_path / "mine", few / "suv" / "0000.png") == 0
    assert "cannot tell" in capsys.readouterr().out


def test_changing_a_gallery(mine: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = tmp_path / "sold.txt"
    listed.write_text("# sold in May\n\nsuv/0000.png\r\nsuv/9999.png\n", encoding="utf-8")
    assert run("build", "--out", mine, "--remove-list", listed, "--remove", "suv/0001.png") == 0
    printed = capsys.readouterr().out
    assert "18 pictures (2 removed)" in printed
    assert "1 name to remove not in the gallery: suv/9999.png" in printed
    others = write_pictures(tmp_path / "others", 1, seed=4)
    assert run("build", "--out", mine, "--add", others) == 0
    printed = capsys.readouterr().out
    assert "19 pictures (1 added)" in printed
    assert "3 pictures with other content now stayed as before" in printed
    assert run("build", "--out", mine, "--image-root", "https://example.org/pictures") == 0
    assert "looked up under https://example.org/pictures" in capsys.readouterr().out


def test_options_add_up_or_are_refused_and_none_is_lost(
    mine: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "--out", mine, "--remove", "suv/0000.png", "--remove", "suv/0001.png") == 0
    assert "18 pictures (2 removed)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run("build", "--out", mine, "--add", pictures, "--add", pictures)
    assert "argument --add: is given twice: give it once" in capsys.readouterr().err


def test_building_again_needs_no_model_and_removes_only_with_sync(
    mine: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", pictures, "--out", mine) == 0
    assert "20 pictures (nothing changed)" in capsys.readouterr().out
    (pictures / "suv" / "0000.png").unlink()
    (pictures / "suv" / "0001.png").rename(pictures / "suv" / "renamed.png")
    before = files_of(mine)
    assert run("build", pictures, "--out", mine) == 2
    assert "suv/0000.png" in (line := error_of(capsys))
    assert "--sync" in line
    assert files_of(mine) == before
    assert run("build", pictures, "--out", mine, "--sync") == 0
    assert "19 pictures (1 renamed, 1 removed)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name PICTURES"),
        (["--model", "car-extractor"], "go with PICTURES"),
        (["--sync"], "go with PICTURES"),
        (["{pictures}", "--add", "{pictures}"], "leave --add"),
        (["{pictures}", "--remove", "suv/0000.png"], "leave --add"),
        (["--remove-list", "missing.txt"], "missing.txt cannot be read"),
        (["--add", "missing"], "missing"),
        (["missing"], "missing"),
        (["{pictures}", "--model", "missing/./model"], "missing/./model"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(
    arguments: list[str], message: str, mine: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(mine)
    assert run("build", *(part.format(pictures=pictures) for part in arguments), "--out", mine) == 2
    assert message in error_of(capsys)
    assert files_of(mine) == before


def test_a_new_gallery_is_of_the_general_network(
    pictures: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    load = Embedder.load
    monkeypatch.setattr(Embedder, "load", lambda source, **options: (asked.append(source), load(model, **options))[1])
    assert run("build", pictures, "--out", tmp_path / "mine") == 0
    assert asked == ["general-extractor"]


def test_the_check_measures_the_figures_of_a_build_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command that the figures name, in the folder that has them."""
    pictures = write_pictures(tmp_path / "many", 10)
    mine = tmp_path / "mine"
    assert run("build", pictures, "--out", mine, "--model", model) == 0
    stated = Metrics.read(RepoFolder(mine))
    assert stated.command == "visim check ."
    capsys.readouterr()
    assert run("check", mine) == 0
    check = OutOfDistributionDetector.load(RepoFolder(mine)).check
    assert check == {figure.name.rpartition("_")[2]: figure.value / 100 for figure in stated.figures}
    assert capsys.readouterr().out == summary(check) + "\n"


def test_a_described_gallery(model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    (tmp_path / "t.csv").write_text("file_name,price\n" + "".join(f"{name},{len(name)}\n" for name in names))
    words = ["--title", "Oak", "--one", "a chair", "--many", "chairs", "--show", "price"]
    arguments = [pictures, "--out", tmp_path / "mine", "--model", model, "--metadata", tmp_path / "t.csv", *words]
    assert run("build", *arguments) == 0
    gallery = VisualSimilarity.from_pretrained(tmp_path / "mine").gallery
    assert (gallery.about.title, gallery.about.columns) == ("Oak", ("price",))
    assert "The verdict finds" in capsys.readouterr().out
    assert run("build", "--out", tmp_path / "mine", "--description", "Fine chairs.") == 0
    assert VisualSimilarity.from_pretrained(tmp_path / "mine").gallery.about.description == "Fine chairs."
    capsys.readouterr()
    assert run("build", "--out", tmp_path / "mine", "--link", "url") == 2
    assert "'url'" in error_of(capsys)


def test_photographs_are_not_replaced_by_their_gallery(
    model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(pictures)
    assert run("build", pictures, "--out", pictures, "--model", model) == 2
    assert "is the input" in error_of(capsys)
    assert files_of(pictures) == before


def test_an_interruption_is_no_traceback(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("visim_models.cli.build.update", interrupted)
    assert run("build", "--out", mine, "--image-root", "") == 130
    assert capsys.readouterr().err == "interrupted\n"


# --- search and info


def test_search_prints_matches_and_verdict(mine: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = pictures / "suv" / "0001.png"
    assert run("search", mine, query) == 0
    first, best, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{query}: cannot tell (p = ")  # the network was never trained
    assert best.split() == ["100", "%", "suv/0001.png", "(suv)"]
    assert len(others) == 3
    assert run("search", mine, query, "--top-k", "7") == 0
    assert len(capsys.readouterr().out.splitlines()) == 8


def test_search_prints_json_and_goes_on_after_a_broken_picture(
    mine: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    queries = [pictures / "suv" / "0001.png", tmp_path / "broken.png", pictures / "sedan" / "0002.png"]
    assert run("search", mine, *queries, "--json", "--top-k", "2") == 2
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert [each.pop("picture") for each in found] == [str(queries[0]), str(queries[2])]
    results = VisualSimilarity.from_pretrained(mine).search_batch(queries, top_k=2, on_error="skip")
    assert found == [result.to_dict() for result in results if not isinstance(result, VisimError)]
    assert [line for line in printed.err.splitlines() if line.startswith("error: ") and "broken.png" in line]


def test_a_label_that_is_not_there_and_a_folder_that_is_no_gallery(
    mine: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = pictures / "suv" / "0000.png"
    assert run("search", mine, query, "--label", "nothere") == 2
    assert re.search("no picture of the gallery has the label 'nothere': its labels are .*suv", error_of(capsys))
    assert run("search", pictures, query) == 2
    assert f"visim build {pictures} --out my-gallery" in error_of(capsys)


def test_matches_by_a_filter_and_from_a_score_on(
    mine: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = pictures / "suv" / "0001.png"
    assert run("search", mine, query, "--where", "label in ['suv', 'truck'] and not label == 'truck'", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [match["label"] for match in found["matches"]] == ["suv"] * 4
    assert run("search", mine, query, "--at-least", "0.99999", "--json") == 0
    assert [match["percent"] for match in json.loads(capsys.readouterr().out)["matches"]] == [100]
    assert run("search", mine, query, "--at-least", "-1", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["matches"]) == 20
    assert run("search", mine, query, "--where", "price < 3") == 2
    assert "no column 'price'" in error_of(capsys)


def test_two_pictures_are_compared(mine: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = pictures / "suv" / "0001.png", pictures / "sedan" / "0002.png"
    assert run("compare", mine, one, one) == 0
    assert capsys.readouterr().out.splitlines()[::3][:1] == ["100 % alike (score 1.000)"]
    assert run("compare", mine, one, other, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["is_copy"] is False
    assert 0 <= found["share_below"] <= 1


def test_a_small_gallery_is_searched_whole(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = write_pictures(tmp_path / "few", 1, classes=["a", "b", "c"])
    assert run("build", few, "--out", tmp_path / "mine", "--model", model) == 0
    capsys.readouterr()
    assert run("search", tmp_path / "mine", few / "a" / "0000.png") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert run("search", tmp_path / "mine", few / "a" / "0000.png", "--top-k", "0") == 2
    assert "a whole number from 1 on" in error_of(capsys)


def test_info_shows_what_a_repo_holds(mine: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", mine) == 0
    printed = capsys.readouterr().out
    assert "convolutional-autoencoder" in printed
    assert "8 x 8 pixels" in printed
    assert "20 pictures, embeddings of 32 numbers" in printed
    assert "4: coupe 5, sedan 5, suv 5, truck 5" in printed
    assert str(pictures) in printed
    assert "5 % false alarms, calibrated on 20 pictures" in printed
    for name in (WEIGHTS, EMBEDDINGS):
        size = f"{(mine / name).stat().st_size:,} bytes"
        assert [line for line in printed.splitlines() if line.split()[0] == name and size in line
                and RepoFolder(mine).sha256(name) in line]  # fmt: skip


def test_info_of_a_folder_that_is_no_repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", tmp_path) == 2
    assert "no visim repo" in error_of(capsys)


# --- the command itself


@pytest.mark.parametrize("command", ["build", "search", "info", "check"])
def test_help_says_something_of_each_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(command, "--help")
    printed = capsys.readouterr().out
    assert f"visim {command} " in printed.split("examples:")[1]
    options = re.split(r"\n  (?=-)", printed.split("options:")[1].split("examples:")[0])
    assert len(options) > 1
    for option in options[1:]:
        assert len(option.split()) >= 5, option


@pytest.mark.parametrize(("with_hub", "status"), [(True, 0), (False, 2)])
def test_short_names_need_the_checkout(with_hub: bool, status: int, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "visim_models", tmp_path / "visim_models", ignore=shutil.ignore_patterns("__pycache__"))
    if with_hub:
        for name in ("hub", "pyproject.toml"):
            (tmp_path / name).symlink_to(ROOT / name)
    script = f"""
import os, sys
sys.path[:] = [{str(tmp_path)!r}, *(path for path in sys.path if not os.path.exists(os.path.join(path, "hub")))]
from visim_models.cli.__main__ import main
sys.exit(main(["info", "car-extractor"]))
"""
    done = run_program(script, cwd=tmp_path, environment={"VISIM_NAMESPACE": ""})
    assert done.returncode == status, done.stderr
    if with_hub:
        assert "car-classifier" in done.stdout
    else:
        assert done.stderr.startswith("error: 'car-extractor' is neither a folder here nor a bundled repo")
        assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_gone_is_no_error(mine: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "visim_models.cli.__main__", "info", mine],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()  # as `head` does when it has seen enough
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=300) == 0


# --- clean


def test_folders_as_people_have_them_are_cleaned_where_they_stand(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in ("2023.08", "2023.09"):
        write_pictures(tmp_path / month, 3, classes=("a",))
        shutil.copytree(tmp_path / month / "a", tmp_path / month / ".Trash-1000" / "files")
        (tmp_path / month / "IMG_1.NEF").write_bytes(b"MM\0*\0\0\0\x08")
    monkeypatch.chdir(tmp_path)
    for month in ("2023.08", "2023.09"):
        assert run("clean", month, "--duplicates", "--model", model) == 0
        assert (tmp_path / f"{month}-clean" / "plan.csv").is_file()
        printed = capsys.readouterr().out
        assert "(0 files to remove" in printed  # and not the ones whose copies are in the trash
        assert "1 file of kinds that visim does not read: 1 NEF" in printed
        assert "3 picture files left out" in printed
    monkeypatch.chdir(tmp_path / "2023.08" / "a")
    assert run("clean", "..", "--duplicates", "--model", model, "--out", tmp_path / "other") == 0
    monkeypatch.chdir(tmp_path / "2023.09")
    assert run("clean", ".", "--duplicates", "--model", model) == 0
    assert not (tmp_path / "2023.09" / "2023.09-clean").exists()
