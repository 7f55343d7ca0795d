"""Random changes of batches of pictures, (N, 3, S, S) float, 0 to 255; each picture is changed in its own way.

All is computed, and drawn at random, on the device of the pictures.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.training.camera import take_pictures

__all__ = ["Augmentation", "cut_mix", "paint_decorations"]


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
        camera: share of the pictures that each fault of a camera is done to (`camera.py`).
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
