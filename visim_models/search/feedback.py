"""Work on with a result: a query of several pictures, matches less like others, how and where two pictures agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from visim_models.errors import QueryError
from visim_models.galleries.near_duplicates import SAME_PHOTOGRAPH, picture_groups
from visim_models.gallery import Gallery
from visim_models.images.decode import ImageSource, decode_image
from visim_models.pipeline import VisualSimilarity
from visim_models.search.results import Match

__all__ = ["PairScore", "average_embedding", "less_like", "relative_agreement_map", "score_pair"]

_Floats: TypeAlias = npt.NDArray[np.float32]

_WEIGHT: Final = 0.5
_WINDOW: Final = 4
"""The cover's side is this part of the picture's."""
_STEPS: Final = 9
"""How many positions the cover takes along each side, the outermost ones half beyond the edge."""
_UNRELATED: Final = 100
_PERCENTILE: Final = 0.95
"""How many pictures of other labels fix the scale, and which of their most is its unit."""
_COMPARED: Final = 1000
"""How many pictures of a gallery, evenly spaced, say what a score means in it."""


def average_embedding(embeddings: Sequence[_Floats]) -> _Floats:
    """Return the average of the directions of embeddings.

    Args:
        embeddings: each (D,), at least one.

    Returns:
        (D,) float32: the mean of the embeddings, each of length 1.
    """
    mean: _Floats = _directions(embeddings).mean(axis=0)  # (D,)
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
    directions = _directions([gallery.embedding(match.file_name) for match in left])  # (N, D)
    dislike = _directions([gallery.embedding(name) for name in unwanted]).mean(axis=0)  # (D,)
    cosines = directions @ dislike  # (N,)
    ranks = [match.score - _WEIGHT * float(cosine) for match, cosine in zip(left, cosines, strict=True)]
    return [left[index] for index in sorted(range(len(left)), key=lambda index: -ranks[index])]


@dataclass(frozen=True)
class PairScore:
    """How alike two pictures are.

    Attributes:
        score: cosine of their embeddings, in [-1, 1].
        share_below: share of the pairs of pictures of the gallery that are less alike, 0 to 1.
        probability: that a match with this score has the label of its query; None where it was not measured.
        is_copy: one is a near-duplicate of the other.
    """

    score: float
    share_below: float
    probability: float | None
    is_copy: bool


def score_pair(similarity: VisualSimilarity, one: ImageSource, other: ImageSource) -> PairScore:
    """Compare two pictures by the network of a gallery.

    Args:
        similarity: the network, and the gallery in which the score gets its meaning.
        one: path, bytes, PIL image or (H, W, 3) uint8 array.
        other: likewise.

    Raises:
        ImageDecodeError: one is not a picture, or not one that is safe to decode.

    Example:
        >>> score_pair(cars, "one.jpg", "other.jpg")
        PairScore(score=0.81, share_below=0.97, probability=0.64, is_copy=False)
    """
    pictures = [decode_image(one), decode_image(other)]
    first, second = _directions(similarity.embed_batch(pictures))
    score = float(np.clip(first @ second, -1, 1))
    shown = similarity.gallery.embeddings
    sample = _directions(shown[:: max(1, len(shown) // _COMPARED)])  # (n, D)
    pairs = (sample @ sample.T)[np.triu_indices(len(sample), 1)]  # (n (n - 1) / 2,)
    probability = similarity.match_probability
    return PairScore(
        score,
        float((pairs < score).mean()) if len(pairs) else 0.0,
        probability(score) if probability else None,
        len(set(picture_groups(pictures, threshold=SAME_PHOTOGRAPH))) == 1,
    )


def relative_agreement_map(
    similarity: VisualSimilarity, image: ImageSource, embedding: _Floats, *, label: str
) -> _Floats:
    """Map how much each part of a picture adds to its similarity with another one, on a scale that is always the same.

    A square of the picture's mean colour is moved over it. The more the cosine with the other embedding falls while a
    part is covered, the more similarity is in that part. The map needs no gradients: it measures the same cosine that
    the search compares. Its unit is the most that covering a part costs of the similarity with an unrelated picture:
    the 95th percentile of gallery pictures of other labels. Where nothing is above 1, the two pictures have no part in
    common that stands out.

    Args:
        similarity: the pipeline that compares.
        image: path, bytes, PIL image or (H, W, 3) uint8 array.
        embedding: (D,) of the other picture.
        label: of the match; the unrelated pictures have others, where the gallery has any.

    Returns:
        (S, S) float32 over the processor's square, at least 0.

    Raises:
        ImageDecodeError: it is not a picture, or not one that is safe to decode.
        QueryError: the embedding's width is not the gallery's.

    Source: the occlusion maps of Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014).
    """
    gallery, other = similarity.gallery, np.asarray(embedding, np.float32)
    width = gallery.embeddings.shape[1]
    if other.shape != (width,):
        raise QueryError(f"The other embedding must be of shape ({width},), not {other.shape}.")
    unlike = [index for index, each in enumerate(gallery.labels) if each != label] or list(range(len(gallery.labels)))
    chosen = unlike[:: max(1, len(unlike) // _UNRELATED)][:_UNRELATED]
    losses = _losses(similarity, image, np.concatenate([other[None], gallery.embeddings[chosen]]))  # (1 + N, P)
    usual = max(np.quantile(losses[1:].max(axis=1), _PERCENTILE), 1e-6)
    found: _Floats = (_spread(losses[0].reshape(_STEPS, _STEPS), similarity.processor.size) / usual).astype(np.float32)
    return found


def _losses(similarity: VisualSimilarity, image: ImageSource, others: _Floats) -> _Floats:
    """Measure how much the cosine with each of (N, D) embeddings falls while a part is covered: (N, P), at least 0."""
    pixels = similarity.processor(image)  # (3, S, S)
    covers = _covers(similarity.processor.size)  # (P, S, S)
    covered = np.where(covers[:, None], pixels.mean(axis=(1, 2), keepdims=True), pixels)  # (P, 3, S, S)
    embeddings = similarity.network.embed(np.concatenate([pixels[None], covered]))  # (1 + P, D)
    cosines = _directions(others) @ _directions(embeddings).T  # (N, 1 + P)
    return np.maximum(cosines[:, :1] - cosines[:, 1:], 0)


def _spread(grid: _Floats, side: int) -> npt.NDArray[np.float64]:
    """Spread the values of a grid, whose corners are centred on the corners of a square, over it: (S, S)."""
    places = np.linspace(0, len(grid) - 1, side)
    corners = np.arange(len(grid))
    weights = np.maximum(1 - np.abs(places[:, None] - corners), 0)  # (S, steps)
    return np.asarray(weights @ grid @ weights.T)


def _covers(size: int) -> npt.NDArray[np.bool_]:
    """Return the P positions of the cover, (P, S, S)."""
    centres = np.linspace(0, size, _STEPS)
    pixel = np.arange(size) + 0.5  # (S,)
    strips = np.abs(pixel - centres[:, None]) <= size / (2 * _WINDOW)  # (_STEPS, S)
    return (strips[:, None, :, None] & strips[None, :, None, :]).reshape(-1, size, size)


def _directions(embeddings: Sequence[_Floats] | _Floats) -> _Floats:
    """Return embeddings, each of length 1: (N, D)."""
    rows = np.asarray(embeddings)  # (N, D)
    directions: _Floats = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return directions
