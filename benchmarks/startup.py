"""Rows: from `python demo/app.py` to the first answer, and its memory then, against the demo's two large imports."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pictures import upload
from benchmarks.process_memory import resident_memory
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import median
from benchmarks.visitor import Visitor

__all__ = ["startup_rows"]

_MOST_SECONDS = 10.0
_MOST_BYTES = 1.2e9
_IMPORTS = "import torch, gradio; print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"


def startup_rows(scale: Scale) -> Iterator[Row]:
    """Measure the time and the memory of a start, with a warm file cache."""
    picture = upload("cars", data=scale.data)
    demo, imports = [], []
    if not scale.is_quick:
        _start_demo(picture, scale)  # fills the file cache
    for _ in range(scale.long_rounds):
        demo.append(_start_demo(picture, scale))
        imports.append(_import())
    seconds, memory = (median(values) for values in zip(*demo, strict=True))
    their_seconds, their_memory = (median(values) for values in zip(*imports, strict=True))
    yield Row(
        what="python demo/app.py to its first answer",
        measured=seconds,
        unit="s",
        baseline_name="import torch, gradio",
        baseline=their_seconds,
        ratio=seconds / their_seconds,
        ratio_unit="times as long",
        target=f"< {_MOST_SECONDS:.0f} s",
        met=seconds < _MOST_SECONDS,
    )
    yield Row(
        what="resident memory of the demo after it",
        measured=memory / 1e6,
        unit="MB",
        baseline_name="import torch, gradio",
        baseline=their_memory / 1e6,
        ratio=memory / their_memory,
        ratio_unit="times as much",
        target=f"< {_MOST_BYTES / 1e6:,.0f} MB",
        met=memory < _MOST_BYTES,
    )


def _start_demo(picture: bytes, scale: Scale) -> tuple[float, float]:
    """Return the seconds to the first answer, and the bytes that are resident after it."""
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
        start = time.perf_counter()
        with scale.serve(Path(folder)) as demo, Visitor(demo.url) as visitor:
            visitor.search(picture, tab="cars")
            return time.perf_counter() - start, float(resident_memory(demo.pid))


def _import() -> tuple[float, float]:
    """Return the seconds of a process that imports both, and the bytes that are resident in it."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _IMPORTS], check=True, capture_output=True, text=True)
    return time.perf_counter() - start, 1024.0 * int(done.stdout)
