"""The protocol of an index, whatever holds its pictures; and the exact one, over all embeddings in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from visim_models.errors import QueryError
from visim_models.search.where import ColumnValues, Where

__all__ = [
    "Embeddings",
    "ExactIndex",
    "Indices",
    "PictureTexts",
    "Queries",
    "Scores",
    "SearchIndex",
    "checked_queries",
    "clamped_top_k",
]

Scores: TypeAlias = npt.NDArray[np.float32]
Indices: TypeAlias = npt.NDArray[np.int64]
Embeddings: TypeAlias = npt.NDArray[np.float32]
Queries: TypeAlias = npt.NDArray[np.floating[Any]]

_SCORES_SHARE = 0.05
_LEAST_SCORES = 2**22
"""Scores held at once: of many embeddings, that share of their matrix in memory; of few, at least 16 MiB."""

_SCANNED_AT_ONCE = 4096
_BLOCKS = 512
"""Of the scores of a query, whose largest are found first; at least four times what is asked for."""
_ROUNDING = 1e-5
"""More than float32's rounding of a cosine."""


@dataclass
class PictureTexts:
    """Everything about N pictures that is text.

    Attributes:
        file_names: N names under the image root.
        labels: N labels.
        columns: name -> N values of a further column.
    """

    file_names: list[str]
    labels: list[str]
    columns: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.file_names)

    def subset(self, indices: Sequence[int]) -> Self:
        """Return the texts of the pictures at these indices, in this order."""
        return type(self)(
            [self.file_names[index] for index in indices],
            [self.labels[index] for index in indices],
            {name: [values[index] for index in indices] for name, values in self.columns.items()},
        )

    def extend(self, others: "PictureTexts") -> None:
        """Append the texts of other pictures, which have the same columns."""
        self.file_names += others.file_names
        self.labels += others.labels
        for name, values in self.columns.items():
            values += others.columns[name]

    def by_column(self) -> dict[str, list[str]]:
        """Return every column by its name: file_name and label first."""
        return {"file_name": self.file_names, "label": self.labels, **self.columns}

    def row(self, index: int) -> Mapping[str, str]:
        """Return the further columns of one picture: name -> value."""
        return {name: values[index] for name, values in self.columns.items()}


class SearchIndex(Protocol):
    """Pictures that are searched by cosine similarity. An index identifies a picture, and no other one.

    An engine on another machine raises EngineError from every method where it does not answer within its deadline.
    """

    @property
    def width(self) -> int:
        """Return D, the length of the embeddings."""

    def __len__(self) -> int:
        """Return how many pictures there are."""

    def search(
        self, queries: Queries, *, top_k: int, label: str | None = None, where: Where | None = None
    ) -> tuple[Scores, Indices]:
        """Find the `top_k` nearest of each query by cosine similarity, nearest first.

        Args:
            queries: (Q, D) embeddings, unnormalised.
            top_k: how many to find at most.
            label: find pictures with this label alone; None for all.
            where: find pictures that this filter lets through alone.

        Returns:
            scores: (Q, k) cosines in [-1, 1]; 0 where an embedding is all zeros, which some engines never find.
            indices: (Q, k) of the pictures; of equal scores the lower index comes first. k is `top_k`, or less where
                fewer pictures are there or have the label.

        Raises:
            QueryError: `top_k` is no whole number from 1 on, a query is not finite or of another width, or the filter
                names a column that there is not.
        """

    def texts(self, indices: Indices) -> PictureTexts:
        """Return the texts of the pictures at these (n,) indices, in this order.

        Raises:
            QueryError: there is no such picture any more.
        """

    def embedding(self, file_name: str) -> npt.NDArray[np.float32]:
        """Return the (D,) embedding of a picture.

        Raises:
            QueryError: there is no such picture.
        """

    def scan(self) -> Iterator[tuple[Embeddings, PictureTexts]]:
        """Yield all pictures in parts: (n, D) float32 embeddings and their texts."""


def checked_queries(queries: Queries, width: int) -> Embeddings:
    """Return queries as (Q, D) float32.

    Raises:
        QueryError: they are of another width, or one is not finite.
    """
    rows = np.ascontiguousarray(queries, np.float32)  # (Q, D)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise QueryError(f"Queries must be of shape (Q, {width}), not {rows.shape}.")
    if not np.isfinite(rows).all():
        raise QueryError(
            "A query has values that are not finite: the network or its processor does not fit the picture."
        )
    return rows


def clamped_top_k(top_k: int, count: int) -> int:
    """Return how many of `count` pictures are found where `top_k` are asked for: all where there are fewer.

    Raises:
        QueryError: it is no whole number from 1 on.
    """
    if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or top_k < 1:
        raise QueryError(f"top_k is {top_k!r}: choose a whole number from 1 on.", key="top_k")
    return min(int(top_k), count)


class ExactIndex:
    """Embeddings that are searched one by one: the reference of `SearchIndex`.

    Args:
        embeddings: (N, D) float32, unnormalised; kept by reference.
        texts: of the N pictures, kept by reference; none where only indices are asked for.
    """

    def __init__(self, embeddings: Embeddings, texts: PictureTexts | None = None) -> None:
        self.embeddings = embeddings
        self._texts = PictureTexts([], []) if texts is None else texts
        self._columns = ColumnValues(self._texts.by_column)
        # Dividing the scores by the lengths instead of keeping normalised copies halves the memory.
        self._inverse_norms = _inverse_norms(embeddings)  # (N,)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def width(self) -> int:
        """Return D, the length of the embeddings."""
        return int(self.embeddings.shape[1])

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """Return the (N,) lengths of the embeddings."""
        with np.errstate(divide="ignore"):
            norms: npt.NDArray[np.float32] = np.float32(1) / self._inverse_norms
        return norms

    def search(
        self, queries: Queries, *, top_k: int, label: str | None = None, where: Where | None = None
    ) -> tuple[Scores, Indices]:
        """Find the nearest of each query, as `SearchIndex.search` says."""
        rows = checked_queries(queries, self.width)  # (Q, D)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        left_out = self._left_out(label, where)  # (n,)
        count = min(clamped_top_k(top_k, len(self)), len(self) - len(left_out))
        scores, indices = np.empty((len(rows), count), np.float32), np.empty((len(rows), count), np.int64)
        at_once = max(int(self.embeddings.size * _SCORES_SHARE), _LEAST_SCORES) // len(self) or 1
        for start in range(0, len(rows), at_once) if count else ():
            cosines = self._products(rows[start : start + at_once])  # (B, N)
            cosines *= self._inverse_norms
            cosines[:, left_out] = -np.inf
            for number, row in enumerate(cosines, start=start):
                among = _candidates(row, count)
                found = self._exact_cosines(rows[number], among)
                order = np.lexsort((among, -found))[:count]
                scores[number], indices[number] = found[order], among[order]
        return scores, indices

    def texts(self, indices: Indices) -> PictureTexts:
        """Return the texts of the pictures at these (n,) indices, in this order."""
        wanted = indices.tolist()
        if gone := [index for index in wanted if not 0 <= index < len(self)]:
            raise QueryError(f"The gallery has no picture {gone[0]} any more.")
        return self._texts.subset(wanted)

    def embedding(self, file_name: str) -> npt.NDArray[np.float32]:
        """Return the (D,) embedding of a picture."""
        if file_name not in self._texts.file_names:
            raise QueryError(f"The gallery has no picture {file_name!r}.", key="file_name")
        found: npt.NDArray[np.float32] = self.embeddings[self._texts.file_names.index(file_name)]
        return found

    def scan(self) -> Iterator[tuple[Embeddings, PictureTexts]]:
        """Yield all pictures in parts: (n, D) float32 embeddings and their texts."""
        for start in range(0, len(self), _SCANNED_AT_ONCE):
            part = range(start, min(start + _SCANNED_AT_ONCE, len(self)))
            yield self.embeddings[part.start : part.stop], self._texts.subset(part)

    def _left_out(self, label: str | None, where: Where | None) -> Indices:
        """Return the (n,) indices that no search may find."""
        is_out = np.zeros(len(self), bool)
        if label is not None:
            is_out |= self._columns.of("label", str) != label
        if where is not None:
            is_out |= ~where.mask(self._columns)
        return np.flatnonzero(is_out)

    def _exact_cosines(self, query: Embeddings, indices: Indices) -> Embeddings:
        """Return the (n,) cosines of a query, (D,) of length 1, with some pictures; copies of one have the same.

        A matrix product rounds a row as its index in the matrix wants it.
        """
        products = np.multiply(self.embeddings[indices], query, dtype=np.float64).sum(axis=1)  # (n,)
        found: Embeddings = (products * self._inverse_norms[indices]).clip(-1, 1).astype(np.float32)
        return found

    def _products(self, rows: Embeddings) -> Embeddings:
        """Multiply (B, D) queries with all embeddings: (B, N) inner products."""
        products: Embeddings = (self.embeddings @ rows[0])[None] if len(rows) == 1 else rows @ self.embeddings.T
        return products


def _candidates(cosines: Embeddings, count: int) -> Indices:
    """Return the rising indices of the `count` largest of (N,) cosines, and of all that rounding may have put below.

    The largest of each of many blocks are found first, which needs one pass: at least `count` cosines are as large as
    the `count`th of them, and few are.
    """
    blocks = max(_BLOCKS, 4 * count)
    length = len(cosines) // blocks
    if length > 1:
        peaks = cosines[: blocks * length].reshape(blocks, length).max(axis=1)
        least = np.partition(peaks, blocks - count)[blocks - count]
    else:
        least = np.partition(cosines, len(cosines) - count)[len(cosines) - count]
    return np.flatnonzero((cosines >= least - _ROUNDING) & (cosines > -np.inf))


def _inverse_norms(embeddings: Embeddings) -> Embeddings:
    with np.errstate(over="ignore"):  # what is too large is refused by its length, which is not finite
        norms = np.linalg.norm(embeddings, axis=1)
    inverse: Embeddings = 1 / np.maximum(norms, np.float32(1e-12))  # (N,)
    return inverse
