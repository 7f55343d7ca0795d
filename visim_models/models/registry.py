"""The one registry of networks, by the `model_type` of config.json."""

from visim_models.errors import ConfigurationError
from visim_models.models.autoencoder import ConvolutionalAutoencoder
from visim_models.models.base import PretrainedModel
from visim_models.models.car_classifier import CarFeatureExtractor
from visim_models.models.cifar10_classifier import Cifar10Classifier
from visim_models.models.timm_backbone import TimmBackbone
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import CONFIG

__all__ = ["MODEL_TYPES", "load_model"]

MODEL_TYPES: dict[str, type[PretrainedModel]] = {
    model.model_type: model
    for model in (ConvolutionalAutoencoder, CarFeatureExtractor, Cifar10Classifier, TimmBackbone)
}
"""`model_type` -> the network that a pipeline loads for it."""


def load_model(repo: RepoFolder) -> PretrainedModel:
    """Load the network of a repo folder, on the CPU, in float32 and evaluation mode.

    Raises:
        ConfigurationError: config.json is missing, names no network of visim, or has a missing, unknown or wrong key.
        WeightsError: model.safetensors is missing, damaged, or of another network.
    """
    model_type = repo.json(CONFIG).get("model_type")
    if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
        raise ConfigurationError(
            f"{repo / CONFIG}: model_type is {model_type!r}, but must be one of {sorted(MODEL_TYPES)}.",
            path=repo / CONFIG,
            key="model_type",
        )
    return MODEL_TYPES[model_type].from_pretrained(repo)
