"""The data folder that figures are measured on: each file is read once at each size, and counted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lab.data import ImageSet, load_images
from visim_models.processing import ImageProcessor

__all__ = ["DataFolder"]


class DataFolder:
    """Reads the zips of a data folder at the size that a network takes.

    Args:
        path: the folder, laid out like the project's own data.
        limit: use at most so many pictures of each part, evenly spaced; None for all.

    Attributes:
        counts: file -> how many pictures were read from it.
    """

    def __init__(self, path: Path, *, limit: int | None = None) -> None:
        self.path, self.limit = path, limit
        self.counts: dict[str, int] = {}
        self._read: dict[tuple[str, int | None, ImageProcessor], ImageSet] = {}

    def read(self, file: str, processor: ImageProcessor, *, at_most: int | None = None) -> ImageSet:
        """Read the pictures of a file, resized.

        Args:
            file: path in the folder.
            processor: whose `resize` makes the squares.
            at_most: read only so many, evenly spaced over the sorted names; None for all.

        Raises:
            DataError: it is not there, or holds no picture.
        """
        key = (file, at_most, processor)
        if key not in self._read:
            self._read[key] = load_images(self.path / file, processor, limit=at_most)
            self.counts[file] = max(self.counts.get(file, 0), len(self._read[key]))
        return self._read[key]

    def limited(self, indices: Sequence[int]) -> list[int]:
        """Return the indices, or `limit` of them, evenly spaced."""
        if self.limit is None or len(indices) <= self.limit:
            return list(indices)
        return [indices[at] for at in np.linspace(0, len(indices) - 1, self.limit).astype(int)]
