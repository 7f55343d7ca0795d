"""Exact nearest neighbours by cosine similarity, over all embeddings in memory."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models.errors import QueryError
from visim_models.search.index import (
    Indices,
    PictureTexts,
    Queries,
    Scores,
    check_width,
    checked_queries,
    checked_top_k,
)

__all__ = ["ExactIndex"]

_SCORES_SHARE = 0.05
_LEAST_SCORES = 2**22
"""Scores held at once: of many embeddings, that share of their matrix in memory; of few, at least 16 MiB."""

_SCANNED_AT_ONCE = 4096


class ExactIndex:
    """Embeddings that are searched one by one: the reference of `SearchIndex`.

    Args:
        embeddings: (N, D) float32, unnormalised; kept by reference.
        texts: of the N pictures, kept by reference; none where only indices are asked for.
    """

    def __init__(self, embeddings: Tensor, texts: PictureTexts | None = None) -> None:
        self.embeddings = embeddings
        self._texts = PictureTexts([], []) if texts is None else texts
        self._removed: set[int] = set()
        # Dividing the scores by the lengths instead of keeping normalised copies halves the memory.
        self._inverse_norms = _inverse_norms(embeddings)  # (N,)

    def __len__(self) -> int:
        return len(self.embeddings) - len(self._removed)

    @property
    def width(self) -> int:
        """Return D, the length of the embeddings."""
        return self.embeddings.shape[1]

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """Return the (N,) lengths of the embeddings."""
        norms: npt.NDArray[np.float32] = self._inverse_norms.reciprocal().numpy()
        return norms

    def add(self, embeddings: Tensor, texts: PictureTexts) -> Indices:
        """Add N pictures with (N, D) embeddings, unnormalised; return their (N,) indices.

        Raises:
            GalleryMismatchError: the embeddings are of another width.
        """
        check_width(embeddings, self.width)
        first = len(self.embeddings)
        self.embeddings = torch.cat([self.embeddings, embeddings.float()])
        self._inverse_norms = _inverse_norms(self.embeddings)
        self._texts.extend(texts)
        return np.arange(first, len(self.embeddings))

    def remove(self, indices: Indices) -> None:
        """Remove the pictures at these (n,) indices; an index without a picture is ignored."""
        self._removed.update(index for index in indices.tolist() if 0 <= index < len(self.embeddings))

    def search(self, queries: Queries, *, top_k: int, label: str | None = None) -> tuple[Scores, Indices]:
        """Find the `top_k` nearest of each query by cosine similarity, nearest first.

        Of equal scores, the one of the lower index comes first.

        Args:
            queries: (Q, D) embeddings, unnormalised.
            top_k: how many to find, 1 to N.
            label: find pictures with this label alone; None for all.

        Returns:
            scores: (Q, k) cosines in [-1, 1]; 0 where an embedding is all zeros.
            indices: (Q, k) of the embeddings; k is `top_k`, or less where fewer pictures have the label.

        Raises:
            QueryError: `top_k` or the width of the queries does not fit, or a query is not finite.
        """
        rows = torch.nn.functional.normalize(checked_queries(queries, self.width), dim=1)  # (Q, D)
        count = checked_top_k(top_k, len(self))
        left_out = self._left_out(label)  # (n,)
        count = min(count, len(self.embeddings) - len(left_out))
        at_once = max(int(self.embeddings.numel() * _SCORES_SHARE), _LEAST_SCORES) // len(self.embeddings) or 1
        scores, indices = [np.empty((0, count), np.float32)], [np.empty((0, count), np.int64)]
        for block in rows.split(at_once) if count and len(rows) else ():
            cosines = self._products(block).mul_(self._inverse_norms)  # (B, N)
            cosines[:, left_out] = -torch.inf
            best, where = _best(cosines, count)  # (B, k)
            scores.append(best.clamp_(-1, 1).numpy())
            indices.append(where.numpy())
        if not count:
            return np.empty((len(rows), 0), np.float32), np.empty((len(rows), 0), np.int64)
        return np.concatenate(scores), np.concatenate(indices)

    def texts(self, indices: Indices) -> PictureTexts:
        """Return the texts of the pictures at these (n,) indices, in this order.

        Raises:
            QueryError: there is no such picture any more.
        """
        wanted = indices.tolist()
        if gone := [index for index in wanted if index in self._removed or not 0 <= index < len(self.embeddings)]:
            raise QueryError(f"The gallery has no picture {gone[0]} any more.")
        return self._texts.subset(wanted)

    def embedding(self, file_name: str) -> npt.NDArray[np.float32]:
        """Return the (D,) embedding of a picture.

        Raises:
            QueryError: there is no such picture.
        """
        for index, name in enumerate(self._texts.file_names):
            if name == file_name and index not in self._removed:
                found: npt.NDArray[np.float32] = self.embeddings[index].numpy()
                return found
        raise QueryError(f"The gallery has no picture {file_name!r}.", key="file_name")

    def scan(self) -> Iterator[tuple[Tensor, PictureTexts]]:
        """Yield all pictures in parts: (n, D) float32 embeddings and their texts."""
        kept = [index for index in range(len(self.embeddings)) if index not in self._removed]
        for start in range(0, len(kept), _SCANNED_AT_ONCE):
            part = kept[start : start + _SCANNED_AT_ONCE]
            yield self.embeddings[part], self._texts.subset(part)

    def close(self) -> None:
        """Do nothing: the memory goes with the index."""

    def _left_out(self, label: str | None) -> Tensor:
        """Return the (n,) indices that no search may find."""
        other = () if label is None else (i for i, found in enumerate(self._texts.labels) if found != label)
        return torch.tensor(sorted(self._removed.union(other)), dtype=torch.long)

    def _products(self, rows: Tensor) -> Tensor:
        """Multiply (B, D) queries with all embeddings: (B, N) inner products."""
        if len(rows) == 1:  # numpy's OpenBLAS reads the matrix at twice the speed of torch's MKL on AMD's processors
            return torch.from_numpy(self.embeddings.numpy() @ rows[0].numpy())[None]
        # The large matrix on the left: on the right of a few rows, it would be copied to be packed.
        return (self.embeddings @ rows.T).T


def _best(cosines: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the `count` largest of each row, (B, N) -> (B, k) values and indices; of equal ones the lowest indices.

    `topk` leaves open which of equal values it takes, and in which order.
    """
    found = cosines.topk(min(count + 1, cosines.shape[1]), dim=1)  # one more shows whether it had to choose
    indices, by_index = found.indices[:, :count].sort(dim=1)
    values, order = found.values[:, :count].gather(1, by_index).sort(dim=1, descending=True, stable=True)
    indices = indices.gather(1, order)  # (B, k)
    if found.values.shape[1] > count:
        for row in (found.values[:, count - 1] == found.values[:, count]).nonzero()[:, 0].tolist():
            at_least = (cosines[row] >= found.values[row, count]).nonzero()[:, 0]  # (n,) rising
            values[row], order_of_row = (
                part[:count] for part in cosines[row, at_least].sort(descending=True, stable=True)
            )
            indices[row] = at_least[order_of_row]
    return values, indices


def _inverse_norms(embeddings: Tensor) -> Tensor:
    inverse: Tensor = embeddings.norm(dim=1).clamp(min=1e-12).reciprocal()  # (N,)
    return inverse
