"""A table of pictures: their names, and an array for each thing that is known of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from visim_models.errors import GalleryError, WeightsError
from visim_models.galleries.near_duplicates import area_scaled
from visim_models.gallery import Gallery
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import MEASUREMENTS

__all__ = ["MEASURED", "THUMBNAIL", "PictureTable", "hash_array", "thumbnails_of"]

Array = npt.NDArray[Any]

THUMBNAIL: Final = 16
"""Side of a thumbnail, in pixels."""
MEASURED: Final = "measured."
"""Prefix of the arrays that hold a measurement."""

_KNOWN: Final[Mapping[str, tuple[tuple[int, ...], type[np.generic]]]] = {
    "sha256": ((32,), np.uint8),
    "thumbnails": ((3, THUMBNAIL, THUMBNAIL), np.uint8),
}
"""Array -> its shape behind N, and its type."""


@dataclass(frozen=True, eq=False)
class PictureTable:
    """N pictures, a row each.

    Attributes:
        file_names: N names.
        arrays: name -> array of N rows. Known are "embeddings", (N, D) float32; "sha256" of the files, (N, 32) uint8;
            "thumbnails" by which near-duplicates are recognized, (N, 3, 16, 16) uint8; and "measured.NAME", (N,)
            floats. Others may follow.

    Raises:
        ValueError: an array has another number of rows, or a known one another shape or type.
    """

    file_names: list[str]
    arrays: dict[str, Array]

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            shape, kind = _KNOWN.get(name, (array.shape[1:], None))
            if name == "embeddings":
                shape, kind = array.shape[1:2] or (-1,), np.float32
            elif name.startswith(MEASURED):
                shape = ()
            if array.shape != (len(self), *shape) or (kind is not None and array.dtype != kind):
                raise ValueError(f"{name} is {array.shape} {array.dtype} of {len(self):,} pictures")

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, name: str) -> Array:
        """Return an array; raises KeyError where there is none of this name."""
        return self.arrays[name]

    @property
    def sha256(self) -> dict[str, str]:
        """Return file name -> SHA-256 of the file, in hexadecimal."""
        return {name: row.tobytes().hex() for name, row in zip(self.file_names, self.arrays["sha256"], strict=True)}

    @property
    def measured(self) -> dict[str, Array]:
        """Return name -> (N,) measurement."""
        return {name.removeprefix(MEASURED): array for name, array in self.arrays.items() if name.startswith(MEASURED)}

    def subset(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Self:
        """Return the pictures at these indices, in this order."""
        rows = np.asarray(indices, dtype=np.int64)
        names = [self.file_names[row] for row in rows.tolist()]
        return type(self)(names, {name: array[rows] for name, array in self.arrays.items()})

    def in_order(self) -> Self:
        """Return the pictures sorted by name."""
        return self.subset(sorted(range(len(self)), key=self.file_names.__getitem__))

    def renamed(self, file_names: Sequence[str]) -> Self:
        """Return the same pictures under other names."""
        return type(self)(list(file_names), self.arrays)

    def with_arrays(self, **arrays: Array) -> Self:
        """Return the pictures with further arrays, or with others of these names."""
        return type(self)(self.file_names, {**self.arrays, **arrays})

    @classmethod
    def concatenate(cls, parts: Sequence["PictureTable"]) -> Self:
        """Join at least one part; all have the same arrays."""
        return cls(
            [name for part in parts for name in part.file_names],
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0].arrays},
        )

    def write_files(self, draft: RepoDraft) -> None:
        """Write gallery/measurements.safetensors, which holds all that the gallery's own two files do not keep."""
        kept = {name: array for name, array in self.arrays.items() if name != "embeddings"}
        draft.write_tensors(MEASUREMENTS, kept)

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
            arrays = dict(repo.tensors(MEASUREMENTS))
            if unknown := {name for name in arrays if name not in _KNOWN and not name.startswith(MEASURED)}:
                raise ValueError(f"it has unexpected {sorted(unknown)}")
            if missing := _KNOWN.keys() - arrays.keys():
                raise ValueError(f"it lacks {sorted(missing)}")
            return cls(gallery.file_names, {"embeddings": gallery.embeddings, **arrays})
        except ValueError as error:
            if isinstance(error, WeightsError):
                raise
            raise GalleryError(
                f"{path} does not fit the gallery ({error}): build one of all pictures, in another folder.", path=path
            ) from error


def hash_array(hashes: Iterable[str]) -> npt.NDArray[np.uint8]:
    """Convert N SHA-256 in hexadecimal to (N, 32) uint8."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(-1, 32).copy()


def thumbnails_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Reduce (N, 3, S, S) uint8 pictures to (N, 3, 16, 16) uint8 by the mean of each area."""
    small: npt.NDArray[np.uint8] = np.rint(area_scaled(pixels, THUMBNAIL)).astype(np.uint8)
    return small
