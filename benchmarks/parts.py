"""The parts of a query and of a folder, each as a work of its own: the floor below which no code can go."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.table import Floor
from benchmarks.timing import Work
from visim_models import ImageProcessor, VisualSimilarity
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.models import PretrainedModel
from visim_models.models.embedding import decode_pictures, embed_pixels

__all__ = ["DECODING", "NETWORK", "decode_alone", "network_alone", "query_parts", "rate_floors", "time_floors"]

DECODING = "decoding alone"
NETWORK = "network alone"


def query_parts(similarity: VisualSimilarity, picture: bytes) -> dict[str, Work]:
    """Return the three works that an exact query consists of at least.

    They are: Pillow decoding the JPEG, with no check around it; the network on one picture; and reading every embedding
    of the gallery once.
    """
    pixels = similarity.processor(picture)[None].to(similarity.device)  # (1, 3, S, S)
    matrix = torch.from_numpy(similarity.gallery.embeddings)  # (N, D)

    def decode() -> None:
        with Image.open(io.BytesIO(picture)) as image:
            image.convert("RGB")

    return {
        "decoding": decode,
        "one forward pass": lambda: similarity.embed_pixels(pixels),
        "one pass over the matrix": matrix.sum,
    }


def time_floors(times: Mapping[str, float], names: Iterable[str]) -> tuple[Floor, ...]:
    """Return the floors of these names and their sum.

    Args:
        times: name of a work -> its time.
        names: of the parts among them.
    """
    parts = [Floor(name, times[name]) for name in names]
    return (*parts, Floor("sum", sum(part.value for part in parts)))


def decode_alone(processor: ImageProcessor, paths: Sequence[Path]) -> None:
    """Decode and resize pictures in threads, as a folder is embedded, with no network at work."""
    for _ in decode_pictures(paths, processor):
        pass


def network_alone(model: PretrainedModel, pixels: Tensor) -> Tensor:
    """Embed pictures that are in memory, (N, 3, S, S) float32 -> (N, D), in the batches that suit the network."""
    at_once = pictures_at_once(pixels.shape[-1])
    return torch.cat([embed_pixels(model, part) for part in pixels.split(at_once)])


def rate_floors(rates: Mapping[str, float]) -> tuple[Floor, ...]:
    """Return the floors of a folder in pictures a second, with those of both parts one after the other.

    The last is no strict floor: where cores are idle, decoding goes on beside the network.

    Args:
        rates: name of a work -> its pictures a second; `DECODING` and `NETWORK` are among them.
    """
    parts = [Floor(name, rates[name]) for name in (DECODING, NETWORK)]
    return (*parts, Floor("one after the other", 1 / sum(1 / part.value for part in parts)))
