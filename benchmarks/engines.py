"""Rows: search in engines against the exact index in memory, and the runners that embed for them against a build."""

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

import numpy as np
import torch
from torch import Tensor

import hub
from benchmarks.measuring import Floor, Row, Work, interleaved, median, percentile
from benchmarks.processes import EngineProcess, missing_package, running_cluster, running_engine
from benchmarks.scale import Scale, are_photographs, jpegs, write_folder
from visim_models import ImageProcessor
from visim_models.galleries.embed import Embedder, embed_missing, embed_store
from visim_models.galleries.part_store import PartStore
from visim_models.galleries.sources import open_store
from visim_models.models import TorchNetwork, load_model
from visim_models.repo_folder import RepoFolder
from visim_models.search import ExactIndex, PictureTexts
from visim_models.search.engine import collection_name
from visim_models.search.milvus import MilvusIndex

__all__ = ["engine_rows", "runner_rows"]

_TOP_K: Final = 10
_TOGETHER: Final = 64
_NOISE: Final = 0.3
"""Of the noise that is added to repeated embeddings, as a share of the spread of each number."""

_KINDS: Final = (("milvus-lite", "FLAT"), ("milvus 2.3.5", "FLAT"), ("milvus 2.3.5", "HNSW"))
_MATRIX: Final = "one pass over the matrix"
_ADDED_AT_ONCE: Final = 10_000
_MEMORY_OF_ROWS: Final = 1.5
"""What an engine takes for more rows, as a multiple of their size: it was 0.8 to 1.3."""


@dataclass(frozen=True)
class _Figures:
    """What one index takes: seconds of each query and of each 64 at once, recall, and the costs of the engine."""

    one: list[float]
    many: list[float]
    recall: float
    build: float
    disk: int
    memory: int


def engine_rows(scale: Scale) -> Iterator[Row]:
    """Measure each engine at each size, as long as time and memory last."""
    for model in scale.indexed_models:
        real = _real_embeddings(model, scale)
        smaller: dict[tuple[str, str], _Figures] = {}
        before = 0
        for count in scale.indexed:
            if 3 * 4 * count * real.shape[1] > _available_memory():
                print(f"not measured: {count:,} x {real.shape[1]} do not fit in memory", file=sys.stderr)
                break
            matrix = _repeated(real, count)
            queries = _repeated(real, max(scale.rounds * scale.queries, _TOGETHER), seed=1)
            exact = ExactIndex(matrix.numpy())
            for name, kind in _KINDS:
                if package := missing_package(name):
                    print(f"not measured: {name} needs the package {package}", file=sys.stderr)
                    continue
                if before and (excess := _excess(smaller.get((name, kind)), before, matrix, scale)):
                    print(f"not measured: {name} {kind} of {count:,} would take {excess}", file=sys.stderr)
                    continue
                figures = _measure(name, kind, matrix, exact, queries, scale)
                smaller[name, kind] = figures
                yield _row(name, kind, matrix, exact, queries, figures, scale)
            before = count


def _row(
    name: str, kind: str, matrix: Tensor, exact: ExactIndex, queries: Tensor, figures: _Figures, scale: Scale
) -> Row:
    works: dict[str, Work] = {"exact": lambda: exact.search(queries[:1].numpy(), top_k=_TOP_K), _MATRIX: matrix.sum}
    times = {work: 1e3 * median(found) for work, found in interleaved(works, rounds=scale.rounds).items()}
    measured = 1e3 * median(figures.one)
    count, width = matrix.shape
    return Row(
        what=f"top {_TOP_K} of {count:,} x {width}, {name} {kind}",
        measured=measured,
        unit="ms",
        baseline_name="exact, in memory",
        baseline=times["exact"],
        ratio_unit="of its time",
        floors=(Floor(_MATRIX, times[_MATRIX]),),
        note=(
            f"p95 {1e3 * percentile(figures.one, 0.95):.3g} ms; {_TOGETHER} at once: p50 "
            f"{1e3 * median(figures.many):.3g} ms, p95 {1e3 * percentile(figures.many, 0.95):.3g} ms; recall at "
            f"{_TOP_K} {figures.recall:.4f}; built in {figures.build:.3g} s; disk {figures.disk / 1e6:,.0f} MB; memory "
            f"{figures.memory / 1e6:,.0f} MB; the matrix {4 * count * width / 1e6:,.0f} MB"
        ),
    )


def _excess(smaller: _Figures | None, before: int, matrix: Tensor, scale: Scale) -> str:
    """Return what the index of a matrix would take too much of, by one of fewer rows; "" if nothing."""
    if smaller is None:
        return "more than a smaller one, which was not measured"
    if (seconds := smaller.build * len(matrix) / before) > scale.seconds_an_index:
        return f"{seconds:,.0f} s"
    added = 4 * matrix.shape[1] * (len(matrix) - before)
    if (memory := smaller.memory + _MEMORY_OF_ROWS * added) > _available_memory():
        return f"{memory / 1e9:,.1f} GB of memory"
    return ""


def _measure(name: str, kind: str, matrix: Tensor, exact: ExactIndex, queries: Tensor, scale: Scale) -> _Figures:
    """Fill an engine that is new, and search it."""
    with (
        tempfile.TemporaryDirectory(prefix="visim-bench-") as folder,
        running_engine(name, Path(folder) / "engine") as engine,
    ):
        start = time.perf_counter()
        index, positions = _filled(engine, kind, matrix)
        build = time.perf_counter() - start
        one, found = [], []
        for number in range(scale.rounds * scale.queries):
            begun = time.perf_counter()
            _, indices = index.search(queries[number : number + 1].numpy(), top_k=_TOP_K)
            one.append(time.perf_counter() - begun)
            found.append([positions[each] for each in indices[0].tolist()])
        _, wanted = exact.search(queries[: len(found)].numpy(), top_k=_TOP_K)
        recall = float(
            np.mean([len({*row} & {*true}) / _TOP_K for row, true in zip(found, wanted.tolist(), strict=True)])
        )
        together: dict[str, Work] = {"many": lambda: index.search(queries[:_TOGETHER].numpy(), top_k=_TOP_K)}
        many = interleaved(together, rounds=scale.rounds)["many"]
        figures = _Figures(one, many, recall, build, engine.disk, engine.memory)
        index.close()
    return figures


def _filled(engine: EngineProcess, kind: str, matrix: Tensor) -> tuple[MilvusIndex, dict[int, int]]:
    """Return an index of a matrix, opened again as a gallery opens it, and index -> row of the matrix."""
    alias = collection_name("bench", "1", "2")
    new = MilvusIndex.create(engine.address, alias, width=matrix.shape[1], kind=kind)
    positions: dict[int, int] = {}
    for start in range(0, len(matrix), _ADDED_AT_ONCE):
        part = matrix[start : start + _ADDED_AT_ONCE]
        names = [f"{number}.jpg" for number in range(start, start + len(part))]
        indices = new.add(part.numpy(), PictureTexts(names, ["car"] * len(part)))
        positions |= dict(zip(indices.tolist(), range(start, start + len(part)), strict=True))
    new.publish(alias)
    new.close()
    index = MilvusIndex(engine.address, alias, width=matrix.shape[1], kind=kind, count=len(matrix), timeout=120)
    index.search(matrix[:1].numpy(), top_k=1)  # what is loaded at the first search is not what is measured
    return index, positions


def _real_embeddings(model: str, scale: Scale) -> Tensor:
    """Return the embeddings of a repo's gallery; of a repo without one, those of some pictures."""
    repo = RepoFolder(hub.locate(model))
    if repo.has("gallery/embeddings.safetensors"):
        return torch.from_numpy(hub.load(model).gallery.embeddings)
    network, processor = TorchNetwork(load_model(repo)), ImageProcessor.load(repo)
    pixels = (processor(picture)[None] for picture in jpegs("cars", scale.built_generally // 4, data=scale.data))
    return torch.from_numpy(np.concatenate([network.embed(each) for each in pixels]))


def _repeated(real: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Return (count, D) rows: real ones, repeated with noise, rounded to float16 as galleries store them."""
    generator = torch.Generator().manual_seed(seed)
    spread = _NOISE * real.std(dim=0)  # (D,)
    rows = torch.empty(count, real.shape[1])
    for start in range(0, count, _ADDED_AT_ONCE):
        part = rows[start : start + _ADDED_AT_ONCE]
        chosen = torch.randint(len(real), (len(part),), generator=generator)
        part.copy_(real[chosen]).add_(torch.randn(part.shape, generator=generator) * spread)
        part.copy_(part.half())
    return rows


def _available_memory() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


_EMBEDDED_BY: Final = hub.locate("car-extractor")
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
    parts, store = Embedder.load(_EMBEDDED_BY), open_store(folder)
    start = time.perf_counter()
    list(embed_store(store, sorted(store.list()), parts))
    return time.perf_counter() - start


def _runner_seconds(folder: Path, runner: str | None) -> float:
    """Time the embedding of a folder by a runner, to Parquet files.

    Raises:
        RuntimeError: it left pictures out.
    """
    parts, store = Embedder.load(_EMBEDDED_BY), open_store(folder)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        kept = PartStore(Path(name) / "vectors", parts.made_by, form="parquet")
        start = time.perf_counter()
        fingerprints, _ = embed_missing(store, store.list(), parts, kept, runner=runner)
        seconds = time.perf_counter() - start
        done = len(kept.finished(fingerprints))
    if done != len(fingerprints):
        raise RuntimeError(f"{done:,} of {len(fingerprints):,} pictures were embedded.")
    return seconds
