"""Find everything in a gallery that looks like one or several examples, and not like counterexamples."""

import math
import os
from collections.abc import Iterable
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

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
    """
    examples, others = (embed_examples(similarity, _listed(each)) for each in (images, not_like))
    scores = look_alike_scores(torch.from_numpy(similarity.gallery.embeddings), examples, others)
    least = at if at is not None else -math.inf if top is not None else threshold_of(scores, parts=not len(others))
    order = scores.argsort(descending=True, stable=True)
    chosen = order[scores[order] >= least][:top]
    return similarity.gallery.matches(scores[chosen].numpy(), chosen.numpy())


def embed_examples(parts: VisualSimilarity | Embedder, images: Iterable[ImageSource]) -> Tensor:
    """Embed examples, each as it is and mirrored: (2 E, D).

    Args:
        parts: the network and its processor.
        images: E examples.

    Raises:
        ImageDecodeError: one is not a picture.
    """
    squares = [parts.processor.resize(decode_image(image)) for image in images]
    if not squares:
        return torch.empty(0, parts.network.embedding_dim)
    pixels = np.stack([turned for square in squares for turned in (square, square[..., ::-1])])  # (2 E, 3, S, S)
    return torch.from_numpy(parts.network.embed(parts.processor.normalize(pixels)))


def look_alike_scores(embeddings: Tensor, examples: Tensor, counterexamples: Tensor) -> Tensor:
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
    centre = embeddings.mean(dim=0)  # (D,)
    likes, dislikes = (F.normalize(rows - centre, dim=1) for rows in (examples, counterexamples))
    found = []
    for block in embeddings.split(_BLOCK):
        unit = F.normalize(block - centre, dim=1)  # (B, D)
        scores = (unit @ likes.T).amax(dim=1)  # (B,)
        if len(dislikes):
            scores = scores.where((unit @ dislikes.T).amax(dim=1) < scores, torch.tensor(-1.0))
        found.append(scores)
    return torch.cat(found).clamp_(-1, 1)


def threshold_of(scores: Tensor, *, precision: float = PRECISION, parts: bool = True) -> float:
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
    known = scores[scores > -1].double().sort(descending=True).values  # (n,)
    if not len(known):
        return _MOST
    middle = float(known.median())
    spread = max(middle - float(known.quantile(_LOWER_SHARE)), 1e-6)
    tail = torch.special.ndtr((middle - known) / spread)  # (n,) chance of another picture to be at least as like
    rate = len(known) * tail / torch.arange(1, len(known) + 1)
    reached = (rate <= 1 - precision).nonzero()[:, 0]
    least = min(max(float(known[reached[-1]]) if len(reached) else _MOST, _LEAST), _MOST)
    best = _parted(known[known >= least], least) if parts else least
    return min(math.ceil(best * 100) / 100, _MOST)


def _parted(found: Tensor, least: float) -> float:
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
    bins = torch.bucketize(scores, torch.arange(1, _BINS, dtype=torch.double) / _BINS)  # (n,)
    counts = torch.bincount(bins, minlength=_BINS).double()
    sums = torch.zeros(_BINS, dtype=torch.double).scatter_add(0, bins, scores)
    total = float(scores.square().sum() - scores.sum().square() / len(scores))
    for number in (2, 3):
        cut, between = _best_cut(counts, sums, number, len(scores) * _GROUP / number)
        within = float(scores.square().sum()) - between
        if total > 1e-9 and within < total * _LEFT_WITHIN / number**2:
            return float(scores[bins >= cut].min() + scores[bins < cut].max()) / 2
    return least


def _best_cut(counts: Tensor, sums: Tensor, number: int, fewest: float) -> tuple[int, float]:
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
    before = F.pad(counts.cumsum(0), (1, 0))  # (B + 1,)
    sum_before = F.pad(sums.cumsum(0), (1, 0))
    size, total = before[None] - before[:, None], sum_before[None] - sum_before[:, None]  # (from, to)
    part = torch.where(size >= fewest, total.square() / size, -torch.inf)  # (B + 1, B + 1)
    rest = part[:, -1] if number == 2 else (part + part[:, -1]).amax(dim=1)  # (B + 1,) from there to the end
    between, cut = (part[0] + rest).max(dim=0)
    return int(cut), float(between)


def _listed(images: ImageSource | Iterable[ImageSource]) -> list[ImageSource]:
    """Return one or several examples as a list. Bytes and arrays are one picture, though they can be iterated over."""
    if isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray):
        return [images]
    return list(images)
