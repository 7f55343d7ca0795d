"""Draw synthetic pictures: noise, plain colours, gradients, stripes, pages of text, plots."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["SYNTHETIC_KINDS", "synthetic_outliers"]


def synthetic_outliers(kind: str, count: int, size: int, *, seed: int) -> Tensor:
    """Draw pictures of one of `SYNTHETIC_KINDS`: (count, 3, size, size) uint8, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    draw = SYNTHETIC_KINDS[kind]
    return torch.stack([draw(size, generator) for _ in range(count)])


def _noise(size: int, generator: torch.Generator) -> Tensor:
    """Draw uniform or normal noise, coloured or grey, of a grain of 1 to 8 pixels."""
    grain = int(torch.randint(1, 9, (), generator=generator)) if _chance(0.5, generator) else 1
    side = math.ceil(size / grain)
    channels = 1 if _chance(0.25, generator) else 3
    if _chance(0.5, generator):
        coarse = 255 * torch.rand(1, channels, side, side, generator=generator)
    else:
        spread = 20 + 80 * float(torch.rand((), generator=generator))
        coarse = 128 + spread * torch.randn(1, channels, side, side, generator=generator)
    fine = F.interpolate(coarse, scale_factor=grain, mode="nearest")[0, :, :size, :size]
    return _to_bytes(fine.expand(3, -1, -1))


def _plain(size: int, generator: torch.Generator) -> Tensor:
    """Draw one colour, sometimes with a faint noise."""
    colour = 255 * torch.rand(3, 1, 1, generator=generator)
    if _chance(0.3, generator):
        colour = colour.mean().expand(3, 1, 1)
    faint = 4 * torch.randn(3, size, size, generator=generator) * _chance(0.3, generator)
    return _to_bytes(colour + faint)


def _gradient(size: int, generator: torch.Generator) -> Tensor:
    """Draw a gradient from one colour to another, along a line or from a centre."""
    first, second = 255 * torch.rand(2, 3, 1, 1, generator=generator)
    line = torch.linspace(0, 1, size)
    angle = 2 * math.pi * float(torch.rand((), generator=generator))
    ramp = math.cos(angle) * line[None, :] + math.sin(angle) * line[:, None]  # (S, S)
    if _chance(0.3, generator):
        ramp = ((line[None, :] - 0.5).square() + (line[:, None] - 0.5).square()).sqrt()
    ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min())
    return _to_bytes(first + (second - first) * ramp)


def _stripes(size: int, generator: torch.Generator) -> Tensor:
    """Draw stripes or a chequerboard of two colours."""
    first, second = 255 * torch.rand(2, 3, 1, 1, generator=generator)
    period = 2 + int(torch.randint(0, size // 3, (), generator=generator))
    line = torch.arange(size) // max(period // 2, 1) % 2
    angle = int(torch.randint(0, 3, (), generator=generator))
    pattern = (line[None, :].expand(size, size), line[:, None].expand(size, size), line[None, :] ^ line[:, None])[angle]
    return _to_bytes(torch.where(pattern.bool(), first, second))


def _text(size: int, generator: torch.Generator) -> Tensor:
    """Draw a page: lines of words in small dark (or light) letters, with a heading now and then."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
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
    tint = torch.tensor(rng.uniform(0.9, 1.0, (3, 1, 1)), dtype=torch.float32)
    return _to_bytes(torch.from_numpy(np.array(page, dtype=np.float32))[None] * tint)


def _plot(size: int, generator: torch.Generator) -> Tensor:
    """Draw a chart: axes, a grid, and curves, bars or points on a light ground."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
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
    return torch.from_numpy(np.array(chart)).permute(2, 0, 1)


SYNTHETIC_KINDS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "noise": _noise,
    "plain": _plain,
    "gradient": _gradient,
    "stripes": _stripes,
    "text": _text,
    "plot": _plot,
}


def _chance(share: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
