"""The networks that a classifier's recipe can name, with fresh weights, or with those of a bundled repo."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18

from hub.locate import locate
from lab.data import ImageSet
from visim_models.models import CarClassifier, Cifar10Classifier, PretrainedModel, load_model
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder

__all__ = ["NETWORKS", "TeacherNetwork"]

_WHITENED: Final = 5000
"""Pictures of which the first layer of a small network takes the principal components."""
_RESNET_FEATURES: Final = 512


class TeacherNetwork(PretrainedModel):
    """A network of any kind and a linear layer: a teacher, which no repo holds.

    Args:
        backbone: (N, 3, S, S) pixels -> (N, D) features.
        embedding_dim: D.
        class_names: C names, in the order of the outputs.
    """

    model_type = "teacher"

    def __init__(self, backbone: nn.Module, embedding_dim: int, *, class_names: Sequence[str]) -> None:
        super().__init__({"class_names": list(class_names)})
        self.backbone, self.embedding_dim = backbone, embedding_dim
        self.head = nn.Linear(embedding_dim, len(class_names))

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) pixels -> (N, D) features."""
        features: Tensor = self.backbone(pixels)
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Classify embeddings: (N, D) features -> (N, C) log-probabilities, in the order of `class_names`."""
        return F.log_softmax(self.head(features), dim=1)

    @property
    def class_names(self) -> list[str]:
        """Return the C names of the classes, in the order of the outputs."""
        return list(self.config["class_names"])


def _small_classifier(names: Sequence[str], train: ImageSet, processor: ImageProcessor) -> Cifar10Classifier:
    model = Cifar10Classifier(class_names=names)
    sample = train.pixels[:: max(1, len(train) // _WHITENED)].float()
    model.whiten_(processor.normalize(sample))
    return model


def _fine_tuned(names: Sequence[str], *_: object) -> TeacherNetwork:
    backbone = load_model(RepoFolder(locate("general-extractor")))
    return TeacherNetwork(backbone, backbone.embedding_dim, class_names=names)


def _small_resnet(names: Sequence[str], *_: object) -> TeacherNetwork:
    """Build a ResNet-18 (He et al. 2016) that keeps all the 32 x 32 pixels until its second stage."""
    backbone = resnet18()
    backbone.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    backbone.maxpool, backbone.fc = nn.Identity(), nn.Identity()
    return TeacherNetwork(backbone, _RESNET_FEATURES, class_names=names)


NetworkBuilder = Callable[[Sequence[str], ImageSet, ImageProcessor], CarClassifier | Cifar10Classifier | TeacherNetwork]

NETWORKS: Final[Mapping[str, NetworkBuilder]] = {
    "car-classifier": lambda names, *_: CarClassifier(class_names=names),
    "cifar10-classifier": _small_classifier,
    "small-resnet": _small_resnet,
    "general-extractor": _fine_tuned,
}
"""`network` of a recipe -> what builds it: class names, pictures to learn from, processor -> network."""
