"""A gallery: file names, labels, further columns and embeddings of its pictures, saved in and loaded from a repo."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models.about import GalleryAbout
from visim_models.errors import GalleryError, GalleryMismatchError, QueryError, VisimError
from visim_models.gallery_texts import KEY_COLUMNS, check_texts, metadata_csv, read_metadata
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import EMBEDDINGS, INDEX, METADATA
from visim_models.search import ExactIndex, PictureTexts, SearchIndex
from visim_models.search.engine import EngineAddress
from visim_models.search.engine_index import EngineIndex
from visim_models.search.results import Match

__all__ = ["Gallery"]

_TENSOR = "embeddings"


class Gallery:
    """The pictures that a search can find.

    Args:
        file_names: N relative paths with forward slashes, each once.
        labels: N labels.
        embeddings: (N, D) floats, unnormalised.
        columns: name -> N further values, such as a price or an address.
        weights_sha256: SHA-256 of the weights file that embedded the pictures.
        processor_sha256: SHA-256 of the preprocessor_config.json that they went through.
        image_root: where the pictures are: a folder, a zip, a list of addresses, or an https, hf:// or s3:// address;
            "" if unknown.
        about: how the gallery describes itself.
        engine: searches all pictures, where they are more than memory holds: the N above are then a sample of them.

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
        engine: EngineIndex | None = None,
    ) -> None:
        matrix = torch.as_tensor(embeddings).float().contiguous()  # (N, D)
        further = {name: list(values) for name, values in (columns or {}).items()}
        self.texts = PictureTexts(list(file_names), list(labels), further)
        self.weights_sha256, self.processor_sha256, self.image_root = weights_sha256, processor_sha256, image_root
        self.about = about or GalleryAbout()
        if matrix.ndim != 2 or not len(matrix) or not matrix.shape[1]:
            raise GalleryError(f"A gallery needs embeddings of shape (N, D), not {tuple(matrix.shape)}.")
        check_texts(self.texts, len(matrix))
        self._indices = {name: index for index, name in enumerate(self.texts.file_names)}
        self._in_memory = ExactIndex(matrix, self.texts)
        self.engine = engine
        self.index: SearchIndex = engine.index if engine else self._in_memory
        if not np.isfinite(self.norms).all():  # a length is not finite either where a value is too large
            raise GalleryError("The gallery has embeddings that are not finite or too large: embed its pictures again.")

    def __len__(self) -> int:
        return len(self.index)

    @property
    def file_names(self) -> list[str]:
        """Return the N file names: of a gallery in an engine, those of its sample."""
        return self.texts.file_names

    @property
    def labels(self) -> list[str]:
        """Return the N labels, in the order of the file names."""
        return self.texts.labels

    @labels.setter
    def labels(self, labels: Sequence[str]) -> None:
        self.texts.labels = list(labels)

    @property
    def columns(self) -> dict[str, list[str]]:
        """Return the further columns: name -> N values."""
        return self.texts.columns

    @columns.setter
    def columns(self, columns: Mapping[str, Sequence[str]]) -> None:
        self.texts.columns = {name: list(values) for name, values in columns.items()}

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """Return the (N, D) float32 embeddings, unnormalised; they share the gallery's memory."""
        return self._in_memory.embeddings.numpy()

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """Return the (N,) lengths of the embeddings."""
        return self._in_memory.norms

    def index_of(self, file_name: str) -> int:
        """Return the index of a picture.

        Raises:
            QueryError: the gallery has no such picture.
        """
        try:
            return self._indices[file_name]
        except KeyError:
            raise QueryError(f"The gallery has no picture {file_name!r}.", key="file_name") from None

    def embedding(self, file_name: str) -> npt.NDArray[np.float32]:
        """Return the (D,) embedding of a picture.

        Raises:
            QueryError: the gallery has no such picture.
            EngineError: the engine does not answer within the deadline.
        """
        if file_name not in self._indices and self.engine:
            return self.index.embedding(file_name)
        embedding: npt.NDArray[np.float32] = self.embeddings[self.index_of(file_name)]
        return embedding

    def search(
        self, queries: npt.NDArray[np.floating[Any]] | Tensor, *, top_k: int, label: str | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Find the `top_k` nearest pictures of each query by cosine similarity, nearest first.

        Args:
            queries: (Q, D) embeddings, unnormalised.
            top_k: how many to find, 1 to the gallery's size.
            label: find pictures with this label alone; None for all.

        Returns:
            scores: (Q, k) cosines in [-1, 1]; 0 where an embedding is all zeros.
            indices: (Q, k) of the pictures; of equal scores the lower index comes first. k is `top_k`, or less where
                fewer pictures have the label.

        Raises:
            QueryError: `top_k` or the width of the queries does not fit this gallery.
            EngineError: the engine does not answer within the deadline.
        """
        return self.index.search(queries, top_k=top_k, label=label)

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

        Raises:
            QueryError: the gallery has been replaced since it was searched.
            EngineError: the engine does not answer within the deadline.
        """
        texts = self.index.texts(indices)
        return [
            Match(
                texts.file_names[row],
                texts.labels[row],
                float(score),
                dict(texts.row(row)),
                None if probability is None else probability(float(score)),
            )
            for row, score in enumerate(scores)
        ]

    def subset(self, indices: Sequence[int]) -> "Gallery":
        """Return a gallery in memory of the pictures in memory at these indices, in this order."""
        return self._in_memory_of(
            self._in_memory.embeddings[torch.as_tensor(indices, dtype=torch.long)], self.texts.subset(indices)
        )

    def whole(self) -> "Gallery":
        """Return a gallery of all pictures in memory: this one, or a copy of one in an engine.

        Raises:
            EngineError: the engine does not answer within the deadline.
        """
        if self.engine is None:
            return self
        parts = list(self.index.scan())
        texts = PictureTexts([], [], {name: [] for name in self.columns})
        for _, part in parts:
            texts.extend(part)
        return self._in_memory_of(torch.cat([embeddings for embeddings, _ in parts]), texts)

    def _in_memory_of(self, embeddings: Tensor, texts: PictureTexts) -> "Gallery":
        return Gallery(
            texts.file_names,
            texts.labels,
            embeddings,
            columns=texts.columns,
            weights_sha256=self.weights_sha256,
            processor_sha256=self.processor_sha256,
            image_root=self.image_root,
            about=self.about,
        )

    def write_files(self, draft: RepoDraft) -> None:
        """Write gallery/metadata.csv, gallery/embeddings.safetensors (float16), about.json and index.json into a draft.

        Raises:
            GalleryError: an embedding is beyond float16.
        """
        draft.write_text(METADATA, metadata_csv(self.texts))
        stored = self._in_memory.embeddings.half()
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
        if self.engine:
            self.engine.settings.write_files(draft)
        else:
            draft.drop(INDEX)

    @classmethod
    def load(
        cls,
        repo: RepoFolder,
        *,
        weights_sha256: str | None = None,
        processor_sha256: str | None = None,
        address: EngineAddress | None = None,
        sample: bool = False,
    ) -> Self:
        """Load the gallery of a repo folder.

        Args:
            repo: the repo folder.
            weights_sha256: hash of the weights that will embed queries; None leaves the gallery's unchecked.
            processor_sha256: hash of the processor's configuration; None leaves the gallery's unchecked.
            address: where the engine of a gallery in an engine is; by default where VISIM_INDEX_URI says.
            sample: of a gallery in an engine, load only the pictures that the repo has.

        Raises:
            GalleryError: a file is missing or damaged, or the two do not fit together.
            GalleryMismatchError: the gallery is of other weights or of another processor.
            EngineError: the gallery is in an engine, and nobody says where that is.
        """
        path = repo / EMBEDDINGS
        try:
            count, *_ = repo.shapes(EMBEDDINGS).get(_TENSOR) or (0,)
            columns = read_metadata(repo / METADATA, count=count)  # before memory is taken for the embeddings
            about = GalleryAbout.load(repo)
            about.check_fits(columns.keys() - set(KEY_COLUMNS))
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
        engine = None if sample else EngineIndex.load(repo, header, tensors[_TENSOR].shape[-1], address)
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
                engine=engine,
            )
        except GalleryError as error:
            raise GalleryError(f"{path.parent}: {error}", path=path.parent) from error
