"""Draw synthetic pictures: noise, plain colours, gradients, stripes, pages of text, plots.

The shipped figures rest on pictures that were drawn with torch's random numbers. `_Draws` makes the same numbers
without torch, so that these pictures can still be drawn.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

__all__ = ["SYNTHETIC_KINDS", "synthetic_outliers"]

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_BLOCK: Final = 16
"""Normal numbers are made of blocks of as many uniform ones: half of them give the lengths, half the angles."""


class _Draws:
    """Draws random numbers as `torch.Generator().manual_seed(seed)` does: a Mersenne Twister; a float uses 24 bits.

    Source: aten/src/ATen/native/cpu/DistributionTemplates.h of https://github.com/pytorch/pytorch (Box-Muller).
    """

    def __init__(self, seed: int) -> None:
        self._twister = np.random.RandomState(seed)

    def _words(self, count: int) -> npt.NDArray[np.uint32]:
        return self._twister.randint(0, 2**32, size=count, dtype=np.uint32)

    def uniform(self, *shape: int) -> Floats:
        """Draw float32 in [0, 1)."""
        values = (self._words(math.prod(shape)) & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)
        return values.reshape(shape)

    def normal(self, *shape: int) -> Floats:
        """Draw float32 of mean 0 and standard deviation 1."""
        count = math.prod(shape)
        values = self.uniform(max(count, _BLOCK))
        whole = len(values) // _BLOCK * _BLOCK
        values[:whole] = _box_muller(values[:whole])
        if whole < count:  # the last block is drawn again, from the end
            values[-_BLOCK:] = _box_muller(self.uniform(_BLOCK))
        return values[:count].reshape(shape)

    def integer(self, low: int, high: int) -> int:
        """Draw a whole number from low to high - 1, which are less than 2 ** 32 apart."""
        word = int.from_bytes(self._words(2 if high - low >= 2**28 else 1).astype(">u4").tobytes())
        return low + word % (high - low)

    def number(self) -> float:
        """Draw a number in [0, 1)."""
        return float(self.uniform(1)[0])

    def chance(self, share: float) -> bool:
        """Return True in this share of cases."""
        return self.number() < share

    def numpy(self) -> np.random.Generator:
        """Return a generator of numpy."""
        return np.random.default_rng(self.integer(0, 2**31))


def _box_muller(uniform: Floats) -> Floats:
    """Convert blocks of 16 uniform numbers to normal ones."""
    lengths, angles = uniform.reshape(-1, 2, _BLOCK // 2).transpose(1, 0, 2)  # (B, 8) each
    lengths, angles = np.sqrt(-2 * np.log(1 - lengths)), 2 * np.float32(math.pi) * angles
    return np.concatenate([lengths * np.cos(angles), lengths * np.sin(angles)], axis=1).ravel()


def synthetic_outliers(kind: str, count: int, size: int, *, seed: int) -> Pixels:
    """Draw pictures of one of `SYNTHETIC_KINDS`: (count, 3, size, size) uint8, the same for the same seed."""
    draws, draw = _Draws(seed), SYNTHETIC_KINDS[kind]
    return np.stack([draw(size, draws) for _ in range(count)])


def _noise(size: int, draws: _Draws) -> Pixels:
    """Draw uniform or normal noise, coloured or grey, of a grain of 1 to 8 pixels."""
    grain = draws.integer(1, 9) if draws.chance(0.5) else 1
    side = math.ceil(size / grain)
    channels = 1 if draws.chance(0.25) else 3
    if draws.chance(0.5):
        coarse = 255 * draws.uniform(channels, side, side)
    else:
        spread = 20 + 80 * draws.number()
        coarse = 128 + spread * draws.normal(channels, side, side)
    fine = coarse.repeat(grain, axis=1).repeat(grain, axis=2)[:, :size, :size]
    return _to_bytes(np.broadcast_to(fine, (3, size, size)))


def _plain(size: int, draws: _Draws) -> Pixels:
    """Draw one colour, sometimes with a faint noise."""
    colour = 255 * draws.uniform(3, 1, 1)
    if draws.chance(0.3):
        colour = np.broadcast_to(colour.mean(), (3, 1, 1))
    faint = 4 * draws.normal(3, size, size)
    return _to_bytes(colour + faint * draws.chance(0.3))


def _gradient(size: int, draws: _Draws) -> Pixels:
    """Draw a gradient from one colour to another, along a line or from a centre."""
    first, second = 255 * draws.uniform(2, 3, 1, 1)
    line = np.linspace(0, 1, size, dtype=np.float32)
    angle = 2 * math.pi * draws.number()
    ramp = math.cos(angle) * line[None, :] + math.sin(angle) * line[:, None]  # (S, S)
    if draws.chance(0.3):
        ramp = np.sqrt((line[None, :] - 0.5) ** 2 + (line[:, None] - 0.5) ** 2)
    ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min())
    return _to_bytes(first + (second - first) * ramp)


def _stripes(size: int, draws: _Draws) -> Pixels:
    """Draw stripes or a chequerboard of two colours."""
    first, second = 255 * draws.uniform(2, 3, 1, 1)
    period = 2 + draws.integer(0, size // 3)
    line = np.arange(size) // max(period // 2, 1) % 2
    across, down = np.broadcast_to(line[None, :], (size, size)), np.broadcast_to(line[:, None], (size, size))
    pattern = (across, down, across ^ down)[draws.integer(0, 3)]
    return _to_bytes(np.where(pattern == 1, first, second))


def _text(size: int, draws: _Draws) -> Pixels:
    """Draw a page: lines of words in small dark (or light) letters, with a heading now and then."""
    rng = draws.numpy()
    scale = 4
    side = size * scale
    dark_mode = rng.random() < 0.2
    paper, ink = (
        (rng.integers(0, 50), rng.integers(180, 256)) if dark_mode else (rng.integers(220, 256), rng.integers(0, 90))
    )
    page = Image.new("L", (side, side), int(paper))
    draw = ImageDraw.Draw(page)
    letter = float(rng.uniform(0.02, 0.07)) * side
    fonts = [ImageFont.load_default(size) for size in (letter, letter * 1.7)]
    top, margin = rng.uniform(0.02, 0.15) * side, rng.uniform(0.02, 0.15) * side
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 10))) for _ in range(60)]
    while top < side * rng.uniform(0.7, 1.0):
        heading = rng.random() < 0.1
        line = " ".join(rng.choice(words, 12))
        width = side - 2 * margin if rng.random() < 0.8 else rng.uniform(0.2, 0.8) * side
        glyphs = Image.new("L", (int(width), int(letter * (2 if heading else 1.2)) + 2), int(paper))
        ImageDraw.Draw(glyphs).text((0, 0), line, fill=int(ink), font=fonts[heading])
        page.paste(glyphs, (int(margin), int(top)))
        top += letter * (2.4 if heading else 1.5) + (letter if rng.random() < 0.1 else 0)
    if rng.random() < 0.3:
        draw.rectangle(
            [side * 0.1, side * 0.6, side * rng.uniform(0.3, 0.9), side * 0.9], outline=int(ink), width=scale
        )
    page = page.resize((size, size), Image.Resampling.BOX)
    tint = rng.uniform(0.9, 1.0, (3, 1, 1)).astype(np.float32)
    return _to_bytes(np.array(page, dtype=np.float32)[None] * tint)


def _plot(size: int, draws: _Draws) -> Pixels:
    """Draw a chart: axes, a grid, and curves, bars or points on a light ground."""
    rng = draws.numpy()
    scale = 4
    side = size * scale
    chart = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(225, 256, 3)))
    draw = ImageDraw.Draw(chart)
    left, bottom = rng.uniform(0.08, 0.2) * side, rng.uniform(0.8, 0.92) * side
    for step in np.linspace(0.1, 0.9, int(rng.integers(3, 8))):
        draw.line([left, step * side, side, step * side], fill=(200, 200, 200), width=scale // 2)
    draw.line([left, 0, left, bottom, side, bottom], fill=(20, 20, 20), width=scale)
    for _ in range(int(rng.integers(1, 4))):
        colour = tuple(int(v) for v in rng.integers(0, 220, 3))
        xs = np.linspace(left, side * 0.97, int(rng.integers(5, 40)))
        ys = bottom - np.abs(np.cumsum(rng.normal(0, 1, len(xs)))) / 6 * bottom * rng.uniform(0.2, 1)
        points = [(float(x), float(max(y, 0))) for x, y in zip(xs, ys, strict=True)]
        match int(rng.integers(3)):
            case 0:
                draw.line(points, fill=colour, width=scale * 2)
            case 1:
                wide = (side - left) / len(xs) * 0.35
                for x, y in points:
                    draw.rectangle([x - wide, y, x + wide, bottom], fill=colour)
            case _:
                for x, y in points:
                    draw.ellipse([x - 2 * scale, y - 2 * scale, x + 2 * scale, y + 2 * scale], fill=colour)
    chart = chart.resize((size, size), Image.Resampling.BOX)
    return np.array(chart).transpose(2, 0, 1)


SYNTHETIC_KINDS: Final[dict[str, Callable[[int, _Draws], Pixels]]] = {
    "noise": _noise,
    "plain": _plain,
    "gradient": _gradient,
    "stripes": _stripes,
    "text": _text,
    "plot": _plot,
}


def _to_bytes(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels
