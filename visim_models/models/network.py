"""The protocol of a network, whatever computes it, and the one way to load one. This module imports no torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from visim_models.errors import ConfigurationError, MissingExtraError
from visim_models.models.own_vectors import OwnVectors
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import CONFIG, OWN_VECTORS

if TYPE_CHECKING:
    from visim_models.models.base import PretrainedModel

__all__ = ["BACKENDS", "Floats", "Network", "as_network", "check_torch", "load_network"]

Floats: TypeAlias = npt.NDArray[np.float32]

BACKENDS = ("torch", "onnx")

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


def as_network(model: "Network | PretrainedModel") -> Network:
    """Return a network as it is, or one of torch for an `nn.Module`."""
    if isinstance(model, Network):
        return model
    from visim_models.models.torch_network import TorchNetwork

    return TorchNetwork(model)


def check_torch() -> None:
    """Check that torch is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("torch") is None:
        raise MissingExtraError("torch", extra="torch", purpose='A network of torch (backend="onnx" needs none)')


def load_network(repo: RepoFolder, *, backend: str = "torch", device: str = "cpu") -> Network:
    """Load the network of a repo folder.

    Args:
        repo: the repo folder.
        backend: "torch", or "onnx" for ONNX Runtime, which needs no torch.
        device: where it computes.

    Raises:
        ConfigurationError: there is no such backend or device, or config.json is missing or has a wrong key.
        MissingExtraError: the backend's package is not installed.
        WeightsError: the weights are missing, damaged, or of another network.
    """
    if backend not in BACKENDS:
        raise ConfigurationError(f"backend is {backend!r}, but must be one of {list(BACKENDS)}.", key="backend")
    if repo.has(CONFIG) and repo.json(CONFIG).get("model_type") == OWN_VECTORS:
        return OwnVectors.load(repo)
    if backend == "onnx":
        from visim_models.onnx_network import OnnxNetwork

        return OnnxNetwork.load(repo, device=device)
    check_torch()
    from visim_models.models.torch_network import TorchNetwork, load_model

    return TorchNetwork(load_model(repo)).to(device)
