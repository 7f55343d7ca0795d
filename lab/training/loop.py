"""The loop that both tasks share: steps, schedule, weight averaging, validation, logs, checkpoints."""

import csv
import math
from collections.abc import Iterator
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
from lab.training.checkpoint import load_checkpoint, save_checkpoint
from visim_models.models import PretrainedModel

__all__ = ["Objective", "fit"]

_WARM_UP: Final = 0.05
"""Share of the steps over which a cosine schedule rises to its peak."""


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
        """Yield the batches of one epoch, counted from 0, in random order, on the CPU."""
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
        resume: continue from the run's checkpoint.

    Returns:
        The network to export, on the CPU: the moving average where the recipe has one.

    Raises:
        DataError: `resume` without a checkpoint of this network and split.
    """
    model = objective.model.to(device).to(memory_format=torch.channels_last)
    objective.heads.to(device)
    parameters = [*model.parameters(), *objective.heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True)
    modules = {"model": model, "heads": objective.heads, "average": average}
    progress: dict[str, Any] = {"epoch": 0, "figures": [], "split_sha256": split_sha256}
    if resume:
        progress = load_checkpoint(run.checkpoint, modules, optimizer, split_sha256=split_sha256)
    exported = cast(PretrainedModel, average.module) if recipe.averaging else model
    run.path.mkdir(parents=True, exist_ok=True)
    with _LossLog(run.losses, keep_epochs=progress["epoch"]) as log:
        for epoch in range(progress["epoch"], recipe.epochs):
            _train_epoch(objective, recipe, optimizer, average, log, epoch=epoch, device=device)
            exported.eval()
            with torch.inference_mode():
                losses, figures = objective.validate(exported)
                objective.picture(exported, run.path / f"epoch_{epoch + 1:02d}.png")
            log.write(epoch + 1, "validation", losses)
            tqdm.write(f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
            progress = {**progress, "epoch": epoch + 1, "figures": [*progress["figures"], figures]}
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
    bar = tqdm(objective.training_batches(epoch), total=objective.steps, desc=f"epoch {epoch + 1}/{recipe.epochs}")
    for step, batch in enumerate(bar, start=epoch * objective.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (_cosine(step, total) if recipe.cosine else 1)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision):
            loss = objective.training_loss(tuple(part.to(device) for part in batch))
        loss.backward()
        optimizer.step()
        average.update_parameters(objective.model)
        log.write(epoch + 1, "training", [loss.item()])
        bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)


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
