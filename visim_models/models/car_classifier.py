"""The car classifier of the second article, "Visual Similarity" (O. Olu-Ipinlaye), and the extractor cut from it.

Layers and parameter names are the article's, so weights go both ways. (Its text says 512 features; its code has 514.)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visim_models.models.base import PretrainedModel

__all__ = ["CAR_CLASSES", "CarClassifier", "CarFeatureExtractor"]

CAR_CLASSES = ("sedan", "coupe", "suv", "truck")
"""The article's four body types, in the order of the classifier's outputs."""


class _CarNetwork(PretrainedModel):
    """Seven unpadded 3x3 convolutions with batch norm, three poolings, then 8192 -> 514 -> 128 -> C.

    Args:
        class_names: C names, in the order of the outputs.
    """

    model_type = "car-classifier"
    image_size = 100
    embedding_dim = 514

    def __init__(self, *, class_names: Sequence[str] = CAR_CLASSES) -> None:
        super().__init__({"class_names": list(class_names)})
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.conv2 = nn.Conv2d(32, 32, 3)
        self.conv3 = nn.Conv2d(32, 64, 3)
        self.conv4 = nn.Conv2d(64, 64, 3)
        self.conv5 = nn.Conv2d(64, 128, 3)
        self.conv6 = nn.Conv2d(128, 128, 3)
        self.conv7 = nn.Conv2d(128, 128, 3)
        self.fc1 = nn.Linear(8192, 514)
        self.fc2 = nn.Linear(514, 128)
        self.fc3 = nn.Linear(128, len(class_names))
        self.pool2 = nn.MaxPool2d(2, 2)
        self.pool4 = nn.MaxPool2d(2, 2)
        self.pool7 = nn.MaxPool2d(2, 2)
        self.batchnorm_conv1 = nn.BatchNorm2d(32)
        self.batchnorm_conv2 = nn.BatchNorm2d(32)
        self.batchnorm_conv3 = nn.BatchNorm2d(64)
        self.batchnorm_conv4 = nn.BatchNorm2d(64)
        self.batchnorm_conv5 = nn.BatchNorm2d(128)
        self.batchnorm_conv6 = nn.BatchNorm2d(128)
        self.batchnorm_conv7 = nn.BatchNorm2d(128)
        self.batchnorm_fc1 = nn.BatchNorm1d(514)
        self.batchnorm_fc2 = nn.BatchNorm1d(128)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, 100, 100) pixels -> (N, 514) features, each >= 0."""
        # ReLU after pooling gives the same values as the article's order, from a quarter as many.
        x = F.relu(_normalized(self.conv1, self.batchnorm_conv1, pixels))  # (N, 32, 98, 98)
        x = F.relu(self.pool2(_normalized(self.conv2, self.batchnorm_conv2, x)))  # (N, 32, 48, 48)
        x = F.relu(_normalized(self.conv3, self.batchnorm_conv3, x))  # (N, 64, 46, 46)
        x = F.relu(self.pool4(_normalized(self.conv4, self.batchnorm_conv4, x)))  # (N, 64, 22, 22)
        x = F.relu(_normalized(self.conv5, self.batchnorm_conv5, x))  # (N, 128, 20, 20)
        x = F.relu(_normalized(self.conv6, self.batchnorm_conv6, x))  # (N, 128, 18, 18)
        x = F.relu(self.pool7(_normalized(self.conv7, self.batchnorm_conv7, x)))  # (N, 128, 8, 8)
        return F.relu(self.batchnorm_fc1(self.fc1(x.flatten(1))))  # (N, 514)

    def classify(self, features: Tensor) -> Tensor:
        """Classify embeddings: (N, 514) features -> (N, C) log-probabilities, in the order of `class_names`."""
        x = F.relu(self.batchnorm_fc2(self.fc2(features)))  # (N, 128)
        return F.log_softmax(self.fc3(x), dim=1)  # (N, C)

    @property
    def class_names(self) -> list[str]:
        """Return the C names of the classes, in the order of the outputs."""
        return list(self.config["class_names"])


class CarClassifier(_CarNetwork):
    """A picture of a car -> the log-probabilities of its body type."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Classify pictures: (N, 3, 100, 100) pixels -> (N, C) log-probabilities, in the order of `class_names`."""
        return self.classify(self.embed(pixels))


class CarFeatureExtractor(_CarNetwork):
    """The classifier, cut after its 514 features. It keeps all the parameters: one weights file serves both."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, 100, 100) pixels -> (N, 514) features, each >= 0."""
        return self.embed(pixels)


def _normalized(convolution: nn.Conv2d, norm: nn.BatchNorm2d, pixels: Tensor) -> Tensor:
    """Apply a convolution and its batch norm; in evaluation mode with the norm folded into the weights.

    Folding costs a multiplication a weight and saves one pass over the activations, which are far more. The folded
    weights are made again at each call, so that a change of the network shows in the next query.
    """
    if norm.training:
        return norm(convolution(pixels))  # type: ignore[no-any-return]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert convolution.bias is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # (C,)
    bias = (convolution.bias - norm.running_mean) * scale + norm.bias  # (C,)
    return F.conv2d(pixels, convolution.weight * scale.view(-1, 1, 1, 1), bias)
