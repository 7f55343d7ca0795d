"""Measure how good a picture is, and choose which of several copies is kept."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from visim_models.galleries.picture_table import PictureTable

__all__ = ["HARD", "MEASURES", "Copy", "Keep", "Preference", "colourfulness", "is_copy_name", "measure_quality"]

Floats = npt.NDArray[np.float32]
Keep: TypeAlias = Literal["best", "oldest", "newest", "largest"]

MEASURES: Final[Mapping[str, type[np.generic]]] = {
    "width": np.int64,
    "height": np.int64,
    "bytes": np.int64,
    "frames": np.int64,
    "is_blank": np.uint8,
    "detail": np.float32,
    "noise": np.float32,
    "compression": np.float32,
    "colour": np.float32,
    "sharpness": np.float32,
    "dark": np.float32,
    "bright": np.float32,
}
"""What is measured of a picture, and the type of its array.

width, height: in pixels, upright. bytes: of the file. frames: of an animation, else 1. is_blank: one colour in every
channel, the transparency, and every frame. detail: share of the finest detail that its size can hold which is there, 0
to 1: a quarter in a picture that was enlarged four times. noise: standard deviation in smooth parts, in grey levels.
compression: mean divisor of a JPEG's coefficients, 0 where nothing says it. colour: root mean square of the distance
from grey, in levels. sharpness: variance of the Laplacian at a longest side of 256 pixels. dark, bright: the level that
one in a hundred pixels is above, and below."""

_SIDE: Final = 256
"""Longest side at which sharpness is measured, and side of the part in which detail and noise are."""
_LARGEST_INSPECTED: Final = 80_000_000
"""Pixels up to which Pillow opens a file again without a warning."""
_MOST_FRAMES: Final = 200
_PLAIN: Final = 2.0
_AS_GOOD: Final = 1.3
"""Ratio of the pixels of two copies up to which neither is the better one by them."""
HARD: Final = 6.0
"""Mean divisor of a JPEG's coefficients, above which its loss is seen: about quality 93."""
_GREY: Final = 2.0
_COPY_NAME: Final = re.compile(
    r"""
    ^(copy|kopie|copie|copia|kopia|cópia|копия)[ _-]+(of|von|de|di|van)?\b   # "Copy of IMG", "Kopie von IMG"
    | [ _-]+(-[ ]?)?(copy|kopie|copie|copia|kopia|cópia|копия|コピー|副本)([ _]?\(?\d*\)?)?$   # "IMG - Copy (2)"
    | [ _]?\(\d{1,3}\)$                                                # "IMG (1)"
    | ~\d+$ | [ _-](duplicate|dup|edited|bearbeitet|resized|small|thumb|thumbnail|export|backup)\d*$
    """,
    re.IGNORECASE | re.VERBOSE,
)
_COPY_FOLDER: Final = re.compile(
    r"""
    ^(.*[ _-])?(backup|backups|back-up|sicherung|copy|copies|kopie|kopien|copie|copia|old|alt|duplicates?|dupes?|archive
    |trash|papierkorb|deleted|recycle|temp|tmp|cache|thumbs?|thumbnails?|exports?|whatsapp|sent)([ _-]?\(?\d*\)?)$
    """,
    re.IGNORECASE | re.VERBOSE,
)


def measure_quality(image: Image.Image, content: bytes) -> dict[str, float]:
    """Measure a picture.

    Args:
        image: upright RGB.
        content: of its file.

    Returns:
        Name of `MEASURES` -> value.
    """
    small = image
    if max(image.size) > _SIDE:
        small = image.copy()
        small.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    levels = np.asarray(small, np.float32)  # (H, W, 3)
    grey = levels @ np.full(3, 1 / 3, np.float32)  # (H, W)
    spread = float(levels.reshape(-1, 3).std(axis=0).max())
    facts = _file_facts(content, image.width * image.height, is_plain=spread <= _PLAIN)
    detail, noise = _detail_and_noise(image)
    low, high = np.quantile(grey, (0.01, 0.99))
    return {
        "width": image.width,
        "height": image.height,
        "bytes": len(content),
        "detail": detail,
        "noise": noise,
        "colour": colourfulness(levels),
        "sharpness": _sharpness(grey),
        "dark": float(high),
        "bright": float(low),
        **facts,
    }


def colourfulness(levels: Floats) -> float:
    """Return the root mean square of the part of (H, W, 3) levels that grey levels of any one tint do not explain."""
    flat = levels.reshape(-1, 3)
    grey = flat @ np.full(3, 1 / 3, np.float32)
    centred, spread = flat - flat.mean(axis=0), grey - grey.mean()
    slopes = (spread @ centred) / max(float(spread @ spread), 1e-3)  # (3,)
    return float(np.sqrt(np.square(centred - spread[:, None] * slopes).mean()))


def _sharpness(grey: Floats) -> float:
    """Return the variance of the Laplacian of (H, W) grey levels; 0 where there is no pixel with four neighbours."""
    if min(grey.shape) < 3:
        return 0.0
    return float(_laplacian(grey).var())


def _laplacian(grey: Floats) -> Floats:
    return grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]


def _detail_and_noise(image: Image.Image) -> tuple[float, float]:
    """Measure the middle of a picture at its own size.

    Detail is where 97 % of the energy of the gradient is reached along the frequencies: an enlargement adds none beyond
    those of the picture that it was made from.
    """
    width, height = min(image.width, _SIDE), min(image.height, _SIDE)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    grey = np.asarray(image.crop((left, top, left + width, top + height)).convert("L"), np.float32)
    if min(grey.shape) < 16:
        return 1.0, 0.0
    found = []
    for axis in (0, 1):
        lines = np.diff(grey, axis=axis)
        lines = lines * np.hanning(lines.shape[axis]).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        power = np.square(np.abs(np.fft.rfft(lines, axis=axis))).mean(axis=1 - axis)[1:]
        reached = np.cumsum(power) / max(float(power.sum()), 1e-9)
        found.append((int(np.searchsorted(reached, 0.97)) + 1) / len(power))
    cells = np.abs(_laplacian(grey))
    rows, columns = (length // 8 for length in cells.shape)
    if not rows or not columns:
        return max(found), 0.0
    blocks = cells[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).mean(axis=(1, 3))
    return max(found), float(np.quantile(blocks, 0.1)) * math.sqrt(math.pi / 2) / math.sqrt(20)


def _file_facts(content: bytes, pixels: int, *, is_plain: bool) -> dict[str, float]:
    """Return what the file itself says: frames, the divisors of a JPEG, whether all of it has one colour."""
    facts: dict[str, float] = {"frames": 1, "compression": 0.0, "is_blank": 0}
    if pixels > _LARGEST_INSPECTED:
        return facts
    try:
        with Image.open(io.BytesIO(content)) as image:
            if tables := getattr(image, "quantization", None):
                facts["compression"] = float(np.mean(next(iter(tables.values()))))
            facts["frames"] = int(getattr(image, "n_frames", 1))
            if is_plain:
                facts["is_blank"] = int(_is_blank(image, int(facts["frames"])))
    except Exception:  # Pillow raises a dozen kinds; the picture itself was decoded, so these facts only add to it
        return facts
    return facts


def _is_blank(image: Image.Image, frames: int) -> bool:
    """Return whether a file has one colour in every channel, its transparency and every frame, at its full depth."""
    colours = set()
    most = _PLAIN if image.format in ("JPEG", "MPO", "WEBP", "AVIF", "HEIF") else 0  # what a lossy coder may change
    for frame in range(min(frames, _MOST_FRAMES)):
        if frames > 1:
            image.seek(frame)
        plain: Any = image.convert("RGBA") if image.mode in ("P", "PA") and "transparency" in image.info else image
        extrema = plain.getextrema()
        bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
        if any(high - low > most for low, high in bands):
            return False
        colours.add(tuple(low for low, _ in bands))
    return frames <= _MOST_FRAMES and all(max(levels) - min(levels) <= most for levels in zip(*colours, strict=True))


# --- which copy is kept


def is_copy_name(file_name: str) -> bool:
    """Return whether a name says that the file is a copy: "IMG (1).jpg", "IMG - Copy.jpg", "Copy of IMG.jpg"."""
    return bool(_COPY_NAME.search(PurePosixPath(file_name).stem))


def _is_in_copy_folder(file_name: str) -> bool:
    return any(_COPY_FOLDER.search(part) for part in PurePosixPath(file_name).parts[:-1])


@dataclass(frozen=True, eq=False)
class Copy:
    """A picture of a survey, among others that show the same.

    Attributes:
        root: folder, zip or address that it is in.
        pictures: of that root.
        index: of the picture.
    """

    root: str
    pictures: PictureTable
    index: int

    @property
    def file_name(self) -> str:
        """Return its name, relative to the root."""
        return self.pictures.file_names[self.index]

    @cached_property
    def changed(self) -> int:
        """Return when the file was last changed, in nanoseconds; 0 where that is not known."""
        return _changed(self.root, self.file_name)

    @cached_property
    def inode(self) -> tuple[int, int] | None:
        """Return what hard links to one file share; None where the file is not in a folder, or has one name only."""
        try:
            status = Path(self.root, self.file_name).stat()
        except (OSError, ValueError):
            return None
        return (status.st_dev, status.st_ino) if status.st_nlink > 1 else None

    @cached_property
    def place(self) -> tuple[Any, ...]:
        """Return what decides between copies that are as good, the lowest first."""
        name = self.file_name
        return is_copy_name(name), _is_in_copy_folder(name), name.count("/"), self.changed, len(name), name

    @cached_property
    def information(self) -> tuple[float, ...]:
        """Return what the picture is worth, the lowest first: minus its frames, whether it is grey, minus the pixels of
        the detail that it really has."""
        value = {name: float(self.pictures[name][self.index]) for name in MEASURES}
        compression = max(value["compression"], HARD) / HARD
        pixels = max(value["width"] * value["height"] * value["detail"] ** 2, 1.0) / compression
        return (-value["frames"], value["colour"] < _GREY, -pixels)

    def why_kept(self, other: "Copy", preference: "Preference") -> str:
        """Say by which rule this copy is kept, and not another one."""
        if preference.keep != "best":
            return f"kept: the {preference.keep}"
        if preference.prefer:
            return "kept: its folder is preferred, or it is the best of its group"
        mine, its = self.information, other.information
        if mine[0] < its[0]:
            return "kept: it has more frames"
        if mine[1] < its[1]:
            return "kept: it has colours"
        if mine[2] < its[2] * _AS_GOOD:
            return "kept: it has the most detail"
        rules = (
            "the other is a copy by its name",
            "the other is in a folder of copies",
            "its folder is the shallowest",
            "it is the oldest",
        )
        for rule, one, two in zip(rules, self.place, other.place, strict=False):
            if one < two:
                return f"kept: {rule}"
        return "kept: the first by name of copies that are as good"


@dataclass(frozen=True)
class Preference:
    """Which copy of several is kept.

    Attributes:
        prefer: folders, relative to the root or absolute: a copy in the first of them is kept, then in the second.
        keep: "best", the one with the most information, or the oldest, newest or largest file.
    """

    prefer: tuple[str, ...] = ()
    keep: Keep = "best"

    def order(self, copies: Sequence[Copy]) -> list[Copy]:
        """Return copies of one picture, the one to keep first, the others by how good they are.

        Of those that have nearly as much information as the best, it is the one that is no copy by its name, nor in a
        folder of copies, then the one in the shallowest folder, then the oldest.
        """
        worth = {id(copy): self._worth(copy) for copy in copies}
        rest = sorted(copies, key=lambda copy: (worth[id(copy)], copy.place))
        best = worth[id(rest[0])]
        as_good = [
            copy for copy in rest
            if worth[id(copy)][:-1] == best[:-1] and (self.keep != "best" or worth[id(copy)][-1] <= best[-1] / _AS_GOOD)
        ]  # fmt: skip
        first = min(as_good, key=lambda copy: copy.place) if self.keep == "best" else rest[0]
        return [first, *(copy for copy in rest if copy is not first)]

    def _worth(self, copy: Copy) -> tuple[float, ...]:
        """Return numbers by which copies are sorted, the best with the lowest; the last one is measured."""
        rank = self._rank(copy.root, copy.file_name)
        if self.keep == "oldest":
            return (rank, copy.changed)
        if self.keep == "newest":
            return (rank, -copy.changed)
        if self.keep == "largest":
            return (rank, -float(copy.pictures["bytes"][copy.index]))
        return (rank, *copy.information)

    def _rank(self, root: str, file_name: str) -> int:
        path = Path(root, file_name)
        for number, folder in enumerate(self.prefer):
            if path.is_relative_to(Path(root, folder)) or path.is_relative_to(Path(folder).absolute()):
                return number
        return len(self.prefer)


def _changed(root: str, file_name: str) -> int:
    """Return when a file was last changed, in nanoseconds; 0 where that is not known."""
    try:
        return Path(root, file_name).stat().st_mtime_ns
    except (OSError, ValueError):
        return 0
