"""The worst mistakes of a verdict: held-out pictures called strange, and other things taken for the gallery's.

They are kept as tiles that an autoencoder drew from its own code of the picture, for no photograph is stored.
"""

import base64
import io
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hub.locate import BUNDLED, REPO_NAMES
from lab.evaluation.benchmark import CARS, Benchmark
from lab.evaluation.outliers import MeasuredParts
from visim_models.models import ConvolutionalAutoencoder
from visim_models.ood import OutOfDistributionDetector
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder

__all__ = ["failures_table"]

_SHOWN: Final = 8
_DRAWN_BY: Final = {True: "car-autoencoder", False: "cifar10-autoencoder"}


def failures_table(
    benchmark: Benchmark, detector: OutOfDistributionDetector, parts: MeasuredParts, test: Tensor, others: Tensor
) -> dict[str, Any]:
    """Draw the worst mistakes.

    Args:
        benchmark: whose autoencoder draws.
        detector: the repo's own.
        parts: what it judges.
        test: (N, 3, S, S) uint8 held-out pictures, those of `parts.test`.
        others: (M, 3, S, S) uint8 pictures of other kinds, those of `parts.kinds["other_kinds"]`.

    Returns:
        `false_alarms` and `misses`, the worst first: tiles as PNG in base64, with their p-values. {} without a bundled
        autoencoder.
    """
    folder = BUNDLED / REPO_NAMES[_DRAWN_BY[benchmark is CARS]]
    if not folder.is_dir():
        return {}
    alarms, misses = (detector.verdicts(part) for part in (parts.test, parts.kinds["other_kinds"]))
    worst_alarms = sorted(range(len(alarms)), key=lambda index: -alarms[index].score)[:_SHOWN]
    worst_misses = sorted(range(len(misses)), key=lambda index: misses[index].score)[:_SHOWN]
    return {
        name: [
            {"p_value": round(verdicts[index].p_value, 4), "tile": tile}
            for index, tile in zip(chosen, _tiles(folder, pixels[chosen]), strict=True)
        ]
        for name, verdicts, chosen, pixels in (
            ("false_alarms", alarms, worst_alarms, test),
            ("misses", misses, worst_misses, others),
        )
    }


def _tiles(folder: Path, pixels: Tensor) -> list[str]:
    """Encode and decode (N, 3, S, S) uint8 pictures: N PNG files in base64."""
    repo = RepoFolder(folder)
    model, processor = ConvolutionalAutoencoder.from_pretrained(repo), ImageProcessor.load(repo)
    small = F.interpolate(pixels.float(), size=processor.size, mode="bilinear", antialias=True)
    with torch.inference_mode():
        drawn = processor.denormalize(model(processor.normalize(small)))  # (N, 3, s, s) uint8
    tiles = []
    for tile in drawn:
        file = io.BytesIO()
        Image.fromarray(tile.permute(1, 2, 0).numpy()).save(file, "PNG")
        tiles.append(base64.b64encode(file.getvalue()).decode())
    return tiles
