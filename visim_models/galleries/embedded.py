"""Pictures that a network has embedded: all that a gallery and the calibration of its detector need of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from visim_models.errors import GalleryError, WeightsError
from visim_models.gallery import Gallery
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import MEASUREMENTS

__all__ = ["EmbeddedPictures", "Measured", "thumbnails_of"]

_THUMBNAIL: Final = 16
_MEASURED: Final = "measured."
"""Prefix of the network's measurements among the tensors of a file."""


@dataclass(frozen=True)
class Measured:
    """N pictures, embedded and measured: (N, D) embeddings, and name -> (N,) values."""

    embeddings: Tensor
    values: Mapping[str, Tensor]

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


@dataclass(frozen=True)
class EmbeddedPictures:
    """N pictures, as a network sees them.

    Attributes:
        file_names: N names.
        hashes: (N, 32) uint8, the SHA-256 of each file.
        measured: (N, D) embeddings of float16's precision, as a gallery stores them, and the network's own
            measurements.
        thumbnails: (N, 3, 16, 16) uint8, by which near-duplicates are recognized.
    """

    file_names: list[str]
    hashes: Tensor
    measured: Measured
    thumbnails: Tensor

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def embeddings(self) -> Tensor:
        """Return the (N, D) embeddings."""
        return self.measured.embeddings

    @property
    def sha256(self) -> dict[str, str]:
        """Return file name -> SHA-256 of the file, in hexadecimal."""
        return {name: bytes(row).hex() for name, row in zip(self.file_names, self.hashes.tolist(), strict=True)}

    def subset(self, indices: Sequence[int]) -> Self:
        """Return the pictures at these indices, in this order."""
        rows = torch.as_tensor(indices, dtype=torch.long)
        names = [self.file_names[index] for index in indices]
        return type(self)(names, self.hashes[rows], self.measured.subset(indices), self.thumbnails[rows])

    def renamed(self, file_names: Sequence[str]) -> Self:
        """Return the same pictures under other names."""
        return type(self)(list(file_names), self.hashes, self.measured, self.thumbnails)

    @classmethod
    def concatenate(cls, parts: Sequence["EmbeddedPictures"]) -> Self:
        """Join at least one part."""
        return cls(
            [name for part in parts for name in part.file_names],
            torch.cat([part.hashes for part in parts]),
            Measured.concatenate([part.measured for part in parts]),
            torch.cat([part.thumbnails for part in parts]),
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """Return all but the names and the embeddings, by the names that files give them."""
        values = {f"{_MEASURED}{name}": values for name, values in self.measured.values.items()}
        return {**values, "sha256": self.hashes, "thumbnails": self.thumbnails}

    @classmethod
    def from_tensors(cls, file_names: Sequence[str], embeddings: Any, tensors: Mapping[str, Any]) -> Self:
        """Build the pictures from names, embeddings and `to_tensors`.

        Raises:
            ValueError: a tensor is missing, unexpected or of another shape.
        """
        embeddings, tensors = torch.as_tensor(embeddings), {name: torch.as_tensor(x) for name, x in tensors.items()}
        values = {name.removeprefix(_MEASURED): part for name, part in tensors.items() if name.startswith(_MEASURED)}
        if tensors.keys() != {*(f"{_MEASURED}{name}" for name in values), "sha256", "thumbnails"}:
            raise ValueError(f"it has the tensors {sorted(tensors)}")
        count = len(file_names)
        shapes = [tuple(tensors["sha256"].shape), tuple(tensors["thumbnails"].shape), len(embeddings)]
        lengths = {tuple(part.shape) for part in values.values()}
        if shapes != [(count, 32), (count, 3, _THUMBNAIL, _THUMBNAIL), count] or not lengths <= {(count,)}:
            raise ValueError("it is of another number of pictures")
        measured = Measured(embeddings.float(), {name: part.float() for name, part in values.items()})
        return cls(list(file_names), tensors["sha256"], measured, tensors["thumbnails"])

    def write_files(self, draft: RepoDraft) -> None:
        """Write gallery/measurements.safetensors, which holds all that the gallery's own two files do not keep."""
        draft.write_tensors(MEASUREMENTS, self.to_tensors())

    @classmethod
    def load(cls, repo: RepoFolder, gallery: Gallery) -> Self:
        """Load the pictures of a gallery that `visim build` made.

        Raises:
            GalleryError: something else made the gallery, or its files do not fit together.
            WeightsError: measurements.safetensors is damaged.
        """
        path = repo / MEASUREMENTS
        if not repo.has(MEASUREMENTS):
            raise GalleryError(
                f"{repo.path} has no {MEASUREMENTS}, so its gallery cannot be changed: only `visim build` writes that "
                "file. Build a gallery of all pictures in another folder.",
                path=path,
            )
        try:
            return cls.from_tensors(gallery.file_names, gallery.embeddings, repo.tensors(MEASUREMENTS))
        except ValueError as error:
            if isinstance(error, WeightsError):
                raise
            raise GalleryError(
                f"{path} does not fit the gallery ({error}): build one of all pictures, in another folder.", path=path
            ) from error


def thumbnails_of(pixels: Tensor) -> Tensor:
    """Reduce (N, 3, S, S) uint8 pictures to (N, 3, 16, 16) uint8."""
    return F.interpolate(pixels.float(), size=(_THUMBNAIL, _THUMBNAIL), mode="area").round().to(torch.uint8)
