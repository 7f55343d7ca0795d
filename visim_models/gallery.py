"""A gallery: file names, labels and embeddings of its pictures, saved and loaded as a folder, searched exactly."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models import repository
from visim_models.errors import GalleryError, GalleryMismatchError, QueryError, VisimError

__all__ = ["GALLERY_FOLDER", "Gallery"]

GALLERY_FOLDER = "gallery"

_METADATA_FILE = "metadata.csv"
_EMBEDDINGS_FILE = "embeddings.safetensors"
_TENSOR = "embeddings"
_SCORES_SHARE = 0.05
_LEAST_SCORES = 2**22
"""Scores held at once: of a large gallery, that share of its matrix in memory; of a small one, at least 16 MiB."""


class Gallery:
    """Pictures to be found, by their embeddings.

    Args:
        file_names: N relative paths with forward slashes, each once.
        labels: N labels.
        embeddings: (N, D) floats, unnormalised.
        weights_sha256: SHA-256 of the weights file that embedded them.
        processor_sha256: SHA-256 of the preprocessor_config.json that they went through.
        image_root: where `file_names` lie: a folder, a zip, an https address or `hf://datasets/...`; "" if unknown.

    Raises:
        GalleryError: the three differ in length, are empty or not finite, or a name is repeated or leaves the root.
    """

    def __init__(
        self,
        file_names: Sequence[str],
        labels: Sequence[str],
        embeddings: npt.NDArray[Any] | Tensor,
        *,
        weights_sha256: str = "",
        processor_sha256: str = "",
        image_root: str = "",
    ) -> None:
        self._matrix = torch.as_tensor(embeddings).float().contiguous()  # (N, D)
        self.file_names, self.labels = list(file_names), list(labels)
        self.weights_sha256, self.processor_sha256, self.image_root = weights_sha256, processor_sha256, image_root
        if self._matrix.ndim != 2 or not len(self._matrix) or not self._matrix.shape[1]:
            raise GalleryError(f"A gallery needs embeddings of shape (N, D), not {tuple(self._matrix.shape)}.")
        if not len(self.file_names) == len(self.labels) == len(self._matrix):
            raise GalleryError(
                f"The gallery has {len(self.file_names)} file names and {len(self.labels)} labels, "
                f"but {len(self._matrix)} embeddings: they must be of one length."
            )
        if not all(map(math.isfinite, self._matrix.aminmax())):  # torch.isfinite would need the memory twice over
            raise GalleryError("The gallery has embeddings that are not finite: embed its pictures again.")
        self._places = {name: place for place, name in enumerate(self.file_names)}
        if len(self._places) != len(self.file_names):
            raise GalleryError("The gallery has a file name twice.")
        for name in self.file_names:
            _check_file_name(name)
        # Dividing the scores by the lengths instead of keeping normalised copies halves the memory.
        self._inverse_norms = self._matrix.norm(dim=1).clamp(min=1e-12).reciprocal()  # (N,)

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """(N, D) float32, unnormalised; shares the gallery's memory."""
        return self._matrix.numpy()

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """(N,) lengths of the embeddings."""
        norms: npt.NDArray[np.float32] = self._inverse_norms.reciprocal().numpy()
        return norms

    def place(self, file_name: str) -> int:
        """The row of a file name.

        Raises:
            QueryError: the gallery has no such picture.
        """
        try:
            return self._places[file_name]
        except KeyError:
            raise QueryError(f"The gallery has no picture {file_name!r}.") from None

    def search(
        self, queries: npt.NDArray[np.floating[Any]] | Tensor, *, top_k: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The `top_k` nearest of each query by cosine similarity, over all pictures, nearest first.

        Of equal scores, the one of the lower row comes first.

        Args:
            queries: (Q, D) embeddings, unnormalised.
            top_k: how many, 1 to N.

        Returns:
            scores: (Q, top_k) cosines in [-1, 1]; 0 where an embedding is all zeros.
            places: (Q, top_k) rows of the gallery.

        Raises:
            QueryError: `top_k` or the width of the queries does not fit this gallery.
        """
        rows = torch.as_tensor(queries).float()  # (Q, D)
        if rows.ndim != 2 or rows.shape[1] != self._matrix.shape[1]:
            raise QueryError(f"Queries must be of shape (Q, {self._matrix.shape[1]}), not {tuple(rows.shape)}.")
        if not torch.isfinite(rows).all():
            raise QueryError(
                "A query has values that are not finite: the network or its processor does not fit the picture."
            )
        count = self.checked_top_k(top_k)
        rows = torch.nn.functional.normalize(rows, dim=1)
        at_once = max(int(self._matrix.numel() * _SCORES_SHARE), _LEAST_SCORES) // len(self) or 1
        scores, places = [], []
        for block in rows.split(at_once):
            cosines = self._products(block).mul_(self._inverse_norms)  # (B, N)
            best, where = _best(cosines, count)  # (B, k)
            scores.append(best.clamp_(-1, 1))
            places.append(where)
        return torch.cat(scores).numpy(), torch.cat(places).numpy()

    def _products(self, rows: Tensor) -> Tensor:
        """(B, D) -> (B, N) inner products with all embeddings."""
        if len(rows) == 1:  # numpy's OpenBLAS reads the matrix at twice the speed of torch's MKL on AMD's processors
            return torch.from_numpy(self._matrix.numpy() @ rows[0].numpy())[None]
        # The large matrix on the left: on the right of a few rows, it would be copied to be packed.
        return (self._matrix @ rows.T).T

    def checked_top_k(self, top_k: int) -> int:
        """`top_k`, where this gallery can give so many.

        Raises:
            QueryError: it is no whole number from 1 to the gallery's size.
        """
        if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or not 1 <= top_k <= len(self):
            raise QueryError(f"top_k is {top_k!r}: choose a whole number from 1 to {len(self)}, the gallery's size.")
        return int(top_k)

    def subset(self, places: Sequence[int]) -> "Gallery":
        """A gallery of the pictures in these rows only."""
        return Gallery(
            [self.file_names[place] for place in places],
            [self.labels[place] for place in places],
            self._matrix[torch.as_tensor(places, dtype=torch.long)],
            weights_sha256=self.weights_sha256,
            processor_sha256=self.processor_sha256,
            image_root=self.image_root,
        )

    def write_files(self, folder: Path) -> None:
        """Write metadata.csv and embeddings.safetensors (float16) into `folder`/gallery.

        Raises:
            GalleryError: an embedding is beyond what float16 holds.
        """
        target = folder / GALLERY_FOLDER
        target.mkdir(parents=True, exist_ok=True)
        with (target / _METADATA_FILE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file_name", "label"])
            writer.writerows(zip(self.file_names, self.labels, strict=True))
        stored = self._matrix.half()
        if not torch.isfinite(stored).all():
            raise GalleryError("The gallery has embeddings beyond what float16 holds: it cannot be stored.")
        header = {
            "weights_sha256": self.weights_sha256,
            "processor_sha256": self.processor_sha256,
            "image_root": self.image_root,
        }
        repository.write_tensors(target / _EMBEDDINGS_FILE, {_TENSOR: stored}, metadata=header)

    @classmethod
    def load(cls, folder: Path, *, weights_sha256: str | None = None, processor_sha256: str | None = None) -> Self:
        """The gallery of a repo folder.

        Args:
            folder: the repo folder.
            weights_sha256: of the weights that queries will be embedded by; None leaves them unchecked.
            processor_sha256: of the processor's configuration; likewise.

        Raises:
            GalleryError: a file is missing or damaged, or the two do not fit together.
            GalleryMismatchError: the gallery is of other weights or of another processor.
        """
        file_names, labels = _read_metadata(folder / GALLERY_FOLDER / _METADATA_FILE)
        path = folder / GALLERY_FOLDER / _EMBEDDINGS_FILE
        try:
            tensors, header = repository.read_tensors(path), repository.read_metadata(path)
        except VisimError as error:
            raise GalleryError(str(error)) from error
        for key, expected in (("weights_sha256", weights_sha256), ("processor_sha256", processor_sha256)):
            if expected is not None and header.get(key) != expected:
                raise GalleryMismatchError(
                    f"{path} was made by other {key.removesuffix('_sha256')} (its {key} is {header.get(key)!r}, this "
                    f"repo's is {expected!r}): embed the gallery again, or restore the files that it was made with."
                )
        if set(tensors) != {_TENSOR} or not tensors[_TENSOR].is_floating_point():
            raise GalleryError(f"{path} must hold one float tensor, {_TENSOR!r}, but holds {sorted(tensors)}.")
        try:
            return cls(
                file_names,
                labels,
                tensors[_TENSOR],
                weights_sha256=header.get("weights_sha256", ""),
                processor_sha256=header.get("processor_sha256", ""),
                image_root=header.get("image_root", ""),
            )
        except GalleryError as error:
            raise GalleryError(f"{folder / GALLERY_FOLDER}: {error}") from error


def _best(cosines: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row, (B, N) -> (B, k) values and places; of equal values, the lowest places in order.

    `topk` leaves open which of equal values it takes, and in which order.
    """
    found = cosines.topk(min(count + 1, cosines.shape[1]), dim=1)  # one more shows whether it had to choose
    places, by_place = found.indices[:, :count].sort(dim=1)
    values, order = found.values[:, :count].gather(1, by_place).sort(dim=1, descending=True, stable=True)
    places = places.gather(1, order)  # (B, k)
    if found.values.shape[1] > count:
        for row in (found.values[:, count - 1] == found.values[:, count]).nonzero()[:, 0].tolist():
            at_least = (cosines[row] >= found.values[row, count]).nonzero()[:, 0]  # (n,) in order of places
            values[row], order_of_row = (
                part[:count] for part in cosines[row, at_least].sort(descending=True, stable=True)
            )
            places[row] = at_least[order_of_row]
    return values, places


def _read_metadata(path: Path) -> tuple[list[str], list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), strict=True))
    except FileNotFoundError as error:
        raise GalleryError(f"{path.parent} has no {path.name}: export or download the gallery again.") from error
    except (OSError, ValueError, csv.Error) as error:
        raise GalleryError(f"{path} cannot be read as CSV ({error}): restore the file.") from error
    if not rows or rows[0] != ["file_name", "label"]:
        raise GalleryError(f"{path} must begin with the row file_name,label.")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2:
            raise GalleryError(f"{path}, row {number} has {len(row)} values; it must have a file_name and a label.")
    return [row[0] for row in rows[1:]], [row[1] for row in rows[1:]]


def _check_file_name(name: str) -> None:
    """A name comes from a file that anyone may have written, and is later looked up under the image root."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or not name.isprintable():
        raise GalleryError(f"The file name {name!r} is empty, absolute, leaves the image root, or has odd characters.")
