"""Undoing brings everything back, byte for byte, whatever happened in between: kills, edits, damage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import files_of
from tests.processes import run_program
from visim_models import DataError
from visim_models.cleaning import Journal, Plan

PlanOf = Callable[..., Plan]
NAMES = ("suv/0000.png", "coupe/0000.png", "truck/0003.png")

KILLED_AT_EVERY_STEP = """
import os, signal, sys
from pathlib import Path
from visim_models.cleaning import Journal, Plan, journal as moving

photos, plan, mode = Path(sys.argv[1]), Plan.read(sys.argv[2]), sys.argv[3]
quarantine = photos.with_name("photos-quarantine")
WATCHED = ("open", "os.", "shutil.", "ctypes.call", "ctypes.dlsym")
steps, limit = 0, -1

def watch(event, _):
    global steps
    if limit >= 0 and event != "os.kill" and event.startswith(WATCHED):
        if steps == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

sys.addaudithook(watch)
fsync = os.fsync
os.fsync = lambda descriptor: (watch("os.fsync", None), fsync(descriptor))
if mode == "copied":
    rename = moving.rename_without_replacing
    def across(source, target):
        if source.suffix == ".png":
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)
    moving.rename_without_replacing = across

def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

def killed_at(step, work):
    global steps, limit
    process = os.fork()
    if not process:
        steps, limit = 0, step
        work()
        os._exit(0)
    return os.waitpid(process, 0)[1] == signal.SIGKILL

def undo_all():
    for journal in sorted(quarantine.glob("*.jsonl")):
        try:
            done = Journal(journal).undo()
        except Exception as error:
            assert "no journal" in str(error), error  # killed before its first line was there
            continue
        assert done.failed == [], done

def clear():
    for path in sorted(quarantine.rglob("*"), reverse=True) if quarantine.exists() else []:
        path.rmdir() if path.is_dir() else path.unlink()

before = contents(photos)
step = 0
while killed_at(step, plan.apply):
    away = contents(quarantine) if quarantine.exists() else {}
    both = {name: content for name, content in {**away, **contents(photos)}.items() if name in before}
    assert both == before, ("lost", step)
    undo_all()
    assert contents(photos) == before, ("not back", step)
    clear()
    step += 1
print("apply", step)
moved = contents(photos)
assert len(moved) == len(before) - 3
step = 0
while killed_at(step, undo_all):
    undo_all()
    assert contents(photos) == before, ("not back from undo", step)
    assert not [name for name in contents(quarantine) if name in before], ("left over", step)
    clear()
    plan.apply()
    step += 1
assert contents(photos) == before
print("undo", step)
"""


@pytest.mark.parametrize("mode", ["renamed", "copied"])
def test_killed_at_every_step_all_comes_back(mode: str, photos: Path, plan_of: PlanOf, tmp_path: Path) -> None:
    plan_of(photos, *NAMES).write(tmp_path / "plan.csv")
    process = run_program(KILLED_AT_EVERY_STEP, photos, tmp_path / "plan.csv", mode)
    assert process.returncode == 0, process.stderr
    steps = dict(line.split() for line in process.stdout.splitlines())
    assert int(steps["apply"]) >= 12
    assert int(steps["undo"]) >= 8


@pytest.fixture
def journal(photos: Path, plan_of: PlanOf) -> Path:
    applied = plan_of(photos, *NAMES).apply()
    assert applied.journal is not None
    return applied.journal


def test_half_of_a_last_line_is_no_move(journal: Path, photos: Path) -> None:
    with journal.open("a") as file:
        file.write('{"move": "suv/0002.p')
    assert len(Journal(journal).undo().restored) == 3
    assert (photos / "suv" / "0002.png").exists()


def test_a_damaged_line_is_reported_and_the_rest_done(journal: Path) -> None:
    lines = journal.read_text().split("\n")
    lines[2] = "{"
    journal.write_text("\n".join(lines))
    done = Journal(journal).undo()
    assert len(done.restored) == 2
    assert [item.file_name for item in done.failed] == ["line 3"]


def test_a_file_with_the_old_name_is_not_overwritten(journal: Path, photos: Path) -> None:
    (photos / NAMES[0]).write_bytes(b"new")
    done = Journal(journal).undo()
    assert len(done.restored) == 2
    assert "other content" in done.failed[0].reason
    assert (photos / NAMES[0]).read_bytes() == b"new"
    assert (journal.parent / NAMES[0]).exists()


def test_what_changed_or_vanished_in_the_quarantine_is_reported(journal: Path) -> None:
    (journal.parent / NAMES[0]).write_bytes(b"edited")
    (journal.parent / NAMES[1]).unlink()
    done = Journal(journal).undo()
    reasons = {item.file_name: item.reason for item in done.failed}
    assert "has changed" in reasons[NAMES[0]]
    assert "neither" in reasons[NAMES[1]]
    assert len(done.restored) == 1


def test_a_removed_folder_of_the_pictures_is_made_again(journal: Path, photos: Path) -> None:
    for path in (photos / "truck").iterdir():
        path.unlink()
    (photos / "truck").rmdir()
    assert len(Journal(journal).undo().restored) == 3
    assert (photos / NAMES[2]).exists()


def test_the_quarantine_may_be_elsewhere_now(journal: Path, photos: Path, tmp_path: Path) -> None:
    journal.parent.rename(tmp_path / "archive")
    assert len(Journal(tmp_path / "archive" / journal.name).undo().restored) == 3


def test_missing_pictures_are_not_made_up(journal: Path, photos: Path) -> None:
    photos.rename(photos.with_name("unmounted"))
    done = Journal(journal).undo()
    assert len(done.failed) == 3
    assert "not there" in done.failed[0].reason
    assert not photos.exists()


@pytest.mark.parametrize("name", ["../outside.png", "/etc/outside.png", "a/../../x.png"])
def test_a_forged_journal_reaches_nothing_outside(name: str, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "forged"
    folder.mkdir()
    head = {"visim_journal": 1, "roots": {"": str(photos)}}
    line = {"move": name, "root": "", "sha256": "0" * 64, "bytes": 1}
    (folder / "journal.jsonl").write_text(f"{json.dumps(head)}\n{json.dumps(line)}\n")
    before = files_of(tmp_path)
    assert "leaves the image root" in Journal(folder / "journal.jsonl").undo().failed[0].reason
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", '{"visim_journal": 2, "roots": {}}\n', "no json\n"])
def test_no_journal(text: str, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text(text)
    with pytest.raises(DataError, match="no journal"):
        Journal(tmp_path / "journal.jsonl")


def test_a_journal_that_was_cut_off_says_that_files_are_left(photos: Path, plan_of: PlanOf) -> None:
    applied = plan_of(photos, *NAMES).apply()
    assert applied.journal is not None
    applied.journal.write_text(applied.journal.read_text()[:-40])
    done = Journal(applied.journal).undo()
    assert len(done.restored) == 2
    assert [item.reason for item in done.failed] == [
        f"it is cut off, and 1 files are in {applied.journal.parent}: see whose they are"
    ]
    partial = applied.journal.parent / "suv" / f".{'0' * 32}.visim-partial"
    partial.parent.mkdir(exist_ok=True)
    partial.touch()  # of no move: it stays
    Journal(applied.journal).undo()
    assert partial.exists()
