"""The temporary files of this process: in one private folder that a later process deletes if this one is killed."""

import atexit
import logging
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["delete_dead_folders", "hold_private_folder", "start_sweeping", "sweep", "use_private_folder"]

_log = logging.getLogger(__name__)

_PREFIX = "visim-demo-"
_MAX_BYTES = 2 * 2**30
_SWEEP_SECONDS = 30.0
_ATTEMPTS = 5

_held: list[int] = []
"""Descriptors of the folders that this process holds: the locks are released with them, however the process ends."""

_visitors: list[Path] = []
"""The folder of visitors' files, once this process has a private one."""


def use_private_folder() -> Path:
    """Let Gradio, and Python's `tempfile`, work in a private folder of this process.

    The folder is made in `GRADIO_TEMP_DIR` where that is set, else in the system's temporary folder. Call this before
    Gradio is imported: some of its modules read `GRADIO_TEMP_DIR` once.

    Returns:
        The folder of visitors' files, inside the private one.
    """
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    folder = hold_private_folder(parent)
    visitors = folder / "visitors"
    visitors.mkdir()
    os.environ["GRADIO_TEMP_DIR"] = str(visitors)
    tempfile.tempdir = str(folder)
    _visitors.append(visitors)
    return visitors


def hold_private_folder(parent: Path) -> Path:
    """Make a folder that only this user can enter, and delete those of processes that are dead.

    The folder is locked while this process lives and deleted when it ends. A process that is killed leaves its folder,
    unlocked, to the next one.

    Args:
        parent: existing or new folder to make it in.
    """
    parent.mkdir(parents=True, exist_ok=True)
    delete_dead_folders(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve()  # mode 0700
    for _ in range(_ATTEMPTS):
        descriptor = _try_lock(folder)
        if descriptor is not None and folder.exists():
            _held.append(descriptor)
            break
        # Another process, starting at this moment, took it for a dead one; or there are no locks here, and the last one
        # is used without: then nobody else can lock it, so nobody deletes it.
        shutil.rmtree(folder, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve()
    process = os.getpid()

    def delete() -> None:
        if os.getpid() == process:  # a fork that ends leaves the folder to its parent
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(delete)
    return folder


def delete_dead_folders(parent: Path) -> None:
    """Delete the private folders in `parent` that this user's processes left behind without ending them properly."""
    if sys.platform == "win32":
        return  # without fcntl there is no lock that tells the dead ones
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            continue  # a link, or another user's
        if (descriptor := _try_lock(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def start_sweeping(folder: Path | None = None, *, keep_seconds: float) -> None:
    """Keep a folder small from now on: by default that of visitors' files, if this process has a private one."""
    if folder is None and not _visitors:
        return  # the folder is shared with other programs
    swept = folder or _visitors[0]

    def run() -> None:
        while True:
            time.sleep(min(_SWEEP_SECONDS, keep_seconds / 2))
            try:
                sweep(swept, keep_seconds=keep_seconds)
            except OSError as error:
                _log.warning("old files cannot be deleted: %s", error.strerror)

    threading.Thread(target=run, name="sweep", daemon=True).start()


def sweep(folder: Path, *, keep_seconds: float, max_bytes: int = _MAX_BYTES) -> None:
    """Delete the files in a folder that are older than `keep_seconds`, and the oldest until `max_bytes` are left.

    Gradio deletes the files that it has entered in a list. A broken upload, or a picture that came inside a message, is
    in none.
    """
    now = time.time()
    files = []
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # deleted meanwhile
        age = now - max(status.st_mtime, status.st_ctime)
        if not stat.S_ISDIR(status.st_mode):
            files.append((age, status.st_size, path))
        elif age > keep_seconds:
            _delete_empty(path)
    total = sum(size for _, size, _ in files)
    for age, size, path in sorted(files, reverse=True):
        if age > keep_seconds or total > max_bytes:
            path.unlink(missing_ok=True)
            total -= size


def _delete_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # not empty


def _try_lock(folder: Path) -> int | None:
    """Lock a folder and return the descriptor that holds the lock, or None where another process holds it."""
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
