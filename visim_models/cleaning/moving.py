"""Move one file without ever overwriting another: in one step on a file system, by a checked copy between two."""

import ctypes
import errno
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from visim_models.errors import ImageSourceError
from visim_models.repo_folder.formats import file_sha256, one_line
from visim_models.sources.file_names import check_file_name

__all__ = ["checked_path", "move_file", "partial_copy", "rename_without_replacing", "sync_folder"]

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_PARTIAL: Final = ".visim-partial"
"""Ends the name of a copy that is not whole yet."""
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def checked_path(root: Path, file_name: str) -> Path:
    """Return the path of a file under a root.

    Args:
        root: a folder without symbolic links in its path.
        file_name: a relative path with forward slashes.

    Raises:
        ImageSourceError: the name leads out of the root, or a part of it is a symbolic link.
    """
    check_file_name(file_name)
    path = root
    for part in file_name.split("/"):
        path = path / part
        if path.is_symlink():
            raise ImageSourceError(f"{path} is a symbolic link: it stays as it is.", path=path)
    return path


def move_file(source: Path, target: Path, *, sha256: str) -> None:
    """Move a file to a path where nothing is yet; its content, rights and time of change stay.

    A process killed at any moment leaves the whole file at one of the two paths, or at both.

    Args:
        source: a regular file.
        target: where it goes; its folder is made where there is none.
        sha256: of its content, with which a copy to another file system is compared.

    Raises:
        FileExistsError: there is something at `target`.
        OSError: it cannot be moved; it is then still at `source`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        rename_without_replacing(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_then_remove(source, target, sha256)


def partial_copy(target: Path, sha256: str) -> Path:
    """Return where a copy to `target` is while it is not whole."""
    return target.with_name(f".{sha256[:32]}{_PARTIAL}")


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rename_without_replacing(source: Path, target: Path) -> None:
    """Rename a file; raise FileExistsError where there is something at `target`, and OSError where it cannot be."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        if not library.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE):
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):  # which file systems say that do not know the flag
            raise OSError(number, os.strerror(number), str(source), None, str(target))
    try:
        os.link(source, target, follow_symlinks=False)  # fails where there is something
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        os.rename(source, target)
    else:
        os.unlink(source)


def _copy_then_remove(source: Path, target: Path, sha256: str) -> None:
    """Copy a file to another file system, and remove it once the copy is on disk and compared."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    partial = partial_copy(target, sha256)
    try:
        shutil.copy2(source, partial, follow_symlinks=False)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if file_sha256(partial) != sha256:
            raise OSError(errno.EIO, f"the copy differs from the file ({one_line(OSError(str(source)))})")
        rename_without_replacing(partial, target)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    os.unlink(source)
