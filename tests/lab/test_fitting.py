"""Detectors: weights that are best without being negative, and p-values that rest on pictures of their own."""

from itertools import chain, combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lab.data import table_of
from lab.fitting import DetectorFit, embed_images, fit_logistic, measure_images
from tests.builders import TINY_SIZE, drawn_table, tiny_autoencoder, tiny_similarity
from visim_models import Gallery, ImageProcessor
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.synthetic import synthetic_outliers
from visim_models.models import TorchNetwork
from visim_models.ood import PROBE, OutOfDistributionDetector

PROCESSOR = ImageProcessor(size=TINY_SIZE)
PENALTY = 1e-3


def two_sides(seed: int, width: int = 4) -> tuple[Tensor, Tensor]:
    """The first input is higher outside, the second follows it with noise, and the last is lower outside."""
    generator = torch.Generator().manual_seed(seed)
    inside, outside = torch.randn(150, width, generator=generator), torch.randn(90, width, generator=generator)
    outside[:, 0] += 2
    for side in (inside, outside):
        side[:, 1] += 2 * side[:, 0]
    outside[:, -1] -= 1
    return inside, outside


def fitted(inside: Tensor, outside: Tensor, *, is_non_negative: bool = False) -> tuple[Tensor, float]:
    arrays = inside.numpy(), outside.numpy()
    weight, bias = fit_logistic(*arrays, penalty=PENALTY, is_non_negative=is_non_negative)
    return torch.from_numpy(weight), bias


def objective(inside: Tensor, outside: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The penalised loss of standardised inputs."""
    rows = torch.cat([inside, outside])
    targets = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))]).to(rows.dtype)
    losses = F.binary_cross_entropy_with_logits(rows @ weight + bias, targets, reduction="none")
    return (losses[targets == 0].mean() + losses[targets == 1].mean()) / 2 + PENALTY * weight.square().sum()


def standardised(inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = torch.cat([inside, outside]).double()
    mean, std = rows.mean(dim=0), rows.std(dim=0)
    return (inside - mean) / std, (outside - mean) / std, std


@pytest.mark.parametrize("seed", range(4))
def test_no_weights_without_a_negative_one_are_better(seed: int) -> None:
    inside, outside = two_sides(seed)
    one, other, _ = standardised(inside, outside)
    weight, bias = fitted(one, other, is_non_negative=True)
    assert (weight >= 0).all()
    found = objective(one, other, weight.double(), torch.tensor(bias))
    # The best of all fits that use some of the inputs, and whose weights are not negative, is the constrained best.
    best = torch.inf
    for chosen in chain.from_iterable(combinations(range(4), size) for size in range(1, 5)):
        columns = list(chosen)
        part, part_bias = fitted(one[:, columns], other[:, columns])
        if (part >= 0).all():
            value = objective(one[:, columns], other[:, columns], part.double(), torch.tensor(part_bias))
            best = min(best, value.item())
    assert found.item() == pytest.approx(best, abs=1e-6)


def test_clipping_afterwards_would_be_worse() -> None:
    inside, outside = two_sides(0)
    one, other, _ = standardised(inside, outside)
    free, free_bias = fitted(one, other)
    assert (free < 0).any()
    constrained, bias = fitted(one, other, is_non_negative=True)
    clipped = objective(one, other, free.double().clamp(min=0), torch.tensor(free_bias))
    assert objective(one, other, constrained.double(), torch.tensor(bias)) < clipped - 1e-3


def test_a_logistic_regression_is_at_its_minimum_and_both_sides_weigh_the_same() -> None:
    inside, outside = two_sides(1)
    weight, bias = fitted(inside, outside)
    one, other, std = standardised(inside, outside)
    free = (weight.double() * std).requires_grad_()
    mean = torch.cat([inside, outside]).double().mean(dim=0)
    moved = (bias + weight.double() @ mean).clone().requires_grad_()
    objective(one, other, free, moved).backward()
    assert free.grad is not None
    assert moved.grad is not None
    assert torch.cat([free.grad, moved.grad[None]]).abs().max() < 1e-4
    doubled, _ = fitted(inside, outside.repeat(2, 1))
    assert not torch.allclose(doubled, torch.zeros(4))


def pictures(count: int, seed: int) -> PictureTable:
    return drawn_table(count, size=TINY_SIZE, seed=seed)


def drawn(kind: str, count: int, seed: int = 0) -> PictureTable:
    return table_of(synthetic_outliers(kind, count, TINY_SIZE, seed=seed))


@pytest.fixture(scope="module")
def network() -> TorchNetwork:
    return TorchNetwork(tiny_autoencoder())


@pytest.fixture(scope="module")
def known(network: TorchNetwork) -> Gallery:
    embeddings = embed_images(network, PROCESSOR, pictures(40, seed=1)["pixels"])
    return Gallery([f"{index}.png" for index in range(40)], ["x"] * 40, embeddings)


def detector_of(
    known: Gallery, network: TorchNetwork, *, outliers: PictureTable, calibration: PictureTable
) -> OutOfDistributionDetector:
    fit = pictures(60, seed=2)
    return DetectorFit.measure(
        known, network, PROCESSOR, fit=fit, calibration=calibration, outliers=outliers
    ).detector()


def test_the_calibration_scores_are_those_of_the_calibration_pictures(known: Gallery, network: TorchNetwork) -> None:
    calibration = pictures(50, seed=3)
    detector = detector_of(known, network, outliers=drawn("noise", 40), calibration=calibration)
    measured = measure_images(calibration, network=network, processor=PROCESSOR, gallery=known)
    expected = np.sort(detector.score(measured.measured, measured["embeddings"]))
    np.testing.assert_allclose(detector.calibration_scores, expected, rtol=1e-5)
    assert set(detector.weightings) == {
        "top_distance", "neighbour_distance", "embedding_norm", "reconstruction_error", PROBE
    }  # fmt: skip
    assert all(each.weight >= 0 for each in detector.weightings.values())


def test_calibration_pictures_decide_over_nothing_but_the_p_values(known: Gallery, network: TorchNetwork) -> None:
    one, other = (
        detector_of(known, network, outliers=drawn("noise", 40), calibration=pictures(20, seed=seed)) for seed in (3, 4)
    )
    assert one.weightings == other.weightings
    assert one.probe_weight is not None
    assert other.probe_weight is not None
    assert np.array_equal(one.probe_weight, other.probe_weight)
    assert not np.array_equal(one.calibration_scores, other.calibration_scores)


def test_strange_pictures_score_higher(known: Gallery, network: TorchNetwork) -> None:
    detector = detector_of(known, network, outliers=drawn("text", 80), calibration=pictures(60, seed=3))

    def called_strange(pictures: PictureTable) -> int:
        found = measure_images(pictures, network=network, processor=PROCESSOR, gallery=known)
        return sum(verdict.is_ood for verdict in detector.verdicts(found.measured, found["embeddings"]))

    assert called_strange(drawn("text", 40, seed=77)) >= 20  # of 40: the network is untrained
    assert called_strange(pictures(60, seed=5)) <= 9  # of 60, set for 3


def test_measured_as_a_query_is() -> None:
    similarity, shown = tiny_similarity(), pictures(5, seed=9)
    network, processor = similarity.network, similarity.processor
    batch = measure_images(shown, network=network, processor=processor, gallery=similarity.gallery)
    values, embeddings, *_ = similarity._measure(processor.normalize(shown["pixels"]), similarity.gallery, 1)
    np.testing.assert_allclose(batch["embeddings"], embeddings, rtol=1e-5, atol=1e-6)
    assert batch.measured.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_allclose(batch.measured[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert batch.file_names == shown.file_names
