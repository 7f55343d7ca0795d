"""Relevance feedback: a query of several pictures, and matches that are less like pictures a user does not want."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from visim_models.gallery import Gallery
from visim_models.search.results import Match

__all__ = ["average_embedding", "less_like"]

_WEIGHT = 0.5


def average_embedding(embeddings: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Return the average of the directions of embeddings.

    Args:
        embeddings: each (D,), at least one.

    Returns:
        (D,) float32: the mean of the embeddings, each of length 1.
    """
    together = np.stack(embeddings)  # (N, D)
    lengths = np.linalg.norm(together, axis=1, keepdims=True)  # (N, 1)
    mean: npt.NDArray[np.float32] = (together / np.maximum(lengths, 1e-12)).mean(axis=0).astype(np.float32)  # (D,)
    return mean


def less_like(gallery: Gallery, matches: Sequence[Match], unwanted: Sequence[str]) -> list[Match]:
    """Order matches by their score, less half of their mean cosine with the pictures that are not wanted.

    Args:
        gallery: of the matches.
        matches: of a query. Their scores stay those with the query.
        unwanted: file names, at least one; they are left out.

    Returns:
        The other matches, the best first; those that are equal stay in order.

    Raises:
        QueryError: the gallery has no such picture.
        EngineError: the engine of the gallery does not answer within the deadline.

    Source: the negative part of the formula of Rocchio, "Relevance feedback in information retrieval" (1971).
    """
    if not (left := [match for match in matches if match.file_name not in unwanted]):
        return []
    directions = _directions(gallery, [match.file_name for match in left])  # (N, D)
    cosines = directions @ _directions(gallery, unwanted).mean(axis=0)  # (N,)
    ranks = [match.score - _WEIGHT * float(cosine) for match, cosine in zip(left, cosines, strict=True)]
    return [left[index] for index in sorted(range(len(left)), key=lambda index: -ranks[index])]


def _directions(gallery: Gallery, file_names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the embeddings of pictures, each of length 1: (N, D)."""
    embeddings = np.stack([gallery.embedding(name) for name in file_names])  # (N, D)
    lengths = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)  # (N, 1)
    directions: npt.NDArray[np.float32] = (embeddings / lengths).astype(np.float32)
    return directions
