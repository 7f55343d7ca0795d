"""The only copy of a picture is never moved away: not by folders in folders, links, limits, or a copy that is gone."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import files_of
from visim_models import DataError
from visim_models.cleaning import CleanUp, Plan, Wanted, survey_pictures
from visim_models.cleaning.plan import PlanRow
from visim_models.cli.__main__ import main
from visim_models.galleries.embed import Embedder
from visim_models.images import decode

PlanOf = Callable[..., Plan]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("option", "pictures", "other"),
    [("--add", "photos", "photos/suv"), ("--leaks", "photos", "photos/suv"), ("--leaks", "photos", "photos"),
     ("--add", "photos/suv", "photos"), ("--leaks", "photos", "linked")],
)  # fmt: skip
def test_folders_that_hold_the_same_files_are_refused(
    option: str, pictures: str, other: str, photos: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = photos.parent
    (parent / "linked").symlink_to(photos / "suv", target_is_directory=True)
    out = parent / "out"
    assert run("clean", parent / pictures, option, parent / other, "--model", model, "--out", out) == 2
    assert "hold the same files" in capsys.readouterr().err
    assert not out.exists()


def test_a_link_to_another_picture_is_no_copy_of_it(photos: Path, parts: Embedder) -> None:
    (photos / "a_link.png").symlink_to(photos / "suv" / "0000.png")
    survey = survey_pictures(photos, parts)
    assert survey.pictures is not None
    assert "a_link.png" not in survey.pictures.file_names
    plan = CleanUp(survey, parts=parts).plan(Wanted(duplicates=True, broken=True))
    (row,) = [row for row in plan.rows if row.file_name == "a_link.png"]
    assert (row.find, row.action) == ("broken", "look")
    assert "symbolic link" in row.reason


def test_a_test_set_of_links_to_the_pictures_is_not_compared(photos: Path, parts: Embedder) -> None:
    test = photos.with_name("test")
    test.mkdir()
    (test / "a.png").symlink_to(photos / "suv" / "0000.png")
    (test / "b.png").write_bytes((photos / "suv" / "0001.png").read_bytes())
    found = survey_pictures(test, parts, cleaned=[str(photos)]).pictures
    assert found is not None
    assert found.file_names == ["b.png"]


def test_a_picture_beyond_the_limit_of_pixels_stays(
    photos: Path, parts: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_MAX_SIDE", 200)
    Image.new("RGB", (300, 20)).save(photos / "large.png")
    plan = CleanUp(survey_pictures(photos, parts), parts=parts).plan(Wanted(broken=True))
    (row,) = [row for row in plan.rows if row.file_name == "large.png"]
    assert (row.action, "is too large" in row.reason) == ("look", True)


def grouped(plan: Plan) -> Plan:
    """The plan with its first row as the file that stays in place of the others."""
    first, *others = [replace(row, group=1) for row in plan.rows]
    return Plan((replace(first, action="keep"), *(replace(row, score=1.0) for row in others)))


@pytest.mark.parametrize("fault", ["gone", "changed", "the same file"])
def test_files_whose_copy_is_gone_stay(photos: Path, plan_of: PlanOf, fault: str) -> None:
    names = ["suv/0000.png", "suv/0001.png", "coupe/0000.png"]
    plan = grouped(plan_of(photos, *names))
    keeper = photos / names[0]
    if fault == "gone":
        shutil.move(keeper, photos.with_name("saved.png"))
    elif fault == "changed":
        keeper.write_bytes(b"other")
    else:
        keeper.unlink()
        keeper.symlink_to(photos / names[1])
        plan = Plan((replace(plan.rows[0], sha256=plan.rows[1].sha256), plan.rows[1]))
    before = files_of(photos)
    applied = plan.apply()
    assert applied.moved == []
    assert {item.file_name for item in applied.failed} == {row.file_name for row in plan.rows[1:]}
    assert all(names[0] in item.reason for item in applied.failed)
    assert files_of(photos) == before


def test_files_whose_copy_is_there_are_moved(photos: Path, plan_of: PlanOf) -> None:
    plan = grouped(plan_of(photos, "suv/0000.png", "suv/0001.png"))
    assert plan.apply().moved == ["suv/0001.png"]
    assert plan.apply().already == ["suv/0001.png"]


def test_pictures_at_the_root_of_a_disk_need_a_quarantine() -> None:
    row = PlanRow(file_name="x.png", root="/", find="like", action="remove", sha256="0" * 64)
    with pytest.raises(DataError, match="name a --quarantine"):
        Plan((row,)).apply()


@pytest.mark.parametrize("fault", ["pictures", "--leaks", "--like"])
def test_a_wrong_name_leaves_no_folder_behind(fault: str, photos: Path, model: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out", [] if fault == "pictures" else [fault, tmp_path / "nowhere"]
    pictures = tmp_path / "nowhere" if fault == "pictures" else photos
    assert run("clean", pictures, *options, "--model", model, "--out", out) == 2
    assert not out.exists()


def test_a_zip_in_the_folder_is_another_source(photos: Path, model: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(photos / "test"), "zip", photos / "suv")
    assert run("clean", photos, "--leaks", photos / "test.zip", "--model", model, "--out", tmp_path / "out") == 0


def test_an_edit_that_leaves_no_copy_is_said(photos: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(photos / "suv" / "0000.png", photos / "suv" / "copy.png")
    out = photos.with_name("out")
    assert run("clean", photos, "--model", model, "--out", out, "--duplicates") == 0
    plan = out / "plan.csv"
    assert run("clean", "--apply", plan) == 0
    assert "no copy" not in capsys.readouterr().out
    plan.write_text(plan.read_text().replace("keep,suv/", "remove,suv/"))
    assert run("clean", "--apply", plan) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {*lines[lines.index("groups of which the plan leaves no copy: 1") + 1].strip().split(", ")} == {
        "suv/0000.png", "suv/copy.png"
    }  # fmt: skip
    assert run("clean", photos, "--model", model, "--out", out, "--like", photos / "suv" / "0000.png", "--top", "2",
               "--duplicates") == 0  # fmt: skip
    assert run("clean", "--apply", plan) == 0
    assert "no copy" not in capsys.readouterr().out
