"""A checkpoint restores weights, optimizer and random numbers exactly, without a pickle, or says why it cannot."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lab.training.checkpoint import load_checkpoint, save_checkpoint
from tests.builders import edit_json, files_of
from visim_models import DataError


class Run:
    """A network with batch norm, and an Adam that has its moments."""

    def __init__(self, *, width: int = 4) -> None:
        self.network = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.LazyLinear(2))
        self.network(torch.zeros(2, 3, 5, 5))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.01)
        self.modules: dict[str, nn.Module] = {"model": self.network}

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.optimizer.zero_grad()
            self.network(torch.rand(4, 3, 5, 5)).square().mean().backward()
            self.optimizer.step()


def state(run: Run) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.network.state_dict().items()}


def test_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = Run()
    first.steps(3)
    progress = {"epoch": 3, "figures": [{"loss": 0.5}], "split_sha256": "ab"}
    save_checkpoint(tmp_path, first.modules, first.optimizer, progress)
    first.steps(3)
    second = Run()
    assert load_checkpoint(tmp_path, second.modules, second.optimizer, split_sha256="ab") == progress
    second.steps(3)
    for name, tensor in state(first).items():
        assert torch.equal(second.network.state_dict()[name], tensor), name


def test_no_pickle_and_no_leftovers(tmp_path: Path) -> None:
    run = Run()
    run.steps(1)
    for epoch in (1, 2):
        save_checkpoint(tmp_path / "checkpoint", run.modules, run.optimizer, {"epoch": epoch, "split_sha256": "ab"})
    assert set(files_of(tmp_path)) == {"checkpoint/progress.json", "checkpoint/state.safetensors"}
    assert load_checkpoint(tmp_path / "checkpoint", run.modules, run.optimizer, split_sha256="ab")["epoch"] == 2


def test_files_of_others_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    run = Run()
    run.steps(1)
    save_checkpoint(tmp_path, run.modules, run.optimizer, {"epoch": 1})
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    run = Run()
    run.steps(1)
    save_checkpoint(tmp_path, run.modules, run.optimizer, {"epoch": 1, "split_sha256": "ab"})
    return tmp_path


def refused(folder: Path, run: Run | None = None, *, split_sha256: str = "ab") -> None:
    fresh = run or Run()
    with pytest.raises(DataError, match="--force"):
        load_checkpoint(folder, fresh.modules, fresh.optimizer, split_sha256=split_sha256)


def test_no_checkpoint(tmp_path: Path) -> None:
    refused(tmp_path)


def test_a_checkpoint_of_another_network(saved: Path) -> None:
    refused(saved, Run(width=5))


def test_a_checkpoint_of_another_split(saved: Path) -> None:
    """What it was trained on may be held out now."""
    refused(saved, split_sha256="cd")
    edit_json(saved / "progress.json", split_sha256=...)
    refused(saved)


@pytest.mark.parametrize("file", ["progress.json", "state.safetensors"])
@pytest.mark.parametrize("half", [True, False])
def test_damaged(file: str, half: bool, saved: Path) -> None:
    path = saved / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if half else b"")
    refused(saved)


def test_a_failed_save_keeps_the_last_checkpoint(saved: Path) -> None:
    before, run = files_of(saved), Run()
    with pytest.raises(TypeError):
        save_checkpoint(saved, run.modules, run.optimizer, {"epoch": object()})
    assert files_of(saved) == before
