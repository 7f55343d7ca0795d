"""The base of every network: saved to, and loaded from, config.json and model.safetensors of a repo folder."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Protocol, Self, Unpack, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from visim_models.errors import ConfigurationError, WeightsError
from visim_models.repo_folder import FindOptions, RepoDraft, RepoFolder, drafting
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import CONFIG, WEIGHTS

__all__ = ["Classifier", "PretrainedModel", "as_tensors"]

_MAX_PARAMETERS = 2**28
"""A gigabyte in memory: ten times the largest network here, and too little for a hostile config.json to do harm."""
_MAX_SIZE = 2**14
_MAX_NAMES = 1000
_MAX_TEXT = 200


@runtime_checkable
class Classifier(Protocol):
    """A network that tells classes by its embeddings."""

    embedding_dim: int

    @property
    def class_names(self) -> list[str]:
        """Return the C names of the classes, in the order of the outputs."""
        ...

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) -> (N, D)."""
        ...

    def classify(self, features: Tensor) -> Tensor:
        """Classify embeddings: (N, D) -> (N, C) log-probabilities."""
        ...


class PretrainedModel(nn.Module):
    """A network with a configuration, whose `embed` gives the vectors that a gallery compares.

    Attributes:
        model_type: names the network in config.json.
        config: the arguments that the network was built with.
        image_size: side of the square pictures that it takes, in pixels.
        embedding_dim: D, the length of its embeddings.
    """

    model_type: ClassVar[str]
    image_size: int
    embedding_dim: int

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | RepoFolder,
        **options: Unpack[FindOptions],
    ) -> Self:
        """Load the network of a folder or of a Hub repo, on the CPU, in float32 and evaluation mode.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", or an open repo folder.
            options: where to look for the repo, as `RepoFolder.find` takes them: `revision`, `token` and so on.

        Raises:
            RepositoryError: the folder or repo cannot be found or downloaded.
            ConfigurationError: config.json is missing, or has a missing, unknown or wrong key.
            WeightsError: a weight is missing, unexpected, of another shape or not finite, or the file is damaged.
        """
        repo = RepoFolder.find(source, **options)
        with torch.device("meta"):  # sizes without memory
            model = cls.from_config(repo.json(CONFIG), name=str(repo / CONFIG))
        weights = as_tensors(repo.tensors(WEIGHTS, names=model.state_dict().keys()))
        if any(buffer.is_meta for name, buffer in model.named_buffers() if name not in weights):
            with torch.device("cpu"):  # some buffers are computed when the network is built
                model = cls.from_config(repo.json(CONFIG))
            model._take_weights(weights, name=str(repo / WEIGHTS), assign=False)
        else:
            model._take_weights(weights, name=str(repo / WEIGHTS), assign=True)
        return model.eval()

    @classmethod
    def from_config(cls, config: dict[str, Any], *, name: str = CONFIG) -> Self:
        """Build a network with fresh weights, in float32, from the content of config.json.

        Args:
            config: every argument of the network, and its model_type; no other key.
            name: the file that messages name.

        Raises:
            ConfigurationError: a missing or unknown key, or a wrong value.
        """
        model_type = config.get("model_type")
        if isinstance(model_type, str) and model_type != cls.model_type:
            raise ConfigurationError(
                f"{name} is of a {model_type!r}, but {cls.__name__} loads a {cls.model_type!r}: load it by the class "
                "of its own network, or by VisualSimilarity, which takes any."
            )
        expected = {"model_type", *inspect.signature(cls).parameters}
        if missing := expected - set(config):
            raise ConfigurationError(f"{name} lacks {sorted(missing)}: restore the file.")
        if unknown := set(config) - expected:
            raise ConfigurationError(f"{name} has unknown keys {sorted(unknown)}: remove them, or update visim.")
        if config["model_type"] != cls.model_type:
            raise ConfigurationError(
                f"{name} is of a {config['model_type']!r}, but {cls.__name__} loads a {cls.model_type!r}."
            )
        arguments = {key: value for key, value in config.items() if key != "model_type"}
        parameters = inspect.signature(cls).parameters
        for key, value in arguments.items():
            if not _FORMS.get(parameters[key].annotation, _is_list_of_names)(value):
                raise ConfigurationError(f"{name}: {key} is {value!r}, which no network can have.", key=key)
        with _in_float32():
            with torch.device("meta"):
                count = sum(parameter.numel() for parameter in cls(**arguments).parameters())
            if count > _MAX_PARAMETERS:
                raise ConfigurationError(
                    f"{name} asks for {count:,} parameters; visim loads {_MAX_PARAMETERS:,} at most."
                )
            return cls(**arguments)

    def load_weights(self, tensors: Mapping[str, Tensor], *, name: str = WEIGHTS) -> None:
        """Copy weights of any float type into the network; every one must be there, of the right shape, and no other.

        Args:
            tensors: the weights by their names in the state dict.
            name: the file that messages name.

        Raises:
            WeightsError: the weights do not fit; nothing is loaded then.
        """
        own = self.state_dict()
        if missing := own.keys() - tensors.keys():
            raise WeightsError(f"{name} lacks the weights {listed(missing)}: it is not of a {type(self).__name__}.")
        if unexpected := tensors.keys() - own.keys():
            raise WeightsError(
                f"{name} has unexpected weights {listed(unexpected)}: it is not of a {type(self).__name__}."
            )
        self._take_weights(tensors, name=name, assign=False)

    def _take_weights(self, tensors: Mapping[str, Tensor], *, name: str, assign: bool) -> None:
        """Check the weights' shapes and values, then make them the network's own: by reference, or by copying."""
        own = self.state_dict()
        for key, tensor in tensors.items():
            if tensor.shape != own[key].shape:
                raise WeightsError(f"{name}: {key} has shape {tuple(tensor.shape)}, not {tuple(own[key].shape)}.")
            same_kind = tensor.is_floating_point() == own[key].is_floating_point() and not tensor.is_complex()
            if not same_kind or not torch.isfinite(tensor.float()).all():
                raise WeightsError(f"{name}: {key} has a wrong type, or values that are not finite.", key=key)
            if key.endswith("running_var") and (tensor.float() < 0).any():
                raise WeightsError(f"{name}: {key} has negative values: a variance has none.", key=key)
        self.load_state_dict({key: tensor.to(own[key].dtype) for key, tensor in tensors.items()}, assign=assign)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors (float16) into a new or empty folder, or into a repo folder.

        Every other file of a repo stays, except those that describe other weights.

        Raises:
            OutputError: the folder holds files and is no repo.
            GalleryMismatchError: the repo has a gallery of other weights.
            WeightsError: a value is beyond float16.
            RepositoryError: the folder cannot be written.
        """
        with drafting(folder) as draft:
            self.write_files(draft)

    def write_files(self, draft: RepoDraft) -> None:
        """Write config.json and model.safetensors into a draft."""
        draft.write_json(CONFIG, {"model_type": self.model_type, **self.config})
        weights = {key: _stored(tensor) for key, tensor in self.state_dict().items()}
        for key, array in weights.items():
            if not np.isfinite(array).all():
                raise WeightsError(f"{key} has values beyond float16: this network cannot be stored.", key=key)
        draft.write_tensors(WEIGHTS, weights)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) pixels -> (N, D)."""
        raise NotImplementedError


@contextmanager
def _in_float32() -> Iterator[None]:
    """Build networks in float32, whatever torch's default is."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def as_tensors(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Return arrays of a file as tensors.

    Raises:
        WeightsError: torch has no such type.
    """
    try:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    except TypeError as error:
        raise WeightsError(f"A weight is of a type that no network has ({error}).") from error


def _stored(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a weight in the type that it is stored in: floats as float16, integers as they are."""
    found = tensor.detach().cpu()
    return (found.half() if found.is_floating_point() else found).numpy()


def _is_size(value: object) -> bool:
    return type(value) is int and value <= _MAX_SIZE


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT and (value.isprintable() or not value)


def _is_list_of_names(value: object) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= _MAX_NAMES
        and all(isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() for name in value)
        and len(set(value)) == len(value)
    )


_FORMS: Final[Mapping[object, Callable[[object], bool]]] = {int: _is_size, str: _is_text}
"""Type of an argument -> whether a value fits; every other argument is a list of names."""
