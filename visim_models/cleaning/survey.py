"""Look at every picture of a folder or zip once: its embedding, facts and thumbnail, kept on disk for the next time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from visim_models.cleaning.alignment import THUMBNAIL
from visim_models.galleries.sources import Skipped
from visim_models.gallery import Gallery

__all__ = ["Survey", "SurveyedPictures"]

_FACTS: Final = ("width", "height", "bytes")


@dataclass(frozen=True)
class SurveyedPictures:
    """N pictures that could be decoded.

    Attributes:
        file_names: N names.
        embeddings: (N, D) float32, of float16's precision.
        thumbnails: (N, 3, 32, 32) uint8.
        hashes: (N, 32) uint8, the SHA-256 of each file.
        facts: (N, 3) int64: width, height, bytes.
        quality: (N, 2) float32: sharpness and spread, as in `PictureFacts`.
    """

    file_names: list[str]
    embeddings: Tensor
    thumbnails: Tensor
    hashes: Tensor
    facts: Tensor
    quality: Tensor

    def __len__(self) -> int:
        return len(self.file_names)

    def subset(self, indices: Sequence[int]) -> Self:
        """Return the pictures at these indices, in this order."""
        rows = torch.as_tensor(indices, dtype=torch.long)
        return type(self)(
            [self.file_names[index] for index in indices], *(tensor[rows] for tensor in self.tensors().values())
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return all but the names, in the order of the attributes."""
        return {
            name: getattr(self, name) for name in ("embeddings", "thumbnails", "hashes", "facts", "quality")
        }  # fmt: skip

    @classmethod
    def concatenate(cls, parts: Sequence["SurveyedPictures"]) -> Self:
        """Join at least one part."""
        tensors = [part.tensors() for part in parts]
        names = [name for part in parts for name in part.file_names]
        return cls(names, *(torch.cat([each[key] for each in tensors]) for key in tensors[0]))

    @classmethod
    def from_tensors(cls, file_names: Sequence[str], tensors: dict[str, Tensor]) -> Self:
        """Build the pictures from names and `tensors`.

        Raises:
            ValueError: a tensor is missing or of another shape.
        """
        count = len(file_names)
        shapes = {
            "embeddings": (count, tensors["embeddings"].shape[-1]),
            "thumbnails": (count, 3, THUMBNAIL, THUMBNAIL),
            "hashes": (count, 32),
            "facts": (count, len(_FACTS)),
            "quality": (count, 2),
        }
        if tensors.keys() != shapes.keys() or any(tuple(tensors[key].shape) != shape for key, shape in shapes.items()):
            raise ValueError("it is of another number of pictures")
        return cls(list(file_names), **{**tensors, "embeddings": tensors["embeddings"].float()})

    def sha256(self, index: int) -> str:
        """Return the SHA-256 of a file, in hexadecimal."""
        return bytes(self.hashes[index].tolist()).hex()

    def to_gallery(self, *, image_root: str = "") -> Gallery:
        """Return a gallery of these pictures, without labels."""
        return Gallery(self.file_names, [""] * len(self), self.embeddings, image_root=image_root)


@dataclass(frozen=True)
class Survey:
    """All picture files of a folder, zip or gallery.

    Attributes:
        root: the folder, zip or address that they are in, as a plan names it.
        pictures: those that could be decoded, sorted by name; None where there is none.
        broken: the others, with the reasons.
        reused: how many of them were not looked at again.
    """

    root: str
    pictures: SurveyedPictures | None
    broken: list[Skipped]
    reused: int = 0
