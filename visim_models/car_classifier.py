"""The car classifier of the second article, "Visual Similarity" (O. Olu-Ipinlaye), and the extractor cut from it.

Layers and parameter names are the article's, so weights go both ways. (Its text says 512 features; its code has 514.)
"""

import torch.nn.functional as F
from torch import Tensor, nn

from visim_models.pretrained import PretrainedModel

__all__ = ["CAR_CLASSES", "CarClassifier", "CarFeatureExtractor"]

CAR_CLASSES = ("sedan", "coupe", "suv", "truck")
"""The four body types, in the order of the classifier's outputs."""


class _CarNetwork(PretrainedModel):
    """Seven unpadded 3x3 convolutions with batch norm, three poolings, 8192 -> 514 -> 128 -> 4."""

    model_type = "car-classifier"

    def __init__(self) -> None:
        super().__init__({})
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.conv2 = nn.Conv2d(32, 32, 3)
        self.conv3 = nn.Conv2d(32, 64, 3)
        self.conv4 = nn.Conv2d(64, 64, 3)
        self.conv5 = nn.Conv2d(64, 128, 3)
        self.conv6 = nn.Conv2d(128, 128, 3)
        self.conv7 = nn.Conv2d(128, 128, 3)
        self.fc1 = nn.Linear(8192, 514)
        self.fc2 = nn.Linear(514, 128)
        self.fc3 = nn.Linear(128, 4)
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
        """What a gallery compares: (N, 3, 100, 100) pixels -> (N, 514) features, each >= 0."""
        # ReLU after pooling gives what the article's order gives, of a quarter of the values.
        x = F.relu(self.batchnorm_conv1(self.conv1(pixels)))  # (N, 32, 98, 98)
        x = F.relu(self.pool2(self.batchnorm_conv2(self.conv2(x))))  # (N, 32, 48, 48)
        x = F.relu(self.batchnorm_conv3(self.conv3(x)))  # (N, 64, 46, 46)
        x = F.relu(self.pool4(self.batchnorm_conv4(self.conv4(x))))  # (N, 64, 22, 22)
        x = F.relu(self.batchnorm_conv5(self.conv5(x)))  # (N, 128, 20, 20)
        x = F.relu(self.batchnorm_conv6(self.conv6(x)))  # (N, 128, 18, 18)
        x = F.relu(self.pool7(self.batchnorm_conv7(self.conv7(x))))  # (N, 128, 8, 8)
        return F.relu(self.batchnorm_fc1(self.fc1(x.flatten(1))))  # (N, 514)

    def classify(self, features: Tensor) -> Tensor:
        """(N, 514) features -> (N, 4) log-probabilities, in the order of `CAR_CLASSES`."""
        x = F.relu(self.batchnorm_fc2(self.fc2(features)))  # (N, 128)
        return F.log_softmax(self.fc3(x), dim=1)  # (N, 4)

    def strangeness(self, pixels: Tensor, embeddings: Tensor) -> dict[str, Tensor]:
        """What only this network sees of how strange a picture is: (N,) minus its likeliest class's log-probability."""
        return {"uncertainty": -self.classify(embeddings).amax(dim=1)}


class CarClassifier(_CarNetwork):
    """A picture of a car -> the log-probabilities of its body type."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, 100, 100) pixels -> (N, 4) log-probabilities, in the order of `CAR_CLASSES`."""
        return self.classify(self.embed(pixels))


class CarFeatureExtractor(_CarNetwork):
    """The classifier, stopped after the 514 features. It keeps all the parameters: one weights file serves both."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, 100, 100) pixels -> (N, 514) features, each >= 0."""
        return self.embed(pixels)
