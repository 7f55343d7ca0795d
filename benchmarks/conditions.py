"""The conditions that figures were measured under: without them, nobody can compare or repeat a figure."""

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from benchmarks.demo_process import PROJECT
from benchmarks.pictures import are_photographs
from benchmarks.scale import Scale

__all__ = ["conditions"]

_CPUINFO = Path("/proc/cpuinfo")


def conditions(scale: Scale) -> dict[str, Any]:
    """Return the date (UTC), the commit, the machine, the versions and the pictures of a run.

    `commit` is "" outside a git checkout, and `modified` says whether a tracked file differs from it. `quick` says
    whether the sizes are too small for the figures to mean anything.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pictures": "real" if all(are_photographs(tab, data=scale.data) for tab, _ in scale.repos) else "drawn",
        "quick": scale.is_quick,
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    """Return the processor's name, or its architecture where the kernel gives no name."""
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
