"""Check that a full or read-only disk gives a clear error and no hang, and leaves the old folder as it was."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.soak.children import run_whole
from benchmarks.soak.errors import SoakError
from benchmarks.soak.folders import Material, files_of
from benchmarks.soak.jobs import build_gallery, build_gallery_on_a_small_disk

__all__ = ["check_disks"]

_SMALL = 40_000


def check_disks(folder: Path) -> list[str]:
    """Build a gallery where there is no room, and where nothing may be written.

    Raises:
        SoakError: it succeeded, changed the folder that was there, or hung.
    """
    material = Material.make(folder)
    out = folder / "built"
    run_whole(build_gallery, material.model, material.pictures, out)
    facts = [_refused("files beyond a limit", out, build_gallery_on_a_small_disk, material, _SMALL)]
    with _small_disk(folder / "disk") as disk:
        if disk is None:
            return [*facts, "no disk of its own could be mounted (that needs root): only the limit was tried"]
        shutil.copytree(out, disk / "built")
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - 8192))
        facts.append(_refused("a full disk", disk / "built", build_gallery, material))
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        facts.append(_refused("a read-only disk", disk / "built", build_gallery, material))
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        error, _ = run_whole(build_gallery, material.model, material.others, disk / "built")
        if error:
            raise SoakError(f"visim build still failed after there was room again: {error}")
    return facts


def _refused(what: str, out: Path, job: object, material: Material, *more: int) -> str:
    before = files_of(out)
    error, seconds = run_whole(job, material.model, material.others, out, *more)  # type: ignore[arg-type]
    if not error or files_of(out) != before:
        raise SoakError(f"{what}: visim build ended with {error!r}, and the folder is not as it was before")
    return f"{what}: refused in {seconds:.1f} s, the old folder is unchanged: {' '.join(error.split())[-110:]}"


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a file system of 2 MB in memory, or yield None where this user may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    try:
        yield folder if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
