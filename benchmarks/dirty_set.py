"""A set of photographs as a scraper leaves it: placeholders, interiors, copies and broken files among the cars.

`python -m benchmarks.dirty_set FOLDER` writes one of 2,000 pictures, which docs/cleaning.md cleans.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from benchmarks.scale import DATA, jpegs
from visim_models import decode_image

__all__ = ["COPIES", "copy_of", "draw_interior", "draw_placeholder", "jpeg", "main"]

_WORDS = ("Photo coming soon", "No image available", "Pictures on their way", "Image not found", "Awaiting photos")
COPIES = ("cropped", "half the size", "JPEG 40", "recoloured", "mirrored", "framed", "captioned")
"""The kinds of copies, as `copy_of` makes them."""


def draw_placeholder(seed: int, *, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Draw a "picture coming soon": words and the outline of a camera or car on a pale ground."""
    rng = np.random.default_rng([seed, 1])
    ground, ink = int(rng.integers(205, 245)), int(rng.integers(90, 160))
    tint = rng.integers(-8, 9, 3)
    colour = tuple(int(value) for value in np.clip(ground + tint, 0, 255))
    picture = Image.new("RGB", size, colour)
    draw = ImageDraw.Draw(picture)
    width, height = size
    x, y = width / 2 + rng.uniform(-15, 15), height * rng.uniform(0.36, 0.46)
    half = width * rng.uniform(0.12, 0.18)
    pale = (ink, ink, min(ink + int(rng.integers(0, 30)), 255))
    if rng.random() < 0.6:  # a camera
        draw.rounded_rectangle((x - half, y - half * 0.6, x + half, y + half * 0.6), 8, outline=pale, width=5)
        draw.ellipse((x - half * 0.4, y - half * 0.4, x + half * 0.4, y + half * 0.4), outline=pale, width=5)
        draw.rectangle((x - half * 0.3, y - half * 0.85, x + half * 0.3, y - half * 0.6), fill=pale)
    else:  # the outline of a car
        draw.rounded_rectangle((x - half, y - 5, x + half, y + half * 0.45), 9, fill=pale)
        draw.polygon([(x - half * 0.6, y), (x - half * 0.35, y - half * 0.5), (x + half * 0.35, y - half * 0.5),
                      (x + half * 0.65, y)], fill=pale)  # fmt: skip
        for side in (-0.55, 0.55):
            draw.ellipse((x + side * half - 11, y + half * 0.3, x + side * half + 11, y + half * 0.3 + 22), fill=pale)
    words = str(rng.choice(_WORDS))
    words = words.upper() if rng.random() < 0.5 else words
    font = ImageFont.load_default(size=float(rng.integers(15, 22)))
    draw.text((width / 2, height * rng.uniform(0.74, 0.82)), words, fill=pale, font=font, anchor="mm")
    return picture


def draw_interior(seed: int, *, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Draw the inside of a car: windscreen, dashboard, steering wheel, instruments and seats."""
    rng = np.random.default_rng([seed, 2])
    width, height = size
    dark = rng.integers(18, 60, 3)
    seat = rng.integers(40, 150, 3)
    picture = Image.new("RGB", size, _rgb(dark))
    draw = ImageDraw.Draw(picture)
    horizon = height * rng.uniform(0.3, 0.4)
    draw.polygon(
        [(width * 0.12, 0), (width * 0.88, 0), (width, horizon), (0, horizon)], fill=_rgb(rng.integers(150, 235, 3))
    )
    draw.rectangle((0, horizon * 0.72, width, horizon), fill=_rgb(rng.integers(90, 150, 3)))
    draw.rounded_rectangle((-20, horizon - 6, width + 20, height * 0.66), 25, fill=_rgb(dark + 22))
    x = width * (rng.uniform(0.25, 0.33) if rng.random() < 0.7 else rng.uniform(0.67, 0.75))
    y, radius = height * rng.uniform(0.56, 0.64), width * rng.uniform(0.15, 0.19)
    for dial in (-0.4, 0.4):
        dial_x, dial_y, reach = x + dial * radius, y - radius * 0.55, radius * 0.28
        box = (dial_x - reach, dial_y - reach, dial_x + reach, dial_y + reach)
        draw.ellipse(box, fill=(12, 12, 14), outline=(200, 200, 205), width=2)
        draw.line(
            (dial_x, dial_y, dial_x + reach * 0.7, dial_y - reach * rng.uniform(-0.5, 0.7)), fill=(220, 60, 40), width=2
        )
    screen = width - x
    draw.rounded_rectangle(
        (screen - 38, horizon + 12, screen + 22, horizon + 52), 4, fill=_rgb(rng.integers(20, 110, 3))
    )
    for row in range(3):
        draw.rectangle((screen - 34, horizon + 60 + 9 * row, screen + 18, horizon + 64 + 9 * row), fill=_rgb(dark + 60))
    for middle in (width * 0.2, width * 0.8):
        draw.rounded_rectangle((middle - 62, height * 0.7, middle + 62, height + 40), 22, fill=_rgb(seat))
        for stripe in range(-2, 3):
            draw.line(
                (middle + stripe * 22, height * 0.74, middle + stripe * 22, height), fill=_rgb(seat - 22), width=2
            )
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_rgb(dark - 10), width=11)
    draw.rounded_rectangle(
        (x - radius * 0.35, y - radius * 0.22, x + radius * 0.35, y + radius * 0.25), 6, fill=_rgb(dark - 6)
    )
    for side in (-1, 1):
        draw.line((x, y, x + side * radius, y + 4), fill=_rgb(dark - 8), width=9)
    draw.rounded_rectangle((width / 2 - 16, height * 0.68, width / 2 + 16, height), 8, fill=_rgb(dark + 12))
    draw.line((width / 2, height * 0.86, width / 2 + 4, height * 0.72), fill=(170, 170, 175), width=6)
    soft = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.6, 1.3)))
    noise = rng.normal(0, rng.uniform(2, 6), (height, width, 1))
    return Image.fromarray((np.asarray(soft) + noise).clip(0, 255).astype(np.uint8))


def copy_of(picture: Image.Image, kind: str, seed: int) -> Image.Image:
    """Return a copy of a picture as others post it: one of `COPIES`."""
    rng = np.random.default_rng([seed, COPIES.index(kind)])
    width, height = picture.size
    if kind == "cropped":
        x, y = rng.uniform(0, 0.1, 2) * (width, height)
        return picture.crop((int(x), int(y), int(x + 0.9 * width), int(y + 0.9 * height)))
    if kind == "half the size":
        return picture.resize((max(width // 2, 1), max(height // 2, 1)), Image.Resampling.BICUBIC)
    if kind == "JPEG 40":
        return decode_image(jpeg(picture, quality=40))
    if kind == "recoloured":
        levels = np.asarray(picture, np.float32) * rng.uniform(0.7, 1.2, 3) + rng.uniform(-15, 15)
        tinted = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
        return ImageEnhance.Color(tinted).enhance(rng.uniform(0.4, 1.6))
    if kind == "mirrored":
        return ImageOps.mirror(picture)
    if kind == "framed":
        border = max(2, round(0.08 * min(width, height)))
        return ImageOps.expand(picture, border=border, fill=_rgb(rng.integers(0, 256, 3)))
    caption = Image.new("RGB", (width, round(1.12 * height)), "white")
    caption.paste(picture)
    ImageDraw.Draw(caption).text((5, height + 2), "For sale: call 555-0137", fill="black")
    return caption


def jpeg(picture: Image.Image, *, quality: int = 90) -> bytes:
    """Return the file of a picture."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def write_dirty_set(folder: Path, *, count: int = 2000, data: Path = DATA) -> int:
    """Write a set that needs cleaning into a new folder; return how many files it has.

    Of 100 files, 3 are placeholders, 3 interiors, 7 copies of others and 1 is broken; the rest are cars: photographs
    where the data folder has them, else drawn blotches.
    """
    few = count // 100
    cars = jpegs("cars", count - 14 * few, data=data)
    files = {f"car_{number:05d}.jpg": car for number, car in enumerate(cars)}
    files |= {f"listing_{number:05d}.jpg": jpeg(draw_placeholder(number)) for number in range(3 * few)}
    files |= {f"seat_{number:05d}.jpg": jpeg(draw_interior(number)) for number in range(3 * few)}
    for number in range(7 * few):
        kind = COPIES[number % len(COPIES)]
        files[f"repost_{number:05d}.jpg"] = jpeg(copy_of(decode_image(cars[number]), kind, number), quality=85)
    files |= {f"upload_{number:05d}.jpg": cars[number][: 300 + number] for number in range(few)}
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return len(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the set that docs/cleaning.md cleans."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dirty_set", description=write_dirty_set.__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    parser.add_argument("--count", type=int, default=2000, help="how many files [%(default)s]")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of real pictures [%(default)s]")
    options = parser.parse_args(arguments)
    print(f"{write_dirty_set(options.folder, count=options.count, data=options.data):,} files in {options.folder}")
    return 0


def _rgb(levels: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in levels.clip(0, 255))
    return red, green, blue


if __name__ == "__main__":
    sys.exit(main())
