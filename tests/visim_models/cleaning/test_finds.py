"""What a clean-up of drawn families plans: which copy is kept, what differs, labels, animations, links, decisions."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.builders import files_of
from tests.visim_models.cleaning.families import COPIES, DIFFERENT, chart, copy_of, different, photograph, slide
from visim_models.cleaning import CleanUp, Journal, Plan, PlanRow, Preference, Wanted, survey_pictures
from visim_models.cleaning.faults import are_labels, find_other_labels
from visim_models.cleaning.output_folder import Decisions
from visim_models.cleaning.quality import is_copy_name
from visim_models.cli.__main__ import main
from visim_models.galleries.embed import Embedder
from visim_models.galleries.picture_table import PictureTable

PlanFor = Callable[..., Plan]


@pytest.fixture
def plan_for(parts: Embedder) -> PlanFor:
    def make(folder: Path, **wanted: object) -> Plan:
        values = {"duplicates": True, **wanted}
        return CleanUp(survey_pictures(folder, parts), parts=parts).plan(Wanted(**values))  # type: ignore[arg-type]

    return make


def save(image: Image.Image, path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]


def actions(plan: Plan) -> dict[str, str]:
    return {row.file_name: row.action for row in plan.rows if row.find == "duplicates"}


def row_of(plan: Plan, name: str) -> PlanRow:
    return next(row for row in plan.rows if row.file_name == name)


# --- which copy is kept


@pytest.mark.parametrize("kind", COPIES)
def test_the_original_is_kept_and_the_copy_found(kind: str, tmp_path: Path, plan_for: PlanFor) -> None:
    for seed in range(4):
        picture = photograph(20 + seed, size=(480, 360))
        save(picture, tmp_path / f"{seed}_b.jpg", quality=93)
        quality = 10 if kind.endswith("10") else 93
        save(copy_of(picture, kind, seed), tmp_path / f"{seed}_a.jpg", quality=quality)
    found = actions(plan_for(tmp_path))
    action = "look" if kind == "mirrored" else "remove"
    assert [found.get(f"{seed}_b.jpg") for seed in range(4)].count("keep") >= 3
    assert "remove" not in [found.get(f"{seed}_b.jpg") for seed in range(4)]
    assert [found.get(f"{seed}_a.jpg") for seed in range(4)].count(action) >= 3
    assert {found.get(f"{seed}_a.jpg") for seed in range(4)} <= {action, "look", None}


@pytest.mark.parametrize(
    ("name", "is_copy"),
    [("IMG (1).jpg", True), ("IMG - Copy.jpg", True), ("Copy of IMG.jpg", True), ("Bild - Kopie (2).jpg", True),
     ("IMG_0001.jpg", False), ("copper.jpg", False), ("Kopernikus.jpg", False), ("2024-05-12.jpg", False)],
)  # fmt: skip
def test_names_of_copies(name: str, is_copy: bool) -> None:
    assert is_copy_name(name) == is_copy


@pytest.mark.parametrize("copy", ["IMG (1).png", "IMG - Copy.png", "Copy of IMG.png", "Backup/IMG.png", "a/b/IMG.png"])
def test_of_exact_copies_the_one_that_is_no_copy_by_its_name_is_kept(
    copy: str, tmp_path: Path, plan_for: PlanFor
) -> None:
    save(photograph(1, size=(120, 90)), tmp_path / copy)
    shutil.copy(tmp_path / copy, tmp_path / "IMG.png")
    os.utime(tmp_path / copy, (1, 1))
    assert actions(plan_for(tmp_path)) == {"IMG.png": "keep", copy: "remove"}


def test_the_owner_may_prefer_a_folder_or_an_age(tmp_path: Path, plan_for: PlanFor) -> None:
    for number, name in enumerate(("a.png", "best/b.png", "c.png")):
        save(photograph(1, size=(120, 90)), tmp_path / name)
        os.utime(tmp_path / name, (1000 + number, 1000 + number))
    for preference, kept in (
        (Preference(), "a.png"), (Preference(prefer=("best",)), "best/b.png"), (Preference(keep="newest"), "c.png"),
        (Preference(keep="oldest"), "a.png"),
    ):  # fmt: skip
        found = actions(plan_for(tmp_path, preference=preference))
        assert [name for name, action in found.items() if action == "keep"] == [kept]


# --- different things


@pytest.mark.parametrize("family", DIFFERENT)
def test_different_things_are_not_removed(family: str, tmp_path: Path, plan_for: PlanFor) -> None:
    count = 30 if family == "digits" else 8
    for number, picture in enumerate(different(family, 5, count)):
        save(picture, tmp_path / f"{number:03d}.png")
    assert [row.file_name for row in plan_for(tmp_path).removed] == []


@pytest.mark.parametrize("draw", [slide, chart])
def test_copies_of_pages_are_found_among_others(
    draw: Callable[[int], Image.Image], tmp_path: Path, plan_for: PlanFor
) -> None:
    for seed in range(6):
        save(draw(seed), tmp_path / f"{seed}.png")
        save(draw(seed).resize((480, 300)), tmp_path / f"{seed}_small.jpg", quality=85)
    plan = plan_for(tmp_path)
    groups = [{row.file_name[0] for row in plan.rows if row.group == number} for number in range(1, 7)]
    assert sorted(map(sorted, groups)) == [[str(seed)] for seed in range(6)]
    assert [row.file_name for row in plan.removed if "small" not in row.file_name] == []


def test_an_animation_is_a_copy_only_if_its_frames_are(tmp_path: Path, plan_for: PlanFor) -> None:
    frames = [photograph(seed, size=(160, 120)) for seed in range(6)]
    for name, others in (("one", frames[1:3]), ("other", frames[3:5])):
        save(frames[0], tmp_path / f"{name}.gif", save_all=True, append_images=others, duration=200)
    save(frames[0], tmp_path / "still.jpg")
    assert actions(plan_for(tmp_path)) == {}
    save(frames[0], tmp_path / "same.gif", save_all=True, append_images=frames[1:3], duration=150)
    assert sorted(actions(plan_for(tmp_path))) == ["one.gif", "same.gif"]


# --- labels, links, decisions


def test_the_same_picture_under_two_labels_is_to_be_looked_at() -> None:
    rng = np.random.default_rng(0)
    kinds = 5 * rng.standard_normal((3, 16))
    names = [f"{'abc'[kind]}/{number:02d}.jpg" for kind in range(3) for number in range(20)]
    rows = (kinds.repeat(20, axis=0) + rng.standard_normal((60, 16))).astype(np.float32)
    rows[3] = kinds[1] + rng.standard_normal(16)  # a picture of b among those of a
    pictures = PictureTable(names, {"embeddings": rows})
    assert are_labels(pictures)
    assert [(found.index, found.label, found.other) for found in find_other_labels(pictures)] == [(3, "a", "b")]
    assert not are_labels(PictureTable(names, {"embeddings": rng.permutation(rows)}))
    assert not are_labels(PictureTable([name.split("/")[1] for name in names], {"embeddings": rows}))


def test_hard_links_are_one_file(tmp_path: Path, plan_for: PlanFor) -> None:
    save(photograph(1, size=(120, 90)), tmp_path / "a.png")
    os.link(tmp_path / "a.png", tmp_path / "b.png")
    assert actions(plan_for(tmp_path)) == {}


def test_what_a_person_decided_is_not_asked_again(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, picture in enumerate(different("meters", 3, 3)):
        save(picture, tmp_path / "photos" / f"{number}.png")
    shutil.copy(tmp_path / "photos" / "0.png", tmp_path / "photos" / "copy.png")
    command = ["clean", "photos", "--duplicates", "--model", str(model), "--out", "clean"]
    assert main(command) == 0
    plan = Plan.read("clean/plan.csv")
    looked = [row for row in plan.rows if row.action == "look"]
    assert len(looked) == 2
    path = tmp_path / "clean" / "plan.csv"
    text = path.read_text(encoding="utf-8-sig")
    path.write_text(text.replace("look", "keep").replace("remove", "keep"), encoding="utf-8")
    assert main(command) == 0
    assert {decision.said for decision in Decisions("clean/decisions.csv")} == {"keep both"}
    again = [row for row in Plan.read("clean/plan.csv").rows if row.action == "look"]
    assert not {row.file_name for row in again} & {row.file_name for row in looked} or len(again) < len(looked)


def test_poor_pictures_are_to_be_looked_at(tmp_path: Path, plan_for: PlanFor) -> None:
    for seed in range(8):
        save(photograph(seed, size=(320, 240)), tmp_path / f"{seed}.jpg", quality=92)
    picture = photograph(50, size=(320, 240))
    save(picture.filter(ImageFilter.GaussianBlur(6)), tmp_path / "blurred.jpg")
    save(picture.point(lambda level: level // 5), tmp_path / "dark.jpg")
    save(picture.point(lambda level: 200 + level // 6), tmp_path / "bright.jpg")
    save(picture.convert("L"), tmp_path / "grey.jpg")
    found = {row.file_name: row for row in plan_for(tmp_path, duplicates=False, quality=True).rows}
    assert {*found} == {"blurred.jpg", "dark.jpg", "bright.jpg", "grey.jpg"}
    assert {row.action for row in found.values()} == {"look"}
    assert all(word in found[f"{word}.jpg"].reason for word in ("blurred", "dark", "bright", "grey"))


# --- files that belong to a picture


def test_files_of_one_stem_move_together_and_come_back(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    photos = tmp_path / "photos"
    for name in ("a/IMG_1.jpg", "a/IMG_2.jpg", "a/IMG_3.jpg", "a/IMG_3.png"):
        save(photograph(len(name), size=(64, 48)), photos / name)
    for name in ("IMG_1.xmp", "IMG_1.MOV", "IMG_1.CR2", "IMG_1.txt", "IMG_1.jpg.json", "IMG_2.xmp", "IMG_3.xmp"):
        (photos / "a" / name).write_bytes(name.encode())
    before = files_of(photos)
    plan = plan_of(photos, "a/IMG_1.jpg", "a/IMG_3.jpg")
    assert plan.apply(dry_run=True, alone=True).beside == []
    applied = plan.apply()
    assert applied.failed == []
    assert applied.moved == ["a/IMG_1.jpg", "a/IMG_3.jpg"]
    assert sorted(applied.beside) == [f"a/IMG_1.{kind}" for kind in ("CR2", "MOV", "jpg.json", "txt", "xmp")]
    assert {"a/IMG_2.xmp", "a/IMG_3.xmp", "a/IMG_3.png"} <= files_of(photos).keys()
    assert applied.journal is not None
    assert Journal(applied.journal).undo().failed == []
    assert files_of(photos) == before
