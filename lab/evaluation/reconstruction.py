"""How much of a picture an autoencoder's code keeps, and how much its principal components do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from lab.evaluation.evaluated_repo import CARS, Benchmark
from lab.evaluation.figures import error_figures
from visim_models.models.network import Network
from visim_models.processing import ImageProcessor
from visim_models.repo_folder.metrics import Figure

__all__ = ["PrincipalComponents", "reconstruction_errors", "reconstruction_figures"]

_Pixels = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.floating[Any]]

_COMPONENTS: Final = 1000
"""As many as the autoencoder's code has numbers."""
_BLOCK: Final = 512
_AT_ONCE: Final = 128
_OVERSAMPLING: Final = 100
_POWER_ITERATIONS: Final = 4


def reconstruction_errors(network: Network, processor: ImageProcessor, pixels: _Pixels) -> _Floats:
    """Return the (N,) mean squared errors, on the scale from -1 to 1, of (N, 3, S, S) uint8 pictures."""
    # The network sees (byte * factor - mean) / std; on the scale of the figures a step of one byte is 2 / 255.
    scale = 2 / 255 / processor.rescale_factor * np.array(processor.image_std, np.float32)[:, None, None]  # (3, 1, 1)
    parts = []
    for start in tqdm(range(0, len(pixels), _AT_ONCE), desc="reconstructing", leave=False):
        shown = processor.normalize(pixels[start : start + _AT_ONCE])
        drawn = network.decode(network.embed(shown))
        parts.append(np.square((shown - drawn) * scale).mean(axis=(1, 2, 3)))
    return np.concatenate(parts)


def reconstruction_figures(
    errors: _Floats, benchmark: Benchmark, *, groups: Sequence[int] | None, method: str = ""
) -> list[Figure]:
    """Return the figures of (N,) errors of the pictures; without targets for a baseline.

    Args:
        errors: mean squared errors on the scale from -1 to 1.
        benchmark: what the pictures are of.
        groups: the group of near-duplicates of each picture; None where each is a group of its own.
        method: the method, for a baseline.
    """
    is_cars = benchmark is CARS
    return error_figures(
        errors,
        pictures="held-out photographs" if is_cars else "the validation pictures",
        groups=groups,
        mse_target=None if is_cars or method else {"at_most": 0.0063},
        psnr_target=None if method else {"at_least": 26.4 if is_cars else 30.0},
        method=method,
    )


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal component analysis of pictures on the scale from -1 to 1.

    Attributes:
        mean: (P,) of the pictures that it was fitted to.
        basis: (P, C) orthonormal columns, C at most `_COMPONENTS`.
    """

    mean: Tensor
    basis: Tensor

    @classmethod
    def fit(cls, pixels: _Pixels) -> Self:
        """Fit the leading components to (N, 3, S, S) uint8 pictures.

        They are exact where a picture has fewer numbers than there are pictures; else they are found by randomised
        iterations (Halko et al. 2011), whose random start is fixed and leaves the global generator alone.
        """
        count, width = len(pixels), pixels[0].size
        components = min(_COMPONENTS, width, max(count - 1, 1))
        blocks = torch.from_numpy(pixels).split(_BLOCK)
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

    def encode(self, pixels: _Pixels) -> npt.NDArray[np.float32]:
        """Return the (N, C) components of (N, 3, S, S) uint8 pictures."""
        blocks = torch.from_numpy(pixels).split(_BLOCK)
        codes: npt.NDArray[np.float32] = torch.cat(
            [(_scaled(each) - self.mean) @ self.basis for each in blocks]
        ).numpy()
        return codes

    def errors(self, pixels: _Pixels) -> _Floats:
        """Return the (N,) mean squared errors, on the scale from -1 to 1, of (N, 3, S, S) uint8 pictures rebuilt."""
        parts = []
        for block in torch.from_numpy(pixels).split(_BLOCK):
            rows = _scaled(block) - self.mean  # (B, P)
            parts.append((rows - rows @ self.basis @ self.basis.T).square().mean(dim=1))
        return torch.cat(parts).numpy()


def _scaled(images: Tensor) -> Tensor:
    """Convert (B, 3, S, S) uint8 to (B, P) floats on the scale from -1 to 1."""
    return images.flatten(1).float() / 127.5 - 1
