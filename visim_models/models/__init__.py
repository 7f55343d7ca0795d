"""The networks, and the one registry of them by the `model_type` of config.json."""

from visim_models.models.autoencoder import ConvolutionalAutoencoder, Decoder, Encoder
from visim_models.models.base import Classifier, PretrainedModel
from visim_models.models.car_classifier import CAR_CLASSES, CarClassifier, CarFeatureExtractor
from visim_models.models.cifar10_classifier import CIFAR10_CLASSES, Cifar10Classifier
from visim_models.models.registry import MODEL_TYPES, load_model
from visim_models.models.timm_backbone import TimmBackbone

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
    "PretrainedModel",
    "TimmBackbone",
    "load_model",
]
