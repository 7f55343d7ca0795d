"""Find everything in a gallery that looks like one or several examples, and not like counterexamples."""

import math
import os
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from visim_models.cleaning.neighbours import unit_rows
from visim_models.errors import QueryError
from visim_models.galleries.embed import Embedder
from visim_models.images.decode import ImageSource, decode_image
from visim_models.pipeline import VisualSimilarity
from visim_models.search.results import Match

__all__ = ["PRECISION", "embed_examples", "find_like", "look_alike_scores", "threshold_of"]

PRECISION: Final = 0.95
"""Share of what is found that is estimated to look like the examples, at the default threshold."""

_LEAST: Final = 0.33
_MOST: Final = 0.9
"""Ends of the range of default thresholds."""
_COPY: Final = 0.97
"""Score from which on a picture is an example itself, or a copy of it."""
_FEW: Final = 6
_CLEARLY: Final = 0.62
"""So few pictures are found only if one of them is so alike."""
_FEWEST: Final = 10
"""Pictures in which two groups can be told from one."""
_GROUP: Final = 0.4
"""Least size of a group, as a share of that of equal ones."""
_LEFT_WITHIN: Final = 0.6
"""Most variance that is left within groups, as a share of what is left within as many parts of an even distribution."""
_BINS: Final = 100
"""Of the scores from 0 to 1, between which groups are parted."""
_LOWER_SHARE: Final = 0.16
"""Share of a normal distribution below one standard deviation under its middle."""
_BLOCK: Final = 8192

Floats = npt.NDArray[np.floating]


def find_like(
    similarity: VisualSimilarity,
    images: ImageSource | Iterable[ImageSource],
    *,
    not_like: Iterable[ImageSource] = (),
    at: float | None = None,
    top: int | None = None,
) -> list[Match]:
    """Find everything in the gallery that looks like examples, best first.

    Args:
        similarity: the network, its processor and the gallery.
        images: one or several examples: paths, bytes, PIL images or (H, W, 3) uint8 arrays.
        not_like: counterexamples: what is more like one of them is left out.
        at: least score; by default the one of an estimated precision of 95 %, see `threshold_of`.
        top: return so many of the best, whatever their scores; with `at`, at most so many.

    Returns:
        Matches. The score is the cosine of the centred embeddings with the nearest example, in [-1, 1].

    Raises:
        ImageDecodeError: an example is not a picture.
        QueryError: there is no example.

    Example:
        >>> for match in find_like(photos, ["soon.jpg"], not_like=["car.jpg"]):
        ...     print(match.file_name, match.score)
    """
    examples, others = (embed_examples(similarity, _listed(each)) for each in (images, not_like))
    scores = look_alike_scores(similarity.gallery.embeddings, examples, others)
    least = at if at is not None else -math.inf if top is not None else threshold_of(scores, parts=not len(others))
    order = np.argsort(-scores, kind="stable")
    chosen = order[scores[order] >= least][:top]
    return similarity.gallery.matches(scores[chosen], chosen)


def embed_examples(parts: VisualSimilarity | Embedder, images: Iterable[ImageSource]) -> Floats:
    """Embed examples, each as it is and mirrored: (2 E, D).

    Args:
        parts: the network and its processor.
        images: E examples.

    Raises:
        ImageDecodeError: one is not a picture.
    """
    squares = [parts.processor.resize(decode_image(image)) for image in images]
    if not squares:
        return np.empty((0, parts.network.embedding_dim), np.float32)
    pixels = np.stack([turned for square in squares for turned in (square, square[..., ::-1])])  # (2 E, 3, S, S)
    return parts.network.embed(parts.processor.normalize(pixels))


def look_alike_scores(embeddings: Floats, examples: Floats, counterexamples: Floats) -> Floats:
    """Return how much each picture is like the nearest example.

    The embeddings are centred first: what all pictures of the gallery have in common says nothing.

    Args:
        embeddings: (N, D) of the gallery.
        examples: (E, D), at least one.
        counterexamples: (C, D); a picture that is more like one of them gets -1.

    Returns:
        (N,) cosines.

    Raises:
        QueryError: there is no example.
    """
    if not len(examples):
        raise QueryError("There is no example to find others like it: name at least one picture.")
    centre = embeddings.mean(axis=0)  # (D,)
    likes, dislikes = (unit_rows(rows - centre) for rows in (examples, counterexamples))
    found = []
    for start in range(0, len(embeddings), _BLOCK):
        unit = unit_rows(embeddings[start : start + _BLOCK] - centre)  # (B, D)
        scores = (unit @ likes.T).max(axis=1)  # (B,)
        if len(dislikes):
            scores = np.where((unit @ dislikes.T).max(axis=1) < scores, scores, -1)
        found.append(scores)
    return np.concatenate(found).clip(-1, 1)


def threshold_of(scores: Floats, *, precision: float = PRECISION, parts: bool = True) -> float:
    """Return the threshold from which on, as estimated, a given share of the pictures looks like the examples.

    Most pictures of the gallery are not like them. The spread of their scores is taken from the lower half, where none
    that is sought is; a normal distribution of it says how many of the others would reach a threshold by chance, and
    that, as a share of all that reach it, is the false discovery rate (Efron, "Large-scale simultaneous hypothesis
    testing", 2004). The threshold is the lowest at which this rate is at most 1 - `precision`. Where what reaches it
    is of groups apart, such as placeholders and other drawn pictures, the least alike is not meant: see `_parted`.

    Args:
        scores: (N,) of the gallery.
        precision: 0 to 1.
        parts: leave out the least alike of groups apart. Who gives counterexamples has said what is not meant.

    Returns:
        The threshold, in hundredths, 0.33 to 0.9.
    """
    known = np.sort(scores[scores > -1].astype(np.float64))[::-1]  # (n,)
    if not len(known):
        return _MOST
    middle = float(np.sort(known)[(len(known) - 1) // 2])
    spread = max(middle - float(np.quantile(known, _LOWER_SHARE)), 1e-6)
    tail = np.array([math.erfc((score - middle) / spread / math.sqrt(2)) / 2 for score in known])  # (n,)
    rate = len(known) * tail / np.arange(1, len(known) + 1)
    reached = (rate <= 1 - precision).nonzero()[0]
    least = min(max(float(known[reached[-1]]) if len(reached) else _MOST, _LEAST), _MOST)
    found = known[(known >= least) & (known < _COPY)]
    if parts and len(found) <= _FEW and not (found >= _CLEARLY).any():
        return _MOST  # a few that are hardly more alike than the rest: nothing stands out
    best = _parted(known[known >= least], least) if parts else least
    return min(math.ceil(best * 100) / 100, _MOST)


def _parted(found: Floats, least: float) -> float:
    """Return the threshold above the least alike of two or three groups of scores, or `least` where they are one group.

    The groups are those with the most variance between them (Otsu, "A threshold selection method from gray-level
    histograms", 1979). They count as such where far less variance is left within them than within as many parts of an
    even distribution, and where each has its share of the pictures: a few copies of an example are no group that the
    others do not belong to. What is sought may itself be of two groups, so only the least alike of three is left out.

    Args:
        found: (n,) scores of at least `least`.
        least: the threshold so far.
    """
    scores = found[found < _COPY]
    if len(scores) < _FEWEST:
        return least
    bins = np.searchsorted(np.arange(1, _BINS) / _BINS, scores)  # (n,)
    counts = np.bincount(bins, minlength=_BINS).astype(np.float64)
    sums = np.bincount(bins, weights=scores, minlength=_BINS)
    total = float(np.square(scores).sum() - scores.sum() ** 2 / len(scores))
    for number in (2, 3):
        cut, between = _best_cut(counts, sums, number, len(scores) * _GROUP / number)
        within = float(np.square(scores).sum()) - between
        if total > 1e-9 and within < total * _LEFT_WITHIN / number**2:
            return float(scores[bins >= cut].min() + scores[bins < cut].max()) / 2
    return least


def _best_cut(counts: Floats, sums: npt.NDArray[Any], number: int, fewest: float) -> tuple[int, float]:
    """Return where the lowest of the best groups ends, and their sum of squares between.

    Args:
        counts: (B,) scores of each bin.
        sums: (B,) their sums.
        number: of groups, 2 or 3.
        fewest: scores of a group, at least.

    Returns:
        cut: the first bin above the lowest group.
        between: sum over the groups of their size times their squared mean; -infinity where there are no such groups.
    """
    before, sum_before = (np.concatenate([[0], each.cumsum()]) for each in (counts, sums))  # (B + 1,)
    size, total = before - before[:, None], sum_before - sum_before[:, None]  # (from, to)
    part = np.where(size >= fewest, np.square(total) / np.maximum(size, 1e-9), -np.inf)  # (B + 1, B + 1)
    rest = part[:, -1] if number == 2 else (part + part[:, -1]).max(axis=1)  # (B + 1,) from there to the end
    totals = part[0] + rest
    cut = int(totals.argmax())
    return cut, float(totals[cut])


def _listed(images: ImageSource | Iterable[ImageSource]) -> list[ImageSource]:
    """Return one or several examples as a list. Bytes and arrays are one picture, though they can be iterated over."""
    if isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray):
        return [images]
    return list(images)
