"""Retrieval, reconstruction and classes are measured as by hand."""

import numpy as np
import pytest
import torch

from lab.evaluation.classification import classification_tables, told_right
from lab.evaluation.evaluated_repo import CARS, CIFAR10
from lab.evaluation.reconstruction import PrincipalComponents, reconstruction_errors, reconstruction_figures
from lab.evaluation.retrieval import match_tables, nearest, paint_around, raw_pixels, retrieval_figure
from visim_models import CAR_CLASSES, ConvolutionalAutoencoder, Gallery, ImageProcessor
from visim_models.galleries.picture_table import PictureTable
from visim_models.models import TorchNetwork


def test_shares_of_the_first_matches() -> None:
    gallery = Gallery(["a", "b", "c"], ["x", "x", "y"], np.eye(3, dtype=np.float32))
    queries = PictureTable(["x/1", "y/1"], {})
    found = retrieval_figure(queries, np.array([[0, 2, 1], [0, 2, 1]]), gallery, 2, name="top", what="?", method="m")
    assert (found.value, found.n, found.tolerance) == (50.0, 2, 50.0)


def test_match_tables_count_true_and_false_matches() -> None:
    gallery = Gallery(["a", "b", "c"], ["x", "x", "y"], np.eye(3, dtype=np.float32))
    scores = np.array([[0.99, 0.5], [1.0, 0.504]], np.float32)
    tables = match_tables(["x", "y"], scores, np.array([[0, 2], [2, 1]]), gallery)
    counts = tables["match_scores"]
    assert {percent for percent, count in enumerate(counts["true"]) if count} == {99, 100}
    assert counts["false"][50] == 2
    reliability = dict(zip(tables["reliability"]["percent_from"], tables["reliability"]["true_share"], strict=True))
    assert reliability[95] == 1
    assert reliability[50] == 0
    assert reliability[0] is None


def test_painting_is_the_same_each_time_and_leaves_the_global_generator_alone() -> None:
    images = np.full((6, 3, 32, 32), 128, np.uint8)
    before = torch.random.get_rng_state()
    painted = paint_around(images)
    assert np.array_equal(painted, paint_around(images))
    assert all((picture != 128).any() for picture in painted)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nearest_is_euclidean() -> None:
    rows = np.array([[10.0, 0.0], [1.0, 1.0], [0.0, 2.0]], np.float32)
    # The cosine would put the first row first.
    assert nearest(np.array([[2.0, 0.0]], np.float32), rows, top_k=3).tolist() == [[1, 2, 0]]


def test_nearest_tells_rows_apart_that_are_far_from_zero() -> None:
    """The square of a length of 1e4 leaves no digit of a float32 for a distance of 1."""
    rows = 1e4 + np.array([[3.0], [2.0], [1.0], [0.0]], np.float32).repeat(500, axis=1)
    assert nearest(rows[2:3] + np.float32(0.1), rows, top_k=4).tolist() == [[2, 1, 3, 0]]


def test_raw_pixels_average_over_areas() -> None:
    image = np.zeros((1, 3, 64, 64), np.uint8)
    image[:, :, ::2] = 100
    assert raw_pixels(image).shape == (1, 3072)
    assert np.unique(raw_pixels(image)).tolist() == [50.0]


@pytest.mark.parametrize("size", [2, 8])
def test_components_rebuild_the_plane_that_they_were_fitted_to(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randint(0, 60, (2, 3, size, size), generator=generator)
    weights = torch.randint(0, 3, (20, 2), generator=generator)
    images = (weights[:, :1, None, None] * first + weights[:, 1:, None, None] * second).to(torch.uint8).numpy()
    components = PrincipalComponents.fit(images)
    gram = components.basis.T @ components.basis
    assert torch.allclose(gram, torch.eye(len(gram)), atol=1e-4)
    assert components.encode(images).shape == (20, min(3 * size * size, 19))
    assert components.errors(images).max() < 1e-6
    if size == 8:
        assert components.errors(255 - images[:1]).item() > 1e-3


def test_components_leave_the_global_generator_alone() -> None:
    images = torch.randint(0, 255, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    before = torch.random.get_rng_state()
    first, second = (PrincipalComponents.fit(images) for _ in range(2))
    assert torch.equal(first.basis, second.basis)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_is_told_right_confusion_and_suspected_labels() -> None:
    probabilities = np.array([[0.95, 0.05, 0, 0], [0.95, 0.05, 0, 0], [0.2, 0.6, 0.2, 0], [0, 0, 0.1, 0.9]], np.float32)
    images = PictureTable(["sedan/a.png", "suv/b.png", "sedan/c.png", "truck/d.png"], {})
    assert told_right(images, probabilities, CAR_CLASSES).tolist() == [1, 0, 0, 1]
    tables = classification_tables(images, probabilities, CAR_CLASSES)
    assert tables["confusion"] == {
        "classes": ["sedan", "coupe", "suv", "truck"],
        "counts": [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]],
    }
    assert tables["suspected_labels"] == [
        {"file_name": "suv/b.png", "label": "suv", "predicted": "sedan", "probability": 0.95}
    ]


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.0, 1.0), (0.4, 0.2)])
def test_errors_do_not_depend_on_the_networks_own_scale(mean: float, std: float) -> None:
    class Black(ConvolutionalAutoencoder):
        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            black = processor.normalize(np.zeros((len(codes), 3, 32, 32), np.uint8))
            return torch.from_numpy(black)

    processor = ImageProcessor(size=32, image_mean=(mean,) * 3, image_std=(std,) * 3)
    errors = reconstruction_errors(TorchNetwork(Black()), processor, np.full((2, 3, 32, 32), 255, np.uint8))
    assert errors.tolist() == pytest.approx([4.0, 4.0])


def test_a_baseline_has_no_target() -> None:
    errors = np.full(3, 0.01)
    mse, decibels = reconstruction_figures(errors, CIFAR10, groups=None)
    assert (mse.target, decibels.target) == ({"at_most": 0.0063}, {"at_least": 30.0})
    assert [figure.target for figure in reconstruction_figures(errors, CARS, groups=[0, 0, 1])] == [
        None,
        {"at_least": 26.4},
    ]
    assert [figure.target for figure in reconstruction_figures(errors, CIFAR10, groups=None, method="x")] == [None] * 2
