"""Compare two pictures closely: is the one a copy of the other, or do they differ somewhere?

The second picture is laid on the first to a fraction of a pixel, brightness, contrast, tint and saturation are evened
out, and then every spot is compared. What differs is either an addition to one of them, such as a mark or a caption, or
makes them different things: other words, another reading, another colour.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from visim_models.cleaning.alignment import Box, Extent, Placement, Side, sampled
from visim_models.cleaning.quality import colourfulness

__all__ = ["LARGEST", "Comparison", "compare_pictures"]

Floats = npt.NDArray[np.float32]

LARGEST: Final = 448
"""Longest side at which pictures are compared, in pixels."""

_LEVELS: Final = (48, 48, 48, 96, 96, 192, 192)
"""Longest side of the overlap at each step of the registration."""
_GRIDS: Final = (LARGEST, LARGEST // 2, LARGEST // 4)
_AS_SHARP: Final = 2.5
"""Ratio of the energies of fine detail up to which two pictures are compared at a size; beyond, at half of it."""
_FITS: Final = 0.8
"""Correlation of the registered grey levels below which they are different pictures."""
_SATURATIONS: Final = (1.0, 0.0, 0.25, 0.5, 0.75, 1.25, 1.5, 1.75)
_GAINS: Final = (0.65, 1.55)
_OTHER_SATURATION: Final = 0.45
"""A saturation is tried that differs so far at most from what the colourfulness of both says."""
_GAIN_RATIO: Final = 1.8
"""Between two channels: a tint changes them so far apart, another colour of a thing farther."""
_MOST_OFFSET: Final = 45.0
_WINDOWS: Final = 64
"""Windows along the longest side in which spots are compared."""
_OTHER_LEVEL: Final = 26.0
"""Grey levels by which the mean of a window differs at least, where a colour differs."""
_OTHER_SHAPE: Final = 30.0
"""Root mean square, in grey levels, from which on a window with another structure differs."""
_OTHER_NOISE: Final = 3.5
"""Times the usual difference of the windows, from which on one differs."""
_MOST_LEVEL: Final = 45.0
_MOST_SHAPE: Final = 90.0
_CORRELATED: Final = 0.55
_FEWEST_SPOTS: Final = 0.0004
"""Share of the overlap that differs at least."""
_FEWEST_FAINT: Final = 0.006
"""The same where the differences are as faint as those that strong compression makes."""
_CLEAR_LEVEL: Final = 70.0
_CLEAR_SHAPE: Final = 75.0
_LOCAL: Final = 0.15
"""Share of the overlap that may differ for a person to look at; beyond, they are different pictures."""
_LOCAL_ON_PAGES: Final = 0.05
_ADDED: Final = 0.12
_EDGE: Final = 0.22
"""An addition lies so near the edge, as a share of the sides."""
_ONE_SIDED: Final = 4.0
_PLAIN_SHARE: Final = 0.5
"""Share of flat spots from which on a picture is a drawing, a page or a screenshot: nothing on it is an addition."""
_LEAST_PART: Final = 0.6


_MORE_PIXELS: Final = 1.3
_LESS_DETAIL: Final = 1.25
_REDUCED: Final = 0.7
_EVEN: Final = 0.5
_NOISE: Final = 5.5
"""Standard deviation from which on noise was added: grain has less, and its loss is no improvement."""
_OF_LAPLACIAN: Final = 20.0
"""Variance of the Laplacian of noise of variance 1."""
_RECOLOURED: Final = 5.0
"""Grey levels by which evening out changes the colours, from which on the fit must be good."""
_UNEVEN: Final = 6.5
_VIVID: Final = 12.0
_ONE_HUE: Final = 0.15
_GREY: Final = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Comparison:
    """What a close look at two pictures says.

    Attributes:
        relation: the same picture; alike, but with a difference that a person should see; or different.
        reason: what differs, as the end of a sentence; "" where nothing does.
        score: correlation of what they have in common, -1 to 1.
        added: which of the two has a mark, a caption, bars or a frame that the other lacks.
        part: which of the two shows a part of the other only.
        grey: which of the two lacks the colours of the other.
        spoiled: which of the two is blurred, enlarged or noisy beside the other.
        is_drawing: they are pages, drawings or screenshots, not photographs.
    """

    relation: Literal["same", "look", "different"]
    reason: str = ""
    score: float = 0.0
    added: Side | None = None
    part: Side | None = None
    grey: Side | None = None
    spoiled: Side | None = None
    is_drawing: bool = False

    @property
    def worse(self) -> Side | None:
        """Return the picture that is the other one with less or with something added; None where neither surely is."""
        sides = {side for side in (self.part, self.added, self.grey, self.spoiled) if side}
        return sides.pop() if len(sides) == 1 else None

    @property
    def why_worse(self) -> str:
        """Return what makes the worse picture worse, "" where neither surely is."""
        reasons = ((self.part, "it shows a part of it"), (self.added, "words, a mark or a frame were added"),
                   (self.grey, "it lacks the colours"), (self.spoiled, "it is enlarged or noisy"))  # fmt: skip
        return next((reason for side, reason in reasons if side), "") if self.worse else ""


def compare_pictures(
    first: Image.Image,
    second: Image.Image,
    placement: Placement | None = None,
    *,
    pixels: tuple[float, float] | None = None,
) -> Comparison:
    """Compare two pictures closely.

    Args:
        first: an RGB picture; of a side of `LARGEST` at most, for speed.
        second: another.
        placement: where the second lies on the first, roughly.
        pixels: of the files of both; by default those of the pictures.
    """
    start = placement or Placement()
    pixels = pixels or (first.width * first.height, second.width * second.height)
    second = turned(second, start.orientation)
    registered = _registered(first, second, np.array([*start.scale, *start.shift]))
    if registered is None:
        return Comparison("different", "another picture")
    inside, outside = registered
    one, two, spoiled = _at_one_sharpness(first, second, inside, outside, pixels)
    score = _correlation(one @ _GREY, two @ _GREY)
    if score < _FITS:
        return Comparison("different", "another picture", score)
    lacking: Side | None = _grey_side(one, two)
    is_drawing = max(_plain_share(each) for each in (one, two)) > _PLAIN_SHARE
    extent = Extent.of(first, second, inside, outside)
    facts: dict[str, Any] = {
        "score": score, "grey": lacking, "part": extent.part, "spoiled": spoiled, "is_drawing": is_drawing
    }  # fmt: skip
    if extent.least < _LEAST_PART:
        return Comparison("look", f"it shows {extent.least:.0%} of the other", added=extent.added, **facts)
    spots, other_colours = _judged(one, two, is_reversed=lacking == "first", may_be_marked=not is_drawing)
    if lacking is None and (spots or other_colours):  # what was made pale cannot be made colourful again
        spots, other_colours = min(
            (spots, other_colours),
            _judged(one, two, is_reversed=True, may_be_marked=not is_drawing),
            key=lambda judged: (judged[0].share if judged[0] else 0, judged[1]),
        )
    if (spots is None or spots.share <= _LOCAL) and other_colours:
        return Comparison("look", "the colours differ", **facts)
    if spots is None:
        return Comparison("same", added=extent.added, **facts)
    if spots.share > (_LOCAL_ON_PAGES if is_drawing else _LOCAL):
        return Comparison("different", f"{spots.share:.0%} of the picture differs", **facts)
    if spots.added and extent.added in (None, spots.added):
        return Comparison("same", "a mark or words were added", added=spots.added, **facts)
    return Comparison("look", f"{spots.what} {spots.where} (in {max(spots.share, 0.001):.1%} of it)", **facts)


def _judged(one: Floats, two: Floats, *, is_reversed: bool, may_be_marked: bool) -> tuple["_Spots | None", bool]:
    """Even the colours of one picture out to those of the other; return where they differ, and if the colours do."""
    source, target = (two, one) if is_reversed else (one, two)
    even = _evened(source, target)
    pair = (target, even) if is_reversed else (even, target)
    return _differing_spots(*pair, may_be_marked=may_be_marked), _are_other_colours(source, even, target)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture turned by quarters against the clock, then mirrored, as `alignment.oriented` does."""
    steps = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}
    if quarter := orientation // 2:
        image = image.transpose(steps[quarter])
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if orientation % 2 else image


# --- registration


def _overlap(values: npt.NDArray[np.float64]) -> tuple[Box, Box] | None:
    """Return the parts of both pictures where they overlap, by scales and shifts; None where they do not."""
    scale, shift = values[:2], values[2:]
    if (scale <= 0.2).any():
        return None
    start = np.maximum(0, -shift / scale)
    end = np.minimum(1, (1 - shift) / scale)
    if (end - start < 0.25).any():
        return None
    low, high = scale * start + shift, scale * end + shift
    return (start[1], start[0], end[1], end[0]), (low[1], low[0], high[1], high[0])


def _size(image: Image.Image, box: Box, longest: int) -> tuple[int, int]:
    """Return the size of a grid over a part of a picture, its longest side at most as given."""
    width, height = (box[2] - box[0]) * image.width, (box[3] - box[1]) * image.height
    factor = min(longest / max(width, height), 1.0)
    return max(round(width * factor), 8), max(round(height * factor), 8)


def _registered(first: Image.Image, second: Image.Image, values: npt.NDArray[np.float64]) -> tuple[Box, Box] | None:
    """Return the parts of both pictures that show the same; None where nothing does.

    Steps of least squares from coarse to fine, in which what differs counts little (Lucas and Kanade 1981, with the
    weights of Huber).
    """
    grey = first.convert("L"), second.convert("L")
    for longest in _LEVELS:
        boxes = _overlap(values)
        if boxes is None:
            return None
        size = _size(first, boxes[0], longest)
        one, two = (np.asarray(sampled(image, box, size), np.float32) for image, box in zip(grey, boxes, strict=True))
        values = values + _step(one, two, boxes, values)
    return _overlap(values)


def _step(one: Floats, two: Floats, boxes: tuple[Box, Box], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the change of scales and shifts that brings (H, W) levels of the second nearest to those of the first."""
    left, top, right, bottom = boxes[0]
    height, width = one.shape
    down = np.gradient(two, axis=0) * (height / ((bottom - top) * values[0]))
    across = np.gradient(two, axis=1) * (width / ((right - left) * values[1]))
    y = (top + (np.arange(height) + 0.5) / height * (bottom - top))[:, None]
    x = left + (np.arange(width) + 0.5) / width * (right - left)
    terms = np.stack([down * (y - 0.5), across * (x - 0.5), down, across, two, np.ones_like(two)])  # (6, H, W)
    terms = terms.reshape(6, -1)
    target = one.ravel()
    weights = np.ones_like(target)
    solution = np.array([0, 0, 0, 0, 1.0, 0])
    for _ in range(2):
        square = (terms * weights) @ terms.T
        square += np.diag(1e-3 * np.diag(square) + 1e-6)
        prior = 1e-3 * np.diag(square) * np.array([0, 0, 0, 0, 1.0, 0])
        solution = np.linalg.solve(square, (terms * weights) @ target + prior)
        error = np.abs(target - solution @ terms)
        limit = max(2.0 * float(np.median(error)), 2.0)
        weights = np.minimum(1, (limit / np.maximum(error, 1e-6)) ** 2)
    gain = max(abs(float(solution[4])), 0.2)
    change = (solution[:4] / gain).clip(-0.05, 0.05)
    change[2:] -= 0.5 * change[:2]
    return np.asarray(change)


def _at_one_sharpness(
    first: Image.Image, second: Image.Image, inside: Box, outside: Box, pixels: tuple[float, float]
) -> tuple[Floats, Floats, Side | None]:
    """Return the (H, W, 3) levels of the common part of both, at the largest size at which both have its detail, and
    which of both is spoiled."""
    density = [
        max((box[2] - box[0]) * image.width, (box[3] - box[1]) * image.height)
        for image, box in ((first, inside), (second, outside))
    ]
    most = min(*density)
    spoiled: Side | None = None
    for longest in _GRIDS:
        size = _size(first, inside, round(min(longest, most)))
        one, two = (
            np.asarray(sampled(image, box, size), np.float32) for image, box in ((first, inside), (second, outside))
        )
        if longest == _GRIDS[0]:
            reduced = _REDUCED if max(pixels) > _MORE_PIXELS * min(pixels) else 1.0  # both lose as much by it
            smaller = _size(first, inside, round(min(longest, reduced * most)))
            views = [
                np.asarray(sampled(image.convert("L"), box, smaller), np.float32)
                for image, box in ((first, inside), (second, outside))
            ]
            spoiled = _spoiled(views[0], views[1], pixels)
        energies = [_detail(each) + 4.0 for each in (one, two)]
        if longest >= most * 2 or max(energies) / min(energies) <= _AS_SHARP**2 / 2.5:
            break
    return one, two, spoiled


def _spoiled(one: Floats, two: Floats, pixels: tuple[float, float]) -> Side | None:
    """Return which of two registered (H, W) pictures is enlarged, or has noise added, beside the other.

    Noise is as strong in smooth parts as elsewhere. A picture with more pixels and less fine detail is an enlargement.
    """
    if min(one.shape) < 16:
        return None
    gain = (float(one.std()) + 1) / (float(two.std()) + 1)
    fine = [_laplacian(one), _laplacian(two) * gain]
    both = np.abs(fine[0]) + np.abs(fine[1])
    calm = both <= np.quantile(both, 0.98)  # beyond may be words on one of them
    energies = [float(np.square(each)[calm].mean()) + 4 for each in fine]
    rich = int(energies[1] > energies[0])
    poor = 1 - rich
    ratio = energies[rich] / energies[poor]
    common = float((fine[0] * fine[1])[calm].mean()) / energies[poor]
    sides: tuple[Side, Side] = ("first", "second")
    if pixels[poor] > _MORE_PIXELS * pixels[rich]:
        return sides[poor] if ratio > _LESS_DETAIL and common > 0.0 else None
    is_noisy = ratio > 1.6 and (0.55 < common < 1.2 or (ratio > 8 and common > 0.3))
    if not is_noisy:
        return None
    energy = _windows(np.square(fine[rich] - common * fine[poor]), 4)
    activity = _windows(np.abs(fine[poor]), 4)
    smooth = float(energy[activity <= np.quantile(activity, 0.25)].mean())
    is_even = smooth > _EVEN * float(np.median(energy))
    return sides[rich] if is_even and smooth > _NOISE**2 * _OF_LAPLACIAN else None


def _detail(levels: Floats) -> float:
    """Return the mean square of the Laplacian of (H, W, 3) levels, the strongest tenth left out: it may be words."""
    grey = levels @ _GREY
    if min(grey.shape) < 3:
        return 0.0
    found = np.square(_laplacian(grey))
    return float(np.minimum(found, np.quantile(found, 0.9)).mean())


def _laplacian(grey: Floats) -> Floats:
    return grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]


# --- colours


def _grey_side(one: Floats, two: Floats) -> Side | None:
    first, second = colourfulness(one), colourfulness(two)
    if max(first, second) < 4 or min(first, second) > 0.2 * max(first, second):
        return None
    return "first" if first < second else "second"


def _evened(one: Floats, two: Floats) -> Floats:
    """Change brightness, contrast, tint and saturation of the first to those of the second, within bounds; (H, W, 3).

    The bounds keep another colour of a thing from counting as a tint of the whole picture.
    """
    luma = one @ _GREY[:, None]
    best, least = one, np.inf
    stride = max(one.shape[0] * one.shape[1] // 2_000, 1)
    target = two.reshape(-1, 3)[::stride]
    usual = colourfulness(two) / max(colourfulness(one), 1.0)
    for saturation in _SATURATIONS:
        if abs(saturation - usual) > _OTHER_SATURATION:
            continue
        source = (luma + saturation * (one - luma)).clip(-60, 315)
        flat = source.reshape(-1, 3)[::stride]
        gains, offsets = _fitted(flat, target)
        error = np.abs(flat * gains + offsets - target)
        cost = float(np.minimum(error, 20).mean()) + 0.15 * abs(saturation - 1)
        if cost < least:
            best, least = source * gains + offsets, cost
        if saturation == 1.0 and cost < 2.5:
            break
    return best.clip(0, 255)


def _are_other_colours(source: Floats, even: Floats, target: Floats) -> bool:
    """Return whether the change of colours that evens two pictures out may be that of a thing, not of the picture.

    It may where it does not fit well, and where all colours are of one hue: a red shirt made pale is a brown one.
    """
    change = even - source
    if float(np.abs(change - change @ _GREY[:, None]).max(axis=2).mean()) < _RECOLOURED:
        return False
    cell = max(round(max(source.shape[:2]) / _WINDOWS / 2), 1)
    rest = np.abs(_windows(even - target, cell)).max(axis=2)
    colours = (source - source @ _GREY[:, None]).reshape(-1, 3)
    other, main = np.sqrt(np.linalg.eigvalsh(np.cov(colours.T))[-2:].clip(0))  # of three, one is zero
    return bool(np.quantile(rest, 0.75) > _UNEVEN or (main > _VIVID and other < _ONE_HUE * main))


def _fitted(source: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return the (3,) gains and offsets that bring (P, 3) levels to others, robustly and within bounds."""
    weights = np.ones_like(source)
    gains, offsets = np.ones(3, np.float32), np.zeros(3, np.float32)
    clipped = (target <= 1) | (target >= 254)
    for _ in range(4):
        total = weights.sum(axis=0) + 1e-6
        mean, aim = (weights * source).sum(axis=0) / total, (weights * target).sum(axis=0) / total
        spread = (weights * np.square(source - mean)).sum(axis=0) / total + 20.0
        common = (weights * (source - mean) * (target - aim)).sum(axis=0) / total + 20.0
        gains = (common / spread).clip(*_GAINS)
        gains = gains.clip(gains.max() / _GAIN_RATIO, None)
        offsets = aim - gains * mean
        middle = (gains * 128 + offsets - 128).clip(-_MOST_OFFSET, _MOST_OFFSET)
        offsets = 128 + middle - gains * 128
        error = np.abs(source * gains + offsets - target)
        limit = np.maximum(2.0 * np.median(error, axis=0), 4.0)
        weights = np.minimum(1, (limit / np.maximum(error, 1e-6)) ** 2) * np.where(clipped, 0.3, 1.0)
    return gains.astype(np.float32), offsets.astype(np.float32)


# --- spots


@dataclass(frozen=True)
class _Spots:
    """Where two registered pictures differ.

    Attributes:
        share: of the overlap.
        added: which of them has something at these spots that the other lacks, near the edge, on a photograph.
        what: what differs.
        where: in words.
    """

    share: float
    added: Side | None
    what: str
    where: str


def _differing_spots(one: Floats, two: Floats, *, may_be_marked: bool) -> _Spots | None:
    """Return where two registered (H, W, 3) pictures of even colours differ; None where nowhere."""
    cell = max(round(max(one.shape[:2]) / _WINDOWS / 2), 1)
    grey_one, grey_two = one @ _GREY, two @ _GREY
    level = np.abs(_windows(one - two, cell)).max(axis=2)  # (h, w)
    energy = np.sqrt(_windows(np.square(grey_one - grey_two), cell))
    means = _windows(grey_one, cell), _windows(grey_two, cell)
    spread = [np.maximum(_windows(np.square(grey), cell) - np.square(mean), 0)
              for grey, mean in zip((grey_one, grey_two), means, strict=True)]  # fmt: skip
    common = _windows(grey_one * grey_two, cell) - means[0] * means[1]
    correlation = common / np.sqrt((spread[0] + 30) * (spread[1] + 30))
    other_level = level > np.clip(4 * np.quantile(level, 0.75), _OTHER_LEVEL, _MOST_LEVEL)
    least = np.clip(_OTHER_NOISE * np.quantile(energy, 0.5), _OTHER_SHAPE, _MOST_SHAPE)
    other_shape = (energy > least) & (correlation < _CORRELATED)
    spots = other_level | other_shape
    share = float(spots.mean())
    is_clear = float(level.max()) > _CLEAR_LEVEL or float(energy[other_shape].max(initial=0)) > _CLEAR_SHAPE
    if share < max(_FEWEST_SPOTS if is_clear else _FEWEST_FAINT, 3 / spots.size):
        return None
    added = _added(spots, spread) if may_be_marked else None
    what = (
        "a colour differs"
        if other_level[spots].mean() > 0.5 and not _has_shapes(spots, spread)
        else "something differs"
    )
    return _Spots(share, added, what, _where(spots))


def _has_shapes(spots: npt.NDArray[np.bool_], spread: list[Floats]) -> bool:
    return bool(max(float(np.median(each[spots])) for each in spread) > 900)


def _added(spots: npt.NDArray[np.bool_], spread: list[Floats]) -> Side | None:
    """Return which picture has something at the spots that the other lacks; None where both do, or it is no mark."""
    height, width = spots.shape
    if spots.mean() > _ADDED:
        return None
    rows, columns = spots.nonzero()
    y, x = (rows + 0.5) / height, (columns + 0.5) / width
    depth = np.minimum.reduce([y, 1 - y, x, 1 - x])
    if np.quantile(depth, 0.95) > _EDGE:
        return None
    more, less = (float(np.maximum(a - b, 0)[spots].sum()) + 1 for a, b in (spread, spread[::-1]))
    if more > _ONE_SIDED * less:
        return "first"
    return "second" if less > _ONE_SIDED * more else None


def _plain_share(levels: Floats) -> float:
    """Return the share of (H, W, 3) levels that hardly differ from their neighbours."""
    grey = levels @ _GREY
    steps = np.abs(np.diff(grey, axis=1))[:-1] + np.abs(np.diff(grey, axis=0))[:, :-1]
    return float((_windows(steps, 2) < 0.8).mean())


def _where(spots: npt.NDArray[np.bool_]) -> str:
    rows, columns = spots.nonzero()
    y, x = float(rows.mean()) / spots.shape[0], float(columns.mean()) / spots.shape[1]
    down = "top" if y < 0.35 else "bottom" if y > 0.65 else "middle"
    across = "left" if x < 0.35 else "right" if x > 0.65 else ""
    return f"at the {down}" if not across else f"at the {down} {across}" if down != "middle" else f"at the {across}"


def _windows(levels: Floats, cell: int) -> Floats:
    """Return the means of windows of 2 x 2 cells, a cell apart, of (H, W[, C]) levels."""
    height, width = (length // cell for length in levels.shape[:2])
    cells = levels[: height * cell, : width * cell]
    cells = cells.reshape(height, cell, width, cell, *levels.shape[2:]).mean(axis=(1, 3))
    across = cells[:, :-1] + cells[:, 1:]
    found: Floats = 0.25 * (across[:-1] + across[1:])
    return found


def _correlation(one: Floats, two: Floats) -> float:
    first, second = one - one.mean(), two - two.mean()
    length = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    if length < 4.0 * one.size:  # both are nearly flat
        return 1.0 if float(np.abs(one - two).mean()) < 4 else 0.0
    return float((first * second).sum()) / length
