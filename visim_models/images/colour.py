"""Colours of samples, and how they become sRGB: an ICC profile, the code points of video, or a PNG's gamma.

Sources: ICC.1 (by LittleCMS, in Pillow), ITU-T H.273 (the code points), IEC 61966-2-1 (sRGB), SMPTE ST 2084 and
ITU-R BT.2100 (PQ and HLG, of which white for paper, 203 cd/m2, becomes white: BT.2408), and the PNG specification.
"""

import functools
import io
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

__all__ = ["ColourSpace", "Curve", "cicp_space", "gamma_space", "icc_space"]

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Transfer = Callable[[Values], Values]

_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of images, by the colour space of a profile
_ALIKE: Final = 2  # of 255: a profile that changes no colour more is sRGB
_WHITE: Final = 203.0  # cd/m2
_PEAK: Final = 1_000.0  # cd/m2, of a display for HLG
_GAMMA: Final = 1 / 2.2  # what nearly every PNG states, and browsers take for sRGB
_STEPS: Final = 4_096  # of the table that encodes linear light


class ColourSpace(NamedTuple):
    """Say what the samples of a picture mean, where that is not sRGB.

    Attributes:
        profile: An ICC profile; where there is one, the rest is not used.
        transfer: Turns samples, 0 to 1, into linear light, of which 1 is white.
        matrix: Turns linear light into that of sRGB's primaries, (3, 3), or None where they are sRGB's.
    """

    profile: bytes | None = None
    transfer: Transfer | None = None
    matrix: tuple[tuple[float, ...], ...] | None = None

    def converted(self, image: Image.Image) -> Image.Image | None:
        """Return an image of 8 bits a sample in sRGB, of mode RGB, or None where its colours mean that already.

        Args:
            image: Of mode L, RGB or CMYK. It is not changed.
        """
        if self.profile is not None:
            transform = _transform(self.profile, image.mode)
            return None if transform is None else transform.apply(image)
        if image.mode == "CMYK":
            return None
        curve = Curve(self, 256)
        if self.matrix is None:
            table = curve.table.tolist()
            return image.point(table * len(image.getbands())).convert("RGB")
        return Image.fromarray(curve(np.asarray(image.convert("RGB"))))


class Curve:
    """Turn samples of so many levels into sRGB of 8 bits.

    Args:
        space: Without a profile.
        levels: Number of different samples: 256 or 65,536.
    """

    def __init__(self, space: ColourSpace, levels: int) -> None:
        assert space.transfer is not None
        self._linear = space.transfer(np.linspace(0, 1, levels, dtype=np.float32))  # (levels,)
        self._matrix = None if space.matrix is None else np.array(space.matrix, np.float32)
        self.table: Bytes = _encoded(self._linear)  # (levels,) uint8

    def __call__(self, samples: npt.NDArray[Any]) -> Bytes:
        """Return (H, W, 3) uint8 of (H, W, 3) samples."""
        if self._matrix is None:
            shown: Bytes = self.table[samples]
        else:
            light = np.clip(self._linear[samples] @ self._matrix.T, 0, 1)  # (H, W, 3)
            shown = _table_of_srgb()[np.rint(light * (_STEPS - 1)).astype(np.uint16)]
        return shown


def icc_space(image: Image.Image) -> ColourSpace | None:
    """Return the colours that the embedded profile of an image states, or None where it has none."""
    profile = image.info.get("icc_profile")
    return ColourSpace(profile=bytes(profile)) if profile else None


def gamma_space(gamma: float, chromaticities: tuple[int, ...] | None) -> ColourSpace | None:
    """Return the colours that a PNG's gAMA and cHRM state; None where that is sRGB, or nonsense.

    Args:
        gamma: Of the file: samples are linear light to that power.
        chromaticities: x and y of white, red, green and blue, in 1/100,000.
    """
    if not 0.05 < gamma < 5:
        return None
    matrix = None
    if chromaticities is not None:
        points = [value / 100_000 for value in chromaticities]
        matrix = _matrix(points[2:], points[:2])
    if matrix is None and abs(gamma - _GAMMA) < 0.005:
        return None
    return ColourSpace(transfer=lambda values: values ** np.float32(1 / gamma), matrix=matrix)


def cicp_space(primaries: int, transfer: int) -> ColourSpace | None:
    """Return the colours of two code points of H.273; None for sRGB, unknown ones, and BT.709's, shown as sRGB.

    Args:
        primaries: ColourPrimaries.
        transfer: TransferCharacteristics.
    """
    curve = _TRANSFERS.get(transfer)
    points = _PRIMARIES.get(primaries)
    matrix = _matrix(*points) if points else None
    if curve is None and matrix is None:
        return None
    return ColourSpace(transfer=curve or _srgb_light, matrix=matrix)


def _srgb_light(values: Values) -> Values:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _pq_light(values: Values) -> Values:
    power = values.astype(np.float64) ** (32 / 2523)
    light = (np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)) ** (8192 / 1305)
    return np.minimum(light * 10_000 / _WHITE, 1).astype(np.float32)


def _hlg_light(values: Values) -> Values:
    """Return the light of a display, as if each colour were a grey: exact for greys alone."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    return np.minimum(scene**1.2 * _PEAK / _WHITE, 1).astype(np.float32)


_TRANSFERS: Final[dict[int, Transfer]] = {
    4: lambda values: values ** np.float32(2.2),
    5: lambda values: values ** np.float32(2.8),
    8: lambda values: values,
    16: _pq_light,
    18: _hlg_light,
}
_D65: Final = [0.3127, 0.3290]
_PRIMARIES: Final = {  # red, green and blue, x and y; and white
    9: ([0.708, 0.292, 0.170, 0.797, 0.131, 0.046], _D65),
    11: ([0.680, 0.320, 0.265, 0.690, 0.150, 0.060], [0.314, 0.351]),
    12: ([0.680, 0.320, 0.265, 0.690, 0.150, 0.060], _D65),
}
_SRGB: Final = [0.64, 0.33, 0.30, 0.60, 0.15, 0.06]


def _to_xyz(primaries: list[float], white: list[float]) -> npt.NDArray[np.float64]:
    """Return the matrix from linear light of these primaries to XYZ, (3, 3), with white at Y = 1."""
    points = np.array([[x, y, 1 - x - y] for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T  # (3, 3)
    x, y = white
    return points * np.linalg.solve(points, np.array([x / y, 1, (1 - x - y) / y]))


def _matrix(primaries: list[float], white: list[float]) -> tuple[tuple[float, ...], ...] | None:
    """Return the matrix to linear sRGB, white to white; None where it changes next to nothing, or there is none."""
    if not all(0 < value < 1 for value in white) or not all(-0.2 < value < 1.2 for value in primaries):
        return None
    try:
        matrix = np.linalg.solve(_to_xyz(_SRGB, white), _to_xyz(primaries, white))
    except np.linalg.LinAlgError:
        return None
    if np.abs(matrix - np.eye(3)).max() < 0.01:
        return None
    return tuple(tuple(row) for row in matrix.tolist())


def _encoded(light: Values) -> Bytes:
    """Return linear light, 0 to 1, as sRGB of 8 bits."""
    clipped = np.clip(light, 0, 1)
    values = np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)
    encoded: Bytes = np.rint(values * 255).astype(np.uint8)
    return encoded


@functools.cache
def _table_of_srgb() -> Bytes:
    return _encoded(np.linspace(0, 1, _STEPS, dtype=np.float32))


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB; None where it does not fit the mode, is damaged, or is sRGB."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(source, _srgb_profile(), mode, "RGB")
        if mode == "CMYK":
            return transform
        steps = np.arange(0, 256, 17, dtype=np.uint8)
        colours = np.stack(np.meshgrid(*[steps] * 3), -1).reshape(16, 256, 3)  # (16, 256, 3)
        sample = Image.fromarray(colours) if mode == "RGB" else Image.fromarray(steps[None])
        before, after = np.asarray(sample.convert("RGB")), np.asarray(transform.apply(sample))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform if np.abs(before.astype(int) - after).max() > _ALIKE else None


@functools.cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
