"""The protocol of a network, whatever computes it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from visim_models.repo_folder import RepoDraft

__all__ = ["Floats", "Network"]

Floats: TypeAlias = npt.NDArray[np.float32]

_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")


@runtime_checkable
class Network(Protocol):
    """A network that embeds pictures, and may classify or draw them. Every array is float32, on the CPU."""

    @property
    def model_type(self) -> str:
        """Return the name of the network in config.json."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Return the further keys of config.json: the arguments that the network was built with."""

    @property
    def image_size(self) -> int:
        """Return the side S of the square pictures that it takes, in pixels."""

    @property
    def embedding_dim(self) -> int:
        """Return D, the length of its embeddings."""

    @property
    def class_names(self) -> list[str]:
        """Return the C names of the classes, in the order of the outputs; none where it is no classifier."""

    @property
    def can_decode(self) -> bool:
        """Return whether it draws a picture from an embedding."""

    @property
    def device(self) -> str:
        """Return where it computes: "cpu", "cuda:0"."""

    def to(self, device: str) -> Self:
        """Move the network to a device; return it.

        Raises:
            ConfigurationError: it cannot compute there.
        """

    def embed(self, pixels: Floats) -> Floats:
        """Embed (N, 3, S, S) processed pictures: (N, D)."""

    def log_probabilities(self, embeddings: Floats) -> Floats:
        """Classify (N, D) embeddings: (N, C) log-probabilities.

        Raises:
            QueryError: the network is no classifier.
        """

    def decode(self, codes: Floats) -> Floats:
        """Decode (N, D) embeddings: (N, 3, S, S), on the scale of the processed pictures.

        Raises:
            QueryError: the network is no autoencoder.
        """

    def map_batches(self, work: Callable[[_Batch], _Result], batches: Iterable[_Batch]) -> Iterator[_Result]:
        """Apply a function that asks this network to many batches, several at once; yield the results in order."""

    def write_files(self, draft: RepoDraft) -> None:
        """Write the network into a draft: config.json, model.safetensors, and what the engine needs beside them."""
