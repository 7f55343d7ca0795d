"""The networks, and the one registry of them by the `model_type` of config.json."""

from visim_models.models.autoencoder import ConvolutionalAutoencoder, Decoder, Encoder
from visim_models.models.base import PretrainedModel
from visim_models.models.car_classifier import CAR_CLASSES, CarClassifier, CarFeatureExtractor

__all__ = [
    "CAR_CLASSES",
    "MODEL_TYPES",
    "CarClassifier",
    "CarFeatureExtractor",
    "ConvolutionalAutoencoder",
    "Decoder",
    "Encoder",
    "PretrainedModel",
]

MODEL_TYPES: dict[str, type[PretrainedModel]] = {
    model.model_type: model for model in (ConvolutionalAutoencoder, CarFeatureExtractor)
}
"""`model_type` -> the network that a pipeline loads for it."""
