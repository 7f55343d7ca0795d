"""The state of a training run on disk: safetensors and JSON, so that it can be resumed and shared without a pickle."""

import json
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from visim_models.errors import DataError, VisimError
from visim_models.repo_folder.atomic import replacing_files
from visim_models.repo_folder.formats import read_json, read_tensors, write_json, write_tensors

__all__ = ["load_checkpoint", "save_checkpoint"]

_STATE: Final = "state.safetensors"
_PROGRESS: Final = "progress.json"
_RANDOM_STATE: Final = "random_state"


def save_checkpoint(
    folder: Path, modules: dict[str, nn.Module], optimizer: Optimizer, progress: dict[str, Any]
) -> None:
    """Replace a checkpoint, in one step, by the state of modules, an optimizer and torch's random numbers.

    Args:
        folder: of the checkpoint alone.
        modules: name -> module.
        optimizer: of their parameters.
        progress: JSON types, to be given back by `load_checkpoint`.

    Raises:
        RepositoryError: the folder cannot be written.
    """
    tensors = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
    tensors[_RANDOM_STATE] = torch.get_rng_state()
    with replacing_files(folder, owned={_STATE, _PROGRESS}.__contains__) as staged:
        write_tensors(staged / _STATE, {key: value.clone() for key, value in tensors.items()})
        write_json(staged / _PROGRESS, progress)


def load_checkpoint(
    folder: Path, modules: dict[str, nn.Module], optimizer: Optimizer, *, split_sha256: str
) -> dict[str, Any]:
    """Restore the state that `save_checkpoint` wrote, and return its progress.

    Args:
        folder: of the checkpoint.
        modules: name -> module.
        optimizer: of their parameters.
        split_sha256: of the split that training continues with.

    Raises:
        DataError: there is no checkpoint, or it is of another network, recipe or split.
    """
    try:
        tensors = read_tensors(folder / _STATE)
        progress = read_json(folder / _PROGRESS)
        if progress["split_sha256"] != split_sha256:
            raise DataError("it is of another split")
        for name, module in modules.items():
            module.load_state_dict(_under(name, tensors))
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _under("optimizer", tensors).items():
            index, name = key.split(".")
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:  # fused kernels walk memory: keep the order of the parameter
                value = torch.empty_like(parameter).copy_(value)
            state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        torch.set_rng_state(tensors[_RANDOM_STATE])
    except (VisimError, RuntimeError, LookupError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise DataError(
            f"{folder} cannot be resumed from ({error}): start the run again with --force.", path=folder
        ) from error
    return progress


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix + "."): value for key, value in tensors.items() if key.startswith(prefix + ".")}
