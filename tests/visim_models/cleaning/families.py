"""Drawn families of pictures: copies of one picture as people make them, and different things that look alike."""

import io
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

__all__ = ["COPIES", "DIFFERENT", "chart", "copy_of", "different", "photograph", "reopened", "slide"]

Rng = np.random.Generator
WORDS: Final = (  # noqa: SIM905
    "river stone window paper market garden winter bottle engine silver button carpet candle doctor family ticket "
    "yellow orange purple little bridge castle summer street letter number pocket second animal dinner"
).split()


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _colour(rng: Rng, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(low, high, 3))
    return red, green, blue


def reopened(image: Image.Image, *, quality: int = 90) -> Image.Image:
    """Return a picture as it is after it was saved as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def photograph(seed: int, *, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Draw something with the spectrum and the edges of a photograph: things before a ground, lit and grained."""
    rng = np.random.default_rng([seed, 77])
    width, height = size
    levels = np.zeros((height, width, 3), np.float32) + rng.uniform(60, 190, 3)
    for octave in range(7):
        cells = 2 ** (octave + 1)
        coarse = rng.normal(0, 70 / 2**octave, (cells, cells, 3)).astype(np.float32) @ _mixing(rng)
        levels += np.stack([_enlarged(coarse[..., channel], size) for channel in range(3)], axis=-1)
    picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(9):
        x, y = rng.uniform(0, 1, 2) * size
        reach = rng.uniform(0.04, 0.2, 2) * min(size)
        box = (x - reach[0], y - reach[1], x + reach[0], y + reach[1])
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape(box, fill=_colour(rng), outline=_colour(rng), width=3)
    texture = rng.normal(0, 6, (height, width, 1))
    return Image.fromarray((np.asarray(picture) + texture).clip(0, 255).astype(np.uint8))


def _mixing(rng: Rng) -> npt.NDArray[np.float32]:
    """Return a matrix that gives three channels something in common, as in photographs."""
    return (0.5 * np.eye(3) + 0.25 * rng.uniform(0.5, 1.0, (3, 3))).astype(np.float32)


def _enlarged(levels: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC))


def slide(seed: int, *, size: tuple[int, int] = (960, 540)) -> Image.Image:
    """Draw a slide of a talk: a bar with a title, and lines of words on white."""
    rng = np.random.default_rng([seed, 3])
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, size[0], 70), fill=(30, 60, 120))
    draw.text((30, 18), " ".join(rng.choice(WORDS, 3)).title(), fill="white", font=_font(32))
    for line in range(int(rng.integers(4, 8))):
        draw.text((60, 110 + 52 * line), f"- {' '.join(rng.choice(WORDS, 5))}", fill=(40, 40, 40), font=_font(26))
    draw.text((size[0] - 60, size[1] - 30), str(seed), fill=(120, 120, 120), font=_font(16))
    return picture


def chart(seed: int, *, size: tuple[int, int] = (800, 600)) -> Image.Image:
    """Draw a chart: axes, a title and some lines."""
    rng = np.random.default_rng([seed, 4])
    width, height = size
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    draw.line((70, 40, 70, height - 60), fill="black", width=2)
    draw.line((70, height - 60, width - 30, height - 60), fill="black", width=2)
    for number in range(6):
        y = 60 + number * (height - 130) / 5
        draw.line((64, y, 70, y), fill="black", width=2)
        draw.text((30, y - 8), f"{rng.integers(0, 100)}", fill="black", font=_font(14))
    for _ in range(3):
        steps = rng.normal(0, 30, 60).cumsum() + rng.uniform(150, 400)
        points = [
            (80 + index * (width - 130) / 60, float(step.clip(50, height - 70))) for index, step in enumerate(steps)
        ]
        draw.line(points, fill=_colour(rng, 0, 200), width=3)
    draw.text((width / 2, 20), " ".join(rng.choice(WORDS, 2)), fill="black", font=_font(22), anchor="mm")
    return picture


# --- copies


def _noisy(image: Image.Image, rng: Rng) -> Image.Image:
    levels = np.asarray(image) + rng.normal(0, rng.uniform(12, 22), (image.height, image.width, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _marked(image: Image.Image, rng: Rng) -> Image.Image:
    picture = image.copy()
    width, height = image.size
    place = [(0.97, 0.96, "rs"), (0.03, 0.96, "ls"), (0.97, 0.08, "rs"), (0.03, 0.08, "ls")][int(rng.integers(4))]
    words = f"(c) {rng.choice(WORDS)}.com"
    ImageDraw.Draw(picture).text(
        (place[0] * width, place[1] * height), words, fill="white", font=_font(max(height / 22, 9)), anchor=place[2]
    )
    return picture


def _captioned(image: Image.Image, rng: Rng) -> Image.Image:
    width, height = image.size
    band = round(rng.uniform(0.08, 0.15) * height)
    picture = Image.new("RGB", (width, height + band), "white")
    picture.paste(image)
    words = " ".join(rng.choice(WORDS, 4))
    ImageDraw.Draw(picture).text((5, height + band / 2), words, fill="black", font=_font(band * 0.5), anchor="lm")
    return picture


def _barred(image: Image.Image, rng: Rng) -> Image.Image:
    across = round(rng.uniform(0.08, 0.2) * image.height)
    bars = (0, across, 0, across) if rng.random() < 0.5 else (across, 0, across, 0)
    return ImageOps.expand(image, border=bars, fill="black")


def _framed(image: Image.Image, rng: Rng) -> Image.Image:
    return ImageOps.expand(image, border=max(2, round(0.08 * min(image.size))), fill=_colour(rng))


def _cropped(image: Image.Image, rng: Rng) -> Image.Image:
    x, y = rng.uniform(0, 0.1, 2) * image.size
    return image.crop((int(x), int(y), int(x + 0.9 * image.width), int(y + 0.9 * image.height)))


def _recoloured(image: Image.Image, rng: Rng) -> Image.Image:
    levels = np.asarray(image, np.float32) * rng.uniform(0.75, 1.2, 3) + rng.uniform(-15, 15)
    return ImageEnhance.Color(Image.fromarray(levels.clip(0, 255).astype(np.uint8))).enhance(rng.uniform(0.5, 1.5))


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize(
        (max(round(image.width * factor), 1), max(round(image.height * factor), 1)), Image.Resampling.BICUBIC
    )


COPIES: Final[dict[str, Callable[[Image.Image, Rng], Image.Image]]] = {
    "saved at quality 10": lambda image, _: reopened(image, quality=10),
    "saved at quality 40": lambda image, _: reopened(image, quality=40),
    "blown up": lambda image, _: _scaled(_scaled(image, 0.25), 8),
    "half the size": lambda image, _: _scaled(image, 0.5),
    "watermark": _marked,
    "noise": _noisy,
    "caption": _captioned,
    "black bars": _barred,
    "frame": _framed,
    "black and white": lambda image, _: image.convert("L").convert("RGB"),
    "cropped": _cropped,
    "recoloured": _recoloured,
    "mirrored": lambda image, _: ImageOps.mirror(image),
    "turned by 90": lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda image, _: image.transpose(Image.Transpose.ROTATE_180),
}
"""Kind -> what makes such a copy of a picture."""


def copy_of(image: Image.Image, kind: str, seed: int) -> Image.Image:
    """Return a copy of a picture, one of `COPIES`."""
    return COPIES[kind](image, np.random.default_rng([seed, 5]))


# --- different things that look alike


def _meme(seed: int, number: int) -> Image.Image:
    rng = np.random.default_rng([seed, number, 10])
    picture = photograph(seed, size=(500, 400))
    draw = ImageDraw.Draw(picture)
    for y in (40, 360):
        words = " ".join(rng.choice(WORDS, 3)).upper()
        draw.text((250, y), words, fill="white", font=_font(30), anchor="mm", stroke_width=2, stroke_fill="black")
    return picture


def _meter(seed: int, number: int) -> Image.Image:
    rng = np.random.default_rng([seed, 11])
    picture = Image.new("RGB", (480, 320), _colour(rng, 60, 120))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((60, 60, 420, 260), 18, fill=(210, 210, 205), outline="black", width=4)
    draw.text((240, 90), "kWh 230V 50Hz", fill="black", font=_font(18), anchor="mm")
    draw.rectangle((120, 120, 360, 190), fill="black")
    reading = 41_000 + 37 * number + int(np.random.default_rng([seed, number]).integers(0, 30))
    draw.text((240, 155), f"{reading:06d}", fill="white", font=_font(52), anchor="mm")
    grain = np.random.default_rng([seed, number, 12]).normal(0, 4, (320, 480, 3))
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


def _receipt(seed: int, number: int) -> Image.Image:
    rng = np.random.default_rng([seed, number, 13])
    picture = Image.new("RGB", (400, 800), (250, 249, 246))
    draw = ImageDraw.Draw(picture)
    draw.text((200, 50), "CORNER MARKET", fill="black", font=_font(30), anchor="mm")
    total = 0
    for line in range(9):
        price = int(rng.integers(90, 1999))
        total += price
        draw.text((40, 120 + 45 * line), str(rng.choice(WORDS)), fill="black", font=_font(22))
        draw.text((360, 120 + 45 * line), f"{price / 100:.2f}", fill="black", font=_font(22), anchor="ra")
    draw.text((40, 600), "TOTAL", fill="black", font=_font(28))
    draw.text((360, 600), f"{total / 100:.2f}", fill="black", font=_font(28), anchor="ra")
    return picture


def _traffic_light(seed: int, number: int) -> Image.Image:
    picture = photograph(seed + number // 3, size=(480, 360))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((205, 60, 275, 260), 12, fill=(25, 25, 25))
    lit = number % 3
    colours = ((235, 40, 30), (240, 190, 40), (40, 210, 90))
    for lamp in range(3):
        box = (217, 72 + 62 * lamp, 263, 118 + 62 * lamp)
        draw.ellipse(box, fill=colours[lamp] if lamp == lit else (50, 48, 45))
    grain = np.random.default_rng([seed, number]).normal(0, 4, (360, 480, 3))
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


def _letter(seed: int, number: int) -> Image.Image:
    picture = Image.new("RGB", (200, 200), "white")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabdeghnpqrtuy"
    draw = ImageDraw.Draw(picture)
    draw.text((100, 100), letters[number % len(letters)], fill="black", font=_font(150), anchor="mm")
    return picture


def _shirt(seed: int, number: int) -> Image.Image:
    colours = ["red", "blue", "green", "gold", "purple", "orange", "black", "teal", "navy", "pink", "gray", "brown"]
    picture = Image.new("RGB", (400, 400), (245, 245, 245))
    draw = ImageDraw.Draw(picture)
    colour = colours[number % len(colours)]
    points = [(120, 80), (170, 60), (230, 60), (280, 80), (350, 150), (305, 190), (280, 165), (280, 350), (120, 350),
              (120, 165), (95, 190), (50, 150)]  # fmt: skip
    draw.polygon(points, fill=colour)
    draw.ellipse((170, 45, 230, 90), fill=(245, 245, 245))
    shade = np.linspace(0.85, 1.1, 400)[None, :, None]
    grain = np.random.default_rng([seed, number]).normal(0, 3, (400, 400, 3))
    return Image.fromarray((np.asarray(picture) * shade + grain).clip(0, 255).astype(np.uint8))


def _sign(seed: int, number: int) -> Image.Image:
    """Draw an arrow to the left or to the right, each in one of several places."""
    picture = photograph(seed + number // 2, size=(400, 300))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((110, 60, 290, 240), fill=(20, 70, 180), outline="white", width=6)
    sign = Image.new("L", (180, 180), 0)
    ImageDraw.Draw(sign).polygon([(30, 90), (90, 35), (90, 70), (150, 70), (150, 110), (90, 110), (90, 145)], fill=255)
    picture.paste((255, 255, 255), (110, 60), ImageOps.mirror(sign) if number % 2 else sign)
    if number % 4 >= 2:  # on white, nothing tells the mirrored sign from the other one
        plain = Image.new("RGB", (400, 300), "white")
        plain.paste(picture.crop((110, 60, 290, 240)), (110, 60))
        return plain
    return picture


def _identity_card(seed: int, number: int) -> Image.Image:
    rng = np.random.default_rng([seed, number, 16])
    picture = Image.new("RGB", (540, 340), (205, 222, 235))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 540, 54), fill=(25, 60, 120))
    draw.text((20, 12), "IDENTITY CARD", fill="white", font=_font(28))
    draw.rectangle((24, 80, 174, 280), fill=(160, 160, 165))
    tone = _colour(rng, 90, 220)
    draw.ellipse((64, 105, 134, 195), fill=tone)
    draw.ellipse((44, 200, 154, 330), fill=_colour(rng, 20, 160))
    draw.rectangle((24, 281, 174, 340), fill=(205, 222, 235))
    for line, words in enumerate((*rng.choice(WORDS, 2), f"{rng.integers(10**8, 10**9)}")):
        draw.text((200, 100 + 60 * line), str(words).upper(), fill="black", font=_font(26))
    return picture


def _digit(seed: int, number: int) -> Image.Image:
    """Draw a digit by hand on 28 x 28 pixels, slanted and scaled a little, as in the well-known set."""
    rng = np.random.default_rng([seed, number, 17])
    large = Image.new("L", (112, 112), 0)
    draw = ImageDraw.Draw(large)
    size = float(rng.uniform(70, 92))
    draw.text((56 + rng.uniform(-5, 5), 56 + rng.uniform(-5, 5)), str(number % 10), fill=255, font=_font(size),
              anchor="mm", stroke_width=int(rng.integers(1, 5)))  # fmt: skip
    slant = rng.uniform(-0.3, 0.3)
    turned = large.transform(
        (112, 112), Image.Transform.AFFINE, (1, slant, -slant * 56, 0, 1, 0), Image.Resampling.BILINEAR
    )
    return (
        turned.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
        .resize((28, 28), Image.Resampling.BOX)
        .convert("RGB")
    )


DIFFERENT: Final[dict[str, Callable[[int, int], Image.Image]]] = {
    "memes": _meme,
    "meters": _meter,
    "receipts": _receipt,
    "traffic lights": _traffic_light,
    "letters": _letter,
    "shirts": _shirt,
    "signs": _sign,
    "identity cards": _identity_card,
    "digits": _digit,
}
"""Family -> what draws a member of it, by the seed of the family and the number of the member."""


def different(family: str, seed: int, count: int) -> list[Image.Image]:
    """Draw different things of one family of `DIFFERENT`: no two show the same."""
    return [DIFFERENT[family](seed, number) for number in range(count)]
