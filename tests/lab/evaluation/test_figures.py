"""The tolerance of each kind of figure: what arithmetic turns over passes, and six more mistakes do not."""

import pytest
import torch

from lab.evaluation.figures import area_figure, error_figures, loss_figure, share_figure
from lab.evaluation.measures import psnr
from visim_models.repo_folder.metrics import Figure, Metrics, differences


def faults(stated: Figure, now: Figure) -> list[str]:
    before, after = (
        Metrics(command="x", limit=None, weights_sha256="", data={}, figures=[each]) for each in (stated, now)
    )
    return differences(before, after)


def hits(count: int, mistakes: int) -> Figure:
    values = torch.ones(count)
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
        matches = torch.ones(761 * 4)
        matches[:wrong] = 0
        return share_figure(matches.view(761, 4).mean(dim=1), name="retrieval", what="A share.", decisions=4)

    assert faults(retrieval(180), retrieval(182)) == []
    assert len(faults(retrieval(180), retrieval(186))) == 1


def test_a_share_has_its_value_unit_and_interval() -> None:
    found = share_figure(
        torch.tensor([1.0, 1, 0, 1]), name="x", what="y", groups=[0, 0, 1, 2], target={"at_least": 50.0}, method="m"
    )
    assert (found.value, found.unit, found.n, found.tolerance) == (75.0, "%", 4, 50.0)
    assert (found.title, found.target) == ("x (m)", {"at_least": 50.0})
    assert found.interval is not None
    assert 0 <= found.interval[0] < 75 < found.interval[1] <= 100


def test_a_loss_is_a_difference_of_the_same_pictures() -> None:
    found = loss_figure(torch.tensor([1.0, 1, 1, 0]), torch.tensor([1.0, 0, 1, 0]), name="x", what="y")
    assert (found.value, found.unit, found.tolerance) == (25.0, "points", 100.0)
    assert found.interval == pytest.approx((25 - 42.44, 25 + 42.44), abs=0.01)


def test_an_area_may_move_by_a_thousandth() -> None:
    found = area_figure(torch.arange(10.0), torch.arange(5.0, 15), name="x", what="y")
    assert (found.value, found.n, found.tolerance) == (pytest.approx(0.875), 10, 0.001)
    assert found.interval is not None
    assert 0 < found.interval[0] < 0.875 < found.interval[1] < 1


def test_an_error_may_move_by_a_thousandth_and_its_psnr_as_much() -> None:
    errors = torch.full((8,), 0.01)
    errors[0] = 0.02
    mse, decibels = error_figures(errors, pictures="pictures", psnr_target={"at_least": 20.0})
    assert (mse.value, decibels.value) == (pytest.approx(0.01125), pytest.approx(psnr(0.01125)))
    assert mse.tolerance == pytest.approx(0.01125e-3)
    assert psnr(mse.value + mse.tolerance) == pytest.approx(decibels.value - decibels.tolerance)
    assert mse.interval is not None
    assert decibels.interval == pytest.approx((psnr(mse.interval[1]), psnr(mse.interval[0])))
    assert (mse.target, decibels.target) == (None, {"at_least": 20.0})
