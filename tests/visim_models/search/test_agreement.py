"""The agreement map lights up where the likeness lies, on a scale that unrelated pictures fix."""

import numpy as np
import pytest
import torch
from torch import Tensor

from visim_models import Gallery, ImageProcessor, OutOfDistributionDetector, QueryError, VisualSimilarity
from visim_models.models.base import PretrainedModel
from visim_models.search.feedback import relative_agreement_map

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


def test_the_scale_is_what_unrelated_pictures_give(similarity: VisualSimilarity) -> None:
    """The other picture of the gallery is of the other corner: what it loses is the unit."""
    heat = relative_agreement_map(similarity, picture(), similarity.gallery.embeddings[0], label="x")
    assert (heat.shape, heat.dtype) == ((SIZE, SIZE), np.float32)
    assert heat.min() == 0
    assert heat[4, 4] == pytest.approx(heat.max())
    assert max(heat[-5, -5], heat[4, -5]) < 0.1 * heat.max()
    plain = np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert (relative_agreement_map(similarity, plain, similarity.gallery.embeddings[0], label="x") <= 1).all()
    lost = relative_agreement_map(similarity, picture(), similarity.gallery.embeddings[1], label="x")
    assert 0.9 < lost.max() <= 1.0  # as much as the unrelated picture, which it is: nothing stands out
    with pytest.raises(QueryError, match=r"\(3,\), not \(2,\)"):
        relative_agreement_map(similarity, picture(), np.ones(2, np.float32), label="x")
