"""What cameras and the way to the viewer do to pictures: blur, low resolution, darkness, colour casts, noise, JPEG.

Every function takes and returns (N, 3, S, S) float pictures, 0 to 255.
"""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

__all__ = ["add_noise", "blur", "cast_colour", "compress", "darken", "lower_resolution", "take_pictures"]

_BLURS = (0.01, 0.02)
"""Standard deviations of the blur, as shares of the side."""
_RESOLUTIONS = (0.28, 0.4, 0.6)
"""Sides to which pictures are reduced, as shares of the side."""
_QUALITIES = (15, 60)


def take_pictures(images: Tensor, share: float) -> Tensor:
    """Do each of the faults to a random `share` of the pictures, each time to other ones."""
    images = _to_some(images, share, darken)
    images = _to_some(images, share, cast_colour)
    for part in _BLURS:
        images = _to_some(images, share / len(_BLURS), partial(blur, share=part))
    for part in _RESOLUTIONS:
        images = _to_some(images, share / len(_RESOLUTIONS), partial(lower_resolution, share=part))
    images = _to_some(images, share / 2, add_noise)
    return _to_some(images, share, _compress_at_random)


def blur(images: Tensor, share: float) -> Tensor:
    """Blur by a Gaussian, whose standard deviation is `share` of the side."""
    sigma = share * images.shape[-1]
    reach = max(1, round(3 * sigma))
    steps = torch.arange(-reach, reach + 1)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = (weights / weights.sum()).expand(3, 1, 1, -1)  # (3, 1, 1, K)
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    across = F.conv2d(padded, kernel, groups=3)
    return F.conv2d(across, kernel.transpose(2, 3), groups=3)


def lower_resolution(images: Tensor, share: float) -> Tensor:
    """Reduce to `share` of the side, and enlarge again."""
    size = images.shape[-1]
    small = F.interpolate(images, size=max(4, round(share * size)), mode="bilinear", antialias=True)
    return F.interpolate(small, size=size, mode="bilinear")


def darken(images: Tensor) -> Tensor:
    """Darken at random: a gamma of up to 2.2, and down to a third of the brightness."""
    gamma = 1 + 1.2 * torch.rand(len(images), 1, 1, 1)
    factor = 0.33 + 0.67 * torch.rand(len(images), 1, 1, 1)
    return 255 * factor * (images.clamp(min=0) / 255) ** gamma


def cast_colour(images: Tensor) -> Tensor:
    """Multiply each channel at random by 0.7 to 1.3, as a wrong white balance does."""
    return images * (0.7 + 0.6 * torch.rand(len(images), 3, 1, 1))


def add_noise(images: Tensor) -> Tensor:
    """Add normal noise, with a standard deviation of up to 20 a picture."""
    return images + 20 * torch.rand(len(images), 1, 1, 1) * torch.randn_like(images)


def compress(images: Tensor, qualities: list[int]) -> Tensor:
    """Encode and decode each picture as a JPEG of its quality, 1 to 100."""
    if not len(images):
        return images
    pictures = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()  # (N, S, S, 3)
    decoded = list(_threads().map(_compress_one, pictures.cpu().numpy(), qualities))
    return torch.from_numpy(np.stack(decoded)).to(images.device).permute(0, 3, 1, 2).float()


def _compress_one(picture: "np.ndarray[Any, Any]", quality: int) -> "np.ndarray[Any, Any]":
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as again:
        return np.array(again)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="visim-jpeg")


def _compress_at_random(images: Tensor) -> Tensor:
    return compress(images, torch.randint(*_QUALITIES, (len(images),), device="cpu").tolist())


def _to_some(images: Tensor, share: float, fault: Callable[[Tensor], Tensor]) -> Tensor:
    chosen = (torch.rand(len(images), device="cpu") < share).nonzero().flatten()  # on the CPU: no wait for a GPU
    if not len(chosen):
        return images
    chosen = chosen.to(images.device)
    return images.index_copy(0, chosen, fault(images[chosen]))
