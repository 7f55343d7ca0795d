"""The place of a network in a gallery of vectors that its owner brought: nothing can be embedded with it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, Self, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from visim_models.errors import ConfigurationError, QueryError
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import CONFIG, OWN_VECTORS, WEIGHTS

__all__ = ["OwnVectors"]

_IMAGE_SIZE: Final = 224
_MOST_NUMBERS: Final = 32_768

_Floats = npt.NDArray[np.float32]
_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")


class OwnVectors:
    """Stands where a gallery has a network. Such a gallery is searched by its own pictures, and cleaned.

    Args:
        embedding_dim: D, the length of the vectors.

    Raises:
        ConfigurationError: it is no length of a vector.
    """

    model_type: Final = OWN_VECTORS
    image_size: Final = _IMAGE_SIZE
    can_decode: Final = False
    device: Final = "cpu"

    def __init__(self, embedding_dim: int) -> None:
        if type(embedding_dim) is not int or not 1 <= embedding_dim <= _MOST_NUMBERS:
            raise ConfigurationError(f"embedding_dim is {embedding_dim!r}: 1 to {_MOST_NUMBERS:,} are possible.")
        self.embedding_dim = embedding_dim

    @property
    def config(self) -> Mapping[str, Any]:
        """Return the further keys of config.json."""
        return {"embedding_dim": self.embedding_dim}

    @property
    def class_names(self) -> list[str]:
        """Return no classes."""
        return []

    def to(self, device: str) -> Self:
        """Return this: nothing is computed."""
        return self

    def embed(self, pixels: _Floats) -> NoReturn:
        """Refuse: raises QueryError."""
        raise QueryError(
            "This gallery was made of vectors, without the network that made them: search it with a file name of its "
            "own, or build one of pictures.",
            key="embed",
        )

    log_probabilities = decode = embed

    def map_batches(self, work: Callable[[_Batch], _Result], batches: Iterable[_Batch]) -> Iterator[_Result]:
        """Apply a function to batches."""
        return map(work, batches)

    def write_files(self, draft: RepoDraft) -> None:
        """Write config.json, and a model.safetensors without tensors, into a draft."""
        draft.write_json(CONFIG, {"model_type": self.model_type, **self.config})
        save_file({}, draft.path(WEIGHTS))

    @classmethod
    def load(cls, repo: RepoFolder) -> Self:
        """Load the one of a repo folder.

        Raises:
            ConfigurationError: config.json has a missing, unknown or wrong key.
        """
        values = repo.json(CONFIG)
        if values.keys() != {"model_type", "embedding_dim"}:
            raise ConfigurationError(
                f"{repo / CONFIG} must have the keys model_type and embedding_dim, but has {sorted(values)}.",
                path=repo / CONFIG,
            )
        return cls(values["embedding_dim"])
