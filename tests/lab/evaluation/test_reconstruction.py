"""Errors of reconstructions are on one scale, whatever the network's own."""

import pytest
import torch

from lab.evaluation.benchmark import CARS, CIFAR10
from lab.evaluation.reconstruction import reconstruction_errors, reconstruction_figures
from visim_models import ConvolutionalAutoencoder, ImageProcessor


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.0, 1.0), (0.4, 0.2)])
def test_errors_do_not_depend_on_the_networks_own_scale(mean: float, std: float) -> None:
    class Black(ConvolutionalAutoencoder):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return processor.normalize(torch.zeros_like(pixels))

    processor = ImageProcessor(size=32, image_mean=(mean,) * 3, image_std=(std,) * 3)
    errors = reconstruction_errors(Black(), processor, torch.full((2, 3, 32, 32), 255, dtype=torch.uint8))
    assert errors.tolist() == pytest.approx([4.0, 4.0])


def test_a_baseline_has_no_target() -> None:
    errors = torch.full((3,), 0.01)
    mse, decibels = reconstruction_figures(errors, CIFAR10, groups=None)
    assert (mse.target, decibels.target) == ({"at_most": 0.0063}, {"at_least": 30.0})
    assert [figure.target for figure in reconstruction_figures(errors, CARS, groups=[0, 0, 1])] == [
        None,
        {"at_least": 26.4},
    ]
    assert [figure.target for figure in reconstruction_figures(errors, CIFAR10, groups=None, method="x")] == [None] * 2
