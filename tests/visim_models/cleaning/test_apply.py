"""Files are moved, never deleted or overwritten; what cannot be moved stays, and the rest is done."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import files_of
from visim_models import OutputError, RepositoryError
from visim_models.cleaning import Journal, Plan
from visim_models.cleaning import journal as moving
from visim_models.cleaning.journal import JournalWriter

PlanOf = Callable[..., Plan]
NAMES = ("suv/0000.png", "suv/0001.png", "coupe/0000.png")


def reasons(applied: object) -> dict[str, str]:
    return {item.file_name: item.reason for item in applied.failed}  # type: ignore[attr-defined]


def test_a_dry_run_changes_nothing(photos: Path, plan_of: PlanOf) -> None:
    before = files_of(photos.parent)
    applied = plan_of(photos, *NAMES).apply(dry_run=True)
    assert (applied.moved, applied.failed, applied.journal) == ([*NAMES], [], None)
    assert applied.bytes == sum((photos / name).stat().st_size for name in NAMES)
    assert files_of(photos.parent) == before


def test_files_are_moved_and_brought_back(photos: Path, plan_of: PlanOf) -> None:
    before, times = files_of(photos), (photos / NAMES[0]).stat().st_mtime_ns
    applied = plan_of(photos, *NAMES).apply()
    quarantine = photos.with_name("photos-quarantine")
    assert applied.moved == [*NAMES]
    assert {name: before[name] for name in NAMES} == {
        name: content for name, content in files_of(quarantine).items() if name.endswith(".png")
    }
    assert files_of(photos) == {name: content for name, content in before.items() if name not in NAMES}
    assert applied.journal is not None
    done = Journal(applied.journal).undo()
    assert (len(done.restored), done.already, done.failed) == (3, 0, [])
    assert files_of(photos) == before
    assert (photos / NAMES[0]).stat().st_mtime_ns == times
    assert [path.name for path in quarantine.iterdir()] == [applied.journal.name]
    assert Journal.read(applied.journal).undo().already == 3


def test_applied_again_it_goes_on(photos: Path, plan_of: PlanOf) -> None:
    plan = plan_of(photos, *NAMES)
    Plan(plan.rows[:1]).apply()
    applied = plan.apply()
    assert (applied.already, applied.moved) == ([NAMES[0]], [*NAMES[1:]])
    assert sorted(applied.gone) == sorted(NAMES)


def test_the_last_journal_undoes_what_went_on_after_a_kill(photos: Path, plan_of: PlanOf) -> None:
    """The command prints the line of one journal, however often the plan was applied before."""
    before = files_of(photos)
    plan = plan_of(photos, *NAMES)
    Plan(plan.rows[:1]).apply()  # as if it had been killed after one move
    applied = plan.apply()
    assert (len(applied.moved), len(applied.already)) == (2, 1)
    assert applied.journal is not None
    assert len(Journal(applied.journal).undo().restored) == 3
    assert files_of(photos) == before


def test_what_cannot_be_moved_stays_and_the_rest_is_done(photos: Path, plan_of: PlanOf, tmp_path: Path) -> None:
    names = ["suv/0000.png", "suv/0001.png", "suv/0002.png", "suv/0003.png", "linked/0001.png", "coupe/0000.png"]
    (photos / "linked").symlink_to(photos / "truck")
    plan = plan_of(photos, *names)
    (photos / names[0]).write_bytes(b"changed since")
    (photos / names[1]).unlink()
    (photos / names[2]).unlink()
    (photos / names[2]).symlink_to(photos / names[3])
    target = tmp_path / "photos-quarantine" / names[3]
    target.parent.mkdir(parents=True)
    target.write_bytes(b"there already")
    before = files_of(photos)
    applied = plan.apply()
    assert applied.moved == ["coupe/0000.png"]
    found = reasons(applied)
    assert found.keys() == {*names[:5]}
    for name, text in zip(
        names, ("has changed", "no such file", "symbolic link", "exists already", "symbolic"), strict=False
    ):
        assert text in found[name]
    assert target.read_bytes() == b"there already"
    assert files_of(photos) == {name: content for name, content in before.items() if name != "coupe/0000.png"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(photos: Path, plan_of: PlanOf) -> None:
    plan = plan_of(photos, *NAMES)
    (photos / "suv").chmod(0o555)
    try:
        applied = plan.apply()
    finally:
        (photos / "suv").chmod(0o755)
    assert applied.moved == ["coupe/0000.png"]
    assert "read-only" in reasons(applied)["suv/0000.png"]


def test_the_system_refuses_one_move(photos: Path, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = moving.rename_without_replacing

    def refusing(source: Path, target: Path) -> None:
        if source.name == "0001.png":
            raise PermissionError(errno.EROFS, "Read-only file system", str(source))
        rename(source, target)

    monkeypatch.setattr(moving, "rename_without_replacing", refusing)
    applied = plan_of(photos, *NAMES).apply()
    assert applied.moved == ["suv/0000.png", "coupe/0000.png"]
    assert "Read-only file system" in reasons(applied)["suv/0001.png"]


@pytest.mark.parametrize("has_links", [True, False])
def test_another_file_system_is_copied_to(
    photos: Path, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    rename = moving.rename_without_replacing

    def across(source: Path, target: Path) -> None:
        if source.suffix == ".png":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(moving, "rename_without_replacing", across)
    if not has_links:
        monkeypatch.setattr(moving.sys, "platform", "other")
    before = files_of(photos)
    applied = plan_of(photos, *NAMES).apply()
    assert applied.moved == [*NAMES]
    assert applied.journal is not None
    assert len(files_of(photos)) == len(before) - 3
    assert Journal(applied.journal).undo().failed == []
    assert files_of(photos) == before


def test_a_damaged_copy_keeps_the_file(photos: Path, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = moving.rename_without_replacing

    def across(source: Path, target: Path) -> None:
        if source.suffix == ".png":
            raise OSError(errno.EXDEV, "other device")
        rename(source, target)

    monkeypatch.setattr(moving, "rename_without_replacing", across)
    monkeypatch.setattr(moving.shutil, "copy2", lambda _, target, **__: Path(target).write_bytes(b"half"))
    before = files_of(photos)
    applied = plan_of(photos, NAMES[0]).apply()
    assert "the copy differs" in reasons(applied)[NAMES[0]]
    assert files_of(photos) == before


def test_the_quarantine_is_outside_the_pictures(photos: Path, plan_of: PlanOf) -> None:
    for folder in (photos, photos / "suv" / "away", photos.parent):
        with pytest.raises(OutputError):
            plan_of(photos, *NAMES).apply(quarantine=folder)


def test_no_journal_no_move(photos: Path, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of(photos)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(JournalWriter, "_write", full)
    with pytest.raises(RepositoryError, match="nothing was moved"):
        plan_of(photos, *NAMES).apply()
    assert files_of(photos) == before


def test_two_roots_have_folders_of_their_own(photos: Path, plan_of: PlanOf, tmp_path: Path) -> None:
    other = tmp_path / "other" / "photos"
    (other / "suv").mkdir(parents=True)
    (other / "suv" / "0000.png").write_bytes(b"another picture")
    plan = Plan((*plan_of(photos, "suv/0000.png").rows, *plan_of(other, "suv/0000.png").rows))
    before = files_of(tmp_path)
    applied = plan.apply(quarantine=tmp_path / "away")
    assert len(applied.moved) == 2
    assert applied.journal is not None
    assert Journal(applied.journal).undo().failed == []
    after = files_of(tmp_path)
    after.pop(applied.journal.relative_to(tmp_path).as_posix())
    assert after == before


def test_zips_and_missing_folders_are_said(photos: Path, plan_of: PlanOf, tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"")
    rows = plan_of(photos, *NAMES).rows
    changed = [
        type(row)(**{**vars(row), "root": root})
        for row, root in zip(rows, ("https://example.org/x/", str(tmp_path / "photos.zip"), "gone"), strict=True)
    ]
    applied = Plan(tuple(changed)).apply()
    assert applied.elsewhere == [*NAMES[:2]]
    assert "no folder" in reasons(applied)[NAMES[2]]
