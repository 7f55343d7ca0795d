"""Convert an RGB image to the tensor that a network takes: one `ImageProcessor` for training, gallery and query."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from visim_models.errors import ConfigurationError
from visim_models.images.decode import ImageSource, decode_image
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import PROCESSOR

__all__ = ["ImageProcessor"]

_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which the field writes into preprocessor_config.json."""


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
        center_crop: side of the square that is cut out of the middle first, as a share of the shorter side; None
            to keep all of the picture, its sides scaled apart.

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

    def __call__(self, image: ImageSource) -> Tensor:
        """Process a picture (path, bytes, PIL image or (H, W, 3) uint8 array): (3, S, S) float32.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
        """
        return self.normalize(self.resize(decode_image(image)))

    def resize(self, image: Image.Image) -> Tensor:
        """Resize an RGB picture: (3, S, S) uint8, RGB."""
        if self.center_crop is not None:
            image = _middle(image, self.center_crop)
        pixels = torch.from_numpy(np.array(image)[None]).permute(0, 3, 1, 2)  # (1, 3, H, W)
        if pixels.shape[2:] == (self.size, self.size):
            return pixels[0].contiguous()
        return _resize(pixels, self.size, _RESAMPLE[self.resample], antialias=self.antialias)[0]

    def normalize(self, pixels: Tensor) -> Tensor:
        """Normalize (..., 3, S, S) RGB of 0 to 255 to float32 of the same shape, the network's input."""
        mean, std = self._channel_constants(pixels.device)
        if self.do_flip_channel_order:
            pixels = pixels.flip(-3)
        values = pixels.to(torch.float32, copy=True)
        return values.mul_(self.rescale_factor).sub_(mean).div_(std)

    def denormalize(self, pixels: Tensor) -> Tensor:
        """Convert the network's input or output, (..., 3, S, S) float, to RGB, uint8, of the same shape."""
        mean, std = self._channel_constants(pixels.device)
        levels = ((pixels * std + mean) / self.rescale_factor).round().clamp(0, 255).to(torch.uint8)
        return levels.flip(-3) if self.do_flip_channel_order else levels

    def _channel_constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.image_mean, device=device).view(3, 1, 1)
        std = torch.tensor(self.image_std, device=device).view(3, 1, 1)
        return mean, std

    def to_dict(self) -> dict[str, Any]:
        """Return the content of preprocessor_config.json, under the keys that the field uses."""
        values = asdict(self)
        values["size"] = {"height": self.size, "width": self.size}
        values |= {"image_mean": list(self.image_mean), "image_std": list(self.image_std)}
        crop = values.pop("center_crop")
        return values if crop is None else {**values, "do_center_crop": True, "crop_pct": crop}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, name: str = PROCESSOR) -> Self:
        """Build the processor from the content of preprocessor_config.json; every key must be there, and no other.

        Only do_center_crop and crop_pct may be left out, both together: then nothing is cropped.

        Args:
            values: the keys and their values.
            name: the file that messages name.

        Raises:
            ConfigurationError: a missing or unknown key, or a value that does not fit.
        """
        crop = {key: values[key] for key in ("do_center_crop", "crop_pct") if key in values}
        if crop and (len(crop) < 2 or crop["do_center_crop"] is not True):
            raise ConfigurationError(f"{name}: do_center_crop must be true, with a crop_pct; or leave both out.")
        values = {key: value for key, value in values.items() if key not in crop}
        expected = set(cls.__dataclass_fields__) - {"center_crop"}
        if set(values) != expected:
            raise ConfigurationError(
                f"{name} lacks {sorted(expected - set(values))} or has unknown keys {sorted(set(values) - expected)}."
            )
        size = values["size"]
        if not isinstance(size, dict) or set(size) != {"height", "width"} or size["height"] != size["width"]:
            raise ConfigurationError(f"{name}: size is {size!r}, but must be a height and an equal width.")
        lists = {key: values[key] for key in ("image_mean", "image_std")}
        if not all(isinstance(value, list) for value in lists.values()):
            raise ConfigurationError(f"{name}: image_mean and image_std must be lists of three numbers.")
        tuples = {key: tuple(value) for key, value in lists.items()}
        return cls(**{**values, **tuples, "size": size["height"]}, center_crop=crop.get("crop_pct"))

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


def _middle(image: Image.Image, share: float) -> Image.Image:
    """Cut a square out of the middle, its side a share of the shorter side."""
    side = max(1, round(share * min(image.size)))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _resize(pixels: Tensor, size: int, mode: str, *, antialias: bool) -> Tensor:
    """Resize (1, 3, H, W) uint8 to (1, 3, size, size) uint8, as `torchvision.transforms.v2.functional.resize` does.

    Importing torchvision for it would take the demo 2.5 seconds of its start and 150 MB.
    """
    if mode == "nearest":
        return F.interpolate(pixels, (size, size), mode=mode)
    in_bytes = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in (
        "aarch64",
        "arm64",
    )
    if mode == "bilinear" and not in_bytes:
        return _interpolate(pixels.float(), size, mode, antialias).round_().to(torch.uint8)
    return _interpolate(pixels, size, mode, antialias)


def _interpolate(pixels: Tensor, size: int, mode: str, antialias: bool) -> Tensor:
    return F.interpolate(pixels, (size, size), mode=mode, align_corners=False, antialias=antialias)


def _is_finite_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e6  # type: ignore[arg-type]
