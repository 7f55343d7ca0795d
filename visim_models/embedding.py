"""Embed processed pictures: the one path of a query, of a batch and of a gallery."""

from typing import TypeVar

import torch
from torch import Tensor

from visim_models.models import PretrainedModel

__all__ = ["embed_pixels", "prepared"]

_Model = TypeVar("_Model", bound=PretrainedModel)


def prepared(model: _Model) -> _Model:
    """Prepare a network for `embed_pixels`, in place; return it."""
    # oneDNN's convolutions are faster with the channels last.
    return model.eval().to(memory_format=torch.channels_last)


def embed_pixels(model: PretrainedModel, pixels: Tensor) -> Tensor:
    """Embed pictures.

    Args:
        model: the network; set to evaluation mode if it is not.
        pixels: (N, 3, S, S) float32, processed.

    Returns:
        (N, D) float32 on the CPU.
    """
    if model.training:
        model.eval()
    with torch.inference_mode():
        return model.embed(pixels.to(next(model.parameters()).device)).float().cpu()
