"""The networks of torch, each imported when it is asked for, and the protocol that every network keeps."""

from typing import TYPE_CHECKING

from visim_models.models.loading import check_torch, load_network
from visim_models.models.network import Network

if TYPE_CHECKING:
    from visim_models.models.autoencoder import ConvolutionalAutoencoder, Decoder, Encoder
    from visim_models.models.base import Classifier, PretrainedModel
    from visim_models.models.car_classifier import CAR_CLASSES, CarClassifier, CarFeatureExtractor
    from visim_models.models.cifar10_classifier import CIFAR10_CLASSES, Cifar10Classifier
    from visim_models.models.timm_backbone import TimmBackbone
    from visim_models.models.torch_network import MODEL_TYPES, TorchNetwork, load_model

__all__ = [
    "CAR_CLASSES",
    "CIFAR10_CLASSES",
    "MODEL_TYPES",
    "CarClassifier",
    "CarFeatureExtractor",
    "Cifar10Classifier",
    "Classifier",
    "ConvolutionalAutoencoder",
    "Decoder",
    "Encoder",
    "Network",
    "PretrainedModel",
    "TimmBackbone",
    "TorchNetwork",
    "load_model",
    "load_network",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        check_torch()
        from visim_models.models import (
            autoencoder,
            base,
            car_classifier,
            cifar10_classifier,
            timm_backbone,
            torch_network,
        )

        for module in (autoencoder, base, car_classifier, cifar10_classifier, timm_backbone, torch_network):
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
