"""Exact nearest neighbours by cosine similarity, over all embeddings in memory."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models.errors import QueryError

__all__ = ["ExactIndex"]

_SCORES_SHARE = 0.05
_LEAST_SCORES = 2**22
"""Scores held at once: of many embeddings, that share of their matrix in memory; of few, at least 16 MiB."""


class ExactIndex:
    """Embeddings that are searched one by one.

    Args:
        embeddings: (N, D) float32, unnormalised; kept by reference.
    """

    def __init__(self, embeddings: Tensor) -> None:
        self.embeddings = embeddings
        # Dividing the scores by the lengths instead of keeping normalised copies halves the memory.
        self._inverse_norms = embeddings.norm(dim=1).clamp(min=1e-12).reciprocal()  # (N,)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """Return the (N,) lengths of the embeddings."""
        norms: npt.NDArray[np.float32] = self._inverse_norms.reciprocal().numpy()
        return norms

    def search(
        self, queries: npt.NDArray[np.floating[Any]] | Tensor, *, top_k: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Find the `top_k` nearest of each query by cosine similarity, nearest first.

        Of equal scores, the one of the lower index comes first.

        Args:
            queries: (Q, D) embeddings, unnormalised.
            top_k: how many to find, 1 to N.

        Returns:
            scores: (Q, top_k) cosines in [-1, 1]; 0 where an embedding is all zeros.
            indices: (Q, top_k) of the embeddings.

        Raises:
            QueryError: `top_k` or the width of the queries does not fit, or a query is not finite.
        """
        rows = torch.as_tensor(queries).float()  # (Q, D)
        if rows.ndim != 2 or rows.shape[1] != self.embeddings.shape[1]:
            raise QueryError(f"Queries must be of shape (Q, {self.embeddings.shape[1]}), not {tuple(rows.shape)}.")
        if not torch.isfinite(rows).all():
            raise QueryError(
                "A query has values that are not finite: the network or its processor does not fit the picture."
            )
        count = self.checked_top_k(top_k)
        rows = torch.nn.functional.normalize(rows, dim=1)
        at_once = max(int(self.embeddings.numel() * _SCORES_SHARE), _LEAST_SCORES) // len(self) or 1
        scores, indices = [], []
        for block in rows.split(at_once):
            cosines = self._products(block).mul_(self._inverse_norms)  # (B, N)
            best, where = _best(cosines, count)  # (B, k)
            scores.append(best.clamp_(-1, 1))
            indices.append(where)
        if not scores:
            return np.empty((0, count), np.float32), np.empty((0, count), np.int64)
        return torch.cat(scores).numpy(), torch.cat(indices).numpy()

    def checked_top_k(self, top_k: int) -> int:
        """Return `top_k` if so many can be found.

        Raises:
            QueryError: it is no whole number from 1 to N.
        """
        if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or not 1 <= top_k <= len(self):
            raise QueryError(
                f"top_k is {top_k!r}: choose a whole number from 1 to {len(self)}, the gallery's size.", key="top_k"
            )
        return int(top_k)

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
