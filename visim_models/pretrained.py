"""A network that is saved to, and loaded from, a repo folder: config.json and model.safetensors, strictly."""

import inspect
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from visim_models import repository
from visim_models.errors import ConfigurationError, WeightsError

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "PretrainedModel"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_MAX_PARAMETERS = 2**28
"""A gigabyte in memory: ten times the largest network here, and nothing that a hostile config.json could exhaust."""

_NAMES_SHOWN = 5


class PretrainedModel(nn.Module):
    """What every network of visim can do besides its own forward pass.

    Attributes:
        model_type: names the network in config.json.
        config: the arguments that the network was built with.
    """

    model_type: ClassVar[str]

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> Self:
        """The network of a folder or of a Hub repo, on the CPU, in float32 and evaluation mode.

        Args: those of `visim_models.repository.resolve`.

        Raises:
            RepositoryError: the folder or repo cannot be had.
            ConfigurationError: config.json is missing, or has a missing, unknown or unfit key.
            WeightsError: a weight is missing, unexpected, of another shape or not finite, or the file is damaged.
        """
        folder = repository.resolve(
            source, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        model = cls.from_config(repository.read_json(folder / CONFIG_FILE), name=str(folder / CONFIG_FILE))
        model.load_weights(repository.read_tensors(folder / WEIGHTS_FILE), name=str(folder / WEIGHTS_FILE))
        return model.eval()

    @classmethod
    def from_config(cls, config: dict[str, Any], *, name: str = CONFIG_FILE) -> Self:
        """A network with fresh weights from what config.json holds; every argument must be there, and no other.

        Raises:
            ConfigurationError: a missing or unknown key, or a value that does not fit; `name` is the file it names.
        """
        expected = {"model_type", *inspect.signature(cls).parameters}
        if missing := expected - set(config):
            raise ConfigurationError(f"{name} lacks {sorted(missing)}: restore the file.")
        if unknown := set(config) - expected:
            raise ConfigurationError(f"{name} has unknown keys {sorted(unknown)}: take them out, or update visim.")
        if config["model_type"] != cls.model_type:
            raise ConfigurationError(
                f"{name} is of a {config['model_type']!r}, but {cls.__name__} loads a {cls.model_type!r}."
            )
        arguments = {key: value for key, value in config.items() if key != "model_type"}
        for key, value in arguments.items():
            if type(value) is not int or value > 2**14:
                raise ConfigurationError(f"{name}: {key} is {value!r}, not a whole number that a network can have.")
        with torch.device("meta"):  # sizes without memory
            count = sum(parameter.numel() for parameter in cls(**arguments).parameters())
        if count > _MAX_PARAMETERS:
            raise ConfigurationError(f"{name} asks for {count:,} parameters; visim loads {_MAX_PARAMETERS:,} at most.")
        return cls(**arguments)

    def load_weights(self, tensors: dict[str, Tensor], *, name: str = WEIGHTS_FILE) -> None:
        """Take over weights of any float type; every one must be there, of the right shape, and no other.

        Raises:
            WeightsError: and nothing is loaded. `name` is the file in the message.
        """
        own = self.state_dict()
        if missing := own.keys() - tensors.keys():
            raise WeightsError(f"{name} lacks the weights {_listed(missing)}: it is not of a {type(self).__name__}.")
        if unexpected := tensors.keys() - own.keys():
            raise WeightsError(
                f"{name} has unexpected weights {_listed(unexpected)}: it is not of a {type(self).__name__}."
            )
        for key, tensor in tensors.items():
            if tensor.shape != own[key].shape:
                raise WeightsError(f"{name}: {key} has shape {tuple(tensor.shape)}, not {tuple(own[key].shape)}.")
            same_kind = tensor.is_floating_point() == own[key].is_floating_point() and not tensor.is_complex()
            if not same_kind or not torch.isfinite(tensor.float()).all():
                raise WeightsError(f"{name}: {key} has a wrong type, or values that are not finite.")
            if key.endswith("running_var") and (tensor.float() < 0).any():
                raise WeightsError(f"{name}: {key} has negative values: a variance has none.")
        self.load_state_dict(tensors)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors (float16) as a new folder in the place of `folder`.

        Raises:
            RepositoryError: the place cannot be written.
        """
        with repository.replacing_folder(Path(folder)) as staged:
            self.write_files(staged)

    def write_files(self, folder: Path) -> None:
        """Write the two files into an existing folder."""
        repository.write_json(folder / CONFIG_FILE, {"model_type": self.model_type, **self.config})
        weights = {key: repository.to_storage(tensor) for key, tensor in self.state_dict().items()}
        for key, tensor in weights.items():
            if not torch.isfinite(tensor).all():
                raise WeightsError(f"{key} has values beyond float16: this network cannot be stored.")
        repository.write_tensors(folder / WEIGHTS_FILE, weights)

    def embed(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) pixels -> (N, D) embeddings: what a gallery compares."""
        raise NotImplementedError

    def strangeness(self, pixels: Tensor, embeddings: Tensor) -> dict[str, Tensor]:
        """Name -> (N,): what the network itself can tell of how strange pictures are, higher is stranger."""
        raise NotImplementedError


def _listed(names: Collection[str]) -> str:
    """The first names, and how many more there are: a message is to be read."""
    shown = sorted(names)[:_NAMES_SHOWN]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
