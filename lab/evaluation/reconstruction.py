"""How much of a picture an autoencoder's code keeps."""

import torch
from torch import Tensor
from tqdm import tqdm

from lab.evaluation.measures import psnr, squared_errors
from lab.evaluation.subject import CARS, Family
from visim_models.metrics import Figure
from visim_models.models.autoencoder import ConvolutionalAutoencoder
from visim_models.processing import ImageProcessor

__all__ = ["reconstruction_errors", "reconstruction_quality"]

_BLOCK = 128
_NUMERICS = 1e-3
"""Relative change of a squared error that another machine's arithmetic may bring."""


def reconstruction_errors(model: ConvolutionalAutoencoder, processor: ImageProcessor, images: Tensor) -> Tensor:
    """(N,) mean squared error, on the scale [-1, 1], of (N, 3, S, S) uint8 pictures."""
    # The network sees (byte * factor - mean) / std; on the scale of the figures a step of one byte is 2 / 255.
    scale = 2 / 255 / processor.rescale_factor * torch.tensor(processor.image_std).view(3, 1, 1)  # (3, 1, 1)
    parts = []
    with torch.inference_mode():
        for batch in tqdm(images.split(_BLOCK), desc="reconstructing", leave=False):
            pixels = processor.normalize(batch)
            parts.append(squared_errors(pixels * scale, model(pixels) * scale))
    return torch.cat(parts)


def reconstruction_quality(errors: Tensor, family: Family, *, method: str = "") -> list[Figure]:
    """The mean error and the PSNR of it, from the (N,) errors of the pictures; without targets for a baseline."""
    pictures = "held-out photographs" if family is CARS else "the validation pictures"
    mean = errors.double().mean().item()
    mse_target = None if family is CARS else {"at_most": 0.0063}
    psnr_target = {"at_least": 22.0 if family is CARS else 28.0}
    return [
        Figure(
            name="reconstruction_mse",
            value=mean,
            noise=mean * _NUMERICS,
            unit="",
            n=len(errors),
            what=f"Mean squared error of the reconstruction on the scale from -1 to 1, over {pictures}.",
            target=None if method else mse_target,
            method=method,
        ),
        Figure(
            name="reconstruction_psnr",
            value=psnr(mean),
            noise=abs(psnr(mean * (1 + _NUMERICS)) - psnr(mean)),
            unit="dB",
            n=len(errors),
            what=f"Peak signal-to-noise ratio of that error, over {pictures}.",
            target=None if method else psnr_target,
            method=method,
        ),
    ]
