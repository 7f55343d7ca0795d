"""Rows: embedding a folder of pictures, against one at a time and against the network alone."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from visim_models.inference import pictures_at_once

import hub
from benchmarks.pictures import jpegs, write_folder
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import interleaved, percentile
from visim_models import VisualSimilarity

__all__ = ["folder_rows"]

_LEAST_RATIO = 4.0
_LEAST_SHARE = 0.8


def folder_rows(scale: Scale) -> Iterator[Row]:
    """Pictures a second, of each tab's network."""
    for tab, count in (("cars", scale.cars), ("cifar10", scale.cifar10)):
        similarity = hub.load(dict(scale.repos)[tab])
        with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
            paths = write_folder(jpegs(tab, count, data=scale.data), Path(folder) / "pictures")
            yield from _rows(similarity, paths, tab, scale)


def _rows(similarity: VisualSimilarity, paths: list[Path], tab: str, scale: Scale) -> Iterator[Row]:
    tensors = torch.stack([similarity.processor(path) for path in paths])  # (N, 3, S, S)
    together = similarity.embed_batch(paths)
    for alone in (_one_at_a_time(similarity, paths[:8]), _network_alone(similarity, tensors)[:8].numpy()):
        np.testing.assert_allclose(alone, together[: len(alone)], atol=1e-3)
    seconds = interleaved(
        {
            "folder": lambda: similarity.embed_batch(paths),
            "one": lambda: _one_at_a_time(similarity, paths),
            "network": lambda: _network_alone(similarity, tensors),
        },
        rounds=max(scale.rounds - 2, 1),
    )
    ours, one, network = (len(paths) / percentile(seconds[name], 0.5) for name in ("folder", "one", "network"))
    what = f"embedding {len(paths):,} files, {tab}"
    yield Row(
        what=what, measured=ours, unit="pictures/s", baseline_name="one at a time, as in the articles", baseline=one,
        ratio=ours / one, target=f">= {_LEAST_RATIO:.0f}x", met=ours / one >= _LEAST_RATIO,
    )  # fmt: skip
    yield Row(
        what=what, measured=ours, unit="pictures/s", baseline_name="the network on tensors in memory",
        baseline=network, ratio=ours / network, target=f">= {_LEAST_SHARE}x", met=ours / network >= _LEAST_SHARE,
    )  # fmt: skip


def _one_at_a_time(similarity: VisualSimilarity, paths: list[Path]) -> npt.NDArray[np.float32]:
    """Decode, resize, scale and embed each picture by itself, with the network as it was trained."""
    features = []
    for path in paths:
        with Image.open(path) as picture:
            square = similarity.processor.resize(picture.convert("RGB"))
        tensor = similarity.processor.normalize(square)[None]  # (1, 3, S, S)
        with torch.no_grad():
            features.append(similarity.model.embed(tensor))
    return torch.cat(features).numpy()


def _network_alone(similarity: VisualSimilarity, tensors: Tensor) -> Tensor:
    """The network that answers, in the batches that suit it, on pictures that are in memory already."""
    at_once = pictures_at_once(similarity.processor.size)
    return torch.cat([similarity.embed_pixels(part) for part in tensors.split(at_once)])
