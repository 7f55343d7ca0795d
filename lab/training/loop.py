"""The loop that both tasks share: steps, schedule, weight averaging, validation, logs, checkpoints."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from hub.plots import plot_losses
from lab.recipes import Recipe
from lab.run import TrainingRun
from visim_models.errors import DataError, VisimError
from visim_models.models import PretrainedModel
from visim_models.repo_folder.atomic import replacing_files
from visim_models.repo_folder.formats import read_json, read_tensors, write_json, write_tensors

__all__ = ["Objective", "fit", "load_checkpoint", "save_checkpoint"]

_Batch = tuple[Tensor, ...]


def made_ahead(batches: Iterator[_Batch], device: torch.device) -> Iterator[_Batch]:
    """Yield the same batches on the device; on a GPU, one ahead, from a thread with a stream of its own."""
    if device.type != "cuda":
        for batch in batches:
            yield tuple(part.to(device) for part in batch)
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))

    def make() -> tuple[_Batch | None, torch.cuda.Event]:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            made = next(batches, None)
            there = None if made is None else tuple(part.to(device) for part in made)
            return there, stream.record_event()

    with ThreadPoolExecutor(1, thread_name_prefix="visim-ahead") as thread:
        coming = thread.submit(make)
        while True:
            there, done = coming.result()
            if there is None:
                return
            coming = thread.submit(make)
            current = torch.cuda.current_stream(device)
            current.wait_event(done)
            for part in there:
                part.record_stream(current)
            yield there


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
        write_tensors(staged / _STATE, {key: value.detach().cpu().numpy() for key, value in tensors.items()})
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
        tensors = {key: torch.from_numpy(value) for key, value in read_tensors(folder / _STATE).items()}
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


_WARM_UP: Final = 0.05
"""Share of the steps over which a cosine schedule rises to its peak."""
_KEPT: Final = 20
"""Checkpoints and pictures of a run: they take longer than a short epoch."""

_OPTIMIZERS: Final[Mapping[str, Callable[..., Optimizer]]] = {
    "adamw": partial(torch.optim.AdamW, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
}


class Objective(Protocol):
    """A network with the batches and losses that it is trained and validated by.

    Attributes:
        steps: batches in an epoch.
    """

    steps: int

    @property
    def model(self) -> PretrainedModel:
        """Return the network."""
        ...

    @property
    def heads(self) -> nn.Module:
        """Return the modules that only training needs."""
        ...

    def training_batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches of one epoch, counted from 0, in random order, on any device."""
        ...

    def training_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Compute the loss of one batch, (), on the network's device."""
        ...

    def validate(self, model: PretrainedModel) -> tuple[list[float], dict[str, float]]:
        """Compute the validation losses, one for each batch, and named figures of the whole validation part."""
        ...

    def picture(self, model: PretrainedModel, file: Path) -> None:
        """Draw what the network does after an epoch into a PNG."""
        ...


def fit(
    objective: Objective,
    recipe: Recipe,
    run: TrainingRun,
    *,
    split_sha256: str,
    device: torch.device,
    resume: bool = False,
) -> PretrainedModel:
    """Train a network; write losses.csv, losses.png, epoch_NN.png and the checkpoint into the run's folder.

    Args:
        objective: the network and its losses.
        recipe: the settings.
        run: the run.
        split_sha256: of the split that the objective's pictures come from; the checkpoint records it.
        device: where to compute.
        resume: continue from the run's checkpoint, if it has one.

    Returns:
        The network to export, on the CPU: the moving average where the recipe has one.

    Raises:
        DataError: `resume` with a checkpoint of another network or split.
    """
    model = objective.model.to(device).to(memory_format=torch.channels_last)
    objective.heads.to(device)
    parameters = [*model.parameters(), *objective.heads.parameters()]
    optimizer = _OPTIMIZERS[recipe.optimizer](parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True)
    modules = {"model": model, "heads": objective.heads, "average": average}
    progress: dict[str, Any] = {"epoch": 0, "figures": [], "split_sha256": split_sha256}
    if resume and run.has_checkpoint:
        progress = load_checkpoint(run.checkpoint, modules, optimizer, split_sha256=split_sha256)
    exported = cast(PretrainedModel, average.module) if recipe.averaging else model
    run.path.mkdir(parents=True, exist_ok=True)
    with _LossLog(run.losses, keep_epochs=progress["epoch"]) as log:
        for epoch in range(progress["epoch"], recipe.epochs):
            _train_epoch(objective, recipe, optimizer, average, log, epoch=epoch, device=device)
            exported.eval()
            with torch.inference_mode():
                losses, figures = objective.validate(exported)
            log.write(epoch + 1, "validation", losses)
            tqdm.write(f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
            progress = {**progress, "epoch": epoch + 1, "figures": [*progress["figures"], figures]}
            if _is_kept(epoch + 1, recipe.epochs):
                with torch.inference_mode():
                    objective.picture(exported, run.path / f"epoch_{epoch + 1:02d}.png")
                save_checkpoint(run.checkpoint, modules, optimizer, progress)
                plot_losses(run.losses, run.losses.with_suffix(".png"))
    return exported.cpu().eval()


def _train_epoch(
    objective: Objective,
    recipe: Recipe,
    optimizer: Optimizer,
    average: AveragedModel,
    log: "_LossLog",
    *,
    epoch: int,
    device: torch.device,
) -> None:
    objective.model.train()
    mixed_precision = recipe.mixed_precision and _computes_bfloat16(device)
    total = recipe.epochs * objective.steps
    batches = made_ahead(objective.training_batches(epoch), device)
    bar = tqdm(batches, total=objective.steps, desc=f"epoch {epoch + 1}/{recipe.epochs}")
    losses = []
    for step, batch in enumerate(bar, start=epoch * objective.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (_cosine(step, total) if recipe.cosine else 1)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision):
            loss = objective.training_loss(batch)
        loss.backward()
        optimizer.step()
        average.update_parameters(objective.model)
        losses.append(loss.detach())
    log.write(epoch + 1, "training", torch.stack(losses).tolist())  # at the end: no step waits for a GPU


def _is_kept(epoch: int, epochs: int) -> bool:
    """Return whether the state after an epoch, counted from 1, is kept: after at most `_KEPT` of them, and the last."""
    return epoch % max(1, epochs // _KEPT) == 0 or epoch == epochs


def _computes_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 is any faster: a processor without instructions for it takes ten times as long."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def _cosine(step: int, total: int) -> float:
    """Return the learning rate's share of its peak: a linear rise, then half a cosine down to 0."""
    warm_up = max(1, int(_WARM_UP * total))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


class _LossLog:
    """losses.csv: epoch, part, loss; one row for each batch. Resuming drops the rows of an epoch that did not end."""

    def __init__(self, path: Path, *, keep_epochs: int) -> None:
        kept = []
        if keep_epochs and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.reader(file) if row[0].isdigit() and int(row[0]) <= keep_epochs]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(["epoch", "part", "loss"])
        self._writer.writerows(kept)

    def write(self, epoch: int, part: str, losses: list[float]) -> None:
        self._writer.writerows([epoch, part, f"{loss:.6f}"] for loss in losses)
        if part == "validation":
            self._file.flush()

    def __enter__(self) -> "_LossLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
