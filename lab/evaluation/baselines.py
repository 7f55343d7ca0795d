"""Baselines of retrieval and reconstruction: raw pixels, and the principal components of the training pictures."""

from dataclasses import dataclass
from typing import Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

__all__ = ["COMPONENTS", "PrincipalComponents", "nearest", "raw_pixels"]

COMPONENTS: Final = 1000
"""As many as the autoencoder's code has numbers."""

_BLOCK: Final = 512
_OVERSAMPLING: Final = 100
_POWER_ITERATIONS: Final = 4
_PIXEL_SIDE: Final = 32


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal component analysis of pictures on the scale from -1 to 1.

    Attributes:
        mean: (P,) of the pictures that it was fitted to.
        basis: (P, C) orthonormal columns, C at most `COMPONENTS`.
    """

    mean: Tensor
    basis: Tensor

    @classmethod
    def fit(cls, images: Tensor) -> Self:
        """Fit the leading components to (N, 3, S, S) uint8 pictures.

        They are exact where a picture has fewer numbers than there are pictures; else they are found by randomised
        iterations (Halko et al. 2011), whose random start is fixed and leaves the global generator alone.
        """
        count, width = len(images), images[0].numel()
        components = min(COMPONENTS, width, max(count - 1, 1))
        blocks = images.split(_BLOCK)
        mean = torch.stack([_scaled(block).sum(dim=0) for block in blocks]).sum(dim=0) / count  # (P,)
        if width <= count:
            moments = torch.zeros(width, width)
            for block in tqdm(blocks, desc="principal components", leave=False):
                rows = _scaled(block) - mean  # (B, P)
                moments.addmm_(rows.T, rows)
            return cls(mean, torch.linalg.eigh(moments).eigenvectors[:, -components:].contiguous())
        rows = torch.cat([_scaled(block) - mean for block in blocks])  # (N, P)
        wanted = min(components + _OVERSAMPLING, count, width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            basis = torch.svd_lowrank(rows, q=wanted, niter=_POWER_ITERATIONS)[2]  # (P, wanted)
        return cls(mean, basis[:, :components].contiguous())

    def encode(self, images: Tensor) -> Tensor:
        """Return the (N, C) components of (N, 3, S, S) uint8 pictures."""
        return torch.cat([(_scaled(block) - self.mean) @ self.basis for block in images.split(_BLOCK)])

    def errors(self, images: Tensor) -> Tensor:
        """Return the (N,) mean squared errors, on the scale from -1 to 1, of (N, 3, S, S) uint8 pictures rebuilt."""
        parts = []
        for block in images.split(_BLOCK):
            rows = _scaled(block) - self.mean  # (B, P)
            parts.append((rows - rows @ self.basis @ self.basis.T).square().mean(dim=1))
        return torch.cat(parts)


def raw_pixels(images: Tensor) -> Tensor:
    """Return the pixels at 32 x 32, (N, 3072), of (N, 3, S, S) uint8 pictures; larger ones are averaged over areas."""
    return torch.cat(
        [F.interpolate(block.float(), size=_PIXEL_SIDE, mode="area").flatten(1) for block in images.split(_BLOCK)]
    )


def nearest(queries: Tensor, rows: Tensor, *, top_k: int) -> Tensor:
    """Find the rows with the smallest Euclidean distance from each query.

    Args:
        queries: (Q, P).
        rows: (N, P).
        top_k: how many to find.

    Returns:
        (Q, k) int64 indices of the rows, nearest first.
    """
    centre = rows.mean(dim=0)  # (P,); distances between centred rows are smaller numbers, with more exact differences
    queries, rows = queries - centre, rows - centre
    lengths = rows.square().sum(dim=1)  # (N,)
    found = [(lengths - 2 * block @ rows.T).topk(top_k, largest=False).indices for block in queries.split(_BLOCK)]
    return torch.cat(found)


def _scaled(images: Tensor) -> Tensor:
    """Convert (B, 3, S, S) uint8 to (B, P) floats on the scale from -1 to 1."""
    return images.flatten(1).float() / 127.5 - 1
