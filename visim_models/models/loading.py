"""Load a network by one of the engines that compute it. This module imports neither until it is asked for."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from visim_models.errors import ConfigurationError, MissingExtraError
from visim_models.models.network import Network
from visim_models.models.own_vectors import OwnVectors
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import CONFIG, OWN_VECTORS

if TYPE_CHECKING:
    from visim_models.models.base import PretrainedModel

__all__ = ["BACKENDS", "as_network", "check_torch", "load_network"]

BACKENDS = ("torch", "onnx")


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
