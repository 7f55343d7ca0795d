"""Everything that is measured of a picture to tell how strange it is; of each measurement, higher is stranger."""

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from visim_models.models.network import Network

__all__ = ["NEIGHBOURS", "Measurements", "measure", "measure_neighbours", "measure_network", "names_for"]

_Floats: TypeAlias = npt.NDArray[np.float32]

Measurements: TypeAlias = Mapping[str, _Floats]
"""Name -> (N,) float32; higher is stranger."""

NEIGHBOURS: Final = 10
"""How many neighbours `neighbour_distance` averages over."""

_NEIGHBOUR_NAMES: Final = ("top_distance", "neighbour_distance", "embedding_norm")


def measure(network: Network, pixels: _Floats, embeddings: _Floats, cosines: _Floats) -> dict[str, _Floats]:
    """Measure N queries.

    Args:
        network: embedded them.
        pixels: (N, 3, S, S), processed.
        embeddings: (N, D).
        cosines: (N, k) similarities with the nearest pictures of the gallery, nearest first; at least `NEIGHBOURS` of
            them, or the whole gallery.

    Returns:
        Name -> (N,) float32.
    """
    return {**measure_neighbours(embeddings, cosines), **measure_network(network, pixels, embeddings)}


def measure_neighbours(embeddings: _Floats, cosines: _Floats) -> dict[str, _Floats]:
    """Measure the distances, 1 - cosine, to the nearest pictures, and the length of the embedding.

    Args:
        embeddings: (N, D).
        cosines: (N, k) similarities with the nearest pictures, nearest first; -inf where there is none.

    Returns:
        Name -> (N,) float32.
    """
    nearest = np.asarray(cosines)[:, :NEIGHBOURS]
    is_there = np.isfinite(nearest)
    means = nearest.sum(axis=1, where=is_there) / is_there.sum(axis=1)  # (N,)
    norms = np.linalg.norm(embeddings, axis=1)
    return {
        "top_distance": 1 - nearest[:, 0],
        "neighbour_distance": (1 - means).astype(np.float32),
        "embedding_norm": -np.log(np.maximum(norms, np.float32(1e-6))),
    }


def measure_network(network: Network, pixels: _Floats, embeddings: _Floats) -> dict[str, _Floats]:
    """Measure the network's own signs of a strange picture.

    Args:
        network: embedded them.
        pixels: (N, 3, S, S), processed.
        embeddings: (N, D).

    Returns:
        Name -> (N,) float32: of an autoencoder the mean squared error of its reconstruction, of a classifier minus the
        log-probability of its likeliest class.
    """
    found = {}
    if network.can_decode:
        found["reconstruction_error"] = np.square(network.decode(embeddings) - pixels).mean(axis=(1, 2, 3))
    if network.class_names:
        found["uncertainty"] = -network.log_probabilities(embeddings).max(axis=1)
    return found


def names_for(network: Network) -> frozenset[str]:
    """Return the names of all that is measured with this network."""
    own = {"reconstruction_error": network.can_decode, "uncertainty": bool(network.class_names)}
    return frozenset((*_NEIGHBOUR_NAMES, *(name for name, is_measured in own.items() if is_measured)))
