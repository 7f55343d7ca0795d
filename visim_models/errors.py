"""Every error that visim raises on purpose, in one tree.

    VisimError
    ├── ImageDecodeError        the bytes, path or array are not a picture that visim can use
    ├── ConfigurationError      a config.json, preprocessor_config.json or ood.json says what visim does not know
    ├── WeightsError            a weights file is missing, damaged, or not of this model
    ├── GalleryError            a gallery's files are missing, damaged, or do not fit together
    │   └── GalleryMismatchError    the gallery was made by other weights or another processor
    ├── QueryError              a search asked for what the gallery cannot give (top_k, a wrong width)
    ├── RepositoryError         a repo folder or Hub repo cannot be found or read
    ├── ImageSourceError        a gallery's own picture cannot be fetched from its image root
    └── DataError               a data set, a checkpoint or a training option is not usable

Each message says what was wrong, with which file or key, and what to do about it.
"""

__all__ = [
    "ConfigurationError",
    "DataError",
    "GalleryError",
    "GalleryMismatchError",
    "ImageDecodeError",
    "ImageSourceError",
    "QueryError",
    "RepositoryError",
    "VisimError",
    "WeightsError",
]


class VisimError(Exception):
    """Whatever visim raises on purpose."""


class ImageDecodeError(VisimError, ValueError):
    """What was given is not a picture, or not one that is safe to decode."""


class ConfigurationError(VisimError, ValueError):
    """A configuration file lacks a key, has an unknown one, or a value that does not fit."""


class WeightsError(VisimError, ValueError):
    """A weights file is missing, damaged, or does not fit the model."""


class GalleryError(VisimError, ValueError):
    """A gallery's files are missing, damaged, or do not fit together."""


class GalleryMismatchError(GalleryError):
    """A gallery was embedded by other weights, or through another processor."""


class QueryError(VisimError, ValueError):
    """A search asks for something that this gallery cannot give."""


class RepositoryError(VisimError, OSError):
    """A repo folder, or a repo on the Hub, cannot be found or read."""


class ImageSourceError(VisimError, OSError):
    """A gallery's picture cannot be had from the image root."""


class DataError(VisimError, ValueError):
    """A data set, a checkpoint or a training option cannot be used."""
