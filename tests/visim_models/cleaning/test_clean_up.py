"""The whole way of `visim clean`: look, plan, report, apply, undo; what is kept, and what a second run looks at."""

import csv
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import drawn_picture, files_of, write_pictures
from visim_models import VisualSimilarity
from visim_models.cleaning import CleanUp, Plan, Wanted, survey_pictures
from visim_models.cli.__main__ import main
from visim_models.galleries import build
from visim_models.galleries.embed import Embedder


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def actions(plan: Plan, find: str) -> dict[str, str]:
    return {row.file_name: row.action for row in plan.rows if row.find == find}


def plan_for(photos: Path, parts: Embedder, **wanted: object) -> Plan:
    return CleanUp(survey_pictures(photos, parts), parts=parts).plan(Wanted(**wanted))  # type: ignore[arg-type]


# --- what the plan says


def test_the_best_of_a_group_stays(dirty: Path, parts: Embedder) -> None:
    plan = plan_for(dirty, parts, duplicates=True, at={"duplicates": 0.95})
    rows = [row for row in plan.rows if row.group == 1]
    assert {row.file_name: row.action for row in rows} == {
        "large.png": "remove", "one.png": "keep", "mirrored.png": "look", "suv/copy.png": "remove",
    }  # fmt: skip
    reasons = {row.file_name: row.reason for row in rows}
    assert reasons["one.png"] == "kept: nothing is added to it, and nothing is missing"
    assert reasons["large.png"] == "nearly the same picture: it is enlarged or noisy"
    assert rows[0].size == "64 x 64"
    assert rows[0].bytes == (dirty / "one.png").stat().st_size


def test_of_equal_files_the_one_in_the_shallowest_folder_stays(dirty: Path, parts: Embedder) -> None:
    (dirty / "large.png").unlink()
    (dirty / "mirrored.png").unlink()
    plan = plan_for(dirty, parts, duplicates=True)
    rows = [row for row in plan.rows if row.group == 1]
    assert [(row.file_name, row.action) for row in rows] == [("one.png", "keep"), ("suv/copy.png", "remove")]
    assert rows[0].reason == "kept: its folder is the shallowest"
    assert (rows[1].reason, rows[1].score) == ("the same file", 1.0)


def test_a_file_that_goes_anyway_is_not_the_one_that_stays(dirty: Path, parts: Embedder) -> None:
    plan = plan_for(dirty, parts, duplicates=True, like=[str(dirty / "large.png")], top=1)
    (gone,) = (row.file_name for row in plan.rows if row.reason == "looks like the examples")
    found = actions(plan, "duplicates")
    assert found[gone] == "remove"
    assert [found[name] for name in ("large.png", "one.png", "mirrored.png", "suv/copy.png")].count("keep") == 1
    assert plan.disputed == []


def test_a_group_that_goes_as_a_whole_names_no_copy_of_itself(dirty: Path, parts: Embedder) -> None:
    """Its best file is the same file as none of the others."""
    (dirty / "suv" / "copy.png").unlink()
    names = ("large.png", "one.png", "mirrored.png")
    plan = plan_for(dirty, parts, duplicates=True, like=[str(dirty / name) for name in names], at={"like": 0.99})
    rows = {row.file_name: row for row in plan.rows if row.find == "duplicates" and row.file_name in names}
    assert {row.action for row in rows.values()} == {"remove"}
    assert rows["one.png"].reason == "the best of its group, which another find removes"


def test_faulty_pictures(dirty: Path, parts: Embedder) -> None:
    Image.new("RGB", (4, 4), "blue").save(dirty / "tiny.png")
    Image.fromarray(drawn_picture(1, size=400)[:50]).save(dirty / "banner.png")
    (dirty / "empty.jpg").write_bytes(b"")
    (dirty / "odd\nname.png").write_bytes(b"x")
    plan = plan_for(dirty, parts, broken=True)
    assert actions(plan, "broken") == {"broken.jpg": "remove", "empty.jpg": "remove", "odd\\nname.png": "look"}
    assert actions(plan, "blank") == {"blank.png": "look", "tiny.png": "look"}
    assert actions(plan, "tiny") == {"tiny.png": "look"}
    assert actions(plan, "shape") == {"banner.png": "look"}


def test_strange_pictures_are_listed_and_kept(photos: Path, parts: Embedder) -> None:
    write_pictures(photos, 8, size=64)
    Image.new("RGB", (64, 64), (255, 0, 255)).save(photos / "strange.png")
    found = actions(plan_for(photos, parts, strange=True), "strange")
    assert set(found.values()) <= {"look"}
    assert len(found) <= 3


def test_leaks_remove_here_and_never_there(dirty: Path, parts: Embedder, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        archive.write(dirty / "one.png", "held/out.png")
        archive.write(dirty / "suv" / "0001.png", "held/suv.png")
    other = survey_pictures(tmp_path / "test.zip", parts)
    plan = CleanUp(survey_pictures(dirty, parts), parts=parts).plan(Wanted(), leaks=[other])
    removed = {row.file_name for row in plan.removed}
    assert {"suv/0001.png"} < removed
    assert removed & {"one.png", "suv/copy.png", "large.png", "mirrored.png"}
    assert {row.action for row in plan.rows if row.root == other.root} == {"keep"}


def test_added_pictures_are_the_ones_that_go(photos: Path, parts: Embedder, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    Image.open(photos / "suv" / "0000.png").resize((48, 48)).save(more / "copy.png")
    Image.open(photos / "suv" / "0001.png").resize((256, 256)).save(more / "larger.png")
    Image.fromarray(drawn_picture(999, size=64)).save(more / "new.png")
    first, added = survey_pictures(photos, parts), survey_pictures(more, parts)
    plan = CleanUp(added, kept=first, parts=parts).plan(Wanted(duplicates=True))
    assert [row.file_name for row in plan.removed] == ["copy.png"]
    found = {row.file_name: row for row in plan.rows}
    assert found["suv/0000.png"].action == found["suv/0001.png"].action == "keep"
    assert found["larger.png"].action == "look"
    assert found["larger.png"].reason == (
        "it is larger, though not more detailed, than the one that is kept (256 x 256, 64 x 64)"
    )


# --- looking again


def test_only_new_and_changed_files_are_looked_at_again(photos: Path, parts: Embedder, tmp_path: Path) -> None:
    kept = tmp_path / "survey"
    first = survey_pictures(photos, parts, kept=kept)
    assert (len(first.pictures or ()), first.reused) == (20, 0)
    Image.fromarray(drawn_picture(500, size=64)).save(photos / "new.png")
    Image.fromarray(drawn_picture(501, size=80)).save(photos / "suv" / "0000.png")
    (photos / "suv" / "0001.png").unlink()
    again = survey_pictures(photos, parts, kept=kept)
    assert (len(again.pictures or ()), again.reused) == (20, 18)
    fresh = survey_pictures(photos, parts)
    assert again.pictures is not None
    assert fresh.pictures is not None
    assert again.pictures.file_names == fresh.pictures.file_names
    for name, array in fresh.pictures.arrays.items():
        assert (array == again.pictures[name]).all() or name == "embeddings"


def test_a_damaged_part_is_done_again(photos: Path, parts: Embedder, tmp_path: Path) -> None:
    kept = tmp_path / "survey"
    survey_pictures(photos, parts, kept=kept)
    for path in kept.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    again = survey_pictures(photos, parts, kept=kept)
    assert (len(again.pictures or ()), again.reused) == (20, 0)


# --- the command


def test_from_pictures_to_a_clean_set_and_back(
    dirty: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(dirty)
    assert run("clean", dirty, "--model", model, "--out", "clean") == 0
    printed = capsys.readouterr()
    assert "looking" in printed.err  # progress
    assert "26 picture files, 0 of them known" in printed.out
    assert re.search(r"memory: \d+\.\d GB at most", printed.out)
    plan = Plan.read(tmp_path / "clean" / "plan.csv")
    assert {"broken.jpg", "suv/copy.png"} <= {row.file_name for row in plan.removed}
    assert files_of(dirty) == before

    assert run("clean", "--apply", "clean/plan.csv") == 0
    assert "add --yes" in capsys.readouterr().out
    assert files_of(dirty) == before
    assert run("clean", "--apply", "clean/plan.csv", "--yes") == 0
    (undo,) = re.findall(r"--undo (\S+)", capsys.readouterr().out)
    assert len(files_of(dirty)) == len(before) - len(plan.removed)
    assert run("clean", "--undo", undo) == 0
    assert f"{len(plan.removed)} files are back" in capsys.readouterr().out
    assert files_of(dirty) == before


def test_an_edited_plan_is_kept_when_another_is_made(
    dirty: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("clean", dirty, "--model", model, "--out", "clean", "--duplicates") == 0
    path = tmp_path / "clean" / "plan.csv"
    path.write_text(edited := path.read_text().replace("remove", "keep"))
    assert run("clean", dirty, "--model", model, "--out", "clean", "--duplicates", "--at", "0.8") == 0
    assert (tmp_path / "clean" / "plan-edited-1.csv").read_text() == edited
    assert "26 picture files, 25 of them known from before" in capsys.readouterr().out
    assert "remove" not in path.read_text()  # what a person has decided stands


def test_a_gallery_is_cleaned_without_its_network(
    dirty: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(dirty, tmp_path / "mine", model=model, progress=False)
    before = VisualSimilarity.from_pretrained(tmp_path / "mine").gallery

    def forbidden(*_: object) -> None:
        raise AssertionError("a picture was embedded again")

    with monkeypatch.context() as patched:
        patched.setattr("visim_models.models.torch_network.TorchNetwork.embed", forbidden)
        assert run("clean", tmp_path / "mine", "--out", "clean", "--duplicates") == 0
    monkeypatch.setattr("visim_models.galleries.embed.measure_network", forbidden)
    assert run("clean", "--apply", "clean/plan.csv", "--yes", "--gallery", tmp_path / "mine") == 0
    removed = {row.file_name for row in Plan.read("clean/plan.csv").removed}
    after = VisualSimilarity.from_pretrained(tmp_path / "mine").gallery
    assert set(before.file_names) - set(after.file_names) == removed != set()
    name = after.file_names[0]
    assert (after.embeddings[0] == before.embeddings[before.index_of(name)]).all()


def test_a_zip_is_looked_at_and_not_changed(
    dirty: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in files_of(dirty):
            archive.write(dirty / name, name)
    before = (tmp_path / "photos.zip").read_bytes()
    assert run("clean", "photos.zip", "--model", model, "--out", "clean", "--duplicates") == 0
    assert run("clean", "--apply", "clean/plan.csv", "--yes") == 0
    assert "are in a zip or at an address and stay" in capsys.readouterr().out
    assert (tmp_path / "photos.zip").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name PICTURES"),
        (["photos", "--apply", "plan.csv"], "one of them"),
        (["photos", "--not-like", "x.png"], "goes with --like"),
        (["photos", "--top", "3"], "goes with --like"),
        (["photos", "--duplicates", "--at", "much"], "must be a number"),
        (["photos", "--at", "nothing=0.5"], "must be a number"),
        (["photos", "--duplicates", "--at", "duplicates=0.9", "leaks=0.9"], "--leaks was not asked for"),
        (["photos", "--like", "nothing.png"], "nothing.png"),
        (["photos", "--out", "photos/inside"], "is in the input"),
        (["photos", "--out", "mine"], "did not write"),
        (["nothing"], "nothing"),
        (["--apply", "nothing.csv"], "cannot be read"),
        (["--undo", "nothing.jsonl"], "no journal"),
    ],
)
def test_mistakes_are_one_line(
    arguments: Sequence[str],
    message: str,
    photos: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    before = files_of(photos)
    model_option = ["--model", model] if arguments[:1] == ["photos"] else []
    assert run("clean", *arguments, *model_option) == 2
    last = capsys.readouterr().err.strip().split("\n")[-1]
    assert last.startswith("error: ")
    assert message in last
    assert files_of(photos) == before


def test_the_plan_opens_as_a_table(dirty: Path, model: Path, tmp_path: Path) -> None:
    assert run("clean", dirty, "--model", model, "--out", "clean") == 0
    with (tmp_path / "clean" / "plan.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[1:7] == ["action", "file", "find", "group", "score", "reason"]
    assert all(row["action"] in ("keep", "look", "remove") and row["reason"] for row in rows)
