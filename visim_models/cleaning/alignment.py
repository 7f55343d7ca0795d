"""Compare the thumbnails of two pictures where one may be cropped, framed, shifted, mirrored or recoloured.

The middle of one picture is searched for in the other, at several sizes and shifts and mirrored, by normalized
cross-correlation: first coarsely by grey levels, then around the best match with finer steps and by colours.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

__all__ = ["THUMBNAIL", "aligned_similarity", "compare_pairs"]

THUMBNAIL: Final = 32
"""Side of a thumbnail."""

_COARSE: Final = 16
_TEMPLATE: Final = 10
"""Side of the middle that is searched for, of `_COARSE` pixels: what a crop by a tenth at any side leaves."""
_SIZES: Final = (
    *((side, side) for side in (13, 14, 15, 16, 17, 18, 20)),
    *((18, 16), (16, 18), (14, 16), (16, 14)),
)  # fmt: skip
"""Heights and widths that the other picture is scaled to: 13 where it is an enlarged part, 20 where a frame was put
around, 18 x 16 where a caption was put below."""
_REACH: Final = 4
_FLAT: Final = 2.0
"""Grey levels of noise that are added to a spread, so that two plain middles are not alike by chance."""
_FINE_SCALES: Final = (0.97, 1.0, 1.03)
_FINE_SHIFTS: Final = ((0.0, 0.0), (-0.4, 0.0), (0.4, 0.0), (0.0, -0.4), (0.0, 0.4))
"""Around the best coarse match, in coarse pixels, down and to the right."""
_PROMISING: Final = 0.6
"""Coarse score below which a pair is not looked at more closely: one in five of all candidates is above it."""
_AT_ONCE: Final = 256


def compare_pairs(first: Tensor, second: Tensor, rows: Tensor, columns: Tensor, *, progress: bool = False) -> Tensor:
    """Return the aligned similarities of P pairs of pictures.

    Args:
        first: (N, 3, 32, 32) uint8 thumbnails.
        second: (M, 3, 32, 32) uint8 thumbnails.
        rows: (P,) indices in `first`.
        columns: (P,) indices in `second`.
        progress: show a progress bar.

    Returns:
        (P,) float32 in [-1, 1]: the smaller of both directions; of pairs that are not alike at a coarse look, that of
        the coarse look.
    """

    def compare(part: tuple[Tensor, Tensor]) -> Tensor:
        return _compare(first[part[0].long()].float(), second[part[1].long()].float())

    found = [torch.empty(0)]
    threads = torch.get_num_threads()
    # Each block has one thread: many small steps that threads share are spent on waiting for each other.
    pool = ThreadPoolExecutor(
        threads, thread_name_prefix="visim-align", initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        with tqdm(total=len(rows), desc="aligning", unit="pair", disable=not progress) as bar:
            for part in pool.map(compare, zip(rows.split(_AT_ONCE), columns.split(_AT_ONCE), strict=True)):
                found.append(part)
                bar.update(len(part))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what threads that start later are given
    return torch.cat(found)


def aligned_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Search the middles of pictures in others, pair by pair.

    Args:
        first: (P, 3, 32, 32) uint8 thumbnails, whose middles are searched for.
        second: (P, 3, 32, 32) uint8 thumbnails, in which they are searched for.

    Returns:
        (P,) float32: the normalized cross-correlation of the colours at the best size, shift and orientation.
    """
    one, two = first.float(), second.float()
    return _fine(one, two, _coarse_match(one, two)[1])


def _compare(one: Tensor, two: Tensor) -> Tensor:
    """Return the (P,) similarities of (P, 3, 32, 32) pictures, in both directions where the first is promising."""
    scores, where = _coarse_match(one, two)
    rest = (scores >= _PROMISING).nonzero()[:, 0]
    if len(rest):
        back, other = _coarse_match(two[rest], one[rest])
        both = torch.minimum(_fine(one[rest], two[rest], where[rest]), _fine(two[rest], one[rest], other))
        scores[rest] = torch.where(back >= _PROMISING, both, torch.minimum(back, both))
    return scores


def _greys(pictures: Tensor) -> Tensor:
    """Return the (P, 1, 32, 32) grey levels of (P, 3, 32, 32) pictures."""
    return pictures.mean(dim=1, keepdim=True)


def _orientations(pictures: Tensor) -> Tensor:
    """Return (P, 2, C, 32, 32): each picture, and it mirrored."""
    return torch.stack([pictures, pictures.flip(-1)], dim=1)


def _coarse_match(picture: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (P,) scores of the best coarse matches, and where they are.

    Returns:
        scores: (P,).
        where: (P, 5): the height and width that `other` is scaled to, the top and left of the match in it, and 1 if
            mirrored.
    """
    margin = (_COARSE - _TEMPLATE) // 2
    inside = slice(margin, margin + _TEMPLATE)
    grey, other = _orientations(_greys(picture))[:, :, 0], _greys(other)  # (P, 2, 32, 32), (P, 1, 32, 32)
    templates = _unit(F.avg_pool2d(grey, 2)[:, :, inside, inside].flatten(2))  # (P, 2, 100)
    best = torch.full((len(grey),), -torch.inf)
    where = torch.zeros(len(grey), 5)
    for size in _SIZES:
        scores, places = _coarse(templates, other, size)
        better = scores > best
        best[better], where[better] = scores[better], places[better]
    return best, where


def _coarse(templates: Tensor, other: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the (P,) best scores at one size, and the (P, 5) height, width, top, left and orientation of each."""
    scaled = F.interpolate(other, size=size, mode="bilinear", antialias=True, align_corners=False)
    (upper, lower), (near, far) = (_places(length) for length in size)
    side = far - near + 1
    part = scaled[:, :, upper : lower + _TEMPLATE, near : far + _TEMPLATE]
    windows = _unit(F.unfold(part, _TEMPLATE).transpose(1, 2))  # (P, places, 100)
    scores, index = torch.bmm(windows, templates.transpose(1, 2)).flatten(1).max(dim=1)  # (P,)
    place, mirrored = index // 2, index % 2
    top, left = upper + place // side, near + place % side
    height, width = (torch.full_like(top, length) for length in size)
    return scores, torch.stack([height, width, top, left, mirrored], dim=1).float()


def _places(length: int) -> tuple[int, int]:
    """Return the first and last place of the middle along a side: all of a small picture, those around of a large."""
    room = length - _TEMPLATE
    return max(0, room // 2 - _REACH), min(room, (room + 1) // 2 + _REACH)


def _fine(picture: Tensor, other: Tensor, where: Tensor) -> Tensor:
    """Return the (P,) best scores of steps around (P, 5) coarse matches, at the full size of the thumbnails."""
    both = _orientations(picture)  # (P, 2, 3, 32, 32)
    count, side = len(both), 2 * _TEMPLATE
    margin = (THUMBNAIL - side) // 2
    mirrored = where[:, 4].long()
    templates = both[torch.arange(count), mirrored][
        ..., margin : margin + side, margin : margin + side
    ]  # (P, 3, 20, 20)
    steps = torch.tensor(
        [(tall, wide, *shift) for tall in _FINE_SCALES for wide in _FINE_SCALES for shift in _FINE_SHIFTS]
    )  # (H, 4)
    size = where[:, None, :2] * steps[:, :2]  # (P, H, 2) height and width of the other picture, in coarse pixels
    middles = (where[:, None, 2:4] + _TEMPLATE / 2) * steps[:, :2] + steps[:, 2:]  # (P, H, 2) down, right
    line = (torch.arange(side) + 0.5) / side * _TEMPLATE - _TEMPLATE / 2  # (20,) coarse pixels around the middle
    down = (middles[..., :1] + line) / size[..., :1] * 2 - 1  # (P, H, 20) in [-1, 1]
    right = (middles[..., 1:] + line) / size[..., 1:] * 2 - 1
    hypotheses = len(steps)
    grid = torch.stack(
        [
            right[:, :, None, :].expand(-1, -1, side, -1),
            down[:, :, :, None].expand(-1, -1, -1, side),
        ],
        dim=-1,
    ).reshape(count, hypotheses * side, side, 2)
    sampled = F.grid_sample(other, grid, padding_mode="border", align_corners=False)  # (P, 3, H * 20, 20)
    windows = sampled.view(count, 3, hypotheses, side * side).transpose(1, 2)  # (P, H, 3, 400)
    products = _unit_colours(windows) @ _unit_colours(templates.flatten(2))[:, :, None]  # (P, H, 1)
    return products[:, :, 0].amax(dim=1)


def _unit_colours(values: Tensor) -> Tensor:
    """Centre each channel of (..., 3, N) and scale all of them together to about length 1: (..., 3 N).

    Another brightness, contrast or tint changes little; another colour of one thing in the picture does.
    """
    return _unit((values - values.mean(dim=-1, keepdim=True)).flatten(-2))


def _unit(values: Tensor) -> Tensor:
    """Centre the last dimension and scale it to about length 1, to less where it is nearly flat."""
    centred = values - values.mean(dim=-1, keepdim=True)
    squares = centred.square().sum(dim=-1, keepdim=True)
    return centred * (squares + _FLAT**2 * values.shape[-1]).rsqrt()
