"""The loop trains, validates, logs, and goes on from its checkpoint."""

import csv
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lab.data import labels_of, table_of
from lab.recipes import AutoencoderRecipe, ClassifierRecipe, Recipe
from lab.run import TrainingRun
from lab.training.augmentation import Augmentation, normalized
from lab.training.autoencoder import AutoencoderObjective
from lab.training.classifier import ClassifierObjective, all_labels_of, class_names_of, contrastive_loss
from lab.training.loop import fit, load_checkpoint, save_checkpoint
from tests.builders import TINY_NETWORK, drawn_table, edit_json, files_of
from visim_models import CAR_CLASSES, DataError, ImageProcessor
from visim_models.galleries.picture_table import PictureTable
from visim_models.models import PretrainedModel

CPU = torch.device("cpu")
SPLIT = "ab"
PLAIN = AutoencoderRecipe(processor=ImageProcessor(size=8), model=TINY_NETWORK, epochs=3, batch_size=8, load_size=8)
FULL = dataclasses.replace(
    PLAIN, cosine=True, averaging=0.9, weight_decay=0.01, class_weight=0.1, principal_components=True,
    augmentation=Augmentation(scale=0.9, colour=0.1, flip=True),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order: so that two runs can be compared bit by bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(count: int, size: int, seed: int = 0, labels: Sequence[str] = CAR_CLASSES) -> PictureTable:
    return drawn_table(count, size=size, seed=seed, labels=labels)


def outliers(count: int, size: int = 100) -> PictureTable:
    return table_of(np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8))


def objective(recipe: AutoencoderRecipe, seed: int = 0) -> AutoencoderObjective:
    torch.manual_seed(seed)
    return AutoencoderObjective(images(40, 8), images(12, 8, seed=1), recipe)


def trained(
    target: AutoencoderObjective | ClassifierObjective, recipe: Recipe, run: Path, *, resume: bool = False
) -> PretrainedModel:
    return fit(target, recipe, TrainingRun(run), split_sha256=SPLIT, device=CPU, resume=resume)


def rows(run: Path) -> list[tuple[int, str, float]]:
    with (run / "losses.csv").open(newline="", encoding="utf-8") as file:
        return [(int(row["epoch"]), row["part"], float(row["loss"])) for row in csv.DictReader(file)]


class StoppedObjective(AutoencoderObjective):
    """Stops as Ctrl-C would, in the validation of the third epoch."""

    validations = 0

    def validate(self, model: nn.Module) -> tuple[list[float], dict[str, float]]:
        self.validations += 1
        if self.validations == 3:
            raise KeyboardInterrupt
        return super().validate(model)


def test_what_a_run_leaves(tmp_path: Path) -> None:
    network = trained(objective(PLAIN), PLAIN, tmp_path)
    assert not network.training
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"losses.csv", "losses.png", "epoch_01.png", "epoch_02.png", "epoch_03.png", "checkpoint"}
    logged = rows(tmp_path)
    assert [row[:2] for row in logged[:7]] == [(1, "training")] * 5 + [(1, "validation")] * 2
    assert len(logged) == 3 * (5 + 2)
    assert all(math.isfinite(loss) for *_, loss in logged)
    for name in names - {"losses.csv", "checkpoint"}:
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 50
    with Image.open(tmp_path / "epoch_01.png") as picture:
        assert picture.width / picture.height == pytest.approx(2, abs=0.2)  # 4 pairs, one above the other


def test_it_learns(tmp_path: Path) -> None:
    recipe = dataclasses.replace(PLAIN, epochs=20, learning_rate=0.01)
    trained(objective(recipe), recipe, tmp_path)
    validation = {epoch: loss for epoch, part, loss in rows(tmp_path) if part == "validation"}
    assert validation[20] < 0.9 * validation[1]


@pytest.mark.parametrize("recipe", [PLAIN, FULL], ids=["the article's", "with everything"])
def test_resumed_is_as_uninterrupted(recipe: AutoencoderRecipe, tmp_path: Path) -> None:
    whole = trained(objective(recipe), recipe, tmp_path / "whole")
    torch.manual_seed(0)
    stopped = StoppedObjective(images(40, 8), images(12, 8, seed=1), recipe)
    with pytest.raises(KeyboardInterrupt):
        trained(stopped, recipe, tmp_path / "parts")
    resumed = trained(objective(recipe, seed=99), recipe, tmp_path / "parts", resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    assert (tmp_path / "parts" / "losses.csv").read_bytes() == (tmp_path / "whole" / "losses.csv").read_bytes()


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    first, second, third = (
        trained(objective(PLAIN, seed=seed), PLAIN, tmp_path / str(number)).state_dict()
        for number, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.net.0.weight"], third["encoder.net.0.weight"])


def test_a_run_that_was_stopped_in_its_first_epoch_starts_again(tmp_path: Path) -> None:
    once = dataclasses.replace(PLAIN, epochs=1)
    first = trained(objective(once), once, tmp_path / "first").state_dict()
    resumed = trained(objective(once), once, tmp_path / "resumed", resume=True).state_dict()
    assert all(torch.equal(first[name], resumed[name]) for name in first)


def test_a_long_run_keeps_twenty_states(tmp_path: Path) -> None:
    recipe = dataclasses.replace(PLAIN, epochs=50)
    trained(objective(recipe), recipe, tmp_path)
    kept = sorted(int(path.stem.removeprefix("epoch_")) for path in tmp_path.glob("epoch_*.png"))
    assert kept == list(range(2, 51, 2))
    assert {epoch for epoch, *_ in rows(tmp_path)} == set(range(1, 51))


def test_a_loop_with_sgd_is_resumed_as_uninterrupted(tmp_path: Path) -> None:
    recipe = dataclasses.replace(FULL, optimizer="sgd")
    test_resumed_is_as_uninterrupted(recipe, tmp_path)


def test_a_frozen_code_stays_as_it_starts(tmp_path: Path) -> None:
    recipe = dataclasses.replace(FULL, frozen_code=True, class_weight=0.0)
    target = objective(recipe)
    before = {name: weight.clone() for name, weight in target.model.state_dict().items()}
    after = trained(target, recipe, tmp_path).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("decoder.conv")}


def test_a_checkpoint_of_another_split(tmp_path: Path) -> None:
    once = dataclasses.replace(PLAIN, epochs=1)
    trained(objective(once), once, tmp_path)
    with pytest.raises(DataError, match="another split"):
        fit(objective(PLAIN), PLAIN, TrainingRun(tmp_path), split_sha256="cd", device=CPU, resume=True)


def test_the_loss_by_hand() -> None:
    target = objective(dataclasses.replace(PLAIN, class_weight=0.0))
    batch = next(target.training_batches(0))
    with torch.no_grad():
        expected = ((target.model(batch[0]) - batch[0]) ** 2).mean()
        assert target.training_loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)
        with_classes = objective(dataclasses.replace(PLAIN, class_weight=1.0))
        with_classes.model.load_state_dict(target.model.state_dict())
        assert with_classes.training_loss(batch) > expected


def test_validation_and_psnr_by_hand() -> None:
    target = objective(PLAIN)
    pixels = normalized(PLAIN.processor, target.validation_pixels)
    with torch.inference_mode():
        losses, figures = target.validate(target.model.eval())
        errors = (target.model(pixels) - pixels).square().flatten(1).mean(dim=1)
    assert losses == pytest.approx([errors[:8].mean().item(), errors[8:].mean().item()], rel=1e-4)
    assert figures["psnr"] == pytest.approx(10 * math.log10(4 / figures["validation_loss"]), rel=1e-4)


def test_an_epoch_shows_each_picture_at_most_once() -> None:
    target = objective(dataclasses.replace(PLAIN, batch_size=7))
    seen = torch.cat([batch[0] for batch in target.training_batches(0)])
    assert len(seen) == 35  # the incomplete batch is left for another epoch
    assert len(seen.flatten(1).unique(dim=0)) == 35


CARS = ClassifierRecipe(
    processor=ImageProcessor(size=100), epochs=1, batch_size=6, load_size=100, label_smoothing=0.1, outlier_share=0.5,
    outlier_weight=0.5,
)  # fmt: skip


def cars(outliers: Tensor, recipe: ClassifierRecipe = CARS) -> ClassifierObjective:
    torch.manual_seed(0)
    return ClassifierObjective(
        images(12, 100), images(8, 100, seed=1), outliers, recipe, class_names=CAR_CLASSES, device=CPU
    )


def test_the_car_classifier_with_outliers(tmp_path: Path) -> None:
    target = cars(outliers(5))
    views, targets = next(target.training_batches(0))
    assert (views.shape, targets.shape) == ((9, 3, 100, 100), (9, 5))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(9))
    assert targets[:, 4].tolist() == [0] * 6 + [1] * 3
    network = trained(target, CARS, tmp_path)
    assert network(torch.zeros(1, 3, 100, 100)).shape == (1, 4)
    assert {"losses.csv", "losses.png", "epoch_01.png"} < {path.name for path in tmp_path.iterdir()}
    assert target.confusion.sum() == 8
    assert target.confusion.sum(dim=1).tolist() == [2, 2, 2, 2]  # rows are the true classes


def test_a_recipe_without_outliers_needs_none() -> None:
    recipe = dataclasses.replace(CARS, outlier_share=0.0, label_smoothing=0.0)
    target = cars(outliers(0), recipe)
    batch = next(target.training_batches(0))
    target.model.eval()
    with torch.no_grad():
        logs = target.model(normalized(CARS.processor, batch[0]))
        expected = -logs[torch.arange(6), batch[1].argmax(dim=1)].mean()
        assert target.training_loss(batch).item() == pytest.approx(expected.item(), rel=1e-4)


class _Teacher(nn.Module):
    """Sure of the third label, with features that only the brightness decides."""

    embedding_dim = 7
    class_names: ClassVar = [*CAR_CLASSES, "van", "something else"]

    def embed(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(1, 2, 3))[:, None] * torch.arange(1, 8)

    def classify(self, features: Tensor) -> Tensor:
        return torch.full((len(features), 6), -20.0).index_fill(1, torch.tensor([2]), 0.0)


def with_vans(seed: int) -> PictureTable:
    return images(12, 100, seed, labels=[*(CAR_CLASSES * 2), "van", "van", "van", "van"])


def test_further_kinds_and_a_teacher_teach_the_features_alone(tmp_path: Path) -> None:
    """Pictures of a fifth label are learnt from, and the network keeps four outputs."""
    taught = dataclasses.replace(
        CARS, label_weight=0.5, teacher=dataclasses.replace(CARS, processor=ImageProcessor(size=120)),
        teacher_share=0.5, hint_weight=1.0, cut_mix=1.0, abstract_share=1.0, epochs=2,
    )  # fmt: skip
    torch.manual_seed(0)
    target = ClassifierObjective(
        with_vans(0), with_vans(1), outliers(5), taught, class_names=CAR_CLASSES, device=CPU, teacher=_Teacher()
    )
    views, targets = next(target.training_batches(0))
    assert (views.shape, targets.shape) == ((9, 3, 120, 120), (9, 6))  # the size that the teacher sees
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(9))
    network = trained(target, taught, tmp_path)
    assert network(torch.zeros(1, 3, 100, 100)).shape == (1, 4)
    assert network.config["class_names"] == list(CAR_CLASSES)
    assert target.confusion.sum() == 8  # the vans are not validated on


def test_a_teachers_probabilities_are_learnt_in_place_of_the_labels(tmp_path: Path) -> None:
    def losses(share: float) -> list[float]:
        recipe = dataclasses.replace(
            CARS, outlier_share=0.0, outlier_weight=0.0, label_smoothing=0.0, teacher=CARS, teacher_share=share
        )
        torch.manual_seed(0)
        target = ClassifierObjective(
            with_vans(0), with_vans(1), outliers(0), recipe,
            class_names=CAR_CLASSES, device=CPU, teacher=_Teacher(),
        )  # fmt: skip
        target.model.eval()
        views = torch.full((6, 3, 100, 100), 100.0)
        logs = target.model(normalized(recipe.processor, views))[0]
        labels = torch.eye(6)[[0, 0, 1, 1, 2, 3]]
        by_hand = [-logs[label].item() for label in (0, 0, 1, 1, 2, 3)], [-logs[2].item()] * 6
        found = target.training_loss((views, labels)).item()
        return [found, sum(by_hand[0]) / 6, sum(by_hand[1]) / 6]

    with torch.no_grad():
        by_labels, expected, _ = losses(0.0)
        assert by_labels == pytest.approx(expected, rel=1e-4)
        by_teacher, _, expected = losses(1.0)
        assert by_teacher == pytest.approx(expected, rel=1e-4)


def test_a_teacher_tells_every_label_and_the_outliers(tmp_path: Path) -> None:
    names = all_labels_of(labels_of(with_vans(0)))
    assert names == [*CAR_CLASSES, "van", "something else"]
    some = outliers(5)
    recipe = dataclasses.replace(CARS, outlier_weight=0.0)
    target = ClassifierObjective(with_vans(0), with_vans(1), some, recipe, class_names=names, device=CPU)
    assert len(target.heads) == 0
    network = trained(target, recipe, tmp_path)
    assert network(torch.zeros(1, 3, 100, 100)).shape == (1, 6)
    assert target.confusion.shape == (6, 6)
    assert target.confusion.sum() == 12


def test_no_picture_to_validate_the_classes_on() -> None:
    vans = images(8, 100, seed=1, labels=["van"])
    nothing = outliers(0)
    with pytest.raises(DataError, match="No held-out picture"):
        ClassifierObjective(images(12, 100), vans, nothing, CARS, class_names=CAR_CLASSES, device=CPU)


def test_the_loss_of_a_further_kind_is_not_that_of_the_classes() -> None:
    recipe = dataclasses.replace(CARS, outlier_share=0.0, outlier_weight=0.0, label_smoothing=0.0)
    nothing = outliers(0)
    target = ClassifierObjective(with_vans(0), with_vans(1), nothing, recipe, class_names=CAR_CLASSES, device=CPU)
    target.model.eval()
    views, targets = 255 * torch.rand(3, 3, 100, 100), torch.eye(6)[[0, 1, 4]]
    with torch.no_grad():
        without = target.training_loss((views[:2], targets[:2]))
        torch.testing.assert_close(target.training_loss((views, targets)), without)


def test_a_small_classifier_starts_by_whitening(tmp_path: Path) -> None:
    recipe = ClassifierRecipe(
        network="cifar10-classifier", processor=ImageProcessor(size=32), epochs=1, batch_size=6, load_size=32
    )
    torch.manual_seed(0)
    nothing = outliers(0, 32)
    target = ClassifierObjective(
        images(12, 32), images(8, 32, seed=1), nothing, recipe, class_names=CAR_CLASSES, device=CPU
    )
    before = target.model.state_dict()["whiten.weight"].clone()
    network = trained(target, recipe, tmp_path)
    assert network.embed(torch.zeros(2, 3, 32, 32)).shape == (2, 256)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 4)
    assert torch.equal(network.state_dict()["whiten.weight"], before)
    torch.testing.assert_close(before[:12], -before[12:])


def test_classes_of_ones_own(tmp_path: Path) -> None:
    names = ["cabriolet", "estate", "van"]
    images_of = [images(12, 100, seed, labels=names) for seed in (0, 1)]
    torch.manual_seed(0)
    target = ClassifierObjective(*images_of, outliers(5), CARS, class_names=names, device=CPU)
    views, targets = next(target.training_batches(0))
    assert (views.shape, targets.shape) == ((9, 3, 100, 100), (9, 4))
    network = trained(target, CARS, tmp_path)
    assert network.config["class_names"] == names
    assert network(torch.zeros(2, 3, 100, 100)).shape == (2, 3)
    assert target.confusion.sum(dim=1).tolist() == [4, 4, 4]


def test_the_order_of_the_classes() -> None:
    assert class_names_of(["truck", "suv", "sedan", "coupe", "suv"]) == ["sedan", "coupe", "suv", "truck"]
    assert class_names_of(["suv", "sedan"]) == ["sedan", "suv"]
    assert class_names_of(["van", "truck", "suv", "sedan", "coupe"]) == ["sedan", "coupe", "suv", "truck"]
    assert class_names_of(["van", "truck", "suv", "coupe"]) == ["coupe", "suv", "truck", "van"]
    for labels in (["suv", "suv"], ["", "suv"], []):
        with pytest.raises(DataError, match="folder"):
            class_names_of(labels)


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


def test_the_state_of_another_split(saved: Path) -> None:
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


def test_second_labels_are_told_apart_by_a_head_of_the_training_alone(tmp_path: Path) -> None:
    recipe = dataclasses.replace(CARS, second_weight=1.0, cut_mix=0.0, label_smoothing=0.0)
    second = np.array([0, 1, 2, -1] * 3)
    torch.manual_seed(0)
    train = images(12, 100).with_arrays(second=second)
    target = ClassifierObjective(
        train, images(8, 100, seed=1), outliers(5), recipe, class_names=CAR_CLASSES, device=CPU
    )  # fmt: skip
    views, targets = next(target.training_batches(0))
    assert targets.shape == (len(views), 5 + 3)
    assert targets[-1].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
    with torch.no_grad():
        with_second = target.training_loss((views, targets))
        target.recipe = dataclasses.replace(recipe, second_weight=0.0)
        assert with_second > target.training_loss((views, targets))
        target.recipe = recipe
        nobodys = torch.cat([targets[:, :5], torch.zeros(len(targets), 3)], dim=1)
        target.recipe = dataclasses.replace(recipe, second_weight=0.0)
        without = target.training_loss((views, nobodys))
        target.recipe = recipe
        assert target.training_loss((views, nobodys)) == without
    network = trained(target, recipe, tmp_path)
    assert network(torch.zeros(2, 3, 100, 100)).shape == (2, 4)
    assert not [name for name in network.state_dict() if "second" in name]


def test_a_doubted_label_shares_its_probability() -> None:
    train = images(12, 100).with_arrays(doubted=np.array([3] + [-1] * 11))
    target = ClassifierObjective(
        train, images(8, 100, seed=1), outliers(5), CARS, class_names=CAR_CLASSES, device=CPU
    )  # fmt: skip
    assert target.views.targets[0].tolist() == [0.5, 0, 0, 0.5, 0]
    assert target.views.targets[1].tolist() == [0, 1, 0, 0, 0]


def test_the_contrastive_loss_by_hand() -> None:
    """Of three views two are of one label; the third, of two labels, is only kept away from."""
    features = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 2.0]])
    targets = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5]])
    cosines = {(0, 1): 0.8, (0, 2): 0.0, (1, 2): 0.6}

    def one(pair: tuple[int, int], other: tuple[int, int]) -> float:
        positive, negative = math.exp(10 * cosines[pair]), math.exp(10 * cosines[other])
        return -math.log(positive / (positive + negative))

    expected = (one((0, 1), (0, 2)) + one((0, 1), (1, 2))) / 2
    assert contrastive_loss(features, targets).item() == pytest.approx(expected, rel=1e-5)
    assert contrastive_loss(features[:1], targets[:1]).item() == 0
    features.requires_grad_()
    contrastive_loss(features, targets).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_validation_means_over_the_sources() -> None:
    """Else the source with the most pictures would choose the recipe."""
    held_out = images(8, 100, seed=1).with_arrays(source=np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    target = ClassifierObjective(images(12, 100), held_out, outliers(5), CARS, class_names=CAR_CLASSES, device=CPU)
    target.model.eval()
    with torch.inference_mode():
        _, figures = target.validate(target.model)
        pixels = normalized(CARS.processor, torch.from_numpy(held_out["pixels"]))
        found = target.model(pixels).argmax(dim=1).numpy() == np.arange(8) % 4
    assert figures["accuracy"] == pytest.approx(found.mean())
    assert figures["mean_accuracy"] == pytest.approx((found[:6].mean() + found[6:].mean()) / 2)
