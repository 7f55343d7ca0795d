"""Explain why two pictures match: find the parts of a picture that make it similar, by covering it piece by piece."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from visim_models.errors import QueryError
from visim_models.gallery import Gallery
from visim_models.images.decode import ImageSource
from visim_models.pipeline import VisualSimilarity

__all__ = ["agreement_map", "relative_agreement_map"]

_WINDOW = 4
"""The cover's side is this part of the picture's."""
_STEPS = 9
"""How many positions the cover takes along each side, the outermost ones half beyond the edge."""
_UNRELATED = 100
_PERCENTILE = 0.95
"""How many pictures of other labels fix the scale, and which of their most is its unit."""


def agreement_map(
    similarity: VisualSimilarity, image: ImageSource, embedding: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Map how much each part of a picture adds to its similarity with another one.

    A square of the picture's mean colour is moved over it. The more the cosine with the other embedding falls while a
    part is covered, the more similarity is in that part. The map needs no gradients: it measures the same cosine that
    the search compares.

    Args:
        similarity: the pipeline that compares.
        image: path, bytes, PIL image or (H, W, 3) uint8 array.
        embedding: (D,) of the other picture.

    Returns:
        (S, S) float32 over the processor's square, in [0, 1]: 1 where covering costs most; all 0 if it costs nothing.

    Raises:
        ImageDecodeError: it is not a picture, or not one that is safe to decode.
        QueryError: the embedding's width is not the gallery's.

    Source: the occlusion maps of Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014).
    """
    other = torch.as_tensor(embedding).float()  # (D,)
    _check_width(other, similarity.gallery)
    loss = _losses(similarity, image, other[None])[0]  # (P,)
    heat = _map(loss, similarity)
    found: npt.NDArray[np.float32] = (heat / heat.max().clamp(min=1e-6)).numpy()
    return found


def relative_agreement_map(
    similarity: VisualSimilarity, image: ImageSource, embedding: npt.NDArray[np.float32], *, label: str
) -> npt.NDArray[np.float32]:
    """Map how much each part of a picture adds to its similarity with another one, on a scale that is always the same.

    The unit is the most that covering a part costs of the similarity with an unrelated picture: the 95th percentile of
    gallery pictures of other labels. Where nothing is above 1, the two pictures have no part in common that stands out.

    Args:
        similarity: the pipeline that compares.
        image: path, bytes, PIL image or (H, W, 3) uint8 array.
        embedding: (D,) of the other picture.
        label: of the match; the unrelated pictures have others, where the gallery has any.

    Returns:
        (S, S) float32 over the processor's square, at least 0.

    Raises:
        ImageDecodeError: it is not a picture, or not one that is safe to decode.
        QueryError: the embedding's width is not the gallery's.
    """
    gallery, other = similarity.gallery, torch.as_tensor(embedding).float()  # (D,)
    _check_width(other, gallery)
    unlike = [index for index, each in enumerate(gallery.labels) if each != label] or list(range(len(gallery.labels)))
    chosen = unlike[:: max(1, len(unlike) // _UNRELATED)][:_UNRELATED]
    others = torch.cat([other[None], torch.from_numpy(gallery.embeddings[chosen])])  # (1 + N, D)
    losses = _losses(similarity, image, others)  # (1 + N, P)
    usual = losses[1:].amax(dim=1).quantile(_PERCENTILE).clamp(min=1e-6)
    found: npt.NDArray[np.float32] = (_map(losses[0], similarity) / usual).numpy()
    return found


def _check_width(embedding: Tensor, gallery: Gallery) -> None:
    width = gallery.embeddings.shape[1]
    if embedding.shape != (width,):
        raise QueryError(f"The other embedding must be of shape ({width},), not {tuple(embedding.shape)}.")


def _losses(similarity: VisualSimilarity, image: ImageSource, others: Tensor) -> Tensor:
    """Measure how much the cosine with each of (N, D) embeddings falls while a part is covered: (N, P), at least 0."""
    pixels = similarity.processor(image)  # (3, S, S)
    covers = _covers(similarity.processor.size)  # (P, S, S)
    covered = torch.where(covers[:, None], pixels.mean(dim=(1, 2), keepdim=True), pixels)  # (P, 3, S, S)
    embeddings = similarity.embed_pixels(torch.cat([pixels[None], covered]))  # (1 + P, D)
    cosines = F.normalize(others, dim=1) @ F.normalize(embeddings, dim=1).T  # (N, 1 + P)
    return (cosines[:, :1] - cosines[:, 1:]).clamp(min=0)


def _map(loss: Tensor, similarity: VisualSimilarity) -> Tensor:
    """Spread the (P,) losses over the processor's square: (S, S)."""
    # The cover's outermost positions are centred on the edges, as the corners of the grid are on those of the map.
    grid, side = loss.view(1, 1, _STEPS, _STEPS), similarity.processor.size
    return F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=True)[0, 0]


def _covers(size: int) -> Tensor:
    """Return the P positions of the cover, (P, S, S) bool."""
    centres = torch.linspace(0, size, _STEPS)
    pixel = torch.arange(size) + 0.5  # (S,)
    strips = (pixel - centres[:, None]).abs() <= size / (2 * _WINDOW)  # (_STEPS, S)
    return (strips[:, None, :, None] & strips[None, :, None, :]).flatten(0, 1)
