"""The data folder that figures are measured on: each file is read once at each size, and counted."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lab.data import ImageSet, load_images
from visim_models.errors import VisimError
from visim_models.images.decode import decode_image
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.processing import ImageProcessor
from visim_models.sources.store import ImageStore

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

    def read(
        self,
        file: str,
        processor: ImageProcessor,
        *,
        at_most: int | None = None,
        choose: Callable[[str], bool] | None = None,
    ) -> ImageSet:
        """Read the pictures of a file, resized.

        Args:
            file: path in the folder.
            processor: whose `resize` makes the squares.
            at_most: read only so many, evenly spaced over the sorted names; None for all.
            choose: whether a picture counts, by its name; such a choice is read again each time.

        Raises:
            DataError: it is not there, or holds no picture.
        """
        key = (file, at_most, processor)
        if choose or key not in self._read:
            found = load_images(self.path / file, processor, limit=at_most, choose=choose)
            self.counts[file] = max(self.counts.get(file, 0), len(found))
            if choose:
                return found
            self._read[key] = found
        return self._read[key]

    def read_named(self, file: str, names: Sequence[str], processor: ImageProcessor) -> Tensor:
        """Read some pictures of a file: (N, 3, S, S) uint8, in the order of the names.

        Raises:
            VisimError: one of them cannot be read.
        """
        store, found = ImageStore(self.path / file), []
        for batch in store.decode_many(names, processor, at_once=pictures_at_once(processor.size)):
            for _, result in batch:
                if isinstance(result, VisimError):
                    raise result
                found.append(result[0])
        return torch.stack(found)

    def read_changed(
        self,
        file: str,
        names: Sequence[str],
        processor: ImageProcessor,
        change: Callable[[Image.Image], Image.Image | bytes],
    ) -> Tensor:
        """Read some pictures of a file, and change each before it is resized: (N, 3, S, S) uint8.

        Args:
            file: path in the folder.
            names: of the pictures.
            processor: whose `resize` makes the squares.
            change: RGB picture at its own size -> picture, or the bytes of a file.
        """
        store = ImageStore(self.path / file)
        return torch.stack([processor.resize(decode_image(change(decode_image(store.read(name))))) for name in names])

    def limited(self, indices: Sequence[int]) -> list[int]:
        """Return the indices, or `limit` of them, evenly spaced."""
        if self.limit is None or len(indices) <= self.limit:
            return list(indices)
        return [indices[at] for at in np.linspace(0, len(indices) - 1, self.limit).astype(int)]
