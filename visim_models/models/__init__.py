"""The networks of torch, each imported when it is asked for, and the protocol that every network keeps."""

from importlib import import_module
from typing import TYPE_CHECKING

from visim_models.models.network import Network, check_torch, load_network

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

_HOMES = {
    "autoencoder": ("ConvolutionalAutoencoder", "Decoder", "Encoder"),
    "base": ("Classifier", "PretrainedModel"),
    "car_classifier": ("CAR_CLASSES", "CarClassifier", "CarFeatureExtractor"),
    "cifar10_classifier": ("CIFAR10_CLASSES", "Cifar10Classifier"),
    "timm_backbone": ("TimmBackbone",),
    "torch_network": ("MODEL_TYPES", "TorchNetwork", "load_model"),
}
"""Module -> its public names, for which torch is imported."""


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            check_torch()
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
