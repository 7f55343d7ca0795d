"""Rows: the exact top 10 over N embeddings, against faiss, against numpy with a full sort, and against the memory."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.process_memory import peak_memory, reset_peak, resident_memory
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import interleaved, percentile
from visim_models import Gallery

__all__ = ["search_rows"]

_WIDTH = 514
_TOP_K = 10
_TOGETHER = 64
_MOST_RATIO = 1.2
_MOST_MEMORY = 1.1
_BANDWIDTH_BYTES = 2**28

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def search_rows(scale: Scale) -> Iterator[Row]:
    """For each N: one query; for the middle N many together; for the largest its memory.

    Raises:
        ImportError: faiss is not installed.
    """
    bandwidth = _bandwidth()
    for count in scale.searched:
        before = resident_memory()
        rows = _unit_rows(count)
        reset_peak()
        gallery = Gallery([f"{place}.jpg" for place in range(count)], [""] * count, rows)
        gallery.search(rows[:1], top_k=_TOP_K)
        gallery.search(rows[:_TOGETHER], top_k=_TOP_K)
        memory = peak_memory() - before
        yield from _rows(gallery, _queries(1), scale.rounds, bandwidth)
        if count == scale.searched[len(scale.searched) // 2]:
            yield from _rows(gallery, _queries(_TOGETHER), max(scale.rounds - 2, 1), bandwidth)
        if count == scale.searched[-1]:
            yield Row(
                what=f"memory of a gallery of {count:,} while it is made and searched", measured=memory / 1e6,
                unit="MB", baseline_name="its float32 matrix", baseline=rows.nbytes / 1e6,
                ratio=memory / rows.nbytes, target=f"<= {_MOST_MEMORY}x", met=memory / rows.nbytes <= _MOST_MEMORY,
                note="names and labels included",
            )  # fmt: skip


def _rows(gallery: Gallery, queries: Tensor, rounds: int, bandwidth: float) -> Iterator[Row]:
    import faiss  # of the dev extra

    matrix, wanted = gallery.embeddings, queries.numpy()
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(_WIDTH)
    index.add(matrix)
    works = {
        "visim": lambda: gallery.search(queries, top_k=_TOP_K),
        "faiss": lambda: index.search(wanted, _TOP_K),
        "numpy": lambda: _sorted_in_full(matrix, wanted),
    }
    ours = gallery.search(queries, top_k=_TOP_K)
    check_same(ours, index.search(wanted, _TOP_K), matrix, wanted)
    check_same(ours, _sorted_in_full(matrix, wanted), matrix, wanted)
    short = max(1, min(20, 2_000_000 // (len(gallery) * len(queries))))
    seconds = interleaved(works, rounds=rounds, each={"visim": short, "faiss": short})
    times = {name: percentile(values, 0.5) * 1e3 for name, values in seconds.items()}
    many = f", {len(queries)} queries at once" if len(queries) > 1 else ""
    what = f"exact top {_TOP_K} of {len(gallery):,} x {_WIDTH}{many}"
    threads = torch.get_num_threads()
    measured = times["visim"]
    yield Row(
        what=what, measured=measured, unit="ms", baseline_name=f"faiss IndexFlatIP, {threads} threads",
        baseline=times["faiss"], ratio=measured / times["faiss"], target=f"<= {_MOST_RATIO}x its time",
        met=measured <= _MOST_RATIO * times["faiss"], note="the same results",
    )  # fmt: skip
    yield Row(
        what=what, measured=measured, unit="ms", baseline_name="numpy product, full sort", baseline=times["numpy"],
        ratio=measured / times["numpy"],
    )  # fmt: skip
    floor = matrix.nbytes / bandwidth * 1e3
    yield Row(
        what=what, measured=measured, unit="ms", baseline_name="reading the matrix once", baseline=floor,
        ratio=measured / floor, note=f"at {bandwidth / 1e9:.1f} GB/s; less where the matrix fits the cache",
    )  # fmt: skip


def check_same(ours: Found, theirs: Found, matrix: npt.NDArray[np.float32], queries: npt.NDArray[np.float32]) -> None:
    """Two answers must name the same rows in the same order, but for scores that differ by rounding alone.

    Raises:
        RuntimeError: they do not.
    """
    rows, ranks = np.nonzero(ours[1] != theirs[1])
    exact = queries.astype(np.float64)[rows]
    scores = [(exact * matrix[found[1][rows, ranks]]).sum(axis=1) for found in (ours, theirs)]
    if not (np.allclose(ours[0], theirs[0], atol=1e-5) and np.allclose(scores[0], scores[1], atol=1e-6)):
        raise RuntimeError(f"the results differ: {ours[1].tolist()} and {theirs[1].tolist()}")


def _sorted_in_full(matrix: npt.NDArray[np.float32], queries: npt.NDArray[np.float32]) -> Found:
    scores = queries @ matrix.T  # (Q, N)
    order = np.argsort(-scores, axis=1)[:, :_TOP_K]  # (Q, k)
    return np.take_along_axis(scores, order, axis=1), order


def _unit_rows(count: int) -> Tensor:
    """(count, D) rows of length 1, made in parts: nothing but the result is ever large."""
    generator = torch.Generator().manual_seed(count)
    rows = torch.empty(count, _WIDTH)
    for part in rows.split(50_000):
        part.normal_(generator=generator).div_(part.norm(dim=1, keepdim=True))
    return rows


def _queries(count: int) -> Tensor:
    rows = torch.randn(count, _WIDTH, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(rows, dim=1)


def _bandwidth() -> float:
    """Bytes a second that all cores read from memory."""
    block = torch.ones(_BANDWIDTH_BYTES // 4)
    seconds = interleaved({"read": block.sum}, rounds=5)["read"]
    return block.nbytes / percentile(seconds, 0.5)
