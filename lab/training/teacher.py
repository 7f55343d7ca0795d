"""Features of a larger network, which a smaller one learns to tell: hints (Romero et al., "FitNets", 2015)."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from hub.locate import locate
from visim_models import ImageProcessor
from visim_models.embedding import embed_pixels, keep_freed_memory, prepared
from visim_models.models import load_model
from visim_models.repo_folder import RepoFolder

__all__ = ["hints_of"]

_TEACHER: Final = "general-extractor"
_BLOCK: Final = 64


def hints_of(images: Tensor) -> Tensor:
    """Return the features of (N, 3, S, S) uint8 pictures by the general extractor, EfficientNet-Lite0.

    Returns:
        (N, 1280) float32; each feature has the mean 0 and the same spread over the pictures, each row the length 1.
    """
    repo = RepoFolder(locate(_TEACHER))
    model, processor = prepared(load_model(repo)), ImageProcessor.load(repo)
    keep_freed_memory()
    parts = []
    for block in tqdm(images.split(_BLOCK), desc="the teacher's features"):
        large = F.interpolate(block.float(), size=processor.size, mode="bicubic").clamp(0, 255)
        parts.append(embed_pixels(model, processor.normalize(large)))
    features = torch.cat(parts)  # (N, 1280)
    return F.normalize((features - features.mean(dim=0)) / features.std(dim=0).clamp(min=1e-6), dim=1)
