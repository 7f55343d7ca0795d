"""The networks, and the one registry of them by the `model_type` of config.json."""

from visim_models.models.autoencoder import ConvolutionalAutoencoder, Decoder, Encoder
from visim_models.models.base import PretrainedModel
from visim_models.models.car_classifier import CAR_CLASSES, CarClassifier, CarFeatureExtractor
from visim_models.models.registry import MODEL_TYPES, load_model

__all__ = [
    "CAR_CLASSES",
    "MODEL_TYPES",
    "CarClassifier",
    "CarFeatureExtractor",
    "ConvolutionalAutoencoder",
    "Decoder",
    "Encoder",
    "PretrainedModel",
    "load_model",
]
