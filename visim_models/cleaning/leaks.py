"""Find near-duplicates between two sets of pictures, such as a test set and the pictures that a network learns from.

The cosine of two embeddings alone says little: in a crowd of blue skies everything is alike. The embeddings are
whitened, and a pair is scored by how much nearer its two pictures are to each other than to their other neighbours
(local scaling: Zelnik-Manor and Perona, "Self-tuning spectral clustering", NIPS 2004). Where the pictures are at hand,
they are also placed on each other. Files of one content are pairs whatever they look like.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from visim_models.cleaning.alignment import place_pairs
from visim_models.cleaning.duplicates import BY_PICTURE, candidates, is_alike
from visim_models.cleaning.neighbours import cosines, nearest_in, unit_rows
from visim_models.cleaning.survey import local_squares
from visim_models.errors import GalleryMismatchError
from visim_models.galleries.picture_table import PictureTable
from visim_models.gallery import Gallery

__all__ = ["LEAK", "Leak", "Pair", "find_leaks", "leaks_between"]

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

LEAK: Final = 0.67
"""Score from which on a pair counts as a near-duplicate, where the pictures were compared: 96 % of such pairs are
right, among photographs of Tiny ImageNet and copies as below."""

_SHARE: Final = 0.5
"""Weight of the embeddings beside the pictures. For 400 photographs of Tiny ImageNet, cropped, recoloured, mirrored or
put before another background, the average precision is 0.67 to 0.69 with weights of 0.1 to 0.5, 0.66 without
embeddings and 0.32 by them alone; the milder copies in CIFAR-10 call for the largest of these."""
_AS_NEAR: Final = 0.015
"""Score up to which another picture is as near as the nearest."""
_NEIGHBOURS: Final = 10
_SMALLEST: Final = 1e-3
"""Distance that is added to that of the other neighbours: ten copies of one picture are near, too."""
_BLOCK: Final = 8192


@dataclass(frozen=True)
class Pair:
    """Two pictures of two sets.

    Attributes:
        first: file name in the first set.
        second: file name in the second set.
        score: how alike they are, 1 for the same picture; less than 0 where others are nearer.
        cosine: of their embeddings.
    """

    first: str
    second: str
    score: float
    cosine: float


@dataclass(frozen=True)
class Leak:
    """A pair by its indices, with what was measured of it.

    Attributes:
        row: index in the first set.
        column: index in the second set.
        score: as in `Pair`.
        is_alike: by the thumbnails, laid on each other, it is a copy.
        is_same_file: both files have the same content.
    """

    row: int
    column: int
    score: float
    is_alike: bool = False
    is_same_file: bool = False


def find_leaks(first: Gallery, second: Gallery, *, top: int | None = None, progress: bool = False) -> list[Pair]:
    """Find the pictures of a gallery that are most like those of another: near-duplicates come first.

    Where the image roots of both are a folder or zip on this machine, the pictures are read and compared, too.

    Args:
        first: N pictures, such as a test set.
        second: of the same network, such as the pictures that were learnt from.
        top: how many pairs to return; None for all.
        progress: show progress bars.

    Returns:
        A pair for each picture of `first`, and more where others of `second` are as near; best first.

    Raises:
        GalleryMismatchError: the galleries are of different networks.

    Example:
        >>> for pair in find_leaks(test.gallery, train.gallery, top=100):
        ...     print(pair.first, pair.second, pair.score)
    """
    widths = first.embeddings.shape[1], second.embeddings.shape[1]
    if widths[0] != widths[1] or (
        first.weights_sha256 and second.weights_sha256 and first.weights_sha256 != second.weights_sha256
    ):
        raise GalleryMismatchError(
            f"The galleries were embedded by different networks (of {widths[0]} and {widths[1]} numbers): build both "
            "with one."
        )
    squares = local_squares(first, progress=progress)
    others = None if squares is None else local_squares(second, progress=progress)
    tables = [PictureTable(each.file_names, {"embeddings": each.embeddings}) for each in (first, second)]
    if squares is not None and others is not None:
        tables = [table.with_arrays(squares=each) for table, each in zip(tables, (squares, others), strict=True)]
    found = leaks_between(*tables, progress=progress)
    best: dict[int, float] = defaultdict(lambda: -np.inf)
    for leak in found:
        best[leak.row] = max(best[leak.row], leak.score)
    near = [leak for leak in found if leak.score >= best[leak.row] - _AS_NEAR]
    rows, columns = (np.array([getattr(leak, name) for leak in near], np.int64) for name in ("row", "column"))
    cosine = cosines(first.embeddings, second.embeddings, rows, columns).tolist()
    pairs = [
        Pair(first.file_names[leak.row], second.file_names[leak.column], leak.score, each)
        for leak, each in zip(near, cosine, strict=True)
    ]
    return pairs[:top]


def leaks_between(first: PictureTable, second: PictureTable, *, progress: bool = False) -> list[Leak]:
    """Return all pairs that embeddings, pixels or the content of the files put forward from either side, best first.

    Args:
        first: N pictures, with embeddings, squares where they are at hand, and sha256 where files are compared by it.
        second: M pictures, likewise.
        progress: show progress bars.
    """
    has_squares = "squares" in first.arrays and "squares" in second.arrays
    white = [
        table.with_arrays(embeddings=rows)
        for table, rows in zip((first, second), whitened(first["embeddings"], second["embeddings"]), strict=True)
    ]
    if has_squares:
        rows, columns = _from_both_sides(white[0], white[1], progress=progress)
    else:
        near = nearest_in(white[0]["embeddings"], white[1]["embeddings"], top_k=8, progress=progress)[1]
        rows, columns = np.arange(len(first)).repeat(near.shape[1]), near.ravel()
    exact = _same_files(first, second)
    keys = np.unique(np.concatenate([rows * len(second) + columns, exact]))
    rows, columns = keys // len(second), keys % len(second)
    scores = nearness(white[0]["embeddings"], white[1]["embeddings"], rows, columns)
    alike = np.zeros(len(keys), bool)
    if has_squares:
        placed = place_pairs(first["squares"], second["squares"], rows, columns, progress=progress)
        scores = (placed.scores + _SHARE * scores) / (1 + _SHARE)
        alike = is_alike(placed, BY_PICTURE)
    is_same = np.isin(keys, exact)
    scores = np.where(is_same, 1, scores)
    order = np.argsort(-scores, kind="stable")
    values = (rows[order], columns[order], scores[order], alike[order], is_same[order])
    return [Leak(*leak) for leak in zip(*(each.tolist() for each in values), strict=True)]


def _from_both_sides(first: PictureTable, second: PictureTable, *, progress: bool) -> tuple[Indices, Indices]:
    """Return the pairs that either set puts forward: one picture may have many copies in the other."""
    rows, columns = candidates(first, second, progress=progress)
    others, mine = candidates(second, first, progress=progress)
    return np.concatenate([rows, mine]), np.concatenate([columns, others])


def _same_files(first: PictureTable, second: PictureTable) -> Indices:
    """Return row * M + column of all pairs of files with the same content."""
    if "sha256" not in first.arrays or "sha256" not in second.arrays:
        return np.empty(0, np.int64)
    columns: dict[bytes, list[int]] = defaultdict(list)
    for column, content in enumerate(second["sha256"]):
        columns[content.tobytes()].append(column)
    found = [row * len(second) + column for row, content in enumerate(first["sha256"])
             for column in columns.get(content.tobytes(), ())]  # fmt: skip
    return np.array(found, np.int64)


def whitened(first: Floats, second: Floats) -> tuple[Floats, Floats]:
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
    first, second = unit_rows(first), unit_rows(second)
    count, width = len(first) + len(second), first.shape[1]
    mean = (first.sum(axis=0, dtype=np.float64) + second.sum(axis=0, dtype=np.float64)) / count  # (D,)
    covariance = np.zeros((width, width))
    for rows in (first, second):
        for start in range(0, len(rows), _BLOCK):
            centred = rows[start : start + _BLOCK] - mean.astype(np.float32)  # (B, D)
            covariance += centred.T @ centred / count
    trace, squares = float(np.trace(covariance)), float(np.square(covariance).sum())
    if trace <= 0:
        return first, second  # all are the same
    excess = (count + 1 - 2 / width) * (squares - trace**2 / width)
    share = min(max(((1 - 2 / width) * squares + trace**2) / excess, 0.0), 1.0) if excess > 0 else 1.0
    values, vectors = np.linalg.eigh(covariance)
    variances = (1 - share) * values.clip(0) + share * trace / width  # (D,)
    scale = (vectors / np.sqrt(variances.clip(1e-4 * variances.max()))).astype(np.float32)  # (D, D)
    one, two = ((rows - mean.astype(np.float32)) @ scale for rows in (first, second))
    return one, two


def nearness(first: Floats, second: Floats, rows: Indices, columns: Indices) -> Floats:
    """Compare the distance of P pairs with the distances of both pictures to their other neighbours.

    Args:
        first: (N, D) embeddings.
        second: (M, D) embeddings of the other set.
        rows: (P,) indices in `first`.
        columns: (P,) indices in `second`.

    Returns:
        (P,) float32: 1 for the same embedding, 0 for a pair that is as far apart as others, less for one farther apart.
    """
    distances = 1 - cosines(first, second, rows, columns)  # (P,)
    usual = np.sqrt(_usual_distances(first, second, rows) * _usual_distances(second, first, columns))
    return np.asarray(1 - distances.clip(0) / (usual + _SMALLEST), np.float32)


def _usual_distances(first: Floats, second: Floats, rows: Indices) -> Floats:
    """Return the (P,) mean distances of pictures of `first` to their nearest in `second`, but the very nearest."""
    chosen, index = np.unique(rows, return_inverse=True)
    scores, _ = nearest_in(first[chosen], second, top_k=_NEIGHBOURS + 1)  # (C, k)
    if scores.shape[1] < 2:
        return np.ones(len(rows), np.float32)
    found: Floats = np.maximum(1 - scores[:, 1:].mean(axis=1), 0)[index]
    return found
