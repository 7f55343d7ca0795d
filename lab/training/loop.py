"""The loop that both trainings share: steps, schedule, weight averaging, validation, logs, checkpoints."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from hub.plots import plot_losses
from lab.recipes import Recipe
from lab.training.checkpoint import load_checkpoint, save_checkpoint
from visim_models.models.base import PretrainedModel

__all__ = ["LOSSES_FILE", "Objective", "fit"]

LOSSES_FILE = "losses.csv"

_WARM_UP = 0.05
"""Share of the steps over which a cosine schedule rises to its peak."""


class Objective(Protocol):
    """What is learnt: batches and a loss to train by, batches and a loss to validate by.

    Attributes:
        steps: batches an epoch.
    """

    steps: int

    @property
    def model(self) -> PretrainedModel:
        """The network."""
        ...

    @property
    def heads(self) -> nn.Module:
        """Modules that only training needs."""
        ...

    def training_batches(self) -> Iterator[tuple[Tensor, ...]]:
        """One epoch's batches, in random order, on the CPU."""
        ...

    def training_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """The loss of one batch, (), on the network's device."""
        ...

    def validate(self, model: PretrainedModel) -> tuple[list[float], dict[str, float]]:
        """Validation losses, one a batch, and named figures of the whole validation set."""
        ...

    def picture(self, model: PretrainedModel, file: Path) -> None:
        """Draw what the network does after an epoch into a PNG."""
        ...


def fit(
    objective: Objective, recipe: Recipe, run: Path, *, resume: bool = False, device: torch.device
) -> PretrainedModel:
    """Train, and keep in the run's folder: losses.csv, losses.png, epoch_NN.png, the checkpoint and the final weights.

    Args:
        objective: what is learnt.
        recipe: how.
        run: the folder of the run.
        resume: go on from the run's checkpoint.
        device: where to compute.

    Returns:
        the network to export: the moving average where the recipe has one.

    Raises:
        DataError: `resume` without a checkpoint of this network.
    """
    model = objective.model.to(device).to(memory_format=torch.channels_last)
    objective.heads.to(device)
    parameters = [*model.parameters(), *objective.heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True)
    modules = {"model": model, "heads": objective.heads, "average": average}
    progress: dict[str, Any] = {"epoch": 0, "figures": []}
    if resume:
        progress = load_checkpoint(run, modules, optimizer)
    total = recipe.epochs * objective.steps
    exported = cast(PretrainedModel, average.module) if recipe.averaging else model
    mixed_precision = recipe.mixed_precision and _computes_bfloat16(device)
    run.mkdir(parents=True, exist_ok=True)
    with _LossLog(run / LOSSES_FILE, keep_epochs=progress["epoch"]) as log:
        for epoch in range(progress["epoch"], recipe.epochs):
            model.train()
            bar = tqdm(objective.training_batches(), total=objective.steps, desc=f"epoch {epoch + 1}/{recipe.epochs}")
            for step, batch in enumerate(bar, start=epoch * objective.steps):
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate * (_cosine(step, total) if recipe.cosine else 1)
                optimizer.zero_grad()
                with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision):
                    loss = objective.training_loss(tuple(part.to(device) for part in batch))
                loss.backward()
                optimizer.step()
                average.update_parameters(model)
                log.write(epoch + 1, "training", [loss.item()])
                bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            exported.eval()
            with torch.inference_mode():
                losses, figures = objective.validate(exported)
                objective.picture(exported, run / f"epoch_{epoch + 1:02d}.png")
            log.write(epoch + 1, "validation", losses)
            tqdm.write(f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
            progress = {"epoch": epoch + 1, "figures": [*progress["figures"], figures]}
            save_checkpoint(run, modules, optimizer, progress)
            plot_losses(run / LOSSES_FILE, run / "losses.png")
    return exported.cpu().eval()


def _computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is any faster: a processor without instructions for it is ten times slower than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def _cosine(step: int, total: int) -> float:
    """The learning rate's share of its peak: a linear rise, then half a cosine down to 0."""
    warm_up = max(1, int(_WARM_UP * total))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


class _LossLog:
    """losses.csv: epoch, part, loss; one row a batch. Resuming drops the rows of an epoch that did not end."""

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
