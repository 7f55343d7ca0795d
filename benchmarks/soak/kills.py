"""Check that kill -9 leaves the old folder or the new one, and that the same command then completes."""

import random
import shutil
from pathlib import Path
from typing import Any

from benchmarks.soak.children import Job, run_and_kill, run_whole
from benchmarks.soak.errors import SoakError
from benchmarks.soak.folders import Material, files_of
from benchmarks.soak.jobs import build_gallery, export, publish
from hub.locate import BUNDLED

__all__ = ["check_kills"]


def check_kills(folder: Path, *, kills: int) -> list[str]:
    """Kill the export, `visim build` and publish at random moments.

    Args:
        folder: an empty folder to work in.
        kills: how often to kill each of them.

    Raises:
        SoakError: a folder is a mix, or the next run does not complete.
    """
    material = Material.make(folder)
    exported, built = folder / "exported", folder / "built"
    return [
        _kill_writer(
            export, exported, [(material.run, material.pictures, exported, limit) for limit in (160, 120)], kills
        ),
        _kill_writer(
            build_gallery, built,
            [(material.model, pictures, built) for pictures in (material.pictures, material.others)], kills,
        ),
        _kill_reader(folder / "pretrained", kills),
    ]  # fmt: skip


def _kill_writer(job: Job, out: Path, two: list[tuple[Any, ...]], kills: int) -> str:
    whole, seconds = [], 0.0
    for arguments in two:
        seconds = _complete(job, arguments)
        whole.append(files_of(out))
    chance, met, replaced = random.Random(0), 0, 0
    for number in range(kills):
        before, arguments, after = whole[1 - number % 2], two[number % 2], whole[number % 2]
        met += run_and_kill(job, *arguments, after=chance.uniform(0.3, 1.05) * seconds)
        now = files_of(out)
        if now not in (before, after):
            raise SoakError(f"{job.__name__} was killed, and left a mix of its old folder and its new one")
        replaced += now == after
        _complete(job, arguments)
        if files_of(out) != after:
            raise SoakError(f"{job.__name__} was killed, and the next run gave another folder than a first one")
    return f"{job.__name__}: killed {met} times at work; {replaced} new folders, {kills - replaced} old ones, no mix"


def _kill_reader(pretrained: Path, kills: int) -> str:
    shutil.copytree(BUNDLED, pretrained)
    before = {path: path.stat().st_mtime_ns for path in pretrained.rglob("*")}
    seconds = _complete(publish, (pretrained,))
    for number in range(kills):
        run_and_kill(publish, pretrained, after=seconds * number / kills)
    _complete(publish, (pretrained,))
    if before != {path: path.stat().st_mtime_ns for path in pretrained.rglob("*")}:
        raise SoakError("publish --dry-run changed the folders that it reads")
    return f"publish --dry-run: killed {kills} times; nothing changed"


def _complete(job: Job, arguments: tuple[Any, ...]) -> float:
    error, seconds = run_whole(job, *arguments)
    if error:
        raise SoakError(f"{job.__name__} failed: {error}")
    return seconds
