"""A classifier of 32 x 32 pictures, and the extractor of its 256 features: quick to train, also on two cores.

Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024): the layers, after Page's "ResNet" (2018).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visim_models.models.base import PretrainedModel

__all__ = ["CIFAR10_CLASSES", "Cifar10Classifier"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The ten classes of CIFAR-10, in the order of its labels."""

_SCALE = 1 / 9
"""Of the outputs: the features, with batch norm and without a bound, are large."""


class Cifar10Classifier(PretrainedModel):
    """A fixed whitening layer, three blocks of two 3x3 convolutions each, the largest value of each channel, C outputs.

    Args:
        class_names: C names, in the order of the outputs.
    """

    model_type = "cifar10-classifier"
    image_size = 32
    widths: ClassVar[tuple[int, ...]] = (64, 256, 256)

    def __init__(self, *, class_names: Sequence[str] = CIFAR10_CLASSES) -> None:
        super().__init__({"class_names": list(class_names)})
        self.embedding_dim = self.widths[-1]
        self.whiten = nn.Conv2d(3, 24, 2)
        blocks, before = [], 24
        for width in self.widths:
            blocks.append(_Block(before, width))
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.MaxPool2d(3)
        self.head = nn.Linear(before, len(class_names), bias=False)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, 32, 32) pixels -> (N, 256) features."""
        x = F.gelu(self.whiten(pixels))  # (N, 24, 31, 31)
        x = self.pool(self.blocks(x))  # (N, 256, 1, 1)
        return x.flatten(1)  # type: ignore[no-any-return]

    def classify(self, features: Tensor) -> Tensor:
        """Classify embeddings: (N, 256) features -> (N, C) log-probabilities, in the order of `class_names`."""
        return F.log_softmax(_SCALE * self.head(features), dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Classify pictures: (N, 3, 32, 32) pixels -> (N, C) log-probabilities, in the order of `class_names`."""
        return self.classify(self.embed(pixels))

    @property
    def class_names(self) -> list[str]:
        """Return the C names of the classes, in the order of the outputs."""
        return list(self.config["class_names"])

    @torch.no_grad()
    def whiten_(self, pixels: Tensor) -> None:
        """Set the first layer to the principal components of (N, 3, 32, 32) pixels' 2 x 2 patches, and freeze it.

        Each component is scaled to a variance of 1, and there twice: with either sign, for what follows cuts one off.
        """
        patches = F.unfold(pixels, 2).transpose(1, 2).flatten(0, 1)  # (M, 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))  # (12,), (12, 12)
        scaled = (vectors / (values + 5e-4).sqrt()).T.unflatten(1, (3, 2, 2))  # (12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([scaled, -scaled]))
        assert self.whiten.bias is not None
        self.whiten.bias.zero_()
        self.whiten.weight.requires_grad_(False)


class _Block(nn.Module):
    """A convolution, pooling by two, a convolution; batch norm and GELU after each."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the side: (N, C, S, S) -> (N, W, S / 2, S / 2)."""
        x = F.gelu(self.norm1(self.pool(self.conv1(x))))
        return F.gelu(self.norm2(self.conv2(x)))
