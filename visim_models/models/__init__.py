"""The networks, and the one registry of them by the `model_type` of config.json."""

from visim_models.models.autoencoder import ConvolutionalAutoencoder, Decoder, Encoder
from visim_models.models.base import Classifier, PretrainedModel
from visim_models.models.car_classifier import CAR_CLASSES, CarClassifier, CarFeatureExtractor
from visim_models.models.registry import MODEL_TYPES, load_model
from visim_models.models.timm_backbone import TimmBackbone

__all__ = [
    "CAR_CLASSES",
    "MODEL_TYPES",
    "CarClassifier",
    "CarFeatureExtractor",
    "Classifier",
    "ConvolutionalAutoencoder",
    "Decoder",
    "Encoder",
    "PretrainedModel",
    "TimmBackbone",
    "load_model",
]
