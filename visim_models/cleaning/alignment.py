"""Find how the thumbnail of one picture lies on that of another: turned or mirrored, cropped, framed or shifted.

All eight orientations are compared as they are. Where none fits, the middle of one picture is searched for in the
other, as it is and mirrored, at several sizes and shifts, by normalized cross-correlation of their grey levels; then
the best match is improved by steps of least squares. All steps are products of matrices, of many pairs at once.
"""

from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from visim_models.galleries.near_duplicates import area_scaled

__all__ = [
    "SQUARE",
    "Box",
    "Extent",
    "Placement",
    "Placements",
    "Side",
    "grey_levels",
    "oriented",
    "place_pairs",
    "sampled",
]

Floats = npt.NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom, each from 0 to 1."""
Side: TypeAlias = Literal["first", "second"]

_EXTENT: Final = 0.015
_PLAIN_MARGIN: Final = 0.55


def sampled(image: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Return a part of a picture at another size, to a fraction of a pixel."""
    width, height = image.size
    left, top, right, bottom = (
        min(max(edge, 0.0), 1.0) * length for edge, length in zip(box, (width, height) * 2, strict=True)
    )
    return image.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=None)


@dataclass(frozen=True)
class Extent:
    """What of the one picture is outside the other.

    Attributes:
        part: which shows a part of the other only.
        added: which has plain margins that the other lacks: bars, a frame, a caption.
        least: the smaller share of what both show, of what each shows.
    """

    part: Side | None
    added: Side | None
    least: float

    @classmethod
    def of(cls, first: Image.Image, second: Image.Image, inside: Box, outside: Box) -> "Extent":
        content, plain = zip(
            *(_margins(image, box) for image, box in ((first, inside), (second, outside))), strict=True
        )
        part: Side | None = None
        if max(content) > _EXTENT:
            part = "second" if content[0] > content[1] else "first"
        added: Side | None = None
        if max(plain) > _EXTENT and min(plain) <= _EXTENT:
            added = "first" if plain[0] > plain[1] else "second"
        return cls(part, added, 1 - max(content))


def _margins(image: Image.Image, box: Box) -> tuple[float, float]:
    """Return the shares of a picture that are outside a part of it: of content, and of plain margins.

    A plain strip that goes on from the ground of the part may be either, and counts as neither.
    """
    left, top, right, bottom = box
    strips = ((0.0, 0.0, 1.0, top), (0.0, bottom, 1.0, 1.0), (0.0, top, left, bottom), (right, top, 1.0, bottom))
    content, plain = 0.0, 0.0
    for strip in strips:
        share = (strip[2] - strip[0]) * (strip[3] - strip[1])
        if share * image.width * image.height < 8 or share < 0.002:
            continue
        size = (
            max(round((strip[2] - strip[0]) * min(image.width, 256)), 1),
            max(round((strip[3] - strip[1]) * min(image.height, 256)), 1),
        )
        levels = np.asarray(sampled(image, strip, size), np.float32).reshape(-1, 3)
        middle = np.median(levels, axis=0)
        is_plain = float((np.abs(levels - middle).max(axis=1) < 14).mean()) > _PLAIN_MARGIN
        if not is_plain:
            content += share
        elif not _goes_on(image, strip, box):
            plain += share
    return content, plain


def _goes_on(image: Image.Image, strip: Box, box: Box) -> bool:
    """Return whether the ground of a part of a picture goes on in a strip beside it: then the strip is no frame."""
    across = strip[2] - strip[0] >= box[2] - box[0] - 1e-6  # above or below
    step = 0.012
    if across:
        edge = box[1] if strip[3] <= box[1] + 1e-6 else box[3]
        lines = [(box[0], edge + near * step - step / 2, box[2], edge + near * step + step / 2) for near in (-1.5, 1.5)]
    else:
        edge = box[0] if strip[2] <= box[0] + 1e-6 else box[2]
        lines = [(edge + near * step - step / 2, box[1], edge + near * step + step / 2, box[3]) for near in (-1.5, 1.5)]
    size = (64, 1) if across else (1, 64)
    one, two = (np.asarray(sampled(image, line, size), np.float32).reshape(-1, 3) for line in lines)
    return float((np.abs(one - two).max(axis=1) < 12).mean()) > 0.7


Indices = npt.NDArray[np.int64]
_Level = TypeVar("_Level", bound=np.generic)

SQUARE: Final = 32
"""Side of the thumbnails that are aligned, in pixels."""
_TURNS: Final = 8
"""Orientations: quarter turns times two, plus one if then mirrored."""

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
_FLIPS: Final = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 1), (1, 0), (0, 1), (0, 0))
"""Whether each orientation turns the direction down, and the direction across, around."""
_COARSE: Final = 16
_TEMPLATE: Final = 10
"""Side of the middle that is searched for, of `_COARSE` pixels: what a crop by a tenth at any side leaves."""
_SIZES: Final = (
    *((side, side) for side in (13, 14, 15, 16, 17, 18, 20)),
    *((18, 16), (16, 18), (14, 16), (16, 14), (20, 16), (16, 20), (22, 16), (16, 22)),
)  # fmt: skip
"""Heights and widths that the other picture is scaled to: 13 where it is an enlarged part, 20 where a frame was put
around, 18 x 16 where a caption was put below, 22 x 16 where bars were."""
_REACH: Final = 4
_FLAT: Final = 2.0
"""Grey levels of noise that are added to a spread, so that two plain middles are not alike by chance."""
_FITS: Final = 0.97
"""Similarity as they are from which on no other size or shift is tried."""
_PROMISING: Final = 0.7
"""Similarity of the best coarse match from which on finer steps are tried."""
_ALIKE: Final = 0.75
"""Similarity from which on spots are compared."""
_STEPS: Final = 5
_PER_POINT: Final = 2 * _TEMPLATE / (_TEMPLATE / _COARSE)
"""Points that a side of the first picture would have."""
_DAMPING: Final = 0.003
_MOST_STEP: Final = 0.04
_SPOTS: Final = 6
_AT_ONCE: Final = 512


@dataclass(frozen=True)
class Placement:
    """How the second picture of a pair lies on the first.

    Along each side, the point at u of the first, from 0 to 1, is at scale * u + shift of the second, oriented.

    Attributes:
        orientation: 0 to 7, of the second: quarter turns against the clock times two, plus one if it is then mirrored.
        scale: down and to the right.
        shift: down and to the right.
    """

    orientation: int = 0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def reversed(self) -> "Placement":
        """Return how the first picture lies on the second."""
        is_mirrored, turns = self.orientation % 2, self.orientation // 2
        scale = [1 / each for each in self.scale]
        shift = [-each / factor for each, factor in zip(self.shift, self.scale, strict=True)]
        # A turn that is then mirrored is its own inverse; one that is not is undone by the turn the other way.
        orientation = self.orientation if is_mirrored else 2 * ((4 - turns) % 4)
        down, across = (scale[0], shift[0]), (scale[1], shift[1])
        if turns % 2:
            down, across = across, down
        flips = _FLIPS[orientation]
        down, across = (
            (factor, 1 - factor - offset) if flip else (factor, offset)
            for (factor, offset), flip in zip((down, across), flips, strict=True)
        )
        return Placement(orientation, (down[0], across[0]), (down[1], across[1]))


@dataclass(frozen=True)
class Placements:
    """How the second picture of each of P pairs lies on the first.

    Along each side, the point at u of the first, from 0 to 1, is at scale * u + shift of the second, oriented.

    Attributes:
        orientations: (P,) int64, 0 to 7: how the second is turned and mirrored.
        scales: (P, 2) float32, down and to the right.
        shifts: (P, 2) float32.
        scores: (P,) float32 in [-1, 1]: correlation of the colours where they overlap.
        differences: (P,) float32: how much four of five spots of the overlap differ at most, as a share of the
            contrast; 1 for pairs that are not alike at all. Of copies it is at most 0.35.
    """

    orientations: Indices
    scales: Floats
    shifts: Floats
    scores: Floats
    differences: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, number: int) -> Placement:
        """Return the placement of one pair."""
        scale, shift = self.scales[number].tolist(), self.shifts[number].tolist()
        return Placement(int(self.orientations[number]), (scale[0], scale[1]), (shift[0], shift[1]))

    def chosen(self, which: npt.NDArray[np.bool_]) -> "Placements":
        """Return those of the pairs that (P,) booleans choose."""
        return Placements(*(getattr(self, field.name)[which] for field in fields(self)))


def grey_levels(pixels: npt.NDArray[Any]) -> Floats:
    """Return the (..., H, W) grey levels of (..., 3, H, W) pictures, as a black and white copy of them has."""
    found: Floats = np.tensordot(pixels.astype(np.float32), _LUMA, axes=(-3, 0))
    return found


def oriented(pixels: npt.NDArray[_Level], orientation: int) -> npt.NDArray[_Level]:
    """Return (..., S, S) pictures turned by quarters against the clock, then mirrored."""
    turned = np.rot90(pixels, orientation // 2, axes=(-2, -1))
    return turned[..., ::-1] if orientation % 2 else turned


def place_pairs(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    rows: Indices,
    columns: Indices,
    *,
    progress: bool = False,
) -> Placements:
    """Place the second picture of each pair on the first.

    Args:
        first: (N, 3, 32, 32) uint8.
        second: (M, 3, 32, 32) uint8.
        rows: (P,) indices of `first`.
        columns: (P,) indices of `second`.
        progress: show a progress bar.
    """
    found = Placements(
        np.zeros(len(rows), np.int64),
        np.ones((len(rows), 2), np.float32),
        np.zeros((len(rows), 2), np.float32),
        np.full(len(rows), -1, np.float32),
        np.ones(len(rows), np.float32),
    )
    order = np.argsort(columns, kind="stable")
    with tqdm(total=len(rows), desc="aligning", unit="pair", disable=not progress) as bar:
        for start in range(0, len(rows), _AT_ONCE):
            pairs = order[start : start + _AT_ONCE]
            _as_they_are(first, second, rows, columns, pairs, found)
            rest = pairs[found.scores[pairs] < _FITS]
            if len(rest):
                _searched(first, second, rows, columns, rest, found)
            alike = pairs[found.scores[pairs] >= _ALIKE]
            if len(alike):
                found.differences[alike] = _differences(first[rows[alike]], second[columns[alike]], alike, found)
            bar.update(len(pairs))
    return found


def _as_they_are(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8],
    rows: Indices, columns: Indices, pairs: Indices, found: Placements,
) -> None:  # fmt: skip
    """Compare pairs in all orientations, and write down the best."""
    one, two = first[rows[pairs]], second[columns[pairs]]  # (P, 3, 32, 32)
    small, others = (area_scaled(grey_levels(each), _COARSE) for each in (one, two))  # (P, 16, 16)
    values = _unit(small.reshape(len(small), -1))
    greys = [(values * _unit(oriented(others, turn).reshape(len(others), -1))).sum(axis=1) for turn in range(_TURNS)]
    turns = np.argmax(greys, axis=0)
    for turn in np.unique(turns):
        two[turns == turn] = oriented(two[turns == turn], turn)
    found.orientations[pairs] = turns
    found.scores[pairs] = _similarity(_colours(one), _colours(two))


def _searched(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8],
    rows: Indices, columns: Indices, pairs: Indices, found: Placements,
) -> None:  # fmt: skip
    """Search the middles of the first pictures of pairs in the second, and write down what is better."""
    scores, orientations, sizes = _coarse_match(first, second, rows[pairs], columns[pairs])
    promising = scores >= _PROMISING
    if not promising.any():
        return
    pairs, orientations, sizes = pairs[promising], orientations[promising], sizes[promising]
    one, two = first[rows[pairs]].astype(np.float32), second[columns[pairs]].astype(np.float32)
    two = np.where(orientations[:, None, None, None] == 1, two[..., ::-1], two)
    scores, scales, shifts = _refined(one, two, sizes[:, :2], sizes[:, 2:])
    better = scores > found.scores[pairs]
    chosen = pairs[better]
    found.orientations[chosen], found.scores[chosen] = orientations[better], scores[better]
    found.scales[chosen], found.shifts[chosen] = scales[better], shifts[better]


def _coarse_match(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], rows: Indices, columns: Indices
) -> tuple[Floats, Indices, Floats]:
    """Return the (P,) scores of the best coarse matches, whether mirrored, and (P, 4) scales and shifts."""
    chosen, where = np.unique(columns, return_inverse=True)
    windows, places = _windows(grey_levels(second[chosen]))  # (B, W, 100), (W, 4)
    grey = grey_levels(first[rows])  # (P, 32, 32)
    templates = np.stack([_templates(grey), _templates(grey[..., ::-1])], axis=1)  # (P, 2, 100)
    best = np.empty((len(rows), 2), np.float32)
    index = np.empty((len(rows), 2), np.int64)
    for number in range(len(chosen)):
        pairs = (where == number).nonzero()[0]
        products = windows[number] @ templates[pairs].reshape(-1, _TEMPLATE**2).T  # (W, 2 p)
        index[pairs] = products.argmax(axis=0).reshape(-1, 2)
        best[pairs] = products.max(axis=0).reshape(-1, 2)
    mirrored = best.argmax(axis=1)
    every = np.arange(len(rows))
    found = places[index[every, mirrored]].copy()  # (P, 4)
    # The mirrored template is that of the first picture: mirror the second instead, and the place with it.
    found[:, 3] = np.where(mirrored == 1, 1 - found[:, 1] - found[:, 3], found[:, 3])
    return best[every, mirrored], mirrored, found


def _windows(grey: Floats) -> tuple[Floats, Floats]:
    """Return (B, W, 100) parts of (B, 32, 32) pictures at all sizes and shifts, of length 1, and their (W, 4) places:
    scale down and to the right, shift down and to the right."""
    parts, places = [], []
    margin = (_COARSE - _TEMPLATE) // 2
    for height, width in _SIZES:
        scaled = _SCALERS[height] @ grey @ _SCALERS[width].T  # (B, height, width)
        (upper, lower), (near, far) = _reach(height), _reach(width)
        inside = scaled[:, upper : lower + _TEMPLATE, near : far + _TEMPLATE]
        windows = np.lib.stride_tricks.sliding_window_view(inside, (_TEMPLATE, _TEMPLATE), axis=(1, 2))
        count, down, across = windows.shape[:3]
        parts.append(_unit(windows.reshape(count, down * across, -1)))
        tops, lefts = np.meshgrid(np.arange(upper, lower + 1), np.arange(near, far + 1), indexing="ij")
        places.append(
            np.stack(
                [np.full(down * across, _COARSE / height), np.full(down * across, _COARSE / width),
                 (tops.ravel() - margin) / height, (lefts.ravel() - margin) / width], axis=1,
            )
        )  # fmt: skip
    return np.concatenate(parts, axis=1), np.concatenate(places).astype(np.float32)


def _templates(grey: Floats) -> Floats:
    """Return the (P, 100) middles of (P, 32, 32) pictures, of length 1."""
    margin = (_COARSE - _TEMPLATE) // 2
    inside = slice(margin, margin + _TEMPLATE)
    return _unit(area_scaled(grey, _COARSE)[:, inside, inside].reshape(len(grey), -1))


def _reach(length: int) -> tuple[int, int]:
    """Return the first and last offset of the middle along a side: all of a small picture, those around of a large."""
    room = length - _TEMPLATE
    return max(0, room // 2 - _REACH), min(room, (room + 1) // 2 + _REACH)


def _scaler(length: int) -> Floats:
    """Return the (length, 32) matrix that scales a line of pixels, each as the weighted mean of those around it."""
    step = SQUARE / length
    centres = (np.arange(length) + 0.5) * step
    distance = np.abs(np.arange(SQUARE) + 0.5 - centres[:, None]) / max(step, 1)
    weights = np.maximum(0, 1 - distance)
    scaler: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaler


_SCALERS: Final = {length: _scaler(length) for length in {length for size in _SIZES for length in size}}


def _refined(one: Floats, two: Floats, scales: Floats, shifts: Floats) -> tuple[Floats, Floats, Floats]:
    """Improve coarse matches by steps of least squares (Lucas and Kanade, "An iterative image registration technique",
    1981); return (P,) scores, (P, 2) scales and shifts of the best step."""
    margin = (_COARSE - _TEMPLATE) / 2 / _COARSE
    side = 2 * _TEMPLATE
    points = (margin + (np.arange(side, dtype=np.float32) + 0.5) / side * (1 - 2 * margin)).astype(np.float32)  # (20,)
    start = round(margin * SQUARE)
    templates = _colours(one[..., start : start + side, start : start + side])  # (P, 3, 400)
    centred = points - 0.5
    best = np.full(len(one), -1, np.float32)
    best_scales, best_shifts = scales.copy(), shifts.copy()
    for step in range(_STEPS):
        down, across = (_samplers(points, scales[:, axis], shifts[:, axis])[:, None] for axis in (0, 1))
        sampled = down @ two @ across.swapaxes(-1, -2)  # (P, 3, 20, 20)
        values = _colours(sampled)
        scores = _similarity(templates, values)
        better = scores > best
        best[better], best_scales[better], best_shifts[better] = scores[better], scales[better], shifts[better]
        if step == _STEPS - 1:
            break
        length = np.sqrt(np.square(sampled - sampled.mean(axis=(-2, -1), keepdims=True)).sum(axis=(1, 2, 3)) + 1)
        slopes = np.stack([np.gradient(sampled, axis=axis) for axis in (-2, -1)], axis=1)  # (P, 2, 3, 20, 20)
        slopes *= (_PER_POINT / (scales * length[:, None]))[..., None, None, None]  # of a shift by one side
        wider = slopes * np.stack([centred[:, None] + 0 * centred, centred + 0 * centred[:, None]])[None, :, None]
        terms = np.concatenate([slopes, wider], axis=1).reshape(len(one), 4, -1)  # (P, 4, 1200): shifts, then scales
        error = (templates - values).reshape(len(one), 1, -1)
        square = terms @ terms.swapaxes(1, 2)  # (P, 4, 4)
        square += _DAMPING * np.trace(square, axis1=1, axis2=2)[:, None, None] * np.eye(4, dtype=np.float32)
        square += 1e-6 * np.eye(4, dtype=np.float32)
        change = np.linalg.solve(square, (terms @ error.swapaxes(1, 2)))[..., 0].clip(-_MOST_STEP, _MOST_STEP)  # (P, 4)
        scales = scales + change[:, 2:]
        shifts = shifts + change[:, :2] - 0.5 * change[:, 2:]
    return best, best_scales, best_shifts


def _differences(one: npt.NDArray[np.uint8], two: npt.NDArray[np.uint8], pairs: Indices, found: Placements) -> Floats:
    """Return how much the spots of placed pairs differ, once brightness and contrast are evened out.

    A mark or a caption concerns few spots, so a fifth of them may differ by anything.
    """
    two = two.copy()
    turns = found.orientations[pairs]
    for turn in np.unique(turns):
        two[turns == turn] = oriented(two[turns == turn], int(turn))
    scales, shifts = found.scales[pairs], found.shifts[pairs]
    start, end = np.maximum(0, -shifts / scales), np.minimum(1, (1 - shifts) / scales)  # (P, 2)
    start, end = start + 0.03 * (end - start), end - 0.03 * (end - start)
    steps = (np.arange(_SPOTS * 4, dtype=np.float32) + 0.5) / (_SPOTS * 4)
    points = start[..., None] + (end - start)[..., None] * steps  # (P, 2, 24)
    values = _sampled(one, points), _sampled(two, points * scales[..., None] + shifts[..., None])  # (P, 576) each
    weights = np.ones_like(values[0])
    for _ in range(3):
        total = weights.sum(axis=1, keepdims=True)
        centred = [each - (weights * each).sum(axis=1, keepdims=True) / total for each in values]
        spread = [(weights * np.square(each)).sum(axis=1, keepdims=True) / total + _FLAT**2 for each in centred]
        common = (weights * centred[0] * centred[1]).sum(axis=1, keepdims=True) / total + _FLAT**2
        error = np.square(centred[1] - common / spread[0] * centred[0]) / spread[1]
        weights = (error <= np.quantile(error, 0.85, axis=1, keepdims=True)).astype(np.float32)
    spots = error.reshape(-1, _SPOTS, 4, _SPOTS, 4).mean(axis=(2, 4)).reshape(len(error), -1)  # (P, 36)
    found_differences: Floats = np.sqrt(np.quantile(spots, 0.8, axis=1)).astype(np.float32)
    return found_differences


def _sampled(pixels: npt.NDArray[np.uint8], points: Floats) -> Floats:
    """Return the grey levels of (P, 3, 32, 32) pictures at (P, 2, 24) points down and across: (P, 576)."""
    where = (points * SQUARE - 0.5).clip(0, SQUARE - 1)
    weights = np.maximum(0, 1 - np.abs(where[..., None] - np.arange(SQUARE, dtype=np.float32)))  # (P, 2, 24, 32)
    grey = grey_levels(pixels)  # (P, 32, 32)
    found: Floats = (weights[:, 0] @ grey @ weights[:, 1].swapaxes(-1, -2)).reshape(len(pixels), -1)
    return found


def _samplers(points: Floats, scales: Floats, shifts: Floats) -> Floats:
    """Return the (P, 20, 32) matrices that read a line of 32 pixels at 20 points, between pixels and at the edge."""
    where = (points * scales[:, None] + shifts[:, None]) * SQUARE - 0.5  # (P, 20)
    where = where.clip(0, SQUARE - 1)
    found: Floats = np.maximum(0, 1 - np.abs(where[:, :, None] - np.arange(SQUARE, dtype=np.float32)))
    return found


def _colours(pixels: npt.NDArray[Any]) -> Floats:
    """Centre each channel of (P, 3, H, W) and scale all of them together to about length 1: (P, 3, H * W).

    Another brightness, contrast or tint changes little; another colour of one thing in the picture does.
    """
    values = pixels.astype(np.float32).reshape(len(pixels), 3, -1)
    values -= values.mean(axis=-1, keepdims=True)
    size = values.shape[-1]
    squares = np.square(values).sum(axis=(1, 2), keepdims=True)
    return np.asarray(values / np.sqrt(squares + _FLAT**2 * 3 * size), np.float32)


def _similarity(one: Floats, two: Floats) -> Floats:
    """Return the (P,) correlations of colours; of grey levels where those are more alike: one has no colours."""
    colours = np.einsum("pcn,pcn->p", one, two)
    grey = [_LUMA @ values for values in (one, two)]  # (P, n) each
    lengths = [np.sqrt(np.square(values).sum(axis=1) + 1e-9) for values in grey]
    totals = [np.square(values).sum(axis=(1, 2)) + 1e-9 for values in (one, two)]
    shares = [3 * np.square(length) / total for length, total in zip(lengths, totals, strict=True)]
    is_grey = np.maximum(*shares) > 0.997  # no part of it in the colours
    greys = np.einsum("pn,pn->p", *grey) / (lengths[0] * lengths[1])
    strong = np.minimum(*lengths) > 0.1  # of two nearly flat pictures the noise is all there is
    found: Floats = np.where(is_grey & strong, np.maximum(colours, greys), colours).astype(np.float32)
    return found


def _unit(values: npt.NDArray[Any]) -> Floats:
    """Centre the last dimension and scale it to about length 1, to less where it is nearly flat."""
    centred = values - values.mean(axis=-1, keepdims=True)
    squares = np.square(centred).sum(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(squares + _FLAT**2 * values.shape[-1]), np.float32)
