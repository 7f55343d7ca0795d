"""Calibrate the detector of a gallery in an engine: pictures of it, each searched in the whole gallery without itself.

The same as `self_calibration` does in memory, but for two things: only the pictures that the engine finds first are
compared with a query for near-duplicates, which are nearly always among them; and one that is connected with the query
by a third picture alone counts as another picture.
"""

from typing import Final

import torch
from torch import Tensor
from tqdm import tqdm

from visim_models.errors import DataError
from visim_models.galleries.embedded import EmbeddedPictures, Measured
from visim_models.galleries.near_duplicates import SAME_PHOTOGRAPH, near_duplicates_of
from visim_models.galleries.vectors import VectorFolder
from visim_models.measurements import NEIGHBOURS, measure_neighbours
from visim_models.search import SearchIndex

__all__ = ["measured_in"]

_MORE: Final = 54
"""Neighbours that are found beside the `NEIGHBOURS`: as many near-duplicates are left out."""

_ROWS_AT_ONCE: Final = 64


def measured_in(
    index: SearchIndex, sample: EmbeddedPictures, vectors: VectorFolder, *, progress: bool = False
) -> Measured:
    """Measure pictures of a gallery as queries against the gallery without them and their near-duplicates.

    Args:
        index: of all pictures.
        sample: n of them.
        vectors: has the thumbnails of all.
        progress: show a progress bar.

    Returns:
        Those of the n pictures that have another picture to be compared with.

    Raises:
        DataError: none has.
        EngineError: the engine does not answer within the deadline.
    """
    found: list[tuple[list[float], list[str]]] = []
    blocks = tqdm(sample.embeddings.split(_ROWS_AT_ONCE), desc="calibrating", unit="batch", disable=not progress)
    for block in blocks:
        scores, indices = index.search(block.numpy(), top_k=min(1 + NEIGHBOURS + _MORE, len(index)))  # (B, k)
        names = index.texts(indices.ravel()).file_names
        k = indices.shape[1]
        found += [(row.tolist(), names[number * k : (number + 1) * k]) for number, row in enumerate(scores)]
    thumbnails = vectors.thumbnails({name for _, names in found for name in names})
    rows = [
        _others(name, thumbnail, cosines, names, thumbnails)
        for name, thumbnail, (cosines, names) in zip(sample.file_names, sample.thumbnails, found, strict=True)
    ]
    compared = [number for number, row in enumerate(rows) if row.isfinite().any()]
    if not compared:
        raise DataError("A gallery needs at least two pictures that are not near-duplicates of each other.")
    measured = sample.measured.subset(compared)
    neighbours = measure_neighbours(
        measured.embeddings.numpy(), torch.stack([rows[number] for number in compared]).numpy()
    )
    return Measured(
        measured.embeddings,
        {**{name: torch.from_numpy(values) for name, values in neighbours.items()}, **measured.values},
    )


def _others(
    file_name: str, thumbnail: Tensor, cosines: list[float], names: list[str], thumbnails: dict[str, Tensor]
) -> Tensor:
    """Return the (NEIGHBOURS,) cosines of the nearest others, nearest first; -inf where there is none."""
    others = [(cosine, name) for cosine, name in zip(cosines, names, strict=True) if name != file_name]
    if not others:
        return torch.full((NEIGHBOURS,), -torch.inf)
    shown = torch.stack([thumbnails[name] for _, name in others]).numpy()  # (N, 3, S, S)
    same = near_duplicates_of(thumbnail.numpy(), shown, threshold=SAME_PHOTOGRAPH).tolist()
    kept = [cosine for (cosine, _), is_same in zip(others, same, strict=True) if not is_same]
    row = torch.full((NEIGHBOURS,), -torch.inf)
    nearest = torch.tensor(kept[:NEIGHBOURS])
    row[: len(nearest)] = nearest
    return row
