"""The protocol of an index: pictures by their embeddings, in memory or in an engine on another machine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from visim_models.errors import QueryError
from visim_models.search.where import Where

__all__ = [
    "Embeddings",
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
