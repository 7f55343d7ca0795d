"""Every error that visim raises on purpose, in one tree.

    VisimError
    ├── ImageDecodeError        the bytes, path or array are not a picture that visim can use
    ├── ConfigurationError      config.json, preprocessor_config.json, ood.json or metrics.json has a wrong key or value
    ├── WeightsError            a weights file is missing, damaged, or not of this model
    ├── GalleryError            a gallery's files are missing, damaged, or do not fit together
    │   └── GalleryMismatchError    the gallery was embedded by other weights or through another processor
    ├── EngineError             the engine that has a gallery's index cannot be reached, or refuses what it is asked
    ├── QueryError              a search asks for something that the gallery cannot give (top_k, a wrong width)
    ├── RepositoryError         a repo folder or Hub repo cannot be found, read or written
    │   └── OutputError             a folder is refused as an output, because files could be lost in it
    ├── ImageSourceError        a picture cannot be read from its image store
    │   └── ImageHostError          its host cannot be reached, or does not answer in time
    ├── DataError               a data set, a split, a checkpoint or a training option cannot be used
    └── MissingExtraError       an optional package is not installed

Each message says what was wrong, with which file or key, and what to do. `path` and `key` name them for handlers.
"""

import os

__all__ = [
    "ConfigurationError",
    "DataError",
    "EngineError",
    "GalleryError",
    "GalleryMismatchError",
    "ImageDecodeError",
    "ImageHostError",
    "ImageSourceError",
    "MissingExtraError",
    "OutputError",
    "QueryError",
    "RepositoryError",
    "VisimError",
    "WeightsError",
]


class VisimError(Exception):
    """Base class of every error that visim raises on purpose.

    Attributes:
        path: the file, folder or address that the error is about, or None.
        key: the key in that file, or the argument, or None.
    """

    def __init__(self, message: str, *, path: str | os.PathLike[str] | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.key = key


class ImageDecodeError(VisimError, ValueError):
    """The input is not a picture, or not one that is safe to decode."""


class ConfigurationError(VisimError, ValueError):
    """A configuration file lacks a key, or has an unknown key or a wrong value."""


class WeightsError(VisimError, ValueError):
    """A weights file is missing, damaged, or does not fit the model."""


class GalleryError(VisimError, ValueError):
    """A gallery's files are missing, damaged, or do not fit together."""


class GalleryMismatchError(GalleryError):
    """A gallery was embedded by other weights, or through another processor."""


class EngineError(VisimError, OSError):
    """The engine that has a gallery's index cannot be reached in time, or refuses what it is asked."""


class QueryError(VisimError, ValueError):
    """A search asks for something that this gallery cannot give."""


class RepositoryError(VisimError, OSError):
    """A repo folder, or a repo on the Hub, cannot be found, read or written."""


class OutputError(RepositoryError):
    """A folder is refused as an output: it holds files that visim did not write, or the input."""


class ImageSourceError(VisimError, OSError):
    """A picture cannot be read from its image store."""


class ImageHostError(ImageSourceError):
    """The host of a picture cannot be reached, or does not answer in time."""


class DataError(VisimError, ValueError):
    """A data set, a split, a checkpoint or a training option cannot be used."""


class MissingExtraError(VisimError):
    """An optional package is not installed.

    Args:
        package: the package that is missing.
        extra: the extra of visim-models that installs it.
        purpose: the thing that needs it, as the subject of a sentence.
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'visim-models[{extra}]'.", key=extra)
