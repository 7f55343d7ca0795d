"""A gallery: file names, labels, further columns and embeddings of its pictures, and how it describes itself.

In a repo folder it is gallery/metadata.csv, gallery/embeddings.safetensors, and gallery/about.json, which its owner may
edit by hand: {"title": "Oak & Sons", "one": "a chair", "many": "chairs", "columns": ["price"], "link": "url"}.
"""

import csv
import io
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self, Unpack

import numpy as np
import numpy.typing as npt

from visim_models.errors import (
    ConfigurationError,
    GalleryError,
    GalleryMismatchError,
    ImageSourceError,
    QueryError,
    VisimError,
)
from visim_models.repo_folder import FindOptions, RepoDraft, RepoFolder
from visim_models.repo_folder.formats import read_json, read_text
from visim_models.repo_folder.manifest import ABOUT, EMBEDDINGS, INDEX, METADATA
from visim_models.search import ExactIndex, PictureTexts, SearchIndex
from visim_models.search.engine import EngineAddress
from visim_models.search.milvus import EngineIndex
from visim_models.search.results import Match
from visim_models.search.where import Where
from visim_models.sources.file_names import check_file_name

__all__ = ["Gallery", "GalleryAbout", "is_link"]

_TENSOR: Final = "embeddings"
_KEY_COLUMNS: Final = ["file_name", "label"]
_LONGEST: Final = {"title": 120, "one": 60, "many": 60, "description": 2000, "link": 100}
_LONGEST_LINK: Final = 2000
_MOST_COLUMNS: Final = 20
_HEAD_BYTES: Final = 2**20
_ROW_BYTES: Final = 2**14
"""Most bytes of metadata.csv beside its rows, and of each row."""


@dataclass(frozen=True, kw_only=True)
class GalleryAbout:
    """What a gallery says of itself. The texts are anyone's: who shows them escapes them.

    Attributes:
        title: heading of its page; "" for none.
        one: what one of its pictures shows, in the singular with its article: "a chair".
        many: the same in the plural: "chairs".
        description: a few sentences; "" for none.
        columns: the further columns that are shown beside a match.
        link: the column with the address that a match links to; "" for none.

    Raises:
        ConfigurationError: a text is too long or cannot be printed, or a column is named twice.
    """

    title: str = ""
    one: str = "a picture like these"
    many: str = "pictures like these"
    description: str = ""
    columns: tuple[str, ...] = ()
    link: str = ""

    def __post_init__(self) -> None:
        for key, longest in _LONGEST.items():
            text = getattr(self, key)
            if not isinstance(text, str) or len(text) > longest or not text.replace("\n", "").isprintable():
                raise ConfigurationError(f"{key} must be a text of at most {longest} printable characters.", key=key)
        if not self.one or not self.many:
            raise ConfigurationError("one and many must not be empty: leave them out for the usual words.", key="one")
        if len(self.columns) > _MOST_COLUMNS or len(set(self.columns)) != len(self.columns):
            raise ConfigurationError(
                f"columns must be at most {_MOST_COLUMNS} names of columns, each once.", key="columns"
            )

    def check_fits(self, columns: Collection[str]) -> None:
        """Check that the columns that are shown exist.

        Raises:
            ConfigurationError: one does not.
        """
        for name in (*self.columns, self.link):
            if name and name not in columns:
                raise ConfigurationError(
                    f"There is no column {name!r} to show: the gallery has the columns {sorted(columns)}.", key=name
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the content of about.json.

        Raises:
            ConfigurationError: a key is unknown or has a value that does not fit.
        """
        known = {each.name for each in fields(cls)}
        if unknown := set(values) - known:
            raise ConfigurationError(f"unknown keys {sorted(unknown)}: it may have {sorted(known)}.")
        columns = values.get("columns", [])
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise ConfigurationError("columns must be a list of names.", key="columns")
        return cls(**{**values, "columns": tuple(columns)})

    @classmethod
    def load(cls, repo: RepoFolder) -> Self:
        """Load the description of a repo folder's gallery; the usual one where it has none.

        Raises:
            ConfigurationError: about.json has a key that is unknown or does not fit.
        """
        if not repo.has(ABOUT):
            return cls()
        try:
            return cls.from_dict(repo.json(ABOUT))
        except ConfigurationError as error:
            raise ConfigurationError(f"{repo / ABOUT}: {error}", path=repo / ABOUT, key=error.key) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the content of about.json."""
        return {**asdict(self), "columns": list(self.columns)}

    def write_files(self, draft: RepoDraft) -> None:
        """Write gallery/about.json into a draft; one that says the same already stays as its owner wrote it."""
        old = draft.old(ABOUT)
        if old is None or type(self).from_dict(read_json(old)) != self:
            draft.write_json(ABOUT, self.to_dict())


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
        embeddings: npt.NDArray[Any],
        *,
        columns: Mapping[str, Sequence[str]] | None = None,
        weights_sha256: str = "",
        processor_sha256: str = "",
        image_root: str = "",
        about: GalleryAbout | None = None,
        engine: EngineIndex | None = None,
    ) -> None:
        with np.errstate(over="ignore"):  # refused below
            matrix = np.ascontiguousarray(embeddings, np.float32)  # (N, D)
        further = {name: list(values) for name, values in (columns or {}).items()}
        self.texts = PictureTexts(list(file_names), list(labels), further)
        self.weights_sha256, self.processor_sha256, self.image_root = weights_sha256, processor_sha256, image_root
        self.about = about or GalleryAbout()
        if matrix.ndim != 2 or not len(matrix) or not matrix.shape[1]:
            raise GalleryError(f"A gallery needs embeddings of shape (N, D), not {matrix.shape}.")
        _check_texts(self.texts, len(matrix))
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
        return self._in_memory.embeddings

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """Return the (N,) lengths of the embeddings."""
        return self._in_memory.norms

    def index_of(self, file_name: str) -> int:
        """Return the index of a picture.

        Raises:
            QueryError: the gallery has no such picture.
        """
        if file_name not in self._indices:
            raise QueryError(f"The gallery has no picture {file_name!r}.", key="file_name")
        return self._indices[file_name]

    def embedding(self, file_name: str) -> npt.NDArray[np.float32]:
        """Return the (D,) embedding of a picture.

        Raises:
            QueryError: the gallery has no such picture.
            EngineError: the engine does not answer within the deadline.
        """
        if file_name not in self._indices and self.engine:
            return self.index.embedding(file_name)
        return self.embeddings[self.index_of(file_name)]  # type: ignore[no-any-return]

    def search(
        self, queries: npt.NDArray[np.floating[Any]], *, top_k: int, label: str | None = None, where: str | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Find the `top_k` nearest pictures of each query by cosine similarity, nearest first.

        Args:
            queries: (Q, D) embeddings, unnormalised.
            top_k: how many to find at most.
            label: find pictures with this label alone; None for all.
            where: find pictures that this filter by columns lets through alone: 'price < 20000 and city == "Bonn"'.

        Returns:
            scores: (Q, k) cosines in [-1, 1]; 0 where an embedding is all zeros.
            indices: (Q, k) of the pictures; of equal scores the lower index comes first. k is `top_k`, or less where
                fewer pictures have the label.

        Raises:
            QueryError: `top_k` is no whole number from 1 on, or the queries or the filter do not fit this gallery.
            EngineError: the engine does not answer within the deadline.
        """
        return self.index.search(queries, top_k=top_k, label=label, where=Where.parse(where) if where else None)

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
        return self._in_memory_of(self.embeddings[np.asarray(indices, np.intp)], self.texts.subset(indices))

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
        return self._in_memory_of(np.concatenate([embeddings for embeddings, _ in parts]), texts)

    def _in_memory_of(self, embeddings: npt.NDArray[np.float32], texts: PictureTexts) -> "Gallery":
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
        draft.write_text(METADATA, _metadata_csv(self.texts))
        with np.errstate(over="ignore"):
            stored = self.embeddings.astype(np.float16)
        if not np.isfinite(stored).all():
            raise GalleryError("The gallery has embeddings beyond float16: it cannot be stored.")
        header = {key: getattr(self, key) for key in ("weights_sha256", "processor_sha256", "image_root")}
        draft.write_tensors(EMBEDDINGS, {_TENSOR: stored}, metadata=header)
        if self.about != GalleryAbout():
            self.about.write_files(draft)
        if self.engine:
            self.engine.settings.write_files(draft)
        else:
            draft.drop(INDEX)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | RepoFolder,
        *,
        index_uri: str | None = None,
        index_token: str | None = None,
        **options: Unpack[FindOptions],
    ) -> Self:
        """Load the gallery of a folder or of a Hub repo.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", or an open repo folder.
            index_uri: where the engine of a gallery in an engine is; by default that of VISIM_INDEX_URI.
            index_token: for that engine; by default that of VISIM_INDEX_TOKEN.
            options: where to look for it, as `RepoFolder.find` takes them.

        Raises:
            RepositoryError: the folder or repo cannot be found or downloaded.
            GalleryError: a file is missing or damaged, or the two do not fit together.
            EngineError: the gallery is in an engine, and nobody says where that is.
        """
        return cls.load(RepoFolder.find(source, **options), address=EngineAddress.given(index_uri, index_token))

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
        if tensors[_TENSOR].dtype.kind != "f":
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


def is_link(text: str) -> bool:
    """Return whether a text is an address that a page may link to: http or https, printable, without spaces."""
    is_address = text.startswith(("http://", "https://")) and text.isprintable() and " " not in text
    return is_address and len(text) <= _LONGEST_LINK


def _check_texts(texts: PictureTexts, count: int) -> None:
    """Check the texts of `count` pictures.

    Raises:
        GalleryError: there are more or fewer, a column or a file name is there twice, or a name leaves the root.
    """
    for name, values in texts.by_column().items():
        if len(values) != count:
            raise GalleryError(
                f"There are {len(values)} values of {name}, and {count} embeddings: they must be of one length.",
                key=name,
            )
    if repeated := set(texts.columns) & set(_KEY_COLUMNS):
        raise GalleryError(f"The gallery has the column {sorted(repeated)[0]} twice.")
    if len(set(texts.file_names)) != count:
        raise GalleryError("The gallery has a file name twice.")
    for name in texts.file_names:
        try:
            check_file_name(name)
        except ImageSourceError as error:
            raise GalleryError(str(error), key=name) from error


def _metadata_csv(texts: PictureTexts) -> str:
    """Return the text of metadata.csv."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*_KEY_COLUMNS, *texts.columns])
    writer.writerows(zip(texts.file_names, texts.labels, *texts.columns.values(), strict=True))
    return table.getvalue()


def _read_metadata(path: Path, *, count: int) -> dict[str, list[str]]:
    """Read metadata.csv, which must have as many rows as there are embeddings: column -> values.

    Raises:
        GalleryError: the file is missing or damaged, or has another number of rows.
    """
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
