"""Figures, their tolerances and their intervals are right."""

import math

import numpy as np
import pytest

from lab.evaluation.figures import (
    area_figure,
    auroc,
    auroc_interval,
    error_figures,
    histogram,
    independent_draws,
    label_share,
    loss_figure,
    mean_figure,
    mean_interval,
    psnr,
    share_figure,
    share_interval,
    wilson,
)
from visim_models.repo_folder.metrics import Figure, Metrics, differences


def faults(stated: Figure, now: Figure) -> list[str]:
    before, after = (
        Metrics(command="x", limit=None, weights_sha256="", data={}, figures=[each]) for each in (stated, now)
    )
    return differences(before, after)


def hits(count: int, mistakes: int) -> Figure:
    values = np.ones(count)
    values[:mistakes] = 0
    return share_figure(values, name="accuracy", what="A share.")


@pytest.mark.parametrize("count", [150, 300, 761, 980, 10_000])
def test_six_more_mistakes_do_not_pass(count: int) -> None:
    stated = hits(count, 47)
    assert faults(stated, hits(count, 49)) == []
    assert len(faults(stated, hits(count, 53))) == 1
    assert stated.interval is not None
    assert stated.interval[0] < hits(count, 53).value < stated.interval[1]  # although sampling would explain them


@pytest.mark.parametrize("count", [150, 761, 10_000])
def test_two_decisions_or_a_two_thousandth_of_them_may_turn_over(count: int) -> None:
    allowed = max(count // 2000, 2)
    assert faults(hits(count, 47), hits(count, 47 + allowed)) == []
    assert len(faults(hits(count, 47), hits(count, 48 + allowed))) == 1


def test_six_more_wrong_matches_do_not_pass() -> None:
    def retrieval(wrong: int) -> Figure:
        matches = np.ones(761 * 4)
        matches[:wrong] = 0
        return share_figure(matches.reshape(761, 4).mean(axis=1), name="retrieval", what="A share.", decisions=4)

    assert faults(retrieval(180), retrieval(182)) == []
    assert len(faults(retrieval(180), retrieval(186))) == 1


def test_a_share_has_its_value_unit_and_interval() -> None:
    found = share_figure(
        np.array([1.0, 1, 0, 1]), name="x", what="y", groups=[0, 0, 1, 2], target={"at_least": 50.0}, method="m"
    )
    assert (found.value, found.unit, found.n, found.tolerance) == (75.0, "%", 4, 50.0)
    assert (found.title, found.target) == ("x (m)", {"at_least": 50.0})
    assert found.interval is not None
    assert 0 <= found.interval[0] < 75 < found.interval[1] <= 100


def test_a_loss_is_a_difference_of_the_same_pictures() -> None:
    found = loss_figure(np.array([1.0, 1, 1, 0]), np.array([1.0, 0, 1, 0]), name="x", what="y")
    assert (found.value, found.unit, found.tolerance) == (25.0, "points", 100.0)
    assert found.interval == pytest.approx((25 - 42.44, 25 + 42.44), abs=0.01)


def test_an_area_may_move_by_a_thousandth() -> None:
    found = area_figure(np.arange(10.0), np.arange(5.0, 15), name="x", what="y")
    assert (found.value, found.n, found.tolerance) == (pytest.approx(0.875), 10, 0.001)
    assert found.interval is not None
    assert 0 < found.interval[0] < 0.875 < found.interval[1] < 1


def test_an_error_may_move_by_a_thousandth_and_its_psnr_as_much() -> None:
    errors = np.full(8, 0.01)
    errors[0] = 0.02
    mse, decibels = error_figures(errors, pictures="pictures", psnr_target={"at_least": 20.0})
    assert (mse.value, decibels.value) == (pytest.approx(0.01125), pytest.approx(psnr(0.01125)))
    assert mse.tolerance == pytest.approx(0.01125e-3)
    assert psnr(mse.value + mse.tolerance) == pytest.approx(decibels.value - decibels.tolerance)
    assert mse.interval is not None
    assert decibels.interval == pytest.approx((psnr(mse.interval[1]), psnr(mse.interval[0])))
    assert (mse.target, decibels.target) == (None, {"at_least": 20.0})


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
    assert share_interval(np.ones(20)) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)
    assert share_interval(np.zeros(1)) == pytest.approx((0.0, 0.7935), abs=5e-5)


def test_ungrouped_hits_are_as_many_draws() -> None:
    assert independent_draws(np.array([1.0, 0, 0, 1, 1])) == pytest.approx(5)


def test_pictures_that_agree_in_groups_count_once() -> None:
    values = np.array([1.0, 0, 0, 1, 1]).repeat(4)
    assert independent_draws(values, [index // 4 for index in range(20)]) == pytest.approx(5)
    assert independent_draws(values, list(range(20))) == pytest.approx(20)
    assert independent_draws(np.ones(20), [index // 4 for index in range(20)]) == 5


def test_a_share_of_several_matches_counts_as_several_draws() -> None:
    matches = (np.random.default_rng(0).random((2000, 10)) < 0.4).astype(float)
    assert independent_draws(matches.mean(axis=1)) == pytest.approx(20_000, rel=0.1)


def test_the_interval_holds_the_truth_in_95_of_100_draws() -> None:
    """By 2,000 samples of 150 pictures: the share that holds has a standard error of 0.5 %."""
    generator = np.random.default_rng(1)
    for truth in (0.5, 0.94, 0.99):
        samples = (generator.random((2000, 150)) < truth).astype(float)
        held = [low <= truth <= high for low, high in map(share_interval, samples)]
        assert 0.935 < sum(held) / len(held) <= 0.98


def test_the_normal_interval_of_a_mean() -> None:
    values = np.array([0.0, 2.0, 0.0, 2.0])
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


@pytest.mark.parametrize(
    ("outside", "area"), [([3.0, 4.0], 1.0), ([-1.0], 0.0), ([1.0], 0.5), ([0.5, 2.5], 2 / 3), ([1.0, 3.0], 0.75)]
)
def test_auroc_counts_pairs(outside: list[float], area: float) -> None:
    assert auroc(np.array([2.0, 0.0, 1.0]), np.array(outside)) == pytest.approx(area)


def test_psnr_is_for_a_range_of_two() -> None:
    assert psnr(4.0) == 0
    assert psnr(0.04) == pytest.approx(20)


def test_a_mean_counts_every_source_alike() -> None:
    few, many = hits(10, 5), hits(1000, 0)
    found = mean_figure([few, many], name="mean", what="The mean.")
    assert (found.value, found.n, found.unit) == (75.0, 1010, "%")
    assert few.interval is not None
    assert found.interval is not None
    half = (few.interval[1] - few.interval[0]) / 4
    assert found.interval[0] == pytest.approx(75 - half, abs=0.1)
    assert found.interval[1] == pytest.approx(75 + half, abs=0.1)


def test_the_share_of_a_label() -> None:
    assert label_share(["a", "b"], [["a", "b"], ["a", "a"]]).tolist() == [0.5, 0.0]


def test_histogram_counts_values_beyond_the_edges_in_the_end_bins() -> None:
    assert histogram(np.array([-9.0, 0.0, 1.0, 1.5, 2.0, 9.0]), [0.0, 1.0, 2.0, 3.0]) == [2, 2, 2]
