"""visim: visual similarity that people can share."""

from visim_models.about import GalleryAbout
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
from visim_models.gallery import Gallery
from visim_models.images.decode import ImageSource, decode_image
from visim_models.models import (
    CAR_CLASSES,
    CarClassifier,
    CarFeatureExtractor,
    Cifar10Classifier,
    ConvolutionalAutoencoder,
    Decoder,
    Encoder,
    TimmBackbone,
)
from visim_models.ood import OODVerdict, OutOfDistributionDetector
from visim_models.pipeline import VisualSimilarity
from visim_models.processing import ImageProcessor
from visim_models.search.results import Match, SimilarityResult
from visim_models.sources.store import ImageStore

__version__ = "0.1.0"

__all__ = [
    "CAR_CLASSES",
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
    "MissingExtraError",
    "OODVerdict",
    "OutOfDistributionDetector",
    "OutputError",
    "QueryError",
    "RepositoryError",
    "SimilarityResult",
    "TimmBackbone",
    "VisimError",
    "VisualSimilarity",
    "WeightsError",
    "decode_image",
]
