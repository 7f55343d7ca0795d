"""The private folder of a process: nobody else's, swept, and gone in the end, however the process ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import demo.temporary
from demo.temporary import delete_dead_folders, hold_private_folder, start_sweeping, sweep

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import os, sys, tempfile
from pathlib import Path
from demo.temporary import use_private_folder
visitors = use_private_folder()
assert "gradio" not in sys.modules
(visitors / "holiday.jpg").write_bytes(b"picture")
print(visitors.parent, os.environ["GRADIO_TEMP_DIR"], tempfile.mkdtemp(), flush=True)
sys.stdin.read()
"""


def start(parent: Path, variable: str = "GRADIO_TEMP_DIR") -> "tuple[subprocess.Popen[str], Path]":
    """Start a process that holds a private folder in `parent` until its input ends; return it with the folder."""
    environment = {**os.environ, "GRADIO_TEMP_DIR": "", variable: str(parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    folder, gradio, temporary = process.stdout.readline().split()
    assert gradio == f"{folder}/visitors"
    assert Path(temporary).parent == Path(folder)
    return process, Path(folder)


def end(process: "subprocess.Popen[str]", signal_number: int | None = None) -> None:
    if signal_number is not None:
        process.send_signal(signal_number)
    process.communicate("", timeout=30)


@pytest.mark.parametrize("variable", ["GRADIO_TEMP_DIR", "TMPDIR"])
def test_a_process_has_a_folder_of_its_own_until_it_ends(tmp_path: Path, variable: str) -> None:
    process, folder = start(tmp_path, variable)
    try:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "visitors" / "holiday.jpg").exists()
    finally:
        end(process)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_process_goes_when_another_starts(tmp_path: Path) -> None:
    killed, left = start(tmp_path)
    living, held = start(tmp_path)
    end(killed, signal.SIGKILL)
    assert (left / "visitors" / "holiday.jpg").exists()
    third, new = start(tmp_path)
    try:
        assert not left.exists()
        assert (held / "visitors" / "holiday.jpg").exists()
        assert {held, new} == set(tmp_path.iterdir())
    finally:
        end(third)
        end(living)
    assert list(tmp_path.iterdir()) == []


def test_only_dead_folders_of_this_program_are_deleted(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for folder in (tmp_path / "visim-demo-dead", tmp_path / "gradio", elsewhere):
        folder.mkdir()
        (folder / "a.png").write_bytes(b"a")
    (tmp_path / "visim-demo-link").symlink_to(elsewhere)
    (tmp_path / "visim-demo-file").write_bytes(b"a")
    delete_dead_folders(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"gradio", "elsewhere", "visim-demo-link", "visim-demo-file"}
    assert (elsewhere / "a.png").exists()


def test_where_there_are_no_locks_there_is_a_folder_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.temporary, "_try_lock", lambda _: None)
    monkeypatch.setattr("atexit.register", lambda _: None)
    assert hold_private_folder(tmp_path / "new").is_dir()
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_old_files_go_and_the_oldest_of_too_many(tmp_path: Path) -> None:
    def write(name: str, size: int) -> Path:
        path = tmp_path / name / "picture"
        path.parent.mkdir()
        path.write_bytes(bytes(size))
        time.sleep(0.02)
        return path

    first, second, third = (write(name, 100) for name in ("a", "b", "c"))
    sweep(tmp_path, keep_seconds=60, max_bytes=250)
    assert [path.exists() for path in (first, second, third)] == [False, True, True]
    sweep(tmp_path, keep_seconds=60, max_bytes=250)
    assert third.exists()
    time.sleep(0.1)
    sweep(tmp_path, keep_seconds=0.05)
    assert not third.exists()
    time.sleep(0.1)
    sweep(tmp_path, keep_seconds=0.05)
    assert list(tmp_path.iterdir()) == []  # the empty folders, too


def test_a_link_in_the_folder_is_deleted_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(b"a")
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / "link").symlink_to(tmp_path / "other")
    time.sleep(0.05)
    sweep(tmp_path / "swept", keep_seconds=0.01)
    assert (tmp_path / "other" / "a.png").exists()


def test_a_folder_that_others_use_is_not_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.temporary, "_visitors", [])
    monkeypatch.setattr("threading.Thread", lambda **_: pytest.fail("a thread was started"))
    start_sweeping(keep_seconds=1)
