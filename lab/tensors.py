"""The library's arrays as tensors of torch, in which training and evaluation compute."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models.models import PretrainedModel
from visim_models.models.torch_network import TorchNetwork
from visim_models.processing import ImageProcessor

__all__ = ["Measured", "denormalized", "embed_pixels", "normalized"]


@dataclass(frozen=True)
class Measured:
    """N pictures, embedded and measured: (N, D) embeddings, and name -> (N,) values; higher is stranger."""

    embeddings: Tensor
    values: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.embeddings)

    def __iter__(self) -> Iterator[Any]:
        """Yield what `OutOfDistributionDetector.score` and `.verdicts` take."""
        yield {name: values.numpy() for name, values in self.values.items()}
        yield self.embeddings.numpy()

    def subset(self, indices: Sequence[int] | slice) -> Self:
        """Return the pictures at these indices."""
        chosen = indices if isinstance(indices, slice) else torch.as_tensor(indices, dtype=torch.long)
        return type(self)(self.embeddings[chosen], {name: values[chosen] for name, values in self.values.items()})

    @classmethod
    def of_arrays(cls, embeddings: npt.NDArray[np.float32], values: Mapping[str, npt.NDArray[np.float32]]) -> Self:
        """Return what the library measured."""
        return cls(torch.from_numpy(embeddings), {name: torch.from_numpy(each) for name, each in values.items()})

    @classmethod
    def concatenate(cls, parts: Sequence["Measured"]) -> Self:
        """Join at least one part."""
        values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
        return cls(torch.cat([part.embeddings for part in parts]), values)


def embed_pixels(model: PretrainedModel, pixels: Tensor) -> Tensor:
    """Embed (N, 3, S, S) processed pictures: (N, D) float32 on the CPU."""
    return torch.from_numpy(TorchNetwork(model).embed(pixels.cpu().numpy()))


def normalized(processor: ImageProcessor, pixels: Tensor) -> Tensor:
    """Normalize (..., 3, S, S) RGB of 0 to 255 as the processor does, on the device that the pixels are on."""
    mean, std = (torch.tensor(each, device=pixels.device)[:, None, None] for each in _statistics(processor))
    if processor.do_flip_channel_order:
        pixels = pixels.flip(-3)
    return pixels.to(torch.float32, copy=True).mul_(processor.rescale_factor).sub_(mean).div_(std)


def denormalized(processor: ImageProcessor, pixels: Tensor) -> Tensor:
    """Convert a network's input or output, (..., 3, S, S) float, to uint8 RGB as the processor does, on the CPU."""
    return torch.from_numpy(processor.denormalize(pixels.float().cpu().numpy()))


def _statistics(processor: ImageProcessor) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    return processor.image_mean, processor.image_std
