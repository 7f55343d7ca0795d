"""Detectors: weights that are best without being negative, and p-values that rest on pictures of their own."""

from itertools import chain, combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lab.fitting import DetectorFit, embed_images, fit_logistic, measure_against, measure_images
from tests.builders import TINY_SIZE, drawn_pictures, tiny_autoencoder, tiny_similarity
from visim_models import Gallery, ImageProcessor
from visim_models.galleries.synthetic import synthetic_outliers
from visim_models.ood import PROBE

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
    weight, bias = fit_logistic(one, other, penalty=PENALTY, is_non_negative=True)
    assert (weight >= 0).all()
    found = objective(one, other, weight.double(), torch.tensor(bias))
    # The best of all fits that use some of the inputs, and whose weights are not negative, is the constrained best.
    best = torch.inf
    for chosen in chain.from_iterable(combinations(range(4), size) for size in range(1, 5)):
        columns = list(chosen)
        part, part_bias = fit_logistic(one[:, columns], other[:, columns], penalty=PENALTY)
        if (part >= 0).all():
            value = objective(one[:, columns], other[:, columns], part.double(), torch.tensor(part_bias))
            best = min(best, value.item())
    assert found.item() == pytest.approx(best, abs=1e-6)


def test_clipping_afterwards_would_be_worse() -> None:
    inside, outside = two_sides(0)
    one, other, _ = standardised(inside, outside)
    free, free_bias = fit_logistic(one, other, penalty=PENALTY)
    assert (free < 0).any()
    constrained, bias = fit_logistic(one, other, penalty=PENALTY, is_non_negative=True)
    clipped = objective(one, other, free.double().clamp(min=0), torch.tensor(free_bias))
    assert objective(one, other, constrained.double(), torch.tensor(bias)) < clipped - 1e-3


def test_a_logistic_regression_is_at_its_minimum_and_both_sides_weigh_the_same() -> None:
    inside, outside = two_sides(1)
    weight, bias = fit_logistic(inside, outside, penalty=PENALTY)
    one, other, std = standardised(inside, outside)
    free = (weight.double() * std).requires_grad_()
    mean = torch.cat([inside, outside]).double().mean(dim=0)
    moved = (bias + weight.double() @ mean).clone().requires_grad_()
    objective(one, other, free, moved).backward()
    assert free.grad is not None
    assert moved.grad is not None
    assert torch.cat([free.grad, moved.grad[None]]).abs().max() < 1e-4
    doubled, _ = fit_logistic(inside, outside.repeat(2, 1), penalty=PENALTY)
    assert not torch.allclose(doubled, torch.zeros(4))


def pictures(count: int, seed: int) -> Tensor:
    return torch.stack(
        [torch.from_numpy(picture).permute(2, 0, 1) for picture in drawn_pictures(count, size=TINY_SIZE, seed=seed)]
    )


@pytest.fixture(scope="module")
def known() -> Gallery:
    embeddings = embed_images(tiny_autoencoder(), PROCESSOR, pictures(40, seed=1))
    return Gallery([f"{index}.png" for index in range(40)], ["x"] * 40, embeddings)


NOISE = torch.from_numpy(synthetic_outliers("noise", 40, TINY_SIZE, seed=0))


def test_the_calibration_scores_are_those_of_the_calibration_pictures(known: Gallery) -> None:
    model, calibration = tiny_autoencoder(), pictures(50, seed=3)
    detector = DetectorFit.measure(
        known, model, PROCESSOR, fit=pictures(30, seed=2), calibration=calibration, outliers=NOISE
    ).detector()
    expected = detector.score(measure_against(known, model, PROCESSOR, calibration)).sort().values
    torch.testing.assert_close(detector.calibration_scores, expected)
    assert set(detector.weightings) == {
        "top_distance", "neighbour_distance", "embedding_norm", "reconstruction_error", PROBE
    }  # fmt: skip
    assert all(each.weight >= 0 for each in detector.weightings.values())


def test_calibration_pictures_decide_over_nothing_but_the_p_values(known: Gallery) -> None:
    one, other = (
        DetectorFit.measure(
            known, tiny_autoencoder(), PROCESSOR,
            fit=pictures(30, seed=2), calibration=pictures(20, seed=seed), outliers=NOISE,
        ).detector()
        for seed in (3, 4)
    )  # fmt: skip
    assert one.weightings == other.weightings
    assert one.probe_weight is not None
    assert other.probe_weight is not None
    assert torch.equal(one.probe_weight, other.probe_weight)
    assert not torch.equal(one.calibration_scores, other.calibration_scores)


def test_strange_pictures_score_higher(known: Gallery) -> None:
    model, pages = tiny_autoencoder(), torch.from_numpy(synthetic_outliers("text", 80, TINY_SIZE, seed=0))
    detector = DetectorFit.measure(
        known, model, PROCESSOR, fit=pictures(60, seed=2), calibration=pictures(60, seed=3), outliers=pages
    ).detector()
    fresh = torch.from_numpy(synthetic_outliers("text", 40, TINY_SIZE, seed=77))
    strange = detector.verdicts(measure_against(known, model, PROCESSOR, fresh))
    usual = detector.verdicts(measure_against(known, model, PROCESSOR, pictures(60, seed=5)))
    assert sum(verdict.is_ood for verdict in strange) >= 20  # of 40: the network is untrained
    assert sum(verdict.is_ood for verdict in usual) <= 9  # of 60, set for 3


def test_measured_as_a_query_is() -> None:
    similarity = tiny_similarity()
    shown = pictures(5, seed=9)
    batch = measure_images(similarity, shown)
    single = similarity.measure(similarity.processor.normalize(shown))
    torch.testing.assert_close(batch.embeddings, single.embeddings)
    assert batch.values.keys() == single.values.keys()
    for name, values in single.values.items():
        torch.testing.assert_close(batch.values[name], values, msg=name)
    torch.testing.assert_close(embed_images(similarity.model, similarity.processor, shown), single.embeddings)
