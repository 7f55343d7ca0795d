"""The measures, solved by hand."""

import pytest
import torch

from lab.evaluation.measures import auroc, histogram, label_share, psnr, squared_errors


@pytest.mark.parametrize(
    ("outside", "area"),
    [([3.0, 4.0], 1.0), ([-1.0], 0.0), ([1.0], 0.5), ([0.5, 2.5], 2 / 3), ([1.0, 3.0], 0.75)],
)
def test_auroc_counts_pairs(outside: list[float], area: float) -> None:
    assert auroc(torch.tensor([2.0, 0.0, 1.0]), torch.tensor(outside)) == pytest.approx(area)


def test_psnr_is_for_a_range_of_two() -> None:
    assert psnr(4.0) == 0
    assert psnr(0.04) == pytest.approx(20)


def test_squared_errors_and_label_share() -> None:
    pixels = torch.zeros(2, 3, 2, 2)
    assert squared_errors(pixels, torch.full_like(pixels, 2.0)).tolist() == [4.0, 4.0]
    assert label_share(["a", "b"], [["a", "b"], ["a", "a"]]).tolist() == [0.5, 0.0]


def test_histogram_counts_values_beyond_the_edges_in_the_end_bins() -> None:
    assert histogram(torch.tensor([-9.0, 0.0, 1.0, 1.5, 2.0, 9.0]), [0.0, 1.0, 2.0, 3.0]) == [2, 2, 2]
