"""Change batches of pictures at random: crops, colours, dealers' decorations, faults of cameras, pictures of nothing.

All take and return (N, 3, S, S) float pictures, 0 to 255; each picture is changed in its own way, on its device.
"""

import io
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from visim_models.processing import ImageProcessor

__all__ = [
    "Augmentation",
    "abstract",
    "add_noise",
    "blur",
    "cast_colour",
    "compress",
    "cut_mix",
    "darken",
    "lower_resolution",
    "paint_decorations",
    "take_pictures",
]

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


@dataclass(frozen=True)
class Augmentation:
    """How strongly pictures are changed.

    Attributes:
        scale: smallest share of each side that a random crop keeps.
        largest_scale: largest share; above 1 the picture shrinks, and is mirrored at its edges.
        sharp: share of the pictures that are shifted by whole pixels instead, and not resampled: a network of small
            pictures that only learns from blurred ones is lost on others.
        tilt: largest turn to either side, in degrees; the picture is also seen from an angle that fits it.
        colour: largest relative change of brightness, contrast, saturation and of each channel.
        decorations: share of the pictures over which a dealer's frame, banner or logo is painted.
        camera: share of the pictures that each fault of a camera is done to.
        plain: share of the pictures that are shown small on a plain ground.
        erase: share of the pictures in which a rectangle is blanked.
        flip: mirror half of the pictures.
    """

    scale: float = 1.0
    largest_scale: float = 1.0
    sharp: float = 0.0
    tilt: float = 0.0
    colour: float = 0.0
    decorations: float = 0.0
    camera: float = 0.0
    plain: float = 0.0
    erase: float = 0.0
    flip: bool = False

    def __call__(self, pixels: Tensor, size: int) -> Tensor:
        """Change pictures: (N, 3, T, T) uint8 or float -> (N, 3, size, size) float, 0 to 255."""
        with pixels.device:
            images = self._crop(pixels.float(), size)
            if self.sharp:
                is_sharp = (_draw(len(images)) < self.sharp)[:, None, None, None]
                images = torch.where(is_sharp, self._shift(pixels.float()), images)
            images = self._recolour(images)
            if self.plain:
                images = put_on_plain_ground(images, self.plain)
            if self.decorations:
                images = paint_decorations(images, self.decorations)
            if self.camera:
                images = take_pictures(images, self.camera)
            if self.erase:
                images = _paint_rectangles(images, _draw(len(images)) < self.erase, torch.tensor([0.1, 0.1, 0.4, 0.4]))
            return images.clamp(0, 255)

    def _crop(self, images: Tensor, size: int) -> Tensor:
        """Crop and tilt at random, with sides scaled apart, mirrored or not, and resample to the size."""
        count = len(images)
        scale = self.largest_scale - _draw(count, 2) * (self.largest_scale - self.scale)  # (N, 2) width and height
        shift = (2 * _draw(count, 2) - 1) * (1 - scale)  # the crop stays inside the picture, or the picture inside it
        sign = torch.where((_draw(count) < 0.5) & self.flip, -1.0, 1.0)
        angle = math.radians(self.tilt) * (2 * _draw(count) - 1)
        transform = torch.zeros(count, 2, 3)
        transform[:, 0, 0] = scale[:, 0] * sign * angle.cos()
        transform[:, 0, 1] = -scale[:, 0] * angle.sin()
        transform[:, 1, 0] = scale[:, 1] * sign * angle.sin()
        transform[:, 1, 1] = scale[:, 1] * angle.cos()
        transform[:, :, 2] = shift
        grid = F.affine_grid(transform, [count, 3, size, size], align_corners=False)  # (N, size, size, 2)
        if self.tilt:  # one side comes nearer, the other goes away
            lean = math.radians(self.tilt) * (2 * _draw(count, 1, 1, 2) - 1)
            grid = grid / (1 + (grid * lean).sum(dim=-1, keepdim=True))
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _shift(self, images: Tensor) -> Tensor:
        """Shift by up to an eighth of the side, in whole pixels, mirrored or not; what comes in is a reflection."""
        count, _, _, side = images.shape
        reach = side // 8
        padded = F.pad(images, (reach, reach, reach, reach), mode="reflect")
        starts = torch.randint(2 * reach + 1, (2, count, 1))
        rows, columns = starts + torch.arange(side)  # (N, S) each
        columns = torch.where((_draw(count, 1) < 0.5) & self.flip, columns.flip(1), columns)
        pictures, channels = torch.arange(count)[:, None, None, None], torch.arange(3)[:, None, None]
        return padded[pictures, channels, rows[:, None, :, None], columns[:, None, None, :]]

    def _recolour(self, images: Tensor) -> Tensor:
        def factors(*shape: int) -> Tensor:
            return 1 + self.colour * (2 * _draw(len(images), *shape) - 1)

        grey = images.mean(dim=1, keepdim=True)  # (N, 1, S, S)
        images = grey + (images - grey) * factors(1, 1, 1)  # saturation
        level = images.mean(dim=(1, 2, 3), keepdim=True)
        images = level + (images - level) * factors(1, 1, 1)  # contrast
        tint = 1 + (factors(3, 1, 1) - 1) / 3
        return images * factors(1, 1, 1) * tint  # brightness and channels


def put_on_plain_ground(images: Tensor, share: float) -> Tensor:
    """Show a random `share` of (N, 3, S, S) pictures small on a white, black or grey ground, or a gradient.

    So makers show their cars. As nothing tells the object from its background, the picture fades out towards an oval.
    """
    count, _, side, _ = images.shape
    scale = 0.5 + 0.4 * _draw(count, 1)  # (N, 1)
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, :1] = transform[:, 1, 1:2] = 1 / scale
    transform[:, :, 2] = (2 * _draw(count, 2) - 1) * (1 / scale - 1)
    grid = F.affine_grid(transform, [count, 3, side, side], align_corners=False)  # (N, S, S, 2)
    small = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    distance = grid.pow(4).sum(dim=-1).pow(0.25)[:, None]  # (N, 1, S, S)
    levels = 255 * torch.where(
        _draw(2, count, 1, 1, 1) < 0.4, _draw(2, count, 1, 1, 1), _draw(2, count, 1, 1, 1).round()
    )
    top, bottom = levels[0], torch.where(_draw(count, 1, 1, 1) < 0.3, levels[1], levels[0])  # (N, 1, 1, 1) each
    ground = top + (bottom - top) * torch.linspace(0, 1, side)[:, None]  # (N, 1, S, 1)
    shown = ground + (5 * (1 - distance)).clamp(0, 1) * (small - ground)
    return torch.where((_draw(count) < share)[:, None, None, None], shown, images)


def cut_mix(images: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of another picture of the batch into a random `share` of them; targets mix by area.

    Source: Yun et al., "CutMix" (2019).

    Args:
        images: (N, 3, S, S).
        targets: (N, T) probabilities, or other numbers that mix as the pictures do.
        share: of the pictures that are pasted into, 0 to 1.
    """
    count, _, side, _ = images.shape
    with images.device:
        other = torch.randperm(count)
        extent = _draw(count, 1).sqrt().expand(-1, 2)  # (N, 2); so the area is uniform
        pasted = _rectangles(extent, side) & (_draw(count) < share)[:, None, None]  # (N, S, S)
    area = pasted.float().mean(dim=(1, 2))[:, None]  # (N, 1)
    return torch.where(pasted[:, None], images[other], images), targets + area * (targets[other] - targets)


def resized(images: Tensor, size: int) -> Tensor:
    """Resize (N, 3, T, T) uint8 or float pictures: (N, 3, size, size) float, 0 to 255."""
    if images.shape[-1] == size:
        return images.float()
    blocks = [F.interpolate(part.float(), size=size, mode="bilinear", antialias=True) for part in images.split(512)]
    return torch.cat(blocks)


def normalized(processor: ImageProcessor, images: Tensor) -> Tensor:
    """Normalize (N, 3, S, S) pictures of 0 to 255 as the processor does, on their device: the network's input."""
    mean, std = (torch.tensor(each, device=images.device)[:, None, None] for each in
                 (processor.image_mean, processor.image_std))  # fmt: skip
    if processor.do_flip_channel_order:
        images = images.flip(1)
    pixels = images.to(torch.float32, copy=True).mul_(processor.rescale_factor).sub_(mean).div_(std)
    return pixels.contiguous(memory_format=torch.channels_last)


def paint_decorations(images: Tensor, share: float) -> Tensor:
    """Paint dealers' frames, banners and logos onto a random `share` of (N, 3, S, S) pictures.

    They are borders of random sides and widths, bands along an edge, and small blocks near one, all in flat colours
    with some stripes of "lettering": drawn, not photographed.
    """
    count, _, side, _ = images.shape
    chosen = _draw(count) < share
    position = (torch.arange(side) + 0.5) / side  # (S,)
    colour = _flat_colours(count)
    # A border: each edge has a width of its own, and may have none.
    widths = 0.12 * _draw(count, 4) * (_draw(count, 4) < 0.6)  # left, right, top, bottom
    across = (position < widths[:, 0:1]) | (position > 1 - widths[:, 1:2])  # (N, S)
    down = (position < widths[:, 2:3]) | (position > 1 - widths[:, 3:4])  # (N, S)
    border = (across[:, None, :] | down[:, :, None]) & (chosen & (_draw(count) < 0.7))[:, None, None]  # (N, S, S)
    images = torch.where(border[:, None], colour, images)
    # A banner along the top or the bottom, with lettering.
    height = 0.06 + 0.14 * _draw(count, 1)
    band = torch.where(_draw(count, 1) < 0.5, position < height, position > 1 - height)  # (N, S)
    letters = torch.sin(position * (60 + 120 * _draw(count, 1))) > 0.2  # (N, S)
    banner = (band & (chosen & (_draw(count) < 0.5))[:, None])[:, None, :, None]  # (N, 1, S, 1)
    painted = torch.where(letters[:, None, None, :], _flat_colours(count), _flat_colours(count))
    images = torch.where(banner, painted, images)
    # A logo: a small block somewhere near an edge.
    return _paint_rectangles(images, chosen & (_draw(count) < 0.5), torch.tensor([0.08, 0.05, 0.3, 0.15]))


def _paint_rectangles(images: Tensor, chosen: Tensor, sizes: Tensor) -> Tensor:
    """Paint a flat rectangle on each chosen picture.

    Args:
        images: (N, 3, S, S).
        chosen: (N,) bool.
        sizes: smallest width and height, largest width and height, as shares of the side.
    """
    count, _, side, _ = images.shape
    extent = sizes[:2] + (sizes[2:] - sizes[:2]) * _draw(count, 2)  # (N, 2)
    inside = _rectangles(extent, side) & chosen[:, None, None]  # (N, S, S)
    return torch.where(inside[:, None], _flat_colours(count), images)


def _rectangles(extent: Tensor, side: int) -> Tensor:
    """Place a rectangle inside each picture: (N, 2) widths and heights, as shares of the side -> (N, S, S) bool."""
    position = (torch.arange(side) + 0.5) / side  # (S,)
    corner = _draw(len(extent), 2) * (1 - extent)  # (N, 2)
    across = (position > corner[:, 0:1]) & (position < corner[:, 0:1] + extent[:, 0:1])  # (N, S)
    down = (position > corner[:, 1:2]) & (position < corner[:, 1:2] + extent[:, 1:2])  # (N, S)
    return across[:, None, :] & down[:, :, None]


def _flat_colours(count: int) -> Tensor:
    """Draw (N, 3, 1, 1) random colours, half of them white, black or pure, as in print."""
    colours = 255 * _draw(count, 3, 1, 1)
    vivid = 255 * (colours > 127).float()
    return torch.where(_draw(count, 1, 1, 1) < 0.5, vivid, colours)


def _draw(*shape: int) -> Tensor:
    return torch.rand(*shape)
