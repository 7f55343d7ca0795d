"""Load a network by one of the engines that compute it: neither is imported until it is asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

from safetensors.numpy import save_file

from visim_models.errors import ConfigurationError, MissingExtraError, QueryError
from visim_models.models.network import Floats, Network
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import CONFIG, OWN_VECTORS, WEIGHTS

if TYPE_CHECKING:
    from visim_models.models.base import PretrainedModel

__all__ = ["BACKENDS", "OwnVectors", "as_network", "check_torch", "load_network"]

BACKENDS = ("torch", "onnx")

_IMAGE_SIZE: Final = 224
_MOST_NUMBERS: Final = 32_768

_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")


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

    def embed(self, pixels: Floats) -> NoReturn:
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
