"""An index in Milvus: a local file (milvus-lite), a server, or a cluster; one client for all of them.

A collection has a row for each picture: its index, file name, label, further columns and embedding. It is filled under
a name of its own and gets its alias, by which galleries name it, only when it is whole: a search never sees one that is
half filled, and a build that is killed changes nothing.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from visim_models.errors import EngineError, GalleryError, GalleryMismatchError, QueryError
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import INDEX
from visim_models.search.engine import (
    SECONDS_A_QUERY,
    EngineAddress,
    IndexSettings,
    MilvusConnection,
    checked_parameters,
)
from visim_models.search.exact import (
    Embeddings,
    Indices,
    PictureTexts,
    Queries,
    Scores,
    SearchIndex,
    checked_queries,
    clamped_top_k,
)
from visim_models.search.where import ColumnValues, Where

__all__ = ["EngineIndex", "MilvusIndex"]

_Hit: TypeAlias = Mapping[str, Any]

_ROWS_AT_ONCE: Final = 2000
_TEXT_FIELDS: Final = ["file_name", "label", "columns"]
_BYTES_AT_ONCE: Final = 16 * 2**20
"""Of the numbers of one insert: Milvus takes 64 MiB in all."""
_LONGEST_TEXT: Final = 65_535
_LONGEST_COLUMNS: Final = 65_536
"""Most bytes of a text, and of all further columns of a picture; milvus-lite would take more."""
_DIGITS: Final = 6
"""Of a score: below, engines differ, and give copies of one picture different scores."""
_MORE: Final = 8
"""How many times more is asked for where a filter lets too little through."""
_TIES: Final = 16
"""Matches that are asked for beyond those that are wanted: an engine gives any of those that score the same."""

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})

_QUERIES_AT_ONCE: Final = 64
_MOST_MATCHES: Final = 16_384  # Milvus gives no more
_BUILT_WITH: Final = {"FLAT": (), "HNSW": ("M", "efConstruction"), "DISKANN": ()}


class MilvusIndex:
    """The pictures of one collection.

    Args:
        address: where the engine is.
        collection: its name, or an alias of it.
        width: D, the length of the embeddings.
        kind: of the index: "FLAT", which is exact, "HNSW" or "DISKANN".
        parameters: of that kind; the usual ones by default.
        count: how many pictures it has; None to ask the engine.
        timeout: deadline of a query, in seconds.

    Raises:
        MissingExtraError: pymilvus is not installed, or milvus-lite for a local file.
    """

    def __init__(
        self,
        address: EngineAddress,
        collection: str,
        *,
        width: int,
        kind: str = "FLAT",
        parameters: Mapping[str, int] | None = None,
        count: int | None = None,
        timeout: float = SECONDS_A_QUERY,
    ) -> None:
        self.collection, self.kind, self._width, self._count = collection, kind, width, count
        self.parameters = checked_parameters(kind, parameters or {})
        self._engine = MilvusConnection(address, timeout=timeout)
        self._is_ready = self._is_changed = False
        self._next = secrets.randbits(62)

    @classmethod
    def create(
        cls,
        address: EngineAddress,
        alias: str,
        *,
        width: int,
        kind: str = "FLAT",
        parameters: Mapping[str, int] | None = None,
        timeout: float = SECONDS_A_QUERY,
    ) -> Self:
        """Make a new, empty collection, which `publish` gives the alias.

        Raises:
            EngineError: the engine cannot be reached, or refuses it.
        """
        name = f"{alias}_{secrets.token_hex(4)}"
        made = cls(address, name, width=width, kind=kind, parameters=parameters, count=0, timeout=timeout)
        schema = _collection_schema(made._engine, width)
        made._engine.call("create_collection", name, schema=schema)
        made._is_changed = True
        return made

    def __len__(self) -> int:
        if self._count is None:
            self._make_ready()
            found = self._engine.call(
                "query", self.collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
            )
            self._count = int(found[0]["count(*)"])
        return self._count

    @property
    def width(self) -> int:
        """Return D, the length of the embeddings."""
        return self._width

    def add(self, embeddings: Embeddings, texts: PictureTexts) -> Indices:
        """Add N pictures with (N, D) embeddings, unnormalised; return their (N,) indices.

        The indices rise from a random number on, so that those of one collection mean nothing in another.

        Raises:
            GalleryMismatchError: the embeddings are of another width.
            GalleryError: a text is longer than the engine takes.
            EngineError: the engine cannot be reached, or refuses them.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.width:
            raise GalleryMismatchError(
                f"The index is of embeddings of {self.width} numbers, but these are of shape {embeddings.shape}: embed "
                "the pictures with the network of the index, or build a new index."
            )
        indices = self._next + np.arange(len(embeddings))  # (N,)
        self._next += len(embeddings)
        rows = np.asarray(embeddings, np.float32)
        for part in _parts_of(indices, rows, texts):
            self._change("insert", part)
        return indices

    def search(
        self, queries: Queries, *, top_k: int, label: str | None = None, where: Where | None = None
    ) -> tuple[Scores, Indices]:
        """Find the nearest of each query, as `SearchIndex.search` says, at most 16,384.

        Of a filter, the engine itself compares texts for equality; the rest is done with what it finds.

        Raises:
            EngineError: the engine does not answer within the deadline.
        """
        rows = checked_queries(queries, self.width)  # (Q, D)
        most = min(len(self), _MOST_MATCHES)
        count = clamped_top_k(top_k, most)
        asked = min(count + _TIES, _MOST_MATCHES)
        hits = self._nearest(rows, asked, label, where)
        while where and (hits := self._let_through(hits, where)) and asked < most and min(map(len, hits)) < count:
            asked = min(_MORE * asked, _MOST_MATCHES)
            hits = self._nearest(rows, asked, label, where)
        return _sorted_hits(hits, count)

    def _nearest(self, rows: Embeddings, count: int, label: str | None, where: Where | None) -> list[list[_Hit]]:
        """Ask the engine for the nearest of each query that have a label and the texts that a filter asks for."""
        found: list[Any] = []
        for start in range(0, len(rows), _QUERIES_AT_ONCE):
            found += self._ask(
                "search",
                data=list(rows[start : start + _QUERIES_AT_ONCE]),
                limit=count,
                filter=_engine_filter(label, where),
                output_fields=["id", *_TEXT_FIELDS] if where else ["id"],
                search_params={"params": self._asked_with(count)},
            )
        return found

    @staticmethod
    def _let_through(hits: list[list[_Hit]], where: Where) -> list[list[_Hit]]:
        """Leave out what a filter does not let through."""
        kept = []
        for found in hits:
            columns = ColumnValues(_texts_of([hit["entity"] for hit in found]).by_column)
            kept.append([found[row] for row in np.flatnonzero(where.mask(columns))] if found else [])
        return kept

    def texts(self, indices: Indices) -> PictureTexts:
        """Return the texts of the pictures at these (n,) indices, in this order."""
        wanted: list[int] = indices.tolist()
        rows: dict[int, Any] = {}
        for start in range(0, len(wanted), _ROWS_AT_ONCE):
            part = wanted[start : start + _ROWS_AT_ONCE]
            found = self._ask("query", filter=f"id in {part}", output_fields=["id", *_TEXT_FIELDS])
            rows |= {row["id"]: row for row in found}
        if gone := [index for index in wanted if index not in rows]:
            raise QueryError(f"The gallery has no picture {gone[0]} any more: search again.")
        return _texts_of([rows[index] for index in wanted])

    def embedding(self, file_name: str) -> npt.NDArray[np.float32]:
        """Return the (D,) embedding of a picture."""
        found = self._ask("query", filter=f"file_name == {_quoted(file_name)}", output_fields=["embedding"], limit=1)
        if not found:
            raise QueryError(f"The gallery has no picture {file_name!r}.", key="file_name")
        embedding: npt.NDArray[np.float32] = np.asarray(found[0]["embedding"], np.float32)
        return embedding

    def scan(self) -> Iterator[tuple[Embeddings, PictureTexts]]:
        """Yield all pictures in parts: (n, D) float32 embeddings and their texts."""
        self._make_ready()
        for rows in self._engine.rows(
            self.collection, at_once=_rows_at_once(self.width), fields=[*_TEXT_FIELDS, "embedding"]
        ):
            embeddings = np.asarray([row["embedding"] for row in rows], np.float32)  # (n, D)
            yield embeddings, _texts_of(rows)

    def publish(self, alias: str) -> None:
        """Give this collection the alias in one step, and drop the collection that had it.

        Raises:
            EngineError: the engine cannot be reached, or refuses it.
        """
        self._make_ready()
        old = self._target_of(alias)
        self._engine.call("create_alias" if old is None else "alter_alias", self.collection, alias)
        if old not in (None, self.collection):
            self._engine.call("drop_collection", old)

    def drop(self) -> None:
        """Drop the collection."""
        self._engine.call("drop_collection", self.collection)

    def close(self) -> None:
        """Disconnect."""
        self._engine.close()

    def _target_of(self, alias: str) -> str | None:
        """Return the name of the collection that has an alias, or None."""
        try:
            return str(self._engine.call("describe_collection", alias)["collection_name"])
        except EngineError as error:
            if error.key is not None:  # it was not asked
                raise
            return None

    def _change(self, name: str, *arguments: Any, **options: Any) -> None:
        self._engine.call(name, self.collection, *arguments, is_task=True, **options)
        self._is_changed, self._is_ready, self._count = True, False, None

    def _ask(self, name: str, **options: Any) -> Any:
        """Ask the collection; if it has been replaced, or the engine has started again, get it ready and ask again."""
        level = "Strong" if self._is_changed else "Bounded"
        was_ready = self._is_ready
        self._make_ready()
        try:
            return self._engine.call(name, self.collection, consistency_level=level, **options)
        except EngineError as error:
            self._is_ready = False
            if error.key is not None or not was_ready:
                raise
        self._make_ready()
        return self._engine.call(name, self.collection, consistency_level=level, **options)

    def _make_ready(self) -> None:
        """Make everything that was added searchable: on disk, indexed, in the engine's memory.

        An index that is made before all rows are on disk is an approximate one of its own for those that are not.

        Raises:
            GalleryMismatchError: the collection is of embeddings of another width.
            EngineError: there is no such collection, or the engine cannot be reached.
        """
        if self._is_ready:
            return
        found = self._engine.call("describe_collection", self.collection)
        widths = [each["params"]["dim"] for each in found["fields"] if each["name"] == "embedding"]
        if [int(width) for width in widths] != [self.width]:
            raise GalleryMismatchError(
                f"{self.collection} at {self._engine.address} has embeddings of {widths} numbers, the gallery's have "
                f"{self.width}: build the gallery again."
            )
        if self._is_changed:
            self._engine.call("flush", self.collection, is_task=True)
            if not self._engine.call("list_indexes", self.collection):
                self._engine.call("create_index", self.collection, self._index(), is_task=True)
        self._engine.call("load_collection", self.collection, is_task=self._is_changed)
        self._is_ready = True

    def _index(self) -> Any:
        index = self._engine.call_local("prepare_index_params")
        parameters = {name: self.parameters[name] for name in _BUILT_WITH[self.kind]}
        index.add_index("embedding", index_type=self.kind, metric_type="COSINE", params=parameters)
        return index

    def _asked_with(self, count: int) -> dict[str, int]:
        """Return the parameters of a search: it looks at no fewer than it must find."""
        names = self.parameters.keys() - set(_BUILT_WITH[self.kind])
        return {name: max(self.parameters[name], count) for name in names}


@dataclass(frozen=True)
class EngineIndex:
    """An index in an engine.

    Attributes:
        settings: how the repo names it.
        index: searches it.
    """

    settings: IndexSettings
    index: SearchIndex

    @classmethod
    def load(
        cls, repo: RepoFolder, header: Mapping[str, str], width: int, address: EngineAddress | None
    ) -> Self | None:
        """Load the index of a repo folder's gallery; None where the gallery is in memory. The engine is not asked yet.

        Args:
            repo: the repo folder.
            header: of its embeddings, with the hashes of the weights and the processor.
            width: D, the length of its embeddings.
            address: where the engine is; by default where VISIM_INDEX_URI says.

        Raises:
            ConfigurationError: index.json does not fit.
            GalleryMismatchError: the index is of other weights, another processor or another width.
            EngineError: nobody says where the engine is.
            MissingExtraError: the engine's client is not installed.
        """
        settings = IndexSettings.load(repo)
        if settings is None:
            return None
        settings.check_hashes(header.get("weights_sha256", ""), header.get("processor_sha256", ""))
        if settings.width != width:
            raise GalleryMismatchError(
                f"{repo / INDEX} is of embeddings of {settings.width} numbers, the gallery's have {width}: "
                "build it again.",
                path=repo / INDEX,
            )
        found = address or EngineAddress.given(None)
        if found and found.is_local and not Path(found.uri).exists():  # which opening it would make
            raise EngineError(
                f"There is no index {found.uri}: name the one that the gallery was built into, or build it there.",
                path=found.uri,
                key="index_uri",
            )
        if found is None:
            raise EngineError(
                f"The gallery of {repo.path} is in an engine ({settings.engine}): say where with --index-uri URI, "
                "VISIM_INDEX_URI or from_pretrained(..., index_uri=URI).",
                path=repo / INDEX,
                key="index_uri",
            )
        index = MilvusIndex(
            found,
            settings.collection,
            width=settings.width,
            kind=settings.kind,
            parameters=settings.parameters,
            count=settings.pictures,
        )
        return cls(settings, index)


def _collection_schema(engine: MilvusConnection, width: int) -> Any:
    """Return the schema of a collection of embeddings of `width` numbers."""
    schema = engine.call_local("create_schema", auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", engine.types.INT64, is_primary=True)
    schema.add_field("file_name", engine.types.VARCHAR, max_length=_LONGEST_TEXT)
    schema.add_field("label", engine.types.VARCHAR, max_length=_LONGEST_TEXT)
    schema.add_field("columns", engine.types.JSON)
    schema.add_field("embedding", engine.types.FLOAT_VECTOR, dim=width)
    return schema


def _rows_at_once(width: int) -> int:
    """Return how many rows go in one message."""
    return max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // (4 * width)))


def _parts_of(
    indices: Indices, embeddings: npt.NDArray[np.float32], texts: PictureTexts
) -> Iterator[list[dict[str, Any]]]:
    """Yield N pictures as rows, in parts of one message each.

    Args:
        indices: (N,).
        embeddings: (N, D).
        texts: of the N pictures.

    Raises:
        GalleryError: a text is longer than the engine takes.
    """
    at_once = _rows_at_once(embeddings.shape[1])
    for start in range(0, len(indices), at_once):
        yield [
            {
                "id": int(indices[row]),
                "file_name": _checked(texts.file_names[row]),
                "label": _checked(texts.labels[row]),
                "columns": _checked_columns(texts.row(row)),
                "embedding": embeddings[row],
            }
            for row in range(start, min(start + at_once, len(indices)))
        ]


def _sorted_hits(found: list[Any], count: int) -> tuple[Scores, Indices]:
    """Return (Q, k) scores and indices of an answer, the highest score first, of equal ones the lowest index."""
    k = min([count, *(len(hits) for hits in found)])
    scores, indices = np.empty((len(found), k), np.float32), np.empty((len(found), k), np.int64)
    for row, hits in enumerate(found):
        best = sorted((-round(float(hit["distance"]), _DIGITS), int(hit["id"])) for hit in hits)[:k]
        scores[row] = np.clip([-score for score, _ in best], -1, 1)
        indices[row] = [index for _, index in best]
    return scores, indices


def _texts_of(rows: list[Any]) -> PictureTexts:
    """Return the texts of rows of a collection."""
    names = list(rows[0]["columns"]) if rows else []
    return PictureTexts(
        [str(row["file_name"]) for row in rows],
        [str(row["label"]) for row in rows],
        {name: [str(row["columns"][name]) for row in rows] for name in names},
    )


def _engine_filter(label: str | None, where: Where | None) -> str:
    """Write a label, and what of a filter the engine can judge, as a filter of Milvus."""
    groups = [[("label", label)]] if label is not None else []
    parts = []
    for group in [*groups, *(where.equalities() if where else [])]:
        pairs = [(name if name in _TEXT_FIELDS[:2] else f"columns[{_quoted(name)}]", text) for name, text in group]
        parts.append(f"({' or '.join(f'{field} == {_quoted(text)}' for field, text in pairs)})")
    return " and ".join(parts)


def _quoted(text: str) -> str:
    """Write a text as a literal of Milvus's filters, in which nothing in it can end the literal.

    Other control characters stand for themselves: milvus-lite knows no escape of them.
    """
    return f'"{text.translate(_ESCAPES)}"'


def _checked(text: str) -> str:
    if len(text.encode()) > _LONGEST_TEXT:
        raise GalleryError(f"{text[:40]!r}... is longer than the {_LONGEST_TEXT:,} bytes that the engine takes.")
    return text


def _checked_columns(columns: Mapping[str, str]) -> Mapping[str, str]:
    if len(json.dumps(columns, ensure_ascii=False).encode()) > _LONGEST_COLUMNS:
        raise GalleryError(
            f"The further columns of a picture, {', '.join(columns)[:80]}, are longer than the {_LONGEST_COLUMNS:,} "
            "bytes that the engine takes."
        )
    return columns
