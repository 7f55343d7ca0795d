"""Rows: the exact top 10 over N embeddings, against faiss, against numpy with a full sort, and against the memory."""

import multiprocessing
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.measuring import Floor, Row, Work, interleaved, median, medians
from benchmarks.processes import peak_memory, reset_peak, resident_memory
from benchmarks.scale import Scale
from visim_models import Gallery, MissingExtraError

__all__ = ["check_same", "search_rows"]

_WIDTH = 514
_TOP_K = 10
_TOGETHER = 64
_MOST_RATIO = 1.2
_MOST_MEMORY = 1.1
_MATRIX = "one pass over the matrix"

Rows = npt.NDArray[np.float32]
Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def search_rows(scale: Scale) -> Iterator[Row]:
    """Measure one query for each N, many together for the middle N, and the memory of the largest.

    Raises:
        MissingExtraError: faiss is not installed.
    """
    for count in scale.searched:
        gallery = _gallery(count)
        yield from _rows(gallery, _queries(1), scale.rounds)
        if count == scale.searched[len(scale.searched) // 2]:
            yield from _rows(gallery, _queries(_TOGETHER), scale.long_rounds)
        del gallery
    yield _memory_row(scale.searched[-1], scale.long_rounds)


def _rows(gallery: Gallery, queries: Rows, rounds: int) -> Iterator[Row]:
    times = _times(gallery, queries, rounds)
    together = f", {len(queries)} queries at once" if len(queries) > 1 else ""
    for name, work, most in (("faiss IndexFlatIP", "faiss", _MOST_RATIO), ("numpy product, full sort", "numpy", None)):
        ratio = times["visim"] / times[work]
        yield Row(
            what=f"exact top {_TOP_K} of {len(gallery):,} x {_WIDTH}{together}",
            measured=times["visim"],
            unit="ms",
            baseline_name=name,
            baseline=times[work],
            ratio=ratio,
            ratio_unit="of its time",
            floors=(Floor(_MATRIX, times[_MATRIX]),),
            target=f"<= {most} of its time" if most else "",
            met=ratio <= most if most else None,
            note=f"the same results; threads: {torch.get_num_threads()}",
        )


def _times(gallery: Gallery, queries: Rows, rounds: int) -> dict[str, float]:
    """Check that all give the same results, and return the milliseconds of each."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss-cpu", extra="dev", purpose="The search's baseline") from error

    matrix = gallery.embeddings
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(_WIDTH)
    index.add(matrix)
    ours = gallery.search(queries, top_k=_TOP_K)
    check_same(ours, index.search(queries, _TOP_K), matrix, queries)
    check_same(ours, _sorted_in_full(matrix, queries), matrix, queries)
    works: dict[str, Work] = {
        "visim": lambda: gallery.search(queries, top_k=_TOP_K),
        "faiss": lambda: index.search(queries, _TOP_K),
        "numpy": lambda: _sorted_in_full(matrix, queries),
        _MATRIX: torch.from_numpy(matrix).sum,
    }
    often = max(1, min(20, 2_000_000 // (len(gallery) * len(queries))))
    each = {"visim": often, "faiss": often, _MATRIX: often}
    return medians(interleaved(works, rounds=rounds, each=each), scale=1e3)


def _memory_row(count: int, rounds: int) -> Row:
    """Measure each round in a process of its own, which no other work has grown or left memory in."""
    matrix = 4 * count * _WIDTH
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory = median(pool.map(_measure_memory, [count] * rounds, chunksize=1))
        pool.close()
        pool.join()
    return Row(
        what=f"memory of a gallery of {count:,} while it is made and searched",
        measured=memory / 1e6,
        unit="MB",
        baseline_name="its float32 matrix",
        baseline=matrix / 1e6,
        ratio_unit="of its size",
        target=f"<= {_MOST_MEMORY} of its size",
        met=memory / matrix <= _MOST_MEMORY,
        note="names and labels included",
    )


def _measure_memory(count: int) -> int:
    """Return the most bytes that making and searching a gallery adds to this process."""
    _gallery(10).search(_queries(1), top_k=_TOP_K)  # the first search starts threads
    before = resident_memory()
    reset_peak()
    gallery = _gallery(count)
    gallery.search(_queries(1), top_k=_TOP_K)
    gallery.search(_queries(_TOGETHER), top_k=_TOP_K)
    return peak_memory() - before


def check_same(ours: Found, theirs: Found, matrix: Rows, queries: Rows) -> None:
    """Check that two answers name the same rows in the same order, but for scores that differ by rounding alone.

    Raises:
        RuntimeError: they do not.
    """
    rows, ranks = np.nonzero(ours[1] != theirs[1])
    exact = queries.astype(np.float64)[rows]
    scores = [(exact * matrix[found[1][rows, ranks]]).sum(axis=1) for found in (ours, theirs)]
    if not (np.allclose(ours[0], theirs[0], atol=1e-5) and np.allclose(scores[0], scores[1], atol=1e-6)):
        raise RuntimeError(f"The results differ: {ours[1].tolist()} and {theirs[1].tolist()}.")


def _sorted_in_full(matrix: Rows, queries: Rows) -> Found:
    scores = queries @ matrix.T  # (Q, N)
    order = np.argsort(-scores, axis=1)[:, :_TOP_K]  # (Q, k)
    return np.take_along_axis(scores, order, axis=1), order


def _gallery(count: int) -> Gallery:
    return Gallery([f"{number}.jpg" for number in range(count)], [""] * count, _unit_rows(count))


def _unit_rows(count: int) -> Rows:
    """Make (count, D) rows of length 1, in parts, so that nothing but the result is ever large."""
    generator = np.random.default_rng(count)
    rows = np.empty((count, _WIDTH), np.float32)
    for start in range(0, count, 50_000):
        part = rows[start : start + 50_000]
        generator.standard_normal(dtype=np.float32, out=part)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def _queries(count: int) -> Rows:
    rows = np.random.default_rng(1).standard_normal((count, _WIDTH), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
