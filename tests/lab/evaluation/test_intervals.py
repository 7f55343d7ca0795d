"""Sampling intervals against published values and against draws."""

import math

import pytest
import torch

from lab.evaluation.intervals import auroc_interval, independent_draws, mean_interval, share_interval, wilson


@pytest.mark.parametrize(
    ("hits", "draws", "low", "high"),
    [
        # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(hits: int, draws: int, low: float, high: float) -> None:
    assert wilson(hits / draws, draws) == pytest.approx((low, high), abs=5e-5)


def test_shares_of_0_and_1_still_have_an_interval() -> None:
    assert share_interval(torch.ones(20)) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)
    assert share_interval(torch.zeros(1)) == pytest.approx((0.0, 0.7935), abs=5e-5)


def test_ungrouped_hits_are_as_many_draws() -> None:
    assert independent_draws(torch.tensor([1.0, 0, 0, 1, 1])) == pytest.approx(5)


def test_pictures_that_agree_in_groups_count_once() -> None:
    values = torch.tensor([1.0, 0, 0, 1, 1]).repeat_interleave(4)
    assert independent_draws(values, [index // 4 for index in range(20)]) == pytest.approx(5)
    assert independent_draws(values, list(range(20))) == pytest.approx(20)
    assert independent_draws(torch.ones(20), [index // 4 for index in range(20)]) == 5


def test_a_share_of_several_matches_counts_as_several_draws() -> None:
    matches = (torch.rand(2000, 10, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    assert independent_draws(matches.mean(dim=1)) == pytest.approx(20_000, rel=0.1)


def test_the_interval_holds_the_truth_in_95_of_100_draws() -> None:
    """By 2,000 samples of 150 pictures: the share that holds has a standard error of 0.5 %."""
    generator = torch.Generator().manual_seed(1)
    for truth in (0.5, 0.94, 0.99):
        samples = (torch.rand(2000, 150, generator=generator) < truth).double()
        held = [low <= truth <= high for low, high in map(share_interval, samples)]
        assert 0.935 < sum(held) / len(held) <= 0.98


def test_the_normal_interval_of_a_mean() -> None:
    values = torch.tensor([0.0, 2.0, 0.0, 2.0])
    half = 1.959964 * math.sqrt(1 / 4)
    assert mean_interval(values) == pytest.approx((1 - half, 1 + half))
    assert mean_interval(values, [0, 0, 1, 1]) == (1.0, 1.0)


def test_the_interval_of_an_area_is_hanley_and_mcneils() -> None:
    # Their example (1982): 58 normal and 51 abnormal images, area 0.893, standard error 0.032.
    low, high = auroc_interval(0.893, 58, 51)
    assert (high - low) / (2 * 1.959964) == pytest.approx(0.032, abs=0.002)
    assert low < 0.893 < high < 1


@pytest.mark.parametrize(("inside", "outside"), [(761, 150), (40, 300), (1, 1)])
def test_the_interval_of_an_area_narrows_towards_0_and_1_and_is_never_empty(inside: int, outside: int) -> None:
    for area in (0.5, 0.9, 0.99, 0.9999, 0.999999):
        assert auroc_interval(area, inside, outside)[0] < auroc_interval(min(area + 1e-3, 1.0), inside, outside)[0] < 1
    low, high = auroc_interval(1.0, inside, outside)
    assert (low, high) == (pytest.approx(auroc_interval(0.9999999, inside, outside)[0], abs=1e-5), 1)
    assert auroc_interval(0.0, outside, inside) == pytest.approx((0, 1 - low), abs=1e-5)
