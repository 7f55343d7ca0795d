"""A gallery: file names, labels, further columns and embeddings of its pictures, saved in and loaded from a repo."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models.about import GalleryAbout
from visim_models.errors import GalleryError, GalleryMismatchError, ImageSourceError, QueryError, VisimError
from visim_models.file_names import check_file_name
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.formats import read_text
from visim_models.repo_folder.manifest import EMBEDDINGS, METADATA
from visim_models.results import Match
from visim_models.search import ExactIndex

__all__ = ["Gallery"]

_TENSOR = "embeddings"
_HEAD_BYTES = 2**20
_ROW_BYTES = 2**14
"""Most bytes of metadata.csv beside its rows, and of each row."""
_KEY_COLUMNS = ["file_name", "label"]


class Gallery:
    """The pictures that a search can find.

    Args:
        file_names: N relative paths with forward slashes, each once.
        labels: N labels.
        embeddings: (N, D) floats, unnormalised.
        columns: name -> N further values, such as a price or an address.
        weights_sha256: SHA-256 of the weights file that embedded the pictures.
        processor_sha256: SHA-256 of the preprocessor_config.json that they went through.
        image_root: where the pictures are: a folder, a zip, an https address or `hf://datasets/...`; "" if unknown.
        about: how the gallery describes itself.

    Raises:
        GalleryError: the parts differ in length, are empty or not finite, or a name is repeated or leaves the root.
    """

    def __init__(
        self,
        file_names: Sequence[str],
        labels: Sequence[str],
        embeddings: npt.NDArray[Any] | Tensor,
        *,
        columns: Mapping[str, Sequence[str]] | None = None,
        weights_sha256: str = "",
        processor_sha256: str = "",
        image_root: str = "",
        about: GalleryAbout | None = None,
    ) -> None:
        matrix = torch.as_tensor(embeddings).float().contiguous()  # (N, D)
        self.file_names, self.labels = list(file_names), list(labels)
        self.columns = {name: list(values) for name, values in (columns or {}).items()}
        self.weights_sha256, self.processor_sha256, self.image_root = weights_sha256, processor_sha256, image_root
        self.about = about or GalleryAbout()
        if matrix.ndim != 2 or not len(matrix) or not matrix.shape[1]:
            raise GalleryError(f"A gallery needs embeddings of shape (N, D), not {tuple(matrix.shape)}.")
        self._check_columns(len(matrix))
        self.index = ExactIndex(matrix)
        if not np.isfinite(self.index.norms).all():  # a length is not finite either where a value is too large
            raise GalleryError("The gallery has embeddings that are not finite or too large: embed its pictures again.")

    def _check_columns(self, count: int) -> None:
        for name, values in {"file_name": self.file_names, "label": self.labels, **self.columns}.items():
            if len(values) != count:
                raise GalleryError(
                    f"There are {len(values)} values of {name}, and {count} embeddings: they must be of one length.",
                    key=name,
                )
        if repeated := set(self.columns) & set(_KEY_COLUMNS):
            raise GalleryError(f"The gallery has the column {sorted(repeated)[0]} twice.")
        self._indices = {name: index for index, name in enumerate(self.file_names)}
        if len(self._indices) != len(self.file_names):
            raise GalleryError("The gallery has a file name twice.")
        for name in self.file_names:
            try:
                check_file_name(name)
            except ImageSourceError as error:
                raise GalleryError(str(error), key=name) from error

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """Return the (N, D) float32 embeddings, unnormalised; they share the gallery's memory."""
        return self.index.embeddings.numpy()

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """Return the (N,) lengths of the embeddings."""
        return self.index.norms

    def index_of(self, file_name: str) -> int:
        """Return the index of a picture.

        Raises:
            QueryError: the gallery has no such picture.
        """
        try:
            return self._indices[file_name]
        except KeyError:
            raise QueryError(f"The gallery has no picture {file_name!r}.", key="file_name") from None

    def search(
        self, queries: npt.NDArray[np.floating[Any]] | Tensor, *, top_k: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Find the `top_k` nearest pictures of each query by cosine similarity, nearest first.

        Args:
            queries: (Q, D) embeddings, unnormalised.
            top_k: how many to find, 1 to N.

        Returns:
            scores: (Q, top_k) cosines in [-1, 1]; 0 where an embedding is all zeros.
            indices: (Q, top_k) of the pictures; of equal scores the lower index comes first.

        Raises:
            QueryError: `top_k` or the width of the queries does not fit this gallery.
        """
        return self.index.search(queries, top_k=top_k)

    def matches(
        self,
        scores: npt.NDArray[np.float32],
        indices: npt.NDArray[np.int64],
        *,
        probability: Callable[[float], float] | None = None,
    ) -> list[Match]:
        """Return the matches of one query.

        Args:
            scores: (k,) cosines, highest first.
            indices: (k,) of the matches.
            probability: score -> how probable a true match is; None where it is unknown.
        """
        return [
            Match(
                self.file_names[index],
                self.labels[index],
                float(score),
                {name: values[index] for name, values in self.columns.items()},
                None if probability is None else probability(float(score)),
            )
            for score, index in zip(scores, indices.tolist(), strict=True)
        ]

    def subset(self, indices: Sequence[int]) -> "Gallery":
        """Return a gallery of the pictures at these indices, in this order."""
        return Gallery(
            [self.file_names[index] for index in indices],
            [self.labels[index] for index in indices],
            self.index.embeddings[torch.as_tensor(indices, dtype=torch.long)],
            columns={name: [values[index] for index in indices] for name, values in self.columns.items()},
            weights_sha256=self.weights_sha256,
            processor_sha256=self.processor_sha256,
            image_root=self.image_root,
            about=self.about,
        )

    def write_files(self, draft: RepoDraft) -> None:
        """Write gallery/metadata.csv, gallery/embeddings.safetensors (float16) and gallery/about.json into a draft.

        Raises:
            GalleryError: an embedding is beyond float16.
        """
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow([*_KEY_COLUMNS, *self.columns])
        writer.writerows(zip(self.file_names, self.labels, *self.columns.values(), strict=True))
        draft.write_text(METADATA, table.getvalue())
        stored = self.index.embeddings.half()
        if not torch.isfinite(stored).all():
            raise GalleryError("The gallery has embeddings beyond float16: it cannot be stored.")
        header = {
            "weights_sha256": self.weights_sha256,
            "processor_sha256": self.processor_sha256,
            "image_root": self.image_root,
        }
        draft.write_tensors(EMBEDDINGS, {_TENSOR: stored}, metadata=header)
        if self.about != GalleryAbout():
            self.about.write_files(draft)

    @classmethod
    def load(cls, repo: RepoFolder, *, weights_sha256: str | None = None, processor_sha256: str | None = None) -> Self:
        """Load the gallery of a repo folder.

        Args:
            repo: the repo folder.
            weights_sha256: hash of the weights that will embed queries; None leaves the gallery's unchecked.
            processor_sha256: hash of the processor's configuration; None leaves the gallery's unchecked.

        Raises:
            GalleryError: a file is missing or damaged, or the two do not fit together.
            GalleryMismatchError: the gallery is of other weights or of another processor.
        """
        path = repo / EMBEDDINGS
        try:
            count, *_ = repo.shapes(EMBEDDINGS).get(_TENSOR) or (0,)
            columns = _read_metadata(repo / METADATA, count=count)  # before memory is taken for the embeddings
            about = GalleryAbout.load(repo)
            about.check_fits(columns.keys() - set(_KEY_COLUMNS))
            tensors, header = repo.tensors(EMBEDDINGS, names=[_TENSOR]), repo.header(EMBEDDINGS)
        except GalleryError:
            raise
        except VisimError as error:
            raise GalleryError(str(error), path=path) from error
        for key, expected in (("weights_sha256", weights_sha256), ("processor_sha256", processor_sha256)):
            if expected is not None and header.get(key) != expected:
                raise GalleryMismatchError(
                    f"{path} was made by other {key.removesuffix('_sha256')} (its {key} is {header.get(key)!r}, this "
                    f"repo's is {expected!r}): embed the gallery again, or restore the files that it was made with.",
                    path=path,
                    key=key,
                )
        if not tensors[_TENSOR].is_floating_point():
            raise GalleryError(f"{path} must hold one float tensor, {_TENSOR!r}.", path=path)
        try:
            return cls(
                columns.pop("file_name"),
                columns.pop("label"),
                tensors[_TENSOR],
                columns=columns,
                weights_sha256=header.get("weights_sha256", ""),
                processor_sha256=header.get("processor_sha256", ""),
                image_root=header.get("image_root", ""),
                about=about,
            )
        except GalleryError as error:
            raise GalleryError(f"{path.parent}: {error}", path=path.parent) from error


def _read_metadata(path: Path, *, count: int) -> dict[str, list[str]]:
    """Read metadata.csv, which must have as many rows as there are embeddings: column -> values."""
    try:
        text = read_text(path, most=_HEAD_BYTES + count * _ROW_BYTES)
        rows = list(islice(csv.reader(io.StringIO(text, newline=""), strict=True), count + 2))
    except FileNotFoundError as error:
        raise GalleryError(
            f"{path.parent} has no {path.name}: export or download the gallery again.", path=path
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise GalleryError(f"{path} cannot be read as CSV ({error}): restore the file.", path=path) from error
    if not rows or rows[0][:2] != _KEY_COLUMNS:
        raise GalleryError(f"{path} must begin with the columns file_name,label.", path=path)
    names = rows[0]
    if len(set(names)) != len(names) or not all(names):
        raise GalleryError(f"{path} has a column without a name, or one name twice.", path=path)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise GalleryError(f"{path}, row {number} has {len(row)} values, not {len(names)}.", path=path)
    if len(rows) - 1 != count:
        more = "or more " if len(rows) - 1 > count else ""
        raise GalleryError(
            f"{path} has {len(rows) - 1:,} {more}rows for {count:,} embeddings: they must be of one length. Restore "
            "both files, or embed the gallery again.",
            path=path,
        )
    return {name: [row[index] for row in rows[1:]] for index, name in enumerate(names)}
