"""The agreement map lights up where the likeness lies, and nowhere when covering costs nothing."""

import numpy as np
import pytest
import torch
from torch import Tensor

from visim_models import Gallery, ImageProcessor, OutOfDistributionDetector, QueryError, VisualSimilarity
from visim_models.models.base import PretrainedModel
from visim_models.search.agreement import agreement_map, relative_agreement_map

SIZE = 32


class CornerModel(PretrainedModel):
    """Sees the brightness of two corners, and always a constant: what matters is known."""

    model_type = "corners"
    image_size = SIZE
    embedding_dim = 3

    def __init__(self) -> None:
        super().__init__({})

    def embed(self, pixels: Tensor) -> Tensor:
        half = SIZE // 4
        left = pixels[:, :, :half, :half].mean(dim=(1, 2, 3))
        right = pixels[:, :, -half:, -half:].mean(dim=(1, 2, 3))
        return torch.stack([left, right, torch.full_like(left, 0.5)], dim=1)


@pytest.fixture
def similarity() -> VisualSimilarity:
    gallery = Gallery(["a.png", "b.png"], ["x", "y"], np.eye(3, dtype=np.float32)[:2])
    processor = ImageProcessor(size=SIZE)
    return VisualSimilarity(CornerModel(), processor, gallery, OutOfDistributionDetector.top_score_rule())


def picture() -> np.ndarray:
    """Black, but for a white corner at the top left and one at the bottom right."""
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[: SIZE // 4, : SIZE // 4] = 255
    pixels[-SIZE // 4 :, -SIZE // 4 :] = 255
    return pixels


@pytest.mark.parametrize(("row", "lit", "unlit"), [(0, (4, 4), (-5, -5)), (1, (-5, -5), (4, 4))])
def test_the_light_falls_on_what_is_alike(
    similarity: VisualSimilarity, row: int, lit: tuple[int, int], unlit: tuple[int, int]
) -> None:
    heat = agreement_map(similarity, picture(), similarity.gallery.embeddings[row])
    assert (heat.shape, heat.dtype) == ((SIZE, SIZE), np.float32)
    assert heat.min() == 0
    assert heat.max() == pytest.approx(1)
    assert heat[lit] > 0.9
    assert heat[unlit] < 0.1
    assert heat[4, -5] < 0.1


def test_a_plain_picture_has_no_place_that_matters(similarity: VisualSimilarity) -> None:
    plain = np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert agreement_map(similarity, plain, similarity.gallery.embeddings[0]).max() == pytest.approx(0, abs=1e-6)


def test_an_embedding_of_another_width(similarity: VisualSimilarity) -> None:
    with pytest.raises(QueryError, match=r"\(3,\), not \(4,\)"):
        agreement_map(similarity, picture(), np.ones(4, np.float32))


def test_the_scale_is_what_unrelated_pictures_give(similarity: VisualSimilarity) -> None:
    """The other picture of the gallery is of the other corner: what it loses is the unit."""
    heat = relative_agreement_map(similarity, picture(), similarity.gallery.embeddings[0], label="x")
    assert (heat.shape, heat.dtype) == ((SIZE, SIZE), np.float32)
    assert heat.min() == 0
    assert heat[4, 4] == pytest.approx(heat.max())
    lost = relative_agreement_map(similarity, picture(), similarity.gallery.embeddings[1], label="x")
    assert 0.9 < lost.max() <= 1.0  # as much as the unrelated picture, which it is: nothing stands out
    with pytest.raises(QueryError):
        relative_agreement_map(similarity, picture(), np.ones(2, np.float32), label="x")
