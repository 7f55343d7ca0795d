"""visim: visual similarity that people can share."""

from importlib import import_module
from typing import TYPE_CHECKING

from visim_models.errors import (
    ConfigurationError,
    DataError,
    EngineError,
    GalleryError,
    GalleryMismatchError,
    ImageDecodeError,
    ImageHostError,
    ImageSourceError,
    MissingExtraError,
    OutputError,
    QueryError,
    RepositoryError,
    VisimError,
    WeightsError,
)
from visim_models.gallery import Gallery, GalleryAbout
from visim_models.images.decode import ImageSource, decode_image
from visim_models.models.network import Network
from visim_models.ood import OODVerdict, OutOfDistributionDetector
from visim_models.pipeline import VisualSimilarity
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder
from visim_models.search.exact import SearchIndex
from visim_models.search.results import Match, MatchProbability, SimilarityResult
from visim_models.sources.store import ImageStore

if TYPE_CHECKING:
    from visim_models.models import (
        CAR_CLASSES,
        CIFAR10_CLASSES,
        CarClassifier,
        CarFeatureExtractor,
        Cifar10Classifier,
        ConvolutionalAutoencoder,
        Decoder,
        Encoder,
        TimmBackbone,
    )

__version__ = "0.2.0"

__all__ = [
    "CAR_CLASSES",
    "CIFAR10_CLASSES",
    "CarClassifier",
    "CarFeatureExtractor",
    "Cifar10Classifier",
    "ConfigurationError",
    "ConvolutionalAutoencoder",
    "DataError",
    "Decoder",
    "Encoder",
    "EngineError",
    "Gallery",
    "GalleryAbout",
    "GalleryError",
    "GalleryMismatchError",
    "ImageDecodeError",
    "ImageHostError",
    "ImageProcessor",
    "ImageSource",
    "ImageSourceError",
    "ImageStore",
    "Match",
    "MatchProbability",
    "MissingExtraError",
    "Network",
    "OODVerdict",
    "OutOfDistributionDetector",
    "OutputError",
    "QueryError",
    "RepoFolder",
    "RepositoryError",
    "SearchIndex",
    "SimilarityResult",
    "TimmBackbone",
    "VisimError",
    "VisualSimilarity",
    "WeightsError",
    "decode_image",
]


def __getattr__(name: str) -> object:
    """Import a network of torch when it is asked for."""
    if name in __all__:
        return getattr(import_module("visim_models.models"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
