"""Rows: pictures a second of small networks of timm that docs/hosting.md names, against the general extractor."""

from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor, nn

import hub
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import Work, interleaved, medians
from visim_models.models import load_model
from visim_models.models.embedding import keep_freed_memory, prepared
from visim_models.repo_folder import RepoFolder

__all__ = ["timm_rows"]

_NETWORKS: Final = {"vit_small_patch16_224.dino": 224, "vit_small_patch14_dinov2.lvd142m": 518}
"""Name of a network -> side of its pictures."""
_AT_ONCE: Final = 4
_BATCHES: Final = 3


def timm_rows(scale: Scale) -> Iterator[Row]:
    """Measure the networks alone, with random weights: their speed is the same."""
    import timm

    keep_freed_memory()
    general = prepared(load_model(RepoFolder(hub.locate(scale.general))))
    works = {"general": _work(general.embed, general.image_size)}
    for name, side in _NETWORKS.items():
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, img_size=side).eval()
        works[name] = _work(network, side)
    times = medians(interleaved(works, rounds=scale.long_rounds))
    rates = {name: _AT_ONCE * _BATCHES / seconds for name, seconds in times.items()}
    for name, side in _NETWORKS.items():
        yield Row(
            what=f"{name} at {side} pixels, alone, on tensors in memory",
            measured=rates[name],
            unit="pictures/s",
            baseline_name="the general extractor",
            baseline=rates["general"],
            ratio=rates[name] / rates["general"],
            ratio_unit="of its rate",
        )


def _work(network: Callable[[Tensor], Tensor], side: int) -> Work:
    """Return the work of a few batches of pictures."""
    pixels = torch.randn(_AT_ONCE, 3, side, side)

    def work() -> None:
        with torch.inference_mode():
            for _ in range(_BATCHES):
                network(pixels)

    return work
