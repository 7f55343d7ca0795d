"""The matches as a table of the page. Its cells are anyone's: they are shown as text, but for links that are ours."""

from collections.abc import Sequence
from typing import Any

from demo.facts import link_to
from demo.texts import say
from visim_models import GalleryAbout, Match

__all__ = ["matches_rows", "table_headers", "table_types"]


def table_headers(about: GalleryAbout) -> list[str]:
    """Return the names of the columns: the last one has the links, where the gallery names a column for them."""
    headers = [say("rank"), say("name_column"), say("label"), say("score"), *about.columns]
    return [*headers, say("page_column")] if about.link else headers


def table_types(about: GalleryAbout) -> list[Any]:
    """Return the types of the columns."""
    types = ["number", "str", "str", "number", *("str" for _ in about.columns)]
    return [*types, "html"] if about.link else types


def matches_rows(matches: Sequence[Match], about: GalleryAbout) -> list[list[Any]]:
    """Return a row for each match."""
    return [
        [
            rank, match.file_name, match.label, round(match.score, 4),
            *(match.columns.get(name, "") for name in about.columns),
            *([link_to(match, about)] if about.link else []),
        ]
        for rank, match in enumerate(matches, start=1)
    ]  # fmt: skip
