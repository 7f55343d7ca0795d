"""The networks that a classifier's recipe can name, with fresh weights, or with those of a bundled repo."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from hub.locate import locate
from lab.data import ImageSet
from visim_models.models import CarClassifier, Cifar10Classifier, PretrainedModel, load_model
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder

__all__ = ["NETWORKS", "FineTunedBackbone"]

_WHITENED: Final = 5000
"""Pictures of which the first layer of a small network takes the principal components."""


class FineTunedBackbone(PretrainedModel):
    """The general extractor and a linear layer: a teacher, which no repo holds.

    Args:
        class_names: C names, in the order of the outputs.
    """

    model_type = "fine-tuned-backbone"

    def __init__(self, *, class_names: Sequence[str]) -> None:
        super().__init__({"class_names": list(class_names)})
        self.backbone = load_model(RepoFolder(locate("general-extractor")))
        self.embedding_dim = self.backbone.embedding_dim
        self.head = nn.Linear(self.embedding_dim, len(class_names))

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) pixels -> (N, D) features."""
        return self.backbone.embed(pixels)

    def classify(self, features: Tensor) -> Tensor:
        """Classify embeddings: (N, D) features -> (N, C) log-probabilities, in the order of `class_names`."""
        return F.log_softmax(self.head(features), dim=1)

    @property
    def class_names(self) -> list[str]:
        """Return the C names of the classes, in the order of the outputs."""
        return list(self.config["class_names"])


class _WideCifar10Classifier(Cifar10Classifier):
    """Four times the weights of the one that is shipped: its teacher."""

    widths = (128, 512, 512)


def _whitened(
    network: type[Cifar10Classifier],
) -> Callable[[Sequence[str], ImageSet, ImageProcessor], Cifar10Classifier]:
    def build(class_names: Sequence[str], train: ImageSet, processor: ImageProcessor) -> Cifar10Classifier:
        model = network(class_names=class_names)
        sample = train.pixels[:: max(1, len(train) // _WHITENED)].float()
        model.whiten_(processor.normalize(sample))
        return model

    return build


NetworkBuilder = Callable[
    [Sequence[str], ImageSet, ImageProcessor], CarClassifier | Cifar10Classifier | FineTunedBackbone
]

NETWORKS: Final[Mapping[str, NetworkBuilder]] = {
    "car-classifier": lambda names, *_: CarClassifier(class_names=names),
    "cifar10-classifier": _whitened(Cifar10Classifier),
    "wide-cifar10-classifier": _whitened(_WideCifar10Classifier),
    "general-extractor": lambda names, *_: FineTunedBackbone(class_names=names),
}
"""`network` of a recipe -> what builds it: class names, pictures to learn from, processor -> network."""
