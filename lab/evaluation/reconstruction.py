"""How much of a picture an autoencoder's code keeps."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from tqdm import tqdm

from lab.evaluation.benchmark import CARS, Benchmark
from lab.evaluation.figures import error_figures
from lab.evaluation.measures import squared_errors
from visim_models.models import ConvolutionalAutoencoder
from visim_models.processing import ImageProcessor
from visim_models.repo_folder.metrics import Figure

__all__ = ["reconstruction_errors", "reconstruction_figures"]

_BLOCK: Final = 128


def reconstruction_errors(model: ConvolutionalAutoencoder, processor: ImageProcessor, images: Tensor) -> Tensor:
    """Return the (N,) mean squared errors, on the scale from -1 to 1, of (N, 3, S, S) uint8 pictures."""
    # The network sees (byte * factor - mean) / std; on the scale of the figures a step of one byte is 2 / 255.
    scale = 2 / 255 / processor.rescale_factor * torch.tensor(processor.image_std).view(3, 1, 1)  # (3, 1, 1)
    parts = []
    with torch.inference_mode():
        for batch in tqdm(images.split(_BLOCK), desc="reconstructing", leave=False):
            pixels = processor.normalize(batch)
            parts.append(squared_errors(pixels * scale, model(pixels) * scale))
    return torch.cat(parts)


def reconstruction_figures(
    errors: Tensor, benchmark: Benchmark, *, groups: Sequence[int] | None, method: str = ""
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
