"""Convert an RGB image to the array that a network takes: one `ImageProcessor` for training, gallery and query."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from visim_models.errors import ConfigurationError, QueryError, VisimError
from visim_models.images.decode import ImageSource, decode_image
from visim_models.images.decode_ahead import decode_ahead, pictures_at_once
from visim_models.repo_folder import FindOptions, RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import PROCESSOR

__all__ = ["ImageProcessor", "decode_pictures"]

_Bytes: TypeAlias = npt.NDArray[np.uint8]
_Floats: TypeAlias = npt.NDArray[np.float32]
_Box: TypeAlias = tuple[float, float, float, float]

_RESAMPLE: Final = {number: Image.Resampling(number) for number in (0, 2, 3)}
"""Pillow's numbers, which the field writes into preprocessor_config.json."""
_CUBIC: Final = -0.75
"""Of the cubic kernel that OpenCV and torch resize by."""

_FOR_TRANSFORMERS: Final[Mapping[str, Any]] = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
}
"""Keys by which `transformers.AutoImageProcessor` does what this processor does."""


@dataclass(frozen=True, kw_only=True)
class ImageProcessor:
    """Resize to a square (the sides are scaled apart, as in the articles), to floats, normalise.

    Attributes:
        size: side of the square, in pixels.
        resample: Pillow's number of the interpolation: 0 nearest, 2 bilinear, 3 bicubic.
        antialias: average over the area when a picture shrinks. OpenCV's resize, which the articles used, does not.
        rescale_factor: multiplies the 8-bit values first.
        image_mean: is then subtracted, a value a channel.
        image_std: then divides, a value a channel.
        do_flip_channel_order: hand the network BGR instead of RGB; mean and std are in the order of the network.
        center_crop: side of the square that is cut out of the middle, as a share of the shorter side; None to keep all
            of the picture, its sides scaled apart.

    Raises:
        ConfigurationError: a value that does not fit.
    """

    size: int
    resample: int = 2
    antialias: bool = True
    rescale_factor: float = 1 / 255
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    do_flip_channel_order: bool = False
    center_crop: float | None = None

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= 4096:
            raise ConfigurationError(f"size is {self.size!r}: the side of a square, 1 to 4096 pixels, is needed.")
        if type(self.resample) is not int or self.resample not in _RESAMPLE:
            raise ConfigurationError(f"resample is {self.resample!r}, but must be one of {sorted(_RESAMPLE)}.")
        if type(self.antialias) is not bool or type(self.do_flip_channel_order) is not bool:
            raise ConfigurationError("antialias and do_flip_channel_order must be true or false.")
        if self.center_crop is not None and not (_is_finite_number(self.center_crop) and 0.1 <= self.center_crop <= 1):
            raise ConfigurationError(f"center_crop is {self.center_crop!r}: a share from 0.1 to 1 is needed, or null.")
        for key in ("image_mean", "image_std"):
            values = getattr(self, key)
            if len(values) != 3 or not all(_is_finite_number(value) for value in values):
                raise ConfigurationError(f"{key} is {values!r}: three finite numbers are needed.")
        if not _is_finite_number(self.rescale_factor) or min(map(abs, (*self.image_std, self.rescale_factor))) < 1e-6:
            raise ConfigurationError(
                "image_std and rescale_factor must be finite numbers of at least 1e-6, or below -1e-6."
            )

    def __call__(self, image: ImageSource) -> _Floats:
        """Process a picture (path, bytes, PIL image or (H, W, 3) uint8 array): (3, S, S) float32.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
        """
        return self.normalize(self.resize(decode_image(image)))

    def resize(self, image: Image.Image) -> _Bytes:
        """Resize an RGB picture: (3, S, S) uint8, RGB."""
        side, resample = self.size, _RESAMPLE[self.resample]
        box: _Box = (0, 0, image.width, image.height)
        if self.center_crop is not None:
            box = _middle(image.size, side, self.center_crop)
        if image.size == (side, side) and self.center_crop in (None, 1):
            pixels = np.asarray(image)  # (S, S, 3)
        elif self.antialias or resample is Image.Resampling.NEAREST:
            pixels = np.asarray(image.resize((side, side), resample, box))
        else:
            pixels = _interpolated(np.asarray(image), box, side, resample)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (3, S, S)

    def normalize(self, pixels: _Bytes) -> _Floats:
        """Normalize (..., 3, S, S) RGB of 0 to 255 to float32 of the same shape, the network's input."""
        if self.do_flip_channel_order:
            pixels = np.flip(pixels, -3)
        values = pixels.astype(np.float32, order="C")
        values *= np.float32(self.rescale_factor)
        values -= _a_channel(self.image_mean)
        values /= _a_channel(self.image_std)
        return values

    def denormalize(self, pixels: _Floats) -> _Bytes:
        """Convert the network's input or output, (..., 3, S, S) float, to RGB, uint8, of the same shape."""
        values = (pixels * _a_channel(self.image_std) + _a_channel(self.image_mean)) / np.float32(self.rescale_factor)
        levels = values.round().clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.flip(levels, -3)) if self.do_flip_channel_order else levels

    def to_dict(self) -> dict[str, Any]:
        """Return the content of preprocessor_config.json, under the keys that the field uses.

        `AutoImageProcessor` of transformers reads it, too; but not where it could not do the same: of a processor that
        flips the channels or does not antialias, no type is stated.
        """
        values = asdict(self)
        crop, square = values.pop("center_crop"), {"height": self.size, "width": self.size}
        values |= {"size": square, "image_mean": list(self.image_mean), "image_std": list(self.image_std)}
        if crop is not None:
            edge = {"shortest_edge": int(self.size / crop)}
            values |= {"size": edge, "crop_size": square, "do_center_crop": True, "crop_pct": crop}
        if self.antialias and not self.do_flip_channel_order:
            values |= _FOR_TRANSFORMERS
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, name: str = PROCESSOR) -> Self:
        """Build the processor from the content of preprocessor_config.json; every key must be there, and no other.

        The keys for transformers may be left out, and do_center_crop with crop_pct: then nothing is cropped.

        Args:
            values: the keys and their values.
            name: the file that messages name.

        Raises:
            ConfigurationError: a missing or unknown key, or a value that does not fit.
        """
        crop = {key: values[key] for key in ("do_center_crop", "crop_pct", "crop_size") if key in values}
        if crop and not (crop.get("do_center_crop") is True and "crop_pct" in crop):
            raise ConfigurationError(f"{name}: do_center_crop must be true, with a crop_pct; or leave both out.")
        if wrong := [key for key, value in _FOR_TRANSFORMERS.items() if values.get(key, value) != value]:
            raise ConfigurationError(f"{name}: {wrong[0]} must be {_FOR_TRANSFORMERS[wrong[0]]!r}, or be left out.")
        size = crop.get("crop_size", values.get("size"))
        values = {key: value for key, value in values.items() if key not in {*crop, *_FOR_TRANSFORMERS}}
        expected = set(cls.__dataclass_fields__) - {"center_crop"}
        if set(values) != expected:
            raise ConfigurationError(
                f"{name} lacks {sorted(expected - set(values))} or has unknown keys {sorted(set(values) - expected)}."
            )
        if not isinstance(size, dict) or set(size) != {"height", "width"} or size["height"] != size["width"]:
            raise ConfigurationError(f"{name}: size is {size!r}, but must be a height and an equal width.")
        lists = {key: values[key] for key in ("image_mean", "image_std")}
        if not all(isinstance(value, list) for value in lists.values()):
            raise ConfigurationError(f"{name}: image_mean and image_std must be lists of three numbers.")
        tuples = {key: tuple(value) for key, value in lists.items()}
        made = cls(**{**values, **tuples, "size": size["height"]}, center_crop=crop.get("crop_pct"))
        if "crop_size" in crop and values["size"] != made.to_dict()["size"]:
            raise ConfigurationError(f"{name}: size must be {made.to_dict()['size']}, which crop_size is cut out of.")
        return made

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str] | RepoFolder, **options: Unpack[FindOptions]) -> Self:
        """Load the processor of a folder or of a Hub repo.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", or an open repo folder.
            options: where to look for it, as `RepoFolder.find` takes them.

        Raises:
            RepositoryError: the folder or repo cannot be found or downloaded.
            ConfigurationError: preprocessor_config.json is missing, or has a missing, unknown or wrong key.
        """
        return cls.load(RepoFolder.find(source, **options))

    @classmethod
    def load(cls, repo: RepoFolder) -> Self:
        """Load the processor of a repo folder.

        Raises:
            ConfigurationError: preprocessor_config.json is missing, or has a missing, unknown or wrong key.
        """
        return cls.from_dict(repo.json(PROCESSOR), name=str(repo / PROCESSOR))

    def write_files(self, draft: RepoDraft) -> None:
        """Write preprocessor_config.json into a draft."""
        draft.write_json(PROCESSOR, self.to_dict())


def decode_pictures(
    images: Iterable[ImageSource], processor: ImageProcessor, *, on_error: str = "raise", progress: bool = False
) -> Iterator[list[_Bytes | VisimError]]:
    """Decode pictures in threads, in batches of the size that suits the network.

    Args:
        images: paths, bytes, PIL images or (H, W, 3) uint8 RGB arrays; taken as they are needed.
        processor: resizes them.
        on_error: "raise" ends at the first picture that cannot be decoded; "skip" gives its error in its place.
        progress: show a progress bar.

    Yields:
        For each picture of a batch (3, S, S) uint8 RGB, or the error.

    Raises:
        ImageDecodeError: with "raise", one of them is not a picture, or not one that is safe to decode.
        QueryError: `images` is one picture, or `on_error` is neither.
    """
    if on_error not in ("raise", "skip"):
        raise QueryError(f"on_error is {on_error!r}, but must be 'raise' or 'skip'.", key="on_error")
    is_one = isinstance(images, str | bytes | bytearray | os.PathLike | Image.Image)
    if is_one or (isinstance(images, np.ndarray) and images.ndim == 3):
        raise QueryError("A batch is a list of pictures: use search or embed for one.", key="images")

    def decode(image: ImageSource) -> _Bytes:
        return processor.resize(decode_image(image))

    total = len(images) if isinstance(images, Sized) else None
    done = 0
    with tqdm(total=total, desc="embedding", unit="picture", disable=not progress) as bar:
        for batch in decode_ahead(images, decode, at_once=pictures_at_once(processor.size)):
            for number, (_, result) in enumerate(batch, start=done):
                if on_error == "raise" and isinstance(result, VisimError):
                    result.add_note(f"It is picture {number}, counted from 0.")
                    raise result
            yield [result for _, result in batch]
            done += len(batch)
            bar.update(len(batch))


def _middle(size: tuple[int, int], side: int, share: float) -> _Box:
    """Return the box, left, top, right and bottom, that a picture is cropped to, in its pixels.

    It is where a picture that is resized first, and then cropped at whole pixels, ends up: so timm evaluates networks.
    """
    shorter = math.floor(side / share)
    scaled = [shorter if length == min(size) else int(shorter * length / min(size)) for length in size]
    starts = [round((length - side) / 2) for length in scaled]
    ends = [start + side for start in starts]
    left, top = (start * length / new for start, length, new in zip(starts, size, scaled, strict=True))
    right, bottom = (min(end * length / new, length) for end, length, new in zip(ends, size, scaled, strict=True))
    return left, top, right, bottom


def _interpolated(
    pixels: _Bytes, box: tuple[float, float, float, float], side: int, resample: Image.Resampling
) -> _Bytes:
    """Resize a box of (H, W, 3) to (side, side, 3) by the nearest pixels alone, as OpenCV does."""
    left, top, right, bottom = box
    rows, row_weights = _taps(pixels.shape[0], (top, bottom), side, resample)  # (side, t)
    columns, column_weights = _taps(pixels.shape[1], (left, right), side, resample)
    taps = rows.shape[1]
    picked = pixels[rows.ravel()[:, None], columns.ravel()].astype(np.float32)  # (side * t, side * t, 3)
    grid = picked.reshape(side, taps, side, taps, 3)
    mixed = np.einsum("rt,cu,rtcuk->rck", row_weights, column_weights, grid, optimize=True)  # (side, side, 3)
    levels: _Bytes = mixed.round().clip(0, 255).astype(np.uint8)
    return levels


def _taps(
    length: int, ends: tuple[float, float], side: int, resample: Image.Resampling
) -> tuple[npt.NDArray[np.intp], _Floats]:
    """Return which pixels of a line make each of `side` new ones of a part of it, (side, t), and their weights."""
    start, end = ends
    centres = start + (np.arange(side) + 0.5) * (end - start) / side - 0.5
    first = np.floor(centres).astype(np.intp)
    beyond = centres - first  # (side,), 0 to 1
    if resample is Image.Resampling.BILINEAR:
        offsets, weights = np.array([0, 1]), np.stack([1 - beyond, beyond], axis=1)
    else:
        offsets = np.array([-1, 0, 1, 2])
        near, far = np.stack([beyond, 1 - beyond], 1), np.stack([1 + beyond, 2 - beyond], 1)  # distances, (side, 2)
        near = ((_CUBIC + 2) * near - (_CUBIC + 3)) * near**2 + 1
        far = ((_CUBIC * far - 5 * _CUBIC) * far + 8 * _CUBIC) * far - 4 * _CUBIC
        weights = np.stack([far[:, 0], near[:, 0], near[:, 1], far[:, 1]], axis=1)
    return (first[:, None] + offsets).clip(0, length - 1), weights.astype(np.float32)


def _a_channel(values: tuple[float, float, float]) -> _Floats:
    return np.array(values, np.float32)[:, None, None]  # (3, 1, 1)


def _is_finite_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e6  # type: ignore[arg-type]
