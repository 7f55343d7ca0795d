"""Explain why two pictures match: find the parts of a picture that make it similar, by covering it piece by piece."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from visim_models.errors import QueryError
from visim_models.images import ImageSource
from visim_models.pipeline import VisualSimilarity

__all__ = ["agreement_map"]

_WINDOW = 4
"""The cover's side is this part of the picture's."""
_STEPS = 9
"""How many positions the cover takes along each side, the outermost ones half beyond the edge."""


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
    width = similarity.gallery.embeddings.shape[1]
    if other.shape != (width,):
        raise QueryError(f"The other embedding must be of shape ({width},), not {tuple(other.shape)}.")
    pixels = similarity.processor(image)  # (3, S, S)
    covers = _covers(similarity.processor.size)  # (P, S, S)
    covered = torch.where(covers[:, None], pixels.mean(dim=(1, 2), keepdim=True), pixels)  # (P, 3, S, S)
    embeddings = similarity.embed_pixels(torch.cat([pixels[None], covered]))  # (1 + P, D)
    cosines = F.cosine_similarity(embeddings, other, dim=1)
    loss = (cosines[0] - cosines[1:]).clamp(min=0)  # (P,)
    # The cover's outermost positions are centred on the edges, as the corners of the grid are on those of the map.
    grid, side = loss.view(1, 1, _STEPS, _STEPS), similarity.processor.size
    heat = F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=True)[0, 0]  # (S, S)
    found: npt.NDArray[np.float32] = (heat / heat.max().clamp(min=1e-6)).numpy()
    return found


def _covers(size: int) -> Tensor:
    """Return the P positions of the cover, (P, S, S) bool."""
    centres = torch.linspace(0, size, _STEPS)
    pixel = torch.arange(size) + 0.5  # (S,)
    strips = (pixel - centres[:, None]).abs() <= size / (2 * _WINDOW)  # (_STEPS, S)
    return (strips[:, None, :, None] & strips[None, :, None, :]).flatten(0, 1)
