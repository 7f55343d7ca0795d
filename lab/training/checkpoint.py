"""The state of a training run on disk: safetensors and JSON, so that it can be resumed and shared without a pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from visim_models import repository
from visim_models.errors import DataError, VisimError

__all__ = ["CHECKPOINT_FOLDER", "load_checkpoint", "save_checkpoint"]

CHECKPOINT_FOLDER = "checkpoint"
_RANDOM_STATE = "random_state"


def save_checkpoint(run: Path, modules: dict[str, nn.Module], optimizer: Optimizer, progress: dict[str, Any]) -> None:
    """Replace the run's checkpoint by the state of these modules, the optimizer and torch's random numbers.

    Raises:
        RepositoryError: the folder cannot be written.
    """
    tensors = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for place, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{key}": value for key, value in state.items()}
    tensors[_RANDOM_STATE] = torch.get_rng_state()
    with repository.replacing_folder(run / CHECKPOINT_FOLDER) as staged:
        repository.write_tensors(staged / "state.safetensors", {key: value.clone() for key, value in tensors.items()})
        repository.write_json(staged / "progress.json", progress)


def load_checkpoint(run: Path, modules: dict[str, nn.Module], optimizer: Optimizer) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote, and give back its progress.

    Raises:
        DataError: there is no checkpoint, or it is of another network or recipe.
    """
    folder = run / CHECKPOINT_FOLDER
    try:
        tensors = repository.read_tensors(folder / "state.safetensors")
        progress = repository.read_json(folder / "progress.json")
        for name, module in modules.items():
            module.load_state_dict(_under(name, tensors))
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _under("optimizer", tensors).items():
            place, name = key.split(".")
            parameter = parameters[int(place)]
            if value.shape == parameter.shape:  # fused kernels walk memory: keep the order of the parameter
                value = torch.empty_like(parameter).copy_(value)
            state.setdefault(int(place), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        torch.set_rng_state(tensors[_RANDOM_STATE])
    except (VisimError, RuntimeError, LookupError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise DataError(f"{folder} cannot be resumed from ({error}): start afresh without --resume.") from error
    return progress


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix + "."): value for key, value in tensors.items() if key.startswith(prefix + ".")}
