"""Replace a file, or files of a folder, in one step: a kill at any moment leaves the old version or the new one.

The new folder is built beside the old one. Files of the old folder that are kept are hard-linked into it, then the two
folders change names in one step. Of the old folder only files that are also in the new one, or that the caller owns,
are removed afterwards; a file that appeared in the meantime is moved into the new folder.
"""

import ctypes
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from visim_models.errors import RepositoryError, VisimError
from visim_models.repo_folder.formats import one_line

__all__ = ["link_or_copy", "replacing_file", "replacing_files"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_ASIDE = ".old"

_log = logging.getLogger(__name__)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Replace a file in one step. A process that is killed leaves the old file, and a hidden one beside it.

    Yields a path beside the file to write to; it takes the file's name when the block ends well, and goes otherwise.

    Args:
        path: the file, which may not exist yet; its folder must.

    Raises:
        OSError: the folder cannot be written.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        yield staged
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def replacing_files(folder: Path, *, owned: Callable[[str], bool]) -> Iterator[Path]:
    """Stage new files of a folder, then put them in place in one step.

    Yields an empty folder to write the new files into. When the block ends well, `folder` holds these and every other
    file that it had. When the block fails, nothing has changed.

    Args:
        folder: the folder, which may not exist yet; no symbolic link.
        owned: whether the caller may delete the old version of a file, by its path relative to the folder. An owned
            file that is not staged is left out of the new folder; the caller links those that it keeps.

    Raises:
        RepositoryError: the folder or its parent cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _discard_leftovers(folder, owned)
        staged = Path(tempfile.mkdtemp(prefix=f"{_prefix(folder)}{os.getpid()}-", dir=folder.parent))
    except OSError as error:
        raise RepositoryError(f"{folder} cannot be written ({one_line(error)}).", path=folder) from error
    try:
        yield staged
        staged.chmod(folder.stat().st_mode & 0o7777 if folder.exists() else 0o755)  # mkdtemp makes it private
        if folder.exists():
            _link_others(folder, staged, owned)
            _exchange(staged, folder)
        else:
            staged.rename(folder)
    except OSError as error:
        if isinstance(error, VisimError):
            raise
        raise RepositoryError(
            f"{folder} could not be written ({one_line(error)}); it is unchanged.", path=folder
        ) from error
    finally:
        if staged.exists():
            _discard(staged, folder, owned)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _prefix(folder: Path) -> str:
    return f".{folder.name}.visim-"


def _link_others(folder: Path, staged: Path, owned: Callable[[str], bool]) -> None:
    """Bring every file that the caller does not own into the staged folder, and every folder that had no file."""
    folders = []
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        target = staged / name
        if path.is_dir() and not path.is_symlink():
            folders.append((path, target))
            if not any(path.iterdir()):
                target.mkdir(parents=True, exist_ok=True)
        elif not owned(name):
            link_or_copy(path, target)
    for path, target in folders:
        if target.is_dir():
            shutil.copystat(path, target)


def _exchange(staged: Path, folder: Path) -> None:
    """Swap two folders: in one step where Linux offers it, else by renames that are undone if one of them fails."""
    if _exchange_in_one_step(staged, folder):
        return
    aside = staged.with_name(staged.name + _ASIDE)
    folder.rename(aside)
    try:
        staged.rename(folder)
    except OSError as error:
        try:
            aside.rename(folder)
        except OSError:
            raise RepositoryError(
                f"{folder} could not be written ({one_line(error)}). Its files are in {aside}: rename it back.",
                path=aside,
            ) from error
        raise
    aside.rename(staged)


def _exchange_in_one_step(staged: Path, folder: Path) -> bool:
    if sys.platform != "linux":
        return False
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    return not renameat2(_AT_FDCWD, os.fsencode(staged), _AT_FDCWD, os.fsencode(folder), _RENAME_EXCHANGE)


def _discard(leftover: Path, folder: Path, owned: Callable[[str], bool]) -> None:
    """Remove a folder that is not needed any more, file by file: nothing goes that is not owned or also in `folder`."""
    for path in reversed(list(_walk(leftover))):
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
                continue
            name = path.relative_to(leftover).as_posix()
            if owned(name) or _is_same(path, folder / name):
                path.unlink()
            elif not os.path.lexists(folder / name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                path.rename(folder / name)
    try:
        leftover.rmdir()
    except OSError:
        _log.warning("%s has files that are in no other place: move them, then delete it", leftover)


def _is_same(path: Path, other: Path) -> bool:
    """Whether two paths are one file, or copies of one."""
    if not os.path.lexists(other):
        return False
    if path.is_symlink() or other.is_symlink():
        return path.is_symlink() and other.is_symlink() and path.readlink() == other.readlink()
    one, two = path.stat(), other.stat()
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino) or (
        (one.st_size, one.st_mtime_ns) == (two.st_size, two.st_mtime_ns)
    )


def _discard_leftovers(folder: Path, owned: Callable[[str], bool]) -> None:
    """Remove the staged folders of processes that were killed; one that was killed between two renames is undone."""
    pattern = re.compile(re.escape(_prefix(folder)) + rf"(\d+)-\w+({re.escape(_ASIDE)})?")
    for path in sorted(folder.parent.iterdir(), reverse=True):  # the old version of a folder before its staged one
        found = pattern.fullmatch(path.name)
        if not found or not path.is_dir() or path.is_symlink() or _is_running(int(found[1])):
            continue
        if found[2] and not os.path.lexists(folder):
            path.rename(folder)
        else:
            _discard(path, folder, owned)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _walk(folder: Path) -> Iterator[Path]:
    """List everything in a folder, folders before what is in them, without following links."""
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        path = Path(entry.path)
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)
