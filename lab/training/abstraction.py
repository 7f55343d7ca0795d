"""Pictures that show nothing: made from photographs, so that a network also doubts what no camera took.

Drawn kinds (`visim_models.galleries.synthetic`) would do, but the figures are measured on them, and nothing may be
fitted to these.
Every function takes and returns (N, 3, S, S) float pictures, 0 to 255.
"""

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["abstract"]

_PATCHES: Final = 4


def abstract(images: Tensor, share: float) -> Tensor:
    """Turn a random `share` of the pictures into abstract ones, in equal parts by each way."""
    ways = torch.randint(len(_WAYS), (len(images),))
    chosen = torch.rand(len(images)) < share
    for index, way in enumerate(_WAYS):
        own = (chosen & (ways == index)).nonzero().flatten()
        if len(own):
            own = own.to(images.device)
            with images.device:
                images = images.index_copy(0, own, way(images[own]))
    return images


def _cloud(images: Tensor) -> Tensor:
    """Keep the mean colours of a coarse grid, of 1 to 4 cells a side, and blend between them."""
    side = int(torch.randint(1, 5, (), device="cpu"))
    coarse = F.interpolate(images, size=side, mode="area")
    return F.interpolate(coarse, size=images.shape[-1], mode="bilinear")


def _shuffle(images: Tensor) -> Tensor:
    """Shuffle the 4 x 4 patches of each picture."""
    side = images.shape[-1]
    cell = -(-side // _PATCHES)
    padded = F.pad(images, (0, cell * _PATCHES - side) * 2, mode="replicate")
    cells = padded.unflatten(-1, (_PATCHES, cell)).unflatten(-3, (_PATCHES, cell))  # (N, 3, P, c, P, c)
    cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (N, P * P, 3, c, c)
    cells = cells[:, torch.randperm(_PATCHES**2)]
    cells = cells.unflatten(1, (_PATCHES, _PATCHES)).permute(0, 3, 1, 4, 2, 5)  # (N, 3, P, c, P, c)
    shuffled: Tensor = cells.flatten(-2).flatten(-3, -2)[..., :side, :side]
    return shuffled


def _two_tones(images: Tensor) -> Tensor:
    """Print each picture in two colours: of its brighter and of its darker half."""
    grey = images.mean(dim=1, keepdim=True)  # (N, 1, S, S)
    is_bright = grey > grey.flatten(1).median(dim=1).values[:, None, None, None]
    inks = 255 * torch.rand(2, len(images), 3, 1, 1)
    return torch.where(is_bright, inks[0], inks[1])


def _stretch(images: Tensor) -> Tensor:
    """Repeat one column of each picture, or one row, over all of it."""
    at = int(torch.randint(images.shape[-1], (), device="cpu"))
    line = images[..., at : at + 1] if torch.rand((), device="cpu") < 0.5 else images[..., at : at + 1, :]
    return line.expand_as(images)


def _scatter(images: Tensor) -> Tensor:
    """Shuffle the pixels of each picture, in blocks of 1, 2 or 4."""
    side, grain = images.shape[-1], int(2 ** torch.randint(0, 3, (), device="cpu"))
    small = F.interpolate(images, size=-(-side // grain), mode="area")
    pixels = small.flatten(2)[..., torch.randperm(small[0, 0].numel())].view_as(small)
    return F.interpolate(pixels, size=side, mode="nearest")


_WAYS: Final[tuple[Callable[[Tensor], Tensor], ...]] = (_cloud, _shuffle, _two_tones, _stretch, _scatter)
