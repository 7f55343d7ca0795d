"""Everything that is measured of a picture to tell how strange it is; of each measurement, higher is stranger."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import torch
from torch import Tensor

from visim_models.models import CarFeatureExtractor, Cifar10Classifier, ConvolutionalAutoencoder, PretrainedModel

__all__ = ["NEIGHBOURS", "Measured", "Measurements", "measure", "measure_neighbours", "measure_network", "names_for"]

Measurements = Mapping[str, Tensor]
"""Name -> (N,) float32; higher is stranger."""

NEIGHBOURS: Final = 10
"""How many neighbours `neighbour_distance` averages over."""

_NEIGHBOUR_NAMES: Final = ("top_distance", "neighbour_distance", "embedding_norm")


@dataclass(frozen=True)
class Measured:
    """N pictures, embedded and measured.

    Attributes:
        embeddings: (N, D).
        values: name -> (N,); higher is stranger.
    """

    embeddings: Tensor
    values: Measurements

    def __len__(self) -> int:
        return len(self.embeddings)

    def subset(self, indices: Sequence[int] | slice) -> Self:
        """Return the pictures at these indices."""
        chosen = indices if isinstance(indices, slice) else torch.as_tensor(indices, dtype=torch.long)
        return type(self)(self.embeddings[chosen], {name: values[chosen] for name, values in self.values.items()})

    @classmethod
    def concatenate(cls, parts: Sequence["Measured"]) -> Self:
        """Join at least one part."""
        values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
        return cls(torch.cat([part.embeddings for part in parts]), values)


def measure(model: PretrainedModel, pixels: Tensor, embeddings: Tensor, cosines: Tensor) -> dict[str, Tensor]:
    """Measure N queries.

    Args:
        model: the network that embedded them.
        pixels: (N, 3, S, S), processed, on the network's device.
        embeddings: (N, D), on the CPU.
        cosines: (N, k) similarities with the nearest pictures of the gallery, nearest first; at least `NEIGHBOURS` of
            them, or the whole gallery.

    Returns:
        Name -> (N,) float32 on the CPU.
    """
    return {**measure_neighbours(embeddings, cosines), **measure_network(model, pixels, embeddings)}


def measure_neighbours(embeddings: Tensor, cosines: Tensor) -> dict[str, Tensor]:
    """Measure the distances, 1 - cosine, to the nearest pictures, and the length of the embedding.

    Args:
        embeddings: (N, D).
        cosines: (N, k) similarities with the nearest pictures, nearest first; -inf where there is none.
    """
    nearest = cosines[:, :NEIGHBOURS]
    is_there = nearest.isfinite()
    means = nearest.where(is_there, torch.zeros(())).sum(dim=1) / is_there.sum(dim=1)  # (N,)
    return {
        "top_distance": 1 - nearest[:, 0],
        "neighbour_distance": 1 - means,
        "embedding_norm": -embeddings.norm(dim=1).clamp(min=1e-6).log(),
    }


def measure_network(model: PretrainedModel, pixels: Tensor, embeddings: Tensor) -> dict[str, Tensor]:
    """Measure the network's own signs of a strange picture.

    Args:
        model: the network that embedded them.
        pixels: (N, 3, S, S), processed, on the network's device.
        embeddings: (N, D).

    Returns:
        Name -> (N,) float32 on the CPU.
    """
    with torch.inference_mode():
        return {
            name: measurement(model, pixels, embeddings.to(pixels.device)).float().cpu()
            for name, measurement in _network_measurements(model).items()
        }


def names_for(model: PretrainedModel) -> frozenset[str]:
    """Return the names of all that is measured with this network."""
    return frozenset((*_NEIGHBOUR_NAMES, *_network_measurements(model)))


def _reconstruction_error(model: Any, pixels: Tensor, embeddings: Tensor) -> Tensor:
    """Return the (N,) mean squared errors of an autoencoder's reconstructions."""
    return (model.decode(embeddings) - pixels).square().mean(dim=(1, 2, 3))  # type: ignore[no-any-return]


def _uncertainty(model: Any, _: Tensor, embeddings: Tensor) -> Tensor:
    """Return (N,) minus the log-probabilities of a classifier's likeliest class."""
    return -model.classify(embeddings).amax(dim=1)  # type: ignore[no-any-return]


_BY_NETWORK: Final[Mapping[type[PretrainedModel], Mapping[str, Callable[[Any, Tensor, Tensor], Tensor]]]] = {
    ConvolutionalAutoencoder: {"reconstruction_error": _reconstruction_error},
    CarFeatureExtractor: {"uncertainty": _uncertainty},
    Cifar10Classifier: {"uncertainty": _uncertainty},
}


def _network_measurements(model: PretrainedModel) -> Mapping[str, Callable[[Any, Tensor, Tensor], Tensor]]:
    return _BY_NETWORK.get(type(model), {})
