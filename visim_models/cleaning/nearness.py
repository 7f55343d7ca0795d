"""How much nearer two pictures of two sets are to each other than to their other neighbours, by their embeddings."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from visim_models.cleaning.neighbours import nearest_in

__all__ = ["nearness", "whitened"]

_NEIGHBOURS: Final = 10
_SMALLEST: Final = 1e-3
"""Distance that is added to that of the other neighbours: ten copies of one picture are near, too."""
_BLOCK: Final = 8192


def whitened(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the embeddings of two sets to length 1, centre them, and give all directions the same variance.

    What most pictures differ in, such as their kinds, hides what one photograph and its copy have in common. The
    covariance is shrunk towards a sphere, by as much as so few pictures call for (oracle approximating shrinkage: Chen,
    Wiesel, Eldar and Hero, "Shrinkage algorithms for MMSE covariance estimation", 2010).

    Args:
        first: (N, D).
        second: (M, D).

    Returns:
        (N, D) and (M, D) float32.
    """
    first, second = (F.normalize(rows.float(), dim=1) for rows in (first, second))
    count, width = len(first) + len(second), first.shape[1]
    mean = (first.sum(dim=0, dtype=torch.float64) + second.sum(dim=0, dtype=torch.float64)) / count  # (D,)
    covariance = torch.zeros(width, width, dtype=torch.float64)
    for block in (*first.split(_BLOCK), *second.split(_BLOCK)):
        centred = block - mean.float()  # (B, D)
        covariance += centred.T @ centred / count
    trace, squares = covariance.trace(), covariance.square().sum()
    if trace <= 0:
        return first, second  # all are the same
    share = ((1 - 2 / width) * squares + trace**2) / ((count + 1 - 2 / width) * (squares - trace**2 / width))
    share = share.nan_to_num(1.0).clamp(0, 1)
    values, vectors = torch.linalg.eigh(covariance)
    variances = (1 - share) * values.clamp(min=0) + share * trace / width  # (D,)
    scale = (vectors * variances.clamp(min=1e-4 * variances.max()).rsqrt()).float()  # (D, D)
    one, two = (torch.cat([(part - mean.float()) @ scale for part in rows.split(_BLOCK)]) for rows in (first, second))
    return one, two


def nearness(first: Tensor, second: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compare the distance of P pairs with the distances of both pictures to their other neighbours.

    Args:
        first: (N, D) embeddings.
        second: (M, D) embeddings of the other set.
        rows: (P,) indices in `first`.
        columns: (P,) indices in `second`.

    Returns:
        (P,) float32: 1 for the same embedding, 0 for a pair that is as far apart as others, less for one farther apart.
    """
    distances = torch.cat(
        [
            1 - F.cosine_similarity(first[row], second[column], dim=1)
            for row, column in zip(rows.split(_BLOCK), columns.split(_BLOCK), strict=True)
        ]
    )  # (P,)
    usual = (_usual_distances(first, second, rows) * _usual_distances(second, first, columns)).sqrt()
    return 1 - distances.clamp(min=0) / (usual + _SMALLEST)


def _usual_distances(first: Tensor, second: Tensor, rows: Tensor) -> Tensor:
    """Return the (P,) mean distances of pictures of `first` to their nearest in `second`, but the very nearest."""
    chosen, index = rows.unique(return_inverse=True)
    scores, _ = nearest_in(first[chosen], second, top_k=_NEIGHBOURS + 1)  # (C, k)
    if scores.shape[1] < 2:
        return torch.ones(len(rows))
    return (1 - scores[:, 1:].mean(dim=1))[index]
