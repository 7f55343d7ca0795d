"""Rows: pictures a second of the runners that embed for a gallery in an engine, against the build of one machine."""

import importlib.util
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hub
from benchmarks.measuring import Row
from benchmarks.processes import running_cluster
from benchmarks.scale import Scale, are_photographs, jpegs, write_folder
from visim_models.galleries.embed import Embedder, embed_missing, embed_store
from visim_models.galleries.part_store import PartStore
from visim_models.galleries.sources import open_store

__all__ = ["runner_rows"]

_MODEL: Final = hub.locate("car-extractor")
_LEAST_SHARE: Final = 0.9


@dataclass(frozen=True)
class _Runner:
    """A way to embed.

    Attributes:
        name: as the row calls it.
        packages: that it needs.
        address: given a folder, yields the runner that `embed_missing` takes.
        is_aimed_at: whether it must have `_LEAST_SHARE` of the rate of the build.
    """

    name: str
    packages: tuple[str, ...]
    address: Callable[[Path], AbstractContextManager[str | None]]
    is_aimed_at: bool = True


_RUNNERS: Final = (
    _Runner("this process", (), lambda _: nullcontext(None)),
    _Runner("native", ("daft",), lambda _: nullcontext("native")),
    _Runner("a Ray cluster of two workers", ("daft", "ray"), running_cluster, is_aimed_at=False),
)


def runner_rows(scale: Scale) -> Iterator[Row]:
    """Measure the pictures a second of a runner in one process, of Daft's, and of Daft's on Ray."""
    if not importlib.util.find_spec("pyarrow"):
        print("not measured: the runners need the package pyarrow", file=sys.stderr)
        return
    kind = "photographs" if are_photographs("cars", data=scale.data) else "drawn pictures"
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        folder = Path(name) / "pictures"
        count = len(write_folder(jpegs("cars", scale.built, data=scale.data), folder))
        baseline = count / _in_new_process(_build_seconds, folder)
        for runner in _RUNNERS:
            if missing := [package for package in runner.packages if not importlib.util.find_spec(package)]:
                print(f"not measured: {runner.name} needs the packages {', '.join(missing)}", file=sys.stderr)
                continue
            with runner.address(Path(name)) as address:
                measured = count / _in_new_process(_runner_seconds, folder, address)
            yield Row(
                what=f"embedding {count:,} {kind} to Parquet, {runner.name}",
                measured=measured,
                unit="pictures/s",
                baseline_name="the build of a gallery in memory",
                baseline=baseline,
                ratio_unit="of its rate",
                target=f">= {_LEAST_SHARE} of its rate" if runner.is_aimed_at else "",
                met=measured / baseline >= _LEAST_SHARE if runner.is_aimed_at else None,
                note="one turn each, in a process of its own; the start of the workers included, a cluster's not",
            )


def _in_new_process(work: Callable[..., float], *arguments: object) -> float:
    """Run a work in a new process: one keeps the runner that it started first, and the memory that others freed."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _build_seconds(folder: Path) -> float:
    """Time the embedding of a folder, as the build of a gallery in memory does it."""
    parts, store = Embedder.load(_MODEL), open_store(folder)
    start = time.perf_counter()
    list(embed_store(store, sorted(store.list()), parts))
    return time.perf_counter() - start


def _runner_seconds(folder: Path, runner: str | None) -> float:
    """Time the embedding of a folder by a runner, to Parquet files.

    Raises:
        RuntimeError: it left pictures out.
    """
    parts, store = Embedder.load(_MODEL), open_store(folder)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        kept = PartStore(Path(name) / "vectors", parts.made_by, form="parquet")
        start = time.perf_counter()
        fingerprints, _ = embed_missing(store, store.list(), parts, kept, runner=runner)
        seconds = time.perf_counter() - start
        done = len(kept.finished(fingerprints))
    if done != len(fingerprints):
        raise RuntimeError(f"{done:,} of {len(fingerprints):,} pictures were embedded.")
    return seconds
