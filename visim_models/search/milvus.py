"""An index in Milvus: a local file (milvus-lite), a server, or a cluster; one client for all of them.

A collection has a row for each picture: its index, file name, label, further columns and embedding. It is filled under
a name of its own and gets its alias, by which galleries name it, only when it is whole: a search never sees one that is
half filled, and a build that is killed changes nothing.
"""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from visim_models.errors import EngineError, GalleryMismatchError, QueryError
from visim_models.search.engine import EngineAddress, checked_parameters
from visim_models.search.index import (
    Embeddings,
    Indices,
    PictureTexts,
    Queries,
    Scores,
    check_width,
    checked_queries,
    clamped_top_k,
)
from visim_models.search.milvus_client import SECONDS_A_QUERY, MilvusConnection
from visim_models.search.milvus_rows import (
    ROWS_AT_ONCE,
    TEXT_FIELDS,
    collection_schema,
    parts_of,
    quoted,
    rows_at_once,
    sorted_hits,
    texts_of,
)

__all__ = ["MilvusIndex"]

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
        schema = collection_schema(made._engine, width)
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

        The indices rise from a random number, so that those of one collection mean nothing in another.

        Raises:
            GalleryMismatchError: the embeddings are of another width.
            GalleryError: a text is longer than the engine takes.
            EngineError: the engine cannot be reached, or refuses them.
        """
        check_width(embeddings, self.width)
        indices = secrets.randbits(62) + np.arange(len(embeddings))  # (N,)
        rows = np.asarray(embeddings, np.float32)
        for part in parts_of(indices, rows, texts):
            self._change("insert", part)
        return indices

    def search(self, queries: Queries, *, top_k: int, label: str | None = None) -> tuple[Scores, Indices]:
        """Find the `top_k` nearest of each query by cosine similarity, nearest first.

        Args:
            queries: (Q, D) embeddings, unnormalised.
            top_k: how many to find at most, and never more than 16,384.
            label: find pictures with this label alone; None for all.

        Returns:
            scores: (Q, k) cosines in [-1, 1]; 0 where an embedding is all zeros.
            indices: (Q, k) of the pictures; of equal scores the lower index comes first. k is `top_k`, or less where
                fewer pictures are there or have the label.

        Raises:
            QueryError: `top_k` is no whole number from 1 on, or a query is not finite or of another width.
            EngineError: the engine does not answer within the deadline.
        """
        rows = checked_queries(queries, self.width)  # (Q, D)
        count = clamped_top_k(top_k, min(len(self), _MOST_MATCHES))
        found: list[Any] = []
        for start in range(0, len(rows), _QUERIES_AT_ONCE):
            found += self._ask(
                "search",
                data=list(rows[start : start + _QUERIES_AT_ONCE]),
                limit=count,
                filter="" if label is None else f"label == {quoted(label)}",
                output_fields=["id"],
                search_params={"params": self._asked_with(count)},
            )
        return sorted_hits(found, count)

    def texts(self, indices: Indices) -> PictureTexts:
        """Return the texts of the pictures at these (n,) indices, in this order.

        Raises:
            QueryError: there is no such picture any more.
            EngineError: the engine does not answer within the deadline.
        """
        wanted: list[int] = indices.tolist()
        rows: dict[int, Any] = {}
        for start in range(0, len(wanted), ROWS_AT_ONCE):
            part = wanted[start : start + ROWS_AT_ONCE]
            found = self._ask("query", filter=f"id in {part}", output_fields=["id", *TEXT_FIELDS])
            rows |= {row["id"]: row for row in found}
        if gone := [index for index in wanted if index not in rows]:
            raise QueryError(f"The gallery has no picture {gone[0]} any more: search again.")
        return texts_of([rows[index] for index in wanted])

    def embedding(self, file_name: str) -> npt.NDArray[np.float32]:
        """Return the (D,) embedding of a picture.

        Raises:
            QueryError: there is no such picture.
            EngineError: the engine does not answer within the deadline.
        """
        found = self._ask("query", filter=f"file_name == {quoted(file_name)}", output_fields=["embedding"], limit=1)
        if not found:
            raise QueryError(f"The gallery has no picture {file_name!r}.", key="file_name")
        embedding: npt.NDArray[np.float32] = np.asarray(found[0]["embedding"], np.float32)
        return embedding

    def scan(self) -> Iterator[tuple[Embeddings, PictureTexts]]:
        """Yield all pictures in parts: (n, D) float32 embeddings and their texts.

        Raises:
            EngineError: the engine does not answer within the deadline.
        """
        self._make_ready()
        for rows in self._engine.rows(
            self.collection, at_once=rows_at_once(self.width), fields=[*TEXT_FIELDS, "embedding"]
        ):
            embeddings = np.asarray([row["embedding"] for row in rows], np.float32)  # (n, D)
            yield embeddings, texts_of(rows)

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
        """Drop the collection.

        Raises:
            EngineError: the engine cannot be reached, or refuses it.
        """
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
