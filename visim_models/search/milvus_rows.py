"""Rows of a Milvus collection: the schema, pictures as rows, rows as pictures, and texts in its filters."""

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from visim_models.errors import GalleryError
from visim_models.search.index import Indices, PictureTexts, Scores
from visim_models.search.milvus_client import MilvusConnection

__all__ = [
    "ROWS_AT_ONCE",
    "TEXT_FIELDS",
    "collection_schema",
    "parts_of",
    "quoted",
    "rows_at_once",
    "sorted_hits",
    "texts_of",
]

ROWS_AT_ONCE: Final = 2000
TEXT_FIELDS: Final = ["file_name", "label", "columns"]

_BYTES_AT_ONCE: Final = 16 * 2**20
"""Of the numbers of one insert: Milvus takes 64 MiB in all."""

_LONGEST_TEXT: Final = 65_535


def collection_schema(engine: MilvusConnection, width: int) -> Any:
    """Return the schema of a collection of embeddings of `width` numbers."""
    schema = engine.call_local("create_schema", auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", engine.types.INT64, is_primary=True)
    schema.add_field("file_name", engine.types.VARCHAR, max_length=_LONGEST_TEXT)
    schema.add_field("label", engine.types.VARCHAR, max_length=_LONGEST_TEXT)
    schema.add_field("columns", engine.types.JSON)
    schema.add_field("embedding", engine.types.FLOAT_VECTOR, dim=width)
    return schema


def rows_at_once(width: int) -> int:
    """Return how many rows go in one message."""
    return max(1, min(ROWS_AT_ONCE, _BYTES_AT_ONCE // (4 * width)))


def parts_of(
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
    at_once = rows_at_once(embeddings.shape[1])
    for start in range(0, len(indices), at_once):
        yield [
            {
                "id": int(indices[row]),
                "file_name": _checked(texts.file_names[row]),
                "label": _checked(texts.labels[row]),
                "columns": texts.row(row),
                "embedding": embeddings[row],
            }
            for row in range(start, min(start + at_once, len(indices)))
        ]


def sorted_hits(found: list[Any], count: int) -> tuple[Scores, Indices]:
    """Return (Q, k) scores and indices of an answer, the highest score first, of equal ones the lowest index."""
    k = min([count, *(len(hits) for hits in found)])
    scores, indices = np.empty((len(found), k), np.float32), np.empty((len(found), k), np.int64)
    for row, hits in enumerate(found):
        best = sorted((-float(hit["distance"]), int(hit["id"])) for hit in hits)[:k]
        scores[row] = np.clip([-score for score, _ in best], -1, 1)
        indices[row] = [index for _, index in best]
    return scores, indices


def texts_of(rows: list[Any]) -> PictureTexts:
    """Return the texts of rows of a collection."""
    names = list(rows[0]["columns"]) if rows else []
    return PictureTexts(
        [str(row["file_name"]) for row in rows],
        [str(row["label"]) for row in rows],
        {name: [str(row["columns"][name]) for row in rows] for name in names},
    )


def quoted(text: str) -> str:
    """Write a text as a literal of Milvus's filters, in which nothing in it can end the literal."""
    return json.dumps(text, ensure_ascii=False)


def _checked(text: str) -> str:
    if len(text.encode()) > _LONGEST_TEXT:
        raise GalleryError(f"{text[:40]!r}... is longer than the {_LONGEST_TEXT:,} bytes that the engine takes.")
    return text
